# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""When speculation pays: break-even arithmetic on alpha, c and v (metrics.py has the words)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.tt_transformers.demo.speculative_decoding.metrics import expected_tokens


@dataclass(frozen=True)
class Choice:
    """A number of draft tokens and the speedup that is predicted for it; K = 0 is plain decoding, 1.0 by definition."""

    k: int
    speedup: float


def predicted_speedup(alpha: float, num_draft_tokens: float, c: float, v: float) -> float:
    """E(alpha, K) / (c*K + v): plain decode steps that a round replaces / plain decode steps that it costs.

    Args:
        c: one draft step / one plain target decode step. v: one verify of K+1 tokens / one plain target decode step.
    """
    return expected_tokens(alpha, num_draft_tokens) / (c * num_draft_tokens + v)


def break_even_alpha(num_draft_tokens: int, c: float, v: float) -> float | None:
    """The smallest alpha with E(alpha, K) >= c*K + v: below it speculation costs time. None: no alpha is enough.

    E grows from 1 (alpha 0) to K + 1 (alpha 1), so the answer is found by bisection.
    """
    if predicted_speedup(1.0, num_draft_tokens, c, v) < 1.0:
        return None
    low, high = 0.0, 1.0
    if predicted_speedup(low, num_draft_tokens, c, v) >= 1.0:
        return low
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if predicted_speedup(middle, num_draft_tokens, c, v) >= 1.0 else (middle, high)
    return high


def best_choice(alpha: float, c: float, v_by_k: Mapping[int, float]) -> Choice:
    """The K with the highest predicted speedup, plain decoding (K = 0) included.

    Args:
        v_by_k: for every K that may be chosen, one verify of K + 1 tokens / one plain decode step.
    """
    choices = [Choice(k, predicted_speedup(alpha, k, c, v)) for k, v in sorted(v_by_k.items()) if k > 0]
    return max([Choice(0, 1.0), *choices], key=lambda choice: choice.speedup)


def break_even_tokens(extra_ttft_ms: float, plain_tpot_ms: float, speculative_tpot_ms: float) -> float | None:
    """New tokens from which a request as a whole is faster with speculation: what its later first token cost is earned
    back at plain_tpot_ms - speculative_tpot_ms per token after the first. None: never.
    """
    saved = plain_tpot_ms - speculative_tpot_ms
    return 1.0 + max(extra_ttft_ms, 0.0) / saved if saved > 0 else None

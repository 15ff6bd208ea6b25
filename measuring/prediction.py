# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A speedup predicted before it is measured: alpha from the odd prompts of a run, c and v from steps timed alone, held
against what the even prompts gave.

    sum over rounds of E(alpha_K, K)  /  sum over rounds of (v_K + c * K)      (K, alpha_K: the odd prompts' rounds)
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch

from models.tt_transformers.demo.speculative_decoding.harness.comparison import ArmRun
from models.tt_transformers.demo.speculative_decoding.harness.opening import Bench
from models.tt_transformers.demo.speculative_decoding.harness.segments import INTERVAL, estimate, undisturbed
from models.tt_transformers.demo.speculative_decoding.metrics import RoundRecord, alpha, expected_tokens, ratio

REPEATS = 7
DRAWS = 500
MIDDLE = 128  # a position that is typical of the sample prompts


@dataclass(frozen=True)
class Costs:
    """In plain steps: of one proposed draft, and of a verify by its rows; each timed alone, on an idle machine."""

    c: float
    v: dict[int, float]


def isolated(bench: Bench, arm: ArmRun) -> Costs:
    """Time them, by medians: verifies of every width that the arm used, in turns; drafts in the middle of its texts."""
    rounds = _rounds(arm, odd=True)
    widths = sorted({1, *(r.tokens_per_user for r in _rounds(arm, odd=True) + _rounds(arm, odd=False))})
    times: dict[int, list[int]] = {width: [] for width in widths}
    at = max(0, min(MIDDLE, bench.target.max_seq_len - widths[-1]))
    bench.target.prefill([[0] * (at + 1)])
    for _ in range(REPEATS):
        for width in widths:
            start = time.perf_counter_ns()
            bench.target.forward(torch.zeros(1, width, dtype=torch.int64), [at], argmax_only=True)
            bench.target.synchronize()
            times[width].append(time.perf_counter_ns() - start)
    step = median(times[1])
    drafting = [r.tokens_per_user - 1 for r in rounds if r.drafted]
    k = max(1, round(sum(drafting) / len(drafting))) if drafting else 0
    draft_ns = _draft_ns(bench, arm, k) if k else 0.0
    return Costs(draft_ns / step, {width: median(durations) / step for width, durations in times.items()})


def _draft_ns(bench: Bench, arm: ArmRun, k: int) -> float:
    """Of one proposed token: what drafting k costs in the middle of each odd prompt's text / what was proposed."""
    generator = bench.generator(replace(arm.options, lookahead="fixed", num_draft_tokens=k))
    spent, proposed = 0.0, 0
    for one in arm.prompts[::2]:
        text = [*one.request.token_ids, *one.tokens[: len(one.tokens) // 2]]
        durations = []
        for _ in range(3):
            batch = generator.new_batch([text], max_new_tokens=k + 1, stop_token_ids=[])
            generator.prefill_both_models(batch)
            start = time.perf_counter_ns()
            draft = generator.generate_draft_tokens(batch)
            durations.append(time.perf_counter_ns() - start)
        spent, proposed = spent + median(durations), proposed + len(draft.tokens[0])
    return ratio(spent, proposed) or 0.0


def _rounds(arm: ArmRun, *, odd: bool) -> list[RoundRecord]:
    return [r for one in arm.prompts[0 if odd else 1 :: 2] for result in one.speculative for r in result.rounds]


def predicted(rounds: Sequence[RoundRecord], costs: Costs) -> float | None:
    """The speedup that these rounds' K and acceptance would give at these costs; None where nothing was drafted."""
    by_k = Counter(r.tokens_per_user - 1 for r in rounds)
    if not any(by_k):
        return None
    alphas = {k: alpha([r for r in rounds if r.tokens_per_user - 1 == k]) or 0.0 for k in by_k}
    tokens = sum(count * expected_tokens(alphas[k], k) for k, count in by_k.items())
    return ratio(tokens, sum(count * (costs.v[k + 1] + costs.c * k) for k, count in by_k.items()))


def prediction(arm: ArmRun, costs: Costs) -> dict[str, Any] | None:
    """For the record: predicted and measured speedup of the even prompts, each with its 95% interval; None where there
    is nothing to predict, or nothing to hold it against."""
    rounds, even = _rounds(arm, odd=True), {one.batch for one in arm.prompts[1::2]}
    if (value := predicted(rounds, costs)) is None or arm.options.batch_size > 1 or not even:
        return None
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randint(len(rounds), (len(rounds),), generator=generator).tolist() for _ in range(DRAWS)]
    values = [predicted([rounds[i] for i in indices], costs) for indices in drawn]
    known = torch.tensor([one for one in values if one is not None], dtype=torch.float64)
    low, high = torch.quantile(known, known.new_tensor(INTERVAL)).tolist()
    found = estimate([segment for segment in undisturbed(arm.segments) if segment.prompt in even])
    measured = {name: getattr(found, name) for name in ("speedup", "low", "high")}
    return {"speedup": value, "low": low, "high": high, "measured": measured, "costs": asdict(costs)}

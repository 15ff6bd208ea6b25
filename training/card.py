# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The card of a trained head: what it is, its command, its data, and what was reached."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import EagleSpec


def card(spec: EagleSpec, arguments: Sequence[str], report: Mapping[str, Any]) -> str:
    """Markdown. `report`: as train_draft writes it; acceptance rates are P(d_k accepted | the earlier ones were)."""
    taps = ", ".join(map(str, spec.layers))
    answered, read, curve = report["tokens"]["answered"], report["tokens"]["read"], report["learning_curve"]
    held_out = [[category, *_rates(rates)] for category, rates in report["held_out"].items()]
    shown = [curve[len(curve) * part // 8 - 1] for part in range(1, 9) if len(curve) * part // 8]
    by_tokens = [[f"{seen:,}", *_rates(rates)] for seen, *rates in shown]
    return f"""# An EAGLE-3 head for {spec.target_name}

A draft head for speculative decoding (Li et al. 2025), in the published format. It works with that target only
(fingerprint `{spec.fingerprint}`): `--target ID --drafter eagle3 --draft THIS_FOLDER`.

| | |
|---|---|
| reads | the inputs of the target's layers {taps}, and the embedding of the next token (the target's, not stored) |
| drafts | {spec.draft_vocab_size:,} of the target's {spec.vocab_size:,} ids, through output rows of its own |
| learned from | {answered:,} tokens of the target's own answers, {read:,} of documentation that it read |

    python -m training.train_draft {shlex.join(arguments)}

## Acceptance
Greedy, of held-out prompts, whose templates and topics training never met: P(d_k is accepted | the earlier ones were).

{_table("held-out prompts", held_out)}

## Learning curve
The same of all held-out prompts, by answer tokens learned from (those of every epoch counted).

{_table("tokens", by_tokens)}
"""


def _rates(rates: Sequence[float]) -> list[str]:
    return [f"{rate:.3f}" for rate in rates]


def _table(first: str, rows: Sequence[Sequence[str]]) -> str:
    lines = [[first, "d_1", "d_2", "d_3"], ["---"] * 4, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

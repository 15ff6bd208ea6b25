# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a result file must hold for a report to be made of it; a file may be cut, edited by hand, or of something else.

A rule is a dict (of an object, by key), a list of one rule (of a list's entries) or a Kind. What a report can do
without may be missing or null, and is "not measured" then; what is wrapped in Needed may not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from models.tt_transformers.demo.speculative_decoding.lookahead import MAX_DRAFT_TOKENS

LARGEST = 1e15  # of a figure: what is computed of it stays finite


@dataclass(frozen=True)
class Kind:
    """One value: what it is called, and which values are it."""

    name: str
    allows: Callable[[Any], bool]


@dataclass(frozen=True)
class Needed:
    rule: Rule


Rule: TypeAlias = "Kind | Needed | dict[str, Rule] | list[Rule]"


def _number(value: Any, least: float, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most


def _whole(value: Any, most: float) -> bool:
    return isinstance(value, int) and _number(value, 0, most)


TEXT = Kind("a text", lambda value: isinstance(value, str))
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
COUNT = Kind("a whole number of at least 0", lambda value: _whole(value, LARGEST))
DRAFTED = Kind(f"a whole number from 0 to {MAX_DRAFT_TOKENS}", lambda value: _whole(value, MAX_DRAFT_TOKENS))
FIGURE = Kind("a number of at least 0", lambda value: _number(value, 0, LARGEST))
SIGNED = Kind("a number", lambda value: _number(value, -LARGEST, LARGEST))
COST = Kind("a number above 0", lambda value: _number(value, math.ulp(0.0), LARGEST))
SHARE = Kind("a number from 0 to 1", lambda value: _number(value, 0, 1))
ONE = Kind("1", lambda value: type(value) is int and value == 1)


def _of(kind: Rule, *names: str) -> dict[str, Rule]:
    return dict.fromkeys(names, kind)


_TIMED = _of(
    FIGURE, "ttft_ms", "decode_s", "decode_tps", "baseline_ttft_ms", "baseline_decode_s", "baseline_decode_tps"
)
_RATIO = _of(FIGURE, "speedup", "low", "high")  # of both arms' times, with its 95% interval
_PROMPT: Rule = {
    **_of(Needed(TEXT), "prompt", "category"),
    **_of(TEXT, "text"),
    **_of([Needed(TEXT)], "token_texts", "origins", "sources"),
    "tokens": Needed([Needed(COUNT)]),
    "baseline_tokens": [Needed(COUNT)],
    **_of(TRUTH, "identical", "loops"),
    "repetition": _of(SHARE, "emitted", "prompt"),
    **_TIMED,
    **_RATIO,
    **_of(FIGURE, "target_ttft_ms", "tokens_per_round", "divergence_top2_gap"),
    **_of(COUNT, "prompt_tokens", "first_divergence", "drafted", "accepted"),
    "acceptance_rate": SHARE,
    **_of([Needed(DRAFTED)], "drafted_per_round", "accepted_per_round"),
}
_SUMMARY: Rule = {
    **_of(COUNT, "prompts", "identical", "new_tokens", "rounds", "drafted"),
    **_TIMED,
    **_RATIO,
    "without_loops": {"prompts": COUNT, **_RATIO},
    "inconclusive": TEXT,
    "noise_floor": SIGNED,
    "tails": {**_of(FIGURE, "plain", "speculative"), "differ": TRUTH},
    **_of(FIGURE, "decode_tps_per_user", "baseline_decode_tps_per_user", "tokens_per_round", "c"),
    **_of(SHARE, "acceptance_rate", "alpha", "kept"),
    "v": COST,
    "time_split": _of(Needed(SIGNED), "draft_s", "verify_s", "host_s"),
    "per_k": [
        Needed(
            {
                "k": Needed(DRAFTED),
                "rounds": Needed(COUNT),
                "acceptance_rate": SHARE,
                **_of(FIGURE, "tokens_per_round", "draft_ms", "verify_ms"),
            }
        )
    ],
}
RUN: Rule = {
    **_of(TEXT, "pair", "target", "draft", "drafter", "lookahead", "backend", "device", "dtype"),
    "num_draft_tokens": DRAFTED,
    **_of(COUNT, "batch_size", "max_new_tokens", "num_repeats"),
    "sampling": {"temperature": FIGURE},
    "environment": {
        **_of(TEXT, "python", "torch", "transformers", "platform", "processor"),
        **_of(COUNT, "cpus", "threads"),
    },
    "prompts": Needed([Needed(_PROMPT)]),
    "summary": Needed(_SUMMARY),
    "prediction": {**_RATIO, "measured": _RATIO},
}
_LOAD = {"layers": COUNT, **_of(FIGURE, "init_s", "weights_mb"), **_of(SIGNED, "host_rss_mb", "device_dram_mb")}
_COLD = {**_of(FIGURE, "init_s", "ttft_ms", "decode_s"), "tokens": COUNT}
FILE: Rule = {  # what both kinds of files hold
    "schema": Needed(ONE),
    **_of(TEXT, "created", "command"),
    "models": _of(_LOAD, "target", "draft"),
    "cold_start": _of(_COLD, "plain", "speculative"),
}
_PEER_PROMPT: Rule = {
    "category": Needed(TEXT),
    "identical": TRUTH,
    **_of(Needed(FIGURE), "request_s", "baseline_request_s"),
    **_RATIO,
}
_PEER: Rule = {
    **_of(Needed(TEXT), "peer", "kind"),
    "prompts": Needed([Needed(_PEER_PROMPT)]),
    "summary": Needed(
        {
            **_of(Needed(COUNT), "identical", "prompts"),
            **_of(Needed(FIGURE), "request_s", "baseline_request_s"),
            "not_comparable": TEXT,
            **_RATIO,
        }
    ),
}
COMPARED: Rule = {"runs": Needed([Needed(RUN)]), "peers": [Needed(_PEER)]}


def fault(value: Any, rule: Rule, where: str = "") -> str | None:
    """What is wrong with the value, and where in the file; None if nothing is."""
    if isinstance(rule, Needed):
        return f"{where or 'the whole file'} is missing or null" if value is None else fault(value, rule.rule, where)
    if value is None:
        return None
    if isinstance(rule, Kind):
        return None if rule.allows(value) else f"{where} is not {rule.name}"
    if isinstance(rule, list):
        if not isinstance(value, list):
            return f"{where} is not a list"
        found = (fault(entry, rule[0], f"{where}[{index}]") for index, entry in enumerate(value))
    else:
        if not isinstance(value, dict):
            return f"{where or 'the whole file'} is not an object"
        found = (fault(value.get(key), of, f"{where}.{key}".lstrip(".")) for key, of in rule.items())
    return next(filter(None, found), None)

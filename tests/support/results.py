# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A result of `compare`, invented: every number is made up here, so that a test can recognise it in a report."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

CATEGORIES = ("editing", "creative prose", "code")
TEXTS = ["Once", " <b>upon", " a", " time", " there", " was"]
ORIGINS = ["prefill", "accepted", "accepted", "recovered", "accepted", "bonus"]


def interval(speedup: float | None) -> dict[str, float | None]:
    """A speedup with an interval of 4% on either side."""
    ends = (None, None) if speedup is None else (speedup * 0.96, speedup * 1.04)
    return dict(zip(("speedup", "low", "high"), (speedup, *ends), strict=True))


def _prompt(number: int, decode_s: float) -> dict[str, Any]:
    return {
        "prompt": f"Prompt & number {number}",
        "category": CATEGORIES[number],
        "prompt_tokens": 10 + number,
        "tokens": [1, 2, 3, 4, 5, 6],
        "baseline_tokens": [1, 2, 3, 4, 5, 6],
        "identical": True,
        "first_divergence": None,
        "divergence_top2_gap": None,
        "finish_reason": "length",
        "text": "".join(TEXTS),
        "token_texts": TEXTS,
        "origins": ORIGINS,
        "sources": ["", "prompt-lookup", "prompt-lookup", "", "prompt-lookup", ""],
        "ttft_ms": 31.0,
        "target_ttft_ms": 24.0,
        "baseline_ttft_ms": 23.0,
        "decode_s": decode_s,
        "baseline_decode_s": 0.5,
        "decode_tps": 5 / decode_s,
        "baseline_decode_tps": 10.0,
        **interval(0.5 / decode_s),
        "repetition": {"emitted": 0.625 if number == 2 else 0.0, "prompt": 0.125},
        "loops": number == 2,
        "rounds": 2,
        "drafted": 4,
        "accepted": 3,
        "accepted_per_position": [2, 1],
        "acceptance_rate": 0.75,
        "tokens_per_round": 2.5,
        "drafted_per_round": [3, 1],
        "accepted_per_round": [2, 1],
    }


def run(k: int = 4, *, pair: str | None = "smollm2", speedup: float = 1.37, lookahead: str = "fixed") -> dict[str, Any]:
    """One arm."""
    prompts = [_prompt(number, 0.5 / (speedup * factor)) for number, factor in enumerate((1.5, 0.6, 1.1))]
    return {
        "schema": 1,
        "arm": f"prompt-lookup, K = {k}",
        "pair": pair,
        "target": "embedded:SmolLM2-135M-Instruct",
        "draft": None,
        "drafter": "prompt-lookup",
        "backend": "torch",
        "device": "cpu",
        "dtype": "float32",
        "num_draft_tokens": k,
        "lookahead": lookahead,
        "batch_size": 1,
        "exact": False,
        "max_new_tokens": 6,
        "num_repeats": 2,
        "sampling": {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "seed": 0},
        "environment": {
            "python": "3.11.99",
            "torch": "2.13.77",
            "transformers": "5.23.55",
            "platform": "Linux-invented",
            "processor": "x86_64",
            "cpus": 7,
            "threads": 3,
        },
        "prompts": prompts,
        "summary": {
            "prompts": 3,
            "identical": 3,
            "new_tokens": 18,
            "decode_s": sum(row["decode_s"] for row in prompts),
            "baseline_decode_s": 1.5,
            "decode_tps": 12.34,
            "baseline_decode_tps": 10.0,
            "rounds": 6,
            "drafted": 12 if k else 0,
            "accepted": 9,
            "accepted_per_position": [6, 3],
            "acceptance_rate": 0.7432,
            "tokens_per_round": 2.5,
            "alpha": 0.81,
            "c": 0.02,
            "v": 1.25,
            **interval(speedup),
            "decode_tps_per_user": 12.1,
            "baseline_decode_tps_per_user": 9.8,
            "inconclusive": None,
            "noise_floor": -0.004,
            "kept": 0.97,
            "tails": {"plain": 1.01, "speculative": 1.02, "differ": False},
            "without_loops": {"prompts": 2, **interval(speedup * 0.9)},
            "time_split": {"draft_s": 0.02, "verify_s": 0.9, "host_s": 0.01},
            "per_k": [
                {
                    "k": 0,
                    "rounds": 7,
                    "acceptance_rate": None,
                    "tokens_per_round": 1.0,
                    "draft_ms": 0.0,
                    "verify_ms": 9.5,
                },
                {
                    "k": k,
                    "rounds": 5,
                    "acceptance_rate": 0.62,
                    "tokens_per_round": 2.6,
                    "draft_ms": 1.2,
                    "verify_ms": 9.9,
                },
            ],
            "per_source": {"prompt-lookup": 9},
        },
        "prediction": {**interval(speedup * 1.05), "measured": interval(speedup * 0.98), "costs": {"c": 0.02, "v": {}}},
    }


def inconclusive(record: dict[str, Any], reason: str = "something else had the processor") -> dict[str, Any]:
    """The run as the demo writes it where its clock was disturbed."""
    changed = copy.deepcopy(record)
    total = changed["summary"]
    for part in (total, total["without_loops"], *changed["prompts"]):
        part.update(interval(None))
    total["inconclusive"], changed["prediction"] = reason, None
    return changed


def _load(name: str, init_s: float) -> dict[str, Any]:
    figures = {
        "layers": 30,
        "parameters": 134_000_000,
        "weights_mb": 538.0,
        "host_rss_mb": 601.0,
        "device_dram_mb": None,
    }
    return {"name": name, "init_s": init_s, **figures}


def compare_result(runs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A whole file of kind "compare"."""
    cold = {"ttft_ms": 90.0, "decode_s": 0.7, "tokens": 6}
    peer = {
        "peer": "prompt_lookup_num_tokens=4",
        "kind": "prompt_lookup_num_tokens",
        "k": 4,
        "prompts": [],
        "summary": {
            "prompts": 3,
            "identical": 3,
            "new_tokens": 18,
            "decode_tps": 9.0,
            "request_s": 1.78,
            "baseline_request_s": 1.57,
            "repeats": 3,
            "not_comparable": None,
            **interval(0.88),
        },
    }
    return {
        "kind": "compare",
        "schema": 1,
        "created": "2026-01-02 03:04",
        "command": "speculative_demo compare --json x.json",
        "models": {"target": _load("embedded:SmolLM2-135M-Instruct", 1.91), "draft": None},
        "cold_start": {
            "plain": {"arm": "plain", "init_s": 1.91, **cold},
            "speculative": {"arm": "prompt-lookup, K = 4", "init_s": 1.91, **cold},
        },
        "runs": runs or [run(0, speedup=0.99), run(1, speedup=1.21), run(4)],
        "peers": [peer],
        "peers_reason": None,
    }


def without(record: dict[str, Any], *path: str) -> dict[str, Any]:
    """A copy in which record[path...] is null; a list on the way means each of its entries."""
    changed = copy.deepcopy(record)
    _forget(changed, path)
    return changed


def _forget(content: Any, path: tuple[str, ...]) -> None:
    if isinstance(content, list):
        for entry in content:
            _forget(entry, path)
    elif len(path) == 1:
        content[path[0]] = None
    else:
        _forget(content[path[0]], path[1:])


def save(record: dict[str, Any], path: Path) -> Path:
    path.write_text(json.dumps(record), encoding="utf-8")
    return path

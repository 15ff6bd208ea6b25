# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Tables over the prompts of one run: every prompt, every category, and how far the prompts lie apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from measuring.reports.document import NOT_MEASURED, Table, measured
from measuring.reports.tables import NONE_YET, among
from measuring.run import Row, Run
from measuring.speedups import rate
from models.tt_transformers.demo.speculative_decoding.harness.verdict import worth
from models.tt_transformers.demo.speculative_decoding.metrics import ratio

SPEEDUP_STEPS = (1.0, 1.1, 1.25, 1.5, 2.0)
RANKS = (("best", 0.0), ("good (upper quartile)", 0.25), ("average (median)", 0.5), ("worst", 1.0))


def by_prompt(run: Run, columns: Sequence[tuple[str, str, Callable[[Row], Any]]]) -> Table:
    """One row per prompt. columns: (heading, format, quantity); a run without prompts has one row, not measured."""
    headers = ["prompt", *(heading for heading, _, _ in columns)]
    rows = [
        [f"{number}. {row['category']}", *(measured(quantity(row), form) for _, form, quantity in columns)]
        for number, row in enumerate(run.rows, start=1)
    ]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def speculative_by_prompt(run: Run) -> Table:
    """Acceptance and speed of every prompt."""
    return by_prompt(
        run,
        [
            ("acceptance rate", "{:.1%}", lambda row: row.get("acceptance_rate")),
            ("tokens per round", "{:.2f}", lambda row: row.get("tokens_per_round")),
            ("tok/s/user", "{}", lambda row: rate(row.get("decode_tps"), run.noise)),
            ("speedup (95% interval)", "{}", lambda row: run.speedup_of([row])),
            ("equal to plain", "{}", lambda row: _yes(row.get("identical"))),
            ("6-grams emitted before", "{:.0%}", lambda row: (row.get("repetition") or {}).get("emitted")),
            ("6-grams of the prompt", "{:.0%}", lambda row: (row.get("repetition") or {}).get("prompt")),
            ("loops", "{}", lambda row: _yes(row.get("loops"))),
        ],
    )


def plain_by_prompt(run: Run) -> Table:
    """TTFT, rate and time per token of plain decoding."""
    return by_prompt(
        run,
        [
            ("TTFT, ms", "{:.0f}", lambda row: row.get("baseline_ttft_ms")),
            ("tok/s/user", "{}", lambda row: rate(row.get("baseline_decode_tps"), run.noise)),
            ("decode time per token, ms", "{:.1f}", lambda row: ratio(1e3, row.get("baseline_decode_tps"))),
        ],
    )


def ttft_by_prompt(run: Run) -> Table:
    """TTFT of both arms."""
    return by_prompt(
        run,
        [
            ("prompt tokens", "{}", lambda row: row.get("prompt_tokens")),
            ("plain, ms", "{:.0f}", lambda row: row.get("baseline_ttft_ms")),
            ("speculative, target alone, ms", "{:.0f}", lambda row: row.get("target_ttft_ms")),
            ("speculative, both prefills, ms", "{:.0f}", lambda row: row.get("ttft_ms")),
            ("both / plain", "{:.2f}x", lambda row: run.against(row.get("ttft_ms"), row.get("baseline_ttft_ms"))),
        ],
    )


def rates_by_prompt(run: Run) -> Table:
    """What one user gets, prompt by prompt; what all get together stands in the totals."""
    return by_prompt(
        run,
        [
            ("new tokens", "{}", lambda row: len(row["tokens"])),
            ("plain tok/s/user", "{}", lambda row: rate(row.get("baseline_decode_tps"), run.noise)),
            ("speculative tok/s/user", "{}", lambda row: rate(row.get("decode_tps"), run.noise)),
            ("speedup (95% interval)", "{}", lambda row: run.speedup_of([row])),
        ],
    )


def _yes(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def best_to_worst(run: Run) -> Table:
    """Best, good (upper quartile), average (median) and worst prompt by speedup, and plain decoding."""
    rows = sorted((row for row in run.rows if row.get("speedup") is not None), key=lambda row: -row["speedup"])
    picks = [(name, rows[round(share * (len(rows) - 1))] if rows else None) for name, share in RANKS]
    cells = [
        [
            name,
            row["category"] if row else NOT_MEASURED,
            rate(row.get("decode_tps") if row else None, run.noise),
            measured(row and row.get("acceptance_rate"), "{:.1%}"),
            str(run.speedup_of([row] if row else [])),
        ]
        for name, row in picks
    ]
    plain = rate(run.get("summary", "baseline_decode_tps_per_user"), run.noise)
    return Table(
        ["prompt", "category", "tok/s/user", "acceptance rate", "speedup (95% interval)"],
        [*cells, ["baseline (plain, median prompt)", NONE_YET, plain, NONE_YET, "1"]],
    )


def consistency(run: Run) -> Table:
    """Ranges over the prompts, and the share of prompts at or above each speedup."""
    ranges: list[tuple[str, list[float], Callable[[float], str]]] = [
        ("speedup", run.column("speedup"), lambda value: worth(value, run.noise)),
        ("acceptance rate", run.column("acceptance_rate"), "{:.1%}".format),
        ("speculative tok/s/user", run.column("decode_tps"), lambda value: rate(value, run.noise)),
        ("plain tok/s/user", run.column("baseline_decode_tps"), lambda value: rate(value, run.noise)),
    ]
    rows = [
        (f"{name}, lowest to highest", f"{form(min(values))} to {form(max(values))}" if values else NOT_MEASURED)
        for name, values, form in ranges
    ]
    speedups = run.column("speedup")
    for step in SPEEDUP_STEPS:
        share = ratio(sum(value >= step for value in speedups), len(speedups))
        rows.append((f"prompts with a speedup of at least {step:.2f}x", measured(share, "{:.0%}")))
    return Table(["consistency over prompts", "value"], rows)


def distribution(run: Run) -> Table:
    """How many prompts lie in each band of acceptance, and what they gained."""
    bands = [(0.8, 1.01), (0.6, 0.8), (0.4, 0.6), (0.2, 0.4), (0.0, 0.2)]
    rows = []
    for low, high in bands:
        inside = [
            row for row in run.rows if row.get("acceptance_rate") is not None and low <= row["acceptance_rate"] < high
        ]
        count = str(len(inside)) if run.made else NOT_MEASURED
        speed = run.speedup_of(inside)
        gained = NONE_YET if run.made and not inside else str(speed)
        rows.append((f"{low:.0%} to {min(high, 1.0):.0%}", count, gained))
    return Table(["acceptance rate", "prompts", "their speedup (95% interval)"], rows)


def by_category(run: Run) -> Table:
    """Speedup and acceptance of every category, and how many of its texts go round in circles."""
    rows: list[Sequence[str]] = []
    for category in dict.fromkeys(row["category"] for row in run.rows):
        inside = [row for row in run.rows if row["category"] == category]
        counted = [row for row in inside if None not in (row.get("accepted"), row.get("drafted"))]
        accepted = ratio(sum(row["accepted"] for row in counted), sum(row["drafted"] for row in counted))
        known = [row["loops"] for row in inside if row.get("loops") is not None]
        loops = NOT_MEASURED if not known else f"{sum(known)} of {len(inside)}" if any(known) else NONE_YET
        emitted = [row["tokens_per_round"] for row in inside if row.get("tokens_per_round") is not None]
        found = str(run.speedup_of(inside))
        rows.append((category, found, measured(accepted, "{:.0%}"), among(emitted, "{:.2f}".format), loops))
    headers = ["category", "speedup (95% interval)", "acceptance rate", "tokens per round", "texts that loop"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Tables over the prompts of one run: every prompt, every category, and how far the prompts lie apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from measuring.reports.document import NOT_MEASURED, Table, measured
from measuring.reports.tables import NONE_YET
from measuring.results import Row, Run
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
            ("tok/s", "{:.1f}", lambda row: row.get("decode_tps")),
            ("wall-clock speedup", "{:.2f}x", lambda row: row.get("speedup")),
            ("equal to plain", "{}", lambda row: _yes(row.get("identical"))),
        ],
    )


def plain_by_prompt(run: Run) -> Table:
    """TTFT, rate and time per token of plain decoding."""
    return by_prompt(
        run,
        [
            ("TTFT, ms", "{:.0f}", lambda row: row.get("baseline_ttft_ms")),
            ("tok/s", "{:.1f}", lambda row: row.get("baseline_decode_tps")),
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
            ("both / plain", "{:.2f}x", lambda row: ratio(row.get("ttft_ms"), row.get("baseline_ttft_ms"))),
        ],
    )


def rates_by_prompt(run: Run) -> Table:
    """Token/sec and token/sec/user. With one user at a time they are the same."""
    users = run.users
    return by_prompt(
        run,
        [
            ("new tokens", "{}", lambda row: len(row["tokens"])),
            ("plain tok/s/user", "{:.1f}", lambda row: row.get("baseline_decode_tps")),
            ("plain tok/s", "{:.1f}", lambda row: _of_all(row.get("baseline_decode_tps"), users)),
            ("speculative tok/s/user", "{:.1f}", lambda row: row.get("decode_tps")),
            ("speculative tok/s", "{:.1f}", lambda row: _of_all(row.get("decode_tps"), users)),
            ("speedup", "{:.2f}x", lambda row: row.get("speedup")),
        ],
    )


def _of_all(tps: float | None, users: int) -> float | None:
    """Only for one user is the batch's rate the user's own; of more it is in the totals."""
    return tps if users == 1 else None


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
            measured(row and row.get("decode_tps"), "{:.1f}"),
            measured(row and row.get("acceptance_rate"), "{:.1%}"),
            measured(row and row.get("speedup"), "{:.2f}x"),
        ]
        for name, row in picks
    ]
    plain = run.get("summary", "baseline_decode_tps")
    return Table(
        ["prompt", "category", "tok/s", "acceptance rate", "speedup"],
        [*cells, ["baseline (plain, all prompts)", NONE_YET, measured(plain, "{:.1f}"), NONE_YET, "1.00x"]],
    )


def consistency(run: Run) -> Table:
    """Ranges over the prompts, and the share of prompts at or above each speedup."""
    ranges = [
        ("speedup", run.column("speedup"), "{:.2f}x"),
        ("acceptance rate", run.column("acceptance_rate"), "{:.1%}"),
        ("speculative tok/s", run.column("decode_tps"), "{:.1f}"),
        ("plain tok/s", run.column("baseline_decode_tps"), "{:.1f}"),
    ]
    rows = [
        (
            f"{name}, lowest to highest",
            f"{form.format(min(values))} to {form.format(max(values))}" if values else NOT_MEASURED,
        )
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
        gained = NONE_YET if run.made and not inside else measured(speed, "{:.2f}x")
        rows.append((f"{low:.0%} to {min(high, 1.0):.0%}", count, gained))
    return Table(["acceptance rate", "prompts", "their speedup"], rows)


def by_category(run: Run) -> Table:
    """Speedup and acceptance of every category."""
    rows: list[Sequence[str]] = []
    for category in dict.fromkeys(row["category"] for row in run.rows):
        inside = [row for row in run.rows if row["category"] == category]
        counted = [row for row in inside if None not in (row.get("accepted"), row.get("drafted"))]
        rate = ratio(sum(row["accepted"] for row in counted), sum(row["drafted"] for row in counted))
        speed = measured(run.speedup_of(inside), "{:.2f}x")
        rows.append((category, str(len(inside)), measured(rate, "{:.1%}"), speed))
    return Table(["category", "prompts", "acceptance rate", "speedup"], rows or [[NOT_MEASURED] * 4])

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Tables over one run as a whole: configuration, speed, latency, rounds, and what speculation costs.

What a run lacks is "not measured".
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from measuring.reports.document import NOT_MEASURED, Table, measured
from measuring.results import Run, percentile
from models.tt_transformers.demo.speculative_decoding.metrics import median, ratio

NONE_YET = "-"  # a quantity that the arm does not have


def mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def configuration(run: Run) -> Table:
    """What was run."""
    draft = measured(run.get("target") and (run.get("draft") or "none: the text itself is looked up"))
    layers = {role: run.load(role, "layers") for role in ("target", "draft")}
    of = {role: "" if count is None else f" ({count} layers)" for role, count in layers.items()}
    rows = [
        ("target model", measured(run.get("target")) + of["target"]),
        ("draft model", draft + of["draft"]),
        ("plain decoding", "the same target, in the same process, in turns"),
        ("drafter", measured(run.get("drafter"))),
        ("drafted tokens per round (K)", run.k if run.made else NOT_MEASURED),
        ("backend, device, dtype", ", ".join(measured(run.get(name)) for name in ("backend", "device", "dtype"))),
        ("temperature", measured(run.get("sampling", "temperature"), "{} (0: greedy)")),
        ("prompts", measured(run.get("summary", "prompts"))),
        ("new tokens per prompt, at most", measured(run.get("max_new_tokens"))),
        ("new tokens in all, each arm", measured(run.get("summary", "new_tokens"))),
        ("users at once", measured(run.get("batch_size"))),
        ("runs of each arm per prompt", measured(run.get("num_repeats"), "{} (medians are shown)")),
    ]
    return Table(["configuration", "value"], rows)


def overall(run: Run) -> Table:
    """Both arms side by side; the last column is speculative / plain."""
    total = run.record.get("summary", {})
    pairs: list[tuple[str, str, Any, Any]] = [
        ("decode time, all prompts, s", "{:.2f}", total.get("decode_s"), total.get("baseline_decode_s")),
        ("decode tok/s", "{:.1f}", total.get("decode_tps"), total.get("baseline_decode_tps")),
        ("decode tok/s/user, median of prompts", "{:.1f}", *_both(run, lambda p: median(run.column(f"{p}decode_tps")))),
        ("time per output token, median, ms", "{:.1f}", *_both(run, lambda p: median(run.tpot(p)))),
        ("time to first token, mean, ms", "{:.0f}", *_both(run, lambda p: mean(run.column(f"{p}ttft_ms")))),
        ("whole request, mean, s", "{:.2f}", *_both(run, lambda p: mean(run.request_s(p)))),
        ("tokens per target step", "{:.2f}", total.get("tokens_per_round"), 1.0 if run.made else None),
    ]
    rows = [
        (name, measured(ours, form), measured(plain, form), measured(ratio(ours, plain), "{:.2f}x"))
        for name, form, ours, plain in pairs
    ]
    rows += [
        ("acceptance rate (accepted / drafted)", measured(total.get("acceptance_rate"), "{:.1%}"), NONE_YET, NONE_YET),
        ("alpha (accepted | all before it were)", measured(total.get("alpha"), "{:.2f}"), NONE_YET, NONE_YET),
        ("tokens equal to plain decoding", identical_cell(run), NONE_YET, NONE_YET),
        ("wall-clock speedup of decoding", measured(total.get("speedup"), "{:.2f}x"), "1.00x", spread(run)),
    ]
    return Table(["metric", "speculative", "plain", "speculative / plain"], rows)


def _both(run: Run, figure: Callable[[str], float | None]) -> tuple[float | None, float | None]:
    """(speculative, plain)"""
    return figure(""), figure("baseline_")


def identical_cell(run: Run) -> str:
    """ "10 of 10" prompts, or what is known."""
    equal = run.get("summary", "identical")
    return measured(equal, "{} of " + str(run.get("summary", "prompts")))


def spread(run: Run) -> str:
    """Lowest and highest speedup of the repeats."""
    runs = [value for value in run.get("summary", "speedup_runs") or [] if value is not None]
    return f"{min(runs):.2f}x to {max(runs):.2f}x in {len(runs)} runs" if len(runs) > 1 else f"spread {NOT_MEASURED}"


def latency(run: Run) -> Table:
    """Percentiles over the prompts."""
    quantities = [
        ("TTFT, plain (target alone), ms", run.column("baseline_ttft_ms"), "{:.0f}"),
        ("TTFT, speculative, target's prefill alone, ms", run.column("target_ttft_ms"), "{:.0f}"),
        ("TTFT, speculative, both prefills, ms", run.column("ttft_ms"), "{:.0f}"),
        ("time per output token, plain, ms", run.tpot("baseline_"), "{:.1f}"),
        ("time per output token, speculative, ms", run.tpot(), "{:.1f}"),
        ("whole request, plain, s", run.request_s("baseline_"), "{:.2f}"),
        ("whole request, speculative, s", run.request_s(), "{:.2f}"),
    ]
    rows = [
        [name, measured(mean(values), form), *(measured(percentile(values, p), form) for p in (50, 95, 99))]
        for name, values, form in quantities
    ]
    return Table(["quantity", "mean", "P50", "P95", "P99"], rows)


def by_k(run: Run) -> Table:
    """Every number of tokens that a round drafted: how many rounds, what they kept, what they cost (medians)."""
    rows = [
        (
            str(of_k["k"]),
            str(of_k["rounds"]),
            NONE_YET if not of_k["k"] else measured(of_k.get("acceptance_rate"), "{:.1%}"),
            measured(of_k.get("tokens_per_round"), "{:.2f}"),
            measured(of_k.get("draft_ms"), "{:.1f}"),
            measured(of_k.get("verify_ms"), "{:.1f}"),
        )
        for of_k in run.get("summary", "per_k") or []
    ]
    headers = ["drafted in a round (K)", "rounds", "acceptance rate", "tokens per round", "draft, ms", "verify, ms"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def acceptance_by_position(run: Run) -> list[float]:
    """Entry j: rounds that accepted their (j+1)-th drafted token / rounds that drafted one."""
    counts = [[row.get(f"{what}_per_round") or [] for what in ("drafted", "accepted")] for row in run.rows]
    rounds = [pair for drafted, accepted in counts for pair in zip(drafted, accepted)]
    longest = max((drafted for drafted, _ in rounds), default=0)
    return [sum(a > j for _, a in rounds) / sum(d > j for d, _ in rounds) for j in range(longest)]


def cold_and_warm(run: Run) -> Table:
    """The first request of a fresh process (loading included), against the same quantities once all is warm."""
    rows = []
    for name, prefix in (("plain", "baseline_"), ("speculative", "")):
        figures = {key: run.cold(name, key) for key in ("init_s", "ttft_ms", "decode_s", "tokens")}
        cold_s = None
        if None not in figures.values():
            cold_s = figures["init_s"] + figures["ttft_ms"] / 1e3 + figures["decode_s"]
        rows.append(
            (
                name,
                measured(figures["init_s"], "{:.2f}"),
                measured(figures["ttft_ms"], "{:.0f}"),
                measured(mean(run.column(f"{prefix}ttft_ms")), "{:.0f}"),
                measured(ratio(figures["tokens"], cold_s), "{:.1f}"),
                measured(run.get("summary", f"{prefix}decode_tps"), "{:.1f}"),
            )
        )
    headers = [
        "arm",
        "loading, s",
        "first TTFT, ms",
        "warm TTFT, ms",
        "tok/s, cold (loading and prefill in it)",
        "tok/s, warm",
    ]
    return Table(headers, rows)


def trade_offs(run: Run) -> Table:
    """What speculation costs: the draft's loading and memory, and the later first token."""
    draftless = run.made and not run.get("draft")
    rows = []
    for name, key, form in (
        ("init time, s", "init_s", "{:.2f}"),
        ("weights, MB", "weights_mb", "{:.0f}"),
        ("host memory (RSS), MB", "host_rss_mb", "{:.0f}"),
        ("device memory (DRAM, planned), MB", "device_dram_mb", "{:.0f}"),
    ):
        target, draft = run.load("target", key), run.load("draft", key)
        grown = None if None in (target, draft) else ratio(target + draft, target)
        if draftless:
            grown = None if target is None else 1.0
        added = "nothing: no draft model" if draftless else measured(draft, form)
        cells = (added, measured(grown, "{:.2f}x"))
        rows.append((name, measured(target, form), *cells))
    plain, ours = mean(run.column("baseline_ttft_ms")), mean(run.column("ttft_ms"))
    later = None if plain is None or ours is None else ours - plain
    rows.append(
        (
            "time to first token, ms",
            measured(plain, "{:.0f}"),
            measured(later, "{:+.0f}"),
            measured(ratio(ours, plain), "{:.2f}x"),
        )
    )
    return Table(["cost", "target alone", "added by the drafter", "together / alone"], rows)


def totals(run: Run) -> Table:
    """Time of the whole test, of loading and of decoding, both arms."""
    load = {role: run.load(role, "init_s") for role in ("target", "draft")}
    both = load["target"] if run.made and not run.get("draft") else _sum(load["target"], load["draft"])
    ours, plain = _all(run.request_s()), _all(run.request_s("baseline_"))
    rows = [
        _versus("model init time, s", both, load["target"]),
        _versus("prefill of all prompts, s", *(_all(run.column(f"{p}ttft_ms"), 1e3) for p in ("", "baseline_"))),
        _versus("decoding of all prompts, s", *(run.get("summary", f"{p}decode_s") for p in ("", "baseline_"))),
        _versus("all requests, s", ours, plain),
        _versus("init and all requests, s", _sum(both, ours), _sum(load["target"], plain)),
    ]
    return Table(["time", "speculative", "plain", "speculative / plain"], rows)


def _versus(name: str, ours: float | None, plain: float | None) -> tuple[str, ...]:
    return name, measured(ours, "{:.2f}"), measured(plain, "{:.2f}"), measured(ratio(ours, plain), "{:.2f}x")


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _all(values: Sequence[float], unit: float = 1.0) -> float | None:
    return sum(values) / unit if values else None

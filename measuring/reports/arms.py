# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Tables over several runs, and of what runs cost: by arm, time split, prediction, cold start, trade-offs."""

from __future__ import annotations

from collections.abc import Sequence

from measuring.reports.document import NOT_MEASURED, Table, measured
from measuring.reports.tables import NONE_YET, identical, mean, quotient
from measuring.results import Run
from models.tt_transformers.demo.speculative_decoding.metrics import median, ratio

AGREEMENT = 0.10  # predicted and measured speedup should agree within this


def by_arm(runs: Sequence[Run]) -> Table:
    """Every drafter, K and batch size that was run."""
    rows = []
    for run in runs:
        total = run.record["summary"]
        nothing_drafted = not total.get("drafted")
        rows.append(
            (
                f"{run.get('batch_size')} at once, nothing drafted" if nothing_drafted else run.label,
                measured(total.get("baseline_decode_tps"), "{:.1f}"),
                measured(total.get("decode_tps"), "{:.1f}"),
                measured(total.get("speedup"), "{:.2f}x"),
                NONE_YET if nothing_drafted else measured(total.get("predicted_speedup"), "{:.2f}x"),
                NONE_YET if nothing_drafted else measured(total.get("acceptance_rate"), "{:.1%}"),
                measured(total.get("tokens_per_round"), "{:.2f}"),
                identical(run),
            )
        )
    headers = [
        "arm",
        "plain tok/s",
        "tok/s",
        "speedup",
        "predicted",
        "acceptance rate",
        "tokens per round",
        "equal to plain",
    ]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def by_users(runs: Sequence[Run]) -> Table:
    """What each user gets and what all get together, of the arms that were run with several users at once, beside the
    same arms with fewer."""
    of_several = {run.policy for run in runs if run.users > 1 and run.get("summary", "drafted")}
    chosen = [run for run in runs if run.policy in of_several]
    rows = []
    for run in sorted(chosen, key=lambda run: (run.policy, run.users)):
        per_user = [median(run.column(f"{prefix}decode_tps")) for prefix in ("baseline_", "")]
        in_all = [run.get("summary", f"{prefix}decode_tps") for prefix in ("baseline_", "")]
        rows.append(
            (
                run.policy,
                str(run.users),
                *(measured(tps, "{:.1f}") for tps in (per_user[0], in_all[0], per_user[1], in_all[1])),
                measured(run.get("summary", "speedup"), "{:.2f}x"),
                identical(run),
            )
        )
    headers = ["arm", "users at once", "plain tok/s/user", "plain tok/s", "speculative tok/s/user", "speculative tok/s"]
    headers += ["speedup", "equal to plain"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


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


def time_split(runs: Sequence[Run]) -> Table:
    """Where a round's time goes, of the runs that drafted."""
    rows = []
    for run in runs:
        parts = run.get("summary", "time_split") or {}
        whole = sum(parts.values())
        shares = [measured(ratio(parts.get(f"{part}_s", 0.0), whole), "{:.1%}") for part in ("draft", "verify", "host")]
        rows.append((run.label if run.made else NOT_MEASURED, *shares))
    return Table(["arm", "draft", "verify", "host"], rows or [[NOT_MEASURED] * 4])


def prediction(runs: Sequence[Run]) -> Table:
    """alpha, c, v and what follows from them, against what the clock said."""
    rows = []
    for run in runs:
        total = run.record.get("summary", {})
        apart = difference(run)
        verdict = NOT_MEASURED if apart is None else "yes" if abs(apart) <= AGREEMENT else "no"
        rows.append(
            (
                run.label if run.made else NOT_MEASURED,
                measured(total.get("alpha"), "{:.3f}"),
                measured(total.get("c"), "{:.3f}"),
                measured(total.get("v"), "{:.3f}"),
                measured(total.get("predicted_speedup"), "{:.2f}x"),
                measured(total.get("speedup"), "{:.2f}x"),
                measured(apart, "{:+.1%}"),
                verdict,
            )
        )
    headers = ["arm", "alpha", "c", "v", "predicted", "measured", "difference", f"within {AGREEMENT:.0%}"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def difference(run: Run) -> float | None:
    """predicted / measured speedup - 1"""
    apart = quotient(run.get("summary", "predicted_speedup"), run.get("summary", "speedup"))
    return None if apart is None else apart - 1.0


def positions(runs: Sequence[Run]) -> Table:
    """Of the rounds that drafted a j-th token: how many accepted it."""
    shares = [acceptance_by_position(run) for run in runs]
    longest = max(map(len, shares), default=0)
    rows = [
        [
            run.label if run.made else NOT_MEASURED,
            *(f"{share:.0%}" for share in found),
            *[NONE_YET] * (longest - len(found)),
        ]
        for run, found in zip(runs, shares, strict=True)
    ]
    headers = ["arm", *(str(j) for j in range(1, longest + 1))]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def acceptance_by_position(run: Run) -> list[float]:
    """Entry j: rounds that accepted their (j+1)-th drafted token / rounds that drafted one."""
    rounds = [
        pair for row in run.rows for pair in zip(row.get("drafted_per_round", []), row.get("accepted_per_round", []))
    ]
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
                measured(quotient(figures["tokens"], cold_s), "{:.1f}"),
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
        grown = None if None in (target, draft) else quotient(target + draft, target)
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
            measured(quotient(ours, plain), "{:.2f}x"),
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
    return name, measured(ours, "{:.2f}"), measured(plain, "{:.2f}"), measured(quotient(ours, plain), "{:.2f}x")


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _all(values: Sequence[float], unit: float = 1.0) -> float | None:
    return sum(values) / unit if values else None

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Tables over one run as a whole: configuration, speed, latency, rounds, and what speculation costs.

What a run lacks is "not measured".
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from measuring.reports.document import NOT_MEASURED, Table, measured
from measuring.run import Run, percentile
from measuring.speedups import rate
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
        ("noise floor: a loop that drafts nothing, beside plain decoding", noise_floor(run)),
        ("segments kept", measured(run.get("summary", "kept"), "{:.0%}: those that nothing else disturbed")),
        ("raw sums / sums of medians", tails(run)),
    ]
    return Table(["configuration", "value"], rows)


def overall(run: Run) -> Table:
    """Both arms side by side: the median prompt, and in brackets the lowest and the highest; of decoding the speedup
    with its interval."""
    quantities: list[tuple[str, str, Callable[[str], Sequence[float]]]] = [
        ("decode tok/s/user", "{:.1f}", lambda arm: run.column(f"{arm}decode_tps")),
        ("time per output token, ms", "{:.1f}", run.tpot),
        ("time to first token, ms", "{:.0f}", lambda arm: run.column(f"{arm}ttft_ms")),
        ("whole request, s", "{:.2f}", run.request_s),
    ]
    rows = [(name, among(of("baseline_"), form.format), among(of(""), form.format)) for name, form, of in quantities]
    in_all = [rate(run.get("summary", f"{arm}decode_tps"), run.noise) for arm in ("baseline_", "")]
    rows += [
        ("decode tok/s, all users", in_all[0], in_all[1]),
        (
            "tokens per target step",
            "1" if run.made else NOT_MEASURED,
            among(run.column("tokens_per_round"), "{:.2f}".format),
        ),
        ("acceptance rate (accepted / drafted)", NONE_YET, among(run.column("acceptance_rate"), "{:.0%}".format)),
        ("tokens equal to plain decoding", NONE_YET, identical_cell(run)),
        ("speedup of decoding, all prompts (95% interval)", "1", str(run.speedup)),
        ("speedup of decoding, without loops (95% interval)", "1", str(run.without_loops)),
    ]
    return Table(["metric: median prompt (lowest to highest)", "plain", "speculative"], rows)


def noise_floor(run: Run) -> str:
    """By how much two arms that do the same differed."""
    return measured(None if run.noise is None else abs(run.noise), "{:.1%}")


def tails(run: Run) -> str:
    """By how much each arm's mean lies above its medians."""
    plain, ours, differ = (run.get("summary", "tails", name) for name in ("plain", "speculative", "differ"))
    if plain is None or ours is None:
        return NOT_MEASURED
    return f"{plain:.2f} plain, {ours:.2f} speculative{': tails differ' if differ else ''}"


def among(values: Sequence[float], say: Callable[[float], str]) -> str:
    """The median of the prompts, and the lowest and highest of them."""
    if not values:
        return NOT_MEASURED
    middle, low, high = (say(value) for value in (median(values) or 0.0, min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def identical_cell(run: Run) -> str:
    """ "10 of 10" prompts, or what is known."""
    equal = run.get("summary", "identical")
    return measured(equal, "{} of " + str(run.get("summary", "prompts")))


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
                rate(run.get("summary", f"{prefix}decode_tps_per_user"), run.noise),
            )
        )
    headers = [
        "arm",
        "loading, s",
        "first TTFT, ms",
        "warm TTFT, ms",
        "tok/s/user, cold (loading and prefill in it)",
        "tok/s/user, warm",
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
            measured(run.against(ours, plain), "{:.2f}x"),
        )
    )
    return Table(["cost", "target alone", "added by the drafter", "together / alone"], rows)


def totals(run: Run) -> Table:
    """Time of the whole test, of loading and of decoding, both arms."""
    load = {role: run.load(role, "init_s") for role in ("target", "draft")}
    both = load["target"] if run.made and not run.get("draft") else _sum(load["target"], load["draft"])
    ours, plain = _all(run.request_s()), _all(run.request_s("baseline_"))
    pairs = [
        ("model init time, s", both, load["target"]),
        ("prefill of all prompts, s", *(_all(run.column(f"{p}ttft_ms"), 1e3) for p in ("", "baseline_"))),
        ("decoding of all prompts, s", *(run.get("summary", f"{p}decode_s") for p in ("", "baseline_"))),
        ("all requests, s", ours, plain),
        ("init and all requests, s", _sum(both, ours), _sum(load["target"], plain)),
    ]
    rows = [(name, measured(spec, "{:.2f}"), measured(alone, "{:.2f}")) for name, spec, alone in pairs]
    return Table(["time", "speculative", "plain"], rows)


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _all(values: Sequence[float], unit: float = 1.0) -> float | None:
    return sum(values) / unit if values else None

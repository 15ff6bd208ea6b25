# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What the measured numbers advise: break-even arithmetic on runs, and nothing about what was not run."""

from __future__ import annotations

from collections.abc import Sequence

from measuring.break_even import best_choice, break_even_alpha, break_even_tokens, predicted_speedup
from measuring.published_speeds import published_pairs
from measuring.reports.document import NOT_MEASURED, Bullets, Table, measured
from measuring.reports.tables import NONE_YET, mean, spread
from measuring.results import Run, headline, percentile, same_text
from models.tt_transformers.demo.speculative_decoding.metrics import median

NOISE = 0.03  # a speedup this near to 1 is called neither gain nor loss
ALPHAS = (0.5, 0.6, 0.7, 0.8, 0.9)
VERIFY_COSTS = (1.0, 1.15, 1.3)
PUBLISHED_KS = (1, 2, 3, 4, 6, 8)


def advice_word(speedup: float | None) -> str:
    """The word for a measured speedup."""
    if speedup is None:
        return NOT_MEASURED
    return "speculate" if speedup > 1 + NOISE else "decode plainly" if speedup < 1 - NOISE else "no difference"


def recommendation(runs: Sequence[Run]) -> str:
    """Which of the arms that were run to use."""
    judged = [run for run in runs if run.get("summary", "speedup") is not None and run.get("summary", "drafted")]
    judged = [run for run in judged if same_text(run.rows)]
    judged = [run for run in judged if run.users == 1] or judged  # a batch's speedup is over a batch's plain decoding
    if not judged:
        return f"Recommendation: {NOT_MEASURED}."
    best = max(judged, key=lambda run: run.get("summary", "speedup"))
    speed, usual = best.get("summary", "speedup"), headline(judged)
    if advice_word(speed) != "speculate":
        return (
            f"Recommendation: decode plainly. The fastest measured arm ({best.label}) reached {speed:.2f}x, "
            f"which is not more than {1 + NOISE:.2f}x."
        )
    arms = "1 measured arm" if len(judged) == 1 else f"{len(judged)} measured arms"
    chosen = usual.label if usual.made else NOT_MEASURED
    return (
        f"Recommendation: speculate with {best.label}: {speed:.2f}x measured ({spread(best)}), the fastest of {arms} "
        f"on these very prompts; the arm that the demo chooses by itself ({chosen}) reached "
        f"{measured(usual.get('summary', 'speedup'), '{:.2f}x')}."
    )


def by_use(runs: Sequence[Run]) -> Table:
    """Per category: the fastest measured arm, the arm of the headline, and what that says."""
    judged = [run for run in runs if run.get("summary", "drafted") and run.users == 1]
    usual = headline(judged)
    rows: list[Sequence[str]] = []
    for category in dict.fromkeys(row["category"] for row in usual.rows):
        found = []
        for run in judged:
            inside = [row for row in run.rows if row["category"] == category]
            speed = run.speedup_of(inside)
            if speed is not None and same_text(inside):
                found.append((speed, run))
        if not found:
            rows.append((category, NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, NOT_MEASURED))
            continue
        speed, run = max(found, key=lambda one: one[0])
        of_usual = next((s for s, r in found if r is usual), None)
        rows.append((category, measured(of_usual, "{:.2f}x"), f"{speed:.2f}x", run.label, advice_word(speed)))
    headers = ["category", f"{usual.label if usual.made else 'headline arm'}", "fastest arm", "which", "advice"]
    return Table(headers, rows or [[NOT_MEASURED] * 5])


def break_even_table(runs: Sequence[Run]) -> Table:
    """Per arm of a fixed K: the alpha that its c and v need, and the alpha that it had."""
    rows = []
    for run in runs:
        alpha, c, v = (run.get("summary", name) for name in ("alpha", "c", "v"))
        if not run.k.isdecimal() or alpha is None:
            continue
        k, priced = int(run.k), None not in (c, v)
        needed = break_even_alpha(k, c, v) if priced else None
        needs = NOT_MEASURED if not priced else "more than 1" if needed is None else f"{needed:.3f}"
        margin = measured(None if needed is None else alpha - needed, "{:+.3f}")
        says = measured(predicted_speedup(alpha, k, c, v) if priced else None, "{:.2f}x")
        speed = run.get("summary", "speedup")
        rows.append((run.label, needs, f"{alpha:.3f}", margin, says, advice_word(speed)))
    headers = ["arm", "break-even alpha", "measured alpha", "margin", "a round of K, predicted", "advice of the clock"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def break_even_length(run: Run) -> str:
    """From how many new tokens on a request as a whole gains."""
    plain_ttft, ours_ttft = mean(run.column("baseline_ttft_ms")), mean(run.column("ttft_ms"))
    plain, ours = median(run.tpot("baseline_")), median(run.tpot())
    if plain_ttft is None or ours_ttft is None or plain is None or ours is None:
        return f"From how many new tokens on a request gains: {NOT_MEASURED}."
    extra = ours_ttft - plain_ttft
    opening = (
        f"The first token took {extra:+.0f} ms more (mean), every further one {ours - plain:+.1f} ms (median prompt)"
    )
    tokens = break_even_tokens(extra, plain, ours)
    if tokens is None:
        return f"{opening}: no request gains, however long."
    if extra <= 0:
        return f"{opening}: a request of any length gains."
    return f"{opening}: a request gains from {tokens:.0f} new tokens on, a shorter one is better decoded plainly."


def opportunities(run: Run) -> Bullets:
    """What the formula says of the run if one of its numbers were better: where work would pay."""
    alpha, c, v = (run.get("summary", name) for name in ("alpha", "c", "v"))
    k = run.drafted_per_round()
    if k is None or None in (alpha, c, v):
        return Bullets([f"What better drafts, cheaper drafts or a cheaper verify would give: {NOT_MEASURED}."])
    better = alpha + (1 - alpha) / 2
    changes = [
        (f"as measured (alpha {alpha:.2f}, c {c:.3f}, v {v:.2f}, {k:.1f} drafted per drafting round)", (alpha, c, v)),
        (f"half as many rejections (alpha {better:.2f})", (better, c, v)),
        (f"a draft at half its cost (c {c / 2:.3f})", (alpha, c / 2, v)),
        ("a verify at the cost of one plain step (v 1)", (alpha, c, min(v, 1.0))),
    ]
    return Bullets(
        [
            f"{name}: {predicted_speedup(a, k, cost, verify):.2f}x in a drafting round"
            for name, (a, cost, verify) in changes
        ]
    )


def winners(run: Run) -> Table:
    """Who is ahead, metric by metric, and by how much."""
    lower, higher = True, False
    pairs: list[tuple[str, float | None, float | None, bool]] = [
        ("time to first token", mean(run.column("ttft_ms")), mean(run.column("baseline_ttft_ms")), lower),
        ("decode tok/s", run.get("summary", "decode_tps"), run.get("summary", "baseline_decode_tps"), higher),
        ("whole request", mean(run.request_s()), mean(run.request_s("baseline_")), lower),
        ("time per output token, P95 prompt", percentile(run.tpot(), 95), percentile(run.tpot("baseline_"), 95), lower),
    ]
    rows = []
    for name, ours, plain, less_is_better in pairs:
        if not ours or not plain:
            rows.append((name, NOT_MEASURED, NOT_MEASURED))
            continue
        gain = plain / ours if less_is_better else ours / plain
        winner = "speculative" if gain > 1 + NOISE else "plain" if gain < 1 - NOISE else "neither"
        rows.append((name, winner, f"{max(gain, 1 / gain):.2f}x" if winner != "neither" else NONE_YET))
    return Table(["metric", "ahead", "by"], rows)


def published_table() -> Table:
    """Best K and predicted speedup of the Llama pairs at published decode speeds; nothing in it is measured."""
    rows = []
    for pair in published_pairs():
        for v in VERIFY_COSTS:
            choices = [best_choice(alpha, pair.c, dict.fromkeys(PUBLISHED_KS, v)) for alpha in ALPHAS]
            cells = [f"{choice.speedup:.2f}x (K = {choice.k})" if choice.k else "plain" for choice in choices]
            speeds = f"{pair.draft_tps:g} / {pair.target_tps:g}"
            rows.append((f"{pair.pair} on {pair.device}", speeds, f"{pair.c:.2f}", f"{v:.2f}", *cells))
    headers = [
        "pair and device",
        "draft / target tok/s, published",
        "c from them",
        "v assumed",
        *(f"alpha {a}" for a in ALPHAS),
    ]
    return Table(headers, rows)

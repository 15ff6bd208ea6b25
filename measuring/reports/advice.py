# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What the measured numbers advise: break-even arithmetic on runs, and nothing about what was not run."""

from __future__ import annotations

from collections.abc import Sequence

from measuring.break_even import best_choice, break_even_alpha, break_even_tokens, predicted_speedup
from measuring.published_speeds import published_pairs
from measuring.reports.document import NOT_MEASURED, Bullets, Table, measured
from measuring.reports.matches import categories, rows_of
from measuring.reports.tables import mean
from measuring.results import headline
from measuring.run import Run
from measuring.speedups import Speedup
from models.tt_transformers.demo.speculative_decoding.metrics import median

ALPHAS = (0.5, 0.6, 0.7, 0.8, 0.9)
VERIFY_COSTS = (1.0, 1.15, 1.3)
PUBLISHED_KS = (1, 2, 3, 4, 6, 8)


def advice_word(found: Speedup) -> str:
    """The word for a measured speedup: its whole interval says so."""
    if found.value is None:
        return found.lacks
    return "speculate" if found.gains else "decode plainly" if found.loses else "no difference"


def recommendation(runs: Sequence[Run]) -> str:
    """Which of the arms that were run to use."""
    drafting = [run for run in runs if run.get("summary", "drafted")]
    judged = [run for run in drafting if run.speedup.value is not None]
    judged = [run for run in judged if run.users == 1] or judged  # a batch's speedup is over a batch's plain decoding
    if not judged:
        reasons = list(dict.fromkeys(run.inconclusive for run in drafting if run.inconclusive))
        return f"Recommendation: {f'none, inconclusive: {reasons[0]}' if reasons else NOT_MEASURED}."
    best, usual = fastest(judged), headline(judged)
    arms = "1 measured arm" if len(judged) == 1 else f"{len(judged)} measured arms"
    if not best.speedup.gains:
        return f"Recommendation: decode plainly. The fastest of {arms} ({best.label}) reached {best.speedup}."
    return (
        f"Recommendation: speculate with {best.label}: {best.speedup}, the fastest of {arms} on these very prompts; "
        f"the arm that the demo chooses by itself ({usual.label}) reached {usual.speedup}."
    )


def fastest(runs: Sequence[Run]) -> Run:
    """Of runs that have a speedup."""
    return max(runs, key=lambda run: run.speedup.value or 0.0)


def best_of_each(runs: Sequence[Run]) -> list[Run]:
    """Of every drafter, one at a time, the fastest fixed K and the policies; and the arm that drafts nothing."""
    alone = [run for run in runs if run.users == 1]
    chosen = [run for run in alone if not run.k.isdecimal() or not run.get("summary", "drafted")]
    for drafter in dict.fromkeys(run.get("drafter") for run in alone):
        fixed = [run for run in alone if run.get("drafter") == drafter and run not in chosen]
        chosen += [fastest(fixed)] if fixed else []
    return [run for run in runs if run in chosen]


def by_use(runs: Sequence[Run]) -> Table:
    """Per category: the fastest measured arm, the arm of the headline, and what that says."""
    judged = [run for run in runs if run.get("summary", "drafted") and run.users == 1]
    usual = headline(judged)
    rows: list[Sequence[str]] = []
    for category in categories([usual]):
        found = [(run.speedup_of(rows_of(run.rows, category)), run) for run in judged]
        of_usual = next(speed for speed, run in found if run is usual)
        known = [(speed, run) for speed, run in found if speed.value is not None]
        if not known:
            rows.append((category, *[of_usual.lacks] * 4))
            continue
        speed, run = max(known, key=lambda one: one[0].value or 0.0)
        rows.append((category, str(of_usual), str(speed), run.label, advice_word(speed)))
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
        says = run.speedup.lacks if run.inconclusive else says
        rows.append((run.label, needs, f"{alpha:.3f}", margin, says, advice_word(run.speedup)))
    headers = ["arm", "break-even alpha", "measured alpha", "margin", "a round of K, by the formula"]
    headers += ["advice of the clock"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def break_even_length(run: Run) -> str:
    """From how many new tokens on a request as a whole gains."""
    plain_ttft, ours_ttft = mean(run.column("baseline_ttft_ms")), mean(run.column("ttft_ms"))
    plain, ours = median(run.tpot("baseline_")), median(run.tpot())
    if plain_ttft is None or ours_ttft is None or plain is None or ours is None or run.inconclusive:
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
    if k is None or None in (alpha, c, v) or run.inconclusive:
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


def published_table(only: str | None = None) -> Table:
    """Best K and projected speedup of the Llama pairs at published decode speeds; nothing in it is measured. `only`: of
    one pair or one device, and at the middle cost of a verify alone."""
    rows = []
    for pair in published_pairs():
        if only not in (None, pair.pair, pair.device):
            continue
        for v in VERIFY_COSTS if only is None else VERIFY_COSTS[1:2]:
            choices = [best_choice(alpha, pair.c, dict.fromkeys(PUBLISHED_KS, v)) for alpha in ALPHAS]
            cells = [f"{choice.speedup:.2f}x (K = {choice.k})" if choice.k else "plain" for choice in choices]
            speeds = f"{pair.draft_tps:g} / {pair.target_tps:g}"
            rows.append((f"{pair.pair} on {pair.device}", speeds, f"{pair.c:.2f}", f"{v:.2f}", *cells))
    headers = ["pair and device", "draft / target tok/s/user, published", "c from them", "v assumed"]
    return Table([*headers, *(f"projected, alpha {a}" for a in ALPHAS)], rows)

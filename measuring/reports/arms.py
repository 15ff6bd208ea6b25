# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Tables over several arms: every arm, several users, where their time goes, what was predicted of them."""

from __future__ import annotations

from collections.abc import Sequence

from measuring.reports import tables
from measuring.reports.document import NOT_MEASURED, Table, measured
from measuring.reports.tables import NONE_YET
from measuring.run import Run
from measuring.speedups import rate
from models.tt_transformers.demo.speculative_decoding.metrics import ratio

RATES = ("plain tok/s/user", "tok/s/user", "plain tok/s, all users", "tok/s, all users")
SPEEDUPS = ("speedup (95% interval)", "without loops (95% interval)")


def by_arm(runs: Sequence[Run]) -> Table:
    """Every drafter, K and batch size that was run."""
    rows = []
    for run in runs:
        nothing_drafted = not run.get("summary", "drafted")
        name = f"{run.get('drafter')}, nothing drafted" if nothing_drafted else run.policy
        accepted = NONE_YET if nothing_drafted else tables.among(run.column("acceptance_rate"), "{:.0%}".format)
        per_round = tables.among(run.column("tokens_per_round"), "{:.2f}".format)
        rows.append(
            (name, str(run.users), *rates(run), *both_speedups(run), accepted, per_round, tables.identical_cell(run))
        )
    headers = ["arm", "users at once", *RATES, *SPEEDUPS, "acceptance rate", "tokens per round", "equal to plain"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def rates(run: Run) -> list[str]:
    """RATES: what one user gets, the median prompt's and the lowest and highest; what all get together."""
    arms = ("baseline_", "")
    of_one = [tables.among(run.column(f"{arm}decode_tps"), lambda tps: rate(tps, run.noise)) for arm in arms]
    return of_one + [rate(run.get("summary", f"{arm}decode_tps"), run.noise) for arm in arms]


def both_speedups(run: Run) -> tuple[str, str]:
    """SPEEDUPS"""
    return str(run.speedup), str(run.without_loops)


def by_users(runs: Sequence[Run]) -> Table:
    """What each user gets and what all get together, of the arms that were run with several users at once, beside the
    same arms with fewer."""
    of_several = {run.policy for run in runs if run.users > 1 and run.get("summary", "drafted")}
    chosen = sorted((run for run in runs if run.policy in of_several), key=lambda run: (run.policy, run.users))
    rows = [(run.policy, str(run.users), *rates(run), str(run.speedup), tables.identical_cell(run)) for run in chosen]
    headers = ["arm", "users at once", *RATES, SPEEDUPS[0], "equal to plain"]
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
    """What the odd prompts and costs timed alone predict of the even ones, against what the clock said of the same."""
    rows = [[run.label, str(run.predicted), str(run.prediction_held), agreement(run)] for run in runs if run.made]
    headers = ["arm", "predicted, even prompts (95% interval)", "measured, even prompts (95% interval)"]
    return Table([*headers, "intervals meet"], rows or [[NOT_MEASURED] * 4])


def round_model(runs: Sequence[Run]) -> Table:
    """alpha, c and v of whole runs."""
    names = ("alpha", "c", "v")
    rows = [[run.label, *(measured(run.get("summary", name), "{:.3f}") for name in names)] for run in runs if run.made]
    return Table(["arm", "alpha", "a drafted token in plain steps (c)", "a verify in plain steps (v)"],
                 rows or [[NOT_MEASURED] * 4])  # fmt: skip


def agreement(run: Run) -> str:
    """Whether the intervals of the prediction and of what was measured of the same prompts have a value in common."""
    ours, clock = run.predicted, run.prediction_held
    if None in (ours.low, ours.high, clock.low, clock.high):
        return ours.lacks
    return "yes" if ours.low <= clock.high and clock.low <= ours.high else "no"  # type: ignore[operator]


def positions(runs: Sequence[Run]) -> Table:
    """Of the rounds that drafted a j-th token: how many accepted it."""
    shares = [tables.acceptance_by_position(run) for run in runs]
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

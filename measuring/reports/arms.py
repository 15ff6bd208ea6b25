# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Tables over several arms: every arm, where their time goes, and who is fastest where, `auto` and transformers' own
decoding included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from measuring.reports.document import NOT_MEASURED, Table, measured
from measuring.reports.tables import NONE_YET, acceptance_by_position, identical_cell
from measuring.results import Row, Run, one_at_a_time, same_text
from models.tt_transformers.demo.speculative_decoding.metrics import median, ratio

AGREEMENT = 0.10  # predicted and measured speedup should agree within this
AUTO_WITHIN = 0.05  # of the best fixed K
SLOWER = 0.95  # of plain decoding: less is slower beyond noise


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
                identical_cell(run),
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
                identical_cell(run),
            )
        )
    headers = ["arm", "users at once", "plain tok/s/user", "plain tok/s", "speculative tok/s/user", "speculative tok/s"]
    headers += ["speedup", "equal to plain"]
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
        within = NOT_MEASURED if apart is None else "yes" if abs(apart) <= AGREEMENT else "no"
        rows.append(
            (
                run.label if run.made else NOT_MEASURED,
                measured(total.get("alpha"), "{:.3f}"),
                measured(total.get("c"), "{:.3f}"),
                measured(total.get("v"), "{:.3f}"),
                measured(total.get("predicted_speedup"), "{:.2f}x"),
                measured(total.get("speedup"), "{:.2f}x"),
                measured(apart, "{:+.1%}"),
                within,
            )
        )
    headers = ["arm", "alpha", "c", "v", "predicted", "measured", "difference", f"within {AGREEMENT:.0%}"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def difference(run: Run) -> float | None:
    """predicted / measured speedup - 1"""
    apart = ratio(run.get("summary", "predicted_speedup"), run.get("summary", "speedup"))
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


def peers_table(runs: Sequence[Run], peers: Sequence[dict[str, Any]]) -> Table:
    """transformers' own decoding beside ours, by the seconds of whole requests (its prefill cannot be told from its
    first round); same prompts, same process.
    """
    rows: list[tuple[str, float, float | None, str]] = []
    for run in runs:
        if run.users == 1 and peers:
            ours, plain = sum(run.request_s()), sum(run.request_s("baseline_"))
            rows.append((f"ours: {run.label}", ours, plain if same_text(run.rows) else None, identical_cell(run)))
    for peer in peers:
        total = peer["summary"]
        equal = f"{total['identical']} of {total['prompts']}"
        theirs = total["baseline_request_s"] if same_text(peer["prompts"]) else None
        rows.append((f"transformers: {peer['peer']}", total["request_s"], theirs, equal))
    cells = [
        (name, f"{seconds:.2f}", measured(ratio(plain, seconds), "{:.2f}x"), equal)
        for name, seconds, plain, equal in rows
    ]
    headers = ["decoding", "seconds, all requests", "against our plain decoding", "equal to plain"]
    return Table(headers, cells or [[NOT_MEASURED] * 4])


def fastest_by_category(runs: Sequence[Run], peers: Sequence[dict[str, Any]]) -> Table:
    """Whole requests against our plain decoding, category by category: ours, and of each of transformers' own ways to
    decode the best K; the last column says whether one of ours is the fastest, plain decoding included.
    """
    ours = [run for run in one_at_a_time(runs) if run.get("summary", "drafted")]
    kinds = list(dict.fromkeys(peer["kind"] for peer in peers))
    rows = []
    for category in _categories(ours):
        mine = [(_request_speedup(_of(run.rows, category), run), run.label) for run in ours]
        best, which = max(((speed, label) for speed, label in mine if speed is not None), default=(None, NOT_MEASURED))
        auto = next((speed for (speed, _), run in zip(mine, ours) if run.k == "auto"), None)
        theirs = [_best_peer([peer for peer in peers if peer["kind"] == kind], category) for kind in kinds]
        beaten = [speed for speed in theirs if speed is not None and best is not None and speed > best]
        says = NOT_MEASURED
        if best is not None and theirs:
            says = "no" if beaten or best < 1.0 else NOT_MEASURED if None in theirs else "yes"
        rows.append((category, *(measured(speed, "{:.2f}x") for speed in (auto, best)), which,
                     *(measured(speed, "{:.2f}x") for speed in theirs), says))  # fmt: skip
    headers = ["category", "ours, auto", "ours, fastest", "which"]
    headers += [f"transformers: {kind}" for kind in kinds] + ["ours is fastest"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def auto_by_category(runs: Sequence[Run]) -> Table:
    """Decoding speed of `auto` against the best fixed K of the same drafter (plain decoding, 1.00x, is K = 0)."""
    arms = [run for run in one_at_a_time(runs) if run.get("summary", "drafted")]
    rows = []
    for auto in (run for run in arms if run.k == "auto"):
        fixed = [run for run in arms if run.get("drafter") == auto.get("drafter") and run.k.isdecimal()]
        for category in [*_categories([auto]), None]:
            speed = auto.speedup_of(_of(auto.rows, category))
            others = [(run.speedup_of(part), run.k) for run in fixed if same_text(part := _of(run.rows, category))]
            best, k = max([(1.0, "0"), *(one for one in others if one[0] is not None)])
            share = ratio(speed, best) if same_text(_of(auto.rows, category)) else None
            rows.append(
                (
                    f"{auto.get('drafter')}: {'all' if category is None else category}",
                    f"{best:.2f}x (K = {k})" if fixed else NOT_MEASURED,
                    measured(speed, "{:.2f}x"),
                    measured(share, "{:.2f}"),
                    NOT_MEASURED if share is None or not fixed else "yes" if share >= 1 - AUTO_WITHIN else "no",
                    NOT_MEASURED if speed is None else "yes" if speed < SLOWER else "no",
                )
            )
    headers = ["drafter: category", "best fixed K", "auto", "auto / best", f"within {AUTO_WITHIN:.0%}", "below plain"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def _categories(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(row["category"] for run in runs for row in run.rows))


def _of(rows: Sequence[Row], category: str | None) -> list[Row]:
    """Those of the category; None: all."""
    return [row for row in rows if category in (row["category"], None)]


def _request_speedup(rows: Sequence[Row], run: Run) -> float | None:
    part = Run({"prompts": rows}, run.shared)
    return None if not same_text(rows) else ratio(sum(part.request_s("baseline_")), sum(part.request_s()))


def _best_peer(peers: Sequence[dict[str, Any]], category: str) -> float | None:
    """Of the K that were run, the fastest that wrote the text of our plain decoding."""
    rows = [part for peer in peers if same_text(part := _of(peer["prompts"], category))]
    speeds = [ratio(sum(r["baseline_request_s"] for r in part), sum(r["request_s"] for r in part)) for part in rows]
    return max((speed for speed in speeds if speed is not None), default=None)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Who is fastest where: `auto` against the best fixed K, and ours against transformers' own decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from measuring.reports.document import NOT_MEASURED, Bullets, Table
from measuring.reports.tables import NONE_YET, identical_cell
from measuring.results import one_at_a_time
from measuring.run import Row, Run, same_text
from measuring.speedups import NOT_COMPARABLE, Speedup, of_peer, together
from models.tt_transformers.demo.speculative_decoding.harness.verdict import worth

AUTO_WITHIN = 0.05  # of the best fixed K
PLAIN = Speedup(1.0, 1.0, 1.0)


def peers_table(runs: Sequence[Run], peers: Sequence[dict[str, Any]]) -> Table:
    """transformers' own decoding beside ours, by the seconds of whole requests (its prefill cannot be told from its
    first round); same prompts, same process."""
    rows = []
    for run in runs:
        if run.users == 1 and peers:
            found = _requests(run.rows, run)
            rows.append((f"ours: {run.label}", f"{sum(run.request_s()):.2f}", str(found), identical_cell(run)))
    for peer in peers:
        total = peer["summary"]
        equal = f"{total['identical']} of {total['prompts']}"
        rows.append((f"transformers: {peer['peer']}", f"{total['request_s']:.2f}", str(of_peer(peer)), equal))
    headers = ["decoding", "seconds, all requests", "against our plain decoding (95% interval)", "equal to plain"]
    return Table(headers, rows or [[NOT_MEASURED] * 4])


def best_of_kinds(runs: Sequence[Run], peers: Sequence[dict[str, Any]]) -> tuple[list[Run], list[dict[str, Any]]]:
    """Of each drafter of ours `auto` (or else the fastest), of each of transformers' ways the fastest, by seconds."""
    ours: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: (run.k != "auto", sum(run.request_s()))):
        if run.get("summary", "drafted"):
            ours.setdefault(run.get("drafter"), run)
    theirs: dict[str, dict[str, Any]] = {}
    for peer in sorted(peers, key=lambda peer: peer["summary"]["request_s"]):
        theirs.setdefault(peer["kind"], peer)
    return list(ours.values()), list(theirs.values())


def not_comparable(peers: Sequence[dict[str, Any]]) -> Bullets:
    """Of each peer that cannot be held against ours, why."""
    left = [peer for peer in peers if of_peer(peer).value is None]
    return Bullets([f"{peer['peer']}: {NOT_COMPARABLE}: {why_not_comparable(peer)}." for peer in left])


def why_not_comparable(peer: dict[str, Any]) -> str:
    return peer["summary"].get("not_comparable") or "the file has no ratio of it"


def fastest_by_category(runs: Sequence[Run], peers: Sequence[dict[str, Any]]) -> Table:
    """Whole requests against our plain decoding, category by category: ours, and of each of transformers' own ways to
    decode the best K; the last column says whether one of ours is the fastest, plain decoding included.
    """
    ours = [run for run in one_at_a_time(runs) if run.get("summary", "drafted")]
    kinds = list(dict.fromkeys(peer["kind"] for peer in peers))
    rows = []
    for category in categories(ours):
        mine = [(_requests(rows_of(run.rows, category), run), run) for run in ours]
        best, which = max(
            ((found, run.label) for found, run in mine if found.value is not None),
            key=lambda one: one[0].value or 0.0,
            default=(next((found for found, _ in mine), Speedup()), NOT_MEASURED),
        )
        auto = next((found for found, run in mine if run.k == "auto"), Speedup())
        theirs = [_best_peer([peer for peer in peers if peer["kind"] == kind], category) for kind in kinds]
        rows.append((category, str(auto), str(best), which, *map(str, theirs), _is_fastest(best, theirs)))
    headers = ["category", "ours, auto", "ours, fastest", "which"]
    headers += [f"transformers: {kind}" for kind in kinds] + ["ours is fastest"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def _is_fastest(best: Speedup, theirs: Sequence[Speedup]) -> str:
    if best.value is None or not theirs:
        return NOT_MEASURED
    known = [found.value for found in theirs if found.value is not None]
    if best.value < max([1.0, *known]):
        return "no"
    return "yes" if len(known) == len(theirs) else NOT_MEASURED


def auto_by_category(runs: Sequence[Run]) -> Table:
    """Decoding speed of `auto` against the best fixed K of the same drafter (plain decoding, 1.00x, is K = 0); whether
    it is as near as it should be is judged where all prompts are."""
    arms = [run for run in one_at_a_time(runs) if run.get("summary", "drafted")]
    rows = []
    for auto in (run for run in arms if run.k == "auto"):
        fixed = [run for run in arms if run.get("drafter") == auto.get("drafter") and run.k.isdecimal()]
        for category in [*categories([auto]), None]:
            speed = auto.speedup_of(rows_of(auto.rows, category))
            others = [(run.speedup_of(rows_of(run.rows, category)), run.k) for run in fixed]
            known = [(found, k) for found, k in others if found.value is not None]
            best, k = max([(PLAIN, "0"), *known], key=lambda one: one[0].value or 0.0)
            name = "all" if category is None else category
            near = "yes" if speed.value is not None and speed.value >= (1 - AUTO_WITHIN) * (best.value or 0.0) else "no"
            said = str(best) if k != "0" else worth(1.0, auto.noise)
            rows.append(
                (
                    f"{auto.get('drafter')}: {name}",
                    said if known else str(Speedup(lacks=speed.lacks)),
                    k if known else NONE_YET,
                    str(speed),
                    near if speed.value is not None and known else speed.lacks,
                    speed.lacks if speed.value is None else "yes" if speed.loses else "no",
                )
            )
    headers = ["drafter: category", "best fixed K", "K", "auto", f"within {AUTO_WITHIN:.0%}", "below plain"]
    return Table(headers, rows or [[NOT_MEASURED] * len(headers)])


def categories(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(row["category"] for run in runs for row in run.rows))


def rows_of(rows: Sequence[Row], category: str | None) -> list[Row]:
    """Those of the category; None: all."""
    return [row for row in rows if category in (row["category"], None)]


def _requests(rows: Sequence[Row], run: Run) -> Speedup:
    """Of whole requests: the decoding's speedup and its interval, with the first token's time on either side."""
    part = Run({**run.record, "prompts": rows}, run.shared)
    decode, plain = part.speedup_of(rows), sum(part.request_s("baseline_"))
    first = sum(part.column("ttft_ms")) / 1e3
    plainly = sum(part.column("baseline_decode_s"))
    if decode.value is None or not same_text(rows) or not plain:
        return replace(decode, value=None)
    ends = [None if end is None else plain / (first + plainly / end) for end in (decode.value, decode.low, decode.high)]
    return replace(decode, value=ends[0], low=ends[1], high=ends[2])


def _best_peer(peers: Sequence[dict[str, Any]], category: str) -> Speedup:
    """Of the K that were run, the fastest that can be held against ours."""
    found = [
        together([(of_peer(row), row["request_s"]) for row in rows_of(peer["prompts"], category)])
        for peer in peers
        if of_peer(peer).value is not None
    ]
    known = [one for one in found if one.value is not None]
    return max(known, key=lambda one: one.value or 0.0, default=Speedup(lacks=NOT_COMPARABLE))

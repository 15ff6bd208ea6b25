# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""`speculative_demo project`: which pairs and K could win on N150, N300 and T3K, with and without fused rounds.

Everything here is projected: from decode speeds that tt-metal publishes, from an assumed cost of a round trip between
host and device (each published step has one in it), and from an assumed verify. Nothing of it is measured, and nothing
of it enters a measured table.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from measuring.break_even import best_choice, break_even_alpha
from measuring.checks import brief, words
from measuring.published_speeds import SOURCE, PublishedPair, published_pairs
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.command import MATCHED, Parser, command, entry
from models.tt_transformers.demo.speculative_decoding.harness.output import checked_output
from models.tt_transformers.demo.speculative_decoding.harness.record import write_json
from models.tt_transformers.demo.speculative_decoding.harness.terminal import (
    Column,
    make_console,
    screen_table,
    styled,
)

KS = range(1, 9)


@dataclass(frozen=True)
class Projected:
    """One pair on one board at one alpha; every figure projected.

    Attributes:
        c: one draft step / one target step, as published, a round trip in each.
        c_fused: the same without the draft step's round trip.
        separate, fused: the best speedup of each way and its K (1.0 and 0: plain decoding is best); separate is None
            where separate steps are not traced, for what an untraced step costs is not published.
        break_even: the alpha from which fused rounds of any K win; None: none does.
    """

    pair: str
    device: str
    alpha: float
    c: float
    c_fused: float
    separate: float | None
    separate_k: int | None
    fused: float
    fused_k: int
    break_even: float | None


def project(pair: PublishedPair, alpha: float, *, host_ms: float, v: float) -> Projected:
    """`host_ms`: of one round trip; `v`: a verify in target steps, whatever K."""
    v_by_k = {k: v for k in KS}
    fused_c = max(0.0, 1e3 / pair.draft_tps - host_ms) * pair.target_tps / 1e3
    fused, separate = best_choice(alpha, fused_c, v_by_k), best_choice(alpha, pair.c, v_by_k)
    traced = pair.device == "N150"  # of several devices two models' traces must not alternate
    wins = [found for k in KS if (found := break_even_alpha(k, fused_c, v)) is not None]
    return Projected(
        pair=pair.pair,
        device=pair.device,
        alpha=alpha,
        c=pair.c,
        c_fused=fused_c,
        separate=separate.speedup if traced else None,
        separate_k=separate.k if traced else None,
        fused=fused.speedup,
        fused_k=fused.k,
        break_even=min(wins, default=None),
    )


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `project`; returns the exit status (2: bad input)."""
    parser = Parser(prog="speculative_demo project", description=__doc__)
    parser.add_argument(
        "--alpha", default="0.6,0.7,0.8", metavar="LIST", help="acceptances to project (default: %(default)s)"
    )
    parser.add_argument(
        "--host-ms",
        type=float,
        default=0.7,
        help="a round trip between host and device (default: %(default)s, assumed)",
    )
    parser.add_argument(
        "--v", type=float, default=1.05, help="one verify / one plain target step (default: %(default)s, assumed)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the projection")
    run(parser.parse_args(argv), make_console())
    return MATCHED


def run(arguments: argparse.Namespace, console: Any) -> None:
    """Project, show and write."""
    json_file = None if arguments.json is None else checked_output("--json", arguments.json)
    alphas = [_alpha(word) for word in words(arguments.alpha)]
    if not 0.0 <= arguments.host_ms < math.inf:
        raise BadInput(f"--host-ms {arguments.host_ms} is no duration; give milliseconds of 0 or more")
    if not 0.0 < arguments.v < math.inf:
        raise BadInput(f"--v {arguments.v} is not positive; it is the cost of one verify in plain target steps")
    assumed = {"host_ms": arguments.host_ms, "v": arguments.v}
    rows = [project(pair, alpha, **assumed) for pair in published_pairs() for alpha in alphas]
    record = {"projected": True, "source": SOURCE, **assumed, "rows": [asdict(row) for row in rows]}
    try:
        if json_file is not None:
            write_json(record, json_file)
    finally:  # whatever became of the file
        console.print(styled(f"{table(record)}\n{conclusion(rows)}"))


def _alpha(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise BadInput(
            f"--alpha: {brief(word)!r} is no probability; give numbers from 0 to 1, with commas between them"
        )
    return value


def table(record: dict[str, Any]) -> str:
    """One row per pair, board and alpha."""
    columns = [
        Column("pair", "pair"),
        Column("board", "device"),
        Column("alpha", "alpha", "{:.2f}"),
        Column("c", "c", "{:.2f}", rank=3),
        Column("c\nfused", "c_fused", "{:.2f}", rank=2),
        Column("separate\nprojected", "separate", "{:.2f}x"),
        Column("at K", "separate_k"),
        Column("fused\nprojected", "fused", "{:.2f}x"),
        Column("at K", "fused_k"),
        Column("wins from\nalpha", "break_even", "{:.2f}"),
    ]
    assumed = "{host_ms:g} ms a round trip and v = {v:g} assumed".format(**record)
    return screen_table(f"PROJECTED, not measured: published decode speeds, {assumed}", columns, record["rows"])


def conclusion(rows: Sequence[Projected]) -> str:
    """In words: from which alpha fused rounds win, what cannot, and what is not known."""
    starts = {f"{row.pair} on {row.device}": row.break_even for row in rows}
    winning = [f"{name} from alpha {start:.2f}" for name, start in starts.items() if start is not None]
    parts = [f"Fused rounds are projected to win with {', '.join(winning)}."] if winning else []
    if losing := [name for name, start in starts.items() if start is None]:
        parts.append(f"No K is projected to win with {', '.join(losing)}, whatever alpha.")
    parts.append(
        "Separate steps of several devices are not traced, and what they cost is not published: not projected."
    )
    return " ".join([*parts, f"Speeds: {SOURCE}."])


if __name__ == "__main__":
    sys.exit(entry(main))

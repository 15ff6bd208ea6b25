# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Result JSONs as a report reads them: any number of files, of the demo or of `compare`, as one list of runs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring.result_shape import COMPARED, FILE, RUN, Needed, fault
from measuring.run import NOT_MADE, Run
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.command import shown

LONGEST_SLUG = 60  # characters: a file's name has room for 255 bytes
SEPARATORS = {code: f"\\u{code:04x}" for code in (0x061C, 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF)}


@dataclass(frozen=True)
class Results:
    """Everything that the files hold.

    Attributes:
        peers: [(pair, peer record)].
    """

    runs: list[Run]
    peers: list[tuple[str, dict[str, Any]]]

    def pairs(self) -> list[str]:
        """Names of the pairs that were run, in order."""
        return list(dict.fromkeys(run.pair for run in self.runs))

    def of(self, pair: str) -> list[Run]:
        """Every arm of the pair once: where several files hold the same arm, the first one's."""
        arms: dict[str, Run] = {}
        for run in self.runs:
            if run.pair == pair:
                arms.setdefault(run.label, run)
        return list(arms.values())

    def slug(self, pair: str) -> str:
        """The pair's name as part of a file name; no other pair's."""
        return _slugs(self.pairs())[pair]

    def peers_of(self, pair: str) -> list[dict[str, Any]]:
        return [peer for name, peer in self.peers if name == pair]

    def beside_peers(self, pair: str) -> list[Run]:
        """The arms that ran in turns with transformers' own decoding: only these can be held against it."""
        return [run for run in self.runs if run.pair == pair and run.shared.get("peers")]


def _pair_of(records: Sequence[dict[str, Any]]) -> str:
    """Of the runs of one file, which share their models though not every arm uses the draft."""
    names = [next((record[role] for record in records if record.get(role)), None) for role in ("target", "draft")]
    return records[0].get("pair") or " <- ".join(Path(name).name for name in names if name) or "unnamed pair"


def headline(runs: Sequence[Run]) -> Run:
    """The run that a summary quotes: what the demo does when it is not told otherwise. One at a time before batches,
    then `auto` before K = 4 before the rest, in the order of the files. It is not chosen by its speedup. NOT_MADE if
    there is none.
    """
    drafting = [run for run in runs if run.get("num_draft_tokens")]

    def rank(run: Run) -> tuple[int, int]:
        preferred = ["auto", "4"]
        return run.users, preferred.index(run.k) if run.k in preferred else len(preferred)

    return min(drafting, key=rank, default=NOT_MADE)


def one_at_a_time(runs: Sequence[Run]) -> list[Run]:
    """The runs that decoded for one user."""
    return [run for run in runs if run.users == 1]


def _slugs(pairs: Sequence[str]) -> dict[str, str]:
    """Names may differ in nothing that a file name keeps: the later one is numbered."""
    found: dict[str, str] = {}
    for pair in pairs:
        name = wanted = re.sub(r"[^A-Za-z0-9]+", "_", pair)[:LONGEST_SLUG].strip("_").lower() or "pair"
        number = 1
        while name in found.values():
            number += 1
            name = f"{wanted}_{number}"
        found[pair] = name
    return found


def load_results(paths: Sequence[Path | str]) -> Results:
    """Read the files.

    Raises:
        BadInput: names the file that is missing, not JSON or not a result of schema 1, and what is wrong in it.
    """
    runs: list[Run] = []
    peers: list[tuple[str, dict[str, Any]]] = []
    for path in map(Path, paths):
        content = _read(path)
        compared = isinstance(content, dict) and content.get("kind") == "compare"
        if wrong := fault(content, Needed(FILE)) or fault(content, COMPARED if compared else RUN):
            raise BadInput(
                f"{path} is not a result of schema 1 ({wrong}); make one with speculative_demo --json or with compare"
            )
        if compared and not content["runs"]:
            raise BadInput(f"{path} holds no runs, so nothing can be reported of it; run compare again")
        found = _results(content)
        runs, peers = runs + found.runs, peers + found.peers
    if not runs:
        raise BadInput("no result files were given")
    return Results(runs, peers)


def results_of(record: dict[str, Any]) -> Results:
    """Of one run that was just made; texts in it act as little as those of a file."""
    return _results(_literal(record))


def _results(content: dict[str, Any]) -> Results:
    """Of a file's whole content, which is as it should be."""
    records = content["runs"] if content.get("kind") == "compare" else [content]
    pair = _pair_of(records)
    peers = [(pair, peer) for peer in content.get("peers") or []]
    return Results([Run(record, content, pair) for record in records], peers)


def _read(path: Path) -> Any:
    """What the file holds; no text in it acts any more where it is shown."""
    try:
        return _literal(json.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        raise BadInput(f"there is no result file {path}") from None
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8, not JSON, a number of thousands of digits
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{path} cannot be read as JSON: {reason}; make it again, or leave it out") from error


def _literal(content: Any) -> Any:
    """The content, the control characters of its texts spelt out, and those that end a line or turn its direction."""
    if isinstance(content, str):
        return shown(content.encode(errors="replace").decode()).translate(SEPARATORS)  # "?" for half a surrogate pair
    if isinstance(content, list):
        return [_literal(entry) for entry in content]
    if isinstance(content, dict):
        return {key: _literal(entry) for key, entry in content.items()}
    return content

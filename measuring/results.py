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
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.command import shown
from models.tt_transformers.demo.speculative_decoding.metrics import ratio

LONGEST_SLUG = 60  # characters: a file's name has room for 255 bytes
SEPARATORS = {code: f"\\u{code:04x}" for code in (0x061C, 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF)}
Row = dict[str, Any]  # one prompt of a run, as in the JSON


def same_text(rows: Sequence[Row]) -> bool:
    """Whether none is known to differ from plain decoding: arms of different texts are not ranked."""
    return all(row.get("identical") is not False for row in rows)


@dataclass(frozen=True)
class Run:
    """One arm on a set of prompts. Every figure is None where the JSON does not have it.

    Attributes:
        record: the demo's result JSON ({} for a run that nobody has made: all its figures are None).
        shared: what the file says once for all its runs: models, cold_start, created, command.
        pair: the pair's name; of a pair without a name "target <- draft", or the target alone.
    """

    record: dict[str, Any]
    shared: dict[str, Any]
    pair: str = ""

    def __post_init__(self) -> None:
        """A text that is not plain decoding's has no speedup, nor has a run that holds one: they are not ranked."""
        if not same_text(self.rows):
            rows = [row if same_text([row]) else {**row, "speedup": None} for row in self.rows]
            summary = {**self.record.get("summary", {}), "speedup": None}
            object.__setattr__(self, "record", {**self.record, "prompts": rows, "summary": summary})

    def get(self, *path: str) -> Any:
        """record[path[0]][path[1]]..., or None where something is missing on the way."""
        return _dig(self.record, path)

    def load(self, role: str, figure: str) -> Any:
        """What loading the "target" or the "draft" cost."""
        return _dig(self.shared, ("models", role, figure))

    def cold(self, arm: str, figure: str) -> Any:
        """The first generation of the arm "plain" or "speculative"."""
        return _dig(self.shared, ("cold_start", arm, figure))

    @property
    def made(self) -> bool:
        return bool(self.record)

    @property
    def rows(self) -> list[Row]:
        return self.record.get("prompts") or []

    @property
    def k(self) -> str:
        """K, or the policy that chose it."""
        fixed = self.get("lookahead") in (None, "fixed")
        return str(self.get("num_draft_tokens")) if fixed else str(self.get("lookahead"))

    @property
    def users(self) -> int:
        """How many were decoded together."""
        return self.get("batch_size") or 1

    @property
    def policy(self) -> str:
        """The drafter and K."""
        return f"{self.get('drafter')}, K = {self.k}"

    @property
    def label(self) -> str:
        return self.policy + (f", {self.users} at once" if self.users > 1 else "")

    def column(self, key: str) -> list[float]:
        """`key` of every prompt that has it."""
        return [row[key] for row in self.rows if row.get(key) is not None]

    def tpot(self, prefix: str = "") -> list[float]:
        """Time per output token of every prompt, ms. prefix "baseline_": of plain decoding."""
        found = [tpot_ms(row.get(f"{prefix}decode_s"), _emitted(row, prefix)) for row in self.rows]
        return [value for value in found if value is not None]

    def request_s(self, prefix: str = "") -> list[float]:
        """Seconds of every whole request: TTFT and decoding."""
        times = [(row.get(f"{prefix}ttft_ms"), row.get(f"{prefix}decode_s")) for row in self.rows]
        return [ttft / 1e3 + decode for ttft, decode in times if ttft is not None and decode is not None]

    def drafted_per_round(self) -> float | None:
        """Mean number of drafted tokens of the rounds that drafted any."""
        counts = [n for row in self.rows for n in row.get("drafted_per_round") or [] if n]
        return ratio(sum(counts), len(counts))

    def speedup_of(self, rows: Sequence[Row]) -> float | None:
        """Speculative / plain decode tok/s over these prompts: where the tokens are the same, a ratio of seconds; None
        where a text is not plain decoding's.
        """
        if not same_text(rows):
            return None
        both = [row for row in rows if row.get("baseline_decode_s") and row.get("decode_s")]
        seconds = {prefix: sum(row[f"{prefix}decode_s"] for row in both) for prefix in ("", "baseline_")}
        tokens = {prefix: sum(_emitted(row, prefix) - 1 for row in both) for prefix in ("", "baseline_")}
        return ratio(tokens[""] * seconds["baseline_"], tokens["baseline_"] * seconds[""])


NOT_MADE = Run({}, {})


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


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The value below which `percent` of the sorted values lie, linear between neighbours (numpy's default); None of
    none."""
    if not values:
        return None
    ordered = sorted(values)
    rank = (len(ordered) - 1) * percent / 100.0
    below = int(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def tpot_ms(decode_s: float | None, num_tokens: int) -> float | None:
    """Time per output token: decode_s / (tokens - 1), in ms. The first token is the prefill's and belongs to TTFT."""
    return None if decode_s is None else ratio(1e3 * decode_s, num_tokens - 1)


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
        records = content["runs"] if compared else [content]
        if not records:
            raise BadInput(f"{path} holds no runs, so nothing can be reported of it; run compare again")
        pair = _pair_of(records)
        runs += [Run(record, content, pair) for record in records]
        peers += [(pair, peer) for peer in content.get("peers") or []]
    if not runs:
        raise BadInput("no result files were given")
    return Results(runs, peers)


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


def _emitted(row: Row, prefix: str) -> int:
    return len(row.get(f"{prefix}tokens") or [])


def _dig(content: Any, path: Sequence[str]) -> Any:
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content

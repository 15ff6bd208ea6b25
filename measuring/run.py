# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""One arm of a result file, as reports read it: its figures, and no ratio where it gives none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from measuring.reports.document import NOT_MEASURED
from measuring.speedups import FIGURES, INCONCLUSIVE, Speedup, together
from models.tt_transformers.demo.speculative_decoding.metrics import ratio

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
        """No ratio stays where a text is not plain decoding's, or where the run itself says that it is inconclusive."""
        doubtful, parted = self.inconclusive is not None, not same_text(self.rows)
        if doubtful or parted:
            blank = dict.fromkeys(FIGURES)
            rows = [{**row, **blank} if doubtful or not same_text([row]) else row for row in self.rows]
            total = self.record.get("summary") or {}
            alone = {**(total.get("without_loops") or {}), **blank}
            changed = {"prompts": rows, "summary": {**total, **blank, "without_loops": alone}, "prediction": None}
            object.__setattr__(self, "record", {**self.record, **changed})

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

    @property
    def inconclusive(self) -> str | None:
        """Why the run gives no ratio, if it says so."""
        return self.get("summary", "inconclusive")

    @property
    def noise(self) -> float | None:
        """By how much a loop that drafts nothing differed from plain decoding, in this run."""
        return self.get("summary", "noise_floor")

    @property
    def speedup(self) -> Speedup:
        """Of all prompts."""
        return self._speedup("summary")

    @property
    def without_loops(self) -> Speedup:
        """Of the prompts whose text does not go round in circles."""
        return self._speedup("summary", "without_loops")

    @property
    def predicted(self) -> Speedup:
        """Of the even prompts, from what the odd ones gave; `prediction_held` is what they then measured."""
        return self._speedup("prediction")

    @property
    def prediction_held(self) -> Speedup:
        return self._speedup("prediction", "measured")

    def speedup_of(self, rows: Sequence[Row]) -> Speedup:
        """Of these prompts; without a value where a text is not plain decoding's."""
        parts = [(Speedup.of(row), row.get("decode_s")) for row in rows] if same_text(rows) else []
        return together(parts, **self._how)

    def against(self, ours: float | None, plain: float | None) -> float | None:
        """ours / plain: any ratio of both arms; None where the run gives none."""
        return None if self.inconclusive else ratio(ours, plain)

    def _speedup(self, *path: str) -> Speedup:
        return Speedup.of(self.get(*path), **self._how)

    @property
    def _how(self) -> dict[str, Any]:
        return {"noise": self.noise, "lacks": INCONCLUSIVE if self.inconclusive else NOT_MEASURED}


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


def _emitted(row: Row, prefix: str) -> int:
    return len(row.get(f"{prefix}tokens") or [])


def _dig(content: Any, path: Sequence[str]) -> Any:
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content


NOT_MADE = Run({}, {})

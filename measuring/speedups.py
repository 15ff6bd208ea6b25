# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A speedup as a report says it: with its 95% interval, and no more decimals than the run's noise floor carries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from measuring.reports.document import NOT_MEASURED
from models.tt_transformers.demo.speculative_decoding.harness.verdict import worth

INCONCLUSIVE, NOT_COMPARABLE = "inconclusive", "not comparable here"
FIGURES = ("speedup", "low", "high")  # as a result file calls them


@dataclass(frozen=True)
class Speedup:
    """A ratio of both arms' times. `low`, `high`: None where there was too little for an interval; `noise`: by how much
    two arms that do the same differed; `lacks`: what is said where there is no value."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    noise: float | None = None
    lacks: str = NOT_MEASURED

    @classmethod
    def of(cls, found: Mapping[str, Any] | None, noise: float | None = None, lacks: str = NOT_MEASURED) -> Speedup:
        """Of a part of a result file that holds FIGURES; without a value if it is not there."""
        value, low, high = ((found or {}).get(name) for name in FIGURES)
        return cls(value, low, high, noise, lacks)

    def __str__(self) -> str:
        if self.value is None:
            return self.lacks
        if self.low is None or self.high is None:
            return f"{worth(self.value, self.noise)} (no interval)"
        return f"{worth(self.value, self.noise)} ({self.range})"

    @property
    def range(self) -> str:
        """ "1.31 to 1.44" """
        low, high = (worth(end, self.noise).removesuffix("x") for end in (self.low, self.high))
        return f"{low} to {high}"

    @property
    def gains(self) -> bool:
        """Whether the whole interval lies above 1."""
        return self.low is not None and self.low > 1.0

    @property
    def loses(self) -> bool:
        return self.high is not None and self.high < 1.0


def rate(value: float | None, noise: float | None) -> str:
    """Tokens per second, by the same rule; at most one decimal."""
    if value is None:
        return NOT_MEASURED
    return f"{value:.1f}" if "." in worth(value, noise) else f"{value:.0f}"


def together(parts: Sequence[tuple[Speedup, float | None]], **how: Any) -> Speedup:
    """Of several prompts: the mean of their speedups, weighted by the seconds that speculative decoding took for each;
    the half-widths of intervals add as those of independent measurements do."""
    known = [(found, found.value, seconds) for found, seconds in parts if found.value is not None and seconds]
    whole = sum(seconds for _, _, seconds in known)
    if not known:
        return Speedup(**how)
    value = sum(one * seconds for _, one, seconds in known) / whole
    lows = [None if found.low is None else (one - found.low) * seconds / whole for found, one, seconds in known]
    highs = [None if found.high is None else (found.high - one) * seconds / whole for found, one, seconds in known]
    below, above = (None if None in ends else math.hypot(*filter(None, ends)) for ends in (lows, highs))
    return Speedup(value, None if below is None else value - below, None if above is None else value + above, **how)


def of_peer(record: Mapping[str, Any]) -> Speedup:
    """Of whole requests, by a peer's record or by one prompt of it."""
    return Speedup.of(record.get("summary", record), lacks=NOT_COMPARABLE)

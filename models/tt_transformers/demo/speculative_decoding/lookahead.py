# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""How many tokens to draft next: fixed, or following what was accepted (auto_lookahead.py: following the clock).

Lookahead is how far a draft looks ahead; Lookahead Decoding (Fu et al. 2024), by Jacobi iteration, is something else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Protocol

from models.tt_transformers.demo.speculative_decoding.drafters import Kind
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import real_number, whole_number
from models.tt_transformers.demo.speculative_decoding.metrics import RoundRecord

MAX_DRAFT_TOKENS = 31  # with the pending token they fill one 32-row tile
PRIOR_ALPHA = 0.7  # what 1B Llamas measure on prose: an unknown draft is worth a try
MARGIN = 1.25  # by which a told draft has to be better: where a text repeats itself, a model's drafts do well, too


def standing(odds: Sequence[float]) -> list[float]:
    """P(the first j tokens stand), for every j; of P(token j stands | those before it do)."""
    return list(accumulate(odds, mul))


class Lookahead(Protocol):
    """Chooses each user's K; told of every round afterwards. A subclass has to say next, and may say more."""

    max_draft_tokens: int  # it never asks for more
    min_probability: float  # drafting ends where the draft model gives no token this probability; 0 never ends it

    def start(self, users: int) -> None:
        """Begin a generation of this many users."""
        return

    def settle(self, kinds: Sequence[str | None]) -> list[str | None]:
        """What Drafter.expect says of each user's coming draft, the better of two where it leaves the choice."""
        return [kind.otherwise if isinstance(kind, Kind) and self._yields(kind) else kind for kind in kinds]

    def _yields(self, kind: Kind) -> bool:
        return kind.otherwise is not None and MARGIN * self.worth(kind.otherwise) > self.worth(kind)

    def worth(self, kind: str) -> float:
        """What orders kinds of drafts: by default how many tokens of the longest may be expected to stand."""
        odds = kind.odds if isinstance(kind, Kind) else [PRIOR_ALPHA] * self.max_draft_tokens
        return sum(standing(odds[: self.max_draft_tokens]))

    def next(self, rooms: Sequence[int], kinds: Sequence[str | None]) -> list[int]:
        """K per user for the coming round. `rooms`: the most that may be drafted (0: none, or the user has ended);
        `kinds`: those settled on (None: there would be no draft)."""

    def further(self, rooms: Sequence[int]) -> list[tuple[int, float]]:
        """DraftRequest.further of the round that next() was asked for; []: none, as where K is fixed."""
        return []

    def observe(self, records: Sequence[RoundRecord | None]) -> None:
        """What became of the round, per user; None for a user who took no part."""
        return


def check_draft_tokens(given: int) -> int:
    """The number; BadInput unless it is a whole one from 0 to MAX_DRAFT_TOKENS."""
    count = whole_number(given, "the number of draft tokens")
    if not 0 <= count <= MAX_DRAFT_TOKENS:
        raise BadInput(f"{count} draft tokens: K must be from 0 (plain decoding) to {MAX_DRAFT_TOKENS}")
    return count


def check_probability(given: float) -> float:
    """The number; BadInput unless it may be a min_probability."""
    probability = real_number(given, "min_probability")
    if not 0.0 <= probability < 1.0:
        raise BadInput(f"min_probability {given} is not in [0, 1); 0 never ends a draft early")
    return probability


@dataclass
class FixedLookahead(Lookahead):
    """Always K, as far as there is room. K = 0 is plain decoding."""

    max_draft_tokens: int = 4
    min_probability: float = 0.0

    def __post_init__(self) -> None:
        self.max_draft_tokens = check_draft_tokens(self.max_draft_tokens)
        self.min_probability = check_probability(self.min_probability)

    def next(self, rooms: Sequence[int], kinds: Sequence[str | None]) -> list[int]:
        return [min(self.max_draft_tokens, room) for room in rooms]


@dataclass(kw_only=True)
class AdaptiveLookahead(Lookahead):
    """K rises by two after a fully accepted draft and falls by one after a rejection, within bounds, user by user.

    As is ending a draft early where the draft model is unsure (c > 0: what will hardly be accepted is not worth
    drafting), the schedule is transformers' (candidate_generator.py, "heuristic"). A seeded run repeats itself.
    """

    start_draft_tokens: int = 4
    min_draft_tokens: int = 1
    max_draft_tokens: int = 16
    min_probability: float = 0.4

    def __post_init__(self) -> None:
        for name in ("start_draft_tokens", "min_draft_tokens", "max_draft_tokens"):
            setattr(self, name, check_draft_tokens(getattr(self, name)))
        if not 0 <= self.min_draft_tokens <= self.start_draft_tokens <= self.max_draft_tokens:
            given = f"from {self.min_draft_tokens} over {self.start_draft_tokens} to {self.max_draft_tokens}"
            raise BadInput(f"adaptive K {given}: give 0 <= min <= start <= max")
        self.min_probability = check_probability(self.min_probability)

    def start(self, users: int) -> None:
        self._current = [self.start_draft_tokens] * users

    def next(self, rooms: Sequence[int], kinds: Sequence[str | None]) -> list[int]:
        return [min(current, room) for current, room in zip(self._current, rooms, strict=True)]

    def observe(self, records: Sequence[RoundRecord | None]) -> None:
        for user, record in enumerate(records):
            if record is not None and record.drafted:
                moved = self._current[user] + (2 if record.accepted == record.drafted else -1)
                self._current[user] = max(self.min_draft_tokens, min(moved, self.max_draft_tokens))

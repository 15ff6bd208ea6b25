# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""How many tokens to draft next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.metrics import RoundRecord

MAX_DRAFT_TOKENS = 31  # with the pending token they fill one 32-row tile


class Lookahead(Protocol):
    """Chooses each user's K; told of every round afterwards."""

    max_draft_tokens: int  # never asks for more
    min_probability: float  # drafting ends before a token that the drafter itself believes in less; 0 never ends it

    def start(self, users: int) -> None:
        """Begin a generation of this many users."""

    def next(self, rooms: Sequence[int]) -> list[int]:
        """K per user for the coming round; rooms[b] tokens may be drafted at most (0: none, or the user has ended)."""

    def observe(self, records: Sequence[RoundRecord | None]) -> None:
        """What became of the round, per user; None for a user who took no part."""


@dataclass(frozen=True)
class FixedLookahead:
    """Always K, as far as there is room. K = 0 is plain decoding."""

    max_draft_tokens: int = 4
    min_probability: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_draft_tokens <= MAX_DRAFT_TOKENS:
            raise BadInput(f"{self.max_draft_tokens} draft tokens: K must be from 0 (plain decoding) to {MAX_DRAFT_TOKENS}")

    def start(self, users: int) -> None:
        pass

    def next(self, rooms: Sequence[int]) -> list[int]:
        return [min(self.max_draft_tokens, room) for room in rooms]

    def observe(self, records: Sequence[RoundRecord | None]) -> None:
        pass

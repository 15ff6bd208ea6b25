# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The state of one generation, and the one path by which a round's tokens enter it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from models.tt_transformers.demo.speculative_decoding.acceptance import Acceptance
from models.tt_transformers.demo.speculative_decoding.clock import RunClock
from models.tt_transformers.demo.speculative_decoding.drafters import Draft
from models.tt_transformers.demo.speculative_decoding.metrics import RoundRecord
from models.tt_transformers.demo.speculative_decoding.sequences import Origin, SequenceState


@dataclass(frozen=True)
class TokenEvent:
    """One emitted token: whose, which, where it came from, and the sequence it now ends."""

    user: int
    token: int
    origin: Origin
    source: str


@dataclass
class Batch:
    """The state of a generation: a sequence per user, the users' random generators, the records of past rounds."""

    sequences: list[SequenceState]
    generators: list[torch.Generator]
    clock: RunClock
    target_ttft_ns: int = 0
    rounds: list[list[RoundRecord | None]] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return all(sequence.finished for sequence in self.sequences)

    @property
    def contexts(self) -> list[list[int]]:
        return [sequence.tokens for sequence in self.sequences]


def commit_round(
    batch: Batch, draft: Draft, acceptance: Acceptance, now_ns: int
) -> tuple[list[TokenEvent], list[RoundRecord | None]]:
    """Append what stands, in order, until a stop; and count what was committed (times are filled in by the caller)."""
    events: list[TokenEvent] = []
    records: list[RoundRecord | None] = []
    width = 1 + max(map(len, draft.tokens))
    for user, sequence in enumerate(batch.sequences):
        if sequence.finished:
            records.append(None)
            continue
        drafted, accepted = draft.tokens[user], acceptance.accepted_counts[user]
        own: Origin = "plain" if not drafted else "bonus" if accepted == len(drafted) else "recovered"
        standing: list[tuple[int, Origin, str]] = [
            (drafted[j], "accepted", draft.sources[user][j]) for j in range(accepted)
        ]
        emitted = 0
        for token, origin, source in [*standing, (acceptance.next_tokens[user], own, "")]:
            sequence.commit(token, origin, source, now_ns)
            events.append(TokenEvent(user, token, origin, source))
            emitted += 1
            if sequence.finished:
                break
        cut = emitted <= accepted  # the stop fell on a drafted token: what was drafted after it counts for nothing
        records.append(
            RoundRecord(
                index=len(batch.rounds),
                drafted=emitted if cut else len(drafted),
                accepted=emitted if cut else accepted,
                emitted=emitted,
                tokens_per_user=width,
            )
        )
    return events, records

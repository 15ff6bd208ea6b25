# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The state of one generation, and the only way in which a round becomes tokens of its sequences."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch

from models.tt_transformers.demo.speculative_decoding.acceptance import Acceptance
from models.tt_transformers.demo.speculative_decoding.drafters import Draft
from models.tt_transformers.demo.speculative_decoding.metrics import RoundRecord
from models.tt_transformers.demo.speculative_decoding.processors import Chooser
from models.tt_transformers.demo.speculative_decoding.runner import RunClock
from models.tt_transformers.demo.speculative_decoding.sequences import Origin, SequenceState, TokenLogprob

Records: TypeAlias = list[RoundRecord | None]  # of one round, per user; None for a user who had ended


@dataclass(frozen=True)
class TokenEvent:
    """One emitted token: whose, which, where it came from, which drafter proposed it ("": none did); and its
    log-probability, if that was asked for."""

    user: int
    token: int
    origin: Origin
    source: str
    logprob: TokenLogprob | None = None


@dataclass
class Batch:
    """The state of a generation: a sequence per user, how the users' tokens are chosen, the records of past rounds."""

    sequences: list[SequenceState]
    choosers: list[Chooser]
    generators: list[torch.Generator]
    logprobs: int | None  # how many of the best to tell with each token
    clock: RunClock
    reuse: bool = False
    kept: list[int] = field(default_factory=list)  # per user how many first tokens of the prompt were cached already
    target_ttft_ns: int = 0
    rounds: list[Records] = field(default_factory=list)

    @property
    def by_ids(self) -> bool:
        """Whether the target's argmax ids say all that is wanted."""
        return self.logprobs is None and all(chooser.by_ids for chooser in self.choosers)

    def commit(
        self, user: int, token: int, origin: Origin, source: str, now_ns: int, *, verdicts: Sequence[Any], index: int
    ) -> TokenEvent:
        """Append one token of a user, who has it from that row of his verdicts."""
        told = None if self.logprobs is None else verdicts[user].logprob(index, token, self.logprobs)
        self.sequences[user].commit(token, origin, source, now_ns, told)
        return TokenEvent(user, token, origin, source, told)

    def commit_round(self, draft: Draft, acceptance: Acceptance, now_ns: int) -> tuple[list[TokenEvent], Records]:
        """Append what stands, in order, until a stop; and count what was committed (the caller fills in the times)."""
        events: list[TokenEvent] = []
        records: Records = []
        shared: dict[str, Any] = {"index": len(self.rounds), "tokens_per_user": 1 + max(map(len, draft.tokens))}
        for user, sequence in enumerate(self.sequences):
            if sequence.finished:
                records.append(None)
                continue
            tokens, accepted = draft.tokens[user], acceptance.accepted_counts[user]
            own: Origin = "plain" if not tokens else "bonus" if accepted == len(tokens) else "recovered"
            standing: list[tuple[int, Origin, str]]
            standing = [(tokens[j], "accepted", draft.sources[user][j]) for j in range(accepted)]
            emitted, drafted = 0, len(tokens)
            for token, origin, source in [*standing, (acceptance.next_tokens[user], own, "")]:
                of_row: dict[str, Any] = {"verdicts": acceptance.verdicts, "index": emitted}
                events.append(self.commit(user, token, origin, source, now_ns, **of_row))
                emitted += 1
                if sequence.finished:
                    break
            if emitted <= accepted:  # the stop fell on a drafted token: what was drafted after it counts for nothing
                drafted = accepted = emitted
            source = draft.sources[user][0] if tokens else ""
            tail = sum(other != source for other in draft.sources[user][:drafted])
            counted: dict[str, Any] = {"drafted": drafted, "accepted": accepted, "emitted": emitted, "tail": tail}
            records.append(RoundRecord(source=source, **counted, **shared))
        return events, records

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What is counted and timed, and one definition of every quantity derived from it.

Counts are of committed tokens only: what a stop cut off was neither drafted nor accepted. A quantity with nothing to
divide is None, never 0.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from models.tt_transformers.demo.speculative_decoding.sequences import (
    Decode,
    FinishReason,
    Origin,
    SequenceState,
    TokenLogprob,
)


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """One user's part in one round; the users of a batch share its index and its times."""

    index: int  # of the round in its generation
    drafted: int  # as committed: a stop inside the accepted prefix cuts drafted and accepted
    accepted: int
    emitted: int  # accepted + 1, or accepted if a stop cut the round
    tokens_per_user: int  # T of the verify forward, pending token included
    source: str = ""  # the drafter of the first drafted token; "": nothing was drafted
    tail: int = 0  # of the drafted tokens the last ones, with which another drafter went on
    catch_up: int = 0  # tokens of rounds without the drafter that it was fed first; draft_ns has their time
    fused: bool = False  # drafted and verified in one go on the device: draft_ns is 0, verify_ns is of both
    apart: str = ""  # why it was not, where it might have been
    draft_ns: int = 0
    own_ns: int | None = None  # of draft_ns what the user's own drafter took, where several drafted; None: all
    verify_ns: int = 0
    total_ns: int = 0

    @property
    def drafter_ns(self) -> int:
        """What the user's own drafter took."""
        return self.draft_ns if self.own_ns is None else self.own_ns

    @property
    def host_ns(self) -> int:
        """What draft and verify leave of the round."""
        return self.total_ns - self.draft_ns - self.verify_ns


@dataclass(frozen=True, kw_only=True)
class GenerationResult:
    """What one user got, and how."""

    prompt: list[int]
    tokens: list[int]  # the emitted ones
    text: str | None  # None without a tokenizer
    finish_reason: FinishReason | None  # None: the generation was abandoned
    origins: list[Origin]  # per token where it came from
    sources: list[str]  # per token which drafter proposed it; "": it is the target's own
    ttft_ns: int  # from the call to the first emitted token, with every prefill in it
    target_ttft_ns: int  # the target's prefill alone
    emitted_ns: list[int]  # when each token was emitted, on the generation's clock
    logprobs: list[TokenLogprob | None] = field(default_factory=list)  # per token; None where they were not asked for
    rounds: list[RoundRecord] = field(default_factory=list)  # none for plain decoding
    step_ns: list[int] = field(default_factory=list)  # plain decoding only: of each decode step

    @classmethod
    def of(cls, sequence: SequenceState, *, decode: Decode | None = None, **measured: Any) -> GenerationResult:
        """What `sequence` holds now; `measured`: target_ttft_ns, and a list rounds or step_ns."""
        return cls(
            prompt=sequence.prompt,
            tokens=sequence.emitted,
            text=decode(sequence.emitted) if decode else None,
            finish_reason=sequence.finish_reason,
            origins=sequence.origins,
            sources=sequence.sources,
            ttft_ns=sequence.emitted_ns[0],
            emitted_ns=sequence.emitted_ns,
            logprobs=sequence.logprobs,
            **measured,
        )

    @property
    def decode_s(self) -> float:
        """Seconds from the first emitted token to the last; the prefill is not in it."""
        return (self.emitted_ns[-1] - self.emitted_ns[0]) / 1e9

    @property
    def decode_tps(self) -> float | None:
        """Decode tokens per second: the tokens after the first / decode_s."""
        return ratio(len(self.tokens) - 1, self.decode_s)

    @property
    def drafted(self) -> int:
        return sum(r.drafted for r in self.rounds)

    @property
    def accepted(self) -> int:
        return sum(r.accepted for r in self.rounds)


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """numerator / denominator; None where one is not known or there is nothing to divide by."""
    return numerator / denominator if numerator is not None and denominator else None


LOOPS = 0.5  # of its own n-grams: a text that repeats more than this goes round in circles
NGRAM = 6


@dataclass(frozen=True)
class Repetition:
    """How much of a text stood already: the shares of its 6-grams that were emitted before, and that are the prompt's.
    None for fewer than six tokens."""

    emitted: float | None
    prompt: float | None

    @classmethod
    def of(cls, tokens: Sequence[int], prompt: Sequence[int]) -> Repetition:
        grams = [tuple(tokens[i : i + NGRAM]) for i in range(len(tokens) - NGRAM + 1)]
        known = {tuple(prompt[i : i + NGRAM]) for i in range(len(prompt) - NGRAM + 1)}
        repeated = len(grams) - len(set(grams))
        return cls(ratio(repeated, len(grams)), ratio(sum(gram in known for gram in grams), len(grams)))

    @property
    def loops(self) -> bool:
        return self.emitted is not None and self.emitted > LOOPS


def acceptance_rate(rounds: Sequence[RoundRecord]) -> float | None:
    """accepted / drafted."""
    return ratio(sum(r.accepted for r in rounds), sum(r.drafted for r in rounds))


def tokens_per_round(rounds: Sequence[RoundRecord]) -> float | None:
    """emitted / rounds: tokens per target step, bonus and recovered included. Not a speedup."""
    return ratio(sum(r.emitted for r in rounds), len(rounds))


def accepted_per_position(rounds: Sequence[RoundRecord]) -> list[int]:
    """Entry j counts the rounds in which drafted token j+1 was accepted; non-increasing."""
    longest = max((r.drafted for r in rounds), default=0)
    return [sum(r.accepted > j for r in rounds) for j in range(longest)]


def alpha(rounds: Sequence[RoundRecord]) -> float | None:
    """P(a drafted token is accepted | all before it were): accepted / drafted tokens that the target got to judge.

    A round judges its accepted tokens and the first rejected one (Leviathan et al. 2023, section 3.1, call it alpha).
    """
    judged = sum(min(r.accepted + 1, r.drafted) for r in rounds)
    return ratio(sum(r.accepted for r in rounds), judged)


def expected_tokens(alpha: float, num_draft_tokens: float) -> float:
    """E(alpha, K) = (1 - alpha^(K+1)) / (1 - alpha) tokens per round (Leviathan et al. 2023, equation 1)."""
    if alpha == 1.0:
        return num_draft_tokens + 1.0
    all_stand: float = alpha ** (num_draft_tokens + 1)
    return (1.0 - all_stand) / (1.0 - alpha)


@dataclass(frozen=True, kw_only=True)
class RoundModel:
    """The three numbers that decide whether speculation pays; each None where the run did not measure it."""

    alpha: float | None  # see alpha()
    c: float | None  # median draft time per proposed token, of rounds without catch-up / median plain step
    v: float | None  # median verify time of the rounds that drafted / median plain step

    @classmethod
    def measured(cls, rounds: Sequence[RoundRecord], step_ns: Sequence[int]) -> RoundModel:
        """From the rounds of a run that are not fused, and the plain decode steps of the same run."""
        apart = [r for r in rounds if r.drafted and not r.fused]
        usual = [
            (r.drafter_ns, r.tokens_per_user - 1 if r.own_ns is None else r.drafted)
            for r in apart
            if not (r.catch_up or r.tail)
        ]
        step, verify = median(step_ns), median([r.verify_ns for r in apart])
        draft = median([ns / proposed for ns, proposed in usual])
        return cls(alpha=alpha(rounds), c=ratio(draft, step), v=ratio(verify, step))


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None

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

from models.tt_transformers.demo.speculative_decoding.sequences import Decode, FinishReason, Origin, SequenceState


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """One user's part in one round.

    Attributes:
        index: number of the round in its generation; users of a batch share it, and the times.
        drafted, accepted: as committed; a stop inside the accepted prefix cuts both.
        emitted: accepted + 1, or accepted if a stop cut the round.
        draft_ns, verify_ns, total_ns: of the whole round; the host's share is what draft and verify leave of total.
        tokens_per_user: T of the verify forward, pending token included.
    """

    index: int
    drafted: int
    accepted: int
    emitted: int
    tokens_per_user: int
    draft_ns: int = 0
    verify_ns: int = 0
    total_ns: int = 0

    @property
    def host_ns(self) -> int:
        return self.total_ns - self.draft_ns - self.verify_ns


@dataclass(frozen=True, kw_only=True)
class GenerationResult:
    """What one user got, and how.

    Attributes:
        tokens: emitted ids (the prompt is not among them); origins and sources say per token where it came from
            ("accepted", "recovered", ...) and which drafter proposed it ("" for the target's own).
        ttft_ns: from the call to the first emitted token, with every prefill in it; target_ttft_ns: the target's
            prefill alone.
        emitted_ns: when each token was emitted, on the generation's clock.
        rounds: empty for plain decoding.
        step_ns: plain decoding only: duration of each decode step.
    """

    prompt: list[int]
    tokens: list[int]
    text: str | None
    finish_reason: FinishReason | None
    origins: list[Origin]
    sources: list[str]
    ttft_ns: int
    target_ttft_ns: int
    emitted_ns: list[int]
    rounds: list[RoundRecord] = field(default_factory=list)
    step_ns: list[int] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        sequence: SequenceState,
        *,
        target_ttft_ns: int,
        rounds: Sequence[RoundRecord] = (),
        step_ns: Sequence[int] = (),
        decode: Decode | None = None,
    ) -> GenerationResult:
        """What `sequence` holds now; one that was abandoned half-way has no finish_reason."""
        return cls(
            prompt=sequence.prompt,
            tokens=sequence.emitted,
            text=decode(sequence.emitted) if decode else None,
            finish_reason=sequence.finish_reason,
            origins=sequence.origins,
            sources=sequence.sources,
            ttft_ns=sequence.emitted_ns[0],
            target_ttft_ns=target_ttft_ns,
            emitted_ns=sequence.emitted_ns,
            rounds=list(rounds),
            step_ns=list(step_ns),
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


def speedup(decode_tps: float | None, baseline_decode_tps: float | None) -> float | None:
    """Wall-clock: speculative / plain decode tokens per second of one run.

    For the same tokens, which greedy decoding promises, that is plain / speculative seconds; samples differ in length.
    """
    return ratio(decode_tps, baseline_decode_tps)


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
    """The four numbers that decide whether speculation pays; each None where the run did not measure it.

    Attributes:
        alpha: see alpha().
        c: mean draft time per drafted token / mean plain decode step of the target.
        v: mean verify time of the rounds that drafted / mean plain decode step.
        v_plain: mean verify time of the rounds that did not / mean plain decode step (near 1 when all is well).
    """

    alpha: float | None
    c: float | None
    v: float | None
    v_plain: float | None

    @classmethod
    def measured(cls, rounds: Sequence[RoundRecord], step_ns: Sequence[int]) -> RoundModel:
        """From the rounds of a run and the plain decode steps of the same run."""
        drafting = [r for r in rounds if r.drafted]
        idle = [r for r in rounds if not r.drafted]
        step = statistics.fmean(step_ns) if step_ns else 0.0
        per_draft = ratio(sum(r.draft_ns for r in rounds), sum(r.drafted for r in rounds))
        return cls(
            alpha=alpha(rounds),
            c=ratio(per_draft, step),
            v=ratio(statistics.fmean(r.verify_ns for r in drafting), step) if drafting else None,
            v_plain=ratio(statistics.fmean(r.verify_ns for r in idle), step) if idle else None,
        )


def predicted_from_rounds(rounds: Sequence[RoundRecord], step_ns: Sequence[int]) -> float | None:
    """E(alpha, K) / (c*K + v), the plain decode steps that a round replaces / those that it costs, over rounds of
    several K: sum of E(alpha_K, K) / sum of (c_K * K + v_K), a round at a time.

    Each K has the alpha, c and v of its own rounds: a run that chooses K as it goes drafts far where drafts are good,
    and a wide verify costs more than a narrow one. A round that drafted nothing emits one token and costs v_plain. None
    if nothing was drafted, or no plain step was timed.
    """
    tokens = cost = 0.0
    for k in {r.drafted for r in rounds}:
        of_k = [r for r in rounds if r.drafted == k]
        model = RoundModel.measured(of_k, step_ns)
        if model.alpha is not None and model.c is not None and model.v is not None:
            emitted, price = expected_tokens(model.alpha, k), model.c * k + model.v
        elif model.v_plain is not None:
            emitted, price = 1.0, model.v_plain
        else:
            return None
        tokens += len(of_k) * emitted
        cost += len(of_k) * price
    return ratio(tokens, cost) if any(r.drafted for r in rounds) else None


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Segment ping-pong: speculative and plain decoding run the same positions back to back, in turns of a second or less.

A segment: speculate until every user has emitted SEGMENT tokens; plain steps over as many positions. Orders alternate
(AB BA AB ...). After each segment the tokens of both are compared; where they part, plain decoding's token goes on.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from models.tt_transformers.demo.speculative_decoding.batch import Batch, Records, TokenEvent
from models.tt_transformers.demo.speculative_decoding.harness.segments import BUCKET, Segment, Timed
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.plain_decoding import PlainDecoder
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner
from models.tt_transformers.demo.speculative_decoding.sequences import GenerationRequest, SequenceState
from models.tt_transformers.demo.speculative_decoding.speculative_generator import OnToken, SpeculativeGenerator

SEGMENT = 16


@dataclass
class Busy:
    """Time spent in parts of a segment."""

    wall_ns: int = 0
    cpu_ns: int = 0

    @contextmanager
    def watch(self) -> Iterator[None]:
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        yield
        self.wall_ns += time.perf_counter_ns() - wall
        self.cpu_ns += time.process_time_ns() - cpu

    @property
    def share(self) -> float:
        return self.cpu_ns / self.wall_ns if self.wall_ns else 1.0


@dataclass
class Game:
    """One generation by both arms: what each wrote, where they parted, and its segments."""

    speculative: list[GenerationResult] = field(default_factory=list)
    plain: list[GenerationResult] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    parted: list[tuple[int, int]] = field(default_factory=list)  # (user, index of the emitted token)


def play(
    generator: SpeculativeGenerator,
    request: GenerationRequest,
    *,
    plainly: ModelRunner | None = None,
    number: int = 0,
    on_token: OnToken | None = None,
) -> Game:
    """Generate for all prompts of the request together, in turns with plain decoding.

    Args:
        plainly: the target's weights with a cache of their own. The target itself: both arms write one cache, which is
            addressed by position; what one arm spoils there, both see. None: no plain decoding.
        number: the batch's, by which its segments are known.
        on_token: called outside the clocks; where the arms part it has seen the speculative arm's token.
    """
    game, batch = Game(), generator.new_batch(request)

    def show(events: Sequence[TokenEvent]) -> None:
        with batch.clock.paused():
            for event in events:
                if on_token is not None:
                    on_token(event)

    show(generator.prefill_both_models(batch))
    plain = None if plainly is None else _begun(generator, batch, plainly)
    while not all(sequence.finished for sequence in batch.sequences):
        segment = _segment(generator, plain, batch, number, show, plain_first=len(game.segments) % 2 == 1)
        game.segments.append(segment)
        if plain is not None and generator.sampling.greedy:
            game.parted += _agree(generator, plain, batch)
    if plain is not None:
        game.plain = plain.results()
    game.speculative = generator.results(batch)
    return game


def _begun(generator: SpeculativeGenerator, batch: Batch, plainly: ModelRunner) -> PlainDecoder:
    """Plain decoding of the batch's prompts, under its conditions and with its seeds, after their first tokens."""
    sequences = [SequenceState(prompt=list(s.prompt), stop=s.stop) for s in batch.sequences]
    seeds = [generator.initial_seed() for generator in batch.generators]
    how: dict[str, Any] = generator.how | {"seeds": seeds, "logprobs": batch.logprobs}
    plain = PlainDecoder(plainly, sequences, **how)
    if plainly is generator.target:  # which was prefilled just now
        first = [s.tokens[-1] for s in batch.sequences], [s.logprobs[-1] for s in batch.sequences]
        plain.begin(*first, batch.target_ttft_ns)
    else:
        plain.prefill()
    return plain


def _segment(
    generator: SpeculativeGenerator,
    plain: PlainDecoder | None,
    batch: Batch,
    number: int,
    show: Callable[[Sequence[TokenEvent]], None],
    *,
    plain_first: bool,
) -> Segment:
    """One segment. Samples differ between the arms, so there plain decoding decodes the speculative text again, after
    it; of several users, who emit at different speeds, it takes as many steps as they emitted tokens on average."""
    told = None if generator.sampling.greedy else [s.tokens for s in batch.sequences]
    steps: list[Timed] = []
    busy, plainly_busy = Busy(), Busy()

    def decode_plainly(count: int) -> None:
        if plain is not None and count > 0:
            with batch.clock.paused(), generator.turn(batch), plainly_busy.watch():
                done = plain.run(count, told=told)
            steps.extend(Timed((step.position // BUCKET, len(step.users)), step.ns, step.users) for step in done)

    if plain_first and told is None:
        decode_plainly(SEGMENT)
    live, done = [user for user, s in enumerate(batch.sequences) if not s.finished], len(batch.rounds)
    before = [len(s.origins) for s in batch.sequences]
    while any(not s.finished and len(s.origins) < before[u] + SEGMENT for u, s in enumerate(batch.sequences)):
        with busy.watch():
            events = generator.speculative_decode_step(batch)
        show(events)
    emitted = tuple(len(s.origins) - count for s, count in zip(batch.sequences, before, strict=True))
    rest = batch.sequences[0].stop.max_seq_len  # of steps: all there are
    over = all(s.finished for s in batch.sequences)
    decode_plainly(rest if over else round(sum(emitted) / len(live)) - len(steps))
    return Segment(
        prompt=number,
        tokens=emitted,
        steps=tuple(steps),
        rounds=tuple(map(_timed, batch.rounds[done:])),
        plain_share=plainly_busy.share,
        share=busy.share,
    )


def _timed(records: Records) -> Timed:
    """A round, with all that its duration depends on."""
    live = {user: record for user, record in enumerate(records) if record is not None}
    first = next(iter(live.values()))
    drafters = frozenset(record.source for record in live.values() if record.drafted)
    tail = sum(record.tail for record in live.values())
    kind = (first.tokens_per_user, drafters, tail, first.catch_up, first.fused, len(live))
    return Timed(kind, first.total_ns, tuple(live))


def _agree(generator: SpeculativeGenerator, plain: PlainDecoder, batch: Batch) -> list[tuple[int, int]]:
    """Where the arms part, (user, index of the emitted token): both go on from plain decoding's token."""
    parted = []
    for user, (ours, theirs) in enumerate(zip(batch.sequences, plain.sequences, strict=True)):
        both = enumerate(zip(ours.emitted, theirs.emitted))
        if (index := next((i for i, (one, other) in both if one != other), None)) is not None:
            token, told = theirs.emitted[index], theirs.logprobs[index]
            parted.append((user, index))
            for sequence in (ours, theirs):
                at_ns = sequence.emitted_ns[index]
                sequence.cut(index)
                sequence.commit(token, "plain", "", at_ns, told)
    if parted:
        with batch.clock.paused():
            generator.resume(batch)
    return parted

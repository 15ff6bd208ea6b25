# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Plain decoding, one token per user and forward: the baseline that every speedup is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.processors import chooser_of, processors_of
from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelRunner, RunClock
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState, StopConditions, TokenLogprob


@dataclass(frozen=True)
class PlainStep:
    """One forward of one token for each of some users."""

    ns: int
    users: tuple[int, ...]
    position: int  # the farthest of theirs


class PlainDecoder:
    """Plain decoding that can be stopped and continued.

    Args:
        runner: the target.
        seeds: one per user; default sampling.seed + user.
        processors, logprobs: as of SpeculativeGenerator and GenerationRequest.
        width: rows per user and forward; more than 1 repeats the pending token into rows whose results are thrown away,
            so that the kernels are those of a verify of this width (see SpeculativeGenerator's verify_width).
    """

    def __init__(
        self,
        runner: ModelRunner,
        sequences: Sequence[SequenceState],
        *,
        sampling: SamplingParams = SamplingParams(),
        processors: object = (),
        logprobs: int | None = None,
        seeds: Sequence[int] | None = None,
        width: int = 1,
    ) -> None:
        self.runner, self.sequences, self.width, self._logprobs = runner, sequences, width, logprobs
        own = processors_of(runner, processors)
        self._choosers = [chooser_of(sequence, sampling, own) for sequence in sequences]
        seeds = [sampling.seed + user for user in range(len(sequences))] if seeds is None else seeds
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._ttft_ns, self._steps = 0, [[] for _ in sequences]  # type: ignore[var-annotated]

    def prefill(self) -> None:
        """Cache the prompts and choose each user's first token."""
        clock = RunClock()
        logits = self.runner.prefill([sequence.prompt for sequence in self.sequences]).values
        chosen = [self._choose(user, row) for user, row in enumerate(logits)]
        self.begin([token for token, _ in chosen], [told for _, told in chosen], clock.now(self.runner))

    def begin(self, first: Sequence[int], logprobs: Sequence[TokenLogprob | None], ttft_ns: int) -> None:
        """Go on from first tokens that a prefill of the runner gave after so long."""
        self._ttft_ns = ttft_ns
        for sequence, token, told in zip(self.sequences, first, logprobs, strict=True):
            sequence.commit(token, "prefill", "", ttft_ns, told)

    def run(self, count: int, *, told: Sequence[Sequence[int]] | None = None) -> list[PlainStep]:
        """At most `count` steps of every user who has not ended. `told`: texts (prompts and all) that are decoded again
        instead of its own choices, as far as they go."""
        done: list[PlainStep] = []
        clock = RunClock()
        before = clock.now(self.runner)
        while len(done) < count and (live := tuple(u for u, s in enumerate(self.sequences) if not s.finished)):
            positions = [s.pending_position if user in live else IDLE for user, s in enumerate(self.sequences)]
            room = (s.stop.max_seq_len - max(at, 0) for s, at in zip(self.sequences, positions, strict=True))
            lengths = [min(self.width, most) for most in room]
            pending = torch.tensor([[s.tokens[-1]] * max(lengths) for s in self.sequences])
            by_ids = self._logprobs is None and all(chooser.by_ids for chooser in self._choosers)
            rows = self.runner.forward(pending, positions, lengths=lengths, argmax_only=by_ids).values
            known = {user: told[user][positions[user] + 1 : positions[user] + 2] if told else () for user in live}
            chosen = {user: self._choose(user, rows[user, 0], known[user]) for user in live}
            now = clock.now(self.runner)
            for user, (token, logprob) in chosen.items():
                emitted_ns = self.sequences[user].emitted_ns[-1] + now - before
                self.sequences[user].commit(token, "plain", "", emitted_ns, logprob)
                self._steps[user].append(now - before)
            done.append(PlainStep(now - before, live, max(positions)))
            before = now
        return done

    def _choose(self, user: int, row: Tensor, known: Sequence[int] = ()) -> tuple[int, TokenLogprob | None]:
        """The token after a row ([V] logits, or an argmax id), chosen or else known, and its log-probability."""
        if not row.is_floating_point():
            return (known or [int(row)])[0], None
        rows = self._choosers[user].rows(row[None], self.sequences[user].tokens)
        token = rows.choose(0, self._generators[user])
        token = known[0] if known else token
        return token, None if self._logprobs is None else rows.logprob(0, token, self._logprobs)

    def results(self) -> list[GenerationResult]:
        """One per user; step_ns is the duration of each decode step that the user took part in."""
        return [
            GenerationResult.of(s, target_ttft_ns=self._ttft_ns, step_ns=step_ns, decode=s.stop.decode)
            for s, step_ns in zip(self.sequences, self._steps, strict=True)
        ]


def decode_plainly(
    target: ModelRunner,
    prompts: Sequence[list[int]],
    *,
    stop: StopConditions | Sequence[StopConditions],
    **how: Any,
) -> list[GenerationResult]:
    """Prefill, then one forward per token, all users together. Timed as SpeculativeGenerator times itself.

    Args:
        prompts: token ids, one list per user.
        stop: the conditions that the speculative arm has, of all users or one per user.
        how: sampling, processors, logprobs, seeds and width of PlainDecoder.
    """
    stops = [stop] * len(prompts) if isinstance(stop, StopConditions) else stop
    sequences = [SequenceState(prompt=list(prompt), stop=own) for prompt, own in zip(prompts, stops, strict=True)]
    with target.turns.lock:  # nobody else's generation begins meanwhile
        decoder = PlainDecoder(target, sequences, **how)
        decoder.prefill()
        decoder.run(max(own.max_seq_len for own in stops))
    return decoder.results()

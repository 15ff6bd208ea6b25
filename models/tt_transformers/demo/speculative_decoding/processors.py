# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""How a token is chosen from a row of logits: logits processors, each told the history that its row has, then sampling.

One definition (Chooser) serves the target's p, the drafter's q, plain decoding, and the log-probabilities of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, sample, to_probabilities
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import real_number
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState, TokenLogprob

# Those of transformers' own whose result follows from the row and its history (tests/hf/test_processors.py).
PURE = (
    "EncoderNoRepeatNGram EncoderRepetitionPenalty EpsilonLogitsWarper EtaLogitsWarper ExponentialDecayLengthPenalty "
    "ForcedBOSToken ForcedEOSToken InfNanRemove LogitNormalization MinLength MinNewTokensLength MinPLogitsWarper "
    "NoBadWords NoRepeatNGram PrefixConstrained RepetitionPenalty SequenceBias SuppressTokens SuppressTokensAtBegin "
    "TemperatureLogitsWarper TopHLogitsWarper TopKLogitsWarper TopPLogitsWarper TypicalLogitsWarper Watermark"
).split()


class Processor(Protocol):
    """Changes a row of logits by the tokens before it."""

    def process(self, logits: Tensor, history: Tensor) -> Tensor:
        """The processed logits of the token after `history`.

        One that remembers (a grammar's matcher) finds out by itself how far this history agrees with its last: it goes
        back over what was rejected and forward over the rest. It is never shown a history that cannot come true.

        Args:
            logits: float32 [V] on the host; may be changed in place.
            history: int64 [L]: the prompt, all that was emitted, and the drafts before this position; to be read.
        """


class ForUsers(Protocol):
    """Makes processors for each user, for those that remember, or depend on the prompt or on what ends the text."""

    def for_user(self, sequence: SequenceState, sampling: SamplingParams) -> Iterable[Processor]:
        """Of the sequence as it begins. BadInput says what cannot be done. One with a true attribute `warps` comes
        after temperature, top-k and top-p, and never in greedy decoding."""


@dataclass(frozen=True)
class OfTransformers:
    """A LogitsProcessor of transformers, or any function of input_ids [1, L] and scores [1, V], as a Processor."""

    function: Any
    vocab_size: int
    warps: bool = False

    def process(self, logits: Tensor, history: Tensor) -> Tensor:
        processed: Tensor = self.function(history[None], logits[None])
        return processed[0]

    def for_user(self, sequence: SequenceState, sampling: SamplingParams) -> Iterable[Processor]:
        """Itself, once it has been seen to give the same for the same history: transformers calls it once per token, a
        round calls it for drafts that come to nothing too."""
        name = type(self.function).__name__
        of_theirs = type(self.function).__module__.startswith("transformers.")
        remedy = "leave it out, or give an object whose process(logits, history) depends on these two alone"
        if of_theirs and name.removesuffix("LogitsProcessor") not in PURE:
            raise BadInput(f"{name} wants more than a row and its history, which is all that a draft has; {remedy}")
        history, row = torch.tensor(sequence.prompt), torch.linspace(-3.0, 3.0, self.vocab_size)
        try:
            first, *others = [self.process(row.clone(), history.clone()) for _ in range(3)]
        except Exception as error:  # whatever a caller's function may raise
            raise BadInput(f"{name} cannot process a row of logits: {error}; {remedy}") from error
        if not all(torch.equal(first, other) for other in others):
            raise BadInput(f"{name} gives another result for the same history, so it remembers its calls; {remedy}")
        return [self]


@dataclass(frozen=True, kw_only=True)
class Penalties:
    """OpenAI's (and vLLM's) penalties of the tokens that were generated; the prompt's are free. transformers has none.

    Attributes:
        presence: taken off the logit of every token that is there. frequency: ... times how often.
    """

    presence: float = 0.0
    frequency: float = 0.0

    def __post_init__(self) -> None:
        for name in ("presence", "frequency"):
            value = real_number(getattr(self, name), f"{name} penalty")
            object.__setattr__(self, name, value)
            if not -2.0 <= value <= 2.0:
                raise BadInput(f"{name} penalty {value} is not in [-2, 2]; 0 changes nothing")

    def for_user(self, sequence: SequenceState, sampling: SamplingParams) -> Iterable[Processor]:
        return [_Penalised(self, len(sequence.prompt))] if self.presence or self.frequency else []


@dataclass(frozen=True)
class _Penalised:
    penalties: Penalties
    prompt_length: int

    def process(self, logits: Tensor, history: Tensor) -> Tensor:
        spoken = history[self.prompt_length :]
        spoken = spoken[spoken < len(logits)]
        taken = self.penalties.presence + self.penalties.frequency * spoken.bincount()[spoken]
        return logits.index_put((spoken,), logits[spoken] - taken)  # of a token that is there twice: the same, twice


@dataclass(frozen=True)
class Chooser:
    """How one user's tokens are chosen."""

    sampling: SamplingParams = SamplingParams()
    processors: tuple[Processor, ...] = ()

    @property
    def by_ids(self) -> bool:
        """Whether the argmax of the logits says it all."""
        return self.sampling.greedy and not self.processors

    def row(self, logits: Tensor, history: Sequence[int] | Tensor) -> Tensor | None:
        """Of logits [V] after `history` the processed logits (greedy), or p, that is drawn from: float32 [V] on the
        host. None: the processors leave no token."""
        row = logits.float().cpu()
        if not self.processors:
            return row if self.sampling.greedy else to_probabilities(row, self.sampling)
        history = torch.as_tensor(history)
        for processor in self.processors:
            if not getattr(processor, "warps", False):
                row = processor.process(row, history)
        if not self.sampling.greedy:
            row = to_probabilities(row, self.sampling)
            for processor in self.processors:
                if getattr(processor, "warps", False):
                    row = processor.process(row.log(), history).softmax(-1)
        return row if bool(row.amax().isfinite()) else None

    def rows(self, logits: Tensor, tokens: Sequence[int]) -> UserRows:
        """Of logits [n, V] after the last token of `tokens` but n - 1, ..., after the last."""
        return UserRows(self, logits, tokens)


class UserRows:
    """What a user's rows say: the best ids (greedy), or p. Each is made when it is asked for, so that none is for a
    draft that was rejected before it."""

    def __init__(self, chooser: Chooser, logits: Tensor, tokens: Sequence[int]) -> None:
        self._chooser, self._logits, self._before = chooser, logits, len(tokens) - len(logits) + 1
        self._tokens = torch.tensor(tokens if chooser.processors else [], dtype=torch.int64)
        self._made: dict[int, Tensor] = {}

    def __getitem__(self, index: int) -> Any:
        row = self.processed(index)
        return int(row.argmax()) if self._chooser.sampling.greedy else row

    def choose(self, index: int, generator: torch.Generator) -> int:
        """The token after a row: the best, or one drawn."""
        row = self[index]
        return row if self._chooser.sampling.greedy else sample(row, generator)

    def logprob(self, index: int, token: int, count: int) -> TokenLogprob:
        """Of a token after a row, and the `count` best there; what cannot come at all is none of these."""
        row = self.processed(index)
        logs = row.log_softmax(-1) if self._chooser.sampling.greedy else row.log()
        values, ids = logs.topk(min(count, len(logs)))
        best = [(i, value) for i, value in zip(ids.tolist(), values.tolist()) if value > float("-inf")]
        return TokenLogprob(float(logs[token]), tuple(best))

    def processed(self, index: int) -> Tensor:
        """A row as its chooser has it, float32 [V]; BadInput if nothing is left of it."""
        if index not in self._made:
            length = self._before + index
            row = self._chooser.row(self._logits[index], self._tokens[:length])
            if row is None:
                what = f"the logits processors leave no token after the first {length}"
                raise BadInput(f"{what}: every logit is -inf, or one is NaN or inf; loosen them")
            self._made[index] = row
        return self._made[index]


def processors_of(target: ModelRunner, more: object = ()) -> list[ForUsers | Processor]:
    """The target's own processors (those of its generation_config), then the given: Processors, ForUsers, transformers'
    LogitsProcessors and lists of any of these."""
    return [*_adapted(getattr(target, "processors", ()), target.vocab_size), *_adapted(more, target.vocab_size)]


def _adapted(given: Any, vocab_size: int) -> list[ForUsers | Processor]:
    if isinstance(given, (list, tuple)):
        return [each for one in given for each in _adapted(one, vocab_size)]
    if not isinstance(given, type) and (hasattr(given, "for_user") or hasattr(given, "process")):
        return [given]
    if isinstance(given, type) or not callable(given):
        kind = getattr(given, "__name__", type(given).__name__)
        raise BadInput(f"processors holds a {kind}; give objects with process(logits, history), or transformers' own")
    return [OfTransformers(given, vocab_size)]


def chooser_of(
    sequence: SequenceState, sampling: SamplingParams, processors: Sequence[ForUsers | Processor]
) -> Chooser:
    """A user's own, as the sequence begins."""
    made: list[Processor] = []
    for one in processors:
        found = list(one.for_user(sequence, sampling)) if hasattr(one, "for_user") else [one]
        # As transformers has it: one that is given takes the place of its generation_config's of the same kind.
        kinds = [type(p.function) if isinstance(p, OfTransformers) and p not in processors else None for p in made]
        if isinstance(one, OfTransformers) and type(one.function) in kinds:
            made[kinds.index(type(one.function))] = one
        else:
            made += found
    return Chooser(sampling, tuple(made))

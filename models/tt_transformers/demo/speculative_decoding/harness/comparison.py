# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Arms that decode the same prompts, each in turns with plain decoding (ping_pong.py); and what differs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeAlias, TypeVar

from models.tt_transformers.demo.speculative_decoding.batch import TokenEvent
from models.tt_transformers.demo.speculative_decoding.harness.opening import Bench
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions
from models.tt_transformers.demo.speculative_decoding.harness.ping_pong import SEGMENT, Game, play
from models.tt_transformers.demo.speculative_decoding.harness.prompts import TokenizedPrompt, tokenized
from models.tt_transformers.demo.speculative_decoding.harness.segments import Segment
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult, Repetition
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.processors import Chooser
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner
from models.tt_transformers.demo.speculative_decoding.sequences import GenerationRequest
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

# The largest gap between the target's two best logits at which forwards of different width may choose differently:
# torch's bfloat16 rounds by the width. A decode on Tenstorrent computes a row alike in any company.
NEAR_TIE_GAP = {"float32": 0.0, "bfloat16": 0.5, "performance": 0.0, "accuracy": 0.0}
WARM_UP_TOKENS = 8
UNDRAFTED_TOKENS = 1 + 2 * SEGMENT  # of each prompt, by the loop that drafts nothing: one segment in either order

OnToken: TypeAlias = Callable[[TokenEvent], None]
Result = TypeVar("Result")
# One way to decode: (prompts, max_new_tokens, on_token or None) -> one result per prompt, all decoded together.
Arm: TypeAlias = Callable[[Sequence[TokenizedPrompt], int, OnToken | None], list[Result]]


def plain_arm(generator: SpeculativeGenerator, options: RunOptions) -> Arm[GenerationResult]:
    """Plain decoding of whole requests by the generator's target, under its conditions."""

    def decode(batch: Sequence[TokenizedPrompt], limit: int, on_token: OnToken | None) -> list[GenerationResult]:
        prompts = [prompt.token_ids for prompt in batch]
        stop = generator.stop_conditions(max_new_tokens=limit, stop_strings=options.stop_strings)
        return decode_plainly(generator.target, prompts, stop=stop, **generator.how)

    return decode


@dataclass
class PromptComparison:
    """All runs of one prompt: one user of one batch. Runs of one arm emit the same tokens; only their times vary."""

    request: TokenizedPrompt
    batch: int  # number of the batch that the prompt ran in; its users share the rounds' times
    user: int  # of the batch
    greedy: bool  # whether the two arms can be compared token for token (samples follow one law, but differ)
    speculative: list[GenerationResult]
    baseline: list[GenerationResult]  # empty where it did not run
    # Index of the first emitted token on which the arms parted, if any: both texts have plain decoding's from there.
    parted: int | None = None
    divergence_gap: float | None = None  # the target's top-2 logit gap where the arms part; None if they do not

    @property
    def tokens(self) -> list[int]:
        return self.speculative[0].tokens

    @property
    def baseline_tokens(self) -> list[int] | None:
        return self.baseline[0].tokens if self.baseline else None

    @property
    def identical(self) -> bool | None:
        """None where there is nothing to compare."""
        return self.first_divergence is None if self.baseline and self.greedy else None

    @property
    def first_divergence(self) -> int | None:
        """Index of the first emitted token that differs from plain decoding; None if none does."""
        if not self.baseline or not self.greedy:
            return None
        both = enumerate(zip_longest(self.tokens, self.baseline[0].tokens))
        found = [self.parted, next((index for index, (ours, theirs) in both if ours != theirs), None)]
        return min((index for index in found if index is not None), default=None)

    @property
    def repetition(self) -> Repetition:
        return Repetition.of(self.tokens, self.request.token_ids)

    def measure_gap(self, target: ModelRunner, chooser: Chooser = Chooser()) -> None:
        """How near a tie it was where the arms part, if they do: by how much the target's best next token wins."""
        if (index := self.first_divergence) is not None:
            self.divergence_gap = top2_gap(target, [*self.request.token_ids, *self.tokens[:index]], chooser)


def top2_gap(target: ModelRunner, context: Sequence[int], chooser: Chooser = Chooser()) -> float:
    """By how much the target's best next token wins, once processed."""
    best = chooser.rows(target.prefill([context]).values, context).processed(0).topk(2).values
    return float(best[0] - best[1])


@dataclass
class ArmRun:
    """One speculative arm: what each prompt gave, and the segments of all prompts."""

    options: RunOptions
    prompts: list[PromptComparison] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)


class Comparison:
    """The arms of one batch size on one set of prompts.

    Args:
        bench: their target judges where two of them part.
        arms: options of each speculative arm; the first one's prompts, limits and repeats hold for all. Where they want
            a baseline, plain decoding takes turns with each arm, and with a loop that drafts nothing (`undrafted`): by
            how much these two differ is the noise of the machine.
        whole: what the texts are compared with, decoded in one go; None: plain decoding's turns.
        beside: other ways to decode whole requests, between the arms (results of any kind).
    """

    def __init__(
        self, bench: Bench, arms: Sequence[RunOptions], *, whole: Arm | None = None, beside: Sequence[Arm] = ()
    ) -> None:
        self.bench, self.options = bench, arms[0]
        self._generators = [bench.generator(options) for options in arms]
        self._whole, self._beside = whole, list(beside)
        self._idle = self._generators[0].undrafted()
        self.requests = tokenized(self.options.prompts, bench.tokenizer, max_seq_len=self.options.max_seq_len)
        self.arms = [ArmRun(options) for options in arms]
        self.undrafted: list[Segment] = []
        self.beside_results: list[list[list[Any]]] = [[] for _ in beside]  # [arm beside][prompt][repeat]

    def warm_up(self) -> None:
        """Every arm on a short piece of the first batch, so that no clock sees a first time."""
        batch = self.requests[: self.options.batch_size]
        for generator in self._generators:
            self._play(generator, batch, WARM_UP_TOKENS)
        for arm in self._beside:
            arm(batch, WARM_UP_TOKENS, None)

    def run(self, watch: Callable[[Sequence[TokenizedPrompt], int], OnToken | None] | None = None) -> None:
        """Every arm on every batch, as often as the options say. `watch` is called before each batch with its prompts
        and how many were done; what it returns sees the tokens of the arms' first run."""
        size = self.options.batch_size
        for number, start in enumerate(range(0, len(self.requests), size)):
            batch = self.requests[start : start + size]
            self._run_batch(batch, number, watch(batch, start) if watch is not None else None)

    def _run_batch(self, batch: Sequence[TokenizedPrompt], number: int, on_token: OnToken | None) -> None:
        limit, count = self.options.max_new_tokens, len(self.arms)
        games: list[list[Game]] = [[] for _ in self.arms]  # [arm][repeat]
        beside: list[list[list[Any]]] = [[[] for _ in batch] for _ in self._beside]  # [arm beside][prompt][repeat]
        for repeat in range(self.options.num_repeats):
            for turn in range(count + len(beside)):
                index = (turn + repeat + number) % (count + len(beside))  # each time another one begins
                if index < count:
                    game = self._play(self._generators[index], batch, limit, number, None if repeat else on_token)
                    games[index].append(game)
                    continue
                results = self._beside[index - count](batch, limit, None)
                for of_prompt, result in zip(beside[index - count], results, strict=True):
                    of_prompt.append(result)
            if self.options.with_baseline:
                self.undrafted += self._play(self._idle, batch, min(limit, UNDRAFTED_TOKENS), number).segments
        for results, runs in zip(self.beside_results, beside, strict=True):
            results += runs
        whole = None if self._whole is None else self._whole(batch, limit, None)
        for arm, of_arm in zip(self.arms, games, strict=True):
            arm.segments += [segment for game in of_arm for segment in game.segments]
            arm.prompts += [self._compared(batch, number, user, of_arm, whole) for user in range(len(batch))]

    def _play(
        self,
        generator: SpeculativeGenerator,
        batch: Sequence[TokenizedPrompt],
        limit: int,
        number: int = 0,
        on_token: OnToken | None = None,
    ) -> Game:
        prompts, stops = [prompt.token_ids for prompt in batch], self.options.stop_strings
        plainly = self.bench.plain if self.options.with_baseline else None
        how: dict[str, Any] = {"stop_strings": stops, "logprobs": self.options.logprobs}
        request = GenerationRequest(prompts=prompts, max_new_tokens=limit, **how)
        return play(generator, request, plainly=plainly, number=number, on_token=on_token)

    def _compared(
        self,
        batch: Sequence[TokenizedPrompt],
        number: int,
        user: int,
        games: Sequence[Game],
        whole: Sequence[GenerationResult] | None,
    ) -> PromptComparison:
        plain = [game.plain[user] for game in games if game.plain] if whole is None else [whole[user]]
        parted = [index for game in games for other, index in game.parted if other == user]
        compared = PromptComparison(
            batch[user],
            number,
            user,
            self.options.sampling.greedy,
            [game.speculative[user] for game in games],
            plain,
            min(parted, default=None),
        )
        limit, prompt = self.options.max_new_tokens, compared.request.token_ids
        (chooser,) = self._generators[0].new_batch([prompt], max_new_tokens=limit).choosers
        compared.measure_gap(self.bench.target, chooser)
        return compared

    @property
    def matched(self) -> bool:
        """Whether every arm emitted what the baseline emitted, near ties of low precision apart."""
        near = 0.0 if self.options.exact else NEAR_TIE_GAP[self.options.dtype]
        gaps = [one.divergence_gap for arm in self.arms for one in arm.prompts if one.identical is False]
        return all(gap is not None and gap < near for gap in gaps)

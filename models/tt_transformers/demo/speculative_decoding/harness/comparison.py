# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Arms that decode the same prompts in turns, so that a machine that slows down slows all of them; and what differs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeAlias, TypeVar

from models.tt_transformers.demo.speculative_decoding.harness.opening import Bench
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions
from models.tt_transformers.demo.speculative_decoding.harness.prompts import TokenizedPrompt, tokenized
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator, TokenEvent

# The largest gap between the target's two best logits at which forwards of different width may choose differently:
# torch's bfloat16 rounds by the width. A decode on Tenstorrent computes a row alike in any company.
NEAR_TIE_GAP = {"float32": 0.0, "bfloat16": 0.5, "performance": 0.0, "accuracy": 0.0}
WARM_UP_TOKENS = 8

OnToken: TypeAlias = Callable[[TokenEvent], None]
Result = TypeVar("Result")
# One way to decode: (prompts, max_new_tokens, on_token or None) -> one result per prompt, all decoded together.
Arm: TypeAlias = Callable[[Sequence[TokenizedPrompt], int, OnToken | None], list[Result]]


def make_arm(generator: SpeculativeGenerator, options: RunOptions, *, plain: bool = False) -> Arm[GenerationResult]:
    """The generator; or plain decoding by its target, under the same conditions."""

    def decode(batch: Sequence[TokenizedPrompt], limit: int, on_token: OnToken | None) -> list[GenerationResult]:
        prompts = [prompt.token_ids for prompt in batch]
        limits: dict[str, Any] = {"max_new_tokens": limit, "stop_strings": options.stop_strings}
        if not plain:
            return generator.generate(prompts, on_token=on_token, **limits)
        stop, sampling = generator.stop_conditions(**limits), generator.sampling
        return decode_plainly(generator.target, prompts, stop=stop, sampling=sampling, width=generator.verify_width)

    return decode


@dataclass
class PromptComparison:
    """All runs of one prompt: one user of one batch. Runs of one arm emit the same tokens; only their times vary."""

    request: TokenizedPrompt
    batch: int  # number of the batch that the prompt ran in; its users share the rounds' times
    greedy: bool  # whether the two arms can be compared token for token (samples follow one law, but differ)
    speculative: list[GenerationResult]
    baseline: list[GenerationResult]  # empty where it did not run
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
        return self.tokens == self.baseline_tokens if self.baseline and self.greedy else None

    @property
    def first_divergence(self) -> int | None:
        """Index of the first emitted token that differs from plain decoding; None if none does."""
        if self.identical is not False:
            return None
        both = zip_longest(self.tokens, self.baseline[0].tokens)
        return next(index for index, (ours, theirs) in enumerate(both) if ours != theirs)

    def measure_gap(self, target: ModelRunner) -> None:
        """How near a tie it was where the arms part, if they do: by how much the target's best next token wins."""
        if (index := self.first_divergence) is not None:
            self.divergence_gap = top2_gap(target, [*self.request.token_ids, *self.tokens[:index]])


def top2_gap(target: ModelRunner, context: Sequence[int]) -> float:
    """By how much the target's best next token wins."""
    best = target.prefill([context]).values[0].float().topk(2).values
    return float(best[0] - best[1])


class Comparison:
    """The arms of one batch size on one set of prompts.

    Args:
        bench: their target judges where two of them part.
        arms: options of each speculative arm; the first one's prompts, limits and repeats hold for all.
        baseline: what they are compared with; None: plain decoding by the bench's target, if the options want it.
        beside: other ways to decode that take turns with them (results of any kind).
    """

    def __init__(
        self, bench: Bench, arms: Sequence[RunOptions], *, baseline: Arm | None = None, beside: Sequence[Arm] = ()
    ) -> None:
        self.bench, self.options = bench, arms[0]
        generators = [bench.generator(options) for options in arms]
        speculative = [make_arm(generator, options) for generator, options in zip(generators, arms, strict=True)]
        if baseline is None and self.options.with_baseline:
            baseline = make_arm(generators[0], self.options, plain=True)
        self._plain = [baseline] if baseline else []
        self._turns: list[Arm] = [*self._plain, *speculative, *beside]
        self.requests = tokenized(self.options.prompts, bench.tokenizer, max_seq_len=self.options.max_seq_len)
        self.compared: list[list[PromptComparison]] = [[] for _ in arms]  # [arm][prompt]
        self.beside_results: list[list[list[Any]]] = [[] for _ in beside]  # [arm beside][prompt][repeat]

    def warm_up(self) -> None:
        """Every arm on a short piece of the first batch, so that no clock sees a first time."""
        for arm in self._turns:
            arm(self.requests[: self.options.batch_size], WARM_UP_TOKENS, None)

    def run(self, watch: Callable[[Sequence[TokenizedPrompt], int], OnToken | None] | None = None) -> None:
        """Every arm on every batch, as often as the options say. `watch` is called before each batch with its prompts
        and how many were done; what it returns sees the tokens of the arms' first run."""
        size = self.options.batch_size
        for number, start in enumerate(range(0, len(self.requests), size)):
            batch = self.requests[start : start + size]
            self._run_batch(batch, number, watch(batch, start) if watch is not None else None)

    def _run_batch(self, batch: Sequence[TokenizedPrompt], number: int, on_token: OnToken | None) -> None:
        runs: list[list[list[Any]]] = [[[] for _ in batch] for _ in self._turns]  # [arm][prompt][repeat]
        for repeat in range(self.options.num_repeats):
            for turn in range(len(runs)):
                index = (turn + repeat + number) % len(runs)  # each time another one begins
                results = self._turns[index](batch, self.options.max_new_tokens, None if repeat else on_token)
                for of_prompt, result in zip(runs[index], results, strict=True):
                    of_prompt.append(result)
        plain = runs.pop(0) if self._plain else [[] for _ in batch]
        greedy = self.options.sampling.greedy
        for compared, ours in zip(self.compared, runs):
            for request, speculative, baseline in zip(batch, ours, plain, strict=True):
                comparison = PromptComparison(request, number, greedy, speculative, baseline)
                comparison.measure_gap(self.bench.target)
                compared.append(comparison)
        for results, repeats in zip(self.beside_results, runs[len(self.compared) :], strict=True):
            results += repeats

    @property
    def matched(self) -> bool:
        """Whether every arm emitted what the baseline emitted, near ties of low precision apart."""
        near = 0.0 if self.options.exact else NEAR_TIE_GAP[self.options.dtype]
        gaps = [one.divergence_gap for compared in self.compared for one in compared if one.identical is False]
        return all(gap is not None and gap < near for gap in gaps)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Plain against speculative decoding of the same prompts by the same target, interleaved in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from models.tt_transformers.demo.speculative_decoding.harness.prompts import Prompt
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult, median
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator, TokenEvent

# The largest gap between the target's two best logits at which kernels of different width may choose differently.
NEAR_TIE_GAP = {"float32": 0.0, "bfloat16": 0.5}


@dataclass(frozen=True)
class Request:
    """One prompt, tokenised."""

    prompt: Prompt
    token_ids: list[int]


@dataclass
class PromptComparison:
    """All runs of one prompt: one user of one batch. Runs of one arm emit the same tokens; their times are what varies.

    Attributes:
        batch: number of the batch that the prompt ran in; its users share the rounds' times.
        greedy: whether the two arms can be compared token for token (samples follow one law, but differ).
        divergence_gap: the target's top-2 logit gap where the arms part; None if they do not.
    """

    request: Request
    batch: int
    greedy: bool
    speculative: list[GenerationResult] = field(default_factory=list)
    baseline: list[GenerationResult] = field(default_factory=list)
    divergence_gap: float | None = None

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
        theirs = self.baseline_tokens
        if self.identical is not False or theirs is None:
            return None
        pairs = zip(self.tokens, theirs)
        shorter = min(len(self.tokens), len(theirs))
        return next((index for index, (ours, other) in enumerate(pairs) if ours != other), shorter)

    def matched(self, near_tie_gap: float) -> bool:
        """Identical, or parted only where the target itself was all but undecided."""
        if self.identical is not False:
            return True
        return self.divergence_gap is not None and self.divergence_gap < near_tie_gap

    def typical(self, arm: Sequence[GenerationResult], quantity: Callable[[GenerationResult], float]) -> float | None:
        """Median over the repeats."""
        return median([quantity(result) for result in arm])


class Comparison:
    """Runs both arms on batches of prompts.

    Args:
        generator: the speculative arm, and with it the target and the sampling of both.
        num_repeats: runs of each arm per batch; the arms take turns at going first.
        with_baseline: without it nothing is compared.
    """

    def __init__(self, generator: SpeculativeGenerator, *, num_repeats: int = 1, with_baseline: bool = True) -> None:
        self.generator, self.num_repeats, self.with_baseline = generator, num_repeats, with_baseline
        self._batches = 0

    def warm_up(self, requests: Sequence[Request]) -> None:
        """Both arms on a short piece of one batch, so that no clock sees a first time (widths: see
        ModelRunner.warmup)."""
        self._speculative(requests, 8, (), None)
        if self.with_baseline:
            self._plain(requests, 4, ())

    def run(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        stop_strings: Sequence[str] = (),
        on_token: Callable[[TokenEvent], None] | None = None,
    ) -> list[PromptComparison]:
        """Compare one batch; `on_token` sees the tokens of the first speculative run."""
        greedy = self.generator.sampling.greedy
        compared = [PromptComparison(request, self._batches, greedy) for request in requests]
        self._batches += 1
        for repeat in range(self.num_repeats):
            watcher = on_token if repeat == 0 else None
            for arm in ("plain", "speculative") if repeat % 2 == 0 else ("speculative", "plain"):
                if arm == "speculative":
                    results = self._speculative(requests, max_new_tokens, stop_strings, watcher)
                    for comparison, result in zip(compared, results, strict=True):
                        comparison.speculative.append(result)
                elif self.with_baseline:
                    results = self._plain(requests, max_new_tokens, stop_strings)
                    for comparison, result in zip(compared, results, strict=True):
                        comparison.baseline.append(result)
        for comparison in compared:
            index = comparison.first_divergence
            if index is not None:
                context = [*comparison.request.token_ids, *comparison.tokens[:index]]
                comparison.divergence_gap = top2_gap(self.generator.target, context)
        return compared

    def _plain(self, requests: Sequence[Request], limit: int, stop_strings: Sequence[str]) -> list[GenerationResult]:
        return decode_plainly(
            self.generator.target,
            [request.token_ids for request in requests],
            stop=self.generator.stop_conditions(max_new_tokens=limit, stop_strings=stop_strings),
            sampling=self.generator.sampling,
            width=self.generator.verify_width,
        )

    def _speculative(
        self,
        requests: Sequence[Request],
        limit: int,
        stop_strings: Sequence[str],
        on_token: Callable[[TokenEvent], None] | None,
    ) -> list[GenerationResult]:
        prompts = [request.token_ids for request in requests]
        return self.generator.generate(prompts, max_new_tokens=limit, stop_strings=stop_strings, on_token=on_token)


def top2_gap(target: ModelRunner, context: list[int]) -> float:
    """How much the target's best next token after `context` beats its second best, in logits: how near a tie it was."""
    best = target.prefill([context])[0].float().topk(2).values
    return float(best[0] - best[1])

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Plain against speculative decoding of the same prompts by the same target, interleaved in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult, median
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.prompts import Prompt
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator, TokenEvent

# The largest gap between the target's two best logits at which two kernels of different width may choose differently.
NEAR_TIE_GAP = {"float32": 0.0, "bfloat16": 0.5}


@dataclass(frozen=True)
class Request:
    """One prompt, tokenised."""

    prompt: Prompt
    token_ids: list[int]


@dataclass
class PromptComparison:
    """All runs of one prompt. The runs of one arm emit the same tokens; their times are what varies."""

    request: Request
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
    def first_divergence(self) -> int | None:
        """Index of the first emitted token that differs from plain decoding; None if none does, or there was no baseline."""
        if self.baseline_tokens is None or self.tokens == self.baseline_tokens:
            return None
        pairs = zip(self.tokens, self.baseline_tokens)
        shorter = min(len(self.tokens), len(self.baseline_tokens))
        return next((index for index, (ours, theirs) in enumerate(pairs) if ours != theirs), shorter)

    @property
    def identical(self) -> bool | None:
        return None if self.baseline_tokens is None else self.tokens == self.baseline_tokens

    def matched(self, dtype: str) -> bool:
        """Identical, or parted only where the target itself was all but undecided (never so in float32)."""
        if self.identical is not False:
            return True
        return self.divergence_gap is not None and self.divergence_gap < NEAR_TIE_GAP[dtype]

    def typical(self, arm: Sequence[GenerationResult], quantity: Callable[[GenerationResult], float]) -> float | None:
        return median([quantity(result) for result in arm])


class Comparison:
    """Runs both arms; `num_repeats` times each, taking turns at going first."""

    def __init__(
        self,
        generator: SpeculativeGenerator,
        *,
        num_repeats: int = 1,
        with_baseline: bool = True,
    ) -> None:
        self.generator, self.num_repeats, self.with_baseline = generator, num_repeats, with_baseline

    def warm_up(self, request: Request) -> None:
        """Both arms on a short piece of one prompt, so that no clock sees a first time."""
        target = self.generator.target
        most = self.generator.lookahead.max_draft_tokens + 1
        target.warmup(range(1, most + 1), argmax_only=self.generator.sampling.greedy)
        self._speculative(request, limit=8, on_token=None, stop_strings=())
        if self.with_baseline:
            self._plain(request, limit=4, stop_strings=())

    def run(
        self,
        request: Request,
        *,
        max_new_tokens: int,
        stop_strings: Sequence[str] = (),
        on_token: Callable[[TokenEvent], None] | None = None,
    ) -> PromptComparison:
        """Compare one prompt; `on_token` sees the tokens of the first speculative run."""
        comparison = PromptComparison(request)
        for repeat in range(self.num_repeats):
            arms = [
                lambda: comparison.baseline.append(self._plain(request, max_new_tokens, stop_strings)),
                lambda: comparison.speculative.append(
                    self._speculative(request, max_new_tokens, on_token if repeat == 0 else None, stop_strings)
                ),
            ]
            if not self.with_baseline:
                arms.pop(0)
            for arm in arms if repeat % 2 == 0 else reversed(arms):
                arm()
        index = comparison.first_divergence
        if index is not None:
            comparison.divergence_gap = top2_gap(
                self.generator.target, [*request.token_ids, *comparison.tokens[:index]]
            )
        return comparison

    def _plain(self, request: Request, limit: int, stop_strings: Sequence[str]) -> GenerationResult:
        stop = self.generator.stop_conditions(max_new_tokens=limit, stop_strings=stop_strings)
        return decode_plainly(self.generator.target, request.token_ids, stop=stop, sampling=self.generator.sampling)

    def _speculative(
        self, request: Request, limit: int, on_token: Callable[[TokenEvent], None] | None, stop_strings: Sequence[str]
    ) -> GenerationResult:
        return self.generator.generate(
            [request.token_ids], max_new_tokens=limit, stop_strings=stop_strings, on_token=on_token
        )[0]


def top2_gap(target: ModelRunner, context: list[int]) -> float:
    """How much the target's best next token after `context` beats its second best, in logits: how near a tie it was."""
    best = target.prefill([context])[0].float().topk(2).values
    return float(best[0] - best[1])

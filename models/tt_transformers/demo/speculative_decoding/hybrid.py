# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Two drafters in one: drafts from the text where they promise more than a model's, and behind a model's own."""

import time
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.drafters import (
    Draft,
    Drafter,
    DraftRequest,
    Features,
    Kind,
    Texts,
    of_last,
)
from models.tt_transformers.demo.speculative_decoding.inputs import check_kind
from models.tt_transformers.demo.speculative_decoding.suffix import SuffixDrafter


class HybridDrafter(Drafter):
    """A drafter that costs next to nothing first, where the lookahead takes its draft to be worth more than a model's;
    else the model, and a SuffixDrafter goes on from the model's last token where that pays.

    Chosen per user and round; every token keeps its drafter's name, and each drafter catches up by itself afterwards.
    A first drafter that does not tell its odds (Kind) drafts wherever it has anything.
    """

    def __init__(self, first: Drafter, second: Drafter) -> None:
        self.first, self.second = self.parts = first, second
        for part in self.parts:
            check_kind("drafter", part, known_by="propose", example="ModelDrafter")
        self.name = f"{first.name}+{second.name}"
        self.feature_layers = second.feature_layers
        self.runner = getattr(second, "runner", None)
        self._others: list[str | None] = []  # per user what kind the second would draft where the first could

    def start(self, prompts: Texts, prompt_features: Features = None, kept: Sequence[int] = ()) -> None:
        self.first.start(prompts, **of_last(kept))
        self.second.start(prompts, prompt_features, **of_last(kept))
        self._others = [None] * len(prompts)

    def expect(self, contexts: Sequence[Sequence[int]]) -> list[str | None]:
        """The first drafter's kind where it has one; if that tells its odds, the second's is there to choose."""
        kinds = list(zip(self.first.expect(contexts), self.second.expect(contexts), strict=True))
        self._others = [other if isinstance(kind, Kind) else None for kind, other in kinds]
        return [Kind(kind, kind.odds, other) if isinstance(kind, Kind) else kind or other for kind, other in kinds]

    def propose(self, request: DraftRequest) -> Draft:
        begun = time.perf_counter_ns()
        counts = list(request.counts)
        for user, kind in enumerate(request.kinds):
            if kind is not None and kind == self._others[user]:  # the second's was settled on
                counts[user] = 0
        first = self.first.propose(replace(request, counts=counts))
        looked_up = time.perf_counter_ns()
        left = [0 if drafted else count for drafted, count in zip(first.tokens, request.counts, strict=True)]
        if not any(left):
            return first
        if not any(first.tokens):
            return self._gone_on(request, self.second.propose(request))
        second = self._gone_on(request, self.second.propose(replace(request, counts=left, judge=None)))
        times = looked_up - begun, time.perf_counter_ns() - looked_up
        own_ns = [times[not drafted] for drafted in first.tokens]
        for user, drafted in enumerate(first.tokens):
            if not drafted:
                first.tokens[user], first.probs[user] = second.tokens[user], second.probs[user]
                first.sources[user] = second.sources[user]
        caught_up = max(first.catch_up, second.catch_up)
        return replace(first, catch_up=caught_up, choices=None, apart=second.apart, own_ns=own_ns)

    def _gone_on(self, request: DraftRequest, draft: Draft) -> Draft:
        """The model's draft, longer where the text knows what comes after its last token and the target has not
        verified yet."""
        if draft.choices is not None or not isinstance(self.first, SuffixDrafter):
            return draft
        for user, (most, least) in enumerate(request.further):
            tokens, probs = draft.tokens[user], draft.probs[user]
            if len(tokens) < request.counts[user] or not tokens or most < 1:
                continue
            tail = self.first.go_on(user, tokens, most=most, least=least)
            draft.sources[user].extend([self.first.name] * len(tail))
            tokens.extend(tail)
            if probs is not None and tail:
                draft.probs[user] = [*probs, *[None] * len(tail)]
        return draft

    def observe(self, accepted_counts: Sequence[int], features: Sequence[Tensor] | None) -> None:
        self.first.observe(accepted_counts, None)
        self.second.observe(accepted_counts, features)

    def close(self) -> None:
        self.first.close()
        self.second.close()


def suffix_first(second: Drafter, *, memory: int = 0) -> HybridDrafter:
    """Drafts from the text (see SuffixDrafter) before and behind `second`."""
    return HybridDrafter(SuffixDrafter(memory=memory), second)

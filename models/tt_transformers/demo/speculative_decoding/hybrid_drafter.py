# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Two drafters in one: the first where it has something to say, the second elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import Draft, Drafter
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter


class HybridDrafter:
    """Prompt lookup (or any drafter that knows when it has nothing) first, a model where nothing matches.

    Chosen user by user and round by round; every token keeps the name of the drafter that proposed it. Each drafter
    catches up by itself with the rounds in which the other drafted.
    """

    def __init__(self, first: Drafter, second: Drafter) -> None:
        self.first, self.second = first, second
        self.name = f"{first.name}+{second.name}"
        self.feature_layers = second.feature_layers
        self.runner = getattr(second, "runner", None)

    def start(self, prompts: Sequence[Sequence[int]], prompt_features: Sequence[Tensor] | None = None) -> None:
        """Start both."""
        self.first.start(prompts)
        self.second.start(prompts, prompt_features)

    def expect(self, contexts: Sequence[Sequence[int]]) -> list[str | None]:
        """The first drafter's kind where it has one."""
        return [
            kind or other for kind, other in zip(self.first.expect(contexts), self.second.expect(contexts), strict=True)
        ]

    def propose(
        self,
        contexts: Sequence[Sequence[int]],
        counts: Sequence[int],
        *,
        sampling: SamplingParams,
        generators: Sequence[torch.Generator],
        min_probability: float = 0.0,
    ) -> Draft:
        """See Drafter.propose."""
        how: dict[str, Any] = {"sampling": sampling, "generators": generators, "min_probability": min_probability}
        first = self.first.propose(contexts, counts, **how)
        left = [0 if drafted else count for drafted, count in zip(first.tokens, counts, strict=True)]
        if not any(left):
            return first
        second = self.second.propose(contexts, left, **how)
        chosen = [first if drafted else second for drafted in first.tokens]
        return Draft(
            [draft.tokens[user] for user, draft in enumerate(chosen)],
            [draft.probs[user] for user, draft in enumerate(chosen)],
            [draft.sources[user] for user, draft in enumerate(chosen)],
        )

    def observe(self, accepted_counts: Sequence[int], features: Tensor | None) -> None:
        """Both are told."""
        self.first.observe(accepted_counts, None)
        self.second.observe(accepted_counts, features)

    def close(self) -> None:
        """Close both."""
        self.first.close()
        self.second.close()


def lookup_first(second: Drafter) -> HybridDrafter:
    """Prompt lookup before `second`, but only on matches of two tokens or more: one matching token says less about what
    follows than a model does."""
    return HybridDrafter(PromptLookupDrafter(min_ngram=2), second)

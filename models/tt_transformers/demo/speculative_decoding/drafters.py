# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafters: whatever proposes the next few tokens cheaply. They need not be right, only often and quickly enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams


@dataclass(frozen=True)
class Draft:
    """What a drafter proposes in one round, for B users.

    Attributes:
        tokens: per user the drafted ids d_1..d_k (k may differ between users, and be 0).
        probs: per user the distributions q they were sampled from, float32 [k, V] on the host; None for a user whose draft
            was chosen without sampling (one-hot q).
        sources: per user the name of the drafter that proposed each token.
    """

    tokens: list[list[int]]
    probs: list[Tensor | None]
    sources: list[list[str]] = field(default_factory=list)


class Drafter(Protocol):
    """Proposes continuations; told of every committed token by being shown the whole context each round.

    `contexts[b]` is everything committed for user b: prompt and emitted tokens, the pending one (not yet seen by the target's
    cache) last. A drafter works out from its length what was accepted of its last draft.
    """

    name: str
    feature_layers: tuple[int, ...]  # hidden layers of the target that it reads; () for most

    def start(self, prompts: Sequence[Sequence[int]], prompt_features: Sequence[Tensor] | None = None) -> None:
        """Begin a generation with one user per prompt; `prompt_features[b]` is [len_b, F] if feature_layers is not ()."""

    def propose(
        self,
        contexts: Sequence[Sequence[int]],
        counts: Sequence[int],
        *,
        sampling: SamplingParams,
        generators: Sequence[torch.Generator],
        min_probability: float = 0.0,
    ) -> Draft:
        """Draft up to counts[b] tokens for each user (0: none wanted; the user may have ended).

        With temperature > 0 tokens are sampled from q = to_probabilities(logits, sampling) with the user's own generator;
        otherwise they are argmax. A user's draft ends before the first token whose probability is under min_probability.
        """

    def observe(self, accepted_counts: Sequence[int], features: Tensor | None) -> None:
        """After verification: how many of each user's drafts were accepted, and the target's features of the verified rows
        ([B, T, F], row j for position pending + j; None unless feature_layers is not ()). Called for rounds without drafts
        too."""

    def close(self) -> None:
        """Release what the drafter owns."""

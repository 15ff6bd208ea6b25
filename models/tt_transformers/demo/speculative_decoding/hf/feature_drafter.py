# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafts with a small head on the target's hidden features (EAGLE, Li et al. 2024; EAGLE-3, Li et al. 2025).

Entry i of a user's cache belongs to the pair (feature of position i, token i+1). Rounds go like this, for every user:

    observe   keeps the target's true features of the accepted rows
    propose   catches up: feeds those pairs, over whatever was speculated at their positions; the last row yields d_1;
              then each further draft feeds (the head's own hidden state, the last draft)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from models.tt_transformers.demo.speculative_decoding.drafters import Draft, Drafter, DraftRequest
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import FeatureDraft, FeatureHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CACHE_STEP = 512  # a user's cache grows by this many positions


@dataclass
class _User:
    """What the head knows of one user: its cache, and the true features that it has not consumed yet."""

    keys: Tensor  # [1, H_kv, S, D], in the head's own layer
    values: Tensor
    cached: int = 0  # pairs consumed with true features; anything beyond was speculated
    waiting: list[Tensor] = field(default_factory=list)  # features [n, F] of positions cached, cached + 1, ...

    def write(self, start: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Overwrite positions start.. with [1, H_kv, n, D]; returns all up to the last one."""
        end = start + keys.shape[2]
        if end > self.keys.shape[2]:
            grow = (0, 0, 0, end + CACHE_STEP - self.keys.shape[2])
            self.keys, self.values = F.pad(self.keys, grow), F.pad(self.values, grow)
        self.keys[:, :, start:end], self.values[:, :, start:end] = keys, values
        return self.keys[:, :, :end], self.values[:, :, :end]

    def forget(self) -> None:
        """Give the memory back: this user drafts no more."""
        self.keys, self.values, self.waiting = self.keys[:, :, :0].clone(), self.values[:, :, :0].clone(), []


class FeatureDrafter(Drafter):
    """A Drafter over a FeatureDraft and the target whose features it reads; BadInput if it belongs to another target.

    Args:
        target: also lends the embeddings and the head rows.
        name: what reports call it.
    """

    def __init__(self, draft: FeatureDraft, target: PreTrainedModel, *, name: str = "feature-draft") -> None:
        draft.check_belongs_to(target, name)
        self.name, self.feature_layers = name, draft.spec.layers
        self._head = FeatureHead(draft, target)
        self._users: list[_User] = []

    @classmethod
    def from_file(cls, path: Path | str, target: PreTrainedModel, *, name: str | None = None) -> FeatureDrafter:
        """Open a draft file for its target; BadInput if it is no such file or belongs to another target."""
        return cls(FeatureDraft.load(path), target, name=name or Path(path).stem)

    @torch.inference_mode()
    def start(self, prompts: Sequence[Sequence[int]], prompt_features: Sequence[Tensor] | None = None) -> None:
        """Consume the prompts; the last feature of each waits for the token after it."""
        if prompt_features is None:
            raise ValueError(f"{self.name} reads the target's features: start() needs prompt_features")
        spec, like = self._head.spec, self._head.output_norm
        self._users = []
        for prompt, features in zip(prompts, prompt_features, strict=True):
            shape = (1, spec.num_kv_heads, len(prompt) + CACHE_STEP, spec.head_dim)
            user = _User(like.new_zeros(shape), like.new_zeros(shape), waiting=[features[:-1]])
            if len(prompt) > 1:
                self._catch_up(user, prompt)
            user.waiting = [features[-1:]]
            self._users.append(user)

    def expect(self, contexts: Sequence[Sequence[int]]) -> list[str | None]:
        """One kind: whatever the head says."""
        return [self.name] * len(contexts)

    @torch.inference_mode()
    def propose(self, request: DraftRequest) -> Draft:
        """See Drafter.propose. One row of the head per drafted token, and one per token to catch up on."""
        drafts = [self._draft(index, request) for index in range(len(request.contexts))]
        kinds = [[self.name] * len(tokens) for tokens, _ in drafts]
        return Draft([tokens for tokens, _ in drafts], [q for _, q in drafts], kinds)

    def _draft(self, index: int, request: DraftRequest) -> tuple[list[int], Tensor | None]:
        """The tokens of one user, and the q that they were drawn from."""
        user, count = self._users[index], request.counts[index]
        drafted: list[int] = []
        rows: list[Tensor] = []
        if count == 0:
            return drafted, None
        hidden = self._catch_up(user, request.contexts[index])
        while True:
            token, q = request.choose(index, self._head.logits(hidden))
            if q is not None:
                rows.append(q)
            if token is not None:
                drafted.append(token)
            if token is None or len(drafted) == count:
                return drafted, torch.stack(rows) if rows else None
            hidden = self._head.layer(hidden, [token], user.cached + len(drafted) - 1, user.write)

    def observe(self, accepted_counts: Sequence[int], features: Sequence[Tensor] | None) -> None:
        """Keep the true features of the pending token and of what was accepted; propose() consumes them. Of a user who
        has ended (no rows) nothing is kept."""
        if features is None:
            raise ValueError(f"{self.name} reads the target's features: observe() needs them")
        for user, accepted, rows in zip(self._users, accepted_counts, features, strict=True):
            if len(rows):
                user.waiting.append(rows[: accepted + 1])
            else:
                user.forget()

    def close(self) -> None:
        """Release the caches."""
        self._users = []

    def _catch_up(self, user: _User, context: Sequence[int]) -> Tensor:
        """Consume the pairs whose true features wait, the last with the context's last token; its hidden state."""
        features, next_tokens = torch.cat(user.waiting), context[user.cached + 1 :]
        state = self._head.from_features(features.to(self._head.embedding))[None]
        hidden = self._head.layer(state, next_tokens, user.cached, user.write)
        user.cached, user.waiting = user.cached + len(next_tokens), []
        return hidden

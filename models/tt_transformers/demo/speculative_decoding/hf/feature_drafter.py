# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafts with a small head on the target's hidden features (EAGLE, Li et al. 2024; EAGLE-3, Li et al. 2025).

Whatever the head is (FeatureHead, EagleHead), it runs as a DraftLayer. Entry i of a user's cache belongs to the pair
(feature of position i, token i+1). Rounds go like this, for every user:

    observe   keeps the target's true features of the accepted rows
    propose   catches up: feeds those pairs, over whatever was speculated at their positions; the last row yields d_1;
              then each further draft feeds (the head's own hidden state, the last draft)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from loguru import logger
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.drafters import (
    Doubt,
    Draft,
    Drafter,
    DraftRequest,
    Features,
    Texts,
)
from models.tt_transformers.demo.speculative_decoding.hf.draft_layer import DraftLayer
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import FeatureDraft, FeatureHead
from models.tt_transformers.demo.speculative_decoding.runner import Turns

CACHE_STEP = 512  # a user's cache grows by this many positions


@dataclass
class _User:
    """What the head knows of one user: its cache, and the true features that it has not consumed yet."""

    keys_and_values: Tensor  # [2, 1, H_kv, S, D], of the head's own layer
    cached: int = 0  # pairs consumed with true features; anything beyond was speculated
    waiting: list[Tensor] = field(default_factory=list)  # features [n, F] of positions cached, cached + 1, ...
    drafted: bool = False  # whether it has a draft that the target has not judged

    def write(self, start: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Overwrite positions start.. with [1, H_kv, n, D]; returns all up to the last one."""
        end, room = start + keys.shape[2], self.keys_and_values.shape[3]
        if end > room:
            self.keys_and_values = F.pad(self.keys_and_values, (0, 0, 0, end + CACHE_STEP - room))
        all_keys, all_values = self.keys_and_values[:, :, :, :end]
        all_keys[:, :, start:], all_values[:, :, start:] = keys, values
        return all_keys, all_values


class FeatureDrafter(Drafter):
    """A Drafter over a head (FeatureHead, EagleHead) of the target whose features it is given."""

    def __init__(self, head: DraftLayer, *, name: str = "feature-draft") -> None:
        self._head = head
        self.name, self.feature_layers, self.turns = name, head.spec.layers, Turns()
        self._users: list[_User] = []
        self._doubt = Doubt(name, head.spec.layers)

    @classmethod
    def from_file(cls, path: Path | str, target: PreTrainedModel) -> FeatureDrafter:
        """Open a draft file for its target; BadInput if it is no such file or belongs to another target."""
        return cls(FeatureHead(FeatureDraft.load(path), target), name=Path(path).stem)

    @torch.inference_mode()
    def start(self, prompts: Texts, prompt_features: Features = None, kept: Sequence[int] = ()) -> None:
        """Consume the prompts; the last feature of each waits for the token after it."""
        if prompt_features is None:
            raise ValueError(f"{self.name} reads the target's features: start() needs prompt_features")
        spec, like = self._head.spec, self._head.output_norm
        if not kept:
            self._users = [_User(like.new_empty(2, 1, spec.num_kv_heads, 0, spec.head_dim)) for _ in prompts]
        for index, (user, prompt, features) in enumerate(zip(self._users, prompts, prompt_features, strict=True)):
            start = kept[index] if kept else 0
            earlier = torch.cat([*user.waiting, features[:0]])[: max(0, start - user.cached)]
            user.cached, user.waiting = min(user.cached, start), [earlier, features[:-1]]
            if user.cached < len(prompt) - 1:
                self._catch_up(user, prompt)
            user.waiting = [features[-1:]]

    @torch.inference_mode()
    def propose(self, request: DraftRequest) -> Draft:
        """See Drafter.propose. One row of the head per drafted token, and one per token to catch up on."""
        draft = Draft([], [])
        for index, (user, context) in enumerate(zip(self._users, request.contexts, strict=True)):
            drafted: list[int] = []
            rows: list[Tensor] = []
            while len(drafted) < request.counts[index]:
                if not drafted:
                    hidden = self._catch_up(user, context)
                else:
                    hidden = self._head.layer(hidden, drafted[-1:], user.cached + len(drafted) - 1, user.write)
                token, q = request.choose(index, self._head.logits(hidden), drafted)
                if token is None:
                    break
                drafted.append(token)
                if q is not None:
                    rows.append(q)
            user.drafted = bool(drafted)
            draft.tokens.append(drafted)
            draft.probs.append(rows or None)
            draft.sources.append([self.name] * len(drafted))
        return draft

    def observe(self, accepted_counts: Sequence[int], features: Sequence[Tensor] | None) -> None:
        """Keep the true features of the pending token and of what was accepted; propose() consumes them."""
        if features is None:
            raise ValueError(f"{self.name} reads the target's features: observe() needs them")
        for user, accepted, rows in zip(self._users, accepted_counts, features, strict=True):
            user.waiting.append(rows[: accepted + 1])
            judged = user.drafted and not self._head.proven
            if judged and (said := self._doubt.observe(accepted > 0)):
                logger.warning(said)
            user.drafted = False

    def close(self) -> None:
        """Release the caches."""
        with self.turns.lock:
            self._users, self.turns.owner = [], None

    def _catch_up(self, user: _User, context: Sequence[int]) -> Tensor:
        """Consume the pairs whose true features wait, the last with the context's last token; its hidden state."""
        features, next_tokens = torch.cat(user.waiting), context[user.cached + 1 :]
        state = self._head.from_features(features.to(self._head.embedding))[None]
        hidden = self._head.layer(state, next_tokens, user.cached, user.write)
        user.cached, user.waiting = user.cached + len(next_tokens), []
        return hidden

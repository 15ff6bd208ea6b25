# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafts with a small head on the target's hidden features (EAGLE, Li et al. 2024; EAGLE-3, Li et al. 2025).

Entry i of a user's cache belongs to the pair (feature of position i, token i+1). Rounds go like this, for every user:

    observe   keeps the target's true features of the accepted rows
    propose   catches up: feeds those pairs, over whatever was speculated at their positions; the last row yields d_1;
              then each further draft feeds (the head's own hidden state, the last draft)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from models.tt_transformers.demo.speculative_decoding.drafters import Draft, DraftRequest
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import (
    FeatureDraftModel,
    frozen_rows,
    rotary,
    rotate,
)
from models.tt_transformers.demo.speculative_decoding.hf.packed_linear import packed_product
from models.tt_transformers.demo.speculative_decoding.trimmed_head import TrimmedHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Write: TypeAlias = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]

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


class FeatureDrafter:
    """A Drafter over a FeatureDraftModel and the target whose features it reads.

    Args:
        head: the trained head.
        target: its target; lends the embeddings and the head rows.
        name: what reports call it.

    Raises:
        BadInput: the head was trained for another target.
    """

    def __init__(self, head: FeatureDraftModel, target: PreTrainedModel, *, name: str = "feature-draft") -> None:
        head.check_belongs_to(target, name)
        self.name, self.spec = name, head.spec
        self.feature_layers = head.spec.layers
        self._weights = _InferenceWeights(head, target)
        self._users: list[_User] = []

    @classmethod
    def from_file(cls, path: Path | str, target: PreTrainedModel, *, name: str | None = None) -> FeatureDrafter:
        """Open a draft file for its target; BadInput if it is no such file or belongs to another target."""
        return cls(FeatureDraftModel.load(path), target, name=name or Path(path).stem)

    @torch.inference_mode()
    def start(self, prompts: Sequence[Sequence[int]], prompt_features: Sequence[Tensor] | None = None) -> None:
        """Consume the prompts; the last feature of each waits for the token after it."""
        if prompt_features is None:
            raise ValueError(f"{self.name} reads the target's features: start() needs prompt_features")
        spec, like = self.spec, self._weights.output_norm
        self._users = []
        for prompt, features in zip(prompts, prompt_features, strict=True):
            shape = (1, spec.num_kv_heads, len(prompt) + CACHE_STEP, spec.head_dim)
            user = _User(like.new_zeros(shape), like.new_zeros(shape))
            if len(prompt) > 1:
                self._consume(user, features[:-1], prompt[1:])
            user.waiting = [features[-1:]]
            self._users.append(user)

    def expect(self, contexts: Sequence[Sequence[int]]) -> list[str | None]:
        """One kind: whatever the head says."""
        return [self.name] * len(contexts)

    @torch.inference_mode()
    def propose(self, request: DraftRequest) -> Draft:
        """See Drafter.propose. One row of the head per drafted token, and one per token to catch up on."""
        tokens: list[list[int]] = [[] for _ in request.contexts]
        probs: list[Tensor | None] = [None for _ in request.contexts]
        for index, (context, count) in enumerate(zip(request.contexts, request.counts, strict=True)):
            if count > 0:
                tokens[index], probs[index] = self._draft(index, context, count, request)
        return Draft(tokens, probs, [[self.name] * len(drafted) for drafted in tokens])

    def _draft(
        self, index: int, context: Sequence[int], count: int, request: DraftRequest
    ) -> tuple[list[int], Tensor | None]:
        """Up to `count` tokens of one user, and the q they were drawn from."""
        user = self._users[index]
        drafted: list[int] = []
        rows: list[Tensor] = []
        hidden = self._catch_up(user, context)
        while True:
            token, q = request.choose(index, self._weights.logits(hidden))
            if q is not None:
                rows.append(q)
            if token is not None:
                drafted.append(token)
            if token is None or len(drafted) == count:
                return drafted, torch.stack(rows) if rows else None
            hidden = self._step(user, hidden, [token], user.cached + len(drafted) - 1)

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
        """Consume every pair whose true feature is known; the last is (feature of the last but one, pending token)."""
        features = user.waiting[0] if len(user.waiting) == 1 else torch.cat(user.waiting)
        return self._consume(user, features, context[user.cached + 1 :])

    def _consume(self, user: _User, features: Tensor, next_tokens: Sequence[int]) -> Tensor:
        """Feed pairs (features [n, F], next tokens) at positions cached..; the last hidden state [1, 1, hidden]."""
        state = self._weights.state_from_features(features)[None]
        hidden = self._step(user, state, next_tokens, user.cached)
        user.cached += len(next_tokens)
        user.waiting = []
        return hidden

    def _step(self, user: _User, state: Tensor, next_tokens: Sequence[int], start: int) -> Tensor:
        """state [1, n, hidden] at positions start.. -> the last row's hidden state [1, 1, hidden]."""
        return self._weights.layer(state, torch.tensor(next_tokens), start, user.write)[:, -1:]


class _InferenceWeights:
    """The head's weights folded for few operations per step: scales into matrices, q|k|v and gate|up together."""

    def __init__(self, head: FeatureDraftModel, target: PreTrainedModel) -> None:
        self.spec = head.spec
        self.embedding, output_rows = frozen_rows(target)
        like = self.embedding
        with torch.no_grad():
            self.from_features = packed_product((head.from_features.weight * head.feature_scale).to(like))
            self.from_embedding = packed_product(head.from_embedding.weight.to(like))
            self.qkv = packed_product(torch.cat([head.q_proj.weight, head.k_proj.weight, head.v_proj.weight]).to(like))
            self.gate_up = packed_product(torch.cat([head.gate_proj.weight, head.up_proj.weight]).to(like))
            self.o_proj = packed_product(head.o_proj.weight.to(like))
            self.down_proj = packed_product(head.down_proj.weight.to(like))
            self.input_norm, self.mlp_norm = head.input_norm.to(like), head.mlp_norm.to(like)
            self.output_norm = head.output_norm.to(like)
            self.head = packed_product(output_rows[head.token_ids.to(like.device)])
        self.trimmed = TrimmedHead(head.token_ids.tolist(), self.spec.vocab_size, device=self.embedding.device)
        self.inv_freq = head.inv_freq.to(self.embedding.device)
        self.cos, self.sin = self._rotary_table(0)

    def _rotary_table(self, length: int) -> tuple[Tensor, Tensor]:
        cos, sin = rotary(self.inv_freq, torch.arange(length, device=self.inv_freq.device))
        return cos.to(self.embedding.dtype), sin.to(self.embedding.dtype)

    def state_from_features(self, features: Tensor) -> Tensor:
        return self.from_features(features.to(self.embedding.dtype))

    def layer(self, state: Tensor, next_tokens: Tensor, start: int, write: Write) -> Tensor:
        """The decoder layer for n rows of one user at positions start..; `write` caches k, v and returns all."""
        spec, count = self.spec, state.shape[1]
        end, groups = start + count, spec.num_heads // spec.num_kv_heads
        if end > len(self.cos):
            self.cos, self.sin = self._rotary_table(end + CACHE_STEP)
        x = state + self.from_embedding(self.embedding[next_tokens.to(state.device)])
        qkv = self.qkv(self._norm(x, self.input_norm)).view(1, count, -1, spec.head_dim).transpose(1, 2)
        rotated = rotate(qkv[:, : spec.num_heads + spec.num_kv_heads], self.cos[start:end], self.sin[start:end])
        keys, values = write(start, rotated[:, spec.num_heads :], qkv[:, spec.num_heads + spec.num_kv_heads :])
        # The query heads that share a KV head become its rows: nothing is copied per query head.
        queries = rotated[:, : spec.num_heads].reshape(1, spec.num_kv_heads, groups * count, spec.head_dim)
        mask = None
        if count > 1:
            mask = torch.ones(count, end, dtype=torch.bool, device=state.device).tril(start).repeat(groups, 1)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        mixed = mixed.view(1, spec.num_heads, count, spec.head_dim).transpose(1, 2).reshape(1, count, -1)
        x = x + self.o_proj(mixed)
        gate, up = self.gate_up(self._norm(x, self.mlp_norm)).chunk(2, -1)
        return x + self.down_proj(F.silu(gate) * up)

    def logits(self, hidden: Tensor) -> Tensor:
        """[1, 1, hidden] -> [V], -inf outside the draft's own vocabulary."""
        return self.trimmed.whole(self.head(self._norm(hidden, self.output_norm))[0, 0])

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (self.spec.hidden_size,), weight, self.spec.rms_norm_eps)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The one decoder layer of a draft head and its output layer: what heads of every kind have in common.

    x_i, residual_i = entry(state_i, embedding(token_{i+1}))     a state is paired with the NEXT token
    h_i             = residual_i + attention(x_0 .. x_i), and then the MLP
    logits          = output rows (a trimmed vocabulary) of norm(h_i)   -> token_{i+2}

Past the last committed position the target has given no state: h_i itself is the state of position i+1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.packed_linear import packed_product
from models.tt_transformers.demo.speculative_decoding.trimmed_head import TrimmedHead

Write: TypeAlias = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class DraftSizes:
    """What a head reads of its target, and the sizes of its layer."""

    layers: tuple[int, ...]  # the target's that it reads: 0 = embeddings, n = after the n-th, last = final normed
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int  # of the target
    draft_vocab_size: int  # how many of those ids it can draft
    rms_norm_eps: float

    def __post_init__(self) -> None:
        if self.num_kv_heads < 1 or self.num_heads % self.num_kv_heads:
            raise BadInput(f"{self.num_heads} heads cannot share {self.num_kv_heads} key-value heads evenly")
        if not 1 <= self.draft_vocab_size <= self.vocab_size:
            raise BadInput(f"a draft of {self.draft_vocab_size} ids for a target of {self.vocab_size}")


def frozen_rows(target: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """The target's input embeddings and its output layer's rows, both [V, hidden], without their gradients."""
    embedding, head = target.get_input_embeddings(), target.get_output_embeddings()
    return cast(Tensor, embedding.weight).detach(), cast(Tensor, head.weight).detach()


def rotary(inv_freq: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin [..., D], float32, the sign of rotate's first half folded into sin."""
    angles = positions[..., None].float() * inv_freq
    sin = angles.sin()
    return torch.cat([angles.cos()] * 2, -1), torch.cat([-sin, sin], -1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of [..., D]."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([second, first], -1) * sin


class DraftLayer(ABC):
    """A head's layer, folded for few operations per step: q|k|v and gate|up together. A subclass says how a state and a
    token's embedding enter it, and gives the first state of a position: `from_features`, [n, F] -> [n, hidden].

    Args:
        weights: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj ([out, in]), mlp_norm, output_norm.
        embedding: [V, E] on the device and in the dtype that the head is to run in; output_rows: [N, hidden], the
            output layer's of `trimmed`; inv_freq: float32 [head_dim / 2], the rotary frequencies.
    """

    proven = True  # whether the head's file says which target it is for
    from_features: Callable[[Tensor], Tensor]

    def __init__(
        self,
        spec: DraftSizes,
        weights: Mapping[str, Tensor],
        *,
        embedding: Tensor,
        output_rows: Tensor,
        trimmed: TrimmedHead,
        inv_freq: Tensor,
    ) -> None:
        self.spec, self.embedding, self.trimmed = spec, embedding, trimmed

        def product(*names: str) -> Callable[[Tensor], Tensor]:
            return packed_product(torch.cat([weights[name] for name in names]).to(embedding))

        self.qkv, self.gate_up = product("q_proj", "k_proj", "v_proj"), product("gate_proj", "up_proj")
        self.o_proj, self.down_proj = product("o_proj"), product("down_proj")
        self.mlp_norm, self.output_norm = (weights[name].to(embedding) for name in ("mlp_norm", "output_norm"))
        self.head = packed_product(output_rows.to(embedding))
        self.inv_freq = inv_freq.to(embedding.device)
        self.cos = self.sin = embedding.new_empty(0)  # [positions so far, D]

    @abstractmethod
    def entry(self, state: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """What attention reads of [1, n, hidden] states and [n, E] embeddings, and what its result is added to."""

    def layer(self, state: Tensor, next_tokens: Sequence[int], start: int, write: Write) -> Tensor:
        """Rows [1, n, hidden] of one user through the decoder layer; the last one's hidden state [1, 1, hidden].
        `write` caches their keys and values at positions start.. and returns those of all positions."""
        spec, count = self.spec, state.shape[1]
        end, groups = start + count, spec.num_heads // spec.num_kv_heads
        if end > len(self.cos):
            table = rotary(self.inv_freq, torch.arange(2 * end, device=self.inv_freq.device))
            self.cos, self.sin = (part.to(self.embedding) for part in table)
        x, residual = self.entry(state, self.embedding[torch.tensor(next_tokens, device=state.device)])
        qkv = self.qkv(x).view(1, count, -1, spec.head_dim).transpose(1, 2)
        rotated = rotate(qkv[:, : spec.num_heads + spec.num_kv_heads], self.cos[start:end], self.sin[start:end])
        keys, values = write(start, rotated[:, spec.num_heads :], qkv[:, spec.num_heads + spec.num_kv_heads :])
        # The query heads that share a KV head become its rows: nothing is copied per query head.
        queries = rotated[:, : spec.num_heads].reshape(1, spec.num_kv_heads, groups * count, spec.head_dim)
        mask = None
        if count > 1:
            mask = torch.ones(count, end, dtype=torch.bool, device=state.device).tril(start).repeat(groups, 1)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        mixed = mixed.view(1, spec.num_heads, count, spec.head_dim).transpose(1, 2).reshape(1, count, -1)
        x = residual + self.o_proj(mixed)
        gate, up = self.gate_up(self.norm(x, self.mlp_norm)).chunk(2, -1)
        return (x + self.down_proj(F.silu(gate) * up))[:, -1:]

    def logits(self, hidden: Tensor) -> Tensor:
        """[1, 1, hidden] -> [V], -inf outside the draft's own vocabulary."""
        return self.trimmed.whole(self.head(self.norm(hidden, self.output_norm))[0, 0])

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMS norm of [..., hidden]."""
        return F.rms_norm(x, weight.shape, weight, self.spec.rms_norm_eps)

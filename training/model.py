# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A feature draft while it is trained: the module, how large it is for a target, and writing its file.

The equations, the file and the path that drafting takes are in the package's hf/feature_model.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.output import write_whole
from models.tt_transformers.demo.speculative_decoding.hf.draft_layer import rotary, rotate
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import (
    FORMAT,
    FeatureDraft,
    FeatureDraftSpec,
    target_fingerprint,
)

SIZES = ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "vocab_size")


def spec_for_target(
    target: PreTrainedModel,
    token_ids: Tensor,
    *,
    layers: tuple[int, ...] | None = None,
    name: str | None = None,
) -> FeatureDraftSpec:
    """Shaped like one layer of `target`; by default it reads at 1/5, 1/2 and 4/5 of the depth and at the end."""
    config = target.config.get_text_config()
    for size in SIZES:
        if not isinstance(getattr(config, size, None), int):
            kind = type(target).__name__
            raise BadInput(f"{kind} says no {size}, and a draft is shaped like its layers; name another --target")
    depth = config.num_hidden_layers
    heads = config.num_attention_heads
    layers = layers or tuple(sorted({max(1, depth // 5), max(1, depth // 2), max(1, depth * 4 // 5), depth}))
    if not all(0 <= layer <= depth for layer in layers):
        raise BadInput(f"layers {layers} of a target that has 0 to {depth}")
    return FeatureDraftSpec(
        target_name=name or Path(config._name_or_path or type(target).__name__).name,
        target_hash=target_fingerprint(target),
        layers=tuple(layers),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_heads=heads,
        num_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        vocab_size=config.vocab_size,
        draft_vocab_size=len(token_ids),
        rms_norm_eps=getattr(config, "rms_norm_eps", 1e-5),
    )


class FeatureDraftModel(nn.Module):
    """The trainable part of the draft, and the frozen facts it needs; its state dict is a FeatureDraft's tensors.

    Args:
        spec: sizes.
        token_ids: int64 [draft_vocab_size], ascending: the target's ids that it can draft.
        inv_freq: float32 [head_dim / 2], the target's rotary frequencies.
    """

    token_ids: Tensor
    inv_freq: Tensor
    feature_scale: Tensor

    def __init__(self, spec: FeatureDraftSpec, token_ids: Tensor, inv_freq: Tensor) -> None:
        super().__init__()
        self.spec = spec
        hidden, head_dim = spec.hidden_size, spec.head_dim
        attended, keyed = spec.num_heads * head_dim, spec.num_kv_heads * head_dim
        self.register_buffer("token_ids", token_ids.to(torch.int64))
        self.register_buffer("inv_freq", inv_freq.float())
        self.register_buffer("feature_scale", torch.ones(len(spec.layers) * hidden))
        self.from_features = nn.Linear(len(spec.layers) * hidden, hidden, bias=False)
        self.from_embedding = nn.Linear(hidden, hidden, bias=False)
        self.q_proj = nn.Linear(hidden, attended, bias=False)
        self.k_proj = nn.Linear(hidden, keyed, bias=False)
        self.v_proj = nn.Linear(hidden, keyed, bias=False)
        self.o_proj = nn.Linear(attended, hidden, bias=False)
        self.gate_proj = nn.Linear(hidden, spec.intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden, spec.intermediate_size, bias=False)
        self.down_proj = nn.Linear(spec.intermediate_size, hidden, bias=False)
        self.input_norm, self.mlp_norm, self.output_norm = (nn.Parameter(torch.ones(hidden)) for _ in range(3))

    def state_from_features(self, features: Tensor) -> Tensor:
        """[..., len(layers) * hidden] of the target -> [..., hidden]."""
        return self.from_features(features * self.feature_scale)

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (self.spec.hidden_size,), weight, self.spec.rms_norm_eps)

    def attention_inputs(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, hidden] at positions [B, T] -> q [B, H, T, D], k and v [B, H_kv, T, D], rotated."""
        normed = self.norm(x, self.input_norm)
        cos, sin = rotary(self.inv_freq, positions)
        q, k, v = (
            projection(normed).unflatten(-1, (-1, self.spec.head_dim)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        cos, sin = cos[:, None].to(q.dtype), sin[:, None].to(q.dtype)
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def attend(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """The rest of the layer: x [B, T, hidden] attends to k, v [B, H_kv, S, D]; mask bool [B or 1, 1, T, S]."""
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        x = x + self.o_proj(mixed.transpose(1, 2).flatten(2))
        normed = self.norm(x, self.mlp_norm)
        return x + self.down_proj(F.silu(self.gate_proj(normed)) * self.up_proj(normed))

    def as_draft(self) -> FeatureDraft:
        """The draft as it stands, for a FeatureDrafter; it shares this model's memory."""
        return FeatureDraft(self.spec, self.state_dict())

    def save(self, path: Path | str, *, notes: dict[str, str] | None = None) -> None:
        """Write one safetensors file: bfloat16 weights, and the spec as JSON in its metadata. If it cannot be, it
        is kept elsewhere, and a BadInput says where."""
        tensors = {
            name: value.detach()
            .cpu()
            .to(torch.bfloat16 if isinstance(value, nn.Parameter) else value.dtype)
            .contiguous()
            for name, value in (*self.named_parameters(), *self.named_buffers())
        }
        tensors["token_ids"] = tensors["token_ids"].to(torch.int32)
        metadata = {"format": FORMAT, "spec": json.dumps(asdict(self.spec)), **(notes or {})}
        write_whole(path, save(tensors, metadata), "--output")

    def take_weights(self, other: FeatureDraft, path: Path | str = "the draft") -> None:
        """Copy another draft's weights; its vocabulary may differ, for the rows of the head are the target's.

        Raises:
            BadInput: it belongs to another target, or reads other layers.
        """
        check_related(other.spec, self.spec, path)
        self.load_state_dict({**other.tensors, "token_ids": self.token_ids})


def check_related(its: FeatureDraftSpec, mine: FeatureDraftSpec, path: Path | str) -> None:
    """BadInput if the draft at `path` belongs to another target than mine, or reads other layers."""
    if (its.target_hash, its.layers) != (mine.target_hash, mine.layers):
        raise BadInput(
            f"{path} belongs to {its.target_name} ({its.target_hash}) and reads its layers {its.layers}; this one "
            f"is for {mine.target_name} ({mine.target_hash}), layers {mine.layers}: the two must agree"
        )

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""An EAGLE-3 head while it is trained: the module, how large it is for a target, and the checkpoint that it becomes.

The equations are in the package's hf/eagle_head.py, the format in hf/eagle_checkpoint.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.output import write_whole
from models.tt_transformers.demo.speculative_decoding.hf.draft_layer import rotary, rotate
from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import (
    ARCHITECTURES,
    FINGERPRINT,
    LAYER_IDS,
    TARGET_NAME,
    EagleSpec,
)
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import target_fingerprint

SIZES = ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "vocab_size")
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


def spec_for_target(
    target: PreTrainedModel, draft_vocab_size: int, *, layers: Sequence[int] | None = None, name: str | None = None
) -> EagleSpec:
    """Shaped like one layer of `target`; by default it reads where the published ones do; BadInput if it cannot."""
    config = target.config.get_text_config()
    for size in SIZES:
        if not isinstance(getattr(config, size, None), int):
            kind = type(target).__name__
            raise BadInput(f"{kind} says no {size}, and a head is shaped like its layers; name another --target")
    depth, heads = config.num_hidden_layers, config.num_attention_heads
    taps = tuple(layers or (min(2, depth - 1), depth // 2, max(1, depth - 3)))
    if not all(1 <= layer < depth for layer in taps):
        raise BadInput(
            f"--layers {' '.join(map(str, taps))}: the inputs that can be read are of layers 1 to {depth - 1}"
        )
    rope = dict(getattr(config, "rope_parameters", None) or {})
    return EagleSpec(
        layers=taps,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_heads=heads,
        num_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        vocab_size=config.vocab_size,
        draft_vocab_size=draft_vocab_size,
        rms_norm_eps=getattr(config, "rms_norm_eps", 1e-5),
        target_hidden_size=config.hidden_size,
        norm_before_residual=False,
        rope={name: value for name, value in rope.items() if value is not None},
        target_name=name or Path(config._name_or_path or type(target).__name__).name,
        fingerprint=target_fingerprint(target),
    )


def published_config(spec: EagleSpec) -> dict[str, Any]:
    """The config.json of such a head. Its taps are said in both spellings: as layers' inputs and as layers' outputs."""
    names = ("hidden_size", "intermediate_size", "head_dim", "vocab_size", "draft_vocab_size", "rms_norm_eps")
    return {
        "architectures": [ARCHITECTURES[0]],
        "model_type": "llama",
        **{name: getattr(spec, name) for name in names},
        "num_attention_heads": spec.num_heads,
        "num_key_value_heads": spec.num_kv_heads,
        "num_hidden_layers": 1,
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "rope_theta": spec.rope.get("rope_theta", 10000.0),
        "rope_scaling": {name: value for name, value in spec.rope.items() if name != "rope_theta"} or None,
        LAYER_IDS: list(spec.layers),
        "eagle_config": {LAYER_IDS: [layer - 1 for layer in spec.layers], "use_aux_hidden_state": True},
        TARGET_NAME: spec.target_name,
        FINGERPRINT: spec.fingerprint,
    }


class DecoderLayer(nn.Module):
    """The layer's parameters, named as published."""

    def __init__(self, spec: EagleSpec) -> None:
        super().__init__()
        hidden, inner, attended = spec.hidden_size, spec.intermediate_size, spec.num_heads * spec.head_dim
        rows = {"q_proj": attended, **dict.fromkeys(("k_proj", "v_proj"), spec.num_kv_heads * spec.head_dim)}
        self.self_attn = nn.ModuleDict({name: nn.Linear(2 * hidden, count, bias=False) for name, count in rows.items()})
        self.self_attn["o_proj"] = nn.Linear(attended, hidden, bias=False)
        self.mlp = nn.ModuleDict({name: nn.Linear(hidden, inner, bias=False) for name in ("gate_proj", "up_proj")})
        self.mlp["down_proj"] = nn.Linear(inner, hidden, bias=False)
        self.input_layernorm, self.hidden_norm, self.post_attention_layernorm = (
            nn.RMSNorm(hidden, spec.rms_norm_eps) for _ in range(3)
        )


class HeadModel(nn.Module):
    """The head's parameters, named as published, and the frozen facts it needs.

    Args:
        spec: sizes.
        token_ids: int64 [draft_vocab_size], ascending: the target's ids that it can draft.
    """

    token_ids: Tensor
    inv_freq: Tensor
    feature_scale: Tensor

    def __init__(self, spec: EagleSpec, token_ids: Tensor) -> None:
        super().__init__()
        self.spec = spec
        width = len(spec.layers) * spec.target_hidden_size
        self.register_buffer("token_ids", token_ids.to(torch.int64))
        self.register_buffer("inv_freq", spec.inv_freq)
        self.register_buffer("feature_scale", torch.ones(width))  # of the taps while it learns; in the file part of fc
        self.fc = nn.Linear(width, spec.hidden_size, bias=False)
        self.midlayer = DecoderLayer(spec)
        self.norm = nn.RMSNorm(spec.hidden_size, spec.rms_norm_eps)
        self.lm_head = nn.Linear(spec.hidden_size, spec.draft_vocab_size, bias=False)

    def state_from_features(self, features: Tensor) -> Tensor:
        """[..., len(layers) * hidden] of the target -> [..., hidden]."""
        return self.fc(features * self.feature_scale)

    def attention_inputs(self, state: Tensor, embedded: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, hidden] states and embeddings, positions [B, T] -> rotated q [B, H, T, D], k and v [B, H_kv, T, D]."""
        layer = self.midlayer
        x = torch.cat([layer.input_layernorm(embedded), layer.hidden_norm(state)], -1)
        cos, sin = rotary(self.inv_freq, positions)
        q, k, v = (
            layer.self_attn[f"{name}_proj"](x).unflatten(-1, (-1, self.spec.head_dim)).transpose(1, 2) for name in "qkv"
        )
        cos, sin = cos[:, None].to(q.dtype), sin[:, None].to(q.dtype)
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def attend(self, residual: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """The rest of the layer: to residual [B, T, hidden] comes attention to k, v [B, H_kv, S, D], then the MLP.
        mask: bool [B or 1, 1, T, S]."""
        layer = self.midlayer
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        x = residual + layer.self_attn["o_proj"](mixed.transpose(1, 2).flatten(2))
        normed = layer.post_attention_layernorm(x)
        return x + layer.mlp["down_proj"](F.silu(layer.mlp["gate_proj"](normed)) * layer.mlp["up_proj"](normed))

    def published_tensors(self) -> dict[str, Tensor]:
        """As a checkpoint holds them, in this module's dtype; for EagleHead without the ending .weight."""
        tensors = {name: value.detach().clone() for name, value in self.named_parameters()}
        tensors["fc.weight"] *= self.feature_scale
        tensors["d2t"] = self.token_ids - torch.arange(len(self.token_ids), device=self.token_ids.device)
        marked = torch.zeros(self.spec.vocab_size, dtype=torch.bool, device=self.token_ids.device)
        return tensors | {"t2d": marked.index_fill_(0, self.token_ids, True)}

    def save(self, folder: Path, *, card: str) -> None:
        """Write the checkpoint (weights in bfloat16) and its card into a folder. If a file cannot be written, it is
        kept elsewhere, and a BadInput says where."""
        tensors = {
            name: value.cpu().to(torch.bfloat16 if value.is_floating_point() else value.dtype).contiguous()
            for name, value in self.published_tensors().items()
        }
        write_whole(folder / WEIGHTS, save(tensors, {"format": "pt"}), "--output")
        write_whole(folder / CONFIG, json.dumps(published_config(self.spec), indent=2) + "\n", "--output")
        write_whole(folder / CARD, card, "--output")

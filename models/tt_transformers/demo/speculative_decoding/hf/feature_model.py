# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A draft head that reads the target's hidden features, and its file (EAGLE, Li et al. 2024; EAGLE-3, Li et al. 2025).

    state_i = W_f [features_i]                       from the target, for committed positions
    x_i     = state_i + W_e embedding(token_{i+1})   a feature is paired with the NEXT token
    h_i     = decoder layer(x_0 .. x_i)
    logits  = target's own head rows (a trimmed vocabulary) of norm(h_i)   -> token_{i+2}

Past the last committed position there are no features: h_i itself is the state of position i+1. The embedding and the
head rows are the target's and are not stored.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from models.tt_transformers.demo.speculative_decoding.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FORMAT = "feature-draft-1"


@dataclass(frozen=True)
class FeatureDraftSpec:
    """The JSON head of a draft file: what the draft reads, its sizes, and the one target it belongs to.

    Attributes:
        target_name, target_hash: the target; see target_fingerprint.
        layers: the target's hidden layers that it reads (0 = embeddings, n = after the n-th, last = final normed).
        hidden_size, intermediate_size, num_heads, num_kv_heads, head_dim: its decoder layer's sizes.
        vocab_size: of the target. draft_vocab_size: how many of those ids it can draft.
        rms_norm_eps: of its norms.
    """

    target_name: str
    target_hash: str
    layers: tuple[int, ...]
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    draft_vocab_size: int
    rms_norm_eps: float

    def __post_init__(self) -> None:
        if not self.layers:
            raise BadInput("a feature draft must read at least one layer of its target")
        if self.num_heads % self.num_kv_heads:
            raise BadInput(f"{self.num_heads} heads cannot share {self.num_kv_heads} key-value heads evenly")
        if not 1 <= self.draft_vocab_size <= self.vocab_size:
            raise BadInput(
                f"a draft vocabulary of {self.draft_vocab_size} is outside 1..{self.vocab_size}, the target's"
            )

    @classmethod
    def for_target(
        cls,
        target: PreTrainedModel,
        token_ids: Tensor,
        *,
        layers: tuple[int, ...] | None = None,
        name: str | None = None,
    ) -> FeatureDraftSpec:
        """Shaped like one layer of `target`; by default it reads at 1/5, 1/2 and 4/5 of the depth and at the end."""
        config = target.config.get_text_config()
        depth = config.num_hidden_layers
        heads = config.num_attention_heads
        layers = layers or tuple(sorted({max(1, depth // 5), max(1, depth // 2), max(1, depth * 4 // 5), depth}))
        if not all(0 <= layer <= depth for layer in layers):
            raise BadInput(f"layers {layers} of a target that has 0 to {depth}")
        return cls(
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


def target_fingerprint(target: PreTrainedModel) -> str:
    """16 hex digits that tell targets apart in milliseconds, whatever dtype or device they are loaded in.

    sha256 over every parameter's name and shape, and over the first 2,048 entries, in bfloat16, of nine of them.
    """
    parameters = sorted(target.named_parameters())
    digest = hashlib.sha256(json.dumps([(name, list(value.shape)) for name, value in parameters]).encode())
    for _, value in parameters[:: max(1, len(parameters) // 8)]:
        sample = value.detach().flatten()[:2048].to("cpu", torch.bfloat16).view(torch.int16)
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()[:16]


class FeatureDraftModel(nn.Module):
    """The trainable part of the draft, and the frozen facts it needs.

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

    def save(self, path: Path | str, *, notes: dict[str, str] | None = None) -> None:
        """Write one safetensors file: bfloat16 weights, and the spec as JSON in its metadata."""
        tensors = {
            name: value.detach()
            .cpu()
            .to(torch.bfloat16 if isinstance(value, nn.Parameter) else value.dtype)
            .contiguous()
            for name, value in (*self.named_parameters(), *self.named_buffers())
        }
        tensors["token_ids"] = tensors["token_ids"].to(torch.int32)
        save_file(tensors, path, metadata={"format": FORMAT, "spec": json.dumps(asdict(self.spec)), **(notes or {})})

    @classmethod
    def load(cls, path: Path | str) -> FeatureDraftModel:
        """Read a file that save() wrote; float32.

        Raises:
            BadInput: no such file, or not a feature draft.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise BadInput(f"{path} is not a {FORMAT} file (its format is {metadata.get('format')!r})")
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            fields = json.loads(metadata["spec"])
            spec = FeatureDraftSpec(**{**fields, "layers": tuple(fields["layers"])})
            model = cls(spec, tensors["token_ids"], tensors["inv_freq"])
            model.load_state_dict({k: v.float() if v.is_floating_point() else v.long() for k, v in tensors.items()})
        except FileNotFoundError:
            raise BadInput(f"there is no draft file {path}; make one with train_draft.py") from None
        except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError, RuntimeError) as error:
            raise BadInput(f"{path} cannot be read as a {FORMAT} file: {error}") from error
        return model.eval()

    def take_weights(self, other: FeatureDraftModel, path: Path | str = "the draft") -> None:
        """Copy another draft's weights; its vocabulary may differ, for the rows of the head are the target's.

        Raises:
            BadInput: it belongs to another target, or reads other layers.
        """
        mine, its = self.spec, other.spec
        if (its.target_hash, its.layers) != (mine.target_hash, mine.layers):
            raise BadInput(
                f"{path} belongs to {its.target_name} ({its.target_hash}) and reads its layers {its.layers}; this one "
                f"is for {mine.target_name} ({mine.target_hash}), layers {mine.layers}: the two must agree"
            )
        kept = {"token_ids": self.token_ids}
        self.load_state_dict({**other.state_dict(), **kept})

    def check_belongs_to(self, target: PreTrainedModel, path: Path | str = "the draft") -> None:
        """Raises BadInput, with both names, if it was trained for another target."""
        found = target_fingerprint(target)
        if found != self.spec.target_hash:
            name = Path(target.config._name_or_path or type(target).__name__).name
            raise BadInput(
                f"{path} was trained for {self.spec.target_name} ({self.spec.target_hash}), but the target is {name} "
                f"({found}); use its own target, or train a draft for this one with train_draft.py"
            )


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

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A draft head on the target's hidden features: its file, and how it runs (EAGLE, Li et al. 2024; EAGLE-3, 2025).

    state_i = W_f [features_i]                       from the target, for committed positions
    x_i     = state_i + W_e embedding(token_{i+1})   a feature is paired with the NEXT token
    h_i     = decoder layer(x_0 .. x_i)
    logits  = target's own head rows (a trimmed vocabulary) of norm(h_i)   -> token_{i+2}

Past the last committed position there are no features: h_i itself is the state of position i+1. The embedding and the
head rows are the target's and are not stored. training/ makes such files: `python -m training.train_draft`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.packed_linear import packed_product
from models.tt_transformers.demo.speculative_decoding.inputs import whole_numbers
from models.tt_transformers.demo.speculative_decoding.trimmed_head import TrimmedHead

Write: TypeAlias = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
FORMAT = "feature-draft-1"


@dataclass(frozen=True)
class FeatureDraftSpec:
    """The JSON head of a draft file: what the draft reads, its decoder layer's sizes, and the one target it is for."""

    target_name: str
    target_hash: str  # target_fingerprint()
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
        object.__setattr__(self, "layers", tuple(whole_numbers(self.layers, "the layers of a feature draft")))
        if not self.layers or len(set(self.layers)) < len(self.layers) or min(self.layers) < 0:
            raise BadInput(f"a feature draft that reads layers {list(self.layers)} of its target; give some, each once")
        if self.num_kv_heads < 1 or self.num_heads % self.num_kv_heads:
            raise BadInput(f"{self.num_heads} heads cannot share {self.num_kv_heads} key-value heads evenly")
        if not 1 <= self.draft_vocab_size <= self.vocab_size:
            raise BadInput(f"a draft of {self.draft_vocab_size} ids for a target of {self.vocab_size}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every tensor of a draft, by name; matrices are [out, in]."""
        hidden, inner, read = self.hidden_size, self.intermediate_size, len(self.layers) * self.hidden_size
        attended, keyed = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        matrices = {"from_features": (hidden, read), "from_embedding": (hidden, hidden)}
        matrices |= {"q_proj": (attended, hidden), "k_proj": (keyed, hidden), "v_proj": (keyed, hidden)}
        matrices |= {"gate_proj": (inner, hidden), "up_proj": (inner, hidden)}
        matrices |= {"o_proj": (hidden, attended), "down_proj": (hidden, inner)}
        vectors = {"input_norm": hidden, "mlp_norm": hidden, "output_norm": hidden, "feature_scale": read}
        vectors |= {"inv_freq": self.head_dim // 2, "token_ids": self.draft_vocab_size}
        return {f"{name}.weight": shape for name, shape in matrices.items()} | {n: (k,) for n, k in vectors.items()}


def target_fingerprint(target: PreTrainedModel) -> str:
    """16 hex digits that tell targets apart in milliseconds, whatever dtype or device they are loaded in: of the sha256
    over every parameter's name and shape, and over the first 2,048 entries, in bfloat16, of nine of them."""
    parameters = sorted(target.named_parameters())
    digest = hashlib.sha256(json.dumps([(name, list(value.shape)) for name, value in parameters]).encode())
    for _, value in parameters[:: max(1, len(parameters) // 8)]:
        sample = value.detach().flatten()[:2048].to("cpu", torch.bfloat16).view(torch.int16)
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class FeatureDraft:
    """A trained draft, as its file holds it; BadInput if a tensor is missing, left over or of another shape.

    `tensors` (FeatureDraftSpec.shapes): matrices and norms of any float dtype; float32 feature_scale, the factors of
    the features, and inv_freq, the target's rotary frequencies; token_ids, the target's ids it can draft.
    """

    spec: FeatureDraftSpec
    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
        wrong = {name for name, _ in shapes.items() ^ self.spec.shapes().items()}
        if wrong:
            raise BadInput(f"tensors missing, left over or of another shape: {', '.join(sorted(wrong))}")

    @classmethod
    def load(cls, path: Path | str) -> FeatureDraft:
        """Read a draft file; BadInput if there is none or it is no feature draft."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise BadInput(f"its format is {metadata.get('format')!r}")
                fields = json.loads(metadata["spec"])
                fields["layers"] = tuple(fields["layers"])
                return cls(FeatureDraftSpec(**fields), {name: file.get_tensor(name) for name in file.keys()})
        except FileNotFoundError:
            raise BadInput(f"there is no draft file {path}; make one with python -m training.train_draft") from None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise BadInput(f"{path} cannot be read as a {FORMAT} file: {error}") from error


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


class FeatureHead:
    """A draft on its target, folded for few operations per step: scales into matrices, q|k|v and gate|up together;
    BadInput if it was trained for another target."""

    def __init__(self, draft: FeatureDraft, target: PreTrainedModel) -> None:
        if not isinstance(draft, FeatureDraft) or not isinstance(target, PreTrainedModel):
            raise BadInput("a feature drafter is made of a FeatureDraft and the loaded model that it was trained for")
        self.spec, tensors, found = draft.spec, draft.tensors, target_fingerprint(target)
        if found != self.spec.target_hash:
            name = Path(target.config._name_or_path or type(target).__name__).name
            trained = f"the draft was trained for {self.spec.target_name} ({self.spec.target_hash})"
            remedy = "use its own, or train a draft for this one with python -m training.train_draft"
            raise BadInput(f"{trained}, but the target is {name} ({found}); {remedy}")
        if max(self.spec.layers) > (last := target.config.get_text_config().num_hidden_layers):
            raise BadInput(f"the draft reads layer {max(self.spec.layers)} of its target, whose layers are 0 to {last}")
        self.embedding, output_rows = frozen_rows(target)

        def product(*names: str) -> Callable[[Tensor], Tensor]:
            return packed_product(torch.cat([tensors[f"{name}.weight"] for name in names]).to(self.embedding))

        scaled = tensors["from_features.weight"] * tensors["feature_scale"]
        self.from_features = packed_product(scaled.to(self.embedding))
        self.from_embedding, self.o_proj, self.down_proj = map(product, ("from_embedding", "o_proj", "down_proj"))
        self.qkv, self.gate_up = product("q_proj", "k_proj", "v_proj"), product("gate_proj", "up_proj")
        norms = (tensors[f"{name}_norm"].to(self.embedding) for name in ("input", "mlp", "output"))
        self.input_norm, self.mlp_norm, self.output_norm = norms
        self.trimmed = TrimmedHead(tensors["token_ids"].tolist(), self.spec.vocab_size, device=self.embedding.device)
        self.head = packed_product(output_rows[self.trimmed.token_ids])
        self.inv_freq = tensors["inv_freq"].to(self.embedding.device)
        self.cos = self.sin = self.embedding.new_empty(0)  # [positions so far, D]

    def layer(self, state: Tensor, next_tokens: Sequence[int], start: int, write: Write) -> Tensor:
        """Rows [1, n, hidden] of one user through the decoder layer; the last one's hidden state [1, 1, hidden].
        `write` caches their keys and values at positions start.. and returns those of all positions."""
        spec, count = self.spec, state.shape[1]
        end, groups = start + count, spec.num_heads // spec.num_kv_heads
        if end > len(self.cos):
            table = rotary(self.inv_freq, torch.arange(2 * end, device=self.inv_freq.device))
            self.cos, self.sin = (part.to(self.embedding) for part in table)
        x = state + self.from_embedding(self.embedding[torch.tensor(next_tokens, device=state.device)])
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
        return (x + self.down_proj(F.silu(gate) * up))[:, -1:]

    def logits(self, hidden: Tensor) -> Tensor:
        """[1, 1, hidden] -> [V], -inf outside the draft's own vocabulary."""
        return self.trimmed.whole(self.head(self._norm(hidden, self.output_norm))[0, 0])

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (self.spec.hidden_size,), weight, self.spec.rms_norm_eps)

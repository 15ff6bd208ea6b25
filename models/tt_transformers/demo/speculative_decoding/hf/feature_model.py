# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A draft head of our own on the target's hidden features: its file, and how it runs (EAGLE, Li et al. 2024).

    state_i = W_f [features_i]                       from the target, for committed positions
    x_i     = state_i + W_e embedding(token_{i+1})   and then the layer of draft_layer.py

The embedding and the output rows are the target's and are not stored. The embedded model's draft is such a file;
training/ writes heads in EAGLE-3's published format now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.draft_layer import DraftLayer, DraftSizes, frozen_rows
from models.tt_transformers.demo.speculative_decoding.hf.packed_linear import packed_product
from models.tt_transformers.demo.speculative_decoding.inputs import whole_numbers
from models.tt_transformers.demo.speculative_decoding.trimmed_head import TrimmedHead

FORMAT = "feature-draft-1"


@dataclass(frozen=True, kw_only=True)
class FeatureDraftSpec(DraftSizes):
    """The JSON head of a draft file: what the draft reads, its decoder layer's sizes, and the one target it is for."""

    target_name: str
    target_hash: str  # target_fingerprint()

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(whole_numbers(self.layers, "the layers of a feature draft")))
        if not self.layers or len(set(self.layers)) < len(self.layers) or min(self.layers) < 0:
            raise BadInput(f"a feature draft that reads layers {list(self.layers)} of its target; give some, each once")
        super().__post_init__()

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


def check_target(name: str | None, fingerprint: str | None, target: PreTrainedModel, draft: str) -> None:
    """BadInput if the draft says whose it is, and the target is another."""
    if fingerprint is not None and (found := target_fingerprint(target)) != fingerprint:
        its = Path(target.config._name_or_path or type(target).__name__).name
        remedy = "use its own, or train one for this target with python -m training.train_draft"
        raise BadInput(f"{draft} was trained for {name} ({fingerprint}), but the target is {its} ({found}); {remedy}")


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


class FeatureHead(DraftLayer):
    """A draft on its target, its factors of the features folded into their matrix; BadInput if it was trained for
    another target."""

    def __init__(self, draft: FeatureDraft, target: PreTrainedModel) -> None:
        if not isinstance(draft, FeatureDraft) or not isinstance(target, PreTrainedModel):
            raise BadInput("a feature drafter is made of a FeatureDraft and the loaded model that it was trained for")
        spec, tensors = draft.spec, draft.tensors
        check_target(spec.target_name, spec.target_hash, target, "the draft")
        if max(spec.layers) > (last := target.config.get_text_config().num_hidden_layers):
            raise BadInput(f"the draft reads layer {max(spec.layers)} of its target, whose layers are 0 to {last}")
        embedding, output_rows = frozen_rows(target)
        trimmed = TrimmedHead(tensors["token_ids"].tolist(), spec.vocab_size, device=embedding.device)
        super().__init__(
            spec,
            {name.removesuffix(".weight"): tensor for name, tensor in tensors.items()},
            embedding=embedding,
            output_rows=output_rows[trimmed.token_ids],
            trimmed=trimmed,
            inv_freq=tensors["inv_freq"],
        )
        scaled = tensors["from_features.weight"] * tensors["feature_scale"]
        self.from_features = packed_product(scaled.to(embedding))
        self.from_embedding = packed_product(tensors["from_embedding.weight"].to(embedding))
        self.input_norm = tensors["input_norm"].to(embedding)

    def entry(self, state: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """See DraftLayer.entry: x = state + W_e embedding, and attention reads norm(x)."""
        x = state + self.from_embedding(embedded)
        return self.norm(x, self.input_norm), x

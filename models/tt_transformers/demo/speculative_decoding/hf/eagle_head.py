# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""How an EAGLE-3 head runs (Li et al. 2025); its checkpoint is in eagle_checkpoint.py, its layer in draft_layer.py.

    state_i    = fc [taps_i]                                   the target's hidden states at three depths
    x_i        = [input_layernorm(embedding(token_{i+1})), hidden_norm(state_i)]
    residual_i = state_i                                       or, as the config may say, hidden_norm(state_i)

Tokens are shifted by one, positions are not: (state_i, token_{i+1}) sits at i. What is fed back is h_i before the norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.draft_layer import DraftLayer, frozen_rows
from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import (
    EagleSpec,
    drafted_ids,
    fitted_spec,
    head_config,
    head_tensors,
)
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import check_target
from models.tt_transformers.demo.speculative_decoding.hf.packed_linear import packed_product
from models.tt_transformers.demo.speculative_decoding.trimmed_head import TrimmedHead

LAYER = {f"{name}_proj": f"midlayer.self_attn.{name}_proj" for name in "qkvo"}
LAYER |= {f"{name}_proj": f"midlayer.mlp.{name}_proj" for name in ("gate", "up", "down")}
LAYER |= {"mlp_norm": "midlayer.post_attention_layernorm", "output_norm": "norm"}


class EagleHead(DraftLayer):
    """A published head on its target, which gives the embeddings and the output rows that the checkpoint lacks;
    BadInput if these are of another size than the head's own, or if it says that it is another target's.
    `tensors`: eagle_checkpoint.head_tensors."""

    def __init__(
        self, spec: EagleSpec, tensors: Mapping[str, Tensor], target: PreTrainedModel, *, source: str = "the head"
    ) -> None:
        self.proven = spec.fingerprint is not None
        check_target(spec.target_name, spec.fingerprint, target, source)
        target_embedding, target_rows = frozen_rows(target)
        ids, order = drafted_ids(source, spec, tensors).sort()  # TrimmedHead's columns are in the order of ids
        if spec.hidden_size != spec.target_hidden_size and not {"embed_tokens", "lm_head"} <= tensors.keys():
            sizes = f"its hidden size is {spec.hidden_size}, the target's {spec.target_hidden_size}"
            raise BadInput(f"{source} needs its own embed_tokens and lm_head: {sizes}")
        super().__init__(
            spec,
            {name: tensors[published] for name, published in LAYER.items()},
            embedding=tensors["embed_tokens"].to(target_embedding) if "embed_tokens" in tensors else target_embedding,
            output_rows=tensors["lm_head"][order] if "lm_head" in tensors else target_rows[ids],
            trimmed=TrimmedHead(ids.tolist(), spec.vocab_size, device=target_embedding.device),
            inv_freq=spec.inv_freq,
        )
        self.from_features = packed_product(tensors["fc"].to(self.embedding))
        self.embedding_norm = tensors["midlayer.input_layernorm"].to(self.embedding)
        self.state_norm = tensors["midlayer.hidden_norm"].to(self.embedding)
        self.norm_before_residual = spec.norm_before_residual
        self.weights_mb = sum(tensor.nbytes for tensor in tensors.values()) / 1e6  # as they are stored

    @classmethod
    def from_pretrained(cls, source: str, target: PreTrainedModel, *, layers: Sequence[int] | None = None) -> EagleHead:
        """Open a folder or a Hub id for its target; ModelUnavailable or BadInput say what is wrong with it. `layers`:
        the taps, where the config.json does not say them as it was meant."""
        spec = fitted_spec(source, head_config(source), target.config.get_text_config(), layers)
        return cls(spec, head_tensors(source, spec), target, source=source)

    def entry(self, state: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """See DraftLayer.entry."""
        normed = self.norm(state, self.state_norm)
        both = torch.cat([self.norm(embedded, self.embedding_norm)[None], normed], -1)
        return both, normed if self.norm_before_residual else state

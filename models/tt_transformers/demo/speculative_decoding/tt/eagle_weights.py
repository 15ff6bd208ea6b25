# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""From a published EAGLE-3 head's tensors to a head on the mesh (eagle_head.py).

Matrices and cache are BFP8, in "accuracy" bf16. Upstream's rotary embedding turns neighbours, so rows of the query and
key projections are reordered; an output column's id, up to 128,255, is looked up as digits that bf16 holds exactly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from loguru import logger
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.trimmed_head import TrimmedHead
from models.tt_transformers.demo.speculative_decoding.tt.eagle_head import EagleHead, HeadWeights
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import TILE_ROWS
from models.tt_transformers.demo.speculative_decoding.tt.loading import LoadedModel
from models.tt_transformers.demo.speculative_decoding.tt.memory import BLOCK_SIZE

NORMS = {"embedding_norm": "input_layernorm", "state_norm": "hidden_norm", "mlp_norm": "post_attention_layernorm"}
BASE, DIGITS = 256, 3


@dataclass(frozen=True, kw_only=True)
class HeadRequest:
    """A published head that is to draft for a target, as its checkpoint has it."""

    name: str
    spec: Any  # sizes, taps and settings, by the names of hf.eagle_checkpoint.EagleSpec
    tensors: Mapping[str, Tensor]  # by their published names; embed_tokens and lm_head may be the target's
    token_ids: Tensor  # int64 [draft vocabulary], the target's id of each output row


def load_head(
    target: LoadedModel, head: HeadRequest, *, output_rows: Callable[[], Tensor], batch: int, exact: bool
) -> EagleHead:
    """Put a head beside its target.

    Args:
        target: lends its embedding where the checkpoint has none.
        output_rows: reads the target's own, [V, hidden]; asked where the checkpoint has no lm_head.
        batch: rows of a compiled step. exact: "accuracy".
    """
    ttnn, mesh, spec, tensors = target.upstream.ttnn, target.mesh_device, head.spec, head.tensors
    dense, devices = ttnn.bfloat16 if exact else ttnn.bfloat8_b, mesh.get_num_devices()

    def on_mesh(data: Tensor, dtype: Any, layout: Any) -> Any:
        data = data.bfloat16() if dtype == ttnn.bfloat16 else data.float()
        replicated = ttnn.ReplicateTensorToMesh(mesh)
        return ttnn.from_torch(data, dtype=dtype, layout=layout, device=mesh, mesh_mapper=replicated)

    def matrix(weight: Tensor) -> Any:
        return on_mesh(weight.float().T.contiguous()[None, None], dense, ttnn.TILE_LAYOUT)

    def table(data: Tensor) -> Any:
        return on_mesh(data, ttnn.bfloat16, ttnn.ROW_MAJOR_LAYOUT)

    logger.info(
        f"{head.name} reads layers {list(spec.layers)}; its weights and cache are {'bf16' if exact else 'BFP8'}"
    )
    ids, order = head.token_ids.sort()
    kept = TrimmedHead(ids.tolist(), spec.vocab_size).padded(TILE_ROWS)
    rows = (tensors["lm_head"][order] if "lm_head" in tensors else output_rows()[ids]).float()
    attention = {name: tensors[f"midlayer.self_attn.{name}_proj"] for name in "qkvo"}
    for name, heads in (("q", spec.num_heads), ("k", spec.num_kv_heads)):
        attention[name] = _neighbours(attention[name], heads)
    norms = {name: tensors[f"midlayer.{published}"] for name, published in NORMS.items()}
    norms["output_norm"] = tensors["norm"]
    digits, worth = torch.zeros(len(kept), TILE_ROWS), torch.zeros(TILE_ROWS, TILE_ROWS)
    for place in range(DIGITS):
        digits[:, place], worth[place, 0] = kept.token_ids // BASE**place % BASE, BASE**place
    whole = len(kept) == spec.vocab_size
    weights = HeadWeights(
        fc=matrix(_by_device(tensors["fc"], len(spec.layers), devices)),
        qkv=matrix(torch.cat([attention[name] for name in "qkv"])),
        o=matrix(attention["o"]),
        **{name: matrix(tensors[f"midlayer.mlp.{name}_proj"]) for name in ("gate", "up", "down")},
        output=matrix(torch.cat([rows, rows[-1:].expand(len(kept) - len(rows), -1)])),
        **{name: table(weight.reshape(1, 1, -1, TILE_ROWS)) for name, weight in norms.items()},
        digits=None if whole else table(digits),
        worth=None if whole else on_mesh(worth, ttnn.bfloat16, ttnn.TILE_LAYOUT),
    )
    embed, own = target.transformer.embd, tensors.get("embed_tokens")
    if own is not None:
        embed = partial(ttnn.embedding, weight=table(own[None, None]), layout=ttnn.TILE_LAYOUT)
    nothing = torch.zeros(target.cache.num_blocks, spec.num_kv_heads, BLOCK_SIZE, spec.head_dim)
    theta, scaling = spec.rope.get("rope_theta", 10000.0), _scaling(target.upstream, spec.rope)
    rope = target.upstream.RotarySetup(mesh, batch, spec.head_dim, target.args.max_seq_len, theta, scaling)
    return EagleHead(
        lib=ttnn,
        spec=spec,
        weights=weights,
        cache=[on_mesh(nothing, dense, ttnn.TILE_LAYOUT) for _ in range(2)],
        embed=embed,
        embed_whole=own is not None,
        rope=rope,
        batch=batch,
        devices=devices,
        sdpa=target.args.get_attn_sdpa_decode_program_config(None),
        exact=exact,
    )


def _neighbours(weight: Tensor, heads: int) -> Tensor:
    """Rows of a projection [heads * D, in], the halves of each head in turns."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(weight.shape)


def _by_device(weight: Tensor, taps: int, devices: int) -> Tensor:
    """Columns of fc [hidden, taps * h] in the order in which a gather joins the devices' shares of the joined taps."""
    return weight.unflatten(1, (taps, devices, -1)).transpose(1, 2).flatten(1)


def _scaling(upstream: Any, rope: Mapping[str, Any]) -> Any:
    """Upstream's word for a head's rotary scaling; None: there is none."""
    scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    return None if kind == "default" else upstream.rope_scaling_model_factory({**scaling, "rope_type": kind})

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""An EAGLE-3 head (Li et al. 2025) in ttnn: one decoder layer on the target's taps, with a paged cache of its own.

    state_i = fc [taps_i]
    h_i     = layer [input_layernorm(embedding(token_{i+1})), hidden_norm(state_i)], sits at position i
    logits  = lm_head norm(h_i) -> token_{i+2};      past the last tap, state_{i+1} = h_i

Whatever reads several rows of a user at once writes them as kv_write.py says. A prefill only has keys and values to
leave behind: nothing else of a one-layer head is read later.

Activations are bf16, in L1 where they are rows of a decode. Matrices and cache are BFP8, in "accuracy" bf16.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.trimmed_head import TrimmedHead
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import TILE_ROWS, WritePositions, write_rows
from models.tt_transformers.demo.speculative_decoding.tt.memory import BLOCK_SIZE, CacheLayout
from models.tt_transformers.demo.speculative_decoding.tt.taps import Chunk

NORMS = ("midlayer.input_layernorm", "midlayer.hidden_norm", "midlayer.post_attention_layernorm", "norm")
BASE = 256  # digits below it are exact in bf16


@dataclass(frozen=True, kw_only=True)
class HeadRequest:
    """A published head that is to draft for a target, as its checkpoint has it."""

    name: str
    spec: Any  # sizes, taps and settings, by the names of hf.eagle_checkpoint.EagleSpec
    tensors: Mapping[str, Tensor]  # by their published names; embed_tokens and lm_head may be the target's
    token_ids: Tensor  # int64 [draft vocabulary], the target's id of each output row


class EagleHead:
    """The head's weights and cache on the mesh, the same on each of its devices.

    Args:
        target: the loaded model that it drafts for (LoadedModel), which lends its embedding.
        output_rows: reads the target's own, [V, hidden]; asked where the checkpoint has no lm_head.
        batch: rows of a compiled step.
    """

    def __init__(
        self, target: Any, head: HeadRequest, *, output_rows: Callable[[], Tensor], batch: int, exact: bool
    ) -> None:
        self.target, self.spec, self.batch = target, head.spec, batch
        self._ttnn = ttnn = target.upstream.ttnn
        self._mesh, spec, tensors = target.mesh_device, head.spec, head.tensors
        self.dtype = ttnn.bfloat16 if exact else ttnn.bfloat8_b
        ids, order = head.token_ids.sort()
        kept = TrimmedHead(ids.tolist(), spec.vocab_size).padded(TILE_ROWS)
        rows = (tensors["lm_head"][order] if "lm_head" in tensors else output_rows()[ids]).float()
        rows = torch.cat([rows, rows[-1:].expand(len(kept) - len(rows), -1)])
        attention = {name: tensors[f"midlayer.self_attn.{name}_proj"] for name in "qkvo"}
        for name, heads in (("q", spec.num_heads), ("k", spec.num_kv_heads)):
            attention[name] = _interleaved(attention[name], heads)
        self._fc = self._matrix(_by_device(tensors["fc"], len(spec.layers), self._devices))
        self._qkv = self._matrix(torch.cat([attention[name] for name in "qkv"]))
        self._o = self._matrix(attention["o"])
        self._gate, self._up, self._down = (
            self._matrix(tensors[f"midlayer.mlp.{name}_proj"]) for name in ("gate", "up", "down")
        )
        self._output = self._matrix(rows)
        norms = (tensors[name].reshape(1, 1, -1, TILE_ROWS) for name in NORMS)
        self._embedding_norm, self._state_norm, self._mlp_norm, self._output_norm = map(self._rows, norms)
        own = tensors.get("embed_tokens")
        self._embedding = None if own is None else self._rows(own[None, None])
        # A column's id in digits, looked up like an embedding, and what the digits are worth.
        whole = len(kept) == spec.vocab_size
        digits = torch.stack([kept.token_ids // BASE**place % BASE for place in range(3)], -1)
        worth = torch.tensor([float(BASE**place) for place in range(3)])[:, None]
        self._digits = None if whole else self._rows(_widened(digits, TILE_ROWS, 1))
        self._worth = None if whole else self._tiles(_widened(_widened(worth, TILE_ROWS, 0), TILE_ROWS, 1))
        self.rope = target.upstream.RotarySetup(
            self._mesh,
            batch,
            spec.head_dim,
            target.args.max_seq_len,
            spec.rope.get("rope_theta", 10000.0),
            _scaling(target.upstream, spec.rope),
        )
        cache: CacheLayout = target.cache
        shape = (cache.num_blocks, spec.num_kv_heads, BLOCK_SIZE, spec.head_dim)
        self._cache = [self._tiles(torch.zeros(shape), self.dtype) for _ in range(2)]
        self._exactly = ttnn.WormholeComputeKernelConfig(
            math_fidelity=ttnn.MathFidelity.HiFi4 if exact else ttnn.MathFidelity.HiFi2,
            math_approx_mode=False,
            fp32_dest_acc_en=True,
            packer_l1_acc=True,
        )

    @property
    def _devices(self) -> int:
        return self._mesh.get_num_devices()

    def states(self, taps: Sequence[Any], *, place: Any = None) -> Any:
        """[1, 1, n, hidden] of the taps' n rows."""
        joined = self._gathered(self._ttnn.concat(list(taps), dim=3))
        return self._product(joined, self._fc, place)

    def picked(self, rows: Any, index: Any) -> Any:
        """Rows [1, 1, 32, hidden] that uint32 [1, 32] names of [1, 1, n, hidden]; others may hold anything, NaN too."""
        ttnn = self._ttnn
        table = ttnn.reshape(ttnn.to_layout(rows, ttnn.ROW_MAJOR_LAYOUT), (rows.shape[-2], rows.shape[-1]))
        found = ttnn.embedding(index, table, layout=ttnn.TILE_LAYOUT, memory_config=ttnn.L1_MEMORY_CONFIG)
        return ttnn.reshape(found, (1, 1, TILE_ROWS, rows.shape[-1]))

    def layer(self, state: Any, tokens: Any, at: Any, rotary: Any, page_table: Any, writes: WritePositions) -> Any:
        """One step: h [1, 1, 32, hidden] of the rows of states, the tokens after them (uint32 [1, 1, 1, 32]) and their
        positions, as Transformer.ttnn_decode_forward takes these; their keys and values are cached as `writes` says."""
        ttnn, spec, decode = self._ttnn, self.spec, self.target.upstream.ttnn.experimental
        x, residual = self._entry(state, self._embedded(tokens), ttnn.L1_MEMORY_CONFIG)
        qkv = self._product(x, self._qkv, ttnn.L1_MEMORY_CONFIG)
        width = qkv.shape[-1]
        q, k, v = decode.nlp_create_qkv_heads_decode(
            ttnn.reshape(qkv, (1, 1, self.batch, width), (1, 1, TILE_ROWS, width)),
            num_heads=spec.num_heads,
            num_kv_heads=spec.num_kv_heads,
            memory_config=ttnn.L1_HEIGHT_SHARDED_MEMORY_CONFIG,
        )
        cos, sin = self.rope.get_rot_mats(rotary)
        turn = self.rope.get_both_trans_mats()["decode"]
        q, k = (decode.rotary_embedding_llama(heads, cos, sin, turn, is_decode_mode=True) for heads in (q, k))
        positions = writes.split(at)
        for cache, rows in zip(self._cache, (k, v), strict=True):
            write_rows(decode.paged_update_cache, (cache, rows), {"page_table": page_table}, positions)
        mixed = ttnn.transformer.paged_scaled_dot_product_attention_decode(
            q,
            *self._cache,
            page_table_tensor=page_table,
            cur_pos_tensor=at,
            scale=spec.head_dim**-0.5,
            program_config=self.target.args.get_attn_sdpa_decode_program_config(None),
            compute_kernel_config=self._exactly,
            memory_config=ttnn.DRAM_MEMORY_CONFIG,
        )
        mixed = decode.nlp_concat_heads_decode(
            ttnn.to_memory_config(mixed, self._a_row_per_core()), num_heads=spec.num_heads
        )
        attended = self._product(ttnn.to_memory_config(mixed, ttnn.L1_MEMORY_CONFIG), self._o, ttnn.L1_MEMORY_CONFIG)
        x = ttnn.add(residual, attended)
        normed = self._norm(x, self._mlp_norm)
        gate, up = (self._product(normed, weight, ttnn.L1_MEMORY_CONFIG) for weight in (self._gate, self._up))
        inner = ttnn.multiply(ttnn.silu(gate), up)
        return ttnn.add(x, self._product(inner, self._down, ttnn.L1_MEMORY_CONFIG))

    def logits(self, hidden: Any, rows: int) -> Any:
        """bf16 ROW_MAJOR [1, 1, rows, N] of the first rows, over the draft's own vocabulary in the order of ids."""
        ttnn = self._ttnn
        logits = self._product(self._norm(hidden, self._output_norm), self._output, ttnn.L1_MEMORY_CONFIG)
        logits = ttnn.to_layout(logits, ttnn.ROW_MAJOR_LAYOUT)
        return ttnn.slice(logits, [0, 0, 0, 0], [1, 1, rows, logits.shape[-1]])

    def ids(self, hidden: Any, rows: int) -> Any:
        """The target's ids of their argmax, uint32 [1, 1, rows]; the lowest of a tie."""
        ttnn = self._ttnn
        columns = ttnn.argmax(self.logits(hidden, rows), dim=-1, keepdim=False)
        if self._digits is None:
            return columns
        digits = ttnn.embedding(ttnn.reshape(columns, (1, rows)), self._digits, layout=ttnn.TILE_LAYOUT)
        worth = ttnn.linear(digits, self._worth, dtype=ttnn.float32, compute_kernel_config=self._exact_sums())
        ids = ttnn.to_layout(ttnn.typecast(worth, ttnn.uint32), ttnn.ROW_MAJOR_LAYOUT)
        return ttnn.reshape(ttnn.slice(ids, [0, 0, 0], [1, rows, 1]), (1, 1, rows))

    def fill(self, chunk: Chunk, next_tokens: Any) -> Any:
        """Cache keys and values of a prefill's chunk of S positions, given the tokens after them (uint32
        [1, 1, 1, S]); returns its states [1, 1, S, hidden]."""
        ttnn, spec, place = self._ttnn, self.spec, self._ttnn.DRAM_MEMORY_CONFIG
        states = self.states(chunk.taps, place=place)
        x, _ = self._entry(states, self._embedded(next_tokens), place)
        _, k, v = ttnn.experimental.nlp_create_qkv_heads(
            self._product(x, self._qkv, place),
            num_heads=spec.num_heads,
            num_kv_heads=spec.num_kv_heads,
            transpose_k_heads=False,
            memory_config=place,
        )
        end = chunk.start + k.shape[2]
        tables = (self.rope.cos_matrix_prefill, self.rope.sin_matrix_prefill)
        cos, sin = (ttnn.slice(t, [0, 0, chunk.start, 0], [1, 1, end, spec.head_dim]) for t in tables)
        turn = self.rope.get_both_trans_mats()["prefill"]
        k = ttnn.experimental.rotary_embedding_llama(k, cos, sin, turn, is_decode_mode=False)
        room = chunk.page_table.shape[-1] * BLOCK_SIZE
        for cache, rows in zip(self._cache, (k, v), strict=True):
            if room < rows.shape[2]:
                rows = ttnn.slice(rows, [0, 0, 0, 0], [1, spec.num_kv_heads, room, spec.head_dim])
            rows = rows if rows.dtype == self.dtype else ttnn.typecast(rows, self.dtype)
            ttnn.experimental.paged_fill_cache(cache, rows, chunk.page_table, batch_idx=chunk.row)
        return states

    def _entry(self, state: Any, embedded: Any, place: Any) -> tuple[Any, Any]:
        """What attention reads of rows of states and embeddings, and what its result is added to."""
        normed = self._norm(state, self._state_norm)
        both = self._ttnn.concat([self._norm(embedded, self._embedding_norm), normed], dim=3, memory_config=place)
        return both, normed if self.spec.norm_before_residual else state

    def _embedded(self, tokens: Any) -> Any:
        """[1, 1, n, hidden] of uint32 [1, 1, 1, n]."""
        ttnn = self._ttnn
        if self._embedding is not None:
            rows = ttnn.embedding(tokens, self._embedding, layout=ttnn.TILE_LAYOUT)
        else:
            rows = self._gathered(ttnn.unsqueeze_to_4D(self.target.transformer.embd(tokens)))
        return ttnn.reshape(rows, (1, 1, tokens.shape[-1], rows.shape[-1]))

    def _gathered(self, rows: Any) -> Any:
        """What the devices have a share of each, whole on all of them."""
        return rows if self._devices == 1 else self._ttnn.all_gather(rows, dim=3)

    def _product(self, x: Any, weight: Any, place: Any) -> Any:
        how = {"dtype": self._ttnn.bfloat16, "compute_kernel_config": self._exactly, "memory_config": place}
        return self._ttnn.linear(x, weight, **how)

    def _exact_sums(self) -> Any:
        ttnn = self._ttnn
        return ttnn.WormholeComputeKernelConfig(math_fidelity=ttnn.MathFidelity.HiFi4, fp32_dest_acc_en=True)

    def _norm(self, x: Any, weight: Any) -> Any:
        return self._ttnn.rms_norm(
            x, epsilon=self.spec.rms_norm_eps, weight=weight, compute_kernel_config=self._exactly
        )

    def _a_row_per_core(self) -> Any:
        ttnn = self._ttnn
        return ttnn.create_sharded_memory_config(
            shape=(TILE_ROWS, self.spec.head_dim),
            core_grid=ttnn.num_cores_to_corerangeset(self.batch, ttnn.CoreCoord(8, 8), row_wise=True),
            strategy=ttnn.ShardStrategy.HEIGHT,
            orientation=ttnn.ShardOrientation.ROW_MAJOR,
            use_height_and_width_as_shard_shape=True,
        )

    def _matrix(self, weight: Tensor) -> Any:
        """A weight [out, in], stored [in, out]."""
        return self._tiles(weight.float().T.contiguous()[None, None], self.dtype)

    def _tiles(self, data: Tensor, dtype: Any = None) -> Any:
        return self._on_mesh(data, dtype or self._ttnn.bfloat16, self._ttnn.TILE_LAYOUT)

    def _rows(self, data: Tensor) -> Any:
        return self._on_mesh(data, self._ttnn.bfloat16, self._ttnn.ROW_MAJOR_LAYOUT)

    def _on_mesh(self, data: Tensor, dtype: Any, layout: Any) -> Any:
        ttnn = self._ttnn
        return ttnn.from_torch(
            data.bfloat16() if dtype == ttnn.bfloat16 else data.float(),
            dtype=dtype,
            layout=layout,
            device=self._mesh,
            mesh_mapper=ttnn.ReplicateTensorToMesh(self._mesh),
        )


def _interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows of a projection [heads * D, in], halves of each head in turns: what upstream's rotary embedding rotates."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(weight.shape)


def _by_device(weight: Tensor, taps: int, devices: int) -> Tensor:
    """Columns of fc [hidden, taps * h] in the order in which a gather joins the devices' shares of the joined taps."""
    return weight.unflatten(1, (taps, devices, -1)).transpose(1, 2).flatten(1)


def _widened(data: Tensor, size: int, dim: int) -> Tensor:
    """Filled with zeros to `size` along `dim`."""
    missing = list(data.shape)
    missing[dim] = size - missing[dim]
    return torch.cat([data, data.new_zeros(missing)], dim)


def _scaling(upstream: Any, rope: Mapping[str, Any]) -> Any:
    """Upstream's word for a head's rotary scaling; None: there is none."""
    scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    return None if kind == "default" else upstream.rope_scaling_model_factory({**scaling, "rope_type": kind})

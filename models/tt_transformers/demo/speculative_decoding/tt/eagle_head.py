# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""An EAGLE-3 head (Li et al. 2025) in ttnn: one decoder layer on the target's taps, with a paged cache of its own.

    state_i = fc [taps_i]
    h_i     = layer [input_layernorm(embedding(token_{i+1})), hidden_norm(state_i)], sits at position i
    logits  = lm_head norm(h_i) -> token_{i+2};      past the last tap, state_{i+1} = h_i

A prefill only has keys and values to leave behind: nothing else of a one-layer head is read later. Activations are
bf16, in L1 where they are rows of a decode.

This file needs ttnn alone (no torch, no tt_transformers); eagle_weights.py makes a head of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.tt_transformers.demo.speculative_decoding.tt.kv_write import TILE_ROWS, WritePositions, write_rows
from models.tt_transformers.demo.speculative_decoding.tt.memory import BLOCK_SIZE

if TYPE_CHECKING:
    import ttnn

    from models.tt_transformers.demo.speculative_decoding.tt.taps import Chunk


@dataclass(frozen=True, kw_only=True)
class HeadWeights:
    """A head's tensors, whole on each device. Matrices are [1, 1, in, out], TILE; norms [1, 1, hidden / 32, 32] and
    what is looked up [.., rows, width] are bf16, ROW_MAJOR."""

    fc: ttnn.Tensor
    qkv: ttnn.Tensor
    o: ttnn.Tensor
    gate: ttnn.Tensor
    up: ttnn.Tensor
    down: ttnn.Tensor
    output: ttnn.Tensor  # of the draft's own vocabulary, in the order of ids
    embedding_norm: ttnn.Tensor
    state_norm: ttnn.Tensor
    mlp_norm: ttnn.Tensor
    output_norm: ttnn.Tensor
    digits: ttnn.Tensor | None  # by output column, its id's digits to some base; None: columns are ids
    worth: ttnn.Tensor | None  # [32, 32] bf16 TILE: its first column is what the digits are worth


@dataclass(frozen=True, kw_only=True)
class EagleHead:
    """A head on a mesh."""

    lib: Any  # ttnn
    spec: Any  # sizes and settings, by the names of hf.eagle_checkpoint.EagleSpec
    weights: HeadWeights
    cache: Sequence[ttnn.Tensor]  # keys and values, [blocks, kv heads, 32, head_dim]
    embed: Callable[[ttnn.Tensor], ttnn.Tensor]  # tokens -> a share of their rows, or the whole: see `embed_whole`
    embed_whole: bool
    rope: Any  # upstream's RotarySetup of the head's own rotary embedding
    batch: int  # rows of a compiled step
    devices: int
    sdpa: Any  # program config of attention
    exact: bool  # multiply at full fidelity

    def states(self, taps: Sequence[Any], *, place: Any = None) -> Any:
        """[1, 1, n, hidden] of the taps' n rows."""
        joined = self._gathered(self.lib.concat(list(taps), dim=3))
        return self._product(joined, self.weights.fc, place)

    def picked(self, rows: Any, index: Any) -> Any:
        """Rows [1, 1, 32, hidden] that uint32 [1, 32] names of [1, 1, n, hidden]; others may hold anything, NaN too."""
        ttnn = self.lib
        table = ttnn.reshape(ttnn.to_layout(rows, ttnn.ROW_MAJOR_LAYOUT), (rows.shape[-2], rows.shape[-1]))
        found = ttnn.embedding(index, table, layout=ttnn.TILE_LAYOUT, memory_config=ttnn.L1_MEMORY_CONFIG)
        return ttnn.reshape(found, (1, 1, TILE_ROWS, rows.shape[-1]))

    def layer(self, state: Any, tokens: Any, at: Any, rotary: Any, page_table: Any, writes: WritePositions) -> Any:
        """One step: h [1, 1, 32, hidden] of the rows of states, the tokens after them (uint32 [1, 1, 1, 32]) and their
        positions, as Transformer.ttnn_decode_forward takes these; their keys and values are cached as `writes` says."""
        ttnn = self.lib
        spec, weights, decode, l1 = self.spec, self.weights, ttnn.experimental, ttnn.L1_MEMORY_CONFIG
        x, residual = self._entry(state, self._embedded(tokens), l1)
        qkv = self._product(x, weights.qkv, l1)
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
        for cache, rows in zip(self.cache, (k, v), strict=True):
            write_rows(decode.paged_update_cache, (cache, rows), {"page_table": page_table}, positions)
        mixed = ttnn.transformer.paged_scaled_dot_product_attention_decode(
            q,
            *self.cache,
            page_table_tensor=page_table,
            cur_pos_tensor=at,
            scale=spec.head_dim**-0.5,
            program_config=self.sdpa,
            compute_kernel_config=self._sums(),
            memory_config=ttnn.DRAM_MEMORY_CONFIG,
        )
        mixed = ttnn.to_memory_config(mixed, self._a_row_per_core())
        mixed = ttnn.to_memory_config(decode.nlp_concat_heads_decode(mixed, num_heads=spec.num_heads), l1)
        x = ttnn.add(residual, self._product(mixed, weights.o, l1))
        normed = self._norm(x, weights.mlp_norm)
        gate, up = (self._product(normed, weight, l1) for weight in (weights.gate, weights.up))
        return ttnn.add(x, self._product(ttnn.multiply(ttnn.silu(gate), up), weights.down, l1))

    def logits(self, hidden: Any, rows: int) -> Any:
        """bf16 ROW_MAJOR [1, 1, rows, N] of the first rows, over the draft's own vocabulary in the order of ids."""
        ttnn = self.lib
        logits = self._product(self._norm(hidden, self.weights.output_norm), self.weights.output, ttnn.L1_MEMORY_CONFIG)
        logits = ttnn.to_layout(logits, ttnn.ROW_MAJOR_LAYOUT)
        return ttnn.slice(logits, [0, 0, 0, 0], [1, 1, rows, logits.shape[-1]])

    def ids(self, hidden: Any, rows: int) -> Any:
        """The target's ids of their argmax, uint32 [1, 1, rows]; the lowest of a tie."""
        ttnn = self.lib
        columns = ttnn.argmax(self.logits(hidden, rows), dim=-1, keepdim=False)
        if self.weights.digits is None:
            return columns
        digits = ttnn.embedding(ttnn.reshape(columns, (1, rows)), self.weights.digits, layout=ttnn.TILE_LAYOUT)
        how = {"dtype": ttnn.float32, "compute_kernel_config": self._sums(exact=True)}
        worth = ttnn.linear(digits, self.weights.worth, **how)
        ids = ttnn.to_layout(ttnn.typecast(worth, ttnn.uint32), ttnn.ROW_MAJOR_LAYOUT)
        return ttnn.reshape(ttnn.slice(ids, [0, 0, 0], [1, rows, 1]), (1, 1, rows))

    def fill(self, chunk: Chunk, next_tokens: Any) -> Any:
        """Cache keys and values of a prefill's chunk of S positions, given the tokens after them (uint32
        [1, 1, 1, S]); returns its states [1, 1, S, hidden]."""
        ttnn = self.lib
        spec, place = self.spec, ttnn.DRAM_MEMORY_CONFIG
        states = self.states(chunk.taps, place=place)
        x, _ = self._entry(states, self._embedded(next_tokens), place)
        _, k, v = ttnn.experimental.nlp_create_qkv_heads(
            self._product(x, self.weights.qkv, place),
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
        for cache, rows in zip(self.cache, (k, v), strict=True):
            if room < rows.shape[2]:
                rows = ttnn.slice(rows, [0, 0, 0, 0], [1, spec.num_kv_heads, room, spec.head_dim])
            rows = rows if rows.dtype == cache.dtype else ttnn.typecast(rows, cache.dtype)
            ttnn.experimental.paged_fill_cache(cache, rows, chunk.page_table, batch_idx=chunk.row)
        return states

    def _entry(self, state: Any, embedded: Any, place: Any) -> tuple[Any, Any]:
        """What attention reads of rows of states and embeddings, and what its result is added to."""
        normed = self._norm(state, self.weights.state_norm)
        both = self.lib.concat([self._norm(embedded, self.weights.embedding_norm), normed], dim=3, memory_config=place)
        return both, normed if self.spec.norm_before_residual else state

    def _embedded(self, tokens: Any) -> Any:
        """[1, 1, n, hidden] of uint32 [1, 1, 1, n]."""
        ttnn = self.lib
        rows = ttnn.unsqueeze_to_4D(self.embed(tokens))
        rows = rows if self.embed_whole else self._gathered(rows)
        return ttnn.reshape(rows, (1, 1, tokens.shape[-1], rows.shape[-1]))

    def _gathered(self, rows: Any) -> Any:
        """What the devices have a share of each, whole on all of them."""
        return rows if self.devices == 1 else self.lib.all_gather(rows, dim=3)

    def _product(self, x: Any, weight: Any, place: Any) -> Any:
        how = {"dtype": self.lib.bfloat16, "compute_kernel_config": self._sums(), "memory_config": place}
        return self.lib.linear(x, weight, **how)

    def _sums(self, *, exact: bool = False) -> Any:
        ttnn = self.lib
        fidelity = ttnn.MathFidelity.HiFi4 if exact or self.exact else ttnn.MathFidelity.HiFi2
        how = {"math_approx_mode": False, "fp32_dest_acc_en": True, "packer_l1_acc": True}
        return ttnn.WormholeComputeKernelConfig(math_fidelity=fidelity, **how)

    def _norm(self, x: Any, weight: Any) -> Any:
        ttnn = self.lib
        return ttnn.rms_norm(x, epsilon=self.spec.rms_norm_eps, weight=weight, compute_kernel_config=self._sums())

    def _a_row_per_core(self) -> Any:
        ttnn = self.lib
        return ttnn.create_sharded_memory_config(
            shape=(TILE_ROWS, self.spec.head_dim),
            core_grid=ttnn.num_cores_to_corerangeset(self.batch, ttnn.CoreCoord(8, 8), row_wise=True),
            strategy=ttnn.ShardStrategy.HEIGHT,
            orientation=ttnn.ShardOrientation.ROW_MAJOR,
            use_height_and_width_as_shard_shape=True,
        )

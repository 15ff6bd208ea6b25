# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Device memory: how the paged KV cache is cut into blocks, and whether two models fit, known before anything is
loaded.

tt_transformers' default cache of 1024 blocks takes 2.3 GB for an 8B model; sized for what is asked, 8B and 1B share
one 12 GB N150. Pure arithmetic: neither ttnn nor tt_transformers is imported here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from models.tt_transformers.demo.speculative_decoding.errors import BadInput

BLOCK_SIZE = 32  # tokens per cache block; one row of 32x32 tiles
SCRATCH_BLOCK = 0  # takes the padding of prefills and what upstream writes without being asked; nobody reads it
# Bytes per element of a tile (ttnn.DataType by name): block floats carry one shared exponent per 16 elements.
BYTES_PER_ELEMENT = {"BFLOAT4_B": 576 / 1024, "BFLOAT8_B": 1088 / 1024, "BFLOAT16": 2.0, "FLOAT32": 4.0}


@dataclass(frozen=True)
class CacheLayout:
    """Which blocks of the paged KV cache belong to which user; block 0 belongs to nobody."""

    users: int  # sequences that are held
    max_seq_len: int  # tokens that each may hold

    def __post_init__(self) -> None:
        if self.users < 1 or self.max_seq_len < 1:
            raise BadInput(f"a cache for {self.users} users of {self.max_seq_len} tokens; give at least 1 of each")

    @property
    def blocks_per_user(self) -> int:
        return math.ceil(self.max_seq_len / BLOCK_SIZE)

    @property
    def table_width(self) -> int:
        """Entries per page-table row: whole 32-byte reads of int32. Frozen once a decode trace is captured."""
        return math.ceil(self.blocks_per_user / 8) * 8

    @property
    def num_blocks(self) -> int:
        """Blocks to allocate; the ops refuse a page table wider than the cache has blocks."""
        return max(1 + self.users * self.blocks_per_user, self.table_width)

    def table_row(self, user: int, *, tokens: int | None = None) -> list[int]:
        """One page-table row: the user's own blocks, then the scratch block.

        Args:
            tokens: make the row wide enough for that many tokens (a padded prefill); default: table_width entries.
        """
        own = [1 + user * self.blocks_per_user + block for block in range(self.blocks_per_user)]
        width = self.table_width if tokens is None else max(self.table_width, math.ceil(tokens / BLOCK_SIZE))
        return own + [SCRATCH_BLOCK] * (width - len(own))


@dataclass(frozen=True)
class ModelMemory:
    """What one model takes of each device, in bytes."""

    name: str
    weights: int
    kv_cache: int
    tables: int  # rotary cosines and sines, and the state of upstream's on-device sampler
    activations: int  # of the longest prefill chunk

    @classmethod
    def of(cls, args: Any, tensor_group: Any, cache: CacheLayout, *, head_size: int | None = None) -> ModelMemory:
        """Work it out from tt_transformers' ModelArgs, which reads the config only.

        Args:
            args: upstream's ModelArgs (dims, precision per layer, number of devices).
            tensor_group: upstream's TensorGroup, the keys of the precision table.
            cache: the paged cache that is to be allocated.
            head_size: how many output ids a trimmed head keeps; default: all.
        """
        devices = args.num_devices
        heads, hidden = args.n_heads * args.head_dim / devices, args.hidden_dim / devices
        qkv = args.head_dim * (args.n_heads + 2 * args.n_kv_heads) / devices
        block = BLOCK_SIZE * args.head_dim * args.n_kv_heads / devices
        outputs = head_size or args.padded_vocab_size
        weights, kv_cache = _embedding_and_head(args, outputs), 0.0
        for layer in range(args.n_layers):
            size = partial(_bytes_per_element, args, layer)
            weights += args.dim * _banked(qkv) * size(tensor_group.WQKV)
            weights += heads * _banked(args.dim) * size(tensor_group.WO)
            weights += 2 * args.dim * _banked(hidden) * size(tensor_group.FF1_FF3)
            weights += hidden * _banked(args.dim) * size(tensor_group.FF2)
            kv_cache += 2 * cache.num_blocks * block * size(tensor_group.KV_CACHE)
        # Row-major and tiled copies of cosines and sines. The sampler, which is built whether it is used or not: 32
        # rows of six int32 tables over the vocabulary, two of them whole on every device.
        tables = 4 * args.max_seq_len * args.head_dim * BYTES_PER_ELEMENT["BFLOAT16"]
        tables += 32 * outputs * 4 * (2 + 4 / devices)
        # In a prefill, three MLP tensors beside four of the residual.
        chunk = min(args.max_seq_len, args.max_prefill_chunk_size)
        activations = chunk * (3 * hidden + 4 * args.dim) * BYTES_PER_ELEMENT["BFLOAT16"]
        return cls(args.model_name, *(math.ceil(value) for value in (weights, kv_cache, tables, activations)))

    @classmethod
    def of_head(cls, head: Any, args: Any, cache: CacheLayout, target: ModelMemory, *, exact: bool) -> ModelMemory:
        """An EAGLE-3 head's (eagle_head.HeadRequest), whole on each device, beside the target of these ModelArgs."""
        spec, dense, rows = (
            head.spec,
            BYTES_PER_ELEMENT["BFLOAT16" if exact else "BFLOAT8_B"],
            BYTES_PER_ELEMENT["BFLOAT16"],
        )
        hidden, taps = spec.hidden_size, len(spec.layers) * spec.target_hidden_size
        attended, keyed = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
        per_hidden = taps + 2 * (attended + 2 * keyed) + attended + 3 * spec.intermediate_size + spec.draft_vocab_size
        weights = hidden * per_hidden * dense + spec.draft_vocab_size * 32 * rows
        weights += spec.vocab_size * hidden * rows if "embed_tokens" in head.tensors else 0
        kv_cache = 2 * cache.num_blocks * BLOCK_SIZE * keyed * dense
        tables = (4 * args.max_seq_len * spec.head_dim + 2 * 32 * taps / args.num_devices) * rows
        # Beside the target's in a prefill: the chunk's taps, kept and joined; states, embeddings, their norms, both.
        chunk = min(args.max_seq_len, args.max_prefill_chunk_size)
        activations = chunk * (2 * taps + 6 * hidden + attended + 4 * keyed) * rows
        return cls(head.name, *map(math.ceil, (weights, kv_cache, tables, target.activations + activations)))

    @property
    def resident(self) -> int:
        return self.weights + self.kv_cache + self.tables


def _bytes_per_element(args: Any, layer: int, group: Any) -> float:
    dtype = args.decoders_optimizations.get_tensor_dtype(decoder_id=layer, tensor=group)
    return BYTES_PER_ELEMENT["BFLOAT8_B" if dtype is None else dtype.name]


def _banked(columns: float) -> int:
    """Columns of a DRAM-sharded matrix: padded to whole tiles in each of Wormhole's 12 banks."""
    return math.ceil(columns / (32 * 12)) * 32 * 12


def _embedding_and_head(args: Any, outputs: int) -> float:
    """The embedding is bf16, the head bfp8; both are stored even where the checkpoint ties them."""
    embedding = args.vocab_size * args.dim / args.num_devices * BYTES_PER_ELEMENT["BFLOAT16"]
    return embedding + args.dim * _banked(outputs / args.num_devices) * BYTES_PER_ELEMENT["BFLOAT8_B"]


@dataclass(frozen=True)
class MemoryPlan:
    """The models that are to share each device, against what that device has free."""

    models: tuple[ModelMemory, ...]
    free: int  # bytes of each device's DRAM; the trace region is already taken out of it
    trace_region: int  # bytes set aside for traces on each device (0: newer ttnn allocates them in the free DRAM)

    @property
    def needed(self) -> int:
        """All that stays, and the activations of the one prefill that runs at a time."""
        return sum(m.resident for m in self.models) + max(m.activations for m in self.models)

    def __str__(self) -> str:
        lines = ["Memory plan, MB per device:"]
        for m in self.models:
            parts = {"weights": m.weights, "KV cache": m.kv_cache, "tables": m.tables, "prefill": m.activations}
            lines.append(f"  {m.name}: " + ", ".join(f"{part} {size / 1e6:.0f}" for part, size in parts.items()))
        lines.append(f"  needed {self.needed / 1e6:.0f} of {self.free / 1e6:.0f} free")
        lines.append(f"  set aside for traces {self.trace_region / 1e6:.0f}")
        return "\n".join(lines)

    def require_fit(self) -> None:
        """Raises BadInput with the numbers if the models do not fit."""
        if self.needed > self.free:
            raise BadInput(
                f"{' and '.join(m.name for m in self.models)} do not fit on this device. {self}\n"
                "Ask for fewer users or a smaller max_seq_len, a smaller model, or a mesh of more devices"
            )

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Writing several tokens of one user into a paged, tiled KV cache without losing any.

tt_transformers decodes up to 32 rows at once, one row per user. Verification gives every user T rows instead: row
u*T + j is user u's j-th token, and a user's rows carry the same page-table row and successive positions. The stock
update ops are not made for that: each row's core reads a whole 32-row tile, patches its own row and writes the tile
back, so of the rows of one call that share a tile only one survives.

Two writes are free of that race:

- `WritePositions`: T calls of the same op, call j with every position but each user's j-th set to -1, which the op
  skips. One call then writes one row per user, and no two users share a block. Any cache dtype, any ttnn.
- `IndexedWrite`: one call of `ttnn.experimental.indexed_fused_update_cache`, where one core owns all rows of a tile.
  BF16 caches, and a ttnn that has the op.

Both are a `prepare` once per forward, whose result all layers share, and a `write` per stock call. What `prepare` makes
is made on the device from what the model is given anyway, so a captured trace stages nothing new.

This file needs ttnn alone (no torch, no tt_transformers), and not before the first tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.tt_transformers.demo.speculative_decoding.errors import BadInput

if TYPE_CHECKING:
    import ttnn

TILE_ROWS = 32  # rows of a tile, and therefore of one decode step
COMPILED_BATCHES = (1, 2, 4, 8, 16, 32)  # the max_batch_size values that tt_transformers' ModelArgs takes
SKIP = -1  # a position that the update ops and SDPA decode pass over


@dataclass(frozen=True)
class RowLayout:
    """Which of a decode step's rows belongs to whom: row u*T + j is user u's j-th token.

    Attributes:
        users: how many sequences are decoded together.
        tokens_per_user: T, the rows that each of them has.
    """

    users: int
    tokens_per_user: int

    def __post_init__(self) -> None:
        if not 1 <= self.tokens_per_user <= TILE_ROWS:
            raise BadInput(f"tokens per user {self.tokens_per_user} is not in 1..{TILE_ROWS}; draft fewer tokens")
        if self.users < 1 or self.rows > TILE_ROWS:
            raise BadInput(
                f"{self.users} users x {self.tokens_per_user} tokens is {self.rows} rows, and one decode step has 1 to "
                f"{TILE_ROWS}; draft fewer tokens or serve fewer users at once"
            )

    @property
    def rows(self) -> int:
        """Rows in use."""
        return self.users * self.tokens_per_user

    @property
    def compiled_batch(self) -> int:
        """The batch that the model is built for: the next that tt_transformers takes; rows past `rows` are unused."""
        return next(batch for batch in COMPILED_BATCHES if batch >= self.rows)

    def one_hot_masks(self) -> list[list[int]]:
        """T lists of `compiled_batch` ints: mask j is 1 at every user's j-th row and 0 elsewhere."""
        own_token = [row % self.tokens_per_user if row < self.rows else None for row in range(self.compiled_batch)]
        return [[int(token == j) for token in own_token] for j in range(self.tokens_per_user)]


def write_rows(
    op: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], positions: Sequence[ttnn.Tensor]
) -> None:
    """Call a stock update op once per tensor of positions, everything else as the model passed it.

    Args:
        op: `ttnn.experimental.paged_update_cache` or `ttnn.experimental.paged_fused_update_cache`.
        args: its positional arguments (caches and heads).
        kwargs: its keyword arguments; update_idxs_tensor is replaced.
        positions: what `WritePositions.split` made of the update_idxs_tensor.
    """
    for update_idxs in positions:
        op(*args, **{**kwargs, "update_idxs_tensor": update_idxs})


class WritePositions:
    """The write as T calls; holds T constant masks on the device, so it is made once per model and before any trace."""

    def __init__(self, mesh_device: ttnn.MeshDevice, layout: RowLayout) -> None:
        """Upload the masks of `layout`, int32 ROW_MAJOR [compiled_batch] in DRAM, replicated over the mesh."""
        import ttnn

        masks = layout.one_hot_masks() if layout.tokens_per_user > 1 else []
        self._masks = [
            ttnn.from_buffer(
                mask,
                [layout.compiled_batch],
                ttnn.int32,
                mesh_device,
                layout=ttnn.ROW_MAJOR_LAYOUT,
                memory_config=ttnn.DRAM_MEMORY_CONFIG,
            )
            for mask in masks
        ]

    def split(self, current_pos: ttnn.Tensor) -> list[ttnn.Tensor]:
        """One tensor of write positions per call, on the device and without the host.

        Args:
            current_pos: int32 ROW_MAJOR [compiled_batch], each row's position, -1 for an unused row.

        Returns:
            T tensors like it: the j-th has each user's j-th position and -1 elsewhere. With T = 1 it is `current_pos`
            itself. Keep them referenced until the last layer has written.
        """
        import ttnn

        if not self._masks:
            return [current_pos]
        return [
            ttnn.where(mask, current_pos, SKIP, memory_config=ttnn.DRAM_MEMORY_CONFIG)  # the update ops want DRAM
            for mask in self._masks
        ]

    def prepare(self, current_pos: ttnn.Tensor, page_table: ttnn.Tensor) -> list[ttnn.Tensor]:
        """What the layers of one forward share: `split(current_pos)`; the op itself reads the page table."""
        return self.split(current_pos)

    def write(
        self, op: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], prepared: Sequence[ttnn.Tensor]
    ) -> None:
        """In place of `op(*args, **kwargs)`: `write_rows`."""
        write_rows(op, args, kwargs, prepared)

    def deallocate(self) -> None:
        """Free the masks; a trace that reads them must have been released. May be called twice."""
        import ttnn

        while self._masks:
            ttnn.deallocate(self._masks.pop())


class IndexedWrite:
    """The write as one call, addressed by physical cache rows: block * block_size + offset in the block."""

    def __init__(self, layout: RowLayout, *, cache: ttnn.Tensor) -> None:
        """Plan for caches like `cache`, [blocks, kv_heads, block_size, head_dim], block_size a power of two."""
        block_size = cache.shape[2]
        if block_size < TILE_ROWS or block_size & (block_size - 1):
            raise BadInput(f"block size {block_size} is not a power of two of at least {TILE_ROWS}; use 32, 64 or 128")
        self._rows = layout.compiled_batch
        self._block_size = block_size

    def prepare(self, current_pos: ttnn.Tensor, page_table: ttnn.Tensor) -> ttnn.Tensor:
        """The physical cache row of every row, on the device and without the host.

        Args:
            current_pos: int32 ROW_MAJOR [compiled_batch], -1 for an unused row.
            page_table: int32 ROW_MAJOR [compiled_batch, blocks per user].

        Returns:
            int32 ROW_MAJOR [1, compiled_batch]; -1 for an unused row.
        """
        import ttnn

        shift = self._block_size.bit_length() - 1
        live = ttnn.ge(current_pos, 0)
        position = ttnn.where(live, current_pos, 0)

        block_column = ttnn.reshape(ttnn.bitwise_right_shift(position, shift), (self._rows, 1))
        block_column = ttnn.to_layout(ttnn.typecast(block_column, ttnn.uint32), ttnn.TILE_LAYOUT)
        block = ttnn.gather(ttnn.to_layout(page_table, ttnn.TILE_LAYOUT), 1, block_column)
        block = ttnn.reshape(ttnn.to_layout(block, ttnn.ROW_MAJOR_LAYOUT), (self._rows,))

        offset = ttnn.bitwise_and(position, self._block_size - 1)
        cache_row = ttnn.bitwise_or(ttnn.bitwise_left_shift(block, shift), offset)
        return ttnn.reshape(ttnn.where(live, cache_row, SKIP), (1, self._rows))

    def write(
        self, op: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], prepared: ttnn.Tensor
    ) -> None:
        """In place of `paged_fused_update_cache(keys, k_heads, values, v_heads, ...)`.

        Args:
            op: the stock op, which is not called.
            args: keys, k_heads, values, v_heads: caches bfloat16 [blocks, kv_heads, block_size, head_dim], heads
                bfloat16 [1, compiled_batch, kv_heads, head_dim] with one row per core.
            kwargs: positions and page table, which `prepared` has in it already.
            prepared: the result of `prepare`.
        """
        import ttnn

        keys, k_heads, values, v_heads = args
        tensors = (keys, _packed(k_heads), values, _packed(v_heads))
        replicated = prepared.tensor_topology()  # as positions and page tables are on every mesh
        ttnn.experimental.indexed_fused_update_cache(*(_declared(replicated, tensor) for tensor in tensors), prepared)

    def deallocate(self) -> None:
        """Nothing is held between forwards."""


def _packed(heads: ttnn.Tensor) -> ttnn.Tensor:
    """[1, rows, kv_heads, head_dim], one row per core, as the interleaved [1, kv_heads, rows, head_dim]."""
    import ttnn

    return ttnn.transpose(ttnn.sharded_to_interleaved(heads, ttnn.L1_MEMORY_CONFIG), 1, 2)


def _declared(topology: ttnn.TensorTopology, tensor: ttnn.Tensor) -> ttnn.Tensor:
    """`tensor`, said to be spread over the mesh like this; no data moves.

    The op wants the same said of all its tensors, and no sharding but over heads. tt_transformers declares heads
    sharded otherwise, even on one device, and its cache replicated until the first prefill, which makes it what the
    heads are.
    """
    tensor.update_tensor_topology(topology)
    return tensor


def choose_strategy(
    mesh_device: ttnn.MeshDevice, layout: RowLayout, *, cache: ttnn.Tensor, fused: bool
) -> WritePositions | IndexedWrite:
    """The cheapest race-free write that this cache and this ttnn allow.

    Args:
        mesh_device: where the cache is.
        layout: the rows of one decode step.
        cache: one layer's keys or values, [blocks, kv_heads, block_size, head_dim].
        fused: whether the model writes keys and values in one call (paged_fused_update_cache).

    Returns:
        `IndexedWrite` for a fused write of several tokens per user into a bfloat16 cache, where ttnn has the op, and
        `WritePositions` otherwise (bfloat8_b, which tt_transformers uses for Llama; T = 1, the stock single call).
    """
    import ttnn

    one_call_would_do = fused and layout.tokens_per_user > 1 and cache.dtype == ttnn.bfloat16
    if one_call_would_do and hasattr(ttnn.experimental, "indexed_fused_update_cache"):
        return IndexedWrite(layout, cache=cache)
    return WritePositions(mesh_device, layout)

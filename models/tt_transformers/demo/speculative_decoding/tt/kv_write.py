# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Writing several tokens of one user into a paged, tiled KV cache without losing any.

tt_transformers decodes up to 32 rows at once, one row per user. Verification gives every user T rows instead: row
u*T + j is user u's j-th token, and a user's rows carry the same page-table row and successive positions. The stock
update ops are not made for that: each row's core reads a whole 32-row tile, patches its own row and writes the tile
back, so of the rows of one call that share a tile only one survives.

T calls of the same op are free of that race, call j with every position but each user's j-th set to -1, which the op
skips: one call then writes one row per user, and no two users share a block. The T tensors of positions are made once
per forward, for all layers, on the device and from what the model is given anyway: a trace stages nothing new.

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
    """Which of a decode step's rows belongs to whom: row u*T + j is user u's j-th token."""

    users: int  # sequences that are decoded together
    tokens_per_user: int  # T, the rows that each of them has

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
        shape, place = [layout.compiled_batch], {"memory_config": ttnn.DRAM_MEMORY_CONFIG}
        place["layout"] = ttnn.ROW_MAJOR_LAYOUT
        self._masks = [ttnn.from_buffer(mask, shape, ttnn.int32, mesh_device, **place) for mask in masks]

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
        dram = ttnn.DRAM_MEMORY_CONFIG  # where the update ops want it
        return [ttnn.where(mask, current_pos, SKIP, memory_config=dram) for mask in self._masks]

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What links the steps of a fused round on the device, so that none waits for the host.

The argmax of one step is the embedding index of the next; positions and rotary indices of every step lie in two staged
tensors, made by the host beforehand. Everything is ROW_MAJOR in DRAM. The output exists before any trace is captured:
one that a trace allocates is written over by the next trace that runs.

This file needs ttnn alone (no torch, no tt_transformers), and not before the first tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.tt_transformers.demo.speculative_decoding.tt.kv_write import TILE_ROWS

if TYPE_CHECKING:
    import ttnn


@dataclass(frozen=True)
class RoundStep:
    """One decode of a round."""

    # (tokens uint32 [1, 1, 1, 32], positions int32 [batch], rotary indices uint32 [1, rotary]) -> ids uint32 [1, 1, n]
    ids: Callable[[ttnn.Tensor, ttnn.Tensor, ttnn.Tensor], ttnn.Tensor]
    batch: int
    rotary: int  # how many indices upstream looks up for that batch


def run_round(
    steps: Sequence[RoundStep],
    staged: ttnn.Tensor,
    positions: ttnn.Tensor,
    output: ttnn.Tensor,
    *,
    users: int,
    verifies: bool = True,
) -> None:
    """K draft steps and the verify, if there is one, their ids into `output`.

    Args:
        steps: K of the draft, each giving one id per user; the target's, which gives K + 1 per user, in its rows'
            order (row u * (K + 1) + j is user u's j-th token).
        staged: uint32 [K + 3, w]: the tokens of the first step's rows; the pending token of each user; then each
            step's rotary indices.
        positions: int32 [K + 1, 32]: each step's, -1 for an idle row.
        output: uint32 [1, 1, 1, users * (2 * K + 1)]: the drafts, step by step, then the verify's ids.
        verifies: whether the last step is the target's; without it all is one row, K + 1 ids per user less.
    """
    import ttnn

    found: list[ttnn.Tensor] = []
    x = row_of(staged, 0, (1, 1, 1, TILE_ROWS))
    pending = row_of(staged, 1, (1, 1, 1, users))
    for index, step in enumerate(steps):
        if verifies and index == len(steps) - 1:  # [K + 1, users] -> [users * (K + 1)]
            rows = ttnn.transpose(ttnn.concat([pending, *found], dim=2), 2, 3)
            x = _padded(ttnn.reshape(rows, (1, 1, 1, users * len(steps))))
        elif index > 0:
            x = _padded(found[-1])
        ids = step.ids(x, row_of(positions, index, (step.batch,)), row_of(staged, index + 2, (1, step.rotary)))
        found.append(ttnn.reshape(ids, (1, 1, 1, ids.shape[-1])))
    ttnn.copy(ttnn.concat(found, dim=3), output)


def row_of(staged: ttnn.Tensor, row: int, shape: tuple[int, ...]) -> ttnn.Tensor:
    """The beginning of a staged row, in this shape."""
    import ttnn

    return ttnn.reshape(ttnn.slice(staged, [row, 0], [row + 1, shape[-1]]), shape)


def _padded(ids: ttnn.Tensor) -> ttnn.Tensor:
    """[1, 1, 1, n] as the embedding takes it."""
    import ttnn

    missing = TILE_ROWS - ids.shape[-1]
    return ttnn.pad(ids, [(0, 0), (0, 0), (0, 0), (0, missing)], 0) if missing else ids

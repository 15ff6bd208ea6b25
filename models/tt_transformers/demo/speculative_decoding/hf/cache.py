# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A KV cache for transformers that is addressed by user and position: rolling back is naming an earlier position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache


@dataclass(frozen=True)
class Segment:
    """The tokens of one user in one forward: rows first_row.. of the flat sequence sit at positions start..end-1."""

    user: int
    start: int
    count: int
    first_row: int

    @property
    def end(self) -> int:
        return self.start + self.count

    @property
    def rows(self) -> slice:
        return slice(self.first_row, self.first_row + self.count)


class PositionalCache(Cache):
    """Keys and values [max_users, H_kv, max_seq_len, D] per layer, allocated when a layer first writes.

    `segments` says which users and positions the rows of the running forward belong to.
    """

    def __init__(self, *, max_users: int, max_seq_len: int) -> None:
        super().__init__(layers=[])
        self.max_users, self.max_seq_len = max_users, max_seq_len
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.begin([])

    def begin(self, segments: list[Segment]) -> None:
        """A forward of these rows begins."""
        self.segments = segments
        self._masks: dict[Segment, Tensor] = {}

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Write each row of [1, H_kv, N, D] at its own user and position; returns the rows unchanged."""
        for stored, states in ((self.keys, key_states), (self.values, value_states)):
            if layer_idx not in stored:
                shape = (self.max_users, states.shape[1], self.max_seq_len, states.shape[-1])
                stored[layer_idx] = states.new_zeros(shape)
            for s in self.segments:
                stored[layer_idx][s.user, :, s.start : s.end] = states[0, :, s.rows]
        return key_states, value_states

    def cached(self, layer_idx: int, segment: Segment) -> tuple[Tensor, Tensor]:
        """What the segment's last token may see: keys and values [1, H_kv, end, D], views of the cache."""
        user = slice(segment.user, segment.user + 1)
        return self.keys[layer_idx][user, :, : segment.end], self.values[layer_idx][user, :, : segment.end]

    def mask(self, segment: Segment, groups: int, dtype: torch.dtype) -> Tensor | None:
        """Additive causal mask [groups * count, end] for a segment that starts past position 0; made once per forward.

        Row g * count + j belongs to token j, which sees positions up to start + j. One token alone sees everything:
        None.
        """
        if segment.count == 1:
            return None
        if segment not in self._masks:
            device = next(iter(self.keys.values())).device
            hidden = torch.full((segment.count, segment.end), float("-inf"), dtype=dtype, device=device)
            self._masks[segment] = hidden.triu_(segment.start + 1).repeat(groups, 1)
        return self._masks[segment]

    def clear(self) -> None:
        """Give the memory back."""
        self.keys.clear()
        self.values.clear()

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Cached positions, for models that ask; they are given position_ids, so nothing depends on it."""
        return max((s.start for s in self.segments), default=0)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A KV cache for transformers that is addressed by user and position: rolling back is naming an earlier position."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import Cache

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.runner import IDLE

KEPT_MASK = 2**20  # entries of a mask that all layers of a forward share
# (batch, head, query positions [n, 1], key positions [1, S]) -> bool [n, S]: transformers' masking_utils makes them.
Allows = Callable[[int, int, Tensor, Tensor], Tensor]


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

    def blocks(self, size: int) -> "Iterator[Segment]":
        """The segment in pieces of at most so many tokens."""
        for done in range(0, self.count, size):
            yield Segment(self.user, self.start + done, min(size, self.count - done), self.first_row + done)


def segments_of(positions: Sequence[int], counts: Sequence[int]) -> list[Segment]:
    """One after another, those of the users who take part: per user the first position (or IDLE) and how many."""
    segments, row = [], 0
    for user, (start, count) in enumerate(zip(positions, counts, strict=True)):
        if start != IDLE:
            segments.append(Segment(user, start, count, first_row=row))
            row += count
    return segments


class PositionalCache(Cache):
    """Keys and values [users, H_kv, max_seq_len, D] per layer, allocated when a layer first writes.

    Args:
        layers: how many there are, to tell in time whether all of them will fit.
        whole: update() returns all that is cached of a forward's one user, as transformers' caches do; else new rows.
        attend_in: the dtype that attention computes in, keys and values being kept in float32; None: the model's.
    """

    def __init__(
        self, *, max_seq_len: int, layers: int = 1, whole: bool = False, attend_in: torch.dtype | None = None
    ) -> None:
        super().__init__(layers=[])
        self.max_seq_len, self.num_layers, self.whole, self.attend_in = max_seq_len, layers, whole, attend_in
        self.users = 1
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.begin([])

    def reserve(self, users: int) -> None:
        """Make room for so many users, and give back what many fewer do not need."""
        if not self.users // 2 <= users <= self.users:
            self.clear()
            self.users = users

    def begin(self, segments: list[Segment]) -> None:
        """A forward of these rows begins."""
        self.segments = segments
        self.layer = -1  # the last that was updated, and the rows that it was given
        self.rows: tuple[Tensor, Tensor] | None = None
        self._updated: set[int] = set()
        self._masks: dict[tuple[Segment, int], tuple[Allows | None, Tensor | None]] = {}

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Write each row of [1, H_kv, N, D] at its own user and position."""
        if layer_idx not in self.keys:
            self._allocate(key_states, value_states, layer_idx)
        for s in self.segments:
            self.keys[layer_idx][s.user, :, s.start : s.end] = key_states[0, :, s.rows]
            self.values[layer_idx][s.user, :, s.start : s.end] = value_states[0, :, s.rows]
        self.layer, self.rows = layer_idx, (key_states, value_states)
        self._updated.add(layer_idx)
        if self.whole:
            keys, values = self.cached(self.segments[0])
            return keys.to(key_states.dtype), values.to(value_states.dtype)
        return key_states, value_states

    def _allocate(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> None:
        shapes = [(self.users, t.shape[1], self.max_seq_len, t.shape[-1]) for t in (key_states, value_states)]
        dtype = torch.float32 if self.attend_in else key_states.dtype
        needed = sum(map(math.prod, shapes)) * dtype.itemsize * (self.num_layers - len(self.keys))
        free = available_bytes(key_states.device)
        if free is not None and needed > free:
            wanted = f"keys and values of {self.users} users of {self.max_seq_len} tokens need {needed >> 20} MB more"
            remedy = "lower max_seq_len or send fewer prompts at once"
            raise BadInput(f"{wanted}, and {free >> 20} MB of memory are free; {remedy}")
        self.keys[layer_idx], self.values[layer_idx] = (key_states.new_zeros(shape, dtype=dtype) for shape in shapes)

    def cached(self, segment: Segment) -> tuple[Tensor, Tensor]:
        """What the segment's last token may see in the last updated layer: keys and values [1, H_kv, end, D], views."""
        part = slice(segment.user, segment.user + 1), slice(None), slice(segment.end)
        return self.keys[self.layer][part], self.values[self.layer][part]

    def mask(self, segment: Segment, allows: Allows | None, dtype: torch.dtype) -> Tensor | None:
        """Additive mask [count, end] of what the segment's tokens may see by the model's rule (None: all that is not
        later), made once per forward; None: everything."""
        key = segment, id(allows)
        if key not in self._masks:
            device = self.keys[self.layer].device
            queries = torch.arange(segment.start, segment.end, device=device)[:, None]
            keys = torch.arange(segment.end, device=device)[None]
            seen = keys <= queries if allows is None else allows(0, 0, queries, keys).expand(len(queries), -1)
            hidden = torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, float("-inf"))
            if seen.numel() > KEPT_MASK:  # of a long prompt: too large to keep one for each of its blocks
                return hidden
            self._masks[key] = allows, None if bool(seen.all()) else hidden  # kept, so that no other has its id
        return self._masks[key][1]

    def clear(self) -> None:
        """Give the memory back."""
        self.keys.clear()
        self.values.clear()

    # What transformers' models ask of a cache. Of several users there is no one answer: proof.py tells if it matters.

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Cached positions, those of this forward once the layer was updated."""
        return max((s.end if layer_idx in self._updated else s.start for s in self.segments), default=0)

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """The first position of this forward."""
        return max((s.start for s in self.segments), default=0)

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """(keys that a mask must cover, the first one's position)"""
        return self.get_query_offset() + query_length, 0


def available_bytes(device: torch.device) -> int | None:
    """Memory that can still be had; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    told = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", told.read_text()) if told.exists() else None
    return int(found[1]) << 10 if found else None

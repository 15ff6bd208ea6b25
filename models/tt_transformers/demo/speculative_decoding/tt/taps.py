# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The target's hidden states at some depths, kept on the device for a head that drafts from them.

Upstream hands none out, so the forward of each tapped layer is wrapped on that one instance: what the layer is given is
its input, number n's is what n layers have made of the embeddings. Of a decode the rows are copied to one address,
inside its trace too; of a prefill, whose layers free their inputs, a copy of each chunk is handed on.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from models.tt_transformers.demo.speculative_decoding.tt.kv_write import TILE_ROWS


@dataclass(frozen=True)
class Chunk:
    """What a prefill has computed of one user's prompt in one go: positions start.. of it."""

    taps: Sequence[Any]  # a tensor for each tap, bf16 TILE [1, 1, S, hidden / devices]
    start: int
    page_table: Any  # int32, of this chunk's blocks in row `row`
    row: int


class Taps:
    """Taps of `transformer` until they are closed.

    Args:
        layers: each tap's layer, by the number of the one whose input it is.
        width: elements of a hidden state that one device has.
    """

    def __init__(self, ttnn: Any, mesh_device: Any, transformer: Any, layers: Sequence[int], *, width: int) -> None:
        self.layers, self._ttnn = tuple(layers), ttnn
        replicated = {"device": mesh_device, "mesh_mapper": ttnn.ReplicateTensorToMesh(mesh_device)}
        like = {"dtype": ttnn.bfloat16, "layout": ttnn.TILE_LAYOUT, **replicated}
        numbers = sorted(set(layers))
        self._rows, self._aside = (
            {n: ttnn.from_torch(torch.zeros(1, 1, TILE_ROWS, width), **like) for n in numbers} for _ in range(2)
        )
        self._blocks = [transformer.layers[n] for n in numbers]
        self._found: dict[int, Any] = {}  # of the chunk that is being prefilled
        self._read: Callable[[Chunk], None] | None = None
        for number, block in zip(numbers, self._blocks, strict=True):
            block.forward = partial(self._forward, number, block.forward)

    @property
    def rows(self) -> list[Any]:
        """A tensor for each tap, bf16 TILE [1, 1, 32, hidden / devices]: the rows of the last decode."""
        return [self._rows[number] for number in self.layers]

    def set_aside(self) -> None:
        """Keep the rows over decodes that are somebody else's; get_back() puts them where they were."""
        for number, rows in self._rows.items():
            self._ttnn.copy(rows, self._aside[number])

    def get_back(self) -> None:
        for number, rows in self._rows.items():
            self._ttnn.copy(self._aside[number], rows)

    @contextmanager
    def read_by(self, read: Callable[[Chunk], None]) -> Iterator[None]:
        """For one user's prefill: `read` is given each chunk, before the layers above the taps run."""
        self._read = read
        try:
            yield
        finally:
            self._read = None
            self._found.clear()

    def close(self) -> None:
        """Leave the layers as they were found. May be called twice."""
        for block in self._blocks:
            del block.forward
        self._blocks, self._rows, self._aside = [], {}, {}

    def _forward(self, number: int, forward: Callable[..., Any], x: Any, *args: Any, **how: Any) -> Any:
        ttnn, mode = self._ttnn, how["mode"]
        if getattr(mode, "value", mode) == "decode":
            ttnn.copy(x if x.dtype == ttnn.bfloat16 else ttnn.typecast(x, ttnn.bfloat16), self._rows[number])
        elif self._read is not None:
            self._found[number] = ttnn.clone(x, dtype=ttnn.bfloat16)
            if len(self._found) == len(self._rows):
                chunked = how.get("chunk_page_table")
                table, start = (chunked, how["chunk_start_idx"]) if chunked is not None else (how["page_table"], 0)
                self._read(Chunk([self._found[n] for n in self.layers], start, table, how.get("user_id", 0)))
                self._found.clear()
        return forward(x, *args, **how)

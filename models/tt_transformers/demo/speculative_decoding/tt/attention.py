# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Upstream's Attention with one thing changed: how decode writes keys and values into the cache.

The stock write loses rows that share a 32-row tile (kv_write.py), and the tokens of one user always do. Upstream
writes in the middle of a 250-line forward_decode, so the two ops that it may call are redirected for the length of
that call. Were the write a method of its own upstream, say Attention._update_kv_cache_decode(keys, values, k_heads,
v_heads, current_pos, page_table), a subclass would override it and this file would shrink to that.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from models.tt_transformers.demo.speculative_decoding.errors import ModelFailure

FUSED_WRITE = "paged_fused_update_cache"  # keys and values in one call (rotary embedding of Q and K fused)
SEPARATE_WRITE = "paged_update_cache"  # keys, then values


class RowWrites:
    """How the rows of the current decode forward are written: one object shared by all attention layers of a model.

    Args:
        experimental: the module that upstream takes its write ops from (ttnn.experimental).
    """

    def __init__(self, experimental: Any) -> None:
        self._experimental = experimental
        self._write: Callable[..., None] | None = None

    @contextmanager
    def by(self, write: Callable[..., None]) -> Iterator[None]:
        """For one forward of the model: `write(op, args, kwargs)` is called in place of each `op(*args, **kwargs)`."""
        self._write = write
        try:
            yield
        finally:
            self._write = None

    @contextmanager
    def redirected(self) -> Iterator[None]:
        """For one layer's forward_decode: its writes go where `by` says.

        Raises:
            ModelFailure: nobody said how the rows are to be written, or upstream did not write by one fused call or
                two separate ones.
        """
        write = self._write
        if write is None:
            raise ModelFailure("an attention layer was asked to decode outside of a decode step of this package")
        stock = {name: op for name in (FUSED_WRITE, SEPARATE_WRITE) if (op := getattr(self._experimental, name, None))}
        calls: list[str] = []

        def recorded(name: str, *args: Any, **kwargs: Any) -> None:
            calls.append(name)
            write(stock[name], args, kwargs)

        try:
            for name in stock:
                setattr(self._experimental, name, partial(recorded, name))
            yield
        finally:
            for name, op in stock.items():
                setattr(self._experimental, name, op)
        if calls not in ([FUSED_WRITE], [SEPARATE_WRITE] * 2):
            raise ModelFailure(
                f"tt_transformers' Attention.forward_decode was expected to write the KV cache by one call of "
                f"ttnn.experimental.{FUSED_WRITE} or two of ttnn.experimental.{SEPARATE_WRITE}, but called "
                f"{', '.join(calls) or 'neither'}; use tt-metal of 2026-06-22, or adapt attention.py"
            )


def row_safe_attention(base: type, writes: RowWrites) -> type:
    """A subclass of upstream's Attention, for Transformer(attention_class=...), whose decode loses no rows.

    It keeps the name Attention: upstream looks its weights up under the class name (ModelArgs.get_state_dict_prefix).
    """

    class Attention(base):
        def forward_decode(self, *args: Any, **kwargs: Any) -> Any:
            with writes.redirected():
                return super().forward_decode(*args, **kwargs)

    return Attention

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What rounds cost between host and device, counted where ttnn is called: reads, staged bytes, replays; and what they
must not do once traces are captured: leave memory allocated."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Traffic:
    """Of everything that was done while it was counted."""

    reads: int = 0  # device tensors that the host waited for
    writes: int = 0  # tensors staged or uploaded
    staged_bytes: int = 0
    replays: int = 0
    dram_growth: int = 0  # bytes per device that were allocated and not freed


@contextmanager
def counted(ttnn: Any, mesh_device: Any) -> Iterator[Traffic]:
    """Count until the end of the block; ttnn's functions are as they were afterwards."""
    traffic, dram = Traffic(), ttnn.BufferType.DRAM

    def read(tensor: Any, *rest: Any, **how: Any) -> None:
        traffic.reads += ttnn.is_tensor_storage_on_device(tensor)

    def write(host: Any, *rest: Any, **how: Any) -> None:
        traffic.writes += 1
        traffic.staged_bytes += host.volume() * host.element_size()

    def replay(*rest: Any, **how: Any) -> None:
        traffic.replays += 1

    def allocated() -> int:
        view = ttnn.get_memory_view(mesh_device, dram)
        return int(view.num_banks * view.total_bytes_allocated_per_bank)

    counters = {"to_torch": read, "copy_host_to_device_tensor": write, "to_device": write, "execute_trace": replay}
    before = allocated()
    with ExitStack() as patched:
        for name, count in counters.items():
            stock = getattr(ttnn, name)
            patched.callback(setattr, ttnn, name, stock)
            setattr(ttnn, name, _counting(count, stock))
        yield traffic
    traffic.dram_growth = allocated() - before


def _counting(count: Callable[..., None], stock: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        count(*args, **kwargs)
        return stock(*args, **kwargs)

    return call

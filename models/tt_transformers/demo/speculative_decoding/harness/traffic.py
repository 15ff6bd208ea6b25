# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What rounds cost between host and device, counted and timed where ttnn is called: reads, staged bytes, replays; and
what they must not do once traces are captured: leave memory allocated."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Traffic:
    """Of everything that was done while it was counted."""

    reads: int = 0  # device tensors that the host waited for
    writes: int = 0  # tensors staged or uploaded
    staged_bytes: int = 0
    replays: int = 0
    dram_growth: int = 0  # bytes per device that were allocated and not freed
    new_buffers: int = 0  # buffers of any memory that are there now and were not before
    ns: Counter[str] = field(default_factory=Counter)  # spent in each of ttnn's functions, by its name

    def host_ms(self, *, total_ns: int, accept_ns: int, rounds: int) -> dict[str, float]:
        """Per round what the host was busy with, of rounds that took total_ns and of that accept_ns to judge and to
        commit: waiting for the device is in none. `staging` is the rest: drafters and runners, up to the launch."""
        parts = {"replay": self.ns["execute_trace"], "read": self.ns["to_torch"], "accept": accept_ns}
        parts["staging"] = total_ns - self.ns["synchronize_device"] - sum(parts.values())
        return {part: ns / 1e6 / rounds for part, ns in parts.items()}


@contextmanager
def counted(ttnn: Any, mesh_device: Any) -> Iterator[Traffic]:
    """Count until the end of the block; ttnn's functions are as they were afterwards."""
    traffic, dram = Traffic(), ttnn.BufferType.DRAM

    def read(tensor: Any, *rest: Any, **how: Any) -> None:
        if ttnn.is_tensor_storage_on_device(tensor):
            traffic.reads += 1
            ttnn.synchronize_device(mesh_device)  # so that reading is not waiting

    def write(host: Any, *rest: Any, **how: Any) -> None:
        traffic.writes += 1
        traffic.staged_bytes += host.volume() * host.element_size()

    def replay(*rest: Any, **how: Any) -> None:
        traffic.replays += 1

    def allocated() -> tuple[int, set[tuple[Any, ...]]]:
        view, buffers = ttnn.get_memory_view(mesh_device, dram), ttnn._ttnn.reports.get_buffers(mesh_device)
        live = {(one.device_id, str(one.buffer_type), one.address) for one in buffers}
        return int(view.num_banks * view.total_bytes_allocated_per_bank), live

    counters: dict[str, Callable[..., None]] = {"to_torch": read, "execute_trace": replay}
    counters |= {"copy_host_to_device_tensor": write, "to_device": write, "synchronize_device": _nothing}
    dram_before, live_before = allocated()
    with ExitStack() as patched:
        for name, count in counters.items():
            stock = getattr(ttnn, name)
            patched.callback(setattr, ttnn, name, stock)
            setattr(ttnn, name, _counting(traffic, name, count, stock))
        yield traffic
    dram_after, live_after = allocated()
    traffic.dram_growth, traffic.new_buffers = dram_after - dram_before, len(live_after - live_before)


def _nothing(*args: Any, **kwargs: Any) -> None:
    pass


def _counting(traffic: Traffic, name: str, count: Callable[..., None], stock: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        count(*args, **kwargs)
        begun = time.perf_counter_ns()
        try:
            return stock(*args, **kwargs)
        finally:
            traffic.ns[name] += time.perf_counter_ns() - begun

    return call

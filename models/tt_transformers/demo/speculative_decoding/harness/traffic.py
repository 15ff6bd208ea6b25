# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What rounds cost between host and device, counted and timed where ttnn is called; and what they must not do once
traces are captured: leave memory allocated."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

READ, WAIT, REPLAY = "to_torch", "synchronize_device", "execute_trace"
WRITES = ("copy_host_to_device_tensor", "to_device")


@dataclass
class Traffic:
    """Of everything that was done while it was counted."""

    calls: Counter[str] = field(default_factory=Counter)  # of ttnn's functions, by name; reading: from a device
    ns: Counter[str] = field(default_factory=Counter)  # spent in them
    staged_bytes: int = 0
    dram_growth: int = 0  # bytes per device that were allocated and not freed
    new_buffers: int = 0  # buffers of any memory that are there now and were not before

    @property
    def passed(self) -> dict[str, int]:
        """How much went between host and device."""
        writes = sum(self.calls[name] for name in WRITES)
        counts = {"reads": self.calls[READ], "writes": writes, "replays": self.calls[REPLAY]}
        return counts | {"staged_bytes": self.staged_bytes}

    def host_ms(self, *, total_ns: int, accept_ns: int) -> dict[str, float]:
        """What the host was busy with in the total_ns counted, accept_ns of it to commit what stands. Waiting
        for the device is no part; `staging` is the rest: drafters and runners, up to the launch."""
        parts = {"replay": self.ns[REPLAY], "read": self.ns[READ], "accept": accept_ns}
        parts["staging"] = total_ns - self.ns[WAIT] - sum(parts.values())
        return {part: ns / 1e6 for part, ns in parts.items()}


@contextmanager
def counted(ttnn: Any, mesh_device: Any) -> Iterator[Traffic]:
    """Count until the end of the block; ttnn's functions are as they were afterwards."""
    traffic = Traffic()

    def counting(name: str, stock: Callable[..., Any]) -> Callable[..., Any]:
        def call(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            if name == READ:
                if not ttnn.is_tensor_storage_on_device(tensor):
                    return stock(tensor, *args, **kwargs)
                ttnn.synchronize_device(mesh_device)  # so that reading is not waiting
            elif name in WRITES:
                traffic.staged_bytes += tensor.volume() * tensor.element_size()
            begun = time.perf_counter_ns()
            try:
                return stock(tensor, *args, **kwargs)
            finally:
                traffic.ns[name] += time.perf_counter_ns() - begun
                traffic.calls[name] += 1

        return call

    def allocated() -> tuple[int, set[tuple[Any, ...]]]:
        view = ttnn.get_memory_view(mesh_device, ttnn.BufferType.DRAM)
        buffers = ttnn._ttnn.reports.get_buffers(mesh_device)
        live = {(one.device_id, str(one.buffer_type), one.address) for one in buffers}
        return int(view.num_banks * view.total_bytes_allocated_per_bank), live

    dram_before, live_before = allocated()
    with ExitStack() as patched:
        for name in (READ, WAIT, REPLAY, *WRITES):
            stock = getattr(ttnn, name)
            patched.callback(setattr, ttnn, name, stock)
            setattr(ttnn, name, counting(name, stock))
        yield traffic
    dram_after, live_after = allocated()
    traffic.dram_growth, traffic.new_buffers = dram_after - dram_before, len(live_after - live_before)

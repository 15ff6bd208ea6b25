# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A mesh device in torch, with the properties of a real one that speculative decoding can trip over.

- Inside a trace capture nothing is computed; a replay computes from what its input tensors hold then, in place.
- What was allocated after a capture ended is overwritten by its replays, and so are programs that were compiled after
it.
- Nothing is allocated from the host, copied or read while a trace is being captured.
- Traces need room in the trace region, and do not exist in slow dispatch.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import torch


class DataType(Enum):
    BFLOAT16 = "bf16"
    BFLOAT8_B = "bfp8"
    BFLOAT4_B = "bfp4"
    FLOAT32 = "fp32"
    INT32 = "int32"
    UINT32 = "uint32"


class BufferType(Enum):
    DRAM = "dram"
    TRACE = "trace"


INTEGERS = (DataType.INT32, DataType.UINT32)
BYTES = {DataType.BFLOAT16: 2, DataType.BFLOAT8_B: 1, DataType.BFLOAT4_B: 1}
TRACE_BYTES_PER_OP = 1000


class FakeTensor:
    """A ttnn tensor: floats are held in fp32 whatever the declared dtype, so that results compare exactly with
    torch."""

    def __init__(self, data: torch.Tensor, dtype: DataType, device: FakeMeshDevice | None = None, shard: bool = False):
        self.data = data.to(torch.int64 if dtype in INTEGERS else torch.float32)
        self.dtype, self.device, self.is_shard = dtype, device, shard
        if device is not None and not shard:
            device.allocate(self)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape)

    padded_shape = shape

    @property
    def nbytes(self) -> int:
        return self.data.numel() * BYTES.get(self.dtype, 4)

    def volume(self) -> int:
        return self.data.numel()

    def element_size(self) -> int:
        return BYTES.get(self.dtype, 4)

    def cpu(self, blocking: bool = True) -> FakeTensor:
        return FakeTensor(self.data.clone(), self.dtype)

    def scramble(self) -> None:
        """What another trace's replay does to memory that it takes for its own."""
        self.data.fill_(-(2**30) if self.dtype in INTEGERS else float("nan"))


@dataclass
class Operation:
    """One recorded op; `output` is None for an op that works in place."""

    program: tuple
    compute: Callable[..., torch.Tensor | None]
    inputs: tuple[FakeTensor, ...]
    output: FakeTensor | None


@dataclass
class Trace:
    ended_at: int
    operations: list[Operation] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return TRACE_BYTES_PER_OP * len(self.operations)


class FakeMeshDevice:
    """A mesh of one row; every device holds the whole of every tensor."""

    buffers_made = 0  # on any

    def __init__(self, rows: int = 1, columns: int = 1, *, trace_region_size: int = 0, dram: int = 10**9):
        self.shape, self.dram, self.trace_region_size = (rows, columns), dram, trace_region_size
        self.tensors: weakref.WeakSet[FakeTensor] = weakref.WeakSet()
        self.traces: dict[int, Trace] = {}
        self.begun: set[int] = set()  # traces that are to be released: a capture that fails leaves one, too
        self.capturing: Trace | None = None
        self.bytes_to_host: list[int] = []
        self.replays = 0
        self.alternations = 0  # replays of another trace than the last: what may deadlock devices that talk in it
        self._replayed: int | None = None
        self._wanted = 0  # bytes that captures asked the trace region for; ttnn forgets none of one that failed
        self.alive_at_replay = 0  # tensors of no trace that a replay overwrote although somebody still held them
        self.open = True
        self._clock = 0
        self._born: dict[int, int] = {}  # id of a tensor -> when it was allocated
        self._programs: dict[tuple, int] = {}  # program -> when it was compiled
        self._overwritten: set[tuple] = set()

    def arch(self) -> str:
        return "Arch.WORMHOLE_B0"

    def get_num_devices(self) -> int:
        return self.shape[0] * self.shape[1]

    def num_program_cache_entries(self) -> int:
        return len(self._programs)

    def allocate(self, tensor: FakeTensor) -> None:
        assert self.open, "allocation on a closed device"
        FakeMeshDevice.buffers_made += 1
        self._clock += 1
        self._born[id(tensor)] = self._clock
        self.tensors.add(tensor)
        tensor.of_a_trace = self.capturing is not None

    def address(self, tensor: FakeTensor) -> int:
        """No two tensors have one, dead ones included."""
        return self._born[id(tensor)]

    @property
    def allocations(self) -> int:
        """Tensors that were ever allocated, and programs that were ever compiled or traces that ended."""
        return self._clock

    def refuse_while_capturing(self, what: str) -> None:
        if self.capturing is not None:
            raise RuntimeError(f"TT_FATAL: {what} is not supported during trace capture")

    def run(
        self,
        name: str,
        compute: Callable[..., torch.Tensor | None],
        *inputs: FakeTensor,
        dtype: DataType | None = DataType.BFLOAT16,
        attributes: Sequence[object] = (),
    ) -> FakeTensor | None:
        """Do one op now, or record it.

        Args:
            dtype: of the result; None for an op that works in place.
            attributes: what the program is compiled for, beside the shapes and dtypes of its inputs.
        """
        assert all(tensor.device is self for tensor in inputs), f"{name}: an input is not on this device"
        program = (name, tuple((t.shape, t.dtype) for t in inputs), tuple(attributes))
        if program not in self._programs:
            self._clock += 1
            self._programs[program] = self._clock
        if self.capturing is None:
            self._check(program)
            result = compute(*(tensor.data for tensor in inputs))
            return None if result is None else FakeTensor(result, dtype, self)
        in_place = dtype is None
        shaped = None if in_place else compute(*(tensor.data for tensor in inputs))
        output = None if in_place else FakeTensor(shaped, dtype, self)  # until the capture ends: shapes follow from it
        self.capturing.operations.append(Operation(program, compute, inputs, output))
        return output

    def _check(self, program: tuple) -> None:
        if program in self._overwritten:
            raise RuntimeError(f"the kernel binary of {program[0]} was overwritten by a trace replay")

    def begin_trace(self) -> int:
        if os.environ.get("TT_METAL_SLOW_DISPATCH_MODE") == "1":
            raise RuntimeError("TT_FATAL: traces are not supported in slow dispatch")
        self.refuse_while_capturing("a nested trace")
        self.capturing = Trace(ended_at=0)
        trace_id = max(self.begun, default=0) + 1
        self.begun.add(trace_id)
        return trace_id

    def end_trace(self, trace_id: int) -> None:
        trace, self.capturing = self.capturing, None
        for operation in trace.operations:
            if operation.output is not None:
                operation.output.scramble()
        self._clock += 1
        trace.ended_at = self._clock
        self._wanted += trace.nbytes
        size = self._wanted
        if self.trace_region_size and size > self.trace_region_size:
            raise RuntimeError(
                f"TT_FATAL @ mesh_trace.cpp:76\ninfo:\nCreating trace buffers of size {size}B on MeshDevice 0, but "
                f"only {self.trace_region_size}B is allocated for trace region.\nbacktrace:\n"
            )
        self.traces[trace_id] = trace

    def release_trace(self, trace_id: int) -> None:
        assert self.open, "release_trace on a closed device"
        self.begun.remove(trace_id)
        if trace_id in self.traces:  # not where its capture failed
            self._wanted -= self.traces.pop(trace_id).nbytes

    def trace_bytes(self) -> int:
        """What the captured traces take of the trace region."""
        return sum(trace.nbytes for trace in self.traces.values())

    def unsafe(self, trace_id: int) -> dict[int, str]:
        """Tensors of no trace that somebody holds, and that a replay of this one would overwrite."""
        ended_at = self.traces[trace_id].ended_at
        born = {self.address(tensor): tensor for tensor in list(self.tensors) if not tensor.of_a_trace}
        return {at: "somewhere" for at in born if at > ended_at}

    def replay(self, trace_id: int) -> None:
        trace = self.traces[trace_id]
        self.replays += 1
        self.alternations += self._replayed not in (None, trace_id)
        self._replayed = trace_id
        for tensor in list(self.tensors):
            if self._born[id(tensor)] > trace.ended_at:
                self.alive_at_replay += not tensor.of_a_trace
                tensor.scramble()
        self._overwritten |= {program for program, when in self._programs.items() if when > trace.ended_at}
        for operation in trace.operations:
            self._check(operation.program)
            result = operation.compute(*(tensor.data for tensor in operation.inputs))
            if operation.output is not None:
                operation.output.data.copy_(result)

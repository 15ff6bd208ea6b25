# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The part of ttnn that this package and fake_model use, on fakes.device. The KV cache MODELS THE RACE.

The cache is [blocks, kv_heads, 32, head_dim]: one 32-row tile per block and head. An update reads whole tiles as they
were before the call, patches one row of each and writes them back, so of the rows of one call that share a tile the
last survives.
"""

from __future__ import annotations

import gc
import os
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import torch
from fakes.device import INTEGERS, BufferType, DataType, FakeMeshDevice, FakeTensor
from fakes.fake_ops import add_ops


def _update(cache: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor, page_table: torch.Tensor) -> None:
    before = cache.clone()
    for row, position in enumerate(positions.tolist()):
        if position < 0:
            continue
        block, offset = page_table[row, position // 32], position % 32
        tile = before[block].clone()
        tile[:, offset] = rows[0, row]
        cache[block] = tile


def _checked_update(cache: FakeTensor, rows: FakeTensor, idxs: FakeTensor, table: FakeTensor) -> tuple[FakeTensor, ...]:
    batch = rows.shape[1]
    assert idxs.dtype is DataType.INT32 and idxs.shape == (batch,), "update_idxs_tensor must be int32 [B]"
    assert table.dtype is DataType.INT32 and table.shape[0] == batch, "page_table must be int32 [B, blocks]"
    assert table.shape[1] <= cache.shape[0], "page table is wider than the cache has blocks"
    return cache, rows, idxs, table


def paged_update_cache(cache, rows, *, update_idxs_tensor, page_table):
    tensors = _checked_update(cache, rows, update_idxs_tensor, page_table)
    cache.device.run("paged_update_cache", _update, *tensors, dtype=None)


def paged_fused_update_cache(keys, k_rows, values, v_rows, *, update_idxs_tensor, page_table):
    k_tensors = _checked_update(keys, k_rows, update_idxs_tensor, page_table)
    v_tensors = _checked_update(values, v_rows, update_idxs_tensor, page_table)

    def both(*data):
        _update(*data[:4])
        _update(*data[4:])

    keys.device.run("paged_fused_update_cache", both, *k_tensors, *v_tensors, dtype=None)


def paged_fill_cache(cache, rows, page_table, *, batch_idx):
    """rows [1, kv_heads, S, head_dim] into the blocks of one page-table row; -1 entries are skipped."""

    def fill(cache_data, rows_data, table):
        for index in range(rows_data.shape[2] // 32):
            block = int(table[batch_idx, index])
            if block >= 0:
                cache_data[block] = rows_data[0, :, 32 * index : 32 * index + 32]

    cache.device.run("paged_fill_cache", fill, cache, rows, page_table, dtype=None)


def paged_scaled_dot_product_attention_decode(q, keys, values, *, page_table_tensor, cur_pos_tensor, scale, **how):
    """q [1, B, heads, head_dim]; row b sees positions 0..cur_pos[b] through its own page-table row; -1 rows:
    undefined."""

    def attend(q_data, k_data, v_data, table, positions):
        out = torch.full_like(q_data, float("nan"))
        group = q_data.shape[2] // k_data.shape[1]
        for row, position in enumerate(positions.tolist()):
            if position < 0:
                continue
            blocks = table[row, : position // 32 + 1]
            k, v = (
                cache[blocks].transpose(0, 1).flatten(1, 2)[:, : position + 1].repeat_interleave(group, 0)
                for cache in (k_data, v_data)
            )
            weights = (q_data[0, row].unsqueeze(1) @ k.transpose(1, 2) * scale).softmax(-1)
            out[0, row] = (weights @ v).squeeze(1)
        return out

    return q.device.run("sdpa_decode", attend, q, keys, values, page_table_tensor, cur_pos_tensor)


def from_torch(data, *, dtype, device=None, layout=None, mesh_mapper=None):
    if device is not None:
        device.refuse_while_capturing("an allocation from the host")
    return FakeTensor(data.clone(), dtype, device)


def from_buffer(values, shape, dtype, device, *, layout=None, memory_config=None):
    return from_torch(torch.tensor(values).reshape(shape), dtype=dtype, device=device)


def to_device(tensor, device):
    return from_torch(tensor.data, dtype=tensor.dtype, device=device)


def copy_host_to_device_tensor(host, on_device):
    on_device.device.refuse_while_capturing("a write")
    assert host.device is None and host.dtype is on_device.dtype
    if host.shape != on_device.shape:
        raise RuntimeError(f"TT_FATAL: cannot copy {host.shape} into a tensor of {on_device.shape}")
    on_device.data.copy_(host.data)


def to_torch(tensor):
    device = tensor.device
    if device is not None:
        device.refuse_while_capturing("a read")
        if device.get_num_devices() > 1 and not tensor.is_shard:
            raise RuntimeError("TT_FATAL: a multi-device tensor needs a composer; take one of get_device_tensors()")
        device.bytes_to_host.append(tensor.nbytes)
    data = tensor.data.clone()
    return data.to(torch.uint32) if tensor.dtype is DataType.UINT32 else data


def get_device_tensors(tensor):
    if tensor.device is None:
        return [tensor]
    shards = [
        FakeTensor(tensor.data, tensor.dtype, tensor.device, shard=True) for _ in range(tensor.device.get_num_devices())
    ]
    for shard in shards:
        shard.data = tensor.data  # the same memory, not a copy
    return shards


def where(condition, tensor, other, *, memory_config=None):
    assert condition.shape == tensor.shape and condition.dtype in INTEGERS
    return tensor.device.run("where", lambda c, t: torch.where(c != 0, t, other), condition, tensor, dtype=tensor.dtype)


def slice_(tensor, starts, ends, steps=None):
    steps = steps or [1] * len(starts)
    index = tuple(slice(*bounds) for bounds in zip(starts, ends, steps, strict=True))
    attributes = (*starts, *ends, *steps)
    return tensor.device.run("slice", lambda t: t[index].clone(), tensor, dtype=tensor.dtype, attributes=attributes)


def reshape(tensor, shape, padded=None):
    """`padded`: what the same memory is called with its padding: logical rows are fewer, then."""
    if padded is not None:
        return slice_(tensor, [0] * len(shape), shape)
    return tensor.device.run("reshape", lambda t: t.reshape(shape), tensor, dtype=tensor.dtype, attributes=shape)


def pad(tensor, padding, value):
    """padding: (before, after) per dimension, the first one first."""
    flat = [amount for pair in reversed(padding) for amount in pair]
    compute = partial(torch.nn.functional.pad, pad=flat, value=value)
    return tensor.device.run("pad", compute, tensor, dtype=tensor.dtype, attributes=flat)


def transpose(tensor, first, second):
    compute = lambda t: t.transpose(first, second).contiguous()  # noqa: E731
    return tensor.device.run("transpose", compute, tensor, dtype=tensor.dtype, attributes=(first, second))


def concat(tensors, dim, memory_config=None):
    assert len({tensor.dtype for tensor in tensors}) == 1
    compute = lambda *parts: torch.cat(parts, dim)  # noqa: E731
    return tensors[0].device.run("concat", compute, *tensors, dtype=tensors[0].dtype, attributes=(dim,))


def copy(source, destination):
    assert (source.shape, source.dtype) == (destination.shape, destination.dtype)

    def overwrite(new, old):
        old.copy_(new)

    source.device.run("copy", overwrite, source, destination, dtype=None)


def argmax(tensor, *, dim, keepdim):
    """The lowest index of a tie, as the kernels do."""

    def lowest(data):
        return (data == data.amax(dim, keepdim=True)).to(torch.int64).argmax(dim, keepdim=keepdim)

    return tensor.device.run("argmax", lowest, tensor, dtype=DataType.UINT32)


def plus_one(tensor, skip_negative_entries=False):
    def add(data):
        data += (data >= 0).to(data.dtype) if skip_negative_entries else 1

    tensor.device.run("plus_one", add, tensor, dtype=None)


def get_memory_view(device, buffer_type):
    if buffer_type is BufferType.DRAM:
        used, total = sum(tensor.nbytes for tensor in device.tensors), device.dram
    else:
        used, total = device.trace_bytes(), device.trace_region_size
    sizes = {"total_bytes_per_bank": total, "total_bytes_allocated_per_bank": used}
    return SimpleNamespace(num_banks=1, total_bytes_free_per_bank=total - used, **sizes)


def buffer_info(tensor):
    return SimpleNamespace(device_id=0, address=tensor.device.address(tensor), buffer_type=BufferType.DRAM)


def track_allocations(ttnn):
    """What tt-metal can since July 2026, where the environment wanted it as ttnn was imported."""
    ttnn._ttnn.operations = SimpleNamespace(trace=SimpleNamespace(get_unsafe_tracked_ids=FakeMeshDevice.unsafe))
    if os.environ.get("TT_METAL_TRACE_ALLOC_TRACKING") == "1":
        replay = ttnn.execute_trace

        def checked(device, trace_id, cq_id, blocking):
            if device.unsafe(trace_id):
                gc.collect()
            if unsafe := device.unsafe(trace_id):
                raise RuntimeError(f"Found {len(unsafe)} device buffer(s) still alive before trace replay.")
            replay(device, trace_id, cq_id, blocking)

        ttnn.execute_trace = checked


def open_mesh_device(shape, *, trace_region_size=0, num_command_queues=1):
    return FakeMeshDevice(*shape, trace_region_size=trace_region_size)


def close_mesh_device(device):
    assert not device.begun, "a trace was not released"
    device.open = False


class Graph:
    """ttnn.graph, as far as it records allocations."""

    RunMode = SimpleNamespace(NORMAL="normal")

    def begin_graph_capture(self, mode):
        self._before = FakeMeshDevice.buffers_made

    def end_graph_capture(self):
        return [{"node_type": "buffer_allocate"}] * (FakeMeshDevice.buffers_made - self._before)


def make_ttnn() -> ModuleType:
    """A fresh module `ttnn`."""
    ttnn = ModuleType("ttnn")
    for function in (
        *(from_torch, from_buffer, to_device, copy_host_to_device_tensor, to_torch, get_device_tensors),
        *(where, argmax, plus_one, get_memory_view, reshape, pad, transpose, concat, copy),
    ):
        setattr(ttnn, function.__name__, function)
    ttnn.__spec__ = ModuleSpec("ttnn", None)  # importlib.util.find_spec asks for it
    ttnn.slice = slice_
    ttnn.is_tensor_storage_on_device = lambda tensor: tensor.device is not None
    ttnn.ReplicateTensorToMesh = lambda mesh: "replicated"
    ttnn._ttnn = SimpleNamespace(
        reports=SimpleNamespace(get_buffers=lambda device: list(map(buffer_info, device.tensors)))
    )
    ttnn.MeshShape = lambda rows, columns: (rows, columns)
    ttnn.get_num_devices = lambda: 8
    ttnn.open_mesh_device = open_mesh_device
    ttnn.close_mesh_device = close_mesh_device
    ttnn.FabricConfig = SimpleNamespace(FABRIC_1D="1D", DISABLED="disabled")
    ttnn.fabric = []  # what it was set to, in turn
    ttnn.set_fabric_config = ttnn.fabric.append
    ttnn.synchronize_device = lambda device: None
    ttnn.begin_trace_capture = lambda device, cq_id: device.begin_trace()
    ttnn.end_trace_capture = lambda device, trace_id, cq_id: device.end_trace(trace_id)
    ttnn.release_trace = lambda device, trace_id: device.release_trace(trace_id)
    ttnn.graph = Graph()
    ttnn.execute_trace = lambda device, trace_id, cq_id, blocking: device.replay(trace_id)
    ttnn.Tensor, ttnn.MeshDevice, ttnn.DataType, ttnn.BufferType = FakeTensor, FakeMeshDevice, DataType, BufferType
    ttnn.int32, ttnn.uint32 = DataType.INT32, DataType.UINT32
    ttnn.bfloat16, ttnn.bfloat8_b = DataType.BFLOAT16, DataType.BFLOAT8_B
    ttnn.ROW_MAJOR_LAYOUT, ttnn.TILE_LAYOUT, ttnn.DRAM_MEMORY_CONFIG = "row major", "tile", "dram"
    ttnn.experimental = ModuleType("ttnn.experimental")
    for function in (paged_update_cache, paged_fused_update_cache, paged_fill_cache):
        setattr(ttnn.experimental, function.__name__, function)
    ttnn.transformer = ModuleType("ttnn.transformer")
    ttnn.transformer.paged_scaled_dot_product_attention_decode = paged_scaled_dot_product_attention_decode
    add_ops(ttnn)
    return ttnn

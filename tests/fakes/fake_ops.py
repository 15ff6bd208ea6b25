# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The ops of ttnn that an EAGLE-3 head is made of, on fakes.device. What a row holds never reaches another row, but by
embedding(), which looks rows up: rows that nobody asked for are NaN, as on a device they may be.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import torch
from fakes.device import DataType, FakeTensor

FLOATS = DataType.BFLOAT16


def _like(tensor, compute, name, *others, attributes=()):
    return tensor.device.run(name, compute, tensor, *others, dtype=tensor.dtype, attributes=attributes)


def clone(tensor, *, dtype=None):
    return tensor.device.run("clone", torch.clone, tensor, dtype=dtype or tensor.dtype)


def typecast(tensor, dtype):
    whole = lambda t: t.round() if dtype in (DataType.UINT32, DataType.INT32) else t.clone()  # noqa: E731
    return tensor.device.run("typecast", whole, tensor, dtype=dtype, attributes=(dtype,))


def placed(tensor, *args, **how):
    """to_layout, to_memory_config: what is fake knows neither."""
    return tensor


def unsqueeze_to_4D(tensor):  # noqa: N802
    shape = (1,) * (4 - len(tensor.shape)) + tensor.shape
    return _like(tensor, lambda t: t.reshape(shape), "unsqueeze", attributes=shape)


def embedding(ids, weight, *, layout=None, memory_config=None):
    assert ids.dtype is DataType.UINT32 and weight.dtype is DataType.BFLOAT16, "embedding takes uint32 ids of bf16 rows"

    def look_up(ids_data, rows):
        return rows.reshape(-1, rows.shape[-1])[ids_data.reshape(1, -1)]

    return ids.device.run("embedding", look_up, ids, weight)


def linear(x, weight, *, dtype=None, compute_kernel_config=None, memory_config=None):
    compute = lambda a, w: a @ w.view(w.shape[-2:])  # noqa: E731
    return x.device.run("linear", compute, x, weight, dtype=dtype or FLOATS)


def rms_norm(x, *, epsilon, weight, compute_kernel_config=None):
    assert weight.shape[-1] == 32, "weights of norms are whole tiles"

    def compute(data, w):
        return data * torch.rsqrt(data.pow(2).mean(-1, keepdim=True) + epsilon) * w.flatten()

    return _like(x, compute, "rms_norm", weight, attributes=(epsilon,))


def add(a, b):
    return _like(a, torch.add, "add", b)


def multiply(a, b):
    return _like(a, torch.mul, "multiply", b)


def silu(a):
    return _like(a, torch.nn.functional.silu, "silu")


def nlp_create_qkv_heads_decode(qkv, *, num_heads, num_kv_heads, memory_config):
    """[1, 1, B, W] -> [1, B, heads, D] of each."""
    counts = num_heads, num_kv_heads, num_kv_heads
    size = qkv.shape[-1] // sum(counts)

    def part(first, count):
        return lambda t: t[..., first * size : (first + count) * size].reshape(1, t.shape[2], count, size)

    starts = 0, num_heads, num_heads + num_kv_heads
    return [_like(qkv, part(*which), "heads", attributes=which) for which in zip(starts, counts, strict=True)]


def nlp_create_qkv_heads(qkv, *, num_heads, num_kv_heads, transpose_k_heads, memory_config):
    """[1, 1, S, W] -> [1, heads, S, D] of each."""
    rows = nlp_create_qkv_heads_decode(qkv, num_heads=num_heads, num_kv_heads=num_kv_heads, memory_config=None)
    return [_like(part, lambda t: t.transpose(1, 2).contiguous(), "by head") for part in rows]


def nlp_concat_heads_decode(mixed, *, num_heads):
    """[1, B, heads, D] -> [1, 1, 32, heads * D]."""

    def joined(data):
        rows = data[0].flatten(1)
        return torch.nn.functional.pad(rows, (0, 0, 0, 32 - len(rows)))[None, None]

    return _like(mixed, joined, "concat heads")


def rotary_embedding_llama(x, cos, sin, turn, *, is_decode_mode):
    """Pairs of neighbours are rotated, as in Meta's layout."""

    def compute(data, c, s, _):
        turned = torch.stack([-data[..., 1::2], data[..., ::2]], -1).flatten(-2)
        return data * c + turned * s

    return _like(x, compute, "rotary", cos, sin, turn, attributes=(is_decode_mode,))


class RotarySetup:
    """Upstream's, for rows of a decode: an index per row, whole tiles of them."""

    def __init__(self, device, batch_size, head_dim, max_seq_len, rope_theta, rope_scaling=None):
        assert rope_scaling is None
        self.device, self.batch_size = device, batch_size
        angles = torch.outer(torch.arange(2 * max_seq_len), rope_theta ** -(torch.arange(0, head_dim, 2) / head_dim))
        tables = [table.repeat_interleave(2, -1)[None, None] for table in (angles.cos(), angles.sin())]
        self.cos_matrix_prefill, self.sin_matrix_prefill = (FakeTensor(t, FLOATS, device) for t in tables)
        self._turn = FakeTensor(torch.zeros(1), FLOATS, device)

    def get_rot_idxs(self, position_idxs, on_host=False):
        assert on_host and len(position_idxs) == self.batch_size
        padded = torch.nn.functional.pad(position_idxs, (0, -len(position_idxs) % 32))
        return FakeTensor(padded.view(1, -1), DataType.UINT32)

    def get_rot_mats(self, position_idxs):
        look_up = lambda at, table: table[0, 0, at[0, : self.batch_size], None][None]  # noqa: E731
        tables = self.cos_matrix_prefill, self.sin_matrix_prefill
        return [self.device.run("rotary rows", look_up, position_idxs, table) for table in tables]

    def get_both_trans_mats(self):
        return {"decode": self._turn, "prefill": self._turn}


def add_ops(ttnn: ModuleType) -> None:
    """Give them to the fake `ttnn`."""
    for function in (clone, typecast, unsqueeze_to_4D, embedding, linear, rms_norm, add, multiply, silu):
        setattr(ttnn, function.__name__, function)
    ttnn.to_layout = ttnn.to_memory_config = placed
    for heads in (nlp_create_qkv_heads_decode, nlp_create_qkv_heads, nlp_concat_heads_decode, rotary_embedding_llama):
        setattr(ttnn.experimental, heads.__name__, heads)
    ttnn.float32 = DataType.FLOAT32
    ttnn.all_gather = placed  # every fake device holds the whole
    ttnn.MathFidelity = SimpleNamespace(HiFi2="HiFi2", HiFi4="HiFi4")
    ttnn.WormholeComputeKernelConfig = SimpleNamespace
    ttnn.L1_MEMORY_CONFIG, ttnn.L1_HEIGHT_SHARDED_MEMORY_CONFIG = "l1", "l1 height sharded"
    ttnn.ShardStrategy, ttnn.ShardOrientation = SimpleNamespace(HEIGHT="h"), SimpleNamespace(ROW_MAJOR="r")
    ttnn.create_sharded_memory_config = lambda **how: how
    ttnn.num_cores_to_corerangeset = lambda count, grid, row_wise: count
    ttnn.CoreCoord = lambda x, y: (x, y)

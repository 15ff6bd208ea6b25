# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The tensors of one decode step as tt_transformers makes them, at the real models' shapes; all values are 0."""

from __future__ import annotations

from dataclasses import dataclass, replace

import ttnn

from models.tt_transformers.demo.speculative_decoding.tt.kv_write import RowLayout

BLOCK_SIZE = 32
BLOCKS_PER_USER = 32  # 1024 tokens


@dataclass(frozen=True)
class ModelShape:
    """What one device holds of a model."""

    name: str
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocab: int = 128256

    def per_device(self, mesh_device: ttnn.MeshDevice) -> ModelShape:
        """Tensor parallelism: an equal share of the heads, of the embedding and of the vocabulary for each device."""
        devices = mesh_device.get_num_devices()
        shared = ("heads", "kv_heads", "hidden", "vocab")
        return replace(self, **{name: getattr(self, name) // devices for name in shared})


LLAMAS = [
    ModelShape("llama-3.2-1b", heads=32, kv_heads=8, head_dim=64, hidden=2048),
    ModelShape("llama-3.2-3b", heads=24, kv_heads=8, head_dim=128, hidden=3072),
    ModelShape("llama-3.1-8b", heads=32, kv_heads=8, head_dim=128, hidden=4096),
]
LAYOUTS = [RowLayout(users, tokens) for users in (1, 4) for tokens in range(1, 9) if users * tokens <= 32]
CACHE_DTYPES = [ttnn.bfloat8_b, ttnn.bfloat16]


def readable(value: object) -> str | None:
    """pytest ids: llama-3.2-1b, 4users-x3, bfloat8_b."""
    if isinstance(value, ModelShape):
        return value.name
    if isinstance(value, RowLayout):
        return f"{value.users}users-x{value.tokens_per_user}"
    if isinstance(value, ttnn.DataType):
        return value.name.lower()
    return None


def blank(
    mesh_device: ttnn.MeshDevice,
    shape: tuple[int, ...],
    dtype: ttnn.DataType = ttnn.bfloat16,
    *,
    layout: ttnn.Layout = ttnn.TILE_LAYOUT,
    memory_config: ttnn.MemoryConfig = ttnn.DRAM_MEMORY_CONFIG,
) -> ttnn.Tensor:
    return ttnn.empty(shape, dtype=dtype, layout=layout, device=mesh_device, memory_config=memory_config)


def tensor_parallel(
    mesh_device: ttnn.MeshDevice, shape: tuple[int, ...], dtype: ttnn.DataType = ttnn.bfloat16
) -> ttnn.Tensor:
    """`shape` on every device, declared as tt_transformers' sharded weights make it: a part of the last dimension."""
    whole = (*shape[:-1], shape[-1] * mesh_device.get_num_devices())
    spread = _mapper(mesh_device, ttnn.PlacementShard(len(shape) - 2), ttnn.PlacementShard(len(shape) - 1))
    return ttnn.distribute_tensor(ttnn.zeros(whole, dtype=dtype, layout=ttnn.TILE_LAYOUT), spread, mesh_device)


def integers(
    mesh_device: ttnn.MeshDevice,
    values: list[int],
    shape: tuple[int, ...] | None = None,
    dtype: ttnn.DataType = ttnn.int32,
) -> ttnn.Tensor:
    """A ROW_MAJOR tensor in DRAM, replicated over the mesh as tt_transformers' staged decode inputs are."""
    on_host = ttnn.Tensor(values, list(shape or (len(values),)), dtype, ttnn.ROW_MAJOR_LAYOUT)
    spread = _mapper(mesh_device, ttnn.PlacementReplicate(), ttnn.PlacementReplicate())
    return ttnn.distribute_tensor(on_host, spread, mesh_device)


def _mapper(mesh_device: ttnn.MeshDevice, over_rows: object, over_columns: object) -> ttnn.CppTensorToMesh:
    """ShardTensor2dMesh's mapper (which is for torch tensors)."""
    return ttnn.create_mesh_mapper(mesh_device, ttnn.MeshMapperConfig([over_rows, over_columns], mesh_device.shape))


def positions(mesh_device: ttnn.MeshDevice, layout: RowLayout) -> ttnn.Tensor:
    """int32 [compiled_batch]: user u at 100 * u and up, -1 in the unused rows."""
    used = [100 * user + token for user in range(layout.users) for token in range(layout.tokens_per_user)]
    return integers(mesh_device, used + [-1] * (layout.compiled_batch - layout.rows))


def page_table(mesh_device: ttnn.MeshDevice, layout: RowLayout) -> ttnn.Tensor:
    """int32 [compiled_batch, BLOCKS_PER_USER]: each user's row once for each of its tokens."""
    own_rows = [list(range(user * BLOCKS_PER_USER, (user + 1) * BLOCKS_PER_USER)) for user in range(layout.users)]
    used = [row for row in own_rows for _ in range(layout.tokens_per_user)]
    unused = [[0] * BLOCKS_PER_USER] * (layout.compiled_batch - layout.rows)
    return integers(mesh_device, sum(used + unused, []), (layout.compiled_batch, BLOCKS_PER_USER))


def caches(
    mesh_device: ttnn.MeshDevice, model: ModelShape, layout: RowLayout, dtype: ttnn.DataType
) -> tuple[ttnn.Tensor, ttnn.Tensor]:
    """Keys and values of one layer, [blocks, kv_heads, BLOCK_SIZE, head_dim], declared replicated as upstream's are."""
    shape = (layout.users * BLOCKS_PER_USER, model.kv_heads, BLOCK_SIZE, model.head_dim)
    return blank(mesh_device, shape, dtype), blank(mesh_device, shape, dtype)


def decode_heads(
    mesh_device: ttnn.MeshDevice, model: ModelShape, layout: RowLayout, *, fused: bool
) -> tuple[ttnn.Tensor, ttnn.Tensor, ttnn.Tensor]:
    """Queries, keys, values [1, compiled_batch, heads, head_dim], one row per core, as in Attention.forward_decode.

    fused: keys are moved to the cores after the queries' (Attention.to_qk_fused_memory_config), away from the values.
    """
    width = (model.heads + 2 * model.kv_heads) * model.head_dim
    qkv = ttnn.to_memory_config(tensor_parallel(mesh_device, (1, 1, 32, width)), ttnn.L1_MEMORY_CONFIG)
    queries, keys, values = ttnn.experimental.nlp_create_qkv_heads_decode(
        ttnn.reshape(qkv, (1, 1, layout.compiled_batch, width), (1, 1, 32, width)),
        num_heads=model.heads,
        num_kv_heads=model.kv_heads,
        memory_config=ttnn.L1_HEIGHT_SHARDED_MEMORY_CONFIG,
    )
    if fused:
        keys = ttnn.to_memory_config(keys, _one_row_per_core(layout.compiled_batch, model.head_dim))
    return queries, keys, values


def _one_row_per_core(rows: int, head_dim: int) -> ttnn.MemoryConfig:
    """Height-sharded over the `rows` cores that follow the first `rows`, in rows of 8."""
    first = ttnn.CoreCoord(rows % 8, rows // 8)
    last = ttnn.CoreCoord(first.x + min(rows, 8) - 1, first.y + max(rows // 8, 1) - 1)
    return ttnn.create_sharded_memory_config(
        shape=(ttnn.TILE_SIZE, head_dim),
        core_grid=ttnn.CoreRangeSet({ttnn.CoreRange(first, last)}),
        strategy=ttnn.ShardStrategy.HEIGHT,
        orientation=ttnn.ShardOrientation.ROW_MAJOR,
        use_height_and_width_as_shard_shape=True,
    )

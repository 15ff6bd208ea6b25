# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Reading a step's results from one device of the mesh: argmax ids made there, or the logits of the live rows alone."""

import pytest
import ttnn
from mock_wormhole.decode_step import LAYOUTS, LLAMAS, blank, readable, tensor_parallel
from mock_wormhole.refusal import refused

from models.tt_transformers.demo.speculative_decoding.tt.kv_write import RowLayout

VOCAB = LLAMAS[0].vocab  # the three models have one vocabulary
ALL_LAYOUTS = [*LAYOUTS, RowLayout(1, 32)]


def gathered_logits(mesh_device):
    """What Transformer.ttnn_decode_forward returns: bfloat16 ROW_MAJOR [1, 1, 32, VOCAB] in DRAM, on every device."""
    logits = ttnn.to_memory_config(
        tensor_parallel(mesh_device, (1, 1, 32, VOCAB // mesh_device.get_num_devices()), ttnn.bfloat8_b),
        ttnn.L1_MEMORY_CONFIG,
    )
    if mesh_device.get_num_devices() > 1:
        grid = mesh_device.compute_with_storage_grid_size()
        cores = ttnn.CoreRangeSet({ttnn.CoreRange(ttnn.CoreCoord(0, 0), ttnn.CoreCoord(grid.x - 1, grid.y - 1))})
        ready, done, barrier = (ttnn.create_global_semaphore(mesh_device, cores, 0) for _ in range(3))
        logits = ttnn.experimental.all_gather_async(
            logits,
            persistent_output_buffer=None,
            dim=3,
            multi_device_global_semaphore=[ready, done],
            num_links=1,
            memory_config=logits.memory_config(),
            cluster_axis=None,
            topology=ttnn.Topology.Linear,
            barrier_semaphore=barrier,
            chunks_per_sync=10,
            num_workers_per_link=2,
            num_buffers_per_channel=2,
        )
    return ttnn.untilize(logits, use_multicore=True, memory_config=ttnn.DRAM_MEMORY_CONFIG)


def live_rows(logits, layout):
    return ttnn.slice(logits, (0, 0, 0, 0), (1, 1, layout.rows, VOCAB))


def read_one_device(tensor):
    return ttnn.get_device_tensors(tensor)[0].cpu()


@pytest.fixture(scope="module")
def logits(mesh_device):
    return gathered_logits(mesh_device)


def test_are_whole_on_every_device(mesh_device, logits):
    assert tuple(logits.shape) == (1, 1, 32, VOCAB)
    assert (logits.dtype, logits.layout) == (ttnn.bfloat16, ttnn.ROW_MAJOR_LAYOUT)
    assert len(ttnn.get_device_tensors(logits)) == mesh_device.get_num_devices()


@pytest.mark.parametrize("layout", ALL_LAYOUTS, ids=readable)
def test_argmax_of_the_live_rows_is_one_id_each(logits, layout):
    ids = ttnn.argmax(live_rows(logits, layout), dim=-1)
    assert (ids.dtype, ids.layout) == (ttnn.uint32, ttnn.ROW_MAJOR_LAYOUT)
    assert read_one_device(ids).to_list() == [[[0] * layout.rows]]


@pytest.mark.parametrize("layout", ALL_LAYOUTS, ids=readable)
def test_logits_of_the_live_rows_are_all_that_is_read(logits, layout):
    on_host = read_one_device(live_rows(logits, layout))
    assert on_host.storage_type() == ttnn.StorageType.HOST
    assert tuple(on_host.padded_shape) == (1, 1, layout.rows, VOCAB)
    assert on_host.volume() * on_host.element_size() == layout.rows * VOCAB * 2


class TestRefuses:
    def test_more_rows_than_a_step_has(self, logits):
        with refused("33"):
            ttnn.slice(logits, (0, 0, 0, 0), (1, 1, 33, VOCAB))

    def test_argmax_of_block_floats(self, device):
        with refused("BFLOAT8_B"):
            ttnn.argmax(blank(device, (1, 1, 32, VOCAB), ttnn.bfloat8_b), dim=-1)

    def test_argmax_over_a_dimension_that_is_not_there(self, logits):
        with refused("out of range"):
            ttnn.argmax(logits, dim=4)

    def test_argmax_of_logits_that_are_sharded(self, device):
        sharded = ttnn.create_sharded_memory_config(
            (1, 1, 32, 64), core_grid=ttnn.CoreGrid(y=1, x=1), strategy=ttnn.ShardStrategy.HEIGHT
        )
        rows = blank(device, (1, 1, 32, 64), layout=ttnn.ROW_MAJOR_LAYOUT, memory_config=sharded)
        with refused("INTERLEAVED"):
            ttnn.argmax(rows, dim=-1)

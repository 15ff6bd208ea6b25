# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""An EAGLE-3 head for Llama-3.1-8B against real ttnn: every op takes what it is handed, on one device and with the
target's hidden states shared by two; nothing is compiled once warm, and the memory plan is what is allocated."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import ttnn
from mock_wormhole.decode_step import BLOCKS_PER_USER, blank, integers, page_table, positions, readable
from mock_wormhole.refusal import refused
from mock_wormhole.test_kv_write import forbid_host_transfers

from models.tt_transformers.demo.speculative_decoding.tt.eagle_head import EagleHead, HeadWeights
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import RowLayout, WritePositions
from models.tt_transformers.demo.speculative_decoding.tt.memory import CacheLayout, ModelMemory

HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, VOCAB, KEPT, TAPS = 4096, 14336, 32, 8, 128, 128256, 32000, 3
WIDTH = (HEADS + 2 * KV_HEADS) * HEAD_DIM
SPEC = SimpleNamespace(
    layers=(2, 16, 29),
    hidden_size=HIDDEN,
    target_hidden_size=HIDDEN,
    intermediate_size=INNER,
    num_heads=HEADS,
    num_kv_heads=KV_HEADS,
    head_dim=HEAD_DIM,
    vocab_size=VOCAB,
    draft_vocab_size=KEPT,
    rms_norm_eps=1e-5,
    norm_before_residual=False,
)
LAYOUTS = [RowLayout(1, 4), RowLayout(1, 8), RowLayout(2, 4), RowLayout(4, 8)]
ROWS = {"layout": ttnn.ROW_MAJOR_LAYOUT}


@dataclass
class Rope:
    """What upstream's RotarySetup hands out for a batch."""

    device: ttnn.MeshDevice
    batch: int
    positions: int = 4096

    def __post_init__(self):
        tables = [blank(self.device, (1, 1, self.positions, HEAD_DIM)) for _ in range(2)]
        self.cos_matrix_prefill, self.sin_matrix_prefill = tables
        self.turns = {"prefill": blank(self.device, (1, 1, 32, 32))}
        self.turns["decode"] = blank(self.device, (1, 1, 32 * self.batch, 32), memory_config=self._sharded(32))

    def _sharded(self, width):
        return ttnn.create_sharded_memory_config(
            shape=(32, width),
            core_grid=ttnn.num_cores_to_corerangeset(self.batch, ttnn.CoreCoord(8, 8), row_wise=True),
            strategy=ttnn.ShardStrategy.HEIGHT,
            use_height_and_width_as_shard_shape=True,
        )

    def get_rot_mats(self, indices):
        table = ttnn.to_layout(self.cos_matrix_prefill, ttnn.ROW_MAJOR_LAYOUT)
        found = ttnn.embedding(indices, table, layout=ttnn.TILE_LAYOUT)
        found = ttnn.transpose(ttnn.unsqueeze_to_4D(found), 1, 2)[:, : self.batch]
        return [ttnn.interleaved_to_sharded(found, self._sharded(HEAD_DIM)) for _ in range(2)]

    def get_both_trans_mats(self):
        return self.turns


class Mocked:
    """A head and the inputs of its steps."""

    def __init__(self, device, layout, dtype=ttnn.bfloat8_b):
        self.device, self.layout, batch = device, layout, layout.compiled_batch
        self.devices = device.get_num_devices()

        def matrix(rows, columns):
            return blank(device, (1, 1, rows, columns), dtype)

        before = dram(device)
        weights = HeadWeights(
            fc=matrix(TAPS * HIDDEN, HIDDEN),
            qkv=matrix(2 * HIDDEN, WIDTH),
            o=matrix(HEADS * HEAD_DIM, HIDDEN),
            gate=matrix(HIDDEN, INNER),
            up=matrix(HIDDEN, INNER),
            down=matrix(INNER, HIDDEN),
            output=matrix(HIDDEN, KEPT),
            **{f"{name}_norm": blank(device, (1, 1, HIDDEN // 32, 32), **ROWS) for name in NORMS},
            digits=blank(device, (KEPT, 32), **ROWS),
            worth=blank(device, (32, 32)),
        )
        self.weights_taken = dram(device) - before
        blocks = CacheLayout(layout.users, BLOCKS_PER_USER * 32).num_blocks
        cache = [blank(device, (blocks, KV_HEADS, 32, HEAD_DIM), dtype) for _ in range(2)]
        embedding = blank(device, (VOCAB, HIDDEN // self.devices), **ROWS)
        self.head = EagleHead(
            lib=ttnn,
            spec=SPEC,
            weights=weights,
            cache=cache,
            embed=lambda tokens: ttnn.embedding(tokens, embedding, layout=ttnn.TILE_LAYOUT),
            embed_whole=False,
            rope=Rope(device, batch),
            batch=batch,
            devices=self.devices,
            sdpa=ttnn.SDPAProgramConfig(
                compute_with_storage_grid_size=(8, 8), exp_approx_mode=False, q_chunk_size=0, k_chunk_size=0
            ),
            exact=dtype == ttnn.bfloat16,
        )
        self.taps = [blank(device, (1, 1, 32, HIDDEN // self.devices)) for _ in range(TAPS)]
        self.writes, self.table = WritePositions(device, layout), page_table(device, layout)
        self.at, self.index = positions(device, layout), integers(device, [0] * 32, (1, 32), ttnn.uint32)
        self.tokens = integers(device, [0] * 32, (1, 1, 1, 32), ttnn.uint32)

    def catch_up(self):
        head = self.head
        states = head.picked(head.states(self.taps), self.index)
        hidden = head.layer(states, self.tokens, self.at, self.index, self.table, self.writes)
        return head.ids(head.picked(hidden, self.index), self.layout.users)

    def fill(self, size, start=0):
        taps = [blank(self.device, (1, 1, size, HIDDEN // self.devices)) for _ in range(TAPS)]
        blocks = size // 32
        table = integers(self.device, [index % BLOCKS_PER_USER for index in range(blocks)], (1, blocks))
        chunk = SimpleNamespace(taps=taps, start=start, page_table=table, row=0)
        return self.head.fill(chunk, integers(self.device, [0] * size, (1, 1, 1, size), ttnn.uint32))


NORMS = ("embedding", "state", "mlp", "output")


def dram(device):
    """Bytes of a device's DRAM that are allocated."""
    view = ttnn.get_memory_view(device, ttnn.BufferType.DRAM)
    return view.num_banks * view.total_bytes_allocated_per_bank


@pytest.mark.parametrize("dtype", [ttnn.bfloat8_b, ttnn.bfloat16], ids=readable)
@pytest.mark.parametrize("layout", LAYOUTS, ids=readable)
def test_a_step_ends_in_an_id_per_user(device, layout, dtype):
    ids = Mocked(device, layout, dtype).catch_up()
    assert tuple(ids.shape) == (1, 1, layout.users) and ids.dtype == ttnn.uint32
    assert ids.layout == ttnn.ROW_MAJOR_LAYOUT and tuple(ids.padded_shape) == tuple(ids.shape)


def test_stages_nothing_compiles_nothing_and_keeps_nothing_once_warm(device, monkeypatch):
    one = Mocked(device, RowLayout(2, 4))
    one.catch_up()
    programs, taken = device.num_program_cache_entries(), dram(device)
    device.set_program_cache_misses_allowed(False)
    forbid_host_transfers(monkeypatch)
    one.catch_up()
    assert (device.num_program_cache_entries(), dram(device)) == (programs, taken)


@pytest.mark.parametrize("size, start", [(128, 0), (1024, 0), (2048, 2048)])
def test_a_prefill_leaves_states(device, size, start):
    states = Mocked(device, RowLayout(1, 4)).fill(size, start)
    assert tuple(states.shape) == (1, 1, size, HIDDEN) and states.memory_config() == ttnn.DRAM_MEMORY_CONFIG


def test_the_memory_plan_is_what_is_allocated(device):
    one = Mocked(device, RowLayout(1, 4))
    head = SimpleNamespace(name="head", spec=SPEC, tensors={})
    args = SimpleNamespace(max_seq_len=1024, max_prefill_chunk_size=4096, num_devices=one.devices)
    target = ModelMemory("target", 0, 0, 0, 0)
    planned = ModelMemory.of_head(head, args, CacheLayout(1, BLOCKS_PER_USER * 32), target, exact=False)
    assert planned.weights == pytest.approx(one.weights_taken, rel=0.01) and 440e6 < planned.weights < 460e6


def test_refuses_taps_of_another_width(device):
    """Negative control."""
    one = Mocked(device, RowLayout(1, 4))
    one.taps[0] = blank(device, (1, 1, 32, HIDDEN // one.devices - 32))
    with refused(""):
        one.catch_up()

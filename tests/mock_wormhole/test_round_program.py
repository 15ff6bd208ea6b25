# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A fused round's links against real ttnn: shapes, programs and staging at the real vocabulary, for both boards."""

import pytest
import ttnn
from mock_wormhole.decode_step import LLAMAS, integers, readable
from mock_wormhole.refusal import refused
from mock_wormhole.test_kv_write import forbid_host_transfers
from mock_wormhole.test_logits import VOCAB, gathered_logits, read_one_device

from models.tt_transformers.demo.speculative_decoding.tt.kv_write import RowLayout
from models.tt_transformers.demo.speculative_decoding.tt.round_program import RoundStep, run_round

ROUNDS = [(users, k) for users in (1, 2, 4) for k in (1, 2, 3, 7) if users * (k + 1) <= 32]
TILE = 32


class Round:
    """What run_round is given, with upstream's gathered logits in place of the models between the links."""

    def __init__(self, device, users, k, *, width=2 * TILE):
        self.device, self.users, self.k, self.seen = device, users, k, []
        logits = gathered_logits(device)
        batches = [RowLayout(users, 2).compiled_batch] * k + [RowLayout(users, k + 1).compiled_batch]
        live = [(1, 2 * users, 2), *[(0, users, 1)] * (k - 1), (0, users * (k + 1), 1)]

        def step(batch, rows):
            def ids(x, at, rotary):
                self.seen.append((x, at, rotary))
                first, end, every = rows
                live = ttnn.slice(logits, (0, 0, first, 0), (1, 1, end, VOCAB), (1, 1, every, 1))
                return ttnn.argmax(live, dim=-1, keepdim=False)

            return RoundStep(ids, batch, max(TILE, 2 * batch))

        self.steps = [step(batch, rows) for batch, rows in zip(batches, live, strict=True)]
        self.staged = integers(device, [0] * (k + 3) * width, (k + 3, width), ttnn.uint32)
        self.positions = integers(device, [-1] * (k + 1) * TILE, (k + 1, TILE))
        found = users * (2 * k + 1)
        self.output = integers(device, [0] * found, (1, 1, 1, found), ttnn.uint32)

    def run(self):
        run_round(self.steps, self.staged, self.positions, self.output, users=self.users)


@pytest.mark.parametrize("users, k", ROUNDS)
def test_hands_every_step_what_a_decode_takes(device, users, k):
    one = Round(device, users, k)
    one.run()
    assert len(one.seen) == k + 1
    for step, (x, at, rotary) in zip(one.steps, one.seen, strict=True):
        assert (tuple(x.shape), tuple(at.shape)) == ((1, 1, 1, TILE), (step.batch,))
        assert tuple(rotary.shape) == (1, step.rotary)
        assert (x.dtype, at.dtype, rotary.dtype) == (ttnn.uint32, ttnn.int32, ttnn.uint32)
        for tensor in (x, at, rotary):
            assert tensor.layout == ttnn.ROW_MAJOR_LAYOUT and tensor.memory_config() == ttnn.DRAM_MEMORY_CONFIG
            assert tuple(tensor.padded_shape) == tuple(tensor.shape)
    assert read_one_device(one.output).volume() == users * (2 * k + 1)


@pytest.mark.parametrize("users, k", [(1, 3), (4, 7)])
def test_stages_nothing_and_compiles_nothing_once_warm(device, monkeypatch, users, k):
    one = Round(device, users, k)
    one.run()
    programs = device.num_program_cache_entries()
    device.set_program_cache_misses_allowed(False)
    forbid_host_transfers(monkeypatch)
    one.run()
    assert device.num_program_cache_entries() == programs


def test_programs_grow_by_the_rows_that_are_cut_out_alone(device):
    """Per further draft step: its own rows of the two staged tensors; everything else has been compiled."""

    def programs(k):
        device.clear_program_cache()
        Round(device, 1, k).run()
        return device.num_program_cache_entries()

    grown = [b - a for a, b in zip(map(programs, (3, 4, 5)), map(programs, (4, 5, 6)), strict=True)]
    assert max(grown) <= 6, grown


def allocated(device):
    """Bytes per bank of DRAM and of L1."""
    views = [ttnn.get_memory_view(device, kind) for kind in (ttnn.BufferType.DRAM, ttnn.BufferType.L1)]
    return [view.total_bytes_allocated_per_bank for view in views]


@pytest.mark.parametrize("model", LLAMAS, ids=readable)
@pytest.mark.parametrize("users, k", [(1, 3), (4, 7)])
def test_leaves_nothing_allocated_beside_its_buffers(device, model, users, k):
    """Two staging tensors and one output, a page of a bank each: nothing of L1, and no bank gives a KV block's room."""
    one = Round(device, users, k)
    one.run()
    one.seen.clear()
    before = allocated(device)
    one.run()
    one.seen.clear()
    assert allocated(device) == before
    sizes = [tensor.volume() * tensor.element_size() for tensor in (one.staged, one.positions, one.output)]
    assert sum(sizes) < 32 * model.kv_heads // device.get_num_devices() * model.head_dim


class TestRefuses:
    """Negative controls: what a wrong link would be told."""

    def test_an_output_of_another_size(self, device):
        one = Round(device, 1, 3)
        one.output = integers(device, [0] * 8, (1, 1, 1, 8), ttnn.uint32)
        with refused(""):
            one.run()

    def test_more_users_than_rows(self, device):
        one = Round(device, 4, 7)
        one.users = 5
        with refused(""):
            one.run()

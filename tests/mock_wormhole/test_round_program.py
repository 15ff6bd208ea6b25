# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A fused round's links against real ttnn: shapes, programs and staging at the real vocabulary, for both boards."""

from functools import partial

import pytest
import ttnn
from mock_wormhole.decode_step import LLAMAS, blank, caches, decode_heads, integers, page_table, readable
from mock_wormhole.refusal import refused
from mock_wormhole.test_attention import attend
from mock_wormhole.test_kv_write import forbid_host_transfers
from mock_wormhole.test_logits import VOCAB, gathered_logits, read_one_device

from models.tt_transformers.demo.speculative_decoding.tt.kv_write import RowLayout, WritePositions, write_rows
from models.tt_transformers.demo.speculative_decoding.tt.round_program import RoundStep, run_round

DRAFT, *TARGETS = LLAMAS
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


class Decode:
    """What tokens and positions meet in a model of real size, shaped as on one device: its embedding, and the KV write
    and the attention of a layer, of which all others are alike."""

    def __init__(self, device, model, layout):
        model = model.per_device(device)
        self.embedding = blank(device, (1, 1, VOCAB, model.hidden), layout=ttnn.ROW_MAJOR_LAYOUT)
        self.keys, self.values = caches(device, model, layout, ttnn.bfloat8_b)
        self.pages, self.write = page_table(device, layout), WritePositions(device, layout)
        self.new_heads = partial(decode_heads, device, model, layout, fused=True)

    def __call__(self, x, at):
        x = ttnn.embedding(x, self.embedding, layout=ttnn.TILE_LAYOUT, memory_config=ttnn.DRAM_MEMORY_CONFIG)
        assert tuple(ttnn.unsqueeze_to_4D(x).shape)[:3] == (1, 1, TILE)
        queries, keys, values = self.new_heads()
        arguments = {"update_idxs_tensor": at, "page_table": self.pages}
        op = ttnn.experimental.paged_fused_update_cache
        write_rows(op, (self.keys, keys, self.values, values), arguments, self.write.split(at))
        attend(queries, self.keys, self.values, self.pages, at)


def after(decode, ids):
    """A step's ids, once the decode took the same inputs."""

    def both(x, at, rotary):
        decode(x, at)
        return ids(x, at, rotary)

    return both


@pytest.mark.parametrize("target", TARGETS, ids=readable)
@pytest.mark.parametrize("users, k", [(1, 3), (4, 7)])
def test_of_a_pair_compiles_its_decodes_and_the_links(device, target, users, k):
    """1B -> 3B and 1B -> 8B: no decode becomes another program by where its inputs come from, and a round later there
    is none more, and neither DRAM nor L1 taken."""
    one = Round(device, users, k)
    batch = one.steps[0].batch
    first, later = (Decode(device, DRAFT, RowLayout(batch // width, width)) for width in (2, 1))
    verify = Decode(device, target, RowLayout(one.steps[-1].batch // (k + 1), k + 1))

    def programs(*work):
        device.clear_program_cache()
        for piece in work:
            piece()
        return device.num_program_cache_entries()

    x, at = (integers(device, [0] * TILE, (1, 1, 1, TILE), ttnn.uint32), partial(integers, device))
    apart = [partial(decode, x, at([-1] * decode.pages.shape[0])) for decode in (first, later, verify)]
    links, decodes = programs(one.run), programs(*apart)
    for index, (step, decode) in enumerate(zip(one.steps, [first, *[later] * (k - 1), verify], strict=True)):
        one.steps[index] = RoundStep(after(decode, step.ids), step.batch, step.rotary)
    assert programs(one.run) == links + decodes
    one.seen.clear()
    before = allocated(device)
    device.set_program_cache_misses_allowed(False)
    one.run()
    one.seen.clear()
    assert allocated(device) == before


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

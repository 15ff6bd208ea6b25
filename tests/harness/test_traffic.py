# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What is counted between host and device is what happened there, and a round's time is told apart."""

import time

import pytest
import torch
from fakes import fixtures
from fakes.device import FakeMeshDevice
from fakes.pairs import PROMPTS

from models.tt_transformers.demo.speculative_decoding.harness.traffic import Traffic, counted
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt.fused_drafter import FusedDrafter

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair
SLOW = 0.02


def round_of(open_pair, mesh, **options):
    """A generation of a traced pair that is prefilled, and what plays its next round."""
    target, draft = open_pair("always-right", mesh=mesh, num_draft_tokens=3, enable_trace=True, **options)
    generator = SpeculativeGenerator(target, FusedDrafter(draft), num_draft_tokens=3)
    batch = generator.new_batch(PROMPTS[:1], max_new_tokens=40)
    generator.prefill_both_models(batch)
    return batch, lambda: generator.speculative_decode_step(batch)


@pytest.mark.parametrize("slow, part", [("execute_trace", "replay"), ("to_torch", "read"), ("from_torch", "staging")])
def test_a_parts_time_is_its_own(open_pair, ttnn, monkeypatch, slow, part):
    """Whatever is slow shows where it belongs, and nowhere else; waiting for the device is nobody's."""
    mesh = FakeMeshDevice()
    batch, play = round_of(open_pair, mesh)
    stock, replays = getattr(ttnn, slow), []
    monkeypatch.setattr(ttnn, slow, lambda *a, **o: (time.sleep(SLOW), stock(*a, **o))[1])
    monkeypatch.setattr(mesh, "replay", replays.append)  # which then takes the device a while
    monkeypatch.setattr(ttnn, "synchronize_device", lambda _: replays and (replays.clear(), time.sleep(2 * SLOW)))
    with counted(ttnn, mesh) as traffic:
        play()
    (record,) = batch.rounds[0]
    assert record.fused
    host = traffic.host_ms(total_ns=record.total_ns, accept_ns=record.host_ns)
    others = [ms for name, ms in host.items() if name not in (part, "accept")]
    assert host[part] >= 1e3 * SLOW and max(others) < 1e3 * SLOW
    assert sum(host.values()) + traffic.ns["synchronize_device"] / 1e6 == pytest.approx(record.total_ns / 1e6)


@pytest.mark.parametrize("ttnn", ["june", "september", "commands"], indirect=True)
@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "separate"])
def test_once_captured_rounds_allocate_nothing(open_pair, ttnn, fuse):
    """Not even for a moment: what a round needs on the device exists before the first capture, in every tree."""
    mesh = FakeMeshDevice()
    batch, play = round_of(open_pair, mesh, fuse=fuse)
    before = mesh.allocations
    with counted(ttnn, mesh) as traffic:
        play(), play()
    assert {record.fused for (record,) in batch.rounds} == {fuse} and traffic.calls["execute_trace"] == (
        2 if fuse else 8
    )
    assert (mesh.allocations, traffic.new_buffers, traffic.dram_growth) == (before, 0, 0)


def test_control_what_is_kept_is_counted_and_what_is_given_back_in_turn_is_not_hidden(open_pair, ttnn):
    """As many bytes as before, and yet another buffer."""
    mesh = FakeMeshDevice()
    kept = [ttnn.from_torch(torch.zeros(8), dtype=ttnn.int32, device=mesh)]
    with counted(ttnn, mesh) as traffic:
        kept[0] = ttnn.from_torch(torch.zeros(8), dtype=ttnn.int32, device=mesh)
    assert (traffic.dram_growth, traffic.new_buffers) == (0, 1)


def test_nothing_counted_is_nothing():
    assert Traffic().host_ms(total_ns=10**6, accept_ns=10**6) == {
        **dict.fromkeys(("replay", "read", "staging"), 0.0),
        "accept": 1.0,
    }

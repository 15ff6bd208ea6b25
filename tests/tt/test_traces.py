# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The Tenstorrent runner on a fake tt_transformers: traces, memory, the mesh, and requests that cannot be met."""

import gc

import pytest
import torch
from fakes import fixtures
from fakes.device import FakeMeshDevice
from fakes.pairs import PROMPTS, VOCAB, greedy_texts, speculate

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair


def test_nothing_is_compiled_after_the_first_capture(open_pair):
    mesh = FakeMeshDevice()
    target, draft = open_pair(mesh=mesh, num_draft_tokens=(2, 5))
    programs = mesh.num_program_cache_entries()
    for length in (1, 31, 32, 33, 64, 65, 100, 119):
        target.prefill([[5] * length]).values, draft.prefill([[5] * length]).values
    for width in range(1, 7):
        target.forward(torch.ones(1, width).long(), [3], argmax_only=True)
    assert mesh.num_program_cache_entries() == programs


def test_a_forward_that_has_no_trace_is_refused_once_there_are_traces(open_pair):
    target, draft = open_pair(num_draft_tokens=2)
    with pytest.raises(BadInput, match="none for 1 tokens per user ending in logits"):
        draft.forward(torch.tensor([[1]]), [0])
    untraced, _ = open_pair(num_draft_tokens=2, enable_trace=False)
    assert untraced.forward(torch.tensor([[1]]), [0]).values.shape == (1, 1, VOCAB)


def test_a_second_warmup_does_nothing(open_pair):
    mesh = FakeMeshDevice()
    target, draft = open_pair(mesh=mesh, num_draft_tokens=2)
    before = len(mesh.traces)
    target.warmup([3]), draft.warmup([1, 2])
    assert before == len(mesh.traces) == 4  # of the fused round too


@pytest.mark.parametrize("catch_up, steps", [(2, 19), (16, 3)])
def test_a_draft_catches_up_in_wide_steps(open_pair, catch_up, steps):
    """After 36 tokens without it, a draft is fed 37 and drafts three, in traced steps, as if it had been there."""
    target, draft = open_pair("always-right", num_draft_tokens=3, catch_up=catch_up)
    text, mesh = greedy_texts()[0], draft._model.mesh_device
    drafter = ModelDrafter(draft)
    drafter.start([PROMPTS[0]])
    asked = {"contexts": [PROMPTS[0] + text[:37]], "counts": [3], "generators": [None], "vocab_size": VOCAB}
    request = DraftRequest(**asked, sampling=SamplingParams())
    before = mesh.replays
    drafted = drafter.propose(request)
    assert drafted.tokens == [text[37:40]] and drafted.catch_up == 35
    assert mesh.replays - before == steps + 2  # the last step of catching up gives the first draft


def test_only_live_rows_leave_one_device(open_pair):
    mesh = FakeMeshDevice(1, 2)
    target, draft = open_pair(mesh=mesh, users=2, num_draft_tokens=2, sampling=True)
    mesh.bytes_to_host.clear()
    target.forward(torch.ones(2, 3).long(), [0, 0])
    assert mesh.bytes_to_host == [2 * 3 * VOCAB * 2]  # users * T rows of bf16 logits
    greedy_target, _ = open_pair(mesh=FakeMeshDevice(1, 2), users=2, num_draft_tokens=2)
    mesh = greedy_target._model.mesh_device
    mesh.bytes_to_host.clear()
    greedy_target.forward(torch.ones(2, 3).long(), [0, 0], argmax_only=True)
    assert mesh.bytes_to_host == [2 * 3 * 4]  # uint32 ids


def test_several_devices_are_not_traced_unless_asked(open_pair):
    for columns, asked, traced in ((1, None, True), (2, None, False), (2, True, True), (1, False, False)):
        mesh = FakeMeshDevice(1, columns)
        pair = open_pair(mesh=mesh, num_draft_tokens=2, enable_trace=asked, fuse=False)
        assert speculate(pair, PROMPTS[:1], 2) == greedy_texts()[:1]
        assert (mesh.replays > 0) == traced


def test_slow_dispatch_has_no_traces(open_pair, monkeypatch):
    monkeypatch.setenv("TT_METAL_SLOW_DISPATCH_MODE", "1")
    assert speculate(open_pair(num_draft_tokens=2), PROMPTS[:1], 2) == greedy_texts()[:1]
    with pytest.raises(BadInput, match="slow dispatch has no traces"):
        open_pair(num_draft_tokens=2, enable_trace=True)


def test_close_frees_traces_and_memory(open_pair):
    mesh = FakeMeshDevice()
    target, draft = open_pair(mesh=mesh, num_draft_tokens=2)
    assert mesh.traces and mesh.tensors
    draft.close(), target.close(), target.close()
    gc.collect()
    assert not mesh.traces and not mesh.tensors


def test_a_failure_while_opening_frees_everything(open_pair, monkeypatch):
    mesh = FakeMeshDevice(trace_region_size=30_000)
    with pytest.raises(
        BadInput, match=r"for 8 tokens per user does not fit: .*only 30000B.*trace_region_size"
    ) as caught:
        open_pair(mesh=mesh, num_draft_tokens=(1, 7))
    del caught
    gc.collect()
    assert not mesh.begun and not mesh.tensors


def test_prefill_leaves_other_users_alone(open_pair):
    target, _ = open_pair(users=2, num_draft_tokens=1)
    target.prefill(PROMPTS[:2])
    keys = target._model.kv_cache[0][0].data
    own = [target._model.cache.table_row(user)[: target._model.cache.blocks_per_user] for user in range(2)]
    assert not set(own[0]) & set(own[1]) and 0 not in own[0] + own[1]
    before = keys[own[1]].clone()
    target.prefill([PROMPTS[2]])
    assert torch.equal(keys[own[1]], before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_draft_tokens": 32}, "tokens per user 33"),
        ({"users": 8, "num_draft_tokens": 4}, "8 users x 5 tokens"),
        ({"users": 0}, "0 users"),
        ({"num_draft_tokens": -1}, "K = -1"),
        ({"num_draft_tokens": ()}, "one or more"),
        ({"optimizations": "fast"}, "'performance' or 'accuracy'"),
        ({"max_seq_len": 513}, "exceeds the 512 positions"),
        ({"mesh": FakeMeshDevice(2, 4)}, "open one row"),
        ({"mesh": FakeMeshDevice(1, 8)}, "cannot run on a mesh of 1x8 devices: n_heads"),
        ({"mesh": FakeMeshDevice(dram=100_000)}, "do not fit on this device.*needed .* of 0 free"),
    ],
    ids=["k", "rows", "users", "negative-k", "no-k", "optimizations", "length", "rows-of-devices", "heads", "memory"],
)
def test_bad_requests_are_refused_before_anything_is_loaded(open_pair, options, message):
    mesh = options.setdefault("mesh", FakeMeshDevice())
    with pytest.raises(BadInput, match=f"(?s){message}"):
        open_pair(**options)
    assert mesh.num_program_cache_entries() == 0 and not mesh.tensors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda runner: runner.prefill([[1], [2]]), "2 prompts .* opened for 1 to 1 users"),
        (lambda runner: runner.prefill([[]]), "a prompt of 0 tokens"),
        (lambda runner: runner.prefill([[1] * 121]), "holds 1 to 120"),
        (lambda runner: runner.prefill([[1]], features=(1,)), "no hidden states"),
        (lambda runner: runner.forward(torch.ones(1, 4).long(), [0], argmax_only=True), "1 users of 4 tokens"),
        (
            lambda runner: runner.forward(torch.ones(1, 3).long(), [118], argmax_only=True),
            "positions 118 to 120 of user 0 are outside 0..119",
        ),
    ],
    ids=["users", "empty", "long", "features", "width", "end"],
)
def test_bad_calls_are_refused(open_pair, call, message):
    target, _ = open_pair(num_draft_tokens=2)
    with pytest.raises(BadInput, match=message):
        call(target)

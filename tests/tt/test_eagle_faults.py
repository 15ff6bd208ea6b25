# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""An EAGLE-3 head on the fake device: what is refused, what a round costs, and faults that its tests must see."""

from dataclasses import replace

import pytest
import torch
from fakes import fixtures
from fakes.device import FakeMeshDevice
from fakes.eagle_pairs import HIDDEN, PROMPTS, SPEC, TARGET, often_right, on_torch, opening_targets, request, texts
from loguru import logger
from support.eagle import head_tensors
from tt.test_eagle import as_in_torch, decoded

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import Doubt, DraftRequest
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt.eagle_drafter import EagleDrafter
from models.tt_transformers.demo.speculative_decoding.tt.eagle_round import TappedRows
from models.tt_transformers.demo.speculative_decoding.tt.fused_round import Round
from models.tt_transformers.demo.speculative_decoding.tt.taps import Chunk

checkpoints, ttnn = fixtures.checkpoints, fixtures.ttnn


@pytest.fixture
def open_target(ttnn, tmp_path):
    with opening_targets(tmp_path) as open_target:
        yield open_target


def test_one_replay_two_writes_and_one_small_read_per_round(open_target, ttnn, monkeypatch):
    mesh, staged = FakeMeshDevice(), []
    target = open_target(mesh=mesh, enable_trace=True)
    copy = ttnn.copy_host_to_device_tensor
    monkeypatch.setattr(ttnn, "copy_host_to_device_tensor", lambda *both: (staged.append(both[0].shape), copy(*both)))
    generator = SpeculativeGenerator(target, EagleDrafter(target), num_draft_tokens=3)
    batch = generator.new_batch(PROMPTS[:1], max_new_tokens=30)
    generator.prefill_both_models(batch)
    mesh.bytes_to_host.clear(), staged.clear()
    programs, replays, tensors = mesh.num_program_cache_entries(), mesh.replays, len(mesh.tensors)
    for _ in range(5):
        generator.speculative_decode_step(batch)
    assert mesh.bytes_to_host == [4 * 7] * 5 and mesh.replays - replays == 5
    assert len(staged) == 10 and set(staged) == {(8, 32), (4, 32)}
    assert (mesh.num_program_cache_entries(), len(mesh.tensors), mesh.alive_at_replay) == (programs, tensors, 0)


def test_a_prefill_in_chunks_is_one(open_target, ttnn):
    """What upstream does with prompts too long for one: cache and waiting rows are the same."""
    target = open_target(warmup=False)
    follower, prompt, chunks = target.follower, PROMPTS[2], []
    with follower.reading(0, prompt):
        read = follower.taps._read
        follower.taps._read = lambda chunk: (chunks.append(chunk), read(chunk))
        target._prefill_user(0, prompt)
    (whole,), blocks = chunks, [1, 2]  # of the prompt's 45 tokens: a block of 32, and the rest
    held = [*follower._head.cache, *follower.taps.rows]
    wanted = [tensor.data.clone()[blocks] if tensor in held[:2] else tensor.data.clone() for tensor in held]
    for tensor in held:
        tensor.data.fill_(9.0)
    with follower.reading(0, prompt):
        for start in range(0, 128, 32):
            rows = [ttnn.slice(tap, [0, 0, start, 0], [1, 1, start + 32, HIDDEN]) for tap in whole.taps]
            table = ttnn.slice(whole.page_table, [0, start // 32], [1, start // 32 + 1])
            follower.taps._read(Chunk(rows, start, table, 0))
    for tensor, before in zip(held, wanted, strict=True):
        now = tensor.data[blocks] if tensor in held[:2] else tensor.data
        live = (now[:, :, :1], before[:, :, :1]) if tensor not in held[:2] else (now[0], before[0])
        torch.testing.assert_close(*live)


def test_what_the_target_lends(open_target):
    """A head without an embedding and an output layer of its own drafts with the target's."""
    tensors = {name: tensor for name, tensor in often_right().items() if name not in ("embed_tokens", "lm_head")}
    target = open_target(head=request(tensors))
    _, drafter = on_torch(1)
    drafter = type(drafter)(type(drafter._head)(SPEC, tensors, TARGET), name="tiny-eagle3")
    runner = on_torch(1)[0]
    assert decoded(target, EagleDrafter(target), PROMPTS[:1], 3)[:2] == decoded(runner, drafter, PROMPTS[:1], 3)[:2]


def test_the_layers_are_as_before_once_it_is_closed(open_target):
    target = open_target()
    layers = target.model.transformer.layers
    assert sum("forward" in vars(layer) for layer in layers) == len(set(SPEC.layers))
    target.close(), target.close()
    assert not any("forward" in vars(layer) for layer in layers)


def test_what_is_refused(open_target):
    target = open_target()
    with pytest.raises(BadInput, match=r"taps at layers \[2, 3, 3\], not \[1, 2, 3\]"):
        target.prefill(PROMPTS[:1], features=(1, 2, 3))
    sampled = EagleDrafter(target)
    with pytest.raises(BadInput, match="tiny-eagle3 gives ids alone on this device: decode greedily"):
        sampled.propose(DraftRequest(contexts=[[1, 2]], counts=[2], sampling=SamplingParams(temperature=1.0)))
    with pytest.raises(ValueError, match="a context of 9 tokens does not continue"):
        TappedRows(3, 0, [5]).pairs(range(9))


@pytest.mark.parametrize("tensors, said", [(None, 0), ("random", 1)])
def test_a_head_at_chance_is_said_once(open_target, monkeypatch, tensors, said):
    monkeypatch.setattr(Doubt, "TRIED", 20)
    given = {name.removesuffix(".weight"): tensor for name, tensor in head_tensors(1, draft_vocab=4).items()}
    sizes = {"spec": replace(SPEC, draft_vocab_size=4)} if tensors else {}
    target, lines = open_target(enable_trace=False, head=request(given if tensors else None, **sizes)), []
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    drafter = EagleDrafter(target)
    for prompt in PROMPTS[1:]:
        SpeculativeGenerator(target, drafter, num_draft_tokens=3).generate([prompt], max_new_tokens=30)
    logger.remove(sink)
    assert len([line for line in lines if "drafts at chance: the target took" in line]) == said, lines


def test_without_a_head_there_is_no_drafter(open_target, tmp_path):
    target = open_target()
    target.close()
    with pytest.raises(BadInput, match="was opened without an EAGLE-3 head"):
        EagleDrafter(target)


def stale(name):
    """What is to be staged there stays on the host from the second round on."""

    def fault(monkeypatch, target):
        stage, held = Round._stage, set()

        def forgetful(self, rows, on_device, dtype):
            if dtype != name or id(on_device) not in held:
                stage(self, rows, on_device, dtype)
            held.add(id(on_device))

        monkeypatch.setattr(Round, "_stage", forgetful)

    return pytest.param(fault, id="stale-" + name)


def zeroed(row):
    """The rows' numbers that are staged there are 0: the first one's."""

    def fault(monkeypatch, target):
        stage = Round._stage

        def first_row(self, rows, on_device, dtype):
            rows = list(rows)
            rows[row] = torch.zeros_like(rows[row]) if dtype == "uint32" else rows[row]
            stage(self, rows, on_device, dtype)

        monkeypatch.setattr(Round, "_stage", first_row)

    return fault


def wrong_position(monkeypatch, target):
    run = Round._run
    monkeypatch.setattr(
        Round, "_run", lambda self, rows, second, *rest: run(self, rows, [at + 1 for at in second], *rest)
    )


@pytest.mark.parametrize(
    "fault",
    [
        stale("uint32"),
        stale("int32"),
        pytest.param(zeroed(-1), id="accepted-row"),
        pytest.param(zeroed(-2), id="tapped-rows"),
        wrong_position,
    ],
)
def test_control(open_target, monkeypatch, fault):
    """Wrong drafts cost time and not text, so what the rounds drafted is what must differ."""
    target = open_target(enable_trace=True)
    wanted = as_in_torch(target, PROMPTS[1:2], 3)[:2]
    fault(monkeypatch, target)
    try:
        assert decoded(target, EagleDrafter(target), PROMPTS[1:2], 3)[:2] != wanted
    except (IndexError, RuntimeError):
        pass  # what a device would take for a position or an id was none


def test_control_taps_of_other_layers(open_target):
    target = open_target(head=request(spec=replace(SPEC, layers=(1, 3, 3))))
    written, rounds, _ = decoded(target, EagleDrafter(target), PROMPTS[1:2], 3)
    runner, drafter = on_torch(1)
    assert written == texts()[1:2] and rounds != decoded(runner, drafter, PROMPTS[1:2], 3)[1]


def test_control_the_stock_write(open_target, monkeypatch):
    """Of the head's own rows: some are not in its cache, then, and the text is the target's all the same."""
    target = open_target(enable_trace=False)
    keys, values = (cache.data for cache in target.follower._head.cache)
    wanted, right = as_in_torch(target, PROMPTS[1:2], 3)[0], keys.clone()
    assert decoded(target, EagleDrafter(target), PROMPTS[1:2], 3)[0] == wanted and torch.equal(keys[1], right[1])
    for program in (*target.follower.rounds.values(), *target.follower.drafts.values()):
        monkeypatch.setattr(program._decodes[0].write_positions, "_masks", [])
    keys.zero_(), values.zero_()  # else what was right before stays there
    assert decoded(target, EagleDrafter(target), PROMPTS[1:2], 3)[0] == wanted and not torch.equal(keys[1], right[1])

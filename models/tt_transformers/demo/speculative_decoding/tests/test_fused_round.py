# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A greedy round as one program sequence, on a real or simulated Wormhole: the ids of the separate steps, round by
round, and the text of plain decoding."""

import pytest
import torch
from transformers import LlamaForCausalLM

from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tests.test_verify_on_device import OTHER, PROMPT, opened
from models.tt_transformers.demo.speculative_decoding.tt import round_program
from models.tt_transformers.demo.speculative_decoding.tt.fused_drafter import FusedDrafter
from models.tt_transformers.demo.speculative_decoding.tt.pair import pair_requests

LIMIT = 10


@pytest.fixture(scope="session")
def relative(checkpoint, tmp_path_factory):
    """The checkpoint with noise on its weights: a draft that is right now and then."""
    model = LlamaForCausalLM.from_pretrained(checkpoint)
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.006 * torch.randn(parameter.shape, generator=noise))
    folder = tmp_path_factory.mktemp("relative-llama")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((type(folder)(checkpoint) / name).read_bytes())
    model.bfloat16().save_pretrained(folder)
    return str(folder)


def decoded(target, drafter, prompts, k):
    """Texts, and per user what each round drafted and accepted; and which rounds were fused."""
    generator = SpeculativeGenerator(target, drafter, num_draft_tokens=k if drafter else 0)
    results = generator.generate(prompts, max_new_tokens=LIMIT, stop_token_ids=[])
    rounds = [[(r.drafted, r.accepted) for r in result.rounds] for result in results]
    return [result.tokens for result in results], rounds, {r.fused for result in results for r in result.rounds}


@pytest.mark.parametrize("of", ["itself", "relative"])
@pytest.mark.parametrize("users, k", [(1, 3), (2, 2)], ids=["1user-K3", "2users-K2"])
def test_is_the_separate_steps(mesh_device, checkpoint, relative, how, of, users, k):
    requests = pair_requests(checkpoint, checkpoint if of == "itself" else relative, num_draft_tokens=[0, k])
    prompts = [PROMPT, OTHER][:users]
    with opened(mesh_device, how, requests, users) as (target, draft):
        texts, rounds, fused = decoded(target, FusedDrafter(draft), prompts, k)
        assert fused >= {True} and draft.rounds[k].captured == how["enable_trace"]
        assert (texts, rounds) == decoded(target, ModelDrafter(draft), prompts, k)[:2]
        assert texts == decoded(target, None, prompts, k)[0]
    accepted = {stood for user in rounds for drafted, stood in user if drafted == k}
    assert accepted == {k} if of == "itself" else len(accepted) > 1, rounds


@pytest.mark.parametrize("enable_trace", [True], indirect=True, ids=["traced"])
@pytest.mark.parametrize("optimizations", ["accuracy"], indirect=True)
def test_a_traced_round_allocates_nothing(mesh_device, checkpoint, how):
    """Not even for a moment: ttnn's own record of what happens on the device shows no allocation; and one if there is
    one."""
    with opened(mesh_device, how, pair_requests(checkpoint, checkpoint, num_draft_tokens=[3])) as (_, draft):
        fused, ttnn = draft.rounds[3], draft.model.upstream.ttnn

        def allocations(work):
            ttnn.graph.begin_graph_capture(ttnn.graph.RunMode.NORMAL)
            work()
            return [node["node_type"] for node in ttnn.graph.end_graph_capture()].count("buffer_allocate")

        blank = torch.zeros(32, dtype=torch.int32)
        assert allocations(lambda: fused.run([[*PROMPT, 7]], [3])) == 0
        assert allocations(lambda: ttnn.from_torch(blank, dtype=ttnn.int32, device=mesh_device)) == 1


def stale(name):
    """What is to be staged there stays on the host."""

    def fault(fused, monkeypatch):
        ttnn, held = fused._ttnn, getattr(fused, name)
        copy = ttnn.copy_host_to_device_tensor
        forgetful = lambda host, on_device: None if on_device is held else copy(host, on_device)  # noqa: E731
        monkeypatch.setattr(ttnn, "copy_host_to_device_tensor", forgetful)

    return pytest.param(fault, id="stale" + name)


def drafts_from_the_verify(fused, monkeypatch):
    padded, ttnn = round_program._padded, fused._ttnn

    def of_the_output(ids):
        return padded(ttnn.slice(fused._output, [0, 0, 0, 3], [1, 1, 1, 4]) if ids.shape[-1] == 1 else ids)

    monkeypatch.setattr(round_program, "_padded", of_the_output)


def stock_write(fused, monkeypatch):
    for decode in fused._decodes:
        monkeypatch.setattr(decode.write_positions, "split", lambda current_pos: [current_pos])


@pytest.mark.parametrize("optimizations", ["accuracy"], indirect=True)
@pytest.mark.parametrize("fault", [stale("_ids"), stale("_positions"), drafts_from_the_verify, stock_write])
def test_control(mesh_device, checkpoint, how, enable_trace, fault, monkeypatch):
    """Staging that is forgotten, a draft that reads what the target chose, the stock write: another round each time."""
    if enable_trace and fault in (drafts_from_the_verify, stock_write):
        pytest.skip("a captured trace keeps what it was captured with")
    with opened(mesh_device, how, pair_requests(checkpoint, checkpoint, num_draft_tokens=[3])) as (target, draft):
        fused, here, elsewhere = draft.rounds[3], [*PROMPT, 7], [*PROMPT[:4], 8]

        def after_another_round():
            target.prefill([PROMPT]), draft.prefill([PROMPT])
            first = fused.run([here], [3])
            assert fused.run([here], [3]) == first  # what it wrote too much is overwritten
            if fault_is_due:
                fault(fused, monkeypatch)
            return fused.run([elsewhere], [3])

        fault_is_due = False
        right = after_another_round()
        fault_is_due = True
        assert after_another_round() != right

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A greedy round as one program sequence, on the fake device: round by round it is what the separate steps do."""

import pytest
import torch
from fakes import fixtures
from fakes.device import FakeMeshDevice
from fakes.pairs import EIGHT_HEADS, LIMIT, MAX_SEQ_LEN, PROMPTS, greedy_texts
from support.tiny import greedy_by_recomputation

from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead
from models.tt_transformers.demo.speculative_decoding.processors import Penalties
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt import fused_round, round_program, row_decode
from models.tt_transformers.demo.speculative_decoding.tt.fused_drafter import FusedDrafter
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import WritePositions

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair
FOUR = [*PROMPTS, [20, 21, 22]]


def decoded(pair, drafter, prompts, k, **options):
    """Texts, and per user what each round drafted and accepted."""
    options = options if "stops" in options else {"max_new_tokens": LIMIT, **options}
    made = {"num_draft_tokens": k} if isinstance(k, int) else {"lookahead": k}
    results = SpeculativeGenerator(pair[0], drafter, **made).generate(prompts, **options)
    rounds = [[(r.drafted, r.accepted, r.emitted) for r in result.rounds] for result in results]
    return [result.tokens for result in results], rounds, {r.fused for result in results for r in result.rounds}


def both_ways(pair, prompts, k, **options):
    """Fused, checked to be what the separate steps of the same pair do."""
    texts, rounds, fused = decoded(pair, FusedDrafter(pair[1]), prompts, k, **options)
    assert (texts, rounds, {False}) == decoded(pair, ModelDrafter(pair[1]), prompts, k, **options)
    return texts, rounds, fused


@pytest.mark.parametrize("users, k", [(users, k) for users in range(1, 5) for k in range(1, 8)])
def test_is_the_separate_steps(open_pair, users, k):
    """Every K and every number of users meet every draft, and are seen traced and eager."""
    draft, traced = ("always-right", "often-right", "always-wrong")[(users + k) % 3], (users // 3 + k) % 2 == 0
    pair = open_pair(draft, users=users, num_draft_tokens=k, enable_trace=traced)
    assert [fused.captured for fused in pair[1].rounds.values()] == [traced]
    texts, rounds, fused = both_ways(pair, FOUR[:users], k, max_new_tokens=16)
    assert texts[:3] == [text[:16] for text in greedy_texts()[:users]] and True in fused
    accepted = {accepted for user in rounds for drafted, accepted, _ in user if drafted == k}
    assert {"always-right": max(accepted) == k, "always-wrong": min(accepted) == 0}.get(draft, len(accepted) > 1)


def test_users_end_one_by_one(open_pair):
    """Idle users, limits inside a round, and a last round that may draft less."""
    pair = open_pair(users=3, num_draft_tokens=4)
    limits = (3, 17, 30)
    stops = [StopConditions(max_new_tokens=limit, max_seq_len=MAX_SEQ_LEN) for limit in limits]
    texts, _, fused = both_ways(pair, PROMPTS, 4, stops=stops)
    assert texts == [text[:limit] for text, limit in zip(greedy_texts(), limits, strict=True)] and True in fused


def test_the_end_of_the_context(open_pair):
    pair = open_pair("always-right", users=2, num_draft_tokens=4)
    prompts = [PROMPTS[0], [7] * (MAX_SEQ_LEN - 9)]
    _, rounds, _ = both_ways(pair, prompts, 4, max_new_tokens=100)
    assert sum(emitted for _, _, emitted in rounds[1]) <= 9


def test_k_of_a_fixed_set(open_pair):
    """A trace for each; any other K takes the separate steps where those are traced, and the next wider round where
    they are not."""
    pair = open_pair(num_draft_tokens=(2, 4), enable_trace=True)
    for k in (2, 3, 4):
        (result,) = SpeculativeGenerator(pair[0], FusedDrafter(pair[1]), num_draft_tokens=k).generate(
            PROMPTS[:1], max_new_tokens=LIMIT
        )
        assert result.tokens == greedy_texts()[0]
        assert all(r.fused == (r.drafted in (2, 4)) for r in result.rounds)
    pair = open_pair(num_draft_tokens=(2, 4), enable_trace=False)
    for k in (1, 3):
        (result,) = SpeculativeGenerator(pair[0], FusedDrafter(pair[1]), num_draft_tokens=k).generate(
            PROMPTS[:1], max_new_tokens=LIMIT
        )
        assert result.tokens == greedy_texts()[0] and all(r.fused == (r.drafted > 0) for r in result.rounds)


def test_catches_up_in_wide_steps(open_pair):
    """Rounds that copy from the text pass without the draft; what it missed is fed before the next fused round."""
    pair = open_pair("always-right", num_draft_tokens=3, catch_up=16)
    generator = SpeculativeGenerator(
        pair[0], HybridDrafter(PromptLookupDrafter(min_ngram=2), FusedDrafter(pair[1])), num_draft_tokens=3
    )
    (result,) = generator.generate(PROMPTS[1:2], max_new_tokens=LIMIT)
    assert result.tokens == greedy_texts()[1]
    assert {r.fused for r in result.rounds} == {True, False} and max(r.catch_up for r in result.rounds if r.fused) > 0


@pytest.mark.parametrize("asked", [{"sampling": True}, {"confidence_stop": True}, {"draft_head_token_ids": [1, 2, 3]}])
def test_is_not_offered_where_more_than_ids_passes(open_pair, asked):
    assert open_pair(num_draft_tokens=3, **asked)[1].rounds == {}


def test_a_request_that_wants_more_takes_the_separate_steps(open_pair):
    pair = open_pair(num_draft_tokens=3, confidence_stop=True)
    unsure = AdaptiveLookahead(start_draft_tokens=3, max_draft_tokens=3, min_probability=0.5)
    assert decoded(pair, FusedDrafter(pair[1]), PROMPTS[:1], unsure)[2] == {False}


def test_a_trace_that_does_not_fit_is_done_without(open_pair):
    roomy = FakeMeshDevice(trace_region_size=10**9)
    open_pair(mesh=roomy, num_draft_tokens=3, fuse=False)
    taken = roomy.trace_bytes()
    mesh = FakeMeshDevice(trace_region_size=taken + 10)
    pair = open_pair(mesh=mesh, num_draft_tokens=3)
    assert pair[1].rounds == {} and mesh.begun == set(mesh.traces)  # what did not fit was released
    assert decoded(pair, FusedDrafter(pair[1]), PROMPTS[:1], 3)[0] == greedy_texts()[:1]
    assert any(
        "its trace does not fit: Creating trace buffers" in why for why in reasons(pair, FusedDrafter(pair[1]), 3)
    )


def test_is_traced_on_a_mesh_where_separate_steps_are_not(open_pair):
    mesh = FakeMeshDevice(1, 2)
    pair = open_pair(mesh=mesh, num_draft_tokens=3)
    assert not pair[1].enable_trace and pair[1].rounds[3].captured
    assert both_ways(pair, PROMPTS[:1], 3)[0] == greedy_texts()[:1]
    assert set(mesh.traces) == {1}


def reasons(pair, drafter, k, **options):
    """Why rounds of the first prompt were not fused, without repetition; None: they were."""
    made = {"num_draft_tokens": k} if isinstance(k, int) else {"lookahead": k}
    (result,) = SpeculativeGenerator(pair[0], drafter, **made, **options).generate(PROMPTS[:1], max_new_tokens=LIMIT)
    return {None if r.fused else r.apart for r in result.rounds if r.drafted}


def test_eight_devices_replay_one_trace_in_all(open_pair):
    """Prefills, rounds and the end of the text, of one user and of two: no two traces alternate by default; they would
    if single forwards were traced (the control)."""
    wanted = [greedy_by_recomputation(EIGHT_HEADS, prompt, LIMIT)[0] for prompt in PROMPTS[:2]]
    for users, options, alternate in ((1, {}, False), (2, {}, False), (1, {"enable_trace": True, "fuse": False}, True)):
        mesh = FakeMeshDevice(1, 8)
        asked = {"target": "eight-heads", "mesh": mesh, "users": users, "num_draft_tokens": 3, **options}
        pair = open_pair("eight-heads", **asked)
        assert [fused.captured for fused in pair[1].rounds.values()] == ([] if alternate else [True])
        mesh.alternations = 0  # those of warm-up are one replay of each
        for _ in range(2):
            assert both_ways(pair, PROMPTS[:users], 3)[0] == wanted[:users]
        assert (mesh.alternations > 0) == alternate and mesh.replays > 0


def test_why_a_round_took_separate_steps_is_said(open_pair):
    """In its record, whatever the reason; and nothing of a round that did not."""
    pair = open_pair(num_draft_tokens=(2, 4), enable_trace=True, catch_up=16)
    drafter = FusedDrafter(pair[1])
    assert reasons(pair, drafter, 4) >= {None}
    assert "no round of 3 tokens is ready" in reasons(pair, drafter, 3)
    assert reasons(pair, drafter, 2, verify_width=5) == {"other rows are verified as well"}
    assert reasons(pair, ModelDrafter(pair[1]), 4) == {""}
    unsure = AdaptiveLookahead(start_draft_tokens=3, max_draft_tokens=3, min_probability=0.5)
    pair = open_pair(num_draft_tokens=3, confidence_stop=True)
    assert reasons(pair, FusedDrafter(pair[1]), unsure) == {
        "drafts are sampled or processed, or end where the draft is unsure"
    }
    pair = open_pair(num_draft_tokens=3, sampling=True)
    processed = reasons(pair, FusedDrafter(pair[1]), 3, processors=[Penalties(presence=0.5)])
    assert processed == {"drafts are sampled or processed, or end where the draft is unsure"}
    pair = open_pair(num_draft_tokens=3, draft_head_token_ids=[1, 2, 3])
    assert reasons(pair, FusedDrafter(pair[1]), 3) >= {"the draft's ids are not the target's"}


def test_several_k_are_not_traced_where_their_traces_would_alternate(open_pair):
    """One trace that talks between devices is safe to replay; two in turn are what may deadlock a mesh."""
    for mesh, asked, traced in ((FakeMeshDevice(1, 2), None, False), (FakeMeshDevice(1, 2), True, True)):
        pair = open_pair(mesh=mesh, num_draft_tokens=(0, 1, 3), enable_trace=asked)
        assert [fused.captured for fused in pair[1].rounds.values()] == [traced] * 2
        assert both_ways(pair, PROMPTS[:1], 3)[2] >= {True}


def test_nothing_is_made_anew_once_a_round_was_captured(open_pair):
    """Where single forwards are not traced, too: what is allocated after a capture is written over by its replay."""
    for runner in open_pair(mesh=FakeMeshDevice(1, 2), num_draft_tokens=3):
        with pytest.raises(BadInput, match="none for 1 tokens per user ending in logits"):
            runner.forward(torch.tensor([[1]]), [0])


def test_another_target_judges_for_itself(open_pair):
    """A round verifies with the target that it was made with, and only that one's generator may use it."""
    draft, other = open_pair("always-right", num_draft_tokens=1)[1], open_pair("always-wrong", num_draft_tokens=1)[1]
    wanted, _, _ = decoded([other], None, PROMPTS[:1], 0)
    assert decoded([other], FusedDrafter(draft), PROMPTS[:1], 1)[::2] == (wanted, {False})


def test_a_verify_that_is_to_be_wider_is_no_rounds(open_pair):
    pair = open_pair(num_draft_tokens=(2, 4))
    generator = SpeculativeGenerator(pair[0], FusedDrafter(pair[1]), num_draft_tokens=2, verify_width=5)
    (result,) = generator.generate(PROMPTS[:1], max_new_tokens=LIMIT)
    assert result.tokens == greedy_texts()[0] and not any(r.fused for r in result.rounds)


def test_nothing_wanted_is_no_round(open_pair):
    target, draft = open_pair(num_draft_tokens=2, enable_trace=False)
    drafter = FusedDrafter(draft)
    drafter.start(PROMPTS[:1])
    draft = drafter.propose(DraftRequest(contexts=[[*PROMPTS[0], 1]], counts=[0], judge=target))
    assert (draft.tokens, draft.choices) == ([[]], None)


@pytest.mark.parametrize("place, model", [(0, "often-right"), (3, "target")], ids=["draft", "choice"])
def test_what_is_no_id_is_a_failure_of_its_model(open_pair, ttnn, monkeypatch, place, model):
    fused, to_torch = open_pair(num_draft_tokens=3)[1].rounds[3], ttnn.to_torch

    def spoilt(tensor):
        ids = to_torch(tensor).long()
        ids[..., place] = 2**31
        return ids

    monkeypatch.setattr(ttnn, "to_torch", spoilt)
    with pytest.raises(ModelFailure, match=f"{model} returned ids .*2147483648"):
        fused.run([PROMPTS[0]], [3])


def test_one_replay_and_one_small_read_per_round(open_pair, ttnn, monkeypatch):
    mesh = FakeMeshDevice()
    pair = open_pair("always-right", mesh=mesh, num_draft_tokens=3)
    fused, staged = pair[1].rounds[3], []
    copy = ttnn.copy_host_to_device_tensor
    monkeypatch.setattr(ttnn, "copy_host_to_device_tensor", lambda *both: (staged.append(both[0].shape), copy(*both)))
    mesh.bytes_to_host.clear()
    programs, replays, tensors = mesh.num_program_cache_entries(), mesh.replays, len(mesh.tensors)
    for _ in range(5):
        fused.run([PROMPTS[0]], [3])
    assert mesh.bytes_to_host == [4 * 7] * 5 and mesh.replays - replays == 5
    assert len(staged) == 10 and set(staged) == {(6, 32), (4, 32)}
    assert (mesh.num_program_cache_entries(), len(mesh.tensors), mesh.alive_at_replay) == (programs, tensors, 0)


# Negative controls. Wrong drafts cost time and not text, so what the rounds drafted is compared as well.


def stale(name):
    def fault(monkeypatch, ttnn):
        copy = ttnn.copy_host_to_device_tensor
        seen = []

        def forgetful(host, on_device):
            mine = host.dtype is getattr(ttnn, name) and on_device.data.ndim == 2 and len(on_device.data) > 1
            seen.append(mine)
            if not mine or seen.count(True) < 2:
                copy(host, on_device)

        monkeypatch.setattr(ttnn, "copy_host_to_device_tensor", forgetful)

    return fault


def stock_write(monkeypatch, ttnn):
    class StockWrite(WritePositions):
        def split(self, current_pos):
            return [current_pos]

    monkeypatch.setattr(row_decode, "WritePositions", StockWrite)


def drafts_from_the_verify(monkeypatch, ttnn):
    padded, run = round_program._padded, round_program.run_round

    def with_the_output_at_hand(steps, staged, positions, output, **how):
        def of_the_output(ids):
            return padded(ttnn.slice(output, [0, 0, 0, 3], [1, 1, 1, 4]) if ids.shape[-1] == 1 else ids)

        monkeypatch.setattr(round_program, "_padded", of_the_output)
        run(steps, staged, positions, output, **how)

    monkeypatch.setattr(fused_round, "run_round", with_the_output_at_hand)


@pytest.mark.parametrize("fault", [stale("uint32"), stale("int32"), stock_write, drafts_from_the_verify])
def test_control(open_pair, ttnn, monkeypatch, fault):
    pair = open_pair("often-right", num_draft_tokens=3)
    right = decoded(pair, ModelDrafter(pair[1]), PROMPTS[:1], 3)[:2]
    assert decoded(pair, FusedDrafter(pair[1]), PROMPTS[:1], 3)[:2] == right
    fault(monkeypatch, ttnn)
    pair = open_pair("often-right", num_draft_tokens=3, enable_trace=True)
    try:
        assert decoded(pair, FusedDrafter(pair[1]), PROMPTS[:1], 3)[:2] != right
    except (IndexError, RuntimeError):
        pass  # what a device would take for a position or an id was none

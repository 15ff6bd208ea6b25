# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""An EAGLE-3 head on the fake device: its rounds are those of the same pair in torch, draft by draft."""

import pytest
import torch
from fakes import fixtures
from fakes.device import FakeMeshDevice
from fakes.eagle_pairs import HIDDEN, LIMIT, MAX_SEQ_LEN, PROMPTS, on_torch, opening_targets, texts

from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter
from models.tt_transformers.demo.speculative_decoding.lookahead import FixedLookahead
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt import eagle_weights, pair
from models.tt_transformers.demo.speculative_decoding.tt.eagle_drafter import EagleDrafter
from models.tt_transformers.demo.speculative_decoding.tt.taps import Taps


def lookup_first(second):
    """Drafts from the text wherever there are any, whatever they promise."""
    return HybridDrafter(PromptLookupDrafter(min_ngram=2), second)


checkpoints, ttnn = fixtures.checkpoints, fixtures.ttnn


@pytest.fixture
def open_target(ttnn, tmp_path):
    with opening_targets(tmp_path) as open_target:
        yield open_target


class Script(FixedLookahead):
    """Asks for so many drafts, round by round, then begins again."""

    def __init__(self, *ks):
        super().__init__(max(ks))
        self.ks, self.round = ks, 0

    def start(self, users):
        self.round = 0

    def next(self, rooms, kinds):
        self.round += 1
        return [min(self.ks[(self.round - 1) % len(self.ks)], room) for room in rooms]


def decoded(target, drafter, prompts, k, **options):
    """Texts; per user what each round drafted, accepted and emitted, and all drafts; which rounds were fused."""
    options = options if "stops" in options else {"max_new_tokens": LIMIT, **options}
    made = {"num_draft_tokens": k} if isinstance(k, int) else {"lookahead": k}
    drafts = []
    if drafter is not None:
        propose = drafter.propose
        drafter.propose = lambda request: (draft := propose(request), drafts.append(draft.tokens))[0]
    results = SpeculativeGenerator(target, drafter, **made).generate(prompts, **options)
    rounds = [[(r.drafted, r.accepted, r.emitted) for r in result.rounds] for result in results], drafts
    return [result.tokens for result in results], rounds, {r.fused for result in results for r in result.rounds}


def as_in_torch(target, prompts, k, *, around=lambda drafter: drafter, **options):
    """Checked against the same in torch."""
    texts, rounds, fused = decoded(target, around(EagleDrafter(target)), prompts, k, **options)
    runner, drafter = on_torch(len(prompts))
    assert (texts, rounds) == decoded(runner, around(drafter), prompts, k, **options)[:2]
    return texts, rounds, fused


@pytest.mark.parametrize("users", [1, 2])
@pytest.mark.parametrize("k", range(1, 8))
def test_is_torchs(open_target, users, k):
    """Traced and eager in turns."""
    target = open_target(users=users, ks=(0, k), enable_trace=(users + k) % 2 == 0)
    written, _, fused = as_in_torch(target, PROMPTS[:users], k)
    assert written == texts()[:users] and True in fused


def test_every_acceptance_is_met(open_target):
    """None, some and all of three drafts, on text that crosses a cache block, by two users in turn."""
    target = open_target(users=2, enable_trace=True)
    _, (rounds, _), _ = as_in_torch(target, PROMPTS[1:], 3)
    assert {accepted for user in rounds for drafted, accepted, _ in user if drafted == 3} == {0, 1, 2, 3}


@pytest.mark.parametrize("traced", [True, False])
def test_a_second_generation_starts_over(open_target, traced):
    target = open_target(enable_trace=traced)
    for prompt, wanted in zip([*PROMPTS, PROMPTS[0]], [*texts(), texts()[0]], strict=True):
        assert as_in_torch(target, [prompt], 3)[0] == [wanted]
        assert decoded(target, None, [prompt], 0)[0] == [wanted]  # without the head, between its generations


@pytest.mark.parametrize("traced", [True, False])
def test_plain_decoding_in_turns(open_target, traced):
    """Its steps in between, on the same cache, leave the head what it was to catch up on."""
    target = open_target(enable_trace=traced)
    _, (wanted, _), _ = as_in_torch(target, PROMPTS[1:2], 3)
    generator, found = SpeculativeGenerator(target, EagleDrafter(target), num_draft_tokens=3), []
    batch = generator.new_batch(PROMPTS[1:2], max_new_tokens=LIMIT)
    generator.prefill_both_models(batch)
    while not batch.sequences[0].finished:
        for at in range(3):
            target.forward(torch.tensor([[PROMPTS[1][at]]]), [at], argmax_only=True)
        generator.speculative_decode_step(batch)
        found += [(r.drafted, r.accepted, r.emitted) for r in batch.rounds[-1]]
    assert [found] == wanted and batch.sequences[0].emitted == texts()[1]


@pytest.mark.parametrize("traced", [True, False])
def test_users_end_one_by_one(open_target, traced):
    """Idle users, limits inside a round, and a last round that may draft less."""
    target, limits = open_target(users=3, ks=(0, 4), enable_trace=traced), (3, 17, 30)
    stops = [StopConditions(max_new_tokens=limit, max_seq_len=MAX_SEQ_LEN) for limit in limits]
    written, _, fused = as_in_torch(target, PROMPTS, 4, stops=stops)
    assert written == [text[:limit] for text, limit in zip(texts(), limits, strict=True)] and True in fused


def test_the_end_of_the_context(open_target):
    target = open_target(users=2, ks=(0, 4), enable_trace=True)
    prompts = [PROMPTS[0], [7] * (MAX_SEQ_LEN - 9)]
    _, (rounds, _), _ = as_in_torch(target, prompts, 4, max_new_tokens=100)
    assert sum(emitted for _, _, emitted in rounds[1]) <= 9


@pytest.mark.parametrize("script", [(0, 3), (3, 0, 0), (1, 7, 2, 0, 5), (7, 0, 1, 0)])
def test_rounds_of_every_width_in_turn(open_target, script):
    """Plain steps leave their taps in other rows than a verify of eight does; narrower drafts take a wider round."""
    target = open_target(users=2, ks=(0, 1, 7), enable_trace=True)
    assert as_in_torch(target, PROMPTS[:2], Script(*script))[0] == texts()[:2]


@pytest.mark.parametrize("users", [1, 2])
@pytest.mark.parametrize("traced", [True, False])
def test_after_prompt_lookup(open_target, users, traced):
    """What was verified without the head is in its cache all the same: it drafts what torch's drafts."""
    target = open_target(users=users, enable_trace=traced)
    _, (rounds, _), fused = as_in_torch(target, PROMPTS[:users], 3, around=lookup_first)
    assert fused == {True, False} and len({drafted for user in rounds for drafted, _, _ in user}) > 1


def test_on_several_devices(open_target, monkeypatch):
    """Rounds are one trace; what is not a round is not replayed there by default. (Fake devices hold the whole of
    every tensor; the shares of real ones are in tests/mock_wormhole.)"""
    monkeypatch.setattr(eagle_weights, "_by_device", lambda weight, taps, devices: weight)
    monkeypatch.setattr(pair, "Taps", lambda *where, width, **how: Taps(*where, width=HIDDEN))
    mesh = FakeMeshDevice(1, 2)
    target = open_target(mesh=mesh, users=2)
    assert [fused.captured for fused in target.follower.rounds.values()] == [True] and not target.enable_trace
    mesh.alternations = 0
    assert as_in_torch(target, PROMPTS[:2], 3)[0] == texts()[:2]
    assert mesh.alternations == 0


def test_a_trace_that_does_not_fit_is_done_without(open_target):
    roomy = FakeMeshDevice(trace_region_size=10**9)
    open_target(mesh=roomy, fuse=False)
    mesh = FakeMeshDevice(trace_region_size=roomy.trace_bytes() + 10)
    target = open_target(mesh=mesh)
    assert target.follower.rounds == {} and mesh.begun == set(mesh.traces)  # what did not fit was released
    written, _, fused = as_in_torch(target, PROMPTS[:1], 3)
    assert (written, fused) == (texts()[:1], {False})

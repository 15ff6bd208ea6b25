# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Both arms in turns: they write what each writes alone, over the same positions; where they part, plain goes on."""

import pytest
import torch
from support.checks import OTHER, PROMPT, Letters, model, runner, text
from support.doubles import knowing
from support.eagle import as_head, head_model
from support.tiny import greedy_by_recomputation

from models.tt_transformers.demo.speculative_decoding import acceptance
from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.harness.ping_pong import SEGMENT, play
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter, suffix_first
from models.tt_transformers.demo.speculative_decoding.plain_decoding import PlainDecoder
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.sequences import GenerationRequest
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

LIMIT = 48


def game(drafter, prompts=(PROMPT,), *, target=None, shared=False, k=4, sampling=SamplingParams(), **limits):
    users = len(prompts)
    target = target or runner(TorchModelRunner, users=users)
    generator = SpeculativeGenerator(target, drafter, num_draft_tokens=k, sampling=sampling, tokenizer=Letters())
    plainly = target if shared else runner(TorchModelRunner, users=users)
    request = GenerationRequest(prompts=prompts, **({"max_new_tokens": LIMIT} | limits))
    return play(generator, request, plainly=plainly, number=7)


def often_right():
    return knowing(PROMPT + text(), wrong_at=lambda index: index % 3 == 0, vocab=32)


def feature_drafter():
    return FeatureDrafter(as_head(head_model(model(), torch.arange(32)), model()))


@pytest.mark.parametrize("shared", [False, True], ids=["own-cache", "shared-cache"])
@pytest.mark.parametrize("make", [often_right, lambda: ModelDrafter(runner(TorchModelRunner, seed=1))])
def test_both_write_what_the_model_writes(make, shared):
    played = game(make(), shared=shared)
    assert played.speculative[0].tokens == played.plain[0].tokens == text() and not played.parted
    assert {segment.prompt for segment in played.segments} == {7}


def test_both_run_the_same_positions_in_segments():
    played = game(often_right())
    lengths = [segment.tokens[0] for segment in played.segments]
    assert sum(lengths) == LIMIT - 1 and all(SEGMENT <= length < SEGMENT + 5 for length in lengths[:-1])
    for segment in played.segments:
        assert len(segment.steps) == segment.tokens[0] > len(segment.rounds) > 0
        assert all(timed.ns > 0 for timed in (*segment.steps, *segment.rounds))
    assert len(played.plain[0].step_ns) == LIMIT - 1


def test_orders_alternate(monkeypatch):
    log = []
    step, run = SpeculativeGenerator.speculative_decode_step, PlainDecoder.run
    monkeypatch.setattr(
        SpeculativeGenerator, "speculative_decode_step", lambda self, batch: log.append("s") or step(self, batch)
    )
    monkeypatch.setattr(PlainDecoder, "run", lambda self, *a, **o: log.append("p") or run(self, *a, **o))
    game(often_right(), max_new_tokens=70)
    turns = "".join(one for i, one in enumerate(log) if i == 0 or log[i - 1] != one)
    assert turns == "spspspsp"  # s p | p s p | s p | p s p: plain runs twice where it is first, the rest afterwards
    assert log[:1] == ["s"] and "pp" in "".join(log)


def test_several_users_who_end_at_different_times():
    stop = greedy_by_recomputation(model(), OTHER, LIMIT)[0][11]
    prompts = [PROMPT, OTHER]
    played = game(ModelDrafter(runner(TorchModelRunner, seed=1, users=2)), prompts, stop_token_ids=[stop])
    for user, prompt in enumerate(prompts):
        wanted = greedy_by_recomputation(model(), prompt, LIMIT, [stop])[0]
        assert played.speculative[user].tokens == played.plain[user].tokens == wanted
    assert sum(len(s.steps) for s in played.segments) == max(len(r.tokens) for r in played.plain) - 1
    alone = [timed for s in played.segments for timed in s.steps if len(timed.users) == 1]
    assert alone and {timed.kind[1] for timed in alone} == {1}


class NearTies(TorchModelRunner):
    """Wide forwards choose another token than narrow ones at some positions, as low precision does at near ties."""

    at = (9, 23, 24, 40)

    def forward(self, tokens, positions, **options):
        rows = super().forward(tokens, positions, **options)
        if options.get("argmax_only") and tokens.shape[1] > 1:
            for user, start in enumerate(positions):
                for position in self.at:
                    if start <= position < start + tokens.shape[1]:
                        rows.values[user, position - start] = (rows.values[user, position - start] + 1) % 32
        return rows


@pytest.mark.parametrize(
    "make",
    [
        lambda: ModelDrafter(runner(TorchModelRunner, seed=0)),
        feature_drafter,
        lambda: suffix_first(feature_drafter()),
        often_right,
    ],
    ids=["model", "eagle3", "hybrid", "scripted"],
)
@pytest.mark.parametrize("shared", [False, True], ids=["own-cache", "shared-cache"])
def test_at_a_near_tie_plain_decodings_token_goes_on(make, shared):
    played = game(make(), target=runner(NearTies), shared=shared)
    assert played.speculative[0].tokens == played.plain[0].tokens == text()
    assert played.parted and {index + len(PROMPT) - 1 for _, index in played.parted} <= set(NearTies.at)
    emitted = sum(segment.tokens[0] for segment in played.segments)
    assert emitted > LIMIT - 1  # what was cut was timed in both arms
    assert emitted == sum(len(segment.steps) for segment in played.segments)


def test_control_a_wrong_acceptance_is_seen(monkeypatch):
    monkeypatch.setattr(acceptance, "_accept_greedy", lambda drafted, choices: (len(drafted), choices[len(drafted)]))
    played = game(often_right())
    assert played.parted and played.speculative[0].tokens == text()  # plain decoding's text goes on


def test_samples_are_decoded_again():
    played = game(ModelDrafter(runner(TorchModelRunner, seed=1)), sampling=SamplingParams(temperature=1.0, seed=3))
    alone = SpeculativeGenerator(
        runner(TorchModelRunner),
        ModelDrafter(runner(TorchModelRunner, seed=1)),
        num_draft_tokens=4,
        sampling=SamplingParams(temperature=1.0, seed=3),
    ).generate([PROMPT], max_new_tokens=LIMIT)
    assert played.speculative[0].tokens == alone[0].tokens == played.plain[0].tokens != text()
    assert sum(len(s.steps) for s in played.segments) == LIMIT - 1 and not played.parted


def test_tokens_are_shown_as_they_come_and_outside_the_clocks():
    seen = []
    generator = SpeculativeGenerator(runner(TorchModelRunner), often_right(), tokenizer=Letters())
    request = GenerationRequest(prompts=[PROMPT], max_new_tokens=20)
    played = play(generator, request, on_token=lambda event: seen.append(event.token))
    assert seen == played.speculative[0].tokens == text()[:20]
    assert played.plain == [] and all(segment.steps == () for segment in played.segments)


def test_a_loop_that_drafts_nothing():
    played = game(None, k=0)
    assert {timed.kind[0] for segment in played.segments for timed in segment.rounds} == {1}
    assert [len(segment.steps) for segment in played.segments] == [len(s.rounds) for s in played.segments]


def test_rounds_are_known_by_all_that_their_time_depends_on():
    lookup = PromptLookupDrafter(min_ngram=2)
    played = game(HybridDrafter(lookup, ModelDrafter(runner(TorchModelRunner, seed=0))), [PROMPT * 3], k=3)
    kinds = {timed.kind for segment in played.segments for timed in segment.rounds}
    drafters = {source for kind in kinds for source in kind[1]}
    assert len(drafters) == 2 and all(kind[0] <= 4 and kind[5] == 1 for kind in kinds)
    assert torch.is_inference_mode_enabled() is False

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A conversation: each turn goes on from what both caches hold of the turns before, and from nothing else."""

from __future__ import annotations

import pytest
import torch
from support.eagle import as_head, head_model
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid import suffix_first
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.suffix import SuffixDrafter

TARGET, NEW = tiny_llama(1, layers=4), 9
SAID = [[5, 6, 7], [9, 9, 2], [3], [5, 6, 7, 8]]  # what the user says, turn by turn


def runner(seed: int = 1, users: int = 1) -> TorchModelRunner:
    model = TARGET if seed == 1 else tiny_llama(seed)
    return TorchModelRunner(model, max_seq_len=128, max_users=users, eos_token_ids=[])


def by_model(users: int = 1):
    return ModelDrafter(runner(2, users))


def by_head(users: int = 1):
    return FeatureDrafter(as_head(head_model(TARGET, torch.arange(32), layers=(1, 2, 3), seed=2), TARGET))


DRAFTERS = {
    "none": lambda users=1: None,
    "model": by_model,
    "head": by_head,
    "lookup": lambda users=1: PromptLookupDrafter(),
    "suffix": lambda users=1: SuffixDrafter(),
    "hybrid-model": lambda users=1: suffix_first(by_model(users)),
    "hybrid-head": lambda users=1: suffix_first(by_head(users)),
}


def poisoned(generator: SpeculativeGenerator, past: int = 0) -> None:
    """From now on, whenever a turn begins, NaN stands wherever a cache holds nothing that is to be kept (`past`: and in
    so many positions more)."""

    def poison_cache(its: TorchModelRunner) -> None:
        prefill = its.prefill

        @torch.inference_mode()
        def after_poison(prompts, *, kept=(), **options):
            for cached in (*its.cache.keys.values(), *its.cache.values.values()):
                for user, start in enumerate(kept or [0] * len(cached)):
                    cached[user, :, max(0, start - past) :] = float("nan")
            return prefill(prompts, kept=kept, **options)

        its.prefill = after_poison

    drafters = [generator.drafter, *(generator.drafter.parts if generator.drafter else ())]
    for its in [generator.target, *(drafter.runner for drafter in drafters if isinstance(drafter, ModelDrafter))]:
        poison_cache(its)
    for drafter in (drafter for drafter in drafters if isinstance(drafter, FeatureDrafter)):
        start = drafter.start

        @torch.inference_mode()
        def after_poison(prompts, features, kept=(), drafter=drafter, start=start):
            for user, count in zip(drafter._users, kept, strict=False):
                user.keys_and_values[..., min(user.cached, count) :, :] = float("nan")
            start(prompts, features, kept)

        drafter.start = after_poison


def conversation(generator: SpeculativeGenerator, *, reuse: bool = True) -> tuple[list[list[int]], list[int], list]:
    """The answers to SAID, how many tokens of each prompt were kept, and the last result."""
    history: list[int] = []
    answers, kept = [], []
    for said in SAID:
        batch = generator.new_batch([history + said], max_new_tokens=NEW, reuse=reuse)
        for _ in generator.events(batch):
            pass
        (result,) = generator.results(batch)
        history += said + result.tokens
        answers.append(result.tokens)
        kept += batch.kept
    return answers, kept, result


def expected() -> list[list[int]]:
    history: list[int] = []
    answers = []
    for said in SAID:
        answers.append(greedy_by_recomputation(TARGET, history + said, NEW)[0])
        history += said + answers[-1]
    return answers


@pytest.mark.parametrize("name", DRAFTERS)
def test_every_turn_is_what_a_whole_prefill_would_give(name):
    generator = SpeculativeGenerator(runner(), DRAFTERS[name](), num_draft_tokens=3)
    poisoned(generator)
    answers, kept, last = conversation(generator)
    assert answers == expected()
    ends = [sum(map(len, SAID[:turn])) + turn * NEW for turn in range(1, len(SAID))]
    back = 2 if "head" in name else 1  # the last token of an answer is pending; a head goes one state further back
    assert kept == [0, *(end - back for end in ends)]


@pytest.mark.parametrize("name", ["model", "head", "lookup", "hybrid-model"])
def test_it_drafts_as_if_it_had_read_everything_anew(name):
    ours, afresh = (
        conversation(SpeculativeGenerator(runner(), DRAFTERS[name](), num_draft_tokens=3), reuse=reuse)
        for reuse in (True, False)
    )
    assert [(r.drafted, r.accepted) for r in ours[2].rounds] == [(r.drafted, r.accepted) for r in afresh[2].rounds]
    assert any(ours[1]) and not any(afresh[1]) and ours[2].drafted > 0


@pytest.mark.parametrize("name", ["none", "model", "head"])
def test_poison_in_what_is_kept_shows(name):
    generator = SpeculativeGenerator(runner(), DRAFTERS[name](), num_draft_tokens=3)
    poisoned(generator, past=1)
    with pytest.raises(ModelFailure, match="NaN"):
        conversation(generator)


def test_a_history_that_was_changed_is_kept_as_far_as_it_is_the_same():
    generator = SpeculativeGenerator(runner(), by_model(), num_draft_tokens=3)
    poisoned(generator)
    first, other = [5, 6, 7, 8, 9, 2], [5, 6, 7, 1, 1]
    generator.generate([first], max_new_tokens=NEW)
    for prompt, kept in ((other, 3), ([5, 6], 1), ([4], 0), ([4], 0)):
        batch = generator.new_batch([prompt], max_new_tokens=NEW, reuse=True)
        for _ in generator.events(batch):
            pass
        assert batch.kept == [kept]
        assert generator.results(batch)[0].tokens == greedy_by_recomputation(TARGET, prompt, NEW)[0]


@pytest.mark.parametrize("name", ["model", "head", "hybrid-head"])
def test_several_users_keep_what_is_their_own(name):
    """One ends long before the other."""
    generator = SpeculativeGenerator(runner(users=2), DRAFTERS[name](2), num_draft_tokens=3)
    poisoned(generator)
    texts = [[5, 6, 7], [9, 8, 7, 6]]
    stops = [generator.stop_conditions(max_new_tokens=count) for count in (2, 12)]
    for result, text in zip(generator.generate(texts, stops=stops), texts):
        text += result.tokens
    again = [text + [3, 4] for text in texts]
    batch = generator.new_batch(again, max_new_tokens=NEW, reuse=True)
    for _ in generator.events(batch):
        pass
    assert min(batch.kept) >= 3
    for prompt, result in zip(again, generator.results(batch)):
        assert result.tokens == greedy_by_recomputation(TARGET, prompt, NEW)[0]


def test_what_another_generation_has_overwritten_is_not_kept():
    target = runner()
    generator = SpeculativeGenerator(target, by_model(), num_draft_tokens=3)
    (result,) = generator.generate([[5, 6, 7]], max_new_tokens=NEW)
    decode_plainly(target, [[1, 2, 3, 4]], stop=generator.stop_conditions(max_new_tokens=NEW))
    batch = generator.new_batch([[5, 6, 7, *result.tokens, 3]], max_new_tokens=NEW, reuse=True)
    for _ in generator.events(batch):
        pass
    assert batch.kept == [0]
    assert generator.results(batch)[0].tokens == greedy_by_recomputation(TARGET, batch.sequences[0].prompt, NEW)[0]


def test_an_answer_that_was_left_can_be_gone_on_from():
    generator = SpeculativeGenerator(runner(), by_head(), num_draft_tokens=3)
    poisoned(generator)
    stream = generator.stream([[5, 6, 7]], max_new_tokens=60)
    heard = [next(stream).token for _ in range(12)]
    stream.close()
    batch = generator.new_batch([[5, 6, 7, *heard, 3]], max_new_tokens=NEW, reuse=True)
    for _ in generator.events(batch):
        pass
    assert batch.kept[0] > 10
    assert generator.results(batch)[0].tokens == greedy_by_recomputation(TARGET, batch.sequences[0].prompt, NEW)[0]


def test_reuse_is_yes_or_no():
    with pytest.raises(BadInput, match="reuse is 'yes'; give True or False"):
        SpeculativeGenerator(runner()).generate([[1]], reuse="yes")

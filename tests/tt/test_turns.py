# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A conversation on the fake device: each turn goes on from what both caches hold, in wide decodes, where that takes
less time than a prefill."""

from __future__ import annotations

import functools

import pytest
from fakes import fixtures
from fakes.device import FakeMeshDevice
from fakes.pairs import MAX_SEQ_LEN, TARGET, TIE
from support.tiny import greedy_by_recomputation

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import ModelFailure
from models.tt_transformers.demo.speculative_decoding.hybrid import suffix_first
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt import pair as tt_pair
from models.tt_transformers.demo.speculative_decoding.tt.fused_drafter import FusedDrafter
from models.tt_transformers.demo.speculative_decoding.tt.memory import BLOCK_SIZE

checkpoints, ttnn = fixtures.checkpoints, fixtures.ttnn
NEW = 7
SAID = [[[5, 6, 7], [3, 14, 15, 9, 26]], [[9], [35, 8, 9] * 4], [[5, 6, 7, 8] * 3, [2]]]  # turn by turn, of two users
DRAFTERS = {
    "none": lambda draft: None,
    "fused": FusedDrafter,
    "separate": ModelDrafter,
    "hybrid": lambda draft: suffix_first(FusedDrafter(draft)),
}


@pytest.fixture
def open_talking(ttnn, checkpoints):
    """Opens a pair whose caches prompts go on from; all are closed in the end."""
    opened = []

    def open_talking(users: int, **options):
        names = (str(checkpoints / name) for name in ("target", "often-right"))
        asked = {name: options.pop(name) for name in ("sampling",) if name in options}
        requests = tt_pair.pair_requests(*names, num_draft_tokens=(0, 3), turn=32 // users, **asked)
        pair = tt_pair.open_models(
            options.pop("mesh", FakeMeshDevice()), requests, users=users, max_seq_len=MAX_SEQ_LEN, **options
        )
        opened.extend(pair)
        return pair

    yield open_talking
    for runner in opened:
        runner.close()


def poison(runner, *, past: int = 0) -> list[int]:
    """From now on, whenever a turn begins, NaN stands wherever the runner's cache holds nothing that is to be kept
    (`past`: and in so many positions more). Returns the lengths of the prompts that it prefills whole from now on."""
    prefill, prefill_user, whole = runner.prefill, runner._prefill_user, []

    def after_poison(prompts, *, kept=(), **options):
        layout = runner.model.cache
        for cache in (cache.data for layer in runner.model.kv_cache for cache in layer):
            for user, start in enumerate(kept or [0] * layout.users):
                for position in range(max(0, start - past), layout.max_seq_len):
                    block = layout.table_row(user)[position // BLOCK_SIZE]
                    cache[block, :, position % BLOCK_SIZE] = float("nan")
        return prefill(prompts, kept=kept, **options)

    def noted(user, prompt, *follower):
        whole.append(len(prompt))
        return prefill_user(user, prompt, *follower)

    runner.prefill, runner._prefill_user = after_poison, noted
    return whole


def conversation(generator: SpeculativeGenerator, users: int, *, reuse: bool = True):
    """The answers of every turn, and how many tokens of each prompt were said to be kept."""
    histories: list[list[int]] = [[] for _ in range(users)]
    answers, kept = [], []
    for said in SAID:
        prompts = [history + words for history, words in zip(histories, said)]
        batch = generator.new_batch(prompts, max_new_tokens=NEW, stop_token_ids=[], reuse=reuse)
        for _ in generator.events(batch):
            pass
        texts = [result.tokens for result in generator.results(batch)]
        histories = [prompt + text for prompt, text in zip(prompts, texts)]
        answers.append(texts)
        kept.append(batch.kept)
    return answers, kept


@functools.cache
def expected(users: int) -> list[list[list[int]]]:
    histories: list[list[int]] = [[] for _ in range(users)]
    answers = []
    for said in SAID:
        prompts = [history + words for history, words in zip(histories, said)]
        texts = [greedy_by_recomputation(TARGET, prompt, NEW) for prompt in prompts]
        assert min(gap for _, gap in texts) > TIE
        answers.append([text for text, _ in texts])
        histories = [prompt + text for prompt, text in zip(prompts, answers[-1])]
    return answers


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "untraced"])
@pytest.mark.parametrize("users", [1, 2], ids="{}users".format)
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_every_turn_is_what_a_whole_prefill_would_give(open_talking, drafter, users, traced):
    target, draft = open_talking(users, enable_trace=traced)
    whole = [poison(runner) for runner in (target, draft)]
    generator = SpeculativeGenerator(target, DRAFTERS[drafter](draft), num_draft_tokens=3 if drafter != "none" else 0)
    answers, kept = conversation(generator, users)
    assert answers == expected(users)
    assert kept[0] == [0] * users
    assert all(
        count == len(history) - 1
        for count, history in zip(kept[1], (said + text for said, text in zip(SAID[0], answers[0])))
    )
    assert whole[0] == [len(prompt) for prompt in SAID[0][:users]]  # the first turn's, and no more
    assert whole[1] == ([] if drafter == "none" else whole[0])


def test_it_replays_and_compiles_nothing_new(open_talking):
    mesh = FakeMeshDevice()
    target, draft = open_talking(1, mesh=mesh, enable_trace=True)
    programs, replays = mesh.num_program_cache_entries(), [mesh.replays]
    for reuse in (False, True):
        conversation(SpeculativeGenerator(target, FusedDrafter(draft), num_draft_tokens=3), 1, reuse=reuse)
        replays.append(mesh.replays)
    assert mesh.num_program_cache_entries() == programs
    afresh, reused = replays[1] - replays[0], replays[2] - replays[1]
    assert reused == afresh + 2 * (len(SAID) - 1)  # of each model one wide decode a turn


@pytest.mark.parametrize("at_fault", [0, 1], ids=["target", "draft"])
def test_poison_in_what_is_kept_shows(open_talking, at_fault):
    pair = open_talking(1)
    poison(pair[at_fault], past=1)
    with pytest.raises(ModelFailure, match="NaN"):
        conversation(SpeculativeGenerator(pair[0], FusedDrafter(pair[1]), num_draft_tokens=3), 1)


def test_sampled_turns_draw_what_they_would_after_a_prefill(open_talking):
    sampling = SamplingParams(temperature=0.8, seed=5)

    def talk(reuse):
        target, draft = open_talking(2, sampling=True)
        generator = SpeculativeGenerator(target, ModelDrafter(draft), num_draft_tokens=3, sampling=sampling)
        return conversation(generator, 2, reuse=reuse)

    (ours, kept), (afresh, not_kept) = talk(True), talk(False)
    assert ours == afresh and any(map(any, kept)) and not any(map(any, not_kept))


@pytest.mark.parametrize("more, prefilled", [(64, False), (65, True)])
def test_what_is_much_to_read_is_prefilled(open_talking, more, prefilled):
    """65 tokens are three decodes of 32, which take longer than a prefill of 128."""
    target, _ = open_talking(1)
    generator = SpeculativeGenerator(target, num_draft_tokens=0)
    generator.generate([[1, 2, 3]], max_new_tokens=1, stop_token_ids=[])
    whole, prompt = poison(target), [1, 2, 3] + [4] * more
    (result,) = generator.generate([prompt], max_new_tokens=2, stop_token_ids=[], reuse=True)
    text, gap = greedy_by_recomputation(TARGET, prompt, 2)
    assert gap > TIE and result.tokens == text and whole == [len(prompt)] * prefilled


def test_without_wide_decodes_every_prompt_is_prefilled(ttnn, checkpoints):
    requests = tt_pair.pair_requests(str(checkpoints / "target"), None, num_draft_tokens=(0,))
    (target,) = tt_pair.open_models(FakeMeshDevice(), requests, max_seq_len=MAX_SEQ_LEN)
    whole = poison(target)
    answers, kept = conversation(SpeculativeGenerator(target, num_draft_tokens=0), 1)
    assert answers == expected(1) and not any(map(any, kept)) and len(whole) == len(SAID)
    target.close()

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The promises of the package as functions that raise AssertionError, so that defects can be shown to break them.

Every check builds what it needs out of Parts, where a defect may have put something else.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass, replace

import torch
from fakes.pairs import PROMPTS, greedy_texts, speculate
from support.doubles import ScriptedDrafter, knowing
from support.law import SamplingDrafter, TableRunner, assert_follows, law_of, random_table
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, to_probabilities
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

V = 8
PROMPT, OTHER = [5, 3, 8, 1], [9, 2, 9, 2, 7]
TABLES = random_table(1, V), random_table(2, V, spread=1.0)


@dataclass
class Parts:
    """What checks are made of; open_pair opens a pair on the fake Tenstorrent device."""

    open_pair: object
    target: type = TorchModelRunner
    draft: type = TorchModelRunner
    drafter: type = ModelDrafter
    generator: type = SpeculativeGenerator
    sampling_drafter: type = SamplingDrafter


@functools.cache
def model(seed: int = 0):
    return tiny_llama(seed)


@functools.cache
def text(prompt: tuple[int, ...] = tuple(PROMPT)) -> list[int]:
    tokens, gap = greedy_by_recomputation(model(), list(prompt), 48)
    assert gap > 1e-3
    return tokens


def runner(cls, seed: int = 0, users: int = 1):
    return cls(model(seed), max_seq_len=96, max_users=users)


def generate(
    parts: Parts, drafter, prompts=(PROMPT,), *, k: int = 4, limit: int = 40, sampling=SamplingParams(), **options
):
    target = runner(parts.target, users=len(prompts))
    generator = parts.generator(target, drafter, num_draft_tokens=k, sampling=sampling, tokenizer=Letters())
    return generator.generate(prompts, max_new_tokens=limit, **options)


class Letters:
    """Token i is a letter."""

    def decode(self, ids) -> str:
        return "".join(chr(ord("A") + i) for i in ids)


def often_right(period: int = 3):
    return knowing(PROMPT + text(), wrong_at=lambda index: index % period == 0, vocab=32)


def always_right():
    return knowing(PROMPT + text(), wrong_at=lambda index: False, vocab=32)


def equals_plain_decoding(parts: Parts) -> None:
    """Whatever drafts, one user or two."""
    models = [parts.drafter(runner(parts.draft, seed)) for seed in (0, 1)]
    for drafter in (often_right(), always_right(), ScriptedDrafter(lambda _, count: [0] * count), *models):
        assert generate(parts, drafter)[0].tokens == text()[:40]
    both = generate(parts, PromptLookupDrafter(), [PROMPT, OTHER])
    assert [result.tokens for result in both] == [text()[:40], text(tuple(OTHER))[:40]]


def ragged_batch_equals_single_runs(parts: Parts) -> None:
    """Users with different fates in one batch, one of whom is always wrong."""
    texts = {len(PROMPT): PROMPT + text(), len(OTHER): OTHER + text(tuple(OTHER))}

    def script(context, count):
        whole = next(t for t in texts.values() if t[:4] == context[:4])
        right = whole[len(context) : len(context) + count]
        return right if whole[:4] == PROMPT else [0] * count

    results = generate(parts, ScriptedDrafter(script), [PROMPT, OTHER], limit=24)
    assert [result.tokens for result in results] == [text()[:24], text(tuple(OTHER))[:24]]


def a_self_draft_is_all_accepted(parts: Parts) -> None:
    """In as many rounds as there must be."""
    result = generate(parts, parts.drafter(runner(parts.draft)), k=3, limit=41)[0]
    assert result.accepted == result.drafted and len(result.rounds) == math.ceil(40 / 4)


def counts_are_of_what_was_committed(parts: Parts) -> None:
    for stop in ((), (text()[9],)):
        result = generate(parts, often_right(), stop_token_ids=stop)[0]
        assert len(result.tokens) == 1 + sum(r.emitted for r in result.rounds)
        assert result.accepted == result.origins.count("accepted")
        assert all(r.accepted <= r.drafted for r in result.rounds)


def eos_ends_inside_a_block(parts: Parts) -> None:
    for at in range(1, 10):
        eos = text()[at]
        result = generate(parts, always_right(), stop_token_ids=(eos,))[0]
        assert result.tokens == text()[: text().index(eos) + 1] and result.finish_reason == "eos"


def the_limit_is_kept(parts: Parts) -> None:
    for limit in range(1, 11):
        assert len(generate(parts, always_right(), limit=limit)[0].tokens) == limit


def a_stop_string_ends_across_rounds(parts: Parts) -> None:
    spelled = Letters().decode(text())
    for start in range(1, 8):
        stop = spelled[start : start + 4]
        result = generate(parts, always_right(), k=2, stop_strings=(stop,))[0]
        assert result.text == spelled[: spelled.index(stop) + 4]


def a_second_generation_is_like_the_first(parts: Parts) -> None:
    target = runner(parts.target, users=2)
    generator = parts.generator(target, parts.drafter(runner(parts.draft, 1, users=2)), num_draft_tokens=4)
    for prompts in ([PROMPT, OTHER], [OTHER], [PROMPT], [OTHER, PROMPT]):
        results = generator.generate(prompts, max_new_tokens=30)
        assert [result.tokens for result in results] == [text(tuple(prompt))[:30] for prompt in prompts]


def the_law_is_the_targets(
    parts: Parts, *, users: int = 2500, sampling=SamplingParams(temperature=0.6, seed=7)
) -> None:
    """The joint law of tokens 1 and 2 through whole generations: drafts sampled from q, one-hot, and by a model."""
    target, draft = TABLES

    def law(prompt):
        firsts = law_of(to_probabilities(target(tuple(prompt)), sampling))
        joint = {}
        for first, p in firsts.items():
            seconds = law_of(to_probabilities(target((prompt[-1], first)), sampling))
            joint.update({(first, second): p * p2 for second, p2 in seconds.items()})
        return joint

    always = ScriptedDrafter(lambda context, count: [3] * count)
    by_model = parts.drafter(TableRunner(draft, vocab=V, users=users))
    for drafter in (parts.sampling_drafter(draft), always, by_model):
        generator = parts.generator(
            TableRunner(target, vocab=V, users=users), drafter, num_draft_tokens=1, sampling=sampling
        )
        results = generator.generate([[3, 5]] * users, max_new_tokens=3)
        assert_follows(Counter(tuple(result.tokens[:2]) for result in results), law([3, 5]))


def a_sampled_self_draft_is_all_accepted(parts: Parts) -> None:
    """p and q are one and the same, bit for bit."""
    users = 300
    generator = parts.generator(
        TableRunner(TABLES[0], vocab=V, users=users),
        parts.sampling_drafter(TABLES[0]),
        sampling=SamplingParams(temperature=0.7, seed=1),
    )
    results = generator.generate([[3, 5]] * users, max_new_tokens=20)
    assert sum(r.accepted for r in results) == sum(r.drafted for r in results)


def seeds_belong_to_users(parts: Parts) -> None:
    sampling = SamplingParams(temperature=1.0)
    together = generate(parts, PromptLookupDrafter(), [PROMPT, OTHER], sampling=sampling, seeds=[3, 4])
    for prompt, seed, result in zip((PROMPT, OTHER), (3, 4), together, strict=True):
        assert (
            generate(parts, PromptLookupDrafter(), [prompt], sampling=sampling, seeds=[seed])[0].tokens == result.tokens
        )


def the_global_generator_is_untouched(parts: Parts) -> None:
    before = torch.get_rng_state()
    generate(parts, PromptLookupDrafter(), sampling=SamplingParams(temperature=1.0))
    assert torch.equal(before, torch.get_rng_state())


def equals_plain_decoding_on_tenstorrent(parts: Parts) -> None:
    """Two users on the fake device, traced; errors of the fake's own checks count as caught."""
    try:
        assert speculate(parts.open_pair(users=2, num_draft_tokens=3), PROMPTS[:2], 3) == greedy_texts()[:2]
    except (IndexError, RuntimeError) as error:
        raise AssertionError(str(error)) from error


def a_mask_is_kept(parts: Parts) -> None:
    sampling = SamplingParams(temperature=1.0, top_k=2, seed=2)
    generator = parts.generator(
        TableRunner(TABLES[0], vocab=V, users=100),
        parts.drafter(TableRunner(TABLES[1], vocab=V, users=100)),
        sampling=replace(sampling),
    )
    for result in generator.generate([[3, 5]] * 100, max_new_tokens=12):
        whole = [3, 5, *result.tokens]
        for i in range(2, len(whole)):
            assert whole[i] in TABLES[0]((whole[i - 2], whole[i - 1])).topk(2).indices.tolist()

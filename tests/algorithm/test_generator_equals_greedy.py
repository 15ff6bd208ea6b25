# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""fp32: the text of speculative decoding is the text of plain greedy decoding, whatever drafts."""

import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.doubles import ScriptedDrafter
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

VOCAB = 32
TIE = 1e-4  # two fp32 kernels of different width may disagree below this; texts with a closer call prove nothing
MODELS = [tiny_llama(seed, vocab=VOCAB) for seed in range(3)]
DRAFTERS = ["prompt-lookup", "self", "random-model", "random-tokens", "always-wrong"]


def make_drafter(kind: str, target_index: int, users: int):
    def model(index: int) -> ModelDrafter:
        return ModelDrafter(TorchModelRunner(MODELS[index % len(MODELS)], max_seq_len=256, max_users=users))

    rng = random.Random(7)
    return {
        "prompt-lookup": PromptLookupDrafter,
        "self": lambda: model(target_index),
        "random-model": lambda: model(target_index + 1),
        "random-tokens": lambda: ScriptedDrafter(lambda _, count: [rng.randrange(VOCAB) for _ in range(count)]),
        "always-wrong": lambda: ScriptedDrafter(lambda _, count: [0] * count),
    }[kind]()


def generate(target_index, kind, prompts, num_draft_tokens, limit, stop_ids):
    runner = TorchModelRunner(MODELS[target_index], max_seq_len=256, max_users=len(prompts))
    drafter = make_drafter(kind, target_index, len(prompts))
    generator = SpeculativeGenerator(runner, drafter, num_draft_tokens=num_draft_tokens)
    return generator.generate(prompts, max_new_tokens=limit, stop_token_ids=stop_ids)


@pytest.mark.parametrize("kind", DRAFTERS)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    target_index=st.integers(0, len(MODELS) - 1),
    prompts=st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=20), min_size=1, max_size=4),
    num_draft_tokens=st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 31]),
    limit=st.integers(1, 40),
    stop_ids=st.sets(st.integers(0, VOCAB - 1), max_size=3),
)
def test_tokens_equal_greedy(kind, target_index, prompts, num_draft_tokens, limit, stop_ids):
    expected = [greedy_by_recomputation(MODELS[target_index], prompt, limit, stop_ids) for prompt in prompts]
    if any(gap < TIE for _, gap in expected):
        return
    results = generate(target_index, kind, prompts, num_draft_tokens, limit, stop_ids)
    for result, (tokens, _) in zip(results, expected, strict=True):
        assert result.tokens == tokens
        assert result.finish_reason == ("eos" if tokens[-1] in stop_ids else "length")


@pytest.mark.parametrize("limit", [1, 2, 17])
def test_plain_decoding_equals_greedy(limit):
    for seed, model in enumerate(MODELS):
        prompt = [seed + 1, 2, 3]
        tokens, gap = greedy_by_recomputation(model, prompt, limit)
        runner = TorchModelRunner(model, max_seq_len=64)
        result = decode_plainly(runner, [prompt], stop=StopConditions(max_new_tokens=limit, max_seq_len=64))[0]
        assert gap > TIE and result.tokens == tokens


@pytest.mark.parametrize("num_draft_tokens", [1, 3, 8])
def test_tokens_equal_transformers_generate(num_draft_tokens):
    prompt = [3, 1, 4, 1, 5, 9, 2, 6]
    for index, model in enumerate(MODELS):
        theirs = model.generate(torch.tensor([prompt]), max_new_tokens=30, do_sample=False, pad_token_id=0)
        result = generate(index, "random-model", [prompt], num_draft_tokens, 30, ())[0]
        assert result.tokens == theirs[0, len(prompt) :].tolist()


def test_a_wrong_acceptance_rule_is_noticed(monkeypatch):
    """Negative control: were every draft accepted, the comparison above would fail."""
    from models.tt_transformers.demo.speculative_decoding import acceptance

    monkeypatch.setattr(acceptance, "_accept_greedy", lambda drafted, choices: (len(drafted), choices[len(drafted)]))
    tokens, _ = greedy_by_recomputation(MODELS[0], [1, 2, 3], 20)
    assert generate(0, "random-tokens", [[1, 2, 3]], 4, 20, ())[0].tokens != tokens

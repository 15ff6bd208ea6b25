# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The real embedded model: speculative text is transformers' own greedy text, for every K and drafter."""

import random

import pytest
import torch
from support.doubles import ScriptedDrafter, knowing

from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.harness.prompts import SAMPLE_PROMPTS, encode, load_prompts
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import EMBEDDED, embedded_model_folder
from models.tt_transformers.demo.speculative_decoding.hf.loading import load_model
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
NEW_TOKENS = 24
KS = [1, 2, 3, 4, 5, 6, 7, 8, 31]


@pytest.fixture(scope="module")
def smollm2():
    try:
        embedded_model_folder()
    except ModelUnavailable as reason:
        pytest.skip(str(reason))
    return load_model(EMBEDDED, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def texts(smollm2):
    """Three prompts with what transformers' generate makes of them."""
    model, tokenizer = smollm2
    chosen = [prompt for prompt in load_prompts(SAMPLE_PROMPTS) if prompt.category in ("code", "editing", "reasoning")]
    pairs = []
    for prompt in chosen:
        ids = encode(prompt, tokenizer)
        output = model.generate(torch.tensor([ids]), max_new_tokens=NEW_TOKENS, do_sample=False)
        pairs.append((ids, output[0, len(ids) :].tolist()))
    return pairs


@pytest.fixture(scope="module")
def runners(smollm2):
    return TorchModelRunner(smollm2[0], max_seq_len=512), TorchModelRunner(smollm2[0], max_seq_len=512)


def drafter_for(kind, runners, prompt, expected, vocab):
    rng = random.Random(1)
    return {
        "prompt-lookup": PromptLookupDrafter,
        "self": lambda: ModelDrafter(runners[1]),
        "random": lambda: ScriptedDrafter(lambda _, count: [rng.randrange(vocab) for _ in range(count)]),
        "always-wrong": lambda: knowing(prompt + expected, wrong_at=lambda index: True, vocab=vocab),
    }[kind]()


@pytest.mark.parametrize("num_draft_tokens", KS)
def test_prompt_lookup_equals_generate(num_draft_tokens, runners, texts):
    """Each K on one of the prompts in turn, four on all."""
    generator = SpeculativeGenerator(runners[0], PromptLookupDrafter(), num_draft_tokens=num_draft_tokens)
    turn = num_draft_tokens % len(texts)
    for prompt, expected in texts if num_draft_tokens == 4 else texts[turn : turn + 1]:
        assert generator.generate([prompt], max_new_tokens=NEW_TOKENS)[0].tokens == expected


@pytest.mark.parametrize(
    "kind, num_draft_tokens",
    [("self", 4), ("self", 31), ("random", 1), ("random", 31), ("always-wrong", 1), ("always-wrong", 4)],
)
def test_other_drafts_equal_generate(kind, num_draft_tokens, runners, texts):
    prompt, expected = texts[0]
    drafter = drafter_for(kind, runners, prompt, expected, runners[0].vocab_size)
    generator = SpeculativeGenerator(runners[0], drafter, num_draft_tokens=num_draft_tokens)
    result = generator.generate([prompt], max_new_tokens=NEW_TOKENS)[0]
    assert result.tokens == expected
    if kind == "self":
        assert result.accepted == result.drafted > 0
    if kind == "always-wrong":
        assert result.accepted == 0


def test_three_users_together_equal_generate(smollm2, texts):
    runner = TorchModelRunner(smollm2[0], max_seq_len=512, max_users=3)
    generator = SpeculativeGenerator(runner, PromptLookupDrafter(), num_draft_tokens=4)
    results = generator.generate([prompt for prompt, _ in texts], max_new_tokens=NEW_TOKENS)
    assert [result.tokens for result in results] == [expected for _, expected in texts]

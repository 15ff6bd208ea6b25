# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Logits processors under speculation: the oracle is transformers' own generate with the same settings."""

import copy
import random

import pytest
import torch
from support.doubles import ScriptedDrafter
from support.tiny import tiny_llama
from transformers import GenerationConfig

from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import FeatureHead
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter, lookup_first
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from training.model import FeatureDraftModel, spec_for_target

VOCAB, EOS, LIMIT = 40, [7, 11], 16
PROMPTS = [[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 3, 5, 3], [9]]
# Every setting of a generation_config that makes a processor in greedy decoding, so that each of them bites.
SETTINGS = {
    "repetition": {"repetition_penalty": 1.7},
    "rewarded": {"repetition_penalty": 0.7},
    "encoder": {"encoder_repetition_penalty": 1.6},
    "ngram": {"no_repeat_ngram_size": 2},
    "encoder-ngram": {"encoder_no_repeat_ngram_size": 1},
    "bias": {"sequence_bias": [[[4], 3.0], [[6], -4.0], [[1, 5], 9.0], [[4, 4, 2], 30.0]]},
    "bad-words": {"bad_words_ids": [[4], [1, 5], [30, 2, 2], [36]]},
    "suppressed": {"suppress_tokens": [1, 2, 3, 4]},
    "suppressed-first": {"begin_suppress_tokens": list(range(20))},
    "min-new": {"min_new_tokens": 9},
    "min-length": {"min_length": 12},
    "forced-end": {"forced_eos_token_id": 7},
    "decay": {"exponential_decay_length_penalty": (2, 1.4)},
    "watermark": {"watermarking_config": {"greenlist_ratio": 0.3, "bias": 4.0, "context_width": 1}},
    "selfhash": {
        "watermarking_config": {"greenlist_ratio": 0.3, "bias": 4.0, "seeding_scheme": "selfhash", "context_width": 1}
    },
    "normalized": {"renormalize_logits": True, "remove_invalid_values": True, "repetition_penalty": 1.4},
    "many": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3, "min_new_tokens": 6, "suppress_tokens": [0, 9]},
}
DRAFTERS = ["lookup", "model", "self", "feature", "hybrid", "random"]


def model_with(name):
    """The first of MODELS with those settings; where they hold the end back, one that would come early."""
    model, ends = copy.copy(MODELS[0]), [36, 8] if name.startswith("min") else EOS
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=0, **copy.deepcopy(SETTINGS[name]))
    return model


MODELS = [tiny_llama(seed, vocab=VOCAB) for seed in range(2)]


def drafter_of(kind, model, users):
    rng = random.Random(5)

    def by_model(of):
        return ModelDrafter(TorchModelRunner(of, max_seq_len=64, max_users=users, prove=False))

    def by_feature():
        ids = torch.arange(0, VOCAB, 2)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            spec = spec_for_target(model, ids, layers=(1, 2), name="tiny")
            head = FeatureDraftModel(spec, ids, model.model.rotary_emb.inv_freq)
        return FeatureDrafter(FeatureHead(head.as_draft(), model))

    return {
        "lookup": PromptLookupDrafter,
        "model": lambda: by_model(MODELS[1]),
        "self": lambda: by_model(MODELS[0]),
        "feature": by_feature,
        "hybrid": lambda: lookup_first(by_model(MODELS[0])),
        "random": lambda: ScriptedDrafter(lambda _, count: [rng.randrange(VOCAB) for _ in range(count)]),
    }[kind]()


def texts_of_generate(model, prompts=PROMPTS, limit=LIMIT, **options):
    options = {"do_sample": False, "max_new_tokens": limit, **options}
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        found.append(model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, len(prompt) :].tolist())
    return found


def texts(model, kind, k, prompts=PROMPTS, **options):
    runner = TorchModelRunner(model, max_seq_len=64, max_users=len(prompts), prove=False)
    drafter = None if kind is None else drafter_of(kind, model, len(prompts))
    generator = SpeculativeGenerator(runner, drafter, num_draft_tokens=k, **options)
    return generator.generate(prompts, max_new_tokens=LIMIT)


@pytest.mark.parametrize("number, name", list(enumerate(SETTINGS)))
def test_tokens_are_those_of_generate(number, name):
    """All drafters, several users, K from 1 to 7; and plain decoding, by rounds of K = 0 and by the baseline."""
    model = model_with(name)
    expected = texts_of_generate(model)
    plain = copy.copy(model)
    plain.generation_config = GenerationConfig(eos_token_id=model.generation_config.eos_token_id, pad_token_id=0)
    assert expected != texts_of_generate(plain), "the setting does nothing here"
    assert [r.tokens for r in texts(model, None, 0)] == expected
    for index, kind in enumerate(DRAFTERS):
        k = 1 + (index + number) % 7
        assert [r.tokens for r in texts(model, kind, k)] == expected, (kind, k)
    runner = TorchModelRunner(model, max_seq_len=64, max_users=len(PROMPTS), prove=False)
    stop = StopConditions(max_new_tokens=LIMIT, max_seq_len=64, stop_token_ids=runner.eos_token_ids)
    assert [r.tokens for r in decode_plainly(runner, PROMPTS, stop=stop)] == expected


@pytest.mark.parametrize("k", range(1, 8))
def test_every_k(k):
    model = model_with("many")
    assert [r.tokens for r in texts(model, "self", k)] == texts_of_generate(model)


def test_a_self_draft_is_always_right():
    """q is processed as p is: the draft sees the same history."""
    results = texts(model_with("many"), "self", 4)
    assert sum(r.accepted for r in results) == sum(r.drafted for r in results) > 20

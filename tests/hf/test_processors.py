# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Logits processors under speculation: the oracle is transformers' own generate with the same settings."""

import copy
import random

import pytest
import torch
import transformers.generation.logits_process as theirs
from support.doubles import ScriptedDrafter
from support.eagle import as_head, head_model
from support.tiny import tiny_llama
from transformers import GenerationConfig, LogitsProcessorList

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from models.tt_transformers.demo.speculative_decoding.hf.generation_settings import GenerationSettings
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid import suffix_first
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.processors import PURE, OfTransformers, chooser_of
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState, StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

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
        return FeatureDrafter(as_head(head_model(model, torch.arange(0, VOCAB, 2)), model))

    return {
        "lookup": PromptLookupDrafter,
        "model": lambda: by_model(MODELS[1]),
        "self": lambda: by_model(MODELS[0]),
        "feature": by_feature,
        "hybrid": lambda: suffix_first(by_model(MODELS[0])),
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


def named(name, *arguments, **options):
    found = next(one for one in (name, f"{name}LogitsProcessor", f"{name}LogitsWarper") if hasattr(theirs, one))
    return getattr(theirs, found)(*arguments, **options)


def nine_after(_, ids):
    return [(3 * int(ids[-1]) + i) % VOCAB for i in range(9)]


def by_sevens(input_ids, scores):
    return scores - 3.0 * (torch.arange(VOCAB) % 7 == input_ids[:, -1:] % 7)


GIVEN = {
    "list": lambda: LogitsProcessorList([named("RepetitionPenalty", 1.5), named("SuppressTokens", [1, 9])]),
    "prompt-ignored": lambda: [named("RepetitionPenalty", 1.8, prompt_ignore_length=3)],
    "constrained": lambda: [named("PrefixConstrained", nine_after, 1)],
    "greedy-warpers": lambda: [named("MinP", 0.2), named("Typical", 0.4), named("TopH", 0.3)],
    "takes-precedence": lambda: [named("NoRepeatNGram", 1), named("RepetitionPenalty", 3.0)],
    "function": lambda: [by_sevens],
}


@pytest.mark.parametrize("name", GIVEN)
def test_objects_of_transformers_are_taken_as_they_are(name):
    """Beside the generation_config's own, whose place they take where they are of its kinds."""
    model = model_with("repetition")
    expected = texts_of_generate(model, logits_processor=LogitsProcessorList(GIVEN[name]()))
    assert expected != texts_of_generate(model)
    for kind, k in (("self", 3), ("lookup", 2), ("hybrid", 5)):
        assert [r.tokens for r in texts(model, kind, k, processors=GIVEN[name]())] == expected


def test_the_requests_own_ends_are_held_back():
    """min_new_tokens is of what ends this request, as generate's is of its eos_token_id."""
    model = model_with("min-new")
    expected = texts_of_generate(model, eos_token_id=[31, 28])
    runner = TorchModelRunner(model, max_seq_len=64, max_users=3, prove=False)
    results = SpeculativeGenerator(runner, drafter_of("self", model, 3), num_draft_tokens=4).generate(
        PROMPTS, max_new_tokens=LIMIT, stop_token_ids=[31, 28]
    )
    assert [r.tokens for r in results] == expected and all(len(r.tokens) >= 9 for r in results)


@pytest.mark.parametrize("history", [[3, 1, 4], [3, 1, 4, 1, 5], [3]], ids=str)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_result_follows_from_the_history(name, history):
    """Every kind of PURE, shown other histories in between, says the same of one history again."""
    sequence = SequenceState(prompt=[3], stop=StopConditions(max_new_tokens=8, max_seq_len=64, stop_token_ids=EOS))
    settings = GenerationSettings.of(SETTINGS[name], MODELS[0].config, **WARPERS)
    for sampling in (SamplingParams(), SamplingParams(temperature=1.0)):
        chooser = chooser_of(sequence, sampling, [settings])
        row = torch.linspace(-2, 2, VOCAB)[torch.randperm(VOCAB, generator=torch.Generator().manual_seed(0))]
        first = chooser.row(row.clone(), history)
        for other in ([3, 9, 9], [3, 1, 4, 1, 5, 9, 2], [3, 3], history[:1]):
            chooser.row(row.clone(), other)
        assert torch.equal(first, chooser.row(row.clone(), history))


WARPERS = {"min_p": 0.05, "typical_p": 0.9, "epsilon_cutoff": 3e-3, "eta_cutoff": 2e-3}


@pytest.mark.parametrize("bare", [{"top_h": 0.4}, {"min_p": 0.3}, {"typical_p": 0.5}, WARPERS], ids=str)
@pytest.mark.parametrize("mask", [{}, {"top_k": 9, "top_p": 0.8}], ids=str)
def test_warpers_come_where_generate_has_them(bare, mask):
    """p is the softmax of what generate draws from: processors, then temperature, top-k, top-p, then these."""
    model = copy.copy(MODELS[0])
    model.generation_config = GenerationConfig(pad_token_id=0, repetition_penalty=1.3, **bare)
    options = {"do_sample": True, "temperature": 0.7, "top_k": 0, **mask, "max_new_tokens": 6}
    ids = torch.tensor([PROMPTS[0]])
    made = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = model.generate(ids, attention_mask=torch.ones_like(ids), **options, **made)
    sequence = SequenceState(prompt=PROMPTS[0], stop=StopConditions(max_new_tokens=6, max_seq_len=64))
    runner = TorchModelRunner(model, max_seq_len=64, prove=False)
    sampling = SamplingParams(temperature=0.7, **mask)
    if "top_h" in bare and mask:
        with pytest.raises(BadInput, match="top_h before top-k and top-p"):
            chooser_of(sequence, sampling, runner.processors)
        return
    chooser, text = chooser_of(sequence, sampling, runner.processors), drawn.sequences[0].tolist()
    for index, (logits, scores) in enumerate(zip(drawn.logits, drawn.scores, strict=True)):
        p = chooser.row(logits[0], text[: len(PROMPTS[0]) + index])
        torch.testing.assert_close(p, scores[0].softmax(-1), rtol=1e-5, atol=1e-7)
    assert chooser_of(sequence, SamplingParams(), runner.processors).processors != chooser.processors


SYNTH_ID = {"ngram_len": 3, "keys": [1, 2], "sampling_table_size": 16, "sampling_table_seed": 0, "device": "cpu"}


@pytest.mark.parametrize(
    "name, make",
    [
        ("SynthIDTextWatermark", lambda name: named(name, context_history_size=8, **SYNTH_ID)),
        ("ClassifierFreeGuidance", lambda name: named(name, 2.0)),
        ("UnbatchedClassifierFreeGuidance", lambda name: named(name, 2.0, MODELS[0])),
        ("AlternatingCodebooks", lambda name: named(name, 1, 2, 3)),
    ],
)
def test_what_cannot_be_exact_is_refused_by_name(name, make):
    runner = TorchModelRunner(MODELS[0], max_seq_len=64, prove=False)
    with pytest.raises(BadInput, match=f"{name}LogitsProcessor wants more than a row"):
        SpeculativeGenerator(runner, processors=[make(name)]).generate([[1, 2]], max_new_tokens=2)


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"repetition_penalty": -1.0}, "strictly positive"),
        ({"sequence_bias": [[[99], 2.0]]}, "vocabulary size is 40"),
        ({"exponential_decay_length_penalty": (2, 1.1)}, "no stop tokens"),
    ],
)
def test_settings_that_cannot_be_followed(settings, says):
    model = copy.copy(MODELS[0])
    model.generation_config = GenerationConfig(pad_token_id=0, **settings)
    generator = SpeculativeGenerator(TorchModelRunner(model, max_seq_len=64, prove=False))
    with pytest.raises(BadInput, match=says):
        generator.generate([[1, 2]], max_new_tokens=2)


def test_every_class_of_transformers_was_judged():
    """A newer one is refused until it is known to be pure."""
    known = {name for name in vars(theirs) if name.removesuffix("LogitsProcessor") in PURE}
    assert len(known) == len(PURE)
    assert OfTransformers(named("MinP", 0.1), VOCAB).warps is False


class TestLogprobs:
    def of_generate(self, model, prompt, count):
        ids = torch.tensor([prompt])
        made = {"return_dict_in_generate": True, "output_scores": True, "do_sample": False, "max_new_tokens": LIMIT}
        out = model.generate(ids, attention_mask=torch.ones_like(ids), **made)
        logs = [scores[0].log_softmax(-1) for scores in out.scores]
        tokens = out.sequences[0, len(prompt) :].tolist()
        best = [row.topk(count) for row in logs]
        return [
            (float(row[token]), ids.tolist(), values.tolist())
            for row, token, (values, ids) in zip(logs, tokens, best, strict=True)
        ]

    @pytest.mark.parametrize("name", ["many", "bad-words", "min-new"])
    @pytest.mark.parametrize("kind, k", [(None, 0), ("self", 3), ("lookup", 2), ("random", 4)])
    def test_they_are_those_of_generate(self, name, kind, k):
        """Of the processed target, for every emitted token; a stop inside a round cuts them alike."""
        model = model_with(name)
        runner = TorchModelRunner(model, max_seq_len=64, max_users=3, prove=False)
        drafter = None if kind is None else drafter_of(kind, model, 3)
        generator = SpeculativeGenerator(runner, drafter, num_draft_tokens=k)
        seen = []
        results = generator.generate(PROMPTS, max_new_tokens=LIMIT, logprobs=3, on_token=seen.append)
        for user, (result, prompt) in enumerate(zip(results, PROMPTS, strict=True)):
            expected = self.of_generate(model, prompt, 3)
            assert len(result.logprobs) == len(result.tokens) == len(expected)
            assert result.logprobs == [event.logprob for event in seen if event.user == user]
            for told, (own, ids, values) in zip(result.logprobs, expected, strict=True):
                assert told.logprob == pytest.approx(own, abs=2e-4)
                assert [token for token, _ in told.best] == [i for i, v in zip(ids, values) if v > float("-inf")]
                assert [value for _, value in told.best] == pytest.approx(
                    [v for v in values if v > float("-inf")], abs=2e-4
                )

    def test_ids_alone_are_read_where_none_are_wanted(self, monkeypatch):
        kinds = []
        forward = TorchModelRunner.forward

        def watched(self, *arguments, argmax_only=False, **options):
            kinds.append(argmax_only)
            return forward(self, *arguments, argmax_only=argmax_only, **options)

        monkeypatch.setattr(TorchModelRunner, "forward", watched)
        generator = SpeculativeGenerator(
            TorchModelRunner(MODELS[0], max_seq_len=64, prove=False), PromptLookupDrafter()
        )
        (without,) = generator.generate([PROMPTS[0]], max_new_tokens=8)
        assert set(kinds) == {True} and without.logprobs == [None] * 8
        kinds.clear()
        (told,) = generator.generate([PROMPTS[0]], max_new_tokens=8, logprobs=0)
        assert set(kinds) == {False} and told.tokens == without.tokens and told.logprobs[3].best == ()

    def test_of_samples(self):
        """Under what they were drawn from: a mask leaves fewer than were asked for, and their mass is all there is."""
        runner = TorchModelRunner(MODELS[0], max_seq_len=64, prove=False)
        sampling = SamplingParams(temperature=0.9, top_k=3, seed=1)
        generator = SpeculativeGenerator(
            runner, drafter_of("model", MODELS[0], 1), num_draft_tokens=3, sampling=sampling
        )
        (result,) = generator.generate([PROMPTS[0]], max_new_tokens=24, logprobs=8)
        for token, told in zip(result.tokens, result.logprobs, strict=True):
            assert dict(told.best)[token] == told.logprob and len(told.best) == 3
            assert sum(torch.tensor([value for _, value in told.best]).exp()) == pytest.approx(1.0, abs=1e-5)

    @pytest.mark.parametrize("given", [-1, 101, True, 1.5, "3"])
    def test_how_many(self, given):
        generator = SpeculativeGenerator(TorchModelRunner(MODELS[0], max_seq_len=64, prove=False))
        with pytest.raises(BadInput, match="logprobs"):
            generator.generate([[1]], logprobs=given)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Structured output: the oracle is transformers' generate under a mask made of the whole text anew each time."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter

import pytest
import torch
from support.doubles import ScriptedDrafter
from support.law import assert_follows, law_of
from support.tiny import tiny_llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid import suffix_first
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_demo import main
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.structured import Grammar, grammar_source

llguidance = pytest.importorskip("llguidance")
VOCAB, EOS, LIMIT = 300, 0, 28  # 257 ids have a text
SCHEMA = {"type": "object", "properties": {"n": {"enum": [1, 22, 333]}, "s": {"type": "string", "maxLength": 3}}}
SCHEMA |= {"required": ["n", "s"], "additionalProperties": False}
SCHEMA |= {"x-guidance": {"whitespace_flexible": False}}
GRAMMARS = {
    "regex": {"regex": r"[0-9]{3}-(ab|ba)+!"},
    "open": {"regex": r"(a[0-4]|b[5-9]|c[x-z])*"},
    "schema": {"json_schema": SCHEMA},
}
PROMPTS = [[30, 40, 50], [66, 67, 66, 67, 66], [9]]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {"<end>": EOS, **{c: i + 1 for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


TOKENIZER = byte_tokenizer()
TARGET, DRAFT = tiny_llama(1, vocab=VOCAB), tiny_llama(2, vocab=VOCAB)


def grammar(name: str) -> Grammar:
    return Grammar(grammar_source(**GRAMMARS[name]), TOKENIZER, vocab_size=VOCAB, eos_token_ids=[EOS])


class WholeText(LogitsProcessor):
    """Nothing is remembered: a new matcher takes the whole text for every token."""

    def __init__(self, grammar: Grammar, prompt_length: int) -> None:
        self.grammar, self.prompt_length = grammar, prompt_length

    def __call__(self, input_ids, scores):
        matcher = llguidance.LLMatcher(self.grammar._tokenizer, self.grammar.source)
        assert matcher.consume_tokens(input_ids[0, self.prompt_length :].tolist())
        if matcher.is_stopped():
            allowed = {EOS}
        else:
            bits = matcher.compute_bitmask()
            allowed = {i for i in range(VOCAB) if bits[i // 8] >> i % 8 & 1}
        banned = [i for i in range(VOCAB) if i not in allowed]
        return scores.index_fill(1, torch.tensor(banned, dtype=torch.int64), float("-inf"))


def by_generate(name: str, prompt: list[int]) -> list[int]:
    ids, masks = torch.tensor([prompt]), [WholeText(grammar(name), len(prompt))]
    out = TARGET.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=LIMIT,
        do_sample=False,
        logits_processor=masks,
        eos_token_id=EOS,
    )
    return out[0, len(prompt) :].tolist()


def runner(model=TARGET) -> TorchModelRunner:
    return TorchModelRunner(model, max_seq_len=64, max_users=len(PROMPTS), eos_token_ids=[EOS])


DRAFTERS = {
    "self": lambda: ModelDrafter(runner()),
    "model": lambda: ModelDrafter(runner(DRAFT)),
    "lookup": PromptLookupDrafter,
    "hybrid": lambda: suffix_first(ModelDrafter(runner())),
    "illegal": lambda: ScriptedDrafter(lambda _, count: [299] * count),
}


@pytest.mark.parametrize("name", GRAMMARS)
@pytest.mark.parametrize("drafter, ks", [("self", range(1, 6)), *((name, (3,)) for name in list(DRAFTERS)[1:])])
def test_texts_are_those_of_generate_under_the_same_masks(name, drafter, ks):
    expected = [by_generate(name, prompt) for prompt in PROMPTS]
    for k in ks:
        generator = SpeculativeGenerator(runner(), DRAFTERS[drafter](), num_draft_tokens=k, processors=[grammar(name)])
        results = generator.generate(PROMPTS, max_new_tokens=LIMIT)
        assert [result.tokens for result in results] == expected
        if drafter == "self":
            assert all(result.accepted == result.drafted > 0 for result in results)  # q is masked alike


@pytest.mark.parametrize("name", GRAMMARS)
def test_plain_decoding_is_masked_alike(name):
    stop = SpeculativeGenerator(runner()).stop_conditions(max_new_tokens=LIMIT)
    results = decode_plainly(runner(), PROMPTS, stop=stop, processors=[grammar(name)])
    assert [result.tokens for result in results] == [by_generate(name, prompt) for prompt in PROMPTS]


def test_whole_texts_follow():
    generator = SpeculativeGenerator(runner(), DRAFTERS["self"](), processors=[grammar("schema")], tokenizer=TOKENIZER)
    found = [result for result in generator.generate(PROMPTS, max_new_tokens=60 - 5) if result.finish_reason == "eos"]
    assert found
    for result in found:
        value = json.loads(result.text.removesuffix("<end>"))
        assert value["n"] in (1, 22, 333) and len(value["s"]) <= 3


def test_a_matcher_that_does_not_go_back_shows(monkeypatch):
    """Negative control: what was rejected stays with the matcher."""
    made = Grammar.for_user

    class Stuck:
        def __init__(self, matched):
            self.matched = matched

        def process(self, logits, history):
            taken = self.matched._taken
            self.matched._taken = history[self.matched._prompt_length :].tolist()[: len(taken)]
            return self.matched.process(logits, history)

    monkeypatch.setattr(Grammar, "for_user", lambda *a: [Stuck(one) for one in made(*a)])
    expected = [by_generate("open", prompt) for prompt in PROMPTS]
    generator = SpeculativeGenerator(runner(), DRAFTERS["model"](), num_draft_tokens=3, processors=[grammar("open")])
    try:
        texts = [result.tokens for result in generator.generate(PROMPTS, max_new_tokens=LIMIT)]
    except BadInput:
        return
    assert texts != expected


@torch.no_grad()
def test_sampled_texts_have_the_masked_law():
    source = grammar_source(regex="[ab][cd]")
    its = Grammar(source, TOKENIZER, vocab_size=VOCAB, eos_token_ids=[EOS])
    sampling, ids = SamplingParams(temperature=3.0), [TOKENIZER.encode(c)[0] for c in "abcd"]
    law = {}
    first = (TARGET(torch.tensor([[30]])).logits[0, -1, ids[:2]] / 3).softmax(-1)
    for one, p in zip(ids[:2], first.tolist()):
        second = (TARGET(torch.tensor([[30, one]])).logits[0, -1, ids[2:]] / 3).softmax(-1)
        law |= {one * 1000 + other: p * q for other, q in zip(ids[2:], second.tolist())}
    users = 500
    target = TorchModelRunner(TARGET, max_seq_len=8, max_users=users, eos_token_ids=[EOS])
    drafter = ModelDrafter(TorchModelRunner(DRAFT, max_seq_len=8, max_users=users))
    generator = SpeculativeGenerator(target, drafter, num_draft_tokens=2, sampling=sampling, processors=[its])
    results = generator.generate([[30]] * users, max_new_tokens=4)
    found = Counter(r.tokens[0] * 1000 + r.tokens[1] for r in results)
    keys = sorted(law)
    assert set(found) <= set(keys)
    assert_follows(
        Counter({keys.index(key): n for key, n in found.items()}), law_of(torch.tensor([law[key] for key in keys]))
    )
    with pytest.raises(AssertionError, match="p-value"):
        assert_follows(
            Counter({keys.index(k): n for k, n in found.items()}), law_of(torch.tensor([0.7, 0.1, 0.1, 0.1]))
        )


@pytest.mark.parametrize(
    "given, named",
    [
        ({"regex": "[0-9"}, "the regular expression cannot be followed: .*unclosed"),
        ({"json_schema": {"type": "foo"}}, "the JSON schema cannot be followed: .*foo"),
        ({"json_schema": "{"}, "the JSON schema cannot be followed"),
        ({}, "give one of the two"),
        ({"regex": "a", "json_schema": {}}, "give one of the two"),
    ],
)
def test_what_is_no_grammar_is_refused(given, named):
    with pytest.raises(BadInput, match=named):
        grammar_source(**given)


def test_a_target_without_an_end_is_refused():
    with pytest.raises(BadInput, match="needs an end-of-sequence token"):
        Grammar(grammar_source(regex="a"), TOKENIZER, vocab_size=VOCAB, eos_token_ids=[])


class TestCommandLine:
    @pytest.fixture(scope="class")
    def target(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("target")
        TOKENIZER.save_pretrained(folder)
        model = tiny_llama(1, vocab=VOCAB)
        model.generation_config.eos_token_id = EOS
        model.save_pretrained(folder)
        return folder

    def test_the_text_follows_and_the_record_says_what(self, target, tmp_path):
        result, schema = tmp_path / "result.json", tmp_path / "schema.json"
        schema.write_text(json.dumps(SCHEMA))
        short = ["--prompt", "hello", "--max-new-tokens", "40", "--max-seq-len", "64", "--quiet", "--json", str(result)]
        for option in (["--regex", "[ab]{12}"], ["--json-schema", str(schema)]):
            assert main(["--target", str(target), "--draft", str(target), "-k", "2", *option, *short]) == 0
            record = json.loads(result.read_text())
            assert record["prompts"][0]["identical"] is True and record["summary"]["accepted"] > 0
            assert "grammars" in record["processing"]["grammar"]
            text = TOKENIZER.decode(record["prompts"][0]["tokens"], skip_special_tokens=True)
            assert re.fullmatch("[ab]{12}", text) if option[0] == "--regex" else text.startswith("{")

    @pytest.mark.parametrize(
        "options, named",
        [
            (["--regex", "(", "--max-new-tokens", "4"], "the regular expression cannot be followed"),
            (["--regex", "a", "--json-schema", "x"], "--json-schema and --regex were both given"),
            (["--json-schema", "/no/such.json"], "/no/such.json"),
            (["--regex", ""], "--regex was given an empty text"),
        ],
    )
    def test_refused_before_a_model_is_loaded(self, options, named, capsys, monkeypatch):
        monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
        assert main(["--target", "/no/model", *options]) == 2
        assert named in capsys.readouterr().err

    def test_where_the_library_is_missing(self, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "llguidance", None)
        assert main(["--target", "/no/model", "--regex", "a"]) == 2
        assert "pip install llguidance" in capsys.readouterr().err

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The command line's logits processors, and what its JSON says of them: the text is that of generate with the same."""

import json
import shutil

import pytest
import torch
from support.model_folder import save_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.tt_transformers.demo.speculative_decoding.speculative_demo import main

PROMPT = "abcab"


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    folder = shutil.copytree(
        save_tiny_model(tmp_path_factory.mktemp("plain")), tmp_path_factory.mktemp("own") / "model"
    )
    (folder / "generation_config.json").write_text(json.dumps({"repetition_penalty": 1.2}))
    return folder


def demo(target, path, *options):
    arguments = ["--target", target, "--prompt", PROMPT, "--max-seq-len", 64, "--max-new-tokens", 16, "-k", 3]
    assert main([*map(str, [*arguments, *options, "--json", path / "r.json"])]) == 0
    record = json.loads((path / "r.json").read_text())
    return record, record["prompts"][0]


@pytest.mark.parametrize(
    "options, settings",
    [
        ([], {}),
        (["--repetition-penalty", "1.7"], {"repetition_penalty": 1.7}),
        (["--repetition-penalty", "1"], {"repetition_penalty": 1.0}),
        (["--no-repeat-ngram-size", "1"], {"no_repeat_ngram_size": 1}),
        (["--logit-bias", "5=9", "--logit-bias", "9=-50"], {"sequence_bias": [[[5], 9.0], [[9], -50.0]]}),
        (["--suppress-tokens", "1,2,26"], {"suppress_tokens": [1, 2, 26]}),
    ],
    ids=str,
)
def test_the_text_is_generates(target, tmp_path, options, settings):
    record, row = demo(target, tmp_path, *options, "--draft", target)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(target), AutoTokenizer.from_pretrained(target)
    ids = torch.tensor([tokenizer.encode(PROMPT)])
    text = model.generate(ids, do_sample=False, max_new_tokens=16, pad_token_id=0, **settings)[0, ids.shape[1] :]
    assert row["tokens"] == text.tolist() and row["identical"] is True
    assert record["processing"] == {"repetition_penalty": 1.2, **settings} and "logprobs" not in row


def test_bad_words_and_logprobs(target, tmp_path):
    _, before = demo(target, tmp_path, "--logprobs", "2")
    word = next(text for text in before["token_texts"] if text.strip() and text.isascii())
    _, row = demo(target, tmp_path, "--logprobs", "2", "--bad-words", word)
    assert word in before["text"] and word not in row["text"]
    for token, told in zip(before["tokens"], before["logprobs"], strict=True):
        assert told["best"][0] == [token, told["logprob"]] and len(told["best"]) == 2 and told["logprob"] <= 0.0


def test_samples(target, tmp_path):
    options = [
        "--temperature",
        "0.9",
        "--min-p",
        "0.3",
        "--typical-p",
        "0.9",
        "--logprobs",
        "3",
        "--frequency-penalty",
        "1",
    ]
    record, row = demo(target, tmp_path, *options, "--draft", target)
    assert record["processing"] == {
        "repetition_penalty": 1.2, "min_p": 0.3, "typical_p": 0.9, "frequency_penalty": 1.0
    }  # fmt: skip
    assert record["prompts"][0]["accepted"] == record["prompts"][0]["drafted"] > 0  # q is processed as p is

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The demo with an EAGLE-3 head: who drafts, what is recorded, what is refused before any weights are loaded."""

import json

import pytest
import torch
from support.eagle import HIDDEN, head_tensors, save_head
from support.model_folder import CHARACTERS, save_tiny_model
from transformers import AutoModelForCausalLM

from models.tt_transformers.demo.speculative_decoding.harness import options
from models.tt_transformers.demo.speculative_decoding.harness.arguments import parser
from models.tt_transformers.demo.speculative_decoding.harness.options import checked
from models.tt_transformers.demo.speculative_decoding.speculative_demo import main

VOCAB = len({"<eos>", "<unk>", *CHARACTERS})


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return str(save_tiny_model(tmp_path_factory.mktemp("target"), layers=8))


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    return save_head(tmp_path_factory.mktemp("head"), head_tensors(vocab=VOCAB), vocab_size=VOCAB)


def result_of(tmp_path, *arguments):
    file = tmp_path / "result.json"
    short = ("--prompt", "hello", "--max-new-tokens", "12", "--max-seq-len", "64", "-k", "2", "--quiet", "--json", file)
    return main([*map(str, (*arguments, *short))]), json.loads(file.read_text())


@pytest.mark.parametrize("drafter", ["eagle3", "hybrid", None])
def test_it_drafts_and_says_what_it_reads(target, head, tmp_path, drafter):
    asked = ["--drafter", drafter] if drafter else []
    status, result = result_of(tmp_path, "--target", target, "--draft", head, *asked)
    assert status == 0 and result["prompts"][0]["identical"] is True
    assert result["drafter"] == (drafter or "hybrid") and result["draft"] == head
    assert result["feature_layers"] == [2, 4, 5] and result["summary"]["drafted"] > 0
    assert result["models"]["draft"]["name"] == head and 0.05 < result["models"]["draft"]["weights_mb"] < 0.15


def test_the_layers_asked_for_are_in_the_record(target, head, tmp_path):
    given = ("--drafter", "eagle3", "--draft", head, "--eagle-layers", "1,3,7")
    status, result = result_of(tmp_path, "--target", target, *given)
    assert status == 0 and result["feature_layers"] == [1, 3, 7]


def test_the_named_pair(monkeypatch):
    monkeypatch.setattr(options, "_is_eagle_head", lambda draft: pytest.fail("the hub was asked"))
    chosen = checked(parser().parse_args(["--pair", "llama-8b-eagle3"]))
    assert (chosen.drafter, chosen.eagle) == ("hybrid", "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B")
    assert chosen.target == "meta-llama/Llama-3.1-8B-Instruct" and chosen.draft is chosen.draft_file is None
    alone = checked(
        parser().parse_args(["--pair", "llama-8b-eagle3", "--drafter", "eagle3", "--eagle-layers", "2,16,29"])
    )
    assert alone.eagle == chosen.eagle and alone.eagle_layers == (2, 16, 29)
    assert checked(parser().parse_args(["--pair", "llama-8b-eagle3", "--drafter", "prompt-lookup"])).eagle is None


@pytest.mark.parametrize(
    "change, arguments, named",
    [
        ({"hidden_size": 64}, [], ["hidden_size of 64", "is 32"]),
        ({"vocab_size": 7}, [], ["vocab_size of 7", f"is {VOCAB}"]),
        ({"norm_output": True}, [], ["norm_output"]),
        ({"architectures": ["T5"], "draft_vocab_size": None}, [], ["no EAGLE-3 head", "T5"]),
        ({}, ["--eagle-layers", "1,2,8"], ["[1, 2, 8]", "to 7"]),
        ({}, ["--eagle-layers", "1,x"], ["--eagle-layers '1,x'"]),
        ({}, ["--eagle-layers", ""], ["--eagle-layers was given an empty text"]),
        ({}, ["--backend", "tt", "--temperature", "0.5"], ["EAGLE-3", "--backend tt", "--temperature 0.5"]),
        ({}, ["--backend", "tt", "--lookahead", "adaptive"], ["EAGLE-3", "--backend tt", "--lookahead adaptive"]),
    ],
)
def test_what_does_not_fit_is_refused(target, tmp_path, monkeypatch, capsys, change, arguments, named):
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("weights were loaded"))
    monkeypatch.setattr(options.importlib.util, "find_spec", lambda name: object())  # of ttnn
    head = save_head(tmp_path / "head", {"fc.weight": torch.ones(HIDDEN)}, **{"vocab_size": VOCAB} | change)
    given = ["--target", target, "--drafter", "eagle3", "--draft", head, "--prompt", "hi", *arguments]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(word.lower() in error.lower() for word in named), error


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--drafter", "eagle3"], "needs an EAGLE-3 head"),
        (["--eagle-layers", "1,2,3"], "--eagle-layers are an EAGLE-3 head's"),
        (["--drafter", "model", "--pair", "llama-8b-eagle3"], "needs a draft model"),
    ],
)
def test_what_is_missing_is_named(arguments, named, capsys):
    assert main([*arguments, "--prompt", "hi"]) == 2
    assert named in capsys.readouterr().err

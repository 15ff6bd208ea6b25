# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What the command line refuses: in one line that names it, and before any weights are loaded."""

import json
import os
import re
import shutil

import pytest
import torch
from safetensors.torch import save_file
from support.model_folder import save_tiny_model
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

from models.tt_transformers.demo.speculative_decoding.speculative_demo import main

LONG = "a" * 300


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("target"))


@pytest.fixture
def folder(target, tmp_path):
    return shutil.copytree(target, tmp_path / "model")


@pytest.fixture
def refused(target, monkeypatch, capsys):
    """Runs the command line; its one line of error."""
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("weights were loaded"))

    def run(*arguments):
        given = list(map(str, arguments))
        given = given if "--target" in given else ["--target", str(target), *given]
        given += [] if "--prompt" in given or "--prompts" in given else ["--prompt", "hi"]
        capsys.readouterr()  # what making the models printed
        assert main(given) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1, captured.err
        return captured.err

    return run


def configure(folder, name="config.json", **settings):
    file = folder / name
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(before | settings))


@pytest.mark.parametrize(
    "option, limits",
    [
        ("-k", "a whole number from 1 to 31"),
        ("--batch-size", "a whole number of at least 1"),
        ("--max-new-tokens", "a whole number of at least 1"),
        ("--logprobs", "a whole number from 0 to 100"),
        ("--repetition-penalty", "a number from 0.01 to 100"),
        ("--min-p", "a number from 0 to 1"),
        ("--typical-p", "a number from 1e-06 to 1"),
        ("--min-new-tokens", "a whole number of at least 0"),
        ("--no-repeat-ngram-size", "a whole number of at least 0"),
        ("--repeat", "a whole number of at least 1"),
        ("--max-seq-len", "a whole number of at least 2"),
        ("--draft-head-size", "a whole number of at least 1"),
        ("--top-k", "a whole number of at least 0"),
        ("--seed", "a whole number of at least 0"),
        ("--temperature", "a number of at least 0"),
        ("--top-p", "a number of at least 0"),
    ],
)
@pytest.mark.parametrize("given", ["abc", "-1", "nan", "1,5", "9" * 5000 + "x", "²"])
def test_what_is_no_number(option, limits, given, refused):
    error = refused(option, given)
    assert option in error and limits in error and "usage" not in error and len(error) < 200


@pytest.mark.parametrize("given", ["1e-46", "5e-324", "1e-38"])
def test_settings_that_are_nothing_in_float32(given, target):
    short = ["--target", str(target), "--prompt", "hi", "--max-new-tokens", "3", "-k", "2", "--quiet"]
    assert main([*short, "--temperature", "1", "--top-p", given]) == 0
    assert main([*short, "--temperature", given]) == 2


@pytest.mark.parametrize(
    "content", ["[" * 200_000, f"[{'9' * 5000}]", "{", "\xff", '{"a": 1}', "[NaN]", "[1.5]", "[]", ""]
)
@pytest.mark.parametrize("option", ["--draft-head-ids", "--prompts"])
def test_damaged_lists(content, option, target, tmp_path, refused):
    (tmp_path / "list").write_bytes(content.encode("latin-1"))
    assert str(tmp_path / "list") in refused("--draft", target, option, tmp_path / "list")


@pytest.mark.parametrize("path", [LONG, f"/{LONG}", f"{LONG}/x", "a\0b", "no/such"])
@pytest.mark.parametrize(
    "option", ["--target", "--draft", "--draft-file", "--draft-head-ids", "--draft-head-text", "--prompts", "--json"]
)
def test_paths_that_lead_nowhere(option, path, target, refused):
    more = {"--draft-head-text": ["--draft-head-size", "4"]}.get(option, [])
    draft = ["--draft", target] if option.startswith("--draft-head") else []
    assert path.replace("\0", r"\x00") in refused(*draft, option, path, *more)


@pytest.mark.parametrize("option", ["--target", "--draft"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "generation_config.json"])
def test_files_that_may_not_be_read(option, name, folder, refused, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(folder / name) and access(path, mode))
    assert f"{folder} holds {name}, which cannot be read" in refused(option, folder)


@pytest.mark.parametrize(
    "name, settings, named",
    [
        ("generation_config.json", {"eos_token_id": [[2]]}, "eos_token_id"),
        ("generation_config.json", {"eos_token_id": "x"}, "eos_token_id"),
        ("generation_config.json", {"eos_token_id": True}, "eos_token_id"),
        ("tokenizer_config.json", {"model_max_length": "x"}, "model_max_length"),
        ("tokenizer_config.json", {"model_max_length": [512]}, "model_max_length"),
        ("config.json", {"max_position_embeddings": 1}, "max_position_embeddings is 1"),
        ("config.json", {"max_position_embeddings": 0}, "max_position_embeddings is 0"),
        ("config.json", {"max_position_embeddings": -5}, "max_position_embeddings is -5"),
        ("config.json", {"max_position_embeddings": "many"}, "max_position_embeddings"),
        ("config.json", {"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ("config.json", {"vocab_size": 0}, "vocab_size is 0"),
        ("config.json", {"is_encoder_decoder": True}, "encoder-decoder"),
    ],
)
@pytest.mark.parametrize("option", ["--target", "--draft"])
def test_settings_of_another_kind(option, name, settings, named, folder, refused):
    configure(folder, name, **settings)
    error = refused(option, folder)
    assert str(folder) in error and named in error


@pytest.mark.parametrize("content", ["{", "[]", "5", "null", "\xff", "[" * 200_000])
@pytest.mark.parametrize("name", ["generation_config.json", "config.json", "tokenizer_config.json", "tokenizer.json"])
def test_damaged_settings(name, content, folder, refused):
    (folder / name).write_bytes(content.encode("latin-1"))
    assert str(folder) in refused("--target", folder)


@pytest.mark.parametrize("content", [b"", b"half", b"version https://git-lfs.github.com/spec/v1\n", None])
def test_damaged_weights(content, folder, refused):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000] if content is None else content)
    assert "model.safetensors" in (error := refused("--target", folder)) and "download" in error


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_link_to_itself(name, folder, refused):
    (folder / name).unlink()
    (folder / name).symlink_to(name)
    assert str(folder) in refused("--target", folder)


SIZE = {"vocab_size": 98, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
T5 = T5Config(vocab_size=98, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)


@pytest.mark.parametrize("option", ["--target", "--draft"])
@pytest.mark.parametrize(
    "make, named",
    [
        (lambda: BertForMaskedLM(BertConfig(**SIZE)), "bert, an encoder-only"),
        (lambda: T5ForConditionalGeneration(T5), "t5, an encoder-decoder"),
    ],
)
def test_models_that_continue_no_text(make, named, option, folder, refused):
    make().save_pretrained(folder)
    assert named in (error := refused(option, folder)) and "decoder-only" in error


@pytest.mark.parametrize("ids", [[98], [-1], [0, 10**40]])
def test_ids_that_the_draft_does_not_have(ids, target, tmp_path, refused):
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    error = refused("--draft", target, "--draft-head-ids", tmp_path / "ids.json")
    assert "ids.json" in error and "0 to 97" in error


def test_drafts_of_another_kind(target, tmp_path, refused):
    (tmp_path / "text").write_text("hello")
    save_file({"a": torch.zeros(1)}, tmp_path / "weights")
    for file in (tmp_path / "text", tmp_path / "weights", target / "model.safetensors"):
        assert str(file) in refused("--draft-file", file)
    other = save_tiny_model(tmp_path / "other", extra_tokens=("é",))
    assert "'é'" in refused("--draft", other)


def test_prompts_that_do_not_fit(target, folder, refused):
    assert "600 tokens" in refused("--prompt", "x" * 600)
    configure(folder, vocab_size=60)
    assert "token id" in refused("--target", folder, "--prompt", "~")


@pytest.mark.parametrize("content", ["{{ raise_exception('no\nway') }}", "{% for", "{{ 1 / 0 }}", ""])
def test_chat_templates_that_fail(content, folder, refused):
    (folder / "chat_template.jinja").write_text(content)
    assert "template" in (error := refused("--target", folder)) or "no tokens" in error


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--logit-bias", "x=1"], "--logit-bias 'x=1' is not an id and what is added.*ID=BIAS"),
        (["--logit-bias", "4=101"], "from -100 to 100"),
        (["--logit-bias", "4=nan"], "from -100 to 100"),
        (["--logit-bias", "4=1", "--logit-bias", "99999=1"], "--logit-bias names token 99999; give one"),
        (["--suppress-tokens", "1,-2"], "--suppress-tokens '1,-2' is no list of token ids"),
        (["--suppress-tokens", "1,99999"], "--suppress-tokens names token 99999; give one that the target has, 0 to"),
        (["--presence-penalty", "2.1"], "--presence-penalty: '2.1' was given.*from -2 to 2"),
        (["--frequency-penalty", "-3"], "--frequency-penalty: '-3' was given.*from -2 to 2"),
        (["--min-p", "1.1"], "--min-p: '1.1' was given.*from 0 to 1"),
        (["--bad-words", " "], "--bad-words was given an empty text"),
        (["--min-new-tokens", "9", "--max-new-tokens", "8"], "--min-new-tokens 9 is more than --max-new-tokens 8"),
    ],
)
def test_processors_that_cannot_be(refused, arguments, says):
    assert re.search(says, refused(*arguments))


def test_a_generation_config_that_cannot_be_followed(refused, folder):
    (folder / "generation_config.json").write_text(json.dumps({"repetition_penalty": -1.0}))
    assert "the generation_config cannot be followed: `penalty` has to be" in refused("--target", folder)

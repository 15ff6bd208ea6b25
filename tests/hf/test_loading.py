# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a folder must hold to be loaded: all the weights, or one line that says what it is and what to do."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.model_folder import save_tiny_model
from support.tiny import tiny_llama
from transformers import AutoModelForCausalLM, LlamaForSequenceClassification, LlamaModel
from transformers.utils import logging

from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.hf import loading
from models.tt_transformers.demo.speculative_decoding.hf.loading import (
    generation_config_of,
    known_positions,
    load_model,
    load_tokenizer,
    settings_in_effect,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def load(folder):
    return load_model(str(folder), device="cpu", dtype="float32")


def refused(folder, *named):
    with pytest.raises(ModelUnavailable) as error:
        load(folder)
    assert "\n" not in str(error.value) and all(name in str(error.value) for name in (str(folder), *named))


def configure(folder, **settings):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@pytest.mark.parametrize("kind, lacks", [(LlamaForSequenceClassification, "lm_head.weight"), (LlamaModel, "lm_head")])
def test_a_model_without_an_output_layer(kind, lacks, folder):
    kind(AutoModelForCausalLM.from_pretrained(folder).config).save_pretrained(folder)
    refused(folder, lacks, "not there")


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"num_hidden_layers": 3}, ["model.layers.2.", "(and 8 more"]),
        ({"num_hidden_layers": 1}, ["model.layers.1.", "no such layer", "(and 8 more"]),
        ({"vocab_size": 400}, ["lm_head.weight", "[400, 32]"]),
        ({"hidden_size": "32"}, ["hidden_size"]),
        ({"num_attention_heads": 3}, []),
        ({"hidden_act": "nope"}, ["nope"]),
        ({"model_type": "nope"}, ["nope"]),
        ({"model_type": ["llama"]}, []),
        ({"model_type": "nope", "auto_map": {"AutoConfig": "c.C", "AutoModelForCausalLM": "c.M"}}, ["custom code"]),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, ["bitsandbytes", "install"]),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, ["install"]),
        ({"quantization_config": {"quant_method": "nope"}}, ["nope", "quantised"]),
    ],
    ids=str,
)
def test_a_config_that_does_not_fit(settings, named, folder):
    configure(folder, **settings)
    refused(folder, *named)


@pytest.mark.parametrize(
    "name, content",
    [
        ("config.json", b"{nope"),
        ("config.json", b"[1]"),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", None),
        ("model.safetensors", b"half"),
        ("model.safetensors", None),
        ("pytorch_model.bin", b""),
        ("pytorch_model.bin", b"no pickle"),
        ("model.safetensors.index.json", b"{"),
    ],
)
def test_a_damaged_file(name, content, folder):
    if name not in ("config.json", "tokenizer.json"):
        (folder / "model.safetensors").unlink()
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    refused(folder, "download")


@pytest.mark.parametrize(
    "names, named",
    [
        ([], "nothing"),
        (["model-Q4_0.gguf"], "only GGUF"),
        (["tokenizer.json", "tokenizer_config.json"], "a tokenizer but no model"),
        (["notes.txt"], "no config.json"),
        (["adapter_config.json", "adapter_model.safetensors"], "merge_and_unload"),
        (["config.json", "adapter_config.json"], "merge_and_unload"),
    ],
)
def test_a_folder_that_is_no_model(names, named, tmp_path):
    for name in names:
        (tmp_path / name).write_text("{}")
    refused(tmp_path, named)


def test_a_file_is_no_folder(tmp_path):
    for name, named in (("model.gguf", "GGUF"), ("model.safetensors", "folder")):
        (tmp_path / name).write_bytes(b"")
        refused(tmp_path / name, named)


@pytest.mark.parametrize("name", ["a" * 400, "a/b/c", "a\0b", "\x1b[2J"])
def test_a_name_that_is_none(name):
    with pytest.raises(ModelUnavailable, match="neither a folder"):
        load_tokenizer(name)


@pytest.mark.parametrize("address", ["bogus", "http://[::1", "http://a b", "http://127.0.0.1:9"])
def test_a_hub_that_is_none(address, monkeypatch):
    monkeypatch.setattr(loading.huggingface_hub.constants, "ENDPOINT", address)
    with pytest.raises(ModelUnavailable, match="some/model is not here and the hub cannot be reached"):
        load_tokenizer("some/model")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_model_too_large_for_the_machine(error, folder, monkeypatch):
    def large(*_, **__):
        raise error

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", large)
    refused(folder, "free some memory")


def test_tied_embeddings_lack_nothing_and_transformers_is_left_as_it_was(folder):
    model = tiny_llama(vocab=97)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(folder)
    before = logging.get_verbosity()
    loaded, _ = load(folder)
    assert loaded.get_output_embeddings() is not None and logging.get_verbosity() == before


def test_weights_of_another_head_do_no_harm(folder):
    """As of a model with a value head, or of old files with the rotary frequencies."""
    file = folder / "model.safetensors"
    more = {"v_head.weight": torch.zeros(3), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4)}
    save_file(load_file(file) | more, file, metadata={"format": "pt"})
    assert load(folder)


def test_known_positions(folder):
    assert known_positions(str(folder)) == 512
    configure(folder, max_position_embeddings="many")
    assert known_positions(str(folder)) is None and known_positions("/no/such/folder") is None


def test_settings_that_are_other_ways_to_decode(folder):
    changing = {"num_beams": 4, "guidance_scale": 1.5, "stop_strings": ["."]}
    idle = {"no_repeat_ngram_size": 2, "repetition_penalty": 1.1, "temperature": 0.6, "max_time": None}
    (folder / "generation_config.json").write_text(json.dumps(changing | idle))
    assert settings_in_effect(load(folder)[0].generation_config) == changing
    assert settings_in_effect(generation_config_of(str(folder))) == changing  # of what another library loads


def test_a_damaged_generation_config_is_not_passed_over(folder):
    (folder / "generation_config.json").write_text('{"eos_token_id": 1,')
    with pytest.raises(ModelUnavailable, match="mend that folder's files"):
        generation_config_of(str(folder))

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""tt_transformers is found by name, and told about one model at a time through an environment that is left as it was
found."""

import os
import sys

import pytest
from fakes.device import FakeMeshDevice
from fakes.install import fake_upstream
from support.tiny import tiny_llama

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.tt import loading as tt_loading
from models.tt_transformers.demo.speculative_decoding.tt import pair as tt_pair

_TT = "models.tt_transformers.tt"


@pytest.fixture
def ttnn():
    with fake_upstream() as module:
        yield module


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    tiny_llama(vocab=64).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("found", [{}, {"HF_MODEL": "mine", "TT_CACHE_PATH": "/cache"}], ids=["unset", "set"])
@pytest.mark.parametrize("fail", [False, True], ids=["success", "failure"])
def test_the_environment_is_put_back(monkeypatch, found, fail):
    for name in ("HF_MODEL", "TT_CACHE_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    try:
        with tt_loading.model_environment("meta-llama/Llama-3.2-1B-Instruct"):
            assert os.environ["HF_MODEL"] == "meta-llama/Llama-3.2-1B-Instruct"
            root = found.get("TT_CACHE_PATH", "model_cache")
            assert os.environ["TT_CACHE_PATH"] == f"{root}/meta-llama/Llama-3.2-1B-Instruct"
            if fail:
                raise KeyError("anything")
    except KeyError:
        assert fail
    assert dict(os.environ) == before


def test_each_model_has_a_weight_cache_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("TT_CACHE_PATH", "/cache")
    monkeypatch.chdir(tmp_path)
    folders = [tmp_path / "a" / "model", tmp_path / "b" / "model"]
    for folder in folders:
        folder.mkdir(parents=True)
    names = ["org/model", "other/model", *map(str, folders)]
    assert len({tt_loading.model_cache_path(name) for name in names}) == len(names)
    assert tt_loading.model_cache_path("a/model") == tt_loading.model_cache_path(str(folders[0]))  # the same folder


def test_a_cache_path_that_names_hf_model_already(monkeypatch):
    monkeypatch.setenv("HF_MODEL", "meta-llama/Llama-3.1-8B-Instruct")
    monkeypatch.setenv("TT_CACHE_PATH", "/tt_cache/meta-llama/Llama-3.1-8B-Instruct")
    for name in ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.2-1B-Instruct"):
        assert tt_loading.model_cache_path(name) == f"/tt_cache/{name}"


def test_the_environment_is_put_back_when_a_model_cannot_be_read(ttnn, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_MODEL", raising=False)
    before = dict(os.environ)
    request = tt_pair.ModelRequest(model_id=str(tmp_path / "nowhere"), tokens_per_user=(1,))
    with pytest.raises(ModelUnavailable, match="nowhere cannot be read"):
        tt_pair.open_models(FakeMeshDevice(), [request])
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("hf_model", "accepted"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", True),
        ("/models/Llama-3.2-1B-Instruct/", True),
        ("", True),
        ("meta-llama/Llama-3.2-3B-Instruct", False),
    ],
    ids=["target", "draft-elsewhere", "empty", "another"],
)
def test_hf_model_must_not_name_another_model(monkeypatch, hf_model, accepted):
    monkeypatch.setenv("HF_MODEL", hf_model)
    pair = ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.2-1B-Instruct")
    if accepted:
        tt_loading.check_environment(*pair)
    else:
        with pytest.raises(BadInput, match=f"HF_MODEL is {hf_model}.*unset HF_MODEL"):
            tt_loading.check_environment(*pair)
    assert os.environ["HF_MODEL"] == hf_model


@pytest.mark.parametrize(
    ("module", "owner", "name"),
    [
        ("ttnn", "", "argmax"),
        ("ttnn", "", "execute_trace"),
        (f"{_TT}.model_config", "", "DecodersPrecision"),
        (f"{_TT}.model", "Transformer", "process_logits_after_prefill_trace"),
        (f"{_TT}.generator", "Generator", "decode_forward"),
        (f"{_TT}.attention", "Attention", "forward_decode"),
    ],
    ids=["op", "trace", "class", "transformer-method", "generator-method", "attention-method"],
)
def test_a_missing_symbol_is_named(ttnn, monkeypatch, module, owner, name):
    holder = sys.modules[module]
    monkeypatch.delattr(getattr(holder, owner) if owner else holder, name)
    with pytest.raises(ModelUnavailable, match=f"{module} has no {owner and owner + '.'}{name}"):
        tt_loading.load_upstream()


def test_a_missing_argument_is_named(ttnn, monkeypatch):
    transformer = sys.modules[f"{_TT}.model"].Transformer
    monkeypatch.setattr(transformer, "__init__", lambda self, args, paged_attention_config=None: None)
    with pytest.raises(ModelUnavailable, match="model.Transformer takes no argument attention_class"):
        tt_loading.load_upstream()


def test_a_missing_installation_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ttnn", None)
    with pytest.raises(ModelUnavailable, match="ttnn cannot be imported.*pip install ttnn"):
        tt_loading.load_upstream()
    with fake_upstream():
        monkeypatch.setitem(sys.modules, f"{_TT}.generator", None)
        with pytest.raises(ModelUnavailable, match="generator cannot be imported.*tt-metal checkout"):
            tt_loading.load_upstream()


def test_nothing_missing(ttnn):
    assert tt_loading.load_upstream().ttnn is ttnn


def test_other_failures_of_upstream_are_not_disguised(ttnn, checkpoint, monkeypatch):
    monkeypatch.delenv("HF_MODEL", raising=False)

    def out_of_memory(*_, **__):
        raise RuntimeError("TT_FATAL: out of DRAM")

    request = tt_pair.ModelRequest(model_id=checkpoint, tokens_per_user=(1,))
    monkeypatch.setattr(tt_loading, "load_model", out_of_memory)
    with pytest.raises(RuntimeError, match="out of DRAM"):
        tt_pair.open_models(FakeMeshDevice(), [request], max_seq_len=100)

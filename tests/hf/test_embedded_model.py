# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The converted copy of the embedded model: whole or not there, whoever else is at it."""

import subprocess
import sys
from pathlib import Path

import pytest

from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.hf import embedded_model
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import (
    cache_folder,
    embedded_model_folder,
    gguf_file,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def gguf(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    return file


@pytest.fixture
def conversions(monkeypatch):
    """A stand-in for the slow conversion, that counts."""
    calls = []

    def convert(source, folder):
        calls.append(source)
        (folder / "model.safetensors").write_bytes(source.read_bytes() * 2)

    monkeypatch.setattr(embedded_model, "_convert", convert)
    return calls


def test_converted_once(gguf, tmp_path, conversions):
    first = embedded_model_folder(gguf, tmp_path / "cache")
    second = embedded_model_folder(gguf, tmp_path / "cache")
    assert first == second and len(conversions) == 1
    assert (first / "model.safetensors").read_bytes() == b"weightsweights"


def test_another_gguf_is_another_folder(gguf, tmp_path, conversions):
    first = embedded_model_folder(gguf, tmp_path / "cache")
    gguf.write_bytes(b"other")
    assert embedded_model_folder(gguf, tmp_path / "cache") != first


@pytest.mark.parametrize("damage", ["changed", "shorter", "missing", "{", "{}", "[]", "5", "[" * 200_000])
def test_a_damaged_copy_is_made_again(gguf, tmp_path, conversions, damage):
    folder = embedded_model_folder(gguf, tmp_path / "cache")
    weights = folder / "model.safetensors"
    {
        "changed": lambda: weights.write_bytes(b"weightsWeights"),
        "shorter": lambda: weights.write_bytes(b"w"),
        "missing": weights.unlink,
    }.get(damage, lambda: (folder / "manifest.json").write_text(damage))()
    assert embedded_model_folder(gguf, tmp_path / "cache") == folder
    assert len(conversions) == 2 and weights.read_bytes() == b"weightsweights"


def test_a_full_disk_leaves_nothing_behind(gguf, tmp_path, monkeypatch, conversions):
    def full(source, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(embedded_model, "_convert", full)
        with pytest.raises(ModelUnavailable, match="No space left"):
            embedded_model_folder(gguf, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []
    assert (embedded_model_folder(gguf, tmp_path / "cache") / "manifest.json").exists()


def test_two_processes_at_once_convert_once(gguf, tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from models.tt_transformers.demo.speculative_decoding.hf import embedded_model
def convert(source, folder):
    time.sleep(1.0)
    (folder / "model.safetensors").write_bytes(b"done")
    print("converted")
embedded_model._convert = convert
print(embedded_model.embedded_model_folder(Path({str(gguf)!r}), Path({str(tmp_path / "cache")!r})))
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate()[0].split() for process in both]
    assert all(process.returncode == 0 for process in both)
    assert sorted(map(len, outputs)) == [1, 2] and outputs[0][-1] == outputs[1][-1]


def test_no_package_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(embedded_model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable, match="pip install"):
        gguf_file()


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("SPECULATIVE_DECODING_CACHE", str(tmp_path / "a"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("SPECULATIVE_DECODING_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "b" / "tt-speculative-decoding"

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a run of the command line: one message, the documented exit status, and the next run works.

Also about faults: test_faults.py (around a generation), test_embedded_model.py (a damaged cache, two processes building
it at once), test_demo.py (malformed prompts files, bad options).
"""

import json
import os

import pytest
import torch
from support.model_folder import save_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.tt_transformers.demo.speculative_decoding import speculative_demo
from models.tt_transformers.demo.speculative_decoding.harness.prompts import load_prompts
from models.tt_transformers.demo.speculative_decoding.hf import embedded_model
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.speculative_demo import main


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        "target": str(save_tiny_model(tmp_path_factory.mktemp("target"))),
        "draft": str(save_tiny_model(tmp_path_factory.mktemp("draft"), seed=1, layers=1)),
    }


class TestThroughTheCommandLine:
    """One message, the documented exit status, the environment as before, all closed, and the next run works."""

    @pytest.fixture
    def closed(self, monkeypatch):
        """Names of the runners that were closed."""
        names, close = [], TorchModelRunner.close
        monkeypatch.setattr(TorchModelRunner, "close", lambda self: (names.append(self.name), close(self)))
        return names

    def arguments(self, folders, *more):
        wanted = ["--prompt", "abcabc", "--max-new-tokens", "8", "--max-seq-len", "64", "--quiet"]
        return ["--target", folders["target"], "--draft", folders["draft"], *wanted, *map(str, more)]

    def fails(self, capsys, arguments, status, *named):
        before = dict(os.environ)
        capsys.readouterr()
        assert main(arguments) == status
        error = capsys.readouterr().err
        messages = [line for line in error.splitlines() if line.startswith("error: ")]
        assert len(messages) == 1 and "Traceback" not in error
        assert all(name in messages[0] for name in named), messages[0]
        assert dict(os.environ) == before

    @pytest.mark.parametrize("which", ["target", "draft"])
    def test_nan_in_a_model(self, which, folders, closed, capsys, tmp_path):
        model = AutoModelForCausalLM.from_pretrained(folders[which])
        with torch.no_grad():
            model.lm_head.weight[7] = float("nan")
        model.save_pretrained(tmp_path)
        AutoTokenizer.from_pretrained(folders[which]).save_pretrained(tmp_path)
        spoilt = {**folders, which: str(tmp_path)}
        self.fails(capsys, self.arguments(spoilt), 1, spoilt[which], "NaN", "position")
        opened = {"target": {spoilt["target"]}, "draft": set(spoilt.values())}[which]  # the target is the first
        assert opened <= set(closed)
        assert main(self.arguments(folders)) == 0

    def test_an_interrupt_closes_everything(self, folders, closed, monkeypatch):
        def interrupted(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(speculative_demo.Comparison, "run", interrupted)
            before = dict(os.environ)
            with pytest.raises(KeyboardInterrupt):
                main(self.arguments(folders))
            assert dict(os.environ) == before
        assert {folders["target"], folders["draft"]} <= set(closed)
        assert main(self.arguments(folders)) == 0

    def test_a_full_disk_while_the_model_is_converted(self, tmp_path, capsys, monkeypatch):
        gguf = tmp_path / "model.gguf"
        gguf.write_bytes(b"weights")

        def full(source, folder):
            (folder / "model.safetensors").write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(embedded_model, "gguf_file", lambda: gguf)
        monkeypatch.setattr(embedded_model, "cache_folder", lambda: tmp_path / "cache")
        monkeypatch.setattr(embedded_model, "_convert", full)
        self.fails(capsys, ["--pair", "smollm2", "--prompt", "a"], 2, "No space left", "0.6 GB")
        assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []

    def test_a_missing_shard(self, folders, tmp_path, capsys):
        model = AutoModelForCausalLM.from_pretrained(folders["target"])
        model.save_pretrained(tmp_path, max_shard_size="20KB")
        AutoTokenizer.from_pretrained(folders["target"]).save_pretrained(tmp_path)
        shards = sorted(tmp_path.glob("model-*.safetensors"))
        assert len(shards) > 1
        shards[-1].unlink()
        self.fails(capsys, self.arguments({**folders, "target": str(tmp_path)}), 2, str(tmp_path), shards[-1].name)

    def test_a_truncated_shard(self, folders, tmp_path, capsys):
        AutoModelForCausalLM.from_pretrained(folders["target"]).save_pretrained(tmp_path)
        AutoTokenizer.from_pretrained(folders["target"]).save_pretrained(tmp_path)
        weights = tmp_path / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        self.fails(capsys, self.arguments({**folders, "target": str(tmp_path)}), 2, str(tmp_path))

    def test_tokenizers_that_differ_in_one_added_token(self, folders, tmp_path, capsys):
        tokenizer = AutoTokenizer.from_pretrained(folders["draft"])
        tokenizer.add_tokens(["<tool>"])
        AutoModelForCausalLM.from_pretrained(folders["draft"]).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        self.fails(capsys, self.arguments({**folders, "draft": str(tmp_path)}), 2, "<tool>", folders["target"])

    @pytest.mark.slow
    def test_a_prompts_file_of_ten_megabytes(self, folders, tmp_path, capsys):
        """One prompt of 1 MB among ordinary ones: refused by its number of tokens; 10 MB of small ones: read."""
        file = tmp_path / "large.json"
        file.write_text(json.dumps([{"prompt": "abc"}, {"prompt": "ab cd " * (2**20 // 6)}]))
        arguments = self.arguments(folders, "--prompts", file)
        arguments[arguments.index("--prompt") : arguments.index("--prompt") + 2] = []
        self.fails(capsys, arguments, 2, "prompt 2", "tokens", "--max-seq-len")
        file.write_text(json.dumps([{"prompt": "x" * 1000, "category": "many"}] * 10_000))
        assert file.stat().st_size > 10 * 10**6 and len(load_prompts(file)) == 10_000

    def test_deeply_nested_json(self, folders, tmp_path, capsys):
        file = tmp_path / "deep.json"
        file.write_text("[" * 200_000)
        self.fails(capsys, ["--prompts", str(file)], 2, str(file))

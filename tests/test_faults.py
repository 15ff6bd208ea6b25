# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around a generation: one clear message, nothing left open, and the next run works.

Also about faults: test_embedded_model.py (a damaged cache, two processes building it at once), test_demo.py (malformed
prompts files, bad options), test_tt_runner.py (failures while opening a device).
"""

import json
import os
import re

import pytest
import torch
from support.doubles import ScriptedDrafter, knowing
from support.model_folder import save_tiny_model
from support.tiny import greedy_by_recomputation, tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.tt_transformers.demo.speculative_decoding import embedded_model, model_setup, speculative_demo
from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.hybrid_drafter import HybridDrafter
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.prompts import load_prompts
from models.tt_transformers.demo.speculative_decoding.speculative_demo import main
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.torch_runner import TorchModelRunner

MODEL, PROMPT = tiny_llama(0), [5, 3, 8, 1]
TEXT, GAP = greedy_by_recomputation(MODEL, PROMPT, 40)
assert GAP > 1e-3


class FailingRunner(TorchModelRunner):
    """Raises what it is told to, at the forward it is told to, once."""

    fail_at, error, forwards = -1, None, 0

    def forward(self, tokens, positions, **options):
        self.forwards += 1
        if self.forwards == self.fail_at:
            raise self.error
        return super().forward(tokens, positions, **options)


def runner(model=MODEL, *, cls=TorchModelRunner, name="target", **options):
    return cls(model, name=name, max_seq_len=96, **options)


def generator_with(drafter_kind="model", *, target=None, draft=None, sampling=SamplingParams()):
    draft = draft or runner(tiny_llama(1), name="draft")
    drafter = {
        "model": lambda: ModelDrafter(draft),
        "lookup": PromptLookupDrafter,
        "hybrid": lambda: HybridDrafter(PromptLookupDrafter(), ModelDrafter(draft)),
    }[drafter_kind]()
    return SpeculativeGenerator(target or runner(), drafter, sampling=sampling)


def works(generator):
    assert generator.generate([PROMPT], max_new_tokens=30)[0].tokens == TEXT[:30]


class TestInterrupted:
    @pytest.mark.parametrize("kind", ["model", "lookup", "hybrid"])
    @pytest.mark.parametrize("after", [1, 2, 3, 7])
    def test_the_consumer_stops_half_way(self, kind, after):
        generator = generator_with(kind)
        stream = generator.stream([PROMPT], max_new_tokens=30)
        assert [next(stream).token for _ in range(after)] == TEXT[:after]
        stream.close()
        works(generator)

    def test_the_consumer_stops_while_another_generation_runs(self):
        """A stream that was left and forgotten does not come back to life in the next one."""
        generator = generator_with("lookup")
        left = generator.stream([PROMPT], max_new_tokens=30)
        next(left)
        works(generator)
        del left
        works(generator)

    @pytest.mark.parametrize("after", [0, 1, 5])
    def test_an_exception_in_on_token(self, after):
        generator, seen = generator_with(), []

        def on_token(event):
            if len(seen) == after:
                raise ZeroDivisionError("mine")
            seen.append(event.token)

        with pytest.raises(ZeroDivisionError, match="mine"):
            generator.generate([PROMPT], max_new_tokens=30, on_token=on_token)
        assert seen == TEXT[:after]
        works(generator)

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError("no room")], ids=lambda e: type(e).__name__)
    @pytest.mark.parametrize("where", ["target", "draft"])
    @pytest.mark.parametrize("at", [1, 2, 5])
    def test_interrupted_in_a_forward(self, error, where, at):
        failing = runner(MODEL if where == "target" else tiny_llama(1), cls=FailingRunner, name=where)
        failing.fail_at, failing.error = at, error
        generator = generator_with(**{where: failing})
        with pytest.raises(type(error)):
            generator.generate([PROMPT], max_new_tokens=30)
        works(generator)

    def test_interrupted_inside_the_model(self, monkeypatch):
        """In the middle of a layer: the caller's model is given back as it was."""
        model = tiny_llama(0)
        before = model.config._attn_implementation
        generator = SpeculativeGenerator(runner(model), PromptLookupDrafter())
        with monkeypatch.context() as patch:
            patch.setattr(model.model.layers[1].mlp, "forward", lambda x: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                generator.generate([PROMPT], max_new_tokens=30)
        assert model.config._attn_implementation == before
        works(generator)

    def test_the_drafter_raises(self):
        calls = []

        def script(context, count):
            calls.append(count)
            if len(calls) == 3:
                raise OSError("the draft server is gone")
            return [0] * count

        generator = SpeculativeGenerator(runner(), ScriptedDrafter(script))
        with pytest.raises(OSError, match="server is gone"):
            generator.generate([PROMPT], max_new_tokens=30)
        works(generator)


class TestUnusableLogits:
    @pytest.mark.parametrize("kind", ["nan", "inf", "-inf"])
    @pytest.mark.parametrize("where", ["target", "draft"])
    @pytest.mark.parametrize("sampled", [False, True], ids=["greedy", "sampled"])
    def test_the_error_names_the_model_and_the_position(self, kind, where, sampled):
        """A token whose embedding is broken: the failure is in the forward that first processes it.

        Of the rows of one verify the first may be named, since a NaN among the keys spoils them all.
        """
        model = tiny_llama(0)
        broken = TEXT[6]
        at = len(PROMPT) + TEXT.index(broken)
        whole = model.model.embed_tokens.weight[broken].clone()
        spoiled, other = runner(model, name=f"the {where}"), runner(name="the other")
        generator = SpeculativeGenerator(
            spoiled if where == "target" else other,
            ModelDrafter(spoiled if where == "draft" else other),
            sampling=SamplingParams(temperature=1e-6) if sampled else SamplingParams(),
        )
        with torch.no_grad():
            model.model.embed_tokens.weight[broken] = float(kind)
        with pytest.raises(ModelFailure, match=rf"the {where} .*position \d+ of user 0") as caught:
            generator.generate([PROMPT], max_new_tokens=30)
        named = int(re.search(r"position (\d+)", str(caught.value))[1])
        assert named == at if where == "draft" else at - 4 <= named <= at
        with torch.no_grad():
            model.model.embed_tokens.weight[broken] = whole
        works(generator)

    def test_in_the_prompt(self):
        model = tiny_llama(0)
        with torch.no_grad():
            model.model.embed_tokens.weight[PROMPT[-1]] = float("nan")
        with pytest.raises(ModelFailure, match="target .*position 3 of user 1"):
            SpeculativeGenerator(runner(model, max_users=2), None).generate([[2, 2], PROMPT], max_new_tokens=3)

    def test_a_large_sum_is_not_a_failure(self):
        """float16 ends at 65504: many ordinary logits may add up to more."""
        model = tiny_llama(0).half()
        with torch.no_grad():
            model.lm_head.weight[:] = 0.0
            model.lm_head.weight[:, 0] = 5e3
        target = runner(model)
        target.prefill([PROMPT])
        target.forward(torch.tensor([[1, 2, 3]]), [len(PROMPT)])


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
    def test_nan_in_a_model(self, which, folders, closed, capsys, monkeypatch):
        load = model_setup.load_model

        def spoil(model_id, **options):
            model, tokenizer = load(model_id, **options)
            if model_id == folders[which]:
                with torch.no_grad():
                    model.lm_head.weight[7] = float("nan")
            return model, tokenizer

        with monkeypatch.context() as patch:
            patch.setattr(model_setup, "load_model", spoil)
            self.fails(capsys, self.arguments(folders), 1, folders[which], "NaN", "position")
        assert {folders["target"], folders["draft"]} <= set(closed)
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
        """One prompt of 10 MB among ordinary ones: refused by its number of tokens; as many small ones: read."""
        file = tmp_path / "large.json"
        file.write_text(json.dumps([{"prompt": "abc"}, {"prompt": "ab cd " * (10 * 2**20 // 6)}]))
        arguments = self.arguments(folders, "--prompts", file)
        arguments[arguments.index("--prompt") : arguments.index("--prompt") + 2] = []
        self.fails(capsys, arguments, 2, "prompt 2", "tokens", "--max-seq-len")
        file.write_text(json.dumps([{"prompt": "x" * 1000, "category": "many"}] * 10_000))
        assert file.stat().st_size > 10 * 10**6 and len(load_prompts(file)) == 10_000

    def test_deeply_nested_json(self, folders, tmp_path, capsys):
        file = tmp_path / "deep.json"
        file.write_text("[" * 200_000)
        self.fails(capsys, ["--prompts", str(file)], 2, str(file))


class TestTwoModelsThatDoNotFit:
    @pytest.mark.parametrize("vocab", [24, 40])
    def test_vocabularies_of_different_size(self, vocab):
        """One tokenizer, padded differently (Qwen2.5's sizes are): q would be shorter or longer than p."""
        draft = ModelDrafter(runner(tiny_llama(1, vocab=vocab), name="draft"))
        for drafter in (draft, HybridDrafter(PromptLookupDrafter(), draft)):
            with pytest.raises(BadInput, match=f"vocab_size is {vocab} in the draft draft and 32"):
                SpeculativeGenerator(runner(), drafter)

    @pytest.mark.parametrize("token", [32, -1])
    def test_a_token_id_that_the_target_does_not_have(self, token):
        with pytest.raises(BadInput, match=f"token id {token} .* 32"):
            SpeculativeGenerator(runner(), None).generate([[1, token]], max_new_tokens=3)

    def test_a_draft_model_that_holds_fewer_tokens(self):
        short = TorchModelRunner(tiny_llama(1), name="draft", max_seq_len=16)
        with pytest.raises(BadInput, match="max_seq_len 16"):
            SpeculativeGenerator(runner(), ModelDrafter(short))


def test_a_known_text_is_a_known_text():
    """Negative control of works(): a generator with a wrong target does not pass."""
    wrong = SpeculativeGenerator(runner(tiny_llama(3)), knowing(PROMPT + TEXT, wrong_at=lambda i: False, vocab=32))
    with pytest.raises(AssertionError):
        works(wrong)

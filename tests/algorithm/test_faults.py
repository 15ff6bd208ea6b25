# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around a generation: one clear message, nothing left open, and the next generation works.

Also about faults: test_faults_of_the_demo.py (the command line), test_tt_traces.py (failures while opening a device).
"""

import re

import pytest
import torch
from support.doubles import ScriptedDrafter, knowing
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

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
        """In the middle of a layer; the caller's model is never touched."""
        model = tiny_llama(0)
        before = model.config._attn_implementation
        target = runner(model)
        generator = SpeculativeGenerator(target, PromptLookupDrafter())
        layer = target._positional.model.model.layers[1].mlp
        with monkeypatch.context() as patch:
            patch.setattr(layer, "forward", lambda x: (_ for _ in ()).throw(KeyboardInterrupt))
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

    def test_finite_logits_whose_sum_is_not_are_no_failure(self):
        """The control above looks at sums first."""
        model = tiny_llama(0)
        model.get_output_embeddings().register_forward_hook(lambda *call: torch.full_like(call[2], 3e38))
        assert runner(model).prefill([PROMPT]).values.tolist() == [[pytest.approx(3e38)] * 32]

    def test_a_large_sum_is_not_a_failure(self):
        """float16 ends at 65504: many ordinary logits may add up to more."""
        model = tiny_llama(0).half()
        with torch.no_grad():
            model.lm_head.weight[:] = 0.0
            model.lm_head.weight[:, 0] = 5e3
        target = runner(model)
        target.prefill([PROMPT])
        target.forward(torch.tensor([[1, 2, 3]]), [len(PROMPT)])


class TestTwoModelsThatDoNotFit:
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

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What an examiner found: models, settings and calls that ended in another text, or in a traceback."""

import threading

import numpy as np
import pytest
import torch
from support.tiny import greedy_by_recomputation, tiny_llama
from torch import nn
from transformers import BatchEncoding, LlamaForCausalLM

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf import attention
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.sequences import GenerationRequest
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

PROMPT = [3, 14, 15, 9, 26, 5]


def text(model, **options):
    generator = SpeculativeGenerator(TorchModelRunner(model, max_seq_len=96))
    return generator.generate([PROMPT], max_new_tokens=12, stop_token_ids=[], **options)[0].tokens


def opened():
    return TorchModelRunner(tiny_llama(0), max_seq_len=64)


def greedy(model):
    return greedy_by_recomputation(model, PROMPT, 12)[0]


class TestClosedInBetween:
    @pytest.mark.parametrize("closed", ["runner", "drafter"])
    def test_a_stream_says_so(self, closed):
        drafter = PromptLookupDrafter()
        runner = TorchModelRunner(tiny_llama(0), max_seq_len=64)
        stream = SpeculativeGenerator(runner, drafter, num_draft_tokens=2).stream([PROMPT], stop_token_ids=[])
        next(stream)
        (runner if closed == "runner" else drafter).close()
        with pytest.raises(BadInput, match="or they were closed"):
            list(stream)

    def test_by_another_thread(self):
        runner = TorchModelRunner(tiny_llama(0), max_seq_len=512)
        generator, wanted = SpeculativeGenerator(runner), greedy_by_recomputation(tiny_llama(0), PROMPT, 100)[0]
        closing = threading.Timer(0.02, runner.close)
        closing.start()
        try:
            assert generator.generate([PROMPT], max_new_tokens=100, stop_token_ids=[])[0].tokens == wanted
        except BadInput as error:
            assert "or they were closed" in str(error)
        closing.join()

    def test_one_lookahead_follows_one_generation(self):
        lookahead = AdaptiveLookahead()
        streams = []
        for users in (1, 2):
            runner = TorchModelRunner(tiny_llama(0), max_seq_len=64, max_users=2)
            generator = SpeculativeGenerator(runner, PromptLookupDrafter(), lookahead=lookahead)
            streams.append(generator.stream([PROMPT] * users, stop_token_ids=[]))
            next(streams[-1])
        with pytest.raises(BadInput, match="a lookahead for each"):
            list(streams[0])


class TestAChangedModel:
    @pytest.mark.parametrize("change", ["head", "hook", "activation"])
    def test_a_runner_opened_after_the_change(self, change):
        model = tiny_llama(0)
        assert text(model) == greedy(model)
        if change == "head":
            model.lm_head = nn.Linear(32, 32, bias=False)
        elif change == "hook":
            model.model.layers[0].mlp.register_forward_hook(lambda module, given, output: -output)
        else:
            model.model.layers[0].mlp.act_fn = nn.Tanh()
        assert text(model) == greedy(model)


class HidesTokens(LlamaForCausalLM):
    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, **options):
        if past_key_values is None:
            attention_mask = input_ids != 5
        else:
            attention_mask = torch.ones(1, past_key_values.get_seq_length() + input_ids.shape[1], dtype=torch.bool)
        return super().forward(input_ids, attention_mask, past_key_values=past_key_values, **options)


class GivesAllRows(LlamaForCausalLM):
    def forward(self, input_ids=None, logits_to_keep=0, **options):
        return super().forward(input_ids, **options)


class MasksPadding(LlamaForCausalLM):
    floor = float("-inf")

    def forward(self, *given, **options):
        output = super().forward(*given, **options)
        output.logits[..., 28:] = self.floor
        return output


def of_class(kind):
    model = kind(tiny_llama(0).config).eval()
    model.load_state_dict(tiny_llama(0).state_dict())
    return model


class TestModels:
    def test_a_mask_of_tokens_of_its_own(self):
        with pytest.raises(BadInput, match="hides tokens by an attention_mask of its own"):
            TorchModelRunner(of_class(HidesTokens), max_seq_len=64)

    def test_all_rows_where_the_last_was_asked_for(self):
        model = of_class(GivesAllRows)
        assert text(model) == greedy(model)

    @pytest.mark.parametrize("floor", [float("-inf"), torch.finfo(torch.float32).min])
    def test_ids_that_no_text_has(self, floor):
        model = of_class(MasksPadding)
        model.floor = floor
        assert text(model) == greedy(model) and max(text(model)) < 28

    def test_an_attention_of_somebody_elses(self):
        model = tiny_llama(0)
        model.config._attn_implementation = "win16"
        with pytest.raises(BadInput, match="attends by 'win16', which is none of eager, sdpa"):
            TorchModelRunner(model, max_seq_len=64)

    def test_what_cannot_be_copied(self):
        model = tiny_llama(0)
        model.lock = threading.Lock()
        with pytest.raises(BadInput, match="no view of it can be made"):
            TorchModelRunner(model, max_seq_len=64)

    def test_what_a_forward_left_behind_is_shared(self):
        model = tiny_llama(0)
        model.last = model(torch.tensor([PROMPT])).logits
        assert text(model) == greedy(model)

    def test_the_generation_config_is_named_and_its_ends_are_its_own(self):
        model = tiny_llama(0)
        model.generation_config.num_beams = 4
        model.config.eos_token_id, model.generation_config.eos_token_id = 3, None
        runner = TorchModelRunner(model, max_seq_len=64)
        assert runner.eos_token_ids == frozenset()
        with pytest.warns(UserWarning, match="num_beams': 4.*ignored here"):
            SpeculativeGenerator(runner)


class TestInputs:
    def test_a_request_is_used_twice(self):
        generator = SpeculativeGenerator(TorchModelRunner(tiny_llama(0), max_seq_len=64))
        (first,) = generator.generate([PROMPT], max_new_tokens=12, stop_token_ids=[])
        request = GenerationRequest(prompts=[PROMPT], stop_token_ids=iter([first.tokens[3]]), max_new_tokens=12)
        ends = [generator.generate(request)[0].finish_reason for _ in range(2)]
        assert ends == ["eos", "eos"]

    def test_a_tokenizers_whole_result(self):
        padded = BatchEncoding({"input_ids": [[0, 0, 5, 6], [1, 2, 3, 4]], "attention_mask": [[0, 0, 1, 1], [1] * 4]})
        assert GenerationRequest(prompts=padded).prompts == [[5, 6], [1, 2, 3, 4]]
        assert GenerationRequest(prompts={"input_ids": torch.tensor([[1, 2]])}).prompts == [[1, 2]]

    def test_whole_numbers_in_any_form(self):
        model = tiny_llama(0)
        runner = TorchModelRunner(model, max_seq_len=np.float32(64), max_users=torch.tensor(2), eos_token_ids=15.0)
        assert (runner.max_seq_len, runner.max_users, runner.eos_token_ids) == (64, 2, {15})
        assert FixedLookahead(4.0).next([9], ["x"]) == [4] and PromptLookupDrafter(max_ngram=3.0).max_ngram == 3
        generator = SpeculativeGenerator(runner, PromptLookupDrafter(), num_draft_tokens=np.float32(4))
        assert generator.generate([PROMPT], max_new_tokens=12, stop_strings=None)[0].tokens[:12]

    @pytest.mark.parametrize(
        "call, named",
        [
            (lambda: TorchModelRunner(nn.Linear(2, 2), max_seq_len=64), "a Linear was given as a model"),
            (lambda: TorchModelRunner(tiny_llama(0), max_seq_len="64"), "max_seq_len is '64'"),
            (lambda: SpeculativeGenerator(tiny_llama(0)), "the target is a LlamaForCausalLM"),
            (lambda: SpeculativeGenerator(opened(), opened()), "the drafter is a TorchModelRunner"),
            (lambda: GenerationRequest(prompts=[PROMPT], seeds=[2**64]), "seeds is"),
            (lambda: GenerationRequest(prompts=[PROMPT], stops=[None]), "no StopConditions"),
            (lambda: GenerationRequest(prompts={"input_ids": [[1]], "attention_mask": [[1, 1]]}), "of another shape"),
            (lambda: GenerationRequest(prompts=[PROMPT], stop_strings=5), "stop_strings is 5"),
            (lambda: GenerationRequest(prompts=torch.zeros(1, 3, device="meta")), "without plain values"),
        ],
    )
    def test_refused(self, call, named):
        with pytest.raises(BadInput, match=named):
            call()

    def test_a_text_in_an_array(self):
        assert GenerationRequest(prompts=np.array("ABC")).prompts == ["ABC"]


class TestExact:
    @pytest.mark.parametrize("exact, wanted", [(True, torch.float64), (False, torch.float32)])
    def test_what_attention_computes_in(self, exact, wanted, monkeypatch):
        found, attend = set(), attention.scaled_dot_product_attention

        def noted(query, *rest, **options):
            found.add(query.dtype)
            return attend(query, *rest, **options)

        monkeypatch.setattr(attention, "scaled_dot_product_attention", noted)
        runner = TorchModelRunner(tiny_llama(0).bfloat16(), max_seq_len=64, prove=False, exact=exact)
        runner.prefill([PROMPT])
        runner.forward(torch.tensor([[5, 6]]), [len(PROMPT)])
        assert found == {wanted}

    def test_a_position_is_the_same_in_every_row_of_a_width(self):
        """A draft is row j of one verify; in plain decoding, as wide, it is row 0 of a later one, with more keys."""
        model, width = tiny_llama(0, dim=192, heads=8, vocab=64).bfloat16(), 5
        runner = TorchModelRunner(model, max_seq_len=128, exact=True)
        tokens = torch.randint(64, (100,), generator=torch.Generator().manual_seed(0))
        runner.prefill([tokens[:30].tolist()])
        for start in range(30, 95):
            together = runner.forward(tokens[None, start : start + width], [start]).values[0, 1]
            alone = runner.forward(tokens[None, start + 1 : start + 1 + width], [start + 1]).values[0, 0]
            assert torch.equal(together, alone), start

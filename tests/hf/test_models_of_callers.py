# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What callers do to a model, before and after a runner of it is opened: its own text all the same, or one line."""

import functools

import pytest
import torch
import transformers
from support.tiny import greedy_by_recomputation, tiny_llama
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, LlamaForCausalLM, LlamaForTokenClassification
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama import modeling_llama

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

PROMPT = [3, 14, 15, 9, 26, 5]
SIZES = {"vocab_size": 48, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "head_dim": 8}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0}
GEMMA4 = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 48, "num_kv_shared_layers": 2}
GEMMA4 |= {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 14}


@functools.wraps(sdpa_attention_forward)
def attend(*given, **options):
    return sdpa_attention_forward(*given, **options)


def mask(*given, **options):
    return sdpa_mask(*given, **options)


def generator(model, **options):
    return SpeculativeGenerator(TorchModelRunner(model, max_seq_len=128, **options))


def text(opened):
    return opened.generate([PROMPT], max_new_tokens=12, stop_token_ids=[])[0].tokens


class TestFunctionsOfSomebodyElses:
    @pytest.mark.parametrize(
        "name, mapping, function",
        [
            ("sdpa", AttentionInterface._global_mapping, attend),
            ("sdpa", AttentionInterface._global_mapping, functools.partial(sdpa_attention_forward)),
            ("sdpa", ALL_ATTENTION_FUNCTIONS._local_mapping, attend),
            ("eager", AttentionInterface._global_mapping, attend),
            ("sdpa_of_mine", AttentionInterface._global_mapping, attend),
            ("sdpa", AttentionMaskInterface._global_mapping, mask),
            ("eager", ALL_MASK_ATTENTION_FUNCTIONS._local_mapping, mask),
            ("eager", vars(modeling_llama), attend),
        ],
    )
    def test_they_are_refused_by_name(self, name, mapping, function, monkeypatch):
        model = tiny_llama(0)
        key = "eager_attention_forward" if mapping is vars(modeling_llama) else name
        monkeypatch.setitem(mapping, key, function)
        model.set_attn_implementation(name)
        with pytest.raises(BadInput, match=f"attends by '{name}', for which .* was registered"):
            TorchModelRunner(model, max_seq_len=128)

    @pytest.mark.parametrize("name", ["sdpa", "eager"])
    def test_control_transformers_own_are_not(self, name):
        model = tiny_llama(0)
        model.set_attn_implementation(name)
        assert text(generator(model)) == greedy_by_recomputation(model, PROMPT, 12)[0]


CHANGES = {
    "hook": lambda m: m.model.layers[0].mlp.register_forward_hook(lambda module, given, output: -output),
    "hook before": lambda m: m.model.layers[0].mlp.register_forward_pre_hook(lambda module, given: (-given[0],)),
    "module": lambda m: setattr(m, "lm_head", nn.Linear(32, 32, bias=False)),
    "parameter": lambda m: setattr(m.lm_head, "weight", nn.Parameter(torch.randn(32, 32))),
    "dtype": lambda m: m.half(),
    "number": lambda m: setattr(m.model.layers[1].self_attn, "scaling", 0.9),
    "flag": lambda m: setattr(m, "adapted", True),
    "function": lambda m: setattr(m, "forward", functools.partial(m.forward)),
    "configuration": lambda m: setattr(m.config, "rms_norm_eps", 0.5),
}


class TestChangedWhileARunnerIsOpen:
    @pytest.mark.parametrize("change", CHANGES)
    def test_it_is_said(self, change):
        model = tiny_llama(0)
        model.adapted = False
        opened = generator(model)
        before = text(opened)
        CHANGES[change](model)
        with pytest.raises(BadInput, match="was changed: .* open a runner of it as it is now"):
            opened.generate([PROMPT])
        assert len(before) == 12

    def test_use_and_new_values_are_no_change(self):
        model = tiny_llama(0)
        opened = generator(model)
        model(torch.tensor([PROMPT]), output_hidden_states=True)
        model.generate(torch.tensor([PROMPT]), max_new_tokens=2)
        model.train().requires_grad_(False).gradient_checkpointing_enable()
        with torch.no_grad():
            model.lm_head.weight.mul_(-1)
        found = text(opened)
        assert found == greedy_by_recomputation(model.eval(), PROMPT, 12)[0]

    def test_hooks_are_the_callers_own(self):
        class Steer:
            scale, seen = 1.0, ()

            def __call__(self, module, given, output):
                self.seen = [output + 0.0]  # with a gradient, which no copy of it could have
                return output * self.scale

        model, steer = tiny_llama(0), Steer()
        model.model.layers[0].mlp.register_forward_hook(steer)
        model(torch.tensor([PROMPT]))
        opened = generator(model)
        before = text(opened)
        steer.scale = -1.5
        assert text(opened) == greedy_by_recomputation(model, PROMPT, 12)[0] != before


class Scaled(LlamaForCausalLM):
    """Its logits depend on the last position of the text as soon as that is beyond 64."""

    def forward(self, input_ids=None, position_ids=None, **options):
        output = super().forward(input_ids, position_ids=position_ids, **options)
        if position_ids is not None and int(position_ids.max()) >= 64:
            output.logits = output.logits.roll(1, -1)
        return output


class TestRefusals:
    def test_what_begins_beyond_the_proofs_tokens(self):
        model = Scaled(tiny_llama(0).config).eval()
        with pytest.raises(BadInput, match="Scaled does not say"):
            TorchModelRunner(model, max_seq_len=128)
        assert text(SpeculativeGenerator(TorchModelRunner(model, max_seq_len=64)))

    @pytest.mark.parametrize(
        "kind, options, reason",
        [
            ("Gemma4", GEMMA4, r"its Gemma4\w+ asks more of its cache or its mask"),
            ("Nemotron", {}, "NemotronAttention does not pass on"),
            ("Doge", {}, "DogeAttention makes a mask of its own"),
        ],
    )
    def test_the_reason_is_the_models_part(self, kind, options, reason):
        config = getattr(transformers, f"{kind}TextConfig" if kind == "Gemma4" else f"{kind}Config")
        model = getattr(transformers, f"{kind}ForCausalLM")(config(**SIZES, **options)).eval()
        with pytest.raises(BadInput, match=reason) as refused:
            TorchModelRunner(model, max_seq_len=64)
        assert "Error" not in str(refused.value)

    @pytest.mark.parametrize("prove", [True, False])
    def test_what_generates_no_text(self, prove):
        model = LlamaForTokenClassification(tiny_llama(0).config)
        with pytest.raises(BadInput, match="LlamaForTokenClassification generates no text"):
            TorchModelRunner(model, max_seq_len=64, prove=prove)

    def test_what_does_not_run(self):
        with torch.device("meta"):
            model = LlamaForCausalLM(tiny_llama(0).config)
        with pytest.raises(BadInput, match="does not run on tokens and their positions alone"):
            TorchModelRunner(model, max_seq_len=64)

    def test_want_of_memory_in_its_own_forward_is_no_verdict(self):
        class Large(LlamaForCausalLM):
            def forward(self, *given, **options):
                raise torch.OutOfMemoryError("no memory")

        with pytest.raises(torch.OutOfMemoryError):
            TorchModelRunner(Large(tiny_llama(0).config).eval(), max_seq_len=64)

    def test_hidden_states_that_a_model_does_not_give(self):
        class Silent(LlamaForCausalLM):
            def forward(self, *given, **options):
                return super().forward(*given, **{**options, "output_hidden_states": False})

        with pytest.raises(BadInput, match="Silent has no hidden states of layer 2 to read"):
            TorchModelRunner(Silent(tiny_llama(0).config).eval(), max_seq_len=64).prefill([PROMPT], features=(2,))

    @pytest.mark.parametrize("features, named", [((3,), "no layer 3"), ((-1,), "no layer -1"), ((True,), "is True")])
    def test_layers_that_are_none(self, features, named):
        with pytest.raises(BadInput, match=named):
            TorchModelRunner(tiny_llama(0), max_seq_len=64).prefill([PROMPT], features=features)

    def test_a_forward_between_the_rounds_of_a_stream(self):
        opened = generator(tiny_llama(0))
        stream = opened.stream([PROMPT], stop_token_ids=[])
        next(stream)
        opened.target.forward(torch.tensor([[7]]), [3])
        with pytest.raises(BadInput, match="another generation has begun"):
            list(stream)

    @pytest.mark.parametrize(
        "tokens, options, named",
        [
            ([[1]], {}, "give an int64 tensor"),
            (torch.tensor([1]), {}, "give an int64 tensor"),
            (torch.tensor([[1.0]]), {}, "give an int64 tensor"),
            (torch.tensor([[32]]), {}, "knows 0 to 31"),
            (torch.tensor([[-1]]), {}, "knows 0 to 31"),
            (torch.tensor([[1], [2]]), {}, "1 positions and 2 lengths for 2 users"),
            (torch.tensor([[1]]), {"lengths": ["x"]}, "lengths is 'x'"),
        ],
    )
    def test_a_forward_of_no_tokens(self, tokens, options, named):
        runner = TorchModelRunner(tiny_llama(0), max_seq_len=64, max_users=2)
        runner.prefill([PROMPT])
        with pytest.raises(BadInput, match=named):
            runner.forward(tokens, [6], **options)

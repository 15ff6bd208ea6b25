# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Which models can be addressed by position: token for token their own greedy text, or refused when they are opened.

Windows and chunks are far shorter than the texts, so each is crossed several times.
"""

import pytest
import torch
import transformers
from support.tiny import greedy_by_recomputation, tiny_llama
from transformers import LlamaForCausalLM

from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.hf import attention, cache, proof
from models.tt_transformers.demo.speculative_decoding.hf.attention import attend_by_position
from models.tt_transformers.demo.speculative_decoding.hf.cache import PositionalCache, Segment
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

SMALL = {"vocab_size": 48, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
SMALL |= {"num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.3, "pad_token_id": 0}
SMALL |= {"bos_token_id": 1, "eos_token_id": 2}
EVERY_SECOND = ["sliding_attention", "full_attention"] * 2
LONG_ROPE = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
DEEPSEEK = {"kv_lora_rank": 16, "q_lora_rank": 12, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12}
DEEPSEEK |= {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "n_shared_experts": 1}
DEEPSEEK |= {"moe_intermediate_size": 16, "first_k_dense_replace": 1, "num_key_value_heads": 4}
LLAMA4 = {"attention_chunk_size": 7, "interleave_moe_layer_step": 2, "num_local_experts": 2, "head_dim": 8}
LLAMA4 |= {"intermediate_size_mlp": 48, "attn_temperature_tuning": True, "floor_scale": 5, "attn_scale": 0.7}
GEMMA = {"head_dim": 8, "sliding_window": 6}
# Class -> what its configuration has beside SMALL.
RIGHT = {
    "Mistral": {"sliding_window": 6},
    "Qwen2": {"sliding_window": 5, "use_sliding_window": True, "max_window_layers": 2},
    "Qwen3": {"sliding_window": 5, "use_sliding_window": True, "max_window_layers": 1, "head_dim": 8},
    "Phi3": {"sliding_window": 6},
    "Gemma2": {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 20.0, "query_pre_attn_scalar": 8},
    "Gemma3": {**GEMMA, "layer_types": EVERY_SECOND, "query_pre_attn_scalar": 8},
    "Cohere2": {"sliding_window": 6, "layer_types": EVERY_SECOND, "head_dim": 8},
    "GptOss": {**GEMMA, "layer_types": EVERY_SECOND, "num_local_experts": 2, "num_experts_per_tok": 1},
    "Llama4": LLAMA4,
    "DiffLlama": {},
    "DeepseekV3": DEEPSEEK,
    "Starcoder2": {"sliding_window": 6},
}
REFUSED = {
    "Lfm2": ({"layer_types": ["conv", "full_attention"] * 2}, "Lfm2ForCausalLM does not say"),
    "Mamba": ({"state_size": 4}, "carries a state from token to token"),
    "Phi3": ({"rope_parameters": LONG_ROPE, "original_max_position_embeddings": 32}, "ask for max_seq_len <= 32"),
    "Llama": ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4,
               "original_max_position_embeddings": 32}}, "ask for max_seq_len <= 32"),
}  # fmt: skip


def build(name, options, cls=None):
    config = {"Gemma3": "Gemma3Text", "Llama4": "Llama4Text"}.get(name, name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, f"{config}Config")(**{**SMALL, **options})
        return (cls or getattr(transformers, f"{name}ForCausalLM"))(config).eval()


def words(length, seed):
    return torch.randint(3, 48, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("name", RIGHT)
def test_the_text_is_the_models_own(name):
    model = build(name, RIGHT[name])
    prompts, limit = [words(9, 1), words(2, 2), words(17, 3)], 24
    expected = [greedy_by_recomputation(model, prompt, limit) for prompt in prompts]
    assert min(gap for _, gap in expected) > 1e-5, "a tie: choose another seed"
    for users, drafter, k in ((1, None, 0), (1, "self", 3), (3, "lookup", 4), (3, "self", 5)):
        runner = TorchModelRunner(model, max_seq_len=64, max_users=users)
        drafters = {None: lambda: None, "lookup": PromptLookupDrafter}
        drafters["self"] = lambda: ModelDrafter(TorchModelRunner(model, max_seq_len=64, max_users=users))  # noqa: B023
        generator = SpeculativeGenerator(runner, drafters[drafter](), num_draft_tokens=k)
        for first in range(0, 3, users):
            batch = slice(first, first + users)
            results = generator.generate(prompts[batch], max_new_tokens=limit, stop_token_ids=[])
            assert [result.tokens for result in results] == [tokens for tokens, _ in expected[batch]], (users, drafter)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_when_it_is_opened(name):
    options, message = REFUSED[name]
    with pytest.raises(BadInput, match=message):
        TorchModelRunner(build(name, options), max_seq_len=64)


def test_what_changes_with_the_length_is_right_below_it():
    options = REFUSED["Phi3"][0]
    model = build("Phi3", options)
    (result,) = SpeculativeGenerator(TorchModelRunner(model, max_seq_len=32)).generate([words(9, 1)], max_new_tokens=22)
    assert result.tokens == greedy_by_recomputation(model, words(9, 1), 22, stop_ids=[2])[0]


class Forgetful(LlamaForCausalLM):
    """Negative control: with a cache it says something else."""

    def forward(self, *args, **options):
        output = super().forward(*args, **options)
        if options.get("use_cache"):
            output.logits = output.logits.roll(1, -1)
        return output


class TestTheProof:
    def test_control_a_model_that_says_something_else_with_a_cache(self):
        with pytest.raises(BadInput, match="Forgetful does not say .*its logits lie"):
            TorchModelRunner(build("Llama", {}, Forgetful), max_seq_len=64)

    def test_it_can_be_left_out(self):
        runner = TorchModelRunner(build("Llama", {}, Forgetful), max_seq_len=64, prove=False)
        assert runner.prefill([[1, 2]]).values.shape == (1, 48)

    def test_it_is_made_once_per_model(self, monkeypatch):
        proofs = []
        prove = proof._prove
        monkeypatch.setattr(proof, "_prove", lambda *given: proofs.append(given) or prove(*given))
        model = tiny_llama(0)
        for _ in range(3):
            TorchModelRunner(model, max_seq_len=64)
        TorchModelRunner(tiny_llama(1), max_seq_len=64)
        assert len(proofs) == 2

    def test_low_precision_passes(self):
        for dtype in (torch.bfloat16, torch.float64):
            TorchModelRunner(tiny_llama(0).to(dtype), max_seq_len=64).prefill([[1, 2, 3]])

    def test_a_model_too_short_to_be_tried_or_without_sound_weights_is_left_to_its_user(self):
        short = build("Llama", {"max_position_embeddings": 8}, Forgetful)
        assert TorchModelRunner(short, max_seq_len=8).prefill([[1, 2]]).values.shape == (1, 48)
        unsound = build("Llama", {})
        with torch.no_grad():
            unsound.lm_head.weight[3] = float("nan")
        with pytest.raises(ModelFailure, match="NaN"):
            TorchModelRunner(unsound, max_seq_len=64).prefill([[1, 2]])

    def test_want_of_memory_is_no_verdict(self, monkeypatch):
        def exhausted(*_, **__):
            raise torch.OutOfMemoryError("no memory")

        monkeypatch.setattr(proof, "_rounding", exhausted)
        with pytest.raises(torch.OutOfMemoryError):
            TorchModelRunner(build("Llama", {}), max_seq_len=64)


class TestWhatAttentionCannotAnswer:
    rows = torch.randn(1, 2, 3, 4)

    def cached(self, **options):
        cache = PositionalCache(max_seq_len=8, **options)
        cache.begin([Segment(user=0, start=0, count=3, first_row=0)])
        cache.update(self.rows, self.rows, 0)
        return cache

    def test_a_mask_of_the_models_own(self):
        mask = torch.ones(1, 1, 3, 3)
        with pytest.raises(ModelFailure, match="a mask of its own"):
            attend_by_position(torch.nn.Module(), self.rows, self.rows, self.rows, mask, positional_cache=self.cached())

    def test_some_of_the_positions(self):
        few = self.rows[:, :, 1:]
        with pytest.raises(ModelFailure, match="2 of 3 positions"):
            attend_by_position(torch.nn.Module(), self.rows, few, few, positional_cache=self.cached(whole=True))


def test_where_memory_is_not_told_nothing_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (123, 456))
    assert cache.available_bytes(torch.device("cuda")) == 123
    assert cache.available_bytes(torch.device("cpu")) != 0
    monkeypatch.setattr(cache, "Path", lambda name: tmp_path / "nowhere")
    assert cache.available_bytes(torch.device("cpu")) is None
    assert TorchModelRunner(tiny_llama(0), max_seq_len=16).prefill([[1]]).values.shape == (1, 32)


@pytest.mark.parametrize("kind", ["Mistral", "Gemma2"])
def test_a_long_prompt_goes_in_blocks(kind, monkeypatch):
    """So that its mask need not be there as a whole: small blocks here, and no mask that is kept."""
    monkeypatch.setattr(attention, "BLOCK", 16)
    monkeypatch.setattr(cache, "KEPT_MASK", 64)
    model, prompt = build(kind, {"sliding_window": 8}), [(7 * n) % 48 for n in range(45)]
    (result,) = SpeculativeGenerator(TorchModelRunner(model, max_seq_len=64)).generate([prompt], max_new_tokens=9)
    assert result.tokens == greedy_by_recomputation(model, prompt, 9)[0]

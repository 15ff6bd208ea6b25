# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""TorchModelRunner against the same model called the ordinary way."""

import pytest
import torch
from support.tiny import tiny_llama
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.hf import cache
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelRunner

SMALL = {"vocab_size": 32, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL |= {"num_key_value_heads": 2, "max_position_embeddings": 128}
FAMILIES = {
    "llama": lambda: tiny_llama(0),
    "llama-mha": lambda: tiny_llama(0, kv_heads=4),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SMALL)).eval(),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=None)).eval(),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=32, n_layer=2, n_head=4, n_positions=128)).eval(),
}


@torch.no_grad()
def plain(model, tokens):
    """[len, V] logits, no cache."""
    return model(torch.tensor([tokens]), use_cache=False).logits[0].float()


def text(length, seed):
    return torch.randint(0, 32, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_equal_the_plain_forward(family):
    model = FAMILIES[family]()
    runner = TorchModelRunner(model, max_seq_len=64)
    whole = text(30, 1)
    reference = plain(model, whole)
    torch.testing.assert_close(runner.prefill([whole[:10]]).values[0], reference[9], atol=1e-4, rtol=1e-4)
    rows = runner.forward(torch.tensor([whole[10:15]]), [10]).values
    torch.testing.assert_close(rows[0], reference[10:15], atol=1e-4, rtol=1e-4)
    ids = runner.forward(torch.tensor([whole[15:16]]), [15], argmax_only=True).values
    assert ids.tolist() == [[int(reference[15].argmax())]]


def test_the_contract():
    assert isinstance(TorchModelRunner(tiny_llama(0), max_seq_len=64), ModelRunner)


def test_users_of_different_lengths_in_one_forward():
    model = tiny_llama(0)
    runner = TorchModelRunner(model, max_seq_len=64, max_users=4)
    texts = [text(length, seed) for seed, length in enumerate((9, 20, 5, 14))]
    starts = [4, 17, 3, IDLE]
    lengths = [5, 3, 1, 5]
    runner.prefill([whole[: max(start, 1)] for whole, start in zip(texts, starts)])
    tokens = torch.zeros((4, 5), dtype=torch.int64)
    for user, (whole, start, length) in enumerate(zip(texts, starts, lengths)):
        if start != IDLE:
            tokens[user, :length] = torch.tensor(whole[start : start + length])
    rows = runner.forward(tokens, starts, lengths=lengths).values
    ids = runner.forward(tokens, starts, lengths=lengths, argmax_only=True).values
    for user, (whole, start, length) in enumerate(zip(texts, starts, lengths)):
        if start != IDLE:
            expected = plain(model, whole)[start : start + length]
            torch.testing.assert_close(rows[user, :length], expected, atol=1e-4, rtol=1e-4)
            assert ids[user, :length].tolist() == expected.argmax(-1).tolist()


def test_an_idle_user_keeps_its_cache():
    model = tiny_llama(0)
    runner = TorchModelRunner(model, max_seq_len=64, max_users=2)
    texts = [text(12, 1), text(12, 2)]
    runner.prefill([whole[:8] for whole in texts])
    for position in range(8, 11):
        runner.forward(torch.tensor([[texts[0][position]], [0]]), [position, IDLE])
    rows = runner.forward(torch.tensor([[0], [texts[1][8]]]), [IDLE, 8]).values
    torch.testing.assert_close(rows[1, 0], plain(model, texts[1])[8], atol=1e-4, rtol=1e-4)


def test_rolling_back_is_naming_an_earlier_position():
    model = tiny_llama(0)
    runner = TorchModelRunner(model, max_seq_len=64)
    whole, wrong = text(20, 1), text(20, 2)
    runner.prefill([whole[:6]])
    runner.forward(torch.tensor([wrong[6:12]]), [6])
    rows = runner.forward(torch.tensor([whole[6:9]]), [6]).values
    torch.testing.assert_close(rows[0], plain(model, whole)[6:9], atol=1e-4, rtol=1e-4)


def test_features_are_the_hidden_states():
    model = tiny_llama(0)
    runner = TorchModelRunner(model, max_seq_len=64)
    whole = text(12, 3)
    with torch.no_grad():
        hidden = model(torch.tensor([whole]), use_cache=False, output_hidden_states=True).hidden_states
    expected = torch.cat([hidden[1][0], hidden[2][0]], dim=-1)
    prefilled = runner.prefill([whole[:8]], features=(1, 2))
    torch.testing.assert_close(prefilled.features[0], expected[:8], atol=1e-4, rtol=1e-4)
    verified = runner.forward(torch.tensor([whole[8:]]), [8], features=(1, 2), argmax_only=True)
    assert verified.values.shape == (1, 4)
    torch.testing.assert_close(verified.features[0], expected[8:], atol=1e-4, rtol=1e-4)


def test_trimmed_head_keeps_the_logits_it_computes():
    model = tiny_llama(0)
    ids = [30, 2, 5, 11]
    runner = TorchModelRunner(model, max_seq_len=64, head_token_ids=ids)
    full = plain(model, text(9, 4))
    row = runner.prefill([text(9, 4)]).values[0]
    torch.testing.assert_close(row[sorted(ids)], full[-1][sorted(ids)], atol=1e-4, rtol=1e-4)
    others = [token for token in range(32) if token not in ids]
    assert torch.isinf(row[others]).all()
    best = runner.forward(torch.tensor([[7]]), [9], argmax_only=True).values
    expected = plain(model, [*text(9, 4), 7])[-1]
    assert int(best) == max(ids, key=lambda token: expected[token])


def test_the_callers_model_is_left_as_it_was():
    model = tiny_llama(0)
    before = (model.config.to_json_string(), model.config._attn_implementation, model.lm_head, plain(model, text(5, 1)))
    model.train()
    TorchModelRunner(model, max_seq_len=64, head_token_ids=[1, 2]).prefill([[1, 2, 3]])
    assert model.training and all(module.training for module in model.modules())
    assert (model.config.to_json_string(), model.config._attn_implementation, model.lm_head) == before[:3]
    model.eval()
    torch.testing.assert_close(plain(model, text(5, 1)), before[3], atol=0, rtol=0)


@pytest.mark.parametrize("kind", ["nan", "inf"])
def test_unusable_logits_name_the_model_and_the_position(kind):
    model = tiny_llama(0)
    runner = TorchModelRunner(model, name="broken", max_seq_len=64)
    runner.prefill([[1, 2, 3]])
    with torch.no_grad():
        model.model.embed_tokens.weight[9] = float(kind)
    runner.forward(torch.tensor([[1]]), [3])
    with pytest.raises(ModelFailure, match="broken .* position 4 of user 0"):
        runner.forward(torch.tensor([[9]]), [4])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_width_changes_rows_by_rounding_only(dtype):
    model = tiny_llama(0).to(dtype)
    runner = TorchModelRunner(model, max_seq_len=64)
    whole = text(12, 5)
    runner.prefill([whole[:8]])
    wide = runner.forward(torch.tensor([whole[8:]]), [8]).values[0]
    narrow = torch.cat([runner.forward(torch.tensor([[whole[p]]]), [p]).values[0] for p in range(8, 12)])
    tolerance = 1e-4 if dtype == torch.float32 else 0.15
    torch.testing.assert_close(wide, narrow, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: TorchModelRunner(tiny_llama(0), max_seq_len=4096), "max_seq_len 4096 is outside 2..512"),
        (lambda: TorchModelRunner(tiny_llama(0), max_seq_len=64, max_users=0), "max_users is 0"),
        (lambda: TorchModelRunner(tiny_llama(0), max_seq_len=64, head_token_ids=[32]), "0 to 31"),
    ],
)
def test_refused(build, message):
    with pytest.raises(BadInput, match=message):
        build()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda runner: runner.prefill([[1] * 9]), "9 tokens"),
        (lambda runner: runner.prefill([[]]), "a prompt of 0 tokens"),
        (lambda runner: runner.prefill([[1], [2]]), "2 prompts .* 1 to 1 users"),
        (lambda runner: runner.forward(torch.tensor([[1, 2]]), [7]), "outside 0..7"),
        (lambda runner: runner.forward(torch.tensor([[1]]), [IDLE]), "idle"),
        (lambda runner: runner.forward(torch.tensor([[1], [1]]), [0, 0]), "2 users of 1 tokens"),
        (lambda runner: runner.forward(torch.tensor([[1, 2, 3, 4]]), [0]), "1 users of 4 tokens .* 1 users of 3"),
        (lambda runner: runner.forward(torch.tensor([[1, 2]]), [0], lengths=[3]), "3 of 2 tokens of user 0"),
        (lambda runner: runner.forward(torch.tensor([[1, 2]]), [0], lengths=[0]), "0 of 2 tokens of user 0"),
    ],
)
def test_calls_that_do_not_fit_are_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call(TorchModelRunner(tiny_llama(0), max_seq_len=8, max_tokens_per_user=3))


def test_a_forward_leaves_the_callers_model_alone_meanwhile():
    """Another thread may use the model while a runner's forward is under way."""
    model = tiny_llama(0)
    runner = TorchModelRunner(model, max_seq_len=64)
    seen = []
    runner._positional.model.model.layers[1].register_forward_hook(
        lambda *_: seen.append((model.config._attn_implementation, plain(model, [1, 2, 3])))
    )
    runner.prefill([[1, 2, 3]])
    expected = plain(model, [1, 2, 3])
    assert seen and all(name == model.config._attn_implementation for name, _ in seen)
    assert all(torch.equal(logits, expected) for _, logits in seen)


def test_memory_is_for_the_users_that_were_sent():
    runner = TorchModelRunner(tiny_llama(0), max_seq_len=64, max_users=32)

    def held():
        return {layer: len(keys) for layer, keys in runner.cache.keys.items()}

    runner.prefill([[1, 2]])
    assert held() == {0: 1, 1: 1}
    runner.prefill([[1, 2]] * 9)
    assert held() == {0: 9, 1: 9}
    runner.prefill([[1, 2]] * 2)
    assert held() == {0: 2, 1: 2}


def test_users_that_do_not_fit_are_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(cache, "available_bytes", lambda device: 1 << 20)
    runner = TorchModelRunner(tiny_llama(0), max_seq_len=512, max_users=32)
    runner.prefill([[1]] * 4)
    with pytest.raises(BadInput, match="32 users of 512 tokens need 4 MB more, and 1 MB of memory are free"):
        runner.prefill([[1]] * 32)
    assert len(runner.prefill([[1]]).values) == 1

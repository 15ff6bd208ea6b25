# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The Tenstorrent runner on a fake tt_transformers that models what can go wrong there.

Whole generations equal plain greedy decoding, and each safeguard that is taken away makes them differ.
"""

import functools
import itertools
import sys

import pytest
import torch
from fakes import fixtures
from fakes.device import FakeMeshDevice
from fakes.pairs import DRAFTS, LIMIT, MAX_SEQ_LEN, PROMPTS, TARGET, TIE, VOCAB, greedy_texts, speculate
from support.tiny import greedy_by_recomputation

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead
from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelRunner
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt import loading as tt_loading
from models.tt_transformers.demo.speculative_decoding.tt import pair as tt_pair
from models.tt_transformers.demo.speculative_decoding.tt import row_decode as tt_row_decode
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import WritePositions

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "untraced"])
@pytest.mark.parametrize("k", range(1, 8), ids="K{}".format)
def test_equals_plain_decoding(open_pair, k, traced):
    """One user and three in turns, so that each K has seen both, and both have been traced and not."""
    mesh, users = FakeMeshDevice(), 1 if k % 2 == traced else 3
    pair = open_pair(mesh=mesh, users=users, num_draft_tokens=k, enable_trace=traced)
    assert speculate(pair, PROMPTS[:users], k) == greedy_texts()[:users]
    assert (mesh.replays > 0) == traced


@pytest.mark.parametrize("draft", DRAFTS)
def test_equals_plain_decoding_whatever_is_accepted(open_pair, draft):
    pair = open_pair(draft, users=2, num_draft_tokens=3)
    for _ in range(2):  # again on the same cache, which is full of the first generation
        assert speculate(pair, PROMPTS[:2], 3) == greedy_texts()[:2]


def test_one_pair_serves_several_k(open_pair):
    target, draft = open_pair(num_draft_tokens=(1, 4, 7))
    assert [key for key in target._steps] == [(2, True), (5, True), (8, True)]
    for k in range(8):  # those in between use the next wider trace
        assert speculate((target, draft), PROMPTS[:1], k) == greedy_texts()[:1]


def test_runs_past_a_prompt_that_fills_the_cache(open_pair):
    prompt = list(itertools.islice(itertools.cycle(range(VOCAB)), MAX_SEQ_LEN - 3))
    expected, gap = greedy_by_recomputation(TARGET, prompt, 3)
    assert gap > TIE
    assert speculate(open_pair(num_draft_tokens=4), [prompt], 4)[0][:3] == expected


def test_separate_writes_of_keys_and_values(open_pair, ttnn, monkeypatch):
    """Where upstream does not fuse the rotary embedding of Q and K, it calls the other op, twice."""
    args = sys.modules["models.tt_transformers.tt.model_config"].ModelArgs
    monkeypatch.setattr(args, "__init__", functools.partialmethod(args.__init__, use_hf_rope=True))
    monkeypatch.delattr(ttnn.experimental, "paged_fused_update_cache")
    assert speculate(open_pair(num_draft_tokens=3), PROMPTS[:1], 3) == greedy_texts()[:1]


def test_sampling_draws_what_it_draws_on_the_host(open_pair):
    """The same seeds on Hugging Face runners: the same p and q, so the same tokens."""
    sampling = SamplingParams(temperature=0.8, top_k=12, seed=5)

    def text(target, draft):
        generator = SpeculativeGenerator(target, ModelDrafter(draft), num_draft_tokens=3, sampling=sampling)
        return [result.tokens for result in generator.generate(PROMPTS[:2], max_new_tokens=LIMIT)]

    on_host = [
        TorchModelRunner(model, max_seq_len=MAX_SEQ_LEN, max_users=2) for model in (TARGET, DRAFTS["often-right"])
    ]
    assert text(*open_pair(users=2, num_draft_tokens=3, sampling=True)) == text(*on_host)


def test_a_draft_that_stops_when_unsure(open_pair):
    pair = open_pair(num_draft_tokens=4, confidence_stop=True)
    lookahead = AdaptiveLookahead(start_draft_tokens=4, max_draft_tokens=4, min_probability=0.5)
    generator = SpeculativeGenerator(pair[0], ModelDrafter(pair[1]), lookahead=lookahead)
    (result,) = generator.generate(PROMPTS[:1], max_new_tokens=LIMIT)
    assert result.tokens == greedy_texts()[0]


def hf_logits(tokens):
    with torch.no_grad():
        return TARGET(torch.tensor([tokens])).logits[0]


def test_every_row_is_the_reference_model(open_pair):
    target, _ = open_pair(users=2, num_draft_tokens=3, sampling=True)
    assert isinstance(target, ModelRunner) and (target.vocab_size, target.max_tokens_per_user) == (VOCAB, 4)
    prompts, drafted = PROMPTS[:2], torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    prefilled = target.prefill(prompts).values
    rows = target.forward(drafted, [len(prompt) for prompt in prompts]).values
    assert rows.shape == (2, 4, VOCAB) and rows.dtype == torch.float32
    for user, prompt in enumerate(prompts):
        expected = hf_logits(prompt + drafted[user].tolist())
        torch.testing.assert_close(prefilled[user], expected[len(prompt) - 1], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(rows[user], expected[len(prompt) :], rtol=1e-4, atol=1e-4)


def test_rows_that_do_not_count_are_not_written(open_pair):
    target, _ = open_pair(users=2, num_draft_tokens=3)
    prompt = PROMPTS[0]
    target.prefill([prompt, prompt])
    n = len(prompt)
    target.forward(torch.tensor([[1, 2, 3, 4]] * 2), [n, n], argmax_only=True)
    before = [cache.data.clone() for cache in target._model.kv_cache[0]]
    target.forward(torch.tensor([[9, 9, 9, 9]] * 2), [IDLE, n], lengths=[4, 1], argmax_only=True)
    for cache, old in zip(target._model.kv_cache[0], before, strict=True):
        blocks = target._model.cache
        changed = (cache.data.nan_to_num(9) != old.nan_to_num(9)).any(1).any(-1).nonzero().tolist()
        assert changed == [[blocks.table_row(1)[0], n]]  # user 1's first row, and nothing of user 0


def test_rolling_back_overwrites(open_pair):
    target, _ = open_pair(num_draft_tokens=3)
    prompt = PROMPTS[0]
    target.prefill([prompt])
    for drafted in ([1, 2, 3, 4], [1, 30, 31, 32], [20]):  # each rejects what the one before wrote
        ids = target.forward(torch.tensor([drafted]), [len(prompt)], argmax_only=True).values
        assert ids[0].tolist() == hf_logits(prompt + drafted)[len(prompt) :].argmax(-1).tolist()


# Negative controls: take one safeguard away, and the text is wrong.


def test_control_the_stock_write_loses_rows(open_pair, monkeypatch):
    class StockWrite(WritePositions):
        def split(self, current_pos):
            return [current_pos]

    monkeypatch.setattr(tt_row_decode, "WritePositions", StockWrite)
    assert speculate(open_pair(num_draft_tokens=3), PROMPTS[:1], 3) != greedy_texts()[:1]


def test_control_a_replay_of_stale_inputs(open_pair, ttnn, monkeypatch):
    pair = open_pair(num_draft_tokens=3)
    monkeypatch.setattr(ttnn, "copy_host_to_device_tensor", lambda host, on_device: None)
    try:
        assert speculate(pair, PROMPTS[:1], 3) != greedy_texts()[:1]
    except (IndexError, RuntimeError):
        pass  # what the other model's replay left in the inputs was no position at all


def test_control_one_cache_path_for_both_models(open_pair, monkeypatch, tmp_path):
    monkeypatch.setattr(tt_loading, "model_cache_path", lambda model_id: str(tmp_path / "shared"))
    target, draft = open_pair("always-wrong", num_draft_tokens=3)
    assert speculate((target, draft), PROMPTS[:1], 3) == greedy_texts()[:1]  # a wrong draft costs time, not text
    assert torch.equal(target._model.transformer.head.data, draft._model.transformer.head.data)


def test_control_one_cache_path_that_was_used_before(open_pair, monkeypatch, tmp_path, checkpoints):
    monkeypatch.setattr(tt_loading, "model_cache_path", lambda model_id: str(tmp_path / "shared"))
    request = tt_pair.ModelRequest(model_id=str(checkpoints / "always-wrong"), tokens_per_user=(1,))
    tt_pair.open_models(FakeMeshDevice(), [request], max_seq_len=120)[0].close()
    assert speculate(open_pair(num_draft_tokens=3), PROMPTS[:1], 3) != greedy_texts()[:1]


def test_control_the_device_keeps_its_own_position_after_a_rollback(open_pair):
    """Upstream's device-sampling mode, fed as this package feeds the host mode: it does not roll back by one."""
    target, _ = open_pair(num_draft_tokens=0)
    model, prompt = target._model, PROMPTS[0]
    n, sampling = len(prompt), object()
    target.prefill([prompt])
    generator = model.upstream.Generator([model.transformer], [model.args], model.mesh_device)
    options = {
        "page_table": torch.tensor([model.cache.table_row(0)]).int(),
        "kv_cache": [model.kv_cache],
        "sampling_params": sampling,
        "reset_batch": True,
    }

    def by_device(token, position):
        with model.writes.by(lambda op, args, kwargs: op(*args, **kwargs)):
            return int(generator.decode_forward(torch.tensor([token]), torch.tensor([position]), **options)[0][0])

    def by_runner(token, position):
        return int(target.forward(torch.tensor([[token]]), [position], argmax_only=True).values)

    def by_reference(tokens):
        return int(hf_logits(prompt + tokens)[-1].argmax())

    by_device(1, n), by_device(2, n + 1)
    trapped = by_device(30, n + 1)  # token 2 is rejected: token 30 instead, at the same place
    by_runner(1, n), by_runner(2, n + 1)
    assert by_runner(30, n + 1) == by_reference([1, 30])
    assert trapped != by_reference([1, 30])


def test_control_a_capture_before_the_other_model_is_compiled(ttnn, checkpoints):
    mesh = FakeMeshDevice()
    requests = [
        tt_pair.ModelRequest(model_id=str(checkpoints / name), tokens_per_user=(2,))
        for name in ("target", "of-another-size")
    ]
    target, draft = tt_pair.open_models(mesh, requests, max_seq_len=120, warmup=False)
    target.warmup([2])  # alone: captures at once
    draft.warmup([2])
    draft.forward(torch.tensor([[1, 2]]), [0], argmax_only=True)  # well, until the target's trace is replayed
    target.forward(torch.tensor([[1, 2]]), [0], argmax_only=True)
    with pytest.raises(RuntimeError, match="overwritten by a trace replay"):
        draft.forward(torch.tensor([[1, 2]]), [0], argmax_only=True)

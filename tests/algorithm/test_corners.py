# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Corners of the algorithm's files that no generation of the other tests turns: refusals, and what reports ask for."""

import time
from dataclasses import replace

import pytest
import torch
from support.doubles import ScriptedDrafter
from support.eagle import as_head, head_model
from support.law import TableRunner
from support.rounds import record
from support.tiny import tiny_llama
from transformers import Qwen2Config, Qwen2ForCausalLM

import models.tt_transformers.demo.speculative_decoding as package
from models.tt_transformers.demo.speculative_decoding import metrics, runner
from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.cache import PositionalCache, Segment
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter, suffix_first
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult, RoundModel
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.runner import check_forward, check_prompts
from models.tt_transformers.demo.speculative_decoding.sequences import GenerationRequest, SequenceState, StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.trimmed_head import most_frequent_token_ids


def test_the_package_names_what_it_does_not_have():
    assert package.TorchModelRunner is TorchModelRunner
    with pytest.raises(AttributeError, match="no attribute 'TorchRunner'"):
        _ = package.TorchRunner


class TestSequences:
    def test_an_empty_stop_string_is_refused(self):
        with pytest.raises(BadInput, match="empty stop string"):
            StopConditions(max_new_tokens=1, max_seq_len=8, stop_strings=("a", ""), decode=str)

    def test_nothing_follows_the_end(self):
        sequence = SequenceState(prompt=[1], stop=StopConditions(max_new_tokens=1, max_seq_len=8))
        sequence.commit(2, "prefill", "", 0)
        with pytest.raises(RuntimeError, match="finished sequence"):
            sequence.commit(3, "plain", "", 0)
        assert sequence.emitted == [2]


class TestRequests:
    def test_a_request_and_options_are_too_much(self):
        request = GenerationRequest(prompts=[[1]])
        with pytest.raises(BadInput, match="whole request and max_new_tokens"):
            GenerationRequest.of(request, max_new_tokens=3)
        assert GenerationRequest.of(request) is request

    def test_a_runner_without_features_is_not_asked_for_them(self):
        table = TableRunner(lambda last: torch.zeros(4), vocab=4, users=1)
        with pytest.raises(BadInput, match="table gives no hidden states"):
            check_prompts(table, [[1]], (1,))
        with pytest.raises(BadInput, match="table gives no hidden states"):
            check_forward(table, torch.tensor([[1]]), [0], None, (1,))

    @pytest.mark.parametrize("token", [-1, 4])
    def test_plain_decoding_refuses_ids_that_the_model_lacks(self, token):
        model = TorchModelRunner(tiny_llama(0, vocab=4), max_seq_len=16)
        with pytest.raises(BadInput, match=f"{token}"):
            decode_plainly(model, [[1, token]], stop=StopConditions(max_new_tokens=1, max_seq_len=8))

    def test_where_memory_is_not_told_it_is_not_measured(self, monkeypatch, tmp_path):
        monkeypatch.setattr(runner, "Path", lambda name: tmp_path / "nowhere")
        with runner.watch_load("model") as load:
            pass
        assert load.host_rss_mb is None and load.init_s >= 0


def test_closing_a_hybrid_closes_both():
    model = TorchModelRunner(tiny_llama(0), max_seq_len=16)
    drafter = suffix_first(ModelDrafter(model))
    drafter.start([[1, 2, 3]])
    assert model.cache.keys
    drafter.close()
    assert not model.cache.keys and drafter.first._users == []


def test_a_verdict_on_some_drafts_is_none_on_those_that_were_added():
    """Of two users the first drafter serves one, and has its target's choices; the other's drafts are not judged."""

    class Judged(ScriptedDrafter):
        def propose(self, request):
            return replace(super().propose(request), choices=[[8], [8]], catch_up=7)

    first, second = Judged(lambda context, count: [1] if context[0] else []), ScriptedDrafter(lambda *_: [2])
    drafts = [
        HybridDrafter(first, second).propose(DraftRequest(contexts=c, counts=[1, 1])) for c in ([[1], [0]], [[1]] * 2)
    ]
    assert [(d.tokens, d.choices, d.catch_up) for d in drafts] == [([[1], [2]], None, 7), ([[1], [1]], [[8], [8]], 7)]


def test_in_a_mixed_round_each_user_has_his_own_drafters_time():
    """The second drafter takes its time; c is what a drafted token costs, whoever drafted it."""

    class Slow(ScriptedDrafter):
        def propose(self, request):
            time.sleep(0.02)
            return super().propose(request)

    drafter = HybridDrafter(ScriptedDrafter(lambda context, count: [1] if context[0] else []), Slow(lambda *_: [2]))
    mixed, alone = (
        drafter.propose(DraftRequest(contexts=contexts, counts=[1, 1])) for contexts in ([[1], [0]], [[0], [0]])
    )
    assert mixed.own_ns[0] < 10**7 < 2 * 10**7 <= mixed.own_ns[1] and alone.own_ns is None
    rounds = [replace(record(1, 1, draft_ns=90, verify_ns=1), own_ns=own_ns) for own_ns in (10, 80)]
    assert RoundModel.measured(rounds, [100]).c == pytest.approx(0.45)


class TestMetrics:
    def test_an_unknown_part_makes_an_unknown_ratio(self):
        assert metrics.ratio(None, 2.0) is None and metrics.ratio(2.0, None) is None and metrics.ratio(2.0, 0.0) is None
        assert metrics.ratio(0.0, 2.0) == 0.0

    def test_a_result_counts_its_rounds_and_its_tokens(self):
        result = GenerationResult(
            prompt=[1], tokens=[2, 3, 4], text=None, finish_reason="length", origins=[], sources=[], ttft_ns=1,
            target_ttft_ns=1, emitted_ns=[7, 8, 500_000_007], rounds=[record(4, 1), record(3, 3), record(0, 0)],
        )  # fmt: skip
        assert (result.drafted, result.accepted) == (7, 4)
        assert result.decode_tps == pytest.approx(4.0)  # two tokens after the first, in half a second


class TestAuto:
    def test_calibration_leaves_out_what_does_not_fit(self):
        """Widths beyond the cache cannot be asked for either, so nothing is known of them."""
        lookahead = AutoLookahead((0, 1, 8))
        lookahead.calibrate(TorchModelRunner(tiny_llama(0), max_seq_len=4), users=1, argmax_only=True)
        assert (
            lookahead.clockwork.samples(2) == lookahead.clockwork.samples(32) == 2 * lookahead.clockwork.samples(1) > 0
        )

    def test_a_round_that_a_stop_cut_says_nothing_of_the_verify(self):
        lookahead = AutoLookahead()
        lookahead.start(1)
        lookahead.next([8], ["model"])
        cut = record(2, 2, verify_ns=1000)
        object.__setattr__(cut, "emitted", 2)
        lookahead.observe([cut])
        assert lookahead.clockwork.samples(32) == 0
        lookahead.next([8], ["model"])
        lookahead.observe([record(2, 2, verify_ns=1000)])
        assert lookahead.clockwork.samples(32) == 1


class TestTorchRunner:
    def test_cuda_is_waited_for_and_the_cpu_is_not(self, monkeypatch):
        waited = []
        monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
        runner = TorchModelRunner(tiny_llama(0), max_seq_len=16)
        runner.synchronize()
        assert waited == []
        runner.device = torch.device("cuda")
        runner.synchronize()
        assert waited == [torch.device("cuda")]

    def test_a_model_without_the_attention_interface_is_refused(self):
        model = tiny_llama(0)
        model._supports_attention_backend = False
        with pytest.raises(BadInput, match="does not use transformers' attention interface"):
            TorchModelRunner(model, max_seq_len=16)

    def test_the_cache_says_how_far_it_is_filled(self):
        cache = PositionalCache(max_seq_len=16)
        assert cache.get_seq_length() == 0
        cache.begin([Segment(user=0, start=3, count=2, first_row=0)])
        assert cache.get_seq_length() == 3 and cache.get_mask_sizes(2, 0) == (5, 0)
        rows = torch.randn(1, 2, 2, 4)
        cache.update(rows, rows, 1)
        assert cache.get_seq_length(1) == 5 and cache.get_seq_length(0) == 3

    def test_a_trimmed_head_keeps_its_bias(self):
        sizes = {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
        }
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Qwen2ForCausalLM(Qwen2Config(vocab_size=16, **sizes, tie_word_embeddings=False)).eval()
            model.lm_head = torch.nn.Linear(32, 16, bias=True)
        kept = [1, 4, 9]
        whole = TorchModelRunner(model, max_seq_len=16).prefill([[3, 5]]).values[0]
        trimmed = TorchModelRunner(model, max_seq_len=16, head_token_ids=kept).prefill([[3, 5]]).values[0]
        torch.testing.assert_close(trimmed[kept], whole[kept])
        assert torch.isinf(trimmed).sum() == 13


def test_text_without_a_tokenizer_is_refused():
    generator = SpeculativeGenerator(TorchModelRunner(tiny_llama(0), max_seq_len=16))
    with pytest.raises(BadInput, match="the generator has no tokenizer"):
        generator.generate(["hello"], max_new_tokens=1)


def test_text_with_a_tokenizer_is_encoded_and_decoded():
    class Letters:
        encode = staticmethod(lambda text: [ord(letter) - ord("a") for letter in text])
        decode = staticmethod(lambda ids: "".join(chr(ord("a") + token) for token in ids))

    runner = TorchModelRunner(tiny_llama(0), max_seq_len=16)
    (of_ids,) = SpeculativeGenerator(runner).generate([[2, 0, 1]], max_new_tokens=4)
    (of_text,) = SpeculativeGenerator(runner, tokenizer=Letters()).generate(["cab"], max_new_tokens=4)
    assert (of_text.prompt, of_text.tokens, of_text.text) == ([2, 0, 1], of_ids.tokens, Letters.decode(of_ids.tokens))
    assert of_ids.text is None


def test_a_text_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9")
    for name, why in (("absent.txt", "cannot be read"), ("latin.txt", "is not UTF-8")):
        with pytest.raises(BadInput, match=f"{name} {why}"):
            most_frequent_token_ids(tmp_path / name, tokenizer=None, size=4)


def test_a_feature_draft_without_features_says_so_and_forgets_its_users():
    target = tiny_llama(0)
    drafter = FeatureDrafter(as_head(head_model(target, torch.tensor([0, 2, 3, 5])), target))
    with pytest.raises(ValueError, match=r"start\(\) needs prompt_features"):
        drafter.start([[1, 2]])
    drafter.start([[1, 2]], [torch.zeros(2, 2 * 32)])
    with pytest.raises(ValueError, match=r"observe\(\) needs them"):
        drafter.observe([0], None)
    drafter.close()
    assert drafter.propose(DraftRequest(contexts=[], counts=[], sampling=SamplingParams(), generators=[])).tokens == []

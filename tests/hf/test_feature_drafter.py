# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafting with a head: its cache against recomputation with no cache, losslessness, and its q."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file
from support.eagle import as_head, head_model
from support.tiny import greedy_by_recomputation, tiny_llama
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, to_probabilities
from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.pairs import named_pair
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import (
    FORMAT,
    FeatureDraft,
    FeatureHead,
    target_fingerprint,
)
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from training.model import HeadModel

GREEDY, SAMPLING = SamplingParams(), SamplingParams(temperature=1.0, top_p=0.9, seed=4)
TOKEN_IDS = torch.tensor([0, 2, 3, 5, 7, 8, 11, 13, 17, 19, 23, 24, 29, 31])
PROMPTS = [[5, 6, 7], [1], [9, 8, 7, 6, 5, 4, 3], [2, 2]]


@pytest.fixture(scope="module")
def target():
    return tiny_llama(1, layers=4)


@pytest.fixture(scope="module")
def head(target) -> HeadModel:
    return head_model(target, TOKEN_IDS, layers=(1, 2, 3), seed=2)


@torch.no_grad()
def _features(target, tokens: list[int]) -> Tensor:
    hidden = target(torch.tensor([tokens]), output_hidden_states=True).hidden_states
    return torch.cat([hidden[layer][0] for layer in (1, 2, 3)], -1)


@torch.no_grad()
def _draft_by_recomputation(head: HeadModel, target, context: list[int], count: int) -> tuple[list[int], Tensor]:
    """Greedy drafts for a context (pending token last) and the logits of each, with no cache."""
    state = head.state_from_features(_features(target, context[:-1]))[None]
    drafted, rows = [], []
    for _ in range(count):
        positions = torch.arange(state.shape[1])[None]
        next_tokens = torch.tensor([(context + drafted)[1:]])
        q, k, v = head.attention_inputs(state, target.get_input_embeddings()(next_tokens), positions)
        mask = torch.ones(1, 1, state.shape[1], state.shape[1], dtype=torch.bool).tril()
        hidden = head.attend(state, q, k, v, mask)
        logits = head.lm_head(head.norm(hidden[0, -1]))
        rows.append(logits)
        drafted.append(int(head.token_ids[logits.argmax()]))
        state = torch.cat([state, hidden[:, -1:]], 1)
    return drafted, torch.stack(rows) if rows else torch.empty(0, len(head.token_ids))


def _ask(drafter: FeatureDrafter, contexts: list[list[int]], counts: list[int], **options):
    generators = [torch.Generator().manual_seed(user) for user in range(len(contexts))]
    return drafter.propose(
        DraftRequest(
            contexts=contexts, counts=counts, sampling=options.pop("sampling", GREEDY), generators=generators, **options
        )
    )


def test_drafts_equal_recomputation_over_rounds_with_any_acceptance(target, head):
    """Ragged users, rejected and accepted drafts, rounds without drafts: the cache is never stale."""
    drafter = FeatureDrafter(as_head(head, target))
    texts = [prompt + greedy_by_recomputation(target, prompt, 30)[0] for prompt in PROMPTS]
    committed = [len(prompt) + 1 for prompt in PROMPTS]
    drafter.start(PROMPTS, [_features(target, prompt) for prompt in PROMPTS])
    counts_of_rounds = [[2, 1, 3, 0], [0, 0, 0, 0], [1, 3, 2, 2], [3, 0, 1, 1], [2, 2, 2, 2]]
    accepted_of_rounds = [[0, 1, 2, 0], [0, 0, 0, 0], [1, 2, 0, 2], [3, 0, 1, 0], [0, 0, 0, 0]]
    for counts, accepted in zip(counts_of_rounds, accepted_of_rounds):
        contexts = [text[:length] for text, length in zip(texts, committed)]
        draft = _ask(drafter, contexts, counts)
        for context, count, drafted in zip(contexts, counts, draft.tokens):
            assert drafted == _draft_by_recomputation(head, target, context, count)[0]
        # The verified rows: true features as far as accepted, garbage after; row j is position pending + j.
        rows = []
        for text, length, count in zip(texts, committed, accepted):
            known = _features(target, text[: length + count])[length - 1 :]
            rows.append(torch.cat([known, torch.full((4 - len(known), known.shape[1]), float("nan"))]))
        drafter.observe(accepted, torch.stack(rows))
        committed = [length + count + 1 for length, count in zip(committed, accepted)]


def test_speculated_entries_must_be_overwritten(target, head):
    """Negative control of the test above: without catching up on true features the drafts differ."""
    drafter = FeatureDrafter(as_head(head, target))
    text = PROMPTS[0] + greedy_by_recomputation(target, PROMPTS[0], 12)[0]
    drafter.start([PROMPTS[0]], [_features(target, PROMPTS[0])])
    _ask(drafter, [text[:4]], [4])
    wrong = -_features(target, text[:6])[3:6]
    drafter.observe([2], wrong[None])
    tokens = _ask(drafter, [text[:7]], [6]).tokens[0]
    assert tokens != _draft_by_recomputation(head, target, text[:7], 6)[0]


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_generation_equals_plain_greedy_decoding(target, head, k):
    runner = TorchModelRunner(target, max_seq_len=96, max_users=len(PROMPTS))
    generator = SpeculativeGenerator(runner, FeatureDrafter(as_head(head, target)), num_draft_tokens=k)
    results = generator.generate(PROMPTS, max_new_tokens=25, stop_token_ids=[])
    for prompt, result in zip(PROMPTS, results):
        assert list(result.tokens) == greedy_by_recomputation(target, prompt, 25)[0]


def test_long_texts_outgrow_the_first_cache(target, head, monkeypatch):
    monkeypatch.setattr("models.tt_transformers.demo.speculative_decoding.hf.feature_drafter.CACHE_STEP", 4)
    runner = TorchModelRunner(target, max_seq_len=96)
    generator = SpeculativeGenerator(runner, FeatureDrafter(as_head(head, target)), num_draft_tokens=3)
    (result,) = generator.generate([PROMPTS[0]], max_new_tokens=40, stop_token_ids=[])
    assert list(result.tokens) == greedy_by_recomputation(target, PROMPTS[0], 40)[0]


def test_sampled_drafts_come_with_the_distribution_they_were_drawn_from(target, head):
    drafter = FeatureDrafter(as_head(head, target))
    context = [5, 6, 7, 8]
    expected = torch.full((32,), float("-inf"))
    expected[TOKEN_IDS] = _draft_by_recomputation(head, target, context, 1)[1][0]
    expected = to_probabilities(expected, SAMPLING)
    drawn = torch.zeros(32)
    for seed in range(400):
        drafter.start([context[:-1]], [_features(target, context[:-1])])
        generators = [torch.Generator().manual_seed(seed)]
        draft = drafter.propose(DraftRequest(contexts=[context], counts=[2], sampling=SAMPLING, generators=generators))
        assert [row.shape for row in draft.probs[0]] == [(32,), (32,)]
        assert torch.allclose(draft.probs[0][0], expected, atol=1e-5)
        drawn[draft.tokens[0][0]] += 1
    outside = torch.ones(32, dtype=torch.bool)
    outside[TOKEN_IDS] = False
    assert expected[outside].sum() == 0 and expected.sum() == pytest.approx(1.0)
    assert (drawn / 400 - expected).abs().sum() / 2 < 0.1
    uniform = torch.ones(32) / 32
    assert (drawn / 400 - uniform).abs().sum() / 2 > 0.1


def test_a_draft_ends_where_nothing_is_likely_enough(target, head):
    drafter = FeatureDrafter(as_head(head, target))
    context = [5, 6, 7, 8]
    best = _draft_by_recomputation(head, target, context, 5)[1].softmax(-1).max(-1).values
    threshold = float(best.min()) + 1e-4
    expected = int((best < threshold).nonzero()[0])
    drafter.start([context[:-1]], [_features(target, context[:-1])])
    assert len(_ask(drafter, [context], [5], min_probability=threshold).tokens[0]) == expected
    drafter.start([context[:-1]], [_features(target, context[:-1])])
    assert len(_ask(drafter, [context], [5], min_probability=threshold - 2e-4).tokens[0]) == 5


def test_a_target_that_gives_no_features_is_refused(target, head):
    runner = TorchModelRunner(target, max_seq_len=96)
    runner.supports_features = False
    with pytest.raises(BadInput, match="gives no hidden states"):
        SpeculativeGenerator(runner, FeatureDrafter(as_head(head, target)), num_draft_tokens=1)


def test_a_target_is_known_again_in_another_precision(target):
    assert target_fingerprint(copy.deepcopy(target).bfloat16()) == target_fingerprint(target)


def test_the_committed_file_is_read_as_it_was_written():
    """Spec, dtypes and a checksum of the tensors: a change of the reader or of the format shows without the model."""
    draft = FeatureDraft.load(named_pair("smollm2").draft_path)
    assert (draft.spec.target_name, draft.spec.target_hash) == ("SmolLM2-135M-Instruct", "e9516720f9edd09f")
    assert draft.spec.layers == (6, 15, 24, 30) and draft.spec.draft_vocab_size == 8192
    assert {str(tensor.dtype) for tensor in draft.tensors.values()} == {
        "torch.bfloat16",
        "torch.float32",
        "torch.int32",
    }
    digest = hashlib.sha256()
    for _, tensor in sorted(draft.tensors.items()):
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    assert digest.hexdigest()[:16] == "fa7e437b478a8692"


def test_the_committed_draft_of_another_target_is_refused_with_both_names(target):
    target.config._name_or_path = "somewhere/stranger-3B"
    with pytest.raises(BadInput, match="trained for SmolLM2-135M-Instruct .*target is stranger-3B"):
        FeatureDrafter.from_file(named_pair("smollm2").draft_path, target)


def test_files_that_are_no_drafts_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"no draft file .*missing\.safetensors; .*python -m training\.train_draft"):
        FeatureDraft.load(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("not a draft")
    with pytest.raises(BadInput, match="cannot be read"):
        FeatureDraft.load(tmp_path / "text.safetensors")
    whole = FeatureDraft.load(named_pair("smollm2").draft_path)
    spec, damaged = asdict(whole.spec), tmp_path / "damaged.safetensors"

    def save_damaged(tensors: dict[str, Tensor], spec: dict) -> None:
        save_file(tensors, damaged, metadata={"format": FORMAT, "spec": json.dumps(spec)})

    save_damaged({name: tensor for name, tensor in whole.tensors.items() if name != "o_proj.weight"}, spec)
    with pytest.raises(BadInput, match="damaged.*: o_proj.weight$"):
        FeatureDraft.load(damaged)
    for change in ({"layers": []}, {"layers": 2}, {"width": 3}, {"num_kv_heads": 0}, {"draft_vocab_size": 10**6}):
        save_damaged({"a": torch.zeros(1)}, {**spec, **change})
        with pytest.raises(BadInput, match="damaged.* cannot be read as"):
            FeatureDraft.load(damaged)


def test_what_is_no_draft_is_refused(target):
    with pytest.raises(BadInput, match="is made of a FeatureDraft"):
        FeatureHead("draft.safetensors", target)

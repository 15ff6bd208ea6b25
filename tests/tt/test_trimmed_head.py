# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A draft on the Tenstorrent runner whose output layer computes some of the ids only: the text is the target's all the
same, and what is computed is what the whole layer would have computed."""

import pytest
import torch
from fakes import fixtures
from fakes.pairs import DRAFTS, LIMIT, MAX_SEQ_LEN, PROMPTS, TARGET, VOCAB, greedy_texts, speculate

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.runner import IDLE
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt import loading as tt_loading

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair

EVEN, ODD = range(0, VOCAB, 2), range(1, VOCAB, 2)
KEPT = {"one id": [7], "every other": EVEN, "more than a tile, unsorted": [*range(VOCAB - 1, 3, -1)]}
TILE = 32


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "untraced"])
@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT.keys())
def test_equals_plain_decoding(open_pair, kept, traced):
    options = {"users": 2, "num_draft_tokens": 3, "enable_trace": traced}
    pair = open_pair("always-right", draft_head_token_ids=kept, **options)
    assert speculate(pair, PROMPTS[:2], 3) == greedy_texts()[:2]


def test_it_drafts_what_it_has_and_nothing_else(open_pair):
    target, draft = open_pair("always-right", num_draft_tokens=3, draft_head_token_ids=EVEN)
    generator = SpeculativeGenerator(target, ModelDrafter(draft), num_draft_tokens=3)
    (result,) = generator.generate(PROMPTS[:1], max_new_tokens=LIMIT)
    accepted = [token for token, origin in zip(result.tokens, result.origins, strict=True) if origin == "accepted"]
    assert accepted and set(accepted) <= set(EVEN)
    assert set(result.tokens) & set(ODD)  # the target has the whole vocabulary


def test_logits_are_the_whole_layers(open_pair):
    _, whole = open_pair("often-right", users=2, num_draft_tokens=3, sampling=True)
    _, draft = open_pair("often-right", users=2, num_draft_tokens=3, sampling=True, draft_head_token_ids=EVEN)
    assert draft.vocab_size == VOCAB
    pairs = [(runner.prefill(PROMPTS[:2]).values, runner.forward(torch.tensor([[1, 2], [3, 4]]), [6, IDLE]).values[0])
             for runner in (whole, draft)]  # fmt: skip
    for expected, found in zip(*pairs, strict=True):
        torch.testing.assert_close(found[..., list(EVEN)], expected[..., list(EVEN)])
        assert torch.isneginf(found[..., list(ODD)]).all()


def test_sampling_draws_what_it_draws_on_the_host(open_pair):
    sampling = SamplingParams(temperature=0.8, top_k=12, seed=5)

    def text(target, draft):
        generator = SpeculativeGenerator(target, ModelDrafter(draft), num_draft_tokens=3, sampling=sampling)
        return [result.tokens for result in generator.generate(PROMPTS[:2], max_new_tokens=LIMIT)]

    options = {"max_seq_len": MAX_SEQ_LEN, "max_users": 2}
    host = TorchModelRunner(TARGET, **options), TorchModelRunner(DRAFTS["often-right"], head_token_ids=EVEN, **options)
    on_device = open_pair("often-right", users=2, num_draft_tokens=3, sampling=True, draft_head_token_ids=EVEN)
    assert text(*on_device) == text(*host)


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT.keys())
def test_the_layer_has_whole_tiles(open_pair, kept):
    _, draft = open_pair(num_draft_tokens=1, draft_head_token_ids=kept)
    args, columns = draft._model.args, draft._model.transformer.head.shape[0]
    assert columns == args.vocab_size == args.padded_vocab_size and columns % TILE == 0
    assert columns - len(kept) < TILE


def drafted_first(open_pair, kept) -> int:
    """The first id that a draft with this head proposes after a prompt."""
    _, draft = open_pair("always-right", num_draft_tokens=1, draft_head_token_ids=kept)
    draft.prefill(PROMPTS[:1])
    return int(draft.forward(torch.tensor([PROMPTS[0][-1:]]), [len(PROMPTS[0]) - 1], argmax_only=True).values)


def best_of(kept) -> int:
    with torch.no_grad():
        logits = TARGET(torch.tensor(PROMPTS[:1])).logits[0, -1]
    return max(kept, key=lambda token: float(logits[token]))


def test_heads_of_one_size_do_not_share_converted_weights(open_pair):
    assert drafted_first(open_pair, EVEN) == best_of(EVEN)
    assert drafted_first(open_pair, ODD) == best_of(ODD)
    assert drafted_first(open_pair, EVEN) == best_of(EVEN)  # from the cache


def test_control_one_cache_path_for_two_heads(open_pair, monkeypatch):
    class NoDigest:
        def __init__(self, _):
            pass

        def hexdigest(self):
            return "the same for all"

    monkeypatch.setattr(tt_loading.hashlib, "sha256", NoDigest)
    assert drafted_first(open_pair, EVEN) == best_of(EVEN)
    assert drafted_first(open_pair, ODD) != best_of(ODD)


@pytest.mark.parametrize("kept", [[], [VOCAB], [-1, 3]], ids=["none", "too large", "negative"])
def test_ids_that_the_draft_does_not_have_are_refused_before_loading(open_pair, monkeypatch, kept):
    monkeypatch.setattr(tt_loading, "load_model", lambda *_, **__: pytest.fail("something was loaded"))
    with pytest.raises(BadInput, match=f"token ids from 0 to {VOCAB - 1}, at least one"):
        open_pair(draft_head_token_ids=kept)


def test_an_id_beyond_the_trimmed_layer_is_a_failure(open_pair, monkeypatch):
    _, draft = open_pair(users=2, num_draft_tokens=1, draft_head_token_ids=EVEN)
    draft.prefill(PROMPTS[:2])
    monkeypatch.setattr(draft._step(1, True), "run", lambda *_, **__: torch.tensor([3, TILE]))
    with pytest.raises(ModelFailure, match=f"outputs are {TILE}"):
        draft.forward(torch.tensor([[1], [1]]), [6, 3], argmax_only=True)
    ids = draft.forward(torch.tensor([[1], [1]]), [6, IDLE], argmax_only=True).values  # the second row is nobody's
    assert int(ids[0]) == EVEN[3]

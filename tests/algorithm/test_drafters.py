# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Prompt lookup's choices, and what the model drafter feeds its model."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter

GREEDY = SamplingParams()


def lookup(context, count, **options):
    drafter = PromptLookupDrafter(**options)
    drafter.start([context])
    return drafter.propose(DraftRequest(contexts=[context], counts=[count])).tokens[0]


@pytest.mark.parametrize(
    "context, count, expected",
    [
        pytest.param([1, 2, 3, 4, 1, 2], 3, [3, 4, 1], id="what-followed-the-2-gram"),
        pytest.param([7, 2, 8, 1, 2, 9, 5, 1, 2], 2, [9, 5], id="longest-n-gram-first"),
        pytest.param([1, 2, 3, 1, 2, 4, 1, 2], 1, [4], id="most-recent-match"),
        pytest.param([1, 2, 3, 4], 3, [], id="no-match-no-draft"),
        pytest.param([5], 3, [], id="one-token"),
        pytest.param([1, 2, 1, 2], 5, [1, 2, 1, 2, 1], id="a-repetition-goes-on"),
        pytest.param([4, 4], 3, [4, 4, 4], id="one-token-repeated"),
        pytest.param([1, 2, 3, 1], 0, [], id="nothing-wanted"),
    ],
)
def test_prompt_lookup(context, count, expected):
    assert lookup(context, count) == expected


def test_shortest_n_gram_option():
    assert lookup([1, 2, 3, 1, 9, 2], 2) == [3, 1]
    assert lookup([1, 2, 3, 1, 9, 2], 2, min_ngram=2) == []


@pytest.mark.parametrize("options", [{"max_ngram": 0}, {"min_ngram": 0}, {"min_ngram": 4}])
def test_refused_n_grams(options):
    with pytest.raises(BadInput, match="n-grams"):
        PromptLookupDrafter(**options)


def by_scanning(context, count, longest=3):
    """Prompt lookup by brute force."""
    for n in range(min(longest, len(context) - 1), 0, -1):
        for start in range(len(context) - n - 1, -1, -1):
            if context[start : start + n] == context[-n:]:
                text = list(context)
                for i in range(start + n, start + n + count):
                    text.append(text[i])
                return text[len(context) :]
    return []


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_the_growing_index_finds_what_a_scan_finds(text, steps):
    drafter = PromptLookupDrafter()
    drafter.start([text[:1]])
    here = 1
    for step in steps:
        context = text[: min(here, len(text))]
        assert drafter.propose(DraftRequest(contexts=[context], counts=[4])).tokens[0] == by_scanning(context, 4)
        here += step


class TestModelDrafter:
    def draft(self, drafter, context, count):
        generators = [torch.Generator().manual_seed(0)]
        return drafter.propose(
            DraftRequest(contexts=[context], counts=[count], sampling=GREEDY, generators=generators)
        ).tokens[0]

    @pytest.mark.parametrize("max_tokens_per_user", [2, 3, 32])
    def test_it_drafts_its_models_greedy_text_after_any_gap(self, max_tokens_per_user):
        """Accepted, rejected, not asked for many rounds: the draft is always what its model would write."""
        model = tiny_llama(0)
        drafter = ModelDrafter(TorchModelRunner(model, max_seq_len=128, max_tokens_per_user=max_tokens_per_user))
        context = [1, 2, 3]
        drafter.start([context])
        context = [*context, 9]
        for grow in ([], [4], [5, 6], list(range(10, 19)), [1], []):
            context = context + grow
            drafted = self.draft(drafter, context, 3)
            assert drafted == greedy_by_recomputation(model, context, 3)[0]
            context = [*context, drafted[0]]

    def test_a_stale_cache_would_show(self):
        """Negative control: a drafter that believes its rejected tokens are still right drafts something else."""
        model = tiny_llama(0)
        drafter = ModelDrafter(TorchModelRunner(model, max_seq_len=128))
        drafter.start([[1, 2, 3]])
        self.draft(drafter, [1, 2, 3, 9], 4)
        context = [1, 2, 3, 9, 30, 31, 29, 28, 7]
        stale = ModelDrafter(drafter.runner)
        stale._fed, stale._agreed = [context[:-1]], [0]
        assert self.draft(stale, context, 3) != greedy_by_recomputation(model, context, 3)[0]

    def test_min_probability_ends_a_greedy_draft(self):
        model = tiny_llama(0)
        drafter = ModelDrafter(TorchModelRunner(model, max_seq_len=128))
        drafter.start([[1, 2, 3]])
        generators = [torch.Generator()]
        options = {"sampling": GREEDY, "generators": generators}
        assert drafter.propose(
            DraftRequest(contexts=[[1, 2, 3, 4]], counts=[5], min_probability=1.0, **options)
        ).tokens == [[]]
        drafter.start([[1, 2, 3]])
        assert (
            len(
                drafter.propose(
                    DraftRequest(contexts=[[1, 2, 3, 4]], counts=[5], min_probability=1e-9, **options)
                ).tokens[0]
            )
            == 5
        )

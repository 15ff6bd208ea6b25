# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What the best suites of others check, as tests of this package; tests/README.md says whose each is."""

import math

import pytest
import torch
from scipy.stats import chisquare
from support.doubles import ScriptedDrafter, knowing
from support.law import SamplingDrafter, TableRunner, random_table
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.acceptance import (
    SamplingParams,
    _accept_sampled,
    accept,
    to_probabilities,
)
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

MODEL, PROMPT = tiny_llama(0), [5, 3, 8, 1]
TEXT, GAP = greedy_by_recomputation(MODEL, PROMPT, 60)
assert GAP > 1e-3
V = 10


def runner(model=MODEL, **options):
    return TorchModelRunner(model, max_seq_len=128, **options)


def emitted(drafts, choices):
    """What vLLM calls the output token ids: accepted drafts and the target's own token, per user."""
    users = len(drafts)
    options = {"active": [True] * users, "draft_probs": [None] * users, "generators": [None] * users}
    verdict = accept(drafts, choices, **options)
    return [[*d[:n], own] for d, n, own in zip(drafts, verdict.accepted_counts, verdict.next_tokens, strict=True)]


class TestVllmRejectionSampler:
    """vLLM, tests/v1/sample/test_rejection_sampler.py."""

    @pytest.mark.parametrize(
        "drafts, choices, expected",
        [
            pytest.param([[1, 2, 3]], [[1, 2, 3, 4]], [[1, 2, 3, 4]], id="perfect-match"),
            pytest.param([[1, 2, 3]], [[1, 5, 3, 4]], [[1, 5]], id="early-mismatch"),
            pytest.param([[1, 2], [3]], [[1, 2, 5], [3, 4]], [[1, 2, 5], [3, 4]], id="multiple-sequences"),
            pytest.param([[1]], [[1, 2]], [[1, 2]], id="single-token-sequence"),
            pytest.param([[]], [[5]], [[5]], id="empty-sequence"),
            pytest.param([[1, 2, 3], [4, 5, 6]], [[1, 2, 7, 6], [4, 8, 6, 9]], [[1, 2, 7], [4, 8]], id="mismatches"),
            pytest.param(
                [[1, 2], [], [3, 4, 5]], [[9, 2, 1], [6], [3, 4, 5, 0]], [[9], [6], [3, 4, 5, 0]], id="ragged"
            ),
        ],
    )
    def test_greedy(self, drafts, choices, expected):
        assert emitted(drafts, choices) == expected

    @pytest.mark.parametrize("place", range(5))
    def test_a_mismatch_at_each_place(self, place):
        choices = [1, 2, 3, 4, 5]
        drafted = choices[:4]
        if place < 4:
            drafted = [*drafted[:place], 9, *drafted[place + 1 :]]
        assert emitted([drafted], [choices]) == [choices[: place + 1]]

    @pytest.mark.parametrize("k", [1, 3, 5])
    @pytest.mark.parametrize("batch", [1, 4, 8])
    @pytest.mark.parametrize("seeded", [0.0, 0.5, 1.0])
    def test_deterministic_when_seeded(self, k, batch, seeded):
        """A seeded user gets the same in each of 20 repetitions, whatever the generators of the others hold."""
        made = torch.Generator().manual_seed(k * batch)
        p = [torch.rand(k + 1, V, generator=made).softmax(-1) for _ in range(batch)]
        q = [torch.rand(k, V, generator=made).softmax(-1) for _ in range(batch)]
        drafts = [[int(torch.multinomial(row, 1, generator=made)) for row in rows] for rows in q]
        with_seed = [user < round(seeded * batch) for user in range(batch)]
        seen = set()
        for repetition in range(20):
            seeds = [7 + user if fixed else 1000 * repetition + user for user, fixed in enumerate(with_seed)]
            generators = [torch.Generator().manual_seed(seed) for seed in seeds]
            verdict = accept(drafts, p, active=[True] * batch, draft_probs=q, generators=generators)
            outcome = list(zip(verdict.accepted_counts, verdict.next_tokens))
            seen.add(tuple(pair for pair, fixed in zip(outcome, with_seed) if fixed))
        assert len(seen) == 1

    def test_users_without_drafts_draw_one_number_only(self):
        """So that a user's later tokens do not depend on what was drafted for others, or on being idle."""
        p = torch.full((1, V), 1 / V)
        drew = torch.Generator().manual_seed(0)
        accept(
            [[], [1]],
            [p, p],
            active=[True, False],
            draft_probs=[None, None],
            generators=[drew, idle := torch.Generator()],
        )
        reference = torch.Generator().manual_seed(0)
        torch.rand((), dtype=torch.float64, generator=reference)
        assert torch.equal(drew.get_state(), reference.get_state())
        assert torch.equal(idle.get_state(), torch.Generator().get_state())

    @pytest.mark.parametrize("one_hot", [False, True], ids=["with-q", "n-gram"])
    def test_recovered_tokens_follow_the_native_leftover(self, one_hot):
        """Against a leftover worked out by a loop in float64."""
        made = torch.Generator().manual_seed(4)
        p, q = torch.rand(2, V, generator=made).softmax(-1), (3 * torch.rand(1, V, generator=made)).softmax(-1)
        drafted = int((q[0] - p[0]).argmax())
        leftover = [max(float(p[0, i]) - (float(i == drafted) if one_hot else float(q[0, i])), 0.0) for i in range(V)]
        counts = [0] * V
        for _ in range(8000):
            accepted, own = _accept_sampled([drafted], None if one_hot else q, p, made)
            if accepted == 0:
                counts[own] += 1
        possible = [i for i in range(V) if leftover[i] > 0]
        assert sum(counts) == sum(counts[i] for i in possible) > 500
        expected = [leftover[i] * sum(counts) / sum(leftover) for i in possible]
        assert chisquare([counts[i] for i in possible], expected).pvalue > 1e-3

    @pytest.mark.parametrize("mask", [{"top_k": 1}, {"top_k": 3}, {"top_p": 0.3}], ids=str)
    def test_top_k_and_top_p(self, mask):
        """A drafted token outside the target's mask is always rejected, and what is recovered is inside."""
        sampling = SamplingParams(temperature=1.0, **mask)
        made = torch.Generator().manual_seed(0)
        for _ in range(200):
            p = to_probabilities(2 * torch.randn(2, V, generator=made), sampling)
            outside = int(p[0].argmin())
            accepted, own = _accept_sampled([outside], torch.full((1, V), 1 / V), p, made)
            assert accepted == 0 and p[0, own] > 0

    def test_all_accepted_and_all_rejected(self):
        p = torch.eye(V)[[1, 2, 3]]
        made = torch.Generator().manual_seed(0)
        assert _accept_sampled([1, 2], p[:2], p, made) == (2, 3)
        assert _accept_sampled([4, 5], torch.eye(V)[[4, 5]], p, made) == (0, 1)

    def test_draft_model_correctness(self):
        """e2e/test_spec_decode: a draft equal to the target has rate 1.0 and length K + 1; here the text counts too."""
        result = SpeculativeGenerator(runner(), ModelDrafter(runner()), num_draft_tokens=4).generate(
            [PROMPT], max_new_tokens=51
        )[0]
        assert result.tokens == TEXT[:51] and result.accepted == result.drafted
        assert [r.emitted for r in result.rounds] == [5] * 10


class TestHuggingFaceAssistedDecoding:
    """transformers, tests/generation/test_utils.py and test_candidate_generator.py."""

    @pytest.mark.parametrize("assistant", ["random", "same"])
    def test_matches_greedy_search(self, assistant):
        draft = runner(MODEL if assistant == "same" else tiny_llama(1))
        result = SpeculativeGenerator(runner(), ModelDrafter(draft)).generate([PROMPT], max_new_tokens=40)[0]
        theirs = MODEL.generate(torch.tensor([PROMPT]), max_new_tokens=40, do_sample=False, pad_token_id=0)
        assert result.tokens == theirs[0, len(PROMPT) :].tolist()

    def test_matches_their_assisted_generation(self):
        result = SpeculativeGenerator(runner(), ModelDrafter(runner(tiny_llama(1)))).generate(
            [PROMPT], max_new_tokens=24
        )[0]
        options = {"max_new_tokens": 24, "do_sample": False, "pad_token_id": 0}
        theirs = MODEL.generate(torch.tensor([PROMPT]), assistant_model=tiny_llama(1), **options)
        assert result.tokens == theirs[0, len(PROMPT) :].tolist()

    def test_prompt_lookup_matches_greedy_search(self):
        result = SpeculativeGenerator(runner(), PromptLookupDrafter()).generate([PROMPT], max_new_tokens=40)[0]
        assert result.tokens == TEXT[:40]

    @pytest.mark.parametrize(
        "drafter", [PromptLookupDrafter, lambda: knowing(PROMPT + TEXT, wrong_at=lambda i: False, vocab=32)]
    )
    def test_stops_at_eos(self, drafter):
        eos = TEXT[5]
        result = SpeculativeGenerator(runner(eos_token_ids=frozenset([eos])), drafter()).generate([PROMPT])[0]
        theirs = MODEL.generate(
            torch.tensor([PROMPT]), max_new_tokens=40, do_sample=False, eos_token_id=eos, pad_token_id=0
        )
        assert result.tokens == TEXT[: TEXT.index(eos) + 1] == theirs[0, len(PROMPT) :].tolist()

    @pytest.mark.parametrize("length", [1, 2, 5, 9, 17])
    def test_generated_length(self, length):
        for k in (1, 4, 20):
            generator = SpeculativeGenerator(runner(), ModelDrafter(runner()), num_draft_tokens=k)
            assert len(generator.generate([PROMPT], max_new_tokens=length)[0].tokens) == length

    def test_heuristic_schedule(self):
        """num_assistant_tokens grows by 2 when all are accepted, shrinks by 1 otherwise (they start at 5)."""
        schedule = AdaptiveLookahead(start_draft_tokens=5, max_draft_tokens=20, min_probability=0.0)
        right = knowing(PROMPT + TEXT, wrong_at=lambda index: False, vocab=32)
        grown = SpeculativeGenerator(runner(), right, lookahead=schedule).generate([PROMPT], max_new_tokens=50)[0]
        assert [r.drafted for r in grown.rounds][:4] == [5, 7, 9, 11]
        wrong = ScriptedDrafter(lambda context, count: [0] * count)
        shrunk = SpeculativeGenerator(runner(), wrong, lookahead=schedule).generate([PROMPT], max_new_tokens=50)[0]
        assert [r.drafted for r in shrunk.rounds][:6] == [5, 4, 3, 2, 1, 1]

    def test_sampling_runs_and_repeats(self):
        """test_assisted_decoding_sample."""
        sampling = SamplingParams(temperature=1.0, seed=3)
        runs = [
            SpeculativeGenerator(runner(), ModelDrafter(runner(tiny_llama(1))), sampling=sampling)
            .generate([PROMPT], max_new_tokens=20)[0]
            .tokens
            for _ in range(2)
        ]
        assert runs[0] == runs[1] and len(runs[0]) == 20

    def test_speculative_sampling_target_distribution(self):
        """UtilsFunctionsTest: where q puts what p does not, only p's tokens come out, about as often as p says."""
        p = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 0.25, 0.25]])
        q, made, counts = torch.tensor([[0.5, 0.0, 0.5, 0.0]]), torch.Generator().manual_seed(0), [0] * 4
        for _ in range(4000):
            token = int(torch.multinomial(q[0], 1, generator=made))
            accepted, own = _accept_sampled([token], q, p, made)
            counts[token if accepted else own] += 1
        assert counts[0] == counts[1] == 0 and chisquare(counts[2:]).pvalue > 1e-3


def test_mlx_lm_self_draft_provenance():
    """mlx-lm, tests/test_generate.py: a self-draft of 5 tokens with K = 2 is from the draft T, T, F, T, T.

    Their first token comes out of the first round; here it comes out of the prefill, so the pattern follows it.
    """
    result = SpeculativeGenerator(runner(), ModelDrafter(runner()), num_draft_tokens=2).generate(
        [PROMPT], max_new_tokens=7
    )[0]
    assert [origin == "accepted" for origin in result.origins[1:6]] == [True, True, False, True, True]
    assert result.tokens == TEXT[:7]


class TestGemma4:
    """tt-metal, models/demos/gemma4/tests/unit/test_spec_decode.py."""

    @pytest.mark.parametrize("width", [2, 5, 8, 32])
    def test_width_invariance(self, width):
        """Plain decoding at width 1 and at width 1 + padding writes one text; no acceptance logic is involved."""
        stop = StopConditions(max_new_tokens=40, max_seq_len=128)
        assert decode_plainly(runner(), [PROMPT], stop=stop, width=width)[0].tokens == TEXT[:40]

    @pytest.mark.parametrize("width", [2, 5, 8, 32])
    def test_verify_width_invariance(self, width):
        generator = SpeculativeGenerator(
            runner(), ModelDrafter(runner(tiny_llama(1))), num_draft_tokens=1, verify_width=width
        )
        assert generator.generate([PROMPT], max_new_tokens=40)[0].tokens == TEXT[:40]

    def test_matches_greedy(self):
        generator = SpeculativeGenerator(runner(), PromptLookupDrafter())
        results = [
            generator.generate([PROMPT], max_new_tokens=40)[0].tokens for _ in range(2)
        ]  # two generates in a row
        assert results == [TEXT[:40]] * 2

    def test_sampling_acceptance_is_the_overlap(self):
        """_sampling_acceptance: the share of first drafts accepted is the mean of sum(min(p, q))."""
        target, draft, users = random_table(1, V), random_table(2, V, spread=0.5), 3000
        sampling = SamplingParams(temperature=1.0, seed=0)
        table = TableRunner(target, vocab=V, users=users)
        generator = SpeculativeGenerator(table, SamplingDrafter(draft), num_draft_tokens=1, sampling=sampling)
        results = generator.generate([[3, 5]] * users, max_new_tokens=3)
        contexts = [(5, result.tokens[0]) for result in results]
        overlap = [
            float(torch.minimum(to_probabilities(target(c), sampling), to_probabilities(draft(c), sampling)).sum())
            for c in contexts
        ]
        accepted = sum(result.rounds[0].accepted for result in results)
        assert accepted / users == pytest.approx(sum(overlap) / users, abs=4 * math.sqrt(0.25 / users))

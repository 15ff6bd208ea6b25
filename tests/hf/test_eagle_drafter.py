# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafting with an EAGLE-3 head: lossless, greedy and sampled, for several users, and nothing rejected stays."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from loguru import logger
from support.eagle import CONFIG, DRAFT_VOCAB, VOCAB, head_tensors
from support.law import assert_follows, law_of
from support.tiny import tiny_llama

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, to_probabilities
from models.tt_transformers.demo.speculative_decoding.drafters import Doubt, DraftRequest
from models.tt_transformers.demo.speculative_decoding.hf import feature_drafter
from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import fitted_spec
from models.tt_transformers.demo.speculative_decoding.hf.eagle_head import EagleHead
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import target_fingerprint
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid import suffix_first
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

PROMPTS = [[5, 6, 7], [1], [9, 8, 7, 6, 5, 4, 3], [2, 2]]
SAMPLING = SamplingParams(temperature=4.0)


@pytest.fixture(scope="module")
def target():
    return tiny_llama(1, vocab=VOCAB, layers=8)


@pytest.fixture
def drafter(target):
    return FeatureDrafter(head_of(target), name="tiny-eagle3")


def head_of(target, **changed) -> EagleHead:
    spec = fitted_spec("tiny", CONFIG | changed, target.config)
    tensors = {name.removesuffix(".weight"): tensor for name, tensor in head_tensors().items()}
    return EagleHead(spec, tensors, target)


def by_generate(target, prompt: list[int], count: int) -> list[int]:
    ids = torch.tensor([prompt])
    text = target.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False)
    return text[0, len(prompt) :].tolist()


@torch.no_grad()
def taps(target, tokens: list[int]) -> torch.Tensor:
    hidden = target(torch.tensor([tokens]), output_hidden_states=True).hidden_states
    return torch.cat([hidden[layer][0] for layer in (2, 4, 5)], -1)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_generation_equals_transformers_generate(target, drafter, k):
    runner = TorchModelRunner(target, max_seq_len=96, max_users=len(PROMPTS))
    results = SpeculativeGenerator(runner, drafter, num_draft_tokens=k).generate(PROMPTS, max_new_tokens=20)
    assert [result.tokens for result in results] == [by_generate(target, prompt, 20) for prompt in PROMPTS]
    assert sum(result.drafted for result in results) > 0


def test_with_prompt_lookup_in_front(target, drafter):
    prompt = [5, 6, 7, 8, 5, 6]
    generator = SpeculativeGenerator(TorchModelRunner(target, max_seq_len=96), suffix_first(drafter))
    (result,) = generator.generate([prompt], max_new_tokens=20)
    assert result.tokens == by_generate(target, prompt, 20)
    assert {record.source for record in result.rounds} >= {"tiny-eagle3"}


def test_the_drafts_follow_from_the_targets_own_states(target, drafter):
    """What the runner hands over is transformers' hidden states of the taps, and drafting from these is the same."""
    drafts = []
    propose = drafter.propose

    def watched(request):
        drafts.append((list(request.contexts[0]), propose(request).tokens[0]))
        return replace(feature_drafter.Draft([], []), tokens=[drafts[-1][1]], probs=[None], sources=[["x"] * 3])

    drafter.propose = watched
    runner = TorchModelRunner(target, max_seq_len=96)
    SpeculativeGenerator(runner, drafter, num_draft_tokens=3).generate([PROMPTS[0]], max_new_tokens=12)
    other = []
    for context, _ in drafts:
        fresh = FeatureDrafter(head_of(target))
        fresh.start([context[:-1]], [taps(target, context[:-1])])
        other.append(
            fresh.propose(DraftRequest(contexts=[context], counts=[3])).tokens[0][: len(drafts[len(other)][1])]
        )
    assert len(drafts) > 5 and other == [tokens for _, tokens in drafts]


def rounds(drafter, target, *, kept: int, counts=(2, 0, 3, 1, 4)) -> list[list[int]]:
    """Drafts of rounds with acceptances of 0, 1, 2, ..; `kept` more rows than were accepted are true features."""
    text = PROMPTS[2] + by_generate(target, PROMPTS[2], 20)
    end, drafts = len(PROMPTS[2]) + 1, []
    drafter.start([text[: end - 1]], [taps(target, text[: end - 1])])
    for accepted, count in enumerate(counts):
        drafts.append(drafter.propose(DraftRequest(contexts=[text[:end]], counts=[count])).tokens[0])
        true = taps(target, text)[end - 1 : end + accepted + kept]
        drafter.observe([accepted], [torch.cat([true, torch.full((3, true.shape[1]), float("nan"))])])
        end += accepted + 1
    return drafts


def test_nothing_of_a_rejected_row_stays(target, drafter):
    """Poison in every row after the accepted ones changes no draft; in the last accepted one it does."""
    drafts = rounds(drafter, target, kept=0)
    expected = []
    text, end = PROMPTS[2] + by_generate(target, PROMPTS[2], 20), len(PROMPTS[2]) + 1
    for accepted, count in enumerate((2, 0, 3, 1, 4)):
        fresh = FeatureDrafter(head_of(target))
        fresh.start([text[: end - 1]], [taps(target, text[: end - 1])])
        expected.append(fresh.propose(DraftRequest(contexts=[text[:end]], counts=[count])).tokens[0])
        end += accepted + 1
    assert drafts == expected
    assert rounds(FeatureDrafter(head_of(target)), target, kept=-1) != expected


class TestSampling:
    """Of the second token, whatever the first: it is drafted, judged and, if rejected, drawn anew."""

    @torch.no_grad()
    def law(self, target) -> dict[int, float]:
        first = to_probabilities(target(torch.tensor([[5, 6]])).logits[0, -1], SAMPLING)
        second = to_probabilities(
            target(torch.tensor([[5, 6, token] for token in range(VOCAB)])).logits[:, -1], SAMPLING
        )
        return law_of(first @ second)

    def emitted(self, target, users: int = 500) -> Counter:
        runner = TorchModelRunner(target, max_seq_len=16, max_users=users)
        drafter = FeatureDrafter(head_of(target))
        generator = SpeculativeGenerator(runner, drafter, num_draft_tokens=1, sampling=SAMPLING)
        results = generator.generate([[5, 6]] * users, max_new_tokens=3)
        assert min(result.drafted for result in results) >= 1 and sum(result.accepted for result in results) > 50
        return Counter(result.tokens[1] for result in results)

    def test_the_law_is_the_targets(self, target):
        assert_follows(self.emitted(target), self.law(target))

    def test_a_dishonest_q_shows(self, target, monkeypatch):
        def claims_another(self, user, row, drafted, choose=DraftRequest.choose):
            token, q = choose(self, user, row, drafted)
            return token, (q + q.flip(0)) / 2

        monkeypatch.setattr(DraftRequest, "choose", claims_another)
        with pytest.raises(AssertionError, match="p-value"):
            assert_follows(self.emitted(target), self.law(target))

    def test_q_is_over_the_targets_vocabulary(self, target, drafter):
        drafter.start([[5, 6]], [taps(target, [5, 6])])
        generators = [torch.Generator().manual_seed(0)]
        request = DraftRequest(contexts=[[5, 6, 7]], counts=[3], sampling=SAMPLING, generators=generators)
        q = torch.stack(drafter.propose(request).probs[0])
        assert q.shape == (3, VOCAB) and torch.allclose(q.sum(-1), torch.ones(3))
        drafted = head_tensors()["d2t"] + torch.arange(DRAFT_VOCAB)
        assert torch.equal(q.nonzero()[:, 1].unique(), drafted)


class TestChance:
    """A head carries no proof of its target."""

    def run(self, target, head, monkeypatch, tried: int = 16) -> list[str]:
        monkeypatch.setattr(Doubt, "TRIED", tried)
        said: list[str] = []
        sink = logger.add(lambda message: said.append(message.record["message"]), level="WARNING")
        runner = TorchModelRunner(target, max_seq_len=96, max_users=len(PROMPTS))
        try:
            generator = SpeculativeGenerator(runner, FeatureDrafter(head, name="its"), num_draft_tokens=2)
            generator.generate(PROMPTS, max_new_tokens=24)
        finally:
            logger.remove(sink)
        return said

    def test_a_head_of_another_target_is_doubted_once(self, target, monkeypatch):
        (said,) = self.run(target, head_of(target), monkeypatch)
        assert re.search(r"its drafts at chance: the target took [01] of its first 16 .*2,4,5 \(--eagle-layers\)", said)

    def test_a_head_that_is_right_is_not(self, target, monkeypatch):
        head = head_of(target)
        texts = {tuple(p + by_generate(target, p, 24)): len(p) for p in PROMPTS}
        known = {tokens[: i + 1]: tokens[i + 1] for tokens, n in texts.items() for i in range(n, len(tokens) - 1)}
        monkeypatch.setattr(
            DraftRequest,
            "choose",
            lambda self, user, row, drafted: (known.get(tuple(self.contexts[user])), None),
        )
        assert self.run(target, head, monkeypatch) == []

    def test_a_head_that_proves_its_target_is_not(self, target, monkeypatch):
        head = head_of(target, target_name="tiny", target_fingerprint=target_fingerprint(target))
        assert self.run(target, head, monkeypatch) == []

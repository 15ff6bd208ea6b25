# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Sampling without loss through the generator: whole texts follow the target's own law, whatever drafts.

The law of a single round is in test_acceptance_law.py.
"""

from collections import Counter

import pytest
import torch
from support.law import SamplingDrafter, TableRunner, allowed, assert_follows, law_of, random_table

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, to_probabilities
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.processors import Chooser, UserRows
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

V = 8
TARGET, DRAFT = random_table(1, V), random_table(2, V, spread=1.0)


class TestThroughTheGenerator:
    """A table for a model, hundreds of users in one batch: the law of whole texts."""

    SAMPLING = SamplingParams(temperature=0.7, seed=11)
    PROMPT = [3, 5]

    def texts(self, drafter, *, users=3000, length=3, sampling=SAMPLING, num_draft_tokens=3):
        runner = TableRunner(TARGET, vocab=V, users=users)
        generator = SpeculativeGenerator(runner, drafter, num_draft_tokens=num_draft_tokens, sampling=sampling)
        results = generator.generate([self.PROMPT] * users, max_new_tokens=length)
        return Counter(tuple(result.tokens[:2]) for result in results), results

    def joint(self, sampling=SAMPLING):
        def probabilities(*last):
            return law_of(to_probabilities(TARGET(last), sampling))

        law = {}
        for first, p in probabilities(*self.PROMPT).items():
            law.update({(first, second): p * p2 for second, p2 in probabilities(self.PROMPT[-1], first).items()})
        return law

    def drafters(self, kind):
        runner = TableRunner(TARGET if kind == "self" else DRAFT, vocab=V, users=3000)
        return {
            "none": lambda: None,
            "self": lambda: ModelDrafter(runner),
            "model": lambda: ModelDrafter(runner),
            "prompt-lookup": PromptLookupDrafter,
            "sampling": lambda: SamplingDrafter(DRAFT),
        }[kind]()

    @pytest.mark.parametrize("kind", ["none", "self", "model", "prompt-lookup", "sampling"])
    def test_joint_law_of_two_tokens(self, kind):
        counts, _ = self.texts(self.drafters(kind))
        assert_follows(counts, self.joint())

    @pytest.mark.parametrize("kind", ["model", "prompt-lookup"])
    def test_second_and_third_token(self, kind):
        """Tokens 2 and 3 come out of rounds: given token 1, they follow the table."""
        _, results = self.texts(self.drafters(kind), users=6000, length=5)
        first = Counter(result.tokens[0] for result in results).most_common(1)[0][0]
        law = {}
        for second, p in law_of(to_probabilities(TARGET((self.PROMPT[-1], first)), self.SAMPLING)).items():
            after = law_of(to_probabilities(TARGET((first, second)), self.SAMPLING))
            law.update({(second, third): p * p3 for third, p3 in after.items()})
        assert_follows(Counter(tuple(r.tokens[1:3]) for r in results if r.tokens[0] == first), law)

    @pytest.mark.parametrize(
        "draw, claim",
        [
            pytest.param(
                lambda logits, s: (2 * logits / s.temperature).softmax(-1), None, id="temperature-of-the-draft"
            ),
            pytest.param(None, lambda logits, s: torch.full((V,), 1 / V), id="a-q-that-was-not-sampled"),
        ],
    )
    def test_a_dishonest_q_shows(self, draw, claim):
        """Negative control."""
        counts, _ = self.texts(SamplingDrafter(DRAFT, draw=draw, claim=claim))
        with pytest.raises(AssertionError):
            assert_follows(counts, self.joint())

    def test_a_self_draft_is_always_accepted(self):
        _, results = self.texts(self.drafters("self"), users=300, length=12)
        assert sum(r.accepted for r in results) == sum(r.drafted for r in results) > 2000

    def test_a_rounded_q_shows_in_a_self_draft(self):
        """Negative control: with q in bf16 some of the target's own tokens are rejected."""
        rounded = SamplingDrafter(TARGET, claim=lambda logits, s: to_probabilities(logits, s).bfloat16().float())
        _, results = self.texts(rounded, users=1000, length=12)
        assert sum(r.accepted for r in results) < sum(r.drafted for r in results)

    @pytest.mark.parametrize("kind", ["none", "model", "prompt-lookup", "sampling"])
    @pytest.mark.parametrize("mask", [{"top_k": 2}, {"top_p": 0.6}, {"top_k": 4, "top_p": 0.5}], ids=str)
    def test_never_outside_the_mask(self, kind, mask):
        sampling = SamplingParams(temperature=1.3, seed=5, **mask)
        _, results = self.texts(self.drafters(kind), users=200, length=16, sampling=sampling)
        for result in results:
            whole = self.PROMPT + result.tokens
            for i in range(2, len(whole)):
                assert whole[i] in allowed(TARGET((whole[i - 2], whole[i - 1])) / 1.3, **mask)

    def test_a_mask_on_one_side_only_shows(self, monkeypatch):
        """Negative control: p without the mask."""
        bare = Chooser(SamplingParams(temperature=1.3))
        monkeypatch.setattr(Chooser, "rows", lambda self, logits, tokens: UserRows(bare, logits, tokens))
        with pytest.raises(AssertionError):
            self.test_never_outside_the_mask("model", {"top_k": 2})

    @pytest.mark.parametrize("kind", ["model", "prompt-lookup", "sampling"])
    def test_a_law_with_a_mask(self, kind):
        sampling = SamplingParams(temperature=0.9, top_k=5, top_p=0.8, seed=23)
        counts, _ = self.texts(self.drafters(kind), sampling=sampling)
        assert_follows(counts, self.joint(sampling))

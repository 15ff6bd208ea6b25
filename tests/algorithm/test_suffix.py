# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafts from the text: what is drafted, how much of it, its law, and what is remembered."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
import torch
from support.law import SamplingDrafter, TableRunner, assert_follows, law_of, random_table
from support.rounds import record

from models.tt_transformers.demo.speculative_decoding import acceptance, hybrid
from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, sample, to_probabilities
from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest, Kind
from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter
from models.tt_transformers.demo.speculative_decoding.lookahead import FixedLookahead
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.suffix import Odds, SuffixDrafter

LOOP = [5, 1, 4, 2, 8, 3, 7]


def drafted(context, count, **options):
    drafter = SuffixDrafter(**options)
    drafter.start([context])
    return drafter.propose(DraftRequest(contexts=[context], counts=[count])).tokens[0]


class TestDrafts:
    @pytest.mark.parametrize(
        "context, count, expected",
        [
            ([1, 2, 3, 9, 1, 2], 2, [3, 9]),
            ([1, 2, 3], 4, []),
            ([7], 4, []),
            ([1, 2, 3, 9, 1, 2], 0, []),
            ([1, 2, 4, 1, 2, 4, 1, 2, 5, 6, 1, 2], 1, [4]),  # twice, against once and later
            ([1, 2, 4, 8, 1, 2, 5, 8, 1, 2], 1, [5]),  # once each: the later
            ([3] * 40, 8, [3] * 8),  # an occurrence that overlaps the end goes on into the draft
            (LOOP * 3, 10, [*LOOP, *LOOP[:3]]),
            ([*LOOP * 3, 99], 4, []),  # the break was never seen
        ],
    )
    def test_what_followed_most_often(self, context, count, expected):
        assert drafted(context, count) == expected

    def test_after_a_break_the_loop_is_found_again(self):
        assert drafted([*LOOP * 4, 99, *LOOP[:4]], 3) == LOOP[4:]

    def test_the_longest_match_is_not_always_the_likeliest(self):
        """Three tokens that were followed once by 9, two of them by 4 five times."""
        text = [7, 1, 2, 9, *[1, 2, 4] * 5, 7, 1, 2]
        drafter = SuffixDrafter()
        drafter._odds._right = [one * 0.1 if cell < 1 else one for cell, one in enumerate(drafter._odds._right)]
        drafter.start([text])
        assert drafter.propose(DraftRequest(contexts=[text], counts=[1])).tokens == [[4]]

    def test_a_draft_ends_where_it_is_unsure(self):
        text = [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4]
        request = {"contexts": [text], "counts": [6]}
        drafter = SuffixDrafter()
        drafter.start([text])
        every = drafter.propose(DraftRequest(**request)).tokens[0]
        (kind,) = drafter.expect([text])
        assert 0 < len(drafter.propose(DraftRequest(**request, min_probability=kind.odds[0] + 0.001)).tokens[0] or [0])
        assert drafter.propose(DraftRequest(**request, min_probability=0.99)).tokens == [[]] and len(every) > 2

    def test_a_kind_is_a_length_of_match_and_tells_its_odds(self):
        drafter = SuffixDrafter()
        drafter.start([[1, 2, 3, 1], LOOP * 6, [1]])
        kinds = drafter.expect([[1, 2, 3, 1], LOOP * 6, [1]])
        assert kinds == ["suffix-1", "suffix-16", None] and kinds[0].odds[0] < 0.5 < kinds[1].odds[0]

    def test_odds_follow_what_is_emitted(self):
        """A text whose matches are never right comes to be believed less, drafted or not; one that loops more."""

        def odds_after(emitted):
            drafter = SuffixDrafter()
            prompt = [1, 2, 3]
            drafter.start([prompt])
            drafter.expect([prompt + emitted])
            return [right / claimed for right, claimed in zip(drafter._odds._right, drafter._odds._claimed)]

        before = list(Odds.PRIOR)
        broken = list(itertools.chain.from_iterable((1, 2, n) for n in range(10, 60)))
        assert odds_after(broken)[1] < 0.7 * before[1] and odds_after(LOOP * 20)[2] > before[2]
        assert odds_after([]) == pytest.approx(before)


class TestLength:
    """How far a draft goes is the lookahead's to say, by the odds and what rows cost."""

    def lookahead(self, row):
        lookahead = AutoLookahead((0, 1, 2, 3, 4, 6, 8, 12, 16))
        for rows in range(1, 33):
            lookahead.clockwork.verifies[rows].extend([100 + int(100 * row * (rows - 1))] * 3)
        return lookahead

    @pytest.mark.parametrize("odds, row, fewest, most", [
        (0.95, 0.01, 16, 16), (0.95, 0.05, 12, 16), (0.5, 0.05, 2, 4), (0.5, 0.3, 1, 1), (0.2, 0.3, 0, 0),
    ])  # fmt: skip
    def test_it_weighs_odds_against_rows(self, odds, row, fewest, most):
        (count,) = self.lookahead(row).next([40], [Kind("suffix-4", [odds] * 31)])
        assert fewest <= count <= most

    def test_users_with_worse_odds_draft_less_in_the_same_round(self):
        kinds = [Kind("suffix-16", [0.97] * 31), Kind("suffix-1", [0.3] * 31)]
        sure, unsure = self.lookahead(0.05).next([40, 40], kinds)
        assert sure >= 8 and unsure <= 3

    def test_the_better_of_two_is_settled_on(self):
        lookahead = self.lookahead(0.05)
        lookahead.clockwork.drafts["head"].append(5.0)
        for _ in range(30):
            lookahead._acceptances["head"].observe(4, 2)
        good, bad = Kind("suffix-8", [0.95] * 31, "head"), Kind("suffix-1", [0.2] * 31, "head")
        assert lookahead.settle([good, bad, None, "head"]) == ["suffix-8", "head", None, "head"]
        assert FixedLookahead(4).settle([good, bad]) == ["suffix-8", "head"]

    def test_a_tail_is_asked_for_where_it_pays(self):
        lookahead = self.lookahead(0.05)
        (count,) = lookahead.next([40], ["head"])
        ((most, least),) = lookahead.further([40])
        assert count > 0 and most == 16 - count and 0.0 < least < 1.0
        assert lookahead.further([count]) == [(0, least)]
        lookahead.next([40], [Kind("suffix-8", [0.9] * 31)])
        assert lookahead.further([40])[0][0] == 0

    def test_a_tail_is_no_acceptance_of_the_head(self):
        lookahead = self.lookahead(0.05)
        lookahead.next([40], ["head"])
        before = lookahead._acceptances["head"].odds[3]
        lookahead.observe([replace(record(6, 6, draft_ns=40, verify_ns=130), tail=4)])
        assert list(lookahead.clockwork.drafts["head"]) == [20.0]
        judged = lookahead._acceptances["head"]._judged
        assert judged[0] > judged[5] and lookahead._acceptances["head"].odds[3] >= before


def test_a_rejected_draft_costs_nothing_that_grows():
    """What a round adds is what it emits; drafts of thousands of rejected tokens are nowhere."""
    drafter, context = SuffixDrafter(), LOOP * 40
    drafter.start([context])
    taken = []
    for token in range(1000, 1400):  # the loop is drafted or tried, and never right
        drafter.propose(DraftRequest(contexts=[context], counts=[31]))
        drafter.observe([0], None)
        context = [*context, token, *LOOP[:3]]
        before = drafter._users[0].own.text.steps
        drafter.propose(DraftRequest(contexts=[context], counts=[31]))
        taken.append(drafter._users[0].own.text.steps - before)
    assert drafter._users[0].own.text.size == len(context)
    assert max(taken[200:]) <= max(taken[:200]) + 5


class TestLaw:
    V, SAMPLING, PROMPT = 6, SamplingParams(temperature=0.8, seed=4), [3, 5, 1, 3, 5]
    TARGET = staticmethod(random_table(1, 6))

    def texts(self, users=1500):
        drafter = SuffixDrafter()
        runner = TableRunner(self.TARGET, vocab=self.V, users=users)
        generator = SpeculativeGenerator(runner, drafter, num_draft_tokens=3, sampling=self.SAMPLING)
        results = generator.generate([self.PROMPT] * users, max_new_tokens=4)
        assert sum(result.drafted for result in results) > users / 2
        return Counter(tuple(result.tokens[:3]) for result in results)

    def law(self):
        def after(*last):
            return law_of(to_probabilities(self.TARGET(last), self.SAMPLING))

        law = {}
        for a, p in after(*self.PROMPT[-2:]).items():
            for b, q in after(self.PROMPT[-1], a).items():
                law.update({(a, b, c): p * q * r for c, r in after(a, b).items()})
        return law

    def test_texts_follow_the_targets_law(self):
        assert_follows(self.texts(), self.law())

    def test_accepting_whatever_is_drafted_shows(self, monkeypatch):
        """Negative control."""
        always = lambda drafted, q, p, generator: (len(drafted), sample(p[len(drafted)], generator))  # noqa: E731
        monkeypatch.setattr(acceptance, "_accept_sampled", always)
        with pytest.raises(AssertionError):
            assert_follows(self.texts(), self.law())


class TestTail:
    """The text goes on behind a model's draft, in the same round."""

    V, SAMPLING, PROMPT = 6, SamplingParams(temperature=0.8, seed=4), [3, 5, 1, 3, 5]
    TARGET = staticmethod(random_table(1, 6))

    class Both(FixedLookahead):
        """Always one token of the model's, and up to two of the text's behind it."""

        def settle(self, kinds):
            return [kind.otherwise if isinstance(kind, Kind) else kind for kind in kinds]

        def further(self, rooms):
            return [(min(2, room - 1), 0.0) for room in rooms]

    def texts(self, users=1000):
        runner = TableRunner(self.TARGET, vocab=self.V, users=users)
        drafter = HybridDrafter(SuffixDrafter(), SamplingDrafter(random_table(2, self.V, spread=1.0)))
        generator = SpeculativeGenerator(runner, drafter, lookahead=self.Both(1), sampling=self.SAMPLING)
        generator.target.max_tokens_per_user = 4
        return generator.generate([self.PROMPT] * users, max_new_tokens=6)

    def test_each_token_keeps_its_drafters_name(self):
        results = self.texts(100)
        assert {source for result in results for source in result.sources} == {"", "sampling", "suffix"}
        tails = [r for result in results for r in result.rounds if r.tail]
        assert tails and all(r.source == "sampling" and r.drafted - r.tail == 1 for r in tails)
        assert any(r.accepted > 1 for r in tails)

    def test_texts_follow_the_targets_law(self):
        """q is the model's for its own token and one-hot behind it."""
        assert_follows(Counter(tuple(result.tokens[:3]) for result in self.texts()), TestLaw.law(self))

    def test_a_tail_that_says_to_be_the_models_shows(self, monkeypatch):
        """Negative control: accepted with the probability of a uniform q."""
        gone_on = hybrid.HybridDrafter._gone_on

        def as_uniform(*asked):
            draft = gone_on(*asked)
            for q in draft.probs:
                if isinstance(q, list):  # a tail was added, which has no q of its own
                    q[:] = [torch.full_like(q[0], 1 / len(q[0])) if row is None else row for row in q]
            return draft

        monkeypatch.setattr(hybrid.HybridDrafter, "_gone_on", as_uniform)
        with pytest.raises(AssertionError):
            assert_follows(Counter(tuple(result.tokens[:3]) for result in self.texts()), TestLaw.law(self))


def test_torch_is_not_asked_for_randomness():
    """A draft from the text draws nothing: the users' generators stay where they are."""
    state = torch.random.get_rng_state()
    drafted(LOOP * 4, 8)
    assert torch.equal(state, torch.random.get_rng_state())

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""How many tokens are drafted: a fixed K, and the adaptive schedule."""

import pytest
from support.doubles import knowing
from support.rounds import record
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator


class TestFixed:
    @pytest.mark.parametrize("k", [0, 1, 4, 31])
    def test_always_k_as_far_as_there_is_room(self, k):
        lookahead = FixedLookahead(k)
        assert lookahead.next([100, 3, 0], ["x"] * 3) == [k, min(k, 3), 0]

    @pytest.mark.parametrize("k", [-1, 32])
    def test_refused(self, k):
        with pytest.raises(BadInput, match="0 .* to 31"):
            FixedLookahead(k)


class TestAdaptive:
    def after(self, outcomes, **options):
        """K after each of the outcomes: True for full acceptance, False for a rejection."""
        lookahead = AdaptiveLookahead(**options)
        lookahead.start(1)
        seen = lookahead.next([100], ["x"])
        for full in outcomes:
            k = seen[-1]
            lookahead.observe([record(k, k if full else k - 1)])
            seen += lookahead.next([100], ["x"])
        return seen

    def test_up_by_two_down_by_one(self):
        assert self.after([True, True, False, False, True]) == [4, 6, 8, 7, 6, 8]

    def test_within_bounds(self):
        assert self.after([True] * 4, start_draft_tokens=3, max_draft_tokens=6) == [3, 5, 6, 6, 6]
        assert self.after([False] * 4, start_draft_tokens=3, min_draft_tokens=2) == [3, 2, 2, 2, 2]

    def test_a_round_without_a_draft_teaches_nothing(self):
        lookahead = AdaptiveLookahead()
        lookahead.start(1)
        lookahead.observe([record(0, 0)])
        assert lookahead.next([100], ["x"]) == [4]

    def test_users_are_apart(self):
        lookahead = AdaptiveLookahead()
        lookahead.start(3)
        lookahead.observe([record(4, 4), record(4, 0), None])
        assert lookahead.next([100, 100, 100], ["x"] * 3) == [6, 3, 4]
        assert lookahead.next([2, 0, 100], ["x"] * 3) == [2, 0, 4]

    def test_every_generation_begins_anew(self):
        lookahead = AdaptiveLookahead()
        lookahead.start(1)
        lookahead.observe([record(4, 4)])
        lookahead.start(2)
        assert lookahead.next([100, 100], ["x"] * 2) == [4, 4]

    @pytest.mark.parametrize(
        "options, named",
        [
            ({"min_draft_tokens": 5}, "from 5 over 4"),
            ({"start_draft_tokens": 17}, "over 17 to 16"),
            ({"max_draft_tokens": 32}, "32 draft tokens"),
            ({"min_probability": 1.0}, "min_probability 1.0"),
            ({"min_probability": -0.1}, "min_probability"),
        ],
    )
    def test_refused(self, options, named):
        with pytest.raises(BadInput, match=named):
            AdaptiveLookahead(**options)

    def test_in_a_generation(self):
        """K as the generator sees it: rising while a draft is always right, falling while it never is."""
        model, prompt = tiny_llama(0), [5, 3, 8, 1]
        text, _ = greedy_by_recomputation(model, prompt, 60)
        for wrong, expected in ((False, [4, 6, 8, 10, 12]), (True, [4, 3, 2, 1, 1])):
            drafter = knowing(prompt + text, wrong_at=lambda index, wrong=wrong: wrong, vocab=32)
            generator = SpeculativeGenerator(
                TorchModelRunner(model, max_seq_len=128), drafter, lookahead=AdaptiveLookahead()
            )
            result = generator.generate([prompt], max_new_tokens=60)[0]
            assert [r.drafted for r in result.rounds][:5] == expected and result.tokens == text

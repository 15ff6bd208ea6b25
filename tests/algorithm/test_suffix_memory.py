# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafts from the past answers of the process: asked for, bounded, the least recently used forgotten first."""

import pytest
from support.law import TableRunner, random_table

from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.suffix import Answers, SuffixDrafter
from models.tt_transformers.demo.speculative_decoding.suffix_automaton import Match


def answered(drafter, prompt, answer):
    """A generation that gave this answer, and another that begins."""
    drafter.start([prompt])
    drafter.expect([[*prompt, *answer]])


class TestMemory:
    ANSWER = list(range(100, 140))

    @pytest.mark.parametrize("memory, expected", [(0, []), (1000, ANSWER[4:8])])
    def test_another_requests_text_is_drafted_only_if_asked_for(self, memory, expected):
        drafter = SuffixDrafter(memory=memory)
        answered(drafter, [1, 2, 3], self.ANSWER)
        text = [7, 8, *self.ANSWER[:4]]
        drafter.start([text])
        draft = drafter.propose(DraftRequest(contexts=[text], counts=[4]))
        assert draft.tokens == [expected] and draft.sources == [["suffix-memory"] * len(expected)]

    def test_prompts_are_not_remembered(self):
        drafter = SuffixDrafter(memory=1000)
        answered(drafter, self.ANSWER, [1])
        drafter.start([self.ANSWER[:4]])
        assert drafter.propose(DraftRequest(contexts=[self.ANSWER[:4]], counts=[4])).tokens == [[]]

    def test_closing_forgets(self):
        drafter = SuffixDrafter(memory=1000)
        answered(drafter, [1, 2, 3], self.ANSWER)
        drafter.close()
        drafter.start([self.ANSWER[:4]])
        assert drafter.propose(DraftRequest(contexts=[self.ANSWER[:4]], counts=[4])).tokens == [[]]

    def test_its_size_is_bounded_and_the_least_recently_used_goes_first(self):
        answers = Answers(100)
        texts = [[n * 100 + i for i in range(20)] for n in range(1, 7)]
        for text in texts[:5]:
            answers.add(text)
        assert answers.size == 100
        found = Match()
        for token in texts[0][:5]:
            found = answers.text.follow(found, token)
        answers.use(found)  # the oldest was drafted from
        answers.add(texts[1])  # and the next one given again
        answers.add(texts[5])
        kept = [list(answer) for answer in answers._kept]
        assert kept == [texts[0], texts[1], texts[5]] and answers.size <= 75
        assert answers.text.size == sum(map(len, kept)) + len(kept)
        for text in texts:
            match = Match()
            for token in text:
                match = answers.text.follow(match, token)
            assert match.length == (20 if text in kept else 0)

    def test_an_answer_longer_than_the_memory_is_not_kept(self):
        answers = Answers(10)
        answers.add(range(11))
        answers.add([])
        assert answers.size == 0 == answers.text.size

    def test_what_separates_answers_is_never_drafted(self):
        drafter = SuffixDrafter(memory=1000)
        for answer in ([1, 2, 3], [4, 5, 6], [1, 2, 3, 9]):
            answered(drafter, [50], answer)
        for text in ([60, 1, 2], [60, 4, 5, 6], [60, 5, 6]):
            drafter.start([text])
            (tokens,) = drafter.propose(DraftRequest(contexts=[text], counts=[8])).tokens
            assert min(tokens, default=0) >= 0

    @pytest.mark.parametrize("memory", [-1, 1.5, "many"])
    def test_a_wrong_size_is_refused(self, memory):
        with pytest.raises(BadInput):
            SuffixDrafter(memory=memory)

    def test_the_text_is_the_targets_own_with_memory_too(self):
        target = random_table(7, 6)

        def texts(drafter):
            runner = TableRunner(target, vocab=6, users=1)
            generator = SpeculativeGenerator(runner, drafter, num_draft_tokens=5 if drafter else 0)
            return [generator.generate([prompt], max_new_tokens=30)[0].tokens for prompt in ([1, 2], [3], [1, 2, 4])]

        assert texts(SuffixDrafter(memory=40)) == texts(None)

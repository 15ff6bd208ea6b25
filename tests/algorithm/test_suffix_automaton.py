# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The suffix automaton: its matches and counts against brute force, and what it costs."""

import random
from collections import Counter

import pytest

from models.tt_transformers.demo.speculative_decoding.suffix_automaton import CHAIN, Match, SuffixAutomaton


def longest_match(text):
    """By brute force: how long a suffix occurred before."""
    ends = range(1, len(text))
    return max(
        (n for n in range(1, len(text)) if any(text[:end][-n:] == text[-n:] for end in ends if end >= n)), default=0
    )


def followers(text, n):
    """By brute force: what followed the last n tokens, and how often."""
    return Counter(text[i + n] for i in range(len(text) - n) if text[i : i + n] == text[-n:])


def agrees_with_brute_force(text, automaton):
    match = automaton.match
    assert match.length == longest_match(text)
    for at in automaton.shorter(match):
        token, count, followed = automaton.likeliest(at.state)
        counts = followers(text, at.length)
        assert (followed, count) == (sum(counts.values()), max(counts.values())) and counts[token] == count


def grown(tokens):
    """The automaton of every prefix."""
    automaton, text = SuffixAutomaton(), []
    for token in tokens:
        automaton.append(token)
        yield (text := [*text, token]), automaton


def random_texts(count, longest):
    for seed in range(count):
        rng = random.Random(seed)
        vocab = rng.choice([1, 2, 3, 5, 9])
        yield [rng.randrange(vocab) for _ in range(rng.randint(1, longest))]


def de_bruijn(order):
    """Every word of `order` bits once: nothing longer than order - 1 ever occurs again."""
    bits, seen = [0] * order, {(0,) * order}
    while True:
        for bit in (1, 0):
            if (word := (*bits[len(bits) - order + 1 :], bit)) not in seen:
                seen.add(word)
                bits.append(bit)
                break
        else:
            return bits


LOOP = [5, 1, 4, 2, 8, 3, 7]
TEXTS = {
    "one token": [3] * 3000,
    "de bruijn": de_bruijn(11),
    "long repeats": list(range(900)) * 3,
    "a loop, then a break": [*LOOP * 300, 99, *LOOP * 20],
}


class TestAutomaton:
    def test_longest_match_and_counts_equal_brute_force(self):
        """A thousand texts, all of their prefixes."""
        for tokens in random_texts(1000, 16):
            for text, automaton in grown(tokens):
                agrees_with_brute_force(text, automaton)

    @pytest.mark.parametrize("wrong", ["_whole", "match"])
    def test_a_wrong_automaton_shows(self, wrong, monkeypatch):
        """Negative control: one that never forks, and one that takes the whole text for its own match."""
        lies = {
            "_whole": lambda self, state, token, edge: self._target[edge],
            "match": property(lambda self: Match(self._last, self._length[self._last])),
        }
        monkeypatch.setattr(SuffixAutomaton, wrong, lies[wrong])
        with pytest.raises((AssertionError, TypeError)):
            self.test_longest_match_and_counts_equal_brute_force()

    @pytest.mark.parametrize("name", TEXTS)
    def test_matches_of_adversarial_texts(self, name):
        """The matches are exact whatever the text; counts are where no more than CHAIN suffixes recur."""
        automaton, text = SuffixAutomaton(TEXTS[name]), TEXTS[name]
        expected = {"one token": 2999, "de bruijn": 10, "long repeats": 1800, "a loop, then a break": 140}[name]
        assert automaton.match.length == expected
        assert len(automaton._length) <= 2 * len(text) and len(automaton._token) <= 3 * len(text)

    @pytest.mark.parametrize("name", TEXTS)
    def test_an_append_takes_the_same_wherever_it_is(self, name):
        """In visited states and edges, of every prefix: no more per token of a longer one."""
        automaton = SuffixAutomaton()
        for token in TEXTS[name]:
            automaton.append(token)
            assert automaton.steps <= (2 * CHAIN + 8) * automaton.size

    def test_memory_is_flat(self):
        rng = random.Random(0)
        words = [min(49_151, int(rng.paretovariate(0.7))) for _ in range(20_000)]
        automaton = SuffixAutomaton(words[:10_000])
        once = automaton.bytes
        automaton.extend(words[10_000:])
        assert 150 < automaton.bytes / 20_000 < 260 and automaton.bytes < 2.3 * once

    def test_following_finds_the_longest_known_suffix(self):
        """Of any other text, token by token."""
        for seed, tokens in enumerate(random_texts(100, 14)):
            rng, automaton, match, other = random.Random(seed), SuffixAutomaton(tokens), Match(), []
            for _ in range(12):
                other.append(rng.randrange(9))
                match = automaton.follow(match, other[-1])
                known = [tokens[i:j] for i in range(len(tokens)) for j in range(i + 1, len(tokens) + 1)]
                assert match.length == max(n for n in range(len(other) + 1) if n == 0 or other[-n:] in known)

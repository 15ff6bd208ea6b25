# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A suffix automaton that grows with a text: everything that the text has said, and how often what followed it."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

CHAIN = 32  # suffixes of the text, longest first, for which a further occurrence of what follows is counted
SEPARATOR = -1  # stands between texts; nothing is followed by it, nor it by anything


@dataclass(frozen=True)
class Match:
    """A suffix of a text, as far as an automaton knows it."""

    state: int = 0
    length: int = 0


class SuffixAutomaton:
    """The smallest automaton of all substrings of a text (Blumer et al. 1985), with counts, one token after another.

    A state stands for the substrings that end at the same places; an edge for a token that followed them, with how
    often it did. A state's link leads to its longest suffix that ends at more places, so the link of the whole text is
    its longest suffix that occurred before. Appending is O(1) amortised, and bounded but for forks, whose edges stay:
    of a text of n tokens at most 2n states and 3n edges.

    Counts are exact for the CHAIN longest suffixes that occurred before, whenever a token is appended. Shorter ones
    miss that token, in texts that repeat themselves within themselves deeper than that.

    Memory: 20 bytes per state and 12 per edge in arrays, and a dictionary for each state of several edges only.
    """

    def __init__(self, tokens: Iterable[int] = ()) -> None:
        self.size = 0  # tokens
        self.steps = 0  # states and edges that were visited so far
        self._last = 0
        # By state: its longest substring, its link, its most frequent edge (the latest of several), how often anything
        # followed, and where it ended first.
        self._length, self._link, self._best = array("i", [0]), array("i", [-1]), array("i", [-1])
        self._followed, self.ended = array("i", [0]), array("i", [0])
        self._token, self._target, self._count = array("i"), array("i"), array("i")  # by edge
        self._branches: dict[int, dict[int, int]] = {}  # of states with several edges: token -> edge
        self.extend(tokens)

    def extend(self, tokens: Iterable[int]) -> None:
        for token in tokens:
            self.append(token)

    def append(self, token: int) -> None:
        """The text goes on with `token`."""
        self.size += 1
        current, state = self._new_state(self._length[self._last] + 1, 0, 0, self.size), self._last
        while state != -1 and (edge := self._edge(state, token)) == -1:
            self._connect(state, token, current, 1)
            self._followed[state] += 1
            state = self._link[state]
        if state != -1:
            self._link[current] = self._whole(state, token, edge)
        for _ in range(CHAIN):
            if state == -1:
                break
            edge = self._edge(state, token)
            self._count[edge] += 1
            self._followed[state] += 1
            if self._count[edge] >= self._count[self._best[state]]:
                self._best[state] = edge
            state = self._link[state]
        self._last = current

    @property
    def match(self) -> Match:
        """The longest suffix of the text that occurred before."""
        state = max(self._link[self._last], 0)
        return Match(state, self._length[state])

    def follow(self, match: Match, token: int) -> Match:
        """The longest known suffix of a text that had this one, after `token`."""
        state, length = match.state, match.length
        while (edge := self._edge(state, token)) == -1:
            state = self._link[state]
            if state == -1:
                return Match()
            length = self._length[state]
        return Match(self._target[edge], length + 1)

    def shorter(self, match: Match) -> Iterator[Match]:
        """The match, and its suffixes that occurred more often, longest first; without the empty one."""
        state, length = match.state, match.length
        while length > 0:
            yield Match(state, length)
            state = self._link[state]
            length = self._length[state]

    def likeliest(self, state: int) -> tuple[int, int, int] | None:
        """The token that followed most often (the last of those that did), how often, and how often any did."""
        edge = self._best[state]
        return None if edge == -1 else (self._token[edge], self._count[edge], self._followed[state])

    @property
    def bytes(self) -> int:
        """Of memory, as of now."""
        arrays = (self._length, self._link, self._best, self._followed, self.ended)
        held = sum(len(one) * one.itemsize for one in (*arrays, self._token, self._target, self._count))
        # A dictionary's keys and values are integers of 28 bytes each, beyond the few that Python shares.
        return held + self._branches.__sizeof__() + sum(d.__sizeof__() + 56 * len(d) for d in self._branches.values())

    def _edge(self, state: int, token: int) -> int:
        """-1: there is none."""
        self.steps += 1
        edge = self._best[state]
        if edge == -1 or self._token[edge] == token:
            return edge
        branches = self._branches.get(state)
        return branches.get(token, -1) if branches else -1

    def _new_state(self, length: int, link: int, followed: int, ended: int) -> int:
        self._length.append(length)
        self._link.append(link)
        self._best.append(-1)
        self._followed.append(followed)
        self.ended.append(ended)
        return len(self._length) - 1

    def _connect(self, state: int, token: int, target: int, count: int) -> None:
        edge, best = len(self._token), self._best[state]
        self._token.append(token)
        self._target.append(target)
        self._count.append(count)
        if best == -1:
            self._best[state] = edge
            return
        self._branches.setdefault(state, {self._token[best]: best})[token] = edge
        if count >= self._count[best]:
            self._best[state] = edge

    def _whole(self, state: int, token: int, edge: int) -> int:
        """The state of exactly this state's longest substring and the token: its target, or a fork of that."""
        target, length = self._target[edge], self._length[state] + 1
        if self._length[target] == length:
            return target
        fork = self._new_state(length, self._link[target], self._followed[target], self.ended[target])
        best = self._best[target]
        for its in self._branches[target].values() if target in self._branches else [best] * (best != -1):
            self._connect(fork, self._token[its], self._target[its], self._count[its])
        if best != -1:
            self._best[fork] = self._edge(fork, self._token[best])
        self._link[target] = fork
        while state != -1 and (edge := self._edge(state, token)) != -1 and self._target[edge] == target:
            self._target[edge] = fork
            state = self._link[state]
        return fork

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafts from the text: what followed the longest suffix that the text has said before, as far as that may stand."""

from __future__ import annotations

from array import array
from bisect import bisect
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from models.tt_transformers.demo.speculative_decoding.drafters import Draft, Drafter, DraftRequest, Kind
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import whole_number
from models.tt_transformers.demo.speculative_decoding.lookahead import MAX_DRAFT_TOKENS, standing
from models.tt_transformers.demo.speculative_decoding.runner import Turns
from models.tt_transformers.demo.speculative_decoding.suffix_automaton import SEPARATOR, Match, SuffixAutomaton

LEAST = 0.05  # of a draft's odds to stand that far: verifying a row costs more than that of a plain step
CANDIDATES = 2  # suffixes that are asked what comes next, the longest first


@dataclass(frozen=True)
class Guess:
    """What an automaton takes to come next."""

    token: int
    length: int  # of the match that says so
    share: float  # of all that followed it, smoothed


class Odds:
    """What shares prove to be worth, by the length of the match; learned from every emitted token, drafted or not."""

    WEIGHT = 8.0  # of what is believed before anything was seen, in tokens
    PRIOR = (0.4, 0.8, 1.0, 1.15, 1.2)  # at matches of 1, 2 to 3, 4 to 7, 8 to 15, and more tokens
    MEMORY = 0.99  # what a token leaves of the weight of those before it

    def __init__(self) -> None:
        self._right = [worth * self.WEIGHT for worth in self.PRIOR]
        self._claimed = [self.WEIGHT] * len(self.PRIOR)

    def of(self, guess: Guess) -> float:
        """P(the guess is right)."""
        cell = self.cell(guess.length)
        return min(0.99, guess.share * self._right[cell] / self._claimed[cell])

    def observe(self, guess: Guess, token: int) -> None:
        cell = self.cell(guess.length)
        self._right[cell] = self.MEMORY * self._right[cell] + (guess.token == token)
        self._claimed[cell] = self.MEMORY * self._claimed[cell] + guess.share

    @classmethod
    def cell(cls, length: int) -> int:
        return min(length.bit_length(), len(cls.PRIOR)) - 1


@dataclass
class Source:
    """A text to draft from, whose odds are its own."""

    name: str
    text: SuffixAutomaton
    odds: Odds

    def guess(self, match: Match) -> Guess | None:
        """The likeliest token after the match, of those that it or a shorter one, seen more often, suggests."""
        best, most = None, 0.0
        known = ((at, found) for at in self.text.shorter(match) if (found := self.text.likeliest(at.state)))
        for at, (token, count, followed) in islice(known, CANDIDATES):
            guess = Guess(token, at.length, (count + 0.5) / (followed + 1.0))
            if token != SEPARATOR and (odds := self.odds.of(guess)) > most:
                best, most = guess, odds
        return best

    def plan(self, match: Match) -> Plan:
        """What comes after the match, token by token. Where the match ends with the text, a shorter one goes on, so
        that a text which repeats itself is drafted whole."""
        plan, stands = Plan(self.name), 1.0
        while len(plan.tokens) < MAX_DRAFT_TOKENS and (guess := self.guess(match)) is not None:
            odds = self.odds.of(guess)
            stands *= odds
            if stands < LEAST:
                break
            plan.tokens.append(guess.token)
            plan.odds.append(odds)
            plan.gain += stands
            plan.length = plan.length or guess.length
            match = self.text.follow(match, guess.token)
        return plan


@dataclass
class Plan:
    """A draft, as long as it may be."""

    source: str
    tokens: list[int] = field(default_factory=list)
    odds: list[float] = field(default_factory=list)  # of each token to stand where those before it do
    gain: float = 0.0  # how many are expected to stand
    length: int = 0  # of the match that it began with

    @property
    def kind(self) -> Kind | None:
        """None: there is no draft."""
        return Kind(f"{self.source}-{1 << Odds.cell(self.length)}", self.odds) if self.tokens else None


class Answers:
    """Past answers, whole ones (but for what their last round emitted, which no drafter is shown), of at most `limit`
    tokens together. Where there are more, those go first that were neither given nor drafted from for longest, a
    quarter of the limit at once: building the rest anew takes three tokens' time per token then."""

    def __init__(self, limit: int) -> None:
        self.limit, self.text = limit, SuffixAutomaton()
        self._kept: OrderedDict[tuple[int, ...], None] = OrderedDict()  # the least recently used first
        self._begun: list[tuple[int, tuple[int, ...]]] = []  # where each begins in the text

    @property
    def size(self) -> int:
        return sum(map(len, self._kept))

    def add(self, answer: Sequence[int]) -> None:
        key = tuple(answer)
        if key in self._kept:
            self._kept.move_to_end(key)
        elif 0 < len(key) <= self.limit:
            self._kept[key] = None
            if (size := self.size) <= self.limit:
                return self._append(key)
            while size > max(len(key), 3 * self.limit // 4):
                size -= len(self._kept.popitem(last=False)[0])
            self.text, self._begun = SuffixAutomaton(), []
            for kept in self._kept:
                self._append(kept)

    def use(self, match: Match) -> None:
        """It was drafted from: the first answer that has the match is the most recently used."""
        at = bisect(self._begun, self.text.ended[match.state], key=lambda begun: begun[0]) - 1
        self._kept.move_to_end(self._begun[at][1])

    def _append(self, answer: tuple[int, ...]) -> None:
        self._begun.append((self.text.size + 1, answer))
        self.text.extend([*answer, SEPARATOR])


@dataclass
class _User:
    own: Source
    answer_begins: int
    answer: array[int] = field(default_factory=lambda: array("i"))
    recalled: Match = Match()  # what past answers know of the text's end
    plan: Plan | None = None


class SuffixDrafter(Drafter):
    """Drafts from what the user's text has said before: prompt and answer (SuffixDecoding, Oliaro et al. 2024).

    Example:  the cat sat . the cat   ->  draft  sat . the cat ...   (after the match "the cat")

    The automaton holds committed tokens only, so a rejected draft leaves nothing to take back.

    Args:
        memory: also from past answers of this drafter, to whomever they were given, up to so many tokens of them (see
            Answers). A request's text may then be drafted from another's; it is emitted only if the target says it.
    """

    name = "suffix"

    def __init__(self, *, memory: int = 0) -> None:
        if (memory := whole_number(memory, "memory")) < 0:
            raise BadInput(f"a suffix memory of {memory} tokens; give 0 (none) or more")
        self.turns, self._odds = Turns(), Odds()
        self._users: list[_User] = []
        self._answers = Answers(memory)
        self._past = Source(f"{self.name}-memory", self._answers.text, Odds())

    def start(self, prompts: Sequence[Sequence[int]], prompt_features: object = None, kept: Sequence[int] = ()) -> None:
        """Forget the last generation, but for the memory, and for a text that goes on where it was."""
        for user in self._users if self._answers.limit else ():
            self._answers.add(user.answer)
        self._past.text = self._answers.text
        before = [user.own.text for user in self._users]
        texts = [text if text.size <= count else SuffixAutomaton() for text, count in zip(before, kept, strict=False)]
        texts += [SuffixAutomaton() for _ in prompts[len(texts) :]]
        pairs = zip(texts, prompts, strict=True)
        self._users = [_User(Source(self.name, text, self._odds), len(prompt)) for text, prompt in pairs]
        for user, prompt in zip(self._users, prompts, strict=True):
            self._read(user, prompt)

    def expect(self, contexts: Sequence[Sequence[int]]) -> list[str | None]:
        """A kind per length of match, which tells the odds of this very draft."""
        return [self._plan(user, context).kind for user, context in zip(self._users, contexts, strict=True)]

    def propose(self, request: DraftRequest) -> Draft:
        """See Drafter.propose; its q is one-hot. A draft ends where its odds fall below request.min_probability."""
        draft = Draft([], [])
        for user, context, count in zip(self._users, request.contexts, request.counts, strict=True):
            plan = self._plan(user, context) if count else Plan(self.name)
            sure = [odds >= request.min_probability for odds in plan.odds[:count]]
            tokens = plan.tokens[: [*sure, False].index(False)]
            if tokens and plan.source == self._past.name:
                self._answers.use(user.recalled)
            draft.tokens.append(tokens)
            draft.probs.append(None)
            draft.sources.append([plan.source] * len(tokens))
        return draft

    def go_on(self, user: int, drafted: Sequence[int], *, most: int, least: float) -> list[int]:
        """What comes after another's draft: up to `most` tokens, as long as all of them stand with odds of `least`."""
        source = self._users[user].own
        match = source.text.match
        for token in drafted:
            match = source.text.follow(match, token)
        plan = source.plan(match)
        return [token for token, stands in zip(plan.tokens[:most], standing(plan.odds)) if stands >= least]

    def close(self) -> None:
        with self.turns.lock:
            self._users, self._answers, self.turns.owner = [], Answers(self._answers.limit), None

    def _plan(self, user: _User, context: Sequence[int]) -> Plan:
        self._read(user, context)
        if user.plan is None:
            plans = [user.own.plan(user.own.text.match), self._past.plan(user.recalled)]
            user.plan = max(plans, key=lambda plan: plan.gain)
        return user.plan

    def _read(self, user: _User, context: Sequence[int]) -> None:
        """Take in what is new of the context; what is emitted shows what the guesses are worth."""
        for token in context[user.own.text.size :]:
            if user.own.text.size >= user.answer_begins:
                for source, match in ((user.own, user.own.text.match), (self._past, user.recalled)):
                    if (guess := source.guess(match)) is not None:
                        source.odds.observe(guess, token)
                user.answer.append(token)
            user.own.text.append(token)
            user.recalled = self._past.text.follow(user.recalled, token)
            user.plan = None

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Prompt lookup, a baseline: drafts what followed the last few tokens where they stood before."""

from collections.abc import Sequence
from itertools import cycle, islice

from models.tt_transformers.demo.speculative_decoding.drafters import Draft, Drafter, DraftRequest, Features, Texts
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import whole_number
from models.tt_transformers.demo.speculative_decoding.runner import Turns


class PromptLookupDrafter(Drafter):
    """Drafts what followed the last tokens the last time they occurred (prompt lookup, Saxena 2023; vLLM's ngram).

    The longest n-gram that occurs earlier wins (max_ngram first), then its most recent occurrence. Where nothing
    matches it drafts nothing, and the round is a plain decode step. Example, n up to 3, K = 3:

        context  the cat sat . the cat   ->  draft  sat . the   (after the 2-gram "the cat")

    An occurrence that overlaps the end goes on into the draft itself, so a repeating text is drafted whole.
    """

    name = "prompt-lookup"

    def __init__(self, *, max_ngram: int = 3, min_ngram: int = 1) -> None:
        min_ngram, max_ngram = whole_number(min_ngram, "min_ngram"), whole_number(max_ngram, "max_ngram")
        if not 1 <= min_ngram <= max_ngram:
            raise BadInput(f"n-grams from {min_ngram} to {max_ngram}: give 1 <= min_ngram <= max_ngram")
        self.max_ngram, self.min_ngram, self.turns = max_ngram, min_ngram, Turns()
        self._follows: list[dict[tuple[int, ...], int]] = []  # per user: n-gram -> the index after its last occurrence
        self._indexed: list[int] = []  # per user: how many tokens of the context are in the index

    def start(self, prompts: Texts, prompt_features: Features = None, kept: Sequence[int] = ()) -> None:
        """Forget the last generation, but for a user whose text goes on where it was."""
        goes_on = [kept and kept[user] > self._indexed[user] for user in range(len(prompts))]
        self._follows = [self._follows[user] if same else {} for user, same in enumerate(goes_on)]
        self._indexed = [self._indexed[user] if same else 0 for user, same in enumerate(goes_on)]

    def expect(self, contexts: Sequence[Sequence[int]]) -> list[str | None]:
        """A kind per length of the matching n-gram: long matches are right far more often than short ones."""
        matches = [self._match(user, context) for user, context in enumerate(contexts)]
        return [f"{self.name}-{match[0]}" if match else None for match in matches]

    def propose(self, request: DraftRequest) -> Draft:
        """See Drafter.propose; its q is one-hot and it knows no probabilities."""
        tokens = []
        for user, (context, count) in enumerate(zip(request.contexts, request.counts, strict=True)):
            match = self._match(user, context) if count else None
            follows = context[match[1] : match[1] + count] if match else []
            tokens.append(list(islice(cycle(follows), count)))
        return Draft(tokens, [None] * len(tokens), [[self.name] * len(drafted) for drafted in tokens])

    def _match(self, user: int, context: Sequence[int]) -> tuple[int, int] | None:
        """Length of the n-gram that occurred before, and the index of what followed it."""
        follows = self._follows[user]
        # The n-grams that end at the last token are what is looked up, so they are not in the index yet.
        for end in range(self._indexed[user] + 1, len(context)):
            for n in range(self.min_ngram, min(self.max_ngram, end) + 1):
                follows[tuple(context[end - n : end])] = end
        self._indexed[user] = max(self._indexed[user], len(context) - 1)
        for n in range(min(self.max_ngram, len(context) - 1), self.min_ngram - 1, -1):
            if (index := follows.get(tuple(context[-n:]))) is not None:
                return n, index
        return None

    def close(self) -> None:
        with self.turns.lock:
            self._follows, self._indexed, self.turns.owner = [], [], None

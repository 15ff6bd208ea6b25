# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafters: whatever proposes the next few tokens cheaply. They need not be right, only often and quickly enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, sample, to_probabilities
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelRunner


@dataclass(frozen=True)
class Draft:
    """What a drafter proposes in one round, for B users.

    Attributes:
        tokens: per user the drafted ids d_1..d_k (k may differ between users, and be 0).
        probs: per user the distributions q they were sampled from, float32 [k, V] on the host; None for a user whose
            draft was chosen without sampling (one-hot q).
        sources: per user the name of the drafter that proposed each token.
    """

    tokens: list[list[int]]
    probs: list[Tensor | None]
    sources: list[list[str]] = field(default_factory=list)


class Drafter(Protocol):
    """Proposes continuations; told of every committed token by being shown the whole context each round.

    `contexts[b]` is everything committed for user b: prompt and emitted tokens, the pending one (not yet seen by the
    target's cache) last. A drafter works out from its length what was accepted of its last draft.
    """

    # A drafter that runs a model has it as `runner`, so that the generator can check that it fits the target.
    name: str
    feature_layers: tuple[int, ...]  # hidden layers of the target that it reads; () for most

    def start(self, prompts: Sequence[Sequence[int]], prompt_features: Sequence[Tensor] | None = None) -> None:
        """Begin a generation, one user per prompt; `prompt_features[b]` is [len_b, F] if feature_layers is not ()."""

    def expect(self, contexts: Sequence[Sequence[int]]) -> list[str | None]:
        """What kind of draft each user would get now: a key under which a lookahead keeps acceptance statistics (drafts
        of one kind are about equally likely to be right); None if there would be no draft. Asked once per round, before
        propose.
        """

    def propose(
        self,
        contexts: Sequence[Sequence[int]],
        counts: Sequence[int],
        *,
        sampling: SamplingParams,
        generators: Sequence[torch.Generator],
        min_probability: float = 0.0,
    ) -> Draft:
        """Draft up to counts[b] tokens for each user (0: none wanted; the user may have ended).

        With temperature > 0 tokens are sampled from q = to_probabilities(logits, sampling) with the user's own
        generator; otherwise they are argmax. A user's draft ends where no token's probability reaches min_probability.
        """

    def observe(self, accepted_counts: Sequence[int], features: Tensor | None) -> None:
        """After verification: how many of each user's drafts were accepted, and the target's features of the verified
        rows ([B, T, F], row j for position pending + j; None unless feature_layers is not ()). Called for rounds
        without drafts too."""

    def close(self) -> None:
        """Release what the drafter owns."""


class ModelDrafter:
    """Drafts with a small language model, token by token, on a ModelRunner of its own.

    It catches up by itself: what the runner has cached is right as far as it agrees with the context, and the first
    step of a round feeds whatever is missing (one token; two after a fully accepted round, whose last draft was never
    fed; more after rounds in which it was not asked).
    """

    feature_layers: tuple[int, ...] = ()

    def __init__(self, runner: ModelRunner) -> None:
        self.runner = runner
        self.name = runner.name
        self._fed: list[list[int]] = []  # per user: the tokens that the runner has cached, by position
        self._agreed: list[int] = []  # per user: how many of them are known to be the context's

    def start(self, prompts: Sequence[Sequence[int]], prompt_features: Sequence[Tensor] | None = None) -> None:
        """Prefill the draft model."""
        self.runner.prefill(prompts)
        self._fed = [list(prompt) for prompt in prompts]
        self._agreed = [0] * len(prompts)

    def expect(self, contexts: Sequence[Sequence[int]]) -> list[str | None]:
        """One kind: whatever the model says."""
        return [self.name] * len(contexts)

    def propose(
        self,
        contexts: Sequence[Sequence[int]],
        counts: Sequence[int],
        *,
        sampling: SamplingParams,
        generators: Sequence[torch.Generator],
        min_probability: float = 0.0,
    ) -> Draft:
        """See Drafter.propose. One forward of the draft model per drafted token, for all users together."""
        users = range(len(contexts))
        tokens: list[list[int]] = [[] for _ in users]
        probs: list[list[Tensor]] = [[] for _ in users]
        texts = [list(context) for context in contexts]
        for user, context in enumerate(contexts):
            self._forget_rejected(user, context)
        wanting = [user for user in users if counts[user] > 0]
        argmax_only = sampling.greedy and min_probability == 0.0
        while wanting:
            rows = self._feed(texts, wanting, argmax_only)
            for user in list(wanting):
                token, q = _choose(rows[user], sampling, generators[user], min_probability)
                if token is not None:
                    tokens[user].append(token)
                    texts[user].append(token)
                if q is not None:
                    probs[user].append(q)
                if token is None or len(tokens[user]) == counts[user]:
                    wanting.remove(user)
        stacked = [torch.stack(rows) if rows else None for rows in probs]
        return Draft(tokens, stacked, [[self.name] * len(drafted) for drafted in tokens])

    def _forget_rejected(self, user: int, context: Sequence[int]) -> None:
        """Keep what agrees with the context. Its pending token is always fed anew: its logits are what is wanted."""
        fed, end = self._fed[user], min(len(self._fed[user]), len(context) - 1)
        agreed = self._agreed[user]
        while agreed < end and fed[agreed] == context[agreed]:
            agreed += 1
        del fed[agreed:]
        self._agreed[user] = agreed

    def _feed(self, texts: list[list[int]], wanting: list[int], argmax_only: bool) -> dict[int, Tensor]:
        """Feed each wanting user what is missing; returns its last row ([V] logits or an id). Long gaps: in chunks."""
        rows: dict[int, Tensor] = {}
        while len(rows) < len(wanting):
            missing = {user: texts[user][len(self._fed[user]) :] for user in wanting if user not in rows}
            width = min(self.runner.max_tokens_per_user, max(map(len, missing.values())))
            tokens = torch.zeros((len(texts), width), dtype=torch.int64)
            positions, lengths = [IDLE] * len(texts), [1] * len(texts)
            for user, gap in missing.items():
                positions[user], lengths[user] = len(self._fed[user]), min(width, len(gap))
                tokens[user, : lengths[user]] = torch.tensor(gap[:width])
            output = self.runner.forward(tokens, positions, lengths=lengths, argmax_only=argmax_only)
            for user, gap in missing.items():
                self._fed[user].extend(gap[: lengths[user]])
                if lengths[user] == len(gap):
                    rows[user] = output[user, lengths[user] - 1]
        return rows

    def observe(self, accepted_counts: Sequence[int], features: Tensor | None) -> None:
        """Nothing to do: the next context says what was accepted."""

    def close(self) -> None:
        self.runner.close()


def _choose(
    row: Tensor, sampling: SamplingParams, generator: torch.Generator, min_probability: float
) -> tuple[int | None, Tensor | None]:
    """The drafted token and the q it was drawn from (None if greedy); no token if q is sure of nothing.

    Whether to go on is asked of q's largest entry BEFORE drawing: to drop a token for its own small q after drawing it
    would leave a proposal that is no longer q, and the emitted law would not be the target's.
    """
    if not row.is_floating_point():
        return int(row), None
    if sampling.greedy:
        unsure = min_probability > 0.0 and float(row.float().softmax(-1).max()) < min_probability
        return (None, None) if unsure else (int(row.argmax()), None)
    q = to_probabilities(row, sampling).cpu()
    return (None, None) if float(q.max()) < min_probability else (sample(q, generator), q)


def check_fit(target: ModelRunner, drafter: Drafter) -> None:
    """BadInput names what the target and the drafter do not have in common."""
    if drafter.feature_layers and not target.supports_features:
        raise BadInput(f"the drafter {drafter.name} reads hidden features, which {target.name} cannot give")
    draft: ModelRunner | None = getattr(drafter, "runner", None)
    if draft is None:
        return
    if draft.vocab_size != target.vocab_size:
        raise BadInput(
            f"vocab_size is {draft.vocab_size} in the draft {draft.name} and {target.vocab_size} in the target "
            f"{target.name}; their output layers must be of one size"
        )
    if draft.max_seq_len < target.max_seq_len:
        raise BadInput(
            f"the draft {draft.name} was opened for max_seq_len {draft.max_seq_len}, less than the target's "
            f"{target.max_seq_len}; open both for the same"
        )

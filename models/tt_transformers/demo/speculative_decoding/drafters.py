# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafters: whatever proposes the next few tokens cheaply. They need not be right, only often and quickly enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from models.tt_transformers.demo.speculative_decoding.acceptance import Rows, SamplingParams, sample
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import check_kind
from models.tt_transformers.demo.speculative_decoding.processors import Chooser
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner, check_features, feed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER_PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "def f(x):\n    return x ** 2  # 1234567890\n",
    "Zürich, naïve, 東京, emoji 🙂, tabs\tand  double  spaces",
)


class Kind(str):
    """The kind of a coming draft, of which the drafter knows more than how others of its kind fared.

    Attributes:
        odds: per token, up to the longest that it may be, P(it stands | those before it do).
        otherwise: the kind that another drafter would make instead, if one would; the lookahead settles which.
    """

    odds: tuple[float, ...]
    otherwise: str | None

    def __new__(cls, name: str, odds: Sequence[float], otherwise: str | None = None) -> Kind:
        kind = super().__new__(cls, name)
        kind.odds, kind.otherwise = tuple(odds), otherwise
        return kind


Texts: TypeAlias = Sequence[Sequence[int]]  # of each user, as token ids
Features: TypeAlias = Sequence[Tensor] | None  # of each user [n, F], the target's hidden states of n tokens


@dataclass(frozen=True, kw_only=True)
class DraftRequest:
    """What a drafter is asked for in one round, for B users."""

    # Per user everything committed, the pending token (which the target has not cached) last. To be read, not kept.
    contexts: Sequence[Sequence[int]]
    counts: Sequence[int]  # up to how many tokens to draft for each user (0: none wanted; the user may have ended)
    sampling: SamplingParams = SamplingParams()  # not greedy: q is made as p is, by choose()
    choosers: Sequence[Chooser] = ()  # the users' own, as the target's rows are read; (): by `sampling` alone
    generators: Sequence[torch.Generator] = ()  # the users' own
    min_probability: float = 0.0  # a user's draft ends where no token's probability reaches it; 0 never ends it
    vocab_size: int | None = None  # of the target, whose ids alone may be drafted; a draft may be padded differently
    active: Sequence[bool] = ()  # who has not ended
    kinds: Sequence[str | None] = ()  # of the drafts settled on (Lookahead.settle); (): as Drafter.expect says
    # Per user by how many tokens a model's draft may be gone on with from the text, and how likely it must be that
    # they stand if the draft does; (): by none.
    further: Sequence[tuple[int, float]] = ()
    judge: ModelRunner | None = None  # who may verify in the same go (Draft.choices); None: nobody, because
    unjudged: str = "other rows are verified as well"

    @property
    def argmax_only(self) -> bool:
        """Whether choose() needs no more than argmax ids."""
        by_ids = all(chooser.by_ids for chooser in self.choosers) if self.choosers else self.sampling.greedy
        return by_ids and self.min_probability == 0.0

    def choose(self, user: int, row: Tensor, drafted: Sequence[int] = ()) -> tuple[int | None, Tensor | None]:
        """The user's next token after `drafted` and the q [V] it was drawn from (None if greedy); no token where q is
        unsure, or nothing is left of it. `row`: logits [V] of the draft's output layer, or an argmax id.

        Whether to go on is asked of q's largest entry BEFORE drawing: to drop a token for its own small q after drawing
        it would leave a proposal that is no longer q, and the emitted law would not be the target's.
        """
        if not row.is_floating_point():
            return (int(row) if self.vocab_size is None or int(row) < self.vocab_size else None), None
        if self.vocab_size is not None:  # cut, or filled up
            row = F.pad(row, (0, self.vocab_size - len(row)), value=float("-inf"))
        chooser = self.choosers[user] if self.choosers else Chooser(self.sampling)
        made = chooser.row(row, [*self.contexts[user], *drafted])
        if made is None:
            return None, None
        if self.sampling.greedy:
            unsure = self.min_probability > 0.0 and float(made.softmax(-1).max()) < self.min_probability
            return (None, None) if unsure else (int(made.argmax()), None)
        unsure = float(made.max()) < self.min_probability
        return (None, None) if unsure else (sample(made, self.generators[user]), made)


@dataclass(frozen=True)
class Draft:
    """What a drafter proposes in one round, for B users."""

    tokens: list[list[int]]  # per user d_1..d_k; k may differ between users, and be 0
    probs: list[Rows | None]  # per user the q each was sampled from, float32 [V] on the host; None is one-hot
    sources: list[list[str]] = field(default_factory=list)  # per user the name of the drafter of each token
    catch_up: int = 0  # tokens of rounds without it that a model was fed first: their time is no draft's
    # Of a round in which the target verified in the same go: per user its greedy choices, after the pending token and
    # after each draft. None: it has not verified yet.
    choices: list[list[int]] | None = None
    apart: str = ""  # why not, where drafting and verifying in one go was to be had
    own_ns: list[int] | None = None  # per user what its own drafter took; None: one drafted for all


def of_last(kept: Sequence[int]) -> dict[str, Any]:
    """The argument `kept` of a prefill and of a drafter's start, if there is anything to keep."""
    return {"kept": kept} if any(kept) else {}


class Drafter(Protocol):
    """Proposes continuations; told of every committed token by being shown the whole context each round.

    A drafter works out from a context's length what was accepted of its last draft. One that runs a model has it as
    `runner`, so that the generator can check that it fits the target. A subclass may leave out expect and observe.
    """

    name: str
    feature_layers: tuple[int, ...] = ()  # hidden layers of the target that it reads; none for most
    parts: Sequence[Drafter] = ()  # the drafters that it is made of; each remembers for itself

    def start(self, prompts: Texts, prompt_features: Features = None, kept: Sequence[int] = ()) -> None:
        """Begin a generation, one user per prompt; `prompt_features[b]` is [len_b, F] if feature_layers is not ().
        `kept`: how many first tokens of each prompt are the last generation's, with as many users; what is known of
        them may be kept, and features are of the other tokens only."""

    def expect(self, contexts: Sequence[Sequence[int]]) -> list[str | None]:
        """What kind of draft each user would get now, None: no draft. By default there is one kind. A lookahead keeps
        statistics by kind: drafts of one are about equally likely to be right, but where a Kind tells the odds of this
        very one. Asked once per round, before propose."""
        return [self.name] * len(contexts)

    def propose(self, request: DraftRequest) -> Draft:
        """Draft up to request.counts[b] tokens for each user."""

    def observe(self, accepted_counts: Sequence[int], features: Sequence[Tensor] | None) -> None:
        """After each verify (drafts or none): how many drafts of each user were accepted, and the target's features of
        its verified rows ([n, F], row j at position pending + j, n = 0 once ended; None where feature_layers is ())."""
        return

    def close(self) -> None:
        """Release what the drafter owns, and with it what it knows of a generation, which is nobody's afterwards."""


class Doubt:
    """Tells once if the first drafts of an EAGLE-3 head are no better than chance: most heads carry no proof of their
    target. One on its own has half its first tokens accepted or more; on another's, or at the wrong layers, only what
    any text has most of."""

    TRIED, AT_CHANCE = 64, 0.1

    def __init__(self, name: str, layers: Sequence[int]) -> None:
        self._name, self._layers = name, ",".join(map(str, layers))
        self._stood: list[bool] = []  # of the first drafts, whether their first token did

    def observe(self, stood: bool) -> str | None:
        """Of one more draft; what there is to be said, once."""
        if len(self._stood) == self.TRIED:
            return None
        self._stood.append(stood)
        if len(self._stood) < self.TRIED or sum(self._stood) >= self.AT_CHANCE * self.TRIED:
            return None
        seen = f"{self._name} drafts at chance: the target took {sum(self._stood)} of its first {self.TRIED} tokens"
        return f"{seen}; is it this target's head, and does it read layers {self._layers} (--eagle-layers)?"


USUAL_GAP = 2  # what a model that drafts every round is fed first: the pending token, and a last draft that stood


class ModelDrafter(Drafter):
    """Drafts with a small language model, token by token, on a ModelRunner of its own.

    It catches up by itself: what the runner has cached is right as far as it agrees with the context, and the first
    step of a round feeds what is missing (one token; two after a fully accepted round; more if it was not asked).
    """

    def __init__(self, runner: ModelRunner) -> None:
        check_kind("draft", runner, known_by="prefill", example="TorchModelRunner")
        self.runner, self.name, self.turns = runner, runner.name, runner.turns
        self._fed: list[list[int]] = []  # per user: the tokens that the runner has cached, by position
        self._agreed: list[int] = []  # per user: how many of them are known to be the context's

    def start(self, prompts: Texts, prompt_features: Features = None, kept: Sequence[int] = ()) -> None:
        known = [self._known(prompt) for prompt in prompts]
        if any(kept):
            self._agreed = list(map(min, self._agreed, kept))
            kept = [len(prompt) - len(self._missing(user, prompt)) for user, prompt in enumerate(prompts)]
        self.runner.prefill(known, **of_last(kept))
        self._fed = [list(prompt) for prompt in prompts]
        self._agreed = [0] * len(prompts)

    def _known(self, tokens: Sequence[int]) -> list[int]:
        """For ids that only the target's output layer has, any other: they are rare, and a draft need not be right."""
        return [min(token, self.runner.vocab_size - 1) for token in tokens]

    def propose(self, request: DraftRequest) -> Draft:
        """See Drafter.propose. One forward of the draft model per drafted token, for all users together."""
        tokens: list[list[int]] = [[] for _ in request.contexts]
        probs: list[list[Tensor]] = [[] for _ in request.contexts]
        gaps = {user: self._missing(user, request.contexts[user]) for user, count in enumerate(request.counts) if count}
        catch_up = max([0, *(len(gap) - USUAL_GAP for gap in gaps.values())])
        while gaps:
            for user, row in self._feed(gaps, len(tokens), request.argmax_only).items():
                token, q = request.choose(user, row, tokens[user])
                if token is not None:
                    tokens[user].append(token)
                    gaps[user] = [token]
                if q is not None:
                    probs[user].append(q)
                if token is None or len(tokens[user]) == request.counts[user]:
                    del gaps[user]
        sources = [[self.name] * len(drafted) for drafted in tokens]
        return Draft(tokens, [rows or None for rows in probs], sources, catch_up)

    def _missing(self, user: int, context: Sequence[int]) -> list[int]:
        """What of the context is to be fed, its pending token always: for its logits. Forgets what was rejected."""
        fed, end = self._fed[user], min(len(self._fed[user]), len(context) - 1)
        agreed = self._agreed[user]
        while agreed < end and fed[agreed] == context[agreed]:
            agreed += 1
        del fed[agreed:]
        self._agreed[user] = agreed
        return list(context[agreed:])

    def _feed(self, gaps: dict[int, list[int]], users: int, argmax_only: bool) -> dict[int, Tensor]:
        """Feed each user's gap; returns its last row ([V] logits or an id)."""

        def forward(tokens: Tensor, positions: list[int], lengths: list[int]) -> Tensor:
            return self.runner.forward(tokens, positions, lengths=lengths, argmax_only=argmax_only).values

        starts = {user: len(self._fed[user]) for user in gaps}
        known = {user: self._known(gap) for user, gap in gaps.items()}
        rows = feed(forward, known, starts, users=users, width=self.runner.max_tokens_per_user)
        for user, gap in gaps.items():
            self._fed[user].extend(gap)
        return rows

    def close(self) -> None:
        self.runner.close()


def check_fit(target: ModelRunner, drafter: Drafter) -> None:
    """BadInput names what the target and the drafter do not have in common."""
    check_features(target, drafter.feature_layers)
    draft: ModelRunner | None = getattr(drafter, "runner", None)
    if draft is not None and draft.max_seq_len < target.max_seq_len:
        remedy = "open both alike"
        raise BadInput(f"the draft has max_seq_len {draft.max_seq_len}, the target {target.max_seq_len}; {remedy}")


def check_same_tokenizer(
    target: PreTrainedTokenizerBase, draft: PreTrainedTokenizerBase, *, target_name: str, draft_name: str
) -> None:
    """Draft and target must mean the same text by the same ids, or every draft is quietly wrong. BadInput names the
    first token, special id or text (of TOKENIZER_PROBES) on which the two differ."""
    ours, theirs = ({i: token for token, i in one.get_vocab().items()} for one in (target, draft))
    compared = [(f"token id {i}", ours.get(i), theirs.get(i)) for i in sorted(ours.keys() | theirs.keys())]
    specials = ("bos_token_id", "eos_token_id", "unk_token_id")
    compared += [(kind, getattr(target, kind), getattr(draft, kind)) for kind in specials]
    compared += [(f"the encoding of {text!r}", target.encode(text), draft.encode(text)) for text in TOKENIZER_PROBES]
    need = "draft and target must share one tokenizer (the models of one family do), or use --drafter suffix"
    for what, one, other in compared:
        if one != other:
            differs = f"{what} is {one!r} in the target and {other!r} in the draft"
            raise BadInput(f"{draft_name} cannot draft for {target_name}: {differs}; {need}")

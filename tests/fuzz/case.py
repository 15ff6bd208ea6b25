# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""One fuzz case: everything that a generation depends on, as plain data that prints as one line."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from fuzz.oracle import Text

GREEDY_AT_HEART = 1e-6  # a temperature at which sampling goes through all its motions and can only give the greedy text
CHEAP = ("none", "suffix", "lookup", "knowing", "always-wrong", "random-tokens", "stop-tokens")
MODELS = ("self", "near", "other", "padded", "trimmed", "hybrid-self", "hybrid-near", "hybrid-trimmed")
DRAFTERS = (*CHEAP, *MODELS)
TT_DRAFTERS = (
    "suffix",
    "lookup",
    "knowing",
    "always-wrong",
    "self",
    "near",
    "other",
)  # those that need no third model on the device
TT_USERS, TT_SEQ_LEN, TT_K = 4, 120, 7


@dataclass(frozen=True, kw_only=True)
class Case:
    """A generation and how it is to be run.

    Attributes:
        model: index of the target in the pool (fuzz.world).
        prompts: token ids per user.
        drafter: one of DRAFTERS; seed makes its errors, the random K and the sampling repeatable.
        lookahead: "fixed-K", "adaptive-P" (P: min_probability), "auto" (on a simulated clock) or "random-K" (0..K anew
            in every round).
        temperature: 0, GREEDY_AT_HEART, or a real one; top_k and top_p belong to the last.
        generations: how often the same generator object is used; 0: two streams of two of them in turns.
        runner: "torch", or "tt" on the fake device.
    """

    model: int = 0
    prompts: tuple[tuple[int, ...], ...] = ((1,),)
    drafter: str = "lookup"
    lookahead: str = "fixed-4"
    limit: int = 16
    max_seq_len: int = 256
    stop_ids: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    verify_width: int = 1
    generations: int = 1
    runner: str = "torch"
    seed: int = 0

    @property
    def greedy(self) -> bool:
        """Whether its text is known beforehand."""
        return self.temperature <= GREEDY_AT_HEART

    @property
    def possible(self) -> bool:
        """Whether the package promises to accept it."""
        return bool(self.prompts) and all(0 < len(prompt) < self.max_seq_len for prompt in self.prompts)

    def to_json(self) -> str:
        """One line: what differs from the defaults."""
        default = Case()
        return json.dumps({k: v for k, v in dataclasses.asdict(self).items() if v != getattr(default, k)})

    @classmethod
    def from_json(cls, line: str) -> Case:
        fields = json.loads(line)
        for name in ("stop_ids", "stop_strings"):
            fields[name] = tuple(fields.get(name, ()))
        fields["prompts"] = tuple(map(tuple, fields.get("prompts", cls.prompts)))
        return cls(**fields)


def random_case(rng: random.Random, model: int, texts: Sequence[Text], spell: Sequence[str], tt: bool) -> Case:
    """A case about some of the given texts of a model, all of them free of near-ties up to its limit.

    Args:
        spell: what each token id of the model reads as.
        tt: run on the fake Tenstorrent device.
    """
    drafter = rng.choice(TT_DRAFTERS if tt else CHEAP if rng.random() < 0.75 else MODELS)
    limit = rng.randint(1, 8) if rng.random() < 0.2 else rng.randint(9, 64)
    users = rng.randint(1, TT_USERS) if tt else rng.choice((1, 2, 3, 8, 16, 24, 32, 32))
    able = [text for text in texts if len(text.tokens) >= limit]
    if not able:
        able, limit = list(texts), min(len(text.tokens) for text in texts)
    chosen = rng.choices(able, k=users)
    longest = max(len(text.prompt) for text in chosen)
    max_seq_len = longest + rng.randint(1, limit) if rng.random() < 0.2 else 256
    temperature = 0.0 if tt else rng.choices((0.0, GREEDY_AT_HEART, rng.uniform(0.2, 1.5)), (7, 2, 1))[0]
    sampled = temperature > GREEDY_AT_HEART
    return Case(
        model=model,
        prompts=tuple(text.prompt for text in chosen),
        drafter=drafter,
        lookahead=_lookahead(rng, tt, most=31 if drafter in CHEAP or rng.random() < 0.05 else 8),
        limit=max(1, limit),
        max_seq_len=TT_SEQ_LEN if tt else max_seq_len,
        stop_ids=_stop_ids(rng, chosen, len(spell)),
        stop_strings=_stop_strings(rng, chosen, spell),
        temperature=temperature,
        top_k=rng.choice((0, 1, 3, 8)) if sampled else 0,
        top_p=rng.choice((1.0, 0.9, 0.5)) if sampled else 1.0,
        verify_width=rng.choice((1, 1, 1, 2, 8)),
        generations=1 if sampled else rng.choice((0, 1, 1, 2)),
        runner="tt" if tt else "torch",
        seed=rng.randrange(10**6),
    )


def _lookahead(rng: random.Random, tt: bool, most: int) -> str:
    most = min(most, rng.choice((1, 2, 3, 4, 5, 7) if tt else (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 31)))
    others = ["random"] if tt else ["random", "adaptive-0", "adaptive-0.4", "auto"]
    kind = rng.choice(("fixed", "fixed", *others))
    return f"{kind}-{most}" if kind in ("fixed", "random") else kind


def _stop_ids(rng: random.Random, texts: Sequence[Text], vocab: int) -> tuple[int, ...]:
    """None, a few at random, or one that a text is sure to meet."""
    kind = rng.randrange(6)
    if kind < 4:
        return ()
    if kind == 4:
        return tuple(sorted(rng.sample(range(vocab), rng.randint(1, 3))))
    return (rng.choice(rng.choice(texts).tokens),)


def _stop_strings(rng: random.Random, texts: Sequence[Text], spell: Sequence[str]) -> tuple[str, ...]:
    if rng.random() < 0.7:
        return ()
    text = "".join(spell[token] for token in rng.choice(texts).tokens)
    start = rng.randrange(len(text))
    return ("never in it", text[start : start + rng.randint(1, 6)])

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Is what was sampled the law that was wanted? And a runner whose every distribution is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

import torch
from scipy import stats
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.acceptance import sample, to_probabilities
from models.tt_transformers.demo.speculative_decoding.drafters import Draft
from models.tt_transformers.demo.speculative_decoding.runner import Rows, Turns

ALARM = 1e-3  # with fixed seeds a test either always passes or always fails; this is how unlikely a false alarm was


def total_variation(counts: Mapping[Hashable, int], law: Mapping[Hashable, float]) -> float:
    """Half the sum of |frequency - probability|."""
    n = sum(counts.values())
    return sum(abs(counts.get(key, 0) / n - law.get(key, 0.0)) for key in {*counts, *law}) / 2


def p_value(counts: Mapping[Hashable, int], law: Mapping[Hashable, float]) -> float:
    """Of Pearson's chi-square; outcomes that are expected fewer than five times are taken together, impossible ones are
    fatal."""
    n = sum(counts.values())
    if any(law.get(key, 0.0) <= 0.0 for key in counts):
        return 0.0
    common = [key for key in law if n * law[key] >= 5]
    observed = [counts.get(key, 0) for key in common]
    expected = [n * law[key] for key in common]
    rest = n - sum(expected)
    if rest > 1e-6 * n:
        observed.append(n - sum(observed))
        expected.append(rest)
    total = sum(expected)
    return float(stats.chisquare(observed, [e * n / total for e in expected]).pvalue) if len(observed) > 1 else 1.0


def assert_follows(counts: Counter, law: Mapping[Hashable, float]) -> None:
    """Chi-square, and total variation within what this many samples of the law itself would show."""
    n = sum(counts.values())
    value, distance = p_value(counts, law), total_variation(counts, law)
    bound = 1.5 * sum((probability / n) ** 0.5 for probability in law.values()) / 2
    assert (
        value > ALARM and distance < bound
    ), f"p-value {value:.2g}, total variation {distance:.4f} (bound {bound:.4f})"


def law_of(probs: Tensor) -> dict[int, float]:
    """A distribution [V] as a dictionary without its zeros."""
    return {token: float(p) for token, p in enumerate(probs.double()) if p > 0}


def allowed(logits: Tensor, *, top_k: int = 0, top_p: float = 1.0) -> set[int]:
    """Which ids the mask leaves, by a loop."""
    order = sorted(range(len(logits)), key=lambda i: -float(logits[i]))[: top_k or None]
    probs = torch.tensor([float(logits[i]) for i in order], dtype=torch.float64).softmax(-1)
    kept, mass = set(), 0.0
    for token, probability in zip(order, probs.tolist()):
        if mass >= top_p:
            break
        kept.add(token)
        mass += probability
    return kept


class TableRunner:
    """A "model" whose logits depend on the last two tokens, by a table: its law is known exactly, and a forward costs
    nothing.

    It remembers every user's tokens by position, as a KV cache does; what lies past a position is never looked at.
    """

    supports_features, supports_reuse, load = False, False, None

    def __init__(
        self, table: Callable[[tuple[int, ...]], Tensor], *, vocab: int, users: int, name: str = "table"
    ) -> None:
        self.table, self.vocab_size, self.name = table, vocab, name
        self.max_users, self.max_seq_len, self.max_tokens_per_user = users, 64, 32
        self.eos_token_ids: frozenset[int] = frozenset()
        self.cached: list[list[int]] = []
        self.turns = Turns()

    def warmup(self, tokens_per_user: Sequence[int], *, argmax_only: bool = True) -> None:
        pass

    def prefill(self, prompts: Sequence[Sequence[int]], *, features: Sequence[int] = ()) -> Rows:
        self.turns.owner = None
        self.cached = [list(prompt) for prompt in prompts]
        return Rows(torch.stack([self.table(tuple(tokens[-2:])) for tokens in self.cached]))

    def forward(self, tokens, positions, *, lengths=None, argmax_only=False, features=()) -> Rows:
        users, width = tokens.shape
        logits = torch.zeros(users, width, self.vocab_size)
        for user, (row, start) in enumerate(zip(tokens.tolist(), positions, strict=True)):
            if start >= 0:
                for j, token in enumerate(row[: width if lengths is None else lengths[user]]):
                    self.cached[user][start + j :] = [token]
                    logits[user, j] = self.table(tuple(self.cached[user][-2:]))
        return Rows(logits.argmax(-1) if argmax_only else logits)

    def synchronize(self) -> None:
        pass

    def close(self) -> None:
        pass


def random_table(seed: int, vocab: int, *, spread: float = 1.5) -> Callable[[tuple[int, ...]], Tensor]:
    """Random logits for every pair of tokens, always the same for one seed."""
    rows = spread * torch.randn(vocab + 1, vocab, vocab, generator=torch.Generator().manual_seed(seed))
    return lambda last: rows[last[-2] if len(last) > 1 else vocab, last[-1]]


class SamplingDrafter:
    """Samples from `draw` of a table's logits and says that it sampled from `claim` of them: honest if they are one."""

    name = "sampling"
    feature_layers: tuple[int, ...] = ()

    def __init__(self, table, *, draw=None, claim=None) -> None:
        self.table, self.draw, self.claim = table, draw or to_probabilities, claim or to_probabilities

    def start(self, prompts, prompt_features=None) -> None:
        pass

    def expect(self, contexts) -> list[str | None]:
        return [self.name] * len(contexts)

    def propose(self, request) -> Draft:
        tokens, probs, sampling = [], [], request.sampling
        for user, count in enumerate(request.counts):
            drafted, rows = [], []
            for _ in range(count):
                logits = self.table(tuple([*request.contexts[user][-2:], *drafted][-2:]))
                drafted.append(sample(self.draw(logits, sampling), request.generators[user]))
                rows.append(self.claim(logits, sampling))
            tokens.append(drafted)
            probs.append(torch.stack(rows) if rows else None)
        return Draft(tokens, probs, [[self.name] * len(drafted) for drafted in tokens])

    def observe(self, accepted_counts, features) -> None:
        pass

    def close(self) -> None:
        pass

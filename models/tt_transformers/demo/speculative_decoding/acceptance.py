# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Which drafted tokens stand, and which token the target adds.

Words: a drafted token is *accepted* or rejected; after the first rejection the target's own token is *recovered* from
what the draft distribution q left over of the target's p; after K acceptances the target's next token is a *bonus*.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import real_number, whole_number

# Tokens less likely than this part of the likeliest are sorted only where the others' mass does not reach top_p.
UNLIKELY = 1e-5
BLOCK = 64


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen from logits; the defaults are greedy decoding.

    Attributes:
        temperature: 0 is greedy (argmax); otherwise logits are divided by it.
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: then keep the smallest set whose probability reaches top_p; 1.0 keeps all.
        seed: user b draws from its own generator, seeded with seed + b: one float64 for each draft that is judged and
            one for each token that is drawn. The same seed, models, drafter and K give the same text with the same
            versions of torch and of this package, whatever the other users do.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("top_k", "seed"):
            object.__setattr__(self, name, whole_number(getattr(self, name), name))
        for name in ("temperature", "top_p"):
            object.__setattr__(self, name, real_number(getattr(self, name), name))
        if self.temperature != 0.0 and not 1e-6 <= self.temperature <= 100.0:  # below, logits / temperature overflows
            raise BadInput(f"temperature {self.temperature} is neither 0 (greedy decoding) nor in [0.000001, 100]")
        if self.top_k < 0:
            raise BadInput(f"top-k {self.top_k} is negative; 0 keeps every token")
        if not 0.0 < self.top_p <= 1.0:
            raise BadInput(f"top-p {self.top_p} is not in (0, 1]; 1 keeps every token")
        if not 0 <= self.seed < 2**63:
            raise BadInput(f"seed {self.seed} is not in [0, 2**63)")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0


Verdicts: TypeAlias = Any  # of one user, by index: see accept()
Rows: TypeAlias = Sequence[Tensor | None] | Tensor  # of one user, by index


@dataclass(frozen=True)
class Acceptance:
    """The verdict on one round.

    Attributes:
        accepted_counts: per user, how many drafted tokens stand (0..drafted).
        next_tokens: per user, the target's own token after them: recovered if a draft was rejected, bonus otherwise.
        verdicts: what they were judged by.
    """

    accepted_counts: list[int]
    next_tokens: list[int]
    verdicts: Sequence[Verdicts] = ()


def to_probabilities(logits: Tensor, params: SamplingParams) -> Tensor:
    """The distribution that sampling draws from: temperature, then top-k, then top-p, in float32.

    The same function makes p and q, so that the acceptance ratio compares what was really sampled.

    Args:
        logits: float [..., V].
        params: temperature > 0 (greedy decoding never needs probabilities).

    Returns:
        float32 [..., V], rows summing to 1.
    """
    logits = logits.float() / params.temperature
    if params.top_k == 0 and params.top_p == 1.0:
        return logits.softmax(-1)
    if logits.dim() == 1:
        return _masked(logits, params)
    rows = [_masked(row, params) for row in logits.reshape(-1, logits.shape[-1])]
    return torch.stack(rows).reshape(logits.shape)


def _masked(logits: Tensor, params: SamplingParams) -> Tensor:
    """p [V] of logits [V]: nothing outside top-k and top-p."""
    if params.top_k == 0 or params.top_k >= len(logits):
        ids = _nucleus(logits, params.top_p)
    else:
        ids = _best(logits, params.top_k)
        ids = ids[_nucleus(logits[ids], params.top_p)]
    return torch.zeros_like(logits).scatter_(0, ids, logits[ids].softmax(-1))


def _best(logits: Tensor, count: int) -> Tensor:
    """The ids of the `count` largest, ascending: they lie in the blocks with the largest maxima."""
    blocks = _blocks(logits, float("-inf"))
    held = blocks.amax(1).topk(min(count, len(blocks))).indices.sort().values
    found = blocks[held].flatten().topk(count).indices.sort().values
    ids = held[found // BLOCK] * BLOCK + found % BLOCK
    return ids[ids < len(logits)]


def _nucleus(logits: Tensor, top_p: float) -> Tensor:
    """The fewest ids whose probability reaches top_p, the likeliest first and of equals the lowest.

    A sort of all puts the likely ones first, in this order: it is made only where their mass is short.
    """
    if top_p == 1.0:
        return torch.arange(len(logits), device=logits.device)
    probs = logits.softmax(-1)
    for ids in (_likely(probs), None):
        likely, order = (probs if ids is None else probs[ids]).sort(descending=True, stable=True)
        count = 1 + int((likely.cumsum(0, dtype=torch.float64) < top_p).sum())  # all that begin below top_p
        if count <= len(likely):
            break
    return order[:count] if ids is None else ids[order[:count]]


def _likely(probs: Tensor) -> Tensor:
    """The ids of all that is more than UNLIKELY of the likeliest, ascending; most blocks hold none."""
    blocks = _blocks(probs)
    tops = blocks.amax(1)
    floor = UNLIKELY * tops.amax()
    held = (tops > floor).nonzero()[:, 0]
    block, offset = (blocks[held] > floor).nonzero().unbind(1)
    return held[block] * BLOCK + offset


def _blocks(values: Tensor, fill: float = 0.0) -> Tensor:
    """[V] as [n, BLOCK], filled up."""
    missing = -len(values) % BLOCK
    return (F.pad(values, (0, missing), value=fill) if missing else values).view(-1, BLOCK)


def sample(probs: Tensor, generator: torch.Generator) -> int:
    """Draw one token id from weights (float32 [V] on the host) with the user's own generator: where one float64 falls
    in their running sum, first over blocks, then in one."""
    blocks = _blocks(probs)
    sums = blocks.sum(1, dtype=torch.float64).cumsum(0)
    point = float(torch.rand((), dtype=torch.float64, generator=generator)) * float(sums[-1])
    block = _falls(point, sums)
    before = float(sums[block - 1]) if block else 0.0
    return block * BLOCK + _falls(point - before, blocks[block].cumsum(0, dtype=torch.float64))


def _falls(point: float, sums: Tensor) -> int:
    """The first index whose running sum is above `point`; never one that adds nothing, whatever was rounded."""
    return int(torch.searchsorted(sums, min(point, math.nextafter(float(sums[-1]), 0.0)), right=True))


def accept(
    draft_tokens: Sequence[Sequence[int]],
    target: Sequence[Verdicts],
    *,
    active: Sequence[bool],
    draft_probs: Sequence[Rows | None],
    generators: Sequence[torch.Generator],
) -> Acceptance:
    """Judge one round, user by user. Whatever the draft, the emitted tokens follow the target's own law exactly.

    Args:
        draft_tokens: per user its drafted d_1..d_k; k may differ, and be 0.
        target: per user what the target says after pending, d_1, ..., d_k: at least k+1 argmax ids (greedy), or
            distributions p, float32 [V] on the host (sampling). Those after a rejected draft are not looked at.
        active: users who have not ended; the others are not looked at and draw nothing from their generators.
        draft_probs: per user the q that each token was sampled from, float32 [V] on the host; None is one-hot.
        generators: one per user; greedy judging draws nothing.

    Returns:
        accepted_counts 0..k and the target's own next token per user (0 and 0 for users who are not active).
    """
    counts, next_tokens = [], []
    for user, drafted in enumerate(draft_tokens):
        verdicts = target[user]
        if not active[user]:
            accepted, next_token = 0, 0
        elif isinstance(verdicts[0], Tensor):
            accepted, next_token = _accept_sampled(drafted, draft_probs[user], verdicts, generators[user])
        else:
            accepted, next_token = _accept_greedy(drafted, verdicts)
        counts.append(accepted)
        next_tokens.append(next_token)
    return Acceptance(counts, next_tokens, target)


def _accept_greedy(drafted: Sequence[int], choices: Sequence[int]) -> tuple[int, int]:
    """The longest prefix that equals the target's argmax ids, and its choice after it."""
    accepted = next((j for j, token in enumerate(drafted) if token != choices[j]), len(drafted))
    return accepted, int(choices[accepted])


def _accept_sampled(
    drafted: Sequence[int], draft_probs: Rows | None, p: Sequence[Tensor] | Tensor, generator: torch.Generator
) -> tuple[int, int]:
    """Speculative sampling (Leviathan et al. 2023, algorithm 1; Chen et al. 2023, theorem 1).

    Accept d_j ~ q with probability min(1, p(d_j) / q(d_j)); at the first rejection emit a sample of norm(max(p - q,
    0)). Ratios are taken in float32 from the very tensor that d_j was sampled from: with a rounded q the law would not
    be p's.
    """
    for j, token in enumerate(drafted):
        q = draft_probs[j] if draft_probs is not None else None
        q_token = 1.0 if q is None else float(q[token])
        if float(torch.rand((), dtype=torch.float64, generator=generator)) * q_token < float(p[j][token]):
            continue
        if q is None:  # one-hot q: what is left of p is p without the token
            leftover = p[j].clone()
            leftover[token] = 0.0
        else:
            leftover = (p[j] - q).clamp_(min=0.0)
        # Rounding alone can leave nothing when p and q are equal; then p itself is the right law.
        return j, sample(leftover if float(leftover.sum()) > 0.0 else p[j], generator)
    return len(drafted), sample(p[len(drafted)], generator)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Which drafted tokens stand, and which token the target adds.

Words: a drafted token is *accepted* or rejected; after the first rejection the target's own token is *recovered* from
what the draft distribution q left over of the target's p; after K acceptances the target's next token is a *bonus*.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import real_number, whole_number


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen from logits; the defaults are greedy decoding.

    Attributes:
        temperature: 0 is greedy (argmax); otherwise logits are divided by it.
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: then keep the smallest set whose probability reaches top_p; 1.0 keeps all.
        seed: user b draws from its own generator, seeded with seed + b.
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


@dataclass(frozen=True)
class Acceptance:
    """The verdict on one round.

    Attributes:
        accepted_counts: per user, how many drafted tokens stand (0..drafted).
        next_tokens: per user, the target's own token after them: recovered if a draft was rejected, bonus otherwise.
    """

    accepted_counts: list[int]
    next_tokens: list[int]


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
    if 0 < params.top_k < logits.shape[-1]:
        kept = logits.topk(params.top_k, dim=-1)
        logits = torch.full_like(logits, float("-inf")).scatter(-1, kept.indices, kept.values)
    if params.top_p < 1.0:
        probs, order = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
        outside = probs.cumsum(-1) - probs >= params.top_p  # mass before a token already reaches top_p
        outside[..., 0] = False  # also where top_p is nothing in float32
        logits = logits.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), float("-inf"))
    return logits.softmax(-1)


def sample(probs: Tensor, generator: torch.Generator) -> int:
    """Draw one token id from probs (float32 [V] on the host) with the user's own generator."""
    return int(torch.multinomial(probs, 1, generator=generator))


def accept(
    draft_tokens: Sequence[Sequence[int]],
    target: Sequence[Sequence[int] | Tensor],
    *,
    active: Sequence[bool],
    draft_probs: Sequence[Tensor | None],
    generators: Sequence[torch.Generator],
) -> Acceptance:
    """Judge one round, user by user. Whatever the draft, the emitted tokens follow the target's own law exactly.

    Args:
        draft_tokens: per user its drafted d_1..d_k; k may differ, and be 0.
        target: per user what the target says after pending, d_1, ..., d_k: at least k+1 argmax ids (greedy), or float32
            [>= k+1, V] distributions p on the host (sampling).
        active: users who have not ended; the others are not looked at and draw nothing from their generators.
        draft_probs: per user the q that its tokens were sampled from, float32 [k, V] on the host; None is one-hot.
        generators: one per user; greedy judging draws nothing.

    Returns:
        accepted_counts 0..k and the target's own next token per user (0 and 0 for users who are not active).
    """
    counts, next_tokens = [], []
    for user, drafted in enumerate(draft_tokens):
        verdicts = target[user]
        if not active[user]:
            accepted, next_token = 0, 0
        elif isinstance(verdicts, Tensor):
            accepted, next_token = _accept_sampled(drafted, draft_probs[user], verdicts, generators[user])
        else:
            accepted, next_token = _accept_greedy(drafted, verdicts)
        counts.append(accepted)
        next_tokens.append(next_token)
    return Acceptance(counts, next_tokens)


def _accept_greedy(drafted: Sequence[int], choices: Sequence[int]) -> tuple[int, int]:
    """The longest prefix that equals the target's argmax ids, and its choice after it."""
    accepted = next((j for j, token in enumerate(drafted) if token != choices[j]), len(drafted))
    return accepted, int(choices[accepted])


def _accept_sampled(drafted: Sequence[int], q: Tensor | None, p: Tensor, generator: torch.Generator) -> tuple[int, int]:
    """Speculative sampling (Leviathan et al. 2023, algorithm 1; Chen et al. 2023, theorem 1).

    Accept d_j ~ q with probability min(1, p(d_j) / q(d_j)); at the first rejection emit a sample of norm(max(p - q,
    0)). Ratios are taken in float32 from the very tensor that d_j was sampled from: with a rounded q the law would not
    be p's.
    """
    for j, token in enumerate(drafted):
        q_token = 1.0 if q is None else float(q[j, token])
        if float(torch.rand((), dtype=torch.float64, generator=generator)) * q_token < float(p[j, token]):
            continue
        if q is None:  # one-hot q: what is left of p is p without the token
            leftover = p[j].clone()
            leftover[token] = 0.0
        else:
            leftover = (p[j] - q[j]).clamp_(min=0.0)
        # Rounding alone can leave nothing when p and q are equal; then p itself is the right law.
        return j, sample(leftover if float(leftover.sum()) > 0.0 else p[j], generator)
    return len(drafted), sample(p[len(drafted)], generator)

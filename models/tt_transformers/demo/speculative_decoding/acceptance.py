# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Which drafted tokens stand, and which token the target adds.

Words: a drafted token is *accepted* or rejected; after the first rejection the target's own token is *recovered* from what
the draft distribution q left over of the target's p; after K acceptances the target's next token is a *bonus*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.errors import BadInput


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
        if not 0.0 <= self.temperature <= 100.0:
            raise BadInput(f"temperature {self.temperature} is not in [0, 100]; 0 is greedy decoding")
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
        logits = logits.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), float("-inf"))
    return logits.softmax(-1)


def sample(probs: Tensor, generator: torch.Generator) -> int:
    """Draw one token id from probs (float32 [V] on the host) with the user's own generator."""
    return int(torch.multinomial(probs, 1, generator=generator))


def accept_greedy(draft_tokens: Sequence[Sequence[int]], target_ids: Sequence[Sequence[int]]) -> Acceptance:
    """Longest prefix of each draft that equals the target's own argmax.

    Args:
        draft_tokens: per user its drafted tokens d_1..d_K (K may differ, 0 included).
        target_ids: per user at least K+1 argmax ids; entry j is the target's choice after d_j (entry 0: after pending).
    """
    counts, next_tokens = [], []
    for drafted, choices in zip(draft_tokens, target_ids, strict=True):
        accepted = next((j for j, token in enumerate(drafted) if token != choices[j]), len(drafted))
        counts.append(accepted)
        next_tokens.append(int(choices[accepted]))
    return Acceptance(counts, next_tokens)

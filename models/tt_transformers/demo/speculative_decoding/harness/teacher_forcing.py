# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Does a verify say what plain decoding says? Asked at every position of a text, whatever came before it.

Two decodings that part at a near-tie write different texts from there on, and comparing them says nothing more. Fed
with the other's text, a verify is judged at each position alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.comparison import top2_gap
from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelRunner

AGREEMENT = 0.99  # of the positions at least; rounding turns fewer
NEAR_TIE = 0.5  # the target's two best logits lie nearer than this where rounding may turn the choice


@dataclass(frozen=True)
class Miss:
    """Where the verify chose another token, and by how much the target's best logit wins there."""

    text: int
    token: int
    gap: float | None = None  # None: not measured, as there are too many misses anyway


@dataclass(frozen=True)
class Forced:
    """What teacher forcing found over all texts."""

    positions: int
    misses: tuple[Miss, ...]

    @property
    def problem(self) -> str | None:
        """Why the verify is not the target's; None if it is."""
        agreed = 1.0 - len(self.misses) / self.positions
        if agreed < AGREEMENT:
            return f"the verify agrees with plain decoding at {agreed:.1%} of {self.positions} positions only"
        clear = [miss for miss in self.misses if miss.gap is None or miss.gap >= NEAR_TIE]
        if clear:
            return f"the verify chooses another token where the choice is clear: {clear[0]}"
        return None


def teacher_forced(
    target: ModelRunner, prompts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]], *, width: int
) -> Forced:
    """Feed each prompt's text to the target as drafts that are all accepted, `width` rows of a user at once, as many
    users together as it serves, and compare its choices with the text. BadInput if there is nothing to compare."""
    positions = sum(len(text) - 1 for text in texts)
    if positions < 1:
        raise BadInput("no text has a token after its first to compare; let them be longer")
    misses: list[Miss] = []
    for first in range(0, len(prompts), target.max_users):
        users = range(first, min(first + target.max_users, len(prompts)))
        target.prefill([prompts[user] for user in users])
        for begin in range(0, max(len(texts[user]) for user in users) - 1, width):
            fed = [list(texts[user][begin : begin + width][: len(texts[user]) - 1 - begin]) for user in users]
            at = [len(prompts[user]) + begin if tokens else IDLE for user, tokens in zip(users, fed, strict=True)]
            rows = torch.tensor([tokens + [0] * (width - len(tokens)) for tokens in fed])
            lengths = [max(1, len(tokens)) for tokens in fed]
            chosen = target.forward(rows, at, lengths=lengths, argmax_only=True).values.tolist()
            for user, tokens, row in zip(users, fed, chosen, strict=True):
                wanted = texts[user][begin + 1 : begin + 1 + len(tokens)]
                misses += [Miss(user, begin + 1 + j) for j, token in enumerate(wanted) if row[j] != token]
    if len(misses) <= (1.0 - AGREEMENT) * positions:
        contexts = [[*prompts[miss.text], *texts[miss.text][: miss.token]] for miss in misses]
        misses = [replace(miss, gap=top2_gap(target, context)) for miss, context in zip(misses, contexts, strict=True)]
    return Forced(positions, tuple(misses))


def rows_correlation(target: ModelRunner, tokens: Sequence[int], *, width: int) -> float:
    """The least Pearson correlation of a verify's rows, [width, V] logits of the last `width` tokens, with those of the
    same tokens fed one by one."""
    start = len(tokens) - width
    verified = torch.tensor([list(tokens[start:])])
    target.prefill([tokens[:start]])
    together = target.forward(verified, [start]).values[0]
    target.prefill([tokens[:start]])
    alone = [target.forward(verified[:, j : j + 1], [start + j]).values[0, 0] for j in range(width)]
    pairs = zip(together.double(), torch.stack(alone).double(), strict=True)
    return min(float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs)

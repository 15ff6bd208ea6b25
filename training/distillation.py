# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a head learns: the target's next-token distribution, from true features and from its own states.

What the target contributes is in the data: its final normed state times its head rows is the teacher. The head also
drafts on, several steps on its own hidden states, as in use (HASS, Zhang et al. 2024; EAGLE-3's training-time test).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.hf.draft_layer import frozen_rows
from training.data import (
    Answer,
    TrainingBatch,
    batch_groups,
    collate,
)
from training.model import HeadModel

SLICE = 256  # rows of logits at a time


@dataclass(frozen=True)
class Teacher:
    """The target's frozen parts: its embedding [V, hidden], and its head rows of the draft's vocabulary.

    Their dtype is that of the training's matrix products: bfloat16 where the hardware has them, else float32.
    """

    embedding: Tensor
    rows: Tensor

    @classmethod
    def of(cls, target: PreTrainedModel, token_ids: Tensor, dtype: torch.dtype = torch.bfloat16) -> Teacher:
        embedding, head = frozen_rows(target)
        return cls(embedding.to(dtype), head[token_ids.to(head.device)].to(dtype))


@dataclass(frozen=True)
class Rollout:
    """Step k of an unroll: normed hidden states [N, hidden] of the answer positions, teacher states, what came next.

    Row n of step k and row n of step k + 1 belong to the same first position; a position near the end of its answer has
    rows only in the steps that still have a teacher, `valid` [N].
    """

    hidden: Tensor
    teacher: Tensor
    next_ids: Tensor
    valid: Tensor


def unroll(head: HeadModel, teacher: Teacher, batch: TrainingBatch, steps: int) -> list[Rollout]:
    """Draft `steps` tokens from every answer position of the batch at once.

    Step s at position l sees the true pairs up to l - (s - 1), and of each later step r the one at l - (s - r): what
    the cache holds when it drafts.
    """
    device = teacher.rows.device
    tokens, features = batch.tokens.to(device), batch.features.to(device, teacher.rows.dtype)
    width, hidden_size = tokens.shape[1], head.spec.hidden_size
    firsts = torch.arange(width - 1)
    wanted = (firsts >= batch.prompt_lengths[:, None] - 1) & (firsts + 2 < batch.lengths[:, None])
    embedded = teacher.embedding[tokens]
    state = head.state_from_features(features[:, :-1, :-hidden_size])
    keys, values, rollouts = [], [], []
    at, steps = wanted.nonzero(as_tuple=True), min(steps, width - 1)
    for step in range(steps):
        where = torch.arange(step, width - 1, device=device)
        q, k, v = head.attention_inputs(state, embedded[:, step + 1 :], where.expand(len(tokens), -1))
        keys.append(k)
        values.append(v)
        masks = [where[:, None] - step >= torch.arange(width - 1, device=device)]
        masks += [where[:, None] - (step - r) == torch.arange(r, width - 1, device=device) for r in range(1, step + 1)]
        hidden = head.attend(state, q, torch.cat(keys, 2), torch.cat(values, 2), torch.cat(masks, 1)[None, None])
        valid = at[1] + step + 2 < batch.lengths[at[0]]
        position = at[1].clamp_max(width - 2 - step)  # rows past the end exist, but are not valid
        rows = (at[0].to(device), position.to(device))
        rollouts.append(
            Rollout(
                head.norm(hidden[rows]),
                features[rows[0], rows[1] + step + 1, -hidden_size:],
                tokens[rows[0], (rows[1] + step + 2).clamp_max(width - 1)],
                valid.to(device),
            )
        )
        state = hidden[:, :-1]
    return rollouts


def distillation_loss(rollout: Rollout, teacher: Teacher, output_rows: Tensor) -> tuple[Tensor, float]:
    """KL(target || head) over the trimmed vocabulary, mean nats per valid row. output_rows: the head's [N, hidden].

    Returns:
        (a scalar to call backward on, the value). The gradient of the KL in the head's logits is q - p, so that in the
        hidden states and in the output rows is made here, in slices that stay in the processor's cache; the scalar is
        their product with it, which has the same gradient.
    """
    hidden, state = rollout.hidden[rollout.valid], rollout.teacher[rollout.valid].to(teacher.rows.dtype)
    gradient, rows_gradient, value = torch.empty_like(hidden), torch.zeros_like(output_rows), 0.0
    own = output_rows.detach().to(teacher.rows.dtype)
    with torch.no_grad():
        for first in range(0, len(hidden), SLICE):
            rows = slice(first, first + SLICE)
            seen = hidden[rows].to(teacher.rows.dtype)
            wanted, drafted = F.linear(state[rows], teacher.rows).float(), F.linear(seen, own).float()
            p, q = wanted.softmax(-1), drafted.softmax(-1)
            spread = drafted.logsumexp(-1) - wanted.logsumexp(-1)
            value += float((torch.linalg.vecdot(p, wanted.sub_(drafted)) + spread).sum())
            difference = q.sub_(p).to(teacher.rows.dtype)
            gradient[rows] = torch.mm(difference, own)
            rows_gradient += torch.mm(difference.T, seen)
    return ((hidden * gradient).sum() + (output_rows * rows_gradient).sum()) / len(hidden), value / len(hidden)


@torch.inference_mode()
def measure_acceptance(
    head: HeadModel,
    teacher: Teacher,
    answers: Sequence[Answer],
    *,
    steps: int = 3,
    tokens_per_batch: int = 4096,
) -> Tensor:
    """Counts int64 [steps, 2] on greedy answers: (accepted, drafted) of d_k where the earlier ones were accepted."""
    counts = torch.zeros(steps, 2, dtype=torch.int64)
    with matrix_products(teacher):
        for group in batch_groups(answers, tokens_per_batch, seed=0):
            batch = collate(group)
            alive = None
            for step, rollout in enumerate(unroll(head, teacher, batch, steps)):
                ids = head.token_ids.to(rollout.hidden.device)[head.lm_head(rollout.hidden).argmax(-1)]
                alive = rollout.valid if alive is None else alive & rollout.valid
                matched = alive & (ids == rollout.next_ids)
                counts[step] += torch.tensor([int(matched.sum()), int(alive.sum())])
                alive = matched
    return counts


def matrix_products(teacher: Teacher) -> torch.autocast:
    """In bfloat16 if the teacher's rows are, else in float32."""
    return torch.autocast(teacher.rows.device.type, torch.bfloat16, enabled=teacher.rows.dtype == torch.bfloat16)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Training data for a feature draft on disk and in batches: tokens, and the target's hidden features of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.prompts import CATEGORIES


@dataclass(frozen=True)
class Answer:
    """Prompt and answer as one token sequence int64 [n], the target's features of each token [n, F] in bfloat16."""

    category: str
    tokens: Tensor
    features: Tensor
    prompt_length: int


def save_answers(path: Path, answers: Sequence[Answer]) -> None:
    """Write one shard, whole or not at all."""
    partial = path.with_suffix(".partial")
    save_file(
        {
            "tokens": torch.cat([answer.tokens for answer in answers]).to(torch.int32),
            "features": torch.cat([answer.features for answer in answers]),
            "lengths": torch.tensor([len(answer.tokens) for answer in answers]),
            "prompt_lengths": torch.tensor([answer.prompt_length for answer in answers]),
            "categories": torch.tensor([CATEGORIES.index(answer.category) for answer in answers]),
        },
        partial,
    )
    partial.replace(path)


def load_answers(paths: Sequence[Path]) -> list[Answer]:
    """All answers of some shards; the features stay memory-mapped until they are read."""
    answers = []
    for path in paths:
        shard = load_file(path)
        start = 0
        sizes = zip(shard["lengths"].tolist(), shard["prompt_lengths"].tolist(), shard["categories"].tolist())
        for length, prompt_length, category in sizes:
            rows = slice(start, start + length)
            tokens = shard["tokens"][rows].long()
            answers.append(Answer(CATEGORIES[category], tokens, shard["features"][rows], prompt_length))
            start += length
    return answers


@dataclass(frozen=True)
class TrainingBatch:
    """Answers of similar length, right-padded: tokens [B, T], features [B, T, F], lengths and prompt_lengths [B]."""

    tokens: Tensor
    features: Tensor
    lengths: Tensor
    prompt_lengths: Tensor


def batch_groups(answers: Sequence[Answer], tokens_per_batch: int, *, seed: int) -> list[list[Answer]]:
    """One epoch in random order; answers are bucketed by length so that little is padding."""
    generator = torch.Generator().manual_seed(seed)
    jitter = torch.rand(len(answers), generator=generator).tolist()
    order = sorted(range(len(answers)), key=lambda i: len(answers[i].tokens) + 24 * jitter[i])
    groups: list[list[Answer]] = [[]]
    longest = 0
    for index in order:
        length = len(answers[index].tokens)
        longest = max(longest, length)
        if groups[-1] and (len(groups[-1]) + 1) * longest > tokens_per_batch:
            groups.append([])
            longest = length
        groups[-1].append(answers[index])
    return [groups[which] for which in torch.randperm(len(groups), generator=generator).tolist()]


def collate(group: Sequence[Answer]) -> TrainingBatch:
    return TrainingBatch(
        torch.nn.utils.rnn.pad_sequence([answer.tokens for answer in group], batch_first=True),
        torch.nn.utils.rnn.pad_sequence([answer.features for answer in group], batch_first=True),
        torch.tensor([len(answer.tokens) for answer in group]),
        torch.tensor([answer.prompt_length for answer in group]),
    )

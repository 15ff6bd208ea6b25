# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Training data for a head on disk and in batches: tokens, and the target's hidden features of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from training.files import damaged, written
from training.prompts import CATEGORIES

LAYERS = "layers"  # a shard's metadata: hidden states, 0 = embeddings, n = after the n-th layer, last = final normed
TENSORS = {"tokens": 1, "features": 2, "lengths": 1, "prompt_lengths": 1, "categories": 1}  # of a shard: dimensions
REMEDY = "take it away, and it is made again"


@dataclass(frozen=True)
class Answer:
    """Prompt and answer as one token sequence int64 [n], the target's features of each token [n, F] in bfloat16."""

    category: str
    tokens: Tensor
    features: Tensor
    prompt_length: int


def save_answers(path: Path, answers: Sequence[Answer], layers: Sequence[int]) -> None:
    """Write one shard, whole or not at all, and which layers' features it holds; BadInput if there are no answers, or
    it cannot be written."""
    if not answers:
        few = "none of its prompts was short enough and far enough from the demo's"
        raise BadInput(f"{path.stem}: {few}; ask for more with --prompts-per-shard or --held-out-prompts")
    with written(path) as partial:
        save_file(
            {
                "tokens": torch.cat([answer.tokens for answer in answers]).to(torch.int32),
                "features": torch.cat([answer.features for answer in answers]),
                "lengths": torch.tensor([len(answer.tokens) for answer in answers]),
                "prompt_lengths": torch.tensor([answer.prompt_length for answer in answers]),
                "categories": torch.tensor([CATEGORIES.index(answer.category) for answer in answers]),
            },
            partial,
            {LAYERS: " ".join(map(str, layers))},
        )


def load_answers(
    paths: Sequence[Path],
    *,
    layers: Sequence[int] | None = None,
    width: int | None = None,
    vocab_size: int | None = None,
) -> list[Answer]:
    """All answers of some shards; the features stay memory-mapped until they are read.

    Raises:
        BadInput: a shard is damaged, or its features or tokens are of another target or other layers.
    """
    answers = []
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                said = (file.metadata() or {}).get(LAYERS, "none")
            shard = load_file(path)
        except (OSError, SafetensorError) as error:
            raise damaged(path, getattr(error, "strerror", None) or error, REMEDY) from error
        if wrong := _wrong(shard, width, vocab_size):
            raise damaged(path, wrong, REMEDY)
        if layers is not None and said != (wanted := " ".join(map(str, layers))):
            raise damaged(path, f"its features are of layers {said}, not {wanted}; was --layers another?", REMEDY)
        start = 0
        sizes = zip(shard["lengths"].tolist(), shard["prompt_lengths"].tolist(), shard["categories"].tolist())
        for length, prompt_length, category in sizes:
            rows = slice(start, start + length)
            tokens = shard["tokens"][rows].long()
            answers.append(Answer(CATEGORIES[category], tokens, shard["features"][rows], prompt_length))
            start += length
    return answers


def _wrong(shard: dict[str, Tensor], width: int | None, vocab_size: int | None) -> str | None:
    """What is wrong with a shard, if anything; width and vocab_size as the target has them, None where not known."""
    for name, dims in TENSORS.items():
        if name not in shard or shard[name].ndim != dims or shard[name].is_floating_point() != (name == "features"):
            return f"it holds no {name}"
    tokens, features = shard["tokens"], shard["features"]
    lengths, prompts, categories = (shard[name] for name in ("lengths", "prompt_lengths", "categories"))
    if not 0 < len(lengths) == len(prompts) == len(categories) or not len(tokens) == len(features) == lengths.sum():
        return "its parts are of different lengths"
    if (
        prompts.min() < 1
        or (prompts > lengths).any()
        or not 0 <= categories.min() <= categories.max() < len(CATEGORIES)
    ):
        return "its answers are none"
    if width is not None and features.shape[1] != width:
        return f"its features are {features.shape[1]} wide, not {width}; were --layers others?"
    if tokens.min() < 0 or (vocab_size is not None and tokens.max() >= vocab_size):
        return "its tokens are not the target's"
    return None


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

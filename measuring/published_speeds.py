# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Decode speeds that Tenstorrent has published: not measured by this project, and marked so wherever they are shown."""

from __future__ import annotations

from dataclasses import dataclass

from models.tt_transformers.demo.speculative_decoding.errors import BadInput

SOURCE = (
    'tt-metal models/tt_transformers/PERF.md, table "Performance": batch 1, up to 200 decode steps; marked there as '
    "deprecated in favour of models/model_targets.yaml"
)
DEVICES = ("N150", "N300", "T3K")


@dataclass(frozen=True)
class PublishedSpeed:
    """One row of the table.

    Attributes:
        decode_tps: tokens per second and user. ttft_ms: time to first token.
    """

    model: str
    device: str
    decode_tps: float
    ttft_ms: float


PUBLISHED = tuple(
    PublishedSpeed(model, device, *row)
    for model, rows in (
        ("Llama-3.2-1B", ((87.8, 26), (105.9, 22), (119.8, 32))),
        ("Llama-3.2-3B", ((54.0, 55), (68.0, 39), (68.5, 52))),
        ("Llama-3.1-8B", ((28.3, 104), (44.2, 67), (64.3, 53))),
    )
    for device, row in zip(DEVICES, rows, strict=True)
)


@dataclass(frozen=True)
class PublishedPair:
    """Draft and target on one device.

    Attributes:
        c: one draft step / one target step, both plain decode steps as published (a lower bound: what two models on one
            device cost each other is not in it).
    """

    pair: str
    device: str
    draft_tps: float
    target_tps: float

    @property
    def c(self) -> float:
        return self.target_tps / self.draft_tps


PAIR_MODELS = {"llama-1b-3b": ("Llama-3.2-3B", "Llama-3.2-1B"), "llama-1b-8b": ("Llama-3.1-8B", "Llama-3.2-1B")}


def published_pair(pair: str, device: str) -> PublishedPair:
    """BadInput lists what there is."""
    if pair not in PAIR_MODELS or device not in DEVICES:
        raise BadInput(
            f"no speed is published for the pair {pair} on {device}; there are {', '.join(PAIR_MODELS)} on "
            + ", ".join(DEVICES)
        )
    target, draft = (_speed(model, device).decode_tps for model in PAIR_MODELS[pair])
    return PublishedPair(pair, device, draft_tps=draft, target_tps=target)


def published_pairs() -> list[PublishedPair]:
    """Every pair on every device."""
    return [published_pair(pair, device) for pair in PAIR_MODELS for device in DEVICES]


def _speed(model: str, device: str) -> PublishedSpeed:
    return next(row for row in PUBLISHED if (row.model, row.device) == (model, device))

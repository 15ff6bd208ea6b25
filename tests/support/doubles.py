# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Drafters with a known character, and runners that watch or spoil."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.drafters import Draft, Drafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner


class ScriptedDrafter(Drafter):
    """Drafts whatever script(context, count) returns: always wrong, sometimes right, random."""

    feature_layers: tuple[int, ...] = ()

    def __init__(self, script: Callable[[Sequence[int], int], list[int]], name: str = "scripted") -> None:
        self.script, self.name = script, name

    def start(self, prompts, prompt_features=None) -> None:
        pass

    def expect(self, contexts) -> list[str | None]:
        return [self.name] * len(contexts)

    def propose(self, request) -> Draft:
        asked = zip(request.contexts, request.counts, strict=True)
        tokens = [self.script(context, count) if count else [] for context, count in asked]
        return Draft(tokens, [None] * len(tokens), [[self.name] * len(drafted) for drafted in tokens])

    def observe(self, accepted_counts, features) -> None:
        pass

    def close(self) -> None:
        pass


def knowing(text: Sequence[int], *, wrong_at: Callable[[int], bool], vocab: int) -> ScriptedDrafter:
    """Drafts the known continuation, except at the indices of the whole text for which wrong_at says so."""

    def script(context: Sequence[int], count: int) -> list[int]:
        here = len(context)
        drafted = [text[i] if i < len(text) else 0 for i in range(here, here + count)]
        return [(token + 1) % vocab if wrong_at(here + j) else token for j, token in enumerate(drafted)]

    return ScriptedDrafter(script)


class PoisoningRunner(TorchModelRunner):
    """Spoils with NaN, before every forward, whatever is cached at and past the positions that the forward names."""

    poisoned = 0

    def forward(self, tokens: Tensor, positions: Sequence[int], **options) -> Tensor:
        with torch.inference_mode():
            for user, start in enumerate(positions):
                for store in (self.cache.keys, self.cache.values):
                    for layer in store.values():
                        layer[user, :, max(start, 0) :] = float("nan")
                        self.poisoned += layer.shape[2] - max(start, 0)
        return super().forward(tokens, positions, **options)

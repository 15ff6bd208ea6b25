# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Plain greedy decoding that shares no code with the package: transformers' own cache and attention, one token a step.

Texts are decoded many at a time (prompts of one length, so nothing is padded), because the oracle must not be what the
fuzz waits for. Ties are excluded by construction: a text ends before the first step at which the two best logits are
too close for kernels of different width to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

TIE = 1e-3  # fp32 kernels of different width differ by some 1e-5 in these models' logits


@dataclass(frozen=True)
class Text:
    """A prompt and how the model goes on after it, as far as that is beyond doubt."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]


@torch.no_grad()
def continue_greedily(model: PreTrainedModel, prompts: Sequence[Sequence[int]], count: int) -> list[Text]:
    """Up to `count` greedy tokens after each prompt; all prompts are of one length."""
    output = model(torch.tensor([list(prompt) for prompt in prompts]), use_cache=True)
    chosen, safe = [], torch.full((len(prompts),), count)
    for step in range(count):
        best = output.logits[:, -1].topk(2)
        close = best.values[:, 0] - best.values[:, 1] < TIE
        safe = torch.where(close, safe.clamp(max=step), safe)
        chosen.append(best.indices[:, 0])
        output = model(chosen[-1][:, None], past_key_values=output.past_key_values, use_cache=True)
    tokens = torch.stack(chosen, dim=1).tolist()
    return [
        Text(tuple(prompt), tuple(row[:length]))
        for prompt, row, length in zip(prompts, tokens, safe.tolist(), strict=True)
    ]


@torch.no_grad()
def logits_after(model: PreTrainedModel, prompt: Sequence[int], tokens: Sequence[int]) -> Tensor:
    """[len(tokens), V]: the logits that each of the tokens was chosen from."""
    rows = model(torch.tensor([[*prompt, *tokens]]), use_cache=False).logits[0]
    return rows[len(prompt) - 1 : -1]


def ended(
    prompt: Sequence[int],
    tokens: Sequence[int],
    spell: Sequence[str],
    *,
    limit: int,
    max_seq_len: int,
    stop_ids: Sequence[int],
    stop_strings: Sequence[str],
) -> tuple[list[int], str | None]:
    """The tokens up to where the request ends them, and the reason; None if it does not."""
    text = ""
    for count, token in enumerate(tokens, start=1):
        text += spell[token]
        if token in stop_ids:
            reason = "eos"
        elif any(stop in text for stop in stop_strings):
            reason = "stop_string"
        elif count == limit:
            reason = "length"
        elif len(prompt) + count == max_seq_len:
            reason = "max_seq_len"
        else:
            continue
        return list(tokens[:count]), reason
    return list(tokens), None

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Which output ids a trimmed draft head keeps (vocabulary-trimmed drafting: FR-Spec, Zhao et al. 2025).

A draft model spends much of a step on its output layer (a 1B Llama with 128,256 ids a fifth of it), and most text uses
few of the ids. q is zero elsewhere: tokens outside are never drafted, but what is emitted is the target's all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import json_of, text_of, whole_numbers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TrimmedHead:
    """The ids that an output layer computes, int64 [N] on the device of its logits, and the way from its columns back
    to the whole vocabulary. BadInput if there is no id, or one that the vocabulary does not have."""

    def __init__(self, token_ids: Sequence[int], vocab_size: int, *, device: torch.device | str = "cpu") -> None:
        given = whole_numbers(token_ids, "the trimmed head's token ids")
        ids = sorted(set(given))  # so the first of equal columns is the lowest id
        if not ids or ids[0] < 0 or ids[-1] >= vocab_size:
            raise BadInput(f"the trimmed head needs token ids from 0 to {vocab_size - 1}, at least one")
        self.token_ids = torch.tensor(ids, dtype=torch.int64, device=device)
        self.vocab_size = vocab_size

    def __len__(self) -> int:
        return len(self.token_ids)

    def padded(self, multiple: int) -> TrimmedHead:
        """The same ids, the last one repeated up to a multiple of `multiple`: an output layer of whole tiles. A
        repeated column has its id's own logit, so whichever of them is taken means the same."""
        padded = copy(self)
        padded.token_ids = torch.cat([self.token_ids, self.token_ids[-1:].repeat(-len(self) % multiple)])
        return padded

    def whole(self, logits: Tensor) -> Tensor:
        """[..., N] -> [..., V]: what is not computed has logit -inf, and so q = 0."""
        whole = logits.new_full((*logits.shape[:-1], self.vocab_size), float("-inf"))
        return whole.index_copy_(-1, self.token_ids, logits)

    def ids(self, columns: Tensor) -> Tensor:
        """Argmax columns, int64 of any shape -> token ids."""
        return self.token_ids[columns]


def token_ids_from_file(path: Path | str) -> list[int]:
    """The ids in a JSON list; BadInput names the file and what is wrong with it."""
    ids = json_of(path, "the token ids file")
    if not isinstance(ids, list) or not ids or not all(type(token) is int for token in ids):
        raise BadInput(f"the token ids file {path} must hold a non-empty JSON list of whole numbers")
    return ids


def most_frequent_token_ids(text_file: Path | str, tokenizer: PreTrainedTokenizerBase, size: int) -> list[int]:
    """The `size` ids most frequent in a text; special ids are always kept, and where the text has too few, the lowest
    ids (the earliest merges, which are the commonest pieces) fill up."""
    if size < 1:
        raise BadInput(f"a trimmed head of {size} ids drafts nothing; give at least 1")
    text = text_of(text_file, "the text of a trimmed head")
    counted = Counter(tokenizer.encode(text, add_special_tokens=False))
    frequent = [token for token, _ in counted.most_common(size)]
    kept = dict.fromkeys([*tokenizer.all_special_ids, *frequent, *range(min(size, len(tokenizer)))])
    return list(kept)[:size]

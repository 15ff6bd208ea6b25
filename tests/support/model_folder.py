# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A tiny Llama with a tokenizer of its own, as a folder that from_pretrained loads."""

from __future__ import annotations

import string
from pathlib import Path

from support.tiny import tiny_llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " \n"


def save_tiny_model(folder: Path, *, seed: int = 0, extra_tokens: tuple[str, ...] = (), layers: int = 2) -> Path:
    """Character-level tokenizer, random fp32 weights."""
    vocab = {"<eos>": 0, "<unk>": 1}
    for character in [*CHARACTERS, *extra_tokens]:
        vocab.setdefault(character, len(vocab))
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", unk_token="<unk>")
    fast.save_pretrained(folder)
    model = tiny_llama(seed, vocab=len(vocab), layers=layers)
    model.save_pretrained(folder)
    return folder

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Text that streams token by token is the text of all tokens: for the tokenizers that make it hard."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from models.tt_transformers.demo.speculative_decoding.sequences import TextStream

CORPUS = ["a small boat drifts on the lake while it rains. ", "def g(y):\n    return y * 2\n", "Good morning! Yes?"] * 3
TEXTS = [
    "plain words, and  double  spaces ",
    " a leading space",
    "emoji 🙂🙂 of several tokens, a family 👩‍👩‍👧, a flag 🇫🇮.",
    "Zürich, naïve, 東京\n\ttabs",
    "\N{REPLACEMENT CHARACTER} that the model wrote itself",
    "ends inside 🙂",
]


def byte_level():
    """GPT-2, Llama 3: every character outside ASCII is several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def sentence_piece():
    """Llama 2, Mistral: decoding drops a leading space; unknown characters fall back to bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    strip = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(strip)
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


TOKENIZERS = {"byte-level": byte_level(), "sentence-piece": sentence_piece()}


def streamed(tokenizer, ids):
    stream = TextStream(lambda tokens: tokenizer.decode(tokens, skip_special_tokens=False))
    pieces = [stream.add(token) for token in ids]
    return pieces, "".join(pieces) + stream.rest()


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_join_to_the_text(kind, text):
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer.encode(text).ids
    pieces, whole = streamed(tokenizer, ids)
    assert whole == tokenizer.decode(ids, skip_special_tokens=False)
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_the_tokens(kind, data):
    tokenizer = TOKENIZERS[kind]
    text = data.draw(st.text(max_size=60))
    ids = tokenizer.encode(text).ids
    assert streamed(tokenizer, ids)[1] == tokenizer.decode(ids, skip_special_tokens=False)


def test_a_character_cut_off_is_shown_at_the_end():
    tokenizer = TOKENIZERS["byte-level"]
    ids = tokenizer.encode("a🙂").ids[:-1]
    pieces, whole = streamed(tokenizer, ids)
    assert "".join(pieces) == "a" and whole == tokenizer.decode(ids)


def test_bytes_that_never_become_a_character_are_not_held_back_for_ever():
    tokenizer = TOKENIZERS["byte-level"]
    (half,) = tokenizer.encode("🙂").ids[:1]
    pieces, _ = streamed(tokenizer, [half] * 40)
    assert sum(map(len, pieces)) >= 30

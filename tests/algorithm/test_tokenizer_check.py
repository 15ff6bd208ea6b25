# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Draft and target must mean the same text by the same ids."""

import pytest
from support.model_folder import save_tiny_model
from transformers import AutoTokenizer

from models.tt_transformers.demo.speculative_decoding.drafters import check_same_tokenizer
from models.tt_transformers.demo.speculative_decoding.errors import BadInput


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def one_token_more(tokenizer):
    tokenizer.add_tokens(["<tool>"])


def another_end(tokenizer):
    tokenizer.eos_token = "a"


def other_encodings(tokenizer):
    tokenizer.encode = lambda text, **_: [1]


@pytest.mark.parametrize(
    "change, named",
    [
        (one_token_more, "<tool>"),
        (another_end, "eos_token_id is 0 in the target"),
        (other_encodings, "the encoding of 'The quick"),
    ],
)
def test_what_differs_is_named(folder, change, named):
    target, draft = (AutoTokenizer.from_pretrained(folder) for _ in range(2))
    names = {"target_name": "big", "draft_name": "small"}
    check_same_tokenizer(target, draft, **names)
    change(draft)
    with pytest.raises(BadInput, match=f"small cannot draft for big: .*{named}.* one tokenizer"):
        check_same_tokenizer(target, draft, **names)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Which ids a trimmed head keeps, by a file or by a text; and that nothing else is drafted."""

import pytest
import torch
from support.model_folder import save_tiny_model
from support.tiny import tiny_llama
from transformers import AutoTokenizer

from models.tt_transformers.demo.speculative_decoding import BadInput, ModelDrafter, SamplingParams, TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest
from models.tt_transformers.demo.speculative_decoding.trimmed_head import (
    TrimmedHead,
    most_frequent_token_ids,
    token_ids_from_file,
)

VOCAB = 32


def test_the_way_back_to_the_whole_vocabulary():
    head = TrimmedHead([7, 2, 2, 4], 9)
    assert len(head) == 3 and head.ids(torch.tensor([[0, 2], [1, 1]])).tolist() == [[2, 7], [4, 4]]
    whole = head.whole(torch.tensor([[0.5, 1.5, 2.5]]))
    assert whole.shape == (1, 9) and whole[0, [2, 4, 7]].tolist() == [0.5, 1.5, 2.5]
    assert torch.isneginf(whole).sum() == 6


def test_padding_repeats_the_last_id_and_changes_nothing():
    head = TrimmedHead([7, 2, 4], 9).padded(4)
    assert head.token_ids.tolist() == [2, 4, 7, 7] and head.vocab_size == 9
    assert head.ids(torch.tensor([2, 3])).tolist() == [7, 7]
    assert head.whole(torch.tensor([0.5, 1.5, 2.5, 2.5]))[[2, 4, 7]].tolist() == [0.5, 1.5, 2.5]
    assert TrimmedHead(range(8), 9).padded(4).token_ids.tolist() == list(range(8))


def test_the_ids_of_a_file(tmp_path):
    file = tmp_path / "ids.json"
    file.write_text("[3, 1, 2]")
    assert token_ids_from_file(file) == [3, 1, 2]


@pytest.mark.parametrize("content", ["", "[]", "{}", '["a"]', "[1.5]", "[true]"])
def test_a_malformed_file_is_named(tmp_path, content):
    file = tmp_path / "ids.json"
    file.write_text(content)
    with pytest.raises(BadInput, match="ids.json"):
        token_ids_from_file(file)


def test_the_most_frequent_ids_of_a_text(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(save_tiny_model(tmp_path / "model"))
    text = tmp_path / "text.txt"
    text.write_text("zzzzyyyx")
    kept = most_frequent_token_ids(text, tokenizer, 4)
    special = tokenizer.all_special_ids
    z, y = tokenizer.convert_tokens_to_ids(["z", "y"])
    assert kept == [*special, z, y]
    assert len(most_frequent_token_ids(text, tokenizer, 50)) == 50
    with pytest.raises(BadInput, match="at least 1"):
        most_frequent_token_ids(text, tokenizer, 0)


def test_only_kept_ids_are_drafted():
    kept = [0, 2, 4, 6]
    drafter = ModelDrafter(TorchModelRunner(tiny_llama(0, vocab=VOCAB), max_seq_len=128, head_token_ids=kept))
    drafter.start([[1, 2, 3]])
    sampling = SamplingParams(temperature=1.0)
    generators = [torch.Generator().manual_seed(0)]
    draft = drafter.propose(DraftRequest(contexts=[[1, 2, 3, 4]], counts=[8], sampling=sampling, generators=generators))
    assert set(draft.tokens[0]) <= set(kept)
    q = torch.stack(draft.probs[0])
    torch.testing.assert_close(q.sum(-1), torch.ones(8))
    assert q[:, [t for t in range(VOCAB) if t not in kept]].sum() == 0

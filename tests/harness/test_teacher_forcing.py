# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Teacher forcing finds a right verify right, and says where a wrong one misses. Its negative controls are among the
device tests, which run on the fake device too."""

import pytest
import torch
from fakes import fixtures
from fakes.pairs import PROMPTS, TARGET, greedy_texts
from support.tiny import greedy_by_recomputation

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.teacher_forcing import Forced, Miss, teacher_forced

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair
LONG = [[(7 * i + 3 * i * i + user) % 40 for i in range(20 + 9 * user)] for user in range(2)]


@pytest.fixture(scope="module")
def texts():
    return [greedy_by_recomputation(TARGET, prompt, 181)[0] for prompt in LONG]


@pytest.fixture
def target(open_pair):
    return open_pair(users=2, num_draft_tokens=3, max_seq_len=256, enable_trace=False)[0]


@pytest.mark.parametrize("width", [1, 3, 4])
def test_a_right_verify_misses_nothing(target, texts, width):
    assert teacher_forced(target, LONG, texts, width=width) == Forced(360, ())


def test_more_texts_than_users_and_texts_of_one_token(open_pair):
    target, _ = open_pair(users=2, num_draft_tokens=3)
    texts = [*greedy_texts()[:2], greedy_texts()[2][:1]]
    assert teacher_forced(target, PROMPTS, texts, width=4) == Forced(2 * 39, ())
    with pytest.raises(BadInput, match="no text has a token after its first"):
        teacher_forced(target, PROMPTS[:1], [[5]], width=4)


def test_a_miss_is_measured_and_must_be_a_near_tie(target, texts):
    wrong = (texts[1][100] + 1) % 40
    changed = [texts[0], [*texts[1][:100], wrong]]
    forced = teacher_forced(target, LONG, changed, width=4)
    with torch.no_grad():
        best = TARGET(torch.tensor([[*LONG[1], *texts[1][:100]]])).logits[0, -1].topk(2).values
    (miss,) = forced.misses
    assert (miss.text, miss.token) == (1, 100) and miss.gap == pytest.approx(float(best[0] - best[1]), abs=1e-4)
    assert forced.problem == f"the verify chooses another token where the choice is clear: {miss}"
    assert Forced(360, (Miss(1, 100, 0.49),)).problem is None

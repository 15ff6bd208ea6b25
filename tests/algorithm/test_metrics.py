# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Each quantity by hand on a few rounds."""

from dataclasses import replace

import pytest

from models.tt_transformers.demo.speculative_decoding import metrics
from models.tt_transformers.demo.speculative_decoding.metrics import RoundModel, RoundRecord


def round_of(drafted, accepted, *, draft_ns=0, verify_ns=0, total_ns=0):
    times = {"draft_ns": draft_ns, "verify_ns": verify_ns, "total_ns": total_ns}
    return RoundRecord(
        index=0, drafted=drafted, accepted=accepted, emitted=accepted + 1, tokens_per_user=drafted + 1, **times
    )


ROUNDS = [round_of(4, 4), round_of(4, 0), round_of(4, 2), round_of(2, 2), round_of(0, 0)]


def test_counts():
    assert metrics.acceptance_rate(ROUNDS) == pytest.approx(8 / 14)
    assert metrics.tokens_per_round(ROUNDS) == pytest.approx(13 / 5)
    assert metrics.accepted_per_position(ROUNDS) == [3, 3, 1, 1]
    # judged: 4 and no rejection, 1, 2 + the rejected one, 2
    assert metrics.alpha(ROUNDS) == pytest.approx(8 / (4 + 1 + 3 + 2))


def test_nothing_to_divide_is_none():
    assert metrics.acceptance_rate([]) is None and metrics.tokens_per_round([]) is None
    assert metrics.alpha([round_of(0, 0)]) is None and metrics.median([]) is None
    assert RoundModel.measured([], []) == RoundModel(alpha=None, c=None, v=None)


def test_a_sure_draft():
    assert metrics.expected_tokens(1.0, 4) == 5.0
    assert metrics.expected_tokens(0.999999, 4) == pytest.approx(5.0, abs=1e-4)


def test_round_model_of_one_k_is_the_formula():
    rounds = [
        round_of(2, 2, draft_ns=40, verify_ns=120, total_ns=170),
        round_of(2, 1, draft_ns=60, verify_ns=120, total_ns=190),
    ]
    model = RoundModel.measured(rounds, [100, 100, 100])
    assert (model.alpha, model.c, model.v) == (pytest.approx(3 / 4), pytest.approx(0.25), pytest.approx(1.2))
    assert rounds[0].host_ns == 10


def test_catching_up_is_no_drafts_cost():
    rounds = [round_of(2, 1, draft_ns=60), replace(round_of(1, 0, draft_ns=900), catch_up=40)]
    assert RoundModel.measured(rounds, [100]).c == pytest.approx(0.3)


def test_a_draft_that_a_stop_cut_cost_as_many_as_were_proposed():
    assert RoundModel.measured([replace(round_of(1, 1, draft_ns=80), tokens_per_user=5)], [100]).c == 0.2


def test_one_stalled_round_moves_nothing():
    rounds = [round_of(2, 1, draft_ns=ns, verify_ns=3 * ns) for ns in (60, 60, 9000)]
    assert RoundModel.measured(rounds, [100, 100, 7000]) == RoundModel(alpha=0.5, c=0.3, v=1.8)


def test_how_much_of_a_text_stood_already():
    of = metrics.Repetition.of
    assert of([1, 2, 3], [1]) == metrics.Repetition(None, None) and not of([1, 2, 3], []).loops
    assert of(list(range(20)), list(range(8))) == metrics.Repetition(0.0, pytest.approx(3 / 15))
    loop = of([1, 2, 3] * 8, [])
    assert loop.emitted == pytest.approx(16 / 19) and loop.loops and loop.prompt == 0.0

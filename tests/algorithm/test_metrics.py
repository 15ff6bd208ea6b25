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
    expected = metrics.expected_tokens(3 / 4, 2) / (0.25 * 2 + 1.2)
    assert metrics.predicted_from_rounds(rounds, [100, 100, 100]) == pytest.approx(expected)
    assert rounds[0].host_ns == 10


def test_catching_up_is_no_drafts_cost():
    rounds = [round_of(2, 1, draft_ns=60), replace(round_of(1, 0, draft_ns=900), catch_up=40)]
    assert RoundModel.measured(rounds, [100]).c == pytest.approx(0.3)


def test_a_prediction_over_several_k_prices_each_k_by_itself():
    """By hand: 4 + 1 + 1 tokens for (60 + 180) + 110 + (20 + 120) ns, at 100 ns a plain step."""
    rounds = [
        round_of(3, 3, draft_ns=60, verify_ns=180),
        round_of(0, 0, verify_ns=110),
        round_of(1, 0, draft_ns=20, verify_ns=120),
    ]
    assert metrics.predicted_from_rounds(rounds, [100]) == pytest.approx(6 / 4.9)
    assert metrics.predicted_from_rounds(rounds, []) is None
    assert metrics.predicted_from_rounds([round_of(0, 0, verify_ns=110)], [100]) is None

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A prediction from the odd prompts and from costs timed alone is the formula, and knows nothing of the even ones."""

from types import SimpleNamespace

import pytest
from support.rounds import record as round_of

from measuring.prediction import Costs, predicted, prediction
from models.tt_transformers.demo.speculative_decoding.harness.segments import Segment, Timed

COSTS = Costs(0.2, {1: 1.0, 2: 1.1, 4: 1.3})


def test_each_k_has_its_own_alpha_and_price():
    """By hand: 4 + 1 + 1 tokens for (1.3 + .6) + 1 + (1.1 + .2) plain steps."""
    rounds = [round_of(3, 3), round_of(0, 0), round_of(1, 0)]
    assert predicted(rounds, COSTS) == pytest.approx(6 / 4.2)
    assert predicted([round_of(0, 0)], COSTS) is None


def arm(*rounds, batch_size=1, even_ns=50):
    """An odd prompt of these rounds, and an even one whose segments say 100 / even_ns."""
    prompts = [
        SimpleNamespace(batch=i, speculative=[SimpleNamespace(rounds=own)]) for i, own in enumerate((rounds, ()))
    ]
    even = [Segment(prompt=1, tokens=(1,), steps=(Timed("s", 100),), rounds=(Timed("r", even_ns),))] * 4
    odd = [Segment(prompt=0, tokens=(1,), steps=(Timed("s", 900),), rounds=(Timed("r", 1),))] * 4
    return SimpleNamespace(prompts=prompts, segments=[*odd, *even], options=SimpleNamespace(batch_size=batch_size))


def test_both_figures_have_intervals_and_are_of_the_even_prompts():
    found = prediction(arm(*[round_of(3, 3)] * 5, *[round_of(3, 1)] * 5), COSTS)
    assert found["low"] < found["speedup"] < found["high"]
    assert found["measured"] == {"speedup": 2.0, "low": 2.0, "high": 2.0}
    other = prediction(arm(*[round_of(3, 3)] * 5, *[round_of(3, 1)] * 5, even_ns=25), COSTS)
    assert other["speedup"] == found["speedup"] and other["measured"]["speedup"] == 4.0


def test_where_there_is_nothing_to_predict():
    assert prediction(arm(round_of(0, 0)), COSTS) is None
    assert prediction(arm(round_of(3, 3), batch_size=2), COSTS) is None

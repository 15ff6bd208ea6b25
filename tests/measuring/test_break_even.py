# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Break-even arithmetic and a report's statistics, by hand."""

import numpy
import pytest

from measuring.break_even import best_choice, break_even_alpha, break_even_tokens, predicted_speedup
from measuring.published_speeds import published_pair
from measuring.run import percentile, tpot_ms


@pytest.mark.parametrize(
    "alpha, k, c, v, expected",
    [(0.8, 4, 0.322, 1.0, 1.47), (0.8, 4, 0.615, 1.0, 0.97), (0.9, 1, 0.615, 1.0, 1.18), (0.0, 3, 0.0, 1.0, 1.0)],
)
def test_predicted_speedup(alpha, k, c, v, expected):
    """Figures from the literature's formula at published Wormhole decode speeds."""
    assert predicted_speedup(alpha, k, c, v) == pytest.approx(expected, abs=0.005)


def test_break_even_by_hand():
    # Break-even alphas of the published N150 speeds at v = 1 (K + 1 tokens have to be worth c * K + 1 steps).
    assert break_even_alpha(1, 0.615, 1.0) == pytest.approx(0.615, abs=1e-6)
    assert break_even_alpha(4, published_pair("llama-1b-8b", "N150").c, 1.0) == pytest.approx(0.596, abs=5e-4)
    alpha = break_even_alpha(3, 0.4, 1.2)
    assert predicted_speedup(alpha, 3, 0.4, 1.2) == pytest.approx(1.0)
    assert break_even_alpha(1, 1.0, 1.5) is None and break_even_alpha(2, 0.0, 1.0) == 0.0
    assert best_choice(0.8, 0.322, dict.fromkeys((1, 2, 3, 4, 8), 1.0)).k == 3
    assert best_choice(0.3, 0.6, {1: 1.0, 4: 1.0}).k == 0
    assert break_even_tokens(100.0, 30.0, 20.0) == 11.0 and break_even_tokens(100.0, 20.0, 30.0) is None


def test_percentiles_by_hand():
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5 and percentile([1.0], 99) == 1.0 and percentile([], 50) is None
    assert percentile(list(range(101)), 95) == 95


@pytest.mark.parametrize("percent", [0, 5, 50, 90, 95, 100])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_percentile_is_numpys(count, percent):
    values = [float((7 * n) % 11) for n in range(count)]
    assert percentile(values, percent) == pytest.approx(numpy.percentile(values, percent))


def test_time_per_output_token_leaves_the_first_out():
    assert tpot_ms(1.0, 11) == 100.0 and tpot_ms(None, 5) is None and tpot_ms(1.0, 1) is None

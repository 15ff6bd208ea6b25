# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a run ends with: a figure with its interval, or the reason why there is none."""

import copy

import pytest

from models.tt_transformers.demo.speculative_decoding.harness import verdict
from models.tt_transformers.demo.speculative_decoding.harness.terminal import cells
from models.tt_transformers.demo.speculative_decoding.harness.verdict import bars, headline, worth

RECORD = {
    "prompts": [
        {"category": "code", "speedup": 2.0, "loops": False},
        {"category": "a category of more than twenty cells", "speedup": 0.5, "loops": False},
        {"category": "translation", "speedup": 4.0, "loops": True},
    ],
    "summary": {
        "prompts": 3,
        "speedup": 1.7634,
        "low": 1.7011,
        "high": 1.8288,
        "inconclusive": None,
        "noise_floor": -0.004,
        "kept": 0.95,
        "tails": {"plain": 1.02, "speculative": 1.01, "differ": False},
        "without_loops": {"prompts": 2, "speedup": 1.2, "low": 1.1, "high": 1.3},
    },
}


def changed(**summary):
    record = copy.deepcopy(RECORD)
    record["summary"] |= summary
    return record


@pytest.mark.parametrize(
    "value, noise, text",
    [
        (1.7634, 0.0, "1.76x"),
        (1.7634, 0.0021, "1.76x"),
        (1.7634, 0.01, "1.8x"),
        (4.7634, -0.02, "4.8x"),
        (13.7634, 0.019, "14x"),
        (None, 0.01, "-"),
        (1.5, None, "1.50x"),
    ],
)
def test_no_more_decimals_than_the_noise_leaves(value, noise, text):
    assert worth(value, noise) == text


def test_two_headlines_and_the_noise_floor():
    first, second, third = headline(RECORD)
    assert first == "1.76x (1.70x to 1.83x) plain decoding, all 3 prompts; noise floor 0.4%"
    assert second == "1.20x (1.10x to 1.30x) plain decoding, the 2 prompts whose text does not loop"
    assert "95% intervals" in third and all(len(line) <= 80 for line in headline(RECORD))


def test_one_headline_where_nothing_loops_and_where_everything_does():
    assert len(headline(changed(without_loops={"prompts": 3}))) == 2
    assert "every text loops" in headline(changed(without_loops={"prompts": 0}))[1]


def test_an_inconclusive_run_has_a_reason_and_no_number():
    (line,) = headline(changed(inconclusive="something ran beside it", speedup=None))
    assert line == "inconclusive: something ran beside it."
    (line,) = headline(changed(speedup=None))
    assert line.startswith("speedup not measured")


def test_tails_that_differ_are_said():
    told = headline(changed(tails={"plain": 1.12, "speculative": 1.01, "differ": True}))[-1]
    assert told == "tails differ: sums are 1.12 (plain) and 1.01 (speculative) of the medians"


def test_bars(monkeypatch):
    monkeypatch.setattr(verdict, "screen_width", lambda: 80)
    lines = bars(RECORD)
    assert len(lines) == 4 and all(cells(line) <= 80 for line in lines)
    full = [line.count("█") + line.count("#") for line in lines[:3]]
    assert full[0] == pytest.approx(2 * full[1] + full[1] * 2, abs=2) and full[2] > full[0] > full[1]
    assert lines[1].startswith("a category of more …") and "loops" in lines[2] and "loops" not in lines[0]
    marks = {line.find("│") if "│" in line else line.find("|") for line in lines[:3]}
    assert len(marks) == 1  # plain decoding is where it is
    none = changed()
    for row in none["prompts"]:
        row["speedup"] = None
    assert bars(none) == []

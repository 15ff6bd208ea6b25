# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The performance gates of the embedded pair, and that they can fail."""

import copy

import pytest
from support.perf_gates import (
    GATES,
    compare_gates,
    compare_speed,
    gates_of,
    main,
    measure,
    read_gates,
)

from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import gguf_file


@pytest.mark.slow
def test_acceptance_and_tokens_per_round_of_the_embedded_pair():
    try:
        gguf_file()
    except ModelUnavailable as reason:
        pytest.skip(str(reason))
    assert compare_gates(read_gates(GATES), gates_of(measure(with_baseline=False))) == []


@pytest.mark.parametrize("figure", ["acceptance_rate", "tokens_per_round"])
@pytest.mark.parametrize("factor, holds", [(1.009, True), (0.991, True), (1.011, False), (0.989, False)])
def test_one_percent_is_the_limit(figure, factor, holds):
    expected, found = read_gates(GATES), copy.deepcopy(read_gates(GATES))
    found[figure] *= factor
    found["by_prompt"][2]["tokens_per_round"] *= factor
    broken = compare_gates(expected, found)
    assert (broken == []) == holds
    if not holds:
        assert figure in broken[0] and found["by_prompt"][2]["category"] in broken[1]


def test_other_prompts_are_not_compared():
    found = copy.deepcopy(read_gates(GATES))
    found["prompts_sha256"] = "0" * 64
    (line,) = compare_gates(read_gates(GATES), found)
    assert "prompts_sha256" in line and "perf_gates --update" in line


@pytest.mark.parametrize("decode_s, holds", [(0.9, True), (1.1, False)])
def test_the_speed_gate_is_a_ratio(decode_s, holds):
    rows = [{"category": "editing", "decode_s": decode_s, "baseline_decode_s": 1.0}]
    rows.append({"category": "code", "decode_s": 9.0, "baseline_decode_s": 1.0})  # not gated
    sure, unsure = ({"summary": {"inconclusive": why}, "prompts": rows} for why in (None, "a neighbour"))
    assert (compare_speed(sure) == []) == holds
    assert compare_speed(unsure) == []


def test_without_a_gates_file(tmp_path, capsys):
    assert main(["--gates", str(tmp_path / "none.json")]) == 2
    assert "perf_gates --update" in capsys.readouterr().err

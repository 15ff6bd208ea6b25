# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Projections: their arithmetic, that they are called so, and what cannot be projected."""

import json

import pytest

from measuring.project import main, project
from measuring.published_speeds import published_pair
from models.tt_transformers.demo.speculative_decoding.metrics import expected_tokens


def test_a_fused_round_saves_the_drafts_round_trips():
    """K draft steps without theirs, a verify with one."""
    pair = published_pair("llama-1b-8b", "N150")
    row = project(pair, 0.7, host_ms=0.7, v=1.0)
    draft_ms, target_ms, k = 1e3 / pair.draft_tps, 1e3 / pair.target_tps, row.fused_k
    round_ms = k * (draft_ms - 0.7) + target_ms
    assert row.fused == pytest.approx(expected_tokens(0.7, k) * target_ms / round_ms)
    apart_ms = row.separate_k * draft_ms + target_ms
    assert row.separate == pytest.approx(expected_tokens(0.7, row.separate_k) * target_ms / apart_ms)
    assert row.fused > row.separate > 1.0
    assert project(pair, 0.7, host_ms=0.0, v=1.0).fused == pytest.approx(row.separate)


def test_plain_decoding_is_a_choice():
    row = project(published_pair("llama-1b-3b", "N150"), 0.3, host_ms=0.7, v=1.1)
    assert (row.fused, row.fused_k) == (1.0, 0) and row.break_even > 0.3


@pytest.mark.parametrize("device", ["N300", "T3K"])
def test_what_is_not_known_is_not_projected(device):
    row = project(published_pair("llama-1b-8b", device), 0.8, host_ms=0.7, v=1.0)
    assert row.separate is None and row.separate_k is None and row.fused > 1.0


@pytest.mark.parametrize("columns", ["80", "100", "128"])
def test_every_screen_says_that_it_is_projected(capsys, tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    file = tmp_path / "projection.json"
    assert main(["--alpha", "0.7", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "PROJECTED, not measured" in shown and "PERF.md" in shown
    assert max(len(line) for line in shown.splitlines() if line.startswith("llama")) <= int(columns)
    record = json.loads(file.read_text())
    assert record["projected"] is True and len(record["rows"]) == 6


@pytest.mark.parametrize(
    "options, message",
    [
        (["--alpha", "1.5"], "--alpha: '1.5' is no probability"),
        (["--alpha", "x"], "--alpha: 'x' is no probability"),
        (["--alpha", "0.5,nan"], "--alpha: 'nan' is no probability"),
        (["--host-ms", "-1"], "--host-ms -1.0 is no duration"),
        (["--v", "0"], "--v 0.0 is not positive"),
    ],
)
def test_bad_options_are_one_line(capsys, options, message):
    assert main(options) == 2
    assert message in capsys.readouterr().err

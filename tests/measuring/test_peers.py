# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A peer is held against plain decoding by medians of at least three whole requests of the same text, or not at all."""

from types import SimpleNamespace

import pytest

from measuring.peers import PeerResult, PlainRequest, peer_record, request_speedup

PEER = SimpleNamespace(label="generate", kind="generate", k=0)


def results(*seconds, tokens=(1, 2, 3)):
    return [
        PeerResult(tokens=list(tokens), request_s=one, ttft_ms=100.0, decode_s=one / 2, tokens_in_decode=2)
        for one in seconds
    ]


def plain(*seconds):
    return PlainRequest(category="code", tokens=[1, 2, 3], seconds=list(seconds))


def record_of(runs, requests, doubts=None):
    return peer_record(PEER, runs, requests, doubts=doubts)


def test_one_stalled_request_moves_nothing():
    calm = record_of([results(1.0, 1.0, 1.0)], [plain(2.0, 2.0, 2.0)])
    stalled = record_of([results(1.0, 40.0, 1.0)], [plain(2.0, 2.0, 90.0)])
    assert calm["summary"]["speedup"] == stalled["summary"]["speedup"] == 2.0
    assert stalled["prompts"][0]["speedup"] == 2.0 and stalled["prompts"][0]["request_s"] == 1.0
    assert stalled["summary"]["not_comparable"] is None and stalled["summary"]["repeats"] == 3
    # Only the interval tells of it.
    assert (calm["summary"]["low"], calm["summary"]["high"]) == (2.0, 2.0)
    assert stalled["summary"]["low"] < 0.1 and stalled["summary"]["high"] > 2.0


def test_the_total_is_of_sums_of_medians_with_its_interval():
    """By hand: (2 + 8) / (1 + 4)."""
    found = request_speedup([([1.0, 0.9, 1.1], [2.0, 2.1, 1.9]), ([4.0, 4.1, 3.9], [8.0, 8.2, 7.9])])
    assert found["speedup"] == pytest.approx(2.0) and 1.8 < found["low"] < 2.0 < found["high"] < 2.2


@pytest.mark.parametrize(
    "runs, requests, doubts, reason",
    [
        (results(1.0, 1.0), plain(2.0, 2.0), None, "whole requests per prompt: 2; a median needs 3"),
        (results(1.0, 1.0, 1.0, tokens=(1, 2)), plain(2.0, 2.0, 2.0), None, "its text is another on 1 of 1 prompts"),
        (results(1.0, 1.0, 1.0), plain(2.0, 2.0, 2.0), "loud neighbours", "loud neighbours"),
    ],
)
def test_what_is_not_comparable_says_why_and_has_no_ratio(runs, requests, doubts, reason):
    found = record_of([runs], [requests], doubts)
    assert found["summary"]["not_comparable"] == reason
    for part in (found["summary"], *found["prompts"]):
        assert part["speedup"] is part["low"] is part["high"] is None and part["request_s"] == 1.0

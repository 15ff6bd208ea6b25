# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Who is fastest where: by hand on invented times, in which it is known who must win; what cannot be held against what
has no ratio.
"""

import pytest
from support.results import compare_result, inconclusive, interval, run, save

from measuring.report import main
from measuring.reports.matches import auto_by_category, fastest_by_category, peers_table
from measuring.results import load_results
from measuring.run import Run
from measuring.speedups import Speedup, rate, together

PLAIN_S, TTFT_S = 10.0, 1.0


def arm(k, seconds, *, drafter="prompt-lookup", batch_size=1):
    """An arm that takes so many seconds of decoding per category, plain decoding always PLAIN_S."""
    rows = [
        {
            "category": category,
            "tokens": [0] * 11,
            "baseline_tokens": [0] * 11,
            "decode_s": decode_s,
            "baseline_decode_s": PLAIN_S,
            "ttft_ms": 1e3 * TTFT_S,
            "baseline_ttft_ms": 1e3 * TTFT_S,
            **interval(PLAIN_S / decode_s),
        }
        for category, decode_s in seconds.items()
    ]
    fixed = isinstance(k, int)
    settings = {"drafter": drafter, "batch_size": batch_size, "num_draft_tokens": k if fixed else 16}
    lookahead = {"lookahead": "fixed" if fixed else k}
    return Run({**settings, **lookahead, "summary": {"drafted": 1, "noise_floor": 0.003}, "prompts": rows}, {})


def peer(kind, seconds, k=4, why=None):
    rows = [
        {
            "category": category,
            "request_s": request_s,
            "baseline_request_s": PLAIN_S + TTFT_S,
            **interval(None if why else (PLAIN_S + TTFT_S) / request_s),
        }
        for category, request_s in seconds.items()
    ]
    total = {"identical": 2, "prompts": 2, "request_s": sum(seconds.values()), "not_comparable": why}
    total |= interval(None if why else 2 * (PLAIN_S + TTFT_S) / sum(seconds.values()))
    return {"peer": f"{kind}={k}", "kind": kind, "k": k, "prompts": rows, "summary": total}


def test_auto_is_held_against_the_best_k_of_its_own_drafter():
    runs = [
        arm(1, {"code": 8.0, "prose": 12.5}),
        arm(4, {"code": 5.0, "prose": 20.0}),
        arm("auto", {"code": 5.2, "prose": 11.0}),
        arm(2, {"code": 1.0, "prose": 1.0}, drafter="hybrid"),
        arm(2, {"code": 1.0, "prose": 1.0}, batch_size=4),
    ]
    table = auto_by_category(runs)
    assert table.rows == [
        ("prompt-lookup: code", "2.00x (1.92 to 2.08)", "4", "1.92x (1.85 to 2.00)", "yes", "no"),
        ("prompt-lookup: prose", "1.00x", "0", "0.91x (0.87 to 0.95)", "no", "yes"),
        ("prompt-lookup: all", "1.00x", "0", "1.23x (1.20 to 1.27)", "yes", "no"),
    ]
    assert auto_by_category(runs[:2]).rows == [["not measured"] * 6]


def test_the_table_says_where_ours_is_not_the_fastest():
    ours = [arm(1, {"code": 4.5, "prose": 10.0}), arm("auto", {"code": 7.8, "prose": 9.0})]
    peers = [
        peer("generate", {"code": 11.0, "prose": 11.0}, k=0),
        peer("assistant_model", {"code": 6.0, "prose": 22.0}, k=2),
        peer("assistant_model", {"code": 7.0, "prose": 5.0}, k=4),
    ]
    table = fastest_by_category(ours, peers)
    assert table.headers[-3:] == ["transformers: generate", "transformers: assistant_model", "ours is fastest"]
    assert [[cell.split(" (")[0] for cell in row] for row in table.rows] == [
        ["code", "1.25x", "2.00x", "prompt-lookup, K = 1", "1.00x", "1.83x", "yes"],
        ["prose", "1.10x", "1.10x", "prompt-lookup, K = auto", "1.00x", "2.20x", "no"],
    ]
    # Whole requests: 11 s by 1 s and 10 s / (2.13 to 2.31).
    assert table.rows[0][2] == "2.00x (1.93 to 2.06)" and table.rows[0][4] == "1.00x (0.96 to 1.04)"
    assert fastest_by_category(ours, []).rows[0][-1] == "not measured"


def test_what_is_not_comparable_has_no_ratio_and_decides_nothing():
    ours, stalled = [arm(1, {"code": 4.5})], peer("generate", {"code": 180.0}, why="whole requests per prompt: 1")
    assert fastest_by_category(ours, [stalled]).rows[0][-2:] == ("not comparable here", "not measured")
    assert peers_table(ours, [stalled]).rows[1][2] == "not comparable here"
    slow = [arm(1, {"code": 20.0})]
    assert fastest_by_category(slow, [stalled]).rows[0][-1] == "no"  # plain decoding is faster, whatever the peer is


def test_an_inconclusive_arm_has_no_ratio_anywhere():
    known, doubtful = Run(run(4), {}), Run(inconclusive(run(4)), {})
    for found in (known.speedup, known.without_loops, known.predicted, known.speedup_of(known.rows)):
        assert str(found)[0].isdigit()
    for found in (doubtful.speedup, doubtful.without_loops, doubtful.predicted, doubtful.speedup_of(doubtful.rows)):
        assert str(found) == "inconclusive"
    assert known.against(3.0, 2.0) == 1.5 and doubtful.against(3.0, 2.0) is None
    assert peers_table([doubtful], [peer("generate", {"code": 1.0})]).rows[0][2] == "inconclusive"
    assert [row[3] for row in auto_by_category([Run(inconclusive(run(16, lookahead="auto")), {})]).rows] == [
        "inconclusive"
    ] * 4


@pytest.mark.parametrize(
    "found, said",
    [
        (Speedup(1.374, 1.311, 1.446, 0.001), "1.37x (1.31 to 1.45)"),
        (Speedup(2.374, 2.311, 2.446, 0.03), "2.4x (2.3 to 2.4)"),  # what the noise floor leaves
        (Speedup(1.374, None, None, 0.001), "1.37x (no interval)"),
        (Speedup(), "not measured"),
    ],
)
def test_a_speedup_is_said_with_its_interval_and_no_more_decimals_than_it_carries(found, said):
    assert str(found) == said


def test_a_rate_carries_as_many_decimals():
    assert rate(48.26, 0.004) == "48" and rate(482.6, 0.01) == "483" and rate(None, 0.01) == "not measured"


def test_of_several_prompts_the_seconds_weigh():
    """20 s of plain decoding in 10 s, and 10 s in 10 s: 30 in 20; half-widths of .5 and .25 of the same weight."""
    both = together([(Speedup(2.0, 1.5, 2.5), 10.0), (Speedup(1.0, 0.75, 1.25), 10.0)])
    assert both.value == pytest.approx(1.5)
    assert (both.low, both.high) == (pytest.approx(1.5 - 0.3125**0.5 / 2), pytest.approx(1.5 + 0.3125**0.5 / 2))
    alone = together([(Speedup(2.0, 1.5, 2.5), 10.0), (Speedup(), 10.0)])
    assert (alone.value, alone.low, alone.high) == (2.0, 1.5, 2.5)
    unknown = together([(Speedup(2.0), 10.0), (Speedup(1.0, 0.75, 1.25), 10.0)])
    assert unknown.value == pytest.approx(1.5) and unknown.low is None
    assert together([], lacks="inconclusive") == Speedup(lacks="inconclusive")


def test_only_arms_of_the_peers_own_run_are_held_against_them(tmp_path):
    """Of the same arm in two files the tables show the first; beside transformers stand those that ran beside it."""
    alone = {**compare_result([run(1, speedup=1.11), run(4, speedup=2.22)]), "peers": []}
    beside = compare_result([run(4, speedup=3.33)])
    files = [save(record, tmp_path / f"{number}.json") for number, record in enumerate((alone, beside))]
    results = load_results(files)
    assert [(run.k, run.speedup.value) for run in results.of("smollm2")] == [("1", 1.11), ("4", 2.22)]
    assert [run.speedup.value for run in results.beside_peers("smollm2")] == [3.33]
    assert main([*map(str, files), "--out", str(tmp_path / "out")]) == 0
    report = (tmp_path / "out" / "comprehensive_8b_comparison.md").read_text("utf-8")
    assert report.count("| ours: ") == 1 and report.count("\n| prompt-lookup, K = 4 | 1 | 10.0 (10.0 to") == 1

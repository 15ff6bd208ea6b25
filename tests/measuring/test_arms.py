# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Who is fastest where: by hand on invented times, in which it is known who must win."""

import pytest
from support.results import compare_result, run, save

from measuring.report import main
from measuring.reports.arms import auto_by_category, fastest_by_category
from measuring.results import load_results
from measuring.run import Run
from models.tt_transformers.demo.speculative_decoding.metrics import speedup

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
        }
        for category, decode_s in seconds.items()
    ]
    fixed = isinstance(k, int)
    settings = {"drafter": drafter, "batch_size": batch_size, "num_draft_tokens": k if fixed else 16}
    lookahead = {"lookahead": "fixed" if fixed else k}
    return Run({**settings, **lookahead, "summary": {"drafted": 1}, "prompts": rows}, {})


def peer(kind, seconds, k=4):
    rows = [
        {"category": category, "request_s": request_s, "baseline_request_s": PLAIN_S + TTFT_S}
        for category, request_s in seconds.items()
    ]
    return {"kind": kind, "k": k, "prompts": rows}


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
        ("prompt-lookup: code", "2.00x (K = 4)", "1.92x", "0.96", "yes", "no"),
        ("prompt-lookup: prose", "1.00x (K = 0)", "0.91x", "0.91", "no", "yes"),
        ("prompt-lookup: all", "1.00x (K = 0)", "1.23x", "1.23", "yes", "no"),
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
    assert table.rows == [
        ("code", "1.25x", "2.00x", "prompt-lookup, K = 1", "1.00x", "1.83x", "yes"),
        ("prose", "1.10x", "1.10x", "prompt-lookup, K = auto", "1.00x", "2.20x", "no"),
    ]
    assert fastest_by_category(ours, []).rows[0][-1] == "not measured"


def test_samples_of_other_lengths_are_compared_by_their_rates():
    """Half the tokens in half the time is no speedup."""
    run = arm(1, {"code": PLAIN_S / 2})
    run.rows[0]["tokens"] = [0] * 6
    assert run.speedup_of(run.rows) == pytest.approx(1.0) == speedup(1.0, 1.0)
    assert speedup(None, 1.0) is None and speedup(1.0, None) is None


def test_only_arms_of_the_peers_own_run_are_held_against_them(tmp_path):
    """Of the same arm in two files the tables show the first; beside transformers stand those that ran beside it."""
    alone = {**compare_result([run(1, speedup=1.11), run(4, speedup=2.22)]), "peers": []}
    beside = compare_result([run(4, speedup=3.33)])
    files = [save(record, tmp_path / f"{number}.json") for number, record in enumerate((alone, beside))]
    results = load_results(files)
    assert [(run.k, run.get("summary", "speedup")) for run in results.of("smollm2")] == [("1", 1.11), ("4", 2.22)]
    assert [run.get("summary", "speedup") for run in results.beside_peers("smollm2")] == [3.33]
    assert main([*map(str, files), "--out", str(tmp_path / "out")]) == 0
    report = (tmp_path / "out" / "comprehensive_8b_comparison.md").read_text("utf-8")
    assert report.count("| ours: ") == 1 and report.count("\n| prompt-lookup, K = 4 | 10.0 |") == 1

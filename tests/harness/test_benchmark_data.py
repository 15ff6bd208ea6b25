# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What tt-metal's CI is told of a run, and what it asks: figures by its names, beside targets that are really asked."""

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from models.tt_transformers.demo.speculative_decoding.harness.benchmark_data import judged_figures, save_benchmark_data
from models.tt_transformers.demo.speculative_decoding.harness.device_cases import check_record

TARGETS, UTILITIES = "models.demos.utils.model_targets", "models.perf.benchmarking_utils"


def a_record(**more):
    """As much of one as is looked at: two drafts of three stood, and two users."""
    total = dict.fromkeys(("decode_tps_per_user", "baseline_decode_tps_per_user", "acceptance_rate"), 0.5)
    total |= dict.fromkeys(("decode_tps", "baseline_decode_tps", "tokens_per_round"), 1.5)
    total |= {"speedup": None, "accepted_per_position": [1], "alpha": 0.5, "c": 0.1, "v": 1.1}
    record = {
        "summary": {**total, "drafted": 3},
        "pair": "llama-1b-8b",
        "target": "t",
        "draft": "d",
        "drafter": "model",
    }
    record |= {"num_draft_tokens": 1, "batch_size": 2, "device": "N300", "prompts": [], "own_plain_tokens": []}
    return record | {"teacher_forced": {"positions": 200, "misses": [], "problem": None}} | more


def a_tree_that_asks(entry, seen=None):
    """tt-metal's resolver, whose file has one entry."""

    def resolve_perf_targets(model_name, sku, batch_size=None, seq_len=None):
        if seen is not None:
            seen.append((model_name, sku, batch_size, seq_len))
        return entry

    def resolve_metric_tolerance(name, thresholds, default):
        return thresholds.get(f"{name}_tolerance", default)

    functions = {"resolve_perf_targets": resolve_perf_targets, "resolve_metric_tolerance": resolve_metric_tolerance}
    return SimpleNamespace(**functions, DEFAULT_PERF_TOLERANCE=0.15)


def test_a_speed_has_no_target_where_nobody_measured_one(monkeypatch):
    for tree in (None, a_tree_that_asks(None), a_tree_that_asks({})):
        monkeypatch.setitem(sys.modules, TARGETS, tree)
        figures = judged_figures(a_record())
        assert figures["decode_t/s/u"] == {"value": 0.5, "target": None, "least": None}
        assert figures["top1_token_accuracy"] == {"value": 100.0, "target": 100.0, "least": 99.0}
        assert "speedup" not in figures  # it was not measured


def test_the_targets_that_ci_has_are_asked(monkeypatch):
    seen, entry = [], {"decode_t/s/u": 0.4, "decode_t/s/u_tolerance": 0.25, "decode_t/s": 2.0, "prefill_t/s": 9.0}
    monkeypatch.setitem(sys.modules, TARGETS, a_tree_that_asks(entry, seen))
    figures = judged_figures(a_record())
    assert seen == [("llama3.1-8b-spec", "N300", 2, None)]
    assert figures["decode_t/s/u"] == {"value": 0.5, "target": 0.4, "least": pytest.approx(0.3)}
    assert figures["decode_t/s"] == {"value": 1.5, "target": 2.0, "least": pytest.approx(1.7)}
    assert figures["tokens_per_round"]["target"] is None and "prefill_t/s" not in figures
    with pytest.raises(AssertionError, match="decode_t/s is 1.5, and 2.0 less its tolerance was asked for"):
        check_record(a_record(figures=figures))
    check_record(a_record(figures={name: figure for name, figure in figures.items() if name != "decode_t/s"}))


def test_control_a_verify_that_misses(monkeypatch):
    monkeypatch.setitem(sys.modules, TARGETS, None)
    missed = {"positions": 200, "misses": [{}] * 3, "problem": None}
    figures = judged_figures(a_record(teacher_forced=missed))
    assert figures["top1_token_accuracy"]["value"] == pytest.approx(98.5)
    with pytest.raises(AssertionError, match="top1_token_accuracy is 98.5, and 100.0 less its tolerance"):
        check_record(a_record(figures=figures))


def test_the_partial_benchmark_run(monkeypatch):
    """What tt-metal's BenchmarkData is given, where it can be imported."""
    calls = []

    class BenchmarkData:
        def add_measurement(self, profiler, iteration, step_name, name, value, *, target):
            calls.append((step_name, name, value, target))

        def save_partial_run_json(self, profiler, run_type, ml_model_name, **options):
            calls.append((run_type, ml_model_name, options["device_name"], options["config_params"]["alpha"]))

    monkeypatch.setitem(sys.modules, TARGETS, a_tree_that_asks({"decode_t/s/u": 0.4}))
    record = a_record()
    record["figures"] = judged_figures(record)
    monkeypatch.setitem(sys.modules, UTILITIES, None)
    assert save_benchmark_data(record) is False
    utilities = {"BenchmarkProfiler": lambda: lambda step: nullcontext(), "BenchmarkData": BenchmarkData}
    monkeypatch.setitem(sys.modules, UTILITIES, SimpleNamespace(**utilities))
    assert save_benchmark_data(record) is True
    wanted = {("inference_decode", "decode_t/s/u", 0.5, 0.4), ("inference_decode", "decode_t/s", 1.5, None)}
    assert wanted <= set(calls) and len({name for _, name, *_ in calls[:-1]}) == len(calls) - 1
    assert calls[-1] == ("speculative_decoding_demo", "llama3.1-8b-spec", "N300", 0.5)

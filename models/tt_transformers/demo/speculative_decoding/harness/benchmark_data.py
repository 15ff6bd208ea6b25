# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A run's figures as tt-metal's CI names them, beside what models/model_targets.yaml asks of them."""

import importlib
from typing import Any

from loguru import logger

from models.tt_transformers.demo.speculative_decoding.harness.teacher_forcing import AGREEMENT

# Pair -> its own model in CI: the target's name alone is the stock target's there.
CI_MODELS = {"llama-1b-3b": "llama3.2-3b-spec", "llama-1b-8b": "llama3.1-8b-spec"}
# Of a record's summary -> as CI names it: per user, and of all users together.
_SPEEDS = {"decode_tps_per_user": "decode_t/s/u", "decode_tps": "decode_t/s"}
_SPEEDS |= {f"baseline_{ours}": f"baseline_{theirs}" for ours, theirs in _SPEEDS.items()}
_SPEEDS |= {name: name for name in ("speedup", "acceptance_rate", "tokens_per_round")}
TOP1 = "top1_token_accuracy"  # of the verify against plain decoding, in percent (teacher_forcing.py)


def judged_figures(record: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """By name: `value`, and where there is one `target` and the `least` that its tolerance allows. Lossless needs no
    silicon to be asked for; a speed's target is CI's, or none."""
    values = {theirs: record["summary"][ours] for ours, theirs in _SPEEDS.items()}
    wanted, least = {TOP1: 100.0}, {TOP1: 100.0 * AGREEMENT}
    if forced := record.get("teacher_forced"):
        values[TOP1] = 100.0 * (1.0 - len(forced["misses"]) / forced["positions"])
    try:
        theirs = importlib.import_module("models.demos.utils.model_targets")
    except ImportError as reason:
        logger.info(f"no targets of speed: tt-metal's cannot be read ({reason})")
    else:
        entry = theirs.resolve_perf_targets(_ci_model(record), record["device"], record["batch_size"]) or {}
        for name in entry.keys() & values.keys():
            tolerance = theirs.resolve_metric_tolerance(name, entry, theirs.DEFAULT_PERF_TOLERANCE)
            wanted[name], least[name] = entry[name], entry[name] * (1.0 - tolerance)
    names = [name for name, value in values.items() if value is not None]
    return {name: {"value": values[name], "target": wanted.get(name), "least": least.get(name)} for name in names}


def save_benchmark_data(record: dict[str, Any]) -> bool:
    """Write generated/benchmark_data/partial_run_*.json from a result record; False (and a log line) where it cannot.

    Upstream's profiler only names the step; times are this package's own, taken on a monotonic clock.
    """
    try:
        utilities = importlib.import_module("models.perf.benchmarking_utils")
    except ImportError as reason:
        logger.info(f"no partial benchmark run: tt-metal's benchmarking utilities cannot be imported ({reason})")
        return False
    profiler, data = utilities.BenchmarkProfiler(), utilities.BenchmarkData()
    with profiler("run"), profiler("inference_decode"):
        pass
    for name, figure in record["figures"].items():
        data.add_measurement(profiler, 0, "inference_decode", name, figure["value"], target=figure["target"])
    data.save_partial_run_json(
        profiler,
        run_type="speculative_decoding_demo",
        ml_model_name=_ci_model(record),
        ml_model_type="llm",
        device_name=record["device"],
        batch_size=record["batch_size"],
        config_params={
            **{name: record[name] for name in ("target", "draft", "drafter", "num_draft_tokens")},
            **{name: record["summary"][name] for name in ("alpha", "c", "v")},
            "accepted_per_position": record["summary"]["accepted_per_position"],
        },
    )
    return True


def _ci_model(record: dict[str, Any]) -> str:
    return CI_MODELS.get(record["pair"], record["target"])

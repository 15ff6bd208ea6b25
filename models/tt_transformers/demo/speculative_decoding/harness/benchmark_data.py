# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The result as tt-metal's CI collects it: a partial benchmark run, where tt-metal's own utilities are there."""

from __future__ import annotations

import importlib
from typing import Any

from loguru import logger

_MEASUREMENTS = {
    "decode_t/s/u": "decode_tps",
    "baseline_decode_t/s/u": "baseline_decode_tps",
    "speedup": "speedup",
    "acceptance_rate": "acceptance_rate",
    "tokens_per_round": "tokens_per_round",
}


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
    total = record["summary"]
    for name, key in _MEASUREMENTS.items():
        if total[key] is not None:
            data.add_measurement(profiler, 0, "inference_decode", name, total[key])
    data.save_partial_run_json(
        profiler,
        run_type="speculative_decoding_demo",
        ml_model_name=record["target"],
        ml_model_type="llm",
        batch_size=record["batch_size"],
        config_params={
            "draft": record["draft"],
            "drafter": record["drafter"],
            "num_draft_tokens": record["num_draft_tokens"],
            "accepted_per_position": total["accepted_per_position"],
            **{name: total[name] for name in ("alpha", "c", "v", "predicted_speedup")},
        },
    )
    return True

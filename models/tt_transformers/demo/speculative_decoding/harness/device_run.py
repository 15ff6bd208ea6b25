# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""One run on a Tenstorrent mesh: the stock target alone, then the pair, on the same prompts in the same session."""

import importlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from loguru import logger

from models.tt_transformers.demo.speculative_decoding.harness import terminal
from models.tt_transformers.demo.speculative_decoding.harness.comparison import Arm, Comparison, OnToken
from models.tt_transformers.demo.speculative_decoding.harness.opening import open_on_mesh
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions
from models.tt_transformers.demo.speculative_decoding.harness.output import checked_output
from models.tt_transformers.demo.speculative_decoding.harness.prompts import TokenizedPrompt, tokenized
from models.tt_transformers.demo.speculative_decoding.harness.record import result_file, run_record, write_json
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions, decoder
from models.tt_transformers.demo.speculative_decoding.tt.baseline import open_stock
from models.tt_transformers.demo.speculative_decoding.tt.mesh import safe_to_trace, slow_dispatch

RESULTS = "generated/speculative_decoding"
_FIGURES = ("decode_tps", "baseline_decode_tps", "speedup", "acceptance_rate", "tokens_per_round")


def run_on_device(mesh_device: Any, options: RunOptions) -> dict[str, Any]:
    """Baseline, pair, table, JSON, and what tt-metal's CI looks for; returns the result record (record.py). Everything
    opened is closed again."""
    plain = run_baseline(mesh_device, options)
    if options.enable_trace is None:
        options = replace(options, enable_trace=safe_to_trace(mesh_device))
    with open_on_mesh(options, mesh_device) as bench:
        comparison = Comparison(bench, [options], baseline=recorded_arm(plain))
        comparison.run(lambda batch, done: logger.info(f"from prompt {done + 1} of {len(plain)}"))
        record = result_file(run_record(options, comparison.compared[0], decoder(bench.tokenizer)), bench)
    # Different for runs of different kinds, so that none overwrites another's result.
    sampled = "" if options.sampling.greedy else f"-t{options.sampling.temperature:g}"
    kind = f"{options.pair}-k{options.num_draft_tokens}-b{options.batch_size}{sampled}-{options.dtype}"
    terminal.make_console().print(terminal.styled(f"{terminal.result_table(record)}\n{terminal.verdict(record)}"))
    path = checked_output("the result", f"{RESULTS}/{kind}.json", make_folders=True)
    write_json(record, path)
    logger.info(f"written: {path}")
    save_benchmark_data(record)
    return record


def recorded_arm(results: Sequence[tuple[TokenizedPrompt, GenerationResult]]) -> Arm[GenerationResult]:
    """An arm that has run already: two models of one size do not fit on the device beside each other."""
    known = {tuple(request.token_ids): result for request, result in results}

    def decode(batch: Sequence[TokenizedPrompt], limit: int, on_token: OnToken | None) -> list[GenerationResult]:
        return [known[tuple(request.token_ids)] for request in batch]

    return decode


def run_baseline(mesh_device: Any, options: RunOptions) -> list[tuple[TokenizedPrompt, GenerationResult]]:
    """Each prompt by the stock target at batch 1; the model is freed before anything else is loaded.

    Traced on every mesh in fast dispatch, even where the pair is not: one model alone replays safely, and a baseline
    that is slower than it need be would flatter the pair.
    """
    traced = not slow_dispatch() if options.enable_trace is None else options.enable_trace
    stock = open_stock(
        mesh_device, options.target, max_seq_len=options.max_seq_len, optimizations=options.dtype, enable_trace=traced
    )
    with closing(stock):
        stock.warmup([1], argmax_only=options.sampling.greedy)
        requests = tokenized(options.prompts, stock.tokenizer, max_seq_len=options.max_seq_len)
        stop = StopConditions(
            max_new_tokens=options.max_new_tokens,
            max_seq_len=options.max_seq_len,
            stop_token_ids=stock.eos_token_ids,
            decode=decoder(stock.tokenizer),
        )
        results = []
        for number, request in enumerate(requests):
            logger.info(f"plain decoding, prompt {number + 1} of {len(requests)}")
            (result,) = decode_plainly(stock, [request.token_ids], stop=stop, sampling=options.sampling, seeds=[number])
            results.append((request, result))
    return results


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
    for name in _FIGURES:
        if total[name] is not None:
            theirs = name.replace("decode_tps", "decode_t/s/u")
            data.add_measurement(profiler, 0, "inference_decode", theirs, total[name])
    data.save_partial_run_json(
        profiler,
        run_type="speculative_decoding_demo",
        ml_model_name=record["target"],
        ml_model_type="llm",
        batch_size=record["batch_size"],
        config_params={
            **{name: record[name] for name in ("draft", "drafter", "num_draft_tokens")},
            **{name: total[name] for name in ("accepted_per_position", "alpha", "c", "v", "predicted_speedup")},
        },
    )
    return True

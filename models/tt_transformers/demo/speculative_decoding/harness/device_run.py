# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""One run on a Tenstorrent mesh: the stock target alone, then the pair, on the same prompts in the same session."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from loguru import logger

from models.tt_transformers.demo.speculative_decoding.harness.comparison import NEAR_TIE_GAP, Arm, Comparison, OnToken
from models.tt_transformers.demo.speculative_decoding.harness.device_cases import available
from models.tt_transformers.demo.speculative_decoding.harness.opening import open_on_mesh
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions
from models.tt_transformers.demo.speculative_decoding.harness.pairs import named_pair
from models.tt_transformers.demo.speculative_decoding.harness.prompts import (
    SAMPLE_PROMPTS,
    TokenizedPrompt,
    load_prompts,
    tokenized,
)
from models.tt_transformers.demo.speculative_decoding.harness.record import result_file, run_record, write_json
from models.tt_transformers.demo.speculative_decoding.harness.terminal import (
    make_console,
    result_table,
    styled,
    verdict,
)
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions, decoder
from models.tt_transformers.demo.speculative_decoding.tt.baseline import open_stock
from models.tt_transformers.demo.speculative_decoding.tt.mesh import (
    mesh_name,
    safe_to_trace,
    slow_dispatch,
    wanted_traces,
)

RESULTS = "generated/speculative_decoding"
_MEASUREMENTS = {
    "decode_t/s/u": "decode_tps",
    "baseline_decode_t/s/u": "baseline_decode_tps",
    "speedup": "speedup",
    "acceptance_rate": "acceptance_rate",
    "tokens_per_round": "tokens_per_round",
}


def sample_run(
    pair: str, *, num_prompts: int = 10, users: int = 1, optimizations: str = "performance", **options: Any
) -> RunOptions:
    """The named pair on the first of the sample prompts; skips the test where one of its models cannot be had.

    Args:
        options: other attributes of RunOptions.
    """
    models = available(named_pair(pair))
    return RunOptions(
        **{"max_seq_len": 1024, **options},
        pair=pair,
        target=models.target,
        draft=models.draft,
        prompts=load_prompts(SAMPLE_PROMPTS)[:num_prompts],
        backend="tt",
        device=mesh_name(),
        dtype=optimizations,
        enable_trace=wanted_traces(),
        batch_size=users,
    )


def run_on_device(mesh_device: Any, options: RunOptions) -> dict[str, Any]:
    """Baseline, pair, table, JSON; returns the result record (record.py). Everything opened is closed again."""
    plain = run_baseline(mesh_device, options)
    if options.enable_trace is None:
        options = replace(options, enable_trace=safe_to_trace(mesh_device))
    with open_on_mesh(options, mesh_device) as bench:
        comparison = Comparison(bench, [options], baseline=recorded_arm(plain))

        def watch(batch: Sequence[TokenizedPrompt], done: int) -> None:
            logger.info(f"prompts {done + 1} to {done + len(batch)} of {len(plain)}")

        comparison.run(watch)
        record = result_file(run_record(options, comparison.compared[0], decoder(bench.tokenizer)), bench)
    _show(record, _file_name(options))
    return record


def recorded_arm(results: Sequence[tuple[TokenizedPrompt, GenerationResult]]) -> Arm[GenerationResult]:
    """An arm that has run already: two models of one size do not fit on the device beside each other."""
    known = {tuple(request.token_ids): result for request, result in results}

    def decode(batch: Sequence[TokenizedPrompt], limit: int, on_token: OnToken | None) -> list[GenerationResult]:
        return [known[tuple(request.token_ids)] for request in batch]

    return Arm("stock", decode)


def run_baseline(mesh_device: Any, options: RunOptions) -> list[tuple[TokenizedPrompt, GenerationResult]]:
    """Each prompt by the stock target at batch 1; the model is freed before anything else is loaded.

    Traced on every mesh in fast dispatch, even where the pair is not: one model alone replays safely, and a baseline
    that is slower than it need be would flatter the pair.
    """
    traced = not slow_dispatch() if options.enable_trace is None else options.enable_trace
    stock = open_stock(
        mesh_device,
        options.target,
        max_seq_len=options.max_seq_len,
        optimizations=options.dtype,
        enable_trace=traced,
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


def check_baseline(mesh_device: Any, options: RunOptions) -> None:
    """The stock target alone: AssertionError if it writes nothing; its TTFT and rate are logged."""
    for request, result in run_baseline(mesh_device, options):
        assert len(result.tokens) > 1, f"prompt {request.prompt.category!r} ended at once"
        logger.info(
            f"{request.prompt.category}: TTFT {result.ttft_ns / 1e6:.0f} ms, {result.decode_tps:.1f} tok/s/user"
        )


def _file_name(options: RunOptions) -> str:
    """Different for runs of different kinds, so that none overwrites another's result."""
    sampled = "" if options.sampling.greedy else f"-t{options.sampling.temperature:g}"
    return f"{options.pair}-k{options.num_draft_tokens}-b{options.batch_size}{sampled}-{options.dtype}"


def _show(record: dict[str, Any], name: str) -> None:
    console = make_console()
    console.print(result_table(record))
    console.print(styled(verdict(record)))
    folder = Path(RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(record, folder / f"{name}.json")
    logger.info(f"written: {folder / name}.json")
    save_benchmark_data(record)


def check_record(record: dict[str, Any]) -> None:
    """What every run must satisfy, whatever the device: AssertionError says which prompt does not."""
    for row in record["prompts"]:
        if row["identical"] is False:
            where = f"prompt {row['category']!r} parts from plain decoding at token {row['first_divergence']}"
            gap = row["divergence_top2_gap"]
            assert (
                gap < NEAR_TIE_GAP[record["dtype"]]
            ), f"{where}, where the target's top-2 gap is {gap:.2f}: no near-tie"
            logger.warning(f"{where}, at a near-tie (gap {gap:.3f})")
    total = record["summary"]
    assert 0.0 < total["acceptance_rate"] <= 1.0, f"acceptance rate {total['acceptance_rate']}"
    assert 1.0 <= total["tokens_per_round"] <= record["num_draft_tokens"] + 1
    logger.info(
        f"c = {total['c']:.3f}, v = {total['v']:.3f}, alpha = {total['alpha']:.3f}, speedup {total['speedup']:.2f}"
    )


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

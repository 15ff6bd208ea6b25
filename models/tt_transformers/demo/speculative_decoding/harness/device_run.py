# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A run on a Tenstorrent mesh: the stock target alone, freed, then the pair, on the same prompts in one session."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from loguru import logger

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.harness.benchmark_data import save_benchmark_data
from models.tt_transformers.demo.speculative_decoding.harness.comparison import PromptComparison, Request, top2_gap
from models.tt_transformers.demo.speculative_decoding.harness.device_cases import available, wanted_traces
from models.tt_transformers.demo.speculative_decoding.harness.prompts import (
    SAMPLE_PROMPTS,
    Prompt,
    decoder,
    encode,
    load_prompts,
)
from models.tt_transformers.demo.speculative_decoding.harness.record import RunSettings, run_record, write_json
from models.tt_transformers.demo.speculative_decoding.harness.record_extras import (
    add_repeats,
    add_token_texts,
    model_loads,
    provenance,
)
from models.tt_transformers.demo.speculative_decoding.harness.terminal import make_console, result_table, verdict
from models.tt_transformers.demo.speculative_decoding.hf.loading import ModelPair, named_pair
from models.tt_transformers.demo.speculative_decoding.lookahead import FixedLookahead
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt.baseline import open_stock
from models.tt_transformers.demo.speculative_decoding.tt.pair import open_pair, safe_to_trace, slow_dispatch

# Decodes of different width round differently in bfloat16 and block floating point: where the target's two best logits
# are closer than this, either token may be chosen (tt-metal's gemma4 speculative decoding test allows the same).
NEAR_TIE_GAP = 2.0
RESULTS = "generated/speculative_decoding"


@dataclass(frozen=True, kw_only=True)
class DeviceRun:
    """What to run on the device."""

    pair: ModelPair
    prompts: Sequence[Prompt]
    num_draft_tokens: int = 4
    users: int = 1
    max_new_tokens: int = 128
    max_seq_len: int = 1024
    sampling: SamplingParams = SamplingParams()
    optimizations: str = "performance"
    enable_trace: bool | None = None


def sample_run(pair: str, *, num_prompts: int = 10, **options: Any) -> DeviceRun:
    """The named pair on the first of the sample prompts; skips the test where one of its models cannot be had.

    Args:
        options: the other attributes of DeviceRun.
    """
    prompts, traced = load_prompts(SAMPLE_PROMPTS)[:num_prompts], wanted_traces()
    return DeviceRun(pair=available(named_pair(pair)), prompts=prompts, enable_trace=traced, **options)


def run_on_device(mesh_device: Any, run: DeviceRun) -> dict[str, Any]:
    """Baseline, pair, table, JSON; returns the result record (result_record.py). Everything opened is closed again."""
    traced = safe_to_trace(mesh_device) if run.enable_trace is None else run.enable_trace
    plain = run_baseline(mesh_device, run)
    with ExitStack() as open_runners:
        target, draft = open_pair(
            mesh_device,
            run.pair.target,
            cast(str, run.pair.draft),  # every pair of a device run has one
            users=run.users,
            num_draft_tokens=run.num_draft_tokens,
            max_seq_len=run.max_seq_len,
            optimizations=run.optimizations,
            sampling=not run.sampling.greedy,
            enable_trace=traced,
        )
        open_runners.callback(target.close)
        open_runners.callback(draft.close)
        generator = SpeculativeGenerator(
            target,
            ModelDrafter(draft),
            lookahead=FixedLookahead(run.num_draft_tokens),
            sampling=run.sampling,
            tokenizer=target.tokenizer,
        )
        compared = _speculate(generator, run, plain)
    settings = RunSettings(
        pair=run.pair.name,
        target=run.pair.target,
        draft=run.pair.draft,
        drafter="model",
        backend="tt",
        device=os.environ.get("MESH_DEVICE") or f"{mesh_device.get_num_devices()} devices",
        dtype=run.optimizations,
        num_draft_tokens=run.num_draft_tokens,
        lookahead="fixed",
        batch_size=run.users,
        exact=False,
        max_new_tokens=run.max_new_tokens,
        num_repeats=1,
    )
    record = run_record(settings, run.sampling, compared) | model_loads(target, draft) | provenance()
    add_repeats(record, compared)
    add_token_texts(record, decoder(target.tokenizer))
    _show(record, _file_name(run))
    return record


def run_baseline(mesh_device: Any, run: DeviceRun) -> list[tuple[Request, GenerationResult]]:
    """Each prompt by the stock target at batch 1; the model is freed before anything else is loaded.

    Traced on every mesh in fast dispatch, even where the pair is not: one model alone replays safely, and a baseline
    that is slower than it need be would flatter the pair.
    """
    traced = not slow_dispatch() if run.enable_trace is None else run.enable_trace
    stock = open_stock(
        mesh_device,
        run.pair.target,
        max_seq_len=run.max_seq_len,
        optimizations=run.optimizations,
        enable_trace=traced,
    )
    with closing(stock):
        stock.warmup([1], argmax_only=run.sampling.greedy)
        requests = [Request(prompt, encode(prompt, stock.tokenizer)) for prompt in run.prompts]
        stop = StopConditions(
            max_new_tokens=run.max_new_tokens,
            max_seq_len=run.max_seq_len,
            stop_token_ids=stock.eos_token_ids,
            decode=decoder(stock.tokenizer),
        )
        results = []
        for number, request in enumerate(requests):
            logger.info(f"plain decoding, prompt {number + 1} of {len(requests)}")
            (result,) = decode_plainly(stock, [request.token_ids], stop=stop, sampling=run.sampling, seeds=[number])
            results.append((request, result))
    return results


def check_baseline(mesh_device: Any, run: DeviceRun) -> None:
    """The stock target alone: AssertionError if it writes nothing; its TTFT and rate are logged."""
    for request, result in run_baseline(mesh_device, run):
        assert len(result.tokens) > 1, f"prompt {request.prompt.category!r} ended at once"
        logger.info(
            f"{request.prompt.category}: TTFT {result.ttft_ns / 1e6:.0f} ms, {result.decode_tps:.1f} tok/s/user"
        )


def _speculate(
    generator: SpeculativeGenerator, run: DeviceRun, plain: list[tuple[Request, GenerationResult]]
) -> list[PromptComparison]:
    compared = []
    for batch, first in enumerate(range(0, len(plain), run.users)):
        group = plain[first : first + run.users]
        logger.info(f"speculative decoding, prompts {first + 1} to {first + len(group)} of {len(plain)}")
        results = generator.generate([request.token_ids for request, _ in group], max_new_tokens=run.max_new_tokens)
        for (request, baseline), result in zip(group, results, strict=True):
            comparison = PromptComparison(request, batch, run.sampling.greedy, [result], [baseline])
            index = comparison.first_divergence
            if index is not None:
                context = [*request.token_ids, *comparison.tokens[:index]]
                comparison.divergence_gap = top2_gap(generator.target, context)
            compared.append(comparison)
    return compared


def _file_name(run: DeviceRun) -> str:
    """Different for runs of different kinds, so that none overwrites another's result."""
    sampled = "" if run.sampling.greedy else f"-t{run.sampling.temperature:g}"
    return f"{run.pair.name}-k{run.num_draft_tokens}-b{run.users}{sampled}-{run.optimizations}"


def _show(record: dict[str, Any], name: str) -> None:
    console = make_console()
    console.print(result_table(record))
    console.print(verdict(record))
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
            assert gap < NEAR_TIE_GAP, f"{where}, where the target's top-2 gap is {gap:.2f}: no near-tie"
            logger.warning(f"{where}, at a near-tie (gap {gap:.3f})")
    total = record["summary"]
    assert 0.0 < total["acceptance_rate"] <= 1.0, f"acceptance rate {total['acceptance_rate']}"
    assert 1.0 <= total["tokens_per_round"] <= record["num_draft_tokens"] + 1
    logger.info(
        f"c = {total['c']:.3f}, v = {total['v']:.3f}, alpha = {total['alpha']:.3f}, speedup {total['speedup']:.2f}"
    )

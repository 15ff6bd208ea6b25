# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""One run on a Tenstorrent mesh: the stock target alone, then the pair, on the same prompts in the same session."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any, cast

from loguru import logger

from models.tt_transformers.demo.speculative_decoding.harness import terminal
from models.tt_transformers.demo.speculative_decoding.harness.benchmark_data import judged_figures, save_benchmark_data
from models.tt_transformers.demo.speculative_decoding.harness.comparison import Arm, Comparison, OnToken, plain_arm
from models.tt_transformers.demo.speculative_decoding.harness.opening import Bench, open_on_mesh
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions
from models.tt_transformers.demo.speculative_decoding.harness.output import checked_output
from models.tt_transformers.demo.speculative_decoding.harness.processing import chosen_with
from models.tt_transformers.demo.speculative_decoding.harness.prompts import TokenizedPrompt, tokenized
from models.tt_transformers.demo.speculative_decoding.harness.record import result_file, run_record, write_json
from models.tt_transformers.demo.speculative_decoding.harness.segments import BUCKET, Timed
from models.tt_transformers.demo.speculative_decoding.harness.teacher_forcing import rows_correlation, teacher_forced
from models.tt_transformers.demo.speculative_decoding.harness.traffic import counted
from models.tt_transformers.demo.speculative_decoding.harness.verdict import headline, verdict
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions, decoder
from models.tt_transformers.demo.speculative_decoding.tt.baseline import open_stock
from models.tt_transformers.demo.speculative_decoding.tt.mesh import slow_dispatch
from models.tt_transformers.demo.speculative_decoding.tt.runner import TTModelRunner

COUNTED_ROUNDS = 8
RESULTS = "generated/speculative_decoding"


def run_on_device(mesh_device: Any, options: RunOptions) -> dict[str, Any]:
    """Baseline, pair, table, JSON, and what tt-metal's CI looks for; returns the result record (record.py). Everything
    opened is closed again.

    Its own target, one row wide (K = 0), takes turns with the pair, segment by segment: its steps are what c and v are
    measured in (the stock target's have a sampler in them), and each stands for a step of the stock target at its
    position. Its text in one go must be the pair's bit for bit. Without a baseline (options) it is the baseline, each
    model is loaded once, and the rows of a verify are compared with its logits.
    """
    plain = run_baseline(mesh_device, options) if options.with_baseline else None
    width = options.num_draft_tokens + 1
    with open_on_mesh(options, mesh_device, logits_too=plain is None) as bench:
        own_arm = plain_arm(bench.generator(options), options)
        whole = None if plain is None else recorded_arm(plain)
        comparison = Comparison(bench, [replace(options, with_baseline=True)], whole=whole, beside=[own_arm])
        comparison.run(lambda batch, done: logger.info(f"from prompt {done + 1} of {len(options.prompts)}"))
        arm, own = comparison.arms[0], [repeats[0] for repeats in comparison.beside_results[0]]
        compared, steps = arm.prompts, recorded_steps(plain or [], options.batch_size)
        record = run_record(arm, decoder(bench.tokenizer), undrafted=comparison.undrafted, recorded=steps)
        record = result_file(record, bench)
        record["traffic"] = traffic_of_rounds(bench, options, compared[0].request.token_ids)
        record["own_plain_tokens"] = [result.tokens for result in own]
        if not bench.wants_logits and any(len(one.baseline[0].tokens) > 1 for one in compared):
            prompts = [one.request.token_ids for one in compared]
            forced = teacher_forced(bench.target, prompts, [one.baseline[0].tokens for one in compared], width=width)
            record["teacher_forced"] = {**asdict(forced), "problem": forced.problem}
        if plain is None:
            record["rows_pcc"] = rows_correlation(bench.target, compared[0].request.token_ids, width=width)
    record["figures"] = judged_figures(record)
    # Different for runs of different kinds, so that none overwrites another's result.
    sampled = "" if options.sampling.greedy else f"-t{options.sampling.temperature:g}"
    alone = "" if options.with_baseline else "-without-stock"
    kind = f"{options.pair}-k{options.num_draft_tokens}-b{options.batch_size}{sampled}{alone}-{options.dtype}"
    terminal.make_console().print(
        terminal.styled("\n".join([terminal.result_table(record), verdict(record), *headline(record)]))
    )
    path = checked_output("the result", f"{RESULTS}/{kind}.json", make_folders=True)
    write_json(record, path)
    logger.info(f"written: {path}")
    save_benchmark_data(record)
    return record


def traffic_of_rounds(bench: Bench, options: RunOptions, prompt: Sequence[int]) -> dict[str, Any]:
    """What some rounds of the first prompt pass between host and device, per round and per emitted token, and what
    they cost the host: apart from the timed runs, for counting takes time. And what was compiled since warm-up."""
    generator, mesh_device = bench.generator(options), bench.mesh_device
    tokens = COUNTED_ROUNDS * (options.num_draft_tokens + 1) + options.num_draft_tokens
    batch = generator.new_batch([prompt] * options.batch_size, max_new_tokens=tokens, stop_token_ids=[])
    generator.prefill_both_models(batch)
    commit, accept_ns = batch.commit_round, 0

    def timed_commit(*round_of: Any) -> Any:
        nonlocal accept_ns
        before = time.perf_counter_ns()
        committed = commit(*round_of)
        accept_ns += time.perf_counter_ns() - before
        return committed

    setattr(batch, "commit_round", timed_commit)  # noqa: B010  # of this batch alone
    with counted(cast(TTModelRunner, bench.target).model.upstream.ttnn, mesh_device) as traffic:
        begun = time.perf_counter_ns()
        while len(batch.rounds) < COUNTED_ROUNDS and not all(sequence.finished for sequence in batch.sequences):
            generator.speculative_decode_step(batch)
        host_ms = traffic.host_ms(total_ns=time.perf_counter_ns() - begun, accept_ns=accept_ns)
    rounds, emitted = len(batch.rounds), sum(len(sequence.origins) - 1 for sequence in batch.sequences)
    found: dict[str, Any] = {"rounds": rounds, "dram_growth": traffic.dram_growth}
    found |= {"programs_compiled": mesh_device.num_program_cache_entries() - bench.warm_programs}
    found |= {"new_buffers": traffic.new_buffers, "per_token": _each(traffic.passed, emitted)}
    found |= {"per_round": _each(traffic.passed, rounds), "host_ms_per_round": _each(host_ms, rounds)}
    logger.info(f"between host and device: {found}")
    return found


def _each(amounts: Mapping[str, float], units: int) -> dict[str, float] | None:
    return {name: amount / units for name, amount in amounts.items()} if units else None


def recorded_arm(results: Sequence[tuple[TokenizedPrompt, GenerationResult]]) -> Arm[GenerationResult]:
    """An arm that has run already: two models of one size do not fit on the device beside each other."""
    known = {tuple(request.token_ids): result for request, result in results}

    def decode(batch: Sequence[TokenizedPrompt], limit: int, on_token: OnToken | None) -> list[GenerationResult]:
        return [known[tuple(request.token_ids)] for request in batch]

    return decode


def recorded_steps(
    results: Sequence[tuple[TokenizedPrompt, GenerationResult]], batch_size: int
) -> dict[int, list[Timed]]:
    """By batch: the steps of its users, who decoded together, timed as ping_pong.py times its own."""
    found: dict[int, list[Timed]] = {}
    for number, start in enumerate(range(0, len(results), batch_size)):
        users = [result for _, result in results[start : start + batch_size]]
        lengths = [len(user.step_ns) for user in users]
        longest = users[lengths.index(max(lengths))].step_ns
        found[number] = []
        for index, ns in enumerate(longest):
            live = tuple(user for user, length in enumerate(lengths) if index < length)
            position = max(len(users[user].prompt) for user in live) + index
            found[number].append(Timed((position // BUCKET, len(live)), ns, live))
    return found


def run_baseline(mesh_device: Any, options: RunOptions) -> list[tuple[TokenizedPrompt, GenerationResult]]:
    """Each prompt by the stock target, as many together as the options say; the model is freed before anything else is
    loaded.

    Traced on every mesh in fast dispatch, even where the pair is not: one model alone replays safely, and a baseline
    that is slower than it need be would flatter the pair.
    """
    traced = not slow_dispatch() if options.enable_trace is None else options.enable_trace
    size: dict[str, Any] = {"users": options.batch_size, "max_seq_len": options.max_seq_len}
    processors, wants_logits = chosen_with(options)
    stock = open_stock(mesh_device, options.target, optimizations=options.dtype, enable_trace=traced, **size)
    with closing(stock):
        stock.processors = processors
        stock.warmup([1], argmax_only=not wants_logits)
        requests = tokenized(options.prompts, stock.tokenizer, max_seq_len=options.max_seq_len)
        limits: dict[str, Any] = {"max_new_tokens": options.max_new_tokens, "max_seq_len": options.max_seq_len}
        stop = StopConditions(**limits, stop_token_ids=stock.eos_token_ids, decode=decoder(stock.tokenizer))
        results: list[GenerationResult] = []
        while len(results) < len(requests):
            logger.info(f"plain decoding, from prompt {len(results) + 1} of {len(requests)}")
            batch = [request.token_ids for request in requests[len(results) :][: options.batch_size]]
            results += decode_plainly(stock, batch, stop=stop, sampling=options.sampling)
    return list(zip(requests, results, strict=True))

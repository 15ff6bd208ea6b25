# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""`speculative_demo compare`: plain decoding, drafters by K, batch sizes and transformers' own decoding, in one run.

The JSON it writes (kind "compare", schema 1):

    kind, schema, created (UTC), command
    models      {"target": {...}, "draft": {...} | null}: record_extras.ModelLoad of each
    cold_start  {"plain": {...}, "speculative": {...}}: the first generation of each arm in this process, before any
                warm-up: "arm", "init_s" (of the models that it needs), "ttft_ms", "decode_s", "tokens"
    runs        one per arm: the demo's result JSON (result_record.py, schema 1), and in it also "arm", and the
                additions of record_extras: every repeat's times, the text of every token. Arms of one batch size share
                their plain runs.
    peers       one per way of transformers to decode (peers.peer_record); [] where none applies: sampling, stop
                strings
    peers_reason  why there are none | null

Order: in every repeat of every batch, plain decoding, all arms and all peers take turns, each time starting with
another one, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from measuring.compare_options import Arm, CompareOptions, options_from
from measuring.peers import Peer, PeerResult, peer_record
from measuring.reports.rivals import auto_by_category, fastest_by_category
from measuring.results import Run
from models.tt_transformers.demo.speculative_decoding import metrics
from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.harness.compare_models import Workbench, open_workbench
from models.tt_transformers.demo.speculative_decoding.harness.comparison import (
    NEAR_TIE_GAP,
    PromptComparison,
    Request,
    top2_gap,
)
from models.tt_transformers.demo.speculative_decoding.harness.options import run_settings
from models.tt_transformers.demo.speculative_decoding.harness.prompts import decoder, encode
from models.tt_transformers.demo.speculative_decoding.harness.record import run_record, write_json
from models.tt_transformers.demo.speculative_decoding.harness.record_extras import (
    add_repeats,
    add_token_texts,
    provenance,
)
from models.tt_transformers.demo.speculative_decoding.harness.terminal import (
    MISSING,
    make_console,
    number,
    report_table,
    speedup,
)
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly

MATCHED, DIFFERED, BAD_INPUT = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run `compare`; returns the exit status (0: every arm matched plain decoding)."""
    try:
        options = options_from(argv)
        record, matched = compare(options, make_console())
    except (BadInput, ModelFailure) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, BadInput) else DIFFERED
    write_json({**record, **provenance()}, cast(Path, options.base.json_file))  # options_from requires one
    return MATCHED if matched else DIFFERED


def compare(options: CompareOptions, console: Console) -> tuple[dict[str, Any], bool]:
    """Load, run everything, show; returns the record and whether every arm matched plain decoding."""
    with open_workbench(options) as bench:
        requests = [Request(prompt, encode(prompt, bench.tokenizer)) for prompt in options.prompts]
        cold = cold_start(bench, options, requests[0])
        runs: list[dict[str, Any]] = []
        peers: list[dict[str, Any]] = []
        matched = True
        for batch_size in options.batch_sizes:
            field = Field(bench, options, batch_size)
            console.print(Text(f"{batch_size} at once: {len(field.arms)} arms, {len(field.peers)} peers"))
            field.warm_up(requests)
            field.run(requests, lambda done: console.print(Text(f"  {done} of {len(requests)} prompts")))
            runs += field.run_records()
            peers += field.peer_records()
            matched = matched and field.matched()
        record = {
            "kind": "compare",
            "schema": 1,
            "models": {
                "target": asdict(bench.target.load),
                "draft": asdict(bench.draft_load) if bench.draft_load else None,
            },
            "cold_start": cold,
            "runs": runs,
            "peers": peers,
            "peers_reason": None if peers else "not asked for, or sampling, stop strings or another backend",
        }
    console.print(compare_table(record))
    shown = [Run(run, record) for run in runs]
    if any(run.k == "auto" for run in shown):
        console.print(report_table(auto_by_category(shown), "decoding: auto against the best fixed K, by category"))
    if peers:
        console.print(report_table(fastest_by_category(shown, peers), "whole requests against plain decoding"))
    return record, matched


def cold_start(bench: Workbench, options: CompareOptions, request: Request) -> dict[str, Any]:
    """The first generation of each arm in this process; plain decoding first: what they share is on its account."""
    arm = next((arm for arm in options.arms if arm.options.num_draft_tokens), options.arms[0])
    generator = bench.generator(arm.options)
    limit = options.base.max_new_tokens
    stop = generator.stop_conditions(max_new_tokens=limit, stop_strings=options.base.stop_strings)
    plain = decode_plainly(generator.target, [request.token_ids], stop=stop, sampling=options.base.sampling)[0]
    ours = generator.generate([request.token_ids], max_new_tokens=limit, stop_strings=options.base.stop_strings)[0]
    target_s = bench.target.load.init_s
    draft_s = bench.draft_load.init_s if bench.draft_load and arm.options.drafter != "prompt-lookup" else 0.0
    return {
        name: {
            "arm": label,
            "init_s": init_s,
            "ttft_ms": result.ttft_ns / 1e6,
            "decode_s": result.decode_s,
            "tokens": len(result.tokens),
        }
        for name, label, init_s, result in (
            ("plain", "plain", target_s, plain),
            ("speculative", arm.label, target_s + draft_s, ours),
        )
    }


class Field:
    """All that runs at one batch size."""

    def __init__(self, bench: Workbench, options: CompareOptions, batch_size: int) -> None:
        self.bench, self.options, self.batch_size = bench, options, batch_size
        self.arms: list[Arm] = [arm for arm in options.arms if arm.options.batch_size == batch_size]
        self.generators = [bench.generator(arm.options) for arm in self.arms]
        self.peers = make_peers(bench, options.peer_ks) if batch_size == 1 else []
        self.compared: list[list[PromptComparison]] = [[] for _ in self.arms]
        self.peer_results: list[list[list[PeerResult]]] = [[] for _ in self.peers]  # [peer][prompt][repeat]

    def warm_up(self, requests: Sequence[Request]) -> None:
        """Every width once, then every contestant on a short piece of one batch, so that no clock sees a first time."""
        widest = max(generator.lookahead.max_draft_tokens for generator in self.generators) + 1
        target, greedy = self.bench.target.runner, self.options.base.sampling.greedy
        target.warmup(range(1, widest + 1), argmax_only=greedy)
        for generator in self.generators:
            if isinstance(generator.lookahead, AutoLookahead):
                generator.lookahead.calibrate(target, users=self.batch_size, argmax_only=greedy)
        batch = requests[: self.batch_size]
        self._plain(batch, 4)
        for generator in self.generators:
            generator.generate([request.token_ids for request in batch], max_new_tokens=8)
        for peer in self.peers:
            peer.run(batch[0].token_ids, 8)

    def run(self, requests: Sequence[Request], progress: Callable[[int], None]) -> None:
        """Everything on every batch, as often as asked."""
        for number_of_batch, start in enumerate(range(0, len(requests), self.batch_size)):
            batch = requests[start : start + self.batch_size]
            self._run_batch(batch, number_of_batch)
            progress(start + len(batch))

    def _run_batch(self, batch: Sequence[Request], number_of_batch: int) -> None:
        greedy, limit = self.options.base.sampling.greedy, self.options.base.max_new_tokens
        rows = [[PromptComparison(request, number_of_batch, greedy) for request in batch] for _ in self.arms]
        plain: list[list[GenerationResult]] = [[] for _ in batch]
        by_peer: list[list[PeerResult]] = [[] for _ in self.peers]
        prompts = [request.token_ids for request in batch]

        def run_arm(index: int) -> None:
            generator = self.generators[index]
            results = generator.generate(prompts, max_new_tokens=limit, stop_strings=self.options.base.stop_strings)
            for row, result in zip(rows[index], results, strict=True):
                row.speculative.append(result)

        def run_plain(_: int) -> None:
            for runs, result in zip(plain, self._plain(batch, limit), strict=True):
                runs.append(result)

        def run_peer(index: int) -> None:
            by_peer[index].append(self.peers[index].run(prompts[0], limit))

        turns: list[tuple[Callable[[int], None], int]] = [(run_plain, 0)]
        turns += [(run_arm, index) for index in range(len(self.arms))]
        turns += [(run_peer, index) for index in range(len(self.peers))]
        for repeat in range(self.options.base.num_repeats):
            first = (repeat + number_of_batch) % len(turns)
            for turn, index in turns[first:] + turns[:first]:
                turn(index)
        for compared, row in zip(self.compared, rows, strict=True):
            for comparison, runs in zip(row, plain, strict=True):
                comparison.baseline.extend(runs)
                if (parted := comparison.first_divergence) is not None:
                    context = [*comparison.request.token_ids, *comparison.tokens[:parted]]
                    comparison.divergence_gap = top2_gap(self.bench.target.runner, context)
            compared.extend(row)
        for results, repeats in zip(self.peer_results, by_peer, strict=True):
            results.append(repeats)

    def _plain(self, batch: Sequence[Request], limit: int) -> list[GenerationResult]:
        stop = self.generators[0].stop_conditions(max_new_tokens=limit, stop_strings=self.options.base.stop_strings)
        prompts = [request.token_ids for request in batch]
        return decode_plainly(self.bench.target.runner, prompts, stop=stop, sampling=self.options.base.sampling)

    def matched(self) -> bool:
        """Whether every arm emitted what plain decoding emitted, near ties of low precision apart."""
        gap = NEAR_TIE_GAP[self.options.base.dtype]
        return all(comparison.matched(gap) for compared in self.compared for comparison in compared)

    def run_records(self) -> list[dict[str, Any]]:
        """One result record per arm."""
        records = []
        for arm, compared in zip(self.arms, self.compared, strict=True):
            record = run_record(run_settings(arm.options), arm.options.sampling, compared)
            add_repeats(record, compared)
            add_token_texts(record, decoder(self.bench.tokenizer))
            records.append({"arm": arm.label, **record})
        return records

    def peer_records(self) -> list[dict[str, Any]]:
        """One record per peer, against the plain runs of the same prompts."""
        requests = [
            {
                "category": comparison.request.prompt.category,
                "baseline_tokens": comparison.baseline_tokens,
                "baseline_request_s": metrics.median([run.ttft_ns / 1e9 + run.decode_s for run in comparison.baseline]),
            }
            for comparison in self.compared[0]
        ]
        return [peer_record(peer, runs, requests) for peer, runs in zip(self.peers, self.peer_results, strict=True)]


def make_peers(bench: Workbench, ks: Sequence[int]) -> list[Peer]:
    """transformers' generate, and its drafts at the same K; [] without a K."""
    if not ks:
        return []
    shared: dict[str, Any] = {"model": bench.target.model, "eos_token_ids": bench.target.runner.eos_token_ids}
    peers = [Peer(kind="generate", k=0, assistant=None, **shared)]
    peers += [Peer(kind="prompt_lookup_num_tokens", k=k, assistant=None, **shared) for k in ks]
    if bench.assistant is not None:
        peers += [Peer(kind="assistant_model", k=k, assistant=bench.assistant, **shared) for k in ks]
    return peers


def compare_table(record: dict[str, Any]) -> Table:
    """One row per arm, then one per peer; the speedups of peers are of whole requests, prefill included."""
    table = Table(title="every arm against plain decoding of the same prompts, same run", title_justify="left")
    table.add_column("arm", no_wrap=True)
    for heading in ("tok/s\nplain", "tok/s", "speedup", "predicted", "accept-\nance", "tokens/\nround", "identical"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in record["runs"]:
        total = run["summary"]
        table.add_row(
            run["arm"],
            number(total["baseline_decode_tps"], 1),
            number(total["decode_tps"], 1),
            speedup(total["speedup"]),
            speedup(total["predicted_speedup"]),
            number(total["acceptance_rate"], 2),
            number(total["tokens_per_round"], 2),
            MISSING if total["identical"] is None else f"{total['identical']}/{total['prompts']}",
        )
    table.add_section()
    for peer in record["peers"]:
        total = peer["summary"]
        table.add_row(
            f"transformers {peer['peer']}",
            MISSING,
            number(total["decode_tps"], 1),
            speedup(total["request_speedup"]),
            MISSING,
            MISSING,
            MISSING,
            f"{total['identical']}/{total['prompts']}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

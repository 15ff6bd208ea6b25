# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""`speculative_demo compare`: plain decoding, drafters by K, batch sizes and transformers' own decoding, in one run.

The JSON it writes (kind "compare", schema 1):

    kind, schema, created (UTC), command
    models      {"target": {...}, "draft": {...} | null}: runner.ModelLoad of each
    cold_start  {"plain": {...}, "speculative": {...}}: the first generation of each arm in this process, before any
                warm-up: "arm", "init_s" (of the models that it needs), "ttft_ms", "decode_s", "tokens"
    runs        one per arm: the demo's result JSON (harness/record.py, schema 1), and in it also "arm" and "prediction"
                (prediction.py; null where there is nothing to predict)
    peers       one per way of transformers to decode (peers.peer_record); [] where none applies: sampling, stop
                strings
    peers_reason  why there are none | null
    ignored_generation_settings  of the target's generation_config, which neither the arms nor the peers follow

Order: in every repeat of every batch, all arms (each in turns with plain decoding, segment by segment), all peers and
plain decoding of whole requests, which the peers are held against, take turns, each time starting with another one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from transformers import PreTrainedModel

from measuring.line_up import Entry, LineUp, line_up
from measuring.peers import Peer, PlainRequest, peer_record
from measuring.prediction import isolated, prediction
from measuring.reports.document import NOT_MEASURED, report_table
from measuring.reports.matches import auto_by_category, why_not_comparable
from measuring.run import Run
from measuring.speedups import of_peer
from models.tt_transformers.demo.speculative_decoding.harness.command import (
    DIFFERED,
    MATCHED,
    command,
    entry,
    one_line,
    say,
)
from models.tt_transformers.demo.speculative_decoding.harness.comparison import Comparison, plain_arm
from models.tt_transformers.demo.speculative_decoding.harness.opening import Bench, open_bench
from models.tt_transformers.demo.speculative_decoding.harness.options import FROM_TEXT
from models.tt_transformers.demo.speculative_decoding.harness.prompts import tokenized
from models.tt_transformers.demo.speculative_decoding.harness.record import result_file, run_record, write_json
from models.tt_transformers.demo.speculative_decoding.harness.terminal import (
    Column,
    make_console,
    same_of_all,
    screen_table,
    styled,
)
from models.tt_transformers.demo.speculative_decoding.hf.loading import load_model
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.sequences import decoder


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `compare`; returns the exit status (0: every arm matched plain decoding)."""
    entered = line_up(argv)
    console = make_console()
    record, matched = compare(entered, console)
    try:
        write_json(record, entered.json_file)
    finally:  # whatever became of the file
        show(record, console)
    return MATCHED if matched else DIFFERED


def compare(entered: LineUp, console: Any) -> tuple[dict[str, Any], bool]:
    """Load and run everything; returns the record and whether every arm matched plain decoding."""
    with open_bench(entered.base) as bench:
        cold = cold_start(bench, entered)
        peers = make_peers(bench, entered)
        runs: list[dict[str, Any]] = []
        peer_runs: list[dict[str, Any]] = []
        matched = True
        for batch_size in entered.batch_sizes:
            entries = [entry for entry in entered.entries if entry.options.batch_size == batch_size]
            beside = peers if batch_size == 1 else []
            arms = [entry.options for entry in entries]
            requests = [plain_arm(bench.generator(arms[0]), arms[0])] if beside else []
            comparison = Comparison(bench, arms, beside=[*requests, *(peer.arm for peer in beside)])
            console.print(styled(f"{batch_size} at once: {len(entries)} arms, {len(beside)} peers"))
            comparison.warm_up()
            comparison.run(lambda batch, done: console.print(styled(f"  from prompt {done + 1}")))
            records = run_records(comparison, entries, bench)
            runs += records
            peer_runs += peer_records(comparison, beside, records)
            matched = matched and comparison.matched
        record = {
            "kind": "compare",
            "schema": 1,
            "cold_start": cold,
            "runs": runs,
            "peers": peer_runs,
            "peers_reason": (
                None if peer_runs else "not asked for, or sampling, stop strings, logits processors or another backend"
            ),
        }
        record = result_file(record, bench)
    return record, matched


def show(record: dict[str, Any], console: Any) -> None:
    """The tables, the noise floor, and why there is no ratio where there is none."""
    console.print(styled(compare_table(record)))
    runs, peers = [Run(run, record) for run in record["runs"]], record["peers"]
    floors = dict.fromkeys(f"noise floor {abs(run.noise):.1%}" for run in runs if run.noise is not None)
    doubts = [f"{run.get('arm')}: inconclusive: {run.inconclusive}" for run in runs if run.inconclusive]
    doubts += [
        f"transformers {peer['peer']}: {why_not_comparable(peer)}" for peer in peers if of_peer(peer).value is None
    ]
    console.print(styled("\n".join(map(one_line, [*floors, *doubts]))))
    if any(run.k == "auto" for run in runs):
        title = "decoding: auto against the best fixed K, by category"
        console.print(report_table(auto_by_category(runs), title, {"K": 2, "below plain": 1}))


def cold_start(bench: Bench, entered: LineUp) -> dict[str, Any]:
    """The first generation of each arm in this process; plain decoding first: what they share is on its account."""
    entry = next((entry for entry in entered.entries if entry.options.num_draft_tokens), entered.entries[0])
    options = replace(entry.options, prompts=entry.options.prompts[:1])
    generator = bench.generator(options)
    (prompt,), limit = (
        tokenized(options.prompts, bench.tokenizer, max_seq_len=options.max_seq_len),
        options.max_new_tokens,
    )
    (plain,) = plain_arm(generator, options)([prompt], limit, None)
    (ours,) = generator.generate([prompt.token_ids], max_new_tokens=limit, stop_strings=options.stop_strings)
    loads = bench.loads
    drafts = loads["draft"] is not None and entry.options.drafter not in FROM_TEXT
    init_s = {"plain": loads["target"]["init_s"]}
    init_s["speculative"] = init_s["plain"] + (loads["draft"]["init_s"] if drafts else 0.0)
    return {
        name: {
            "arm": label,
            "init_s": init_s[name],
            "ttft_ms": result.ttft_ns / 1e6,
            "decode_s": result.decode_s,
            "tokens": len(result.tokens),
        }
        for name, label, result in (
            ("plain", "plain", plain),
            ("speculative", entry.label, ours),
        )
    }


def run_records(comparison: Comparison, entries: Sequence[Entry], bench: Bench) -> list[dict[str, Any]]:
    """One result record per arm; an inconclusive one predicts nothing either."""
    decode = decoder(bench.tokenizer)
    records = []
    for entered, arm in zip(entries, comparison.arms, strict=True):
        record = {"arm": entered.label, **run_record(arm, decode, undrafted=comparison.undrafted), "prediction": None}
        if record["summary"]["speedup"] is not None:
            record["prediction"] = prediction(arm, isolated(bench, arm))
        records.append(record)
    return records


def peer_records(comparison: Comparison, peers: Sequence[Peer], runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record per peer, against the plain runs of the same prompts. `runs`: the arms' records; where none of them is
    conclusive, no peer is."""
    if not peers:
        return []
    plain, *results = comparison.beside_results
    requests = [
        PlainRequest(
            category=request.prompt.category,
            tokens=whole[0].tokens,
            seconds=[run.ttft_ns / 1e9 + run.decode_s for run in whole],
        )
        for request, whole in zip(comparison.requests, plain, strict=True)
    ]
    reasons = [run["summary"]["inconclusive"] for run in runs]
    doubts = reasons[0] if all(reasons) else None
    return [peer_record(peer, own, requests, doubts=doubts) for peer, own in zip(peers, results, strict=True)]


def make_peers(bench: Bench, entered: LineUp) -> list[Peer]:
    """transformers' generate, and its drafts at the same K; [] without a K."""
    if not entered.peer_ks:
        return []
    target = cast(TorchModelRunner, bench.target)  # compare runs on torch alone
    shared: dict[str, Any] = {"model": target.model, "eos_token_ids": target.eos_token_ids}
    shared["max_seq_len"] = entered.base.max_seq_len
    peers = [Peer(kind="generate", k=0, assistant=None, **shared)]
    peers += [Peer(kind="prompt_lookup_num_tokens", k=k, assistant=None, **shared) for k in entered.peer_ks]
    assistant = _assistant(bench, entered)
    if assistant is not None and _vocabulary(assistant) != _vocabulary(target.model):
        sizes = f"{_vocabulary(assistant)} and {_vocabulary(target.model)} rows"
        say("warning", f"transformers takes {entered.assistant} for no assistant of its target ({sizes}); left out")
        assistant = None
    if assistant is not None:
        peers += [Peer(kind="assistant_model", k=k, assistant=assistant, **shared) for k in entered.peer_ks]
    return peers


def _vocabulary(model: PreTrainedModel) -> int:
    """The size by which transformers judges whether two models share their tokens."""
    return int(model.config.get_text_config().vocab_size)


def _assistant(bench: Bench, entered: LineUp) -> PreTrainedModel | None:
    """The model that drafts for transformers' assisted generation: the bench's own draft, where it is the one."""
    base = entered.base
    if entered.assistant is None:
        return None
    if entered.assistant == base.draft:
        return cast(PreTrainedModel, cast(Any, bench.draft).runner.model)
    return load_model(entered.assistant, device=base.device, dtype=base.dtype)[0]


def compare_table(record: dict[str, Any]) -> str:
    """One row per arm, then one per peer; the speedups of peers are of whole requests, prefill included."""
    columns = [
        Column("arm", "arm"),
        Column("tok/s/user\nplain", "baseline_decode_tps_per_user", "{:.1f}", rank=4),
        Column("tok/s/user", "decode_tps_per_user", "{:.1f}", rank=2),
        Column("tok/s\nof all", "decode_tps", "{:.1f}", rank=3),
        Column("speedup\n(95% interval)", "speedup"),
        Column("predicted\n(even prompts)", "predicted", rank=6),
        Column("measured\n(even prompts)", "held", rank=6),
        Column("accept-\nance", "acceptance_rate", "{:.2f}", rank=5),
        Column("tokens/\nround", "tokens_per_round", "{:.2f}", rank=7),
        Column("identical", "same"),
    ]
    rows = []
    for run in (Run(run, record) for run in record["runs"]):
        total = run.record["summary"]
        ratios = {"speedup": run.speedup, "predicted": run.predicted, "held": run.prediction_held}
        said = {name: None if str(found) == NOT_MEASURED else str(found) for name, found in ratios.items()}
        rows.append({**total, **said, "arm": run.get("arm"), "same": same_of_all(total)})
    for peer in record["peers"]:
        total, name = peer["summary"], f"transformers {peer['peer']}"
        rows.append({"arm": name, "decode_tps_per_user": total["decode_tps"], "speedup": str(of_peer(peer)),
                     "decode_tps": total["decode_tps"], "same": same_of_all(total)})  # fmt: skip
    return screen_table("every arm against plain decoding of the same prompts, same run", columns, rows)


if __name__ == "__main__":
    sys.exit(entry(main))

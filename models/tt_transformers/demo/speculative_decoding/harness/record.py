# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The result JSON (schema 1): what a run was, what every prompt gave, and what follows from it all. Missing is null."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from models.tt_transformers.demo.speculative_decoding import metrics
from models.tt_transformers.demo.speculative_decoding.harness.comparison import PromptComparison
from models.tt_transformers.demo.speculative_decoding.harness.opening import Bench
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions
from models.tt_transformers.demo.speculative_decoding.harness.output import write_whole
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult, RoundRecord, ratio
from models.tt_transformers.demo.speculative_decoding.sequences import Decode, TextStream

SCHEMA = 1


def environment() -> dict[str, Any]:
    """Versions and machine."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": metadata.version("transformers"),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def prompt_record(comparison: PromptComparison) -> dict[str, Any]:
    """One prompt: tokens of both arms, and medians over the repeats of what was timed."""
    ours, plain = comparison.speculative, comparison.baseline
    rounds = ours[0].rounds
    decode_s, baseline_s = (metrics.median([result.decode_s for result in arm]) for arm in (ours, plain))
    ttft_ms, baseline_ttft_ms = (metrics.median([result.ttft_ns / 1e6 for result in arm]) for arm in (ours, plain))
    decode_tps = ratio(len(comparison.tokens) - 1, decode_s)
    baseline_tps = ratio(len(plain[0].tokens) - 1, baseline_s) if plain else None
    return {
        "prompt": comparison.request.prompt.text,
        "category": comparison.request.prompt.category,
        "prompt_tokens": len(comparison.request.token_ids),
        "tokens": comparison.tokens,
        "baseline_tokens": comparison.baseline_tokens,
        "identical": comparison.identical,
        "first_divergence": comparison.first_divergence,
        "divergence_top2_gap": comparison.divergence_gap,
        "finish_reason": ours[0].finish_reason,
        "text": ours[0].text,
        "origins": ours[0].origins,
        "sources": ours[0].sources,
        "ttft_ms": ttft_ms,
        "target_ttft_ms": metrics.median([result.target_ttft_ns / 1e6 for result in ours]),
        "baseline_ttft_ms": baseline_ttft_ms,
        "decode_s": decode_s,
        "baseline_decode_s": baseline_s,
        "decode_s_runs": [result.decode_s for result in ours],
        "baseline_decode_s_runs": [result.decode_s for result in plain],
        "decode_tps": decode_tps,
        "baseline_decode_tps": baseline_tps,
        "speedup": metrics.speedup(decode_tps, baseline_tps),
        "rounds": len(rounds),
        "drafted": ours[0].drafted,
        "accepted": ours[0].accepted,
        "accepted_per_position": metrics.accepted_per_position(rounds),
        **_acceptance(rounds),
        "drafted_per_round": [r.drafted for r in rounds],
        "accepted_per_round": [r.accepted for r in rounds],
    }


def summary_record(comparisons: Sequence[PromptComparison], records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Totals over the prompts, and what the round model (alpha, c, v) makes of them."""
    rounds = [r for comparison in comparisons for result in comparison.speculative for r in result.rounds]
    timed = _batch_rounds(comparisons)
    steps = [step for comparison in comparisons for result in comparison.baseline for step in result.step_ns]
    model = metrics.RoundModel.measured(rounds, steps)
    judged = [record["identical"] for record in records if record["identical"] is not None]
    sources = [source for comparison in comparisons for source in comparison.speculative[0].sources if source]
    compared = [record for record in records if record["baseline_decode_s"] is not None]
    decode_s = _wall_clock(comparisons, records, "decode_s")
    baseline_s = _wall_clock(comparisons, records, "baseline_decode_s") if compared else None
    decode_tps = ratio(_after_first([comparison.speculative[0] for comparison in comparisons]), decode_s)
    baseline_tps = ratio(_after_first([c.baseline[0] for c in comparisons]), baseline_s) if compared else None
    return {
        "prompts": len(records),
        "identical": sum(judged) if judged else None,
        "per_k": per_k(rounds),
        "per_source": dict(Counter(sources)),  # accepted tokens by the drafter that proposed them
        "new_tokens": sum(len(record["tokens"]) for record in records),
        "decode_s": decode_s,
        "baseline_decode_s": baseline_s,
        "decode_tps": decode_tps,
        "baseline_decode_tps": baseline_tps,
        **{name: sum(record[name] for record in records) for name in ("rounds", "drafted", "accepted")},
        "accepted_per_position": metrics.accepted_per_position(rounds),
        **_acceptance(rounds),
        "alpha": model.alpha,
        "c": model.c,
        "v": model.v,
        "predicted_speedup": metrics.predicted_from_rounds(rounds, steps),
        "speedup": metrics.speedup(decode_tps, baseline_tps),
        "speedup_runs": speedup_runs(comparisons),
        "time_split": {
            "draft_s": sum(r.draft_ns for r in timed) / 1e9,
            "verify_s": sum(r.verify_ns for r in timed) / 1e9,
            "host_s": sum(r.host_ns for r in timed) / 1e9,
        },
    }


def speedup_runs(comparisons: Sequence[PromptComparison]) -> list[float | None]:
    """The speedup of each repeat over all prompts, of which the rest of the record has medians."""
    ours = [_decode_tps(results) for results in zip(*(comparison.speculative for comparison in comparisons))]
    plain = [_decode_tps(results) for results in zip(*(comparison.baseline for comparison in comparisons))]
    return [metrics.speedup(one, other) for one, other in zip(ours, plain)]


def _decode_tps(results: Sequence[GenerationResult]) -> float | None:
    """One repeat of all prompts, as if one after another."""
    return ratio(_after_first(results), sum(result.decode_s for result in results))


def _acceptance(rounds: Sequence[RoundRecord]) -> dict[str, float | None]:
    rate, tokens = metrics.acceptance_rate(rounds), metrics.tokens_per_round(rounds)
    return {"acceptance_rate": rate, "tokens_per_round": tokens}


def _wall_clock(comparisons: Sequence[PromptComparison], records: Sequence[dict[str, Any]], key: str) -> float:
    """Users of one batch decode at the same time: a batch lasts as long as its slowest user."""
    batches: dict[int, float] = {}
    for comparison, record in zip(comparisons, records, strict=True):
        batches[comparison.batch] = max(batches.get(comparison.batch, 0.0), record[key])
    return sum(batches.values())


def _batch_rounds(comparisons: Sequence[PromptComparison]) -> list[RoundRecord]:
    """Every round once: the users of a batch share its times."""
    seen: dict[tuple[int, int, int], RoundRecord] = {}
    for comparison in comparisons:
        for repeat, result in enumerate(comparison.speculative):
            for record in result.rounds:
                seen.setdefault((comparison.batch, repeat, record.index), record)
    return list(seen.values())


def per_k(rounds: Sequence[RoundRecord]) -> list[dict[str, Any]]:
    """One entry per number of tokens drafted in a round (0: plain rounds)."""
    by_k = {k: [r for r in rounds if r.drafted == k] for k in sorted({r.drafted for r in rounds})}
    return [
        {
            "k": k,
            "rounds": len(of_k),
            **_acceptance(of_k),
            "verify_ms": metrics.median([r.verify_ns / 1e6 for r in of_k]),
            "draft_ms": metrics.median([r.draft_ns / 1e6 for r in of_k]),
        }
        for k, of_k in by_k.items()
    ]


def _after_first(results: Sequence[GenerationResult]) -> int:
    return sum(len(result.tokens) - 1 for result in results)


def run_record(options: RunOptions, compared: Sequence[PromptComparison], decode: Decode) -> dict[str, Any]:
    """One arm's whole result, ready for json; result_file() adds what is said once for a file."""
    prompts = [prompt_record(one) | {"token_texts": token_texts(one.tokens, decode)} for one in compared]
    return {
        "schema": SCHEMA,
        **options.settings,
        "sampling": asdict(options.sampling),
        "environment": environment(),
        "prompts": prompts,
        "summary": summary_record(compared, prompts),
    }


def result_file(record: dict[str, Any], bench: Bench) -> dict[str, Any]:
    """The record with what opening the models cost, which of the target's settings no arm follows, when it was made
    (UTC) and by which command."""
    ignored = {"ignored_generation_settings": bench.ignored_settings}
    return {**record, "models": bench.loads, **ignored, **provenance()}


def provenance(command: Sequence[str] | None = None) -> dict[str, str]:
    """When (UTC) and by which command; `command` defaults to this process's own. Of an absolute path the last part is
    kept: where it lies is nobody's business but the machine's.
    """
    program, *arguments = sys.argv if command is None else command
    words = [Path(program).stem, *(Path(word).name if Path(word).is_absolute() else word for word in arguments)]
    return {"created": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "command": " ".join(map(shlex.quote, words))}


def token_texts(tokens: Sequence[int], decode: Decode) -> list[str]:
    """The text that each token adds; they join to the text itself."""
    stream = TextStream(decode)
    texts = [stream.add(token) for token in tokens]
    texts[-1] += stream.rest()
    return texts


def write_json(record: dict[str, Any], path: Path) -> None:
    """See output.write_whole."""
    write_whole(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The result JSON (schema 1): what a run was, what every prompt gave, and what follows from it all. Missing is null."""

import json
import os
import platform
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
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


def _prompt_record(compared: PromptComparison) -> dict[str, Any]:
    """One prompt: tokens of both arms, and medians over the repeats of what was timed."""
    first, timed = compared.speculative[0], _timed(compared.speculative) | _timed(compared.baseline, "baseline_")
    return {
        "prompt": compared.request.prompt.text,
        "category": compared.request.prompt.category,
        "prompt_tokens": len(compared.request.token_ids),
        **{name: getattr(compared, name) for name in ("tokens", "baseline_tokens", "identical", "first_divergence")},
        "divergence_top2_gap": compared.divergence_gap,
        **{name: getattr(first, name) for name in ("finish_reason", "text", "origins", "sources")},
        **timed,
        "target_ttft_ms": metrics.median([result.target_ttft_ns / 1e6 for result in compared.speculative]),
        "speedup": metrics.speedup(timed["decode_tps"], timed["baseline_decode_tps"]),
        "rounds": len(first.rounds),
        "drafted": first.drafted,
        "accepted": first.accepted,
        "accepted_per_position": metrics.accepted_per_position(first.rounds),
        **_acceptance(first.rounds),
        "drafted_per_round": [r.drafted for r in first.rounds],
        "accepted_per_round": [r.accepted for r in first.rounds],
    }


def _timed(results: Sequence[GenerationResult], prefix: str = "") -> dict[str, Any]:
    """One arm's runs of one prompt."""
    decode_s = metrics.median([result.decode_s for result in results])
    return {
        f"{prefix}ttft_ms": metrics.median([result.ttft_ns / 1e6 for result in results]),
        f"{prefix}decode_s": decode_s,
        f"{prefix}decode_s_runs": [result.decode_s for result in results],
        f"{prefix}decode_tps": ratio(_after_first(results[:1]), decode_s),
    }


def _summary_record(
    comparisons: Sequence[PromptComparison], records: Sequence[dict[str, Any]], unit: Sequence[GenerationResult] | None
) -> dict[str, Any]:
    """Totals over the prompts, and what the round model (alpha, c, v) makes of them."""
    ours, plain = [one.speculative for one in comparisons], [one.baseline for one in comparisons]
    rounds = [r for results in ours for result in results for r in result.rounds]
    unit = [result for results in plain for result in results] if unit is None else unit
    steps = [step for result in unit for step in result.step_ns]
    # Every round once: the users of a batch share its times.
    timed = {
        (one.batch, repeat, r.index): r
        for one in comparisons
        for repeat, result in enumerate(one.speculative)
        for r in result.rounds
    }.values()
    model = metrics.RoundModel.measured(rounds, steps)
    judged = [record["identical"] for record in records if record["identical"] is not None]
    speeds = _whole_arm(comparisons, records, "") | _whole_arm(comparisons, records, "baseline_")
    return {
        "prompts": len(records),
        "identical": sum(judged) if judged else None,
        "per_k": _per_k(rounds),
        # accepted tokens by the drafter that proposed them
        "per_source": dict(Counter(source for record in records for source in record["sources"] if source)),
        "new_tokens": sum(len(record["tokens"]) for record in records),
        **speeds,
        "decode_tps_per_user": metrics.median([rate for rate in _rates(ours) if rate]),
        "baseline_decode_tps_per_user": metrics.median([rate for rate in _rates(plain) if rate]),
        **{name: sum(record[name] for record in records) for name in ("rounds", "drafted", "accepted")},
        "fused_rounds": sum(r.fused for r in rounds),
        "separate_rounds": dict(Counter(r.apart for r in timed if r.apart)),  # by the reason
        "accepted_per_position": metrics.accepted_per_position(rounds),
        **_acceptance(rounds),
        **{name: getattr(model, name) for name in ("alpha", "c", "v")},
        "predicted_speedup": metrics.predicted_from_rounds(rounds, steps),
        "speedup": metrics.speedup(speeds["decode_tps"], speeds["baseline_decode_tps"]),
        # of each repeat over all prompts, of which the rest of the record has medians
        "speedup_runs": [metrics.speedup(*rates) for rates in zip(_rates(ours), _rates(plain))],
        "time_split": {
            f"{part}_s": sum(getattr(r, f"{part}_ns") for r in timed) / 1e9 for part in ("draft", "verify", "host")
        },
    }


def _after_first(results: Iterable[GenerationResult]) -> int:
    return sum(len(result.tokens) - 1 for result in results)


def _rates(arm: Sequence[Sequence[GenerationResult]]) -> list[float | None]:
    """Decode tokens per second and user, of each repeat of all prompts."""
    return [ratio(_after_first(repeat), sum(result.decode_s for result in repeat)) for repeat in zip(*arm)]


def _whole_arm(compared: Sequence[PromptComparison], records: Sequence[dict[str, Any]], prefix: str) -> dict[str, Any]:
    """One arm's decoding of all prompts (None: it did not run). Users of one batch decode at the same time: a batch
    lasts as long as its slowest user."""
    batches: dict[int, float] = {}
    after_first = 0
    for one, record in zip(compared, records, strict=True):
        if (seconds := record[f"{prefix}decode_s"]) is not None:
            batches[one.batch] = max(batches.get(one.batch, 0.0), seconds)
            after_first += len(record[f"{prefix}tokens"]) - 1
    decode_s = sum(batches.values()) if batches else None
    return {f"{prefix}decode_s": decode_s, f"{prefix}decode_tps": ratio(after_first, decode_s)}


def _acceptance(rounds: Sequence[RoundRecord]) -> dict[str, float | None]:
    return {"acceptance_rate": metrics.acceptance_rate(rounds), "tokens_per_round": metrics.tokens_per_round(rounds)}


def _per_k(rounds: Sequence[RoundRecord]) -> list[dict[str, Any]]:
    """One entry per number of tokens drafted in a round (0: plain rounds)."""
    by_k = {k: [r for r in rounds if r.drafted == k] for k in sorted({r.drafted for r in rounds})}
    apart = {k: [r for r in of_k if not r.fused] for k, of_k in by_k.items()}
    return [
        {
            "k": k,
            "rounds": len(of_k),
            **_acceptance(of_k),
            "verify_ms": metrics.median([r.verify_ns / 1e6 for r in apart[k] or of_k]),
            "draft_ms": metrics.median([r.draft_ns / 1e6 for r in apart[k]]),
        }
        for k, of_k in by_k.items()
    ]


def run_record(
    options: RunOptions,
    compared: Sequence[PromptComparison],
    decode: Decode,
    *,
    unit: Sequence[GenerationResult] | None = None,
) -> dict[str, Any]:
    """One arm's whole result, ready for json; result_file() adds what is said once for a file.

    Args:
        unit: whose decode steps c and v are measured in; default: the baseline's.
    """
    prompts = [_prompt_record(one) | {"token_texts": token_texts(one.tokens, decode)} for one in compared]
    return {
        "schema": SCHEMA,
        **options.settings,
        "sampling": asdict(options.sampling),
        "environment": environment(),
        "prompts": prompts,
        "summary": _summary_record(compared, prompts, unit),
    }


def result_file(record: dict[str, Any], bench: Bench) -> dict[str, Any]:
    """The record with what opening the models cost, which of the target's settings no arm follows, and provenance()."""
    return record | {"models": bench.loads, "ignored_generation_settings": bench.ignored_settings} | provenance()


def provenance(command: Sequence[str] | None = None) -> dict[str, str]:
    """When (UTC) and by which command (default: this process's own). Of an absolute path the last part is kept: where
    it lies is nobody's business but the machine's."""
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

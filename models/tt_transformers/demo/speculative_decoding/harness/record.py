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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from models.tt_transformers.demo.speculative_decoding import metrics
from models.tt_transformers.demo.speculative_decoding.harness.comparison import ArmRun, PromptComparison
from models.tt_transformers.demo.speculative_decoding.harness.opening import Bench
from models.tt_transformers.demo.speculative_decoding.harness.output import write_whole
from models.tt_transformers.demo.speculative_decoding.harness.segments import (
    Estimate,
    Segment,
    Timed,
    against,
    doubts,
    estimate,
    tails_differ,
    undisturbed,
)
from models.tt_transformers.demo.speculative_decoding.metrics import RoundRecord, ratio
from models.tt_transformers.demo.speculative_decoding.sequences import Decode, TextStream
from models.tt_transformers.demo.speculative_decoding.tt.mesh import name_of

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


class _Clock:
    """What an arm's segments say: of all of them, of some prompts, of one user; and whether it is to be believed."""

    def __init__(self, arm: ArmRun, undrafted: Sequence[Segment], recorded: Mapping[int, Sequence[Timed]]) -> None:
        kept, same = undisturbed(arm.segments), estimate(undisturbed(undrafted)).speedup
        self.noise = None if same is None else same - 1.0
        self.kept = ratio(len(kept), len(arm.segments))
        compares = any(segment.steps for segment in arm.segments)
        self.doubts = doubts(kept=self.kept, noise=self.noise) if compares else None
        self.own = arm.segments if self.doubts else kept
        self.segments = against(self.own, recorded) if recorded else self.own

    def of(self, prompts: Collection[int], *, user: int | None = None, own: bool = False) -> Estimate:
        """Without a ratio where there are doubts."""
        found = estimate([s for s in (self.own if own else self.segments) if s.prompt in prompts], user=user)
        return replace(found, speedup=None, low=None, high=None) if self.doubts else found


def _prompt_record(compared: PromptComparison, clock: _Clock) -> dict[str, Any]:
    """One prompt: tokens of both arms, and what was timed."""
    first, found = compared.speculative[0], clock.of([compared.batch], user=compared.user)
    return {
        "prompt": compared.request.prompt.text,
        "category": compared.request.prompt.category,
        "prompt_tokens": len(compared.request.token_ids),
        **{name: getattr(compared, name) for name in ("tokens", "baseline_tokens", "identical", "first_divergence")},
        "divergence_top2_gap": compared.divergence_gap,
        **{name: getattr(first, name) for name in ("finish_reason", "text", "origins", "sources")},
        "ttft_ms": metrics.median([result.ttft_ns / 1e6 for result in compared.speculative]),
        "baseline_ttft_ms": metrics.median([result.ttft_ns / 1e6 for result in compared.baseline]),
        "target_ttft_ms": metrics.median([result.target_ttft_ns / 1e6 for result in compared.speculative]),
        **_figures(found, len(first.tokens) - 1),
        "repetition": asdict(compared.repetition),
        "loops": compared.repetition.loops,
        "rounds": len(first.rounds),
        "drafted": first.drafted,
        "accepted": first.accepted,
        "accepted_per_position": metrics.accepted_per_position(first.rounds),
        **_acceptance(first.rounds),
        **({} if first.logprobs[0] is None else {"logprobs": [asdict(told) for told in first.logprobs if told]}),
        "drafted_per_round": [r.drafted for r in first.rounds],
        "accepted_per_round": [r.accepted for r in first.rounds],
    }


def _figures(found: Estimate, after_first: int) -> dict[str, float | None]:
    """The seconds that both arms take for so many tokens, by their medians; tokens per second; the speedup."""
    rates = {"": ratio(found.tokens, found.spec_s), "baseline_": ratio(found.tokens, found.plain_s)}
    return {
        **{f"{arm}decode_tps": rate for arm, rate in rates.items()},
        **{f"{arm}decode_s": ratio(after_first, rate) for arm, rate in rates.items()},
        **{name: getattr(found, name) for name in ("speedup", "low", "high")},
    }


def _summary_record(arm: ArmRun, records: Sequence[dict[str, Any]], clock: _Clock) -> dict[str, Any]:
    """Totals over the prompts, and what the round model (alpha, c, v) makes of them."""
    rounds = [r for one in arm.prompts for result in one.speculative for r in result.rounds]
    # Every round once: the users of a batch share its times.
    timed = {
        (one.batch, repeat, r.index): r
        for one in arm.prompts
        for repeat, result in enumerate(one.speculative)
        for r in result.rounds
    }.values()
    model = metrics.RoundModel.measured(rounds, [step.ns for segment in clock.own for step in segment.steps])
    judged = [record["identical"] for record in records if record["identical"] is not None]
    every = {one.batch for one in arm.prompts}
    fresh = every - {one.batch for one in arm.prompts if one.repetition.loops}
    whole, without = clock.of(every), clock.of(fresh)
    rates = {name: [row[name] for row in records if row[name]] for name in ("decode_tps", "baseline_decode_tps")}
    return {
        "prompts": len(records),
        "identical": sum(judged) if judged else None,
        "per_k": _per_k(rounds),
        # accepted tokens by the drafter that proposed them
        "per_source": dict(Counter(source for record in records for source in record["sources"] if source)),
        "new_tokens": sum(len(record["tokens"]) for record in records),
        **_figures(whole, sum(len(record["tokens"]) - 1 for record in records)),
        **{f"{name}_per_user": metrics.median(of_prompts) for name, of_prompts in rates.items()},
        "inconclusive": clock.doubts,
        "noise_floor": clock.noise,  # of this run: plain decoding / a loop that drafts nothing, less 1
        "kept": clock.kept,  # share of the segments
        "tails": {"plain": whole.plain_tail, "speculative": whole.spec_tail, "differ": tails_differ(whole)},
        "without_loops": {
            "prompts": sum(one.batch in fresh for one in arm.prompts),
            **{name: getattr(without, name) for name in ("speedup", "low", "high")},
        },
        "own_speedup": clock.of(every, own=True).speedup,  # against the pair's own target, one row wide
        **{name: sum(record[name] for record in records) for name in ("rounds", "drafted", "accepted")},
        "fused_rounds": sum(r.fused for r in rounds),
        "separate_rounds": dict(Counter(r.apart for r in timed if r.apart)),  # by the reason
        "accepted_per_position": metrics.accepted_per_position(rounds),
        **_acceptance(rounds),
        **{name: getattr(model, name) for name in ("alpha", "c", "v")},
        "time_split": {
            f"{part}_s": sum(getattr(r, f"{part}_ns") for r in timed) / 1e9 for part in ("draft", "verify", "host")
        },
    }


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
    arm: ArmRun,
    decode: Decode,
    *,
    undrafted: Sequence[Segment],
    recorded: Mapping[int, Sequence[Timed]] | None = None,
) -> dict[str, Any]:
    """One arm's whole result, ready for json; result_file() adds what is said once for a file.

    Args:
        undrafted: of the same run, by a loop that drafts nothing.
        recorded: by batch, the steps of another target that the speedup is measured against.
    """
    clock = _Clock(arm, undrafted, recorded or {})
    prompts = [_prompt_record(one, clock) | {"token_texts": token_texts(one.tokens, decode)} for one in arm.prompts]
    return {
        "schema": SCHEMA,
        **arm.options.settings,
        "sampling": asdict(arm.options.sampling),
        "environment": environment(),
        "prompts": prompts,
        "summary": _summary_record(arm, prompts, clock),
    }


def result_file(record: dict[str, Any], bench: Bench) -> dict[str, Any]:
    """The record with the mesh that there was, what opening the models cost, what the draft reads of the target, which
    of the target's settings no arm follows, and provenance()."""
    opened = {"models": bench.loads, "feature_layers": list(bench.feature_layers)}
    opened["processing"] = bench.processing
    opened |= {} if bench.mesh_device is None else {"device": name_of(bench.mesh_device)}
    return record | opened | {"ignored_generation_settings": bench.ignored_settings} | provenance()


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

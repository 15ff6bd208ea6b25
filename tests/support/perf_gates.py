# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Performance gates: what the embedded pair must keep doing. `make gates` checks, `--update` writes
perf_gates.json anew.

Acceptance and tokens per round (suffix, fp32, greedy, fixed K, the sample prompts) depend on no clock and hardly
on the machine, so they are exact to +-1%. Speed is a ratio, compared only on request (--speed): on the categories whose
answer repeats the prompt, speculation must not be slower than plain decoding. On a Tenstorrent device the targets are
upstream's own (models/model_targets.yaml, verify_perf).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.harness.arguments import parser
from models.tt_transformers.demo.speculative_decoding.harness.comparison import Comparison
from models.tt_transformers.demo.speculative_decoding.harness.opening import open_bench
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions, checked
from models.tt_transformers.demo.speculative_decoding.harness.prompts import SAMPLE_PROMPTS
from models.tt_transformers.demo.speculative_decoding.harness.record import run_record
from models.tt_transformers.demo.speculative_decoding.sequences import decoder

GATES = Path(__file__).with_suffix(".json")
TOLERANCE = 0.01
NEW_TOKENS = 64
K = 4
REPEATING = ("summarising", "editing", "extraction")  # categories whose answers repeat their prompts
SLOWEST_RATIO = 1.0
PASSED, FAILED, BAD = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Check or update; returns the exit status (0: every gate holds, 1: one does not, 2: bad input)."""
    own = argparse.ArgumentParser(prog="perf_gates", description=__doc__)
    own.add_argument("--update", action="store_true", help="write what was measured as what is expected")
    own.add_argument("--speed", action="store_true", help="compare speed too, as a ratio")
    own.add_argument("--gates", default=str(GATES), metavar="FILE", help="the expected figures (default: %(default)s)")
    arguments = own.parse_args(argv)
    path = Path(arguments.gates)
    try:
        expected = None if arguments.update else read_gates(path)
        if expected is not None and expected["prompts_sha256"] != prompts_sha256():
            raise BadInput(f"the sample prompts are not those that {path} was made with; run perf_gates --update")
        record = measure(with_baseline=arguments.speed)
    except (BadInput, ModelFailure) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD if isinstance(error, BadInput) else FAILED
    found = gates_of(record)
    if expected is None:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"written: {path}")
        return PASSED
    broken = compare_gates(expected, found) + (compare_speed(record) if arguments.speed else [])
    print("\n".join(broken) or "every gate holds")
    return FAILED if broken else PASSED


def gate_options(with_baseline: bool = False) -> RunOptions:
    """The run that the gates are about: the demo on the embedded target, as its own options say it."""
    command = ["--pair", "smollm2", "--drafter", "suffix", "-k", str(K), "--max-new-tokens", str(NEW_TOKENS)]
    return checked(parser().parse_args(command if with_baseline else [*command, "--no-baseline"]))


def measure(*, with_baseline: bool) -> dict[str, Any]:
    """Run it; returns the demo's result record."""
    options = gate_options(with_baseline)
    with open_bench(options) as bench:
        comparison = Comparison(bench, [options])
        if with_baseline:
            comparison.warm_up()
        comparison.run()
        return run_record(comparison.arms[0], decoder(bench.tokenizer), undrafted=comparison.undrafted)


def gates_of(record: dict[str, Any]) -> dict[str, Any]:
    """The part of a result record that is gated. The prompts' hash says whether two of them are comparable."""
    figures = ("new_tokens", "rounds", "drafted", "accepted", "acceptance_rate", "tokens_per_round")
    return {
        "target": record["target"],
        "drafter": record["drafter"],
        "num_draft_tokens": record["num_draft_tokens"],
        "dtype": record["dtype"],
        "max_new_tokens": record["max_new_tokens"],
        "prompts_sha256": prompts_sha256(),
        "tolerance": TOLERANCE,
        **{name: record["summary"][name] for name in figures},
        "by_prompt": [
            {"category": row["category"], "tokens_per_round": row["tokens_per_round"]} for row in record["prompts"]
        ],
    }


def prompts_sha256() -> str:
    """Of the sample prompts as they are now."""
    return hashlib.sha256(SAMPLE_PROMPTS.read_bytes()).hexdigest()


def compare_gates(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """One line per gate that does not hold; [] if all do."""
    for name in ("target", "drafter", "num_draft_tokens", "dtype", "max_new_tokens", "prompts_sha256"):
        if expected[name] != found[name]:
            change = f"{name} was {expected[name]} when the gates were written and is {found[name]} now"
            return [f"{change}; run perf_gates --update"]
    broken = []
    for name in ("acceptance_rate", "tokens_per_round"):
        apart = found[name] / expected[name] - 1.0
        if abs(apart) > expected["tolerance"]:
            wanted = f"{expected[name]:.4f} +-{expected['tolerance']:.0%}"
            broken.append(f"{name} is {found[name]:.4f}, expected {wanted} ({apart:+.1%})")
    moved = [
        f"{now['category']} {before['tokens_per_round']:.3f} -> {now['tokens_per_round']:.3f}"
        for before, now in zip(expected["by_prompt"], found["by_prompt"])
        if before != now
    ]
    if broken and moved:
        broken.append(f"tokens per round changed in: {', '.join(moved)}")
    return broken


def compare_speed(record: dict[str, Any]) -> list[str]:
    """The speed gate: ratios within one run, of segments back to back; a run that is inconclusive breaks nothing."""
    if record["summary"]["inconclusive"]:
        print(f"speed is inconclusive: {record['summary']['inconclusive']}")
        return []
    rows = [row for row in record["prompts"] if row["category"] in REPEATING]
    ratio = sum(row["baseline_decode_s"] for row in rows) / sum(row["decode_s"] for row in rows)
    if ratio >= SLOWEST_RATIO:
        return []
    return [f"on {', '.join(REPEATING)} the speedup is {ratio:.2f}x, expected at least {SLOWEST_RATIO:.2f}x"]


def read_gates(path: Path) -> dict[str, Any]:
    """BadInput names what is wrong with the file and how to make it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"there is no gates file {path}; make it with perf_gates --update") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(
            f"the gates file {path} cannot be read: {error}; make it anew with perf_gates --update"
        ) from error


if __name__ == "__main__":
    sys.exit(main())

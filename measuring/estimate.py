# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""`speculative_demo estimate`: would speculation pay for a pair of models, before anybody has run it?

alpha and acceptance come from teacher-forced agreement: one forward per model over a given text, or tt-metal's own
reference outputs, which hold just that. c and v are given, or c follows from decode speeds, given or published.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from measuring.agreement import Agreement, KEstimate, Prediction, estimate_k, predict, read_refpt
from measuring.break_even import Choice, break_even_alpha
from measuring.checks import check_apart, numbers, refuse_empty
from measuring.published_speeds import DEVICES, SOURCE, published_pair
from models.tt_transformers.demo.speculative_decoding.drafters import check_same_tokenizer
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.command import MATCHED, Parser, command, entry
from models.tt_transformers.demo.speculative_decoding.harness.output import checked_output
from models.tt_transformers.demo.speculative_decoding.harness.pairs import named_pair
from models.tt_transformers.demo.speculative_decoding.harness.record import write_json
from models.tt_transformers.demo.speculative_decoding.harness.terminal import (
    Column,
    figure,
    make_console,
    screen_table,
    styled,
)
from models.tt_transformers.demo.speculative_decoding.hf.loading import (
    DTYPES,
    known_positions,
    load_model,
    load_tokenizer,
)
from models.tt_transformers.demo.speculative_decoding.lookahead import MAX_DRAFT_TOKENS

REFERENCE_OUTPUTS = Path("models/tt_transformers/tests/reference_outputs")
DEFAULT_KS = (1, 2, 3, 4, 6, 8)
DEFAULT_TOKENS = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `estimate`."""
    pair = parser.add_argument_group("the pair, and the text that both models read")
    pair.add_argument("--pair", metavar="NAME", help="a named pair with a draft model")
    pair.add_argument("--target", metavar="ID_OR_PATH", help="... or any target")
    pair.add_argument("--draft", metavar="ID_OR_PATH", help="... and any draft model with its tokenizer")
    pair.add_argument("--text", metavar="FILE", help="text to read (UTF-8); the target's own output is the best choice")
    pair.add_argument(
        "--max-tokens", type=int, metavar="N", help=f"of the text (default: {DEFAULT_TOKENS}, or what they know)"
    )
    pair.add_argument("--dtype", default="float32", help=f"{' or '.join(DTYPES)} (default: float32)")
    pair.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    pair.add_argument(
        "--tt-metal",
        metavar="CHECKOUT",
        help=f"instead of running models, read the pair's reference outputs in CHECKOUT/{REFERENCE_OUTPUTS}",
    )
    pair.add_argument("--target-refpt", metavar="FILE", help="... or this reference output of the target")
    pair.add_argument("--draft-refpt", metavar="FILE", help="... and this one of the draft")
    cost = parser.add_argument_group("what a draft token and a verify cost")
    cost.add_argument("--c", type=float, help="one draft step / one plain target step, as measured")
    cost.add_argument("--v", type=float, default=1.0, help="one verify / one plain target step (default: 1, assumed)")
    cost.add_argument("--target-tps", type=float, metavar="N", help="instead of --c: decode tok/s of the target alone")
    cost.add_argument("--draft-tps", type=float, metavar="N", help="... and of the draft alone")
    cost.add_argument(
        "--published", choices=DEVICES, help="... or the speeds that Tenstorrent published for the device"
    )
    parser.add_argument(
        "-k", "--k", default=",".join(map(str, DEFAULT_KS)), metavar="LIST", help="K to look at (default: %(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the estimate")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `estimate`; returns the exit status (2: bad input)."""
    parser = Parser(prog="speculative_demo estimate", description=__doc__)
    add_arguments(parser)
    run(parser.parse_args(argv), make_console())
    return MATCHED


def run(arguments: argparse.Namespace, console: Any) -> None:
    """Estimate, show and write."""
    json_file = None if arguments.json is None else checked_output("--json", arguments.json)
    refuse_empty(arguments, [name for name, value in vars(arguments).items() if value == "" and name != "json"])
    ks, (c, c_source) = numbers("--k", arguments.k, 1, MAX_DRAFT_TOKENS), draft_cost(arguments)
    if not 0 < arguments.v < math.inf:
        raise BadInput(f"--v {arguments.v} is not positive; it is the cost of one verify in plain target steps")
    if arguments.max_tokens is not None and arguments.max_tokens < 2:
        raise BadInput(f"--max-tokens {arguments.max_tokens} leaves nothing to foretell; give at least 2")
    _check_machine(arguments)
    if json_file is not None:
        check_apart("--json", json_file, [arguments.text, arguments.target_refpt, arguments.draft_refpt])
    target, draft = predictions(arguments)
    agreement = Agreement.between(target, draft)
    rows = [estimate_k(agreement, k, c=c, v=arguments.v) for k in ks]
    record = estimate_record(agreement, rows, target.name, draft.name, c=c, c_source=c_source, v=arguments.v)
    try:
        if json_file is not None:
            write_json(record, json_file)
    finally:  # whatever became of the file
        console.print(styled(estimate_table(record)))
        console.print(styled(conclusion(record)))


def _check_machine(arguments: argparse.Namespace) -> None:
    if arguments.dtype not in DTYPES:
        raise BadInput(f"--dtype {arguments.dtype} is not known; it must be {' or '.join(DTYPES)}")
    if arguments.device not in ("cpu", "cuda"):
        raise BadInput(f"--device {arguments.device} is not known; it must be cpu or cuda")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda was asked for, but torch sees no CUDA device; use --device cpu")


def draft_cost(arguments: argparse.Namespace) -> tuple[float | None, str]:
    """(c or None, where it is from)"""
    speeds = (arguments.target_tps, arguments.draft_tps)
    given = [arguments.c is not None, speeds != (None, None), arguments.published is not None]
    if sum(given) > 1:
        raise BadInput("c is given more than once; give one of --c, --target-tps with --draft-tps, or --published")
    if arguments.c is not None:
        if not 0 <= arguments.c < math.inf:
            raise BadInput(
                f"--c {arguments.c} is no cost; give that of a drafted token in plain target steps, 0 or more"
            )
        return arguments.c, "given"
    if arguments.published is not None:
        speeds_of_pair = published_pair(arguments.pair or "", arguments.published)
        return speeds_of_pair.c, f"published speeds on {arguments.published}, not measured ({SOURCE})"
    if speeds == (None, None):
        return None, "not given"
    if None in speeds or not all(0 < speed < math.inf for speed in speeds):
        raise BadInput("--target-tps and --draft-tps belong together, and both are positive")
    if not (c := arguments.target_tps / arguments.draft_tps) < math.inf:
        raise BadInput(f"--draft-tps {arguments.draft_tps} is too far from --target-tps {arguments.target_tps}: no c")
    return c, "given decode speeds"


def predictions(arguments: argparse.Namespace) -> tuple[Prediction, Prediction]:
    """(target's, draft's), from reference outputs or from one forward of each model."""
    refpts = (arguments.target_refpt, arguments.draft_refpt)
    sources = {"--text": arguments.text, "--tt-metal": arguments.tt_metal, "the .refpt files": any(refpts)}
    given = [name for name, source in sources.items() if source]
    if len(given) > 1:
        raise BadInput(f"{' and '.join(given)} were given, and agreement is read from one of them; drop the others")
    if any(refpts):
        if None in refpts:
            raise BadInput("--target-refpt and --draft-refpt belong together; give both")
        return read_refpt(arguments.target_refpt), read_refpt(arguments.draft_refpt)
    target, draft = _models(arguments)
    if arguments.tt_metal:
        folder = Path(arguments.tt_metal) / REFERENCE_OUTPUTS
        if not os.path.isdir(folder):
            raise BadInput(f"--tt-metal {arguments.tt_metal}: there is no folder {folder}; give the root of a checkout")
        of_target, of_draft = (read_refpt(folder / f"{model.rsplit('/', 1)[-1]}.refpt") for model in (target, draft))
        return of_target, of_draft
    if not arguments.text:
        raise BadInput("there is no text to read; give --text FILE, --tt-metal CHECKOUT or two .refpt files")
    token_ids = _token_ids(arguments, target, draft)
    models = {name: load_model(name, device=arguments.device, dtype=arguments.dtype)[0] for name in (target, draft)}
    return predict(target, models[target], token_ids), predict(draft, models[draft], token_ids)


def _token_ids(arguments: argparse.Namespace, target: str, draft: str) -> list[int]:
    """The text as both models read it; whatever speaks against it is said before one of them is loaded."""
    try:
        text = Path(arguments.text).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadInput(f"--text {arguments.text} cannot be read as UTF-8: {error}") from error
    tokenizer, its_tokenizer = load_tokenizer(target), load_tokenizer(draft)
    check_same_tokenizer(tokenizer, its_tokenizer, target_name=target, draft_name=draft)
    most = arguments.max_tokens or DEFAULT_TOKENS
    for model_id in (target, draft):
        known = known_positions(model_id) or most
        if arguments.max_tokens is not None and arguments.max_tokens > known:
            raise BadInput(f"--max-tokens {most} is more than the {known} positions that {model_id} knows; lower it")
        most = min(most, known)
    token_ids = list(tokenizer.encode(text)[:most])
    if len(token_ids) < 2:
        raise BadInput(f"--text {arguments.text} has {len(token_ids)} tokens; at least 2 are needed")
    return token_ids


def _models(arguments: argparse.Namespace) -> tuple[str, str]:
    if arguments.pair and arguments.target:
        raise BadInput("--pair and --target were both given; give one")
    if not arguments.pair and not arguments.target:
        raise BadInput("there is no pair to estimate; give --pair NAME, or --target and --draft, or two .refpt files")
    pair = named_pair(arguments.pair) if arguments.pair else None
    draft = arguments.draft or (pair.draft if pair else None)
    if draft is None:
        raise BadInput("the pair has no draft model, and only models can agree; give --draft ID_OR_PATH")
    return (pair.target if pair else arguments.target), draft


def estimate_record(
    agreement: Agreement,
    rows: Sequence[KEstimate],
    target: str,
    draft: str,
    *,
    c: float | None,
    c_source: str,
    v: float,
) -> dict[str, Any]:
    """The estimate as JSON (kind "estimate", schema 1): alpha and its relatives, c, v, one entry per K, the best K."""
    best = None
    if c is not None:
        known = [Choice(row.k, row.speedup) for row in rows if row.speedup is not None]
        best = asdict(max([Choice(0, 1.0), *known], key=lambda choice: choice.speedup))
    return {
        "kind": "estimate",
        "schema": 1,
        "target": target,
        "draft": draft,
        "positions": len(agreement.agree),
        "alpha": agreement.alpha,
        "alpha_on_own_text": agreement.alpha_on_own_text,
        "draft_top5_rate": agreement.draft_top5_rate,
        "c": c,
        "c_source": c_source,
        "v": v,
        "by_k": [
            {**asdict(row), "break_even_alpha": None if c is None else break_even_alpha(row.k, c, v)} for row in rows
        ],
        "best": best,
    }


def estimate_table(record: dict[str, Any]) -> str:
    """One row per K."""
    columns = [
        Column("K", "k"),
        Column("acceptance", "acceptance_rate", "{:.2f}"),
        Column("tokens/round", "tokens_per_round", "{:.2f}"),
        Column("predicted speedup", "speedup", "{:.2f}x"),
        Column("break-even alpha", "break_even_alpha", "{:.3f}"),
    ]
    return screen_table(f"{record['draft']} drafting for {record['target']}, estimated", columns, record["by_k"])


def conclusion(record: dict[str, Any]) -> str:
    """In words; what was not given is not claimed."""
    alpha, on_own_text = (figure(record[name], "{:.3f}") for name in ("alpha", "alpha_on_own_text"))
    parts = [
        f"Over {record['positions']} positions the draft's first choice is the target's with probability "
        f"{alpha} (alpha); {on_own_text} where the text is the target's own choice; the draft's "
        f"five best hold the target's choice with probability {record['draft_top5_rate']:.3f}."
    ]
    if record["best"] is None:
        parts.append("No speedup is predicted: c was not given (--c, --target-tps with --draft-tps, or --published).")
    else:
        parts.append(f"With c = {record['c']:.3f} ({record['c_source']}) and v = {record['v']:.2f}:")
        if record["best"]["k"]:
            parts.append(f"best K is {record['best']['k']}, predicted speedup {record['best']['speedup']:.2f}x.")
        else:
            parts.append("no K is predicted to beat plain decoding; do not speculate with this pair.")
    return " ".join(parts)


if __name__ == "__main__":
    sys.exit(entry(main))

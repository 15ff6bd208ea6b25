# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The demo's command line: everything that can be refused without a model is refused here."""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.lookahead import MAX_DRAFT_TOKENS
from models.tt_transformers.demo.speculative_decoding.model_pairs import DTYPES, PAIRS, named_pair
from models.tt_transformers.demo.speculative_decoding.prompts import SAMPLE_PROMPTS, Prompt, checked_text, load_prompts

PROG = "speculative_demo"


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """A checked command line."""

    pair: str | None
    target: str
    draft: str | None
    drafter: str
    backend: str
    device: str
    dtype: str
    num_draft_tokens: int
    max_new_tokens: int
    max_seq_len: int
    prompts: list[Prompt]
    stop_strings: tuple[str, ...]
    num_repeats: int
    json_file: Path | None
    with_baseline: bool
    sampling: SamplingParams
    show_rounds: bool
    quiet: bool


def parser() -> argparse.ArgumentParser:
    """The options, grouped as a user thinks of them."""
    top = argparse.ArgumentParser(
        prog=PROG,
        description="Runs plain and speculative decoding of the same prompts by the same target model, interleaved in one "
        "process, checks that the tokens are equal, and shows what it cost and gained in wall-clock time.",
        epilog="Exit status: 0 every prompt matched plain decoding, 1 one did not, 2 bad input.",
    )
    models = top.add_argument_group("models")
    models.add_argument("--pair", metavar="NAME", help="a named target/draft pair (default: smollm2); see --list-pairs")
    models.add_argument("--list-pairs", action="store_true", help="print the named pairs and end")
    models.add_argument("--target", metavar="ID_OR_PATH", help="any Hugging Face causal LM instead of a pair")
    models.add_argument("--draft", metavar="ID_OR_PATH", help="a small model with the same tokenizer as the target")
    models.add_argument(
        "--drafter", choices=["model", "prompt-lookup"], help="who drafts (default: the draft model if any)"
    )
    models.add_argument(
        "--backend", choices=["torch", "tt"], default="torch", help="torch: CPU or CUDA; tt: Tenstorrent"
    )
    models.add_argument("--device", default="cpu", help="torch backend: cpu (default) or cuda")
    models.add_argument("--dtype", default="float32", help=f"torch backend: {' or '.join(DTYPES)} (default: float32)")
    models.add_argument(
        "--max-seq-len", type=int, default=2048, metavar="N", help="prompt and new tokens (default: 2048)"
    )

    decoding = top.add_argument_group("decoding")
    decoding.add_argument(
        "-k",
        "--num-draft-tokens",
        type=int,
        default=4,
        metavar="K",
        help=f"tokens drafted per round, 1 to {MAX_DRAFT_TOKENS} (default: 4)",
    )
    decoding.add_argument("--max-new-tokens", type=int, default=128, metavar="N", help="per prompt (default: 128)")
    decoding.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end at this text (may be repeated)"
    )
    decoding.add_argument("--seed", type=int, default=0, help="of the random generators (default: 0)")

    prompts = top.add_argument_group("prompts")
    prompts.add_argument(
        "--prompts", metavar="FILE", help='JSON list of {"prompt": ..., "category": ...} (default: ten samples)'
    )
    prompts.add_argument("--prompt", metavar="TEXT", help="one prompt instead of a file")

    output = top.add_argument_group("measuring and output")
    output.add_argument(
        "--repeat", type=int, default=1, metavar="R", help="interleaved runs per prompt; medians are shown"
    )
    output.add_argument("--no-baseline", action="store_true", help="skip plain decoding: no speedup, no equality check")
    output.add_argument("--json", metavar="FILE", help="write everything that was measured")
    output.add_argument("--show-rounds", action="store_true", help="print what every round drafted and accepted")
    output.add_argument("--quiet", action="store_true", help="no streamed text, only the table")
    return top


def checked(arguments: argparse.Namespace) -> DemoOptions:
    """The command line as DemoOptions.

    Raises:
        BadInput: names the option, what it allows and what to do.
    """
    pair, target, draft = _models(arguments)
    drafter = arguments.drafter or ("model" if draft else "prompt-lookup")
    if drafter == "model" and draft is None:
        raise BadInput("--drafter model needs a draft model; add --draft ID_OR_PATH or choose --drafter prompt-lookup")
    if drafter == "prompt-lookup" and arguments.draft:
        raise BadInput("--draft names a model, but --drafter prompt-lookup uses none; drop one of them")
    _check_range("--num-draft-tokens", arguments.num_draft_tokens, 1, MAX_DRAFT_TOKENS)
    _check_range("--max-new-tokens", arguments.max_new_tokens, 1)
    _check_range("--max-seq-len", arguments.max_seq_len, 2)
    _check_range("--repeat", arguments.repeat, 1)
    _check_device(arguments.backend, arguments.device, arguments.dtype)
    if arguments.prompt is not None and arguments.prompts:
        raise BadInput("--prompt and --prompts were both given; give one")
    if arguments.prompt is not None:
        prompts = [Prompt(checked_text(arguments.prompt, "--prompt"))]
    else:
        prompts = load_prompts(arguments.prompts or SAMPLE_PROMPTS)
    if not all(arguments.stop):
        raise BadInput("--stop was given an empty text, which would end everything at once; drop it")
    json_file = Path(arguments.json) if arguments.json else None
    if json_file is not None and not json_file.parent.is_dir():
        raise BadInput(f"--json {json_file}: there is no folder {json_file.parent}; make it first")
    return DemoOptions(
        pair=pair,
        target=target,
        draft=draft if drafter == "model" else None,
        drafter=drafter,
        backend=arguments.backend,
        device=arguments.device,
        dtype=arguments.dtype,
        num_draft_tokens=arguments.num_draft_tokens,
        max_new_tokens=arguments.max_new_tokens,
        max_seq_len=arguments.max_seq_len,
        prompts=prompts,
        stop_strings=tuple(arguments.stop),
        num_repeats=arguments.repeat,
        json_file=json_file,
        with_baseline=not arguments.no_baseline,
        sampling=SamplingParams(seed=arguments.seed),
        show_rounds=arguments.show_rounds,
        quiet=arguments.quiet,
    )


def _models(arguments: argparse.Namespace) -> tuple[str | None, str, str | None]:
    """(pair name or None, target, draft or None)"""
    if arguments.target:
        if arguments.pair:
            raise BadInput("--pair and --target were both given; give one")
        return None, arguments.target, arguments.draft
    pair = named_pair(arguments.pair or "smollm2")
    return pair.name, pair.target, arguments.draft or pair.draft


def _check_range(option: str, value: int, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise BadInput(f"{option} is {value}; it must be {limits}")


def _check_device(backend: str, device: str, dtype: str) -> None:
    if dtype not in DTYPES:
        raise BadInput(f"--dtype {dtype} is not known; it must be {' or '.join(DTYPES)}")
    if backend == "tt":
        if importlib.util.find_spec("ttnn") is None:
            raise ModelUnavailable(
                "--backend tt needs ttnn and a tt-metal checkout on PYTHONPATH; use --backend torch here"
            )
        return
    if device not in ("cpu", "cuda"):
        raise BadInput(f"--device {device} is not known; it must be cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelUnavailable("--device cuda was asked for, but torch sees no CUDA device; use --device cpu")


def pair_listing() -> str:
    """One line per named pair."""
    return "\n".join(
        f"{pair.name:<14}{pair.target} <- {pair.draft or 'prompt lookup'}  ({pair.description})"
        for pair in PAIRS.values()
    )

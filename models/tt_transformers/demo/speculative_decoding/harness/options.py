# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A checked command line: everything that can be refused without a model is refused here."""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from loguru import logger

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.harness.arguments import DEFAULT_K, WIDEST_AUTOMATIC_K
from models.tt_transformers.demo.speculative_decoding.harness.device_cases import mesh_shape, wanted_traces
from models.tt_transformers.demo.speculative_decoding.harness.prompts import (
    SAMPLE_PROMPTS,
    Prompt,
    checked_text,
    load_prompts,
)
from models.tt_transformers.demo.speculative_decoding.harness.record import RunSettings
from models.tt_transformers.demo.speculative_decoding.hf.loading import DTYPES, EMBEDDED, PAIRS, named_pair
from models.tt_transformers.demo.speculative_decoding.lookahead import MAX_DRAFT_TOKENS


@dataclass(frozen=True, kw_only=True)
class DraftHead:
    """Which output ids the draft model keeps: those listed in a file, or the `size` most frequent of a text."""

    ids_file: str | None
    text_file: str | None
    size: int | None


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """A checked command line."""

    pair: str | None
    target: str
    draft: str | None
    draft_file: Path | None
    drafter: str
    backend: str
    device: str
    dtype: str
    num_draft_tokens: int
    lookahead: str
    batch_size: int
    exact: bool
    draft_head: DraftHead | None
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


def checked(arguments: argparse.Namespace) -> DemoOptions:
    """The command line as DemoOptions.

    Raises:
        BadInput: names the option, what it allows and what to do.
    """
    pair, target, draft, draft_file = _models(arguments)
    drafter = _drafter(arguments, draft, draft_file)
    if arguments.num_draft_tokens is not None:
        _check_range("--num-draft-tokens", arguments.num_draft_tokens, 1, MAX_DRAFT_TOKENS)
    _check_range("--batch-size", arguments.batch_size, 1)
    lookahead, num_draft_tokens = _lookahead(arguments, pair)
    if arguments.exact and lookahead != "fixed":
        raise BadInput(f"--exact needs one width for every round, and --lookahead {lookahead} varies it; add -k K")
    if arguments.exact and arguments.temperature:
        raise BadInput("--exact compares token for token, and samples differ; drop --temperature")
    _check_range("--max-new-tokens", arguments.max_new_tokens, 1)
    _check_range("--max-seq-len", arguments.max_seq_len, 2)
    _check_range("--repeat", arguments.repeat, 1)
    _check_device(arguments.backend, arguments.device, arguments.dtype)
    if arguments.backend == "tt" and target == EMBEDDED:
        raise BadInput(
            "the embedded SmolLM2 runs on --backend torch; with --backend tt give --pair llama-1b-3b, llama-1b-8b, or "
            "--target and --draft"
        )
    if arguments.backend == "tt" and (drafter == "feature" or (drafter == "hybrid" and not draft)):
        raise BadInput(
            "tt_transformers gives no hidden states to a feature draft; with --backend tt choose another --drafter"
        )
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
        draft=draft if drafter in ("model", "hybrid") else None,
        draft_file=draft_file if drafter == "feature" or (drafter == "hybrid" and not draft) else None,
        drafter=drafter,
        backend=arguments.backend,
        device=arguments.device,
        dtype=arguments.dtype,
        num_draft_tokens=num_draft_tokens,
        lookahead=lookahead,
        batch_size=arguments.batch_size,
        exact=arguments.exact,
        draft_head=_draft_head(arguments, drafter, draft),
        max_new_tokens=arguments.max_new_tokens,
        max_seq_len=arguments.max_seq_len,
        prompts=prompts,
        stop_strings=tuple(arguments.stop),
        num_repeats=arguments.repeat,
        json_file=json_file,
        with_baseline=not arguments.no_baseline,
        sampling=SamplingParams(
            temperature=arguments.temperature, top_k=arguments.top_k, top_p=arguments.top_p, seed=arguments.seed
        ),
        show_rounds=arguments.show_rounds,
        quiet=arguments.quiet,
    )


def _models(arguments: argparse.Namespace) -> tuple[str | None, str, str | None, Path | None]:
    """(pair name or None, target, draft model or None, feature draft or None)"""
    draft_file = Path(arguments.draft_file) if arguments.draft_file else None
    if draft_file is not None and not draft_file.is_file():
        raise BadInput(f"--draft-file {draft_file}: there is no such file; make one with train_draft.py")
    if arguments.target:
        if arguments.pair:
            raise BadInput("--pair and --target were both given; give one")
        return None, arguments.target, arguments.draft, draft_file
    pair = named_pair(arguments.pair or "smollm2")
    if pair.draft_file and not (
        arguments.draft or draft_file or pair.draft_path or arguments.drafter == "prompt-lookup"
    ):
        logger.warning(f"the trained draft {pair.draft_file} is not here; prompt lookup drafts instead")
    return pair.name, pair.target, arguments.draft or pair.draft, draft_file or pair.draft_path


def _drafter(arguments: argparse.Namespace, draft: str | None, draft_file: Path | None) -> str:
    drafter = arguments.drafter or ("model" if draft else "hybrid" if draft_file else "prompt-lookup")
    if arguments.draft and arguments.draft_file:
        raise BadInput("--draft and --draft-file were both given; give one")
    if drafter == "prompt-lookup" and (arguments.draft or arguments.draft_file):
        raise BadInput("--drafter prompt-lookup uses no draft, but one was named; drop one of them")
    if drafter == "model" and draft is None:
        raise BadInput("--drafter model needs a draft model; add --draft ID_OR_PATH or choose --drafter prompt-lookup")
    if drafter == "feature" and draft_file is None:
        raise BadInput("--drafter feature needs a feature draft of the target; add --draft-file FILE (train_draft.py)")
    if drafter == "hybrid" and draft is None and draft_file is None:
        raise BadInput("--drafter hybrid needs a draft; add --draft ID_OR_PATH or --draft-file FILE")
    return drafter


def _lookahead(arguments: argparse.Namespace, pair: str | None) -> tuple[str, int]:
    """(policy, K or the most it may draft)"""
    fixed = arguments.num_draft_tokens is not None or (pair or "").startswith("llama")
    lookahead = arguments.lookahead or ("fixed" if fixed else "auto")
    return lookahead, arguments.num_draft_tokens or (DEFAULT_K if lookahead == "fixed" else WIDEST_AUTOMATIC_K)


def _draft_head(arguments: argparse.Namespace, drafter: str, draft: str | None) -> DraftHead | None:
    ids_file, text_file, size = arguments.draft_head_ids, arguments.draft_head_text, arguments.draft_head_size
    if ids_file is None and text_file is None and size is None:
        return None
    if draft is None or drafter in ("prompt-lookup", "feature"):
        raise BadInput("a trimmed head is a draft model's, and there is none (not prompt-lookup's either); add --draft")
    if (ids_file is None) == (text_file is None) or (text_file is None) != (size is None):
        raise BadInput("give --draft-head-ids FILE, or --draft-head-text FILE with --draft-head-size N")
    for option, file in (("--draft-head-ids", ids_file), ("--draft-head-text", text_file)):
        if file is not None and not Path(file).is_file():
            raise BadInput(f"{option} {file}: there is no such file")
    if size is not None:
        _check_range("--draft-head-size", size, 1)
    return DraftHead(ids_file=ids_file, text_file=text_file, size=size)


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
        mesh_shape(), wanted_traces()  # refuse what the environment says wrongly
        return
    if device not in ("cpu", "cuda"):
        raise BadInput(f"--device {device} is not known; it must be cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelUnavailable("--device cuda was asked for, but torch sees no CUDA device; use --device cpu")


def run_settings(options: DemoOptions) -> RunSettings:
    """The run as its result JSON names it."""
    fields = {name: getattr(options, name) for name in RunSettings.__dataclass_fields__}
    if options.draft_file is not None:
        fields["draft"] = options.draft_file.stem
    return RunSettings(**fields)


def pair_listing() -> str:
    """One line per named pair."""
    return "\n".join(
        f"{pair.name:<14}{pair.target} <- {pair.draft or 'prompt lookup'}  ({pair.description})"
        for pair in PAIRS.values()
    )

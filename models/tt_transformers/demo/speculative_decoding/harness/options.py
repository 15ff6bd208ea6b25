# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""One run, described once: RunOptions; and how a command line becomes one, checked before any model is loaded."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from loguru import logger

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.harness import prompts as prompt_files
from models.tt_transformers.demo.speculative_decoding.harness.arguments import (
    DEFAULT_K,
    DEFAULT_SEQ_LEN,
    PRECISIONS,
    WIDEST_AUTOMATIC_K,
)
from models.tt_transformers.demo.speculative_decoding.harness.output import checked_output
from models.tt_transformers.demo.speculative_decoding.harness.pairs import named_pair
from models.tt_transformers.demo.speculative_decoding.harness.prompts import Prompt
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import EMBEDDED
from models.tt_transformers.demo.speculative_decoding.lookahead import MAX_DRAFT_TOKENS
from models.tt_transformers.demo.speculative_decoding.tt.mesh import mesh_name, mesh_shape, wanted_traces


@dataclass(frozen=True, kw_only=True)
class DraftHead:
    """Which output ids the draft model keeps: those listed in a file, or the `size` most frequent of a text."""

    ids_file: str | None
    text_file: str | None
    size: int | None


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """One run: which models, on what, how they draft and decode, and what.

    Attributes:
        pair: its name, if the models are a named pair's.
        draft, draft_file: a draft model, or a feature draft of the target; of those at most one is used.
        drafter, lookahead: see arguments.py. num_draft_tokens: K, or the most that the lookahead may ask for; 0 is the
            speculative loop with nothing drafted.
        device: cpu, cuda, or with backend "tt" the mesh. dtype: one of the backend's arguments.PRECISIONS.
        enable_trace: tt only; None: where it is safe.
        batch_size: prompts generated together. exact: both arms run every forward K + 1 rows wide.
        num_repeats: runs of each arm per prompt. with_baseline: whether plain decoding runs too. prove: whether models
            are tried when they are opened (hf/proof.py).
    """

    target: str
    prompts: Sequence[Prompt]
    pair: str | None = None
    draft: str | None = None
    draft_file: Path | None = None
    draft_head: DraftHead | None = None
    drafter: str = "model"
    backend: str = "torch"
    device: str = "cpu"
    dtype: str = "float32"
    enable_trace: bool | None = None
    num_draft_tokens: int = DEFAULT_K
    lookahead: str = "fixed"
    batch_size: int = 1
    exact: bool = False
    sampling: SamplingParams = SamplingParams()
    max_new_tokens: int = 128
    max_seq_len: int = DEFAULT_SEQ_LEN
    stop_strings: tuple[str, ...] = ()
    num_repeats: int = 1
    with_baseline: bool = True
    prove: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        """The run as its result JSON names it."""
        models = ("pair", "target", "draft", "drafter", "backend", "device", "dtype", "num_draft_tokens", "lookahead")
        names = (*models, "batch_size", "exact", "max_new_tokens", "num_repeats", "prove")
        settings = {name: getattr(self, name) for name in names}
        return settings | ({"draft": self.draft_file.stem} if self.draft_file is not None else {})


def checked(arguments: argparse.Namespace) -> RunOptions:
    """The command line's run.

    Raises:
        BadInput: names the option, what it allows and what to do.
    """
    empty = next((name for name, value in vars(arguments).items() if value == "" and name != "prompt"), None)
    if empty is not None:
        raise BadInput(f"--{empty.replace('_', '-')} was given an empty text; drop it, or say what it should be")
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
    max_seq_len = DEFAULT_SEQ_LEN if arguments.max_seq_len is None else arguments.max_seq_len
    _check_range("--max-seq-len", max_seq_len, 2)
    _check_range("--repeat", arguments.repeat, 1)
    device, dtype, enable_trace = _machine(arguments)
    by_features = drafter == "feature" or (drafter == "hybrid" and not draft)
    if arguments.backend == "tt" and target == EMBEDDED:
        other = "--pair llama-1b-3b, llama-1b-8b, or --target and --draft"
        raise BadInput(f"the embedded SmolLM2 runs on --backend torch; with --backend tt give {other}")
    if arguments.backend == "tt" and by_features:
        missing = "tt_transformers gives no hidden states to a feature draft"
        raise BadInput(f"{missing}; with --backend tt choose another --drafter")
    if arguments.prompt is not None and arguments.prompts:
        raise BadInput("--prompt and --prompts were both given; give one")
    if arguments.prompt is not None:
        prompts = [Prompt(prompt_files.checked_text(arguments.prompt, "--prompt"))]
    else:
        prompts = prompt_files.load_prompts(arguments.prompts or prompt_files.SAMPLE_PROMPTS)
    if not all(arguments.stop):
        raise BadInput("--stop was given an empty text, which would end everything at once; drop it")
    law = {name: getattr(arguments, name) for name in ("temperature", "top_k", "top_p", "seed")}
    return RunOptions(
        pair=pair,
        target=target,
        draft=draft if drafter in ("model", "hybrid") else None,
        draft_file=draft_file if by_features else None,
        drafter=drafter,
        backend=arguments.backend,
        device=device,
        dtype=dtype,
        enable_trace=enable_trace,
        num_draft_tokens=num_draft_tokens,
        lookahead=lookahead,
        batch_size=arguments.batch_size,
        exact=arguments.exact,
        draft_head=_draft_head(arguments, drafter, draft),
        max_new_tokens=arguments.max_new_tokens,
        max_seq_len=max_seq_len,
        prompts=prompts,
        stop_strings=tuple(arguments.stop),
        num_repeats=arguments.repeat,
        with_baseline=not arguments.no_baseline,
        prove=not arguments.no_proof,
        sampling=SamplingParams(**law),
    )


def json_file(arguments: argparse.Namespace) -> Path | None:
    """Where the result goes, if anywhere; BadInput if it cannot go there."""
    return None if arguments.json is None else checked_output("--json", arguments.json)


def fitted(options: RunOptions, asked: int | None) -> RunOptions:
    """The options with the max_seq_len asked for, or else as many positions as the demo takes and all models know.

    BadInput if a model's config says that it knows fewer than asked for.
    """
    from models.tt_transformers.demo.speculative_decoding.hf.loading import known_positions

    fewest = asked or options.max_seq_len
    for model_id in filter(None, (options.target, options.draft)):
        known = known_positions(model_id) or fewest
        if asked is not None and asked > known:
            raise BadInput(f"--max-seq-len {asked} is more than the {known} positions that {model_id} knows; lower it")
        fewest = min(fewest, known)
    return replace(options, max_seq_len=fewest)


def _models(arguments: argparse.Namespace) -> tuple[str | None, str, str | None, Path | None]:
    """(pair name or None, target, draft model or None, feature draft or None)"""
    draft_file = Path(arguments.draft_file) if arguments.draft_file else None
    if draft_file is not None and not draft_file.is_file():
        raise BadInput(
            f"--draft-file {draft_file}: there is no such file; make one with python -m training.train_draft"
        )
    if arguments.target:
        if arguments.pair:
            raise BadInput("--pair and --target were both given; give one")
        return None, arguments.target, arguments.draft, draft_file
    pair = named_pair(arguments.pair or "smollm2")
    drafted = arguments.draft or draft_file or pair.draft_path or arguments.drafter == "prompt-lookup"
    if pair.draft_file and not drafted:
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
        raise BadInput("--drafter feature needs a feature draft of the target; add --draft-file FILE")
    if drafter == "hybrid" and draft is None and draft_file is None:
        raise BadInput("--drafter hybrid needs a draft; add --draft ID_OR_PATH or --draft-file FILE")
    return drafter


def _lookahead(arguments: argparse.Namespace, pair: str | None) -> tuple[str, int]:
    """(policy, K or the most it may draft)"""
    usual = "fixed" if arguments.num_draft_tokens is not None else named_pair(pair).lookahead if pair else "auto"
    lookahead = arguments.lookahead or usual
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


def _machine(arguments: argparse.Namespace) -> tuple[str, str, bool | None]:
    """(device, dtype, whether traces are wanted or None)"""
    backend, device, known = arguments.backend, arguments.device, PRECISIONS[arguments.backend]
    dtype = arguments.dtype or known[0]
    if dtype not in known:
        raise BadInput(f"--dtype {dtype} is not known; with --backend {backend} it must be {' or '.join(known)}")
    if backend == "tt":
        if importlib.util.find_spec("ttnn") is None:
            needed = "ttnn and a tt-metal checkout on PYTHONPATH"
            raise ModelUnavailable(f"--backend tt needs {needed}; use --backend torch here")
        mesh_shape()  # refuses what the environment says wrongly, as wanted_traces() does
        return mesh_name(), dtype, wanted_traces()
    if device not in ("cpu", "cuda"):
        raise BadInput(f"--device {device} is not known; it must be cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelUnavailable("--device cuda was asked for, but torch sees no CUDA device; use --device cpu")
    return device, dtype, None

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""One run, described once: RunOptions; and how a command line becomes one, checked before any model is loaded."""

import argparse
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from loguru import logger

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.harness import prompts as prompt_files
from models.tt_transformers.demo.speculative_decoding.harness.arguments import DEFAULT_K, DEFAULT_SEQ_LEN, PRECISIONS
from models.tt_transformers.demo.speculative_decoding.harness.output import checked_output
from models.tt_transformers.demo.speculative_decoding.harness.pairs import PAIRS, named_pair
from models.tt_transformers.demo.speculative_decoding.harness.processing import Processing
from models.tt_transformers.demo.speculative_decoding.harness.prompts import Prompt
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import EMBEDDED
from models.tt_transformers.demo.speculative_decoding.tt.mesh import mesh_name, mesh_shape, wanted_traces

WIDEST_AUTOMATIC_K = 16  # of a lookahead that varies K, unless the user says how far it may go
INPUTS = ("prompts", "json_schema", "draft_file", "draft_head_ids", "draft_head_text", "target", "draft", "assistant")
# Drafter -> what is said where it does not have what it needs.
NEEDED = {
    "model": "needs a draft model; add --draft ID_OR_PATH or choose --drafter suffix",
    "feature": "needs a feature draft of the target; add --draft-file FILE",
    "eagle3": "needs an EAGLE-3 head of the target; add --draft ID_OR_PATH",
    "hybrid": "needs a draft; add --draft ID_OR_PATH or --draft-file FILE",
    "suffix": "uses no draft, but one was named; drop one of them",
    "prompt-lookup": "uses no draft, but one was named; drop one of them",
}
FROM_TEXT = ("suffix", "prompt-lookup")  # which drafters use no draft


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """One run: which models, on what, how they draft and decode, and what."""

    target: str
    prompts: Sequence[Prompt]
    pair: str | None = None  # its name, if the models are a named pair's
    draft: str | None = None  # a draft model,
    eagle: str | None = None  # or an EAGLE-3 head of the target,
    eagle_layers: tuple[int, ...] | None = None  # which reads these inputs of layers; None: those of its config
    draft_file: Path | None = None  # or a feature draft of the target; at most one of the three is used
    draft_head_file: Path | None = None  # a trimmed draft's output ids: this file lists them,
    draft_head_size: int | None = None  # or they are so many, the most frequent of its text
    drafter: str = "model"  # one of arguments.DRAFTERS
    suffix_memory: int = 0  # tokens of past answers that suffix drafts from too
    backend: str = "torch"
    device: str = "cpu"  # cpu, cuda, or with backend "tt" the mesh
    dtype: str = "float32"  # one of the backend's arguments.PRECISIONS
    enable_trace: bool | None = None  # tt only; None: where it is safe
    num_draft_tokens: int = DEFAULT_K  # K, or the most that the lookahead may ask for; 0: the loop, nothing drafted
    lookahead: str = "fixed"  # one of arguments.LOOKAHEADS
    batch_size: int = 1  # prompts generated together
    exact: bool = False  # both arms run every forward K + 1 rows wide
    sampling: SamplingParams = SamplingParams()
    processing: Processing = Processing()
    logprobs: int | None = None  # tell each token's log-probability, and so many of the best
    max_new_tokens: int = 128
    max_seq_len: int = DEFAULT_SEQ_LEN
    stop_strings: tuple[str, ...] = ()
    num_repeats: int = 1  # runs of each arm per prompt
    with_baseline: bool = True  # whether plain decoding runs too
    prove: bool = True  # whether models are tried when they are opened (hf/proof.py)

    @property
    def settings(self) -> dict[str, Any]:
        """The run as its result JSON names it."""
        models = ("pair", "target", "draft", "drafter", "backend", "device", "dtype", "num_draft_tokens", "lookahead")
        names = (*models, "suffix_memory", "batch_size", "exact", "max_new_tokens", "num_repeats", "prove")
        settings = {name: getattr(self, name) for name in names}
        return settings | {"draft": self.draft or self.eagle or (self.draft_file and self.draft_file.stem)}


def checked(arguments: argparse.Namespace) -> RunOptions:
    """The command line's run; BadInput names the option, what it allows and what to do."""
    given = vars(arguments)
    for name, value in given.items():
        empty = value == "" and name != "prompt"
        _refuse(empty, f"{_option(name)} was given an empty text; drop it, or say what it should be")
    chosen = _models(arguments) | _machine(arguments)
    forgets = arguments.suffix_memory and chosen["drafter"] not in ("suffix", "hybrid")
    _refuse(forgets, f"--suffix-memory is suffix's, and --drafter {chosen['drafter']} is used; drop one of them")
    exact, on_tt = arguments.exact, arguments.backend == "tt"
    pair = PAIRS.get(chosen["pair"])
    usual = "fixed" if arguments.num_draft_tokens else pair.lookahead if pair else "auto"
    lookahead = arguments.lookahead or usual
    varied = f"--exact needs one width for every round, and --lookahead {lookahead} varies it; add -k K"
    _refuse(exact and lookahead != "fixed", varied)
    _refuse(exact and arguments.temperature, "--exact compares tokens, and samples differ; drop --temperature")
    on_torch = "the embedded SmolLM2 runs on --backend torch; with --backend tt give --pair llama-1b-3b, llama-1b-8b"
    _refuse(on_tt and chosen["target"] == EMBEDDED, f"{on_torch}, or --target and --draft")
    _refuse(on_tt and chosen["draft_file"], "--backend tt gives no hidden states to a feature draft; change --drafter")
    _refuse(not all(arguments.stop), "--stop was given an empty text, which would end everything at once; drop it")
    if arguments.prompt is None:
        prompts = prompt_files.load_prompts(arguments.prompts or prompt_files.SAMPLE_PROMPTS)
    else:
        _refuse(arguments.prompts, "--prompt and --prompts were both given; give one")
        prompts = [Prompt(prompt_files.checked_text(arguments.prompt, "--prompt"))]
    return RunOptions(
        **chosen,
        **{name: given[name] for name in ("backend", "batch_size", "exact", "max_new_tokens", "suffix_memory")},
        num_draft_tokens=arguments.num_draft_tokens or (DEFAULT_K if lookahead == "fixed" else WIDEST_AUTOMATIC_K),
        lookahead=lookahead,
        max_seq_len=arguments.max_seq_len or DEFAULT_SEQ_LEN,
        prompts=prompts,
        stop_strings=tuple(arguments.stop),
        num_repeats=arguments.repeat,
        with_baseline=not arguments.no_baseline,
        prove=not arguments.no_proof,
        processing=Processing.of(arguments),
        logprobs=arguments.logprobs,
        sampling=SamplingParams(**{name: given[name] for name in ("temperature", "top_k", "top_p", "seed")}),
    )


def _refuse(wrong: object, reason: str) -> None:
    if wrong:
        raise BadInput(reason)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def output_file(arguments: argparse.Namespace, name: str) -> Path | None:
    """Where the option "json" or "html" says that the result goes, if anywhere; BadInput if it cannot go there."""
    if (given := getattr(arguments, name)) is None:
        return None
    of_pairs = [prompt_files.SAMPLE_PROMPTS, *(pair.draft_path for pair in PAIRS.values())]
    return checked_output(_option(name), given, inputs=[*(vars(arguments).get(each) for each in INPUTS), *of_pairs])


def fitted(options: RunOptions, asked: int | None) -> RunOptions:
    """The options with the max_seq_len asked for, or else as many positions as the demo takes and all models know;
    BadInput if a model's config says that it knows fewer than asked for."""
    from models.tt_transformers.demo.speculative_decoding.hf.loading import known_positions

    fewest = asked or options.max_seq_len
    for model_id in filter(None, (options.target, options.draft)):
        known = known_positions(model_id) or fewest
        if asked is not None and asked > known:
            raise BadInput(f"--max-seq-len {asked} is more than the {known} positions that {model_id} knows; lower it")
        fewest = min(fewest, known)
    return replace(options, max_seq_len=fewest)


def _models(arguments: argparse.Namespace) -> dict[str, Any]:
    """Which models, and who drafts: RunOptions' pair, target, draft, eagle*, draft_file, drafter and draft_head_*."""
    asked, file, drafter = arguments.draft, arguments.draft_file, arguments.drafter
    _refuse(asked and file, "--draft and --draft-file were both given; give one")
    _refuse(arguments.target and arguments.pair, "--pair and --target were both given; give one")
    draft_file = _file(arguments, "draft_file", "; make one with python -m training.train_draft")
    pair = None if arguments.target else named_pair(arguments.pair or "smollm2")
    a_head = asked and (drafter == "eagle3" or drafter in (None, "hybrid") and _is_eagle_head(asked))
    draft, eagle = (None, asked) if a_head else (asked, None)
    if pair is not None:
        draft_file = draft_file or pair.draft_path
        if not asked:
            draft, eagle = pair.draft, pair.eagle
        if pair.draft_file and not (asked or draft_file or drafter in FROM_TEXT):
            logger.warning(f"the trained draft {pair.draft_file} is not here; the text alone drafts instead (suffix)")
    drafter = drafter or ("model" if draft else "hybrid" if eagle or draft_file else "suffix")
    there = {"model": draft, "eagle3": eagle, "feature": draft_file} | dict.fromkeys(FROM_TEXT, not (asked or file))
    there["hybrid"] = draft or eagle or draft_file
    _refuse(not there[drafter], f"--drafter {drafter} {NEEDED[drafter]}")
    by_model = draft if drafter in ("model", "hybrid") else None
    by_head = eagle if drafter in ("eagle3", "hybrid") and not by_model else None
    return {
        "pair": pair and pair.name,
        "target": pair.target if pair else arguments.target,
        "draft": by_model,
        "eagle": by_head,
        "eagle_layers": _eagle_layers(arguments.eagle_layers, by_head),
        "draft_file": draft_file if drafter in ("feature", "hybrid") and not (by_model or by_head) else None,
        "drafter": drafter,
        "draft_head_file": _draft_head(arguments, by_model),
        "draft_head_size": arguments.draft_head_size,
    }


def _is_eagle_head(draft: str) -> bool:
    """Whether a draft's config.json says so; one that cannot be read is complained of where it is opened."""
    from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import head_config, is_head

    try:
        return is_head(head_config(draft))
    except ModelUnavailable:
        return False


def _eagle_layers(text: str | None, head: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    _refuse(not head, "--eagle-layers are an EAGLE-3 head's, and none is used; add --drafter eagle3")
    words = text.split(",")
    wrong = not all(word.strip().isascii() and word.strip().isdigit() and len(word) < 9 for word in words)
    _refuse(wrong, f"--eagle-layers {text[:40]!r} is no list of layers; give numbers such as 2,16,29")
    return tuple(map(int, words))


def _file(arguments: argparse.Namespace, name: str, remedy: str = "") -> Path | None:
    """The file that an option names, if it is given."""
    path = Path(given) if (given := getattr(arguments, name)) else None
    _refuse(path and not os.path.isfile(path), f"{_option(name)} {path}: there is no such file{remedy}")
    return path


def _draft_head(arguments: argparse.Namespace, draft: str | None) -> Path | None:
    ids, text, size = arguments.draft_head_ids, arguments.draft_head_text, arguments.draft_head_size
    if not ids and not text and size is None:
        return None
    _refuse(not draft, "a trimmed head is a draft model's, and there is none (suffix has none); add --draft")
    right = bool(ids) != bool(text) and (size is None) == (not text)
    _refuse(not right, "give --draft-head-ids FILE, or --draft-head-text FILE with --draft-head-size N")
    return _file(arguments, "draft_head_ids") or _file(arguments, "draft_head_text")


def _machine(arguments: argparse.Namespace) -> dict[str, Any]:
    """On what it runs: RunOptions' device, dtype and enable_trace."""
    backend, device, known = arguments.backend, arguments.device, PRECISIONS[arguments.backend]
    dtype = arguments.dtype or known[0]
    _refuse(
        dtype not in known, f"--dtype {dtype} is not known; with --backend {backend} it must be {' or '.join(known)}"
    )
    if backend == "tt":
        if importlib.util.find_spec("ttnn") is None:
            raise ModelUnavailable("--backend tt needs ttnn and a tt-metal checkout on PYTHONPATH; use --backend torch")
        mesh_shape()  # refuses what the environment says wrongly, as wanted_traces() does
        return {"device": mesh_name(), "dtype": dtype, "enable_trace": wanted_traces()}
    _refuse(device not in ("cpu", "cuda"), f"--device {device} is not known; it must be cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelUnavailable("--device cuda was asked for, but torch sees no CUDA device; use --device cpu")
    return {"device": device, "dtype": dtype}

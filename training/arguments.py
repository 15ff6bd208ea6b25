# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The options of train_draft, and what is checked of them before a model is loaded."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.command import Parser
from models.tt_transformers.demo.speculative_decoding.harness.output import checked_output
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import EMBEDDED
from models.tt_transformers.demo.speculative_decoding.hf.loading import DTYPES, known_positions
from training.checkpoint import BEST, LAST, Checkpoint
from training.data import load_answers
from training.model import CARD, CONFIG, WEIGHTS

PLAIN_PER_SHARD, TEXT_PER_SHARD = 192, 128
HELD_OUT = (120, 80)  # prompts of the validation shard: plain, about a text
EXAMPLES = """
examples:
  a small one for the embedded model (CPU; about an hour on two free cores; the card of the one that --pair smollm2
  uses, embedded_drafts/smollm2-135m-instruct-eagle3/README.md, has its command):
    python -m training.train_draft --target embedded:SmolLM2-135M-Instruct --dtype float32 --work work --output head

  one for Llama-3.1-8B on a GPU (bf16 needs 16 GB for the target; a shard holds 1.6 GB of features):
    python -m training.train_draft --target meta-llama/Llama-3.1-8B-Instruct --device cuda --shards 60 \\
        --draft-vocabulary 32000 --learning-rate 1e-3 --work llama-head --output llama-3.1-8b-eagle3
"""


def parse_arguments(arguments: Sequence[str] | None, description: str | None) -> argparse.Namespace:
    """The command line, checked; see --help."""
    parser = Parser(
        prog="python -m training.train_draft",
        description=description,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--target", default=EMBEDDED, help="Hugging Face id, folder, or %(default)s (the default)")
    add("--work", required=True, help="folder for shards, checkpoints, learning curve")
    add("--output", required=True, help="the folder to write: config.json, model.safetensors, and a card")
    add("--name", help="the target's name as the head will give it (default: the last part of --target)")
    add("--device", default="cpu", choices=["cpu", "cuda"])
    add(
        "--dtype",
        default="bfloat16",
        choices=list(DTYPES),
        help="in which the target answers and the head computes while it learns; float32 is faster on a CPU without "
        "bfloat16 matrix units (default: %(default)s)",
    )
    add(
        "--layers",
        type=int,
        nargs="+",
        help="the target's layers whose inputs the head reads (default: 2, half of the depth, three before the end)",
    )
    add("--shards", type=int, default=16, help="answer shards of 320 prompts (default: %(default)s)")
    add("--reading-shards", type=int, default=4, help="documentation shards of 500 texts (default: %(default)s)")
    add("--prompts-per-shard", type=int, nargs=2, default=[PLAIN_PER_SHARD, TEXT_PER_SHARD], metavar=("PLAIN", "TEXT"))
    add("--held-out-prompts", type=int, nargs=2, default=list(HELD_OUT), metavar=("PLAIN", "TEXT"))
    add("--new-tokens", type=int, default=160, help="tokens per answer (default: %(default)s)")
    add(
        "--draft-vocabulary",
        type=int,
        default=8192,
        help="how many of the target's ids it can draft (default: %(default)s)",
    )
    add("--steps", type=int, default=4, help="how far it drafts on, on its own states (default: %(default)s)")
    add("--epochs", type=int, default=2)
    add("--tokens-per-batch", type=int, default=6144)
    add("--learning-rate", type=float, default=2e-3)
    add("--seed", type=int, default=2026)
    add("--threads", type=int, help="CPU threads (default: PyTorch's choice)")
    return checked(parser.parse_args(arguments))


MOST_OF_A_KIND = 9999  # shards, and prompts of a shard
LIMITS = {
    "shards": (1, MOST_OF_A_KIND),
    "threads": (1, os.cpu_count() or 1),
    "steps": (1, 16),
    "new_tokens": (1, 65_536),
    **dict.fromkeys(("draft_vocabulary", "epochs", "tokens_per_batch"), (1, 2**31 - 1)),
    "reading_shards": (0, MOST_OF_A_KIND),
    "seed": (0, 2**62),
}
OUTPUT_FILES = (WEIGHTS, CONFIG, CARD)
WORK_FILES = ("report.json", "target.txt", "learning_curve.png", LAST, BEST)


def checked(args: argparse.Namespace) -> argparse.Namespace:
    """The same with paths, its output and its work folder ready; BadInput names the option, the limit, what to do."""
    for name, value in vars(args).items():
        if value == "":
            raise BadInput(f"{_option(name)} was given an empty text; drop it, or say what it should be")
    for name, (least, most) in LIMITS.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            raise BadInput(f"{_option(name)} is {value}; it must be at least {least}, and at most {most}")
    if not 0.0 < args.learning_rate < math.inf:
        raise BadInput(f"--learning-rate is {args.learning_rate}; give a positive number, such as 2e-3")
    for name in ("prompts_per_shard", "held_out_prompts"):
        counts = getattr(args, name)
        if min(counts) < 0 or not sum(counts):
            raise BadInput(f"{_option(name)} is {counts}; give two numbers of at least 0, not both 0")
        if not counts[0] or max(counts) > MOST_OF_A_KIND:
            limits = f"at most {MOST_OF_A_KIND}, and the first at least 1 (its answers are the texts of the second)"
            raise BadInput(f"{_option(name)} is {counts}; give numbers of {limits}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: this PyTorch finds no CUDA device; use --device cpu")
    known = known_positions(args.target)
    if known is not None and args.new_tokens > known:
        raise BadInput(f"--new-tokens {args.new_tokens} is more than the {known} positions that {args.target} knows")
    args.work, args.output = Path(args.work), Path(args.output)
    _check_output(args)
    try:
        shards_of(args.work).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--work {args.work} cannot be a folder to write in ({error.strerror}); name another") from error
    for name in WORK_FILES:
        checked_output("--work", args.work / name)
    Checkpoint.load(args.work)
    load_answers([path for path in shard_paths(args) if path.exists()])
    for name in OUTPUT_FILES:
        checked_output("--output", args.output / name, make_folders=True)
    return args


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_output(args: argparse.Namespace) -> None:
    """The head must be a folder of its own."""
    if os.path.exists(args.output) and not os.path.isdir(args.output):
        raise BadInput(f"--output {args.output} is a file, and the head is a folder of files; name another")
    for folder in (args.target, args.work):
        if os.path.realpath(folder) == os.path.realpath(args.output):
            raise BadInput(f"--output {args.output} is the folder of {folder}, which it would overwrite; name another")
    others = [name for name in os.listdir(args.output) if name not in OUTPUT_FILES] if args.output.is_dir() else []
    if others:
        raise BadInput(
            f"--output {args.output} holds {min(others)}, which is no head's; name an empty folder or a new one"
        )


def shards_of(work: Path) -> Path:
    """The folder of the shards."""
    return work / "shards"


def shard_paths(args: argparse.Namespace) -> list[Path]:
    """The held-out shard, those of answers, those of reading."""
    names = [f"answers-{i:04d}" for i in range(args.shards)] + [f"reading-{i:04d}" for i in range(args.reading_shards)]
    return [shards_of(args.work) / f"{name}.safetensors" for name in ("held-out", *names)]


def name_of(args: argparse.Namespace) -> str:
    """The target's, as the head gives it."""
    return args.name or str(args.target.rstrip("/").split("/")[-1].split(":")[-1])

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Command line: make a feature draft (hf/feature_drafter.py) for any Hugging Face target.

    python -m training.train_draft --target ID --work FOLDER --output FILE

1. The target answers many prompts of ten categories (prompts.py, answers.py) and reads documentation (texts.py); its
   hidden features are stored in shards under the work folder (data.py).
2. A draft head learns to foretell the target's next-token distribution (model.py, distillation.py, trainer.py).
3. It is validated on prompts whose templates and topics it has not met; the best epoch is saved.

Run it again with the same options to go on where it was stopped: whole shards and whole epochs are kept.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from loguru import logger
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.command import Parser, command, entry
from models.tt_transformers.demo.speculative_decoding.harness.output import checked_output, write_whole
from models.tt_transformers.demo.speculative_decoding.harness.terminal import styled
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import EMBEDDED
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import FeatureDraft, target_fingerprint
from models.tt_transformers.demo.speculative_decoding.hf.loading import DTYPES, load_model
from training.answers import AnswerOptions, end_tokens, make_shard, read_shard
from training.data import Answer, load_answers
from training.distillation import Teacher, measure_acceptance
from training.model import FeatureDraftModel, spec_for_target
from training.prompts import CATEGORIES, demo_prompts
from training.texts import documentation_texts
from training.trainer import (
    Trainer,
    TrainingOptions,
    TrainingState,
    choose_vocabulary,
    initial_draft,
)

PLAIN_PER_SHARD, TEXT_PER_SHARD, READ_PER_SHARD = 192, 128, 500
HELD_OUT = (120, 80)  # prompts of the validation shard: plain, about a text
EXAMPLES = """
examples:
  the draft that --pair smollm2 uses (CPU; about an hour on two free cores):
    python -m training.train_draft --target embedded:SmolLM2-135M-Instruct --work work \\
        --output feature-draft.safetensors

  one for Llama-3.1-8B on a GPU (bf16 needs 16 GB for the target; a shard holds 1.6 GB of features):
    python -m training.train_draft --target meta-llama/Llama-3.1-8B-Instruct --device cuda --shards 60 \\
        --draft-vocabulary 32768 --learning-rate 1e-3 --work llama-draft \\
        --output llama-3.1-8b-feature-draft.safetensors
"""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; see --help."""
    parser = Parser(
        prog="python -m training.train_draft",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--target", default=EMBEDDED, help="Hugging Face id, folder, or %(default)s (the default)")
    add("--work", type=Path, required=True, help="folder for shards, checkpoints, learning curve")
    add("--output", type=Path, required=True, help="the draft file to write (safetensors)")
    add("--name", help="the target's name as the file will give it (default: the last part of --target)")
    add("--device", default="cpu", choices=["cpu", "cuda"])
    add(
        "--dtype",
        default="bfloat16",
        choices=list(DTYPES),
        help="in which the target answers and the draft computes while it learns; float32 is faster on a CPU without "
        "bfloat16 matrix units (default: %(default)s)",
    )
    add(
        "--layers",
        type=int,
        nargs="+",
        help="the target's hidden layers to read, its last one last (default: four, spread)",
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
    add("--start-from", type=Path, metavar="DRAFT", help="a draft of the same target and layers to go on from")
    add("--epochs", type=int, default=4)
    add("--tokens-per-batch", type=int, default=6144)
    add("--learning-rate", type=float, default=2e-3)
    add("--seed", type=int, default=2026)
    add("--threads", type=int, help="CPU threads (default: PyTorch's choice)")
    return checked(parser.parse_args(arguments))


LEAST = {
    **dict.fromkeys(("shards", "new_tokens", "draft_vocabulary", "epochs", "tokens_per_batch", "threads"), 1),
    **dict.fromkeys(("reading_shards", "seed"), 0),
}


def checked(args: argparse.Namespace) -> argparse.Namespace:
    """The same, its output and its work folder ready; BadInput names the option, the limit and what to do."""
    for name, least in LEAST.items():
        value, option = getattr(args, name), f"--{name.replace('_', '-')}"
        if value is not None and not least <= value < 2**63:
            raise BadInput(f"{option} is {value}; it must be at least {least}, and below 2**63")
    if not 0.0 < args.learning_rate < math.inf:
        raise BadInput(f"--learning-rate is {args.learning_rate}; give a positive number, such as 2e-3")
    for name in ("prompts_per_shard", "held_out_prompts"):
        counts = getattr(args, name)
        if min(counts) < 0 or not sum(counts):
            raise BadInput(f"--{name.replace('_', '-')} is {counts}; give two numbers of at least 0, not both 0")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: this PyTorch finds no CUDA device; use --device cpu")
    if args.start_from is not None:
        FeatureDraft.load(args.start_from)
    try:
        args.work.mkdir(parents=True, exist_ok=True)
        checked_output("--work", args.work / "report.json")
    except OSError as error:
        raise BadInput(f"--work {args.work} cannot be a folder to write in ({error.strerror}); name another") from error
    checked_output("--output", args.output, make_folders=True)
    return args


def claim_folder(folder: Path, target: PreTrainedModel) -> None:
    """BadInput if what lies in the work folder was made with another target: its features would be learned as ours."""
    mark, found = target_fingerprint(target), folder / "target.txt"
    if found.exists() and found.read_text("utf-8").strip() != mark:
        raise BadInput(f"--work {folder} holds the shards and checkpoints of another target; name another folder")
    found.write_text(mark + "\n", "utf-8")


def make_data(
    args: argparse.Namespace,
    target: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    layers: Sequence[int],
    console: Console,
) -> tuple[list[Answer], list[Answer]]:
    """Write the shards that are missing; returns (training, held-out) answers."""
    folder = args.work / "shards"
    folder.mkdir(parents=True, exist_ok=True)
    common: dict[str, Any] = {"excluded": demo_prompts(), "eos_ids": end_tokens(target)}
    options = AnswerOptions(new_tokens=args.new_tokens)
    greedy = AnswerOptions(new_tokens=args.new_tokens, sampled_every=0)
    jobs: list[tuple[Path, Callable[[Path, Callable[[int], None]], None]]] = []

    def answering(seed: int, held_out: bool) -> Callable[[Path, Callable[[int], None]], None]:
        plain, text = args.held_out_prompts if held_out else args.prompts_per_shard
        return lambda path, progress: make_shard(
            path, target, tokenizer, layers, seed=seed, held_out=held_out, plain_prompts=plain, text_prompts=text,
            options=greedy if held_out else options, progress=progress, **common,
        )  # fmt: skip

    def reading(part: Sequence[tuple[str, str]]) -> Callable[[Path, Callable[[int], None]], None]:
        return lambda path, progress: read_shard(
            path, target, tokenizer, layers, part, options=options, progress=progress
        )

    jobs.append((folder / "held-out.safetensors", answering(args.seed, True)))
    jobs += [(folder / f"answers-{i:04d}.safetensors", answering(args.seed + i, False)) for i in range(args.shards)]
    texts = documentation_texts(args.reading_shards * READ_PER_SHARD, args.seed) if args.reading_shards else []
    for i in range(args.reading_shards):
        part = texts[i * READ_PER_SHARD : (i + 1) * READ_PER_SHARD]
        jobs.append((folder / f"reading-{i:04d}.safetensors", reading(part)))
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("answers of the target", total=len(jobs), note="")
        tokens = 0

        def count(new: int) -> None:
            nonlocal tokens
            tokens += new
            progress.update(task, note=f"{tokens:,} tokens")

        for path, job in jobs:
            if not path.exists():
                job(path, count)
            progress.advance(task)
    return load_answers([path for path, _ in jobs[1:]]), load_answers([jobs[0][0]])


def train(
    args: argparse.Namespace,
    target: PreTrainedModel,
    training: list[Answer],
    held_out: list[Answer],
    layers: tuple[int, ...],
    console: Console,
) -> tuple[FeatureDraftModel, Teacher, TrainingState]:
    """Train from where the work folder stands; returns the best draft."""
    options = TrainingOptions(
        epochs=args.epochs, tokens_per_batch=args.tokens_per_batch, learning_rate=args.learning_rate, seed=args.seed
    )
    written = [answer for answer in training if answer.category != "reading"]
    vocab_size = target.config.get_text_config().vocab_size
    ids = choose_vocabulary(written, args.draft_vocabulary, vocab_size, sorted(end_tokens(target)))
    name = args.name or args.target.rstrip("/").split("/")[-1].split(":")[-1]
    spec = spec_for_target(target, ids, layers=layers, name=name)
    draft = initial_draft(target, spec, ids, training, seed=args.seed)
    if args.start_from is not None:
        draft.take_weights(FeatureDraft.load(args.start_from), args.start_from)
    draft.to(args.device)
    teacher = Teacher.of(target, ids, DTYPES[args.dtype])
    trainer = Trainer(draft, teacher, args.work, options)
    if trainer.resume():
        logger.info(f"going on after epoch {trainer.state.epoch} of {options.epochs}")
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=1.0, note="")

        def after_epoch(state: TrainingState) -> None:
            rates = ", ".join(f"{rate:.3f}" for rate in state.accepted[-1])
            recent = state.losses[-50:]
            console.print(
                f"epoch {state.epoch}: loss {sum(recent) / len(recent):.3f}, held out P(accept d_k) = {rates}"
            )
            plot_learning_curve(state, args.work / "learning_curve.png")

        best = trainer.run(
            training,
            held_out,
            after_step=lambda fraction, loss: progress.update(task, completed=fraction, note=f"loss {loss:.3f}"),
            after_epoch=after_epoch,
        )
    return best, teacher, trainer.state


def plot_learning_curve(state: TrainingState, path: Path) -> None:
    """Loss per step, and held-out acceptance per epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(state.losses, linewidth=0.8)
    left.set(xlabel="step", ylabel="KL to the target, nats per token", title="training")
    for k, rates in enumerate(zip(*state.accepted), start=1):
        right.plot(range(1, len(rates) + 1), rates, marker="o", label=f"d_{k}")
    right.set(xlabel="epoch", ylabel="P(accepted | earlier accepted)", ylim=(0, 1), title="held out")
    right.legend()
    figure.savefig(path, dpi=120)


def validate(
    draft: FeatureDraftModel, teacher: Teacher, held_out: list[Answer], console: Console
) -> dict[str, list[float]]:
    """Print and return P(accept d_k | earlier accepted), k = 1 to 3, of each category of the held-out answers."""
    table = Table(
        "category", "tokens", "d_1", "d_2", "d_3", title="held-out prompts: templates and topics not met in training"
    )
    results = {}
    for category in (*CATEGORIES, "all"):
        answers = [answer for answer in held_out if category in (answer.category, "all")]
        if not answers:
            continue
        counts = measure_acceptance(draft, teacher, answers)
        rates = (counts[:, 0] / counts[:, 1].clamp_min(1)).tolist()
        results[category] = [round(rate, 4) for rate in rates]
        table.add_row(category, str(int(counts[0, 1])), *(f"{rate:.3f}" for rate in rates))
    console.print(table)
    return results


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 2 if something asked for cannot be done."""
    args = parse_arguments(arguments)
    console = Console()
    if args.threads:
        torch.set_num_threads(args.threads)
    target, tokenizer = load_model(args.target, device=args.device, dtype=args.dtype)
    claim_folder(args.work, target)
    layers = spec_for_target(target, torch.arange(1), layers=args.layers and tuple(args.layers)).layers
    training, held_out = make_data(args, target, tokenizer, layers, console)
    draft, teacher, state = train(args, target, training, held_out, layers, console)
    results = validate(draft, teacher, held_out, console)
    answered = sum(len(answer.tokens) - answer.prompt_length for answer in training)
    notes = {"held_out": json.dumps(results), "trained_tokens": str(answered), "seed": str(args.seed)}
    draft.save(args.output, notes=notes)
    report = {"held_out": results, "trained_tokens": answered, "epochs": state.epoch, "learning_curve": state.accepted}
    write_whole(args.work / "report.json", json.dumps(report, indent=1), "--work")
    console.print(styled(f"wrote {args.output} and {args.work / 'report.json'}"))
    return 0


if __name__ == "__main__":
    sys.exit(entry(main))

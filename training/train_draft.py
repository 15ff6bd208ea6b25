# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Command line: make an EAGLE-3 head for any Hugging Face target that is built like Llama.

    python -m training.train_draft --target ID --work FOLDER --output FOLDER

1. The target answers many prompts of ten categories (prompts.py, answers.py) and reads documentation (texts.py); its
   hidden features are stored in shards under the work folder (data.py).
2. A head learns to foretell the target's next-token distribution (model.py, distillation.py, trainer.py).
3. It is validated on prompts whose templates and topics it has not met; the best one on the way is saved.

Run it again with the same options to go on where it was stopped: whole shards are kept, and whole parts of an epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from loguru import logger
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.command import command, entry, shown
from models.tt_transformers.demo.speculative_decoding.harness.output import write_whole
from models.tt_transformers.demo.speculative_decoding.harness.terminal import make_console, styled
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import target_fingerprint
from models.tt_transformers.demo.speculative_decoding.hf.loading import DTYPES, load_model
from training.answers import AnswerOptions, end_tokens, make_shard, read_shard
from training.arguments import name_of, parse_arguments, shard_paths
from training.card import card
from training.checkpoint import TrainingState
from training.data import Answer, load_answers
from training.distillation import Teacher, measure_acceptance
from training.files import written
from training.model import HeadModel, spec_for_target
from training.prompts import CATEGORIES, demo_prompts
from training.texts import documentation_texts
from training.trainer import (
    Trainer,
    TrainingOptions,
    check_target,
    choose_vocabulary,
    initial_head,
)

READ_PER_SHARD = 500


def claim_folder(folder: Path, target: PreTrainedModel) -> None:
    """BadInput if what lies in the work folder was made with another target: its features would be learned as ours."""
    mark, found = target_fingerprint(target), folder / "target.txt"
    if found.exists() and found.read_bytes().strip() != mark.encode():
        raise BadInput(f"--work {folder} holds the shards and checkpoints of another target; name another folder")
    write_whole(found, mark + "\n", "--work")


def make_data(
    args: argparse.Namespace,
    target: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    layers: Sequence[int],
    console: Console,
) -> tuple[list[Answer], list[Answer]]:
    """Write the shards that are missing; returns (training, held-out) answers."""
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

    held_out, *paths = shard_paths(args)
    jobs.append((held_out, answering(args.seed, True)))
    jobs += [(path, answering(args.seed + i, False)) for i, path in enumerate(paths[: args.shards])]
    texts = documentation_texts(args.reading_shards * READ_PER_SHARD, args.seed) if args.reading_shards else []
    for i, path in enumerate(paths[args.shards :]):
        if part := texts[i * READ_PER_SHARD : (i + 1) * READ_PER_SHARD]:
            jobs.append((path, reading(part)))
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
    config = target.config.get_text_config()
    sizes: dict[str, Any] = {"width": len(layers) * config.hidden_size, "vocab_size": config.vocab_size}
    sizes["layers"] = layers
    return load_answers([path for path, _ in jobs[1:]], **sizes), load_answers([held_out], **sizes)


def train(
    args: argparse.Namespace,
    target: PreTrainedModel,
    training: list[Answer],
    held_out: list[Answer],
    console: Console,
) -> tuple[HeadModel, Teacher, TrainingState]:
    """Train from where the work folder stands; returns the best head."""
    names = ("epochs", "tokens_per_batch", "learning_rate", "steps", "seed")
    options = TrainingOptions(**{name: getattr(args, name) for name in names})
    written = [answer for answer in training if answer.category != "reading"]
    vocab_size = target.config.get_text_config().vocab_size
    ids = choose_vocabulary(written, args.draft_vocabulary, vocab_size, sorted(end_tokens(target)))
    spec = spec_for_target(target, len(ids), layers=args.layers, name=name_of(args))
    head = initial_head(target, spec, ids, training, seed=args.seed).to(args.device)
    teacher = Teacher.of(target, ids, DTYPES[args.dtype])
    trainer = Trainer(head, teacher, args.work, options)
    if trainer.resume():
        logger.info(f"going on after {trainer.state.seen:,} tokens, in epoch {trainer.state.epoch + 1}")
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=1.0, note="")

        def after_part(state: TrainingState) -> None:
            rates = ", ".join(f"{rate:.3f}" for rate in state.accepted[-1])
            recent = state.losses[-50:]
            loss = f"loss {sum(recent) / len(recent):.3f}"
            console.print(f"{state.seen:,} tokens: {loss}, held out P(accept d_k) = {rates}")
            try:
                plot_learning_curve(state, args.work / "learning_curve.png")
            except BadInput as error:  # a training does not end for its picture
                logger.warning(shown(str(error)))

        best = trainer.run(
            training,
            held_out,
            after_step=lambda fraction, loss: progress.update(task, completed=fraction, note=f"loss {loss:.3f}"),
            after_part=after_part,
        )
    return best, teacher, trainer.state


def plot_learning_curve(state: TrainingState, path: Path) -> None:
    """Loss per step, and held-out acceptance by how many tokens were learned from."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(state.losses, linewidth=0.8)
    left.set(xlabel="step", ylabel="KL to the target, nats per token", title="training")
    for k, rates in enumerate(zip(*state.accepted), start=1):
        right.plot([tokens / 1e6 for tokens in state.tokens], rates, marker=".", label=f"d_{k}")
    right.set(
        xlabel="million answer tokens learned from",
        ylabel="P(accepted | earlier accepted)",
        ylim=(0, 1),
        title="held out",
    )
    right.legend()
    with written(path) as partial:
        figure.savefig(partial, dpi=120, format="png")


def validate(head: HeadModel, teacher: Teacher, held_out: list[Answer]) -> tuple[dict[str, list[float]], Table]:
    """P(accept d_k | earlier accepted), k = 1 to 3, of each category of the held-out answers; and as a table."""
    table = Table(
        "category", "tokens", "d_1", "d_2", "d_3", title="held-out prompts: templates and topics not met in training"
    )
    results: dict[str, list[float]] = {}
    for category in (*CATEGORIES, "all"):
        answers = [answer for answer in held_out if category in (answer.category, "all")]
        if not answers:
            continue
        counts = measure_acceptance(head, teacher, answers)
        rates = (counts[:, 0] / counts[:, 1].clamp_min(1)).tolist()
        results[category] = [round(rate, 4) for rate in rates]
        table.add_row(category, str(int(counts[0, 1])), *(f"{rate:.3f}" for rate in rates))
    return results, table


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 2 if something asked for cannot be done."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parse_arguments(arguments, __doc__)
    console = cast(Console, make_console())  # rich is there: this file imports it
    if args.threads:
        torch.set_num_threads(args.threads)
    target, tokenizer = load_model(args.target, device=args.device, dtype=args.dtype)
    spec = spec_for_target(target, 1, layers=args.layers, name=name_of(args))
    check_target(target, spec)
    claim_folder(args.work, target)
    # The last one is the teacher's: the final normed state.
    layers = (*spec.layers, target.config.get_text_config().num_hidden_layers)
    training, held_out = make_data(args, target, tokenizer, layers, console)
    head, teacher, state = train(args, target, training, held_out, console)
    results, table = validate(head, teacher, held_out)
    tokens = {
        kind: sum(len(a.tokens) - a.prompt_length for a in training if (a.category == "reading") == (kind == "read"))
        for kind in ("answered", "read")
    }
    curve = [[seen, *rates] for seen, rates in zip(state.tokens, state.accepted, strict=True)]
    report = {"held_out": results, "tokens": tokens, "epochs": state.epoch, "learning_curve": curve}
    try:
        head.save(args.output, card=card(head.spec, arguments, report))
    finally:  # whatever became of the file
        write_whole(args.work / "report.json", json.dumps(report, indent=1), "--work")
        console.print(table)
    console.print(styled(f"wrote {args.output} and {args.work / 'report.json'}"))
    return 0


if __name__ == "__main__":
    sys.exit(entry(main))

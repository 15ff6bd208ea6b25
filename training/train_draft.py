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
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import FeatureDraft, target_fingerprint
from models.tt_transformers.demo.speculative_decoding.hf.loading import DTYPES, load_model
from training.answers import AnswerOptions, end_tokens, make_shard, read_shard
from training.arguments import name_of, parse_arguments, shard_paths
from training.checkpoint import TrainingState
from training.data import Answer, load_answers
from training.distillation import Teacher, measure_acceptance
from training.files import written
from training.model import FeatureDraftModel, check_related, spec_for_target
from training.prompts import CATEGORIES, demo_prompts
from training.texts import documentation_texts
from training.trainer import (
    Trainer,
    TrainingOptions,
    check_target,
    choose_vocabulary,
    initial_draft,
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
    sizes = {"width": len(layers) * config.hidden_size, "vocab_size": config.vocab_size}
    return load_answers([path for path, _ in jobs[1:]], **sizes), load_answers([held_out], **sizes)


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
    spec = spec_for_target(target, ids, layers=layers, name=name_of(args))
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
            try:
                plot_learning_curve(state, args.work / "learning_curve.png")
            except BadInput as error:  # a training does not end for its picture
                logger.warning(shown(str(error)))

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
    with written(path) as partial:
        figure.savefig(partial, dpi=120, format="png")


def validate(
    draft: FeatureDraftModel, teacher: Teacher, held_out: list[Answer]
) -> tuple[dict[str, list[float]], Table]:
    """P(accept d_k | earlier accepted), k = 1 to 3, of each category of the held-out answers; and as a table."""
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
    return results, table


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 2 if something asked for cannot be done."""
    args = parse_arguments(arguments, __doc__)
    console = cast(Console, make_console())  # rich is there: this file imports it
    if args.threads:
        torch.set_num_threads(args.threads)
    target, tokenizer = load_model(args.target, device=args.device, dtype=args.dtype)
    spec = spec_for_target(target, torch.arange(1), layers=args.layers and tuple(args.layers), name=name_of(args))
    check_target(target, spec)
    if args.start_from is not None:
        check_related(FeatureDraft.load(args.start_from).spec, spec, args.start_from)
    claim_folder(args.work, target)
    training, held_out = make_data(args, target, tokenizer, spec.layers, console)
    draft, teacher, state = train(args, target, training, held_out, spec.layers, console)
    results, table = validate(draft, teacher, held_out)
    answered = sum(len(answer.tokens) - answer.prompt_length for answer in training)
    notes = {"held_out": json.dumps(results), "trained_tokens": str(answered), "seed": str(args.seed)}
    report = {"held_out": results, "trained_tokens": answered, "epochs": state.epoch, "learning_curve": state.accepted}
    try:
        draft.save(args.output, notes=notes)
    finally:  # whatever became of the file
        write_whole(args.work / "report.json", json.dumps(report, indent=1), "--work")
        console.print(table)
    console.print(styled(f"wrote {args.output} and {args.work / 'report.json'}"))
    return 0


if __name__ == "__main__":
    sys.exit(entry(main))

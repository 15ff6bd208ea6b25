# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The demo: `python -m models.tt_transformers.demo.speculative_decoding.speculative_demo --help`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest
from rich.console import Console
from rich.text import Text

from measuring.reports.arms import by_k
from measuring.results import Run
from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.harness.arguments import parser
from models.tt_transformers.demo.speculative_decoding.harness.comparison import (
    NEAR_TIE_GAP,
    Comparison,
    PromptComparison,
    Request,
)
from models.tt_transformers.demo.speculative_decoding.harness.device_cases import on_device
from models.tt_transformers.demo.speculative_decoding.harness.device_run import check_record, run_on_device, sample_run
from models.tt_transformers.demo.speculative_decoding.harness.opening import open_generator
from models.tt_transformers.demo.speculative_decoding.harness.options import (
    DemoOptions,
    checked,
    pair_listing,
    run_settings,
)
from models.tt_transformers.demo.speculative_decoding.harness.prompts import decoder, encode
from models.tt_transformers.demo.speculative_decoding.harness.record import run_record, write_json
from models.tt_transformers.demo.speculative_decoding.harness.record_extras import (
    add_repeats,
    add_token_texts,
    model_loads,
    provenance,
)
from models.tt_transformers.demo.speculative_decoding.harness.terminal import (
    StreamedText,
    legend,
    make_console,
    report_table,
    result_table,
    round_lines,
    verdict,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MATCHED, DIFFERED, BAD_INPUT = 0, 1, 2
SUBCOMMANDS = ("compare", "report", "estimate")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in SUBCOMMANDS:
        module = importlib.import_module(f"models.tt_transformers.demo.speculative_decoding.{argv[0]}")
        return module.main(argv[1:])
    arguments = parser().parse_args(argv)
    if arguments.list_pairs:
        print(pair_listing())
        return MATCHED
    try:
        return run(checked(arguments), make_console())
    except (BadInput, ModelFailure) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, BadInput) else DIFFERED


def run(options: DemoOptions, console: Console) -> int:
    """Load, compare every prompt, show and write the result."""
    with open_generator(options) as generator:
        tokenizer = cast("PreTrainedTokenizerBase", generator.tokenizer)  # open_generator gives it one
        requests = [Request(prompt, encode(prompt, tokenizer)) for prompt in options.prompts]
        check_lengths(requests, options.max_seq_len)
        comparison = Comparison(generator, num_repeats=options.num_repeats, with_baseline=options.with_baseline)
        batches = [requests[i : i + options.batch_size] for i in range(0, len(requests), options.batch_size)]
        with status(console, "warming up both arms"):
            comparison.warm_up(batches[0])
        if not options.quiet:
            console.print(legend())
        compared: list[PromptComparison] = []
        for batch in batches:
            compared += compare_batch(comparison, batch, f"{len(compared) + 1} of {len(requests)}", options, console)
        record = run_record(run_settings(options), options.sampling, compared)
        add_token_texts(record, decoder(tokenizer))
        record |= model_loads(generator.target, getattr(generator.drafter, "runner", None)) | provenance()
    add_repeats(record, compared)
    if options.show_rounds:
        for row in record["prompts"]:
            console.print(Text("\n".join([f"{row['category']}:", *round_lines(row)])))
    console.print()
    console.print(result_table(record))
    console.print(Text(verdict(record)))
    if record["summary"]["drafted"]:
        console.print()
        console.print(report_table(by_k(Run(record, {})), "rounds by the number of tokens they drafted"))
    if options.json_file is not None:
        write_json(record, options.json_file)
        console.print(Text(f"written: {options.json_file}"))
    near_tie_gap = 0.0 if options.exact else NEAR_TIE_GAP[options.dtype]
    return MATCHED if all(one.matched(near_tie_gap) for one in compared) else DIFFERED


def compare_batch(
    comparison: Comparison, batch: Sequence[Request], number: str, options: DemoOptions, console: Console
) -> list[PromptComparison]:
    """Both arms on one batch, with a progress line; the text of its first prompt streams if it is wanted."""
    heading = f"prompt {number}: {', '.join(request.prompt.category for request in batch)}"
    stream = None
    if options.quiet:
        console.print(Text(heading))
    else:
        console.rule(Text(heading), align="left", style="dim")
        tokenizer = cast("PreTrainedTokenizerBase", comparison.generator.tokenizer)
        stream = StreamedText(console, decoder(tokenizer))
    compared = comparison.run(
        batch, max_new_tokens=options.max_new_tokens, stop_strings=options.stop_strings, on_token=stream
    )
    if stream is not None:
        console.print()
    return compared


@contextmanager
def status(console: Console, what: str) -> Iterator[None]:
    """A progress line: a spinner on a terminal, a plain line elsewhere."""
    if console.is_terminal:
        with console.status(what):
            yield
    else:
        console.print(Text(what))
        yield


def check_lengths(requests: Sequence[Request], max_seq_len: int) -> None:
    """BadInput names the first prompt that leaves no room for a new token."""
    for number, request in enumerate(requests, start=1):
        if len(request.token_ids) >= max_seq_len:
            raise BadInput(
                f"prompt {number} has {len(request.token_ids)} tokens, and --max-seq-len {max_seq_len} must hold it "
                "and at least one new token; shorten it or raise --max-seq-len"
            )


@on_device
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    "pair, num_draft_tokens, users, temperature, num_prompts, max_new_tokens",
    [
        pytest.param("llama-1b-3b", 2, 1, 0.0, 10, 128, id="1b-3b-greedy-batch1"),
        pytest.param("llama-1b-8b", 3, 1, 0.0, 10, 128, id="1b-8b-greedy-batch1"),
        pytest.param("llama-1b-8b", 3, 1, 0.8, 10, 128, id="1b-8b-sampling-batch1"),
        pytest.param("llama-1b-8b", 3, 4, 0.0, 10, 128, id="1b-8b-greedy-batch4"),
        pytest.param("llama-1b-8b", 2, 1, 0.0, 1, 32, id="ci-smoke"),
    ],
)
def test_speculative_demo(
    pair, num_draft_tokens, users, temperature, num_prompts, max_new_tokens, optimizations, mesh_device, device_params,
    reset_seeds,
):  # fmt: skip
    """The pytest demo on a device: the stock target, then the pair, on the same prompts; lossless up to near-ties."""
    run = sample_run(
        pair,
        num_prompts=num_prompts,
        num_draft_tokens=num_draft_tokens,
        users=users,
        sampling=SamplingParams(temperature=temperature),
        max_new_tokens=max_new_tokens,
        optimizations=optimizations,
    )
    check_record(run_on_device(mesh_device, run))


if __name__ == "__main__":
    sys.exit(main())

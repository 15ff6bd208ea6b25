# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The demo: `python -m models.tt_transformers.demo.speculative_decoding.speculative_demo --help`; pytest: on device."""

import argparse
import contextlib
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.tt_transformers.demo.speculative_decoding.harness.command import quiet_interrupts

if __name__ == "__main__":  # before torch is imported
    quiet_interrupts()

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness import terminal
from models.tt_transformers.demo.speculative_decoding.harness.arguments import parser
from models.tt_transformers.demo.speculative_decoding.harness.chat import chat
from models.tt_transformers.demo.speculative_decoding.harness.command import DIFFERED, MATCHED, command, entry, one_line
from models.tt_transformers.demo.speculative_decoding.harness.comparison import Comparison, OnToken
from models.tt_transformers.demo.speculative_decoding.harness.opening import open_bench
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions, checked, fitted, output_file
from models.tt_transformers.demo.speculative_decoding.harness.pairs import pair_listing
from models.tt_transformers.demo.speculative_decoding.harness.prompts import TokenizedPrompt
from models.tt_transformers.demo.speculative_decoding.harness.record import result_file, run_record, write_json
from models.tt_transformers.demo.speculative_decoding.harness.verdict import bars, headline, verdict
from models.tt_transformers.demo.speculative_decoding.sequences import decoder

# Subcommand -> the folder of its module: beside the package's tree, so a copy of this folder alone does not have it.
SUBCOMMANDS = {name: "measuring" for name in ("compare", "report", "estimate", "project")} | {"train_draft": "training"}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in SUBCOMMANDS:
        return subcommand(argv[0]).main(argv[1:])
    arguments = parser().parse_args(argv)
    if arguments.list_pairs:
        print(pair_listing())
        return MATCHED
    if arguments.chat:
        return chat(arguments)
    files = outputs(arguments)
    options = fitted(checked(arguments), arguments.max_seq_len)
    return run(options, show_rounds=arguments.show_rounds, quiet=arguments.quiet, files=files)


def subcommand(name: str, wanted: str = "") -> Any:
    """Its module; BadInput, saying what `wanted` it, if it or a library that it needs is not here."""
    package = SUBCOMMANDS[name]
    try:
        return importlib.import_module(f"{package}.{name}")
    except ModuleNotFoundError as error:
        place = f"it lives in {package}/ at the root of the speculative decoding repository; run it from there"
        reason = f"is not part of this folder: {place}"
        if error.name not in (package, f"{package}.{name}"):
            reason = f"needs the library {error.name}, which is not installed; install it (requirements.txt)"
        raise BadInput(f"{wanted or name} {reason}") from error


def outputs(arguments: argparse.Namespace) -> dict[Path, Callable[[dict[str, Any], Path], None]]:
    """The files that the result is written to, each with what writes it; BadInput if one cannot be written."""
    files: dict[Path, Callable[[dict[str, Any], Path], None]] = {}
    if (file := output_file(arguments, "json")) is not None:
        files[file] = write_json
    if (page := output_file(arguments, "html")) is not None:
        if file is not None and page.resolve() == file.resolve():
            raise BadInput(f"--html {page} is also --json's file; name two")
        files[page] = subcommand("report", "--html").write_page
    return files


def run(
    options: RunOptions,
    *,
    show_rounds: bool,
    quiet: bool,
    files: Mapping[Path, Callable[[dict[str, Any], Path], None]],
) -> int:
    """Load, compare every prompt, show and write the result; returns the exit status."""
    console = terminal.make_console()
    with open_bench(options) as bench:
        comparison, decode = Comparison(bench, [options]), decoder(bench.tokenizer)
        console.print("warming up both arms")
        comparison.warm_up()
        watched_run(comparison, console, None if quiet else terminal.StreamedText(console, decode))
        record = result_file(run_record(comparison.arms[0], decode, undrafted=comparison.undrafted), bench)
        if bench.mesh_device is not None:
            from models.tt_transformers.demo.speculative_decoding.harness.device_run import traffic_of_rounds

            record["traffic"] = traffic_of_rounds(bench, options, comparison.requests[0].token_ids)
    for file, write in files.items():
        try:
            write(record, file)
        except BadInput:  # is said whatever becomes of the screen, and the other way round
            with contextlib.suppress(OSError):
                show(record, console, show_rounds=show_rounds)
            raise
        console.print(terminal.styled(one_line(f"written: {file}")))
    show(record, console, show_rounds=show_rounds)
    return MATCHED if comparison.matched else DIFFERED


def show(record: dict[str, Any], console: Any, *, show_rounds: bool = False) -> None:
    """The tables and the verdict."""
    if show_rounds:
        for row in record["prompts"]:
            console.print(terminal.styled("\n".join([f"{one_line(row['category'])}:", *terminal.round_lines(row)])))
    texts = [terminal.result_table(record), ""]
    if record["summary"]["drafted"]:
        texts += [terminal.rounds_table(record), ""]
    texts += [verdict(record), "", *bars(record), "", *headline(record)]
    console.print(terminal.styled("\n".join(["", *texts])))


def watched_run(comparison: Comparison, console: Any, stream: terminal.StreamedText | None) -> None:
    """Run it with a heading per batch, and the text of each batch's first prompt as it comes if there is a stream."""

    def watch(batch: Sequence[TokenizedPrompt], done: int) -> OnToken | None:
        if stream and done:
            stream.finish()
        categories = one_line(", ".join(request.prompt.category for request in batch))
        console.print(terminal.styled(f"prompt {done + 1} of {len(comparison.requests)}: {categories}", "bold"))
        return stream

    if stream:
        terminal.show_legend(console)
    comparison.run(watch)
    if stream:
        stream.finish()


def pytest_generate_tests(metafunc: Any) -> None:
    """pytest's hook: the demo's cases on a device. (So that this file needs no pytest to be a command line.)"""
    from models.tt_transformers.demo.speculative_decoding.harness.device_cases import DEMO_CASES, on_device

    on_device(metafunc, DEMO_CASES, timeout_s=7200)


def test_speculative_demo(case, optimizations, mesh_device, device_params, reset_seeds):
    """The pytest demo on a device."""
    from models.tt_transformers.demo.speculative_decoding.harness.device_cases import run_case

    run_case(case, optimizations, mesh_device)


if __name__ == "__main__":
    sys.exit(entry(main))

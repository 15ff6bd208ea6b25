# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What all commands share: errors on one line, output that no terminal chokes on, a quiet end when it is cut short."""

import argparse
import functools
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure

MATCHED, DIFFERED, BAD_INPUT = 0, 1, 2
INTERRUPTED, CLOSED_PIPE = 130, 141  # as a shell reports SIGINT and SIGPIPE
# Control characters (but tab and newline), and those that turn the direction of what follows: text must not act.
_ACTING = [*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _ACTING if chr(code) not in "\t\n"}
Main: TypeAlias = Callable[[Sequence[str] | None], int]


def shown(text: str) -> str:
    """The text with its control characters spelt out."""
    return text.translate(_SHOWN)


def say(kind: str, message: object) -> None:
    """One line on standard error, whatever the message holds."""
    print(f"{kind}: {shown(' '.join(str(message).split()))}", file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """Its errors quote what was typed."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


def command(main: Main) -> Main:
    """`main`, whose BadInput and ModelFailure become one line and an exit status. Meanwhile standard output shows "?"
    for what its encoding does not have."""

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        stream, errors = sys.stdout, getattr(sys.stdout, "errors", None)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        try:
            return main(argv)
        except (BadInput, ModelFailure) as error:
            say("error", error)
            return BAD_INPUT if isinstance(error, BadInput) else DIFFERED
        finally:
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=errors)

    return run


def entry(main: Main) -> int:
    """`main` for a shell: Ctrl-C and a reader that left (`| head`) end it quietly, with the status that shells give."""
    try:
        try:
            return main(None)
        finally:
            print(end="", flush=True)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in filter(None, (sys.stdout, sys.stderr)):  # what they hold must not complain when Python ends
            os.dup2(nowhere, stream.fileno())
        return CLOSED_PIPE

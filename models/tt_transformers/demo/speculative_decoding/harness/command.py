# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What all commands share: errors on one line, output that no terminal chokes on, a quiet end when it is cut short."""

import argparse
import contextlib
import functools
import io
import math
import os
import reprlib
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure

MATCHED, DIFFERED, BAD_INPUT = 0, 1, 2
INTERRUPTED, CLOSED_PIPE = 130, 141  # as a shell reports SIGINT and SIGPIPE
# Control characters (but tab and newline), other ends of lines, and those that turn the direction of what follows: text
# must not act.
_ACTING = [*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x2070)]
_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _ACTING if chr(code) not in "\t\n"}
Main: TypeAlias = Callable[[Sequence[str] | None], int]


def shown(text: str) -> str:
    """The text with its control characters spelt out."""
    return text.translate(_SHOWN)


def one_line(text: object) -> str:
    """The text as shown() in one line, whatever it holds."""
    return shown(" ".join(str(text).split()))


def say(kind: str, message: object) -> None:
    """One line on standard error, if that can be written."""
    with contextlib.suppress(OSError):
        print(f"{kind}: {one_line(message)}", file=sys.stderr, flush=True)


class Parser(argparse.ArgumentParser):
    """Its errors are BadInput."""

    def error(self, message: str) -> NoReturn:
        """Not the whole usage: one line."""
        raise BadInput(f"{message}; see --help")


def number(kind: type[int] | type[float], least: float, most: float = math.inf) -> Callable[[str], Any]:
    """An option's type: an int or a float from `least` to `most`."""

    def parse(text: str) -> int | float:
        with contextlib.suppress(ValueError):
            if least <= (value := kind(text)) <= most:
                return value
        limits = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
        what = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"{reprlib.repr(text)} was given, and it must be {what} {limits}")

    return parse


def command(main: Main) -> Main:
    """`main`, whose BadInput and ModelFailure become one line and an exit status, as does an output that takes no more.
    Meanwhile standard output shows "?" for what its encoding does not have."""

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        stream, errors = sys.stdout, getattr(sys.stdout, "errors", None)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        try:
            status = main(argv)
            print(end="", flush=True)
            return status
        except (BadInput, ModelFailure) as error:
            say("error", error)
            return BAD_INPUT if isinstance(error, BadInput) else DIFFERED
        except OSError as error:
            return _full(error)
        finally:
            if isinstance(stream, io.TextIOWrapper):
                with contextlib.suppress(OSError):  # it is said already
                    stream.reconfigure(errors=errors)

    return run


def _full(error: OSError) -> int:
    """Say what could not be written or read (Python does not name a stream); the exit status. A closed pipe: on."""
    if isinstance(error, BrokenPipeError):
        raise error
    what = f"{error.filename or 'standard output'} cannot be used ({error.strerror})"
    say("error", f"{what}; make room for it, or choose another place" if error.errno else error)
    return BAD_INPUT


def quiet_interrupts() -> None:
    """Until entry() Ctrl-C ends Python at once and quietly: the imports of torch take seconds."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell wants it to be ignored
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))


def entry(main: Main) -> int:
    """`main` for a shell: Ctrl-C, a reader that left (`| head`) and a full disk end it quietly, with the status that
    shells give."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    status = MATCHED
    try:
        try:
            status = main(None)
        finally:
            print(end="", flush=True)
    except KeyboardInterrupt:
        exec("")  # if it passed through an exec() (of a dataclass), python -m would end by the signal, but for this
        return INTERRUPTED
    except OSError as error:
        status = CLOSED_PIPE if isinstance(error, BrokenPipeError) else status or _full(error)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in filter(None, (sys.stdout, sys.stderr)):  # what they hold must not complain when Python ends
            with contextlib.suppress(OSError):  # no file
                os.dup2(nowhere, stream.fileno())
    return status

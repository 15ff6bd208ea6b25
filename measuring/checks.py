# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What the commands of this folder check of their options before any work."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from models.tt_transformers.demo.speculative_decoding.errors import BadInput

MOST_DIGITS = 18  # of a number that is looked at: Python refuses to read thousands of digits
MOST_QUOTED = 60  # characters of what was typed


def brief(text: str) -> str:
    """The text as an error quotes it."""
    return text if len(text) <= MOST_QUOTED else f"{text[:MOST_QUOTED]}..."


def number(word: str, least: int, most: int | None = None) -> int | None:
    """The number of at least `least` (and at most `most`) that the word is; None if it is none."""
    if not word.isdecimal() or len(word) > MOST_DIGITS:
        return None
    return found if least <= (found := int(word)) and (most is None or found <= most) else None


def words(text: str) -> list[str]:
    """ "1, 4" -> ["1", "4"], each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",")))


def numbers(option: str, text: str, least: int, most: int | None = None) -> list[int]:
    """ "4,1" -> [1, 4]; BadInput names what is no number, too small or too large."""
    found = {word: number(word, least, most) for word in words(text)}
    wanted = f"of at least {least}" if most is None else f"from {least} to {most}"
    for word, value in found.items():
        if value is None:
            raise BadInput(
                f"{option} {brief(text)}: {brief(word)!r} is not a number {wanted}; separate them with commas"
            )
    return sorted({value for value in found.values() if value is not None})


def refuse_empty(arguments: argparse.Namespace, names: Sequence[str]) -> None:
    """BadInput if one of the options was given an empty text: none of them means anything then."""
    for name in names:
        if getattr(arguments, name) == "":
            raise BadInput(f"--{name.replace('_', '-')} was given an empty text; drop it, or say what it should be")


def check_apart(option: str, output: Path, others: Iterable[str | Path | None], what: str = "is read") -> None:
    """BadInput if the file to write is one of the others, which would be lost."""
    place = os.path.realpath(output)
    for other in others:
        if other is not None and os.path.realpath(other) == place:
            raise BadInput(f"{option} {output}: this very file {what} by the same command; name another")

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Files that results go to: checked before the work, written whole or not at all, and not lost if that fails."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tempfile
import uuid
from pathlib import Path

from models.tt_transformers.demo.speculative_decoding.errors import BadInput

# The folder admits no new file, or the file is mounted by itself: written as it lies, if at all.
_NOT_REPLACEABLE = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.EROFS)


def checked_output(option: str, given: str | Path, *, make_folders: bool = False) -> Path:
    """The file that `given` names; BadInput, with the option's name, if nothing can be written there."""
    try:
        if make_folders:
            Path(given).parent.mkdir(parents=True, exist_ok=True)
        reason = _refusal(str(given))
    except OSError as error:
        reason = f"it cannot be written ({error.strerror}); choose another place"
    if reason is not None:
        raise BadInput(f"{option} {given}: {reason}")
    return Path(given)


def _refusal(given: str) -> str | None:
    if not given or given.endswith(os.sep) or os.path.isdir(given):
        return "a file must be named, and this is a folder" if given else "the name of a file is missing"
    found = _found(given)
    if found is not None and _open_output(found) is None:
        return None if os.access(given, os.W_OK) else "it may not be written; change its permissions or name another"
    if found is None:
        folder = os.path.dirname(os.path.realpath(given))
        if not os.path.isdir(folder):
            return f"there is no folder {folder}; make it first"
        with tempfile.NamedTemporaryFile(dir=folder):  # a folder on a read-only disk looks writable to root
            pass
    return None


def write_file(path: str | Path, content: bytes) -> None:
    """Into a regular file's place whole or not at all, links followed; into a pipe or device as it comes. OSError."""
    found = _found(path)
    number = _open_output(found)
    if found is not None and (number is not None or not stat.S_ISREG(found.st_mode)):
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        with open(path if number is None else number, "wb", closefd=number is None) as file:
            file.write(content)
        return
    place = os.path.realpath(path)
    partial = os.path.join(os.path.dirname(place), f".{uuid.uuid4().hex}.partial")
    try:
        with open(partial, "xb") as file:
            if found is not None:
                os.chmod(partial, stat.S_IMODE(found.st_mode))
            file.write(content)
        os.replace(partial, place)
    except OSError as error:
        if found is None or error.errno not in _NOT_REPLACEABLE:
            raise
        Path(place).write_bytes(content)
    finally:
        with contextlib.suppress(OSError):  # gone already unless something failed
            os.unlink(partial)


def write_whole(path: str | Path, text: str, option: str = "--json") -> None:
    """Write the text; if that fails, into a temporary file, which the BadInput names."""
    content = text.encode("utf-8", "backslashreplace")  # half a surrogate pair becomes its JSON escape
    try:
        write_file(path, content)
    except OSError as error:
        with tempfile.NamedTemporaryFile(prefix="results-", suffix=Path(path).suffix, delete=False) as kept:
            kept.write(content)
        reason = f"{option} {path} cannot be written ({error.strerror or error})"
        raise BadInput(f"{reason}; the results are in {kept.name} instead") from error


def _found(path: str | Path) -> os.stat_result | None:
    """What lies there, behind links; None if nothing does."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _open_output(found: os.stat_result | None) -> int | None:
    """The descriptor of standard output or error, if that is what was found: replacing its file would lose the rest."""
    for number in (1, 2):
        with contextlib.suppress(OSError):  # closed
            if found is not None and os.path.samestat(found, os.fstat(number)):
                return number
    return None

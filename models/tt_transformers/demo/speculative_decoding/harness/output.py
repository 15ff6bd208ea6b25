# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Files that results go to: checked before the work, written whole or not at all, and not lost if that fails."""

import contextlib
import os
import stat
import tempfile
import uuid
from pathlib import Path

from models.tt_transformers.demo.speculative_decoding.errors import BadInput


def checked_output(option: str, given: str | Path, *, make_folders: bool = False) -> Path:
    """The file that `given` names; BadInput, with the option's name, if nothing can be written there."""
    try:
        if make_folders:
            Path(given).parent.mkdir(parents=True, exist_ok=True)
        if (reason := _refusal(str(given))) is None:
            return Path(given)
    except OSError as error:
        reason = f"it cannot be written ({error.strerror}); choose another place"
    raise BadInput(f"{option} {given}: {reason}")


def _refusal(given: str) -> str | None:
    if not given or given.endswith(os.sep) or os.path.isdir(given):
        return "a file must be named, and this is a folder" if given else "the name of a file is missing"
    mode, folder = _mode(given), os.path.dirname(os.path.realpath(given))
    if mode is not None and not os.access(given, os.W_OK):
        return "it may not be written; change its permissions or name another"
    if not os.path.isdir(folder):
        return f"there is no folder {folder}; make it first"
    if mode is None or stat.S_ISREG(mode):
        tempfile.NamedTemporaryFile(dir=folder).close()  # a folder on a read-only disk looks writable to root
    return None


def _write(path: str | Path, content: bytes) -> None:
    """Into a regular file's place whole or not at all, links followed; into a pipe or device as it comes. OSError."""
    mode, stream = _mode(path), _open_stream(path)
    if stream is not None or (mode is not None and not stat.S_ISREG(mode)):
        print(end="", flush=True)
        with open(path if stream is None else stream, "wb", closefd=stream is None) as file:
            file.write(content)
        return
    place = Path(os.path.realpath(path))
    partial = place.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(content)
        if mode is not None:
            partial.chmod(stat.S_IMODE(mode))
        os.replace(partial, place)
    finally:
        partial.unlink(missing_ok=True)


def _open_stream(path: str | Path) -> int | None:
    """The descriptor of standard output or error if the path leads there: writing goes on behind what was printed, as
    opening the file of a redirected stream anew would overwrite that."""
    for number in (1, 2):
        with contextlib.suppress(OSError):  # nothing there yet, or a closed stream
            if os.path.samestat(os.stat(path), os.fstat(number)):
                return number
    return None


def write_whole(path: str | Path, text: str | bytes, option: str = "--json") -> None:
    """Write the text; if that fails, into a temporary file, which the BadInput names."""
    # Half a surrogate pair becomes its JSON escape.
    content = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
    try:
        _write(path, content)
    except OSError as error:
        with tempfile.NamedTemporaryFile(prefix="results-", suffix=Path(path).suffix, delete=False) as kept:
            kept.write(content)
        reason = f"{option} {path} cannot be written ({error.strerror or error})"
        raise BadInput(f"{reason}; the results are in {kept.name} instead") from error


def _mode(path: str | Path) -> int | None:
    """Of what lies there, behind links; None if nothing does."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None

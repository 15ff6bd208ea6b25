# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Files that results go to: checked before the work, written whole or not at all, and not lost if that fails."""

import contextlib
import fcntl
import os
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from models.tt_transformers.demo.speculative_decoding.errors import BadInput

# How the names of the files begin that a model's folder is read for.
MODEL_FILES = tuple("config generation_config model pytorch_model tokenizer special added chat vocab merges".split())


def checked_output(
    option: str, given: str | Path, *, make_folders: bool = False, inputs: Iterable[str | Path | None] = ()
) -> Path:
    """The file that `given` names; BadInput, with the option's name, if nothing can be written there, or if it is one
    of the inputs: files, or folders of models."""
    try:
        if make_folders:
            Path(given).parent.mkdir(parents=True, exist_ok=True)
        if (reason := _refusal(str(given), inputs)) is None:
            return Path(given)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = f"it cannot be written ({getattr(error, 'strerror', error)}); choose another place"
    raise BadInput(f"{option} {given}: {reason}")


def _refusal(given: str, inputs: Iterable[str | Path | None]) -> str | None:
    if not given or given.endswith(os.sep) or os.path.isdir(given):
        return "a file must be named, and this is a folder" if given else "the name of a file is missing"
    mode, folder = _mode(given), os.path.dirname(os.path.realpath(given))
    is_file = mode is not None and stat.S_ISREG(mode)
    for read in inputs if is_file else ():
        if read and _holds(read, given):
            return f"it is an input ({read}), and would be lost; name another file"
    opened = [writable for _, writable in _descriptors(given)]
    if any(opened):
        return None
    if opened and is_file:
        return "it is open for reading only; name another file"
    if mode is not None and (stat.S_ISSOCK(mode) or stat.S_ISBLK(mode)):
        return f"it is a {'socket' if stat.S_ISSOCK(mode) else 'disk'}; name a file"
    if mode is not None and not os.access(given, os.W_OK):
        return "it may not be written; change its permissions or name another"
    if not os.path.isdir(folder):
        return f"there is no folder {folder}; make it first"
    if mode is None or is_file:
        tempfile.NamedTemporaryFile(dir=folder).close()  # a folder on a read-only disk looks writable to root
    return None


def _write(path: str | Path, content: bytes) -> None:
    """Into a regular file's place whole or not at all, links followed; into a pipe or device as it comes. OSError."""
    mode, stream = _mode(path), next((number for number, writable in _descriptors(path) if writable), None)
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


def _descriptors(path: str | Path) -> Iterator[tuple[int, bool]]:
    """What this process was given, or has, open on what the path means: the descriptor, and whether it is for writing.
    Writing goes on there (standard output, /dev/fd/3), as opening the file anew would overwrite what is before."""
    for number in sorted(map(int, os.listdir("/dev/fd"))) if os.path.isdir("/dev/fd") else (1, 2):
        with contextlib.suppress(OSError):  # nothing there yet, or a closed stream
            if os.path.samestat(os.stat(path), os.fstat(number)):
                yield number, fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def _holds(name: str | Path, given: str) -> bool:
    """Whether an input is the file `given`, or a model's folder that is read for it."""
    with contextlib.suppress(OSError):  # one that cannot be read is refused elsewhere
        folder = os.scandir(name) if os.path.isdir(name) else ()
        files = [entry.path for entry in folder if entry.name.startswith(MODEL_FILES)] or [str(name)]
        return any(os.path.samefile(file, given) for file in files if os.path.isfile(file))
    return False


def write_whole(path: str | Path, text: str | bytes, option: str = "--json") -> None:
    """Write the text; if that fails, into a temporary file, which the BadInput names, or at last on standard error."""
    # Half a surrogate pair becomes its JSON escape.
    content = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
    try:
        _write(path, content)
    except OSError as error:
        reason = f"{option} {path} cannot be written ({error.strerror or error})"
        raise BadInput(f"{reason}; {_kept(text, content, Path(path).suffix)}") from error


def _kept(text: str | bytes, content: bytes, suffix: str) -> str:
    with contextlib.suppress(OSError):
        with tempfile.NamedTemporaryFile(prefix="results-", suffix=suffix, delete=False) as kept:
            kept.write(content)
        return f"the results are in {kept.name} instead"
    if isinstance(text, bytes):
        return "nor can a temporary file, and the results are lost; make room, or set TMPDIR to a folder that has some"
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    return "nor can a temporary file: the results are printed above"


def _mode(path: str | Path) -> int | None:
    """Of what lies there, behind links; None if nothing does."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None

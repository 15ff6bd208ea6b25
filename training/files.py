# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The work folder's files: written whole or not at all, and what is said of one that is damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from models.tt_transformers.demo.speculative_decoding.errors import BadInput


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A file to write, which then takes the place of `path` (its folder is made again if it has gone).

    Raises:
        BadInput: it cannot be written; what lay there is as it was.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        what = f"--work {path.parent}: {path.name} cannot be written ({reason})"
        raise BadInput(f"{what}; what was finished before is kept: mend that, and run it again") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def damaged(path: Path, why: object, remedy: str) -> BadInput:
    """The error about a file that cannot be used."""
    return BadInput(f"--work: {path} cannot be used ({why}); {remedy}")

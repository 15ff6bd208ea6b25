# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Build the environment of the mocked-Wormhole tests: a Python 3.12 or 3.10 of its own with requirements.txt installed.

Usage: python tests/mock_wormhole/make_env.py [DIRECTORY]   (default: $SPECDEC_TTNN_ENV, or the repository's .venv-ttnn)

Prints the environment's Python. An environment that is there and up to date is left as it is. Needs the standard
library alone. Exit status 1, with the reason, when no such Python is found or something cannot be installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
PYTHONS = ("python3.12", "python3.10")  # the ttnn wheel is for these two
INSTALLED = "installed-requirements.txt"  # what an environment was built from, kept in it


class EnvUnavailable(Exception):
    """The environment cannot be built on this machine; the message says why."""


def default_directory() -> Path:
    """$SPECDEC_TTNN_ENV, or .venv-ttnn in the repository."""
    return Path(os.environ.get("SPECDEC_TTNN_ENV") or HERE.parents[1] / ".venv-ttnn")


def find_python() -> str:
    """A Python 3.12 or 3.10 that really runs (a pyenv shim may name a version that is not active).

    Raises:
        EnvUnavailable: neither is on PATH or under pyenv.
    """
    for python in _candidates():
        try:
            answer = subprocess.run([python, "--version"], capture_output=True, text=True, timeout=60, check=False)
        except OSError:
            continue
        if answer.returncode == 0 and answer.stdout.startswith(("Python 3.12.", "Python 3.10.")):
            return python
    raise EnvUnavailable(
        f"no Python 3.12 or 3.10 on PATH or under pyenv; the ttnn wheel in {REQUIREMENTS.name} needs one"
    )


def _candidates() -> Iterator[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for name in PYTHONS:
        yield name
        yield from (str(python) for python in sorted(pyenv.glob(f"versions/*/bin/{name}")))


def make_env(directory: Path) -> Path:
    """Build the environment in `directory`, unless it is there already, and return its Python.

    Raises:
        EnvUnavailable: there is no suitable Python, or the requirements cannot be installed.
    """
    python = directory / "bin/python"
    installed = directory / INSTALLED
    requirements = REQUIREMENTS.read_text()
    if python.exists() and installed.exists() and installed.read_text() == requirements:
        return python
    if directory.exists() and any(directory.iterdir()) and not (directory / "pyvenv.cfg").exists():
        raise EnvUnavailable(f"{directory} is there and is no virtual environment; name another directory")
    _run(find_python(), "-m", "venv", "--clear", str(directory))
    _run(str(python), "-m", "pip", "install", "--disable-pip-version-check", "-q", "-r", str(REQUIREMENTS))
    installed.write_text(requirements)
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        last_lines = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise EnvUnavailable(f"`{' '.join(command)}` failed:\n{last_lines}")


def main(arguments: list[str]) -> int:
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        print(make_env(Path(arguments[0]) if arguments else default_directory()))
    except EnvUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

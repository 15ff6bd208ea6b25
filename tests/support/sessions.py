# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""pytest sessions in a process of their own, one after another, so that torch is imported once for all of them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Session:
    """What to call pytest with, where, and the environment's changes."""

    arguments: Sequence[str]
    folder: str = str(ROOT)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A session's exit status and what it printed."""

    status: int
    output: str


def run_sessions(*sessions: Session) -> list[Outcome]:
    """The outcome of each, in order; AssertionError if their process ended otherwise."""
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    for name in ("HF_MODEL", "MESH_DEVICE", "TT_METAL_SLOW_DISPATCH_MODE"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "support.sessions", json.dumps([asdict(session) for session in sessions])]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return [Outcome(**outcome) for outcome in json.loads(done.stdout.splitlines()[-1])]


def _run(session: Session) -> Outcome:
    os.chdir(session.folder)
    os.environ.update(session.environment)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = pytest.main([*session.arguments, "-p", "no:cacheprovider", "-q"])
    return Outcome(int(status), printed.getvalue())


if __name__ == "__main__":
    print(json.dumps([asdict(_run(Session(**session))) for session in json.loads(sys.argv[1])]))

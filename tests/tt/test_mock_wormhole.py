# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Run tests/mock_wormhole (real ttnn, no device) in the environment that it needs, once per board.

ttnn's wheel is for Python 3.12 and 3.10, so the tests run in a subprocess; $SPECDEC_TTNN_ENV, or .venv-ttnn in the
repository, keeps that environment from run to run. Skipped with the reason where it cannot be built.
"""

import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from mock_wormhole import make_env

MOCK_TESTS = Path(make_env.__file__).resolve().parent


@pytest.fixture(scope="module")
def ttnn_python():
    try:
        return make_env.make_env(make_env.default_directory())
    except make_env.EnvUnavailable as reason:
        pytest.skip(str(reason))


def run_mock_tests(python, board, report, *selection):
    """One pytest session on one mocked board: the process, and how many tests passed, failed and were skipped."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "TT_"))}
    process = subprocess.run(
        [str(python), "-m", "pytest", str(MOCK_TESTS), "-q", "--tb=short", f"--junitxml={report}", *selection],
        cwd=report.parent,
        env={**own, "MOCK_WORMHOLE_BOARD": board, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    suites = ElementTree.parse(report).getroot().iter("testsuite") if report.exists() else ()
    counts = [{key: int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped")} for suite in suites]
    failed = sum(count["failures"] + count["errors"] for count in counts)
    skipped = sum(count["skipped"] for count in counts)
    return process, sum(count["tests"] for count in counts) - failed - skipped, failed, skipped


@pytest.mark.slow
@pytest.mark.timeout(1200)  # building the environment is a large download
@pytest.mark.parametrize("board", ["n150", "n300"])
def test_real_ttnn_takes_what_we_hand_it(ttnn_python, tmp_path, board):
    process, passed, failed, skipped = run_mock_tests(ttnn_python, board, tmp_path / "report.xml")
    assert process.returncode == 0, process.stdout[-10000:]
    assert (failed, skipped) == (0, 0), process.stdout[-10000:]
    assert passed > 0


@pytest.mark.slow
@pytest.mark.timeout(1200)  # building the environment is a large download
def test_a_run_that_is_wrong_would_be_seen(ttnn_python, tmp_path):
    """Negative control: nothing selected, and a board that does not exist."""
    process, passed, _, _ = run_mock_tests(ttnn_python, "n150", tmp_path / "none.xml", "-k", "no_such_test")
    assert process.returncode != 0 and passed == 0
    process, passed, _, _ = run_mock_tests(ttnn_python, "p150", tmp_path / "board.xml")
    assert process.returncode != 0 and passed == 0
    assert "MOCK_WORMHOLE_BOARD is 'p150'" in process.stdout


class TestEnvironment:
    def test_needs_one_of_two_pythons(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
        with pytest.raises(make_env.EnvUnavailable, match="no Python 3.12 or 3.10 on PATH or under pyenv"):
            make_env.find_python()

    def test_is_not_fooled_by_a_shim(self, monkeypatch, tmp_path):
        """pyenv puts a python3.12 on PATH that only says that the version is not active."""
        shim = tmp_path / "python3.12"
        shim.write_text("#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2\nexit 127\n")
        real = tmp_path / "versions/3.10.13/bin/python3.10"
        real.parent.mkdir(parents=True)
        real.write_text("#!/bin/sh\necho Python 3.10.13\n")
        for program in (shim, real):
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
        assert make_env.find_python() == str(real)

    def test_overwrites_no_other_directory(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(make_env.EnvUnavailable, match="no virtual environment"):
            make_env.make_env(tmp_path)
        assert (tmp_path / "thesis.txt").read_text() == "years of work"

    def test_that_is_there_is_left_alone(self, monkeypatch, tmp_path):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/python").touch()
        (tmp_path / make_env.INSTALLED).write_text(make_env.REQUIREMENTS.read_text())
        monkeypatch.setenv("PATH", "")
        assert make_env.make_env(tmp_path) == tmp_path / "bin/python"

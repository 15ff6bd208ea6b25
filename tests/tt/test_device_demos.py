# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The package's own pytest demos, as somebody with a device calls them, on the fake device with tiny models."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny import tiny_llama

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "models/tt_transformers/demo/speculative_decoding"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A target and its copy as the draft, long enough for the longest sample prompt and 128 tokens."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("target", "draft"):
        tiny_llama(1, vocab=80, positions=2048).save_pretrained(folder / name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "file, selected, passed",
    [
        ("speculative_demo.py", "performance and (ci-smoke or 1b-8b)", 4),
        ("test_llama_models.py", "performance and (k1 or k4)", 2),
        ("test_llama_8b_models.py", "accuracy and k3", 1),
        ("baseline_3b_test.py", "performance", 1),
        ("baseline_8b_test.py", "accuracy", 1),
        ("multi_prompt_3b_test.py", "performance and k2", 1),
        ("multi_prompt_8b_test.py", "performance and k4", 1),
    ],
)
def test_passes(models, tmp_path, file, selected, passed):
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("HF_MODEL", "MESH_DEVICE")},
        "SPECULATIVE_TARGET": str(models / "target"),
        "SPECULATIVE_DRAFT": str(models / "draft"),
        "TT_CACHE_PATH": str(tmp_path / "cache"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "OMP_NUM_THREADS": "1",
    }
    options = [
        "-c",
        str(ROOT / "pytest.ini"),
        "--rootdir",
        str(ROOT),
        "-p",
        "fakes.as_device",
        "-p",
        "no:cacheprovider",
    ]
    command = [sys.executable, "-m", "pytest", *options, "-q", str(PACKAGE / file), "-k", selected]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    assert re.search(rf"^{passed} passed", run.stdout, re.MULTILINE), run.stdout[-300:]
    results = list((tmp_path / "generated/speculative_decoding").glob("*.json"))
    assert len(results) == (0 if file.startswith("baseline") else passed)


def run_demo(environment):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        "-rsE",
        str(PACKAGE / "speculative_demo.py"),
    ]
    environment = {"CI": "", "MESH_DEVICE": "N150", **environment}
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.mark.parametrize("ci, outcome", [("", "10 skipped"), ("true", "10 errors")], ids=["elsewhere", "in-ci"])
def test_without_a_device_it_is_skipped_and_fails_in_ci(ci, outcome):
    run = run_demo({"CI": ci})
    assert run.returncode == bool(ci) and outcome in run.stdout, run.stdout[-3000:]
    assert any(reason in run.stdout for reason in ("ttnn is not installed", "finds no device", "no tt-metal checkout"))


def test_a_board_that_is_not_supported_is_refused_by_name():
    run = run_demo({"MESH_DEVICE": "P150"})
    assert run.returncode != 0 and "MESH_DEVICE is P150; it must be one of N150, N300, T3K" in run.stdout, run.stdout
    assert "skipped" not in run.stdout and "passed" not in run.stdout

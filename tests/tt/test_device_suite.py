# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The package's device tests, which need a device, run here on the fake one."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.sessions import Session, run_sessions

ROOT = Path(__file__).parents[2]
SUITE = "models/tt_transformers/demo/speculative_decoding/tests"


@pytest.mark.slow
@pytest.mark.parametrize(
    "tree, selected, outcome",
    [("june", "", "92 passed, 8 skipped"), ("september", "not performance", "59 passed, 5 skipped")],
    ids=["june", "september"],
)
def test_the_device_suite_passes_on_the_fake(tree, selected, outcome):
    """The trees differ in how they are called, which has nothing to do with precision."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    environment.pop("TT_METAL_SLOW_DISPATCH_MODE", None)
    environment |= {"PYTEST_ADDOPTS": "-p fakes.as_device -p no:cacheprovider", "FAKE_TREE": tree}  # of children too
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", SUITE, "-k", selected],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    assert outcome in run.stdout, run.stdout[-3000:]


@pytest.mark.skipif(importlib.util.find_spec("ttnn") is not None, reason="this Python has ttnn, and may have a device")
def test_without_a_device_it_is_skipped_and_fails_in_ci():
    asked = ["-rsE", SUITE, "-k", "two_users"]
    runs = run_sessions(*(Session(asked, environment={"CI": ci}) for ci in ("", "true")))
    for ci, (run, outcome) in enumerate(zip(runs, ("4 skipped", "4 errors"), strict=True)):
        assert run.status == ci and outcome in run.output, run.output[-3000:]
        assert "ttnn cannot be imported" in run.output

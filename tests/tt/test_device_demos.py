# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The package's own pytest demos, as somebody with a device calls them, on the fake device with tiny models."""

import re

import pytest
from support.sessions import ROOT, Session, run_sessions
from support.tiny import tiny_llama

PACKAGE = ROOT / "models/tt_transformers/demo/speculative_decoding"
FULL_LENGTH = "test_llama_8b_models.py"  # its texts are as long as on a device, the others' are short
# File -> which of its cases are run, and how many those are.
SELECTED = {
    "test_llama_models.py": ("performance and (k1 or k4)", 2),
    "test_llama_8b_models.py": ("accuracy and k3", 1),
    "baseline_3b_test.py": ("performance", 1),
    "baseline_8b_test.py": ("accuracy", 1),
    "multi_prompt_3b_test.py": ("performance and k2", 1),
    "multi_prompt_8b_test.py": ("performance and k4", 1),
    "speculative_demo.py": ("performance and (ci-smoke or 1b-8b)", 4),
}


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """File -> its session's folder and outcome; a target and its copy as the draft are long enough for the longest
    sample prompt and 128 tokens."""
    models = tmp_path_factory.mktemp("models")
    for name in ("target", "draft"):
        tiny_llama(1, vocab=80, positions=2048).save_pretrained(models / name)
    environment = {"SPECULATIVE_TARGET": str(models / "target"), "SPECULATIVE_DRAFT": str(models / "draft")}
    options = ["-c", str(ROOT / "pytest.ini"), "--rootdir", str(ROOT), "-p", "fakes.as_device"]
    folders = {file: tmp_path_factory.mktemp("session") for file in SELECTED}
    asked = [
        Session(
            [
                *options,
                *([] if file == FULL_LENGTH else ["-p", "fakes.short_texts"]),
                str(PACKAGE / file),
                "-k",
                selected,
            ],
            str(folders[file]),
            {**environment, "TT_CACHE_PATH": str(folders[file] / "cache")},
        )
        for file, (selected, _) in SELECTED.items()
    ]
    return dict(zip(SELECTED, zip(folders.values(), run_sessions(*asked), strict=True), strict=True))


@pytest.mark.slow
@pytest.mark.timeout(1200)  # the first waits for all of them
@pytest.mark.parametrize("file", SELECTED)
def test_passes(sessions, file):
    (folder, outcome), passed = sessions[file], SELECTED[file][1]
    assert outcome.status == 0, outcome.output[-3000:]
    assert re.search(rf"^{passed} passed", outcome.output, re.MULTILINE), outcome.output[-300:]
    results = list((folder / "generated/speculative_decoding").glob("*.json"))
    assert len(results) == (0 if file.startswith("baseline") else passed)


@pytest.fixture(scope="module")
def without_a_device():
    """The demo's sessions where there is no device: elsewhere, in CI, and on a board that is not supported."""
    demo = ["-rsE", str(PACKAGE / "speculative_demo.py")]
    settings = ({"CI": "", "MESH_DEVICE": "N150"}, {"CI": "true"}, {"CI": "", "MESH_DEVICE": "P150"})
    return run_sessions(*(Session(demo, environment=environment) for environment in settings))


@pytest.mark.parametrize("ci, outcome", [(0, "10 skipped"), (1, "10 errors")], ids=["elsewhere", "in-ci"])
def test_without_a_device_it_is_skipped_and_fails_in_ci(without_a_device, ci, outcome):
    run = without_a_device[ci]
    assert run.status == ci and outcome in run.output, run.output[-3000:]
    assert any(reason in run.output for reason in ("ttnn is not installed", "finds no device", "no tt-metal checkout"))


def test_a_board_that_is_not_supported_is_refused_by_name(without_a_device):
    run = without_a_device[2]
    assert run.status != 0 and "MESH_DEVICE is P150; it must be one of N150, N300, T3K" in run.output, run.output
    assert "skipped" not in run.output and "passed" not in run.output

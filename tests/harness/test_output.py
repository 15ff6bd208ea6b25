# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Where results go: refused before anything is loaded, written where they were wanted, and never lost."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.model_folder import save_tiny_model

from models.tt_transformers.demo.speculative_decoding import speculative_demo
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness import opening, output
from models.tt_transformers.demo.speculative_decoding.harness.output import checked_output, write_whole
from models.tt_transformers.demo.speculative_decoding.speculative_demo import main

ROOT = Path(__file__).parents[2]
SHORT = ["--prompt", "hi", "--max-seq-len", "64", "--max-new-tokens", "4", "-k", "2", "--quiet"]


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return str(save_tiny_model(tmp_path_factory.mktemp("target")))


@pytest.mark.parametrize("given", ["", ".", "no/folder/x.json", "file/x.json", "a" * 300, "loop"])
@pytest.mark.parametrize("command", [[], ["compare"], ["estimate"]])
def test_what_cannot_be_written_is_refused_before_anything_is_loaded(given, command, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(opening, "open_on_torch", lambda _: pytest.fail("loaded"))
    assert main([*command, "--target", "/no/such/model", "--json", given]) == 2
    assert capsys.readouterr().err.startswith(f"error: --json {given}")


def test_a_link_stays_and_what_it_means_is_replaced(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_whole(checked_output("--json", link), "new \ud800")
    assert link.is_symlink() and real.read_text() == "new \\ud800" and real.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == [link, real]
    (tmp_path / "dangling").symlink_to(tmp_path / "fresh")
    write_whole(checked_output("--json", tmp_path / "dangling"), "x")
    assert (tmp_path / "fresh").read_text() == "x"


def test_a_pipe_is_written_and_stays(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_whole(checked_output("--json", pipe), "result")
    reader.join(timeout=10)
    assert read == ["result"] and pipe.is_fifo()


def test_standard_output_is_written_behind_what_was_printed(tmp_path):
    code = "from {0} import write_whole; print('before'); write_whole('/dev/stdout', 'result\\n'); print('after')"
    code = code.format(output.__name__)
    for name in ("file", None):
        with open(tmp_path / "file", "w") as file:
            shown = subprocess.run(
                [sys.executable, "-c", code], stdout=file if name else subprocess.PIPE, cwd=ROOT, text=True, check=True
            ).stdout
        assert (shown or (tmp_path / "file").read_text()) == "before\nresult\nafter\n"


def test_what_fails_afterwards_is_saved_elsewhere(target, tmp_path, monkeypatch, capsys):
    """The disk is full when the run has ended."""
    monkeypatch.setattr(output.tempfile, "tempdir", str(tmp_path))
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    assert main(["--target", target, *SHORT, "--json", "/dev/full"]) == 2
    shown = capsys.readouterr()
    (saved,) = re.findall(r"the results are in (\S+) instead", shown.err)
    assert json.loads(Path(saved).read_text())["schema"] == 1 and "wall-clock" in shown.out


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "r.json").write_text("old")
    monkeypatch.setattr(output.os, "replace", full)
    with pytest.raises(BadInput, match="No space left on device.*are in"):
        write_whole(tmp_path / "r.json", "new")
    assert (tmp_path / "r.json").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_results_are_written_before_anything_is_shown(target, tmp_path, monkeypatch):
    """So that whoever closes the pipe early has them."""

    def closed(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(speculative_demo, "show", closed)
    with pytest.raises(BrokenPipeError):
        main(["--target", target, *SHORT, "--json", str(tmp_path / "r.json")])
    assert json.loads((tmp_path / "r.json").read_text())["ignored_generation_settings"] == {}

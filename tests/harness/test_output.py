# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Where results go: refused before anything is loaded, written where they were wanted, and never lost."""

import io
import json
import os
import re
import shutil
import socket
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


def full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.fixture
def full_disk(monkeypatch):
    monkeypatch.setattr(output, "_write", full)


def test_what_fails_afterwards_is_saved_elsewhere(target, tmp_path, monkeypatch, capsys, full_disk):
    """The disk is full when the run has ended."""
    monkeypatch.setattr(output.tempfile, "tempdir", str(tmp_path))
    assert main(["--target", target, *SHORT, "--json", str(tmp_path / "r.json")]) == 2
    shown = capsys.readouterr()
    (saved,) = re.findall(r"the results are in (\S+) instead", shown.err)
    assert json.loads(Path(saved).read_text())["schema"] == 1 and "wall-clock" in shown.out


def test_what_fails_twice_is_printed(target, tmp_path, monkeypatch, capsys, full_disk):
    """The folder of temporary files is gone, too."""
    monkeypatch.setattr(output.tempfile, "tempdir", str(tmp_path / "gone"))
    assert main(["--target", target, *SHORT, "--json", str(tmp_path / "r.json")]) == 2
    shown = capsys.readouterr().err
    start, error = shown.index("{\n"), shown.index("error: --json")
    assert json.loads(shown[start:error])["schema"] == 1
    assert shown[error:].count("\n") == 1 and "No space left" in shown[error:] and "printed above" in shown[error:]


@pytest.mark.parametrize("content", ["\ud800", b"\xff\x00"])
def test_what_fails_everywhere_is_one_error(content, tmp_path, monkeypatch, full_disk):
    monkeypatch.setattr(output.tempfile, "tempdir", str(tmp_path / "gone"))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", type("Full", (io.StringIO,), {"write": full})())
        with pytest.raises(BadInput, match="No space left"):
            write_whole(tmp_path / "r", content)


def test_a_failed_write_is_told_to_a_reader_that_has_left(target, tmp_path, monkeypatch, capsys, full_disk):
    def closed(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(output.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(speculative_demo, "show", closed)
    assert main(["--target", target, *SHORT, "--json", str(tmp_path / "r.json")]) == 2
    assert "the results are in" in capsys.readouterr().err


def test_a_descriptor_is_written_behind_what_is_there(target, tmp_path):
    file, link = tmp_path / "log", tmp_path / "link"
    with open(file, "w") as opened:
        link.symlink_to(f"/dev/fd/{opened.fileno()}")
        for path in (f"/dev/fd/{opened.fileno()}", f"/proc/self/fd/{opened.fileno()}", link, file):
            opened.write("before\n")
            opened.flush()
            write_whole(checked_output("--json", path), "result\n")
        opened.write("after\n")
    assert file.read_text() == "before\nresult\n" * 4 + "after\n" and link.is_symlink()


def test_a_descriptor_without_a_name_or_for_reading(tmp_path):
    with open(tmp_path / "gone", "w+") as opened:
        (tmp_path / "gone").unlink()
        write_whole(checked_output("--json", f"/dev/fd/{opened.fileno()}"), "result")
        opened.seek(0)
        assert opened.read() == "result" and list(tmp_path.iterdir()) == []
    (tmp_path / "kept").write_text("kept")
    with open(tmp_path / "kept") as opened:
        with pytest.raises(BadInput, match="open for reading only"):
            checked_output("--json", f"/dev/fd/{opened.fileno()}")
    with socket.socketpair()[0] as one:
        checked_output("--json", f"/dev/fd/{one.fileno()}")  # what it is connected to takes it
    with pytest.raises(BadInput, match="--json /dev/fd/"):
        checked_output("--json", "/dev/fd/99999")


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        with pytest.raises(BadInput, match="it is a socket; name a file"):
            checked_output("--json", "socket")


@pytest.mark.parametrize("given", ["a\0b", "a" * 300, "x/" + "a" * 300])
def test_names_that_no_file_has(given):
    with pytest.raises(BadInput, match="^--json"):
        checked_output("--json", given)


@pytest.mark.parametrize("option", ["--prompts", "--draft-file", "--draft-head-ids", "--target", "--draft"])
@pytest.mark.parametrize("how", ["itself", "link", "hard link"])
def test_an_input_is_no_output(option, how, target, tmp_path, capsys):
    folder = shutil.copytree(target, tmp_path / "model")
    if option in ("--target", "--draft"):
        given, read = folder, folder / "model.safetensors"
    else:
        given = read = tmp_path / "input"
        read.write_text("[1]")
    before, path = read.read_bytes(), tmp_path / "link"
    if how == "itself":
        path = read
    else:
        path.symlink_to(read) if how == "link" else path.hardlink_to(read)
    model = [] if option == "--target" else ["--target", target]
    assert main([*model, option, str(given), "--json", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --json {path}") and f"an input ({given})" in error and read.read_bytes() == before


def test_a_result_beside_a_model_is_no_input_of_it(target, tmp_path, monkeypatch):
    folder = shutil.copytree(target, tmp_path / "model")
    (folder / "result.json").write_text("of yesterday")
    monkeypatch.chdir(folder)
    assert main(["--target", ".", *SHORT, "--json", "result.json"]) == 0


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
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

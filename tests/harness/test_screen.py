# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What reaches the terminal, whatever it can show and whatever the input holds; and how a command that is cut ends."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import unicodedata
from functools import partial
from pathlib import Path

import pytest
from support.model_folder import save_tiny_model

from models.tt_transformers.demo.speculative_decoding.batch import TokenEvent
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness import command, terminal
from models.tt_transformers.demo.speculative_decoding.harness.prompts import Prompt, encode
from models.tt_transformers.demo.speculative_decoding.hf.loading import load_tokenizer
from models.tt_transformers.demo.speculative_decoding.speculative_demo import main

ROOT = Path(__file__).parents[2]
DEMO = "models.tt_transformers.demo.speculative_decoding.speculative_demo"
SHORT = ["--max-new-tokens", "4", "-k", "2"]
HOSTILE = "[/red]\x1b[2J\r\x07\u202e\nend"


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return str(save_tiny_model(tmp_path_factory.mktemp("target")))


@pytest.fixture
def hostile(tmp_path):
    """A prompts file whose texts and categories would act on a terminal."""
    file = tmp_path / "hostile.json"
    file.write_text(json.dumps([{"prompt": HOSTILE, "category": HOSTILE}]))
    return str(file)


def process(*arguments, start=(), env=None, **kwargs):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    call = [sys.executable, *(start or ("-m", DEMO)), *map(str, arguments)]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    # A shell lets what it runs in the background ignore Ctrl-C, and children inherit that.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(call, cwd=ROOT, env=environment, preexec_fn=heeding, **pipes, **kwargs)


@pytest.mark.parametrize("without_rich", [False, True])
def test_nothing_acts_on_the_terminal(without_rich, target, hostile, tmp_path, capsys, monkeypatch):
    if without_rich:
        monkeypatch.setattr(terminal, "make_console", terminal.PlainScreen)
    arguments = ["--target", target, "--prompts", hostile, "--json", str(tmp_path / "\x1b[2J.json")]
    assert main([*arguments, "--show-rounds", *SHORT]) == 0
    shown = capsys.readouterr().out
    assert not set("\x1b\r\x07\u202e") & set(shown)
    table = shown[shown.index("speculative against") :]
    assert r"[/red]\x1b[2J" in table and "end" in table and "\nend" not in table


@pytest.mark.parametrize("bad", [["--target", "\x1b[2J"], ["--prompts", "\x1b[2J\nx.json"], ["--pair", "\x1b[2J"]])
def test_an_error_is_one_line_that_does_not_act(bad, capsys):
    assert main(bad) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and r"\x1b[2J" in error and "\x1b" not in error


@pytest.mark.parametrize("subcommand", [[], ["compare"], ["report", "x.json"], ["estimate"]])
def test_what_was_typed_is_quoted(subcommand, capsys):
    assert main([*subcommand, "--\x1b[2J"]) == 2
    assert r"\x1b[2J" in (error := capsys.readouterr().err) and "\x1b" not in error and error.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_few_characters(encoding, target, tmp_path, monkeypatch):
    file, screen = tmp_path / "p.json", io.TextIOWrapper(io.BytesIO(), encoding)
    file.write_text(json.dumps([{"prompt": "hi", "category": "日本 é"}]))
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["--target", target, "--prompts", str(file), *SHORT]) == 0
    screen.flush()
    shown = screen.buffer.getvalue().decode(encoding)
    assert ("?? ?" if encoding == "ascii" else "?? é") in shown and screen.errors == "strict"


def test_no_color(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    for value, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        console = terminal.make_console()
        console.file = io.StringIO()
        console.print(terminal.styled("text", "bold red"))
        assert ("\x1b[" in console.file.getvalue()) == coloured


ENDS = [chr(code) for code in (*range(0x0A, 0x0E), 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029)]
ACTS = ["\x1b[2J", "\x9b2J", "\x00", "\x7f", "\u061c", "\u200e", "\u202e", "\u2066", "\u206f"]


@pytest.mark.parametrize("without_rich", [False, True])
@pytest.mark.parametrize("text", [*ENDS, *ACTS], ids=ascii)
def test_no_name_forges_a_line_or_acts(text, without_rich, monkeypatch):
    if without_rich:
        monkeypatch.setitem(sys.modules, "rich.text", None)
    said = str(terminal.styled(command.one_line(f"a{text}error: forged")))
    assert said.splitlines() == [said] and not set(text) & set(said) - set("[2J")
    assert str(terminal.styled("a\tb\nc")) == "a\tb\nc"


def test_a_category_of_several_lines_is_one_everywhere(target, tmp_path, capsys):
    file = tmp_path / "p.json"
    file.write_text(json.dumps([{"prompt": "hi", "category": "x\nprompt 9 of 9: forged\u2028\u0085end"}]))
    assert main(["--target", target, "--prompts", str(file), "--show-rounds", *SHORT]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("forged" in line for line in lines) == 3  # heading, rounds, table
    assert all("x prompt 9 of 9: forged end" in line for line in lines if "forged" in line)


def test_streamed_text_keeps_its_tabs(monkeypatch):
    for width in ("", "20"):
        monkeypatch.setenv("COLUMNS", width)
        console = terminal.make_console()
        console.file = io.StringIO()
        stream = terminal.StreamedText(console, lambda ids: "".join("ab\tc\n"[token] for token in ids))
        for token in (0, 2, 1, 4, 2, 3):
            stream(TokenEvent(user=0, token=token, origin="plain", source=""))
        stream.finish()
        assert console.file.getvalue() == "a\tb\n\tc\n"


NAMES = ["日本語の質問応答", "e\u0301\u0301te\u0301", "한국어", "ｗｉｄｅ", "plain"]


@pytest.mark.parametrize("without_rich", [False, True])
def test_columns_stand_below_each_other_whatever_the_names(without_rich, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    if without_rich:
        monkeypatch.setitem(sys.modules, "rich.cells", None)
    columns = [terminal.Column("category", "name"), terminal.Column("speed", "speed", "{:.1f}")]
    rows = [{"name": name, "speed": 12.5} for name in NAMES]
    lines = terminal.screen_table("title", columns, rows, rows[0]).splitlines()[1:]
    wide = lambda line: sum(0 if unicodedata.combining(c) else 1 + (ord(c) > 0x1100) for c in line)  # noqa: E731
    assert len({wide(line) for line in lines}) == 1


@pytest.mark.parametrize("screen", [40, 60, 80, 100])
@pytest.mark.parametrize("name", ["n" * 200, "日本" * 90, "a b " * 50, "e\u0301" * 100])
def test_a_long_name_is_shortened_and_no_digit(name, screen, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(screen))
    columns = [terminal.Column("category", "name"), *(terminal.Column(h, "speed", "{:.3f}") for h in "abc")]
    columns.append(terminal.Column("left out", "speed", rank=1))
    lines = terminal.screen_table("title", columns, [{"name": name, "speed": 1234.5}]).splitlines()[1:]
    assert all(terminal.cells(line) <= screen for line in lines) and "…" in lines[-1] and "left out" not in lines[0]
    assert lines[-1].count("1234.500") == 3 and terminal.cells(lines[-1]) > screen - 3


def test_the_screen_is_as_wide_as_its_tables(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert terminal.make_console().width == 200


class Full(io.StringIO):
    """A disk that is full."""

    def write(self, text):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("arguments", [["--list-pairs"], None])
@pytest.mark.parametrize("by", [main, command.entry])
def test_an_output_that_takes_no_more(arguments, by, target, capsys, monkeypatch):
    arguments = arguments or ["--target", target, "--prompt", "hi", "--quiet", *SHORT]
    monkeypatch.setattr(sys, "argv", ["speculative_demo", *arguments])
    monkeypatch.setattr(sys, "stdout", Full())
    assert by(None if by is main else main) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Loading")]
    assert error[-1].startswith("error: standard output cannot be used (No space left") and "Traceback" not in error


def test_an_error_and_nowhere_to_say_it(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Full())
    assert main(["--pair", "nonsense"]) == 2


def test_an_interrupt_while_torch_is_imported(tmp_path):
    """A torch that takes its time."""
    (tmp_path / "torch.py").write_text("print('importing', flush=True)\nimport time\ntime.sleep(60)\n")
    running = process("--list-pairs", env={"PYTHONPATH": f"{tmp_path}"})
    try:
        assert running.stdout.readline() == b"importing\n"
        running.send_signal(signal.SIGINT)
        out, error = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, out, error) == (130, b"", b"")


def test_an_interrupt_inside_an_exec(tmp_path):
    """python -m would end by the signal itself, though it was caught."""
    interrupted = "sys.exit(entry(lambda _: exec('raise KeyboardInterrupt')))"
    (tmp_path / "interrupted.py").write_text(f"import sys\nfrom {command.__name__} import entry\n{interrupted}\n")
    ended = process(start=("-m", "interrupted"), env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    assert ended.communicate(timeout=60) == (b"", b"") and ended.returncode == 130


def test_an_interrupt_ends_quietly(target):
    running = process("--target", target, "--prompt", "hi", "--repeat", "100000", "--quiet", *SHORT)
    try:
        assert b"warming up" in running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130 and b"Traceback" not in error and b"rror" not in error


@pytest.mark.parametrize("arguments", [["--list-pairs"], ["--help"], ["compare", "--help"]])
def test_a_reader_that_has_left(arguments):
    running = process(*arguments)
    running.stdout.close()
    error = running.stderr.read()
    assert running.wait() in (0, 141) and error == b""


def test_a_reader_that_leaves_a_run(target):
    """rich would end Python with status 1, which says that the texts differ."""
    running = process("--target", target, "--prompt", "hi", *SHORT)
    running.stdout.close()
    error = running.stderr.read()
    assert running.wait() == 141 and b"Traceback" not in error and b"rror" not in error


def test_the_status_of_what_entry_runs():
    def raising(error):
        def run(argv):
            raise error

        return run

    assert command.entry(lambda argv: 1) == 1 and command.entry(raising(KeyboardInterrupt())) == 130
    assert command.command(raising(BadInput("no")))([]) == 2


@pytest.mark.parametrize(
    "content",
    [
        "{{ raise_exception('wants a system message') }}",
        "{% for m in messages %}{{ m.content }",
        "{{ messages[0].content.a.b }}",
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
        "",
    ],
)
def test_a_chat_template_that_fails(content, target, tmp_path, capsys):
    folder = shutil.copytree(target, tmp_path / "model")
    (folder / "chat_template.jinja").write_text(content)
    assert main(["--target", str(folder), "--prompt", "hi", *SHORT]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "template" in error or "no tokens" in error


@pytest.mark.parametrize("asked", ["date_string", "strftime_now('%d %b %Y')"], ids=["as-llama-3", "as-others"])
def test_a_chat_template_knows_one_day(asked, target):
    tokenizer = load_tokenizer(target)
    tokenizer.chat_template = "{{ " + asked + " }}: {{ messages[0].content }}"
    assert tokenizer.decode(encode(Prompt("hi"), tokenizer)) == "26 Jul 2024: hi"


@pytest.mark.parametrize("field", ["prompt", "category", None])
def test_half_a_character(field, target, tmp_path, capsys):
    file = tmp_path / "p.json"
    file.write_text(json.dumps([{"prompt": "a", "category": "b"} | {field or "prompt": "cut \ud83d"}]))
    given = ["--prompts", str(file)] if field else ["--prompt", os.fsdecode(b"caf\xe9")]
    assert main(["--target", target, *given]) == 2
    error = capsys.readouterr().err
    assert (r"\ud83d" if field else r"\udce9") in error and (str(file) if field else "--prompt") in error


def test_models_of_few_positions(target, tmp_path, capsys):
    """The default follows them; what was asked for is held against each of them."""
    draft, prompt = shutil.copytree(target, tmp_path / "draft"), ["--target", target, "--prompt", "hi", *SHORT]
    file = draft / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"max_position_embeddings": 48}))
    assert main(prompt) == 0 and main([*prompt, "--draft", str(draft)]) == 0
    capsys.readouterr()
    for asked, more, known in (("513", [], ["512", target]), ("49", ["--draft", str(draft)], ["48", str(draft)])):
        assert main([*prompt, *more, "--max-seq-len", asked]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: --max-seq-len") and all(one in error for one in (asked, *known))


@pytest.mark.parametrize("option", ["--target", "--draft", "--pair", "--prompts", "--draft-file"])
def test_an_empty_text_is_no_default(option, capsys):
    assert main([option, ""]) == 2 and f"{option} was given an empty text" in capsys.readouterr().err

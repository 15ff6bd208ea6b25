# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: what it prints, writes, returns and refuses."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.model_folder import save_tiny_model

from models.tt_transformers.demo.speculative_decoding import acceptance
from models.tt_transformers.demo.speculative_decoding.harness import options, record
from models.tt_transformers.demo.speculative_decoding.harness.arguments import parser
from models.tt_transformers.demo.speculative_decoding.harness.prompts import SAMPLE_PROMPTS, load_prompts
from models.tt_transformers.demo.speculative_decoding.speculative_demo import main

ROOT = Path(__file__).parents[2]
CATEGORIES = {
    "question answering",
    "code",
    "mathematics",
    "summarising",
    "editing",
    "extraction",
    "translation",
    "creative prose",
    "list making",
    "reasoning",
}
PROMPT_KEYS = {
    "prompt", "category", "prompt_tokens", "tokens", "baseline_tokens", "identical", "first_divergence",
    "finish_reason", "ttft_ms", "baseline_ttft_ms", "decode_s", "baseline_decode_s", "decode_tps",
    "baseline_decode_tps", "speedup", "rounds", "drafted", "accepted", "accepted_per_position",
    "acceptance_rate", "tokens_per_round",
}  # fmt: skip
RUN_KEYS = {"schema", "pair", "target", "draft", "drafter", "backend", "device", "dtype", "num_draft_tokens"}
RUN_KEYS |= {"environment", "prompts", "summary"}
SUMMARY_KEYS = {
    "alpha",
    "c",
    "v",
    "speedup",
    "low",
    "high",
    "noise_floor",
    "inconclusive",
    "kept",
    "tails",
    "time_split",
}
SUMMARY_KEYS |= {"without_loops"}


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return str(save_tiny_model(tmp_path_factory.mktemp("target")))


@pytest.fixture(scope="module")
def draft(tmp_path_factory):
    return str(save_tiny_model(tmp_path_factory.mktemp("draft"), seed=1, layers=1))


def run(*arguments):
    return main(["--max-seq-len", "256", "--max-new-tokens", "24", *map(str, arguments)])


def result_of(tmp_path, *arguments):
    status = run("--json", tmp_path / "result.json", *arguments)
    return status, json.loads((tmp_path / "result.json").read_text())


def test_sample_prompts_are_ten_of_ten_kinds():
    prompts = load_prompts(SAMPLE_PROMPTS)
    assert len(prompts) == 10 and {prompt.category for prompt in prompts} == CATEGORIES
    assert load_prompts(ROOT / "sample_prompts.json") == prompts


def test_result_schema(target, tmp_path, capsys):
    status, result = result_of(tmp_path, "--target", target, "--prompt", "abcabcabc", "--repeat", "2")
    assert status == 0
    assert RUN_KEYS <= result.keys() and result["schema"] == 1
    assert {"python", "torch", "transformers", "platform", "threads"} <= result["environment"].keys()
    (row,), printed = result["prompts"], capsys.readouterr().out
    assert PROMPT_KEYS <= row.keys()
    assert row["tokens"] == row["baseline_tokens"] and row["identical"] is True and row["first_divergence"] is None
    assert len(row["tokens"]) == 24 and row["finish_reason"] == "length"
    assert SUMMARY_KEYS <= result["summary"].keys()
    assert set(result["summary"]["time_split"]) == {"draft_s", "verify_s", "host_s"}
    if result["summary"]["inconclusive"] is None:
        assert result["summary"]["speedup"] == pytest.approx(row["baseline_decode_s"] / row["decode_s"])
    else:
        assert result["summary"]["speedup"] is row["speedup"] is None and "inconclusive: " in printed
    assert result["draft"] is None and result["drafter"] == "suffix" and result["pair"] is None
    assert "wall-clock" in printed and "identical" in printed
    by_k = printed[printed.index("rounds by the number of tokens they drafted") :]
    for of_k in result["summary"]["per_k"]:
        assert re.search(rf"^{of_k['k']} +{of_k['rounds']} ", by_k, re.M)


def test_a_proof_that_was_left_out_is_in_the_record(target, tmp_path):
    for asked, proven in (((), True), (("--no-proof",), False)):
        status, result = result_of(tmp_path, "--target", target, "--prompt", "hello", "-k", "1", "--quiet", *asked)
        assert status == 0 and result["prove"] is proven


@pytest.mark.parametrize("doubts", [None, "the neighbours are loud"])
def test_a_page_of_the_run(doubts, target, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "doubts", lambda **_: doubts)  # however busy this machine is
    page, other = tmp_path / "page.html", tmp_path / "result.json"
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps([{"prompt": "abcabc <b>", "category": "letters"}]))
    assert run("--target", target, "--prompts", prompts, "--quiet", "--html", page, "--json", other) == 0
    printed, text, result = capsys.readouterr().out, page.read_text("utf-8"), json.loads(other.read_text())
    assert f"written: {page}" in printed and "letters" in text and "abcabc &lt;b&gt;" in text
    tokens = re.findall(r'<span class="token \w+" data-r="\d+">(.*?)</span>', text.split("Every answer")[1], re.DOTALL)
    assert html.unescape("".join(tokens)) == result["prompts"][0]["text"]
    assert (doubts or "the speed of plain decoding") in text and ("the speed of plain decoding" in text) == (not doubts)


@pytest.mark.parametrize(
    "given, said",
    [
        (["--html", ""], "--html : the name of a file is missing"),
        (["--html", "no/folder/x.html"], "--html no/folder/x.html: there is no folder"),
        (["--html", "x", "--json", "./x"], "--html x is also --json's file"),
        (["--html", "prompts.json", "--prompts", "prompts.json"], "--html prompts.json: it is an input"),
    ],
)
def test_a_page_that_cannot_be_written_is_said_first(given, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.json").write_text('[{"prompt": "a"}]')
    assert run("--target", "/no/such/model", *given) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error


def test_a_draft_model(target, draft, tmp_path):
    status, result = result_of(tmp_path, "--target", target, "--draft", draft, "--prompt", "hello", "-k", "3")
    assert status == 0
    assert result["drafter"] == "model" and result["draft"] == draft and result["num_draft_tokens"] == 3
    assert result["summary"]["drafted"] > 0 and result["summary"]["c"] > 0


def test_without_baseline_nothing_is_claimed(target, tmp_path, capsys):
    status, result = result_of(tmp_path, "--target", target, "--prompt", "aaaa", "--no-baseline")
    assert status == 0
    row, total = result["prompts"][0], result["summary"]
    for key in (
        "baseline_tokens",
        "identical",
        "baseline_ttft_ms",
        "baseline_decode_s",
        "baseline_decode_tps",
        "speedup",
    ):
        assert row[key] is None
    assert total["speedup"] is None and total["c"] is None and total["inconclusive"] is None
    assert "not measured" in capsys.readouterr().out


def test_rates_of_nothing_are_null(target, tmp_path):
    _, result = result_of(tmp_path, "--target", target, "--prompt", "a", "--max-new-tokens", "1")
    row = result["prompts"][0]
    assert row["acceptance_rate"] is None and row["tokens_per_round"] is None and row["speedup"] is None


def test_a_prompts_file_and_rounds(target, tmp_path, capsys):
    file = tmp_path / "prompts.json"
    file.write_text("\ufeff" + json.dumps([{"prompt": "abcabc", "category": "letters"}, {"prompt": "xyz"}]), "utf-8")
    status, result = result_of(tmp_path, "--target", target, "--prompts", file, "--show-rounds", "--quiet")
    assert status == 0 and [row["category"] for row in result["prompts"]] == ["letters", "other"]
    printed = capsys.readouterr().out
    assert "round   1: drafted" in printed and "prompt 2 of 2" in printed


def test_stop_text_ends_the_run(target, tmp_path):
    _, free = result_of(tmp_path, "--target", target, "--prompt", "hello")
    text = free["prompts"][0]["text"]
    stop = text[5:8]
    _, result = result_of(tmp_path, "--target", target, "--prompt", "hello", "--stop", stop)
    row = result["prompts"][0]
    assert row["finish_reason"] == "stop_string" and row["text"] == text[: text.index(stop) + 3]


def test_a_mismatch_is_exit_status_one(target, tmp_path, monkeypatch):
    """Negative control: with a wrong acceptance rule the demo says so, where, and by how much."""
    monkeypatch.setattr(acceptance, "_accept_greedy", lambda drafted, choices: (len(drafted), choices[len(drafted)]))
    status, result = result_of(tmp_path, "--target", target, "--prompt", "aXbXcXdX")
    row = result["prompts"][0]
    assert status == 1 and row["identical"] is False
    assert row["tokens"][: row["first_divergence"]] == row["baseline_tokens"][: row["first_divergence"]]
    assert row["divergence_top2_gap"] > 0


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--pair", "nonsense"], ["nonsense", "smollm2", "llama-1b-8b"]),
        (["--pair", "smollm2", "--target", "x"], ["--pair", "--target"]),
        (["--prompts", "nowhere.json"], ["nowhere.json"]),
        (["--prompt", "  "], ["--prompt", "empty"]),
        (["-k", "0"], ["--num-draft-tokens", "1 to 31"]),
        (["-k", "32"], ["--num-draft-tokens", "1 to 31"]),
        (["--max-new-tokens", "0"], ["--max-new-tokens", "at least 1"]),
        (["--repeat", "0"], ["--repeat"]),
        (["--dtype", "int3"], ["int3", "float32", "bfloat16"]),
        (["--device", "tpu"], ["tpu", "cpu", "cuda"]),
        (["--device", "cuda"], ["cuda", "cpu"]),
        (["--drafter", "model"], ["--draft"]),
        (["--stop", ""], ["--stop"]),
        (["--json", "no/such/folder/x.json"], ["--json"]),
        (["--seed", "-1"], ["seed"]),
        (["--target", "/no/such/model"], ["/no/such/model"]),
    ],
)
def test_bad_input_is_one_clear_error(arguments, named, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert all(name in captured.err for name in named)


def test_tt_without_ttnn(capsys, monkeypatch):
    monkeypatch.setattr(options.importlib.util, "find_spec", lambda name: None)
    assert main(["--backend", "tt"]) == 2
    assert "ttnn" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content, named",
    [
        (b"", "not JSON"),
        (b"[]", "non-empty JSON list"),
        (b'{"prompt": "a"}', "non-empty JSON list"),
        (b'[{"prompt": "a"}, {"text": "b"}]', "entry 2"),
        (b'[{"prompt": "a"}, {"prompt": 3}]', "entry 2"),
        (b'[{"prompt": " "}]', "entry 1"),
        (b'[{"prompt": "a", "prompt": "b"}]', "'prompt' twice"),
        ('[{"prompt": "Zürich"}]'.encode("latin-1"), "not UTF-8"),
    ],
)
def test_malformed_prompts_files(content, named, tmp_path, capsys):
    file = tmp_path / "prompts.json"
    file.write_bytes(content)
    assert main(["--prompts", str(file)]) == 2
    error = capsys.readouterr().err
    assert named in error and str(file) in error


def test_a_prompt_longer_than_the_model(target, capsys):
    assert main(["--target", target, "--max-seq-len", "16", "--prompt", "x" * 16]) == 2
    assert "16 tokens" in capsys.readouterr().err


def test_tokenizers_that_differ_in_one_token(target, tmp_path, capsys):
    other = save_tiny_model(tmp_path / "other", extra_tokens=("é",))
    assert run("--target", target, "--draft", other, "--prompt", "hello") == 2
    assert "'é'" in capsys.readouterr().err


def test_help_and_pairs():
    text = parser().format_help()
    assert "Exit status" in text and all(len(line) <= 120 for line in text.splitlines())
    module = "models.tt_transformers.demo.speculative_decoding.speculative_demo"
    listing = subprocess.run([sys.executable, "-m", module, "--list-pairs"], cwd=ROOT, capture_output=True, text=True)
    assert listing.returncode == 0 and "llama-1b-8b" in listing.stdout


def test_importing_the_package_starts_nothing_and_needs_no_ttnn():
    code = (
        "import sys, threading, models.tt_transformers.demo.speculative_decoding as s;"
        "assert s.SpeculativeGenerator and 'ttnn' not in sys.modules and threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""`compare`: every arm and peer on tiny models, what it writes, and that a wrong arm is noticed."""

import json
import mmap
import re
import shutil

import pytest
from support.model_folder import save_tiny_model
from support.tiny import tiny_llama

from measuring import prediction as prediction_module
from measuring.compare import main
from measuring.line_up import line_up
from measuring.report import main as report
from models.tt_transformers.demo.speculative_decoding import acceptance
from models.tt_transformers.demo.speculative_decoding.harness import record as record_module
from models.tt_transformers.demo.speculative_decoding.harness.record import provenance, token_texts
from models.tt_transformers.demo.speculative_decoding.hf import loading
from models.tt_transformers.demo.speculative_decoding.runner import resident_mb


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module")
def draft(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("draft"), seed=1, layers=1)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    file = tmp_path_factory.mktemp("prompts") / "prompts.json"
    entries = [("abcabcabc", "letters"), ("what is this?", "questions"), ("xyzxyz", "letters")]
    file.write_text(json.dumps([{"prompt": text, "category": category} for text, category in entries]))
    return file


def arguments(*more, folder, target, prompts):
    common = ["--target", target, "--prompts", prompts, "--json", folder / "c.json", "--max-seq-len", "128"]
    return [*map(str, common), "--max-new-tokens", "12", *map(str, more)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, target, draft, prompts):
    folder = tmp_path_factory.mktemp("whole")
    more = ("--draft", draft, "--k", "0,2,adaptive", "--batch-sizes", "1,2", "--repeat", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_module, "doubts", lambda **_: None)  # however busy this machine is
        for module in (record_module, prediction_module):
            patch.setattr(module, "undisturbed", list)
        status = main(arguments(*more, folder=folder, target=target, prompts=prompts))
    return status, folder, json.loads((folder / "c.json").read_text())


def test_every_arm_ran_and_equals_plain_decoding(whole):
    status, _, record = whole
    assert status == 0 and record["kind"] == "compare" and record["schema"] == 1
    arms = [(run["drafter"], run["num_draft_tokens"], run["lookahead"], run["batch_size"]) for run in record["runs"]]
    drafting = [(2, "fixed"), (16, "adaptive")]
    of_one_size = [("model", 0, "fixed")] + [("model", *one) for one in drafting]
    of_one_size += [(drafter, *one) for drafter in ("hybrid", "suffix", "prompt-lookup") for one in drafting]
    assert arms == [(*arm, size) for size in (1, 2) for arm in of_one_size]
    for run in record["runs"]:
        assert run["summary"]["identical"] == 3 and len(run["prompts"]) == 3
        assert (run["summary"]["drafted"] == 0) == (run["num_draft_tokens"] == 0)


def test_token_texts(whole):
    _, _, record = whole
    for row in (row for run in record["runs"] for row in run["prompts"]):
        assert "".join(row["token_texts"]) == row["text"] and len(row["token_texts"]) == len(row["origins"])


def test_what_is_predicted_of_the_even_prompts(whole):
    _, _, record = whole
    for run in record["runs"]:
        found = run["prediction"]
        if run["batch_size"] > 1 or not run["summary"]["drafted"]:
            assert found is None
        if found is None:  # adaptive may not draft anything on the odd prompts
            assert run["batch_size"] > 1 or run["num_draft_tokens"] != 2
            continue
        assert found["low"] <= found["speedup"] <= found["high"] and found["measured"]["speedup"] > 0
        assert found["costs"]["v"]["1"] == 1.0 and found["costs"]["c"] >= 0


def test_models_and_cold_start(whole):
    _, _, record = whole
    for role, layers in (("target", 2), ("draft", 1)):
        load = record["models"][role]
        assert load["init_s"] > 0 and load["layers"] == layers and load["device_dram_mb"] is None
        assert load["weights_mb"] == pytest.approx(4 * load["parameters"] / 1e6)
    cold = record["cold_start"]
    assert cold["speculative"]["init_s"] > cold["plain"]["init_s"] == record["models"]["target"]["init_s"]
    assert cold["plain"]["tokens"] == cold["speculative"]["tokens"] == 12
    assert record["command"] and record["created"]


def test_a_recorded_command_tells_nothing_of_the_machine():
    command = provenance(["/opt/there/demo.py", "compare", "--assistant", "/home/me/draft", "--json", "out/c.json"])
    assert command["command"] == "demo compare --assistant draft --json out/c.json"


def test_peers_write_the_same_text(whole):
    _, _, record = whole
    peers = [peer["peer"] for peer in record["peers"]]
    assert peers == ["generate", "prompt_lookup_num_tokens=2", "assistant_model=2"]
    for peer in record["peers"]:
        assert peer["summary"]["identical"] == 3 and peer["summary"]["new_tokens"] == 36
        assert all(row["request_s"] > row["decode_s"] >= 0 for row in peer["prompts"])
        assert peer["summary"]["not_comparable"] == "whole requests per prompt: 2; a median needs 3"
        assert all(row["speedup"] is None for row in (peer["summary"], *peer["prompts"]))


def test_a_report_is_made_of_it(whole, tmp_path):
    _, folder, _ = whole
    assert report([str(folder / "c.json"), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "APPENDIX.md").read_text("utf-8")
    assert "transformers: assistant_model=2" in text and "| hybrid, K = adaptive | 2 |" in text and "2 layers" in text
    pages = (tmp_path / "comprehensive_8b_comparison.md").read_text("utf-8")
    assert "assistant_model=2: not comparable here: whole requests per prompt: 2; a median needs 3." in pages


def test_an_inconclusive_run_has_no_ratio_nor_have_the_peers_beside_it(target, prompts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record_module, "doubts", lambda **_: "the neighbours are loud")
    more = ("--k", "2", "--repeat", "3")
    assert main(arguments(*more, folder=tmp_path, target=target, prompts=prompts)) == 0
    record = json.loads((tmp_path / "c.json").read_text())
    assert [run["prediction"] for run in record["runs"]] == [None, None]
    assert {peer["summary"]["not_comparable"] for peer in record["peers"]} == {"the neighbours are loud"}
    said = capsys.readouterr().out
    assert "K = 2, 1 at once: inconclusive: the neighbours are loud" in said and not re.search(r"\d[x×]", said)


def test_a_wrong_arm_is_exit_status_one(target, prompts, tmp_path, monkeypatch):
    """Negative control: accept everything."""
    monkeypatch.setattr(acceptance, "_accept_greedy", lambda drafted, choices: (len(drafted), choices[len(drafted)]))
    more = ("--k", "2", "--repeat", "1", "--categories", "letters", "--no-peers")
    assert main(arguments(*more, folder=tmp_path, target=target, prompts=prompts)) == 1
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["runs"][0]["summary"]["identical"] < 2 and record["peers"] == [] and record["peers_reason"]
    assert {row["category"] for row in record["runs"][0]["prompts"]} == {"letters"}


def test_sampling_has_no_peers_and_nothing_to_be_equal_to(target, prompts, tmp_path):
    more = ("--k", "2", "--repeat", "1", "--temperature", "1")
    assert main(arguments(*more, folder=tmp_path, target=target, prompts=prompts)) == 0
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["peers"] == [] and record["runs"][0]["summary"]["identical"] is None


def test_the_demos_own_arm_comes_first(tmp_path):
    entered = line_up(["--json", str(tmp_path / "x.json"), "--pair", "llama-1b-8b", "--k", "0,3,auto"])
    entries = [entry.options for entry in entered.entries]
    assert [options.drafter for options in entries] == ["model"] * 3 + [
        d for d in ("hybrid", "suffix", "prompt-lookup") for _ in "12"
    ]
    assert entered.base.num_repeats == 3 and entered.peer_ks == [3] and entered.assistant == entries[1].draft


@pytest.mark.parametrize(
    "more, named",
    [
        (["--k", "2,x"], "'x' is neither"),
        (["--k", "32"], "'32' is neither a number from 0 to 31"),
        (["--drafters", "oracle"], "'oracle'"),
        (["--drafters", "model"], "--drafter model needs a draft"),
        (["--batch-sizes", "0"], "'0' is not a number of at least 1"),
        (["--categories", "poems"], "'poems'"),
        (["-k", "4"], "--num-draft-tokens is not an option of compare"),
        (["--exact"], "--exact is not an option of compare"),
        (["--k", "9" * 5000], "is neither a number from 0 to 31"),
        (["--batch-sizes", "9" * 5000], "is not a number of at least 1"),
        (["--batch-sizes", "1,4"], "there are 3 prompts, so 4 cannot run at once"),
        (["--k", ""], "--k was given an empty text"),
        (["--assistant", ""], "--assistant was given an empty text"),
        (["--assistant", "/no/such"], "'/no/such' is neither a folder"),
        (["--backend", "tt"], "tt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_clear_error(more, named, target, prompts, tmp_path, capsys):
    assert main(arguments(*more, folder=tmp_path, target=target, prompts=prompts)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and named in error


def test_an_assistant_of_other_tokens_is_refused_before_a_model_is_loaded(
    target, prompts, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", None)
    other = save_tiny_model(tmp_path / "other", extra_tokens=("é",))
    assert main(arguments("--assistant", other, folder=tmp_path, target=target, prompts=prompts)) == 2
    error = capsys.readouterr().err
    assert f"--assistant: {other} cannot draft for {target}" in error and "drop --assistant" in error


def test_an_assistant_that_transformers_refuses_is_left_out(target, prompts, tmp_path, capsys):
    """The same tokenizer over a wider output layer, as large models of a family have."""
    wider = shutil.copytree(target, tmp_path / "wider")
    tiny_llama(1, vocab=104).save_pretrained(wider)
    more = ("--assistant", wider, "--k", "2", "--repeat", "1")
    assert main(arguments(*more, folder=tmp_path, target=target, prompts=prompts)) == 0
    peers = [peer["peer"] for peer in json.loads((tmp_path / "c.json").read_text())["peers"]]
    assert peers == ["generate", "prompt_lookup_num_tokens=2"]
    assert "left out" in capsys.readouterr().err


def test_peers_stop_where_the_arms_do(target, prompts, tmp_path):
    more = ("--max-seq-len", "20", "--max-new-tokens", "60", "--k", "02,2", "--repeat", "1")
    assert main(arguments(*more, folder=tmp_path, target=target, prompts=prompts)) == 0
    record = json.loads((tmp_path / "c.json").read_text())
    assert [peer["summary"]["identical"] for peer in record["peers"]] == [3, 3]
    assert [run["arm"] for run in record["runs"]] == [
        f"{drafter}, K = 2, 1 at once" for drafter in ("suffix", "prompt-lookup")
    ]  # 02 is 2


def test_a_file_that_is_read_is_not_written_over(target, prompts, tmp_path, capsys):
    before = prompts.read_text()
    assert main([*arguments(folder=tmp_path, target=target, prompts=prompts), "--json", str(prompts)]) == 2
    assert "it is an input" in capsys.readouterr().err and prompts.read_text() == before


def test_json_is_required(target, capsys):
    assert main(["--target", str(target), "--prompt", "x"]) == 2
    assert "--json" in capsys.readouterr().err


def test_a_character_of_several_tokens_belongs_to_the_last():
    raw = "aé🙂b".encode()

    def decode(tokens):
        return bytes(tokens).decode("utf-8", errors="replace")

    assert token_texts(list(raw), decode) == ["a", "", "é", "", "", "", "🙂", "b"]
    assert token_texts(list(raw[:-2]), decode)[-1] == "\N{REPLACEMENT CHARACTER}"  # cut off inside a character


def test_resident_memory_grows_with_what_is_held():
    before = resident_mb()
    if before is None:
        pytest.skip("this system does not tell")
    with mmap.mmap(-1, 50_000_000) as held:  # pages of its own, which no allocator had before
        held.write(b"x" * 50_000_000)
        assert resident_mb() - before > 40

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The demo's command line with --backend tt, on the fake device: every way of drafting, lossless, and all closed
again."""

import json

import pytest
import tokenizers
from fakes import fixtures
from fakes.pairs import VOCAB
from transformers import PreTrainedTokenizerFast

from models.tt_transformers.demo.speculative_decoding.speculative_demo import main
from models.tt_transformers.demo.speculative_decoding.tt import loading as tt_loading

checkpoints, ttnn = fixtures.checkpoints, fixtures.ttnn
PROMPTS = ["hello there", "abcabcabcabc", "something longer, and not the same"]


@pytest.fixture
def demo(ttnn, checkpoints, tmp_path, monkeypatch):
    """Runs the demo on three prompts; returns (exit status, result record)."""
    opened = []
    open_mesh_device = ttnn.open_mesh_device
    monkeypatch.setattr(
        ttnn, "open_mesh_device", lambda *a, **o: opened.append(open_mesh_device(*a, **o)) or opened[-1]
    )
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps([{"prompt": text, "category": f"kind {i}"} for i, text in enumerate(PROMPTS)]))

    def run(*options, draft="often-right"):
        models = ["--target", str(checkpoints / "target"), *(["--draft", str(checkpoints / draft)] if draft else [])]
        result = tmp_path / "result.json"
        where = ["--prompts", str(prompts), "--json", str(result), "--max-seq-len", "120", "--quiet"]
        status = main(["--backend", "tt", *models, *where, "--max-new-tokens", "24", *options])
        assert opened and not any(mesh.open for mesh in opened)
        return status, json.loads(result.read_text())

    run.opened = opened
    return run


WAYS = [
    ["-k", "3"],
    ["-k", "4", "--lookahead", "adaptive"],
    ["-k", "4", "--lookahead", "auto"],
    ["-k", "3", "--drafter", "hybrid"],
    ["-k", "3", "--batch-size", "3"],
    ["-k", "3", "--batch-size", "2", "--lookahead", "auto", "--drafter", "hybrid"],
    ["-k", "3", "--exact"],
]


@pytest.mark.parametrize(
    "options, traced",
    [*((way, True) for way in WAYS), *((way, False) for way in (WAYS[0], WAYS[1], WAYS[-2], WAYS[-1]))],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "traced" if value else "slow dispatch",
)
def test_the_text_is_plain_decodings(demo, monkeypatch, capsys, options, traced):
    if not traced:
        monkeypatch.setenv("TT_METAL_SLOW_DISPATCH_MODE", "1")
    status, record = demo(*options)
    assert status == 0 and record["summary"]["identical"] == 3 and record["backend"] == "tt"
    assert record["summary"]["drafted"] > 0
    assert record["models"]["draft"]["device_dram_mb"] > 0
    assert (record["device"], record["dtype"]) == ("N150", "performance")
    passed = record["traffic"]
    assert passed["programs_compiled"] == passed["new_buffers"] == passed["dram_growth"] == 0
    assert passed["per_token"]["reads"] < passed["per_round"]["reads"]
    screen = " ".join(capsys.readouterr().out.split())
    assert all(f"{why} ({count})" in screen for why, count in record["summary"]["separate_rounds"].items())
    if options == WAYS[0] and traced:
        assert passed["per_round"]["reads"] == passed["per_round"]["replays"] == 1.0


@pytest.mark.parametrize(
    "said, asked, replayed",
    [(None, [], 1), ("0", [], 0), ("1", [], 5), (None, ["--lookahead", "auto"], 0)],
    ids=["unset", "0", "1", "several-k"],
)
def test_devices_of_a_mesh_are_connected_and_no_two_traces_alternate_unless_asked(
    demo, ttnn, monkeypatch, said, asked, replayed
):
    """Fused rounds of one K are one trace; those of several would alternate, as single forwards do."""
    monkeypatch.setenv("MESH_DEVICE", "N300")
    if said is not None:
        monkeypatch.setenv("SPECULATIVE_TRACE", said)
    traces, replay = set(), ttnn.execute_trace
    monkeypatch.setattr(
        ttnn, "execute_trace", lambda mesh, trace, **how: (traces.add(trace), replay(mesh, trace, **how))
    )
    status, record = demo("-k", "3", *asked)
    assert status == 0 and record["summary"]["identical"] == 3
    assert ttnn.fabric == ["1D", "disabled"]
    assert len(traces) == replayed


def test_a_trace_setting_that_says_nothing_is_refused(monkeypatch, ttnn, checkpoints, capsys):
    monkeypatch.setenv("SPECULATIVE_TRACE", "yes")
    models = [f"--{name}={checkpoints / folder}" for name, folder in (("target", "target"), ("draft", "often-right"))]
    assert main(["--backend", "tt", *models, "--max-seq-len", "120"]) == 2
    assert "SPECULATIVE_TRACE is 'yes'; set it to 1" in capsys.readouterr().err


def test_drafts_from_the_text_need_no_draft_model(demo):
    status, record = demo("-k", "3", draft=None)
    assert status == 0 and record["drafter"] == "suffix" and record["summary"]["identical"] == 3
    assert record["models"]["draft"] is None


def test_sampling_repeats_with_its_seed(demo):
    runs = [demo("-k", "3", "--temperature", "0.8", "--top-k", "10", "--seed", seed)[1] for seed in "112"]
    first, again, other = ([row["tokens"] for row in run["prompts"]] for run in runs)
    assert first == again != other


def accepted_tokens(record):
    rows = record["prompts"]
    pairs = [pair for row in rows for pair in zip(row["tokens"], row["origins"], strict=True)]
    return {token for token, origin in pairs if origin == "accepted"}


def test_a_trimmed_head_by_ids(demo, tmp_path):
    kept = list(range(0, VOCAB, 2))
    (tmp_path / "ids.json").write_text(json.dumps(kept))
    status, record = demo("-k", "3", "--draft-head-ids", str(tmp_path / "ids.json"), draft="always-right")
    assert status == 0 and record["summary"]["identical"] == 3
    assert accepted_tokens(record) and accepted_tokens(record) <= set(kept)


def test_a_trimmed_head_by_text(demo, checkpoints, tmp_path):
    """The most frequent ids of a text, as the tokenizer in the draft's folder has them."""
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w0"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(checkpoints / "always-right")
    kept = range(10, 30)
    (tmp_path / "text").write_text(" ".join(f"w{i}" for i in kept))
    text = ["--draft-head-text", str(tmp_path / "text"), "--draft-head-size", str(len(kept))]
    status, record = demo("-k", "3", *text, draft="always-right")
    assert status == 0 and record["summary"]["identical"] == 3
    assert accepted_tokens(record) and accepted_tokens(record) <= set(kept)


@pytest.mark.parametrize("options", [[], ["--drafter", "suffix"]], ids=["default", "suffix"])
def test_the_embedded_model_is_refused(ttnn, options, capsys):
    assert main(["--backend", "tt", *options]) == 2
    assert "runs on --backend torch; with --backend tt give --pair llama-1b-3b" in capsys.readouterr().err


def test_a_draft_with_another_tokenizer_is_refused_before_loading(demo, monkeypatch, capsys):
    read = tt_loading.read_model_args

    def with_another_token(upstream, mesh, model_id, **options):
        args = read(upstream, mesh, model_id, **options)
        if model_id.endswith("often-right"):
            vocab = args.tokenizer.get_vocab()
            args.tokenizer.get_vocab = lambda: {**{token: i for token, i in vocab.items() if i != 5}, "other": 5}
        return args

    monkeypatch.setattr(tt_loading, "read_model_args", with_another_token)
    monkeypatch.setattr(tt_loading, "load_model", lambda *_, **__: pytest.fail("something was loaded"))
    with pytest.raises(FileNotFoundError):  # no result
        demo("-k", "3")
    assert "token id 5 is '5' in the target and 'other' in the draft" in capsys.readouterr().err


@pytest.mark.parametrize("drafter", ["model", "hybrid"])
def test_processors_and_logprobs_are_plain_decodings(demo, drafter):
    """Both arms, and the text without them is another; rounds take separate steps, and say why."""
    asked = ["-k", "3", "--drafter", drafter, "--logprobs", "2"]
    without, told = demo(*asked)[1], demo(*asked, "--repetition-penalty", "1.6", "--presence-penalty", "0.5")[1]
    for record in (without, told):
        assert record["summary"]["identical"] == 3 and record["summary"]["fused_rounds"] == 0
        for row in record["prompts"]:
            assert len(row["logprobs"]) == len(row["tokens"])
            assert all(one["best"][0] == [token, one["logprob"]] for token, one in zip(row["tokens"], row["logprobs"]))
    assert [r["tokens"] for r in without["prompts"]] != [r["tokens"] for r in told["prompts"]]
    assert without["processing"] == {} and told["processing"]["repetition_penalty"] == 1.6
    assert set(without["summary"]["separate_rounds"]) >= {"logits are wanted, and a round in one go gives ids"}
    assert any("processed" in reason for reason in told["summary"]["separate_rounds"])

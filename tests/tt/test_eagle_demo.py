# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The demo's command line with --backend tt and an EAGLE-3 head, on the fake device."""

import json

import pytest
from fakes import fixtures
from fakes.device import FakeMeshDevice
from support.eagle import head_tensors, save_head
from support.model_folder import CHARACTERS, save_tiny_model

from models.tt_transformers.demo.speculative_decoding.harness.device_run import run_on_device
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions
from models.tt_transformers.demo.speculative_decoding.harness.prompts import Prompt
from models.tt_transformers.demo.speculative_decoding.speculative_demo import main

checkpoints, ttnn = fixtures.checkpoints, fixtures.ttnn
VOCAB = len({"<eos>", "<unk>", *CHARACTERS})


@pytest.fixture
def models(tmp_path):
    """A target's folder and a head's."""
    target = save_tiny_model(tmp_path / "target", layers=6)
    tensors = head_tensors(vocab=VOCAB, draft_vocab=48)
    return str(target), save_head(tmp_path / "head", tensors, vocab_size=VOCAB, draft_vocab_size=48)


@pytest.mark.parametrize(
    "asked, traced",
    [
        (["--drafter", "eagle3"], True),
        (["--drafter", "eagle3", "--batch-size", "2"], False),
        ([], True),
        (["--batch-size", "2", "--lookahead", "auto"], True),
        (["--drafter", "eagle3", "--eagle-layers", "1,3,5", "--dtype", "accuracy"], False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "traced" if value else "slow dispatch",
)
def test_the_text_is_plain_decodings(ttnn, models, tmp_path, monkeypatch, asked, traced):
    if not traced:
        monkeypatch.setenv("TT_METAL_SLOW_DISPATCH_MODE", "1")
    (tmp_path / "prompts.json").write_text(json.dumps([{"prompt": t, "category": t} for t in ("hello", "abcabcabc")]))
    given = ["--backend", "tt", "--target", models[0], "--draft", models[1], "--prompts", tmp_path / "prompts.json"]
    given += ["--max-seq-len", "120", "--max-new-tokens", "16", "-k", "3", "--quiet", "--json", tmp_path / "r.json"]
    assert main([*map(str, given), *asked]) == 0
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["summary"]["identical"] == 2 and record["summary"]["drafted"] > 0 and record["backend"] == "tt"
    assert record["draft"] == models[1] and record["models"]["draft"]["device_dram_mb"] > 0
    assert record["feature_layers"] == ([1, 3, 5] if "--eagle-layers" in asked else [2, 3, 3])


def test_beside_the_stock_model(ttnn, models, tmp_path, monkeypatch):
    """The run of a device test: the stock baseline, the pair, its rounds counted."""
    monkeypatch.chdir(tmp_path)
    options = RunOptions(
        **{"pair": None, "target": models[0], "draft": None, "eagle": models[1], "drafter": "eagle3"},
        **{"backend": "tt", "device": "N150", "dtype": "performance", "num_draft_tokens": 3, "max_seq_len": 120},
        **{"max_new_tokens": 24, "prompts": [Prompt("hello there")]},
    )
    record = run_on_device(FakeMeshDevice(), options)
    assert record["summary"]["identical"] == 1 and record["traffic"]["programs_compiled"] == 0
    assert record["traffic"]["per_round"]["replays"] == 1

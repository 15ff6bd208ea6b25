# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""--chat with --backend tt, on the fake device: each turn's answer is plain decoding's, and all is closed again."""

import importlib
import re

import pytest
from fakes import fixtures
from support.conversations import answers, by_generate, save_talking_model, talk_to
from transformers import AutoTokenizer

checkpoints, ttnn = fixtures.checkpoints, fixtures.ttnn
SAID = ["hello", "and more"]


@pytest.fixture
def talking(ttnn, tmp_path, monkeypatch):
    """A target and a draft; upstream's tokenizers are transformers' own, with stop_tokens."""
    target = save_talking_model(tmp_path / "target", seed=3)
    tokenizer = AutoTokenizer.from_pretrained(target)
    tokenizer.stop_tokens = [tokenizer.eos_token_id]
    monkeypatch.setattr(importlib.import_module("fakes.fake_config"), "Tokenizer", lambda *_: tokenizer)
    return target, save_talking_model(tmp_path / "draft", seed=4)


@pytest.mark.parametrize("options", [[], ["--drafter", "hybrid"], ["--lookahead", "auto"]], ids=lambda o: " ".join(o))
def test_every_answer_is_plain_decodings(ttnn, talking, monkeypatch, capsys, options):
    opened, open_mesh_device = [], ttnn.open_mesh_device
    monkeypatch.setattr(
        ttnn, "open_mesh_device", lambda *a, **o: opened.append(open_mesh_device(*a, **o)) or opened[-1]
    )
    assert talk_to(*talking, SAID, ["--backend", "tt", *options], monkeypatch) == 0
    shown = capsys.readouterr().out
    assert [line.strip() for line in answers(shown)] == [line.strip() for line in by_generate(talking[0], SAID)]
    kept = [int(count) for count in re.findall(r"(\d+)/\d+ cached", " ".join(shown.split()))]
    assert kept[0] == 0 < kept[1]
    assert len(opened) == 1 and not opened[0].open

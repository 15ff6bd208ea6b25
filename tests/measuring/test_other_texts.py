# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A target whose generation_config changes what generate writes: followed by the arms and the peers, or said."""

import json
import shutil

import pytest
import torch
from support.model_folder import save_tiny_model
from support.results import interval
from transformers import AutoModelForCausalLM

from measuring.compare import compare_table, main
from measuring.peers import Peer
from measuring.reports.matches import fastest_by_category, peers_table
from measuring.run import Run

SETTINGS = {"repetition_penalty": 1.3, "suppress_tokens": [5, 9]}
OTHERS = {"num_beams": 3}


@pytest.fixture(scope="module")
def penalised(tmp_path_factory):
    plain = save_tiny_model(tmp_path_factory.mktemp("plain"))
    folder = shutil.copytree(plain, tmp_path_factory.mktemp("penalised") / "model")
    (folder / "generation_config.json").write_text(json.dumps(SETTINGS | OTHERS))
    return folder


def test_peers_decode_as_the_arms_do(penalised, tmp_path, capsys):
    arguments = ["--target", penalised, "--draft", penalised, "--prompt", "abcabc", "--json", tmp_path / "c.json"]
    arguments += ["--max-new-tokens", "16", "--k", "2", "--repeat", "1"]
    assert main([*map(str, arguments)]) == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert str(penalised) in warning and "num_beams" in warning and "penalty" not in warning
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["ignored_generation_settings"] == OTHERS and record["processing"] == SETTINGS
    assert all(arm["summary"]["identical"] == 1 for arm in record["runs"])
    assert record["peers"][0]["peer"] == "generate" and record["peers"][0]["summary"]["identical"] == 1


@pytest.mark.parametrize(
    "setting",
    [
        {"use_cache": False},
        {"return_dict_in_generate": True},
        {"cache_implementation": "static"},
        {"is_assistant": True},
        {"prompt_lookup_num_tokens": 3},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_settings_that_change_how_a_peer_runs(penalised, setting, tmp_path):
    folder = shutil.copytree(penalised, tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps(setting))
    arguments = ["--target", folder, "--prompt", "abcabc", "--json", tmp_path / "c.json", "--k", "2", "--repeat", "1"]
    assert main([*map(str, arguments), "--max-new-tokens", "8"]) == 0
    assert [peer["summary"]["identical"] for peer in json.loads((tmp_path / "c.json").read_text())["peers"]] == [1, 1]


def test_the_models_settings_are_left_as_they_were(penalised):
    model = AutoModelForCausalLM.from_pretrained(penalised)
    peer = Peer(kind="assistant_model", k=2, model=model, assistant=model, eos_token_ids=frozenset())
    ids = torch.tensor([[3, 4, 5]])
    plain = Peer(kind="generate", k=0, model=model, assistant=None, eos_token_ids=frozenset()).run([3, 4, 5], 16)
    assert len(peer.run([3, 4, 5], 16).tokens) == 16  # another text: transformers' assistant does not see the penalty
    settings = {"do_sample": False, "num_beams": 1, "max_new_tokens": 16, "pad_token_id": 0}
    assert model.generate(ids, **settings)[0, 3:].tolist() == plain.tokens
    assert model.generation_config.repetition_penalty == 1.3 and model.generation_config.num_beams == 3


@pytest.mark.parametrize(
    "identical, says, speed",
    [(True, "no", "10.00x (9.60 to 10.40)"), (False, "not measured", "not comparable here")],
)
def test_another_text_is_not_ranked(identical, says, speed):
    ours = {"category": "code", "ttft_ms": 0.0, "baseline_ttft_ms": 0.0, "decode_s": 0.5, "baseline_decode_s": 1.0}
    run = Run({"num_draft_tokens": 1, "summary": {"drafted": 1}, "prompts": [ours]}, {})
    found = interval(10.0 if identical else None)
    ours |= interval(2.0)
    row = {"category": "code", "request_s": 0.1, "baseline_request_s": 1.0, "identical": identical, **found}
    total = {"identical": int(identical), "prompts": 1, "request_s": 0.1, "baseline_request_s": 1.0, **found}
    total |= {"decode_tps": 10.0, "not_comparable": None if identical else "its text is another"}
    peer = {"peer": "generate", "kind": "generate", "prompts": [row], "summary": total}
    assert fastest_by_category([run], [peer]).rows[0][-2:] == (speed, says)
    assert peers_table([], [peer]).rows[-1][2] == speed
    assert ("10.00x" in compare_table({"runs": [], "peers": [peer]})) == identical
    ours |= {"tokens": [1, 2], "baseline_tokens": [1, 2], "identical": identical}
    own = Run({"num_draft_tokens": 1, "summary": {"speedup": 2.0}, "prompts": [ours]}, {})
    assert own.speedup_of([ours]).value == own.speedup.value == (2.0 if identical else None)
    assert own.column("speedup") == [2.0] * identical

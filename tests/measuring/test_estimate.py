# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Estimates from agreement: by hand on invented predictions, and against real generation of the same models."""

import json
import os
from pathlib import Path

import pytest
import torch
from support.model_folder import save_tiny_model
from support.tiny import tiny_llama

from measuring.agreement import (
    Agreement,
    Prediction,
    estimate_k,
    predict,
    read_refpt,
)
from measuring.estimate import REFERENCE_OUTPUTS, main
from measuring.published_speeds import DEVICES, PAIR_MODELS, published_pair
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator


def prediction(name, choices, text):
    """Top-5 whose first entry is the choice, and whose others are what nobody chooses."""
    return Prediction(name, torch.tensor([[choice, 91, 92, 93, 94] for choice in choices]), torch.tensor(text))


TEXT = [0, 1, 2, 3, 4, 5, 6, 7, 8]
TARGET = prediction("target", [1, 2, 3, 4, 50, 6, 7, 8], TEXT)
DRAFT = prediction("draft", [1, 2, 30, 4, 50, 6, 70, 8], TEXT)  # agrees: 1 1 0 1 1 1 0 1


def test_agreement_by_hand():
    agreement = Agreement.between(TARGET, DRAFT)
    assert agreement.agree == [True, True, False, True, True, True, False, True]
    assert agreement.alpha == 6 / 8
    assert agreement.alpha_on_own_text == 5 / 7  # position 4 is not the text's
    assert agreement.draft_top5_rate == 6 / 8


def test_rounds_by_hand():
    """K = 2: positions 0, 1 accepted, then 2 is the target's own; 3, 4 accepted, 5 its own; 6 rejected; 7 is cut."""
    agreement = Agreement.between(TARGET, DRAFT)
    assert [r.accepted for r in agreement.rounds(2)] == [2, 2, 0]
    row = estimate_k(agreement, 2, c=0.25, v=1.5)
    assert row.acceptance_rate == 4 / 6 and row.tokens_per_round == 7 / 3 and row.accepted_per_position == [2, 2]
    assert row.speedup == pytest.approx(7 / 3 / 2.0)
    assert estimate_k(agreement, 2, c=None, v=1.0).speedup is None
    nothing = estimate_k(agreement, 9, c=0.1, v=1.0)
    assert nothing.rounds == 0 and nothing.acceptance_rate is None and nothing.speedup is None


def test_texts_must_be_the_same():
    other = prediction("draft", [1] * 8, [0, 1, 2, 3, 4, 5, 6, 7, 9])
    with pytest.raises(BadInput, match="target and draft were run over different texts"):
        Agreement.between(TARGET, other)
    with pytest.raises(BadInput, match="N rows belong to N \\+ 1 tokens"):
        prediction("short", [1], [0, 1, 2])


def test_one_forward_predicts_what_a_speculative_run_accepts():
    """On the target's own greedy text, the estimated rounds are the very rounds of a generation."""
    target, draft = tiny_llama(0), tiny_llama(0)
    with torch.no_grad():
        draft.lm_head.weight += 0.06 * torch.randn(
            draft.lm_head.weight.shape, generator=torch.Generator().manual_seed(1)
        )
    k, prompt = 3, [3, 1, 4, 1, 5]
    generator = SpeculativeGenerator(
        TorchModelRunner(target, max_seq_len=256, eos_token_ids=frozenset()),
        ModelDrafter(TorchModelRunner(draft, max_seq_len=256, eos_token_ids=frozenset())),
        num_draft_tokens=k,
    )
    (result,) = generator.generate([prompt], max_new_tokens=120)
    text = prompt + result.tokens
    agreement = Agreement.between(predict("target", target, text), predict("draft", draft, text))
    of_answer = Agreement(agreement.agree[len(prompt) :], agreement.own[len(prompt) :], agreement.draft_top5_rate)
    assert all(of_answer.own)
    whole = [(r.drafted, r.accepted) for r in result.rounds if r.drafted == k]
    estimated = [(r.drafted, r.accepted) for r in of_answer.rounds(k)]
    assert estimated[: len(whole) - 1] == whole[:-1] and len(whole) > 20
    assert 0 < sum(accepted for _, accepted in estimated) < k * len(estimated)


def test_refpt_files_and_the_command(tmp_path, capsys):
    folder = tmp_path / REFERENCE_OUTPUTS
    folder.mkdir(parents=True)
    for name, found in (("Llama-3.1-8B-Instruct", TARGET), ("Llama-3.2-1B-Instruct", DRAFT)):
        torch.save({"top5_tokens": found.top5, "reference_tokens": found.text[None]}, folder / f"{name}.refpt")
    file = tmp_path / "e.json"
    command = ["--pair", "llama-1b-8b", "--tt-metal", str(tmp_path), "--k", "1,2", "--json", str(file)]
    assert main([*command, "--published", "N150", "--v", "1.1"]) == 0
    found = json.loads(file.read_text())
    assert found["alpha"] == 0.75 and found["c"] == pytest.approx(28.3 / 87.8) and found["v"] == 1.1
    assert "published" in found["c_source"] and "not measured" in found["c_source"]
    assert found["best"]["k"] == 2 and found["best"]["speedup"] == pytest.approx(7 / 3 / (2 * 28.3 / 87.8 + 1.1))
    printed = capsys.readouterr().out
    assert "published speeds on N150, not measured" in " ".join(printed.split())
    assert main(command) == 0 and json.loads(file.read_text())["best"] is None
    assert "No speedup is predicted" in capsys.readouterr().out
    assert main([*command, "--c", "3"]) == 0 and json.loads(file.read_text())["best"] == {"k": 0, "speedup": 1.0}


@pytest.mark.parametrize("pair, alpha", [("llama-1b-3b", 0.727), ("llama-1b-8b", 0.689)])
def test_reference_outputs_of_a_checkout(pair, alpha):
    """The figures that this project quotes, from tt-metal's own files."""
    folder = Path(os.environ.get("TT_METAL_HOME", "nowhere")) / REFERENCE_OUTPUTS
    if not folder.is_dir():
        pytest.skip("no tt-metal checkout at TT_METAL_HOME")
    target, draft = (read_refpt(folder / f"{model}-Instruct.refpt") for model in PAIR_MODELS[pair])
    assert Agreement.between(target, draft).alpha == pytest.approx(alpha, abs=5e-4)


def test_two_models_over_a_text(tmp_path, capsys):
    target = save_tiny_model(tmp_path / "target")
    draft = save_tiny_model(tmp_path / "draft", seed=1, layers=1)
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog " * 3)
    file = tmp_path / "e.json"
    command = [
        "--target",
        str(target),
        "--text",
        str(tmp_path / "text.txt"),
        "--json",
        str(file),
        "--max-tokens",
        "100",
    ]
    assert main([*command, "--draft", str(draft), "--target-tps", "10", "--draft-tps", "40"]) == 0
    found = json.loads(file.read_text())
    assert found["positions"] == 99 and found["alpha"] < 0.5 and found["c"] == 0.25
    assert main([*command, "--draft", str(target)]) == 0  # a model agrees with itself
    assert json.loads(file.read_text())["alpha"] == 1.0
    assert "1.000 (alpha)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, named",
    [
        ([], "--pair NAME"),
        (["--pair", "smollm2"], "no draft model"),
        (["--pair", "llama-1b-3b"], "no text to read"),
        (["--pair", "llama-1b-3b", "--tt-metal", "nowhere"], "nowhere"),
        (["--target-refpt", "x.refpt"], "belong together"),
        (["--target-refpt", "x.refpt", "--draft-refpt", "y.refpt"], "no reference output x.refpt"),
        (["--pair", "llama-1b-3b", "--k", "0"], "'0' is not a number from 1 to 31"),
        (["--pair", "llama-1b-3b", "--c", "0.5", "--published", "N150"], "more than once"),
        (["--pair", "llama-1b-3b", "--target-tps", "3"], "belong together"),
        (["--target", "a", "--draft", "b", "--published", "N150"], "no speed is published"),
        (["--pair", "llama-1b-3b", "--v", "0"], "--v 0"),
        (["--pair", "llama-1b-3b", "--v", "inf"], "--v inf"),
        (["--pair", "llama-1b-3b", "--c", "nan"], "--c nan is no cost"),
        (["--pair", "llama-1b-3b", "--target-tps", "nan", "--draft-tps", "3"], "both are positive"),
        (["--pair", "llama-1b-3b", "--max-tokens", "-5"], "--max-tokens -5"),
        (["--pair", ""], "--pair was given an empty text"),
        (["--pair", "llama-1b-3b", "--device", "bogus"], "--device bogus is not known"),
        (["--pair", "llama-1b-3b", "--device", "meta"], "--device meta is not known"),
        (["--pair", "llama-1b-3b", "--dtype", "int3"], "--dtype int3 is not known"),
        (["--pair", "llama-1b-3b", "--k", "9" * 5000], "is not a number from 1 to 31"),
        (["--pair", "llama-1b-3b", "--tt-metal", "a" * 300], "there is no folder"),
        (["--pair", "llama-1b-3b", "--text", "a" * 300], "cannot be read"),
        (["--pair", "llama-1b-3b", "--text", "x", "--tt-metal", "y"], "--text and --tt-metal were given"),
        (["--pair", "llama-1b-3b", "--target-tps", "1e300", "--draft-tps", "1e-300"], "too far"),
        (["--target-refpt", "x.refpt", "--draft-refpt", ""], "--draft-refpt was given an empty text"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_clear_error(arguments, named, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and named in error


class Code:
    """What runs where a pickle of it is loaded without care."""

    def __reduce__(self):
        return (Path.touch, (Path("it-ran"),))


WHOLE = {"top5_tokens": TARGET.top5, "reference_tokens": TARGET.text[None]}


@pytest.mark.parametrize(
    "content, named",
    [
        (b"", "EOFError"),
        (b"not a zip", "torch cannot read it"),
        (b"PK\x03\x04" + bytes(60), "torch cannot read it"),
        ([1], "no top5_tokens"),
        ({"tokens": torch.zeros(3)}, "no top5_tokens"),
        ({**WHOLE, "reference_tokens": None}, "no reference_tokens"),
        ({**WHOLE, "top5_tokens": TARGET.top5 * float("nan")}, "no top5_tokens that are whole numbers"),
        ({**WHOLE, "top5_tokens": "x"}, "no top5_tokens"),
        ({**WHOLE, "top5_tokens": TARGET.top5.to("meta")}, "torch cannot read it"),
        ({**WHOLE, "top5_tokens": TARGET.top5[:, :3]}, "each row holds 5"),
        ({**WHOLE, "top5_tokens": TARGET.top5[:, :0]}, "each row holds 5"),
        ({"top5_tokens": TARGET.top5[:0], "reference_tokens": TARGET.text[None, :1]}, "one at least"),
        ({**WHOLE, "code": Code()}, "UnpicklingError"),
    ],
)
def test_a_file_that_is_no_reference_output(content, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "x.refpt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    assert main(["--target-refpt", str(file), "--draft-refpt", str(file)]) == 2
    error = capsys.readouterr().err
    assert f"error: {file} is not a reference output" in error and named in error and error.count("\n") == 1
    assert "make it again" in error and not Path("it-ran").exists()


def test_a_cut_reference_output(tmp_path):
    """Wherever it ends."""
    torch.save(WHOLE, tmp_path / "whole.refpt")
    whole = (tmp_path / "whole.refpt").read_bytes()
    for size in range(0, len(whole), 97):
        (tmp_path / "cut.refpt").write_bytes(whole[:size])
        with pytest.raises(BadInput, match="cut.refpt is not a reference output"):
            read_refpt(tmp_path / "cut.refpt")
    with pytest.raises(BadInput, match="is not a reference output: Is a directory"):
        read_refpt(tmp_path)


@pytest.mark.parametrize(
    "case, named",
    [
        ("draft", "'/no/such' is neither a folder"),
        ("tokenizer", "cannot draft for"),
        ("empty", "has 0 tokens; at least 2"),
        ("positions", "--max-tokens 5000 is more than the 512 positions"),
        ("json", "this very file is read"),
    ],
)
def test_no_model_is_loaded_for_what_cannot_be(case, named, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("measuring.estimate.load_model", None)
    target, text = save_tiny_model(tmp_path / "target"), tmp_path / "text.txt"
    other = save_tiny_model(tmp_path / "other", extra_tokens=("é",))
    text.write_text("" if case == "empty" else "a text")
    draft = {"draft": "/no/such", "tokenizer": other}.get(case, target)
    more = {"positions": ["--max-tokens", "5000"], "json": ["--json", str(text)]}.get(case, [])
    capsys.readouterr()
    assert main(["--target", str(target), "--draft", str(draft), "--text", str(text), *more]) == 2
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1 and text.exists()


def test_published_c():
    assert published_pair("llama-1b-3b", "N150").c == pytest.approx(0.615, abs=5e-4)
    assert published_pair("llama-1b-8b", "N300").c == pytest.approx(0.417, abs=5e-4)
    assert DEVICES == ("N150", "N300", "T3K")


def test_a_model_of_no_numbers_is_a_model_failure(tmp_path, capsys):
    target = save_tiny_model(tmp_path / "target")
    model = tiny_llama(3, vocab=98)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    model.save_pretrained(target)
    (tmp_path / "text.txt").write_text("a text")
    assert main(["--target", str(target), "--draft", str(target), "--text", str(tmp_path / "text.txt")]) == 1
    assert f"error: {target} gives logits that are no numbers" in capsys.readouterr().err

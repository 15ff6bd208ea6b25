# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A work folder whose files are cut, of something else or gone: one line that names them, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.model_folder import save_tiny_model
from support.tiny import tiny_llama
from transformers import GPT2Config, GPT2LMHeadModel

from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import head_config
from models.tt_transformers.demo.speculative_decoding.hf.loading import AutoModelForCausalLM
from training import train_draft
from training.train_draft import main

SIZES = "--dtype float32 --shards 1 --reading-shards 0 --prompts-per-shard 4 2 --held-out-prompts 3 2 --new-tokens 4"
SIZES += " --draft-vocabulary 50 --epochs 1 --tokens-per-batch 2000"


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("target"), layers=4)


@pytest.fixture(scope="module")
def trained(target, tmp_path_factory) -> Path:
    """A folder with the work of a whole training, and its draft."""
    folder = tmp_path_factory.mktemp("trained")
    assert main(command(target, folder)) == 0
    return folder


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def command(target: Path, folder: Path, *more: str) -> list[str]:
    paths = ["--target", str(target), "--work", str(folder / "work"), "--output", str(folder / "head")]
    return [*paths, *SIZES.split(), *more]


def refusal(capsys, arguments: list[str]) -> str:
    """The one line of an exit status 2."""
    capsys.readouterr()
    assert main(arguments) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith(("error", "Traceback")))
    return line


class Code:
    """What runs where a pickle of it is loaded without care."""

    def __reduce__(self):
        return (Path.touch, (Path("it-ran"),))


def rewritten(file: Path, change) -> None:
    content = torch.load(file, weights_only=True)
    torch.save(change(content), file)


CHECKPOINTS = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-400]),
    "text": lambda file: file.write_text("hello"),
    "a number": lambda file: torch.save(5, file),
    "a list": lambda file: torch.save([1], file),
    "code": lambda file: torch.save(Code(), file),
    "nothing": lambda file: torch.save({}, file),
    "texts": lambda file: torch.save({"draft": "x", "state": "y", "optimizers": "z", "token_ids": "t"}, file),
}


@pytest.mark.parametrize("name", ["training.pt", "best.pt"])
@pytest.mark.parametrize("damage", CHECKPOINTS)
def test_a_damaged_checkpoint_is_said_by_name(damage, name, target, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    file = folder / "work" / name
    CHECKPOINTS[damage](file)
    before = file.read_bytes()
    line = refusal(capsys, command(target, folder, "--epochs", "2"))
    assert str(file) in line and "take training.pt and best.pt away" in line
    assert file.read_bytes() == before and not Path("it-ran").exists()


def with_state(**changes):
    return lambda saved: {**saved, "state": {**saved["state"], **changes}}


def with_draft(name: str, value):
    return lambda saved: {**saved, "draft": {**saved["draft"], name: value}}


def with_memory(value):
    def change(saved):
        saved["optimizers"][1]["state"][0] = value
        return saved

    return change


@pytest.mark.parametrize(
    "change, named",
    [
        (with_state(epoch="x"), "where the training stands"),
        (with_state(tokens=[7, 8, 9]), "where the training stands"),
        (with_state(losses=[None]), "where the training stands"),
        (with_state(accepted=5), "where the training stands"),
        (with_state(more=5), "where the training stands"),
        (with_draft("norm.weight", torch.ones(3)), "other options"),
        (with_draft("extra", torch.ones(3)), "other options"),
        (with_draft("token_ids", torch.arange(50)), "other options"),
        (with_draft("norm.weight", torch.full((32,), float("nan"))), "not finite"),
        (with_memory({}), "optimizers are of another draft"),
        (with_memory({"step": torch.ones(()), "exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}), "optimizers"),
        (with_memory("x"), "no state of optimizers"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_said_by_name(change, named, target, folder, capsys):
    rewritten(folder / "work" / "training.pt", change)
    line = refusal(capsys, command(target, folder, "--epochs", "2"))
    assert "training.pt" in line and named in line


def test_a_best_draft_that_has_gone(target, folder, capsys):
    (folder / "work" / "best.pt").unlink()
    assert "best.pt cannot be used (No such file" in refusal(capsys, command(target, folder))


def changed_shard(file: Path, **changes) -> None:
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = {name: value for name, value in (load_file(file) | changes).items() if value is not None}
    save_file(tensors, file, metadata)


SHARDS = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "text": lambda file: file.write_text("hello"),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "no features": lambda file: changed_shard(file, features=None),
    "words": lambda file: changed_shard(file, tokens=torch.rand(5)),
    "lengths": lambda file: changed_shard(file, lengths=load_file(file)["lengths"] + 1),
    "categories": lambda file: changed_shard(file, categories=load_file(file)["categories"] + 99),
    "prompts": lambda file: changed_shard(file, prompt_lengths=load_file(file)["lengths"] + 1),
    "flat": lambda file: changed_shard(file, features=torch.rand(9)),
    "none": lambda file: save_file({}, file),
}


@pytest.mark.parametrize("name", ["held-out", "answers-0000"])
@pytest.mark.parametrize("damage", SHARDS)
def test_a_damaged_shard_is_said_before_a_model_is_loaded(damage, name, target, folder, capsys, monkeypatch):
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)
    file = folder / "work" / "shards" / f"{name}.safetensors"
    SHARDS[damage](file)
    line = refusal(capsys, command(target, folder))
    assert str(file) in line and "take it away, and it is made again" in line


def test_shards_of_other_layers_or_tokens(target, folder, capsys):
    assert "were --layers others?" in refusal(capsys, command(target, folder, "--layers", "2"))
    assert "was --layers another?" in refusal(capsys, command(target, folder, "--layers", "2", "1", "1"))
    file = folder / "work" / "shards" / "answers-0000.safetensors"
    changed_shard(file, tokens=load_file(file)["tokens"] + 1000)
    assert "its tokens are not the target's" in refusal(capsys, command(target, folder))


@pytest.mark.parametrize(
    "name", ["training.pt", "best.pt", "report.json", "learning_curve.png", "target.txt", "shards"]
)
def test_something_else_in_the_place_of_a_file(name, target, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / name).write_text("x") if name == "shards" else (tmp_path / "work" / name).mkdir()
    assert str(tmp_path / "work") in refusal(capsys, command(target, tmp_path))


def test_a_target_mark_of_no_text(target, folder, capsys):
    (folder / "work" / "target.txt").write_bytes(b"\xff\xfe")
    assert "of another target" in refusal(capsys, command(target, folder))


@pytest.mark.parametrize("gone", ["out", "work"])
def test_a_folder_that_vanishes_loses_nothing(gone, target, trained, tmp_path, monkeypatch, capsys):
    """After the training, before anything is written; the draft is where the error says."""
    work = Path(shutil.copytree(trained / "work", tmp_path / "work"))
    validate = train_draft.validate

    def vanishing(*arguments):
        shutil.rmtree(tmp_path / gone)
        return validate(*arguments)

    monkeypatch.setattr(train_draft, "validate", vanishing)
    output = tmp_path / "out" / "head"
    line = refusal(capsys, [*command(target, tmp_path), "--work", str(work), "--output", str(output)])
    kept = Path(line.split("the results are in ")[1].split(" instead")[0])
    if gone == "out":
        assert json.loads((work / "report.json").read_text())["epochs"] == 1
        assert load_file(kept)["lm_head.weight"].shape == (50, 32)
    else:
        assert head_config(str(output))["draft_vocab_size"] == 50 and json.loads(kept.read_text())["epochs"] == 1
    kept.unlink()


def test_a_work_folder_that_vanishes_between_epochs_is_made_again(target, tmp_path, monkeypatch):
    plot = train_draft.plot_learning_curve

    def vanishing(state, path):
        plot(state, path)
        if state.epoch == 1:
            shutil.rmtree(path.parent)

    monkeypatch.setattr(train_draft, "plot_learning_curve", vanishing)
    assert main(command(target, tmp_path, "--epochs", "2")) == 0
    assert (tmp_path / "work" / "training.pt").is_file() and head_config(str(tmp_path / "head"))


def test_a_picture_that_cannot_be_drawn_ends_nothing(target, folder, monkeypatch):
    def no_room(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", no_room)
    assert main(command(target, folder, "--epochs", "2")) == 0
    assert not list((folder / "work").glob("*.partial"))


@pytest.mark.parametrize(
    "more, named",
    [
        (["--work", ""], "--work was given an empty text"),
        (["--output", ""], "--output was given an empty text"),
        (["--name", ""], "--name was given an empty text"),
        (["--target", ""], "--target was given an empty text"),
        (["--threads", str(2**40)], "--threads is 1099511627776; it must be at least 1, and at most"),
        (["--shards", str(10**12)], "--shards is 1000000000000"),
        (["--new-tokens", str(2**50)], "--new-tokens is"),
        (["--new-tokens", "4000"], "is more than the 512 positions"),
        (["--held-out-prompts", "0", "5"], "the first at least 1"),
        (["--prompts-per-shard", str(10**18), "1"], "give numbers of at most"),
    ],
)
def test_options_that_cannot_be(more, named, target, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)
    assert named in refusal(capsys, command(target, tmp_path, *more))
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_would_overwrite_what_is_read(target, folder, capsys):
    before = (target / "config.json").read_bytes()
    for place in (target, folder / "work"):
        assert "which it would overwrite" in refusal(capsys, command(target, folder, "--output", str(place)))
    (folder / "head" / "thesis.tex").write_text("x")
    assert "holds thesis.tex, which is no head's" in refusal(capsys, command(target, folder))
    assert (target / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    "more, named", [(["--layers", "0"], "are of layers 1 to 3"), (["--layers", "99"], "are of layers 1 to 3")], ids=str
)
def test_layers_that_cannot_be_are_said_before_anything_is_answered(more, named, target, tmp_path, capsys):
    assert named in refusal(capsys, command(target, tmp_path, *more))
    assert not list((tmp_path / "work").rglob("*.*"))


def test_a_target_of_another_build(target, tmp_path, capsys):
    other = Path(shutil.copytree(target, tmp_path / "gpt2"))
    sizes = {"vocab_size": 98, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}
    GPT2LMHeadModel(GPT2Config(**sizes, eos_token_id=0, bos_token_id=0)).save_pretrained(other)
    assert "GPT2LMHeadModel says no intermediate_size" in refusal(capsys, command(other, tmp_path))


def test_a_training_that_leaves_the_finite_numbers_ends(target, folder, capsys):
    """And can be gone on with from before that."""
    line = refusal(capsys, command(target, folder, "--epochs", "9", "--learning-rate", "1e30"))
    assert "lower --learning-rate" in line
    assert main(command(target, folder)) == 0


def test_a_target_of_no_numbers_is_a_model_failure(target, tmp_path, capsys):
    other = Path(shutil.copytree(target, tmp_path / "nan"))
    model = tiny_llama(0, vocab=98)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    model.save_pretrained(other)
    assert main(command(other, tmp_path)) == 1
    assert "logits that are no numbers" in capsys.readouterr().err

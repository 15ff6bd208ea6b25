# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Making a draft: its data, its loss, and the whole command on a tiny random Llama."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.eagle import as_head
from support.tiny import greedy_by_recomputation, tiny_llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn import functional as F
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.prompts import SAMPLE_PROMPTS, load_prompts
from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import LAYER_IDS
from models.tt_transformers.demo.speculative_decoding.hf.eagle_head import EagleHead
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from training.answers import (
    AnswerOptions,
    answer_batch,
    passage,
    too_close,
)
from training.data import Answer, batch_groups, collate, load_answers
from training.distillation import (
    Rollout,
    Teacher,
    distillation_loss,
    measure_acceptance,
    unroll,
)
from training.model import HeadModel, spec_for_target
from training.prompts import PLAIN, demo_prompts, make_prompts
from training.train_draft import main
from training.trainer import (
    Trainer,
    TrainingOptions,
    choose_vocabulary,
    initial_head,
)

LAYERS = (1, 2, 4)  # the taps, and the end, which teaches


@torch.no_grad()
def _answer(target, prompt: list[int], length: int) -> Answer:
    tokens = prompt + greedy_by_recomputation(target, prompt, length)[0]
    hidden = target(torch.tensor([tokens]), output_hidden_states=True).hidden_states
    return Answer("code", torch.tensor(tokens), torch.cat([hidden[layer][0] for layer in LAYERS], -1), len(prompt))


def _head(target, answers: list[Answer], vocabulary: int = 32) -> HeadModel:
    ids = choose_vocabulary(answers, vocabulary, 32)
    return initial_head(target, spec_for_target(target, len(ids), layers=LAYERS[:-1]), ids, answers, seed=0)


@pytest.fixture(scope="module")
def target():
    return tiny_llama(3, layers=4)


@pytest.fixture(scope="module")
def answers(target) -> list[Answer]:
    return [_answer(target, [1 + n, 5, 9, 2 * n][: 2 + n % 3], 12 + n) for n in range(6)]


def test_answers_are_the_targets_own_and_carry_its_features(target):
    prompts = [[3, 4, 5], [6], [7, 8, 9, 10, 11]]
    options = AnswerOptions(new_tokens=20, sampled_every=0)
    eos = frozenset(
        [greedy_by_recomputation(target, [6], 9)[0][-1]]
    )  # some answers end early, which compacts the batch
    rows = answer_batch(target, prompts, LAYERS, eos_ids=eos, generator=torch.Generator(), options=options)
    lengths = set()
    for prompt, (tokens, features) in zip(prompts, rows):
        assert tokens.tolist() == prompt + greedy_by_recomputation(target, prompt, 20, eos)[0]
        with torch.no_grad():
            hidden = target(tokens[None], output_hidden_states=True).hidden_states
        expected = torch.cat([hidden[layer][0] for layer in LAYERS], -1)
        assert torch.allclose(features[:-1].float(), expected[:-1], atol=0.05, rtol=0.02)
        lengths.add(len(tokens) - len(prompt))
    assert len(lengths) > 1


def test_every_fourth_answer_is_sampled(target):
    prompts = [[3, 4]] * 8
    options = AnswerOptions(new_tokens=24, temperature=5.0)
    rows = answer_batch(target, prompts, LAYERS, eos_ids=frozenset(), generator=torch.Generator(), options=options)
    greedy = [3, 4, *greedy_by_recomputation(target, [3, 4], 24)[0]]
    assert [tokens.tolist() == greedy for tokens, _ in rows] == [True, True, True, False] * 2


def test_held_out_prompts_share_no_template_and_no_topic_with_training():
    held_out = {prompt.text for prompt in make_prompts(600, 1, held_out=True)}
    training = {prompt.text for prompt in make_prompts(3000, 1, held_out=False)}
    assert not held_out & training
    assert not any("photosynthesis" in text.lower() for text in held_out)
    assert any("photosynthesis" in text.lower() for text in training)
    assert not any("water cycle" in text.lower() for text in training)
    assert {prompt.category for prompt in make_prompts(12, 1, held_out=True)} == set(PLAIN)


def test_prompts_depend_on_the_seed_alone():
    first, again, other = (list(make_prompts(30, seed, held_out=False)) for seed in (1, 1, 2))
    assert first == again and first != other


def test_no_training_prompt_is_near_a_prompt_of_the_demo():
    demo = [prompt.text for prompt in load_prompts(SAMPLE_PROMPTS)]
    texts = ["The Moon is a rock. It orbits the Earth every month and causes the tides of every sea."]
    prompts = [*make_prompts(3000, 1, held_out=False), *make_prompts(300, 1, held_out=False, texts=texts)]
    assert not any(too_close(prompt.text, demo) for prompt in prompts)
    assert too_close(demo[0].upper() + " Please.", demo)
    assert demo_prompts() == demo


def test_an_epoch_holds_every_answer_once_and_no_batch_is_too_large():
    lengths = torch.randint(40, 380, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    some = [Answer("code", torch.full((n,), i), torch.zeros(n, 1), 2) for i, n in enumerate([*lengths, 9000])]
    groups = batch_groups(some, 6144, seed=1)
    assert sorted(int(a.tokens[0]) for group in groups for a in group) == list(range(301))
    assert all(collate(group).tokens.numel() <= 6144 for group in groups if len(group) > 1)
    assert len(groups) <= 2 + 1.1 * sum(lengths) / 6144  # little of it is padding
    assert [len(group) for group in batch_groups(some, 6144, seed=2)] != [len(group) for group in groups]


def test_passages_are_whole_sentences():
    text = "One two three four five six seven eight. Nine ten eleven twelve thirteen fourteen fifteen. Half a sen"
    assert passage(text) == text[: text.index(" Half")]
    assert passage("Too short.") == ""


def test_unrolled_steps_see_what_the_drafter_sees(target, answers):
    """The parallel unroll of training gives the very hidden states of drafting token by token with a cache."""
    draft = _head(target, answers).eval()
    drafter = FeatureDrafter(as_head(draft, target))
    answer = answers[3]
    tokens, first = answer.tokens.tolist(), answer.prompt_length + 2  # the pair at position `first` yields d_1
    teacher = Teacher(target.get_input_embeddings().weight.detach(), target.get_output_embeddings().weight.detach())
    with torch.no_grad():
        rollouts = unroll(draft, teacher, collate([answer, answers[0]]), 3)
    drafter.start([tokens[: first + 1]], [answer.features[: first + 1, :-32]])
    head, user = drafter._head, drafter._users[0]
    with torch.inference_mode():
        hidden = drafter._catch_up(user, tokens[: first + 2])
        for step, rollout in enumerate(rollouts):
            row = first - (answer.prompt_length - 1)  # positions wanted start at the prompt's last
            expected = draft.norm(hidden)[0, 0]
            assert torch.allclose(rollout.hidden[row], expected, atol=1e-4), f"step {step}"
            assert int(rollout.next_ids[row]) == tokens[first + step + 2]
            assert torch.equal(rollout.teacher[row], answer.features[first + step + 1, -32:])
            hidden = head.layer(hidden, [tokens[first + step + 2]], first + step + 1, user.write)


def test_the_losss_gradient_is_that_of_the_divergence():
    generator = torch.Generator().manual_seed(0)
    rows, state, hidden = (torch.randn(n, 8, generator=generator) for n in (20, 5, 5))
    hidden.requires_grad_()
    valid = torch.tensor([True, True, False, True, True])
    rollout = Rollout(hidden, state, torch.zeros(5), valid)
    own = (rows + 0.1 * torch.randn(20, 8, generator=generator)).requires_grad_()
    scalar, value = distillation_loss(rollout, Teacher(rows, rows), own)
    ours = torch.autograd.grad(scalar, (hidden, own))
    wanted = F.linear(state, rows)[valid].log_softmax(-1)
    exact = F.kl_div(F.linear(hidden, own)[valid].log_softmax(-1), wanted, log_target=True, reduction="batchmean")
    expected = torch.autograd.grad(exact, (hidden, own))
    assert value == pytest.approx(float(exact.detach()), rel=1e-4)
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(ours, expected))
    assert not ours[0][2].any()


def test_training_learns_to_draft_and_resumes_where_it_stopped(target, answers, tmp_path):
    def trainer(name: str) -> Trainer:
        head = _head(target, answers)
        (tmp_path / name).mkdir(exist_ok=True)
        options = TrainingOptions(epochs=12, tokens_per_batch=64, learning_rate=2e-2, part=1)
        return Trainer(head, Teacher.of(target, head.token_ids), tmp_path / name, options)

    class Stopped(Exception):
        pass

    def stop_within_the_fourth(state) -> None:
        if (state.epoch, state.batch) == (4, 1):
            raise Stopped

    whole, parts = trainer("whole"), trainer("parts")
    before = measure_acceptance(whole.head, whole.teacher, answers)
    trained = whole.run(answers, answers)
    after = measure_acceptance(trained, whole.teacher, answers)
    assert after[0, 0] > before[0, 0] + 20 and after[0, 1] == before[0, 1]
    with pytest.raises(Stopped):
        parts.run(answers, answers, after_part=stop_within_the_fourth)
    resumed = trainer("parts")
    assert resumed.resume() and (resumed.state.epoch, resumed.state.batch) == (4, 1)
    again = resumed.run(answers, answers)
    assert resumed.state.losses == pytest.approx(whole.state.losses) and resumed.state.tokens == whole.state.tokens
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(again.parameters(), trained.parameters()))


def test_draft_vocabulary_holds_the_answers_most_used_ids(answers):
    ids = choose_vocabulary(answers, 5, 32, always=[31])
    counts = torch.bincount(torch.cat([a.tokens[a.prompt_length :] for a in answers]), minlength=32)
    assert len(ids) == 5 and 31 in ids and ids.tolist() == sorted(ids.tolist())
    assert int(counts.argmax()) in ids


def test_the_unroll_grows():
    options = TrainingOptions(steps=4, ramp=0.4)
    assert [options.steps_at(fraction) for fraction in (0.0, 0.09, 0.11, 0.25, 0.31, 0.5, 0.99)] == [
        1,
        1,
        2,
        3,
        4,
        4,
        4,
    ]


def test_the_checkpoint_is_what_its_format_says(target, answers, tmp_path):
    """Published names and spellings, the target's fingerprint, and the drafts that the trained module would give."""
    head = _head(target, answers, vocabulary=20).eval()
    with torch.no_grad():
        head.lm_head.weight.copy_(torch.randn(20, 32, generator=torch.Generator().manual_seed(0)))
    head.save(tmp_path, card="# card")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLMEagle3"] and config["eagle_config"][LAYER_IDS] == [0, 1]
    opened = EagleHead.from_pretrained(str(tmp_path), target)
    assert opened.spec == head.spec
    features, tokens = answers[2].features[:5, :-32], answers[2].tokens[:6].tolist()
    logits = []
    for one in (opened, as_head(head, target)):
        drafter = FeatureDrafter(one)
        drafter.start([tokens[:-1]], [features])
        with torch.inference_mode():
            logits.append(one.logits(drafter._catch_up(drafter._users[0], tokens)))
    assert torch.allclose(*(each[opened.trimmed.token_ids] for each in logits), atol=0.1)  # bfloat16 weights
    assert torch.equal(opened.trimmed.token_ids, head.token_ids)
    stranger = tiny_llama(4, layers=4)
    stranger.config._name_or_path = "somewhere/stranger-3B"
    with pytest.raises(BadInput, match=r"was trained for .*target is stranger-3B .*training\.train_draft"):
        EagleHead.from_pretrained(str(tmp_path), stranger)


def test_rotary_embeddings_that_no_config_can_say_are_refused(answers):
    target = tiny_llama(3, layers=4)
    target.model.rotary_emb.inv_freq *= 1.01
    with pytest.raises(BadInput, match="rotary embeddings that a head's config.json cannot say"):
        _head(target, answers)


@pytest.fixture(scope="module")
def target_folder(tmp_path_factory) -> Path:
    """A tiny Llama with a byte-level tokenizer and no chat template, as a hub would hold it."""
    folder = tmp_path_factory.mktemp("tiny-target")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({"<end>": 0, **{c: i + 1 for i, c in enumerate(alphabet)}}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    model = tiny_llama(5, vocab=257, layers=4)
    model.generation_config.eos_token_id = 0
    model.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_the_command_makes_a_draft_from_nothing_and_goes_on_after_a_stop(target_folder, tmp_path):
    output, work = tmp_path / "head", tmp_path / "work"
    arguments = (
        f"--target {target_folder} --name tiny --work {work} --output {output} --dtype float32 --shards 1".split()
    )
    arguments += "--reading-shards 0 --prompts-per-shard 12 8 --held-out-prompts 6 4 --new-tokens 24 --epochs 2".split()
    arguments += "--draft-vocabulary 64 --tokens-per-batch 1024 --seed 1".split()
    assert main(arguments) == 0
    report = json.loads((work / "report.json").read_text())
    assert report["epochs"] == 2 and len(report["learning_curve"]) == 2 and "all" in report["held_out"]
    assert report["learning_curve"][-1][0] == 2 * report["tokens"]["answered"] > 0
    card = (output / "README.md").read_text()
    assert f"{report['held_out']['all'][1]:.3f}" in card and "--seed 1" in card and "EAGLE-3 head for tiny" in card
    assert (work / "learning_curve.png").stat().st_size > 1000
    target = LlamaForCausalLM.from_pretrained(target_folder)
    head = EagleHead.from_pretrained(str(output), target)
    assert head.spec.target_name == "tiny" and head.spec.draft_vocab_size == 64 and 0 in head.trimmed.token_ids
    assert head.spec.layers == (2, 2, 1)
    shard = work / "shards" / "answers-0000.safetensors"
    written = shard.stat().st_mtime_ns
    first = load_file(output / "model.safetensors")
    assert main(arguments) == 0
    assert shard.stat().st_mtime_ns == written
    assert all(torch.equal(value, first[name]) for name, value in load_file(output / "model.safetensors").items())
    assert {answer.category for answer in load_answers([shard])} >= set(PLAIN)
    other = tmp_path / "other"
    shutil.copytree(target_folder, other)
    tiny_llama(6, vocab=257, layers=4).save_pretrained(other)
    assert main([*arguments, "--target", str(other)]) == 2  # never features of another target


def test_the_command_reports_what_it_cannot_do(tmp_path):
    assert main(["--target", str(tmp_path), "--work", str(tmp_path / "w"), "--output", str(tmp_path / "o")]) == 2


@pytest.mark.parametrize(
    "option, value, named",
    [
        ("--shards", "0", "--shards is 0; it must be at least 1"),
        ("--new-tokens", "-3", "--new-tokens is -3"),
        ("--epochs", "0", "--epochs is 0"),
        ("--draft-vocabulary", "-5", "--draft-vocabulary is -5"),
        ("--tokens-per-batch", "0", "--tokens-per-batch is 0"),
        ("--reading-shards", "-1", "--reading-shards is -1"),
        ("--seed", str(10**30), "--seed is 1000"),
        ("--threads", "-2", "--threads is -2"),
        ("--learning-rate", "nan", "--learning-rate is nan"),
        ("--learning-rate", "inf", "--learning-rate is inf"),
        ("--steps", "17", "--steps is 17; it must be at least 1, and at most 16"),
        ("--output", __file__, "is a file, and the head is a folder"),
        ("--work", __file__, "cannot be a folder to write in"),
    ],
)
def test_what_cannot_be_is_said_before_a_model_is_loaded(option, value, named, tmp_path, capsys):
    given = {"--target": str(tmp_path), "--work": str(tmp_path / "w"), "--output": str(tmp_path / "o"), option: value}
    assert main([word for pair in given.items() for word in pair]) == 2
    assert named in capsys.readouterr().err

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""--chat as its user meets it: turns, figures, /reset, Ctrl-C, the end, and what is refused."""

from __future__ import annotations

import re

import pytest
from support.conversations import answers, by_generate, save_talking_model, talk_to
from support.model_folder import save_tiny_model
from transformers import AutoTokenizer

from models.tt_transformers.demo.speculative_decoding.harness.chat import COMMANDS, Conversation
from models.tt_transformers.demo.speculative_decoding.speculative_demo import main
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return save_talking_model(tmp_path_factory.mktemp("target"), seed=3)


@pytest.fixture(scope="module")
def draft(tmp_path_factory):
    return save_talking_model(tmp_path_factory.mktemp("draft"), seed=4)


@pytest.fixture
def talk(target, draft, monkeypatch, capsys):
    """Says these lines (an exception is raised in place of one); returns the status and what the screen shows."""

    def run(*lines, options=()):
        status = talk_to(target, draft, lines, [*options], monkeypatch)
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


def test_turns_go_on_from_what_is_cached_and_say_what_generate_says(talk, target):
    status, shown, _ = talk("hello", "and more", "abc")
    assert status == 0
    assert [line.strip() for line in answers(shown)] == [
        line.strip() for line in by_generate(target, ["hello", "and more", "abc"])
    ]
    cached = [tuple(map(int, pair)) for pair in re.findall(r"(\d+)/(\d+) cached", shown.replace("\n", " "))]
    assert cached[0][0] == 0 and all(kept > 0.5 * whole for kept, whole in cached[1:])
    assert re.search(r"\(\d+ tokens, [\d.]+ tok/s, (0\.\d+|1\.00) of \d+ drafts accepted, ", shown)


def test_reset_forgets(talk):
    _, shown, _ = talk("hello", "/reset", "hello", "/what")
    first, second = answers(shown)
    assert first == second and shown.count(COMMANDS) == 2


def test_ctrl_c_stops_an_answer_and_not_the_program(talk, monkeypatch):
    step, rounds = SpeculativeGenerator.speculative_decode_step, []

    def interrupted(self, batch):
        rounds.append(1)
        if len(rounds) == 2:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(SpeculativeGenerator, "speculative_decode_step", interrupted)
    status, shown, _ = talk("hello", KeyboardInterrupt(), "and more")
    assert status == 0 and shown.count("(stopped; ") == 1 and shown.count("tok/s") == 2
    assert shown.count(COMMANDS) == 2  # at the prompt it says how to leave


def test_a_question_too_long_is_said_and_the_conversation_stays(talk):
    status, shown, said = talk("hello", "x" * 300, "more", options=["--max-new-tokens", "4"])
    assert status == 0 and "max_seq_len" in said and "or /reset the conversation" in said
    assert len(answers(shown)) == 2


def test_a_template_that_rewrites_the_past_is_followed(target):
    """Its answers are then read anew, as it writes them."""
    tokenizer = AutoTokenizer.from_pretrained(target)
    conversation = Conversation(tokenizer)
    prompt = conversation.ask("a")
    conversation.answered("a", prompt, tokenizer.encode("  b"))
    assert conversation.ask("c")[: len(prompt) + 3] == [*prompt, *tokenizer.encode("  b")]
    conversation.messages[-1]["content"] = "b"
    whole = tokenizer.decode(conversation.ask("c"))
    assert whole == "[user]a<eos>[assistant]b<eos>[user]c<eos>[assistant]"


@pytest.mark.parametrize(
    "options, named",
    [
        (["--json", "x.json"], "--json belongs to one"),
        (["--batch-size", "2"], "--batch-size belongs to one"),
        (["--prompt", "x"], "--prompt belongs to one"),
        (["--quiet"], "--quiet belongs to one"),
    ],
)
def test_what_belongs_to_comparisons_is_refused(talk, options, named):
    status, _, said = talk(options=options)
    assert status == 2 and named in said


def test_a_target_without_a_chat_template_is_refused(tmp_path, capsys):
    folder = save_tiny_model(tmp_path / "base")
    assert main(["--chat", "--target", str(folder)]) == 2
    assert "needs a chat template" in capsys.readouterr().err

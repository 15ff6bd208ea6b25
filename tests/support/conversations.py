# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""--chat from outside: models that can be talked to, what is said to them, and what they should have answered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from support.model_folder import save_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.tt_transformers.demo.speculative_decoding.harness.chat import COMMANDS, Conversation
from models.tt_transformers.demo.speculative_decoding.speculative_demo import main

TEMPLATE = "{% for m in messages %}{{ '[' + m['role'] + ']' + m['content'] + '<eos>' }}{% endfor %}[assistant]"


def save_talking_model(folder: Path, *, seed: int) -> Path:
    """A tiny model whose tokenizer has a chat template."""
    save_tiny_model(folder, seed=seed)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def talk_to(target: Path, draft: Path, lines: tuple, options: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Say these lines (an exception is raised in place of one), then end the input; returns the exit status."""
    left = iter(lines)

    def said(_: str) -> str:
        line = next(left, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr("builtins.input", said)
    models = ["--target", str(target), "--draft", str(draft), "--max-seq-len", "160", "--max-new-tokens", "12"]
    return main(["--chat", *models, "-k", "3", *options])


def answers(shown: str) -> list[str]:
    """What stands between the lines of figures."""
    return re.split(r"\n\([^()]*\d+ tokens, [^()]*\)\n", shown.split(COMMANDS, 1)[1].lstrip("\n"))[:-1]


def by_generate(target: Path, said: list[str]) -> list[str]:
    """What transformers' generate answers, the whole conversation anew for each turn."""
    model: Any = AutoModelForCausalLM.from_pretrained(target)
    tokenizer: Any = AutoTokenizer.from_pretrained(target)
    model.generation_config.eos_token_id = 0
    conversation, found = Conversation(tokenizer), []
    for text in said:
        prompt = conversation.ask(text)
        ids = torch.tensor([prompt])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        conversation.answered(text, prompt, out[0, len(prompt) :].tolist())
        found.append(conversation.messages[-1]["content"])
    return found

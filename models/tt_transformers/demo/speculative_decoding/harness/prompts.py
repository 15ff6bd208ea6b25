# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Prompt files in tt-metal's format: a JSON list of {"prompt": text}, here with an optional "category"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import json_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The day that every chat template names which names one, so that runs repeat; Llama 3's own default.
TODAY = "26 Jul 2024"
ONE_DAY = f"{{%- macro strftime_now(form) -%}}{TODAY}{{%- endmacro -%}}"
SAMPLE_PROMPTS = Path(__file__).parents[1] / "sample_prompts.json"


@dataclass(frozen=True)
class Prompt:
    """One request: its text, and the kind of task it is (for per-category tables)."""

    text: str
    category: str = "other"


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt and its token ids."""

    prompt: Prompt
    token_ids: list[int]


def load_prompts(path: Path | str) -> list[Prompt]:
    """Read a prompts file; BadInput: there is none, it is not UTF-8, not JSON, or an entry (named) is not
    {"prompt": non-empty text}."""
    entries = json_of(path, "the prompts file", _without_duplicate_keys)
    if not isinstance(entries, list) or not entries:
        raise BadInput(f'the prompts file {path} must hold a non-empty JSON list of {{"prompt": "..."}} entries')
    return [_prompt(entry, f"entry {number} of {path}") for number, entry in enumerate(entries, start=1)]


def _without_duplicate_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    counts = Counter(key for key, _ in pairs)
    if twice := [key for key, count in counts.items() if count > 1]:
        raise ValueError(f"an entry names {twice[0]!r} twice")
    return dict(pairs)


def _prompt(entry: object, where: str) -> Prompt:
    text, category = (entry.get("prompt"), entry.get("category", "other")) if isinstance(entry, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(category, str):
        raise BadInput(f'{where} must be an object with a text "prompt" (and, if any, a text "category")')
    return Prompt(checked_text(text, where), checked_text(category or "other", f"the category of {where}"))


def checked_text(text: str, where: str) -> str:
    """`text` itself; BadInput if it is empty, or holds half a character (a cut emoji, a byte that was no UTF-8)."""
    if not text.strip():
        raise BadInput(f"{where} is empty; give it some text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"{text[error.start]!a} at character {error.start}"
        raise BadInput(f"{where} is no Unicode text ({half} stands for no character); give it as UTF-8") from error
    return text


def encode(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Token ids, in the model's chat template where its tokenizer has one."""
    if tokenizer.chat_template is None:
        return list(tokenizer.encode(prompt.text))
    text = rendered([{"role": "user", "content": prompt.text}], tokenizer)
    return list(tokenizer.encode(text, add_special_tokens=False))


def rendered(messages: Sequence[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase) -> str:
    """What the model's chat template makes of a conversation that it is to go on with."""
    try:
        today: dict[str, Any] = {"date_string": TODAY, "chat_template": ONE_DAY + tokenizer.get_chat_template()}
        whole: Any = tokenizer.apply_chat_template(
            [dict(one) for one in messages], add_generation_prompt=True, tokenize=False, **today
        )
        return str(whole)
    except Exception as error:  # a template is a program of the model's author: it may raise anything
        reason = f"the chat template of {tokenizer.name_or_path} cannot take a user's message: {error!r}"
        raise BadInput(f"{reason}; mend it in that folder, or remove it to use prompts as they are") from error


def tokenized(
    prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase, *, max_seq_len: int
) -> list[TokenizedPrompt]:
    """The prompts' ids; BadInput names the first that leaves no room for a new token."""
    requests = [TokenizedPrompt(prompt, encode(prompt, tokenizer)) for prompt in prompts]
    for number, request in enumerate(requests, start=1):
        if not request.token_ids:
            raise BadInput(f"prompt {number} becomes no tokens; give it other text, or look at the tokenizer's folder")
        if len(request.token_ids) >= max_seq_len:
            length = f"prompt {number} has {len(request.token_ids)} tokens, and --max-seq-len {max_seq_len} must hold"
            raise BadInput(f"{length} it and at least one new token; shorten it or raise --max-seq-len")
    return requests

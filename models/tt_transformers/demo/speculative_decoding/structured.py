# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Structured output: texts that follow a JSON schema or a regular expression, by llguidance (optional; MIT licence).

A grammar's matcher is one more logits processor: it masks p and q alike, rolls forward over drafts and back over those
that were rejected, which it finds out from each history.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.processors import Processor
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def grammar_source(*, json_schema: Mapping[str, Any] | str | None = None, regex: str | None = None) -> str:
    """llguidance's form of a JSON schema (an object, or its text) or of a regular expression (of Rust's regex crate).

    Raises:
        BadInput: it is neither or both, it is wrong, or llguidance is not installed.
    """
    if (json_schema is None) == (regex is None):
        raise BadInput("a grammar is a JSON schema or a regular expression; give one of the two")
    matcher = _library().LLMatcher
    what = "the regular expression" if json_schema is None else "the JSON schema"
    try:
        if json_schema is not None:
            text = json_schema if isinstance(json_schema, str) else json.dumps(json_schema)
            source = matcher.grammar_from_json_schema(text)
        else:
            source = matcher.grammar_from_regex(regex)
        reason = matcher.validate_grammar(source)
    except Exception as error:  # whatever a library of another language raises for a text that is wrong
        reason = str(error)
    if reason:
        raise BadInput(f"{what} cannot be followed: {_short(reason)}; mend it")
    return str(source)


def _short(reason: str) -> str:
    return " ".join(reason.split())[:200]


class Grammar:
    """What every text must follow, from its first emitted token to its end-of-sequence token.

    Args:
        source: grammar_source(..).
        tokenizer: the target's, a fast one. vocab_size: of the target's logits.
        eos_token_ids: the target's; one of them ends a text that is whole, and none ends another.
    """

    def __init__(
        self, source: str, tokenizer: PreTrainedTokenizerBase, *, vocab_size: int, eos_token_ids: Collection[int]
    ) -> None:
        if not eos_token_ids:
            raise BadInput("structured output needs an end-of-sequence token, and the target has none; give another")
        make: Any = importlib.import_module("llguidance.hf").from_tokenizer
        try:
            self._tokenizer = make(tokenizer, n_vocab=vocab_size, eos_token=sorted(eos_token_ids))
        except Exception as error:  # whatever it raises for a tokenizer that it cannot read
            raise BadInput(f"structured output needs a fast tokenizer that llguidance reads: {error}") from error
        self.source, self.vocab_size, self.eos_token_ids = source, vocab_size, sorted(eos_token_ids)

    def for_user(self, sequence: SequenceState, sampling: SamplingParams) -> Iterable[Processor]:
        """Its own matcher."""
        matcher = _library().LLMatcher(self._tokenizer, self.source)
        if matcher.is_error():
            raise BadInput(f"the grammar cannot be followed: {_short(matcher.get_error())}; mend it")
        return [_Matched(matcher, len(sequence.prompt), self.vocab_size, self.eos_token_ids)]


class _Matched:
    """One user's matcher, and the emitted and drafted tokens that it has taken."""

    def __init__(self, matcher: Any, prompt_length: int, vocab_size: int, eos_token_ids: Collection[int]) -> None:
        self._matcher, self._prompt_length = matcher, prompt_length
        self._vocab_size, self._eos_token_ids = vocab_size, frozenset(eos_token_ids)
        self._taken: list[int] = []

    def process(self, logits: Tensor, history: Tensor) -> Tensor:
        """-inf where the text could not go on; everywhere if `history` does not follow the grammar itself, which only a
        draft can do."""
        tokens = history[self._prompt_length :].tolist()
        ended = not self._eos_token_ids.isdisjoint(tokens)  # what comes after it nobody will read
        follows = ended or self._take(tokens)
        allowed = torch.zeros(self._vocab_size, dtype=torch.bool)
        if ended or follows and self._matcher.is_stopped():  # whole, and cannot go on
            allowed[list(self._eos_token_ids)] = True
        elif follows:
            bits = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
            allowed = (bits[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).flatten()[: self._vocab_size].bool()
        return logits.masked_fill(~allowed, float("-inf"))

    def _take(self, tokens: list[int]) -> bool:
        """Bring the matcher to just after these tokens, if they follow the grammar."""
        pairs = enumerate(zip(self._taken, tokens))
        same = next((i for i, (a, b) in pairs if a != b), min(len(self._taken), len(tokens)))
        if same < len(self._taken):
            self._matcher.rollback(len(self._taken) - same)
        new = tokens[same:]
        count = self._matcher.try_consume_tokens(new) if new and not self._matcher.is_stopped() else 0
        self._taken = tokens[: same + count]
        return len(self._taken) == len(tokens)


def _library() -> Any:
    try:
        return importlib.import_module("llguidance")
    except ModuleNotFoundError as error:
        raise BadInput(
            "--json-schema and --regex need llguidance, which is not installed: pip install llguidance"
        ) from error

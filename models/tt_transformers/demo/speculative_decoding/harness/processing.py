# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What the command line asks of the choice of tokens: logits processors, as settings of transformers and our own."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import json_of, whole_numbers
from models.tt_transformers.demo.speculative_decoding.processors import Penalties, chooser_of
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState, StopConditions
from models.tt_transformers.demo.speculative_decoding.structured import Grammar, grammar_source

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions

PLAIN = ("repetition_penalty", "min_p", "typical_p", "min_new_tokens", "no_repeat_ngram_size")  # as transformers' own


@dataclass(frozen=True, kw_only=True)
class Processing:
    """Logits processors; None: what the target's generation_config says."""

    repetition_penalty: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    min_new_tokens: int | None = None
    no_repeat_ngram_size: int | None = None
    bad_words: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    suppress_tokens: tuple[int, ...] = ()
    penalties: Penalties = Penalties()
    grammar: str | None = None  # what every text must follow (structured.grammar_source)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Processing:
        """The command line's; BadInput names the option, what it allows and what to do."""
        given = vars(arguments)
        if (fewest := given["min_new_tokens"] or 0) > given["max_new_tokens"]:
            limit = f"--max-new-tokens {given['max_new_tokens']}"
            raise BadInput(f"--min-new-tokens {fewest} is more than {limit}; lower it")
        if not all(word.strip() for word in given["bad_words"]):
            raise BadInput("--bad-words was given an empty text, which no token is; drop it")
        if given["json_schema"] and given["regex"]:
            raise BadInput("--json-schema and --regex were both given; give one")
        grammar = None
        if given["json_schema"]:
            schema = json_of(given["json_schema"], "the JSON schema")
            grammar = grammar_source(json_schema=json.dumps(schema))
        elif given["regex"]:
            grammar = grammar_source(regex=given["regex"])
        return cls(
            **{name: given[name] for name in PLAIN},
            bad_words=tuple(given["bad_words"]),
            logit_bias=tuple(map(_biased, given["logit_bias"])),
            suppress_tokens=_ids(given["suppress_tokens"]),
            grammar=grammar,
            penalties=Penalties(presence=given["presence_penalty"], frequency=given["frequency_penalty"]),
        )

    def settings(self, tokenizer: PreTrainedTokenizerBase | None, vocab_size: int) -> dict[str, Any]:
        """What was given, by transformers' names; the tokenizer is for bad words. BadInput for an id that is none."""
        biased = [token for token, _ in self.logit_bias]
        for option, ids in (("logit-bias", biased), ("suppress-tokens", self.suppress_tokens)):
            if ids and max(ids) >= vocab_size:
                raise BadInput(
                    f"--{option} names token {max(ids)}; give one that the target has, 0 to {vocab_size - 1}"
                )
        texts = [text for word in self.bad_words for text in (word, f" {word}")]
        words = {tuple(tokenizer.encode(text, add_special_tokens=False)) for text in texts} - {()} if tokenizer else ()
        found = {name: getattr(self, name) for name in PLAIN}
        found["bad_words_ids"] = [list(ids) for ids in sorted(words)] or None
        found["sequence_bias"] = [[[i], bias] for i, bias in self.logit_bias] or None
        found["suppress_tokens"] = list(self.suppress_tokens) or None
        return {name: value for name, value in found.items() if value is not None}


def _biased(text: str) -> tuple[int, float]:
    """An "ID=BIAS"."""
    token, equals, bias = text.partition("=")
    try:
        found = int(token), float(bias)
    except ValueError:
        found = -1, math.nan
    if found[0] < 0 or not -100.0 <= found[1] <= 100.0:
        what = "an id and what is added to its logit, from -100 to 100"
        raise BadInput(f"--logit-bias {text[:40]!r} is not {what}; give it as ID=BIAS, such as 42=-5")
    return found


def _ids(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    words = text.split(",")
    if not all(word.strip().isascii() and word.strip().isdigit() and len(word) < 10 for word in words):
        raise BadInput(f"--suppress-tokens {text[:40]!r} is no list of token ids; give numbers such as 2,16")
    return tuple(map(int, words))


def chosen_with(options: RunOptions, *, model: PreTrainedModel | None = None) -> tuple[list[Any], bool]:
    """The logits processors of all arms: of the target's generation_config (the loaded model's, or else its file), but
    for what is asked; and whether they, or sampling, want logits. BadInput if one cannot be."""
    from models.tt_transformers.demo.speculative_decoding.hf import loading
    from models.tt_transformers.demo.speculative_decoding.hf.generation_settings import GenerationSettings

    config, asked = loading.config_of(options.target), options.processing
    tokenizer = loading.load_tokenizer(options.target) if asked.bad_words or asked.grammar else None
    given = asked.settings(tokenizer, config.vocab_size)
    own = loading.generation_config_of(options.target) if model is None else model.generation_config
    settings = GenerationSettings.of(own, config, **given)
    processors: list[Any] = [settings, asked.penalties]
    if asked.grammar and tokenizer is not None:
        said = own if isinstance(own, dict) else own.to_dict()
        ends = config.eos_token_id if said.get("eos_token_id") is None else said["eos_token_id"]
        eos = whole_numbers(ends, "eos_token_id") if ends is not None else []
        processors += [Grammar(asked.grammar, tokenizer, vocab_size=config.vocab_size, eos_token_ids=eos)]
    begun = SequenceState(prompt=[0], stop=StopConditions(max_seq_len=3, stop_token_ids=[0]))
    return processors, not chooser_of(begun, options.sampling, processors).by_ids


def named(processors: Sequence[Any]) -> dict[str, Any]:
    """chosen_with()'s, as the record names them."""
    settings, penalties, *grammar = processors
    penalised = {f"{name}_penalty": value for name, value in asdict(penalties).items() if value}
    return {**settings.named, **penalised, **({"grammar": grammar[0].source} if grammar else {})}

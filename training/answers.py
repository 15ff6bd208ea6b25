# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Training data for a head: the target's own answers to many prompts, and texts that it reads, in shards.

A shard is the unit of resuming: its prompts and its random draws depend on its seed alone. It first answers prompts
that stand alone, then prompts about the starts of those answers. Every fourth answer is sampled, the others are greedy,
as in use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from models.tt_transformers.demo.speculative_decoding.errors import ModelFailure
from training.data import Answer, save_answers
from training.prompts import TrainingPrompt, make_prompts

TEXT_SOURCES = ("question answering", "creative prose", "reasoning")  # whose answers serve as texts to work on
PASSAGE_WORDS = (15, 70)
COMPACT_EVERY = 16  # tokens after which ended answers are dropped from a batch
READ_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """How the target answers; longer prompts are left out, and `sampled_every` 0 samples none."""

    new_tokens: int = 160
    batch_size: int = 96
    max_prompt_tokens: int = 220
    sampled_every: int = 4
    temperature: float = 0.8


class RoomyLayer(DynamicLayer):
    """A DynamicLayer with room for `room` tokens from the start.

    The stock layer copies its whole cache for every token, half of the time of a large batch. TorchModelRunner copies
    nothing either, but attends user by user: on a CPU, in bfloat16, that takes 1.3 to 1.4 times as long (96 answers).
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Write [B, H_kv, n, D] behind what is cached; returns views of all that is."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            shape = (*key_states.shape[:2], self.room, key_states.shape[-1])
            self._all_keys, self._all_values, self._used = key_states.new_empty(shape), value_states.new_empty(shape), 0
        new = slice(self._used, self._used + key_states.shape[-2])
        self._all_keys[:, :, new], self._all_values[:, :, new] = key_states, value_states
        self._used = new.stop
        self.keys, self.values = self._all_keys[:, :, : new.stop], self._all_values[:, :, : new.stop]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these sequences only."""
        self._all_keys, self._all_values = self._all_keys[indices], self._all_values[indices]
        self.keys, self.values = self._all_keys[:, :, : self._used], self._all_values[:, :, : self._used]


def end_tokens(target: PreTrainedModel) -> frozenset[int]:
    """The ids that end an answer, by the target's generation config."""
    eos = target.generation_config.eos_token_id
    return frozenset([] if eos is None else [eos] if isinstance(eos, int) else eos)


def roomy_cache(target: PreTrainedModel, room: int) -> DynamicCache:
    """transformers' cache for `target`, whose full-attention layers do not copy themselves for every token."""
    cache = DynamicCache(config=target.config)
    cache.layers = [RoomyLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


@torch.inference_mode()
def answer_batch(
    target: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    layers: Sequence[int],
    *,
    eos_ids: frozenset[int],
    generator: torch.Generator,
    options: AnswerOptions,
) -> list[tuple[Tensor, Tensor]]:
    """Answer token-id prompts together, left-padded; (tokens [n], features [n, F]) of each, cut after its end."""
    device, count = target.device, len(prompts)
    width = max(map(len, prompts))
    total = width + options.new_tokens
    pad = torch.tensor([width - len(prompt) for prompt in prompts])
    tokens = torch.zeros((count, total), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, pad[row] : width] = torch.tensor(list(prompt))
    features = torch.zeros(
        count, total, len(layers) * target.config.get_text_config().hidden_size, dtype=torch.bfloat16
    )
    ends = torch.full((count,), total)
    every = options.sampled_every
    sampled = torch.arange(count) % every == every - 1 if every else torch.zeros(count, dtype=torch.bool)
    live, cache, done = torch.arange(count), roomy_cache(target, total), 0
    for column in range(width, total):
        seen = (torch.arange(column) >= pad[live, None]).long()
        output = target(
            input_ids=tokens[live, done:column].to(device),
            attention_mask=seen.to(device),
            position_ids=(torch.arange(done, column) - pad[live, None]).clamp_min(0).to(device),
            past_key_values=cache,
            output_hidden_states=True,
            logits_to_keep=1,
        )
        hidden = torch.cat([output.hidden_states[layer] for layer in layers], dim=-1)
        features[live, done:column] = hidden.to("cpu", torch.bfloat16)
        logits = output.logits[:, -1].float().cpu()
        if bool(logits.isnan().any()):
            raise ModelFailure(f"{type(target).__name__} gives logits that are no numbers (NaN); look at its weights")
        chosen = logits.argmax(-1)
        drawn = (logits[sampled[live]] / options.temperature).softmax(-1)
        if len(drawn):
            chosen[sampled[live]] = torch.multinomial(drawn, 1, generator=generator)[:, 0]
        tokens[live, column], done = chosen, column
        ended = torch.isin(chosen, torch.tensor(sorted(eos_ids), dtype=torch.int64))
        ends[live[ended]] = ends[live[ended]].clamp_max(column + 1)
        going = ends[live] > column + 1
        if not going.any():
            break
        if (column - width) % COMPACT_EVERY == COMPACT_EVERY - 1 and not going.all():
            cache.batch_select_indices(going.nonzero()[:, 0].to(device))
            live = live[going]
    # The last token of an answer was never fed, so its feature row is zero: it only ever serves as a next token.
    return [(tokens[row, pad[row] : ends[row]], features[row, pad[row] : ends[row]]) for row in range(count)]


def answer_prompts(
    target: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[TrainingPrompt],
    layers: Sequence[int],
    *,
    eos_ids: frozenset[int],
    generator: torch.Generator,
    options: AnswerOptions,
    progress: Callable[[int], None] = lambda tokens: None,
) -> list[Answer]:
    """Put prompts through the chat template, answer them in batches of similar length; `progress` counts tokens."""
    encoded = [(chat_tokens(tokenizer, prompt.text), prompt) for prompt in prompts]
    encoded = [pair for pair in encoded if len(pair[0]) <= options.max_prompt_tokens]
    encoded.sort(key=lambda pair: len(pair[0]))
    answers = []
    for first in range(0, len(encoded), options.batch_size):
        batch = encoded[first : first + options.batch_size]
        ids = [pair[0] for pair in batch]
        rows = answer_batch(target, ids, layers, eos_ids=eos_ids, generator=generator, options=options)
        for (prompt_ids, prompt), (tokens, features) in zip(batch, rows):
            answers.append(Answer(prompt.category, tokens, features, len(prompt_ids)))
            progress(len(tokens) - len(prompt_ids))
    return answers


def chat_tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """One user message as the demo sends it; plain text for a tokenizer without a chat template."""
    if not tokenizer.chat_template:
        return tokenizer.encode(text)
    messages = [{"role": "user", "content": text}]
    encoded: Any = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    return list(encoded["input_ids"])


def passage(answer: str) -> str:
    """The whole sentences at the start of an answer, up to PASSAGE_WORDS[1] words; '' if that is too short a text."""
    sentences = re.split(r"(?<=[.!?])\s+", answer.strip())
    if not answer.strip().endswith("."):
        sentences.pop()
    kept: list[str] = []
    for sentence in sentences:
        if sum(len(part.split()) for part in (*kept, sentence)) > PASSAGE_WORDS[1]:
            break
        kept.append(sentence)
    text = " ".join(kept)
    return text if len(text.split()) >= PASSAGE_WORDS[0] and "\n\n" not in text[:40] else ""


def too_close(text: str, others: Sequence[str]) -> bool:
    """Whether half of the text's word triples also occur in one of the others: a copy, or nearly."""
    triples = _triples(text)
    return any(triples and len(triples & _triples(other)) >= 0.5 * len(triples) for other in others)


def _triples(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(words, words[1:], words[2:]))


def make_shard(
    path: Path,
    target: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    layers: Sequence[int],
    *,
    seed: int,
    held_out: bool,
    plain_prompts: int,
    text_prompts: int,
    excluded: Sequence[str] = (),
    eos_ids: frozenset[int],
    options: AnswerOptions,
    progress: Callable[[int], None] = lambda tokens: None,
) -> None:
    """Answer one shard's prompts and save them; prompts too close to an `excluded` one are left out."""
    generator = torch.Generator().manual_seed(seed)
    settings: dict[str, Any] = {"eos_ids": eos_ids, "generator": generator, "options": options, "progress": progress}
    prompts = [p for p in make_prompts(plain_prompts, seed, held_out=held_out) if not too_close(p.text, excluded)]
    answers = answer_prompts(target, tokenizer, prompts, layers, **settings)
    texts = [
        passage(str(tokenizer.decode(answer.tokens[answer.prompt_length :], skip_special_tokens=True)))
        for answer in answers
        if answer.category in TEXT_SOURCES
    ]
    texts = [text for text in texts if text]
    if texts:
        prompts = list(make_prompts(text_prompts, seed, held_out=held_out, texts=texts))
        prompts = [prompt for prompt in prompts if not too_close(prompt.text, excluded)]
        answers += answer_prompts(target, tokenizer, prompts, layers, **settings)
    save_answers(path, answers, layers)


@torch.inference_mode()
def read_shard(
    path: Path,
    target: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    layers: Sequence[int],
    texts: Sequence[tuple[str, str]],
    *,
    options: AnswerOptions,
    progress: Callable[[int], None] = lambda tokens: None,
) -> None:
    """Save (question, text) pairs as if the target had answered so: one forward per batch, not one per token."""
    encoded = []
    for question, text in texts:
        prompt = chat_tokens(tokenizer, question)
        answer = tokenizer.encode(text, add_special_tokens=False)[: options.new_tokens]
        encoded.append((torch.tensor([*prompt, *answer]), len(prompt)))
    encoded.sort(key=lambda pair: len(pair[0]))
    answers = []
    for first in range(0, len(encoded), READ_BATCH):
        batch = encoded[first : first + READ_BATCH]
        padded = torch.nn.utils.rnn.pad_sequence([tokens for tokens, _ in batch], batch_first=True)
        hidden = target(
            padded.to(target.device), output_hidden_states=True, use_cache=False, logits_to_keep=1
        ).hidden_states
        features = torch.cat([hidden[layer] for layer in layers], dim=-1).to("cpu", torch.bfloat16)
        for row, (tokens, prompt_length) in enumerate(batch):
            answers.append(Answer("reading", tokens, features[row, : len(tokens)].clone(), prompt_length))
            progress(len(tokens) - prompt_length)
    save_answers(path, answers, layers)

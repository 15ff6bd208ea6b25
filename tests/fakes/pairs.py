# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Tiny target and draft models for the fake tt_transformers, what the target alone would write, and how to open
them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from fakes.device import FakeMeshDevice
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt import pair as tt_pair
from models.tt_transformers.demo.speculative_decoding.tt.fused_drafter import FusedDrafter

VOCAB = 40  # not a multiple of 32: upstream pads it, and the padding must never be anybody's argmax
MAX_SEQ_LEN = 120
LIMIT = 40
TIE = 1e-4
PROMPTS = [[3, 14, 15, 9, 26, 5], [35, 8, 9], [7] * 45]  # the last crosses a cache block
TARGET = tiny_llama(1, vocab=VOCAB)


def _relative(noise: float):
    """The target with noise on its weights: a draft model that is right as often as the noise allows."""
    model = tiny_llama(1, vocab=VOCAB)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in model.parameters():
            parameter += noise * torch.randn_like(parameter)
    return model


REQUESTED = ("sampling", "confidence_stop", "draft_head_token_ids", "catch_up")  # of pair_requests()
DRAFTS = {
    "always-right": TARGET,
    "often-right": _relative(0.01),
    "always-wrong": tiny_llama(2, vocab=VOCAB),
    "of-another-size": tiny_llama(3, vocab=VOCAB, dim=64, layers=1),
}
EIGHT_HEADS = tiny_llama(1, vocab=VOCAB, heads=8, kv_heads=8, dim=64)  # one for each device of a T3K


def write_checkpoints(folder: Path) -> None:
    """One directory per model, named like it; "target" is the target."""
    for name, model in {"target": TARGET, "eight-heads": EIGHT_HEADS, **DRAFTS}.items():
        model.save_pretrained(folder / name)


@functools.cache
def greedy_texts() -> list[list[int]]:
    """What the target alone writes after each of PROMPTS, by recomputing everything for every token."""
    texts = [greedy_by_recomputation(TARGET, prompt, LIMIT) for prompt in PROMPTS]
    assert min(gap for _, gap in texts) > TIE, "these texts have a tie in them; choose another seed"
    return [tokens for tokens, _ in texts]


@contextmanager
def opening_pairs(folder: Path) -> Iterator:
    """Pairs by the names of the checkpoints, on a fake device; every one is closed afterwards."""
    with ExitStack() as opened:

        def open_pair(draft="often-right", *, target="target", mesh=None, num_draft_tokens=4, **options):
            ks = (num_draft_tokens,) if isinstance(num_draft_tokens, int) else num_draft_tokens
            asked = {name: options.pop(name) for name in REQUESTED if name in options}
            names = str(folder / target), str(folder / draft)
            requests = tt_pair.pair_requests(*names, num_draft_tokens=ks, **asked)
            options = {"max_seq_len": MAX_SEQ_LEN, **options}
            pair = tt_pair.open_models(mesh or FakeMeshDevice(), requests, **options)
            for runner in pair:
                opened.callback(runner.close)
            return pair

        yield open_pair


def speculate(pair, prompts, k: int, limit: int = LIMIT) -> list[list[int]]:
    """What the whole SpeculativeGenerator writes with this pair."""
    target, draft = pair
    generator = SpeculativeGenerator(target, FusedDrafter(draft), num_draft_tokens=k)
    return [result.tokens for result in generator.generate(prompts, max_new_tokens=limit)]

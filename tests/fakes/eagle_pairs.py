# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A tiny target with an EAGLE-3 head that is often right about it, and how to open them on a fake device."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from fakes.device import FakeMeshDevice
from support.eagle import CONFIG, HIDDEN, head_tensors
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import drafted_ids, fitted_spec
from models.tt_transformers.demo.speculative_decoding.hf.eagle_head import EagleHead
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.tt import pair as tt_pair
from models.tt_transformers.demo.speculative_decoding.tt.eagle_weights import HeadRequest

VOCAB, KEPT = 40, 36  # the head drafts all ids but every tenth
PROMPTS = [[3, 14, 15, 9, 26, 5], [35, 8, 9], [7] * 45]  # the last crosses a cache block
LIMIT, MAX_SEQ_LEN = 40, 120
TARGET = tiny_llama(1, vocab=VOCAB, layers=6)
SPEC = fitted_spec("tiny", CONFIG | {"draft_vocab_size": KEPT}, TARGET.config)


@functools.cache
def texts() -> list[list[int]]:
    """What the target alone writes after each of PROMPTS."""
    found = [greedy_by_recomputation(TARGET, prompt, LIMIT) for prompt in PROMPTS]
    assert min(gap for _, gap in found) > 1e-4, "these texts have a tie in them; choose another seed"
    return [tokens for tokens, _ in found]


@functools.cache
@torch.no_grad()
def often_right() -> dict[str, torch.Tensor]:
    """A random head's tensors, with the output layer that fits these texts best, its own states included. Like those
    of published ones they are bf16's: what a device keeps in bf16 is not rounded."""
    drawn = head_tensors(vocab=VOCAB).items()
    tensors = {name.removesuffix(".weight"): tensor.to(torch.bfloat16).to(tensor.dtype) for name, tensor in drawn}
    ids = torch.tensor([token for token in range(VOCAB) if token % 10])
    tensors["d2t"], tensors["lm_head"] = ids - torch.arange(KEPT), torch.zeros(KEPT, HIDDEN)
    tensors["t2d"] = torch.zeros(VOCAB, dtype=torch.bool).index_fill_(0, ids, True)
    head = EagleHead(SPEC, tensors, TARGET)
    column = {token: index for index, token in enumerate(ids.tolist())}
    hidden, wanted = [], []
    for prompt, written in zip(PROMPTS, texts(), strict=True):
        text = [*prompt, *written]
        states = TARGET(torch.tensor([text]), output_hidden_states=True).hidden_states
        features = torch.cat([states[layer][0] for layer in SPEC.layers], -1)
        keys_and_values: list[torch.Tensor] = []

        def write(start, keys, values, cache=keys_and_values):
            if cache:
                keys, values = (torch.cat([old[:, :, :start], new], 2) for old, new in zip(cache, (keys, values)))
            cache[:] = [keys, values]
            return keys, values

        for at in range(len(text) - 2):
            state = head.from_features(features[at : at + 1])[None]
            for step in range(min(3, len(text) - 2 - at)):
                state = head.layer(state, [text[at + step + 1]], at + step, write)
                if text[at + step + 2] in column:
                    hidden.append(head.norm(state, head.output_norm)[0, 0])
                    wanted.append(torch.eye(KEPT)[column[text[at + step + 2]]])
    rows, targets = torch.stack(hidden), torch.stack(wanted)
    fit = torch.linalg.solve(rows.T @ rows + 0.1 * torch.eye(HIDDEN), rows.T @ targets)
    return {**tensors, "lm_head": fit.T.contiguous()}


def request(tensors: dict[str, torch.Tensor] | None = None, spec=SPEC) -> HeadRequest:
    tensors = often_right() if tensors is None else tensors
    return HeadRequest(name="tiny-eagle3", spec=spec, tensors=tensors, token_ids=drafted_ids("tiny", spec, tensors))


def on_torch(users: int, ks: int = 7) -> tuple[TorchModelRunner, FeatureDrafter]:
    """The same pair in torch: the oracle."""
    runner = TorchModelRunner(TARGET, name="t", max_seq_len=MAX_SEQ_LEN, max_users=users, max_tokens_per_user=ks + 1)
    return runner, FeatureDrafter(EagleHead(SPEC, often_right(), TARGET), name="tiny-eagle3")


@contextmanager
def opening_targets(folder: Path) -> Iterator:
    """The target with the head following it, on a fake device; every one is closed afterwards."""
    TARGET.save_pretrained(folder / "six-layers")
    with ExitStack() as opened:

        def open_target(*, ks=(0, 3), mesh=None, head=None, logits=False, **options):
            (asked,) = tt_pair.pair_requests(str(folder / "six-layers"), None, num_draft_tokens=ks)
            options = {"max_seq_len": MAX_SEQ_LEN, **options}
            (runner,) = tt_pair.open_models(mesh or FakeMeshDevice(), [asked], head=head or request(), **options)
            opened.callback(runner.close)
            return runner

        yield open_target

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Tiny random Llamas and oracles that share no code with the package."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def tiny_llama(
    seed: int = 0,
    *,
    vocab: int = 32,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    dim: int = 32,
    positions: int = 512,
) -> LlamaForCausalLM:
    """A random fp32 Llama whose logits are spread widely, so that no two are close enough to be a tie."""
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=dim,
        intermediate_size=2 * dim,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=positions,
        initializer_range=0.3,
        eos_token_id=None,
        bos_token_id=None,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


@torch.no_grad()
def greedy_by_recomputation(
    model: LlamaForCausalLM, prompt: Sequence[int], limit: int, stop_ids: Sequence[int] = ()
) -> tuple[list[int], float]:
    """Plain greedy decoding without any cache: the whole text through the model for each token.

    Returns:
        (tokens, the smallest gap between the two best logits met on the way: how far from a tie the text was).
    """
    tokens, gap = list(prompt), float("inf")
    for _ in range(limit):
        best = model(torch.tensor([tokens]), use_cache=False).logits[0, -1].topk(2)
        gap = min(gap, float(best.values[0] - best.values[1]))
        tokens.append(int(best.indices[0]))
        if tokens[-1] in stop_ids:
            break
    return tokens[len(prompt) :], gap

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Attention by position: each user's rows against that user's own slice of the cache, under the model's own mask."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import causal_mask_function

from models.tt_transformers.demo.speculative_decoding.errors import ModelFailure
from models.tt_transformers.demo.speculative_decoding.hf.cache import Allows, PositionalCache

ATTENTION_NAME = "by_position"
BLOCK = 256  # query rows at once where there is a mask or scores are computed one by one


def attend_by_position(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    positional_cache: PositionalCache | None = None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attention function for transformers' AttentionInterface. What else a model may pass (dropout, a window that its
    mask holds too) makes no difference; whether something did is proven when the model is opened (hf/proof.py).
    ModelFailure if what it asks cannot be answered row by row. Returns ([1, N, H, D], None), as is wanted.

    Args:
        query: [1, H, N, D], the rows of all segments one after another.
        key, value: [1, H_kv, N, D], just cached as they are; or of one user [1, H_kv, S, D], of all that is cached.
        attention_mask: what mask_by_position() made; None: causal.
        softcap: c of c * tanh(scores / c). s_aux: a sink's score per head [H], which takes its share and gives nothing.
    """
    if positional_cache is None:
        raise ModelFailure(f"{type(module).__name__} does not pass on to its attention what the model was given")
    cache, dtype = positional_cache, query.dtype
    allows: Allows | None = getattr(attention_mask, "allows", None)
    if attention_mask is not None and allows is None:
        raise ModelFailure(f"{type(module).__name__} makes a mask of its own")
    if not cache.whole and (cache.rows is None or key is not cache.rows[0] or value is not cache.rows[1]):
        raise ModelFailure(f"{type(module).__name__} attends over other keys and values than it caches")
    outputs = []
    for segment in cache.segments:
        keys, values = (key, value) if cache.whole else cache.cached(segment)
        if keys.shape[2] != segment.end:
            raise ModelFailure(f"{type(module).__name__} attends over {keys.shape[2]} of {segment.end} positions")
        if cache.attend_in is not None:
            query, keys, values = (tensor.to(cache.attend_in) for tensor in (query, keys, values))
        by_scores = softcap is not None or s_aux is not None
        if allows is None and segment.start == 0 and not by_scores:  # a prompt: causal attention has a fast kernel
            rows, gqa = query[:, :, segment.rows], query.shape[1] > keys.shape[1]
            out = scaled_dot_product_attention(rows, keys, values, is_causal=True, scale=scaling, enable_gqa=gqa)
            outputs.append(out)
            continue
        for block in segment.blocks(BLOCK):
            rows, seen = query[:, :, block.rows], (keys[:, :, : block.end], values[:, :, : block.end])
            mask = cache.mask(block, allows, rows.dtype)
            if by_scores:
                outputs.append(_by_scores(rows, *seen, mask, scaling, softcap, s_aux))
            else:  # the query heads that share a KV head become its rows: no copy of the cache per query head
                folded = rows.reshape(1, keys.shape[1], -1, rows.shape[-1])
                mask = None if mask is None else mask.repeat(rows.shape[1] // keys.shape[1], 1)
                out = scaled_dot_product_attention(folded, *seen, attn_mask=mask, scale=scaling)
                outputs.append(out.reshape(*rows.shape[:3], -1))
    out = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    return out.transpose(1, 2).to(dtype).contiguous(), None


def _by_scores(
    rows: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """What no kernel computes, in float32 at least."""
    precise = torch.promote_types(rows.dtype, torch.float32)
    scale = rows.shape[-1] ** -0.5 if scaling is None else scaling
    shared = (keys.shape[1], rows.shape[1] // keys.shape[1])  # KV heads, query heads of each
    scores = rows[0].to(precise).unflatten(0, shared) @ keys[0, :, None].to(precise).transpose(-1, -2) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores + mask
    if sinks is not None:
        sink = sinks.to(precise).view(*shared, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, sink], dim=-1)
    weights = scores.softmax(-1)[..., : keys.shape[2]]
    return (weights @ values[0, :, None].to(precise)).flatten(0, 1)[None].to(rows.dtype)


def mask_by_position(
    *, mask_function: Callable[..., Any], attention_mask: Tensor | None = None, **_: Any
) -> Tensor | None:
    """Mask function for transformers' AttentionMaskInterface: an empty tensor that carries the model's rule, which is
    asked per user; None if the rule is plainly causal. ModelFailure for a mask of tokens of the model's own."""
    if attention_mask is not None:
        raise ModelFailure("the model hides tokens by an attention_mask of its own")
    if mask_function == causal_mask_function:
        return None
    carrier = torch.empty(0)
    carrier.allows = mask_function  # type: ignore[attr-defined]
    return carrier


AttentionInterface.register(ATTENTION_NAME, attend_by_position)
AttentionMaskInterface.register(ATTENTION_NAME, mask_by_position)

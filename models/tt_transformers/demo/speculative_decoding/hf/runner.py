# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""ModelRunner over a Hugging Face causal LM (CPU, CUDA).

All live tokens of all users go through the model as ONE flat sequence [1, N]; linear layers do not care whose row is
whose, and attention is done user by user against that user's own slice of the cache. So users may differ in length and
in the number of tokens, an idle user costs nothing, nothing is padded, and what lies past a user's end is never read.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.hf.cache import PositionalCache, Segment
from models.tt_transformers.demo.speculative_decoding.hf.packed_linear import PackedLinear
from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelLoad, Rows, check_forward, check_prompts
from models.tt_transformers.demo.speculative_decoding.trimmed_head import TrimmedHead

ATTENTION_NAME = "by_position"


def attend_by_position(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    scaling: float | None = None,
    positional_cache: PositionalCache,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attention function for transformers' AttentionInterface: each segment's queries against its own user's cache.

    Args:
        query: [1, H, N, D], the rows of all segments one after another; key, value: [1, H_kv, N, D], already in the
            cache.
        positional_cache: handed through the model's forward; knows the segments and what is cached.

    Returns:
        ([1, N, H, D], None) as AttentionInterface wants it.
    """
    if softcap is not None or s_aux is not None:
        raise BadInput(
            f"{type(module).__name__} uses soft-capped or sink attention, which TorchModelRunner does not have"
        )
    groups = query.shape[1] // key.shape[1]
    layer = cast(int, module.layer_idx)  # transformers gives it to every attention module
    outputs = []
    for segment in positional_cache.segments:
        if sliding_window is not None and segment.end > sliding_window:
            raise BadInput(f"position {segment.end - 1} is past the model's sliding window of {sliding_window} tokens")
        rows = query[:, :, segment.rows]
        keys, values = positional_cache.cached(layer, segment)
        if segment.start == 0:  # a prompt: plain causal attention, which has a fast kernel
            out = scaled_dot_product_attention(rows, keys, values, is_causal=True, scale=scaling, enable_gqa=groups > 1)
        else:  # fold the query heads that share a KV head into its rows: no copy of the cache per query head
            folded = rows.reshape(1, key.shape[1], groups * segment.count, -1)
            mask = positional_cache.mask(segment, groups, query.dtype)
            out = scaled_dot_product_attention(folded, keys, values, attn_mask=mask, scale=scaling).reshape(rows.shape)
        outputs.append(out)
    out = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION_NAME, attend_by_position)


@contextmanager
def _attention_by_position(model: PreTrainedModel) -> Iterator[None]:
    """The caller's model attends by position for the length of one forward, and is left as it was found."""
    before = model.config._attn_implementation
    model.config._attn_implementation = ATTENTION_NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before


def with_trimmed_head(model: PreTrainedModel, head: TrimmedHead) -> PreTrainedModel:
    """A view of `model` whose output layer computes only the ids of `head`: its forward returns logits [..., N].

    All other weights are shared.
    """
    full, ids = model.get_output_embeddings(), head.token_ids
    weight = nn.Parameter(full.weight.detach()[ids], requires_grad=False)
    bias = None if full.bias is None else nn.Parameter(full.bias.detach()[ids], requires_grad=False)
    trimmed = copy.copy(model)
    trimmed._modules = dict(model._modules)
    trimmed.set_output_embeddings(PackedLinear(weight, bias))
    return trimmed


class TorchModelRunner:
    """Positional KV cache and forward passes of one Hugging Face model (the contract is runner.ModelRunner).

    Args:
        model: a causal LM of transformers whose attention goes through AttentionInterface; shared, never changed.
        name: what reports call it.
        max_seq_len: tokens per user, at most the model's own limit.
        max_users: sequences that can be generated together.
        eos_token_ids: default: the model's generation config.
        head_token_ids: compute only these output ids (a draft's trimmed head); all others get logit -inf.

    BadInput if a limit is out of range, or the architecture cannot be addressed by position.
    """

    supports_features = True

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        name: str | None = None,
        max_seq_len: int = 2048,
        max_users: int = 1,
        max_tokens_per_user: int = 32,
        eos_token_ids: frozenset[int] | None = None,
        head_token_ids: Sequence[int] | None = None,
    ) -> None:
        config = model.config.get_text_config()
        _check_architecture(model, max_seq_len)
        if max_users < 1:
            raise BadInput(f"max_users is {max_users}; it must be at least 1")
        self.name = name or model.config._name_or_path or type(model).__name__
        self.vocab_size = config.vocab_size
        self.max_seq_len, self.max_users, self.max_tokens_per_user = max_seq_len, max_users, max_tokens_per_user
        self.eos_token_ids = _eos_token_ids(model) if eos_token_ids is None else frozenset(eos_token_ids)
        self.device = model.device
        self.load: ModelLoad | None = None
        self.model = model.eval()
        self._head: TrimmedHead | None = None
        if head_token_ids is not None:
            self._head = TrimmedHead(head_token_ids, self.vocab_size, device=self.device)
            self.model = with_trimmed_head(self.model, self._head)
        self.cache = PositionalCache(max_users=max_users, max_seq_len=max_seq_len)

    def warmup(self, tokens_per_user: Sequence[int], *, argmax_only: bool = True) -> None:
        """Run every T once, so that lazy initialisation is not timed; leaves the cache empty."""
        self.prefill([[0]])
        for count in tokens_per_user:
            count = min(count, self.max_seq_len - 1)
            self.forward(torch.zeros(1, count, dtype=torch.int64), [1], argmax_only=argmax_only)
        self.cache.clear()

    def prefill(self, prompts: Sequence[Sequence[int]], *, features: Sequence[int] = ()) -> Rows:
        """See runner.ModelRunner.prefill; all prompts go through the model together, unpadded."""
        check_prompts(self, prompts, features)
        segments = _segments([0] * len(prompts), [len(prompt) for prompt in prompts])
        flat = torch.tensor([token for prompt in prompts for token in prompt], dtype=torch.int64)
        last_rows = torch.tensor([s.rows.stop - 1 for s in segments])
        logits, hidden = self._run(flat, segments, keep=last_rows, features=features)
        return Rows(self._full_vocabulary(logits), _features(hidden, segments, len(prompts)))

    def forward(
        self,
        tokens: Tensor,
        positions: Sequence[int],
        *,
        lengths: Sequence[int] | None = None,
        argmax_only: bool = False,
        features: Sequence[int] = (),
    ) -> Rows:
        """See runner.ModelRunner.forward."""
        users, width = tokens.shape
        segments = _segments(positions, check_forward(self, tokens, positions, lengths, features))
        flat = torch.cat([tokens[s.user, : s.count] for s in segments]) if users > 1 else tokens[0, : segments[0].count]
        logits, hidden = self._run(flat, segments, keep=0, features=features)
        rows = self._argmax(logits) if argmax_only else self._full_vocabulary(logits)
        return Rows(_by_user(rows, segments, users, width), _features(hidden, segments, users))

    @torch.inference_mode()
    def _run(
        self, flat: Tensor, segments: list[Segment], *, keep: Tensor | int, features: Sequence[int]
    ) -> tuple[Tensor, Tensor | None]:
        """One pass over flat int64 [N] -> (logits [rows kept, V or trimmed N], features [N, F] or None)."""
        positions = torch.cat([torch.arange(s.start, s.end) for s in segments])
        self.cache.begin(segments)
        with _attention_by_position(self.model):
            output = self.model(
                input_ids=flat[None].to(self.device),
                position_ids=positions[None].to(self.device),
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=keep,
                positional_cache=self.cache,
                output_hidden_states=bool(features),
            )
        self._check_finite(output.logits[0], segments)
        hidden = torch.cat([output.hidden_states[layer][0] for layer in features], dim=-1) if features else None
        return output.logits[0], hidden

    def _check_finite(self, logits: Tensor, segments: list[Segment]) -> None:
        # The sum is finite only if every entry is: one small reduction and one number to the host in the good case.
        if torch.isfinite(logits.sum(dtype=torch.float32)):
            return
        wrong = (~torch.isfinite(logits)).any(-1).nonzero()
        if len(wrong) == 0:  # finite ones added up to more than float32 holds
            return
        per_segment = len(logits) == len(segments)  # a prefill keeps one row per prompt
        where = [(s.user, p) for s in segments for p in range(s.end - 1 if per_segment else s.start, s.end)]
        user, position = where[int(wrong[0])]
        raise ModelFailure(f"{self.name} returned NaN or infinite logits at position {position} of user {user}")

    def _argmax(self, logits: Tensor) -> Tensor:
        columns = logits.argmax(-1)
        return (columns if self._head is None else self._head.ids(columns)).cpu()

    def _full_vocabulary(self, logits: Tensor) -> Tensor:
        return logits.float() if self._head is None else self._head.whole(logits.float())

    def synchronize(self) -> None:
        """Wait for CUDA; the CPU is always in step."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def close(self) -> None:
        """Release the cache; the model belongs to the caller."""
        self.cache.clear()


def _segments(positions: Sequence[int], counts: Sequence[int]) -> list[Segment]:
    """One after another, those of the users who take part."""
    segments, row = [], 0
    for user, (start, count) in enumerate(zip(positions, counts, strict=True)):
        if start != IDLE:
            segments.append(Segment(user=user, start=start, count=count, first_row=row))
            row += count
    return segments


def _by_user(rows: Tensor, segments: list[Segment], users: int, width: int) -> Tensor:
    """Flat rows [N, ...] -> [users, width, ...]; rows that nobody asked for are zero."""
    if users == 1 and segments[0].count == width:
        return rows[None]
    result = rows.new_zeros((users, width, *rows.shape[1:]))
    for s in segments:
        result[s.user, : s.count] = rows[s.rows]
    return result


def _features(hidden: Tensor | None, segments: list[Segment], users: int) -> list[Tensor] | None:
    """Flat features [N, F] -> per user [n, F], none of an idle user."""
    if hidden is None:
        return None
    rows = {s.user: hidden[s.rows] for s in segments}
    return [rows.get(user, hidden[:0]) for user in range(users)]


def _eos_token_ids(model: PreTrainedModel) -> frozenset[int]:
    ids = model.generation_config.eos_token_id if model.generation_config is not None else None
    ids = model.config.get_text_config().eos_token_id if ids is None else ids
    return frozenset([] if ids is None else [ids] if isinstance(ids, int) else ids)


def _check_architecture(model: PreTrainedModel, max_seq_len: int) -> None:
    config, kind = model.config.get_text_config(), type(model).__name__
    limit = getattr(config, "max_position_embeddings", None) or max_seq_len
    if not 2 <= max_seq_len <= limit:
        raise BadInput(f"max_seq_len {max_seq_len} is outside 2..{limit}, the positions that {kind} knows")
    window = getattr(config, "sliding_window", None)
    if window and getattr(config, "use_sliding_window", True) and window < max_seq_len:
        raise BadInput(f"{kind} attends to a sliding window of {window} tokens; ask for max_seq_len <= {window}")
    if getattr(model, "_is_stateful", False) or not getattr(model, "_supports_attention_backend", False):
        raise BadInput(
            f"{kind} does not use transformers' attention interface, so its cache cannot be addressed by position"
        )

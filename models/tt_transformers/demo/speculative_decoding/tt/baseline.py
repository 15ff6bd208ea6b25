# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The stock model alone: upstream's own create_tt_model and Generator, as simple_text_demo runs them."""

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from loguru import logger
from torch import Tensor
from torch.nn.functional import pad

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.runner import IDLE
from models.tt_transformers.demo.speculative_decoding.tt import loading
from models.tt_transformers.demo.speculative_decoding.tt.attention import RowWrites
from models.tt_transformers.demo.speculative_decoding.tt.eagle_follower import EagleFollower
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import RowLayout
from models.tt_transformers.demo.speculative_decoding.tt.memory import BLOCK_SIZE, SCRATCH_BLOCK, CacheLayout
from models.tt_transformers.demo.speculative_decoding.tt.runner import TTModelRunner


class LiveRows:
    """The Transformer as Generator sees it; of logits that go to the host, the users' rows of the real vocabulary alone
    leave the device, as ours do: simple_text_demo would read a whole tile of them."""

    def __init__(self, transformer: Any, ttnn: Any, *, users: int, vocab: int) -> None:
        self._transformer, self._ttnn, self._users, self._vocab = transformer, ttnn, users, vocab

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transformer, name)

    def ttnn_decode_forward(self, *inputs: Any, on_device_logits: bool = False, **options: Any) -> Any:
        output = self._transformer.ttnn_decode_forward(*inputs, on_device_logits=on_device_logits, **options)
        if on_device_logits:
            return output
        return self._ttnn.slice(output[0], [0, 0, 0, 0], [1, 1, self._users, self._vocab]), output[1]


class StockRunner(TTModelRunner):
    """One token of every user per forward, nothing of ours in the model: the baseline that a pair is measured against.
    Greedy tokens are chosen on the device where upstream can, as simple_text_demo does; else, warned, on the host.
    What the first forward ends in, ids or logits, all must: a tree may not capture the other kind later."""

    def __init__(self, model: loading.LoadedModel, *, enable_trace: bool, sample_on_device: bool) -> None:
        super().__init__(model, max_tokens_per_user=1, enable_trace=enable_trace)
        idle = model.args.max_batch_size - self.max_users
        table = [model.cache.table_row(user) for user in range(self.max_users)]
        self._page_table = torch.tensor(table + [[SCRATCH_BLOCK] * model.cache.table_width] * idle, dtype=torch.int32)
        self._greedy = None  # upstream's request for argmax on the device, as simple_text_demo makes it
        if sample_on_device:
            sampling = importlib.import_module("models.common.sampling")
            self._greedy = sampling.SamplingParams(temperature=0.0, top_k=32, top_p=0.08)
        self._advancing: list[bool] = []  # whose token and position the device advances by itself; none: prefilled anew
        self._ends_in_ids: bool | None = None

    def warmup(self, tokens_per_user: Sequence[int], *, argmax_only: bool = True) -> None:
        """Compile both halves and capture the decode; the cache holds garbage afterwards."""
        self._compile_prefill()
        try:
            self.forward(*self._blank(1), argmax_only=argmax_only)
        except RuntimeError as reason:
            if self._greedy is None:
                raise
            logger.warning(f"{self.name}: upstream cannot sample on this device ({reason}); argmax on the host instead")
            self._greedy = None
            self.forward(*self._blank(1), argmax_only=argmax_only)

    def _prefill_user(self, user: int, prompt: Sequence[int], follower: EagleFollower | None = None) -> Tensor:
        self._advancing = []
        return super()._prefill_user(user, prompt, follower)

    def _decode(self, tokens: Tensor, positions: Sequence[int], counts: Sequence[int], argmax_only: bool) -> Tensor:
        """On-device sampling feeds back its own tokens: the same ones in plain decoding."""
        if self._ends_in_ids not in (None, argmax_only) and self.enable_trace:
            raise BadInput(f"{self.name} was warmed up for {'ids' if self._ends_in_ids else 'logits'} only")
        self._ends_in_ids = argmax_only
        on_device = self._greedy if argmax_only else None
        rest = (0, len(self._page_table) - len(positions))
        active = [position != IDLE for position in positions]
        reload = on_device is None or active != self._advancing
        output = self._prefiller.decode_forward(
            pad(tokens[:, 0], rest),
            pad(torch.tensor(positions), rest, value=IDLE),
            page_table=self._page_table,
            kv_cache=[self.model.kv_cache],
            enable_trace=self.enable_trace,
            read_from_device=on_device is not None,
            sampling_params=on_device,
            **loading.decode_words(self.model.upstream, reload=reload, sampled=on_device is not None),
        )
        self._advancing = active
        if on_device is not None:
            return output[0].reshape(-1, 1)[: len(positions)].to(torch.int64)
        ttnn = self.model.upstream.ttnn
        host = ttnn.to_torch(ttnn.get_device_tensors(output[0][0])[0])  # the other devices hold the same
        logits = host.reshape(self.max_users, 1, -1)[: len(positions)].float()
        return logits.argmax(-1) if argmax_only else logits


def open_stock(
    mesh_device: Any,
    model_id: str,
    *,
    users: int = 1,
    max_seq_len: int = 1024,
    optimizations: str = "performance",
    enable_trace: bool = True,
    sample_on_device: bool | None = None,
) -> StockRunner:
    """Load a model through upstream's create_tt_model; BadInput, ModelUnavailable as pair.open_models.

    Args:
        sample_on_device: default: where upstream supports it.
    """
    loading.check_environment(model_id)
    upstream = loading.load_upstream()
    cache, batch = CacheLayout(users, max_seq_len), RowLayout(users, 1).compiled_batch
    paging = upstream.PagedAttentionConfig(block_size=BLOCK_SIZE, max_num_blocks=cache.num_blocks)
    options = loading.model_options(upstream, batch=batch, max_seq_len=max_seq_len, optimizations=optimizations)
    with loading.model_environment(model_id):
        args, transformer, kv_cache, _ = upstream.create_tt_model(mesh_device, paged_attention_config=paging, **options)
    writes = RowWrites(upstream.ttnn.experimental)  # unused: the stock Attention writes as it always did
    rows = LiveRows(transformer, upstream.ttnn, users=users, vocab=args.vocab_size)
    model = loading.LoadedModel(upstream, mesh_device, args, rows, kv_cache, writes, cache)
    if sample_on_device is None:
        sample_on_device = bool(getattr(transformer, "_supports_on_device_sampling", False))
    return StockRunner(model, enable_trace=enable_trace, sample_on_device=sample_on_device)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The stock model alone: upstream's own create_tt_model and Generator at batch 1, as simple_text_demo runs them."""

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from loguru import logger
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.tt import loading
from models.tt_transformers.demo.speculative_decoding.tt.attention import RowWrites
from models.tt_transformers.demo.speculative_decoding.tt.memory import BLOCK_SIZE, CacheLayout
from models.tt_transformers.demo.speculative_decoding.tt.runner import TTModelRunner


class StockRunner(TTModelRunner):
    """One user, one token per forward, nothing of ours in the model: the baseline that a pair is measured against.
    Greedy tokens are chosen on the device where upstream can, as simple_text_demo does; else, warned, on the host."""

    def __init__(self, model: loading.LoadedModel, *, enable_trace: bool, sample_on_device: bool) -> None:
        super().__init__(model, max_tokens_per_user=1, enable_trace=enable_trace)
        self._page_table = torch.tensor([model.cache.table_row(0)], dtype=torch.int32)
        self._greedy = None  # upstream's request for argmax on the device, as simple_text_demo makes it
        if sample_on_device:
            sampling = importlib.import_module("models.common.sampling")
            self._greedy = sampling.SamplingParams(temperature=0.0, top_k=32, top_p=0.08)
        self._fresh = True  # the first decode after a prefill must not go on from the last generation's device state

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

    def _prefill_user(self, user: int, prompt: Sequence[int]) -> Tensor:
        self._fresh = True
        return super()._prefill_user(user, prompt)

    def _decode(self, tokens: Tensor, positions: Sequence[int], counts: Sequence[int], argmax_only: bool) -> Tensor:
        """On-device sampling feeds back its own token: the same one in plain decoding."""
        on_device = self._greedy if argmax_only else None
        output, _ = self._prefiller.decode_forward(
            tokens[:, 0],
            torch.tensor(positions),
            page_table=self._page_table,
            kv_cache=[self._live.kv_cache],
            enable_trace=self.enable_trace,
            sampling_params=on_device,
            reset_batch=self._fresh,
        )
        self._fresh = False
        if on_device is not None:
            return output.reshape(1, 1).to(torch.int64)
        logits = output.reshape(1, 1, -1)[..., : self.vocab_size].float()
        return logits.argmax(-1) if argmax_only else logits


def open_stock(
    mesh_device: Any,
    model_id: str,
    *,
    max_seq_len: int = 1024,
    optimizations: str = "performance",
    enable_trace: bool = True,
    sample_on_device: bool | None = None,
) -> StockRunner:
    """Load a model through upstream's create_tt_model at batch 1; BadInput, ModelUnavailable as pair.open_models.

    Args:
        sample_on_device: default: where upstream supports it.
    """
    loading.check_environment(model_id)
    upstream = loading.load_upstream()
    cache = CacheLayout(1, max_seq_len)
    paging = upstream.PagedAttentionConfig(block_size=BLOCK_SIZE, max_num_blocks=cache.num_blocks)
    options = loading.model_options(upstream, batch=1, max_seq_len=max_seq_len, optimizations=optimizations)
    with loading.model_environment(model_id):
        args, transformer, kv_cache, _ = upstream.create_tt_model(mesh_device, paged_attention_config=paging, **options)
    writes = RowWrites(upstream.ttnn.experimental)  # unused: the stock Attention writes as it always did
    model = loading.LoadedModel(upstream, mesh_device, args, transformer, kv_cache, writes, cache)
    if sample_on_device is None:
        sample_on_device = bool(getattr(transformer, "_supports_on_device_sampling", False))
    return StockRunner(model, enable_trace=enable_trace, sample_on_device=sample_on_device)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Linear layers on a CPU whose weights lie as oneDNN reads them.

PyTorch multiplies a few rows by whatever its BLAS has for that shape: on some processors two rows cost 1.5 times one
row, three rows 1.9 times, and one row itself reads memory at half its speed. Verifying is a multiplication of a few
rows. With the weights packed once, one to eight rows cost about the same, and plain decoding gains as well.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from loguru import logger
from torch import Tensor, nn
from torch.nn import functional as F

from models.tt_transformers.demo.speculative_decoding.hf.cache import available_bytes


def can_pack(weight: Tensor) -> bool:
    """Whether this PyTorch has oneDNN kernels for packed weights of that device and dtype."""
    has_onednn = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if weight.device.type != "cpu" or not has_onednn:
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


def packed_product(weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """A function x [..., in] -> x W^T + b [..., out], without gradients, for a weight [out, in] that will not change:
    packed (a second copy of the weight) where it can be, else torch's linear."""
    if not can_pack(weight):
        return lambda x: F.linear(x, weight, bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)

    def product(x: Tensor) -> Tensor:
        two_rows = x.ndim > 1 and x.shape[-2] == 2 and x.numel() == 2 * x.shape[-1]
        if two_rows:  # oneDNN's kernel for two rows takes a tenth longer than that for four
            x = torch.cat((x, x), -2)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")  # as torch.compile does
        return y[..., :2, :] if two_rows else y

    return product


class PackedLinear(nn.Linear):
    """A linear layer for inference beside whose weight lies its packed copy. The weight must not be changed in place;
    moving or converting the module packs anew. With gradients enabled it is torch's own linear layer."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        self.weight = weight
        self.register_parameter("bias", bias)
        self._product = packed_product(weight, bias)

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return super().forward(input) if torch.is_grad_enabled() else self._product(input)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        self._product = packed_product(self.weight, self.bias)
        return self


def pack_linear_layers(model: nn.Module) -> None:
    """Put a PackedLinear in the place of every nn.Linear, where it can be packed and memory holds the copies."""
    layers = [(name, m) for name, m in model.named_modules() if type(m) is nn.Linear and can_pack(m.weight)]
    needed, free = sum(layer.weight.nbytes for _, layer in layers), available_bytes(torch.device("cpu"))
    if free is not None and needed > free // 2:
        logger.info(f"weights are not packed for speed: a copy takes {needed >> 20} of {free >> 20} MB of free memory")
        return
    for name, layer in layers:
        model.set_submodule(name, PackedLinear(cast(nn.Parameter, layer.weight), layer.bias))

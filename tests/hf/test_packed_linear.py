# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Packed weights compute what unpacked ones do, follow their module, and are left out where they do not fit."""

import pytest
import torch
from support.tiny import tiny_llama
from torch import nn
from torch.nn import functional as F

from models.tt_transformers.demo.speculative_decoding.hf import packed_linear
from models.tt_transformers.demo.speculative_decoding.hf.packed_linear import (
    PackedLinear,
    can_pack,
    pack_linear_layers,
    packed_product,
)

needs_packing = pytest.mark.skipif(not can_pack(torch.zeros(1, 1)), reason="this PyTorch has no oneDNN for the CPU")
DTYPES = [torch.float32, torch.bfloat16, torch.float64]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.1, torch.float64: 1e-12}


def layer(dtype=torch.float32, bias=True):
    torch.manual_seed(0)
    return nn.Linear(48, 40, bias=bias, dtype=dtype)


def packed(linear):
    return PackedLinear(linear.weight, linear.bias)


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 33])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_product_of_the_unpacked_weight(dtype, bias, rows):
    linear = layer(dtype, bias)
    x = torch.randn(2, rows, 48, dtype=dtype)
    with torch.no_grad():
        expected = F.linear(x.double(), linear.weight.double(), None if linear.bias is None else linear.bias.double())
        found = packed(linear)(x)
    assert found.dtype == dtype and found.shape == (2, rows, 40)
    assert float((found.double() - expected).abs().max()) < TOLERANCE[dtype]


@needs_packing
def test_it_is_the_packed_copy_that_multiplies():
    """Negative control: a weight changed in place is not seen, as the docstring warns."""
    module, x = packed(layer()), torch.randn(3, 48)
    with torch.no_grad():
        before = module(x)
        module.weight.zero_()
        assert torch.equal(module(x), before) and float(before.abs().max()) > 0.1


def test_converting_the_module_packs_anew():
    linear, x = layer(), torch.randn(3, 48)
    module = packed(linear).to(torch.bfloat16)
    with torch.no_grad():
        assert module(x.bfloat16()).dtype == torch.bfloat16
        back = module.float()(x)
        assert torch.allclose(back, F.linear(x, linear.weight.bfloat16().float(), linear.bias), atol=1e-2)


def test_gradients_flow():
    module = packed(layer())
    module(torch.randn(3, 48)).sum().backward()
    assert module.weight.grad is not None and float(module.weight.grad.abs().max()) > 0


@needs_packing
def test_every_linear_layer_of_a_model():
    plain, model = tiny_llama(0), tiny_llama(0)
    pack_linear_layers(model)
    kinds = {type(module) for module in model.modules() if isinstance(module, nn.Linear)}
    assert kinds == {PackedLinear}
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert (
        model.get_output_embeddings().weight is dict(model.named_parameters(remove_duplicate=False))["lm_head.weight"]
    )
    ids = torch.tensor([[5, 3, 8, 1]])
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, plain(ids).logits, atol=1e-5)


@needs_packing
def test_left_out_where_memory_is_short(monkeypatch):
    model = tiny_llama(0)
    needed = sum(module.weight.nbytes for module in model.modules() if type(module) is nn.Linear)
    monkeypatch.setattr(packed_linear, "available_bytes", lambda device: needed)
    pack_linear_layers(model)
    assert not any(isinstance(module, PackedLinear) for module in model.modules())
    monkeypatch.setattr(packed_linear, "available_bytes", lambda device: 2 * needed + 1)
    pack_linear_layers(model)
    assert any(isinstance(module, PackedLinear) for module in model.modules())


def test_without_onednn_torch_multiplies(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    linear, x = layer(), torch.randn(3, 48)
    assert not can_pack(linear.weight)
    with torch.no_grad():
        assert torch.equal(packed_product(linear.weight, linear.bias)(x), F.linear(x, linear.weight, linear.bias))

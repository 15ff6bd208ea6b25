# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A mesh of one device, real or simulated, and a tiny random Llama for it. Where there is none the tests are skipped
with the reason, and fail where CI=true.

ttnn may come from PyPI; of tt-metal the Python tree on PYTHONPATH is enough. On a simulator (TT_METAL_SIMULATOR) a
prefill takes two or three seconds, a decode one; in slow dispatch there are no traces.
"""

import os

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.harness.device_cases import unavailable
from models.tt_transformers.demo.speculative_decoding.tt.loading import load_upstream
from models.tt_transformers.demo.speculative_decoding.tt.mesh import opened_mesh, slow_dispatch


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout: pytest-timeout's, where that is installed")


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.timeout(7200))  # a simulator is slow


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """The directory of a one-layer model; its name says nothing that tt_transformers knows."""
    folder = tmp_path_factory.mktemp("random-llama")
    config = LlamaConfig(vocab_size=1024, hidden_size=512, intermediate_size=1024, num_hidden_layers=1)
    config.update({"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64, "initializer_range": 0.05})
    config.update({"bos_token_id": 0, "eos_token_id": 1})
    torch.manual_seed(0)
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    words = WordLevel({f"t{i}": i for i in range(1024)}, unk_token="t2")
    special = {"bos_token": "t0", "eos_token": "t1", "unk_token": "t2"}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), **special).save_pretrained(folder)
    return str(folder)


# Tensor group of upstream's precision settings -> the weights in it, as the checkpoint names them.
GROUPS = {"FF1_FF3": ("gate_proj", "up_proj"), "FF2": ("down_proj",), "WQKV": ("q_proj", "k_proj", "v_proj")}
GROUPS["WO"] = ("o_proj",)
MANTISSA_BITS = {"BFLOAT8_B": 7, "BFLOAT4_B": 3}


def as_stored(weight, dtype):
    """A weight [out, in] as a device holds it in block floating point: stored [in, out], sixteen in a row share an
    exponent."""
    bits = next((bits for name, bits in MANTISSA_BITS.items() if name in str(dtype).upper()), None)
    if bits is None:
        return weight
    blocks = weight.T.reshape(-1, 16)
    exponent = blocks.abs().amax(-1, keepdim=True).clamp(min=2.0**-126).log2().floor()
    step = 2.0 ** (exponent - bits + 1)
    most = 2**bits - 1
    return ((blocks / step).round().clamp(-most, most) * step).view(weight.T.shape).T


@pytest.fixture(scope="session")
def reference(checkpoint):
    """(runner, tokens) -> logits [len, V] of the same model in transformers, fp32 on the host, of the weights that the
    runner keeps."""
    models = {}

    def model_of(runner):
        upstream, precision = runner.model.upstream, runner.model.args.decoders_optimizations
        stored = {group: precision.get_tensor_dtype(0, getattr(upstream.TensorGroup, group)) for group in GROUPS}
        dtypes = {name: stored[group] for group, names in GROUPS.items() for name in names}
        dtypes["lm_head"] = upstream.ttnn.bfloat8_b
        if str(dtypes) not in models:
            model = LlamaForCausalLM.from_pretrained(checkpoint).float().eval()
            for name, module in model.named_modules():
                if (leaf := name.rpartition(".")[2]) in dtypes:
                    module.weight.data = as_stored(module.weight.data, dtypes[leaf])
            models[str(dtypes)] = model
        return models[str(dtypes)]

    @torch.no_grad()
    def logits(runner, tokens):
        return model_of(runner)(torch.tensor([tokens])).logits[0]

    return logits


@pytest.fixture(scope="session", params=["performance", "accuracy"])
def optimizations(request):
    """Both of upstream's precisions."""
    return request.param


@pytest.fixture(scope="session")
def mesh_device(tmp_path_factory):
    """One device. Weight caches go to a temporary directory: a random model must not meet an older one's."""
    try:
        ttnn = load_upstream().ttnn
    except ModelUnavailable as reason:
        unavailable(reason)
    try:
        devices = ttnn.get_num_devices()
    except RuntimeError as reason:
        if "TT_METAL_SIMULATOR" in os.environ:
            raise
        unavailable(f"ttnn finds no device: {str(reason).splitlines()[0]}")
    if devices == 0:
        unavailable("ttnn finds no device")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TT_CACHE_PATH", str(tmp_path_factory.mktemp("tensor_cache")))
        environment.delenv("HF_MODEL", raising=False)
        with opened_mesh(1, 1) as mesh:
            yield mesh


@pytest.fixture(scope="session", params=[False, True], ids=["untraced", "traced"])
def enable_trace(request):
    """Both ways; slow dispatch has no traces."""
    if request.param and slow_dispatch():
        pytest.skip("TT_METAL_SLOW_DISPATCH_MODE is set, and slow dispatch has no traces")
    return request.param


@pytest.fixture(scope="module")
def how(enable_trace, optimizations):
    """Traced and not, in both precisions."""
    return {"enable_trace": enable_trace, "optimizations": optimizations}

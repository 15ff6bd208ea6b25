# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A mesh of one device, real or simulated, and a tiny random Llama for it. Skips with the reason where there is none.

    PYTHONPATH=$PWD:$TT_METAL_HOME pytest tests/device [-k one_test]

TT_METAL_HOME is a tt-metal checkout (its Python tree is enough), ttnn may come from PyPI. On the simulator, set
TT_METAL_SIMULATOR and TT_METAL_SLOW_DISPATCH_MODE=1; a prefill takes about 70 seconds there, a decode 15.
"""

import json
import os

import pytest
import torch

from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.tt.loading import load_upstream
from models.tt_transformers.demo.speculative_decoding.tt.mesh import opened_mesh, slow_dispatch

VOCAB, DIM, HEADS, KV_HEADS, HEAD_DIM = 1024, 512, 8, 2, 64


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout: pytest-timeout's, where that is installed")


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.timeout(7200))  # a simulator is slow


def write_checkpoint(folder, seed: int) -> str:
    """A one-layer random Llama as Hugging Face stores it; written by hand, so that transformers 4.57 and 5 read it."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    q, kv, prefix = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, "model.layers.0"
    shapes = {
        "model.embed_tokens": (VOCAB, DIM),
        "lm_head": (VOCAB, DIM),
        **{f"{prefix}.self_attn.{name}_proj": (rows, DIM) for name, rows in (("q", q), ("k", kv), ("v", kv))},
        f"{prefix}.self_attn.o_proj": (DIM, q),
        **{f"{prefix}.mlp.{name}_proj": (2 * DIM, DIM) for name in ("gate", "up")},
        f"{prefix}.mlp.down_proj": (DIM, 2 * DIM),
    }
    weights = {f"{name}.weight": 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for norm in (f"{prefix}.input_layernorm", f"{prefix}.post_attention_layernorm", "model.norm"):
        weights[f"{norm}.weight"] = torch.ones(DIM)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": DIM,
        "intermediate_size": 2 * DIM,
        "num_hidden_layers": 1,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCAB,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "bfloat16",
    }
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": {f"t{i}": i for i in range(VOCAB)}, "unk_token": "t2"},
    }
    special = {"bos_token": "t0", "eos_token": "t1", "unk_token": "t2"}
    tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    folder.mkdir()
    save_file({name: w.bfloat16() for name, w in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    for name, content in {"config": config, "tokenizer": tokenizer, "tokenizer_config": tokenizer_config}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return str(folder)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """The tiny model's directory; its name says nothing that tt_transformers knows."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "random-llama", seed=0)


# Tensor group of upstream's precision settings -> the weights in it, as the checkpoint names them.
GROUPS = {
    "FF1_FF3": ("gate_proj", "up_proj"),
    "FF2": ("down_proj",),
    "WQKV": ("q_proj", "k_proj", "v_proj"),
    "WO": ("o_proj",),
}
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
    from transformers import LlamaForCausalLM

    models = {}

    def model_of(runner):
        upstream, precision = runner._live.upstream, runner._live.args.decoders_optimizations
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
    pytest.importorskip("ttnn", reason="ttnn is not installed, so there is no Tenstorrent device to open")
    try:
        ttnn = load_upstream().ttnn
    except ModelUnavailable as reason:
        pytest.skip(str(reason))
    try:
        devices = ttnn.get_num_devices()
    except RuntimeError as reason:
        if "TT_METAL_SIMULATOR" in os.environ:
            raise
        pytest.skip(f"ttnn finds no device: {str(reason).splitlines()[0]}")
    if devices == 0:
        pytest.skip("ttnn finds no device")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TT_CACHE_PATH", str(tmp_path_factory.mktemp("tensor_cache")))
        environment.delenv("HF_MODEL", raising=False)
        with opened_mesh(1, 1) as mesh:
            yield mesh


@pytest.fixture(scope="session", params=[False, True], ids=["untraced", "traced"])
def enable_trace(request):
    """Both ways; slow dispatch, and so the simulator, has no traces."""
    if request.param and slow_dispatch():
        pytest.skip("TT_METAL_SLOW_DISPATCH_MODE is set, and slow dispatch has no traces")
    return request.param

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""tt_transformers' ModelArgs, precisions and small common parts as of 2026-06-22; see fakes.fake_model."""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import torch
import ttnn
from safetensors.torch import load_file


class Mode(Enum):
    DECODE = "decode"
    PREFILL = "prefill"


class PagedAttentionConfig:
    def __init__(self, block_size=32, max_num_blocks=1024):
        self.block_size, self.max_num_blocks = block_size, max_num_blocks


def get_padded_prefill_len(seq_len):
    if seq_len <= 128:
        return 128
    return 1024 if seq_len <= 1024 else 2 ** (seq_len - 1).bit_length()


def rope_scaling_model_factory(rope_scaling_params):
    raise NotImplementedError(f"no fake of {rope_scaling_params}")


def cached_weight(state_dict, key, device, cache_file):
    """ttnn.as_tensor with a cache file: what is there is taken, whoever put it there."""
    if not cache_file.exists():
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state_dict[key].float(), cache_file)
    return ttnn.from_torch(torch.load(cache_file), dtype=ttnn.bfloat8_b, device=device)


class TensorGroup(Enum):
    FF1_FF3, FF2, WQKV, WO, KV_CACHE = "ff1_3", "ff2", "wqkv", "wo", "kv_cache"


class DecodersPrecision:
    def __init__(self, num_decoders, model_name):
        self.num_decoders = num_decoders

    @classmethod
    def performance(cls, num_decoders, model_name):
        return cls(num_decoders, model_name)

    accuracy = performance

    def get_tensor_dtype(self, decoder_id, tensor, prefetcher=False):
        return ttnn.bfloat8_b


class Tokenizer:
    """One token per character; what upstream adds to a tokenizer of transformers is stop_tokens."""

    chat_template = bos_token_id = unk_token_id = None

    def __init__(self, vocab_size, eos_token_id):
        self.vocab_size, self.eos_token_id, self.stop_tokens = vocab_size, eos_token_id, [eos_token_id]

    def get_vocab(self):
        return {self.decode([token]): token for token in range(self.vocab_size)}

    def encode(self, text):
        return [ord(character) % self.vocab_size for character in text]

    def decode(self, ids):
        return "".join(chr(ord("0") + token) for token in ids)


class ModelArgs:
    max_prefill_chunk_size = 4096

    def __init__(
        self,
        mesh_device,
        instruct=False,
        dummy_weights=False,
        max_batch_size=1,
        max_seq_len=131072,
        optimizations=None,
        cache_hf=False,
        prefetcher=None,
        use_hf_rope=False,
    ):
        if max_batch_size not in {1, 2, 4, 8, 16, 32}:
            raise ValueError(f"Batch size {max_batch_size} not supported")
        self.mesh_device, self.max_batch_size, self.max_seq_len = mesh_device, max_batch_size, max_seq_len
        self.CKPT_DIR = os.environ["HF_MODEL"]
        self.model_cache_path = Path(os.getenv("TT_CACHE_PATH") or f"model_cache/{self.CKPT_DIR}") / "N150"
        self.model_name = self.CKPT_DIR.strip("/").split("/")[-1]
        config = json.loads((Path(self.CKPT_DIR) / "config.json").read_text())  # FileNotFoundError is an OSError
        self.hf_config = SimpleNamespace(eos_token_id=config["eos_token_id"])
        self.dim, self.hidden_dim = config["hidden_size"], config["intermediate_size"]
        self.n_heads, self.n_kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.head_dim, self.n_layers = self.dim // self.n_heads, config["num_hidden_layers"]
        self.vocab_size, self.norm_eps = config["vocab_size"], config["rms_norm_eps"]
        self.num_devices = mesh_device.get_num_devices()
        multiple = 32 * self.num_devices
        self.padded_vocab_size = -(-self.vocab_size // multiple) * multiple
        self.max_context_len = config["max_position_embeddings"]
        self.use_qk_fused = not use_hf_rope
        self.tokenizer = Tokenizer(self.vocab_size, config["eos_token_id"])
        assert self.n_heads % mesh_device.shape[1] == 0, "n_heads must be divisible by num_devices"
        assert self.n_kv_heads % mesh_device.shape[1] == 0, "n_kv_heads must be divisible by num_devices"
        self.decoders_optimizations = optimizations(self)

    def get_attn_sdpa_decode_program_config(self, prefetcher):
        return "sdpa"

    def weight_cache_path(self, dtype):
        return self.model_cache_path / "tensor_cache_instruct_bfp8"

    def load_state_dict(self):
        """Only the outermost weights have upstream's own names here."""
        renamed = {"model.embed_tokens.weight": "tok_embeddings.weight", "lm_head.weight": "output.weight"}
        weights = load_file(Path(self.CKPT_DIR) / "model.safetensors")
        return {renamed.get(name, name): weight for name, weight in weights.items()}

    def get_state_dict_prefix(self, module_name, layer_num):
        layer = "" if layer_num is None else f"layers.{layer_num}."
        return layer + {"MLP": "feed_forward", "Attention": "attention", "TransformerBlock": "", "": ""}[module_name]

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A small seeded EAGLE-3 head in the published format, and as a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.hf.eagle_head import EagleHead
from training.model import HeadModel, spec_for_target

HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, VOCAB, DRAFT_VOCAB = 32, 48, 4, 2, 8, 40, 20
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLMEagle3"],
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "num_hidden_layers": 1,
    "vocab_size": VOCAB,
    "draft_vocab_size": DRAFT_VOCAB,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500.0,
    "hidden_act": "silu",
    "model_type": "llama",
    "torch_dtype": "float16",
    "tie_word_embeddings": False,
}


def head_tensors(seed: int = 0, *, vocab: int = VOCAB, draft_vocab: int = DRAFT_VOCAB) -> dict[str, Tensor]:
    """Every tensor that a published head may hold. The golden values are of seed 0: the order of the draws counts."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.3

    attended, keyed = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    tensors = {"fc.weight": drawn(HIDDEN, 3 * HIDDEN)}
    for name, rows in {"q": attended, "k": keyed, "v": keyed}.items():
        tensors[f"midlayer.self_attn.{name}_proj.weight"] = drawn(rows, 2 * HIDDEN)
    tensors["midlayer.self_attn.o_proj.weight"] = drawn(HIDDEN, attended)
    for name, shape in {"gate": (INNER, HIDDEN), "up": (INNER, HIDDEN), "down": (HIDDEN, INNER)}.items():
        tensors[f"midlayer.mlp.{name}_proj.weight"] = drawn(*shape)
    norms = [f"midlayer.{name}" for name in ("input_layernorm", "hidden_norm", "post_attention_layernorm")]
    for name in (*norms, "norm"):
        tensors[f"{name}.weight"] = 1 + drawn(HIDDEN)
    tensors["lm_head.weight"] = drawn(draft_vocab, HIDDEN)
    tensors["embed_tokens.weight"] = drawn(vocab, HIDDEN)
    ids = torch.arange(draft_vocab) * 2 + 1
    tensors["d2t"] = ids - torch.arange(draft_vocab)
    tensors["t2d"] = torch.zeros(vocab, dtype=torch.bool).index_fill_(0, ids, True)
    return tensors


def save_head(folder: Path, tensors: dict[str, Tensor] | None = None, **config: Any) -> str:
    """A head's folder with those settings changed (None: left out)."""
    folder.mkdir(exist_ok=True)
    settings = {name: value for name, value in {**CONFIG, **config}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(settings))
    save_file(head_tensors() if tensors is None else tensors, folder / "model.safetensors")
    return str(folder)


def as_bin(folder: Path, tensors: dict[str, Tensor]) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")


def head_model(target, token_ids: Tensor, *, seed: int = 0, layers: tuple[int, ...] = (1, 1)) -> HeadModel:
    """A random one, as it would be trained."""
    spec = spec_for_target(target, len(token_ids), layers=layers, name="tiny")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = HeadModel(spec, token_ids)
        for name, parameter in head.named_parameters():
            std = 0.02 if name == "fc.weight" else 0.3  # the layer says more than the state that it is added to
            torch.nn.init.normal_(parameter, mean=float("norm" in name), std=std)
        return head.eval()


def as_head(head: HeadModel, target) -> EagleHead:
    """What drafts with these weights."""
    tensors = {name.removesuffix(".weight"): tensor for name, tensor in head.published_tensors().items()}
    return EagleHead(head.spec, tensors, target)


def opened(folder: Path, target, tensors: dict[str, Tensor] | None = None, **config) -> EagleHead:
    return EagleHead.from_pretrained(save_head(folder, tensors, **config), target)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""EAGLE-3 heads as they are published (Li et al. 2025): what a config.json says, what the weights are called.

SafeAILab/EAGLE, SpecForge, SGLang, vLLM and speculators write nearly one format. Where they disagree:

    tap layers            inside eagle_config (SpecForge, SGLang) a number is the layer whose OUTPUT is read; at the top
                          (vLLM, speculators) the layer whose INPUT is. Said here the second way; --eagle-layers decides
    norm_before_residual  absent it is true in a speculators config, which nests transformer_layer_config; else false
    midlayer.*            is layers.0.* in vLLM and speculators; model. may stand before any name
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.draft_layer import DraftSizes
from models.tt_transformers.demo.speculative_decoding.hf.loading import named_failures
from models.tt_transformers.demo.speculative_decoding.inputs import json_of, real_number, whole_number, whole_numbers

ARCHITECTURES = ("LlamaForCausalLMEagle3", "Eagle3LlamaForCausalLM", "Eagle3Speculator", "Eagle3DraftModel")
LAYER_IDS = "eagle_aux_hidden_state_layer_ids"
NESTED = "transformer_layer_config"  # speculators' place of the layer's sizes
# Settings that change what a head computes -> the one value that is understood.
ONLY: dict[str, Any] = {
    **dict.fromkeys(("fc_norm", "norm_output", "norm_before_fc", "tie_word_embeddings", "qk_norm"), False),
    **dict.fromkeys(("attention_bias", "mlp_bias", "bias", "qkv_bias", "parallel_drafting"), False),
    **dict.fromkeys(("num_hidden_layers", "logit_scale", "pretraining_tp"), 1),
    **dict.fromkeys(("is_causal", "use_aux_hidden_state"), True),
    **{"hidden_act": "silu", "layer_types": ["full_attention"], "model_type": "llama"},
}
SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
# What may stand there besides and changes nothing.
KNOWN = {*SIZES, "draft_vocab_size", "target_hidden_size", "norm_before_residual", LAYER_IDS, "rope_theta"}
KNOWN |= {"rope_scaling", "torch_dtype", "embed_requires_grad", "auto_map", "tokenizer_class", "max_window_layers"}
KNOWN |= {"speculators_config", "speculators_model_type", "speculators_version", "target_model_type"}
KNOWN |= {*LlamaConfig().to_dict(), *GenerationConfig().to_dict()}
KNOWN |= {TARGET_NAME := "target_name", FINGERPRINT := "target_fingerprint"}
ROPE = {"rope_theta", "rope_type", "type", "factor", "low_freq_factor", "high_freq_factor"}
ROPE |= {"original_max_position_embeddings"}


@dataclass(frozen=True, kw_only=True)
class EagleSpec(DraftSizes):
    """What a head's config.json says, fitted to a target: `layers` are its taps (the same one may be read twice)."""

    target_hidden_size: int
    norm_before_residual: bool  # the layer's result is added to hidden_norm(state), not to the state
    rope: Mapping[str, Any]  # the head's own, whatever the target's
    target_name: str | None = None  # whose head it is; only heads made by training/ say that,
    fingerprint: str | None = None  # and prove it: feature_model.target_fingerprint()

    @property
    def inv_freq(self) -> Tensor:
        """Float32 [head_dim / 2], the rotary frequencies."""
        theta = self.rope.get("rope_theta", 10000.0)
        scaling = {name: value for name, value in self.rope.items() if name != "rope_theta"}
        longest = self.rope.get("original_max_position_embeddings", 2048)
        said: dict[str, Any] = {"rope_theta": theta, "rope_scaling": scaling or None, "head_dim": self.head_dim}
        return LlamaRotaryEmbedding(LlamaConfig(max_position_embeddings=2 * longest, **said)).inv_freq.float()

    def shapes(self) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
        """Of the tensors that a head must hold, and of those that it may."""
        hidden, inner = self.hidden_size, self.intermediate_size
        attended, keyed = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        needed: dict[str, tuple[int, ...]] = {"fc": (hidden, len(self.layers) * self.target_hidden_size)}
        needed |= {f"midlayer.self_attn.{name}_proj": (keyed, 2 * hidden) for name in "kv"}
        needed |= {"midlayer.self_attn.q_proj": (attended, 2 * hidden), "midlayer.self_attn.o_proj": (hidden, attended)}
        needed |= {f"midlayer.mlp.{name}_proj": (inner, hidden) for name in ("gate", "up")}
        needed |= {"midlayer.mlp.down_proj": (hidden, inner), "norm": (hidden,), "midlayer.hidden_norm": (hidden,)}
        needed |= {f"midlayer.{name}_layernorm": (hidden,) for name in ("input", "post_attention")}
        optional: dict[str, tuple[int, ...]] = {"d2t": (self.draft_vocab_size,), "t2d": (self.vocab_size,)}
        optional["embed_tokens"] = self.vocab_size, hidden
        optional["lm_head"] = self.draft_vocab_size, hidden
        return needed, optional


def head_config(source: str) -> dict[str, Any]:
    """The config.json of a folder or a Hub id; ModelUnavailable if there is none that can be read."""
    with named_failures(source):
        config = json_of(_files(source, "config.json") / "config.json", "its")
        if not isinstance(config, dict):
            raise ValueError("its config.json holds no settings by name")
    return config


def is_head(config: Mapping[str, Any]) -> bool:
    """Whether it is an EAGLE-3 head's: by its architecture, or by the vocabulary that no other model has."""
    named = {*ARCHITECTURES} & {*(config.get("architectures") or ())}
    return bool(named) or config.get("draft_vocab_size") is not None


def fitted_spec(source: str, config: Mapping[str, Any], target: Any, layers: Sequence[int] | None = None) -> EagleSpec:
    """A head's config.json for a target's configuration (of its text); BadInput names the setting that is missing,
    wrong or not understood, or both numbers where the two do not fit. `layers`: the taps, instead of the config's."""
    if not is_head(config):
        named = ", ".join(map(str, config.get("architectures") or ["none"]))
        raise BadInput(
            f"{source} is no EAGLE-3 head: its architecture is {named}; known are {', '.join(ARCHITECTURES)}"
        )
    eagle = config.get("eagle_config") or {}
    flat = {**config, **(config.get(NESTED) or {}), **eagle}
    for name in (NESTED, "eagle_config"):
        flat.pop(name, None)
    for name, value in flat.items():
        idle = value in (None, False, [], {}) if name not in ONLY else value in (None, ONLY[name])
        if not idle and (name in ONLY or name not in KNOWN):
            limit = f"only {ONLY[name]!r} is understood" if name in ONLY else "that is not understood"
            raise BadInput(f"{source} sets {name} to {value!r}, and {limit} here; use a head without it")

    def size(name: str, default: int | None = None) -> int:
        given = default if flat.get(name) is None else flat[name]
        if given is None or (number := whole_number(given, f"{name} of {source}")) < 1:
            raise BadInput(f"{source} needs a {name} of at least 1 in its config.json; it has {given!r}")
        return number

    for name in (TARGET_NAME, FINGERPRINT):
        if not isinstance(flat.get(name, ""), str):
            raise BadInput(f"{source} sets {name} to {flat[name]!r}, which is no text; mend its config.json")
    hidden, heads = size("hidden_size"), size("num_attention_heads")
    fits = {"hidden_size": size("target_hidden_size", hidden), "vocab_size": size("vocab_size")}
    for name, number in fits.items():
        if number != (its := getattr(target, name, None)):
            raise BadInput(
                f"{source} is a head for a {name} of {number}, and the target's is {its}; use the target's own"
            )
    return EagleSpec(
        layers=_taps(source, config, target.num_hidden_layers, layers),
        hidden_size=hidden,
        intermediate_size=size("intermediate_size"),
        num_heads=heads,
        num_kv_heads=size("num_key_value_heads", heads),
        head_dim=size("head_dim", hidden // heads),
        vocab_size=fits["vocab_size"],
        draft_vocab_size=size("draft_vocab_size", fits["vocab_size"]),
        rms_norm_eps=real_number(flat.get("rms_norm_eps", 1e-6), f"rms_norm_eps of {source}"),
        target_hidden_size=fits["hidden_size"],
        norm_before_residual=bool(flat.get("norm_before_residual", NESTED in config)),
        rope=_rope(source, flat),
        target_name=flat.get(TARGET_NAME),
        fingerprint=flat.get(FINGERPRINT),
    )


def _taps(source: str, config: Mapping[str, Any], depth: int, asked: Sequence[int] | None) -> tuple[int, ...]:
    """Which hidden states of a target of `depth` layers the head reads, each by the layer that has it as its input."""
    inputs = config.get(LAYER_IDS) or []
    outputs = (config.get("eagle_config") or {}).get(LAYER_IDS) or []
    of_outputs = [layer + 1 for layer in whole_numbers(outputs, f"{LAYER_IDS} of {source}")]
    said = whole_numbers(inputs, f"{LAYER_IDS} of {source}") or of_outputs
    taps = list(asked or said or (2, depth // 2, depth - 3))
    if not asked and of_outputs and said != of_outputs:
        remedy = "say which with --eagle-layers"
        raise BadInput(f"{source} names the layers {said} as inputs and {of_outputs} as outputs; {remedy}")
    if len(taps) != (count := len(said) or 3):
        raise BadInput(f"--eagle-layers has {len(taps)} layers, and {source} reads {count}; give as many")
    if not 0 <= min(taps) <= max(taps) < depth:
        there = f"the target's are 0 (embeddings) to {depth - 1}"
        raise BadInput(f"{source} would read layers {taps}, and {there}; give others with --eagle-layers")
    return tuple(taps)


def _rope(source: str, flat: Mapping[str, Any]) -> dict[str, Any]:
    own = {"rope_theta": flat["rope_theta"]} if flat.get("rope_theta") is not None else {}
    rope = {**own, **(flat.get("rope_scaling") or {}), **(flat.get("rope_parameters") or {})}
    kind = rope.get("rope_type") or rope.get("type") or "default"
    strange = sorted({*rope} - ROPE) if kind in ("default", "linear", "llama3") else [f"rope_type {kind}"]
    if strange:
        raise BadInput(f"{source} has rotary embeddings with {strange[0]}, which is not understood here")
    return rope


def head_tensors(source: str, spec: EagleSpec) -> dict[str, Tensor]:
    """The head's tensors by name (EagleSpec.shapes), from safetensors or else pytorch_model.bin, in which nothing but
    tensors is ever unpickled; BadInput if one is missing, left over, of another shape or not of numbers."""
    found: dict[str, Tensor] = {}
    with named_failures(source):
        files = sorted(_files(source, "*.safetensors").glob("*.safetensors"))
        for path in files or sorted(_files(source, "pytorch_model*.bin").glob("pytorch_model*.bin")):
            try:
                safe = path.suffix == ".safetensors"
                found |= load_file(path) if safe else torch.load(path, "cpu", weights_only=True)
            except pickle.UnpicklingError as error:
                raise ValueError(f"{path.name} holds more than tensors, which is never run") from error
    tensors = {_plain(name): tensor for name, tensor in found.items() if not name.endswith("rotary_emb.inv_freq")}
    needed, optional = spec.shapes()
    for name in sorted(tensors.keys() | needed.keys()):
        wanted = needed.get(name) or optional.get(name)
        has = list(tensors[name].shape) if name in tensors else "not there"
        if wanted is None or has != list(wanted):
            must = "is not known" if wanted is None else f"must be {list(wanted)}"
            raise BadInput(f"{source} does not hold a whole EAGLE-3 head: {name} {must}, and is {has}")
        if name not in ("d2t", "t2d") and not tensors[name].is_floating_point():
            raise BadInput(f"{source} holds {name} in {tensors[name].dtype}; quantised heads are not read here")
    return tensors


def drafted_ids(source: str, spec: EagleSpec, tensors: Mapping[str, Tensor]) -> Tensor:
    """Int64 [draft vocabulary]: the target's id of each output row, by d2t's offsets; t2d must mark the same ids."""
    rows = torch.arange(spec.draft_vocab_size)
    if "d2t" not in tensors and spec.draft_vocab_size != spec.vocab_size:
        sizes = f"it drafts {spec.draft_vocab_size} of {spec.vocab_size} ids"
        raise BadInput(f"{source} does not say which ids its output rows are: {sizes}, and there is no d2t")
    ids = rows + tensors["d2t"].to("cpu", torch.int64) if "d2t" in tensors else rows
    if int(ids.min()) < 0 or int(ids.max()) >= spec.vocab_size or len(ids.unique()) < len(ids):
        limits = f"{len(ids)} different ones from 0 to {spec.vocab_size - 1}"
        raise BadInput(
            f"{source} has a d2t of {len(ids.unique())} ids from {ids.min()} to {ids.max()}; it needs {limits}"
        )
    if "t2d" in tensors and tensors["t2d"].bool().nonzero()[:, 0].tolist() != ids.sort().values.tolist():
        raise BadInput(f"{source} has a t2d that marks other ids than its d2t gives; mend the checkpoint")
    return ids


def _plain(name: str) -> str:
    name = name.removeprefix("model.").removesuffix(".weight")
    return f"midlayer.{name.removeprefix('layers.0.')}" if name.startswith("layers.0.") else name


def _files(source: str, pattern: str) -> Path:
    """The folder in which a head's files of that name are; of a Hub id where they have been downloaded to."""
    if os.path.isdir(source):
        return Path(source)
    return Path(huggingface_hub.snapshot_download(source, allow_patterns=[pattern]))

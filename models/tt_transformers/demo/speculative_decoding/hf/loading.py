# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Loading a model and its tokenizer through Hugging Face transformers."""

import http.client
import os
import re
import textwrap
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto import modeling_auto as kinds
from transformers.utils import logging

from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import EMBEDDED, embedded_model_folder
from models.tt_transformers.demo.speculative_decoding.hf.packed_linear import pack_linear_layers
from models.tt_transformers.demo.speculative_decoding.inputs import json_of, whole_numbers
from models.tt_transformers.demo.speculative_decoding.runner import ModelLoad

GENERATION = "generation_config.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LEAST = {"max_position_embeddings": 2, "num_hidden_layers": 1, "vocab_size": 1}  # in a config.json
# Settings by which transformers' greedy generate writes another text, and which are no logits processors (of those see
# generation_settings.py) -> the value at which they do nothing.
CHANGING: dict[str, Any] = {
    **dict.fromkeys(("guidance_scale", "num_beams"), 1),
    **dict.fromkeys(("force_words_ids", "constraints", "penalty_alpha", "dola_layers", "stop_strings", "max_time")),
}


def load_model(model_id: str, *, device: str, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal LM and its tokenizer; on a CPU its linear layers are packed for decoding (packed_linear.py).
    `model_id`: EMBEDDED, a folder, or a Hugging Face id (looked for in the local cache first); `device`: "cpu" or
    "cuda"; `dtype`: a key of DTYPES. ModelUnavailable says what is missing and what to do about it."""
    tokenizer = load_tokenizer(model_id)
    return load_weights(model_id, device=device, dtype=dtype), tokenizer


def load_weights(model_id: str, *, device: str, dtype: str) -> PreTrainedModel:
    """The model alone; as load_model."""
    with named_failures(model_id) as source:
        # What is missing or of another size is refused below, by name.
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, dtype=DTYPES[dtype], trust_remote_code=False, output_loading_info=True, ignore_mismatched_sizes=True
        )
    model, found = loaded
    lacking = [f"{name} is not there" for name in found["missing_keys"]]
    for name, stored, wanted in found["mismatched_keys"]:
        lacking.append(f"{name} is {list(stored)}, not the {list(wanted)} of its config.json")
    known = {re.sub(r"\d+", "#", name) for name in model.state_dict()}
    for name in found["unexpected_keys"]:
        if re.sub(r"\d+", "#", name) in known:  # what else is there (of another head, say) does no harm
            lacking.append(f"{name} is there, and its config.json has no such layer")
    if lacking:  # transformers would go on, with random ones or fewer layers
        more = f" (and {len(lacking) - 1} more like it)" if len(lacking) > 1 else ""
        remedy = "give the folder of a causal language model with its own config.json and all its weight files"
        what = f"the weights of a whole {type(model).__name__}: {min(lacking)}{more}"
        raise ModelUnavailable(f"{model_id} does not hold {what}; {remedy}")
    method = getattr(model.config, "quantization_config", None)
    if method is not None and getattr(model, "hf_quantizer", None) is None:
        raise ModelUnavailable(f"{model_id} is quantised ({method}) as transformers does not know it; give another")
    model = model.to(device).eval()
    pack_linear_layers(model)
    return model


def load_tokenizer(model_id: str) -> PreTrainedTokenizerBase:
    """The tokenizer alone; as load_model."""
    with named_failures(model_id) as source:
        return _tokenizer(source)


def look_into(model_id: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """The configuration (of its text) and the tokenizer; ModelUnavailable says what is wrong with them, with the
    generation_config, or with the files of weights as far as it shows before these are read."""
    with named_failures(model_id) as source:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        if wrong := _not_causal(config):
            give = "give a decoder-only (causal) language model, such as a Llama, Qwen or SmolLM2"
            raise ModelUnavailable(f"{model_id} is of type {config.model_type}, {wrong}; {give}")
        config = config.get_text_config()
        for name, least in LEAST.items():
            value = getattr(config, name, least)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r} in its config.json, and must be a whole number from {least} up")
        tokenizer = _tokenizer(source)
        if (ended := generation_config_of(source).get("eos_token_id")) is not None:
            whole_numbers(ended, f"eos_token_id in its {GENERATION}")
        for path in sorted(Path(source).glob("model*.safetensors")):
            try:
                with safe_open(path, "pt"):
                    pass
            except Exception as error:  # safetensors has one of its own
                raise ValueError(f"its {path.name} is no whole safetensors file ({error})") from error
    return config, tokenizer


def _not_causal(config: Any) -> str:
    if config.is_encoder_decoder:
        return "an encoder-decoder model, whose decoder continues no text without its encoder"
    if type(config) in kinds.MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        return "an encoder-only model, which fills gaps in a text and does not continue it"
    return "" if type(config) in kinds.MODEL_FOR_CAUSAL_LM_MAPPING else "of which transformers has no causal LM"


def _tokenizer(source: str) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    if not isinstance(tokenizer.model_max_length, (int, float)):
        raise ValueError(f"model_max_length is {tokenizer.model_max_length!r} in its tokenizer_config.json, no number")
    tokenizer.decode(tokenizer.encode("a"))  # a damaged one shows it only now
    return tokenizer


def config_of(model_id: str) -> Any:
    """The configuration of a model's text."""
    with named_failures(model_id) as source:
        return AutoConfig.from_pretrained(source, trust_remote_code=False).get_text_config()


def known_positions(model_id: str) -> int | None:
    """How many positions the model's config says it knows; None where it does not, or cannot be read."""
    if model_id == EMBEDDED:
        return None  # more than any default, and its config is there only when it has been converted
    try:
        known = getattr(config_of(model_id), "max_position_embeddings", None)
    except ModelUnavailable:
        return None  # loading it will say so
    return known if isinstance(known, int) else None


def generation_config_of(model_id: str) -> dict[str, Any]:
    """What a model's generation_config.json holds, if there is one (transformers passes over a damaged one)."""
    with named_failures(model_id) as source:
        file = os.path.join(source, GENERATION) if os.path.isdir(source) else None
        found = file or huggingface_hub.try_to_load_from_cache(source, GENERATION)
        settings = json_of(found, "its") if isinstance(found, str) and os.path.exists(found) else {}
        if not isinstance(settings, dict):
            raise ValueError(f"its {GENERATION} holds no settings by name")
        return settings


def settings_in_effect(config: Any) -> dict[str, Any]:
    """The settings of a GenerationConfig (or a dict; or None) that make it another way to decode, by name."""
    settings = config.to_dict() if hasattr(config, "to_dict") else config or {}
    return {name: settings[name] for name, idle in CHANGING.items() if settings.get(name) not in (None, idle, [], {})}


def described(load: ModelLoad, model: PreTrainedModel) -> ModelLoad:
    """`load` with the figures of the model: its layers, and its parameters, shared ones once."""
    layers, weights = model.config.get_text_config().num_hidden_layers, model.get_memory_footprint(return_buffers=False)
    return replace(load, layers=layers, parameters=model.num_parameters(), weights_mb=weights / 1e6)


@contextmanager
def named_failures(model_id: str) -> Iterator[str]:
    """Where to load the model from; what fails inside is a ModelUnavailable that names the model and a remedy."""
    source = str(embedded_model_folder()) if model_id == EMBEDDED else model_id
    check_reachable(source)
    if os.path.exists(source):
        _check_folder(source)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its reports say in many lines what the error says in one
    try:
        yield source
    except ModelUnavailable:
        raise
    except Exception as error:  # transformers raises what any of its parts does; tokenizers even a plain Exception
        kind = "" if isinstance(error, (OSError, ValueError, ImportError)) else f"{type(error).__name__}: "
        reason = kind + textwrap.shorten(str(error), 300, placeholder=" ...").rstrip(".")
        if isinstance(error, ImportError):
            remedy = "install what is missing, or give a model that is not quantised"
        elif isinstance(error, MemoryError) or "allocate memory" in reason:
            remedy = "free some memory, or give a smaller model"
        elif os.path.exists(source):
            remedy = "mend that folder's files, or download them again"
        else:
            remedy = "check the name, or accept the model's licence on its page and run `hf auth login` if it is gated"
        raise ModelUnavailable(f"{model_id} cannot be loaded: {reason}; {remedy}") from error
    finally:
        logging.set_verbosity(verbosity)


def _check_folder(source: str) -> None:
    """ModelUnavailable if a path is something else than a model's folder: what it is, and what to give instead."""
    is_folder, readable = os.path.isdir(source), os.access(source, os.R_OK | os.X_OK)
    entries = os.listdir(source) if is_folder and readable else []
    names = [name for name in entries if os.path.isfile(os.path.join(source, name))]
    needed = [name for name in names if name.endswith((".json", ".jinja", ".safetensors"))]
    closed = [name for name in needed if not os.access(os.path.join(source, name), os.R_OK)]
    give = "give a folder with config.json, weights (safetensors) and a tokenizer"
    merge = "merge it into its base model (peft: merge_and_unload) and give the folder of the result"
    symptoms = (  # the first that is there is said
        (source.endswith(".gguf"), "is a GGUF file, which is not read here", give),
        (not is_folder, "is a file and no model's folder", give),
        (not readable, "is a folder that cannot be read", "change its permissions, or copy it"),
        (closed, f"holds {', '.join(closed)}, which cannot be read", "change the permissions, or copy the folder"),
        ("adapter_config.json" in names, "holds an adapter (LoRA: adapter_config.json), not a model", merge),
        ("config.json" in names, "", ""),
        (not names, "holds nothing", give),
        (any(name.endswith(".gguf") for name in names), "holds only GGUF files", give),
        (any(name.startswith("tokenizer") for name in names), "holds a tokenizer but no model", give),
        (True, "holds no config.json", give),
    )
    what, remedy = next((what, remedy) for there, what, remedy in symptoms if there)
    if what:
        raise ModelUnavailable(f"{source} {what}; {remedy}")


def check_reachable(model_id: str) -> None:
    """ModelUnavailable, in seconds rather than after transformers' long retries, if there is neither folder nor hub."""
    if os.path.exists(model_id):
        return
    try:
        cached = huggingface_hub.try_to_load_from_cache(model_id, "config.json")
    except huggingface_hub.errors.HFValidationError as error:
        what = f"{model_id!r} is neither a folder on this machine nor a Hugging Face id"
        raise ModelUnavailable(f"{what}; check it") from error
    if isinstance(cached, str):
        return
    try:
        hub = urllib.request.Request(huggingface_hub.constants.ENDPOINT, method="HEAD")
        urllib.request.urlopen(hub, timeout=5).close()
    except urllib.error.HTTPError:
        return  # somebody answers there
    except (OSError, ValueError, http.client.HTTPException) as error:  # the last two: HF_ENDPOINT is no address
        remedy = "download the model elsewhere and pass its folder, or use --pair smollm2, which needs no hub"
        raise ModelUnavailable(f"{model_id} is not here and the hub cannot be reached ({error}); {remedy}") from error

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Loading a model and its tokenizer through Hugging Face transformers."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import EMBEDDED, embedded_model_folder
from models.tt_transformers.demo.speculative_decoding.hf.packed_linear import pack_linear_layers
from models.tt_transformers.demo.speculative_decoding.runner import ModelLoad

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_model(model_id: str, *, device: str, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal LM and its tokenizer; on a CPU its linear layers are packed for decoding (packed_linear.py).

    Args:
        model_id: EMBEDDED, a folder, or a Hugging Face id (looked for in the local cache first).
        device: "cpu" or "cuda". dtype: a key of DTYPES.

    ModelUnavailable says what is missing and what to do about it.
    """
    tokenizer = load_tokenizer(model_id)
    with _named_failures(model_id) as source:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=DTYPES[dtype])
    model = model.to(device).eval()  # type: ignore[arg-type]  # transformers wraps Module.to untyped
    pack_linear_layers(model)
    return model, tokenizer


def load_tokenizer(model_id: str) -> PreTrainedTokenizerBase:
    """The tokenizer alone; as load_model."""
    with _named_failures(model_id) as source:
        return AutoTokenizer.from_pretrained(source)


def described(load: ModelLoad, model: PreTrainedModel) -> ModelLoad:
    """`load` with the figures of the model: its layers, and its parameters, shared ones once."""
    tensors = list(model.parameters())
    return replace(
        load,
        layers=model.config.get_text_config().num_hidden_layers,
        parameters=sum(tensor.numel() for tensor in tensors),
        weights_mb=sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6,
    )


@contextmanager
def _named_failures(model_id: str) -> Iterator[str]:
    """Where to load the model from; what fails inside is a ModelUnavailable that names the model and a remedy."""
    source = str(embedded_model_folder()) if model_id == EMBEDDED else model_id
    check_reachable(source)
    try:
        yield source
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        remedy = "check the folder, or accept the model's licence on its page and run `hf auth login` if it is gated"
        raise ModelUnavailable(f"{model_id} cannot be loaded as a causal language model: {reason}; {remedy}") from error


def check_reachable(model_id: str) -> None:
    """ModelUnavailable, in seconds rather than after transformers' long retries, if there is neither folder nor hub."""
    if Path(model_id).exists():
        return
    try:
        cached = huggingface_hub.try_to_load_from_cache(model_id, "config.json")
    except huggingface_hub.errors.HFValidationError as error:
        raise ModelUnavailable(f"{model_id!r} is neither a folder on this machine nor a Hugging Face id") from error
    if isinstance(cached, str):
        return
    hub = huggingface_hub.constants.ENDPOINT
    try:
        urllib.request.urlopen(urllib.request.Request(hub, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        return  # somebody answers there
    except OSError as error:
        raise ModelUnavailable(
            f"{model_id} is not on this machine and the hub cannot be reached ({error}); download the model where "
            "there is access and pass its folder, or use --pair smollm2, which needs no hub"
        ) from error

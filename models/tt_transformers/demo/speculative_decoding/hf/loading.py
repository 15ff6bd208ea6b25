# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Named target/draft pairs, and loading them through Hugging Face transformers."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import embedded_model_folder
from models.tt_transformers.demo.speculative_decoding.hf.packed_linear import pack_linear_layers

EMBEDDED = "embedded:SmolLM2-135M-Instruct"  # the one model that comes from PyPI instead of a hub
EMBEDDED_DRAFTS = Path(__file__).resolve().parents[5] / "embedded_drafts"  # in this repository, outside the package
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class ModelPair:
    """A target, and who drafts for it.

    Attributes:
        draft: a draft model that speaks the target's tokens, if any.
        draft_file: a trained feature draft (feature_model.py) in EMBEDDED_DRAFTS, if any; prompt lookup where it is
            missing.
    """

    name: str
    target: str
    draft: str | None
    description: str
    draft_file: str | None = None

    @property
    def draft_path(self) -> Path | None:
        """The feature draft's file, if it is there (a copy of this folder alone does not carry it)."""
        path = EMBEDDED_DRAFTS / self.draft_file if self.draft_file else None
        return path if path is not None and path.is_file() else None


PAIRS = {
    pair.name: pair
    for pair in (
        ModelPair(
            "smollm2",
            EMBEDDED,
            None,
            "SmolLM2-135M-Instruct from PyPI and a trained feature draft; needs no hub and no account",
            draft_file="smollm2-135m-instruct-feature-draft.safetensors",
        ),
        ModelPair(
            "llama-1b-3b",
            "meta-llama/Llama-3.2-3B-Instruct",
            "meta-llama/Llama-3.2-1B-Instruct",
            "Llama 3.2 1B drafts for 3B",
        ),
        ModelPair(
            "llama-1b-8b",
            "meta-llama/Llama-3.1-8B-Instruct",
            "meta-llama/Llama-3.2-1B-Instruct",
            "Llama 3.2 1B drafts for Llama 3.1 8B",
        ),
    )
}


def named_pair(name: str) -> ModelPair:
    """The pair of that name; BadInput lists the names there are."""
    if name not in PAIRS:
        raise BadInput(f"there is no pair {name!r}; the pairs are {', '.join(PAIRS)} (or give --target and --draft)")
    return PAIRS[name]


def load_model(model_id: str, *, device: str, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal LM and its tokenizer; on a CPU its linear layers are packed for decoding (packed_linear.py).

    Args:
        model_id: EMBEDDED, a folder, or a Hugging Face id (looked for in the local cache first).
        device: "cpu" or "cuda". dtype: a key of DTYPES.

    Raises:
        ModelUnavailable: says what is missing and what to do about it.
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

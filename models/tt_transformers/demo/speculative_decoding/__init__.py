# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Speculative decoding for tt_transformers and Hugging Face transformers: the target's own text, sooner."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.tt_transformers.demo.speculative_decoding.acceptance import Acceptance, SamplingParams
    from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
    from models.tt_transformers.demo.speculative_decoding.batch import TokenEvent
    from models.tt_transformers.demo.speculative_decoding.drafters import (
        Draft,
        Drafter,
        DraftRequest,
        Kind,
        ModelDrafter,
    )
    from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure, ModelUnavailable
    from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
    from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter
    from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead, Lookahead
    from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult, RoundRecord
    from models.tt_transformers.demo.speculative_decoding.processors import ForUsers, Penalties, Processor
    from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
    from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelRunner, Rows
    from models.tt_transformers.demo.speculative_decoding.sequences import GenerationRequest, StopConditions
    from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
    from models.tt_transformers.demo.speculative_decoding.structured import Grammar
    from models.tt_transformers.demo.speculative_decoding.suffix import SuffixDrafter

__all__ = [
    "IDLE", "Acceptance", "AdaptiveLookahead", "AutoLookahead", "BadInput", "Draft", "DraftRequest", "Drafter",
    "FixedLookahead", "ForUsers", "GenerationRequest", "GenerationResult", "Grammar", "HybridDrafter", "Kind",
    "Lookahead", "ModelDrafter", "ModelFailure", "ModelRunner", "ModelUnavailable", "Penalties", "Processor",
    "PromptLookupDrafter", "RoundRecord", "Rows", "SamplingParams", "SpeculativeGenerator", "StopConditions",
    "SuffixDrafter", "TokenEvent", "TorchModelRunner",
]  # fmt: skip

# Where they are, the one that needs transformers last.
_HOMES = "errors acceptance lookahead auto_lookahead metrics runner sequences processors drafters batch".split()
_HOMES += ["prompt_lookup", "suffix", "hybrid", "structured", "speculative_generator", "hf.runner"]


def __getattr__(name: str) -> Any:
    """One of the names above, imported when it is asked for: torch takes a second."""
    for home in _HOMES if name in __all__ else ():
        if hasattr(module := import_module(f"{__name__}.{home}"), name):
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Speculative decoding for tt_transformers and Hugging Face transformers: the target's own text, sooner."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.tt_transformers.demo.speculative_decoding.acceptance import Acceptance, SamplingParams
    from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
    from models.tt_transformers.demo.speculative_decoding.drafters import Draft, Drafter, DraftRequest, ModelDrafter
    from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure, ModelUnavailable
    from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
    from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead, Lookahead
    from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult, RoundRecord
    from models.tt_transformers.demo.speculative_decoding.prompt_lookup import HybridDrafter, PromptLookupDrafter
    from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelRunner, Rows
    from models.tt_transformers.demo.speculative_decoding.sequences import GenerationRequest, StopConditions
    from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator, TokenEvent

__all__ = [
    "IDLE", "Acceptance", "AdaptiveLookahead", "AutoLookahead", "BadInput", "Draft", "DraftRequest", "Drafter",
    "FixedLookahead", "GenerationRequest", "GenerationResult", "HybridDrafter", "Lookahead", "ModelDrafter",
    "ModelFailure", "ModelRunner", "ModelUnavailable", "PromptLookupDrafter", "RoundRecord", "Rows", "SamplingParams",
    "SpeculativeGenerator", "StopConditions", "TokenEvent", "TorchModelRunner",
]  # fmt: skip


# Where each is: imported when it is asked for, as torch takes a second, and TorchModelRunner alone needs transformers.
_HOMES = {
    "acceptance": "Acceptance SamplingParams",
    "auto_lookahead": "AutoLookahead",
    "drafters": "Draft Drafter DraftRequest ModelDrafter",
    "errors": "BadInput ModelFailure ModelUnavailable",
    "lookahead": "AdaptiveLookahead FixedLookahead Lookahead",
    "metrics": "GenerationResult RoundRecord",
    "prompt_lookup": "HybridDrafter PromptLookupDrafter",
    "runner": "IDLE ModelRunner Rows",
    "sequences": "GenerationRequest StopConditions",
    "speculative_generator": "SpeculativeGenerator TokenEvent",
    "hf.runner": "TorchModelRunner",
}


def __getattr__(name: str) -> Any:
    """One of the names above, imported when it is asked for."""
    for module, names in _HOMES.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Speculative decoding for tt_transformers and Hugging Face transformers: the target's own text, sooner."""

from typing import TYPE_CHECKING, Any

from models.tt_transformers.demo.speculative_decoding.acceptance import Acceptance, SamplingParams
from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.drafters import Draft, Drafter, DraftRequest, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead, Lookahead
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult, RoundRecord
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import HybridDrafter, PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelRunner, Rows
from models.tt_transformers.demo.speculative_decoding.sequences import GenerationRequest, StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator, TokenEvent

if TYPE_CHECKING:
    from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner

__all__ = [
    "IDLE", "Acceptance", "AdaptiveLookahead", "AutoLookahead", "BadInput", "Draft", "DraftRequest", "Drafter",
    "FixedLookahead", "GenerationRequest", "GenerationResult", "HybridDrafter", "Lookahead", "ModelDrafter",
    "ModelFailure", "ModelRunner", "ModelUnavailable", "PromptLookupDrafter", "RoundRecord", "Rows", "SamplingParams",
    "SpeculativeGenerator", "StopConditions", "TokenEvent", "TorchModelRunner",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """TorchModelRunner, imported when it is asked for: of all these names it alone needs transformers."""
    if name != "TorchModelRunner":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner

    return TorchModelRunner

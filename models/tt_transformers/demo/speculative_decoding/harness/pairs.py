# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The named pairs of models."""

from dataclasses import dataclass
from pathlib import Path

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import EMBEDDED

EMBEDDED_DRAFTS = Path(__file__).resolve().parents[5] / "embedded_drafts"  # beside the package's tree, not in it


@dataclass(frozen=True)
class ModelPair:
    """A target, and who drafts for it: suffix, where no draft, no head and no draft_file is there."""

    name: str
    target: str
    description: str
    draft: str | None = None  # a draft model that speaks the target's tokens
    eagle: str | None = None  # a published EAGLE-3 head of the target (hf/eagle_checkpoint.py)
    draft_file: str | None = None  # a trained feature draft (hf/feature_model.py) in EMBEDDED_DRAFTS
    lookahead: str = "auto"  # the policy that chooses K unless the user says otherwise

    @property
    def draft_path(self) -> Path | None:
        """The feature draft's file, if it is there (a copy of this folder alone does not carry it)."""
        path = EMBEDDED_DRAFTS / self.draft_file if self.draft_file else None
        return path if path is not None and path.is_file() else None


_1B, _3B, _8B = (f"meta-llama/Llama-{name}-Instruct" for name in ("3.2-1B", "3.2-3B", "3.1-8B"))
_PAIRS = (
    ModelPair(
        "smollm2",
        EMBEDDED,
        "SmolLM2-135M-Instruct from PyPI and a trained feature draft; needs no hub and no account",
        draft_file="smollm2-135m-instruct-feature-draft.safetensors",
    ),
    ModelPair("llama-1b-3b", _3B, "Llama 3.2 1B drafts for 3B", draft=_1B, lookahead="fixed"),
    ModelPair("llama-1b-8b", _8B, "Llama 3.2 1B drafts for Llama 3.1 8B", draft=_1B, lookahead="fixed"),
    ModelPair(
        "llama-8b-eagle3",
        _8B,
        "a published EAGLE-3 head drafts for Llama 3.1 8B",
        eagle="yuhuili/EAGLE3-LLaMA3.1-Instruct-8B",
    ),
)
PAIRS = {pair.name: pair for pair in _PAIRS}


def named_pair(name: str) -> ModelPair:
    """The pair of that name; BadInput lists the names there are."""
    if name not in PAIRS:
        raise BadInput(f"there is no pair {name!r}; the pairs are {', '.join(PAIRS)} (or give --target and --draft)")
    return PAIRS[name]


def pair_listing() -> str:
    """One line per named pair."""
    line = "{0.name:<16}{0.target} <- {1}  ({0.description})"
    return "\n".join(line.format(pair, pair.draft or pair.eagle or "suffix") for pair in PAIRS.values())

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""How often a draft model agrees with its target on a given text: one teacher-forced forward each, no generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding import metrics
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.metrics import RoundRecord, ratio


@dataclass(frozen=True)
class Prediction:
    """What one model would say after every prefix of a text.

    Attributes:
        top5: int64 [N, 5], best first: the likeliest tokens after text[:i + 1].
        text: int64 [N + 1], the text itself.
    """

    name: str
    top5: Tensor
    text: Tensor

    def __post_init__(self) -> None:
        rows = len(self.text) - 1 if self.text.ndim == 1 else 0
        if rows < 1 or self.top5.shape != (rows, 5):
            raise BadInput(
                f"{self.name}: top-5 tokens of shape {list(self.top5.shape)} do not belong to a text of shape "
                f"{list(self.text.shape)}; N rows belong to N + 1 tokens, each row holds 5, and there is one at least"
            )


@dataclass(frozen=True)
class Agreement:
    """Where the draft's first choice is the target's.

    On a given text this is an estimate. It is low where the text is not the target's own: alpha_on_own_text counts only
    the positions whose next token is what the target itself would have written.

    Attributes:
        agree: bool [N]. own: bool [N], the text goes on with the target's first choice.
        draft_top5_rate: share of positions at which the draft's five best hold the target's first choice.
    """

    agree: list[bool]
    own: list[bool]
    draft_top5_rate: float

    @classmethod
    def between(cls, target: Prediction, draft: Prediction) -> Agreement:
        """BadInput if the two were not made on the same text."""
        if not torch.equal(target.text, draft.text):
            raise BadInput(f"{target.name} and {draft.name} were run over different texts; use the same text for both")
        choice = target.top5[:, 0]
        return cls(
            agree=(draft.top5[:, 0] == choice).tolist(),
            own=(target.text[1:] == choice).tolist(),
            draft_top5_rate=float((draft.top5 == choice[:, None]).any(1).float().mean()),
        )

    @property
    def alpha(self) -> float | None:
        """agreeing positions / positions: P(a drafted token is accepted) where the text is given."""
        return ratio(sum(self.agree), len(self.agree))

    @property
    def alpha_on_own_text(self) -> float | None:
        """The same, of the positions where the text is the target's own choice."""
        return ratio(sum(a for a, own in zip(self.agree, self.own, strict=True) if own), sum(self.own))

    def rounds(self, num_draft_tokens: int) -> list[RoundRecord]:
        """The rounds of a generation whose text is given: each drafts K tokens, keeps the agreeing prefix, and moves on
        by it and the target's own token. A round that the text's end would cut is left out.
        """
        rounds: list[RoundRecord] = []
        position = 0
        while position + num_draft_tokens <= len(self.agree):
            judged = self.agree[position : position + num_draft_tokens]
            accepted = judged.index(False) if False in judged else num_draft_tokens
            record = RoundRecord(
                index=len(rounds),
                drafted=num_draft_tokens,
                accepted=accepted,
                emitted=accepted + 1,
                tokens_per_user=num_draft_tokens + 1,
            )
            rounds.append(record)
            position += accepted + 1
        return rounds


@dataclass(frozen=True, kw_only=True)
class KEstimate:
    """What drafting K tokens per round would give on the text.

    Attributes:
        speedup: tokens_per_round / (c*K + v): the formula with the text's own tokens per round in place of E(alpha, K),
            which takes positions for independent. None unless c and v are given.
    """

    k: int
    acceptance_rate: float | None
    tokens_per_round: float | None
    accepted_per_position: list[int]
    rounds: int
    speedup: float | None


def estimate_k(agreement: Agreement, k: int, *, c: float | None, v: float | None) -> KEstimate:
    """One row of the table."""
    rounds = agreement.rounds(k)
    emitted = metrics.tokens_per_round(rounds)
    speedup = None if emitted is None or c is None or v is None else emitted / (c * k + v)
    return KEstimate(
        k=k,
        acceptance_rate=metrics.acceptance_rate(rounds),
        tokens_per_round=emitted,
        accepted_per_position=metrics.accepted_per_position(rounds),
        rounds=len(rounds),
        speedup=speedup,
    )


def read_refpt(path: Path | str) -> Prediction:
    """A reference output of tt-metal (models/tt_transformers/tests/reference_outputs/*.refpt): a dict with
    reference_tokens [1, N + 1] and top5_tokens [N, 5], teacher-forced in full precision.
    """
    path = Path(path)
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")  # no code in it is run
        top5, text = (_whole_numbers(content, key) for key in ("top5_tokens", "reference_tokens"))
        return Prediction(path.stem, top5, text[0] if text.ndim == 2 and len(text) == 1 else text)
    except FileNotFoundError:
        raise BadInput(f"there is no reference output {path}") from None
    except Exception as error:  # reading a damaged file, torch raises what any of its parts does
        reason = f"torch cannot read it as tensors ({type(error).__name__})"
        reason = str(error) if isinstance(error, BadInput) else getattr(error, "strerror", None) or reason
        remedy = "make it again with tt-metal's generate_reference_outputs.py"
        raise BadInput(f"{path} is not a reference output: {reason}; {remedy}") from error


def _whole_numbers(content: Any, key: str) -> Tensor:
    """content[key] as int64; BadInput if it is something else."""
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, Tensor) or found.is_floating_point() or found.is_complex():
        raise BadInput(f"it has no {key} that are whole numbers")
    return torch.tensor(found.tolist(), dtype=torch.int64)


@torch.inference_mode()
def predict(name: str, model: PreTrainedModel, token_ids: Sequence[int]) -> Prediction:
    """One forward of `model` over the text."""
    if len(token_ids) < 2:
        raise BadInput(f"the text has {len(token_ids)} tokens; at least 2 are needed")
    text = torch.tensor(token_ids)
    logits = model(input_ids=text[None].to(model.device), use_cache=False).logits[0, :-1]
    if logits.shape[-1] < 5:
        raise BadInput(f"{name} knows {logits.shape[-1]} tokens, and the 5 likeliest are compared; give another model")
    if bool(logits.isnan().any()):
        raise ModelFailure(
            f"{name} gives logits that are no numbers (NaN); look at its weights, or try --dtype float32"
        )
    return Prediction(name, logits.topk(5, dim=-1).indices.cpu(), text)

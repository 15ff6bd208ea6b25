# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Where a training stands, on disk: training.pt (draft, optimizers, state) and best.pt (its best draft) in a folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from training.files import damaged, written

Tensors: TypeAlias = Mapping[str, Tensor]
LAST, BEST = "training.pt", "best.pt"
REMEDY = f"take {LAST} and {BEST} away to train anew (shards stay), or name another folder"


@dataclass
class TrainingState:
    """Where a training stands; saved after every part of an epoch and resumed from."""

    epoch: int = 0  # whole ones
    batch: int = 0  # of the epoch after them
    seen: int = 0  # answer tokens learned from so far, again and again counted
    best: float = -1.0  # of three drafted tokens, how many held-out answers accept
    losses: list[float] = field(default_factory=list)  # one per step, nats per token of the first drafted token
    tokens: list[int] = field(default_factory=list)  # `seen` after each part
    accepted: list[list[float]] = field(default_factory=list)  # then: held-out P(accept d_k | earlier accepted), k <= 3


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training after a part of an epoch.

    Attributes:
        draft, best: state dicts of the last and of the best draft.
        optimizers: the optimizers' state dicts, of which only what they remember of each parameter is used.
    """

    draft: Tensors
    best: Tensors
    optimizers: Sequence[dict[str, Any]]
    state: TrainingState

    def save(self, folder: Path, *, improved: bool) -> None:
        """Write what has changed; `improved`: the best draft too."""
        if improved:
            with written(folder / BEST) as file:
                torch.save(dict(self.best), file)
        with written(folder / LAST) as file:
            torch.save({"draft": self.draft, "optimizers": self.optimizers, "state": vars(self.state)}, file)

    @classmethod
    def load(cls, folder: Path) -> Checkpoint | None:
        """What lies there; None if nothing does; BadInput if it is damaged. No code in it is run."""
        if not (folder / LAST).exists():
            return None
        last, best = _read(folder / LAST), _read(folder / BEST)
        state = last.get("state")
        if not isinstance(state, dict) or not _is_state(state):
            raise damaged(folder / LAST, "it does not say where the training stands", REMEDY)
        optimizers = last.get("optimizers")
        if not isinstance(optimizers, list) or not all(map(_is_memory, optimizers)):
            raise damaged(folder / LAST, "it holds no state of optimizers", REMEDY)
        draft: Any = last.get("draft")
        for name, found in ((LAST, draft), (BEST, best)):
            if not _are_tensors(found):
                raise damaged(folder / name, "it holds no draft", REMEDY)
        return cls(draft=draft, best=best, optimizers=optimizers, state=TrainingState(**state))

    def check_fits(self, folder: Path, draft: Tensors, memories: Sequence[tuple[set[str], Sequence[Tensor]]]) -> None:
        """BadInput if it is of a draft of another shape or vocabulary, or is of no use to train on. memories: of each
        optimizer, the names of what it remembers of a parameter, and its parameters."""
        other = "was made with other options (--layers, --draft-vocabulary, shards); give those, or " + REMEDY
        for name, found in ((LAST, self.draft), (BEST, self.best)):
            if _shapes(found) != _shapes(draft) or not torch.equal(found["token_ids"].cpu(), draft["token_ids"].cpu()):
                raise BadInput(f"--work: {folder / name} {other}")
            if not all(bool(torch.isfinite(value).all()) for value in found.values()):
                raise damaged(folder / name, "it holds numbers that are not finite", REMEDY)
        if len(self.optimizers) != len(memories) or not all(map(_remembers, self.optimizers, memories)):
            raise damaged(folder / LAST, "its optimizers are of another draft", REMEDY)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # reading a damaged file, torch raises what any of its parts does
        reason = getattr(error, "strerror", None) or f"torch cannot read it as tensors: {type(error).__name__}"
        raise damaged(path, reason, REMEDY) from error
    if not isinstance(found, dict):
        raise damaged(path, "it is no checkpoint", REMEDY)
    return found


def _is_state(state: dict[str, Any]) -> bool:
    if set(state) != {one.name for one in fields(TrainingState)}:
        return False
    rates = state["accepted"] if isinstance(state["accepted"], list) else [None]
    figures = [[state["best"]], state["losses"], *rates]
    tokens = state["tokens"] if isinstance(state["tokens"], list) else [None]
    counts = [state["epoch"], state["batch"], state["seen"], *tokens]
    whole = all(type(count) is int and count >= 0 for count in counts)
    return whole and len(tokens) == len(rates) and all(map(_are_figures, figures))


def _are_figures(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, float) and math.isfinite(value) for value in values)


def _are_tensors(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(value, Tensor) for value in found.values())


def _is_memory(found: Any) -> bool:
    memory = found.get("state") if isinstance(found, dict) else None
    return isinstance(memory, dict) and all(map(_are_tensors, memory.values()))


def _shapes(tensors: Tensors) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in tensors.items()}


def _remembers(optimizer: dict[str, Any], memory: tuple[set[str], Sequence[Tensor]]) -> bool:
    """Whether it is of these parameters: all of them, each value a number or of the parameter's shape."""
    (names, parameters), found = memory, optimizer["state"]
    return found.keys() == set(range(len(parameters))) and all(
        entry.keys() == names and all(value.shape in (parameters[index].shape, ()) for value in entry.values())
        for index, entry in found.items()
    )

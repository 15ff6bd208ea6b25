# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The Drafter of an EAGLE-3 head on its target's mesh: told what was accepted, never given features."""

from collections.abc import Sequence

from loguru import logger
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.drafters import (
    Doubt,
    Draft,
    Drafter,
    DraftRequest,
    Features,
    Texts,
)
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.runner import Turns
from models.tt_transformers.demo.speculative_decoding.tt.eagle_follower import EagleFollower
from models.tt_transformers.demo.speculative_decoding.tt.runner import TTModelRunner


class EagleDrafter(Drafter):
    """Greedy drafts of the head that follows `target`, with the target's verdict where that is to be had."""

    def __init__(self, target: TTModelRunner) -> None:
        if (follower := target.follower) is None:
            raise BadInput(f"{target.name} was opened without an EAGLE-3 head; give open_models one")
        self._follower: EagleFollower = follower
        self._target = target
        self._drafted: list[bool] = []  # who has a draft that the target has not judged
        self.name, self.feature_layers, self.turns = follower.name, follower.taps.layers, Turns()
        self._doubt = Doubt(self.name, self.feature_layers)

    def start(self, prompts: Texts, prompt_features: Features = None, kept: Sequence[int] = ()) -> None:
        """Nothing is left to do: the head was prefilled with its target."""

    def propose(self, request: DraftRequest) -> Draft:
        """See Drafter.propose."""
        if not request.argmax_only:
            raise BadInput(f"{self.name} gives ids alone on this device: decode greedily, without a confidence stop")
        most, follower = max(request.counts), self._follower
        if most == 0:
            return Draft([[] for _ in request.counts], [None] * len(request.counts), [[] for _ in request.counts])
        fitting = {k: fused for k, fused in follower.rounds.items() if k >= most}
        judge: object = request.judge
        judged = judge is self._target and bool(fitting)
        programs = fitting if judged else {k: alone for k, alone in follower.drafts.items() if k >= most}
        active = list(request.active) or [True] * len(request.counts)
        drafts, choices = follower.draft(programs[min(programs)], request.contexts, request.counts, active)
        sources = [[self.name] * len(drafted) for drafted in drafts]
        self._drafted = [count > 0 for count in request.counts]
        apart = "" if judged else "no round of this width is ready" if request.judge else "other rows are verified"
        return Draft(drafts, [None] * len(drafts), sources, 0, choices if judged else None, apart)

    def observe(self, accepted_counts: Sequence[int], features: Sequence[Tensor] | None) -> None:
        """See Drafter.observe."""
        for accepted, drafted in zip(accepted_counts, self._drafted):
            if drafted and (said := self._doubt.observe(accepted > 0)):
                logger.warning(said)
        self._drafted = []

    def close(self) -> None:
        """What it uses is the target's, and goes with it."""

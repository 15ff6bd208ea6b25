# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A draft model on the target's mesh: greedy rounds in one go where the device is ready for them, else step by step."""

from dataclasses import replace

from models.tt_transformers.demo.speculative_decoding.drafters import USUAL_GAP, Draft, DraftRequest, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.tt.fused_round import FusedRound
from models.tt_transformers.demo.speculative_decoding.tt.runner import TTModelRunner


class FusedDrafter(ModelDrafter):
    """A ModelDrafter whose drafts come with the target's verdict (Draft.choices) wherever `runner.rounds` has a round
    of this K and that target, and the request wants no more than argmax ids. The tokens are the same either way."""

    runner: TTModelRunner

    def propose(self, request: DraftRequest) -> Draft:
        """See Drafter.propose."""
        if isinstance(fused := self._round(request), str):
            return replace(super().propose(request), apart=fused)
        gaps = {user: self._missing(user, request.contexts[user]) for user, count in enumerate(request.counts) if count}
        longest = max(map(len, gaps.values()))
        late = {user: gap[:-USUAL_GAP] for user, gap in gaps.items() if len(gap) > USUAL_GAP}
        self._feed(late, len(request.contexts), True)
        lagging = [len(gaps.get(user, ())) > 1 for user in range(len(request.contexts))]
        drafts, choices = fused.run(request.contexts, request.counts, lagging=lagging, active=request.active)
        for user, gap in gaps.items():
            self._fed[user] += [*gap[-USUAL_GAP:], *drafts[user][:-1]]
        sources = [[self.name] * len(drafted) for drafted in drafts]
        return Draft(drafts, [None] * len(drafts), sources, max(0, longest - USUAL_GAP), choices)

    def _round(self, request: DraftRequest) -> FusedRound | str:
        """The one of this K and judge, a wider one only where single steps are not traced, and so cost more; or why
        there is none."""
        k, judge = max(request.counts), request.judge
        if not request.argmax_only:
            return "drafts are sampled or processed, or end where the draft is unsure"
        if not isinstance(judge, TTModelRunner):
            return request.unjudged
        model = judge.model
        wider = [fused for width, fused in self.runner.rounds.items() if 0 < k <= width and fused.target is model]
        nearest = min(wider, key=lambda fused: fused.num_draft_tokens, default=None)
        if nearest and (nearest.num_draft_tokens == k or not self.runner.enable_trace):
            return nearest
        return self.runner.unfused.get(k, f"no round of {k} tokens is ready")

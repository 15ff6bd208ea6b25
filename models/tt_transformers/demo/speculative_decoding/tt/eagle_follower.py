# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""An EAGLE-3 head that follows its target on the device: prefilled with it, fed what each of its verifies left behind.

The taps hold the rows of the target's last forward, so whoever runs the next one feeds them first: a round that the
head drafts begins with that, and before any other forward the target's runner asks for it. Rows are addressed by
position, as in a runner: what was rejected is overwritten.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from loguru import logger
from torch import Tensor
from torch.nn.functional import pad

from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelLoad
from models.tt_transformers.demo.speculative_decoding.tt.eagle_head import EagleHead
from models.tt_transformers.demo.speculative_decoding.tt.eagle_round import HeadRound, TappedRows
from models.tt_transformers.demo.speculative_decoding.tt.loading import LoadedModel
from models.tt_transformers.demo.speculative_decoding.tt.taps import Chunk, Taps


class EagleFollower:
    """Everything of a head on the mesh. What it allocates, and compiles, comes before any trace is captured.

    Args:
        name: of the head.
        users, tokens_per_user: of the target's cache, and of its widest verify.
        ks: the K that are in use.
        fuse: rounds with the target's verdict too, where all that is wanted of the target is ids.
    """

    def __init__(
        self,
        target: LoadedModel,
        head: EagleHead,
        taps: Taps,
        *,
        name: str,
        users: int,
        tokens_per_user: int,
        ks: Sequence[int],
        fuse: bool,
    ) -> None:
        self.name, self.taps, self.users, self._target, self._head = name, taps, users, target, head
        size: dict[str, Any] = {"users": users, "tokens_per_user": tokens_per_user}
        self.rounds = {k: HeadRound(target, head, taps, **size, num_draft_tokens=k, verifies=True) for k in ks if fuse}
        # A catch-up alone is a draft of one that nobody wants.
        self.drafts = {
            k: HeadRound(target, head, taps, **size, num_draft_tokens=k, verifies=False) for k in {1, *ks[-1:]}
        }
        self._tapped: list[TappedRows | None] = []
        self._caught_up, self._aside = True, False
        self.load: ModelLoad | None = None  # what opening the head cost

    def compile(self) -> None:
        """Run every program once on blanks; the caches hold garbage afterwards."""
        blank = [TappedRows(0, 0, [0])] * self.users
        for k, program in [*self.rounds.items(), *self.drafts.items()]:
            program.run(blank, [[0, 0]] * self.users, [k] * self.users, [True] * self.users)
        self.taps.set_aside()
        self.taps.get_back()

    def capture(self, *, drafts: bool, rounds: bool) -> None:
        """Capture each as a trace, those that fit the trace region; after one that does not none does."""
        for k, program in list(self.drafts.items()) if drafts else ():
            if reason := program.capture():
                logger.info(f"{k} drafts of {self.name} are not replayed: its trace does not fit: {reason}")
        for k, program in list(self.rounds.items()) if rounds else ():
            if reason := program.capture():
                self.rounds.pop(k).release()
                logger.info(f"rounds of K = {k} go step by step: a trace does not fit: {reason}")

    @contextmanager
    def reading(self, user: int, prompt: Sequence[int]) -> Iterator[None]:
        """While the target prefills a user's prompt, so does the head."""
        ttnn, mesh = self._target.upstream.ttnn, self._target.mesh_device
        last = len(prompt) - 1

        def staged(ids: Tensor) -> Any:
            replicated = ttnn.ReplicateTensorToMesh(mesh)
            return ttnn.from_torch(ids.int(), dtype=ttnn.uint32, device=mesh, mesh_mapper=replicated)

        def read(chunk: Chunk) -> None:
            size = chunk.taps[0].shape[2]
            if chunk.start > last:
                return
            after = torch.tensor([*prompt[chunk.start + 1 : chunk.start + size + 1]], dtype=torch.int64)
            self._head.fill(chunk, staged(pad(after, (0, size - len(after))).view(1, 1, 1, -1)))
            if last < chunk.start + size:  # its state waits in row `user` for the token after the prompt
                kept = torch.arange(32)
                kept[user] = 32 + last - chunk.start
                index = staged(kept.view(1, -1))
                for tap, rows in zip(chunk.taps, self.taps.rows, strict=True):
                    ttnn.copy(self._head.picked(ttnn.concat([rows, tap], dim=2), index), rows)

        with self.taps.read_by(read):
            yield

    def start(self, prompts: Sequence[Sequence[int]]) -> None:
        """All of these were prefilled, one user each; without prompts nobody follows."""
        self._tapped = [TappedRows(len(prompt) - 1, user, prompt[-1:]) for user, prompt in enumerate(prompts)]
        self._caught_up = self._aside = False

    def draft(
        self, program: HeadRound, contexts: Sequence[Sequence[int]], counts: Sequence[int], active: Sequence[bool]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Catch up, and draft up to K tokens for each user; see HeadRound.run."""
        if self._aside:
            self.taps.get_back()
            self._aside = False
        tapped = [rows if live else None for rows, live in zip(self._tapped, active, strict=True)]
        drafts, choices = program.run(tapped, contexts, counts, active)
        self._caught_up = True
        if program.verify is not None:
            fed = [[context[-1], *drafted] for context, drafted in zip(contexts, drafts, strict=True)]
            at = [len(context) - 1 if live else IDLE for context, live in zip(contexts, active, strict=True)]
            self.verified(fed, at, program.verify.tokens_per_user)
        return drafts, choices

    def catch_up(self, pending: Sequence[int], positions: Sequence[int]) -> None:
        """Before a forward of the target that begins with these tokens there (IDLE: the user takes no part)."""
        if self._caught_up or not self._tapped:
            return
        active = [at != IDLE for at in positions]
        contexts: list[Sequence[int]] = []
        for rows, token, at in zip(self._tapped, pending, positions, strict=True):
            stood = [] if rows is None else rows.tokens[1 : at - rows.start]
            before = [0] if rows is None else [0] * (rows.start + 1)  # not looked at
            contexts.append([*before, *stood, token])
        self.draft(self.drafts[1], contexts, [0] * len(contexts), active)

    def verified(self, tokens: Sequence[Sequence[int]], positions: Sequence[int], width: int) -> None:
        """After a forward of the target: each user's tokens that count were processed from there on (IDLE: none), in
        `width` rows per user."""
        self._tapped = [
            None if at == IDLE else TappedRows(at, user * width, fed)
            for user, (fed, at) in enumerate(zip(tokens, positions, strict=True))
        ]
        self._caught_up = self._aside = False

    def step_aside(self) -> None:
        """Before a forward of the target that the head does not follow: plain decoding in turns with it, say."""
        if self._tapped and not self._aside:
            self.taps.set_aside()
            self._aside = True

    def release(self) -> None:
        """Release traces, and leave the target's layers as they were; the device is still open. May be called twice."""
        for program in [*self.rounds.values(), *self.drafts.values()]:
            program.release()
        self.rounds.clear()
        self.drafts.clear()
        self.taps.close()

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A greedy round of draft and target as one program sequence on the device: K draft steps, the verify, one read.

    [t(p-1), t(p)] -> draft -> d1 -> draft -> d2 ... dK;  [t(p), d1 .. dK] -> target -> K + 1 choices

Positions and rotary indices of every step are made by the host beforehand, so a user that takes no part, drafts less
than K or is at the end of its context has -1 there, and the device needs no arithmetic. The first step has a row for
t(p-1), which the draft has not seen after a fully accepted round. Where it has, that row is idle too: a decode gives
what a decode gave, but not bit for bit what a prefill did.

Generator has no place for two models in one trace, so this file captures, stages and replays by itself, as Generator
does (compile, allocate everything, capture, stage, execute, read); the decodes are the models' own
ttnn_decode_forward.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.tt_transformers.demo.speculative_decoding.runner import IDLE
from models.tt_transformers.demo.speculative_decoding.tt.decode_step import want_of_room
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import TILE_ROWS
from models.tt_transformers.demo.speculative_decoding.tt.loading import LoadedModel
from models.tt_transformers.demo.speculative_decoding.tt.round_program import RoundStep, run_round
from models.tt_transformers.demo.speculative_decoding.tt.row_decode import RowDecode


class Round:
    """Programs that draft K tokens for every user, and verify them where there is a target. Everything that they need
    on the device is allocated here, before any trace is captured.

    Args:
        first, later: the draft's steps; what each gives is its `ids`, of one row per user.
        verify: the target's, of K + 1 rows per user; None: drafts alone.
        users: of the models' caches.
        num_draft_tokens: K, 1 or more.
        further: how many rows of ids are staged besides.
    """

    def __init__(
        self,
        first: RowDecode,
        later: RowDecode,
        verify: RowDecode | None,
        *,
        users: int,
        num_draft_tokens: int,
        further: int = 0,
    ) -> None:
        self.users, self.num_draft_tokens, self.verify = users, num_draft_tokens, verify
        self.draft = first.model
        self._ttnn, self._mesh = first.model.upstream.ttnn, first.model.mesh_device
        self._decodes = [first, *[later] * (num_draft_tokens - 1), *([verify] if verify else [])]
        self._columns = [rotary_columns(decode) for decode in self._decodes]
        tables = {decode: self._on_mesh(decode.page_table, "int32") for decode in {*self._decodes}}
        width = max(map(len, self._columns))
        self._ids = self._on_mesh(torch.zeros(len(self._decodes) + 2 + further, width), "uint32")
        self._positions = self._on_mesh(torch.zeros(len(self._decodes), TILE_ROWS), "int32")
        found = users * (num_draft_tokens + (num_draft_tokens + 1) * (verify is not None))
        self._output = self._on_mesh(torch.zeros(1, 1, 1, found), "uint32")
        steps = [
            RoundStep(partial(self._step_ids, decode, tables[decode]), decode.batch, len(columns))
            for decode, columns in zip(self._decodes, self._columns, strict=True)
        ]
        buffers = self._ids, self._positions, self._output
        self._run_steps = partial(run_round, steps, *buffers, users=users, verifies=verify is not None)
        self._trace: int | None = None

    @property
    def captured(self) -> bool:
        """Whether it is replayed; else its programs are launched one by one, and still nothing waits for the host."""
        return self._trace is not None

    @property
    def target(self) -> LoadedModel | None:
        """Whose verdict it brings."""
        return None if self.verify is None else self.verify.model

    def capture(self) -> str | None:
        """Capture it as one trace; returns why it has none where it does not fit the trace region."""
        trace = self._ttnn.begin_trace_capture(self._mesh, cq_id=0)
        try:
            try:
                self._run_steps()
            finally:
                self._ttnn.end_trace_capture(self._mesh, trace, cq_id=0)
        except RuntimeError as error:
            self._ttnn.release_trace(self._mesh, trace)  # it exists since it was begun
            if (reason := want_of_room(error)) is None:
                raise
            return reason
        self._trace = trace
        for decode in self._decodes:
            decode.model.captured = True
        return None

    def _step_ids(self, decode: RowDecode, page_table: Any, x: Any, at: Any, rotary: Any) -> Any:
        """What one of its steps gives."""
        last = decode is self._decodes[0]
        return decode.ids(x, at, rotary, page_table, kv_cache=decode.model.kv_cache, last=last)

    def _run(
        self,
        rows: tuple[Tensor, Tensor],
        second: Sequence[int],
        contexts: Sequence[Sequence[int]],
        counts: Sequence[int],
        active: Sequence[bool],
        further: Sequence[Tensor] = (),
    ) -> tuple[list[list[int]], list[list[int]]]:
        """One round: stage, run or replay, read.

        Args:
            rows: tokens and positions of the first step, int64 [B] each.
            second: per user the position of the second draft step.
            contexts, counts, active: per user all committed tokens; how many to draft, 0 to K; whether to verify.
            further: the ids staged besides.

        Returns:
            Per user counts[u] drafts, and if active the target's choices after the pending token and each draft.
        """
        none = torch.zeros((len(contexts), self.num_draft_tokens + 1), dtype=torch.int64)
        pending = torch.tensor([context[-1] for context in contexts])
        staged_rows = [rows]
        for step in range(1, self.num_draft_tokens):
            at = [first + step - 1 if step < count else IDLE for first, count in zip(second, counts)]
            staged_rows.append(self._decodes[step].rows(none, at, [1] * len(contexts)))
        if self.verify is not None:
            at = [len(context) - 1 if live else IDLE for context, live in zip(contexts, active)]
            staged_rows.append(self.verify.rows(none, at, [count + 1 for count in counts]))
        rotary = [at.clamp(min=0)[columns] for (_, at), columns in zip(staged_rows, self._columns, strict=True)]
        self._stage([rows[0], pending, *rotary, *further], self._ids, "uint32")
        self._stage([at for _, at in staged_rows], self._positions, "int32")
        if self._trace is None:
            self._run_steps()
        else:
            self._ttnn.execute_trace(self._mesh, self._trace, cq_id=0, blocking=False)
        ids = self._ttnn.to_torch(self._ttnn.get_device_tensors(self._output)[0]).reshape(-1).tolist()
        drafted, judged = ids[: self.users * self.num_draft_tokens], ids[self.users * self.num_draft_tokens :]
        width = self.num_draft_tokens + 1
        drafts = [drafted[user :: self.users][:count] for user, count in enumerate(counts)]
        choices = [judged[user * width :][: count + 1] if active[user] else [] for user, count in enumerate(counts)]
        for model, found in ((self.draft, drafts), (self.target, choices)):
            if model is not None:
                model.check_ids([token for row in found for token in row])
        return drafts, choices

    def _stage(self, rows: Sequence[Tensor], on_device: Any, dtype: str) -> None:
        """Write a staging tensor."""
        width = on_device.shape[-1]
        staged = torch.stack([pad(row, (0, width - len(row))) for row in rows])
        self._ttnn.copy_host_to_device_tensor(self._on_host(staged, dtype), on_device)

    def _on_host(self, rows: Tensor, dtype: str) -> Any:
        replicated = self._ttnn.ReplicateTensorToMesh(self._mesh)
        return self._ttnn.from_torch(rows.int(), dtype=getattr(self._ttnn, dtype), mesh_mapper=replicated)

    def _on_mesh(self, rows: Tensor, dtype: str) -> Any:
        return self._ttnn.to_device(self._on_host(rows, dtype), device=self._mesh)

    def release(self) -> None:
        """Release the trace, while the device is still open. May be called twice."""
        if self._trace is not None:
            self._ttnn.release_trace(self._mesh, self._trace)
            self._trace = None


class FusedRound(Round):
    """Rounds of K drafts for every user of a draft model and a target that share a mesh."""

    def __init__(self, draft: LoadedModel, target: LoadedModel, *, users: int, num_draft_tokens: int) -> None:
        first, later = (RowDecode(draft, users=users, tokens_per_user=width) for width in (2, 1))
        verify = RowDecode(target, users=users, tokens_per_user=num_draft_tokens + 1)
        super().__init__(first, later, verify, users=users, num_draft_tokens=num_draft_tokens)

    def compile(self) -> None:
        """Run it once on blanks; the caches hold garbage afterwards."""
        self.run([[0, 0]] * self.users, [self.num_draft_tokens] * self.users)

    def run(
        self,
        contexts: Sequence[Sequence[int]],
        counts: Sequence[int],
        *,
        lagging: Sequence[bool] | None = None,
        active: Sequence[bool] | None = None,
    ) -> tuple[list[list[int]], list[list[int]]]:
        """One round. The draft must have cached each drafting user's context but for the pending token.

        Args:
            contexts: per user all committed tokens, two or more, the pending one last.
            counts: how many tokens to draft for each, 0 to K.
            lagging: of whose context the draft misses the token before the pending one too; default: nobody's.
            active: whose pending token is verified; default: all.

        Returns:
            Per user counts[u] drafts, and if active the target's choices after the pending token and each draft.
        """
        lagging, active = lagging or [False] * len(contexts), active or [True] * len(contexts)
        pending = [len(context) - 1 for context in contexts]
        known = torch.tensor([list(context[-2:]) for context in contexts])
        known.clamp_(max=self.draft.args.vocab_size - 1)  # a draft need not be right
        at = [position - 1 if count else IDLE for position, count in zip(pending, counts)]
        rows = self._decodes[0].rows(known, at, [2] * len(contexts))
        rows[1][[2 * user for user, late in enumerate(lagging) if not late]] = IDLE
        return self._run(rows, [position + 1 for position in pending], contexts, counts, active)


def rotary_columns(decode: RowDecode) -> Tensor:
    """Which row's position each of upstream's rotary indices is: they are padded, and doubled where Q and K rotate in
    one call, so upstream is asked, once, with the rows' own numbers for positions."""
    ttnn, rope = decode.model.upstream.ttnn, decode.rope
    numbers = rope.get_rot_idxs(torch.arange(decode.batch), on_host=True)
    return ttnn.to_torch(ttnn.get_device_tensors(numbers)[0]).reshape(-1).to(torch.int64)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""T tokens of every user in one decode of tt_transformers, on the device: tensors in, ids or logits out.

A compiled decode has a fixed number of rows, and upstream means one user per row. Here T rows are T tokens of one
user: row u*T + j is user u's j-th token, at position p + j, with user u's page-table row. Rows that are not in use
carry position -1, which upstream neither writes nor attends. Since a decode computes a tile of 32 rows anyway, T
tokens cost about one decode.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.runner import IDLE
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import RowLayout, WritePositions, write_rows
from models.tt_transformers.demo.speculative_decoding.tt.loading import LoadedModel
from models.tt_transformers.demo.speculative_decoding.tt.memory import SCRATCH_BLOCK


class RowDecode:
    """Which rows are whose, how they are written, and what of them leaves the model.

    Args:
        model: its compiled batch B has room for B // T users; those beyond `users` stay idle.
        users: how many users' rows are wanted.
        tokens_per_user: T.
    """

    def __init__(self, model: LoadedModel, *, users: int, tokens_per_user: int) -> None:
        self.model, self.users, self.tokens_per_user = model, users, tokens_per_user
        self.live_rows, self.batch = users * tokens_per_user, model.args.max_batch_size
        layout = RowLayout(self.batch // tokens_per_user, tokens_per_user)
        self.write_positions = WritePositions(model.mesh_device, layout)
        live = [model.cache.table_row(row // tokens_per_user) for row in range(self.live_rows)]
        idle = [[SCRATCH_BLOCK] * model.cache.table_width] * (self.batch - self.live_rows)
        self.page_table = torch.tensor(live + idle, dtype=torch.int32)  # [B, blocks]

    @property
    def rope(self) -> Any:
        """Upstream's rotary setup, which says how the rows' positions become indices."""
        return self.model.transformer.rope_setup

    def rows(self, tokens: Tensor, positions: Sequence[int], lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The decode's tokens and positions, int64 [B] each: what users' tokens [b, w], first positions (IDLE: none)
        and numbers of tokens that count make of them."""
        row_tokens, row_positions = torch.zeros(self.batch, dtype=torch.int64), torch.full((self.batch,), IDLE)
        for user, (start, length) in enumerate(zip(positions, lengths, strict=True)):
            if start != IDLE:
                rows = slice(user * self.tokens_per_user, user * self.tokens_per_user + length)
                row_tokens[rows] = tokens[user, :length]
                row_positions[rows] = torch.arange(start, start + length)
        return row_tokens, row_positions

    def logits(
        self, x: Any, current_pos: Any, rot_mat_idxs: Any, page_table: Any, *, last: bool = False, **how: Any
    ) -> Any:
        """The live rows' logits over the real vocabulary, bf16 ROW_MAJOR [1, 1, users*T, V], from tensors as
        Transformer.ttnn_decode_forward takes them; `last`: of each user's last row alone, [1, 1, users, V].

        How the rows are to be written is worked out on the device on the way in, once for all layers.
        """
        model, ttnn = self.model, self.model.upstream.ttnn
        positions = self.write_positions.split(current_pos)
        with model.writes.by(partial(write_rows, positions=positions)):
            logits, _ = model.transformer.ttnn_decode_forward(x, current_pos, rot_mat_idxs, page_table, **how)
        first, step = (self.tokens_per_user - 1, self.tokens_per_user) if last else (0, 1)
        return ttnn.slice(logits, [0, 0, first, 0], [1, 1, self.live_rows, model.args.vocab_size], [1, 1, step, 1])

    def ids(self, *inputs: Any, **how: Any) -> Any:
        """Their argmax, uint32 [1, 1, rows], the lowest of a tie."""
        return self.model.upstream.ttnn.argmax(self.logits(*inputs, **how), dim=-1, keepdim=False)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Rounds that an EAGLE-3 head drafts, as one program sequence on the device, with the target's verdict or without.

    catch up on the rows that the target verified last -> the accepted one's state, d1 -> d2 ... dK;  then as any round

Which rows of the taps belong to the catch-up, and which of them was accepted, are staged by number and picked there:
the taps never leave the device, and the last verify may have been of any width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models.tt_transformers.demo.speculative_decoding.runner import IDLE
from models.tt_transformers.demo.speculative_decoding.tt.eagle_head import EagleHead
from models.tt_transformers.demo.speculative_decoding.tt.fused_round import Round
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import TILE_ROWS
from models.tt_transformers.demo.speculative_decoding.tt.loading import LoadedModel
from models.tt_transformers.demo.speculative_decoding.tt.round_program import row_of
from models.tt_transformers.demo.speculative_decoding.tt.row_decode import RowDecode
from models.tt_transformers.demo.speculative_decoding.tt.taps import Taps


@dataclass(frozen=True)
class TappedRows:
    """What the taps hold of one user: the target processed these tokens at positions start.., in rows row.. of them."""

    start: int
    row: int
    tokens: Sequence[int]

    def pairs(self, context: Sequence[int]) -> Sequence[int]:
        """The tokens after those that stood, the pending one last; the context is all that is committed."""
        after = context[self.start + 1 :]
        if not 1 <= len(after) <= len(self.tokens):
            raise ValueError(f"a context of {len(context)} tokens does not continue {self}")
        return after


class HeadDecode(RowDecode):
    """The rows of one step of the head, laid out as a decode of its target is."""

    def __init__(self, target: LoadedModel, head: EagleHead, *, users: int, tokens_per_user: int) -> None:
        super().__init__(target, users=users, tokens_per_user=tokens_per_user)
        self.head = head

    @property
    def rope(self) -> Any:
        return self.head.rope

    def hidden(self, state: Any, x: Any, at: Any, rotary: Any, page_table: Any) -> Any:
        """See EagleHead.layer."""
        return self.head.layer(state, x, at, rotary, page_table, self.write_positions)


class HeadRound(Round):
    """K drafts of `head` for every user, who may have up to `tokens_per_user` rows in the taps.

    Args:
        verifies: with the target's verdict on them, whose taps are the next round's.
    """

    def __init__(
        self,
        target: LoadedModel,
        head: EagleHead,
        taps: Taps,
        *,
        users: int,
        tokens_per_user: int,
        num_draft_tokens: int,
        verifies: bool,
    ) -> None:
        self.head, self.taps = head, taps
        self._hidden: Any = None  # of each user's last draft, row u of [1, 1, 32, hidden]
        first, later = (HeadDecode(target, head, users=users, tokens_per_user=width) for width in (tokens_per_user, 1))
        verify = RowDecode(target, users=users, tokens_per_user=num_draft_tokens + 1) if verifies else None
        super().__init__(first, later, verify, users=users, num_draft_tokens=num_draft_tokens, further=2)

    def run(
        self,
        tapped: Sequence[TappedRows | None],
        contexts: Sequence[Sequence[int]],
        counts: Sequence[int],
        active: Sequence[bool],
    ) -> tuple[list[list[int]], list[list[int]]]:
        """One round. The head must have cached all before the tapped rows; it has cached them too, then.

        Args:
            tapped: per user the rows to catch up on; None: the user takes no part, and drafts nothing.
            contexts, counts, active: per user all committed tokens, the pending one last; how many to draft, 0 to K;
                whether to verify the pending token.

        Returns:
            See Round.
        """
        first = self._decodes[0]
        width = first.tokens_per_user
        tokens = torch.zeros((len(contexts), width), dtype=torch.int64)
        picked, accepted = (torch.zeros(TILE_ROWS, dtype=torch.int64) for _ in range(2))
        at, lengths = [IDLE] * len(contexts), [1] * len(contexts)
        for user, rows in enumerate(tapped):
            if rows is not None:
                after = rows.pairs(contexts[user])
                at[user], lengths[user] = rows.start, len(after)
                tokens[user, : len(after)] = torch.tensor(after)
                picked[user * width : user * width + len(after)] = torch.arange(rows.row, rows.row + len(after))
                accepted[user] = user * width + len(after) - 1
        second = [len(context) - 1 for context in contexts]
        return self._run(first.rows(tokens, at, lengths), second, contexts, counts, active, [picked, accepted])

    def _step_ids(self, decode: RowDecode, page_table: Any, x: Any, at: Any, rotary: Any) -> Any:
        if not isinstance(decode, HeadDecode):
            return super()._step_ids(decode, page_table, x, at, rotary)
        head = self.head
        if decode is self._decodes[0]:
            rows = len(self._decodes) + 2
            picked, accepted = (row_of(self._ids, row, (1, TILE_ROWS)) for row in (rows, rows + 1))
            states = head.picked(head.states(self.taps.rows), picked)
            self._hidden = head.picked(decode.hidden(states, x, at, rotary, page_table), accepted)
        else:
            self._hidden = decode.hidden(self._hidden, x, at, rotary, page_table)
        return head.ids(self._hidden, self.users)

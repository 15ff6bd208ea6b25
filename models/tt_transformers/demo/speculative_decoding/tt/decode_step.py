# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A RowDecode from the host and back, by upstream's Generator, traced or not.

Decodes go through Generator in its host-sampling mode, which stages tokens, positions, rotary indices and page table
before every replay. Its device-sampling mode would be wrong here: it silently prefers the device's own token and
position to the host's where they are 0 or 1 apart, which is what rolling back a rejected draft looks like. Greedy ids
are an argmax at the end of the model instead, inside the trace. A Generator holds one host-mode decode trace, so each
T has a Generator of its own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.tt.loading import LoadedModel, decode_words
from models.tt_transformers.demo.speculative_decoding.tt.row_decode import RowDecode


class DecodeStep:
    """The Transformer as Generator sees it, with a decode that ends in what the host wants of the live rows.

    Whatever is not named here is the Transformer's own.

    Args:
        model, users, tokens_per_user: see RowDecode.
        argmax_only: end in uint32 ids [1, 1, users*T]; else in bf16 logits [1, 1, users*T, V].
    """

    def __init__(self, model: LoadedModel, *, users: int, tokens_per_user: int, argmax_only: bool) -> None:
        self._model, self._transformer = model, model.transformer
        self.tokens_per_user, self.argmax_only = tokens_per_user, argmax_only
        self.rows = RowDecode(model, users=users, tokens_per_user=tokens_per_user)
        self.captured = False
        self._traces: list[Any] = []
        self._generator = model.upstream.Generator(
            [self], [model.args], model.mesh_device, tokenizer=model.args.tokenizer
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transformer, name)

    def ttnn_decode_forward(
        self, x: Any, current_pos: Any, rot_mat_idxs: Any, page_table: Any, **options: Any
    ) -> tuple[Any, None]:
        """Transformer.ttnn_decode_forward, as Generator calls and traces it."""
        decode = self.rows.ids if self.argmax_only else self.rows.logits
        return decode(x, current_pos, rot_mat_idxs, page_table, **options), None

    def run(
        self,
        tokens: Tensor,
        positions: Sequence[int],
        lengths: Sequence[int],
        *,
        enable_trace: bool,
        prepare: bool = False,
    ) -> Tensor:
        """One decode, done when its result is on the host: another trace may run then.

        Args:
            tokens: int64 [b, w] with b <= users and w <= T.
            positions: b first positions, IDLE for a user that takes no part.
            lengths: how many of each user's tokens count. prepare: see decode_words().

        Returns:
            int64 [users*T] ids or float32 [users*T, V] logits.
        """
        output = self._generator.decode_forward(
            *self.rows.rows(tokens, positions, lengths),
            page_table=self.rows.page_table,
            kv_cache=[self._model.kv_cache],
            enable_trace=enable_trace,
            read_from_device=False,
            **decode_words(self._model.upstream, reload=True, prepare=prepare),
        )
        ttnn = self._model.upstream.ttnn
        host = ttnn.to_torch(ttnn.get_device_tensors(output[0][0])[0])  # the other devices hold the same
        return host.reshape(-1).to(torch.int64) if self.argmax_only else host.reshape(self.rows.live_rows, -1).float()

    def capture(self, tokens: Tensor, positions: Sequence[int]) -> None:
        """Let Generator capture its trace. Raises BadInput if the trace does not fit the device's trace region."""
        ttnn = self._model.upstream.ttnn
        begin = ttnn.begin_trace_capture

        def begun(*where: Any, **how: Any) -> Any:
            self._traces.append(begin(*where, **how))
            return self._traces[-1]

        ttnn.begin_trace_capture = begun  # of a capture that fails Generator forgets the trace, which is there already
        try:
            self.run(tokens, positions, [self.tokens_per_user] * len(positions), enable_trace=True)
        except RuntimeError as error:
            reason = want_of_room(error)
            if reason is None:
                raise
            raise BadInput(
                f"the trace of {self._model.args.model_name} for {self.tokens_per_user} tokens per user does not fit: "
                f"{reason} Open the device with a larger trace_region_size, ask for smaller or fewer K, or run with "
                "enable_trace=False"
            ) from error
        finally:
            ttnn.begin_trace_capture = begin
        self.captured = self._model.captured = True

    def release(self) -> None:
        """Release the trace, while the device is still open."""
        while self._traces:
            self._model.upstream.ttnn.release_trace(self._model.mesh_device, self._traces.pop())
        self._generator.trace_ids_decode.clear()
        self.captured = False


def want_of_room(error: RuntimeError) -> str | None:
    """What ttnn says where a trace does not fit the trace region; None of another error."""
    return next((line.strip() for line in str(error).splitlines() if "trace region" in line), None)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The runner contract: all that the algorithm knows about a model.

A runner owns a KV cache for up to `max_users` sequences ("users") and is addressed by POSITION. Whatever is cached past
the position that a call names is garbage which that call cannot see, so rolling back a rejected draft costs nothing:
the next call simply names an earlier position and overwrites what was there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.errors import BadInput

# A Tensor, or a pair where `features` are asked for: the type depends on an argument's value, which no annotation says.
Output: TypeAlias = Any

IDLE = -1  # the position of a user that takes no part in a forward


@runtime_checkable
class ModelRunner(Protocol):
    """A causal language model with a positional KV cache (torch_runner.py: Hugging Face; tt_runner.py: Tenstorrent)."""

    name: str
    vocab_size: int
    max_seq_len: int  # tokens of prompt and continuation together that one user may hold
    max_users: int
    max_tokens_per_user: int  # the largest T that forward() accepts
    eos_token_ids: frozenset[int]
    supports_features: bool  # whether prefill() and forward() accept features=

    def warmup(self, tokens_per_user: Sequence[int], *, argmax_only: bool = True) -> None:
        """Compile, allocate and capture whatever forwards of these T (and a prefill) need, outside every clock."""

    def prefill(self, prompts: Sequence[Sequence[int]], *, features: Sequence[int] = ()) -> Output:
        """Start over with one user per prompt: cache positions 0..len-1, return each last token's logits.

        Args:
            prompts: B token-id sequences, 1 <= B <= max_users, each of 1 to max_seq_len tokens.
            features: layers whose hidden states are wanted too (0 = embeddings, n = after the n-th layer, the number of
                layers itself = the final normed state).

        Returns:
            float32 [B, V] logits; with `features`, the pair (logits, list of B tensors [len_b, len(features) *
            hidden]).
        """

    def forward(
        self,
        tokens: Tensor,
        positions: Sequence[int],
        *,
        lengths: Sequence[int] | None = None,
        argmax_only: bool = False,
        features: Sequence[int] = (),
    ) -> Output:
        """Process T tokens of each user in ONE pass; token j of user b sits at position positions[b] + j.

        It sees every cached position below it and its own user's earlier tokens of this call, and overwrites what was
        cached at its own position.

        Args:
            tokens: int64 [B, T] on the host, 1 <= T <= max_tokens_per_user.
            positions: B first positions; IDLE (-1) means that the user takes no part.
            lengths: how many of the T tokens of each user count (1..T, default T); the others are not processed,
                nothing is written for them, and their rows of the result are undefined.
            argmax_only: return int64 [B, T] argmax ids (lowest id first on an exact tie) and no logits.
            features: as in prefill.

        Returns:
            float32 [B, T, V] logits, or int64 [B, T] ids; with `features`, the pair (that, [B, T, len(features) *
            hidden]). Rows of idle users are undefined.
        """

    def synchronize(self) -> None:
        """Return when the device has finished all that was asked of it (clocks call this before they read the time)."""

    def close(self) -> None:
        """Release the cache, traces and device memory; may be called twice."""


def check_prompts(runner: ModelRunner, prompts: Sequence[Sequence[int]]) -> None:
    """BadInput unless `runner` has room for these prompts."""
    if not 1 <= len(prompts) <= runner.max_users:
        raise BadInput(f"{len(prompts)} prompts for {runner.name}, which was opened for 1 to {runner.max_users} users")
    for prompt in prompts:
        if not 1 <= len(prompt) <= runner.max_seq_len:
            raise BadInput(
                f"a prompt of {len(prompt)} tokens for {runner.name}, which holds 1 to {runner.max_seq_len} per user; "
                "shorten it or open the model with a larger max_seq_len"
            )


def check_forward(
    runner: ModelRunner, tokens: Tensor, positions: Sequence[int], lengths: Sequence[int] | None
) -> list[int]:
    """How many of each user's tokens count (`lengths`, or all); BadInput unless `runner` can do this forward."""
    users, width = tokens.shape
    counts = [width] * users if lengths is None else list(lengths)
    if users > runner.max_users or width > runner.max_tokens_per_user:
        raise BadInput(
            f"{users} users of {width} tokens in one forward of {runner.name}, which was opened for {runner.max_users} "
            f"users of {runner.max_tokens_per_user}"
        )
    live = [entry for entry in enumerate(zip(positions, counts, strict=True)) if entry[1][0] != IDLE]
    if not live:
        raise BadInput(f"every user of a forward of {runner.name} is idle")
    for user, (start, count) in live:
        if not 1 <= count <= width:
            raise BadInput(f"{count} of {width} tokens of user {user} are to count in a forward; give 1 to {width}")
        if not 0 <= start <= runner.max_seq_len - count:
            raise BadInput(
                f"positions {start} to {start + count - 1} of user {user} are outside 0..{runner.max_seq_len - 1}, all "
                f"that {runner.name} holds; open it with a larger max_seq_len"
            )
    return counts

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The runner contract: all that the algorithm knows about a model.

A runner owns a KV cache for up to `max_users` sequences ("users") and is addressed by POSITION. Whatever is cached past
the position that a call names is garbage which that call cannot see, so rolling back a rejected draft costs nothing:
the next call simply names an earlier position and overwrites what was there.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import whole_numbers


class Turns:
    """Whose generation something holds, one at a time: a runner's cache (prefill() leaves it nobody's), a drafter, a
    lookahead. Who needs what it holds checks that it is still his, and has the lock while nobody else may begin."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.owner: object = None


def turns_of(holder: Any) -> list[Turns]:
    """Of what remembers something of a generation, or of its parts; made for it where it has none yet."""
    parts = getattr(holder, "parts", ())
    own = getattr(holder, "turns", None) or vars(holder).setdefault("turns", Turns())
    return [turns for part in parts for turns in turns_of(part)] or [own]


IDLE = -1  # the position of a user that takes no part in a forward


@dataclass(frozen=True)
class Rows:
    """What one pass of a runner gives."""

    # Float32 logits, [B, V] of a prefill and [B, T, V] of a forward; or a forward's int64 argmax ids [B, T].
    values: Tensor
    # Per user the hidden states asked for, [n, F] of its n tokens in this pass (idle: n = 0); None: none was asked for.
    features: Sequence[Tensor] | None = None


@dataclass(kw_only=True)
class ModelLoad:
    """What bringing one model into memory cost; a megabyte is 10^6 bytes."""

    name: str
    # From the start of loading to the end of a first forward of one token (weights are read only then); on tt to the
    # end of loading, for compiling and capturing are warm-up.
    init_s: float = 0.0
    layers: int | None = None
    parameters: int | None = None  # shared weights count once
    weights_mb: float | None = None
    host_rss_mb: float | None = None  # growth of the process; None: not told, or hidden by memory given back meanwhile
    device_dram_mb: float | None = None  # planned on each device for weights, caches and tables (tt backend only)


@runtime_checkable
class ModelRunner(Protocol):
    """A causal language model with a positional KV cache (hf/runner.py: Hugging Face; tt/runner.py: Tenstorrent)."""

    name: str
    vocab_size: int
    max_seq_len: int  # tokens of prompt and continuation together that one user may hold
    max_users: int
    max_tokens_per_user: int  # the largest T that forward() accepts
    eos_token_ids: frozenset[int]
    supports_features: bool  # whether hidden states may be asked for; how many layers have them: `num_layers`, if told
    supports_reuse: bool  # whether prefill() leaves out what is `kept`
    turns: Turns  # prefill() sets their `owner` to None
    load: ModelLoad | None  # what opening it cost, if that was measured

    def warmup(self, tokens_per_user: Sequence[int], *, argmax_only: bool = True) -> None:
        """Compile, allocate and capture whatever forwards of these T (and a prefill) need, outside every clock."""

    def prefill(
        self, prompts: Sequence[Sequence[int]], *, features: Sequence[int] = (), kept: Sequence[int] = ()
    ) -> Rows:
        """Start over with one user per prompt: cache positions 0..len-1, return each last token's logits [B, V].

        Args:
            prompts: B token-id sequences, 1 <= B <= max_users, each of 1 to max_seq_len tokens.
            features: layers whose hidden states are wanted too, concatenated (0 = embeddings, n = after the n-th layer,
                the number of layers itself = the final normed state).
            kept: how many first tokens of each prompt are cached already, fewer than all; given, the users are as many
                as before, and features are of the other tokens only.
        """

    def forward(
        self,
        tokens: Tensor,
        positions: Sequence[int],
        *,
        lengths: Sequence[int] | None = None,
        argmax_only: bool = False,
        features: Sequence[int] = (),
    ) -> Rows:
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
            Rows of float32 [B, T, V] logits or int64 [B, T] ids; those of idle users are undefined.
        """

    def synchronize(self) -> None:
        """Return when the device has finished all that was asked of it (clocks call this before they read the time)."""

    def close(self) -> None:
        """Release the cache, traces and device memory; may be called twice."""


def check_prompts(runner: ModelRunner, prompts: Sequence[Sequence[int]], features: Sequence[int] = ()) -> None:
    """BadInput unless `runner` has room for these prompts, and the features that are asked for."""
    check_features(runner, features)
    if not 1 <= len(prompts) <= runner.max_users:
        raise BadInput(f"{len(prompts)} prompts for {runner.name}, which was opened for 1 to {runner.max_users} users")
    for prompt in prompts:
        if not 1 <= len(prompt) <= runner.max_seq_len:
            holds = f"{runner.name}, which holds 1 to {runner.max_seq_len} per user"
            remedy = "shorten it or open the model with a larger max_seq_len"
            raise BadInput(f"a prompt of {len(prompt)} tokens for {holds}; {remedy}")
        if not 0 <= min(prompt) <= max(prompt) < runner.vocab_size:
            wrong = next(token for token in prompt if not 0 <= token < runner.vocab_size)
            known = f"the {runner.vocab_size} of {runner.name}"
            raise BadInput(f"token id {wrong} is not among {known}; encode with its own")


def check_forward(
    runner: ModelRunner,
    tokens: Tensor,
    positions: Sequence[int],
    lengths: Sequence[int] | None,
    features: Sequence[int] = (),
) -> list[int]:
    """How many of each user's tokens count (`lengths`, or all); BadInput unless `runner` can do this forward."""
    check_features(runner, features)
    if not isinstance(tokens, Tensor) or tokens.ndim != 2 or tokens.is_floating_point() or not tokens.numel():
        raise BadInput(f"the tokens of a forward of {runner.name} are {tokens!r:.80}; give an int64 tensor [users, T]")
    if not 0 <= int(tokens.min()) <= int(tokens.max()) < runner.vocab_size:
        raise BadInput(f"a forward of {runner.name} knows 0 to {runner.vocab_size - 1}, not all ids of {tokens!r:.80}")
    users, width = tokens.shape
    counts = [width] * users if lengths is None else whole_numbers(lengths, "lengths")
    if not len(whole_numbers(positions, "positions")) == len(counts) == users:
        raise BadInput(f"{len(positions)} positions and {len(counts)} lengths for {users} users; give one for each")
    if users > runner.max_users or width > runner.max_tokens_per_user:
        opened_for = f"{runner.max_users} users of {runner.max_tokens_per_user}"
        asked = f"{users} users of {width} tokens in one forward of {runner.name}"
        raise BadInput(f"{asked}, which was opened for {opened_for}")
    live = [entry for entry in enumerate(zip(positions, counts, strict=True)) if entry[1][0] != IDLE]
    if not live:
        raise BadInput(f"every user of a forward of {runner.name} is idle")
    for user, (start, count) in live:
        if not 1 <= count <= width:
            raise BadInput(f"{count} of {width} tokens of user {user} are to count in a forward; give 1 to {width}")
        if not 0 <= start <= runner.max_seq_len - count:
            limits = f"0..{runner.max_seq_len - 1}, all that {runner.name} holds; open it with a larger max_seq_len"
            raise BadInput(f"positions {start} to {start + count - 1} of user {user} are outside {limits}")
    return counts


def check_features(runner: ModelRunner, features: Sequence[int]) -> None:
    """BadInput if hidden states are asked for that `runner` cannot give."""
    wanted = whole_numbers(features, "the feature layers")
    if wanted and not runner.supports_features:
        raise BadInput(f"{runner.name} gives no hidden states; draft with a model or from the text (suffix)")
    last = getattr(runner, "num_layers", None)
    if wrong := [layer for layer in wanted if layer < 0 or last is not None and layer > last]:
        raise BadInput(f"{runner.name} has no layer {wrong[0]} to read; its layers are 0 (embeddings) to {last}")


def feed(
    forward: Callable[[Tensor, list[int], list[int]], Tensor],
    gaps: Mapping[int, Sequence[int]],
    starts: Mapping[int, int],
    *,
    users: int,
    width: int,
) -> dict[int, Tensor]:
    """Run the tokens of each user's gap through a model, from position `starts[user]` on, in passes of `width` at most;
    returns each user's last row ([V] logits or an id). The other users are idle.

    Args:
        forward: takes tokens [users, T], first positions and lengths as ModelRunner.forward does; returns rows.
    """
    rows: dict[int, Tensor] = {}
    for begin in range(0, max(map(len, gaps.values()), default=0), width):
        parts = {user: gap[begin : begin + width] for user, gap in gaps.items() if len(gap) > begin}
        tokens = torch.zeros((users, max(map(len, parts.values()))), dtype=torch.int64)
        positions, lengths = [IDLE] * users, [1] * users
        for user, part in parts.items():
            positions[user], lengths[user] = starts[user] + begin, len(part)
            tokens[user, : len(part)] = torch.tensor(part)
        output = forward(tokens, positions, lengths)
        rows |= {user: output[user, lengths[user] - 1] for user in parts}
    return rows


class RunClock:
    """The one clock: monotonic nanoseconds since it was made, less the time spent in paused()."""

    def __init__(self) -> None:
        self._zero = time.perf_counter_ns()

    def now(self, runner: ModelRunner) -> int:
        """Nanoseconds on this clock, read once `runner`'s device has done all it was asked."""
        runner.synchronize()
        return time.perf_counter_ns() - self._zero

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent inside does not count."""
        before = time.perf_counter_ns()
        try:
            yield
        finally:
            self._zero += time.perf_counter_ns() - before


@contextmanager
def watch_load(name: str) -> Iterator[ModelLoad]:
    """Measures what is done inside (load the model and run a first forward there); it is filled in at the end."""
    load, before, start = ModelLoad(name=name), resident_mb(), time.perf_counter_ns()
    yield load
    load.init_s, after = (time.perf_counter_ns() - start) / 1e9, resident_mb()
    load.host_rss_mb = None if before is None or after is None or after < before else after - before


def resident_mb() -> float | None:
    """Resident memory of this process in megabytes; None where the system does not tell: only Linux does."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return None

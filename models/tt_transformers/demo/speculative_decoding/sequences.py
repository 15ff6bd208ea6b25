# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""One user's sequence, and the only way to add tokens to it: `SequenceState.commit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from models.tt_transformers.demo.speculative_decoding.errors import BadInput

# Where an emitted token came from. "prefill": the first one; "plain": a round in which nothing was drafted.
Origin = Literal["prefill", "accepted", "recovered", "bonus", "plain"]
FinishReason = Literal["eos", "stop_string", "length", "max_seq_len"]


@dataclass(frozen=True, kw_only=True)
class StopConditions:
    """When a sequence ends. If several hold at one token, a stop token beats a stop string beats the limits.

    Attributes:
        max_new_tokens: emitted tokens at most.
        max_seq_len: prompt and emitted tokens together at most.
        stop_token_ids: the token that ends a sequence is kept, as transformers' generate keeps it.
        stop_strings: the token that completes one is kept, whole.
        decode: token ids -> text; needed for stop_strings.
    """

    max_new_tokens: int
    max_seq_len: int
    stop_token_ids: frozenset[int] = frozenset()
    stop_strings: tuple[str, ...] = ()
    decode: Callable[[Sequence[int]], str] | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise BadInput(f"max_new_tokens is {self.max_new_tokens}; at least 1 token must be asked for")
        if self.stop_strings and self.decode is None:
            raise BadInput("stop strings need a tokenizer, and the generator was given none")
        if not all(self.stop_strings):
            raise BadInput("an empty stop string would end every sequence at once; leave it out")

    def completes_stop_string(self, emitted: Sequence[int]) -> bool:
        """Whether the text of the emitted ids holds a stop string, given that it did not before the last of them."""
        if not self.stop_strings or self.decode is None:  # never the one without the other
            return False
        # A character takes at most four byte tokens, so this tail holds any stop string that the last token completes.
        tail = 4 * max(map(len, self.stop_strings)) + 8
        text = self.decode(emitted[-tail:])
        return any(stop in text for stop in self.stop_strings)


@dataclass
class SequenceState:
    """One user's tokens. The last one is *pending*: emitted, but not yet in the target's cache."""

    prompt: list[int]
    stop: StopConditions
    tokens: list[int] = field(init=False)
    origins: list[Origin] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    emitted_ns: list[int] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    def __post_init__(self) -> None:
        if not self.prompt:
            raise BadInput("a prompt is empty; it must hold at least one token")
        if len(self.prompt) >= self.stop.max_seq_len:
            raise BadInput(
                f"a prompt of {len(self.prompt)} tokens leaves no room in max_seq_len {self.stop.max_seq_len}; "
                "shorten the prompt or raise max_seq_len"
            )
        self.tokens = list(self.prompt)

    @property
    def emitted(self) -> list[int]:
        return self.tokens[len(self.prompt) :]

    @property
    def finished(self) -> bool:
        return self.finish_reason is not None

    @property
    def pending_position(self) -> int:
        return len(self.tokens) - 1

    @property
    def room(self) -> int:
        """How many more tokens may be emitted; 0 when finished."""
        if self.finished:
            return 0
        return min(self.stop.max_new_tokens - len(self.origins), self.stop.max_seq_len - len(self.tokens))

    def commit(self, token: int, origin: Origin, source: str, now_ns: int) -> None:
        """Append one token, and end the sequence if it says so; callers stop at `finished`: nothing comes after it."""
        if self.finished:
            raise RuntimeError("a token was committed to a finished sequence")
        self.tokens.append(token)
        self.origins.append(origin)
        self.sources.append(source)
        self.emitted_ns.append(now_ns)
        if token in self.stop.stop_token_ids:
            self.finish_reason = "eos"
        elif self.stop.completes_stop_string(self.emitted):
            self.finish_reason = "stop_string"
        elif len(self.origins) == self.stop.max_new_tokens:
            self.finish_reason = "length"
        elif len(self.tokens) == self.stop.max_seq_len:
            self.finish_reason = "max_seq_len"

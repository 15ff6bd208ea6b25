# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What is asked for, the sequences that it becomes, and the only way to add tokens to one: `SequenceState.commit`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, cast

from models.tt_transformers.demo.speculative_decoding import inputs
from models.tt_transformers.demo.speculative_decoding.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Decode = Callable[[Sequence[int]], str]  # token ids of one sequence -> its text
# Where an emitted token came from. "prefill": the first one; "plain": a round in which nothing was drafted.
Origin = Literal["prefill", "accepted", "recovered", "bonus", "plain"]
FinishReason = Literal["eos", "stop_string", "length", "max_seq_len"]
MAX_NEW_TOKENS = 128  # where nobody says how many


@dataclass(frozen=True)
class TokenLogprob:
    """What the target thought of an emitted token: natural logarithms under the distribution it was chosen from."""

    logprob: float
    best: tuple[tuple[int, float], ...]  # the likeliest ids there, as many as were asked for


@dataclass(frozen=True, kw_only=True)
class StopConditions:
    """When a sequence ends. If several hold at one token, a stop token beats a stop string beats the limits."""

    max_new_tokens: int = MAX_NEW_TOKENS
    max_seq_len: int  # prompt and emitted tokens together
    stop_token_ids: Collection[int] = frozenset()  # the one that comes is kept, as transformers' generate keeps it
    stop_strings: Sequence[str] = ()  # the token that completes one is kept, whole
    decode: Decode | None = None  # needed for stop_strings

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_seq_len"):
            object.__setattr__(self, name, inputs.whole_number(getattr(self, name), name))
        ids = inputs.whole_numbers(self.stop_token_ids, "stop_token_ids")
        object.__setattr__(self, "stop_token_ids", frozenset(ids))
        object.__setattr__(self, "stop_strings", inputs.texts(self.stop_strings, "stop_strings"))
        if self.max_new_tokens < 1:
            raise BadInput(f"max_new_tokens is {self.max_new_tokens}; at least 1 token must be asked for")
        if self.stop_strings and self.decode is None:
            raise BadInput("stop strings need a tokenizer, and the generator was given none")
        if not all(self.stop_strings):
            raise BadInput("an empty stop string would end every sequence at once; leave it out")

    def completes_stop_string(self, tokens: Sequence[int], first: int) -> bool:
        """Whether the text of tokens[first:] holds a stop string, given that it did not before the last of them."""
        if not self.stop_strings or self.decode is None:  # never the one without the other
            return False
        # A character takes at most four byte tokens, so this tail holds any stop string that the last token completes.
        tail = 4 * max(map(len, self.stop_strings)) + 8
        text = self.decode(tokens[max(first, len(tokens) - tail) :])
        return any(stop in text for stop in self.stop_strings)


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """What to generate: prompts that run together, one per user, and when each of them ends (see inputs.py)."""

    prompts: Sequence[Sequence[int] | str] | str  # token ids, or text where the generator has a tokenizer
    max_new_tokens: int = MAX_NEW_TOKENS  # per user
    stop_token_ids: Sequence[int] | None = None  # None: the target's end-of-sequence ids
    stop_strings: Sequence[str] = ()
    stops: Sequence[StopConditions] | None = None  # each prompt's own, in place of the three above
    seeds: Sequence[int] | None = None  # of the users' random generators, one per prompt; None: the sampling's + user
    reuse: bool = False  # what the last generation cached of the prompts' beginnings is not computed again
    logprobs: int | None = None  # 0 to 100: tell each token's log-probability, and so many of the best there

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompts", inputs.prompts(self.prompts))
        object.__setattr__(self, "stop_strings", inputs.texts(self.stop_strings, "stop_strings"))
        for name in ("stop_token_ids", "seeds"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, inputs.whole_numbers(given, name))
        if self.logprobs is not None and not 0 <= inputs.whole_number(self.logprobs, "logprobs") <= 100:
            raise BadInput(f"logprobs {self.logprobs} is not in 0..100; None asks for no log-probabilities")
        if not all(0 <= seed < 2**63 for seed in self.seeds or ()):
            raise BadInput(f"seeds is {self.seeds}; give whole numbers from 0 to 2**63 - 1")
        if not isinstance(self.reuse, bool):
            raise BadInput(f"reuse is {self.reuse!r}; give True or False")
        if self.stops is not None:
            stops = [self.stops] if isinstance(self.stops, StopConditions) else list(self.stops)
            if not all(isinstance(stop, StopConditions) for stop in stops):
                raise BadInput("stops holds something that is no StopConditions; give one per prompt")
            object.__setattr__(self, "stops", stops)
        if not self.prompts:
            raise BadInput("no prompts were given")
        for what, given in (("stop conditions", self.stops), ("seeds", self.seeds)):
            if given is not None and len(given) != len(self.prompts):
                raise BadInput(f"{len(given)} {what} for {len(self.prompts)} prompts; give one per prompt, or none")

    @classmethod
    def of(cls, request: GenerationRequest | Sequence[Sequence[int] | str], **options: Any) -> GenerationRequest:
        """A request as it is, or prompts and the other attributes by name."""
        known = [field.name for field in fields(cls)][1:]
        if unknown := options.keys() - set(known):
            raise BadInput(f"{min(unknown)} is no option of a generation; give any of {', '.join(known)}")
        if not isinstance(request, GenerationRequest):
            return cls(prompts=request, **options)
        if options:
            raise BadInput(f"a whole request and {', '.join(options)} were given; put them into the request")
        return request

    def sequences(self, shared: StopConditions, tokenizer: PreTrainedTokenizerBase | None) -> list[SequenceState]:
        """One per prompt, which ends by its own conditions or else by the shared ones; BadInput for a text without a
        tokenizer, and for conditions of a longer max_seq_len than the shared ones'."""
        prompts: list[list[int]] = []
        for prompt in self.prompts:
            if isinstance(prompt, str):
                if tokenizer is None:
                    raise BadInput("a prompt is a text, but the generator has no tokenizer; pass one, or token ids")
                prompt = tokenizer.encode(prompt)
            prompts.append(list(prompt))
        stops = self.stops or [shared] * len(prompts)
        if (longest := max(stop.max_seq_len for stop in stops)) > shared.max_seq_len:
            remedy = "lower the stop's max_seq_len or open the target with a larger one"
            raise BadInput(f"a stop at {longest} tokens, but the target holds {shared.max_seq_len} per user; {remedy}")
        return [SequenceState(prompt=prompt, stop=stop) for prompt, stop in zip(prompts, stops, strict=True)]


@dataclass
class SequenceState:
    """One user's tokens. The last one is *pending*: emitted, but not yet in the target's cache."""

    prompt: list[int]
    stop: StopConditions
    tokens: list[int] = field(init=False)
    origins: list[Origin] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    emitted_ns: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob | None] = field(default_factory=list)  # None: not asked for
    finish_reason: FinishReason | None = None

    def __post_init__(self) -> None:
        if not self.prompt:
            raise BadInput("a prompt is empty; it must hold at least one token")
        if len(self.prompt) >= self.stop.max_seq_len:
            full = f"a prompt of {len(self.prompt)} tokens leaves no room in max_seq_len {self.stop.max_seq_len}"
            raise BadInput(f"{full}; shorten the prompt or raise max_seq_len")
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

    def commit(self, token: int, origin: Origin, source: str, now_ns: int, logprob: TokenLogprob | None = None) -> None:
        """Append one token, and end the sequence if it says so; callers stop at `finished`: nothing comes after it."""
        if self.finished:
            raise RuntimeError("a token was committed to a finished sequence")
        self.tokens.append(token)
        self.origins.append(origin)
        self.sources.append(source)
        self.emitted_ns.append(now_ns)
        self.logprobs.append(logprob)
        if token in self.stop.stop_token_ids:
            self.finish_reason = "eos"
        elif self.stop.completes_stop_string(self.tokens, len(self.prompt)):
            self.finish_reason = "stop_string"
        elif len(self.origins) == self.stop.max_new_tokens:
            self.finish_reason = "length"
        elif len(self.tokens) == self.stop.max_seq_len:
            self.finish_reason = "max_seq_len"

    def cut(self, emitted: int) -> None:
        """Forget all emitted tokens but the first so many."""
        del self.tokens[len(self.prompt) + emitted :]
        for kept in (self.origins, self.sources, self.emitted_ns, self.logprobs):
            del kept[emitted:]
        self.finish_reason = None


def decoder(tokenizer: PreTrainedTokenizerBase) -> Decode:
    """tokenizer.decode, as the text of one sequence (transformers declares it for batches too: a list of texts)."""
    return cast("Decode", tokenizer.decode)


class TextStream:
    """The text that each token of a sequence adds, at a cost that does not grow with the sequence.

    A character of several tokens belongs to the last of them. Each time the piece that was shown last is decoded
    without and with the new tokens, and the difference is what is new: a tokenizer that drops the space before a text
    drops it from both, and a piece begins where a character does.
    """

    LONGEST_CHARACTER = 8  # in tokens: what is not whole by then never will be

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._shown: list[int] = []  # the tokens of the last piece of text
        self._new: list[int] = []

    def add(self, token: int) -> str:
        """What is now known of the text, after what was returned before."""
        self._new.append(token)
        return self._take(whole=len(self._new) < self.LONGEST_CHARACTER)

    def rest(self) -> str:
        """What was held back; the sequence has ended."""
        return self._take()

    def _take(self, *, whole: bool = False) -> str:
        """The new text; `whole`: only if its last character is."""
        text = self._decode(self._shown + self._new)[len(self._decode(self._shown)) :]
        if whole and (not text or text.endswith("\N{REPLACEMENT CHARACTER}")):
            return ""
        if text:
            self._shown = self._new
        self._new = []
        return text

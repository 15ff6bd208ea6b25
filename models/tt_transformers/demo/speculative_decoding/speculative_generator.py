# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Speculative decoding: prefill, then rounds of draft -> verify -> accept -> commit.

Invariant after every round, for every user: the target has cached exactly the committed tokens but the last (the
pending one); whatever lies beyond is garbage that nothing reads.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.acceptance import Acceptance, SamplingParams, Verdicts, accept
from models.tt_transformers.demo.speculative_decoding.batch import Batch, TokenEvent
from models.tt_transformers.demo.speculative_decoding.drafters import Draft, Drafter, DraftRequest, check_fit, of_last
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import check_kind, whole_number
from models.tt_transformers.demo.speculative_decoding.lookahead import FixedLookahead, Lookahead
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.processors import chooser_of, processors_of
from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelRunner, RunClock, check_prompts, turns_of
from models.tt_transformers.demo.speculative_decoding.sequences import (
    GenerationRequest,
    StopConditions,
    decoder,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Prompts = Sequence[Sequence[int] | str]
OnToken = Callable[["TokenEvent"], None]


class SpeculativeGenerator:
    """Writes exactly what `target` alone would write, in fewer passes of it.

    Args:
        target: the model whose text is wanted.
        drafter: proposes tokens; None is plain decoding.
        num_draft_tokens: K, 0 to 31; shorthand for lookahead=FixedLookahead(K).
        lookahead: chooses K round by round instead.
        sampling: greedy by default. Both the target's p and the drafter's q are made with it.
        processors: of logits (processors.py; transformers' own as they are), after those that the target's
            generation_config asks for. p and q pass through them, each row with the history that it has.
        verify_width: every verify runs at least this many rows per user (pending, drafts, then repeats that nobody
            reads). With K + 1, and plain decoding as wide, both use the same kernels, and even low precision gives the
            same tokens (TorchModelRunner: opened `exact`); it costs the widest verify in every round.
        tokenizer: needed for stop strings, for prompts given as text and for the text of results.

    BadInput if K is out of range, or wants more tokens per user than the target takes in one forward.
    """

    def __init__(
        self,
        target: ModelRunner,
        drafter: Drafter | None = None,
        *,
        num_draft_tokens: int = 4,
        lookahead: Lookahead | None = None,
        sampling: SamplingParams = SamplingParams(),
        processors: object = (),
        verify_width: int = 1,
        tokenizer: "PreTrainedTokenizerBase | None" = None,
    ) -> None:
        check_kind("target", target, known_by="prefill", example="TorchModelRunner")
        check_kind("sampling", sampling, known_by="greedy", example="SamplingParams")
        if drafter is not None:
            check_kind("drafter", drafter, known_by="propose", example="ModelDrafter")
        if lookahead is not None:
            check_kind("lookahead", lookahead, known_by="next", example="FixedLookahead")
        if tokenizer is not None:
            check_kind("tokenizer", tokenizer, known_by="decode", example="tokenizer")
        self.verify_width = whole_number(verify_width, "verify_width")
        self.target, self.drafter, self.sampling, self.tokenizer = target, drafter, sampling, tokenizer
        self._decode = decoder(tokenizer) if tokenizer else None
        self._processors = processors_of(target, processors)
        # What decides upon the tokens, as PlainDecoder takes it.
        self.how: dict[str, Any] = {"sampling": sampling, "processors": processors, "width": self.verify_width}
        self.lookahead = lookahead or FixedLookahead(num_draft_tokens if drafter is not None else 0)
        if ignored := getattr(target, "ignored_settings", None):
            warnings.warn(f"{target.name}'s generation_config sets {ignored}, which is ignored here", stacklevel=2)
        wanted = max(self.lookahead.max_draft_tokens + 1, self.verify_width)
        if wanted > target.max_tokens_per_user:
            limit = f"{target.name} takes {target.max_tokens_per_user}; ask for K <= {target.max_tokens_per_user - 1}"
            raise BadInput(f"K = {wanted - 1} verifies {wanted} tokens per user at once, but {limit}")
        if drafter is not None:
            check_fit(target, drafter)
        self._layers = drafter.feature_layers if drafter is not None else ()
        # Of all that remembers something of a generation, and so is one generation's at a time.
        holders = [target, self.lookahead, *([drafter] if drafter is not None else [])]
        self._turns = sorted((turns for holder in holders for turns in turns_of(holder)), key=id)
        self._last: Batch | None = None  # the generation that the caches hold, unless they have another owner since

    def undrafted(self) -> "SpeculativeGenerator":
        """The same loop with nothing drafted: what it costs beside plain decoding is the loop's own."""
        how: dict[str, Any] = {"verify_width": self.verify_width, "tokenizer": self.tokenizer}
        how |= {"sampling": self.sampling, "processors": self.how["processors"]}
        return SpeculativeGenerator(self.target, num_draft_tokens=0, **how)

    def generate(
        self, request: GenerationRequest | Prompts, *, on_token: OnToken | None = None, **options: Any
    ) -> list[GenerationResult]:
        """Generate for all prompts together: the whole request, or its prompts and its other attributes by name. One
        result per prompt, in their order; on_token is called for every emitted token, in order, outside the clocks."""
        batch = self.new_batch(request, **options)
        for event in self.events(batch):
            if on_token is not None:
                on_token(event)
        return self.results(batch)

    def stream(self, request: GenerationRequest | Prompts, **options: Any) -> Iterator[TokenEvent]:
        """Like generate(), as an iterator of tokens; it may be left at any token."""
        return self.events(self.new_batch(request, **options))

    def events(self, batch: Batch) -> Iterator[TokenEvent]:
        """Begin a new batch and run it to its end, token by token; results() says what it was."""
        events = self.prefill_both_models(batch)
        while True:
            with batch.clock.paused():  # what the consumer does with the tokens is not the models' time
                yield from events
            if all(sequence.finished for sequence in batch.sequences):
                return
            events = self.speculative_decode_step(batch)

    @contextmanager
    def turn(self, batch: Batch, *, begins: bool = False) -> Iterator[None]:
        """Nobody else touches meanwhile what this generation uses; BadInput if another took it since this one began."""
        with ExitStack() as held:
            for turns in self._turns:
                held.enter_context(turns.lock)
            if not begins and any(turns.owner is not batch for turns in self._turns):
                what = f"{self.target.name} or its drafter, whose caches hold one generation at a time"
                remedy = "finish a stream before the next, or open a runner, a drafter and a lookahead for each"
                raise BadInput(f"another generation has begun on {what}, or they were closed; {remedy}")
            yield
            for turns in self._turns:
                turns.owner = batch

    def resume(self, batch: Batch) -> None:
        """Cache all that is committed but the pending tokens anew, in both models: what a caller changed of the
        sequences between rounds (SequenceState.cut) is then as if it had been generated."""
        with self.turn(batch, begins=True):
            contexts = [sequence.tokens[:-1] for sequence in batch.sequences]
            prefilled = self.target.prefill(contexts, features=self._layers)
            if self.drafter is not None:
                self.drafter.start(contexts, prefilled.features)
            self.lookahead.start(len(contexts))

    def prefill_both_models(self, batch: Batch) -> list[TokenEvent]:
        """Cache every prompt in the target and in the drafter; the target's prefill yields each user's first token."""
        if batch.sequences[0].origins:
            raise BadInput("this generation has begun already; make a new_batch for each")
        with self.turn(batch, begins=True):
            prompts = [sequence.prompt for sequence in batch.sequences]
            batch.kept = self._cached(batch)
            prefilled = self.target.prefill(prompts, features=self._layers, **of_last(batch.kept))
            rows = [
                chooser.rows(row[None], prompt)
                for chooser, row, prompt in zip(batch.choosers, prefilled.values, prompts, strict=True)
            ]
            first = [row.choose(0, generator) for row, generator in zip(rows, batch.generators, strict=True)]
            batch.target_ttft_ns = batch.clock.now(self.target)
            if self.drafter is not None:
                self.drafter.start(prompts, prefilled.features, **of_last(batch.kept))
            self.lookahead.start(len(prompts))
            self._last = batch
            now = batch.clock.now(self.target)
            of_row: dict[str, Any] = {"verdicts": rows, "index": 0}
            return [batch.commit(user, token, "prefill", "", now, **of_row) for user, token in enumerate(first)]

    def _cached(self, batch: Batch) -> list[int]:
        """Per user how many first tokens of the prompt the caches hold from the last generation, fewer than all."""
        last, ours = self._last, all(turns.owner is self._last for turns in self._turns)
        usable = batch.reuse and self.target.supports_reuse and ours
        if last is None or not usable or len(last.sequences) != len(batch.sequences):
            return [0] * len(batch.sequences)
        counts = []
        for before, now in zip(last.sequences, batch.sequences, strict=True):
            same = zip(before.tokens[:-1], now.prompt[:-1])
            common = next((i for i, (one, other) in enumerate(same) if one != other), None)
            common = min(len(before.tokens), len(now.prompt)) - 1 if common is None else common
            counts.append(max(0, common - bool(self._layers)))  # a head's entry pairs a state with the token after it
        return counts

    def speculative_decode_step(self, batch: Batch) -> list[TokenEvent]:
        """One round for every user who has not ended: draft, verify, accept, commit."""
        with self.turn(batch):
            start = batch.clock.now(self.target)
            draft = self.generate_draft_tokens(batch)
            fused = draft.choices is not None
            drafted = start if fused else batch.clock.now(self.target)
            acceptance = self.verify_draft_tokens(batch, draft)
            verified = batch.clock.now(self.target)
            events, records = batch.commit_round(draft, acceptance, verified)
            total_ns = batch.clock.now(self.target) - start
            times = {"draft_ns": drafted - start, "verify_ns": verified - drafted, "total_ns": total_ns}
            told: dict[str, Any] = {**times, "catch_up": draft.catch_up, "fused": fused, "apart": draft.apart}
            own: Sequence[int | None] = draft.own_ns or [None] * len(records)
            batch.rounds.append([r and replace(r, **told, own_ns=ns) for r, ns in zip(records, own, strict=True)])
            self.lookahead.observe(batch.rounds[-1])
            return events

    def generate_draft_tokens(self, batch: Batch) -> Draft:
        """Ask the drafter for up to K tokens per user; one token of the room left is always the target's own."""
        rooms = [max(0, sequence.room - 1) for sequence in batch.sequences]
        contexts = [sequence.tokens for sequence in batch.sequences]
        kinds = self.lookahead.settle(self.drafter.expect(contexts) if self.drafter else [None] * len(rooms))
        counts = self.lookahead.next(rooms, kinds)
        if self.drafter is None or not any(counts):
            return Draft([[] for _ in rooms], [None] * len(rooms), [[] for _ in rooms])
        request = DraftRequest(
            contexts=contexts,
            counts=counts,
            sampling=self.sampling,
            choosers=batch.choosers,
            generators=batch.generators,
            min_probability=self.lookahead.min_probability,
            vocab_size=self.target.vocab_size,
            active=[not sequence.finished for sequence in batch.sequences],
            kinds=kinds,
            further=self.lookahead.further(rooms),
            judge=self.target if self.verify_width == 1 and batch.by_ids else None,
            **({} if batch.by_ids else {"unjudged": "logits are wanted, and a round in one go gives ids"}),
        )
        return self.drafter.propose(request)

    def verify_draft_tokens(self, batch: Batch, draft: Draft) -> Acceptance:
        """Run the pending token and all drafted ones through the target in ONE forward, unless that is done already,
        and judge every draft."""
        target: Sequence[Verdicts]
        target, features = (draft.choices, None) if draft.choices is not None else self._forward(batch, draft)
        active = [not sequence.finished for sequence in batch.sequences]
        acceptance = accept(draft.tokens, target, active=active, draft_probs=draft.probs, generators=batch.generators)
        if self.drafter is not None:
            self.drafter.observe(acceptance.accepted_counts, features)
        return acceptance

    def _forward(self, batch: Batch, draft: Draft) -> tuple[Sequence[Verdicts], Sequence[Tensor] | None]:
        """Per user the target's choices, or its p, after the pending token and each draft; and features."""
        rows, positions = [], []
        for sequence, drafted in zip(batch.sequences, draft.tokens, strict=True):
            row = [sequence.tokens[-1], *drafted]
            most = self.target.max_seq_len - sequence.pending_position
            rows.append(row + row[:1] * (min(self.verify_width, most) - len(row)))
            positions.append(IDLE if sequence.finished else sequence.pending_position)
        lengths = list(map(len, rows))
        tokens = torch.tensor([row + [0] * (max(lengths) - len(row)) for row in rows])
        by_ids = batch.by_ids
        verified = self.target.forward(tokens, positions, lengths=lengths, argmax_only=by_ids, features=self._layers)
        if by_ids:
            return verified.values.tolist(), verified.features
        users = zip(batch.choosers, verified.values, batch.sequences, draft.tokens, strict=True)
        verdicts = [
            chooser.rows(rows[: len(drafted) + 1], [*sequence.tokens, *drafted])
            for chooser, rows, sequence, drafted in users
        ]
        return verdicts, verified.features

    def new_batch(self, request: GenerationRequest | Prompts, **options: Any) -> Batch:
        """Check the request (see generate()) and make its state; the clock starts here."""
        asked = GenerationRequest.of(request, **options)
        shared = self.stop_conditions(
            max_new_tokens=asked.max_new_tokens, stop_token_ids=asked.stop_token_ids, stop_strings=asked.stop_strings
        )
        sequences = asked.sequences(shared, self.tokenizer)
        check_prompts(self.target, [sequence.prompt for sequence in sequences])
        seeds = asked.seeds or range(self.sampling.seed, self.sampling.seed + len(sequences))
        choosers = [chooser_of(sequence, self.sampling, self._processors) for sequence in sequences]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return Batch(sequences, choosers, generators, asked.logprobs, RunClock(), reuse=asked.reuse)

    def stop_conditions(self, *, stop_token_ids: Sequence[int] | None = None, **limits: Any) -> StopConditions:
        """When a sequence of this target ends; `limits`: max_new_tokens and stop_strings, as in GenerationRequest."""
        ids = self.target.eos_token_ids if stop_token_ids is None else stop_token_ids
        return StopConditions(max_seq_len=self.target.max_seq_len, stop_token_ids=ids, decode=self._decode, **limits)

    def results(self, batch: Batch) -> list[GenerationResult]:
        """The finished (or abandoned) generation, user by user."""
        if not batch.sequences[0].origins:
            raise BadInput("a generation that has not begun has no results; run its prefill_both_models first")
        found, ttft_ns = [], batch.target_ttft_ns
        for user, sequence in enumerate(batch.sequences):
            rounds = [record for records in batch.rounds if (record := records[user]) is not None]
            found.append(GenerationResult.of(sequence, target_ttft_ns=ttft_ns, rounds=rounds, decode=self._decode))
        return found

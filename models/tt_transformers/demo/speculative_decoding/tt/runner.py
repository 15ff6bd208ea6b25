# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""ModelRunner over tt_transformers, for target and draft alike (runner.py says what that means)."""

import gc
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.runner import (
    IDLE,
    ModelLoad,
    Rows,
    Turns,
    check_forward,
    check_prompts,
    feed,
)
from models.tt_transformers.demo.speculative_decoding.tt.decode_step import DecodeStep
from models.tt_transformers.demo.speculative_decoding.tt.eagle_follower import EagleFollower
from models.tt_transformers.demo.speculative_decoding.tt.fused_round import FusedRound
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import TILE_ROWS
from models.tt_transformers.demo.speculative_decoding.tt.loading import LoadedModel
from models.tt_transformers.demo.speculative_decoding.tt.memory import BLOCK_SIZE

STEP_AS_PREFILLED = 64  # tokens that are prefilled in about the time of a decode: 43 of 128 for 8B on N150 (published)


class TTModelRunner:
    """A language model on a Tenstorrent mesh; tt/pair.py opens one, or two that share the device.

    What keeps traces safe is an order: compile() everything for every model on the mesh, and only then capture() for
    each. Buffers and programs that are made after a capture may be overwritten by its replay. warmup() does both, for
    a model that is alone. What was not captured runs untraced; nothing is captured later on.

    Prefills are never traced, and each user is prefilled alone, so that a prompt gives the same logits in any company.
    `model`: what load_model() returned, compiled for users * max_tokens_per_user (the largest T) rows or more;
    `turn`: of a prompt that goes on from what is cached, how many tokens of each user one decode takes (0: none goes
    on); `enable_trace`: whether capture() captures."""

    def __init__(self, model: LoadedModel, *, max_tokens_per_user: int, turn: int = 0, enable_trace: bool) -> None:
        args = model.args
        self.name: str = args.model_name
        self.vocab_size: int = model.head.vocab_size if model.head else args.vocab_size
        self.max_users, self.max_seq_len = model.cache.users, model.cache.max_seq_len
        self.max_tokens_per_user, self.turn, self.enable_trace = max_tokens_per_user, turn, enable_trace
        self.supports_reuse = turn > 0
        self.tokenizer = args.tokenizer
        eos = args.hf_config.eos_token_id
        eos = eos if isinstance(eos, (list, tuple)) else [eos]
        self.eos_token_ids = frozenset([*eos, *args.tokenizer.stop_tokens]) - {None}
        self.turns = Turns()
        self.processors: Sequence[object] = ()  # of logits; who opens it knows the generation_config
        self.load: ModelLoad | None = None  # what opening it cost, if it was measured
        self._model: LoadedModel | None = model
        self._steps: dict[tuple[int, bool], DecodeStep] = {}  # by (T, argmax_only)
        self.rounds: dict[int, FusedRound] = {}  # by K: those that it takes part in, shared with the other model
        self.unfused: dict[int, str] = {}  # by K: why there is none
        self.follower: EagleFollower | None = None  # a head that reads its hidden states, which stay on the device
        self.supports_features = False  # only to be followed, and there is none
        self._prefiller = model.upstream.Generator(
            [model.transformer], [args], model.mesh_device, tokenizer=args.tokenizer
        )

    def warmup(self, tokens_per_user: Sequence[int], *, argmax_only: bool = True) -> None:
        """See ModelRunner. Does nothing where pair.warmup_together() has done it already."""
        self.compile(tokens_per_user, argmax_only=argmax_only)
        self.capture()

    def follow(self, follower: EagleFollower) -> None:
        """From now on a head follows it, wherever the features that it reads are asked for. It reads whole prefills."""
        self.follower, self.supports_features, self.supports_reuse = follower, True, False

    def compile(self, tokens_per_user: Sequence[int], *, argmax_only: bool = True) -> None:
        """Run a decode of each T, and a prefill of each padded length, untraced; the cache holds garbage afterwards."""
        if not self._steps:
            self._compile_prefill()
        for width in tokens_per_user:
            if (width, argmax_only) not in self._steps:
                step = self._new_step(width, argmax_only)
                counts = [width] * self.max_users
                step.run(*self._blank(width), counts, enable_trace=False, prepare=self.enable_trace)

    def capture(self) -> None:
        """Capture one trace for each T that was compiled, if traces are enabled."""
        for step in self._steps.values():
            if self.enable_trace and not step.captured:
                step.capture(*self._blank(step.tokens_per_user))

    def prefill(
        self, prompts: Sequence[Sequence[int]], *, features: Sequence[int] = (), kept: Sequence[int] = ()
    ) -> Rows:
        """See ModelRunner; what is `kept` is computed again all the same where that takes no longer."""
        check_prompts(self, prompts, features)
        self.turns.owner, follower = None, self._followed(features)
        goes_on = {user: count for user, count in enumerate(kept) if self._is_worth_keeping(count, len(prompts[user]))}
        rows = self._go_on(prompts, goes_on) if goes_on else {}
        rows |= {u: self._prefill_user(u, prompt, follower) for u, prompt in enumerate(prompts) if u not in rows}
        logits = torch.stack([rows[user] for user in range(len(prompts))])
        if self.follower is not None:
            self.follower.start(prompts if follower else [])
        self._check(logits[:, None], [len(prompt) - 1 for prompt in prompts], [1] * len(prompts))
        return Rows(self._of_vocabulary(logits))

    def forward(
        self,
        tokens: Tensor,
        positions: Sequence[int],
        *,
        lengths: Sequence[int] | None = None,
        argmax_only: bool = False,
        features: Sequence[int] = (),
    ) -> Rows:
        """See ModelRunner."""
        counts = check_forward(self, tokens, positions, lengths, features)
        if follower := self._followed(features):
            follower.catch_up(tokens[:, 0].tolist(), positions)
        elif self.follower is not None:
            self.follower.step_aside()
        rows = self._decode(tokens, positions, counts, argmax_only)
        if follower:
            fed = [row[:count] for row, count in zip(tokens.tolist(), counts, strict=True)]
            follower.verified(fed, positions, self._step(tokens.shape[1], argmax_only).tokens_per_user)
        self._check(rows, positions, counts)
        return Rows(self._of_vocabulary(rows))

    def _followed(self, features: Sequence[int]) -> EagleFollower | None:
        """The head, if it is to follow a pass of which these features are asked for."""
        if features and self.follower and tuple(features) != self.follower.taps.layers:
            raise BadInput(f"{self.name} has taps at layers {list(self.follower.taps.layers)}, not {list(features)}")
        return self.follower if features else None

    def _decode(self, tokens: Tensor, positions: Sequence[int], counts: Sequence[int], argmax_only: bool) -> Tensor:
        """Ids [B, T] or logits [B, T, N] of the output layer; rows that nobody asked for hold anything."""
        users, width = tokens.shape
        step = self._step(width, argmax_only)
        rows = step.run(tokens, positions, counts, enable_trace=step.captured)
        return rows.reshape(self.max_users, step.tokens_per_user, *rows.shape[1:])[:users, :width]

    def _of_vocabulary(self, rows: Tensor) -> Tensor:
        """Of a trimmed head's columns or logits: the ids, or the logits of the whole vocabulary."""
        if (head := self.model.head) is None:
            return rows
        return head.whole(rows) if rows.is_floating_point() else head.ids(rows.clamp(0, len(head) - 1))

    def synchronize(self) -> None:
        """See ModelRunner."""
        self.model.upstream.ttnn.synchronize_device(self.model.mesh_device)

    def close(self) -> None:
        """Release traces, weights, cache and its generation; the device stays open. May be called again and again."""
        with self.turns.lock:
            held: list[FusedRound | DecodeStep] = [*self.rounds.values(), *self._steps.values()]
            model, self.turns.owner = self._model, None
            self.rounds.clear()  # the other model's too: it goes on step by step
            self._steps, self._model, self._prefiller = {}, None, None
            follower, self.follower = self.follower, None
        try:
            if follower is not None:
                follower.release()
            while held:
                held.pop().release()
        finally:
            if model is not None:
                sampling = getattr(model.transformer, "sampling", None)
                if sampling is not None:
                    sampling.reset_trace()  # a trace of its own, which no Generator releases
                model.transformer, model.kv_cache = None, []
                gc.collect()  # upstream's modules are full of cycles

    @property
    def model(self) -> LoadedModel:
        """What is on the mesh, while it is."""
        if self._model is None:
            raise RuntimeError(f"{self.name} is closed; open it again")
        return self._model

    def _new_step(self, width: int, argmax_only: bool) -> DecodeStep:
        if self.model.captured:
            wanted = f"{width} tokens per user ending in {'ids' if argmax_only else 'logits'}"
            remedy = "name that when it is opened (num_draft_tokens, sampling, confidence_stop)"
            raise BadInput(f"{self.name} has captured its traces, but none for {wanted}; {remedy}")
        step = DecodeStep(self.model, users=self.max_users, tokens_per_user=width, argmax_only=argmax_only)
        return self._steps.setdefault((width, argmax_only), step)

    def _step(self, width: int, argmax_only: bool) -> DecodeStep:
        """The narrowest decode that is ready and wide enough (its other rows stay idle), else a new one."""
        ready = [T for T, ends_in_ids in self._steps if T >= width and ends_in_ids == argmax_only]
        return self._steps[min(ready), argmax_only] if ready else self._new_step(width, argmax_only)

    def _blank(self, width: int) -> tuple[Tensor, list[int]]:
        """Tokens and positions for a decode whose result does not matter."""
        return torch.zeros((self.max_users, width), dtype=torch.int64), [0] * self.max_users

    def _is_worth_keeping(self, kept: int, size: int) -> bool:
        """Whether decodes of a prompt's other tokens take less time than a prefill of all."""
        if not self.supports_reuse or not kept:
            return False
        decodes = -(-(size - kept) // self.turn)
        return decodes * STEP_AS_PREFILLED <= self.model.upstream.get_padded_prefill_len(size)

    def _go_on(self, prompts: Sequence[Sequence[int]], kept: dict[int, int]) -> dict[int, Tensor]:
        """The last token's logits of prompts whose first tokens are cached, so many of each user's."""

        def forward(tokens: Tensor, positions: list[int], lengths: list[int]) -> Tensor:
            return self._decode(tokens, positions, lengths, argmax_only=False)

        gaps = {user: prompts[user][count:] for user, count in kept.items()}
        return feed(forward, gaps, kept, users=len(prompts), width=self.turn)

    def _prefill_user(self, user: int, prompt: Sequence[int], follower: EagleFollower | None = None) -> Tensor:
        model = self.model
        padded = model.upstream.get_padded_prefill_len(len(prompt))
        with follower.reading(user, prompt) if follower else nullcontext():
            logits = self._prefiller.prefill_forward_text(
                torch.tensor([list(prompt)]),
                page_table=torch.tensor([model.cache.table_row(user, tokens=padded)], dtype=torch.int32),
                kv_cache=[model.kv_cache],
                prompt_lens=[len(prompt)],
                empty_slots=[user],
                enable_trace=False,
                warmup_prefill=False,  # upstream's own would capture traces now, and write to blocks in use
            )
        return logits[0, 0].float()

    def _compile_prefill(self) -> None:
        """Compile a prefill of every padded length, and of every 32-row tile that a prompt's last token may lie in:
        each is sliced out by a program of its own, and the hidden states of one prefill serve them all."""
        model, transformer = self.model, self.model.transformer
        for padded in sorted({model.upstream.get_padded_prefill_len(n) for n in range(1, self.max_seq_len + 1)}):
            self._prefill_user(0, [0] * min(padded, self.max_seq_len), self.follower)
            if padded > model.args.max_prefill_chunk_size:
                continue  # prefilled in chunks, of a length that came before
            page_table = torch.tensor([model.cache.table_row(0, tokens=padded)[: padded // BLOCK_SIZE]]).int()
            tokens = torch.zeros((1, padded), dtype=torch.int64)
            x, rot_mats, _, page_table, *_ = transformer.prepare_inputs_prefill(tokens, page_table=page_table)
            hidden = transformer.ttnn_prefill_forward(
                x, rot_mats_global=rot_mats, page_table=page_table, kv_cache=model.kv_cache, get_last_token=-1
            )
            for last_token in range(0, padded, TILE_ROWS):
                transformer.process_logits_after_prefill_trace(hidden, last_token)

    def _check(self, rows: Tensor, positions: Sequence[int], lengths: Sequence[int]) -> None:
        """ModelFailure where a row that counts has logits that are not finite, or an id that no output has."""
        for user, (row, start, length) in enumerate(zip(rows, positions, lengths, strict=True)):
            if start == IDLE:
                continue
            if not (row := row[:length]).is_floating_point():
                self.model.check_ids(row.tolist())
            elif not bool(row.isfinite().all()):
                where = f"positions {start} to {start + length - 1} of user {user}"
                raise ModelFailure(f"{self.name} returned NaN or infinite logits at {where}")

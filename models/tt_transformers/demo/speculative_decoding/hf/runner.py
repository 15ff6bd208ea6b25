# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""ModelRunner over a Hugging Face causal LM (CPU, CUDA).

All live tokens of all users go through the model as ONE flat sequence [1, N]; linear layers do not care whose row is
whose, and attention is done user by user against that user's own slice of the cache. So users may differ in length and
in the number of tokens, an idle user costs nothing, nothing is padded, and what lies past a user's end is never read.
"""

import copy
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.hf.cache import PositionalCache, Segment, segments_of
from models.tt_transformers.demo.speculative_decoding.hf.generation_settings import GenerationSettings
from models.tt_transformers.demo.speculative_decoding.hf.loading import settings_in_effect
from models.tt_transformers.demo.speculative_decoding.hf.packed_linear import PackedLinear
from models.tt_transformers.demo.speculative_decoding.hf.proof import by_position, made_of
from models.tt_transformers.demo.speculative_decoding.inputs import whole_number, whole_numbers
from models.tt_transformers.demo.speculative_decoding.runner import ModelLoad, Rows, Turns, check_forward, check_prompts
from models.tt_transformers.demo.speculative_decoding.trimmed_head import TrimmedHead


def with_trimmed_head(model: PreTrainedModel, head: TrimmedHead) -> PreTrainedModel:
    """A view of `model`, sharing its weights, whose output layer computes only the ids of `head`: logits [..., N]."""
    full, ids = model.get_output_embeddings(), head.token_ids
    weight = nn.Parameter(full.weight.detach()[ids], requires_grad=False)
    bias = None if full.bias is None else nn.Parameter(full.bias.detach()[ids], requires_grad=False)
    trimmed = copy.copy(model)
    trimmed._modules = dict(model._modules)
    trimmed.set_output_embeddings(PackedLinear(weight, bias))
    return trimmed


class TorchModelRunner:
    """Positional KV cache and forward passes of one Hugging Face model (the contract is runner.ModelRunner); BadInput
    if a limit is out of range, or the architecture cannot be addressed by position.

    Args:
        model: a causal LM of transformers; its weights are shared, it is never changed.
        name: what reports call it. max_seq_len: tokens per user. max_users: sequences generated together.
        eos_token_ids: default: the model's generation config. prove: see hf/proof.py.
        head_token_ids: compute only these output ids (a draft's trimmed head); all others get logit -inf.
        exact: in bfloat16 on a CPU attend in float64, so that rows are the same in every forward of one width.
    """

    supports_features = supports_reuse = True

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        name: str | None = None,
        max_seq_len: int = 2048,
        max_users: int = 1,
        max_tokens_per_user: int = 32,
        eos_token_ids: int | Collection[int] | None = None,
        head_token_ids: Sequence[int] | None = None,
        prove: bool = True,
        exact: bool = False,
    ) -> None:
        if not isinstance(model, PreTrainedModel):
            raise BadInput(f"a {type(model).__name__} was given as a model; give a causal LM of transformers, loaded")
        limits = {"max_seq_len": max_seq_len, "max_users": max_users, "max_tokens_per_user": max_tokens_per_user}
        max_seq_len, max_users, max_tokens_per_user = (whole_number(given, what) for what, given in limits.items())
        if min(max_users, max_tokens_per_user) < 1:
            raise BadInput(
                f"max_users is {max_users}, max_tokens_per_user {max_tokens_per_user}; give at least 1 of each"
            )
        self._positional = by_position(model, max_seq_len, prove=prove)
        config = model.config.get_text_config()
        self.name = name or model.config._name_or_path or type(model).__name__
        self.vocab_size = config.vocab_size
        self.max_seq_len, self.max_users, self.max_tokens_per_user = max_seq_len, max_users, max_tokens_per_user
        self.num_layers = config.num_hidden_layers
        if eos_token_ids is None:  # as generate: a generation config without any knows of none
            eos_token_ids = (getattr(model, "generation_config", None) or config).eos_token_id
        self.eos_token_ids = frozenset([] if eos_token_ids is None else whole_numbers(eos_token_ids, "eos_token_ids"))
        generation = getattr(model, "generation_config", None)
        self.ignored_settings = settings_in_effect(generation)
        self.processors: Sequence[object] = [GenerationSettings(generation, model.config)] if generation else []
        self.model, self.device, self.turns, self._opened = model, model.device, Turns(), made_of(model)
        self.load: ModelLoad | None = None
        self._head = None
        if head_token_ids is not None:
            self._head = TrimmedHead(head_token_ids, self.vocab_size, device=self.device)
            self._positional = copy.copy(self._positional)
            self._positional.model = with_trimmed_head(self._positional.model, self._head)
        # On a CPU attention in bfloat16 would round by the width of the forward, and in float32 by the number of keys.
        low, precise = self.device.type == "cpu" and model.dtype.itemsize < 4, torch.float64 if exact else torch.float32
        size = {"max_seq_len": max_seq_len, "layers": self.num_layers}
        self.cache = PositionalCache(**size, whole=self._positional.whole, attend_in=precise if low else None)

    def warmup(self, tokens_per_user: Sequence[int], *, argmax_only: bool = True) -> None:
        """Run every T once, so that lazy initialisation is not timed; leaves the cache empty."""
        self.prefill([[0]])
        for count in tokens_per_user:
            count = min(count, self.max_seq_len - 1)
            self.forward(torch.zeros(1, count, dtype=torch.int64), [1], argmax_only=argmax_only)
        self.cache.clear()

    def prefill(
        self, prompts: Sequence[Sequence[int]], *, features: Sequence[int] = (), kept: Sequence[int] = ()
    ) -> Rows:
        """See runner.ModelRunner.prefill; all prompts go through the model together, unpadded."""
        check_prompts(self, prompts, features)
        if made_of(self.model) != self._opened:
            what = "its modules, hooks, parameters or configuration are others than when its runner was opened"
            raise BadInput(f"{self.name} was changed: {what}; open a runner of it as it is now")
        new = [prompt[start:] for prompt, start in zip(prompts, kept, strict=True)] if kept else prompts
        segments = segments_of(kept or [0] * len(prompts), list(map(len, new)))
        flat = torch.tensor([token for tokens in new for token in tokens], dtype=torch.int64)
        with self.turns.lock:
            self.turns.owner = None
            self.cache.reserve(len(prompts))
            logits, hidden = self._positional.run(flat, segments, self.cache, last=True, features=features)
        self._check_finite(logits, [(s.user, s.end - 1) for s in segments])
        return Rows(self._of_vocabulary(logits.float()), _features(hidden, segments, len(prompts)))

    def forward(
        self,
        tokens: Tensor,
        positions: Sequence[int],
        *,
        lengths: Sequence[int] | None = None,
        argmax_only: bool = False,
        features: Sequence[int] = (),
    ) -> Rows:
        """See runner.ModelRunner.forward."""
        segments = segments_of(positions, check_forward(self, tokens, positions, lengths, features))
        users, width = tokens.shape
        flat = torch.cat([tokens[s.user, : s.count] for s in segments])
        with self.turns.lock:
            self.turns.owner = None  # of a generation that takes its turn it becomes that one's again
            self.cache.reserve(max(users, self.cache.users))  # more than were prefilled: only to be timed
            logits, hidden = self._positional.run(flat, segments, self.cache, last=False, features=features)
        self._check_finite(logits, [(s.user, position) for s in segments for position in range(s.start, s.end)])
        rows = self._of_vocabulary(logits.argmax(-1)).cpu() if argmax_only else self._of_vocabulary(logits.float())
        return Rows(_by_user(rows, segments, users, width), _features(hidden, segments, users))

    def _check_finite(self, logits: Tensor, where: list[tuple[int, int]]) -> None:
        """ModelFailure names the first row, by its (user, position) in `where`, that is not finite but for ids at -inf,
        which are never chosen."""
        # The sum is finite only if every entry is: one small reduction and one number to the host in the good case.
        if torch.isfinite(logits.sum(dtype=torch.float32)):
            return
        for row, (user, position) in zip(logits, where, strict=True):
            if not row.amax().isfinite():  # else finite ones added up to more than float32 holds
                raise ModelFailure(f"{self.name} returned NaN or infinite logits at position {position} of user {user}")

    def _of_vocabulary(self, rows: Tensor) -> Tensor:
        if self._head is None:
            return rows
        return self._head.whole(rows) if rows.is_floating_point() else self._head.ids(rows)

    def synchronize(self) -> None:
        """Wait for CUDA; the CPU is always in step."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def close(self) -> None:
        """Release the cache, and with it the generation that is in it; the model belongs to the caller."""
        with self.turns.lock:
            self.turns.owner = None
            self.cache.clear()


def _by_user(rows: Tensor, segments: list[Segment], users: int, width: int) -> Tensor:
    """Flat rows [N, ...] -> [users, width, ...]; rows that nobody asked for are zero."""
    if users == 1 and segments[0].count == width:
        return rows[None]
    result = rows.new_zeros((users, width, *rows.shape[1:]))
    for s in segments:
        result[s.user, : s.count] = rows[s.rows]
    return result


def _features(hidden: Tensor | None, segments: list[Segment], users: int) -> list[Tensor] | None:
    """Flat features [N, F] -> per user [n, F], none of an idle user."""
    if hidden is None:
        return None
    rows = {s.user: hidden[s.rows] for s in segments}
    return [rows.get(user, hidden[:0]) for user in range(users)]

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Training a head: where it starts from, its epochs in parts, and how it goes on where it was stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.draft_layer import frozen_rows
from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import EagleSpec
from training.checkpoint import Checkpoint, TrainingState
from training.data import Answer, batch_groups, collate
from training.distillation import (
    Teacher,
    distillation_loss,
    matrix_products,
    measure_acceptance,
    unroll,
)
from training.model import HeadModel

OUTPUT_ROWS_RATE = 0.1  # the output rows start right, and learn at this part of the learning rate


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The recipe. The unroll grows to `steps` over the first `ramp` of the training: late drafts are taught by states
    that are worth something, and the beginning costs less. After `part` batches the head is measured and saved."""

    epochs: int = 2
    tokens_per_batch: int = 6144
    learning_rate: float = 2e-3
    warmup: float = 0.03
    steps: int = 4
    step_weight: float = 0.8  # of a step's loss, against the step before
    ramp: float = 0.4
    part: int = 100
    seed: int = 2026

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.tokens_per_batch < 1 or self.learning_rate <= 0:
            raise BadInput("epochs, tokens per batch and learning rate must be positive")
        if not 0 < self.ramp <= 1 or self.steps < 1 or self.part < 1:
            raise BadInput(
                f"ramp {self.ramp} is a fraction of the training, from 0 to 1; steps and part are at least 1"
            )

    def steps_at(self, fraction: float) -> int:
        """How far the head drafts on at this fraction of the training."""
        return min(self.steps, 1 + int(fraction / self.ramp * self.steps))


def choose_vocabulary(answers: Sequence[Answer], size: int, vocab_size: int, always: Sequence[int] = ()) -> Tensor:
    """The `size` ids that the answers use most, ascending; ties, and ids never seen, in the tokenizer's order."""
    counts = torch.zeros(vocab_size)
    for answer in answers:
        counts += torch.bincount(answer.tokens[answer.prompt_length :], minlength=vocab_size)
    counts[list(always)] = math.inf
    return counts.sort(descending=True, stable=True).indices[: min(size, vocab_size)].sort().values


def check_target(target: PreTrainedModel, spec: EagleSpec) -> None:
    """BadInput if no head of this shape can learn from the target."""
    kind, remedy = type(target).__name__, "name a --target that is built like Llama"
    decoder = target.get_decoder()
    frequencies = getattr(getattr(decoder, "rotary_emb", None), "inv_freq", None)
    if frequencies is None:
        raise BadInput(f"{kind} has no rotary position embedding, which the head's layer shares; {remedy}")
    if frequencies.shape != (spec.head_dim // 2,):
        raise BadInput(f"{kind} rotates only a part of its heads, and the head's layer all of them; {remedy}")
    if not torch.allclose(frequencies.cpu().float(), spec.inv_freq, rtol=1e-4):
        raise BadInput(
            f"{kind} has rotary embeddings that a head's config.json cannot say ({dict(spec.rope)}); {remedy}"
        )
    if not hasattr(decoder, "layers") or not hasattr(decoder, "norm"):
        raise BadInput(f"{kind} has no decoder layers and final norm, from which the head starts; {remedy}")


def initial_head(
    target: PreTrainedModel, spec: EagleSpec, token_ids: Tensor, answers: Sequence[Answer], *, seed: int
) -> HeadModel:
    """An untrained head: the target's last decoder layer (as far as shapes agree) and output rows, random fc. Attention
    reads the embedding's half of its input as it reads the state's."""
    check_target(target, spec)
    decoder = target.get_decoder()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = HeadModel(spec, token_ids)
    last = dict(decoder.layers[-1].named_parameters())
    with torch.no_grad():
        for name, parameter in head.midlayer.named_parameters():
            source = last.get("input_layernorm.weight" if name == "hidden_norm.weight" else name)
            if source is None or name == "input_layernorm.weight":
                continue
            if source.ndim == 2 and parameter.shape == (source.shape[0], 2 * source.shape[1]):
                parameter.copy_(torch.cat([source, source], 1) / math.sqrt(2))
            elif source.shape == parameter.shape:
                parameter.copy_(source)
        head.norm.weight.copy_(decoder.norm.weight)
        head.lm_head.weight.copy_(frozen_rows(target)[1][token_ids.to(target.device)])
        # Taps at unit variance: a few of their dimensions are far larger than all others.
        width = len(head.feature_scale)
        sample = torch.cat([answer.features[answer.prompt_length : -1, :width].float() for answer in answers[:64]])
        head.feature_scale.copy_(1 / sample.std(dim=0).clamp_min(1e-3))
    return head


class Trainer:
    """Runs epochs, keeps the best head in `folder`, and can go on where an earlier run of it stopped.

    Muon (Jordan et al. 2024) moves the matrices, AdamW the vectors and output rows; all on one cosine.
    """

    def __init__(self, head: HeadModel, teacher: Teacher, folder: Path, options: TrainingOptions) -> None:
        self.head, self.teacher, self.folder, self.options = head, teacher, folder, options
        self.state = TrainingState()
        rows: list[Tensor] = [head.lm_head.weight]
        matrices: list[Tensor] = [p for p in head.parameters() if p.ndim == 2 and p is not rows[0]]
        vectors: list[Tensor] = [p for p in head.parameters() if p.ndim < 2]
        rate = options.learning_rate
        self.optimizers = [
            torch.optim.Muon(matrices, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(vectors, lr=rate, weight_decay=0.0),
            torch.optim.AdamW(rows, lr=rate * OUTPUT_ROWS_RATE, weight_decay=0.0),
        ]
        self._rates = [group["lr"] for optimizer in self.optimizers for group in optimizer.param_groups]
        adam = {"step", "exp_avg", "exp_avg_sq"}
        self._memories: list[tuple[set[str], list[Tensor]]] = [
            ({"momentum_buffer"}, matrices),
            (adam, vectors),
            (adam, rows),
        ]
        self._best = self._weights()

    def resume(self) -> bool:
        """Load the last checkpoint, if there is one; BadInput if it is damaged or of another training."""
        saved = Checkpoint.load(self.folder)
        if saved is None:
            return False
        saved.check_fits(self.folder, self._best, self._memories)
        self.head.load_state_dict(saved.draft)
        for optimizer, remembered in zip(self.optimizers, saved.optimizers, strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": remembered["state"]})
        self.state, self._best = saved.state, dict(saved.best)
        return True

    def run(
        self,
        training: Sequence[Answer],
        held_out: Sequence[Answer],
        *,
        after_step: Callable[[float, float], None] = lambda fraction, loss: None,
        after_part: Callable[[TrainingState], None] = lambda state: None,
    ) -> HeadModel:
        """Train to the end; returns the best head by how many of three drafted tokens held-out answers accept."""
        options, state = self.options, self.state
        while state.epoch < options.epochs:
            groups = batch_groups(training, options.tokens_per_batch, seed=options.seed + state.epoch)
            self.head.train()
            for group in groups[state.batch : state.batch + options.part]:
                self._learn(group, (state.epoch + state.batch / len(groups)) / options.epochs)
                state.batch += 1
                state.seen += sum(len(answer.tokens) - answer.prompt_length for answer in group)
                after_step((state.epoch + state.batch / len(groups)) / options.epochs, state.losses[-1])
            self._check_finite(sum(float(p.detach().sum()) for p in self.head.parameters()))
            if state.batch >= len(groups):
                state.epoch, state.batch = state.epoch + 1, 0
            self._finish_part(held_out)
            after_part(state)
        self.head.load_state_dict(self._best)
        return self.head.eval()

    def _learn(self, group: Sequence[Answer], fraction: float) -> None:
        """One step of the optimizers on one batch."""
        options = self.options
        self._set_learning_rate(_schedule(fraction, options.warmup))
        with matrix_products(self.teacher):
            rollouts = unroll(self.head, self.teacher, collate(group), options.steps_at(fraction))
            rollouts = [rollout for rollout in rollouts if rollout.valid.any()]
            losses = [distillation_loss(rollout, self.teacher, self.head.lm_head.weight) for rollout in rollouts]
        weighted = [options.step_weight**step * loss for step, (loss, _) in enumerate(losses)]
        torch.stack(weighted).sum().backward()
        nn.utils.clip_grad_norm_(self.head.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._check_finite(losses[0][1])
        self.state.losses.append(losses[0][1])

    def _check_finite(self, value: float) -> None:
        if not math.isfinite(value):
            where = f"epoch {self.state.epoch + 1} of the training left the finite numbers"
            raise BadInput(f"{where}; lower --learning-rate (what was learned before it is in {self.folder})")

    def _weights(self) -> dict[str, Tensor]:
        """A copy of the head as it stands."""
        return {name: value.detach().cpu().clone() for name, value in self.head.state_dict().items()}

    def _set_learning_rate(self, part: float) -> None:
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = part * rate

    def _finish_part(self, held_out: Sequence[Answer]) -> None:
        counts = measure_acceptance(self.head.eval(), self.teacher, held_out)
        rates = counts[:, 0] / counts[:, 1].clamp_min(1)
        self.state.accepted.append(rates.tolist())
        self.state.tokens.append(self.state.seen)
        weights, worth = self._weights(), float(rates.cumprod(0).sum())
        improved = worth > self.state.best
        if improved:
            self.state.best, self._best = worth, weights
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        checkpoint = Checkpoint(draft=weights, best=self._best, optimizers=optimizers, state=self.state)
        checkpoint.save(self.folder, improved=improved)


def _schedule(fraction: float, warmup: float) -> float:
    """Linear warm-up, then a cosine to zero."""
    return min(1.0, (fraction + 1e-3) / max(warmup, 1e-9)) * 0.5 * (1 + math.cos(math.pi * fraction))

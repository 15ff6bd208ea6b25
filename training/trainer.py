# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Training a feature draft: where it starts from, its epochs, and how it goes on where it was stopped."""

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
from models.tt_transformers.demo.speculative_decoding.hf.feature_model import FeatureDraftSpec
from training.checkpoint import Checkpoint, TrainingState
from training.data import Answer, batch_groups, collate
from training.distillation import (
    Teacher,
    distillation_loss,
    matrix_products,
    measure_acceptance,
    unroll,
)
from training.model import FeatureDraftModel


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The recipe. `rollout_from` is the fraction of training after which the draft also trains on its own states."""

    epochs: int = 6
    tokens_per_batch: int = 6144
    learning_rate: float = 2e-3
    warmup: float = 0.03
    rollout_from: float = 1 / 3
    rollout_weight: float = 0.6
    seed: int = 2026

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.tokens_per_batch < 1 or self.learning_rate <= 0:
            raise BadInput("epochs, tokens per batch and learning rate must be positive")
        if not 0 <= self.rollout_from <= 1:
            raise BadInput(f"rollout_from {self.rollout_from} is a fraction of the training, from 0 to 1")


def choose_vocabulary(answers: Sequence[Answer], size: int, vocab_size: int, always: Sequence[int] = ()) -> Tensor:
    """The `size` ids that the answers use most, ascending; ties, and ids never seen, in the tokenizer's order."""
    counts = torch.zeros(vocab_size)
    for answer in answers:
        counts += torch.bincount(answer.tokens[answer.prompt_length :], minlength=vocab_size)
    counts[list(always)] = math.inf
    return counts.sort(descending=True, stable=True).indices[: min(size, vocab_size)].sort().values


def check_target(target: PreTrainedModel, spec: FeatureDraftSpec) -> None:
    """BadInput if no draft of this shape can learn from the target."""
    depth, decoder = target.config.get_text_config().num_hidden_layers, target.get_decoder()
    if spec.layers[-1] != depth:
        raise BadInput(f"layers {spec.layers}: the last must be {depth}, whose state is the teacher; see --layers")
    kind, remedy = type(target).__name__, "name a --target that is built like Llama"
    frequencies = getattr(getattr(decoder, "rotary_emb", None), "inv_freq", None)
    if frequencies is None:
        raise BadInput(f"{kind} has no rotary position embedding, which the draft's layer shares; {remedy}")
    if frequencies.shape != (spec.head_dim // 2,):
        raise BadInput(f"{kind} rotates only a part of its heads, and the draft's layer all of them; {remedy}")
    if not hasattr(decoder, "layers") or not hasattr(decoder, "norm"):
        raise BadInput(f"{kind} has no decoder layers and final norm, from which the draft starts; {remedy}")


def initial_draft(
    target: PreTrainedModel, spec: FeatureDraftSpec, token_ids: Tensor, answers: Sequence[Answer], *, seed: int
) -> FeatureDraftModel:
    """An untrained draft: the target's last decoder layer (as far as shapes agree), random input from features."""
    check_target(target, spec)
    decoder = target.get_decoder()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        draft = FeatureDraftModel(spec, token_ids, decoder.rotary_emb.inv_freq.detach().cpu())
    last = dict(decoder.layers[-1].named_parameters())
    sources = {f"{name}_proj.weight": f"self_attn.{name}_proj.weight" for name in "qkvo"}
    sources |= {f"{name}_proj.weight": f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")}
    sources |= {"input_norm": "input_layernorm.weight", "mlp_norm": "post_attention_layernorm.weight"}
    own = dict(draft.named_parameters())
    hidden = spec.hidden_size
    with torch.no_grad():
        for name, source in sources.items():
            if source in last and last[source].shape == own[name].shape:
                own[name].copy_(last[source])
        draft.output_norm.copy_(decoder.norm.weight)
        # Features at unit variance, layer by layer; the embedding likewise, as an identity.
        sample = torch.cat([answer.features[:-1].float() for answer in answers[:64]])
        std = sample.unflatten(-1, (len(spec.layers), hidden)).std(dim=(0, 2))
        draft.feature_scale.copy_((1 / std).repeat_interleave(hidden))
        draft.from_embedding.weight.copy_(torch.eye(hidden) / frozen_rows(target)[0].float().std().cpu())
    return draft


class Trainer:
    """Runs epochs, keeps the best draft in `folder`, and can go on where an earlier run of it stopped.

    Muon (Jordan et al. 2024) moves the matrices, AdamW the vectors; both on one cosine.
    """

    def __init__(self, draft: FeatureDraftModel, teacher: Teacher, folder: Path, options: TrainingOptions) -> None:
        self.draft, self.teacher, self.folder, self.options = draft, teacher, folder, options
        self.state = TrainingState()
        matrices = [p for p in draft.parameters() if p.ndim == 2]
        vectors = [p for p in draft.parameters() if p.ndim < 2]
        self.optimizers = [
            torch.optim.Muon(matrices, lr=options.learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(vectors, lr=options.learning_rate, weight_decay=0.0),
        ]
        self._memories = [({"momentum_buffer"}, matrices), ({"step", "exp_avg", "exp_avg_sq"}, vectors)]
        self._best = self._draft_state()

    def resume(self) -> bool:
        """Load the last checkpoint, if there is one; BadInput if it is damaged or of another training."""
        saved = Checkpoint.load(self.folder)
        if saved is None:
            return False
        saved.check_fits(self.folder, self._best, self._memories)
        self.draft.load_state_dict(saved.draft)
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
        after_epoch: Callable[[TrainingState], None] = lambda state: None,
    ) -> FeatureDraftModel:
        """Train to the end; returns the best draft by held-out acceptance of the first drafted token."""
        options = self.options
        while self.state.epoch < options.epochs:
            epoch = self.state.epoch
            groups = batch_groups(training, options.tokens_per_batch, seed=options.seed + epoch)
            self.draft.train()
            for index, group in enumerate(groups):
                fraction = (epoch + index / len(groups)) / options.epochs
                self._set_learning_rate(options.learning_rate * _schedule(fraction, options.warmup))
                with matrix_products(self.teacher):
                    rollouts = unroll(
                        self.draft, self.teacher, collate(group), 1 if fraction < options.rollout_from else 2
                    )
                    losses = [distillation_loss(rollout, self.teacher) for rollout in rollouts]
                    weights = (1.0, options.rollout_weight)
                torch.stack([weight * loss for weight, (loss, _) in zip(weights, losses)]).sum().backward()
                nn.utils.clip_grad_norm_(self.draft.parameters(), 1.0)
                for optimizer in self.optimizers:
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                self._check_finite(losses[0][1])
                self.state.losses.append(losses[0][1])
                after_step((epoch + (index + 1) / len(groups)) / options.epochs, self.state.losses[-1])
            self._check_finite(sum(float(p.detach().sum()) for p in self.draft.parameters()))
            self.state.epoch += 1
            self._finish_epoch(held_out)
            after_epoch(self.state)
        self.draft.load_state_dict(self._best)
        return self.draft.eval()

    def _check_finite(self, value: float) -> None:
        if not math.isfinite(value):
            where = f"epoch {self.state.epoch + 1} of the training left the finite numbers"
            raise BadInput(f"{where}; lower --learning-rate (what epochs before it have learned is in {self.folder})")

    def _draft_state(self) -> dict[str, Tensor]:
        """A copy of the draft as it stands."""
        return {name: value.detach().cpu().clone() for name, value in self.draft.state_dict().items()}

    def _set_learning_rate(self, rate: float) -> None:
        for optimizer in self.optimizers:
            for parameters in optimizer.param_groups:
                parameters["lr"] = rate

    def _finish_epoch(self, held_out: Sequence[Answer]) -> None:
        counts = measure_acceptance(self.draft.eval(), self.teacher, held_out)
        rates = (counts[:, 0] / counts[:, 1].clamp_min(1)).tolist()
        self.state.accepted.append(rates)
        draft, improved = self._draft_state(), rates[0] > self.state.best
        if improved:
            self.state.best, self._best = rates[0], draft
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        checkpoint = Checkpoint(draft=draft, best=self._best, optimizers=optimizers, state=self.state)
        checkpoint.save(self.folder, improved=improved)


def _schedule(fraction: float, warmup: float) -> float:
    """Linear warm-up, then a cosine to zero."""
    return min(1.0, (fraction + 1e-3) / max(warmup, 1e-9)) * 0.5 * (1 + math.cos(math.pi * fraction))

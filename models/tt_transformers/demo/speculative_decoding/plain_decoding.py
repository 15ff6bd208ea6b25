# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Plain decoding, one token per forward: the baseline that every speedup is measured against."""

from __future__ import annotations

from collections.abc import Callable

import torch

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, sample, to_probabilities
from models.tt_transformers.demo.speculative_decoding.clock import RunClock
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState, StopConditions


def decode_plainly(
    target: ModelRunner,
    prompt: list[int],
    *,
    stop: StopConditions,
    sampling: SamplingParams = SamplingParams(),
    on_token: Callable[[int], None] | None = None,
) -> GenerationResult:
    """Prefill, then one forward per token, for one user. Timed as SpeculativeGenerator times itself.

    Args:
        prompt: token ids.
        stop: the same conditions that the speculative arm has.
        on_token: called for every token, outside the clock.
    """
    sequence = SequenceState(prompt=prompt, stop=stop)
    generator = torch.Generator().manual_seed(sampling.seed)
    clock = RunClock()

    def choose(rows: torch.Tensor) -> int:  # [V] logits, or an argmax id
        if not rows.is_floating_point():
            return int(rows)
        return int(rows.argmax()) if sampling.greedy else sample(to_probabilities(rows, sampling).cpu(), generator)

    token = choose(target.prefill([prompt])[0])
    ttft_ns = before = clock.now(target)
    sequence.commit(token, "prefill", "", ttft_ns)
    step_ns = []
    while True:
        if on_token is not None:
            with clock.paused():
                on_token(token)
        if sequence.finished:
            return GenerationResult.of(sequence, target_ttft_ns=ttft_ns, step_ns=step_ns, decode=stop.decode)
        pending = torch.tensor([[token]])
        token = choose(target.forward(pending, [sequence.pending_position], argmax_only=sampling.greedy)[0, 0])
        now = clock.now(target)
        sequence.commit(token, "plain", "", now)
        step_ns.append(now - before)
        before = now

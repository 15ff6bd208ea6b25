# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Plain decoding, one token per user and forward: the baseline that every speedup is measured against."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, sample, to_probabilities
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.runner import IDLE, ModelRunner, RunClock
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState, StopConditions


def decode_plainly(
    target: ModelRunner,
    prompts: Sequence[list[int]],
    *,
    stop: StopConditions | Sequence[StopConditions],
    sampling: SamplingParams = SamplingParams(),
    seeds: Sequence[int] | None = None,
    width: int = 1,
) -> list[GenerationResult]:
    """Prefill, then one forward per token, all users together. Timed as SpeculativeGenerator times itself.

    Args:
        prompts: token ids, one list per user.
        stop: the conditions that the speculative arm has, of all users or one per user.
        seeds: one per user; default sampling.seed + user.
        width: rows per user and forward; more than 1 repeats the pending token into rows whose results are thrown away,
            so that the kernels are those of a verify of this width (see SpeculativeGenerator's verify_width).

    Returns:
        One result per prompt; step_ns is the duration of each decode step that the user took part in.
    """
    stops = [stop] * len(prompts) if isinstance(stop, StopConditions) else stop
    sequences = [SequenceState(prompt=list(prompt), stop=own) for prompt, own in zip(prompts, stops, strict=True)]
    seeds = [sampling.seed + user for user in range(len(prompts))] if seeds is None else seeds
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    steps: list[list[int]] = [[] for _ in prompts]

    def choose(user: int, row: torch.Tensor) -> int:  # [V] logits, or an argmax id
        if not row.is_floating_point():
            return int(row)
        if sampling.greedy:
            return int(row.argmax())
        return sample(to_probabilities(row, sampling).cpu(), generators[user])

    with target.turns.lock:  # nobody else's generation begins meanwhile
        clock = RunClock()
        logits = target.prefill(prompts).values
        first = [choose(user, row) for user, row in enumerate(logits)]
        ttft_ns = before = clock.now(target)
        for sequence, token in zip(sequences, first, strict=True):
            sequence.commit(token, "prefill", "", ttft_ns)
        while not all(sequence.finished for sequence in sequences):
            positions = [IDLE if s.finished else s.pending_position for s in sequences]
            lengths = [min(width, s.stop.max_seq_len - max(at, 0)) for s, at in zip(sequences, positions, strict=True)]
            pending = torch.tensor([[s.tokens[-1]] * max(lengths) for s in sequences])
            rows = target.forward(pending, positions, lengths=lengths, argmax_only=sampling.greedy).values
            chosen = {user: choose(user, rows[user, 0]) for user, s in enumerate(sequences) if not s.finished}
            now = clock.now(target)
            for user, token in chosen.items():
                sequences[user].commit(token, "plain", "", now)
                steps[user].append(now - before)
            before = now
    return [
        GenerationResult.of(sequence, target_ttft_ns=ttft_ns, step_ns=step_ns, decode=sequence.stop.decode)
        for sequence, step_ns in zip(sequences, steps, strict=True)
    ]

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Deliberate defects of sampling: in the draw, in what is claimed of it, in the leftover, in whose seed it is.

Each gets (patch, parts) and changes a function of a module, or a class among the parts (support.checks.Parts).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from support.law import SamplingDrafter

from models.tt_transformers.demo.speculative_decoding import acceptance, drafters, processors
from models.tt_transformers.demo.speculative_decoding.acceptance import to_probabilities
from models.tt_transformers.demo.speculative_decoding.processors import Chooser, UserRows
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator


def _target_rows_by(patch, **changed):
    """The target's p alone is made with other sampling."""

    def rows(self, logits, tokens):
        other = replace(self, sampling=replace(self.sampling, **changed))
        return UserRows(other, logits, tokens)

    patch.setattr(Chooser, "rows", rows)


def accept_always_when_sampling(patch, parts):
    sample = acceptance.sample
    patch.setattr(acceptance, "_accept_sampled", lambda drafted, q, p, g: (len(drafted), sample(p[len(drafted)], g)))


def leftover_not_renormalised(patch, parts):
    def sample(probs, generator):  # inverse CDF: right only if probs sum to 1
        u = torch.rand((), generator=generator)
        return min(int((probs.cumsum(-1) <= u).sum()), len(probs) - 1)

    patch.setattr(acceptance, "sample", sample)


def the_target_instead_of_the_leftover(patch, parts):
    def accept(drafted, q, p, generator):
        for j, token in enumerate(drafted):
            q_token = 1.0 if q is None else float(q[j, token])
            if float(torch.rand((), generator=generator)) * q_token >= float(p[j][token]):
                return j, acceptance.sample(p[j], generator)
        return len(drafted), acceptance.sample(p[len(drafted)], generator)

    patch.setattr(acceptance, "_accept_sampled", accept)


def temperature_on_the_draft_only(patch, parts):
    _target_rows_by(patch, temperature=1.0)


def draft_drawn_at_another_temperature(patch, parts):
    class Hot(SamplingDrafter):
        def __init__(self, table):
            super().__init__(table, draw=lambda x, params: to_probabilities(x, replace(params, temperature=3.0)))

    parts.sampling_drafter = Hot


def draft_probabilities_withheld(patch, parts):
    class Silent(SamplingDrafter):
        """Costs no correctness (given the token, a one-hot q is as good as any), but acceptances."""

        def propose(self, request):
            draft = super().propose(request)
            return replace(draft, probs=[None] * len(draft.tokens))

    parts.sampling_drafter = Silent


def mask_on_the_draft_only(patch, parts):
    _target_rows_by(patch, top_k=0)


def q_in_bfloat16(patch, parts):
    class Rounded(SamplingDrafter):
        def __init__(self, table):
            super().__init__(table, claim=lambda x, params: to_probabilities(x, params).bfloat16().float())

    parts.sampling_drafter = Rounded


def seeds_swapped(patch, parts):
    class Swapped(SpeculativeGenerator):
        def new_batch(self, *args, **options):
            made = super().new_batch(*args, **options)
            made.generators.reverse()
            return made

    parts.generator = Swapped


def the_global_generator(patch, parts):
    def sample(probs, generator):
        return int(torch.multinomial(probs, 1))

    for module in (acceptance, drafters, processors):
        patch.setattr(module, "sample", sample)

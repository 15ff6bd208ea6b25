# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A seed belongs to one user: the same seed writes the same text in any company, and no other generator is touched."""

import pytest
import torch
from support.tiny import tiny_llama

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator


class TestSeeds:
    MODEL = tiny_llama(0).double()  # rounding far below what sampling looks at, so that company cannot show
    DRAFT = tiny_llama(1).double()
    PROMPTS = [[1, 2, 3], [4, 5], [6, 7, 8, 9, 6, 7], [10]]

    def run(self, prompts, seeds=None, *, kind="model", temperature=1.0, lookahead=None, seed=0):
        users = len(prompts)
        drafter = {
            "none": lambda: None,
            "model": lambda: ModelDrafter(TorchModelRunner(self.DRAFT, max_seq_len=128, max_users=users)),
            "prompt-lookup": PromptLookupDrafter,
        }[kind]()
        generator = SpeculativeGenerator(
            TorchModelRunner(self.MODEL, max_seq_len=128, max_users=users),
            drafter,
            lookahead=lookahead or FixedLookahead(3),
            sampling=SamplingParams(temperature=temperature, seed=seed),
        )
        return [result.tokens for result in generator.generate(prompts, max_new_tokens=24, seeds=seeds)]

    @pytest.mark.parametrize("kind", ["none", "model", "prompt-lookup"])
    def test_same_seed_same_tokens_in_any_company(self, kind):
        seeds = [5, 6, 7, 8]
        together = self.run(self.PROMPTS, seeds, kind=kind)
        assert together == self.run(self.PROMPTS, seeds, kind=kind)
        assert together[::-1] == self.run(self.PROMPTS[::-1], seeds[::-1], kind=kind)
        assert together == [self.run([p], [s], kind=kind)[0] for p, s in zip(self.PROMPTS, seeds)]

    def test_adaptive_lookahead_does_not_tie_users_together(self):
        together = self.run(self.PROMPTS, [5, 6, 7, 8], lookahead=AdaptiveLookahead(min_probability=0.2))
        alone = [
            self.run([p], [s], lookahead=AdaptiveLookahead(min_probability=0.2))[0]
            for p, s in zip(self.PROMPTS, [5, 6, 7, 8])
        ]
        assert together == alone

    def test_user_b_has_seed_plus_b(self):
        assert self.run(self.PROMPTS, seed=40) == self.run(self.PROMPTS, [40, 41, 42, 43])

    def test_another_seed_is_another_text(self):
        assert self.run(self.PROMPTS, [1, 2, 3, 4]) != self.run(self.PROMPTS, [5, 6, 7, 8])
        same = self.run([[1, 2, 3]] * 2, [1, 1])
        other = self.run([[1, 2, 3]] * 2, [1, 2])
        assert same[0] == same[1] == other[0] != other[1]

    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    def test_the_global_generator_is_untouched(self, temperature):
        torch.manual_seed(1234)
        before = torch.get_rng_state()
        first = self.run(self.PROMPTS, temperature=temperature)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(99)
        assert self.run(self.PROMPTS, temperature=temperature) == first

    @pytest.mark.parametrize("kind", ["none", "model", "prompt-lookup"])
    def test_towards_zero_it_is_greedy_decoding(self, kind):
        assert self.run(self.PROMPTS, kind=kind, temperature=1e-6) == self.run(self.PROMPTS, kind=kind, temperature=0.0)

    def test_greedy_decoding_ignores_the_seed(self):
        assert self.run(self.PROMPTS, seed=1, temperature=0.0) == self.run(self.PROMPTS, seed=2, temperature=0.0)

    def test_one_seed_per_prompt(self):
        with pytest.raises(BadInput, match="3 seeds for 4 prompts"):
            self.run(self.PROMPTS, [1, 2, 3])

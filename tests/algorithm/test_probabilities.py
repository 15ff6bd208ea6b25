# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Logits to the probabilities that are sampled from: temperature, top-k, top-p, and which settings are refused."""

import pytest
import torch
from support.law import allowed

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, to_probabilities
from models.tt_transformers.demo.speculative_decoding.errors import BadInput


class TestProbabilities:
    @pytest.mark.parametrize("top_k", [0, 1, 3, 50])
    @pytest.mark.parametrize("top_p", [1.0, 0.9, 0.5, 0.01])
    def test_mask_is_what_a_loop_says(self, top_k, top_p):
        for seed in range(20):
            logits = 2 * torch.randn(20, generator=torch.Generator().manual_seed(seed))
            probs = to_probabilities(logits, SamplingParams(temperature=1.0, top_k=top_k, top_p=top_p))
            assert {i for i, p in enumerate(probs.tolist()) if p > 0} == allowed(logits, top_k=top_k, top_p=top_p)
            assert probs.sum() == pytest.approx(1.0) and probs.dtype == torch.float32

    def test_rows_do_not_mix(self):
        logits = torch.randn(3, 4, 10, generator=torch.Generator().manual_seed(0))
        params = SamplingParams(temperature=0.5, top_k=4, top_p=0.9)
        apart = torch.stack([torch.stack([to_probabilities(row, params) for row in user]) for user in logits])
        assert torch.equal(to_probabilities(logits, params), apart)

    def test_low_temperature_is_argmax(self):
        logits = torch.randn(50, 32, generator=torch.Generator().manual_seed(0))
        probs = to_probabilities(logits, SamplingParams(temperature=1e-6))
        assert probs.argmax(-1).tolist() == logits.argmax(-1).tolist() and bool((probs.max(-1).values == 1.0).all())

    @pytest.mark.parametrize(
        "options, named",
        [
            ({"temperature": -0.1}, "temperature -0.1"),
            ({"temperature": float("nan")}, "temperature nan"),
            ({"temperature": float("inf")}, "temperature inf"),
            ({"temperature": 1e-38}, "temperature 1e-38"),  # logits / temperature would be infinite, and p all NaN
            ({"top_k": -1}, "top-k -1"),
            ({"top_p": 0.0}, "top-p 0.0"),
            ({"top_p": 1.1}, "top-p 1.1"),
            ({"top_p": float("nan")}, "top-p nan"),
            ({"seed": -1}, "seed -1"),
            ({"seed": 2**63}, "seed"),
        ],
    )
    def test_refused(self, options, named):
        with pytest.raises(BadInput, match=named):
            SamplingParams(**options)

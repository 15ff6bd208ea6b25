# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Logits to the probabilities that are sampled from: temperature, top-k, top-p, and which settings are refused."""

from collections import Counter

import pytest
import torch
from support.law import allowed, assert_follows, law_of

from models.tt_transformers.demo.speculative_decoding import acceptance
from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, sample, to_probabilities
from models.tt_transformers.demo.speculative_decoding.errors import BadInput


def _drawn(spread, size):
    return lambda made: spread * torch.randn(size, generator=made)


def _with(change, row):
    def made(generator):
        return change(row(generator))

    return made


ROWS = {  # of a generator
    "peaked": _drawn(6.0, 400),
    "flat": _drawn(0.3, 400),
    "ties": _with(torch.round, _drawn(1.5, 400)),
    "all equal": lambda made: torch.zeros(64),
    "one has it all": lambda made: torch.tensor([0.0] * 50 + [200.0] + [0.0] * 50),
    "few are left": _with(lambda row: row.masked_fill(torch.arange(400) % 37 > 0, float("-inf")), _drawn(2.0, 400)),
    "one is left": lambda made: torch.full((40,), float("-inf")).index_fill(0, torch.tensor([7]), 1.0),
}


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

    @pytest.mark.parametrize("top_p", [1e-300, 1e-6, 0.3, 0.8, 0.95, 0.999, 1.0])
    @pytest.mark.parametrize("kind", ROWS)
    def test_the_likely_first_is_the_full_sort(self, kind, top_p, monkeypatch):
        """Bit for bit, with the ids of a loop over a full stable sort in float64; ties: the lowest id first."""
        for seed in range(6):
            row = ROWS[kind](torch.Generator().manual_seed(seed))
            params = SamplingParams(temperature=1.0, top_p=top_p)
            quick = to_probabilities(row, params)
            monkeypatch.setattr(acceptance, "UNLIKELY", 1.0)  # none: all are sorted
            assert torch.equal(quick, to_probabilities(row, params))
            monkeypatch.undo()
            kept = allowed(row, top_p=top_p if top_p < 1.0 else 2.0) & {
                i for i, logit in enumerate(row.tolist()) if logit > float("-inf")
            }
            found = {i for i, p in enumerate(quick.tolist()) if p > 0}
            impossible = {i for i, p in enumerate(row.softmax(-1).tolist()) if p == 0.0}
            assert found == kept - impossible, (kind, seed)
            assert float(quick.sum()) == pytest.approx(1.0, abs=1e-6)

    def test_the_mass_of_the_likely_is_short(self, monkeypatch):
        """Negative control of the one above: without the sort of all, an unlikely half is lost."""
        sorts = []
        sort = torch.Tensor.sort
        monkeypatch.setattr(torch.Tensor, "sort", lambda self, **how: sorts.append(len(self)) or sort(self, **how))
        row = torch.zeros(3000)
        row[0] = 13.0  # the others are less than UNLIKELY of it
        probs = to_probabilities(row, SamplingParams(temperature=1.0, top_p=0.9999))
        assert sorts == [1, 3000] and 0 < int((probs[1:] > 0).sum()) < 2999

    @pytest.mark.parametrize("kind", ROWS)
    @pytest.mark.parametrize("top_k", [1, 2, 7, 39, 63, 64, 65, 130, 399])
    def test_the_best_of_blocks_are_the_best_of_all(self, kind, top_k):
        row = ROWS[kind](torch.Generator().manual_seed(3))
        if top_k < len(row):
            ids = acceptance._best(row, top_k)
            finite = row.topk(top_k).values
            assert sorted(row[ids].tolist())[::-1][: int(finite.isfinite().sum())] == finite[finite.isfinite()].tolist()
            assert ids.tolist() == sorted(set(ids.tolist())) and len(ids) <= top_k

    def test_ties_go_to_the_lowest_ids(self):
        probs = to_probabilities(torch.zeros(8), SamplingParams(temperature=1.0, top_p=0.5))
        assert probs.tolist() == [0.25] * 4 + [0.0] * 4

    @pytest.mark.parametrize("weights", [[0.0, 0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 1e-30], [3.0, 1.0]], ids=str)
    def test_a_draw_is_never_of_no_weight(self, weights, monkeypatch):
        """Not even where the random number is all but 1, or 0."""
        probs = torch.tensor(weights)
        for number in (0.0, 0.5, 1.0 - 2.0**-53, 1.0):
            monkeypatch.setattr(torch, "rand", lambda *_, n=number, **__: torch.tensor(n, dtype=torch.float64))
            assert weights[sample(probs, torch.Generator())] > 0

    def test_draws_follow_their_weights(self):
        weights = torch.tensor([0.0, 0.1, 0.0, 0.6, 0.25, 0.05, 0.0])
        made = torch.Generator().manual_seed(0)
        assert_follows(Counter(sample(weights, made) for _ in range(5000)), law_of(weights))

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

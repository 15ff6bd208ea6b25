# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""One round of sampling without loss: accepted or recovered, a token follows the target's own law.

After Leviathan et al. 2023. The law of whole texts is in test_sampling.py.
"""

import functools
from collections import Counter

import pytest
import torch
from support.law import assert_follows, law_of, total_variation

from models.tt_transformers.demo.speculative_decoding import acceptance
from models.tt_transformers.demo.speculative_decoding.acceptance import accept, sample

V = 8
N = 6000
P = torch.tensor([0.30, 0.20, 0.15, 0.12, 0.10, 0.08, 0.05, 0.00])
P2 = torch.tensor([0.05, 0.05, 0.10, 0.10, 0.10, 0.10, 0.20, 0.30])  # after the first token
DRAFTS = {
    "near": torch.tensor([0.28, 0.22, 0.15, 0.12, 0.08, 0.08, 0.06, 0.01]),
    "far": torch.tensor([0.01, 0.02, 0.03, 0.04, 0.10, 0.20, 0.30, 0.30]),
    "disjoint": torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
    "equal": P,
    "one-hot": None,
    "partly-zero": torch.tensor([0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0]),
}


def draft_law(kind):
    """The q that a draft of this kind is sampled from; a one-hot one always says token 1."""
    return torch.eye(V)[1] if DRAFTS[kind] is None else DRAFTS[kind]


def pairs(kind, n=N, *, seed=0, draw=sample, judge=accept):
    """The first two tokens of n rounds with one drafted token: what was accepted or recovered, and a token after it.

    After a rejection the second token is drawn from its own law, as the next round would; it is independent.
    """
    generator = torch.Generator().manual_seed(seed)
    q, p = draft_law(kind), torch.stack([P, P2])
    counts = Counter()
    for _ in range(n):
        drafted = [draw(q, generator)]
        claimed = None if DRAFTS[kind] is None else q[None]
        verdict = judge([drafted], [p], active=[True], draft_probs=[claimed], generators=[generator])
        tokens = [*drafted[: verdict.accepted_counts[0]], *verdict.next_tokens]
        counts[tuple(tokens) if len(tokens) == 2 else (tokens[0], sample(P2, generator))] += 1
    return counts


JOINT = {(a, b): pa * pb for a, pa in law_of(P).items() for b, pb in law_of(P2).items()}


def firsts(counts):
    total = Counter()
    for (first, _), count in counts.items():
        total[first] += count
    return total


@functools.cache
def honest(kind):
    return pairs(kind)


class TestOneRound:
    @pytest.mark.parametrize("kind", DRAFTS)
    def test_first_token(self, kind):
        assert_follows(firsts(honest(kind)), law_of(P))

    @pytest.mark.parametrize("kind", DRAFTS)
    def test_joint_law_of_two_tokens(self, kind):
        assert_follows(honest(kind), JOINT)

    @pytest.mark.parametrize("kind", DRAFTS)
    def test_acceptance_rate_is_the_overlap(self, kind):
        """P(accept) = sum of min(p, q)."""
        generator, q = torch.Generator().manual_seed(1), draft_law(kind)
        accepted = 0
        for _ in range(2000):
            token = sample(q, generator)
            claimed = None if DRAFTS[kind] is None else q[None]
            options = {"active": [True], "draft_probs": [claimed], "generators": [generator]}
            accepted += accept([[token]], [torch.stack([P, P2])], **options).accepted_counts[0]
        assert accepted / 2000 == pytest.approx(float(torch.minimum(P, q).sum()), abs=0.04)

    def test_distance_shrinks_with_the_number_of_samples(self):
        """From 10 to 100,000 samples the distance to the target falls as 1/sqrt(n); to another law it does not fall."""
        generator, q = torch.Generator().manual_seed(3), DRAFTS["far"]
        p, other, counts, seen, distances = torch.stack([P, P2]), law_of(DRAFTS["near"]), Counter(), 0, {}
        for checkpoint in (10, 100, 1_000, 10_000, 100_000):
            while seen < checkpoint:
                n = min(1000, checkpoint - seen)
                tokens = torch.multinomial(q, n, replacement=True, generator=generator)[:, None].tolist()
                options = {"active": [True] * n, "draft_probs": [q[None]] * n, "generators": [generator] * n}
                verdict = accept(tokens, [p] * n, **options)
                for drafted, count, own in zip(tokens, verdict.accepted_counts, verdict.next_tokens, strict=True):
                    counts[drafted[0] if count else own] += 1
                seen += n
            distances[checkpoint] = total_variation(counts, law_of(P)), total_variation(counts, other)
        assert distances[10][0] / distances[100_000][0] > 20
        assert distances[100_000][0] < 0.006 < distances[100_000][1] / 5

    def test_nothing_left_over_falls_back_to_the_target(self):
        """p and q one rounding apart: a rejection leaves nothing, and p is sampled instead."""
        p = torch.tensor([0.5, 0.5])
        q = torch.tensor([[0.5000001, 0.5000001]])
        token, generator = 0, torch.Generator().manual_seed(0)
        verdicts = [acceptance._accept_sampled([token], q, torch.stack([p, p]), generator) for _ in range(50)]
        assert all(own in (0, 1) for _, own in verdicts)
        impossible = acceptance._accept_sampled([0], torch.tensor([[2.0, 2.0]]), torch.stack([p, p]), generator)
        assert impossible[1] in (0, 1)

    def test_a_token_that_the_target_never_says_is_never_accepted(self):
        generator = torch.Generator().manual_seed(0)
        for q in (torch.eye(V)[[7]], None):
            for _ in range(300):
                options = {"active": [True], "draft_probs": [q], "generators": [generator]}
                verdict = accept([[7]], [torch.stack([P, P])], **options)
                assert verdict.accepted_counts == [0] and verdict.next_tokens[0] != 7


class TestControls:
    """Each of these mistakes must be visible in the laws above."""

    def follows(self, counts):
        assert_follows(firsts(counts), law_of(P))
        assert_follows(counts, JOINT)

    @pytest.mark.parametrize("kind", ["near", "far", "one-hot", "partly-zero"])
    def test_accept_always(self, kind, monkeypatch):
        def always(drafted, q, p, generator):
            return len(drafted), sample(p[len(drafted)], generator)

        monkeypatch.setattr(acceptance, "_accept_sampled", always)
        with pytest.raises(AssertionError):
            self.follows(pairs(kind))

    @pytest.mark.parametrize("kind", ["far", "one-hot", "partly-zero"])
    def test_the_target_itself_instead_of_the_leftover(self, kind, monkeypatch):
        def from_p(drafted, q, p, generator):
            for j, token in enumerate(drafted):
                q_token = 1.0 if q is None else float(q[j, token])
                if float(torch.rand((), generator=generator)) * q_token >= float(p[j, token]):
                    return j, sample(p[j], generator)
            return len(drafted), sample(p[len(drafted)], generator)

        monkeypatch.setattr(acceptance, "_accept_sampled", from_p)
        with pytest.raises(AssertionError):
            self.follows(pairs(kind))

    @pytest.mark.parametrize("kind", ["near", "equal", "one-hot"])
    def test_no_bonus(self, kind):
        """After full acceptance the token is made from the last row that there was, instead of the one after it."""

        def judge(drafts, target, **options):
            verdict = accept(drafts, target, **options)
            if verdict.accepted_counts[0] == 1:
                verdict.next_tokens[0] = sample(target[0][0], options["generators"][0])
            return verdict

        with pytest.raises(AssertionError):
            self.follows(pairs(kind, judge=judge))

    @pytest.mark.parametrize("kind", ["near", "far"])
    def test_another_temperature_for_the_draft(self, kind):
        """Drawn at a temperature of a half, judged as if at 1."""
        with pytest.raises(AssertionError):
            self.follows(pairs(kind, draw=lambda q, generator: sample(q**2 / (q**2).sum(), generator)))

    def test_drawn_in_bfloat16_and_judged_in_float32(self):
        """An inverse-CDF draw from a bf16 q: its running sum stands still before it reaches 1; late tokens starve."""
        vocab, generator = 1024, torch.Generator().manual_seed(0)
        p = torch.full((2, vocab), 1 / vocab)

        def emitted(draw, n=4000):
            counts = Counter()
            for _ in range(n):
                token = draw(p[0], generator)
                options = {"active": [True], "draft_probs": [p[:1]], "generators": [generator]}
                verdict = accept([[token]], [p], **options)
                counts[(token if verdict.accepted_counts[0] else verdict.next_tokens[0]) // 64] += 1
            return counts

        sums = torch.zeros(vocab, dtype=torch.bfloat16)
        for i in range(vocab):
            sums[i] = (sums[i - 1] if i else 0.0) + p[0, i].bfloat16()

        def in_bfloat16(q, generator):
            return min(int((sums <= torch.rand((), generator=generator)).sum()), vocab - 1)

        law = {block: 64 / vocab for block in range(vocab // 64)}
        assert_follows(emitted(sample), law)
        with pytest.raises(AssertionError):
            assert_follows(emitted(in_bfloat16), law)

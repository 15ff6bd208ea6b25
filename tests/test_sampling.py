# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Sampling without loss: what is emitted follows the target's own law, whatever drafts (Leviathan et al. 2023)."""

import functools
from collections import Counter

import pytest
import torch
from support.law import SamplingDrafter, TableRunner, assert_follows, law_of, random_table, total_variation
from support.tiny import tiny_llama

from models.tt_transformers.demo.speculative_decoding import acceptance
from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, accept, sample, to_probabilities
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.torch_runner import TorchModelRunner

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
        options = {"active": [True] * 1000, "draft_probs": [q[None]] * 1000, "generators": [generator] * 1000}
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


TARGET, DRAFT = random_table(1, V), random_table(2, V, spread=1.0)


class TestThroughTheGenerator:
    """A table for a model, hundreds of users in one batch: the law of whole texts."""

    SAMPLING = SamplingParams(temperature=0.7, seed=11)
    PROMPT = [3, 5]

    def texts(self, drafter, *, users=3000, length=3, sampling=SAMPLING, num_draft_tokens=3):
        runner = TableRunner(TARGET, vocab=V, users=users)
        generator = SpeculativeGenerator(runner, drafter, num_draft_tokens=num_draft_tokens, sampling=sampling)
        results = generator.generate([self.PROMPT] * users, max_new_tokens=length)
        return Counter(tuple(result.tokens[:2]) for result in results), results

    def joint(self, sampling=SAMPLING):
        def probabilities(*last):
            return law_of(to_probabilities(TARGET(last), sampling))

        law = {}
        for first, p in probabilities(*self.PROMPT).items():
            law.update({(first, second): p * p2 for second, p2 in probabilities(self.PROMPT[-1], first).items()})
        return law

    def drafters(self, kind):
        runner = TableRunner(TARGET if kind == "self" else DRAFT, vocab=V, users=3000)
        return {
            "none": lambda: None,
            "self": lambda: ModelDrafter(runner),
            "model": lambda: ModelDrafter(runner),
            "prompt-lookup": PromptLookupDrafter,
            "sampling": lambda: SamplingDrafter(DRAFT),
        }[kind]()

    @pytest.mark.parametrize("kind", ["none", "self", "model", "prompt-lookup", "sampling"])
    def test_joint_law_of_two_tokens(self, kind):
        counts, _ = self.texts(self.drafters(kind))
        assert_follows(counts, self.joint())

    @pytest.mark.parametrize("kind", ["model", "prompt-lookup"])
    def test_second_and_third_token(self, kind):
        """Tokens 2 and 3 come out of rounds: given token 1, they follow the table."""
        _, results = self.texts(self.drafters(kind), users=6000, length=5)
        first = Counter(result.tokens[0] for result in results).most_common(1)[0][0]
        law = {}
        for second, p in law_of(to_probabilities(TARGET((self.PROMPT[-1], first)), self.SAMPLING)).items():
            after = law_of(to_probabilities(TARGET((first, second)), self.SAMPLING))
            law.update({(second, third): p * p3 for third, p3 in after.items()})
        assert_follows(Counter(tuple(r.tokens[1:3]) for r in results if r.tokens[0] == first), law)

    @pytest.mark.parametrize(
        "draw, claim",
        [
            pytest.param(
                lambda logits, s: (2 * logits / s.temperature).softmax(-1), None, id="temperature-of-the-draft"
            ),
            pytest.param(None, lambda logits, s: torch.full((V,), 1 / V), id="a-q-that-was-not-sampled"),
        ],
    )
    def test_a_dishonest_q_shows(self, draw, claim):
        """Negative control."""
        counts, _ = self.texts(SamplingDrafter(DRAFT, draw=draw, claim=claim))
        with pytest.raises(AssertionError):
            assert_follows(counts, self.joint())

    def test_a_self_draft_is_always_accepted(self):
        _, results = self.texts(self.drafters("self"), users=300, length=12)
        assert sum(r.accepted for r in results) == sum(r.drafted for r in results) > 2000

    def test_a_rounded_q_shows_in_a_self_draft(self):
        """Negative control: with q in bf16 some of the target's own tokens are rejected."""
        rounded = SamplingDrafter(TARGET, claim=lambda logits, s: to_probabilities(logits, s).bfloat16().float())
        _, results = self.texts(rounded, users=1000, length=12)
        assert sum(r.accepted for r in results) < sum(r.drafted for r in results)

    @pytest.mark.parametrize("kind", ["none", "model", "prompt-lookup", "sampling"])
    @pytest.mark.parametrize("mask", [{"top_k": 2}, {"top_p": 0.6}, {"top_k": 4, "top_p": 0.5}], ids=str)
    def test_never_outside_the_mask(self, kind, mask):
        sampling = SamplingParams(temperature=1.3, seed=5, **mask)
        _, results = self.texts(self.drafters(kind), users=200, length=16, sampling=sampling)
        for result in results:
            whole = self.PROMPT + result.tokens
            for i in range(2, len(whole)):
                assert whole[i] in allowed(TARGET((whole[i - 2], whole[i - 1])) / 1.3, **mask)

    def test_a_mask_on_one_side_only_shows(self, monkeypatch):
        """Negative control: p without the mask."""
        from models.tt_transformers.demo.speculative_decoding import speculative_generator

        bare = SamplingParams(temperature=1.3)
        monkeypatch.setattr(speculative_generator, "to_probabilities", lambda x, _: to_probabilities(x, bare))
        with pytest.raises(AssertionError):
            self.test_never_outside_the_mask("model", {"top_k": 2})

    @pytest.mark.parametrize("kind", ["model", "prompt-lookup", "sampling"])
    def test_a_law_with_a_mask(self, kind):
        sampling = SamplingParams(temperature=0.9, top_k=5, top_p=0.8, seed=23)
        counts, _ = self.texts(self.drafters(kind), sampling=sampling)
        assert_follows(counts, self.joint(sampling))


def allowed(logits, *, top_k=0, top_p=1.0):
    """Which ids the mask leaves, by a loop."""
    order = sorted(range(len(logits)), key=lambda i: -float(logits[i]))[: top_k or None]
    probs = torch.tensor([float(logits[i]) for i in order], dtype=torch.float64).softmax(-1)
    kept, mass = set(), 0.0
    for token, probability in zip(order, probs.tolist()):
        if mass >= top_p:
            break
        kept.add(token)
        mass += probability
    return kept


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

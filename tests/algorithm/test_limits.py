# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""At the limits, and under load. What takes minutes is marked soak: `make soak`, not `make test`."""

import gc
import itertools
import os
import random
from pathlib import Path

import pytest
import torch
from fuzz.oracle import continue_greedily
from support.doubles import ScriptedDrafter, knowing
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

VOCAB = 32
MODEL, DRAFT = tiny_llama(0, positions=8192), tiny_llama(1, layers=1, positions=8192)
PROMPTS = [[(7 * user + j * (user + 3)) % VOCAB for j in range(1 + user % 9)] for user in range(32)]


@pytest.fixture(scope="module")
def texts():
    """What the target writes after each of PROMPTS, as far as no near-tie makes it doubtful."""
    return [continue_greedily(MODEL, [prompt], 64)[0].tokens for prompt in PROMPTS]


def runner(model=MODEL, *, max_seq_len=256, users=1):
    return TorchModelRunner(model, max_seq_len=max_seq_len, max_users=users)


def drafters(users, max_seq_len=256):
    def model(weights=DRAFT):
        return ModelDrafter(runner(weights, users=users, max_seq_len=max_seq_len))

    return {
        "self": lambda: model(MODEL),
        "other": model,
        "lookup": PromptLookupDrafter,
        "hybrid": lambda: HybridDrafter(PromptLookupDrafter(), model()),
    }


KINDS = list(drafters(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("room", [1, 2, 3, 5, 31, 32])
def test_max_seq_len_inside_a_round(kind, room, texts):
    """Users of different lengths reach it in different rounds, none goes past it, and each says so."""
    prompts = [prompt for prompt, text in zip(PROMPTS, texts) if len(text) == 64][:4]
    longest = max(map(len, prompts))
    max_seq_len = longest + room
    drafter = drafters(4, max_seq_len)[kind]()
    generator = SpeculativeGenerator(runner(users=4, max_seq_len=max_seq_len), drafter, num_draft_tokens=7)
    for prompt, result in zip(prompts, generator.generate(prompts, max_new_tokens=100), strict=True):
        assert result.tokens == list(texts[PROMPTS.index(prompt)][: max_seq_len - len(prompt)])
        assert result.finish_reason == "max_seq_len"


@pytest.mark.parametrize("kind", KINDS)
def test_thirty_one_draft_tokens(kind, texts):
    generator = SpeculativeGenerator(runner(), drafters(1)[kind](), num_draft_tokens=31)
    for prompt, text in [(prompt, text) for prompt, text in zip(PROMPTS, texts) if len(text) == 64][:3]:
        assert generator.generate([prompt], max_new_tokens=64)[0].tokens == list(text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "lookahead",
    [FixedLookahead(4), AdaptiveLookahead(), AutoLookahead()],
    ids=lambda lookahead: type(lookahead).__name__,
)
def test_thirty_two_users(kind, lookahead, texts):
    limit = 24
    generator = SpeculativeGenerator(runner(users=32), drafters(32)[kind](), lookahead=lookahead)
    results = generator.generate(PROMPTS, max_new_tokens=limit)
    compared = 0
    for text, result in zip(texts, results, strict=True):
        if len(text) >= limit:
            assert result.tokens == list(text[:limit])
            compared += 1
    assert compared >= 28


def test_a_finished_user_is_left_alone(texts):
    """It is idle in every later forward, and is drafted for no more."""
    seen, asked = [], []

    class Watching(TorchModelRunner):
        def forward(self, tokens, positions, **options):
            seen.append(list(positions))
            return super().forward(tokens, positions, **options)

    drafter = ScriptedDrafter(lambda context, count: asked.append(tuple(context[: len(PROMPTS[a])])) or [0] * count)
    a, b, stop = next(
        (a, b, token)
        for a, b in itertools.permutations(range(32), 2)
        for token in texts[a][:10]
        if token not in texts[b][:40] and len(texts[b]) >= 40
    )
    prompts = [PROMPTS[a], PROMPTS[b]]
    generator = SpeculativeGenerator(Watching(MODEL, max_seq_len=256, max_users=2), drafter, num_draft_tokens=2)
    first, second = generator.generate(prompts, max_new_tokens=40, stop_token_ids=[stop])
    assert len(first.tokens) <= 10 and len(second.tokens) == 40
    idle = [positions[0] == -1 for positions in seen]
    assert any(idle) and idle == sorted(idle) and not any(positions[1] == -1 for positions in seen)
    assert len([whose for whose in asked if whose == tuple(prompts[0])]) <= len(first.rounds)


@pytest.mark.parametrize("kind", ["lookup", "other"])
def test_a_prompt_of_four_thousand_tokens(kind):
    rng = random.Random(0)
    prompt = [rng.randrange(VOCAB) for _ in range(4000)]
    text = continue_greedily(MODEL, [prompt], 24)[0].tokens
    assert len(text) == 24
    generator = SpeculativeGenerator(runner(max_seq_len=4096), drafters(1, 4096)[kind]())
    assert generator.generate([prompt], max_new_tokens=24)[0].tokens == list(text)


@pytest.mark.slow
def test_two_thousand_tokens():
    """Of a drafter that is right two times in three: every kind of round, and a context that goes on growing."""
    prompts = [[i, 2, 3] for i in range(VOCAB)]
    longest = max(continue_greedily(MODEL, prompts, 2000), key=lambda text: len(text.tokens))
    prompt, text = list(longest.prompt), list(longest.tokens)
    drafter = knowing(prompt + text, wrong_at=lambda index: index % 7 in (0, 3), vocab=VOCAB)
    assert len(text) == 2000, "near-ties everywhere; choose other prompts"
    generator = SpeculativeGenerator(runner(max_seq_len=2048), drafter, num_draft_tokens=8)
    result = generator.generate([prompt], max_new_tokens=2000)[0]
    assert result.tokens == text
    assert len(result.tokens) == 1 + sum(r.emitted for r in result.rounds)


@pytest.mark.parametrize("kind", KINDS)
def test_generation_after_generation(kind, texts):
    """One generator object, batches that grow and shrink: each is what a fresh one gives."""
    generator = SpeculativeGenerator(runner(users=8), drafters(8)[kind]())
    rng = random.Random(kind)
    for _ in range(8):
        chosen = rng.sample(range(32), rng.randint(1, 8))
        limit = min(24, *(len(texts[i]) for i in chosen))
        results = generator.generate([PROMPTS[i] for i in chosen], max_new_tokens=max(1, limit))
        for i, result in zip(chosen, results, strict=True):
            assert result.tokens[:limit] == list(texts[i][:limit])


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def grows_by(request, *, warm: int, times: int) -> float:
    """Fraction by which resident memory has grown after `times` requests more."""
    for _ in range(warm):
        request()
    gc.collect()
    before = resident_bytes()
    for _ in range(times):
        request()
    gc.collect()
    return resident_bytes() / before - 1


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc to see resident memory")
@pytest.mark.timeout(1800)
class TestMemory:
    def request(self, kept):
        generator = SpeculativeGenerator(runner(users=4), drafters(4)["hybrid"](), lookahead=AutoLookahead())

        def request():
            generator.generate(PROMPTS[:4], max_new_tokens=48)
            kept()

        return request

    def test_flat_over_two_hundred_generations(self):
        assert grows_by(self.request(lambda: None), warm=20, times=200) < 0.01

    def test_a_leak_would_show(self):
        """Negative control: a cache per request that is never given back."""
        leak = []
        assert grows_by(self.request(lambda: leak.append(torch.ones(100_000))), warm=20, times=200) > 0.01


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_thirty_two_users_of_four_hundred_tokens(kind):
    prompts = [[user, (user * 5) % VOCAB, 3] for user in range(32)]
    texts = continue_greedily(MODEL, prompts, 400)
    generator = SpeculativeGenerator(
        runner(users=32, max_seq_len=512), drafters(32, 512)[kind](), lookahead=AutoLookahead()
    )
    for text, result in zip(texts, generator.generate(prompts, max_new_tokens=400), strict=True):
        assert tuple(result.tokens[: len(text.tokens)]) == text.tokens


def test_the_oracles_agree():
    """The fuzz's batched oracle and the plain recomputation, which share no code with each other either."""
    prompts = [[1, 2, 3], [4, 4, 4], [9, 8, 7]]
    for prompt, text in zip(prompts, continue_greedily(MODEL, prompts, 20), strict=True):
        assert (
            list(text.tokens) == greedy_by_recomputation(MODEL, prompt, len(text.tokens))[0] and len(text.tokens) > 10
        )

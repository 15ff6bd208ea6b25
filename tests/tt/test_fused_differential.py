# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Random generations on the fake device: fused rounds, the separate steps and recomputation write the same,
generation after generation on the same models; and once opened nothing is compiled."""

import functools
import itertools
import random

import pytest
from fakes import fixtures
from fakes.device import FakeMeshDevice
from fakes.pairs import DRAFTS, MAX_SEQ_LEN, TARGET, TIE
from support.tiny import greedy_by_recomputation

from models.tt_transformers.demo.speculative_decoding import runner
from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.hybrid import suffix_first
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt.fused_drafter import FusedDrafter

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair
# Of every length up to one that leaves room for a single token.
PROMPTS = [(11,), (35, 8, 9), (3, 14, 15, 9, 26, 5), (1, 2, 3) * 10, (7,) * 45, (4,) * 90, (2, 30) * 59 + (6,)]
# Tree -> seeds: between them each draft, one to four users, one K and several, one device and two, and traces that are
# asked for, refused and left open.
SEEDS = {"june": (0, 2, 3), "september": (0, 3), "commands": (0, 1, 2, 3)}


@functools.cache
def plain(prompt):
    """What the target alone writes."""
    tokens, gap = greedy_by_recomputation(TARGET, prompt, min(40, MAX_SEQ_LEN - len(prompt)))
    assert gap > TIE
    return tokens


def ended(prompt, stop):
    """Its beginning, up to where it is to end, found without the package."""
    text = plain(prompt)[: min(stop.max_new_tokens, stop.max_seq_len - len(prompt))]
    for end in range(1, len(text)):
        if text[end - 1] in stop.stop_token_ids or any(s in stop.decode(text[:end]) for s in stop.stop_strings):
            return text[:end]
    return text


def random_stop(rng, prompt, decode):
    room = min(MAX_SEQ_LEN - len(prompt), rng.choice([MAX_SEQ_LEN, MAX_SEQ_LEN, rng.randint(1, 20)]))
    return StopConditions(
        max_new_tokens=rng.choice([1, 5, 20, 40, 40]),
        max_seq_len=len(prompt) + room,
        stop_token_ids=rng.choice([[], [], rng.sample(range(40), 2)]),
        stop_strings=rng.choice([[], [], [decode(plain(prompt)[2:4] or plain(prompt))]]),
        decode=decode,
    )


def random_lookahead(rng, ks):
    fixed, least = rng.choice(ks), rng.choice([0, 1])
    adaptive = {"start_draft_tokens": fixed, "min_draft_tokens": least, "max_draft_tokens": ks[-1]}
    return rng.choice(
        [
            lambda: FixedLookahead(fixed),
            lambda: AdaptiveLookahead(**adaptive, min_probability=0.0),
            lambda: AutoLookahead([0, *ks]),
        ]
    )


@pytest.mark.parametrize(
    "ttnn, seed", [(tree, seed) for tree, seeds in SEEDS.items() for seed in seeds], indirect=["ttnn"]
)
def test_fused_separate_and_recomputed_texts_are_one(open_pair, ttnn, monkeypatch, seed, request):
    rng = random.Random(f"{request.node.callspec.params['ttnn']} {seed}")
    users, ks = rng.choice([1, 1, 2, 3, 4]), sorted(rng.sample(range(1, 8), rng.randint(1, 3)))
    draft = rng.choice(["always-right", "always-right", *DRAFTS])
    mesh, traced = FakeMeshDevice(1, rng.choice([1, 1, 2])), rng.choice([None, True, False])
    asked = {"num_draft_tokens": (0, *ks), "catch_up": rng.choice([2, 3, 32 // users])}
    pair = open_pair(draft, mesh=mesh, users=users, enable_trace=traced, **asked)
    programs, tokenizer, passing = mesh.num_program_cache_entries(), pair[0].tokenizer, random.Random(seed)
    clock = itertools.accumulate(passing.randint(1, 1000) for _ in itertools.count())
    monkeypatch.setattr(runner.time, "perf_counter_ns", lambda: next(clock))
    for hybrid in (False, True, rng.choice([False, True])):
        prompts = rng.choices(PROMPTS, k=rng.randint(1, users))
        stops, new_lookahead = [random_stop(rng, prompt, tokenizer.decode) for prompt in prompts], random_lookahead(
            rng, ks
        )
        rounds = {}
        for kind in (FusedDrafter, ModelDrafter):
            drafter = suffix_first(kind(pair[1])) if hybrid else kind(pair[1])
            generator = SpeculativeGenerator(pair[0], drafter, lookahead=new_lookahead(), tokenizer=tokenizer)
            results = generator.generate(prompts, stops=stops)
            assert [result.tokens for result in results] == list(map(ended, prompts, stops))
            rounds[kind] = [[(r.drafted, r.accepted, r.catch_up) for r in result.rounds] for result in results]
            of_the_draft = [r for result in results for r in result.rounds if r.fused or not hybrid]
            assert draft != "always-right" or all(r.drafted == r.accepted for r in of_the_draft)
        if not isinstance(generator.lookahead, AutoLookahead):  # which follows the clock
            assert rounds[FusedDrafter] == rounds[ModelDrafter]
    assert mesh.num_program_cache_entries() == programs

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The clock's arithmetic on a simulated clock: a neighbour stalls steps and rounds, and the truth is known."""

import random
from dataclasses import replace
from statistics import median
from types import SimpleNamespace

import pytest

from models.tt_transformers.demo.speculative_decoding.harness import segments as clock
from models.tt_transformers.demo.speculative_decoding.harness.record import _Clock
from models.tt_transformers.demo.speculative_decoding.harness.segments import (
    Segment,
    Timed,
    against,
    doubts,
    estimate,
    tails_differ,
    undisturbed,
)

TRUTH = 1.40
STEP_NS = 40_000_000
PROMPTS, SEGMENTS = 10, 8


def simulated(seed, *, stalls=0.1, truth=TRUTH):
    """Ten prompts of eight segments of 16 tokens; a tenth of all steps and rounds takes 2 to 8 times as long."""
    chance = random.Random(seed)

    def took(ns):
        stall = chance.uniform(2, 8) if chance.random() < stalls else 1.0
        return int(ns * chance.gauss(1.0, 0.01) * stall)

    found = []
    for prompt in range(PROMPTS):
        own = STEP_NS * (1 + 0.02 * prompt)
        for _ in range(SEGMENTS):
            steps = [Timed((0, 1), took(own)) for _ in range(16)]
            rounds = [Timed((4, "model"), took(16 * own / truth / 8)) for _ in range(8)]
            found.append(Segment(prompt=prompt, tokens=(16,), steps=tuple(steps), rounds=tuple(rounds)))
    return found


def ratio_of_sums(found):
    """What was measured before: a stall counts for as long as it lasts."""
    return sum(t.ns for s in found for t in s.steps) / sum(t.ns for s in found for t in s.rounds)


def test_stalls_move_sums_and_not_the_estimate(monkeypatch):
    monkeypatch.setattr(clock, "DRAWS", 50)
    runs = [simulated(seed) for seed in range(40)]
    estimates = [estimate(run).speedup for run in runs]
    assert 1.39 <= min(estimates) and max(estimates) <= 1.41
    for_one_prompt = [ratio_of_sums([s for s in run if s.prompt == 0]) for run in runs]
    assert min(for_one_prompt) < 1.2 and max(for_one_prompt) > 1.6  # control: the old figure of a prompt is anything
    assert all(1.36 <= estimate(run[:SEGMENTS]).speedup <= 1.44 for run in runs)


def test_the_interval_holds_the_truth():
    inside = 0
    for seed in range(20):
        found = estimate(simulated(seed))
        assert found.low < found.speedup < found.high < found.low * 1.02
        inside += found.low <= TRUTH <= found.high
    assert inside >= 16  # of 20 at 95%; 15 or fewer come by chance once in 4,000


def test_a_user_that_ended_in_the_first_segment_has_an_interval():
    """Draws without that segment say nothing of it."""
    first, *rest = simulated(1)[:SEGMENTS]
    both = [tuple(replace(timed, users=(0, 1)) for timed in timed_of) for timed_of in (first.steps, first.rounds)]
    found = estimate(
        [replace(first, tokens=(16, 16), steps=both[0], rounds=both[1]), *(replace(s, tokens=(16, 0)) for s in rest)],
        user=1,
    )
    assert 0.0 < found.low <= found.speedup <= found.high < 10.0


def test_an_arm_that_is_faster_by_less_than_the_interval_is_told_apart_from_none():
    same, faster = estimate(simulated(1, truth=1.0)), estimate(simulated(1, truth=1.1))
    assert same.low < 1.0 < same.high and faster.low > 1.05


def brute_median(values):
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def test_sums_of_medians_are_those_of_the_definition():
    found = simulated(3)
    plain = sum(
        16 * SEGMENTS * brute_median([t.ns for s in found if s.prompt == p for t in s.steps]) for p in range(10)
    )
    assert estimate(found).plain_s == pytest.approx(plain / 1e9)
    assert estimate(found).tokens == 16 * SEGMENTS * PROMPTS


def test_kinds_have_medians_of_their_own():
    """Two positions' buckets, one twice as slow: their sum is exact, whatever the mixture; rare kinds pool prompts."""
    near, far = Timed((0, 1), 100), Timed((1, 1), 200)
    rare = [Timed((9, "lookup"), ns) for ns in (70, 80, 9000)]
    found = [
        Segment(prompt=p, tokens=(4,), steps=(near, near, near, far, far, far), rounds=(rare[p],)) for p in range(3)
    ]
    assert estimate(found).plain_s * 1e9 == pytest.approx(3 * 900)
    assert estimate(found).spec_s * 1e9 == pytest.approx(3 * 80)  # the one that was stalled counts as its kind does


def test_one_user_of_several():
    steps = (Timed((0, 2), 100, (0, 1)), Timed((0, 1), 60, (1,)))
    segment = Segment(prompt=0, tokens=(1, 2), steps=steps, rounds=(Timed("k", 50, (0, 1)), Timed("j", 30, (1,))))
    found = {user: estimate([segment] * 3, user=user) for user in (0, 1)}
    assert (found[0].tokens, found[0].plain_s, found[0].spec_s) == (3, pytest.approx(3e-7), pytest.approx(1.5e-7))
    assert (found[1].tokens, found[1].speedup) == (6, pytest.approx(160 / 80))


def test_nothing_is_no_figure():
    alone = Segment(prompt=0, tokens=(3,), steps=(), rounds=(Timed("k", 50),))
    found = estimate([alone])
    assert (found.plain_s, found.speedup, found.low, found.plain_tail) == (None, None, None, None)
    assert found.spec_s == pytest.approx(5e-8)
    assert estimate([]).spec_s is None and undisturbed([]) == []
    one = estimate([replace(alone, steps=(Timed("s", 100),))])
    assert one.speedup == 2.0 and one.low is None  # one segment says nothing of how sure it is


def test_disturbed_segments_are_left_out():
    found = simulated(5)
    shares = [1.9 if i % 4 else 1.2 for i in range(len(found))]
    busy = [replace(s, share=share, plain_share=1.9) for s, share in zip(found, shares)]
    assert len(undisturbed(busy)) == sum(share == 1.9 for share in shares)
    assert undisturbed(found) == found
    assert doubts(kept=len(undisturbed(busy)) / len(busy), noise=0.0).startswith("in 25% of the segments")


@pytest.mark.parametrize(
    "kept, noise, said",
    [
        (1.0, 0.001, None),
        (0.8, -0.02, None),
        (0.79, 0.0, "in 21% of the segments something else had the processor"),
        (1.0, 0.021, "a loop that drafts nothing came out +2.1%"),
        (1.0, -0.05, "a loop that drafts nothing came out -5.0%"),
        (1.0, None, "too little was decoded"),
    ],
)
def test_what_makes_a_run_inconclusive(kept, noise, said):
    found = doubts(kept=kept, noise=noise)
    assert found is None if said is None else found.startswith(said)


def test_a_run_in_which_every_segment_was_disturbed_is_inconclusive():
    """Two segments, in each of which the other arm was disturbed: none stays, yet plain decoding ran."""
    calm = Segment(prompt=0, tokens=(1,), steps=(Timed("s", 2),), rounds=(Timed("r", 1),))
    arm = SimpleNamespace(segments=[replace(calm, share=0.5), replace(calm, plain_share=0.5)])
    found = _Clock(arm, [calm], {})
    assert found.own == arm.segments and "100% of the segments" in found.doubts  # for rates, without a ratio
    assert _Clock(SimpleNamespace(segments=[replace(calm, steps=())] * 2), [], {}).doubts is None


def test_tails_are_told():
    found = simulated(7)
    even = estimate(found)
    assert 1.2 < even.plain_tail < 1.6 and not tails_differ(replace(even, spec_tail=even.plain_tail + 0.02))
    stalled = [
        replace(s, steps=tuple(replace(t, ns=t.ns * (9 if i == 0 else 1)) for i, t in enumerate(s.steps)))
        for s in found
    ]
    assert tails_differ(estimate(stalled))


def test_recorded_steps_stand_for_their_positions():
    """Another target's steps, of an earlier run: each plain step counts as its kind's median there."""
    found = simulated(2, stalls=0.0)
    recorded = {prompt: [Timed((0, 1), ns) for ns in (50, 60, 1000)] for prompt in range(PROMPTS)}
    steps = [t.ns for s in against(found, recorded) for t in s.steps]
    assert set(steps) == {60} and len(steps) == PROMPTS * SEGMENTS * 16
    unknown = {0: [Timed((7, 1), ns) for ns in (10, 30)]}  # no such kind: the prompt's median; no such prompt: left out
    assert {t.ns for s in against(found, unknown) for t in s.steps} == {median((10, 30))}
    assert {s.prompt for s in against(found, unknown)} == {0}

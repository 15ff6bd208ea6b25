# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What auto takes a draft to cost: catching up, fused rounds and rounds that a stop cut are told apart."""

import statistics
from dataclasses import replace

import pytest
from support.machine import CHOICES, DECODE_NS, Machine
from support.rounds import record

from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead


def test_catching_up_is_no_drafts_cost():
    lookahead = AutoLookahead([0, 1])
    for catch_up, draft_ns in ((0, 10), (50, 999)):
        lookahead.next([5], ["kind"])
        lookahead.observe([replace(record(1, 1, draft_ns=draft_ns, verify_ns=100), catch_up=catch_up)])
    assert list(lookahead.clockwork.drafts["kind"]) == [10]


@pytest.mark.parametrize("per_token, tries", [(0.02, True), (1.0, False)], ids=["in-wide-steps", "token-by-token"])
def test_no_catch_up_that_costs_more_than_it_can_win(per_token, tries):
    """A draft that is never right, and must first be fed what passed without it."""
    machine, lookahead, history, late = Machine(alpha=0.0, c=0.4), AutoLookahead([0, 2]), [], 0
    for _ in range(1000):
        records = machine.round(lookahead.next([50], ["model"]))
        if drafted := records[0].drafted:
            spent = int(late * per_token * DECODE_NS)
            records = [replace(records[0], catch_up=late, draft_ns=records[0].draft_ns + spent)]
        late = 0 if drafted else late + 1
        lookahead.observe(records)
        history.append(records[0])
    fed = [r.catch_up for r in history if r.catch_up]
    assert len(fed) > 0 and (max(fed) > 150) == tries
    assert sum(fed) * per_token < 0.1 * len(history)


def test_a_fused_rounds_draft_costs_what_its_verify_does_not():
    lookahead = AutoLookahead([0, 1])
    lookahead.clockwork.verifies[2].append(60)
    lookahead.next([5], ["kind"])
    lookahead.observe([replace(record(1, 1, draft_ns=0, verify_ns=100), fused=True)])
    assert list(lookahead.clockwork.drafts["kind"]) == [40] and list(lookahead.clockwork.verifies[2]) == [60]


def test_fused_rounds_let_it_look_further_too():
    """They do not say what their verify took, but they were that wide."""
    machine, lookahead, drafted = Machine(alpha=0.95, c=0.02), AutoLookahead(CHOICES), []
    for _ in range(200):
        (r,) = machine.round(lookahead.next([1000], ["model"]))
        r = replace(r, fused=True, draft_ns=0, verify_ns=r.draft_ns + r.verify_ns) if r.drafted else r
        lookahead.observe([r])
        drafted.append(r.drafted)
    assert machine.speedup(statistics.mode(drafted[100:])) > 0.95 * machine.best()


def test_a_new_generation_has_nothing_to_catch_up_with():
    """What the last one missed does not keep this one from trying."""
    lookahead = AutoLookahead([0, 2])
    for of in (lookahead.clockwork.verifies[1], lookahead.clockwork.verifies[3]):
        of.extend([100] * 25)
    lookahead.clockwork.drafts["model"].append(30.0)
    lookahead.clockwork.catch_ups["model"].append(1000.0)
    lookahead._acceptances["model"].observe(2, 0)
    for _ in range(9):
        lookahead._acceptances["model"].observe(2, 0)

    def tries(rounds):
        lookahead.start(1)
        counts = []
        for _ in range(rounds):
            counts += lookahead.next([50], ["model"])
            lookahead.observe([record(0, 0, verify_ns=100)])
        return [at for at, count in enumerate(counts) if count]

    assert tries(900) == []
    assert tries(1) == [0]


def test_a_round_that_a_stop_cut_says_nothing_of_a_drafts_cost():
    """Of four tokens that were drafted one was committed, and it did not take the time of four."""
    lookahead = AutoLookahead([0, 4])
    lookahead.clockwork.verifies[1].append(100)
    lookahead.next([9], ["kind"])
    lookahead.observe([replace(record(1, 1, draft_ns=400, verify_ns=100), emitted=1)])
    assert not lookahead.clockwork.drafts["kind"]


class TestHybrid:
    """Lookups draft while the model's draft falls behind."""

    def test_a_mixed_round_costs_each_kind_its_own(self):
        lookahead = AutoLookahead([0, 2])
        lookahead.next([5, 5], ["lookup", "model"])
        both = [replace(record(2, 1, draft_ns=90, verify_ns=100), own_ns=own_ns) for own_ns in (10, 80)]
        lookahead.observe(both)
        assert (list(lookahead.clockwork.drafts["lookup"]), list(lookahead.clockwork.drafts["model"])) == ([5], [40])

    @pytest.mark.parametrize("per_token, tries", [(0.0, True), (0.2, False)], ids=["for-nothing", "at-a-price"])
    def test_what_passed_while_lookups_drafted_is_to_be_caught_up_with(self, per_token, tries):
        """A re-probe of a draft that is never right, after long stretches that were all looked up."""
        machine, lookahead, late, fed, rounds = Machine(alpha=0.0, c=0.4), AutoLookahead([0, 2]), 0, [], 0
        lookahead.clockwork.catch_ups["model"].append(per_token * DECODE_NS)
        for _ in range(40):
            for kind in ["model"] * 20 + ["lookup"] * 40:
                (count,) = lookahead.next([1000], [kind])
                (one,) = machine.round([count])
                if kind == "lookup":
                    one = replace(one, accepted=count, emitted=count + 1, draft_ns=0)
                elif count:
                    fed.append(late)
                    one = replace(one, catch_up=late, draft_ns=one.draft_ns + int(late * per_token * DECODE_NS))
                late = 0 if kind == "model" and count else late + one.emitted
                lookahead.observe([one])
                rounds += 1
        assert (max(fed, default=0) > 40) == tries
        assert sum(fed) * per_token < 0.1 * rounds

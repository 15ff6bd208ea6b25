# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""K by the clock: auto against the best fixed K on a simulated machine."""

import statistics

import pytest
from support.doubles import ScriptedDrafter, knowing
from support.machine import CHOICES, DECODE_NS, Machine, play, speedup
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.lookahead import FixedLookahead
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

MACHINES = {
    "cheap-and-good": {"alpha": 0.9, "c": 0.02},
    "good-but-dear": {"alpha": 0.8, "c": 0.3},
    "middling": {"alpha": 0.6, "c": 0.1},
    "lookup": {"alpha": 0.4, "c": 0.0, "row": 0.05},
    "wide-rows-cost": {"alpha": 0.9, "c": 0.05, "row": 0.2},
    "poor": {"alpha": 0.3, "c": 0.3},
    "hopeless": {"alpha": 0.0, "c": 0.5},
    "as-dear-as-the-target": {"alpha": 0.8, "c": 1.0},
}


class TestAuto:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("name", MACHINES)
    def test_near_the_best_fixed_k(self, name, seed):
        """After it has learned, within 10% of the best K there is; plain decoding is one of them."""
        machine = Machine(**MACHINES[name], seed=seed)
        history = play(machine, AutoLookahead(CHOICES), 1200)
        assert speedup(history[200:]) > 0.9 * machine.best()

    @pytest.mark.parametrize("name", MACHINES)
    def test_the_k_it_settles_on(self, name):
        machine = Machine(**MACHINES[name], noise=0.0)
        history = play(machine, AutoLookahead(CHOICES), 1500)
        usual = statistics.mode(records[0].drafted for records in history[300:])
        assert machine.speedup(usual) > 0.95 * machine.best()

    @pytest.mark.parametrize("name", ["poor", "hopeless", "as-dear-as-the-target"])
    @pytest.mark.parametrize("seed", range(3))
    def test_never_much_slower_than_plain_decoding(self, name, seed):
        machine = Machine(**MACHINES[name], seed=seed)
        assert machine.best() == 1.0
        history = play(machine, AutoLookahead(CHOICES), 1000)
        assert speedup(history) > 0.95
        for start in range(200, 900, 100):
            assert speedup(history[start : start + 100]) > 0.9

    def test_a_fixed_k_would_be_slower(self):
        """Negative control of the clock above."""
        history = play(Machine(**MACHINES["hopeless"]), FixedLookahead(4), 300)
        assert speedup(history) < 0.5

    def test_it_measures_plain_decoding_first(self):
        history = play(Machine(alpha=0.9, c=0.1), AutoLookahead(CHOICES), 6)
        assert [records[0].drafted for records in history][:3] == [0, 0, 1]
        assert all(records[0].drafted for records in history[2:])

    def test_calibrated_it_need_not_try_what_widths_cost(self, monkeypatch):
        """It drafts from the first round where that pays, and never tries a width that is too dear; untold, it does."""

        class Idle:
            """A target that takes the machine's time and does nothing else."""

            max_seq_len, now = 512, 0

            def __init__(self, machine):
                self.machine = machine

            def forward(self, tokens, positions, *, argmax_only):
                assert tokens.shape[0] == len(positions) and argmax_only
                Idle.now += int(DECODE_NS * self.machine.v(tokens.shape[1] - 1))

            def synchronize(self):
                pass

        monkeypatch.setattr("time.perf_counter_ns", lambda: Idle.now)

        def calibrated(machine):
            lookahead = AutoLookahead(CHOICES)
            lookahead.calibrate(Idle(machine), users=1, argmax_only=True)
            return lookahead

        def widest(machine, lookahead):
            return max(records[0].drafted for records in play(machine, lookahead, 60))

        dear, cheap = (Machine(alpha=0.5, c=0.0, row=row, noise=0.0) for row in (0.75, 0.0))
        clockwork = calibrated(dear).clockwork
        assert [clockwork.verify_ns(k + 1) / DECODE_NS for k in CHOICES] == [dear.v(k) for k in CHOICES]
        assert widest(dear, calibrated(dear)) <= 1 < widest(dear, AutoLookahead(CHOICES))
        assert (
            play(cheap, calibrated(cheap), 1)[0][0].drafted > 0 == play(cheap, AutoLookahead(CHOICES), 1)[0][0].drafted
        )

    def test_it_tries_again_at_intervals_that_double(self):
        history = play(Machine(**MACHINES["hopeless"], noise=0.0), AutoLookahead(CHOICES), 900)
        tries = [i for i, records in enumerate(history) if records[0].drafted]
        late = [b - a for a, b in zip(tries, tries[1:]) if b - a > 1]
        assert len(late) >= 4 and late == sorted(late) and late[-1] <= AutoLookahead.REPROBE[1] + 1

    def test_it_finds_out_when_drafts_become_good(self):
        machine, lookahead = Machine(alpha=0.0, c=0.2), AutoLookahead(CHOICES)
        play(machine, lookahead, 300)
        machine.alpha = 0.9
        history = play(machine, lookahead, 900)
        assert speedup(history[600:]) > 0.9 * machine.best() > 1.5

    def test_it_finds_out_when_drafts_become_bad(self):
        machine, lookahead = Machine(alpha=0.9, c=0.2), AutoLookahead(CHOICES)
        play(machine, lookahead, 300)
        machine.alpha = 0.0
        history = play(machine, lookahead, 400)
        assert speedup(history[100:]) > 0.95

    def test_kinds_of_draft_are_apart(self):
        """Long matches are worth drafting, short ones are not: each is judged by its own past."""
        good, bad, lookahead = Machine(alpha=0.95, c=0.1), Machine(alpha=0.0, c=0.6, seed=1), AutoLookahead(CHOICES)
        drafted = {"good": [], "bad": []}
        for i in range(600):
            kind, machine = ("good", good) if i % 2 else ("bad", bad)
            records = machine.round(lookahead.next([100], [kind]))
            lookahead.observe(records)
            drafted[kind].append(records[0].drafted)
        assert statistics.mean(drafted["good"][100:]) > 4 and statistics.mean(drafted["bad"][100:]) < 0.5

    @pytest.mark.parametrize("users", [2, 8])
    def test_several_users(self, users):
        machine = Machine(alpha=0.8, c=0.1, row=0.002, users=users)
        history = play(machine, AutoLookahead(CHOICES), 600)
        assert speedup(history[200:]) > 0.9 * machine.best()

    def test_no_draft_no_k(self):
        lookahead = AutoLookahead(CHOICES)
        lookahead.start(2)
        for _ in range(20):
            counts = lookahead.next([50, 50], [None, None])
            assert counts == [0, 0]
            lookahead.observe(Machine(alpha=1.0, c=0.0, users=2).round(counts))

    def test_a_user_without_room_gets_none(self):
        lookahead = AutoLookahead(CHOICES)
        machine = Machine(alpha=0.9, c=0.05, users=2)
        play(machine, lookahead, 50)
        counts = lookahead.next([0, 1], ["model", "model"])
        assert counts[0] == 0 and counts[1] <= 1

    def test_only_the_given_choices(self):
        """A device has one trace per K: where there is room, no other K is asked for."""
        history = play(Machine(alpha=0.9, c=0.02), AutoLookahead((0, 3, 7)), 400)
        assert {records[0].drafted for records in history} == {0, 3, 7}
        hopeless = play(Machine(alpha=0.0, c=0.5), AutoLookahead((0, 4)), 200)
        assert {records[0].drafted for records in hopeless} == {0, 4}

    def test_what_was_learned_outlives_a_generation(self):
        machine, lookahead = Machine(alpha=0.9, c=0.02), AutoLookahead(CHOICES)
        play(machine, lookahead, 100)
        assert play(machine, lookahead, 1)[0][0].drafted > 0

    def test_many_who_have_ended_do_not_make_drafting_look_dear(self):
        machine, lookahead = Machine(alpha=0.8, c=0.1), AutoLookahead(CHOICES)
        lookahead.start(32)
        drafted = []
        for _ in range(300):
            counts = lookahead.next([1000, *[0] * 31], ["model"] * 32)
            records = [*machine.round(counts[:1]), *[None] * 31]
            lookahead.observe(records)
            drafted.append(records[0].drafted)
        assert machine.speedup(statistics.mode(drafted[100:])) > 0.95 * machine.best()

    def test_a_user_who_ended_at_once_does_not_keep_the_others_from_drafting(self):
        """Two users, of whom one ends with its very first token: the other's drafts must not wait for a full batch."""
        machine, lookahead = Machine(alpha=0.9, c=0.02), AutoLookahead(CHOICES)
        lookahead.start(2)
        drafted = []
        for _ in range(100):
            counts = lookahead.next([0, 1000], ["model", "model"])
            records = [None, *machine.round(counts[1:])]
            lookahead.observe(records)
            drafted.append(records[1].drafted)
        assert statistics.mean(drafted[10:]) > 2

    @pytest.mark.parametrize("choices", [(0,), (1, 2), (0, 32), (0, -1, 2)])
    def test_refused(self, choices):
        with pytest.raises(BadInput):
            AutoLookahead(choices)

    @pytest.mark.parametrize("kind", ["prompt-lookup", "right", "wrong"])
    def test_the_text_does_not_depend_on_the_clock(self, kind):
        model, prompt = tiny_llama(0), [5, 3, 8, 1]
        text, gap = greedy_by_recomputation(model, prompt, 80)
        assert gap > 1e-4
        drafter = {
            "prompt-lookup": PromptLookupDrafter,
            "right": lambda: knowing(prompt + text, wrong_at=lambda index: False, vocab=32),
            "wrong": lambda: ScriptedDrafter(lambda _, count: [0] * count),
        }[kind]()
        generator = SpeculativeGenerator(TorchModelRunner(model, max_seq_len=128), drafter, lookahead=AutoLookahead())
        for _ in range(2):
            assert generator.generate([prompt], max_new_tokens=80)[0].tokens == text

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""K by the clock on the fake device, whose forwards take what is laid down here, for a draft that fell behind."""

import pytest
from fakes import fixtures
from fakes.pairs import MAX_SEQ_LEN, PROMPTS, TARGET
from support.tiny import greedy_by_recomputation

from models.tt_transformers.demo.speculative_decoding import runner
from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt.fused_drafter import FusedDrafter

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair
VERIFY_NS, DRAFT_NS = 1000, 900  # whatever the width; all of two drafts standing wins 1 - 2.8/3 of a verify, no more
LONG = MAX_SEQ_LEN - len(PROMPTS[0])


@pytest.fixture
def timed(monkeypatch):
    """Puts a pair's forwards on a clock of their own, which stands still in between; returns how often the draft ran
    apart from fused rounds."""
    now, alone = [0], []
    monkeypatch.setattr(runner.time, "perf_counter_ns", lambda: now[0])

    def taking(holder, name, duration_ns, seen):
        work = getattr(holder, name)

        def run(*given, **how):
            now[0] += duration_ns
            seen.append(duration_ns)
            return work(*given, **how)

        monkeypatch.setattr(holder, name, run)

    def put(target, draft):
        taking(target, "forward", VERIFY_NS, [])
        taking(draft, "forward", DRAFT_NS, alone)
        for k, fused in draft.rounds.items():
            taking(fused, "run", k * DRAFT_NS + VERIFY_NS, [])
        return alone

    return put


@pytest.mark.parametrize("kind", [FusedDrafter, ModelDrafter])
@pytest.mark.parametrize("catch_up, tried", [(2, False), (16, True)], ids=["two-by-two", "in-wide-steps"])
def test_a_re_probe_that_must_first_catch_up_for_more_than_it_can_win_is_not_made(
    open_pair, timed, kind, catch_up, tried
):
    """The first is: what catching up costs is not known before. Then a draft that is never right, and was left out of
    24 rounds, would have to win back 12 steps of two tokens, or 2 of sixteen."""
    pair = open_pair("always-wrong", num_draft_tokens=(0, 2), catch_up=catch_up)
    alone = timed(*pair)
    lookahead = AutoLookahead([0, 2])
    (result,) = SpeculativeGenerator(pair[0], kind(pair[1]), lookahead=lookahead).generate(
        PROMPTS[:1], max_new_tokens=LONG, stop_token_ids=[]
    )
    assert result.tokens == greedy_by_recomputation(TARGET, PROMPTS[0], LONG)[0]
    drafted = [r for r in result.rounds if r.drafted]
    assert {r.fused for r in drafted} == {kind is FusedDrafter}
    assert (max(r.catch_up for r in drafted) > 20) == tried
    steps_of_drafts = 0 if kind is FusedDrafter else sum(r.drafted for r in drafted)
    assert 0 < len(alone) - steps_of_drafts <= 8
    assert set(lookahead.clockwork.drafts["always-wrong"]) == {DRAFT_NS}  # catching up is no draft's cost

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Deliberate defects, each put in through a seam, and the check that must catch it: a test that cannot fail is no test.

Defects are in support/defects.py and support/sampling_defects.py, checks in support/checks.py; each check is also run
without any defect, and must pass. The run ends with the table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from fakes import fixtures
from support import checks, defects, sampling_defects
from support.checks import Parts

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair
CAUGHT: dict[str, str] = {}


@dataclass(frozen=True)
class Defect:
    """What is done wrong, how it is put in, and the check that must fail."""

    name: str
    inject: Callable[[pytest.MonkeyPatch, Parts], None]
    caught_by: Callable[[Parts], None]


DEFECTS = [
    Defect("every draft is accepted", defects.accept_always, checks.equals_plain_decoding),
    Defect(
        "every draft is accepted, sampling", sampling_defects.accept_always_when_sampling, checks.the_law_is_the_targets
    ),
    Defect("the rejected token is kept as well", defects.keep_the_rejected_token, checks.equals_plain_decoding),
    Defect("the bonus is forgotten", defects.forget_the_bonus, checks.a_self_draft_is_all_accepted),
    Defect(
        "position one short after full acceptance",
        defects.one_position_short_after_full_acceptance,
        checks.equals_plain_decoding,
    ),
    Defect("the draft does not catch up", defects.no_catch_up_of_the_draft, checks.a_self_draft_is_all_accepted),
    Defect(
        "the leftover is not renormalised", sampling_defects.leftover_not_renormalised, checks.the_law_is_the_targets
    ),
    Defect(
        "p instead of the leftover", sampling_defects.the_target_instead_of_the_leftover, checks.the_law_is_the_targets
    ),
    Defect(
        "temperature on the draft's side only",
        sampling_defects.temperature_on_the_draft_only,
        checks.the_law_is_the_targets,
    ),
    Defect(
        "the draft is drawn at another temperature",
        sampling_defects.draft_drawn_at_another_temperature,
        checks.the_law_is_the_targets,
    ),
    Defect(
        "sampled drafts without their q",
        sampling_defects.draft_probabilities_withheld,
        checks.a_sampled_self_draft_is_all_accepted,
    ),
    Defect("top-k on the draft's side only", sampling_defects.mask_on_the_draft_only, checks.a_mask_is_kept),
    Defect("q in bf16", sampling_defects.q_in_bfloat16, checks.a_sampled_self_draft_is_all_accepted),
    Defect(
        "corrections counted as accepted",
        defects.corrections_counted_as_accepted,
        checks.counts_are_of_what_was_committed,
    ),
    Defect("decoding goes on after EOS", defects.overlook_in_a_block("eos"), checks.eos_ends_inside_a_block),
    Defect("the limit is overshot", defects.overshoot_the_limit, checks.the_limit_is_kept),
    Defect(
        "stop strings sought in one token",
        defects.stop_strings_sought_in_one_token,
        checks.a_stop_string_ends_across_rounds,
    ),
    Defect(
        "two users' next tokens swapped", defects.users_swap_their_next_tokens, checks.ragged_batch_equals_single_runs
    ),
    Defect(
        "one accepted count for all users",
        defects.every_user_accepts_what_the_luckiest_does,
        checks.ragged_batch_equals_single_runs,
    ),
    Defect("two users' seeds swapped", sampling_defects.seeds_swapped, checks.seeds_belong_to_users),
    Defect(
        "the global random generator", sampling_defects.the_global_generator, checks.the_global_generator_is_untouched
    ),
    Defect(
        "the last generation's cache",
        defects.the_cache_of_the_last_generation,
        checks.a_second_generation_is_like_the_first,
    ),
    Defect("the device's own position after a rollback", defects.positions_of_its_own, checks.equals_plain_decoding),
    Defect("a rejected row stays visible", defects.rejected_rows_stay_visible, checks.equals_plain_decoding),
    Defect("the stock KV write", defects.stock_kv_write, checks.equals_plain_decoding_on_tenstorrent),
    Defect("a stale page table", defects.stale_page_table, checks.equals_plain_decoding_on_tenstorrent),
    Defect("a replay with old inputs", defects.replay_with_old_inputs, checks.equals_plain_decoding_on_tenstorrent),
]
CHECKS = [
    check
    for _, check in inspect.getmembers(checks, inspect.isfunction)
    if list(inspect.signature(check).parameters)[:1] == ["parts"]
]
CHECKS = [check for check in CHECKS if check is not checks.generate]


@pytest.fixture
def parts(open_pair):
    return Parts(open_pair)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_without_a_defect_it_holds(check, parts):
    check(parts)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name.replace(" ", "-"))
def test_caught(defect, parts):
    with pytest.MonkeyPatch.context() as patch:
        defect.inject(patch, parts)
        with pytest.raises(AssertionError):
            defect.caught_by(parts)
    CAUGHT[defect.name] = defect.caught_by.__name__


def test_the_list_is_whole(capsys):
    """At least fifteen, every check needed by one of them; and the table."""
    assert len(DEFECTS) >= 15 and len({defect.name for defect in DEFECTS}) == len(DEFECTS)
    assert {defect.caught_by for defect in DEFECTS} == set(CHECKS)
    width = max(len(defect.name) for defect in DEFECTS)
    with capsys.disabled():
        print(f"\n\n{'defect':{width}} | caught by\n{'-' * width}-+-{'-' * 40}")
        for defect in DEFECTS:
            print(f"{defect.name:{width}} | {CAUGHT.get(defect.name, 'not run')}")

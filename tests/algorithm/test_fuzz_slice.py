# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A slice of the differential fuzz (`make fuzz` runs a million tokens of it), and whether it would notice."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fuzz import fuzz as fuzz_module
from fuzz.case import Case
from fuzz.check import one_line, run_case, shrink
from fuzz.fuzz import fuzz
from fuzz.world import World

from models.tt_transformers.demo.speculative_decoding import acceptance, batch
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_slice_of_fuzz(monkeypatch):
    """Half a minute, always of the same cases; every fourth set is for the device, so that one surely is."""
    monkeypatch.setattr(fuzz_module, "TT_POOLS", 4)
    tally, failure = fuzz(0, tokens=28_000)
    print(tally)
    assert failure is None, str(failure)
    assert tally.emitted >= 28_000 and tally.by_runner["tt"] > 1000


def accept_always(drafted, choices):
    return len(drafted), int(choices[len(drafted)])


def accept_always_sampled(drafted, q, p, generator):
    return len(drafted), acceptance.sample(p[len(drafted)], generator)


def accept_one_too_few(drafted, choices):
    accepted = next((j for j, token in enumerate(drafted) if token != choices[j]), len(drafted))
    return max(0, accepted - 1), int(choices[accepted])


def overlook_a_stop_in_a_block(commit):
    def committing(self, token, origin, source, now_ns, *told):
        commit(self, token, origin, source, now_ns, *told)
        if origin == "accepted":
            self.finish_reason = None

    return committing


DEFECTS = {
    "accept-always": lambda patch: patch.setattr(acceptance, "_accept_greedy", accept_always),
    "accept-always-when-sampling": lambda patch: patch.setattr(acceptance, "_accept_sampled", accept_always_sampled),
    "next-token-of-the-wrong-row": lambda patch: patch.setattr(acceptance, "_accept_greedy", accept_one_too_few),
    "a-stop-inside-a-block-is-overlooked": lambda patch: patch.setattr(
        SequenceState, "commit", overlook_a_stop_in_a_block(SequenceState.commit)
    ),
    "rounds-counted-wrong": lambda patch: patch.setattr(
        batch,
        "RoundRecord",
        lambda record=batch.RoundRecord, **fields: record(**{**fields, "accepted": fields["emitted"] - 1}),
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found_and_made_small(defect, monkeypatch):
    """Negative control: each is found within seconds; its reproduction fails with the defect and passes without."""
    with monkeypatch.context() as patch:
        DEFECTS[defect](patch)
        _, failure = fuzz(0, seconds=60, tt=False, shrink_seconds=10)
        assert failure is not None
    assert len(failure.case.prompts) <= len(failure.found.prompts)
    assert len(failure.case.to_json()) <= len(failure.found.to_json())
    assert str(failure).count("\n") == 1
    with World() as world:
        assert run_case(world, failure.case).wrong is None


def test_shrinking_ends_at_what_matters():
    case = Case(
        prompts=((1, 2, 3, 4), (5, 9, 6), (7, 8)), limit=60, stop_ids=(3,), stop_strings=("x", "ab"), verify_width=8
    )
    small = shrink(case, lambda c: any(9 in prompt for prompt in c.prompts) and c.limit >= 7)
    assert small.prompts == ((9,),) and small.limit == 7 and not small.stop_ids and small.verify_width == 1


def test_a_case_survives_its_one_line():
    case = Case(model=2, prompts=((1, 2), (3,)), stop_strings=("it's", '"'), stop_ids=(4,), temperature=0.5)
    command = shlex.split(one_line(case))
    assert Case.from_json(command[-1]) == case and "\n" not in one_line(case)
    assert json.loads(Case().to_json()) == {}


def test_the_command_line_runs_one_case():
    command = [sys.executable, "tests/fuzz/fuzz.py", "--case", Case(prompts=((1, 2),), limit=4).to_json()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "nothing wrong"), done.stderr

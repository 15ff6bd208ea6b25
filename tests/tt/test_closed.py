# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A Tenstorrent runner that was closed says so, whatever it is asked for."""

import pytest
import torch
from fakes import fixtures
from fakes.device import FakeMeshDevice
from fakes.pairs import PROMPTS

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt.fused_drafter import FusedDrafter

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair


def test_a_closed_runner_says_so(open_pair):
    target, draft = open_pair(num_draft_tokens=3)
    target.close()
    target.close()
    for use in (target.synchronize, lambda: target.prefill([[1, 2]])):
        with pytest.raises(RuntimeError, match="is closed; open it again"):
            use()
    assert torch.isfinite(draft.prefill([[1, 2]]).values).all()  # the other one goes on


@pytest.mark.parametrize("first", [0, 1], ids=["target", "draft"])
def test_no_trace_outlives_a_model_that_it_reads(open_pair, first):
    """Of the traces of T = 1, 2 and 4 and of the fused round, the other model's own are left."""
    mesh = FakeMeshDevice()
    pair = open_pair(mesh=mesh, num_draft_tokens=3)
    pair[first].close()
    assert len(mesh.traces) == [2, 1][first] and not pair[1 - first].rounds


@pytest.mark.parametrize("closed", [0, 1], ids=["target", "draft"])
def test_a_stream_is_told_that_its_models_were_closed(open_pair, closed):
    pair = open_pair(num_draft_tokens=3)
    events = SpeculativeGenerator(pair[0], FusedDrafter(pair[1]), num_draft_tokens=3).stream(PROMPTS[:1])
    next(events)
    pair[closed].close()
    with pytest.raises(BadInput, match="or they were closed"):
        list(events)

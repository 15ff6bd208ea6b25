# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A Tenstorrent runner that was closed says so, whatever it is asked for."""

import pytest
import torch
from fakes import fixtures

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair


def test_a_closed_runner_says_so(open_pair):
    target, draft = open_pair(num_draft_tokens=3)
    target.close()
    target.close()
    for use in (target.synchronize, lambda: target.prefill([[1, 2]])):
        with pytest.raises(RuntimeError, match="is closed; open it again"):
            use()
    assert torch.isfinite(draft.prefill([[1, 2]]).values).all()  # the other one goes on

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Upstream's own check that nothing allocated behind a live trace outlives its replay (TT_METAL_TRACE_ALLOC_TRACKING).

ttnn reads that variable once, as it starts, so a process of its own plays traced rounds under it: before any other
test, for this process holds the device from the first one on.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.harness.device_cases import unavailable
from models.tt_transformers.demo.speculative_decoding.tests.test_verify_on_device import PROMPT, opened
from models.tt_transformers.demo.speculative_decoding.tt.loading import load_upstream
from models.tt_transformers.demo.speculative_decoding.tt.mesh import slow_dispatch
from models.tt_transformers.demo.speculative_decoding.tt.pair import pair_requests

TRACKING = "TT_METAL_TRACE_ALLOC_TRACKING"
HERE = Path(__file__)


@pytest.fixture
def tracking_ttnn():
    """ttnn, if it can track allocations."""
    try:
        ttnn = load_upstream().ttnn
    except ModelUnavailable as reason:
        unavailable(reason)
    operations = getattr(ttnn._ttnn, "operations", None)
    if slow_dispatch() or not hasattr(getattr(operations, "trace", None), "get_unsafe_tracked_ids"):
        pytest.skip("this ttnn tracks no allocations (tt-metal's pull request 50156), or has no traces")
    return ttnn


@pytest.mark.skipif(os.environ.get(TRACKING) == "1", reason=f"{TRACKING} is set already")
def test_tracked_rounds(tracking_ttnn):
    chosen = "kept_buffer or (separate_steps and relative and 1user and accuracy and not untraced)"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-k", chosen]
    command += [str(HERE), str(HERE.with_name("test_fused_round.py"))]
    run = subprocess.run(command, env={**os.environ, TRACKING: "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-1000:]
    if "2 passed" not in run.stdout:
        pytest.skip(run.stdout[-500:])


@pytest.mark.skipif(os.environ.get(TRACKING) != "1", reason=f"{TRACKING} is not set")
@pytest.mark.parametrize("enable_trace", [True], indirect=True, ids=["traced"])
@pytest.mark.parametrize("optimizations", ["accuracy"], indirect=True)
def test_control_a_kept_buffer_is_seen(tracking_ttnn, mesh_device, checkpoint, how):
    ttnn = tracking_ttnn
    with opened(mesh_device, how, pair_requests(checkpoint, checkpoint, num_draft_tokens=[3])) as (_, draft):
        fused, context = draft.rounds[3], [*PROMPT, 7]
        fused.run([context], [3])
        kept = ttnn.from_torch(torch.zeros(32, dtype=torch.int32), dtype=ttnn.int32, device=mesh_device)
        with pytest.raises(RuntimeError, match="still alive before trace replay"):
            fused.run([context], [3])
        del kept
        fused.run([context], [3])

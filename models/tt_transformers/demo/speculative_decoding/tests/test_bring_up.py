# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The ladder for the first hour with a board, from single ops to the pair: each rung says what is expected, the first
that fails what its failure means, and at the end stands what a step takes. SPECULATIVE_REPLAYS: how often two traces
alternate (default 1000; a simulator wants fewer).
"""

import os
import time
from contextlib import contextmanager

import pytest
import torch

from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.harness.traffic import READ, WAIT, counted
from models.tt_transformers.demo.speculative_decoding.tests.test_verify_on_device import PROMPT, opened, worst, written
from models.tt_transformers.demo.speculative_decoding.tt.loading import load_upstream
from models.tt_transformers.demo.speculative_decoding.tt.mesh import slow_dispatch
from models.tt_transformers.demo.speculative_decoding.tt.pair import ModelRequest, pair_requests

VERIFIED = [7, 100, 200, 300]


@contextmanager
def rung(what, *, otherwise):
    print(f"\n{what}", end=" ", flush=True)
    try:
        yield
    except BaseException:
        print(f"\n  it does not: {otherwise}", flush=True)
        raise
    print("- it does", flush=True)


def probe_ops(ttnn, mesh):
    """The ops that our step puts around upstream's."""
    positions = ttnn.from_torch(torch.tensor([5, 6, -1, 7]), dtype=ttnn.int32, device=mesh)
    mask = ttnn.from_torch(torch.tensor([1, 0, 0, 1]), dtype=ttnn.int32, device=mesh)
    logits = torch.randn(1, 1, 32, 1024).bfloat16().float()
    tile = ttnn.from_torch(logits, dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=mesh)
    ids = ttnn.argmax(ttnn.slice(tile, [0, 0, 0, 0], [1, 1, 4, 1024]), dim=-1, keepdim=False)
    for result, wanted in (
        (ttnn.where(mask, positions, -1), torch.tensor([5, -1, -1, 7])),
        (ids, logits[:, :, :4].argmax(-1)),
    ):
        assert tuple(result.padded_shape) == tuple(result.shape) == tuple(wanted.shape)
        assert torch.equal(ttnn.to_torch(result).long(), wanted)


def correlation(mesh, checkpoint, reference, how, width):
    """The least of the rows of one decode of `width` tokens."""
    request = ModelRequest(checkpoint, (width,), ids=False, logits=True)
    with opened(mesh, how, [request]) as (runner,):
        runner.prefill([PROMPT])
        rows = runner.forward(torch.tensor([VERIFIED[:width]]), [len(PROMPT)]).values[0]
        return worst(rows, reference(runner, PROMPT + VERIFIED[:width])[len(PROMPT) :])


def step_times(ttnn, runner, width):
    """Milliseconds, the least of ten: on the host until a decode is launched, on the device, reading its ids."""
    times = []
    for _ in range(10):
        with counted(ttnn, runner.model.mesh_device) as traffic:
            begun = time.perf_counter_ns()
            runner.forward(torch.full((1, width), 7), [len(PROMPT)], argmax_only=True)
            took = time.perf_counter_ns() - begun
        waited, read = traffic.ns[WAIT], traffic.ns[READ]
        times.append((took - waited - read, waited, read))
    return [f"{min(column) / 1e6:.2f}" for column in zip(*times)]


@pytest.mark.parametrize("enable_trace", [not slow_dispatch()], ids=["ladder"])
def test_bring_up(mesh_device, checkpoint, reference, enable_trace, capsys):
    ttnn, replays = load_upstream().ttnn, int(os.environ.get("SPECULATIVE_REPLAYS", "1000"))
    how = {"enable_trace": enable_trace, "optimizations": "accuracy"}
    untraced = {**how, "enable_trace": False}
    with capsys.disabled():
        with rung(
            "where, slice and argmax give torch's values, in shapes without padding", otherwise="ttnn is another"
        ):
            probe_ops(ttnn, mesh_device)
        with rung("a decode of one token correlates at .998", otherwise="upstream's model or the page table is wrong"):
            assert correlation(mesh_device, checkpoint, reference, untraced, 1) >= 0.998
        with rung(
            "so does one of four tokens of a user", otherwise="rows of one user overwrite each other: tt/kv_write"
        ):
            assert correlation(mesh_device, checkpoint, reference, untraced, 4) >= 0.998
        with rung("and as a trace", otherwise="a buffer that the trace reads was not staged, or was overwritten"):
            assert correlation(mesh_device, checkpoint, reference, how, 4) >= 0.998
        with opened(mesh_device, how, pair_requests(checkpoint, checkpoint, num_draft_tokens=[0, 3])) as (
            target,
            draft,
        ):
            with rung(f"two traces in turn give the same {replays} times", otherwise="set SPECULATIVE_TRACE=0"):
                target.prefill([PROMPT]), draft.prefill([PROMPT])
                found = set()
                for _ in range(replays):
                    for runner, tokens in ((target, VERIFIED), (draft, VERIFIED[:1])):
                        rows = runner.forward(torch.tensor([tokens]), [len(PROMPT)], argmax_only=True).values
                        found.add((runner is target, *rows[0].tolist()))
                assert len(found) == 2, found
            with rung("the pair writes what its target writes", otherwise="rolling back: see test_verify_on_device.py"):
                assert written(target, ModelDrafter(draft), num_draft_tokens=3) == written(target)
            print("\nmilliseconds of a decode: host until launched, device, reading")
            for name, runner, width in (("target", target, 1), ("target", target, 4), ("draft", draft, 1)):
                print(f"  {name} of {width} tokens: {', '.join(step_times(ttnn, runner, width))}")
            if os.environ.get("TT_METAL_DEVICE_PROFILER") == "1":
                ttnn.ReadDeviceProfiler(mesh_device)
                print("the device profiler's own times are in generated/profiler/.logs/")

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The pytest demos' bodies: the mesh of MESH_DEVICE, both of upstream's precisions, the cases, and what must hold.

Every demo file names a hook and a test made here, so that nothing needs pytest until pytest calls it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from loguru import logger

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.harness.comparison import NEAR_TIE_GAP
from models.tt_transformers.demo.speculative_decoding.harness.device_run import run_baseline, run_on_device
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions
from models.tt_transformers.demo.speculative_decoding.harness.pairs import ModelPair, named_pair
from models.tt_transformers.demo.speculative_decoding.harness.prompts import SAMPLE_PROMPTS, load_prompts
from models.tt_transformers.demo.speculative_decoding.hf.loading import check_reachable
from models.tt_transformers.demo.speculative_decoding.tt import mesh

DEVICE_PARAMS = {"fabric_config": True, "trace_region_size": mesh.TRACE_REGION_SIZE, "num_command_queues": 1}
_PAIR_8B = {"pair": "llama-1b-8b", "num_draft_tokens": 3}
# Test id -> arguments of sample_run().
DEMO_CASES: dict[str, dict[str, Any]] = {
    "1b-3b-greedy-batch1": {"pair": "llama-1b-3b", "num_draft_tokens": 2},
    "1b-8b-greedy-batch1": _PAIR_8B,
    "1b-8b-sampling-batch1": {**_PAIR_8B, "sampling": SamplingParams(temperature=0.8)},
    "1b-8b-greedy-batch4": {**_PAIR_8B, "users": 4},
    "ci-smoke": {"pair": "llama-1b-8b", "num_draft_tokens": 2, "num_prompts": 1, "max_new_tokens": 32},
}
HookAndTest: TypeAlias = tuple[Callable[[Any], None], Callable[..., None]]


def of_pair(pair: str, num_draft_tokens: Sequence[int], *, num_prompts: int, timeout_s: int = 3600) -> HookAndTest:
    """pytest_generate_tests and a test: the pair equals the stock target, with each number of draft tokens."""

    def hook(metafunc: Any) -> None:
        ks = {f"k{count}": count for count in num_draft_tokens}
        on_device(metafunc, "num_draft_tokens", ks, timeout_s=timeout_s)

    def test(
        num_draft_tokens: int, optimizations: str, mesh_device: Any, device_params: Any, reset_seeds: None
    ) -> None:
        options = sample_run(
            pair, num_prompts=num_prompts, num_draft_tokens=num_draft_tokens, optimizations=optimizations
        )
        record = run_on_device(mesh_device, options)
        check_record(record)
        assert len(record["prompts"]) == num_prompts

    return hook, test


def of_baseline(pair: str) -> HookAndTest:
    """pytest_generate_tests and a test: the pair's stock target alone writes something; TTFT and rate are logged."""

    def test(optimizations: str, mesh_device: Any, device_params: Any, reset_seeds: None) -> None:
        for request, result in run_baseline(mesh_device, sample_run(pair, optimizations=optimizations)):
            category, ttft_ms = request.prompt.category, result.ttft_ns / 1e6
            assert len(result.tokens) > 1, f"prompt {category!r} ended at once"
            logger.info(f"{category}: TTFT {ttft_ms:.0f} ms, {result.decode_tps:.1f} tok/s/user")

    return on_device, test


def on_device(
    metafunc: Any, name: str | None = None, cases: Mapping[str, Any] | None = None, *, timeout_s: int = 3600
) -> None:
    """Parametrize a test over the mesh, both precisions, and the values of its argument `name`, if there is one.

    Args:
        metafunc: what pytest_generate_tests() is given.
        cases: test id -> value.
        timeout_s: pytest-timeout's, unless the command line says otherwise.
    """
    import pytest

    if name is not None and cases is not None:
        metafunc.parametrize(name, list(cases.values()), ids=list(cases))
    precisions = [pytest.param(name, marks=pytest.mark.timeout(timeout_s)) for name in ("performance", "accuracy")]
    metafunc.parametrize("optimizations", precisions)
    metafunc.parametrize("device_params", [DEVICE_PARAMS], indirect=True, ids=["traces-of-both"])
    shape = mesh.MESH_SHAPES.get(mesh.mesh_name(), (1, 1))  # tt-metal's fixture refuses a mesh that is not there
    metafunc.parametrize("mesh_device", [shape], indirect=True, ids=[mesh.mesh_name()])


def sample_run(
    pair: str, *, num_prompts: int = 10, users: int = 1, optimizations: str = "performance", **options: Any
) -> RunOptions:
    """The named pair on the first of the sample prompts; skips the test where one of its models cannot be had.

    Args:
        options: other attributes of RunOptions.
    """
    models = available(named_pair(pair))
    return RunOptions(
        **{"max_seq_len": 1024, **options},
        pair=pair,
        target=models.target,
        draft=models.draft,
        prompts=load_prompts(SAMPLE_PROMPTS)[:num_prompts],
        backend="tt",
        device=mesh.mesh_name(),
        dtype=optimizations,
        enable_trace=mesh.wanted_traces(),
        batch_size=users,
    )


def available(pair: ModelPair) -> ModelPair:
    """The pair, or a skip that says which model cannot be had here.

    SPECULATIVE_TARGET and SPECULATIVE_DRAFT (ids or folders) take the place of the pair's own models.
    """
    import pytest

    draft = os.environ.get("SPECULATIVE_DRAFT", pair.draft)
    pair = replace(pair, target=os.environ.get("SPECULATIVE_TARGET", pair.target), draft=draft)
    for model_id in filter(None, (pair.target, pair.draft)):
        try:
            check_reachable(model_id)
        except ModelUnavailable as reason:
            pytest.skip(str(reason))
    return pair


def check_record(record: dict[str, Any]) -> None:
    """What every run must satisfy, whatever the device: AssertionError says which prompt does not."""
    for row in record["prompts"]:
        if row["identical"] is False:
            where = f"prompt {row['category']!r} parts from plain decoding at token {row['first_divergence']}"
            gap = row["divergence_top2_gap"]
            no_tie = f"{where}, where the target's top-2 gap is {gap:.2f}: no near-tie"
            assert gap < NEAR_TIE_GAP[record["dtype"]], no_tie
            logger.warning(f"{where}, at a near-tie (gap {gap:.3f})")
    total = record["summary"]
    assert 0.0 < total["acceptance_rate"] <= 1.0, f"acceptance rate {total['acceptance_rate']}"
    assert 1.0 <= total["tokens_per_round"] <= record["num_draft_tokens"] + 1
    shown = [f"{name} = {total[name]:.3f}" for name in ("c", "v", "alpha")]
    logger.info(f"{', '.join(shown)}, speedup {total['speedup']:.2f}")

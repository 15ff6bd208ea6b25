# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The pytest demos' bodies: the mesh of MESH_DEVICE, both of upstream's precisions, the cases, and what must hold.

Every demo file names a hook and a test made here, so that nothing needs pytest until pytest calls it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from loguru import logger

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.harness.device_run import run_baseline, run_on_device
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions
from models.tt_transformers.demo.speculative_decoding.harness.pairs import named_pair
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
    "ci-smoke": {**_PAIR_8B, "num_prompts": 1, "max_new_tokens": 32, "with_baseline": False},
}
ROWS_PCC = 0.998  # on one device, with one set of weights
HookAndTest: TypeAlias = tuple[Callable[[Any], None], Callable[..., None]]  # pytest_generate_tests and a test


def of_pair(pair: str, ks: Sequence[int], *, num_prompts: int = 2, timeout_s: int = 3600) -> HookAndTest:
    """The pair equals the stock target, with each number of draft tokens."""
    cases = {f"k{k}": {"pair": pair, "num_draft_tokens": k, "num_prompts": num_prompts} for k in ks}

    def test(case: dict[str, Any], optimizations: str, mesh_device: Any, device_params: Any, reset_seeds: None) -> None:
        run_case(case, optimizations, mesh_device)

    return lambda metafunc: on_device(metafunc, cases, timeout_s=timeout_s), test


def of_baseline(pair: str) -> HookAndTest:
    """The pair's stock target alone writes something; TTFT and rate are logged."""

    def test(optimizations: str, mesh_device: Any, device_params: Any, reset_seeds: None) -> None:
        for request, result in run_baseline(mesh_device, sample_run(pair, optimizations=optimizations)):
            category = request.prompt.category
            assert len(result.tokens) > 1, f"prompt {category!r} ended at once"
            logger.info(f"{category}: TTFT {result.ttft_ns / 1e6:.0f} ms, {result.decode_tps:.1f} tok/s/user")

    return on_device, test


def on_device(metafunc: Any, cases: Mapping[str, Any] | None = None, *, timeout_s: int = 3600) -> None:
    """Parametrize a test over the mesh, both precisions, and `cases` (test id -> arguments of sample_run()), if any;
    timeout_s is pytest-timeout's, unless the command line says otherwise."""
    import pytest

    if cases is not None:
        metafunc.parametrize("case", list(cases.values()), ids=list(cases))
    precisions = [pytest.param(name, marks=pytest.mark.timeout(timeout_s)) for name in ("performance", "accuracy")]
    metafunc.parametrize("optimizations", precisions)
    metafunc.parametrize("device_params", [DEVICE_PARAMS], indirect=True, ids=["traces-of-both"])
    try:
        shape = mesh.mesh_shape()
    except BadInput as refusal:  # of a board that is not supported: never run as another one under its name
        pytest.fail(str(refusal), pytrace=False)
    metafunc.parametrize("mesh_device", [shape], indirect=True, ids=[mesh.mesh_name()])


def unavailable(reason: object) -> NoReturn:
    """Skip a test that lacks its device, model or checkout; where CI=true, fail it: there somebody counts on it."""
    import pytest

    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(reason))


def run_case(case: dict[str, Any], optimizations: str, mesh_device: Any) -> None:
    """The stock target, then the pair, on the same prompts: what check_record() wants holds."""
    options = sample_run(**case, optimizations=optimizations)
    record = run_on_device(mesh_device, options)
    check_record(record)
    assert len(record["prompts"]) == len(options.prompts)


def sample_run(
    pair: str, *, num_prompts: int = 10, users: int = 1, optimizations: str = "performance", **options: Any
) -> RunOptions:
    """The named pair on the first of the sample prompts, with other attributes of RunOptions; unavailable() where one
    of its models cannot be had. SPECULATIVE_TARGET and SPECULATIVE_DRAFT (ids or folders) take their places."""
    named = named_pair(pair)
    target = os.environ.get("SPECULATIVE_TARGET", named.target)
    draft = os.environ.get("SPECULATIVE_DRAFT", named.draft)
    for model_id in filter(None, (target, draft)):
        try:
            check_reachable(model_id)
        except ModelUnavailable as reason:
            unavailable(reason)
    options = {"max_seq_len": 1024, **options, "pair": pair, "target": target, "draft": draft, "batch_size": users}
    machine: dict[str, Any] = {"backend": "tt", "device": mesh.mesh_name(), "enable_trace": mesh.wanted_traces()}
    return RunOptions(**options, **machine, dtype=optimizations, prompts=load_prompts(SAMPLE_PROMPTS)[:num_prompts])


def check_record(record: dict[str, Any]) -> None:
    """What every run must satisfy, whatever the device; AssertionError says which prompt does not.

    A greedy pair writes bit for bit what its own target writes one row at a time; and the verify chooses what the stock
    target chose at every position of the stock target's text, near-ties apart (teacher_forcing.py).
    """
    forced = record.get("teacher_forced")  # none where tokens are sampled
    for row, own in zip(record["prompts"], record["own_plain_tokens"], strict=True):
        where = f"prompt {row['category']!r}: the pair wrote {row['tokens']}, its own target alone {own}"
        assert forced is None or row["tokens"] == own, where
    if forced is not None:
        logger.info(f"teacher forcing: {len(forced['misses'])} misses at {forced['positions']} positions")
        assert forced["problem"] is None, forced["problem"]
    if "rows_pcc" in record:
        logger.info(f"the rows of a verify correlate with single steps' at {record['rows_pcc']:.5f}")
        assert record["rows_pcc"] >= ROWS_PCC, f"the rows of a verify correlate at {record['rows_pcc']:.5f} only"
    for name, figure in record["figures"].items():
        at_least = f"{name} is {figure['value']:g}, and {figure['target']} less its tolerance was asked for"
        assert figure["least"] is None or figure["value"] >= figure["least"], at_least
    total = record["summary"]
    assert total["drafted"], "nothing was drafted"
    assert 0.0 < total["acceptance_rate"] <= 1.0, f"acceptance rate {total['acceptance_rate']}"
    assert 1.0 <= total["tokens_per_round"] <= record["num_draft_tokens"] + 1
    logger.info(", ".join(f"{name} {total[name]}" for name in ("c", "v", "alpha", "speedup")))

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What the pytest demos run on a device: the mesh of MESH_DEVICE, both of upstream's precisions, and the cases.

Every demo file takes on_device() into pytest's own hook, so that nothing here needs pytest until pytest calls it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.harness.pairs import ModelPair
from models.tt_transformers.demo.speculative_decoding.hf.loading import check_reachable
from models.tt_transformers.demo.speculative_decoding.tt.mesh import MESH_SHAPES, TRACE_REGION_SIZE, mesh_name

DEVICE_PARAMS = {"fabric_config": True, "trace_region_size": TRACE_REGION_SIZE, "num_command_queues": 1}
_PAIR_8B = {"pair": "llama-1b-8b", "num_draft_tokens": 3}
# Test id -> arguments of device_run.sample_run().
DEMO_CASES: dict[str, dict[str, Any]] = {
    "1b-3b-greedy-batch1": {"pair": "llama-1b-3b", "num_draft_tokens": 2},
    "1b-8b-greedy-batch1": _PAIR_8B,
    "1b-8b-sampling-batch1": {**_PAIR_8B, "sampling": SamplingParams(temperature=0.8)},
    "1b-8b-greedy-batch4": {**_PAIR_8B, "users": 4},
    "ci-smoke": {"pair": "llama-1b-8b", "num_draft_tokens": 2, "num_prompts": 1, "max_new_tokens": 32},
}


def on_device(
    metafunc: Any, name: str | None = None, cases: Mapping[str, Any] | Sequence[int] = (), *, timeout_s: int = 3600
) -> None:
    """Parametrize a test over the mesh, both precisions, and the values of its argument `name`, if there is one.

    Args:
        metafunc: what pytest_generate_tests() is given.
        cases: id -> value; or numbers of draft tokens, whose ids are k1, k2, ...
        timeout_s: pytest-timeout's, unless the command line says otherwise.
    """
    import pytest

    if name is not None:
        named = cases if isinstance(cases, Mapping) else {f"k{count}": count for count in cases}
        metafunc.parametrize(name, list(named.values()), ids=list(named))
    precisions = [pytest.param(name, marks=pytest.mark.timeout(timeout_s)) for name in ("performance", "accuracy")]
    metafunc.parametrize("optimizations", precisions)
    metafunc.parametrize("device_params", [DEVICE_PARAMS], indirect=True, ids=["traces-of-both"])
    shape = MESH_SHAPES.get(mesh_name(), (1, 1))  # tt-metal's fixture refuses a mesh that is not there
    metafunc.parametrize("mesh_device", [shape], indirect=True, ids=[mesh_name()])


def available(pair: ModelPair) -> ModelPair:
    """The pair, or a skip that says which model cannot be had here.

    SPECULATIVE_TARGET and SPECULATIVE_DRAFT (ids or folders) take the place of the pair's own models.
    """
    import pytest

    pair = replace(
        pair,
        target=os.environ.get("SPECULATIVE_TARGET", pair.target),
        draft=os.environ.get("SPECULATIVE_DRAFT", pair.draft),
    )
    for model_id in filter(None, (pair.target, pair.draft)):
        try:
            check_reachable(model_id)
        except ModelUnavailable as reason:
            pytest.skip(str(reason))
    return pair

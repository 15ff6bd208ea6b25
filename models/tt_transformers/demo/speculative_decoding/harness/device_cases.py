# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What this folder's device tests share: mesh and device parameters, and how a model is found or a test skipped."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.hf.loading import ModelPair, check_reachable

MESH_SHAPES = {"N150": (1, 1), "N300": (1, 2), "T3K": (1, 8)}
# Published trace regions of the models alone are 10 MB (1B, 3B) to 50 MB (8B on T3K); a pair holds both models' traces.
TRACE_REGION_SIZE = 50_000_000 + 10_000_000
DEVICE_PARAMS = {"fabric_config": True, "trace_region_size": TRACE_REGION_SIZE, "num_command_queues": 1}


def mesh_shape() -> tuple[int, int]:
    """(rows, columns) of the mesh that MESH_DEVICE names, default N150; BadInput lists the names."""
    name = os.environ.get("MESH_DEVICE", "N150")
    if name not in MESH_SHAPES:
        raise BadInput(f"MESH_DEVICE is {name}; it must be one of {', '.join(MESH_SHAPES)}")
    return MESH_SHAPES[name]


def wanted_traces() -> bool | None:
    """What SPECULATIVE_TRACE says: 1 (traced), 0 (untraced); None if it is not set: tt_pair.safe_to_trace decides."""
    said = os.environ.get("SPECULATIVE_TRACE", "")
    if said not in ("", "0", "1"):
        raise BadInput(f"SPECULATIVE_TRACE is {said!r}; set it to 1 (replay traces), 0 (do not) or leave it unset")
    return said == "1" if said else None


on_the_mesh = [
    pytest.mark.parametrize("optimizations", ["performance", "accuracy"]),
    pytest.mark.parametrize("device_params", [DEVICE_PARAMS], indirect=True, ids=["traces-of-both"]),
    pytest.mark.parametrize(
        "mesh_device",
        [MESH_SHAPES.get(os.environ.get("MESH_DEVICE", "N150"), (1, 1))],
        indirect=True,
        ids=[os.environ.get("MESH_DEVICE", "N150")],
    ),
]


def on_device(test: Any) -> Any:
    """Decorator: a device test over the mesh of MESH_DEVICE (default N150), in both of upstream's precisions."""
    for mark in on_the_mesh:
        test = mark(test)
    return test


def available(pair: ModelPair) -> ModelPair:
    """The pair, or a skip that says which model cannot be had here.

    SPECULATIVE_TARGET and SPECULATIVE_DRAFT (ids or folders) take the place of the pair's own models.
    """
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

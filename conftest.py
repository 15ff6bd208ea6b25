# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""tt-metal's fixtures, as far as this repository's device tests use them, for sessions that do not load tt-metal's
conftest.

Inside a tt-metal checkout the copied package uses tt-metal's own fixtures; this file is not copied.
"""

import importlib.util
import os
import random

import numpy
import pytest
import torch

from models.tt_transformers.demo.speculative_decoding.harness.device_cases import unavailable
from models.tt_transformers.demo.speculative_decoding.tt.mesh import opened_mesh


def pytest_configure(config):
    """A worker of pytest-xdist is told its terminal's width; what is shown is as narrow only where a test says so."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture
def reset_seeds():
    """tt-metal's seed for every generator, and the states of before afterwards."""
    before = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    random.seed(213919)
    numpy.random.seed(213919)
    torch.manual_seed(213919)
    yield
    random.setstate(before[0])
    numpy.random.set_state(before[1])
    torch.set_rng_state(before[2])


@pytest.fixture
def device_params(request):
    """Options of open_mesh_device; the trace region is the test's own sum over both models."""
    return dict(getattr(request, "param", {}))


@pytest.fixture
def mesh_device(request, device_params):
    """The mesh that the test asks for (indirect), opened and closed; unavailable() says what is missing."""
    if importlib.util.find_spec("ttnn") is None:
        unavailable("ttnn is not installed, so there is no Tenstorrent device to open")
    if importlib.util.find_spec("models.tt_transformers.tt") is None:
        unavailable("no tt-metal checkout on PYTHONPATH (set PYTHONPATH=$PWD:$TT_METAL_HOME)")
    import ttnn

    rows, columns = request.param
    try:
        found = ttnn.get_num_devices()
    except RuntimeError as reason:
        unavailable(f"ttnn finds no device: {str(reason).splitlines()[0]}")
    if rows * columns > found:
        unavailable(f"a mesh of {rows}x{columns} devices was asked for, and {found} are there")
    device_params.pop("fabric_config", None)  # opened_mesh() knows when
    with opened_mesh(rows, columns, **device_params) as mesh:
        yield mesh

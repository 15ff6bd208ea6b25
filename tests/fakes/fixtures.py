# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on the fake device.

A test file takes all three, since they ask for each other, by assignment: `open_pair = fixtures.open_pair`. Pytest
finds them by their names there; to a linter an import would look unused, and every argument like a second definition.
"""

from __future__ import annotations

import pytest
import torch
from fakes.install import fake_upstream
from fakes.pairs import opening_pairs, write_checkpoints


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoints(folder)
    return folder


@pytest.fixture
def ttnn(request, tmp_path, monkeypatch):
    """Parametrized (indirectly) it is another tree than June's: see fakes.install.TREES."""
    monkeypatch.setenv("TT_CACHE_PATH", str(tmp_path / "tensor_cache"))
    monkeypatch.delenv("HF_MODEL", raising=False)
    monkeypatch.delenv("TT_METAL_SLOW_DISPATCH_MODE", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # these tensors are tiny
    with fake_upstream(getattr(request, "param", "june")) as module:
        yield module
    torch.set_num_threads(threads)


@pytest.fixture
def open_pair(ttnn, checkpoints):
    with opening_pairs(checkpoints) as open_pair:
        yield open_pair

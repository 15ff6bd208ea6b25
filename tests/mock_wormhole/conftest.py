# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A pytest session of its own: `pytest tests/mock_wormhole` in the environment that make_env.py builds.

MOCK_WORMHOLE_BOARD is n150 (the default) or n300. tests/test_mock_wormhole.py runs both from the host tests; collected
as part of any other session, this directory is passed over: ttnn must see the mocked board from its first import on.
"""

import importlib.util
import os
import sys
import tempfile
import types
from pathlib import Path

import pytest
from mock_wormhole.board import DESCRIPTORS, install_board, opened

HERE = Path(__file__).resolve().parent
PACKAGE = "models.tt_transformers.demo.speculative_decoding"
RUNTIME_ROOT = pytest.StashKey[tempfile.TemporaryDirectory]()
BOARD = os.environ.get("MOCK_WORMHOLE_BOARD", "n150")


def pytest_configure(config):
    if config.rootpath != HERE:
        return
    if BOARD not in DESCRIPTORS:
        raise pytest.UsageError(f"MOCK_WORMHOLE_BOARD is {BOARD!r}; it can be {' or '.join(DESCRIPTORS)}")
    if importlib.util.find_spec("ttnn") is None:
        raise pytest.UsageError("this Python has no ttnn; `python tests/mock_wormhole/make_env.py` builds one that has")
    config.stash[RUNTIME_ROOT] = tempfile.TemporaryDirectory(prefix="mock_wormhole_")
    install_board(BOARD, Path(config.stash[RUNTIME_ROOT].name))
    _import_package_without_torch()


def pytest_unconfigure(config):
    if RUNTIME_ROOT in config.stash:
        config.stash[RUNTIME_ROOT].cleanup()


def pytest_ignore_collect(collection_path, config):
    return True if config.rootpath != HERE and collection_path.is_relative_to(HERE) else None


def _import_package_without_torch() -> None:
    """Let tt_kv_write be imported as the package's module it is, past the package's __init__, which wants torch."""
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(HERE.parents[1] / PACKAGE.replace(".", "/"))]
    sys.modules[PACKAGE] = package


@pytest.fixture(scope="session")
def mesh_device():
    """The mocked board, open for the whole session."""
    with opened(BOARD) as device:
        yield device


@pytest.fixture
def device(mesh_device):
    """The mocked board with an empty program cache: the next call of any op compiles."""
    mesh_device.clear_program_cache()
    yield mesh_device
    mesh_device.set_program_cache_misses_allowed(True)

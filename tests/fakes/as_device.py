# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin that passes the fakes off as ttnn, a checkout and a device (`-p fakes.as_device`); FAKE_TREE names
another tree than June's (install.TREES)."""

import os

import transformers  # noqa: F401  (before there is a ttnn, whose metadata transformers would look for)
from fakes.install import fake_upstream


def pytest_configure(config):
    upstream = fake_upstream(os.environ.get("FAKE_TREE", "june"))
    upstream.__enter__()
    config.add_cleanup(lambda: upstream.__exit__(None, None, None))

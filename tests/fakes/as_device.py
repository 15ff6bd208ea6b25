# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin that passes the fakes off as ttnn, a checkout and a device (`-p fakes.as_device`)."""

import transformers  # noqa: F401  (before there is a ttnn, whose metadata transformers would look for)
from fakes.install import fake_upstream


def pytest_configure(config):
    upstream = fake_upstream()
    upstream.__enter__()
    config.add_cleanup(lambda: upstream.__exit__(None, None, None))

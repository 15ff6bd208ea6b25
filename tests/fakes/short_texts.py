# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin that lets the package's pytest demos write 24 tokens per prompt, where a case does not say how many:
`-p fakes.short_texts`."""

import functools

import pytest

from models.tt_transformers.demo.speculative_decoding.harness import device_cases


def pytest_configure(config):
    patch = pytest.MonkeyPatch()
    patch.setattr(device_cases, "sample_run", functools.partial(device_cases.sample_run, max_new_tokens=24))
    config.add_cleanup(patch.undo)

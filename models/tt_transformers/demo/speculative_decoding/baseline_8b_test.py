# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The stock 8B target alone, timed as the pair's tests time it."""

from models.tt_transformers.demo.speculative_decoding.harness.device_cases import on_device
from models.tt_transformers.demo.speculative_decoding.harness.device_run import check_baseline, sample_run


def pytest_generate_tests(metafunc):
    on_device(metafunc)


def test_baseline(optimizations, mesh_device, device_params, reset_seeds):
    check_baseline(mesh_device, sample_run("llama-1b-8b", optimizations=optimizations))

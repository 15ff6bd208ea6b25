# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Llama-3.2-1B drafts for the 3B target on a Wormhole: lossless, and measured against the stock target."""

from models.tt_transformers.demo.speculative_decoding.harness.device_cases import on_device
from models.tt_transformers.demo.speculative_decoding.harness.device_run import check_record, run_on_device, sample_run


def pytest_generate_tests(metafunc):
    on_device(metafunc, "num_draft_tokens", (1, 2, 3, 4))


def test_pair_equals_the_stock_target(num_draft_tokens, optimizations, mesh_device, device_params, reset_seeds):
    options = {"num_draft_tokens": num_draft_tokens, "optimizations": optimizations}
    check_record(run_on_device(mesh_device, sample_run("llama-1b-3b", num_prompts=2, **options)))

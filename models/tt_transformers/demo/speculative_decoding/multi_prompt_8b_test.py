# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The ten sample prompts, 1B -> 8B, against the stock target in the same session."""

from models.tt_transformers.demo.speculative_decoding.harness.device_cases import on_device
from models.tt_transformers.demo.speculative_decoding.harness.device_run import check_record, run_on_device, sample_run


def pytest_generate_tests(metafunc):
    on_device(metafunc, "num_draft_tokens", (2, 4), timeout_s=7200)


def test_ten_prompts(num_draft_tokens, optimizations, mesh_device, device_params, reset_seeds):
    options = {"num_draft_tokens": num_draft_tokens, "optimizations": optimizations}
    record = run_on_device(mesh_device, sample_run("llama-1b-8b", **options))
    check_record(record)
    assert len(record["prompts"]) == 10

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The ten sample prompts, 1B -> 3B, against the stock target in the same session."""

import pytest

from models.tt_transformers.demo.speculative_decoding.device_cases import available, on_device
from models.tt_transformers.demo.speculative_decoding.device_run import DeviceRun, check_record, run_on_device
from models.tt_transformers.demo.speculative_decoding.model_pairs import named_pair
from models.tt_transformers.demo.speculative_decoding.prompts import SAMPLE_PROMPTS, load_prompts


@on_device
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("num_draft_tokens", [2, 4], ids=lambda k: f"k{k}")
def test_ten_prompts(num_draft_tokens, optimizations, mesh_device, device_params, reset_seeds):
    pair = available(named_pair("llama-1b-3b"))
    record = run_on_device(
        mesh_device,
        DeviceRun(
            pair=pair,
            prompts=load_prompts(SAMPLE_PROMPTS),
            num_draft_tokens=num_draft_tokens,
            optimizations=optimizations,
        ),
    )
    check_record(record)
    assert len(record["prompts"]) == 10

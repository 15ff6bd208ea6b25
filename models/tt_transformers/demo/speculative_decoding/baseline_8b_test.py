# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The stock 8B target alone, timed as the pair's tests time it."""

import pytest
from loguru import logger

from models.tt_transformers.demo.speculative_decoding.device_cases import available, on_device
from models.tt_transformers.demo.speculative_decoding.device_run import DeviceRun, run_baseline
from models.tt_transformers.demo.speculative_decoding.model_pairs import named_pair
from models.tt_transformers.demo.speculative_decoding.prompts import SAMPLE_PROMPTS, load_prompts


@on_device
@pytest.mark.timeout(3600)
def test_baseline(optimizations, mesh_device, device_params, reset_seeds):
    pair = available(named_pair("llama-1b-8b"))
    run = DeviceRun(pair=pair, prompts=load_prompts(SAMPLE_PROMPTS), optimizations=optimizations)
    for request, result in run_baseline(mesh_device, run):
        assert len(result.tokens) > 1
        logger.info(
            f"{request.prompt.category}: TTFT {result.ttft_ns / 1e6:.0f} ms, {result.decode_tps:.1f} tok/s/user"
        )

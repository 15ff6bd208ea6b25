# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The ten sample prompts, 1B -> 8B, against the stock target in the same session."""

from models.tt_transformers.demo.speculative_decoding.harness import device_cases

pytest_generate_tests, test_ten_prompts = device_cases.of_pair("llama-1b-8b", (2, 4), num_prompts=10, timeout_s=7200)

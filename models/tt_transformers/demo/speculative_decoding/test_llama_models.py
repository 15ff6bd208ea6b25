# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Llama-3.2-1B drafts for the 3B target on a Wormhole: lossless, and measured against the stock target."""

from models.tt_transformers.demo.speculative_decoding.harness import device_cases

pytest_generate_tests, test_pair_equals_the_target = device_cases.of_pair("llama-1b-3b", (1, 2, 3, 4))

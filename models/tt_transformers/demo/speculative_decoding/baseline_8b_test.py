# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The stock 8B target alone, timed as the pair's tests time it."""

from models.tt_transformers.demo.speculative_decoding.harness import device_cases

pytest_generate_tests, test_baseline = device_cases.of_baseline("llama-1b-8b")

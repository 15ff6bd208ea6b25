# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Differential fuzzing of speculative decoding: `python tests/fuzz/fuzz.py --help`, tests/README.md."""

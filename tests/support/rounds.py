# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Rounds that did not happen, for policies to learn from."""

from models.tt_transformers.demo.speculative_decoding.metrics import RoundRecord


def record(drafted, accepted, *, draft_ns=0, verify_ns=0):
    """A round that drafted and accepted so many tokens."""
    times = {"draft_ns": draft_ns, "verify_ns": verify_ns, "total_ns": draft_ns + verify_ns}
    emitted, width = accepted + 1, drafted + 1
    return RoundRecord(index=0, drafted=drafted, accepted=accepted, emitted=emitted, tokens_per_user=width, **times)

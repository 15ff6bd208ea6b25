# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A simulated machine for lookaheads that follow the clock."""

import random

from support.rounds import record

from models.tt_transformers.demo.speculative_decoding.metrics import expected_tokens

DECODE_NS = 1_000_000
CHOICES = (0, 1, 2, 3, 4, 6, 8, 12, 16)


class Machine:
    """A simulated clock and drafts: alpha, c and v are given; times are noisy, acceptances random."""

    def __init__(self, *, alpha, c, row=0.0, seed=0, users=1, noise=0.05):
        self.alpha, self.c, self.row, self.users, self.noise = alpha, c, row, users, noise
        self.rng = random.Random(seed)

    def v(self, k):
        """A verify of K + 1 rows per user / one plain decode step."""
        return 1.0 + self.row * k * self.users

    def jitter(self):
        return 1.0 + self.rng.uniform(-self.noise, self.noise)

    def round(self, counts):
        """What became of a round in which these were drafted."""
        k = max(counts)
        draft_ns = int(k * self.c * DECODE_NS * self.jitter())
        verify_ns = int(self.v(sum(counts) / self.users) * DECODE_NS * self.jitter())
        records = []
        for count in counts:
            accepted = next((j for j in range(count) if self.rng.random() >= self.alpha), count)
            records.append(record(count, accepted, draft_ns=draft_ns, verify_ns=verify_ns))
        return records

    def speedup(self, k):
        return expected_tokens(self.alpha, k) / (self.c * k + self.v(k))

    def best(self, choices=CHOICES):
        return max(self.speedup(k) for k in choices)


def play(machine, lookahead, rounds, *, kind="model"):
    """Every round's records."""
    lookahead.start(machine.users)
    history = []
    for _ in range(rounds):
        counts = lookahead.next([1000] * machine.users, [kind] * machine.users)
        records = machine.round(counts)
        lookahead.observe(records)
        history.append(records)
    return history


def speedup(history):
    tokens = sum(r.emitted for records in history for r in records) / len(history[0])
    return tokens * DECODE_NS / sum(records[0].total_ns for records in history)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The one clock: monotonic, read only when the device has finished, stopped while the consumer holds the tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner


class RunClock:
    """Nanoseconds since it was made, less the time spent in paused()."""

    def __init__(self) -> None:
        self._zero = time.perf_counter_ns()

    def now(self, runner: ModelRunner) -> int:
        """Nanoseconds on this clock, once `runner`'s device has done all it was asked."""
        runner.synchronize()
        return time.perf_counter_ns() - self._zero

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent inside does not count."""
        before = time.perf_counter_ns()
        try:
            yield
        finally:
            self._zero += time.perf_counter_ns() - before

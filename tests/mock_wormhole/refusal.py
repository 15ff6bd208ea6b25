# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Expecting ttnn to refuse something, for the right reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """Pass if the body raises ttnn's error with `reason` (a pattern) in its message; the backtrace does not count."""
    with pytest.raises(RuntimeError) as caught:
        yield
    message = str(caught.value).split("backtrace:")[0]
    assert re.search(reason, message), message

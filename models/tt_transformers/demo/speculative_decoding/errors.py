# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The errors this package raises on purpose: each message names the input, the limit and the remedy."""


class BadInput(ValueError):
    """What the caller asked for cannot be done as asked (the command line ends with exit status 2)."""


class ModelUnavailable(BadInput):
    """A model, its weights or the software it needs cannot be reached from this machine."""


class ModelFailure(RuntimeError):
    """A model returned something unusable (NaN or infinite logits, a wrong shape); generation was stopped."""

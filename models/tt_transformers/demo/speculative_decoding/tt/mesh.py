# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Opening and closing a mesh of Tenstorrent devices where no fixture of tt-metal's does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def opened_mesh(rows: int, columns: int, **options: Any) -> Iterator[Any]:
    """A mesh of that shape, closed again whatever happens.

    Several devices talk to each other over a one-dimensional fabric, as tt_transformers' own fixtures set it up; it is
    taken down again afterwards.

    Args:
        options: of ttnn.open_mesh_device.
    """
    import ttnn

    several = rows * columns > 1
    if several:
        ttnn.set_fabric_config(ttnn.FabricConfig.FABRIC_1D)
    try:
        mesh = ttnn.open_mesh_device(ttnn.MeshShape(rows, columns), **options)
        try:
            yield mesh
        finally:
            ttnn.close_mesh_device(mesh)
    finally:
        if several:
            ttnn.set_fabric_config(ttnn.FabricConfig.DISABLED)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Which mesh of Tenstorrent devices, traced or not, as the environment says; and opening it where no fixture does."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from models.tt_transformers.demo.speculative_decoding.errors import BadInput

MESH_SHAPES = {"N150": (1, 1), "N300": (1, 2), "T3K": (1, 8)}
# A pair's; published ones of the models alone are 10 MB (1B, 3B) to 50 MB (8B on T3K).
TRACE_REGION_SIZE = 50_000_000 + 10_000_000


def mesh_name() -> str:
    """What MESH_DEVICE says, default N150."""
    return os.environ.get("MESH_DEVICE", "N150")


def mesh_shape() -> tuple[int, int]:
    """(rows, columns) of the mesh that MESH_DEVICE names; BadInput lists the names."""
    name = mesh_name()
    if name not in MESH_SHAPES:
        raise BadInput(f"MESH_DEVICE is {name}; it must be one of {', '.join(MESH_SHAPES)}")
    return MESH_SHAPES[name]


def name_of(mesh_device: Any) -> str:
    """MESH_DEVICE's name of a mesh of that shape, or its shape; another architecture than Wormhole's goes before it."""
    shape, arch = tuple(mesh_device.shape), str(mesh_device.arch()).rpartition(".")[2].lower()
    name = next((name for name, known in MESH_SHAPES.items() if known == shape), "{}x{}".format(*shape))
    return name if arch == "wormhole_b0" else f"{arch} {'{}x{}'.format(*shape)}"


def wanted_traces() -> bool | None:
    """What SPECULATIVE_TRACE says: 1 (traced), 0 (untraced); None if it is not set: safe_to_trace() decides."""
    said = os.environ.get("SPECULATIVE_TRACE", "")
    if said not in ("", "0", "1"):
        raise BadInput(f"SPECULATIVE_TRACE is {said!r}; set it to 1 (replay traces), 0 (do not) or leave it unset")
    return said == "1" if said else None


def safe_to_trace(mesh_device: Any) -> bool:
    """Whether traces are on by default: on one device, in fast dispatch.

    On N300 and T3K the models' decodes talk between devices, and replaying two models' traces in turn is reported to
    deadlock the mesh (tt-metal, gemma4 speculative decoding); enable_trace=True overrides it.
    """
    return mesh_device.get_num_devices() == 1 and not slow_dispatch()


def slow_dispatch() -> bool:
    """Whether ttnn was told to run without command queues, and so without traces (simulators need it)."""
    return os.environ.get("TT_METAL_SLOW_DISPATCH_MODE") == "1"


@contextmanager
def opened_mesh(rows: int, columns: int, **options: Any) -> Iterator[Any]:
    """A mesh of that shape, closed again whatever happens. Several devices talk to each other over a one-dimensional
    fabric for that time, as tt_transformers' own fixtures set it up.

    Args:
        options: of ttnn.open_mesh_device; the trace region holds a pair's traces, unless another size is given.
    """
    import ttnn

    options = {"trace_region_size": 0 if slow_dispatch() else TRACE_REGION_SIZE, **options}
    with ExitStack() as opened:
        if rows * columns > 1:
            opened.callback(ttnn.set_fabric_config, ttnn.FabricConfig.DISABLED)
            ttnn.set_fabric_config(ttnn.FabricConfig.FABRIC_1D)
        mesh = ttnn.open_mesh_device(ttnn.MeshShape(rows, columns), **options)
        opened.callback(ttnn.close_mesh_device, mesh)
        yield mesh

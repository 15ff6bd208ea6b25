# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Real ttnn on a Wormhole board that is not there.

tt-metal mocks the driver when TT_METAL_MOCK_CLUSTER_DESC_PATH names a cluster descriptor. Every op then checks its
arguments, plans its program and allocates its memory as on the board, but nothing runs: all data reads back as 0. Only
the kernel compiler is missing, and a shell script stands in for it: it answers --version like the compiler that the
wheel was built with, so that the wheel's precompiled firmware is taken, and "links" every kernel to one tiny program
that nothing runs.

One process can open one kind of board. Ops between begin_trace_capture and end_trace_capture crash it (0.81.1).
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mock_wormhole.stub_program import stub_program

if TYPE_CHECKING:
    import ttnn

# Harvesting leaves both boards the 8 x 8 compute grid that the real ones have. A real N300 has a row less and
# dispatches from its Ethernet cores; told so, 0.81.1's mock counts 8 x 8 cores in some checks and 8 x 7 in others.
_CHIP = "{noc_translation: true, harvest_mask: 32}"
DESCRIPTORS = {
    "n150": f"""\
arch: {{0: Wormhole}}
chips: {{0: [0, 0, 0, 0]}}
ethernet_connections: []
chips_with_mmio: [{{0: 0}}]
harvesting: {{0: {_CHIP}}}
boards: [[{{board_id: 72059269369839682}}, {{board_type: n150}}, {{chips: [0]}}]]
""",
    "n300": f"""\
arch: {{0: Wormhole, 1: Wormhole}}
chips: {{0: [0, 0, 0, 0], 1: [1, 0, 0, 0]}}
ethernet_connections: [[{{chip: 0, chan: 8}}, {{chip: 1, chan: 0}}], [{{chip: 0, chan: 9}}, {{chip: 1, chan: 1}}]]
chips_with_mmio: [{{0: 0}}]
harvesting: {{0: {_CHIP}, 1: {_CHIP}}}
boards: [[{{board_id: 72058994491072686}}, {{board_type: n300}}, {{chips: [0, 1]}}]]
""",
}
MESH_SHAPES = {"n150": (1, 1), "n300": (1, 2)}

_COMPILER = """\
#!/bin/sh
case "$*" in *--version*) echo "riscv-tt-elf-g++ (tenstorrent/sfpi:{version}[{build}]) 15.1.0"; exit 0 ;; esac
previous= ; output= ; dependencies=
for argument in "$@"; do
    case "$previous" in -o) output=$argument ;; -MF) dependencies=$argument ;; esac
    previous=$argument
done
case "$output" in *.elf) cp "{program}" "$output" ;; *) : > "$output" ;; esac
if [ -n "$dependencies" ]; then echo "$output:" > "$dependencies"; fi
"""


def install_board(board: str, root: Path) -> None:
    """Make this process see a mocked board, once and before ttnn is imported.

    Args:
        board: "n150" or "n300".
        root: an empty directory to become tt-metal's runtime root: links to the wheel, the compiler, its cache.
    """
    wheel = Path(importlib.util.find_spec("ttnn").origin).parent
    for entry in wheel.iterdir():
        if entry.name != "runtime":
            (root / entry.name).symlink_to(entry)
    compiler = root / "runtime/sfpi/compiler/bin/riscv-tt-elf-g++"
    compiler.parent.mkdir(parents=True)
    (root / "runtime/hw").symlink_to(wheel / "runtime/hw")

    program = root / "stub.elf"
    program.write_bytes(stub_program())
    sfpi = dict(re.findall(r"^sfpi_(version|build)='(.*)'", (wheel / "tt_metal/sfpi-version").read_text(), re.M))
    compiler.write_text(_COMPILER.format(program=program, **sfpi))
    compiler.chmod(0o755)

    descriptor = root / f"{board}.yaml"
    descriptor.write_text(DESCRIPTORS[board])
    os.environ.update(
        TT_METAL_RUNTIME_ROOT=str(root),
        TT_METAL_HOME=str(root),
        TT_METAL_CACHE=str(root / "cache"),
        TT_METAL_MOCK_CLUSTER_DESC_PATH=str(descriptor),
        TT_METAL_LOGGER_LEVEL="FATAL",
        LOGURU_LEVEL="WARNING",
    )


@contextmanager
def opened(board: str) -> Iterator[ttnn.MeshDevice]:
    """The whole mocked board as one mesh device, closed afterwards."""
    import ttnn

    if board == "n300":
        ttnn.set_fabric_config(ttnn.FabricConfig.FABRIC_1D)
    mesh_device = ttnn.open_mesh_device(ttnn.MeshShape(*MESH_SHAPES[board]))
    try:
        yield mesh_device
    finally:
        ttnn.close_mesh_device(mesh_device)
        if board == "n300":
            ttnn.set_fabric_config(ttnn.FabricConfig.DISABLED)

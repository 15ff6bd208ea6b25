# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Speedup of the embedded pair by temperature and drafter: `compare` at each temperature. Prints; never fails.

    python tests/benchmarks/temperatures.py [--temperatures 0,0.5,1] [options of compare]

At a temperature both arms sample, and their texts differ: the speedup is of tokens per second. Whatever is drafted, the
law of the text is the target's own (tests/test_sampling*.py).
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from measuring import compare
from models.tt_transformers.demo.speculative_decoding.harness.terminal import figure

DEFAULTS = ["--k", "1,2,auto", "--repeat", "1", "--max-new-tokens", "64", "--no-peers", "--quiet"]


def measured(temperature: str, options: list[str], folder: Path) -> list[dict]:
    """The runs of one `compare`."""
    file = folder / f"{temperature}.json"
    status = compare.main([*DEFAULTS, *options, "--temperature", temperature, "--json", str(file)])
    if status == compare.BAD_INPUT:
        sys.exit(status)
    return json.loads(file.read_text("utf-8"))["runs"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--temperatures", default="0,0.5,1")
    mine, options = parser.parse_known_args()
    table = Table(title="wall-clock speedup of decoding (acceptance rate), by temperature", title_justify="left")
    table.add_column("arm")
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for temperature in mine.temperatures.split(","):
            table.add_column(f"T = {temperature}", justify="right")
            for run in measured(temperature, options, Path(folder)):
                total = run["summary"]
                cell = f"{figure(total['speedup'], '{:.2f}x')} ({figure(total['acceptance_rate'], '{:.2f}')})"
                rows.setdefault(run["arm"], []).append(cell)
    for arm, cells in rows.items():
        table.add_row(arm, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

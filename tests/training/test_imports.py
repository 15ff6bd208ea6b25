# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What training/ may import: itself, the package's algorithm and its hf/; neither devices nor what measures."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import training

PACKAGE = "models.tt_transformers.demo.speculative_decoding"
FILES = sorted(Path(training.__path__[0]).glob("*.py"))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level and node.module, f"{path.name} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_training_needs_the_algorithm_and_hf_alone(path):
    for name in _imported(path):
        assert name.split(".")[0] not in ("measuring", "tests", "support"), name
        if name.startswith("models"):
            assert name.startswith(f"{PACKAGE}."), name
            assert name.removeprefix(f"{PACKAGE}.").split(".")[0] not in ("harness", "tests", "tt"), name

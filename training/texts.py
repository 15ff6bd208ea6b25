# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Texts that the target reads (instead of writing them) while a draft is trained: documentation of installed packages.

Reading a text takes one forward pass, a fraction of what writing it takes, and its breadth keeps the draft from
learning only what the target says about the prompts' topics. The texts are docstrings, and code with docstrings.
"""

from __future__ import annotations

import ast
import importlib.util
import random
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path

# Licences: Python standard library PSF-2.0; numpy, scipy, torch, sympy BSD-3-Clause; transformers Apache-2.0.
PACKAGES = ("numpy", "scipy", "torch", "sympy", "transformers")
MIN_WORDS = 40


def documentation_texts(count: int, seed: int) -> list[tuple[str, str]]:
    """(question, text) pairs, in random order: docstrings of at least MIN_WORDS words, and short functions with one."""
    rng = random.Random(seed)
    files = sorted(
        path
        for folder in _folders()
        for path in folder.rglob("*.py")
        if not {"test", "tests", "site-packages"} & set(path.parts[len(folder.parts) :])
    )
    rng.shuffle(files)
    found: list[tuple[str, str]] = []
    for path in files:
        if len(found) >= count:
            break
        pairs = list(_documented(path))
        found += rng.sample(pairs, min(4, len(pairs)))  # a few of each file: breadth
    rng.shuffle(found)
    return found[:count]


def _folders() -> Iterator[Path]:
    yield Path(sysconfig.get_path("stdlib"))
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            yield Path(spec.origin).parent


def _documented(path: Path) -> Iterator[tuple[str, str]]:
    try:
        source = path.read_text(encoding="utf-8")
        tree, lines = ast.parse(source), source.splitlines()
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError):
        return  # not every file of a package is meant to be parsed
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            continue
        text = ast.get_docstring(node) or ""
        name = getattr(node, "name", path.stem)
        if len(text.split()) >= MIN_WORDS:
            yield f"What does {name} do, and how is it used?", text
        elif isinstance(node, ast.FunctionDef) and text and 8 <= (node.end_lineno or 0) - node.lineno <= 30:
            code = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
            yield f"Write the Python function {name}.", f"Here is the function:\n\n```python\n{code}\n```"

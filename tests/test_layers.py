# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Which folder may import which, and what libraries each needs to be imported: read from the sources, by folder."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "models.tt_transformers.demo.speculative_decoding"
DEMO = "speculative_demo"
INNER = ("hf", "tt", "harness", "tests")
# Layer -> the layers that it must never import, wherever in a file.
NEVER = {
    "algorithm": {"hf", "tt", "harness", "tests", "measuring", "training"},
    "hf": {"tt", "harness", "tests", "measuring", "training"},
    "tt": {"hf", "harness", "tests", "measuring", "training"},
    "harness": {"tests", "measuring", "training"},
    "demos": {"tests", "measuring", "training"},
    "tests": {"measuring", "training"},
    "measuring": {"training", "tests"},
    "training": {"measuring", "tests"},
}
# Layer -> libraries that importing a file of it needs not have.
ABSENT = {
    "algorithm": {"ttnn", "transformers", "rich", "matplotlib", "pytest", "loguru", "safetensors", "gguf"},
    "hf": {"ttnn", "rich", "matplotlib", "pytest"},
    "tt": {"ttnn", "transformers", "rich", "matplotlib", "pytest"},
    "harness": {"ttnn", "rich", "matplotlib", "pytest"},
    "demos": {"ttnn", "rich", "matplotlib", "pytest"},
    "measuring": {"ttnn", "pytest"},
    "training": {"ttnn", "matplotlib", "pytest"},
}
LAZY = {("__init__", "hf")}  # the package's face hands TorchModelRunner on when it is asked for


def layer_of(module):
    """The layer of a dotted module of ours; None of another's."""
    if not module.startswith(PACKAGE):
        return module.split(".")[0] if module.split(".")[0] in ("measuring", "training") else None
    name = module.removeprefix(PACKAGE).strip(".").split(".")[0]
    if name in INNER:
        return name
    return "demos" if name == DEMO or name.endswith(("_test", "_models")) else "algorithm"


def sources():
    for folder in (ROOT / PACKAGE.replace(".", "/"), ROOT / "measuring", ROOT / "training"):
        for path in sorted(folder.rglob("*.py")):
            yield path, ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(tree, *, at_import):
    """Dotted names that the file imports; `at_import`: only where importing the file runs it."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (at_import and (for_types or isinstance(node, ast.FunctionDef))):
            pending += ast.iter_child_nodes(node)


def broken_walls(files):
    """(file, what it must not import) of (path, module, text) triples."""
    for path, module, text in files:
        layer, tree = layer_of(module), ast.parse(text)
        for name in imported(tree, at_import=False):
            other = layer_of(name)
            if other in NEVER[layer] and (path.stem, other) not in LAZY:
                yield path.name, name
        for name in imported(tree, at_import=True):
            if name.split(".")[0] in ABSENT.get(layer, ()):
                yield path.name, name


def test_nothing_crosses_a_wall():
    assert list(broken_walls((path, module, path.read_text("utf-8")) for path, module in sources())) == []


@pytest.mark.parametrize(
    "module, text",
    [
        (f"{PACKAGE}.metrics", f"from {PACKAGE}.hf.runner import TorchModelRunner"),
        (f"{PACKAGE}.metrics", f"def f():\n    from {PACKAGE} import harness"),
        (f"{PACKAGE}.metrics", "import transformers"),
        (f"{PACKAGE}.hf.runner", f"import {PACKAGE}.tt.runner"),
        (f"{PACKAGE}.tt.runner", "import ttnn"),
        (f"{PACKAGE}.harness.record", "def f():\n    import measuring.results"),
        (f"{PACKAGE}.{DEMO}", "from rich.console import Console"),
        ("measuring.report", "from training.data import Data"),
    ],
)
def test_control_a_crossing_is_seen(module, text):
    assert list(broken_walls([(Path("file.py"), module, text)]))

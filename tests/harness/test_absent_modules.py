# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Every module of the package is imported where one of four libraries is absent: who fails, and what the error says."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "models.tt_transformers.demo.speculative_decoding"
# Imports every module with sys.argv[1] absent; prints {module: the error's text}. A library whose own import fails for
# want of another says so in words of its own, hence the errors that led to an error.
SCRIPT = """
import importlib, importlib.abc, json, pkgutil, sys

absent, package = sys.argv[1:]

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == absent:
            raise ModuleNotFoundError(f"No module named {absent!r}", name=absent)

sys.meta_path.insert(0, Absent())
failed = {"": []}
for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
    try:
        importlib.import_module(f"{package}.{module.name}")
    except Exception as error:
        said = []
        while error is not None:
            said.append(f"{type(error).__name__}: {error}")
            error = error.__cause__ or error.__context__
        failed[module.name] = said
    else:
        failed[""].append(module.name)
print(json.dumps(failed))
"""
CORE = {
    "acceptance",
    "auto_lookahead",
    "batch",
    "clock",
    "drafters",
    "errors",
    "hybrid_drafter",
    "lookahead",
    "metrics",
}
CORE |= {"plain_decoding", "prompt_lookup", "prompts", "runner", "sequences", "speculative_generator", "trimmed_head"}
FOLDER = ROOT / PACKAGE.replace(".", "/")


def imports(path):
    """What the file imports when it is imported: not in functions, not under TYPE_CHECKING."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module == PACKAGE:
            yield from (f"{PACKAGE}.{alias.name}" for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield statement.module


def needing(*libraries):
    """The modules that import one of the libraries, or a module that does, as their sources say."""
    imported = {path.stem: set(imports(path)) for path in FOLDER.glob("*.py") if path.stem != "__init__"}
    found, before = set(), None
    while found != before:
        before, wanted = set(found), {f"{PACKAGE}.{name}" for name in found}
        found = {
            name
            for name, modules in imported.items()
            if modules & wanted or any(module.split(".")[0] in libraries for module in modules)
        }
    return found


@pytest.fixture(scope="module")
def imported_without():
    """absent library -> (modules that could be imported, {module: errors that led to its failure})."""
    found = {}

    def run(absent):
        if absent not in found:
            command = [sys.executable, "-c", SCRIPT, absent, PACKAGE]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
            assert done.returncode == 0, done.stderr
            failed = json.loads(done.stdout)
            found[absent] = set(failed.pop("")), failed
        return found[absent]

    return run


@pytest.mark.parametrize("absent", ["ttnn", "transformers", "rich", "matplotlib"])
def test_the_algorithm_needs_torch_alone(imported_without, absent):
    assert CORE - imported_without(absent)[0] == set()


def test_nothing_needs_ttnn(imported_without):
    """It is imported where a device is opened, so that host tests, --help and reports do without."""
    assert imported_without("ttnn")[1] == {} and needing("ttnn") == set()


@pytest.mark.parametrize("absent", ["transformers", "matplotlib"])
def test_exactly_those_fail_that_need_it(imported_without, absent):
    assert set(imported_without(absent)[1]) == needing(absent)


def test_without_rich_those_fail_that_draw_with_it(imported_without):
    """And perhaps those of transformers, which uses rich itself in some versions."""
    failed = set(imported_without("rich")[1])
    assert needing("rich") <= failed <= needing("rich", "transformers")


def test_matplotlib_is_for_pictures_only():
    assert needing("matplotlib") == {"report", "report_html", "report_plots"}


@pytest.mark.parametrize("absent", ["transformers", "rich", "matplotlib"])
def test_every_error_names_what_is_missing(imported_without, absent):
    failed = imported_without(absent)[1]
    assert failed
    for module, errors in failed.items():
        assert f"ModuleNotFoundError: No module named {absent!r}" in errors, f"{module}: {errors}"


@pytest.mark.parametrize("absent", ["transformers", "matplotlib"])
def test_the_first_line_of_the_error_is_enough(imported_without, absent):
    """(Without rich, transformers fails first in most modules; its message names the cause only behind itself.)"""
    for module, errors in imported_without(absent)[1].items():
        assert absent in errors[0], f"{module}: {errors[0]}"

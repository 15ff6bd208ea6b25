# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The package's folder, copied where nothing else of ours is: small, alone, content with few libraries."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.model_folder import save_tiny_model

ROOT = Path(__file__).parents[2]
PACKAGE = Path("models/tt_transformers/demo/speculative_decoding")
DEMO = ".".join(PACKAGE.parts) + ".speculative_demo"
# Runs a module where the libraries of argv[1] are not installed.
WITHOUT = """
import runpy, sys
from importlib.machinery import PathFinder

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in absent else super().find_spec(name, path, target)

absent, module = sys.argv[1].split(","), sys.argv[2]
sys.meta_path[:] = [Installed if finder is PathFinder else finder for finder in sys.meta_path]
sys.argv = sys.argv[2:]
runpy.run_module(module, run_name="__main__")
"""
# Runs a module where ttnn and tt_transformers are the fakes.
ON_THE_FAKE = """
import runpy, sys
import transformers  # before there is a ttnn, whose metadata transformers would look for
from fakes.install import fake_upstream

sys.argv = sys.argv[1:]
with fake_upstream():
    runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A tree with the package and nothing else of ours, as `cp -r` leaves it."""
    tree = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / PACKAGE, tree / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    return tree


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("target"))


def run(tree, *command, start=("-m",), path=()):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *start, *map(str, command)]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)


def test_its_code_is_short(copied):
    """6,500 lines when the layers got their folders. Since then: fused rounds, the clock of segments, published heads,
    and those on a mesh (920); drafts from the text (560); logits processors, log-probabilities, conversations and
    structured output (1,050). Its device tests are counted apart."""
    product = [path for path in copied.rglob("*.py") if "tests" not in path.parts[len(copied.parts) :]]
    assert sum(path.read_text("utf-8").count("\n") for path in product) <= 11010


def test_it_is_small(copied):
    files = [path for path in copied.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10**6
    assert not [path for path in files if path.suffix in (".html", ".svg")]
    assert all(path.stat().st_size <= 500_000 for path in files)


@pytest.mark.parametrize("absent", [None, "pytest,rich,matplotlib"])
def test_the_demo_runs_on_a_cpu(copied, target, absent):
    options = ("--target", target, "--prompt", "hello", "--max-seq-len", 64, "--max-new-tokens", 8, "-k", 2)
    done = run(copied, DEMO, *options, start=("-c", WITHOUT, absent) if absent else ("-m",))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wall-clock" in done.stdout and ("Speculation " in done.stdout or "inconclusive: " in done.stdout)
    assert done.stderr.count("rich is not installed") == (absent is not None)


@pytest.mark.slow
def test_the_demo_runs_on_the_fake_device(copied, target, tmp_path):
    """The fake comes from this repository's tests, the package from the copy."""
    shutil.copytree(ROOT / "tests/fakes", tmp_path / "fakes")
    options = ("--backend", "tt", "--target", target, "--draft", target, "--prompt", "hello", "-k", 2)
    options += ("--max-seq-len", 120, "--max-new-tokens", 8)
    done = run(copied, DEMO, *options, start=("-c", ON_THE_FAKE), path=[tmp_path])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1/1" in done.stdout


def test_what_is_not_there_says_where_it_lives(copied):
    names = ["compare", "report", "estimate", "project", "train_draft"]
    code = f"import sys; from {DEMO} import main; print([main([name, '--help']) for name in sys.argv[1:]])"
    done = run(copied, *names, start=("-c", code))
    assert done.stdout.strip() == "[2, 2, 2, 2, 2]", done.stdout + done.stderr
    for name, line in zip(names, done.stderr.splitlines(), strict=True):
        assert name in line and ("measuring/" in line or "training/" in line)


def test_a_page_is_refused_before_anything_runs(copied):
    """Even before the model, which is not there either."""
    done = run(copied, DEMO, "--html", "x.html", "--target", "/no/such/model", "--prompt", "a")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and "--html is not part of this folder: it lives in measuring/" in line


@pytest.mark.parametrize("absent", ["matplotlib", "markdown_it"])
def test_a_page_needs_its_libraries(absent, tmp_path):
    """The same in the repository where a library is missing."""
    options = (DEMO, "--html", tmp_path / "x.html", "--target", "/no/such/model", "--prompt", "a")
    done = run(ROOT, *options, start=("-c", WITHOUT, absent))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and f"--html needs the library {absent}, which is not installed" in line


def test_help_loads_no_model_library(copied):
    loaded = "[name for name in ('transformers', 'rich', 'matplotlib', 'pytest') if name in sys.modules]"
    done = run(copied, f"import sys, {DEMO}; print({loaded})", start=("-c",))
    assert done.stdout.strip() == "[]", done.stdout + done.stderr

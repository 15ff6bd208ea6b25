# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Puts the fake ttnn and tt_transformers where Python imports them from, for one test."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

from fakes.fake_ttnn import make_ttnn, track_allocations

_TT = "models.tt_transformers.tt"
_FAKES = (
    "fakes.fake_config",
    "fakes.fake_attention",
    "fakes.fake_model",
    "fakes.fake_generator",
    "fakes.newer_generators",
)  # they import ttnn, so they are made anew for each test
_COMMON = ("Mode", "PagedAttentionConfig", "get_padded_prefill_len", "rope_scaling_model_factory")
_EXPORTS = {
    f"{_TT}.common": ("fakes.fake_config", _COMMON),
    f"{_TT}.model_config": ("fakes.fake_config", ("ModelArgs", "DecodersPrecision", "TensorGroup")),
    f"{_TT}.attention": ("fakes.fake_attention", ("Attention",)),
    f"{_TT}.rope": ("fakes.fake_ops", ("RotarySetup",)),
    f"{_TT}.model": ("fakes.fake_model", ("Transformer",)),
    f"{_TT}.generator": ("fakes.fake_generator", ("Generator",)),
    "models.common.sampling": ("fakes.fake_generator", ("SamplingParams",)),
}
# tt-metal by when it was so: its Generator.
TREES = {
    "june": ("fakes.fake_generator", "Generator"),
    "september": ("fakes.newer_generators", "SeptemberGenerator"),
    "commands": ("fakes.newer_generators", "CommandGenerator"),
    "unknown": ("fakes.newer_generators", "UnknownGenerator"),
}


@contextmanager
def fake_upstream(tree: str = "june") -> Iterator[ModuleType]:
    """The fake `ttnn`, importable together with the fake tt_transformers; what was importable before is put back.

    Only missing submodules are injected: models.tt_transformers.demo is the real one.
    """
    injected = ["ttnn", _TT, "models.common", *_EXPORTS]
    before = {name: sys.modules.get(name) for name in [*injected, *_FAKES]}
    sys.modules["ttnn"] = make_ttnn()
    if tree != "june":
        track_allocations(sys.modules["ttnn"])
    for name in _FAKES:
        sys.modules.pop(name, None)
    try:
        for package in (_TT, "models.common"):
            sys.modules[package] = ModuleType(package)
            sys.modules[package].__spec__ = ModuleSpec(package, None)  # importlib.util.find_spec asks for it
        for name, (source, exports) in _EXPORTS.items():
            module = sys.modules[name] = ModuleType(name)
            for export in exports:
                setattr(module, export, getattr(importlib.import_module(source), export))
        common = sys.modules[f"{_TT}.common"]
        common.create_tt_model = importlib.import_module("fakes.fake_model").create_tt_model
        source, name = TREES[tree]
        sys.modules[f"{_TT}.generator"].Generator = getattr(importlib.import_module(source), name)
        yield sys.modules["ttnn"]
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module

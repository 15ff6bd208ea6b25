# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a result JSON holds beyond the run itself, so that a report needs nothing else: when and how it was made, what
loading the models cost, every repeat's times, and the text of every token.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.harness.comparison import PromptComparison
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult, ratio, speedup
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner

MEMORY_COUNTS = Path("/proc/self/statm")  # Linux; elsewhere resident memory is not measured


@dataclass(frozen=True, kw_only=True)
class ModelLoad:
    """What bringing one model into memory cost.

    Attributes:
        init_s: from the start of loading to the end of a first forward of one token (weights are read only then); on tt
            to the end of loading, for compiling and capturing are warm-up.
        layers, parameters: of the model; shared weights count once. weights_mb: their size in megabytes (10^6 bytes).
        host_rss_mb: growth of the process's resident memory meanwhile; None where the system does not tell, or
            where memory given back meanwhile hides it.
        device_dram_mb: planned memory of each device, weights, caches and tables (tt backend); None elsewhere.
    """

    name: str
    init_s: float
    layers: int | None = None
    parameters: int | None = None
    weights_mb: float | None = None
    host_rss_mb: float | None = None
    device_dram_mb: float | None = None

    def described(self, model: PreTrainedModel) -> ModelLoad:
        """With the figures of a Hugging Face model."""
        tensors = list(model.parameters())  # shared ones appear once
        return replace(
            self,
            layers=model.config.get_text_config().num_hidden_layers,
            parameters=sum(tensor.numel() for tensor in tensors),
            weights_mb=sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6,
        )


class LoadWatch:
    """The open measurement of watch_load(); `load` is there once it is closed."""

    load: ModelLoad = field(init=False)


@contextmanager
def watch_load(name: str) -> Iterator[LoadWatch]:
    """Measures what is done inside: load the model and run a first forward there."""
    watch, before, start = LoadWatch(), resident_mb(), time.perf_counter_ns()
    yield watch
    seconds, after = (time.perf_counter_ns() - start) / 1e9, resident_mb()
    grown = None if before is None or after is None or after < before else after - before
    watch.load = ModelLoad(name=name, init_s=seconds, host_rss_mb=grown)


def model_loads(target: ModelRunner, draft: ModelRunner | None) -> dict[str, Any]:
    """What opening the runners cost, for those that know (`load`), as a result's "models"."""
    loads = {role: getattr(runner, "load", None) for role, runner in (("target", target), ("draft", draft))}
    return {"models": {role: load and asdict(load) for role, load in loads.items()}}


def resident_mb() -> float | None:
    """Resident memory of this process in megabytes; None where the system does not tell."""
    try:
        return int(MEMORY_COUNTS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return None


def provenance(command: Sequence[str] | None = None) -> dict[str, str]:
    """When (UTC) and by which command; `command` defaults to this process's own. Of an absolute path the last part is
    kept: where it lies is nobody's business but the machine's.
    """
    program, *arguments = sys.argv if command is None else command
    words = [Path(program).stem, *(Path(word).name if Path(word).is_absolute() else word for word in arguments)]
    return {
        "created": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "command": " ".join(map(shlex.quote, words)),
    }


def add_repeats(record: dict[str, Any], comparisons: Sequence[PromptComparison]) -> None:
    """Every repeat's times, of which the record has only medians, into the record of a run: per prompt `decode_s_runs`
    and `baseline_decode_s_runs`, and in the summary `speedup_runs` (one per repeat, over all prompts).
    """
    for row, comparison in zip(record["prompts"], comparisons, strict=True):
        row["decode_s_runs"] = [result.decode_s for result in comparison.speculative]
        row["baseline_decode_s_runs"] = [result.decode_s for result in comparison.baseline]
    ours = [_decode_tps(results) for results in zip(*(comparison.speculative for comparison in comparisons))]
    plain = [_decode_tps(results) for results in zip(*(comparison.baseline for comparison in comparisons))]
    record["summary"]["speedup_runs"] = [speedup(one, other) for one, other in zip(ours, plain)]


def _decode_tps(results: Sequence[GenerationResult]) -> float | None:
    """One repeat of all prompts, as if one after another."""
    return ratio(sum(len(result.tokens) - 1 for result in results), sum(result.decode_s for result in results))


def add_token_texts(record: dict[str, Any], decode: Callable[[Sequence[int]], str]) -> None:
    """`token_texts` into every prompt: what each token adds to the text; they join to the text itself."""
    for row in record["prompts"]:
        row["token_texts"] = token_texts(row["tokens"], decode)


def token_texts(tokens: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[str]:
    """The text that each token adds. A character of several tokens belongs to the last of them."""
    texts, shown = [], ""
    for end in range(1, len(tokens) + 1):
        text = decode(tokens[:end])
        whole = not text.endswith("\N{REPLACEMENT CHARACTER}") or end == len(tokens)
        texts.append(text[len(shown) :] if whole else "")
        shown = text if whole else shown
    return texts

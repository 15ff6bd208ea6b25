# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The models of a comparison, loaded once and shared by all its arms, and what loading them cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from measuring.compare_options import CompareOptions
from models.tt_transformers.demo.speculative_decoding.drafters import Drafter, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.opening import make_lookahead
from models.tt_transformers.demo.speculative_decoding.harness.options import DemoOptions
from models.tt_transformers.demo.speculative_decoding.harness.record_extras import ModelLoad, watch_load
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from models.tt_transformers.demo.speculative_decoding.hf.loading import load_model
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid_drafter import lookup_first
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tokenizer_check import check_same_tokenizer


@dataclass(frozen=True)
class LoadedModel:
    """A model, the runner over it, and what they cost."""

    model: PreTrainedModel
    runner: TorchModelRunner
    load: ModelLoad


@dataclass(frozen=True)
class Workbench:
    """Everything that the arms and peers share. They run one after another, so they can share runners and drafters.

    Attributes:
        draft: the drafter that a model or a feature draft makes, if any arm wants one, and what loading it cost.
        assistant: the model that drafts for transformers' assisted generation.
    """

    target: LoadedModel
    draft: Drafter | None
    draft_load: ModelLoad | None
    assistant: PreTrainedModel | None
    tokenizer: PreTrainedTokenizerBase

    def generator(self, options: DemoOptions) -> SpeculativeGenerator:
        """The generator of one arm."""
        if options.num_draft_tokens == 0:
            return SpeculativeGenerator(self.target.runner, sampling=options.sampling, tokenizer=self.tokenizer)
        return SpeculativeGenerator(
            self.target.runner,
            self._drafter(options.drafter),
            lookahead=make_lookahead(options.lookahead, options.num_draft_tokens),
            sampling=options.sampling,
            tokenizer=self.tokenizer,
        )

    def _drafter(self, name: str) -> Drafter:
        if name == "prompt-lookup":
            return PromptLookupDrafter()
        draft = cast(Drafter, self.draft)  # loaded, as this arm wants one
        return lookup_first(draft) if name == "hybrid" else draft


@contextmanager
def open_workbench(options: CompareOptions) -> Iterator[Workbench]:
    """Load, yield, release whatever happens.

    Raises:
        BadInput: the backend cannot be shared by several arms, or the arms want drafts of two kinds.
    """
    base = options.base
    if base.backend != "torch":
        raise BadInput(
            "compare runs on --backend torch; on a Tenstorrent device run the demo once per K with --json, and give "
            "report all the files"
        )
    models = {arm.options.draft for arm in options.arms if arm.options.draft}
    files = {arm.options.draft_file for arm in options.arms if arm.options.draft_file}
    if len(models) + len(files) > 1:
        raise BadInput("the arms want a draft model and a feature draft; compare them in two runs, with --drafters")
    with ExitStack() as opened:
        target, tokenizer = _load(base, base.target)
        opened.callback(target.runner.close)
        draft: Drafter | None = None
        draft_load, assistant = None, None
        if models:
            loaded, draft_tokenizer = _load(base, *models)
            opened.callback(loaded.runner.close)
            check_same_tokenizer(tokenizer, draft_tokenizer, target_name=base.target, draft_name=loaded.load.name)
            draft, draft_load, assistant = ModelDrafter(loaded.runner), loaded.load, loaded.model
        elif files:
            (draft_file,) = files
            draft, draft_load = _load_feature_draft(draft_file, target.model)
        if options.peer_ks and options.assistant and options.assistant not in models:
            assistant, _ = load_model(options.assistant, device=base.device, dtype=base.dtype)
        yield Workbench(target, draft, draft_load, assistant, tokenizer)


def _load_feature_draft(path: Path, target: PreTrainedModel) -> tuple[FeatureDrafter, ModelLoad]:
    with watch_load(path.stem) as watch:
        drafter = FeatureDrafter.from_file(path, target)
    return drafter, replace(watch.load, weights_mb=path.stat().st_size / 1e6)


def _load(base: DemoOptions, name: str) -> tuple[LoadedModel, PreTrainedTokenizerBase]:
    with watch_load(name) as watch:
        model, tokenizer = load_model(name, device=base.device, dtype=base.dtype)
        runner = TorchModelRunner(model, name=name, max_seq_len=base.max_seq_len, max_users=base.batch_size)
        runner.warmup([1])
    return LoadedModel(model, runner, watch.load.described(model)), tokenizer

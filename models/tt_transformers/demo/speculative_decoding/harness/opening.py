# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""From checked options to a SpeculativeGenerator with its models loaded, and back: everything opened here is closed
here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.drafters import Drafter, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.harness.device_cases import (
    TRACE_REGION_SIZE,
    mesh_shape,
    wanted_traces,
)
from models.tt_transformers.demo.speculative_decoding.harness.options import DemoOptions, DraftHead
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from models.tt_transformers.demo.speculative_decoding.hf.loading import load_model, load_tokenizer
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid_drafter import lookup_first
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead, Lookahead
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tokenizer_check import check_same_tokenizer
from models.tt_transformers.demo.speculative_decoding.trimmed_head import most_frequent_token_ids, token_ids_from_file

AUTO_CHOICES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 31)


@contextmanager
def open_generator(options: DemoOptions) -> Iterator[SpeculativeGenerator]:
    """Load target and drafter, warm up, yield the generator, release everything whatever happens."""
    opener = open_tt_generator if options.backend == "tt" else open_torch_generator
    with opener(options) as generator:
        yield generator


@contextmanager
def open_torch_generator(options: DemoOptions) -> Iterator[SpeculativeGenerator]:
    """On CPU or CUDA."""
    model, tokenizer = load_model(options.target, device=options.device, dtype=options.dtype)
    target = TorchModelRunner(model, name=options.target, max_seq_len=options.max_seq_len, max_users=options.batch_size)
    drafter = _drafter(options, model, tokenizer)
    try:
        target.warmup(range(1, options.num_draft_tokens + 2), argmax_only=options.sampling.greedy)
        lookahead = make_lookahead(options.lookahead, options.num_draft_tokens)
        yield _generator(options, target, drafter, lookahead, tokenizer)
    finally:
        drafter.close()
        target.close()


@contextmanager
def open_tt_generator(options: DemoOptions) -> Iterator[SpeculativeGenerator]:
    """On the mesh that MESH_DEVICE names (default N150). Its plain arm is the pair's own target, one row wide;
    device_run.py compares with the stock target instead."""
    from models.tt_transformers.demo.speculative_decoding.tt.mesh import opened_mesh
    from models.tt_transformers.demo.speculative_decoding.tt.pair import (
        ModelRequest,
        open_models,
        slow_dispatch,
    )

    lookahead = make_lookahead(options.lookahead, options.num_draft_tokens)
    drafted = lookahead.choices if isinstance(lookahead, AutoLookahead) else (0, options.num_draft_tokens)
    greedy, unsure = options.sampling.greedy, lookahead.min_probability > 0.0
    widths = tuple(sorted({k + 1 for k in drafted}))
    requests = [ModelRequest(model_id=options.target, tokens_per_user=widths, ids=greedy, logits=not greedy)]
    if options.draft is not None:
        ids = greedy and not unsure
        kept = _head_token_ids(options.draft_head, options.draft)
        requests.append(
            ModelRequest(model_id=options.draft, tokens_per_user=(1, 2), ids=ids, logits=not ids, head_token_ids=kept)
        )
    with ExitStack() as opened:
        region = 0 if slow_dispatch() else TRACE_REGION_SIZE
        mesh = opened.enter_context(opened_mesh(*mesh_shape(), trace_region_size=region))
        runners = open_models(
            mesh,
            requests,
            users=options.batch_size,
            max_seq_len=options.max_seq_len,
            enable_trace=wanted_traces(),
        )
        for runner in runners:
            opened.callback(runner.close)
        target, *drafts = runners
        drafter: Drafter = ModelDrafter(drafts[0]) if drafts else PromptLookupDrafter()
        if options.drafter == "hybrid":
            drafter = lookup_first(drafter)
        yield _generator(options, target, drafter, lookahead, target.tokenizer)


def _generator(
    options: DemoOptions,
    target: ModelRunner,
    drafter: Drafter,
    lookahead: Lookahead,
    tokenizer: PreTrainedTokenizerBase,
) -> SpeculativeGenerator:
    """Of runners that are warm; `auto` learns here what widths cost, before the first request."""
    if isinstance(lookahead, AutoLookahead):
        lookahead.calibrate(target, users=options.batch_size, argmax_only=options.sampling.greedy)
    return SpeculativeGenerator(
        target,
        drafter,
        lookahead=lookahead,
        sampling=options.sampling,
        verify_width=options.num_draft_tokens + 1 if options.exact else 1,
        tokenizer=tokenizer,
    )


def make_lookahead(name: str, num_draft_tokens: int) -> Lookahead:
    """The policy of that name; K, or for adaptive and auto the most they may draft."""
    if name == "fixed":
        return FixedLookahead(num_draft_tokens)
    if name == "adaptive":
        start = min(4, num_draft_tokens)
        return AdaptiveLookahead(start_draft_tokens=start, max_draft_tokens=num_draft_tokens)
    return AutoLookahead([*(k for k in AUTO_CHOICES if k < num_draft_tokens), num_draft_tokens])


def _drafter(options: DemoOptions, target: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Drafter:
    if options.drafter == "prompt-lookup":
        return PromptLookupDrafter()
    if options.draft_file is not None:
        drafter: Drafter = FeatureDrafter.from_file(options.draft_file, target)
    else:
        drafter = _model_drafter(options, tokenizer)
    return lookup_first(drafter) if options.drafter == "hybrid" else drafter


def _model_drafter(options: DemoOptions, tokenizer: PreTrainedTokenizerBase) -> ModelDrafter:
    name = cast(str, options.draft)  # checked() found one for this drafter
    model, draft_tokenizer = load_model(name, device=options.device, dtype=options.dtype)
    check_same_tokenizer(tokenizer, draft_tokenizer, target_name=options.target, draft_name=name)
    runner = TorchModelRunner(
        model,
        name=name,
        max_seq_len=options.max_seq_len,
        max_users=options.batch_size,
        head_token_ids=_head_token_ids(options.draft_head, name),
    )
    return ModelDrafter(runner)


def _head_token_ids(head: DraftHead | None, draft: str) -> list[int] | None:
    if head is None:
        return None
    if head.ids_file is not None:
        return token_ids_from_file(head.ids_file)
    text, size = cast(str, head.text_file), cast(int, head.size)  # DraftHead has these two, or a file of ids
    return most_frequent_token_ids(text, load_tokenizer(draft), size)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""From a run's options to a bench: the models loaded and warm on their machine, and the generators made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.drafters import Drafter, ModelDrafter, check_same_tokenizer
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.command import say
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions
from models.tt_transformers.demo.speculative_decoding.harness.processing import chosen_with, named
from models.tt_transformers.demo.speculative_decoding.harness.prompts import tokenized
from models.tt_transformers.demo.speculative_decoding.hybrid import suffix_first
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead, Lookahead
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.runner import ModelLoad, ModelRunner, watch_load
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.suffix import SuffixDrafter
from models.tt_transformers.demo.speculative_decoding.trimmed_head import most_frequent_token_ids, token_ids_from_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from models.tt_transformers.demo.speculative_decoding.tt.eagle_weights import HeadRequest

WIDE_CATCH_UP = 16  # tokens that a draft on a mesh takes in one step after rounds without it
AUTO_CHOICES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 31)


@dataclass(frozen=True)
class Bench:
    """What the arms of a run share; they run one after another, so they can share runners and drafters."""

    target: ModelRunner
    plain: ModelRunner  # the target's weights with a cache of their own, where there is room; else the target itself
    tokenizer: PreTrainedTokenizerBase
    draft: Drafter | None  # that a draft model, a head or a feature draft makes
    draft_load: ModelLoad | None  # what it cost
    ignored_settings: dict[str, Any]  # of the target's generation_config what no arm does, by name
    processing: dict[str, Any]  # the settings of all logits processors, by name
    wants_logits: bool  # whether argmax ids do not do: tokens are sampled or processed
    mesh_device: Any = None  # that the models are on, if they are
    warm_programs: int = 0  # what it had compiled when they were warm

    def generator(self, options: RunOptions) -> SpeculativeGenerator:
        """The generator of one arm; `auto` learns here what widths cost, before the first request."""
        lookahead = make_lookahead(options.lookahead, options.num_draft_tokens)
        if isinstance(lookahead, AutoLookahead):
            lookahead.calibrate(self.target, users=options.batch_size, argmax_only=not self.wants_logits)
        drafter = self.draft  # opened, as the options want one
        if options.num_draft_tokens == 0:
            drafter = None
        elif options.drafter == "prompt-lookup":
            drafter = PromptLookupDrafter()
        elif options.drafter == "suffix":
            drafter = SuffixDrafter(memory=options.suffix_memory)
        elif options.drafter == "hybrid":
            drafter = suffix_first(cast(Drafter, drafter), memory=options.suffix_memory)
        return SpeculativeGenerator(
            self.target,
            drafter,
            lookahead=lookahead,
            sampling=options.sampling,
            verify_width=options.num_draft_tokens + 1 if options.exact else 1,
            tokenizer=self.tokenizer,
        )

    @property
    def feature_layers(self) -> Sequence[int]:
        """Which of the target's hidden states the draft reads, n: after n layers."""
        return self.draft.feature_layers if self.draft is not None else ()

    @property
    def loads(self) -> dict[str, Any]:
        """What opening the models cost, as a result's "models"."""
        loads = {"target": self.target.load, "draft": self.draft_load}
        return {role: load and asdict(load) for role, load in loads.items()}


def make_lookahead(name: str, num_draft_tokens: int) -> Lookahead:
    """The policy of that name; K, or for adaptive and auto the most they may draft."""
    if name == "fixed" or num_draft_tokens == 0:
        return FixedLookahead(num_draft_tokens)
    if name == "adaptive":
        return AdaptiveLookahead(start_draft_tokens=min(4, num_draft_tokens), max_draft_tokens=num_draft_tokens)
    return AutoLookahead([*(k for k in AUTO_CHOICES if k < num_draft_tokens), num_draft_tokens])


def open_bench(options: RunOptions, *, turns: bool = False) -> AbstractContextManager[Bench]:
    """Load and warm up what the options name; everything is released afterwards, whatever happens. `turns`: prompts
    will go on from what is cached."""
    return open_on_mesh(options, turns=turns) if options.backend == "tt" else open_on_torch(options)


@contextmanager
def open_on_torch(options: RunOptions) -> Iterator[Bench]:
    """On CPU or CUDA."""
    from models.tt_transformers.demo.speculative_decoding.hf import loading
    from models.tt_transformers.demo.speculative_decoding.hf.eagle_head import EagleHead
    from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
    from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner

    size: dict[str, Any] = {"max_seq_len": options.max_seq_len, "max_users": options.batch_size}
    size |= {"prove": options.prove, "exact": options.exact}

    def opened_runner(model_id: str, kept: list[int] | None = None) -> TorchModelRunner:
        with watch_load(model_id) as watch:
            model = loading.load_weights(model_id, device=options.device, dtype=options.dtype)
            runner = TorchModelRunner(model, name=model_id, head_token_ids=kept, **size)
            opened.callback(runner.close)
            runner.warmup([1])
        runner.load = loading.described(watch, model)
        return runner

    tokenizer, kept = _looked_into(options)
    chosen_with(options)  # refuses before weights are loaded
    draft: Drafter | None = None
    draft_load: ModelLoad | None = None
    with ExitStack() as opened:
        target = opened_runner(options.target)
        if options.draft_file is not None:
            with watch_load(options.draft_file.stem) as draft_load:
                draft = FeatureDrafter.from_file(options.draft_file, target.model)
                draft_load.weights_mb = options.draft_file.stat().st_size / 1e6
            opened.callback(draft.close)
        elif options.eagle is not None:
            with watch_load(options.eagle) as draft_load:
                head = EagleHead.from_pretrained(options.eagle, target.model, layers=options.eagle_layers)
                draft = FeatureDrafter(head, name=Path(options.eagle).name)
                draft_load.weights_mb = head.weights_mb
            opened.callback(draft.close)
        elif options.draft is not None:
            runner = opened_runner(options.draft, kept)
            draft, draft_load = ModelDrafter(runner), runner.load
        processors, wants_logits = chosen_with(options, model=target.model)
        by_ids = not wants_logits and options.logprobs is None
        target.warmup(range(1, options.num_draft_tokens + 2), argmax_only=by_ids)
        plain = TorchModelRunner(target.model, name=options.target, **size | {"prove": False})
        opened.callback(plain.close)
        ignored, target.ignored_settings = _ignored_settings(options, target.model), {}  # said here, once for all arms
        target.processors = plain.processors = processors
        yield Bench(target, plain, tokenizer, draft, draft_load, ignored, named(processors), wants_logits)


def _looked_into(options: RunOptions) -> tuple[PreTrainedTokenizerBase, list[int] | None]:
    """The target's tokenizer, and the output ids that a draft model keeps; BadInput for what is wrong
    with models, drafts and prompts, as far as it shows before any weights are loaded."""
    from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import fitted_spec, head_config
    from models.tt_transformers.demo.speculative_decoding.hf.feature_model import FeatureDraft
    from models.tt_transformers.demo.speculative_decoding.hf.loading import look_into

    config, tokenizer = look_into(options.target)
    kept = None
    if options.draft_file is not None:
        spec = FeatureDraft.load(options.draft_file).spec
        if (spec.hidden_size, spec.vocab_size) != (getattr(config, "hidden_size", None), config.vocab_size):
            remedy = "use its own, or train a draft for this one with python -m training.train_draft"
            raise BadInput(f"--draft-file {options.draft_file} was trained for {spec.target_name}; {remedy}")
    elif options.eagle is not None:
        fitted_spec(options.eagle, head_config(options.eagle), config, options.eagle_layers)
    elif options.draft is not None:
        draft_config, its_tokenizer = look_into(options.draft)
        check_same_tokenizer(tokenizer, its_tokenizer, target_name=options.target, draft_name=options.draft)
        kept = _head_token_ids(options)
        if kept and not 0 <= min(kept) <= max(kept) < draft_config.vocab_size:
            limits = f"{options.draft} has 0 to {draft_config.vocab_size - 1}"
            raise BadInput(f"{options.draft_head_file} holds token ids from {min(kept)} to {max(kept)}; {limits}")
    requests = tokenized(options.prompts, tokenizer, max_seq_len=options.max_seq_len)
    if (highest := max(max(request.token_ids) for request in requests)) >= config.vocab_size:
        raise BadInput(
            f"a prompt has token id {highest}, and {options.target} no such; give it the tokenizer of its own"
        )
    return tokenizer, kept


@contextmanager
def open_on_mesh(
    options: RunOptions, mesh_device: Any = None, *, logits_too: bool = False, turns: bool = False
) -> Iterator[Bench]:
    """On a Tenstorrent mesh: the given one, which stays open, or the one that MESH_DEVICE names (default N150).

    Its plain arm is the pair's own target, one row wide; device_run.py compares with the stock target instead.

    Args:
        logits_too: the target gives logits as well as greedy ids.
        turns: prompts go on from what is cached, where no head reads them.
    """
    from models.tt_transformers.demo.speculative_decoding.tt import mesh
    from models.tt_transformers.demo.speculative_decoding.tt.eagle_drafter import EagleDrafter
    from models.tt_transformers.demo.speculative_decoding.tt.fused_drafter import FusedDrafter
    from models.tt_transformers.demo.speculative_decoding.tt.kv_write import TILE_ROWS
    from models.tt_transformers.demo.speculative_decoding.tt.pair import open_models, pair_requests

    processors, wants_logits = chosen_with(options)
    lookahead = make_lookahead(options.lookahead, options.num_draft_tokens)
    sits_out = options.drafter == "hybrid" or isinstance(lookahead, AutoLookahead)
    catch_up = max(2, min(WIDE_CATCH_UP, TILE_ROWS // options.batch_size)) if sits_out else 2
    requests = pair_requests(
        options.target,
        options.draft,
        num_draft_tokens=lookahead.choices if isinstance(lookahead, AutoLookahead) else (0, options.num_draft_tokens),
        sampling=wants_logits,
        confidence_stop=lookahead.min_probability > 0.0,
        draft_head_token_ids=_head_token_ids(options),
        catch_up=catch_up,
        turn=TILE_ROWS // options.batch_size if turns and not options.eagle else 0,
    )
    if logits_too or options.logprobs is not None:
        requests[0] = replace(requests[0], logits=True)
    head = _head_for_mesh(options, lookahead, wants_logits) if options.eagle else None
    with ExitStack() as opened:
        if mesh_device is None:
            mesh_device = opened.enter_context(mesh.opened_mesh(*mesh.mesh_shape()))
        size: dict[str, Any] = {"users": options.batch_size, "max_seq_len": options.max_seq_len}
        precision, traced = options.dtype, options.enable_trace
        runners = open_models(mesh_device, requests, optimizations=precision, enable_trace=traced, head=head, **size)
        for runner in runners:
            opened.callback(runner.close)
        target, *drafts = runners
        drafter: Drafter | None = FusedDrafter(drafts[0]) if drafts else EagleDrafter(target) if head else None
        load = drafts[0].load if drafts else target.follower.load if target.follower else None
        target.processors = processors
        on_mesh = (named(processors), wants_logits, mesh_device, mesh_device.num_program_cache_entries())
        yield Bench(target, target, target.tokenizer, drafter, load, _ignored_settings(options), *on_mesh)


def _head_for_mesh(options: RunOptions, lookahead: Lookahead, wants_logits: bool) -> HeadRequest:
    """The EAGLE-3 head that the options name, fitted to their target; BadInput where ids are not enough."""
    from models.tt_transformers.demo.speculative_decoding.hf import eagle_checkpoint
    from models.tt_transformers.demo.speculative_decoding.hf.loading import look_into
    from models.tt_transformers.demo.speculative_decoding.tt.eagle_weights import HeadRequest

    wanted = f"--temperature {options.sampling.temperature} samples" if not options.sampling.greedy else ""
    if not wanted and (wants_logits or options.logprobs is not None):
        wanted = "logits processors and log-probabilities want logits"
    if wanted or lookahead.min_probability > 0.0:
        wanted = wanted or f"--lookahead {options.lookahead} stops by their probabilities"
        remedy = "decode greedily with fixed or auto, change --drafter, or use --backend torch"
        raise BadInput(f"an EAGLE-3 head gives ids alone on --backend tt, and {wanted}; {remedy}")
    source = cast(str, options.eagle)
    config, layers = eagle_checkpoint.head_config(source), options.eagle_layers
    spec = eagle_checkpoint.fitted_spec(source, config, look_into(options.target)[0], layers)
    tensors = eagle_checkpoint.head_tensors(source, spec)
    ids = eagle_checkpoint.drafted_ids(source, spec, tensors)
    return HeadRequest(name=Path(source).name, spec=spec, tensors=tensors, token_ids=ids)


def _ignored_settings(options: RunOptions, model: PreTrainedModel | None = None) -> dict[str, Any]:
    """What transformers' generate would do with the target's choices and no arm here does; said once."""
    from models.tt_transformers.demo.speculative_decoding.hf import loading

    own = loading.generation_config_of(options.target) if model is None else model.generation_config
    ignored = loading.settings_in_effect(own)
    if ignored:
        named = ", ".join(f"{name} = {value}" for name, value in ignored.items())
        say("warning", f"the generation_config of {options.target} sets {named}; this is ignored by all arms here")
    return ignored


def _head_token_ids(options: RunOptions) -> list[int] | None:
    """The output ids that the draft keeps; None: all."""
    if options.draft_head_file is None or options.draft is None:
        return None
    if options.draft_head_size is None:
        return token_ids_from_file(options.draft_head_file)
    from models.tt_transformers.demo.speculative_decoding.hf.loading import load_tokenizer

    return most_frequent_token_ids(options.draft_head_file, load_tokenizer(options.draft), options.draft_head_size)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Target and draft on one mesh: checked, planned, loaded, and warmed up in the order that keeps traces safe."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from loguru import logger
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.drafters import check_same_tokenizer
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.runner import watch_load
from models.tt_transformers.demo.speculative_decoding.trimmed_head import TrimmedHead
from models.tt_transformers.demo.speculative_decoding.tt import loading
from models.tt_transformers.demo.speculative_decoding.tt.eagle_follower import EagleFollower
from models.tt_transformers.demo.speculative_decoding.tt.eagle_weights import HeadRequest, load_head
from models.tt_transformers.demo.speculative_decoding.tt.fused_round import FusedRound
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import TILE_ROWS, RowLayout
from models.tt_transformers.demo.speculative_decoding.tt.memory import CacheLayout, MemoryPlan, ModelMemory
from models.tt_transformers.demo.speculative_decoding.tt.mesh import safe_to_trace, slow_dispatch
from models.tt_transformers.demo.speculative_decoding.tt.runner import TTModelRunner
from models.tt_transformers.demo.speculative_decoding.tt.taps import Taps


@dataclass(frozen=True)
class ModelRequest:
    """One model that is to be opened, and every kind of forward that will be asked of it."""

    model_id: str  # Hugging Face id or path
    tokens_per_user: tuple[int, ...]  # values of T: each gets a trace, and a narrower forward uses the next wider one
    ids: bool = True  # forwards that end in argmax ids
    logits: bool = False  # forwards that end in logits (sampling, or a drafter that stops when unsure)
    turn: int = 0  # of a prompt that goes on from what is cached, tokens of each user in one decode; 0: none goes on
    head_token_ids: Sequence[int] | None = None  # compute only these output ids (a draft's trimmed head); None: all


def pair_requests(
    target_id: str,
    draft_id: str | None,
    *,
    num_draft_tokens: Sequence[int],
    sampling: bool = False,
    confidence_stop: bool = False,
    draft_head_token_ids: Sequence[int] | None = None,
    catch_up: int = 2,
    turn: int = 0,
) -> list[ModelRequest]:
    """What a target and its draft model, if there is one, will be asked for. `num_draft_tokens`: every K in use, each
    with a verify trace of its own (0: plain decoding); `sampling`: forwards end in logits instead of argmax ids;
    `confidence_stop`: greedy drafts may end early for lack of confidence, so the draft gives logits; `catch_up`: the
    most tokens that the draft takes in one step, above 2 where rounds may pass without it; `turn`: see ModelRequest."""
    if not num_draft_tokens or min(num_draft_tokens) < 0:
        listed = ", ".join(map(str, num_draft_tokens))
        raise BadInput(f"K = {listed}: give one or more numbers of draft tokens, each 0 or larger")
    verified = tuple(sorted({k + 1 for k in num_draft_tokens}))
    target = ModelRequest(target_id, verified, ids=not sampling, logits=sampling, turn=turn)
    if draft_id is None:
        return [target]
    logits = sampling or confidence_stop
    # One token per step; two in the step after a fully accepted round, whose last draft was never processed.
    widths = tuple(sorted({1, 2, catch_up}))
    ends: dict[str, Any] = {"ids": not logits, "logits": logits, "head_token_ids": draft_head_token_ids}
    return [target, ModelRequest(draft_id, widths, turn=turn, **ends)]


def open_models(
    mesh_device: Any,
    requests: Sequence[ModelRequest],
    *,
    users: int = 1,
    max_seq_len: int = 1024,
    optimizations: str = "performance",
    enable_trace: bool | None = None,
    warmup: bool = True,
    fuse: bool = True,
    head: HeadRequest | None = None,
) -> list[TTModelRunner]:
    """Open a target, and whatever drafts for it, on one mesh, ready to run; close them when done.

    BadInput, ModelUnavailable come before anything is loaded where possible; whatever was loaded is freed.

    Args:
        mesh_device: an open ttnn mesh of shape (1, n); it stays open.
        users: sequences generated at once; users * tokens per user <= 32.
        max_seq_len: tokens of prompt and continuation together that each user may hold.
        optimizations: "performance" or "accuracy".
        enable_trace: default: of single forwards as safe_to_trace() says; of fused rounds in fast dispatch, unless
            those of several K would alternate where single forwards may not.
        warmup: compile and capture too. Without it nothing is run yet, and forwards stay untraced.
        fuse: offer the draft fused rounds of every K, where unfusible() has nothing against it.
        head: an EAGLE-3 head that drafts for the target alone (EagleDrafter).
    """
    batches = [RowLayout(users, max(request.turn, *request.tokens_per_user)).compiled_batch for request in requests]
    cache = CacheLayout(users, max_seq_len)
    loading.check_environment(*(request.model_id for request in requests))
    upstream = loading.load_upstream()
    traced = safe_to_trace(mesh_device) if enable_trace is None else enable_trace
    ks = [width - 1 for width in requests[0].tokens_per_user if width > 1]
    rounds_traced = traced or (enable_trace is None and len(ks) == 1 and not slow_dispatch())
    if traced and slow_dispatch():
        raise BadInput("slow dispatch has no traces: unset TT_METAL_SLOW_DISPATCH_MODE or run with enable_trace=False")
    options: dict[str, Any] = {"max_seq_len": max_seq_len, "optimizations": optimizations}
    exact = optimizations == "accuracy"
    args: list[Any] = []
    heads: list[TrimmedHead | None] = []
    for request, batch in zip(requests, batches, strict=True):
        model_args = loading.read_model_args(upstream, mesh_device, request.model_id, batch=batch, **options)
        if args:
            names = {"target_name": requests[0].model_id, "draft_name": request.model_id}
            check_same_tokenizer(args[0].tokenizer, model_args.tokenizer, **names)
        args.append(model_args)
        kept = request.head_token_ids
        tiles = TILE_ROWS * model_args.num_devices  # whole ones on every device, as output layers are
        heads.append(None if kept is None else TrimmedHead(kept, model_args.vocab_size).padded(tiles))
    ttnn = upstream.ttnn  # its allocator keeps all devices of a mesh in step
    dram, trace = (ttnn.get_memory_view(mesh_device, kind) for kind in (ttnn.BufferType.DRAM, ttnn.BufferType.TRACE))
    free, region = dram.num_banks * dram.total_bytes_free_per_bank, trace.num_banks * trace.total_bytes_per_bank
    sizes = [None if head is None else len(head) for head in heads]
    of = partial(ModelMemory.of, tensor_group=upstream.TensorGroup, cache=cache)
    planned_models = [of(a, head_size=size) for a, size in zip(args, sizes, strict=True)]
    if head is not None:
        planned_models.append(ModelMemory.of_head(head, args[0], cache, planned_models[0], exact=exact))
    plan = MemoryPlan(tuple(planned_models), free, region)
    logger.info(str(plan))
    plan.require_fit()
    runners: list[TTModelRunner] = []
    with ExitStack() as on_failure:
        for request, model_args, trimmed, planned in zip(requests, args, heads, plan.models):
            with watch_load(request.model_id) as load:
                model = loading.load_model(upstream, mesh_device, model_args, cache, head=trimmed)
                sizes_of = {"max_tokens_per_user": max(request.tokens_per_user), "turn": request.turn}
                runner = TTModelRunner(model, **sizes_of, enable_trace=traced)
            on_failure.callback(runner.close)
            size: dict[str, Any] = {"weights_mb": planned.weights / 1e6, "device_dram_mb": planned.resident / 1e6}
            runner.load = replace(load, layers=model_args.n_layers, **size)
            runners.append(runner)
        if head is not None:
            with watch_load(head.name) as load:
                follower = followed(runners[0], head, ks=ks, exact=exact, fuse=fuse and requests[0].ids)
            planned = plan.models[-1]
            size = {"weights_mb": planned.weights / 1e6, "device_dram_mb": planned.resident / 1e6}
            follower.load = replace(load, layers=1, **size)
        elif fuse and len(requests) == 2 and (reason := unfusible(requests, args)):
            runners[1].unfused = dict.fromkeys(ks, reason)
        elif fuse and len(requests) == 2:
            models = runners[1].model, runners[0].model
            rounds = {k: FusedRound(*models, users=users, num_draft_tokens=k) for k in ks}
            runners[0].rounds = runners[1].rounds = rounds
        if warmup:
            warmup_together(runners, requests, rounds_traced=rounds_traced)
        on_failure.pop_all()
    return runners


def followed(target: TTModelRunner, head: HeadRequest, *, ks: Sequence[int], exact: bool, fuse: bool) -> EagleFollower:
    """Let this head follow the target from now on."""
    model = target.model

    def output_rows() -> Tensor:
        return model.args.load_state_dict()[model.args.get_state_dict_prefix("", None) + "output.weight"]

    on_mesh = load_head(model, head, output_rows=output_rows, batch=model.args.max_batch_size, exact=exact)
    width = model.args.dim // model.args.num_devices
    taps = Taps(model.upstream.ttnn, model.mesh_device, model.transformer, head.spec.layers, width=width)
    size: dict[str, Any] = {"users": target.max_users, "tokens_per_user": target.max_tokens_per_user}
    follower = EagleFollower(model, on_mesh, taps, name=head.name, ks=ks, fuse=fuse, **size)
    target.follow(follower)
    return follower


def unfusible(requests: Sequence[ModelRequest], args: Sequence[Any]) -> str | None:
    """Why rounds of these two cannot be one program sequence, if so: ids alone pass from step to step, as they are."""
    if not all(request.ids for request in requests):
        return "logits are wanted, and ids alone pass from step to step"
    if requests[1].head_token_ids is not None or args[1].vocab_size > args[0].vocab_size:
        return "the draft's ids are not the target's"
    return None


def warmup_together(
    runners: Sequence[TTModelRunner], requests: Sequence[ModelRequest], *, rounds_traced: bool = False
) -> None:
    """Compile everything of every model, in every mode, and only then capture any trace: see TTModelRunner."""
    for runner, request in zip(runners, requests, strict=True):
        if request.ids:
            runner.compile(request.tokens_per_user, argmax_only=True)
        if request.logits:
            runner.compile(request.tokens_per_user, argmax_only=False)
        if runner.supports_reuse:
            runner.compile((request.turn,), argmax_only=False)
    rounds, follower = runners[0].rounds, runners[0].follower
    for fused in rounds.values():
        fused.compile()
    if follower is not None:
        follower.compile()
    for runner in runners:
        runner.capture()
    if follower is not None:
        follower.capture(drafts=runners[0].enable_trace, rounds=rounds_traced)
    for k, fused in list(rounds.items()) if rounds_traced else ():  # last: after one that does not fit none does
        if reason := fused.capture():
            rounds.pop(k).release()
            runners[1].unfused[k] = f"its trace does not fit: {reason}"
            logger.info(f"rounds of K = {k} go step by step: {runners[1].unfused[k]}")

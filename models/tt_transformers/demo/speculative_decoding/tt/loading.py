# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What this package takes from ttnn and tt_transformers: found by name, configured per model, loaded.

tt_transformers knows a model by the environment variables HF_MODEL and TT_CACHE_PATH, and its weight cache does not
name the model; both are set for one model at a time and put back as they were. Importing this file needs neither ttnn
nor a checkout.
"""

import hashlib
import importlib
import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

from loguru import logger

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.trimmed_head import TrimmedHead
from models.tt_transformers.demo.speculative_decoding.tt.attention import RowWrites, row_safe_attention
from models.tt_transformers.demo.speculative_decoding.tt.memory import BLOCK_SIZE, CacheLayout

_TT = "models.tt_transformers.tt"
_REMEDY = "this is written for tt-metal of 2026-06-22 (ttnn 0.73.1) and newer trees that keep its interface"
_TTNN = """slice argmax where reshape pad transpose concat copy from_torch from_buffer to_torch to_device
copy_host_to_device_tensor get_device_tensors ReplicateTensorToMesh get_memory_view BufferType.DRAM BufferType.TRACE
begin_trace_capture end_trace_capture execute_trace release_trace synchronize_device bfloat8_b int32 uint32"""
# Module -> attribute path -> the parameters that are passed by name.
_EXPECTED: dict[str, dict[str, tuple[str, ...]]] = {
    "ttnn": dict.fromkeys(_TTNN.split(), ()),
    f"{_TT}.common": {
        "PagedAttentionConfig": ("block_size", "max_num_blocks"),
        "get_padded_prefill_len": (),
        "create_tt_model": ("paged_attention_config",),
        "rope_scaling_model_factory": (),
    },
    f"{_TT}.rope": {"RotarySetup.get_rot_mats": (), "RotarySetup.get_both_trans_mats": ()},
    f"{_TT}.model_config": {
        "ModelArgs": ("instruct", "max_batch_size", "optimizations", "max_seq_len"),
        **dict.fromkeys(("ModelArgs.load_state_dict", "ModelArgs.weight_cache_path", "TensorGroup.KV_CACHE"), ()),
        **dict.fromkeys(("ModelArgs.get_state_dict_prefix", "DecodersPrecision.performance"), ()),
        "DecodersPrecision.accuracy": (),
    },
    f"{_TT}.attention": {"Attention.forward_decode": ()},
    f"{_TT}.model": {
        "Transformer": ("paged_attention_config", "attention_class"),
        "Transformer.ttnn_decode_forward": (),
        "Transformer.prepare_inputs_prefill": ("page_table",),
        "Transformer.ttnn_prefill_forward": ("rot_mats_global", "page_table", "kv_cache", "get_last_token"),
        "Transformer.process_logits_after_prefill_trace": ("last_token_idx",),
    },
    f"{_TT}.generator": {
        "Generator.decode_forward": ("page_table", "kv_cache", "enable_trace", "read_from_device"),
        "Generator.prefill_forward_text": (
            *("page_table", "kv_cache", "prompt_lens", "empty_slots", "enable_trace", "warmup_prefill"),
        ),
    },
}


Upstream: TypeAlias = SimpleNamespace  # `ttnn`, and by their own names what this package uses of tt_transformers


def load_upstream() -> Upstream:
    """Import ttnn and tt_transformers; ModelUnavailable names what is not there, or lacks something expected."""
    found: dict[str, Any] = {}
    for module, paths in _EXPECTED.items():
        try:
            holder = importlib.import_module(module)
        except ImportError as error:
            checkout = "put a tt-metal checkout on PYTHONPATH and install its requirements"
            remedy = "pip install ttnn" if module == "ttnn" else checkout
            raise ModelUnavailable(f"{module} cannot be imported ({error}); {remedy}") from error
        for path, parameters in paths.items():
            try:
                wanted = attrgetter(path)(holder)
            except AttributeError:
                raise ModelUnavailable(f"{module} has no {path}; {_REMEDY}") from None
            for name in parameters:
                if name not in inspect.signature(wanted).parameters:
                    raise ModelUnavailable(f"{module}.{path} takes no argument {name}; {_REMEDY}")
            name = path.split(".")[0]
            found[name] = getattr(holder, name)
    upstream = Upstream(ttnn=importlib.import_module("ttnn"), **found)
    decode_words(upstream, reload=True)
    return upstream


def decode_words(upstream: Upstream, *, reload: bool, sampled: bool = False, prepare: bool = False) -> dict[str, Any]:
    """What this tree's Generator.decode_forward must be told of what lies on the device already; ModelUnavailable if it
    takes neither reset_batch (June and September 2026) nor explicit commands (tt-metal pull request 51646).

    Args:
        reload: the host's tokens and positions count, not what the last decode left there. sampled: on the device.
        prepare: allocate what a trace will read, before any is captured, where the tree can (September 2026 on).
    """
    known = inspect.signature(upstream.Generator.decode_forward).parameters
    if "reload_inputs" in known:
        new = reload and sampled
        words = {"reload_inputs": reload, "reload_page_table": False}
        words |= {"reload_sampling_params": new, "reset_sampling_state": new}
    elif "reset_batch" in known:
        words = {"reset_batch": reload}
    else:
        raise ModelUnavailable(f"Generator.decode_forward takes neither reset_batch nor reload_inputs; {_REMEDY}")
    return {**words, "prepare_trace": True} if prepare and "prepare_trace" in known else words


def model_cache_path(model_id: str) -> str:
    """A weight-cache directory of the model's own, under TT_CACHE_PATH or upstream's default model_cache/.

    tt-metal's CI names HF_MODEL in TT_CACHE_PATH already; then the other model's directory is beside that one.
    """
    local = Path(model_id).expanduser()
    name = str(local.resolve()) if local.exists() else model_id
    root = (os.environ.get("TT_CACHE_PATH") or "model_cache").rstrip("/")
    root = root.removesuffix("/" + os.environ.get("HF_MODEL", "").strip("/"))
    return str(Path(root, name.strip("/")))


@contextmanager
def model_environment(model_id: str) -> Iterator[None]:
    """HF_MODEL and TT_CACHE_PATH as ModelArgs must find them for this model; afterwards both are as they were."""
    wanted = {"HF_MODEL": model_id, "TT_CACHE_PATH": model_cache_path(model_id)}
    found = {name: os.environ[name] for name in wanted if name in os.environ}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in wanted:
            os.environ.pop(name, None)
        os.environ.update(found)


def check_environment(*model_ids: str) -> None:
    """BadInput if HF_MODEL names another model than those that are to run: the user may expect that one. Compared by
    last path component, as tt-metal itself does when it looks up trace regions and tensor caches."""
    found = os.environ.get("HF_MODEL")
    if found and Path(found).name not in [Path(model_id).name for model_id in model_ids]:
        asked = " and ".join(model_ids)
        raise BadInput(f"HF_MODEL is {found}, but {asked} were asked for; unset HF_MODEL or set it to the first")


def model_options(upstream: Upstream, *, batch: int, max_seq_len: int, optimizations: str) -> dict[str, Any]:
    """What upstream's ModelArgs and create_tt_model are told of a model; see read_model_args."""
    precision = getattr(upstream.DecodersPrecision, optimizations)
    return {
        "instruct": True,
        "max_batch_size": batch,
        "optimizations": lambda model_args: precision(model_args.n_layers, model_args.model_name),
        "max_seq_len": upstream.get_padded_prefill_len(max_seq_len),
    }


def read_model_args(
    upstream: Upstream, mesh_device: Any, model_id: str, *, batch: int, max_seq_len: int, optimizations: str
) -> Any:
    """Upstream's ModelArgs for one model: its config and tokenizer are read, no weights. BadInput if the model cannot
    use this mesh or this length, ModelUnavailable if it cannot be found.

    Args:
        batch: rows of the compiled decode, one of 1, 2, 4, 8, 16, 32. optimizations: "performance" or "accuracy".
        max_seq_len: tokens of prompt and continuation that one user may hold; a prefill's padding comes on top.
    """
    if optimizations not in ("performance", "accuracy"):
        raise BadInput(f"optimizations {optimizations!r}: give 'performance' or 'accuracy'")
    rows, columns = tuple(mesh_device.shape)
    if rows != 1:
        raise BadInput(f"upstream splits users over the rows of a {rows}x{columns} mesh; open one row: 1x{columns}")
    options = model_options(upstream, batch=batch, max_seq_len=max_seq_len, optimizations=optimizations)
    try:
        with model_environment(model_id):
            args = upstream.ModelArgs(mesh_device, **options)
    except AssertionError as error:  # upstream's own check of heads against devices
        raise BadInput(f"{model_id} cannot run on a mesh of {rows}x{columns} devices: {error}; open fewer") from error
    except OSError as error:  # transformers: no such model, no network, no access
        raise ModelUnavailable(f"{model_id} cannot be read: {error}") from error
    if args.max_context_len and max_seq_len > args.max_context_len:
        raise BadInput(f"max_seq_len {max_seq_len} exceeds the {args.max_context_len} positions that {model_id} knows")
    return args


@dataclass
class LoadedModel:
    """One model on the mesh: upstream's Transformer with its paged cache, and how its attention layers write."""

    upstream: Upstream
    mesh_device: Any
    args: Any
    transformer: Any
    kv_cache: list[list[Any]]  # per layer: keys and values, [num_blocks, kv heads, 32, head_dim]
    writes: RowWrites
    cache: CacheLayout
    head: TrimmedHead | None = None
    captured: bool = False  # a trace of it exists, so nothing may be allocated or compiled for it any more

    def check_ids(self, ids: Sequence[int]) -> None:
        """ModelFailure where one is not of its output layer."""
        if any(not 0 <= token < self.args.vocab_size for token in ids):
            raise ModelFailure(f"{self.args.model_name} returned ids {list(ids)}: outputs are {self.args.vocab_size}")


def load_model(
    upstream: Upstream, mesh_device: Any, args: Any, cache: CacheLayout, *, head: TrimmedHead | None = None
) -> LoadedModel:
    """Load the weights of a model that read_model_args described, with a row-safe Attention and a cache of this layout.

    Args:
        head: compute only these output ids, whole tiles of them; args describe the trimmed model afterwards.
    """
    logger.info(f"Loading {args.model_name}")
    writes, dtype = RowWrites(upstream.ttnn.experimental), upstream.ttnn.bfloat8_b
    weights = args.load_state_dict()
    # As upstream's create_tt_model, which passes no attention_class.
    transformer = upstream.Transformer(
        args=args,
        mesh_device=mesh_device,
        dtype=dtype,
        state_dict=weights if head is None else trim_output_layer(args, weights, head),
        weight_cache_path=args.weight_cache_path(dtype),
        paged_attention_config=upstream.PagedAttentionConfig(block_size=BLOCK_SIZE, max_num_blocks=cache.num_blocks),
        attention_class=row_safe_attention(upstream.Attention, writes),
    )
    kv_cache = [layer.attention.layer_past for layer in transformer.layers]
    return LoadedModel(upstream, mesh_device, args, transformer, kv_cache, writes, cache, head)


def trim_output_layer(args: Any, state_dict: dict[str, Any], head: TrimmedHead) -> dict[str, Any]:
    """Make `args` describe a model whose output layer has the rows of `head` only; returns its weights.

    Upstream sizes all that follows the last norm by args.vocab_size, and the embedding by its own weight. Its cache of
    converted weights knows an output layer by its size alone, so each choice of ids gets a directory of its own.
    """
    name = args.get_state_dict_prefix("", None) + "output.weight"
    digest = hashlib.sha256(head.token_ids.numpy().tobytes()).hexdigest()[:16]
    args.model_cache_path = args.model_cache_path / f"head-{len(head)}-{digest}"
    args.vocab_size = args.padded_vocab_size = len(head)
    return {**state_dict, name: state_dict[name][head.token_ids]}

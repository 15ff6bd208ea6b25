# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A model that attends by position, and the proof that it still says what it says without a cache.

The proof takes eight passes of at most forty tokens, once per model in a process: milliseconds to some seconds (8B).
The last few sit at the end of max_seq_len, so that what changes with a text's last position is found. What a model of
somebody's own code does by how MANY tokens it is given or has cached, only beyond forty of them, is not, and nothing is
promised of it. Models of transformers do so in their rotary embeddings, which are refused from the configuration.
"""

import copy
import sys
import textwrap
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelFailure
from models.tt_transformers.demo.speculative_decoding.hf.attention import ATTENTION_NAME
from models.tt_transformers.demo.speculative_decoding.hf.cache import PositionalCache, Segment, segments_of
from models.tt_transformers.demo.speculative_decoding.runner import IDLE

GROWING_ROPE = ("longrope", "dynamic")  # the others are the same at every length, or else the proof finds it
# How far apart rows may lie by rounding, as a share of their largest logit.
ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
SHORTEST, LONGEST = 11, 40  # tokens that the proof's longer text has
CANNOT = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # how a forward fails that cannot do it
MODES = ("training", "gradient_checkpointing")  # the caller's to choose; a view is always evaluated
OWN_ATTENTION = ("eager", "sdpa", "flash_attention", "flex_attention")  # transformers' own, whose masks are the model's
# What was proven of a model -> its configuration and structure then, and whether each user must go through it alone.
_proven: WeakKeyDictionary[PreTrainedModel, tuple[Any, bool]] = WeakKeyDictionary()


class PositionalModel:
    """A view of a causal LM whose attention goes by position. Weights are shared; the model itself is not changed.
    `whole`: each user goes through the model alone, over all that is cached; else all users' rows at once."""

    def __init__(self, model: PreTrainedModel, *, whole: bool = False) -> None:
        held = [tensor for module in model.modules() for tensor in vars(module).values() if isinstance(tensor, Tensor)]
        hooks = [hook for module in model.modules() for hook in _hooks(module)]  # the caller's, whatever they remember
        shared = {id(one): one for one in (*model.parameters(), *model.buffers(), *held, *hooks)}
        try:
            self.model: PreTrainedModel = copy.deepcopy(model, shared).eval()
        except (TypeError, RuntimeError, ValueError, copy.Error) as error:
            kind, what = type(model).__name__, "no view of it can be made: it holds something that cannot be copied"
            raise BadInput(f"{kind} would have to be changed to be used, as {what} ({error}); remove that") from error
        self.attention = model.config._attn_implementation
        self.model.config._attn_implementation = ATTENTION_NAME
        self.whole = whole
        self.places: list[Tensor] = (
            []
        )  # per user where the model is told that its tokens are; []: where they are cached

    @torch.inference_mode()
    def run(
        self, flat: Tensor, segments: list[Segment], cache: PositionalCache, *, last: bool, features: Sequence[int] = ()
    ) -> tuple[Tensor, Tensor | None]:
        """One pass over the tokens int64 [N] of the segments: logits [rows, V], of each segment's last row if `last`,
        else of all; and hidden states [N, F] of the layers `features` (see ModelRunner.prefill), None without."""
        if self.whole and len(segments) > 1:
            alone = [(flat[s.rows], [replace(s, first_row=0)]) for s in segments]
            logits, hidden = zip(*(self.run(*one, cache, last=last, features=features) for one in alone))
            return torch.cat(logits), torch.cat(hidden) if features else None
        cache.begin(segments)
        told = [self.places[s.user][s.start : s.end] if self.places else torch.arange(s.start, s.end) for s in segments]
        output = self.model(
            input_ids=flat[None].to(self.model.device),
            position_ids=torch.cat(told)[None].to(self.model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=torch.tensor([s.rows.stop - 1 for s in segments]) if last else 0,
            positional_cache=cache,
            output_hidden_states=bool(features),
        )
        states, logits = output.hidden_states, output.logits[0]
        if last and len(logits) == len(flat):  # a model that does not know logits_to_keep gives all
            logits = logits[[s.rows.stop - 1 for s in segments]]
        if features and (states is None or len(states) <= max(features)):
            raise BadInput(f"{type(self.model).__name__} has no hidden states of layer {max(features)} to read")
        return logits, torch.cat([states[layer][0] for layer in features], dim=-1) if features else None

    @torch.inference_mode()
    def uncached(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Logits [n, V] of tokens [n] at positions `places` by the model as it is, called as generate() calls it."""
        given = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "position_ids": places}
        self.model.config._attn_implementation = self.attention
        try:
            here = {name: tensor[None].to(self.model.device) for name, tensor in given.items()}
            return self.model(**here, use_cache=False).logits[0]
        finally:
            self.model.config._attn_implementation = ATTENTION_NAME


def by_position(model: PreTrainedModel, max_seq_len: int, *, prove: bool = True) -> PositionalModel:
    """The model, attending by position; BadInput if it does not know so many positions, or cannot be addressed by them.
    `prove`: compare it with the model's own uncached forward; without, a model that does something of its own with its
    attention or its cache may write another text, and nobody is told."""
    _check_configuration(model, max_seq_len)
    whole = False
    if prove:
        known = getattr(model.config.get_text_config(), "max_position_embeddings", None) or max_seq_len
        length = min(LONGEST, known, max(max_seq_len, SHORTEST))
        mark = max_seq_len, made_of(model)
        if model not in _proven or _proven[model][0] != mark:
            _proven[model] = mark, _prove(model, length, max(0, max_seq_len - length))
        whole = _proven[model][1]
    return PositionalModel(model, whole=whole)


def _of_transformers(function: Any) -> bool:
    """Whether transformers itself wrote it; a wrapper of another's is another's."""
    return str(getattr(function, "__globals__", {}).get("__name__")).startswith("transformers.")


def _hooks(module: nn.Module) -> list[Any]:
    """What callers have put around the module's forward; transformers puts there what collects hidden states."""
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    return [hook for hook in hooks if not _of_transformers(hook)]


def made_of(model: PreTrainedModel) -> list[Any]:
    """What a model is, to be compared: its configuration, modules with their hooks, numbers, words and functions (one
    may stand in a forward's place), and its parameters. Their values may change, and what modules count."""
    marks: list[Any] = [model.config.to_json_string(), model.device]
    for module in model.modules():
        own = [(name, value) for name, value in vars(module).items() if name[0] != "_" and name not in MODES]
        marks += [type(module), [mark for mark in own if type(mark[1]) in (float, str, bool)]]
        marks += [[id(value) for _, value in own if callable(value)], [id(hook) for hook in _hooks(module)]]
    return marks + [(id(value), value.dtype) for value in model.parameters()]


def _check_configuration(model: PreTrainedModel, max_seq_len: int) -> None:
    config, kind = model.config.get_text_config(), type(model).__name__
    limit = getattr(config, "max_position_embeddings", None) or max_seq_len
    if not 2 <= max_seq_len <= limit:
        raise BadInput(f"max_seq_len {max_seq_len} is outside 2..{limit}, the positions that {kind} knows")
    if not model.can_generate() or not isinstance(getattr(config, "vocab_size", None), int):
        raise BadInput(f"{kind} generates no text; give a causal LM (of transformers' ...ForCausalLM)")
    if getattr(model, "_is_stateful", False):
        raise BadInput(f"{kind} carries a state from token to token, which knows no positions; use another model")
    if not getattr(model, "_supports_attention_backend", False):
        raise BadInput(f"{kind} does not use transformers' attention interface, so no cache of it goes by position")
    _check_attention(model, config._attn_implementation or "eager")
    for name in ("rope_parameters", "rope_scaling"):
        settings = getattr(config, name, None) or {}
        for rope in [entry for entry in settings.values() if isinstance(entry, dict)] or [settings]:
            rope_type = rope.get("rope_type") or rope.get("type") or "default"
            original = rope.get("original_max_position_embeddings")
            original = original or getattr(config, "original_max_position_embeddings", None) or limit
            if rope_type in GROWING_ROPE and max_seq_len > original:
                what = f"{kind} has {rope_type} rotary embeddings, which change as a text grows longer"
                raise BadInput(f"{what}; ask for max_seq_len <= {original}")


def _check_attention(model: PreTrainedModel, name: str) -> None:
    """BadInput if the model attends, or makes its masks, by a function of somebody else's: it would not be asked."""
    kind, homes = type(model).__name__, {type(module).__module__ for module in model.modules()}
    if not name.startswith(OWN_ATTENTION):
        raise BadInput(f"{kind} attends by {name!r}, which is none of {', '.join(OWN_ATTENTION)}; choose sdpa")
    functions = [ALL_MASK_ATTENTION_FUNCTIONS.get(name)]
    for space in [vars(sys.modules[home]) for home in homes if home in sys.modules]:
        functions += [value.get(name) for value in space.values() if isinstance(value, AttentionInterface)]
        eager = space.get("eager_attention_forward") if name == "eager" else None
        functions += [eager] if getattr(eager, "__globals__", None) is not space else []
    for function in functions:
        if function is not None and not _of_transformers(function):
            what = getattr(function, "__qualname__", type(function).__name__)
            raise BadInput(f"{kind} attends by {name!r}, for which {what} was registered; take it back, or choose sdpa")


def _prove(model: PreTrainedModel, length: int, late: int) -> bool:
    """Whether each user must go through the model alone; BadInput if its rows are not the same then either."""
    failure: Exception | None = None
    for whole in (False, True):
        view = PositionalModel(model, whole=whole)
        try:
            apart = _rounding(view, length, late)
        except (torch.OutOfMemoryError, BadInput):
            raise
        except ModelFailure as error:
            failure, reason = error, str(error)
        except CANNOT as error:  # not a cache of its kind
            frames = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
            parts = [type(one).__name__ for one in frames if isinstance(one, nn.Module)]
            asks = f"its {parts[-1]} asks more of its cache or its mask than those by position have" if parts else ""
            failure, reason = error, asks or "it does not give a row of logits for every token"
        else:
            if apart <= 1.0:
                return whole
            reason = f"its logits lie {apart:.1f} times as far apart as rounding explains"
    claim = f"{type(model).__name__} does not say with a cache addressed by position what it says without a cache"
    raise BadInput(f"{claim} ({reason}), so its text would not be its own; use another model") from failure


def _rounding(view: PositionalModel, longest: int, late: int) -> float:
    """How far rows with and without the cache lie apart, in units of what rounding explains. `late`: by how much the
    last tokens are moved away from the others."""
    config, kind = view.model.config.get_text_config(), type(view.model).__name__
    if longest < SHORTEST:
        return 0.0  # too short for a draft, too
    one, other = longest - 6, longest // 2 - 2  # tokens of the two prompts
    drawn = torch.Generator().manual_seed(0)
    texts = [torch.randint(config.vocab_size, (n,), generator=drawn) for n in (longest, other + 4)]
    view.places = [torch.arange(len(text)) for text in texts]
    view.places[0][one:] += late
    try:
        expected = [view.uncached(*given) for given in zip(texts, view.places, strict=True)]
    except torch.OutOfMemoryError:
        raise
    except CANNOT as error:
        what = f"{kind} does not run on tokens and their positions alone ({textwrap.shorten(str(error), 200)})"
        raise BadInput(f"{what}; give a causal LM, loaded whole") from error
    if not all(bool(logits.amax(-1).isfinite().all()) for logits in expected):
        return 0.0  # whoever uses it is told where
    cache = PositionalCache(max_seq_len=longest, whole=view.whole)
    cache.reserve(len(texts))
    apart: list[Tensor] = []
    # Each user's first position, how many tokens, and whether they are wrong ones, whose rows do not matter: a ragged
    # prefill, one token each, a wrong draft, its rollback and several tokens, one user alone.
    for positions, counts, wrong in (
        ((0, 0), (one, other), False),
        ((one, other), (1, 1), False),
        ((one + 1, other + 1), (3, 2), True),
        ((one + 1, other + 1), (2, 3), False),
        ((one + 3, IDLE), (3, 0), False),
    ):
        segments = segments_of(positions, counts)
        flat = torch.cat([texts[s.user][s.start : s.end] for s in segments])
        rows, _ = view.run((flat + wrong) % config.vocab_size, segments, cache, last=False)
        if not wrong:
            apart.append(_apart(rows, torch.cat([expected[s.user][s.start : s.end] for s in segments])))
    ends, _ = view.run(torch.cat([text[:3] for text in texts]), segments_of((0, 0), (3, 3)), cache, last=True)
    apart.append(_apart(ends, torch.stack([logits[2] for logits in expected])))
    shares = torch.cat(apart) / ROUNDING[view.model.dtype]
    # In low precision a router or a near tie may turn by rounding: a row in four may lie anywhere.
    return float(shares.max() if view.model.dtype in (torch.float32, torch.float64) else shares.quantile(0.75))


def _apart(rows: Tensor, wanted: Tensor) -> Tensor:
    """How far rows [n, V] lie from those wanted, as a share of these; ids held far below all others do not count."""
    scale = torch.maximum(wanted.amax(-1).abs(), wanted.median(-1).values.abs()).clamp(min=1e-30)
    return (torch.where(rows == wanted, 0.0, rows - wanted).abs().amax(-1) / scale).float()

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A generation_config's logits processors: made by transformers itself, in its order, for each user."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from transformers import GenerationConfig
from transformers.generation.logits_process import LogitsProcessorList
from transformers.generation.utils import GenerationMixin

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.processors import OfTransformers, Processor
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState

# What SamplingParams says instead.
SAMPLING = ("do_sample", "temperature", "top_k", "top_p")
# What comes after it where tokens are sampled; the last two, where they are not, come last all the same.
WARPING = ("top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
LAST = ("watermarking_config", "renormalize_logits")
PROCESSING = (
    "repetition_penalty no_repeat_ngram_size min_new_tokens min_length bad_words_ids sequence_bias suppress_tokens "
    "begin_suppress_tokens forced_bos_token_id forced_eos_token_id encoder_repetition_penalty remove_invalid_values "
    "encoder_no_repeat_ngram_size exponential_decay_length_penalty"
).split() + [*WARPING, *LAST]
# What the text's stop conditions say instead, and ways to decode that no processor can be.
OTHERS = ("max_length", "max_new_tokens", "guidance_scale", "num_beams")


class _Maker(GenerationMixin):
    """Has what transformers looks at of a model to make its processors."""

    def __init__(self, config: Any) -> None:
        self.config = config


class GenerationSettings:
    """The settings of a GenerationConfig as they are when a generation begins (ForUsers); `config`: the model's."""

    def __init__(self, settings: GenerationConfig, config: Any) -> None:
        self.settings, self._config = settings, config.get_text_config()

    @classmethod
    def of(cls, own: GenerationConfig | Mapping[str, Any] | None, config: Any, **given: Any) -> "GenerationSettings":
        """Those of a model's generation_config, or of its file, but for the given ones."""
        named = own.to_dict() if isinstance(own, GenerationConfig) else own or {}
        chosen = {name: value for name, value in {**named, **given}.items() if name in PROCESSING}
        try:
            return cls(GenerationConfig(do_sample=True, **chosen), config)
        except (AttributeError, TypeError, ValueError) as error:
            raise BadInput(f"the generation_config cannot be followed: {error}; mend or drop that setting") from error

    @property
    def named(self) -> dict[str, Any]:
        """Those that are set, by name."""
        found = self.settings.to_dict()
        return {name: found[name] for name in PROCESSING if found.get(name) is not None}

    def for_user(self, sequence: SequenceState, sampling: SamplingParams) -> Iterable[Processor]:
        """What generate() would make for this prompt alone; `warps` those that it has after temperature, top-k, top-p.
        BadInput names the setting that cannot be."""
        top_h = getattr(self.settings, "top_h", None)
        if top_h is not None and not sampling.greedy and (sampling.top_k or sampling.top_p < 1.0):
            raise BadInput("transformers has top_h before top-k and top-p, here it comes after them; drop it or these")
        later = () if sampling.greedy else (*WARPING, *LAST)
        before = self._made(sequence, without=WARPING if sampling.greedy else later)
        others = [name for name in self.settings.to_dict() if name not in later]
        after = self._made(sequence, without=others, do_sample=True) if later else []
        made: list[Processor] = []
        for warps, functions in ((False, before), (True, after)):
            for function in functions:
                made += OfTransformers(function, self._config.vocab_size, warps).for_user(sequence, sampling)
        return made

    def _made(self, sequence: SequenceState, *, without: Iterable[str], do_sample: bool = False) -> list[Any]:
        settings, maker = cast(Any, copy.deepcopy(self.settings)), cast(Any, _Maker(self._config))
        for name in (*without, *SAMPLING, *OTHERS):
            setattr(settings, name, None)
        stop, length = sequence.stop, len(sequence.prompt)
        ends = sorted(stop.stop_token_ids)
        settings.do_sample, settings._eos_token_tensor = do_sample, torch.tensor(ends) if ends else None
        settings.max_length = min(length + stop.max_new_tokens, stop.max_seq_len)
        try:
            return list(
                maker._get_logits_processor(
                    generation_config=settings,
                    input_ids_seq_length=length,
                    encoder_input_ids=torch.tensor([sequence.prompt]),
                    prefix_allowed_tokens_fn=None,
                    logits_processor=LogitsProcessorList(),
                    device="cpu",
                    model_kwargs={},
                )
            )
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error) if ends else f"{error} (and there are no stop tokens)"
            raise BadInput(f"the generation_config cannot be followed: {reason}; mend or drop that setting") from error

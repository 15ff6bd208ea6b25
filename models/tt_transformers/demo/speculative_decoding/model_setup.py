# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""From checked options to a SpeculativeGenerator with its models loaded, and back: everything opened here is closed here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.tt_transformers.demo.speculative_decoding.demo_options import DemoOptions
from models.tt_transformers.demo.speculative_decoding.drafters import Drafter, ModelDrafter, PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.model_pairs import load_model
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tokenizer_check import check_same_tokenizer
from models.tt_transformers.demo.speculative_decoding.torch_runner import TorchModelRunner


@contextmanager
def open_generator(options: DemoOptions) -> Iterator[SpeculativeGenerator]:
    """Load target and drafter, yield the generator, release both whatever happens."""
    model, tokenizer = load_model(options.target, device=options.device, dtype=options.dtype)
    target = TorchModelRunner(model, name=options.target, max_seq_len=options.max_seq_len)
    drafter = _drafter(options, tokenizer)
    try:
        yield SpeculativeGenerator(
            target,
            drafter,
            num_draft_tokens=options.num_draft_tokens,
            sampling=options.sampling,
            tokenizer=tokenizer,
        )
    finally:
        drafter.close()
        target.close()


def _drafter(options: DemoOptions, tokenizer) -> Drafter:
    if options.drafter == "prompt-lookup":
        return PromptLookupDrafter()
    model, draft_tokenizer = load_model(options.draft, device=options.device, dtype=options.dtype)
    check_same_tokenizer(tokenizer, draft_tokenizer, target_name=options.target, draft_name=options.draft)
    return ModelDrafter(TorchModelRunner(model, name=options.draft, max_seq_len=options.max_seq_len))

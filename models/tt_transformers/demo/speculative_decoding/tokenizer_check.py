# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Draft and target must mean the same text by the same ids; otherwise every draft is quietly wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.tt_transformers.demo.speculative_decoding.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "def f(x):\n    return x ** 2  # 1234567890\n",
    "Zürich, naïve, 東京, emoji 🙂, tabs\tand  double  spaces",
)


def check_same_tokenizer(
    target: PreTrainedTokenizerBase, draft: PreTrainedTokenizerBase, *, target_name: str, draft_name: str
) -> None:
    """Compare vocabulary, special ids and a few encodings.

    Raises:
        BadInput: names the first token, special id or text on which the two differ.
    """

    def refuse(what: str) -> None:
        raise BadInput(
            f"{draft_name} cannot draft for {target_name}: {what}; draft and target must share one tokenizer "
            "(the models of one family do), or use --drafter prompt-lookup"
        )

    ours, theirs = _by_id(target), _by_id(draft)
    for token_id in sorted(ours.keys() | theirs.keys()):
        if ours.get(token_id) != theirs.get(token_id):
            refuse(
                f"token id {token_id} is {ours.get(token_id)!r} in the target and {theirs.get(token_id)!r} in the draft"
            )
    for kind in ("bos_token_id", "eos_token_id", "unk_token_id"):
        if getattr(target, kind) != getattr(draft, kind):
            refuse(f"{kind} is {getattr(target, kind)} in the target and {getattr(draft, kind)} in the draft")
    for text in PROBES:
        if target.encode(text) != draft.encode(text):
            refuse(f"they encode {text!r} differently")


def _by_id(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    return {token_id: token for token, token_id in tokenizer.get_vocab().items()}

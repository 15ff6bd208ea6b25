# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What `speculative_demo compare` compares: its options, and the arms that follow from them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from measuring.checks import brief, check_apart, number, numbers, refuse_empty, words
from models.tt_transformers.demo.speculative_decoding.drafters import check_same_tokenizer
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness import arguments as demo_arguments
from models.tt_transformers.demo.speculative_decoding.harness.command import Parser
from models.tt_transformers.demo.speculative_decoding.harness.options import (
    FROM_TEXT,
    RunOptions,
    checked,
    fitted,
    output_file,
)
from models.tt_transformers.demo.speculative_decoding.harness.processing import Processing
from models.tt_transformers.demo.speculative_decoding.harness.prompts import Prompt
from models.tt_transformers.demo.speculative_decoding.hf.loading import load_tokenizer
from models.tt_transformers.demo.speculative_decoding.lookahead import MAX_DRAFT_TOKENS

DEFAULT_KS = "0,1,2,3,4,6,8"
POLICIES = ("adaptive", "auto")
# Options of the demo that compare sets itself, arm by arm, or does not show.
TAKEN = (
    *("num_draft_tokens", "lookahead", "drafter", "batch_size", "exact"),
    *("no_baseline", "show_rounds", "list_pairs", "html", "draft_head_ids", "draft_head_text", "draft_head_size"),
)


@dataclass(frozen=True)
class Entry:
    """One way to decode: a drafter, a K (or a policy that chooses it) and a batch size; options.num_draft_tokens 0 is
    the speculative loop with nothing drafted.
    """

    label: str
    options: RunOptions


@dataclass(frozen=True, kw_only=True)
class LineUp:
    """Who takes part.

    Attributes:
        base: what all entries share: the models that must be there, the largest batch, the widest K.
        peer_ks: K of transformers' own drafts; [] if its decoding is not wanted, or does not apply.
        assistant: the model that drafts for transformers' assisted generation; None: there is none.
    """

    base: RunOptions
    entries: list[Entry]
    batch_sizes: list[int]
    peer_ks: list[int]
    assistant: str | None
    json_file: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that compare adds to the demo's."""
    parser.add_argument(
        "--k", default=DEFAULT_KS, metavar="LIST", help="K, or the policies adaptive and auto (default: %(default)s)"
    )
    parser.add_argument(
        "--drafters",
        metavar="LIST",
        help=f"of {', '.join(demo_arguments.DRAFTERS)} (default: all that the pair has; the demo's own first)",
    )
    parser.add_argument("--batch-sizes", default="1", metavar="LIST", help="users at once (default: 1)")
    parser.add_argument("--categories", metavar="LIST", help="only prompts of these categories (default: all)")
    parser.add_argument(
        "--assistant",
        metavar="ID_OR_PATH",
        help="drafts for transformers' assisted generation (default: the draft model, if the pair has one)",
    )
    parser.add_argument("--no-peers", action="store_true", help="leave out transformers' own generate and its drafts")


def line_up(argv: Sequence[str] | None) -> LineUp:
    """Parse and check; what compare does not know itself is the demo's.

    Raises:
        BadInput: names the option, what it allows and what to do.
    """
    parser = Parser(
        prog="speculative_demo compare",
        allow_abbrev=False,
        description="Runs plain decoding, each chosen drafter at each chosen K, and transformers' own generate, prompt "
        "lookup and assisted generation, interleaved in one process over the same prompts, and writes one JSON.",
        epilog="The other options are the demo's (speculative_demo --help): models, dtype, prompts, --max-new-tokens, "
        "sampling, --repeat (default here: 3) and --json, which is required. Exit status: as the demo's.",
    )
    add_arguments(parser)
    mine, rest = parser.parse_known_args(argv)
    refuse_empty(mine, ("k", "drafters", "batch_sizes", "categories", "assistant"))
    demo = demo_arguments.parser()
    shared = demo.parse_args(["--repeat", "3", *rest])
    for name in TAKEN:
        if getattr(shared, name) != demo.get_default(name):
            raise BadInput(
                f"--{name.replace('_', '-')} is not an option of compare, see `compare --help` for what replaces it"
            )
    path = output_file(shared, "json")
    if path is None:
        raise BadInput("compare needs --json FILE; a report is made of it")
    base = checked(shared)
    check_apart("--json", path, [shared.prompts, base.draft_file])
    base = replace(base, prompts=_of_categories(base.prompts, mine.categories))
    batch_sizes = _batch_sizes(mine.batch_sizes, len(base.prompts))
    drafters = _drafters(mine.drafters, shared, base)
    entries = [
        entry
        for batch_size, drafter in product(batch_sizes, drafters)
        for entry in _entries(shared, drafter, batch_size, mine.k, first=drafter == drafters[0])
    ]
    opened = fitted(_shared(base, [entry.options for entry in entries]), shared.max_seq_len)
    alike: dict[str, Any] = {"prompts": base.prompts, "max_seq_len": opened.max_seq_len}
    peers = base.backend == "torch" and base.sampling.greedy and not mine.no_peers and not base.stop_strings
    peers = peers and base.processing == Processing()
    if peers and mine.assistant is not None and mine.assistant != base.draft:
        _check_assistant(mine.assistant, base.target)
    fixed = [number(word, 1, MAX_DRAFT_TOKENS) for word in words(mine.k)]
    return LineUp(
        base=opened,
        entries=[replace(entry, options=replace(entry.options, **alike)) for entry in entries],
        batch_sizes=batch_sizes,
        assistant=mine.assistant or base.draft,
        peer_ks=list(dict.fromkeys(filter(None, fixed))) if peers else [],
        json_file=path,
    )


def _shared(base: RunOptions, entries: Sequence[RunOptions]) -> RunOptions:
    """What must be opened for all of them.

    Raises:
        BadInput: the backend cannot be shared by several arms, or they want drafts of two kinds.
    """
    if base.backend != "torch":
        raise BadInput(
            "compare runs on --backend torch; on a Tenstorrent device run the demo once per K with --json, and give "
            "report all the files"
        )
    drafting = [options for options in entries if options.drafter not in FROM_TEXT]
    drafts = {(options.draft, options.eagle, options.draft_file) for options in drafting}
    if len(drafts) > 1:
        raise BadInput("the arms want a draft model and a feature draft; compare them in two runs, with --drafters")
    draft, eagle, draft_file = drafts.pop() if drafts else (None, None, None)
    return replace(
        base,
        drafter=drafting[0].drafter if drafting else "suffix",
        draft=draft,
        eagle=eagle,
        draft_file=draft_file,
        batch_size=max(options.batch_size for options in entries),
        num_draft_tokens=max(options.num_draft_tokens for options in entries),
    )


def _batch_sizes(text: str, num_prompts: int) -> list[int]:
    """No more at once than there are prompts: an arm is named after how many it decodes together."""
    sizes = numbers("--batch-sizes", text, 1)
    if sizes[-1] > num_prompts:
        there = "there is 1 prompt" if num_prompts == 1 else f"there are {num_prompts} prompts"
        raise BadInput(f"--batch-sizes {text}: {there}, so {sizes[-1]} cannot run at once; lower it or add prompts")
    return sizes


def _check_assistant(assistant: str, target: str) -> None:
    """It must be there and speak the target's tokens; its tokenizer says so before any model is loaded."""
    tokenizer = load_tokenizer(assistant)
    try:
        check_same_tokenizer(load_tokenizer(target), tokenizer, target_name=target, draft_name=assistant)
    except BadInput as error:
        raise BadInput(f"--assistant: {error}".replace("use --drafter suffix", "drop --assistant")) from error


def _drafters(text: str | None, shared: argparse.Namespace, base: RunOptions) -> list[str]:
    if text is not None:
        chosen = words(text)
    else:
        there = {"model": base.draft, "eagle3": base.eagle, "feature": base.draft_file}
        there["hybrid"] = base.draft or base.eagle or base.draft_file
        chosen = [base.drafter, *(drafter for drafter in there if there[drafter]), *FROM_TEXT]
    for drafter in chosen:
        if drafter not in demo_arguments.DRAFTERS:
            raise BadInput(
                f"--drafters: there is no {brief(drafter)!r}; choose of {', '.join(demo_arguments.DRAFTERS)}"
            )
    return list(dict.fromkeys(chosen))


def _entries(shared: argparse.Namespace, drafter: str, batch_size: int, ks: str, *, first: bool) -> list[Entry]:
    """Those of one drafter; drafting nothing is the same for all drafters, so only the first has K = 0."""
    entries = []
    fixed = {word: number(word, 0, MAX_DRAFT_TOKENS) for word in words(ks)}
    for word, k in fixed.items():
        if k is None and word not in POLICIES:
            known = f"a number from 0 to {MAX_DRAFT_TOKENS} nor {' or '.join(POLICIES)}"
            raise BadInput(f"--k {brief(ks)}: {brief(word)!r} is neither {known}")
    for choice in dict.fromkeys(word if k is None else k for word, k in fixed.items()):
        if choice == 0 and not first:
            continue
        arguments = argparse.Namespace(**vars(shared))
        arguments.drafter, arguments.batch_size = drafter, batch_size
        arguments.lookahead = choice if isinstance(choice, str) else "fixed"
        if drafter in FROM_TEXT:
            arguments.draft = arguments.draft_file = arguments.eagle_layers = None
        arguments.num_draft_tokens = choice if isinstance(choice, int) and choice else None
        options = checked(arguments)
        if choice == 0:
            options = replace(options, num_draft_tokens=0)
        entries.append(Entry(f"{drafter}, K = {choice}, {batch_size} at once", options))
    return entries


def _of_categories(prompts: Sequence[Prompt], text: str | None) -> Sequence[Prompt]:
    if text is None:
        return prompts
    wanted, there = words(text), {prompt.category for prompt in prompts}
    for category in wanted:
        if category not in there:
            raise BadInput(
                f"--categories: no prompt is of the category {brief(category)!r}; there are {', '.join(sorted(there))}"
            )
    return [prompt for prompt in prompts if prompt.category in wanted]

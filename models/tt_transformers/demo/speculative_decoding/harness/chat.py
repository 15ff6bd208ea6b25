# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""`--chat`: a conversation in the terminal. Each turn goes on from what the caches hold of the turns before."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from models.tt_transformers.demo.speculative_decoding.batch import Batch
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness import terminal
from models.tt_transformers.demo.speculative_decoding.harness.arguments import parser
from models.tt_transformers.demo.speculative_decoding.harness.command import MATCHED, say
from models.tt_transformers.demo.speculative_decoding.harness.opening import open_bench
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions, checked, fitted
from models.tt_transformers.demo.speculative_decoding.harness.prompts import Prompt, rendered
from models.tt_transformers.demo.speculative_decoding.metrics import acceptance_rate
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COMMANDS = "/reset forgets the conversation, /quit or Ctrl-D ends it, Ctrl-C stops an answer"
OF_COMPARISONS = (
    *("prompt", "prompts", "batch_size", "repeat", "exact"),
    *("no_baseline", "json", "html", "show_rounds", "quiet"),
)


class Conversation:
    """What was said, as messages and as the very tokens that the caches have seen."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.reset()

    def reset(self) -> None:
        """Nothing was said."""
        self.messages: list[dict[str, str]] = []
        self.tokens: list[int] = []

    def ask(self, text: str) -> list[int]:
        """The next turn's prompt: the tokens so far as they were emitted, then what the chat template adds to them. If
        it would write the past in another way, all of it anew."""
        whole = rendered([*self.messages, {"role": "user", "content": text}], self.tokenizer)
        said = str(self.tokenizer.decode(self.tokens))
        kept = self.tokens if whole.startswith(said) else []
        return [*kept, *self.tokenizer.encode(whole[len(said) if kept else 0 :], add_special_tokens=False)]

    def answered(self, text: str, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """A turn has ended, with an end-of-sequence token or without."""
        said = str(self.tokenizer.decode(list(answer), skip_special_tokens=True))
        self.messages += [{"role": "user", "content": text}, {"role": "assistant", "content": said}]
        self.tokens = [*prompt, *answer]


def chat(arguments: argparse.Namespace) -> int:
    """Run it until the input ends; returns the exit status."""
    options = chat_options(arguments)
    console = terminal.make_console()
    with open_bench(options, turns=True) as bench:
        generator, conversation = bench.generator(options), Conversation(bench.tokenizer)
        terminal.show_legend(console)
        console.print(COMMANDS)
        while (text := heard(console)) is not None:
            if text == "/reset":
                conversation.reset()
            elif text.startswith("/"):
                console.print(terminal.styled(COMMANDS))
            else:
                turn(generator, conversation, text, options, console)
    return MATCHED


def chat_options(arguments: argparse.Namespace) -> RunOptions:
    """As checked() makes them; BadInput for what belongs to comparisons, and for a target that is not made for it."""
    usual = parser()
    for name in OF_COMPARISONS:
        if getattr(arguments, name) != usual.get_default(name):
            raise BadInput(
                f"--chat runs no comparison, and --{name.replace('_', '-')} belongs to one; drop one of them"
            )
    from models.tt_transformers.demo.speculative_decoding.hf.loading import load_tokenizer

    options = replace(checked(arguments), prompts=[Prompt("Hello")])
    if load_tokenizer(options.target).chat_template is None:
        raise BadInput(
            f"--chat needs a chat template, and {options.target} has none; give an instruct model as --target"
        )
    return fitted(options, arguments.max_seq_len)


def heard(console: Any) -> str | None:
    """The next line that says something; None at the end of the input, or at /quit."""
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            console.print()
            return None
        except KeyboardInterrupt:
            console.print(terminal.styled(f"\n{COMMANDS}"))
            continue
        if text:
            return None if text == "/quit" else text


def turn(
    generator: SpeculativeGenerator, conversation: Conversation, text: str, options: RunOptions, console: Any
) -> None:
    """Stream one answer, which Ctrl-C stops; what is wrong with a question is said, and the conversation stays."""
    prompt = conversation.ask(text)
    limits: dict[str, Any] = {"max_new_tokens": options.max_new_tokens, "stop_strings": options.stop_strings}
    try:
        batch = generator.new_batch([prompt], **limits, reuse=True)
    except BadInput as error:
        say("error", f"{error}, or /reset the conversation")
        return
    words = terminal.StreamedText(
        console, lambda ids: str(conversation.tokenizer.decode(list(ids), skip_special_tokens=True))
    )
    stopped = ""
    try:
        for event in generator.events(batch):
            words(event)
    except KeyboardInterrupt:
        stopped = "stopped; "
    words.finish()
    if answer := batch.sequences[0].emitted:
        conversation.answered(text, prompt, answer)
        console.print(terminal.styled(f"({stopped}{figures(generator, batch)})", "dim"))


def figures(generator: SpeculativeGenerator, batch: Batch) -> str:
    """How fast the answer came, and what it was made of."""
    (result,) = generator.results(batch)
    rate = terminal.figure(result.decode_tps, "{:.1f}")
    share = terminal.figure(acceptance_rate(result.rounds), "{:.2f}")
    cached = f"{batch.kept[0]}/{len(batch.sequences[0].prompt)} cached"  # tokens of the prompt
    return f"{len(result.tokens)} tokens, {rate} tok/s, {share} of {result.drafted} drafts accepted, {cached}"

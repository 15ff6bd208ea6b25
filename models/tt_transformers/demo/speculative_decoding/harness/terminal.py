# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a person sees: streamed text coloured by where each token came from, a table, and a paragraph in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from measuring.reports import document as report_document
from models.tt_transformers.demo.speculative_decoding.speculative_generator import TokenEvent

TABLE_WIDTH = 128
STYLES = {"accepted": "green", "recovered": "bold magenta", "bonus": "bold magenta", "plain": "", "prefill": ""}
MISSING = "-"


def make_console() -> Console:
    """A console wide enough for the table where the output is not a terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=TABLE_WIDTH)


class StreamedText:
    """Prints user 0's tokens as they come, each in the colour of its origin.

    A character of several tokens waits until it is whole.
    """

    def __init__(self, console: Console, decode: Callable[[Sequence[int]], str]) -> None:
        self.console, self.decode = console, decode
        self._tokens: list[int] = []
        self._shown = ""

    def __call__(self, event: TokenEvent) -> None:
        if event.user != 0:
            return
        self._tokens.append(event.token)
        text = self.decode(self._tokens)
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return
        new = text[len(self._shown) :]
        self._shown = text
        if len(self._tokens) > 32:  # keep decoding short: start over at a boundary that is already on the screen
            self._tokens, self._shown = [], ""
        self.console.print(Text(new, style=STYLES[event.origin]), end="", soft_wrap=True)


def legend() -> Text:
    """Which colour says what."""
    return Text.assemble(
        "tokens: ",
        ("drafted and accepted", STYLES["accepted"]),
        ", ",
        ("the target's own after drafts (recovered, bonus)", STYLES["recovered"]),
        ", undrafted",
    )


def round_lines(record: dict[str, Any]) -> list[str]:
    """One line per round of one prompt: what was drafted, accepted, and what the target added."""
    rows = zip(record["drafted_per_round"], record["accepted_per_round"], strict=True)
    return [
        f"  round {index:>3}: drafted {drafted:>2}, accepted {accepted:>2}, "
        + ("plain step" if not drafted else "bonus" if accepted == drafted else "recovered")
        for index, (drafted, accepted) in enumerate(rows, start=1)
    ]


def result_table(record: dict[str, Any]) -> Table:
    """One row per prompt, then the totals; of several users at once a row has the speed of one, the last row of all."""
    several = (record.get("batch_size") or 1) > 1
    rate = "tok/s/user" if several else "tok/s"
    table = Table(title="speculative against plain decoding, same target, same tokens, same run", title_justify="left")
    table.add_column("category", no_wrap=True)
    for heading in (
        "prompt\ntokens",
        "new\ntokens",
        "TTFT ms\nplain",
        "TTFT ms\nspec",
        f"{rate}\nplain",
        f"{rate}\nspec",
        "wall-clock\nspeedup",
        "accept-\nance",
        "tokens/\nround",
        "identical",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in record["prompts"]:
        table.add_row(
            row["category"],
            str(row["prompt_tokens"]),
            str(len(row["tokens"])),
            number(row["baseline_ttft_ms"], 0),
            number(row["ttft_ms"], 0),
            number(row["baseline_decode_tps"], 1),
            number(row["decode_tps"], 1),
            speedup(row["speedup"]),
            number(row["acceptance_rate"], 2),
            number(row["tokens_per_round"], 2),
            identical(row),
        )
    total = record["summary"]
    table.add_section()
    table.add_row(
        "all, tok/s in total" if several else "all",
        str(sum(row["prompt_tokens"] for row in record["prompts"])),
        str(total["new_tokens"]),
        "",
        "",
        number(total["baseline_decode_tps"], 1),
        number(total["decode_tps"], 1),
        speedup(total["speedup"]),
        number(total["acceptance_rate"], 2),
        number(total["tokens_per_round"], 2),
        MISSING if total["identical"] is None else f"{total['identical']}/{total['prompts']}",
        style="bold",
    )
    return table


def report_table(table: report_document.Table, title: str) -> Table:
    """A table of the reports, on the terminal."""
    shown = Table(title=title, title_justify="left")
    for index, header in enumerate(table.headers):
        shown.add_column(Text(header), justify="right" if index else "left")
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown


def number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def speedup(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}x"


def identical(row: dict[str, Any]) -> str:
    if row["identical"] is None:
        return MISSING
    if row["identical"]:
        return "yes"
    return f"no, at {row['first_divergence']} (gap {row['divergence_top2_gap']:.3f})"


def verdict(record: dict[str, Any]) -> str:
    """One paragraph: did speculation pay on this machine, and why."""
    total, split = record["summary"], record["summary"]["time_split"]
    whole = sum(split.values())
    shares = (
        ", ".join(f"{name[:-2]} {100 * seconds / whole:.0f}%" for name, seconds in split.items()) if whole else MISSING
    )
    if total["speedup"] is None:
        opening = "Plain decoding was not run, so whether speculation paid is not measured."
    else:
        paid = "paid" if total["speedup"] > 1.0 else "did not pay"
        opening = (
            f"Speculation {paid} on this machine: {total['decode_s']:.1f} s of decoding instead of "
            f"{total['baseline_decode_s']:.1f} s for the same prompts, {total['speedup']:.2f}x."
        )
    if total["alpha"] is None:
        return f"{opening} Nothing was drafted."
    parts = [
        opening,
        f"The {record['drafter']} drafter's tokens were accepted with probability {total['alpha']:.2f} each (alpha), "
        f"{total['tokens_per_round']:.2f} tokens per round.",
    ]
    if total["predicted_speedup"] is not None:
        parts.append(
            f"A drafted token cost {total['c']:.3f} of a plain target step (c), verifying a draft {total['v']:.2f} "
            f"(v); from these a speedup of {total['predicted_speedup']:.2f}x is predicted."
        )
    parts.append(f"Speculative decoding time went to: {shares}.")
    if len(total["per_source"]) > 1:
        parts.append(
            "Accepted tokens by drafter: " + ", ".join(f"{n} {c}" for n, c in total["per_source"].items()) + "."
        )
    return " ".join(parts)

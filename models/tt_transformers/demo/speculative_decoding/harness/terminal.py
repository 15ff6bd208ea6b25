# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a user sees: streamed text and tables. By rich, or plainly where it is not installed."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from models.tt_transformers.demo.speculative_decoding.batch import TokenEvent
from models.tt_transformers.demo.speculative_decoding.harness.command import one_line, shown
from models.tt_transformers.demo.speculative_decoding.sequences import Decode, TextStream

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 128  # where the output is not a terminal
GUTTER = 2  # between columns
SHORTEST = 8  # of a name that is shortened
STYLES = {"accepted": "green", "recovered": "bold magenta", "bonus": "bold magenta", "plain": "", "prefill": ""}
MISSING = "-"
Row: TypeAlias = dict[str, Any]  # what a table or a sentence is made of: a result, or a part of one


class PlainScreen:
    """As much of rich's Console as is used here, on standard output."""

    def print(self, text: Any = "", *, end: str = "\n", soft_wrap: bool = False) -> None:
        print(text, end=end, flush=True)


def make_console() -> Console | PlainScreen:
    """rich's console, as wide as the tables are made; plain text (said once) without rich."""
    try:
        from rich.console import Console
    except ImportError:
        print("rich is not installed: plain text, without colours", file=sys.stderr)
        return PlainScreen()
    console = Console(highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")
    if not console.is_terminal:
        console.width = screen_width()
    setattr(console, "on_broken_pipe", _raise_again)  # noqa: B010  # rich would end Python with status 1
    return console


def screen_width() -> int:
    """In columns."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def _raise_again() -> NoReturn:
    raise  # noqa: PLE0704  # inside rich's handler of BrokenPipeError


def cells(text: str) -> int:
    """How many columns of a terminal the text takes: a wide character two, a combining one none."""
    try:
        from rich.cells import cell_len
    except ImportError:
        return sum((not unicodedata.combining(c)) * (1 + (unicodedata.east_asian_width(c) in "WF")) for c in text)
    return cell_len(text)


def shortened(text: str, width: int) -> str:
    """The text, or as much of it as leaves room for an ellipsis."""
    fitting = bisect_left(list(accumulate(map(cells, text))), width)
    return text if cells(text) <= width else f"{text[:fitting]}…"


def styled(text: str, style: str = "", *, tabs: bool = False) -> Any:
    """Text that neither markup nor control characters in it can make act; its tabs stay tabs if `tabs` says so."""
    text = shown(text)
    try:
        from rich.segment import Segment, Segments
        from rich.style import Style
        from rich.text import Text
    except ImportError:
        return text
    return Segments([Segment(text, Style.parse(style))]) if tabs else Text(text, style=style)


class StreamedText:
    """Prints user 0's tokens as they come, each in the colour of its origin."""

    def __init__(self, console: Any, decode: Decode) -> None:
        self.console, self._decode, self._stream = console, decode, TextStream(decode)

    def __call__(self, event: TokenEvent) -> None:
        if event.user == 0 and (text := self._stream.add(event.token)):
            self.console.print(styled(text, STYLES[event.origin], tabs=True), end="", soft_wrap=True)

    def finish(self) -> None:
        """The text has ended: show what was held back; another may begin."""
        self.console.print(styled(f"{self._stream.rest()}\n", tabs=True), end="", soft_wrap=True)
        self._stream = TextStream(self._decode)


def show_legend(console: Any) -> None:
    """Which colour says what."""
    console.print("tokens: ", end="")
    console.print(styled("drafted and accepted", STYLES["accepted"]), end=", ")
    console.print(styled("the target's own after drafts (recovered, bonus)", STYLES["recovered"]), end=", undrafted\n")


@dataclass(frozen=True)
class Column:
    """A column of a table: which of a row's values it shows, and how."""

    heading: str
    key: str
    form: str = "{}"
    rank: int = 0  # where not all columns fit, those of the highest rank are left out first, of rank 0 never

    def cell(self, row: Row) -> str:
        """Empty where the row has no such value."""
        return one_line(figure(row[self.key], self.form)) if self.key in row else ""


def screen_table(title: str, columns: Sequence[Column], rows: Sequence[Row], total: Row | None = None) -> str:
    """A table that leaves out whole columns, never digits, where the screen is narrow; the first column, names, is
    shortened if that is not enough."""
    tall = max(column.heading.count("\n") for column in columns) + 1
    headings = [([""] * tall + column.heading.split("\n"))[-tall:] for column in columns]
    values = [*rows, total] if total else rows
    texts = [[*heading, *map(column.cell, values)] for heading, column in zip(headings, columns)]
    widths, screen = [max(map(cells, text)) for text in texts], screen_width()
    for rank in sorted({column.rank for column in columns}, reverse=True):
        kept = [i for i, column in enumerate(columns) if column.rank <= rank]
        size = sum(widths[i] + GUTTER for i in kept) - GUTTER
        if size <= screen:
            break
    else:
        size -= widths[0]
        widths[0] = min(widths[0], max(SHORTEST, screen - size))
        size, texts[0] = size + widths[0], [shortened(text, widths[0]) for text in texts[0]]
    spaces = [[" " * (widths[i] - cells(text)) for text in texts[i]] for i in range(len(texts))]
    padded = [[space + text if i else text + space for text, space in zip(texts[i], spaces[i])] for i in kept]
    lines = [(" " * GUTTER).join(line).rstrip() for line in zip(*padded)]
    lines.insert(tall, "-" * size)
    if total:
        lines.insert(-1, "-" * size)
    return "\n".join([title, *lines])


def round_lines(record: Row) -> list[str]:
    """One line per round of one prompt: what was drafted, accepted, and what the target added."""
    rows = zip(record["drafted_per_round"], record["accepted_per_round"], strict=True)
    return [
        f"  round {index:>3}: drafted {drafted:>2}, accepted {accepted:>2}, "
        + ("plain step" if not drafted else "bonus" if accepted == drafted else "recovered")
        for index, (drafted, accepted) in enumerate(rows, start=1)
    ]


def result_table(record: Row) -> str:
    """One row per prompt, then the totals; of several users at once the speed of one, and in the last row of all."""
    several, total = (record.get("batch_size") or 1) > 1, record["summary"]
    rate, per_user = ("1 user\n{}", "_per_user") if several else ("tok/s\n{}", "")
    columns = [
        Column("category", "category"),
        Column("prompt\ntokens", "prompt_tokens", rank=4),
        Column("new\ntokens", "new_tokens", rank=3),
        Column("TTFT ms\nplain", "baseline_ttft_ms", "{:.0f}", rank=2),
        Column("TTFT ms\nspec", "ttft_ms", "{:.0f}", rank=2),
        Column(rate.format("plain"), "plain_rate", "{:.1f}"),
        Column(rate.format("spec"), "rate", "{:.1f}"),
        *([Column("all users\nplain", "plain_of_all", "{:.1f}")] if several else []),
        *([Column("all users\nspec", "of_all", "{:.1f}")] if several else []),
        Column("wall-clock\nspeedup", "speedup", "{:.2f}x"),
        Column("accept-\nance", "acceptance_rate", "{:.2f}", rank=int(several)),
        Column("tokens/\nround", "tokens_per_round", "{:.2f}", rank=int(several)),
        Column("identical", "same"),
        Column("loops", "around", rank=1),
    ]
    rows = [
        {
            **row,
            **{"rate": row["decode_tps"], "plain_rate": row["baseline_decode_tps"]},
            **{"around": "yes" if row["loops"] else "", "new_tokens": len(row["tokens"]), "same": _same(row)},
        }
        for row in record["prompts"]
    ]
    rates = {"rate": total[f"decode_tps{per_user}"], "plain_rate": total[f"baseline_decode_tps{per_user}"]}
    rates |= {"of_all": total["decode_tps"], "plain_of_all": total["baseline_decode_tps"]}
    names = {"category": "all", "same": same_of_all(total)}
    totals = {**total, **rates, **names, "prompt_tokens": sum(row["prompt_tokens"] for row in rows)}
    title = (
        f"speculative against plain decoding, same {'tokens, same run, in tok/s' if several else 'target, tokens, run'}"
    )
    return screen_table(title, columns, rows, totals)


def _same(row: Row) -> str | None:
    return {None: None, True: "yes", False: f"no, at {row['first_divergence']}"}[row["identical"]]


def same_of_all(total: Row) -> str | None:
    """How many texts are plain decoding's, of how many; None where there is nothing to compare."""
    return None if total["identical"] is None else f"{total['identical']}/{total['prompts']}"


def rounds_table(record: Row) -> str:
    """Every number of tokens that a round drafted: how many rounds, what they kept, what they cost (medians)."""
    columns = [
        Column("drafted (K)", "k"),
        Column("rounds", "rounds"),
        Column("acceptance", "acceptance_rate", "{:.2f}"),
        Column("tokens/round", "tokens_per_round", "{:.2f}"),
        Column("draft ms", "draft_ms", "{:.1f}"),
        Column("verify ms", "verify_ms", "{:.1f}"),
    ]
    return screen_table("rounds by the number of tokens they drafted", columns, record["summary"]["per_k"])


def figure(value: Any, form: str) -> str:
    """`form` filled with the value; "-" for None."""
    return MISSING if value is None else form.format(value)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a user sees on the terminal: streamed text, tables, the verdict in words. By rich, or plainly where it is not
installed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from models.tt_transformers.demo.speculative_decoding.harness.command import shown
from models.tt_transformers.demo.speculative_decoding.sequences import Decode, TextStream
from models.tt_transformers.demo.speculative_decoding.speculative_generator import TokenEvent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDTH = 128  # where the output is not a terminal
GUTTER = 2  # between columns
STYLES = {"accepted": "green", "recovered": "bold magenta", "bonus": "bold magenta", "plain": "", "prefill": ""}
MISSING = "-"


class PlainScreen:
    """As much of rich's Console as is used here, on standard output."""

    is_terminal = False

    def print(self, *what: Any, end: str = "\n", soft_wrap: bool | None = None) -> None:
        """Text, or a table as wide as the terminal."""
        for one in what or ("",):
            width = shutil.get_terminal_size((WIDTH, 24)).columns
            print("\n".join(one.lines(width)) if isinstance(one, ScreenTable) else one, end=end, flush=True)

    def rule(self, title: Any, **_: Any) -> None:
        """A heading."""
        print(f"--- {title}", flush=True)


def make_console() -> Console | PlainScreen:
    """rich's console, wide enough for tables where the output is no terminal; plain text (said once) without rich."""
    try:
        from rich.console import Console
    except ImportError:
        print("rich is not installed: plain text, without colours", file=sys.stderr)
        return PlainScreen()
    plain: dict[str, Any] = {"highlight": False, "color_system": None if os.environ.get("NO_COLOR") else "auto"}
    console = Console(**plain)
    console = console if console.is_terminal else Console(**plain, width=WIDTH)
    setattr(console, "on_broken_pipe", _raise_again)  # noqa: B010  # rich would end Python with status 1
    return console


def _raise_again() -> NoReturn:
    raise  # noqa: PLE0704  # inside rich's handler of BrokenPipeError


def styled(text: str, style: str = "") -> Text | str:
    """Text that neither markup nor control characters in it can make act."""
    text = shown(text)
    try:
        from rich.text import Text
    except ImportError:
        return text
    return Text(text, style=style)


def status(console: Any, what: str) -> AbstractContextManager[Any]:
    """A progress line: a spinner on a terminal, a plain line elsewhere."""
    if console.is_terminal:
        return console.status(styled(what))
    console.print(styled(what))
    return nullcontext()


class StreamedText:
    """Prints user 0's tokens as they come, each in the colour of its origin."""

    def __init__(self, console: Any, decode: Decode) -> None:
        self.console, self._stream, self._style = console, TextStream(decode), ""

    def __call__(self, event: TokenEvent) -> None:
        if event.user == 0:
            self._style = STYLES[event.origin]
            self._show(self._stream.add(event.token))

    def finish(self) -> None:
        """The text has ended: show what was held back."""
        self._show(self._stream.rest())
        self.console.print()

    def _show(self, text: str) -> None:
        if text:
            self.console.print(styled(text, self._style), end="", soft_wrap=True)


def show_legend(console: Any) -> None:
    """Which colour says what."""
    console.print(styled("tokens: "), end="")
    console.print(styled("drafted and accepted", STYLES["accepted"]), end=", ")
    console.print(styled("the target's own after drafts (recovered, bonus)", STYLES["recovered"]), end=", undrafted\n")


@dataclass(frozen=True)
class Column:
    """A column of a table. Where not all fit, those of the highest rank are left out first, of rank 0 never."""

    heading: str
    rank: int = 0


@dataclass(frozen=True)
class ScreenTable:
    """A table that leaves out whole columns, never digits, where the screen is narrow. The first column is a name."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    total: Sequence[str] | None = None

    def lines(self, width: int) -> list[str]:
        """Title, headings, a line, rows and the total, on a screen of so many characters."""
        tall = max(column.heading.count("\n") for column in self.columns) + 1
        headings = [([""] * tall + column.heading.split("\n"))[-tall:] for column in self.columns]
        rows = [*self.rows, *([self.total] if self.total is not None else [])]
        cells = [*zip(*headings, strict=True), *([shown(" ".join(cell.split())) for cell in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        kept = list(range(len(widths)))
        while sum(widths[i] + GUTTER for i in kept) - GUTTER > width:
            if (highest := max(self.columns[i].rank for i in kept)) == 0:
                break
            kept = [i for i in kept if self.columns[i].rank < highest]
        lines = [
            (" " * GUTTER).join(row[i].rjust(widths[i]) if i else row[i].ljust(widths[i]) for i in kept).rstrip()
            for row in cells
        ]
        rule = "-" * (sum(widths[i] + GUTTER for i in kept) - GUTTER)
        lines.insert(tall, rule)
        if self.total is not None:
            lines.insert(-1, rule)
        return [self.title, *lines]

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Text | str]:
        *lines, last = self.lines(options.max_width)
        yield styled("\n".join(lines))
        yield styled(last, "bold" if self.total is not None else "")


def round_lines(record: dict[str, Any]) -> list[str]:
    """One line per round of one prompt: what was drafted, accepted, and what the target added."""
    rows = zip(record["drafted_per_round"], record["accepted_per_round"], strict=True)
    return [
        f"  round {index:>3}: drafted {drafted:>2}, accepted {accepted:>2}, "
        + ("plain step" if not drafted else "bonus" if accepted == drafted else "recovered")
        for index, (drafted, accepted) in enumerate(rows, start=1)
    ]


def result_table(record: dict[str, Any]) -> ScreenTable:
    """One row per prompt, then the totals; of several users at once a row has the speed of one, the last row of all."""
    several = (record.get("batch_size") or 1) > 1
    rate = "tok/s/user" if several else "tok/s"
    columns = [
        Column("category"),
        Column("prompt\ntokens", 4),
        Column("new\ntokens", 3),
        Column("TTFT ms\nplain", 2),
        Column("TTFT ms\nspec", 2),
        Column(f"{rate}\nplain"),
        Column(f"{rate}\nspec"),
        Column("wall-clock\nspeedup"),
        Column("accept-\nance"),
        Column("tokens/\nround"),
        Column("identical"),
    ]
    rows = [
        (
            row["category"],
            str(row["prompt_tokens"]),
            str(len(row["tokens"])),
            number(row["baseline_ttft_ms"], 0),
            number(row["ttft_ms"], 0),
            *_speed_cells(row),
            MISSING if row["identical"] is None else "yes" if row["identical"] else f"no, at {row['first_divergence']}",
        )
        for row in record["prompts"]
    ]
    total = record["summary"]
    totals = (
        "all, tok/s in total" if several else "all",
        str(sum(row["prompt_tokens"] for row in record["prompts"])),
        str(total["new_tokens"]),
        *("", ""),
        *_speed_cells(total),
        MISSING if total["identical"] is None else f"{total['identical']}/{total['prompts']}",
    )
    return ScreenTable("speculative against plain decoding, same target, same tokens, same run", columns, rows, totals)


def rounds_table(record: dict[str, Any]) -> ScreenTable:
    """Every number of tokens that a round drafted: how many rounds, what they kept, what they cost (medians)."""
    headings = ("drafted (K)", "rounds", "acceptance", "tokens/round", "draft ms", "verify ms")
    rows = [
        (
            str(of_k["k"]),
            str(of_k["rounds"]),
            MISSING if not of_k["k"] else number(of_k["acceptance_rate"], 2),
            number(of_k["tokens_per_round"], 2),
            number(of_k["draft_ms"], 1),
            number(of_k["verify_ms"], 1),
        )
        for of_k in record["summary"]["per_k"]
    ]
    return ScreenTable("rounds by the number of tokens they drafted", [*map(Column, headings)], rows)


def _speed_cells(row: dict[str, Any]) -> list[str]:
    """Of a prompt or of all: tok/s of both arms, speedup, acceptance, tokens per round."""
    rates = [number(row[name], 1) for name in ("baseline_decode_tps", "decode_tps")]
    return [
        *rates,
        speedup(row["speedup"]),
        *(number(row[name], 2) for name in ("acceptance_rate", "tokens_per_round")),
    ]


def number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def speedup(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}x"


def verdict(record: dict[str, Any]) -> str:
    """One paragraph: did speculation pay on this machine, and why."""
    total, split = record["summary"], record["summary"]["time_split"]
    whole = sum(split.values())
    shares = [f"{name[:-2]} {100 * seconds / whole:.0f}%" for name, seconds in split.items()] if whole else [MISSING]
    if total["speedup"] is None:
        opening = "Plain decoding was not run, so whether speculation paid is not measured."
    else:
        paid = "paid" if total["speedup"] > 1.0 else "did not pay"
        opening = (
            f"Speculation {paid} on this machine: {total['decode_s']:.1f} s of decoding instead of "
            f"{total['baseline_decode_s']:.1f} s for the same prompts, {total['speedup']:.2f}x."
        )
    parted = [row for row in record["prompts"] if row["identical"] is False]
    where = [f"{r['category']} at token {r['first_divergence']}, gap {r['divergence_top2_gap']:.3f}" for r in parted]
    if parted:
        opening += f" Texts part where the target's two best logits are near: {'; '.join(where)}."
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
    parts.append(f"Speculative decoding time went to: {', '.join(shares)}.")
    if len(total["per_source"]) > 1:
        by_drafter = [f"{name} {count}" for name, count in total["per_source"].items()]
        parts.append(f"Accepted tokens by drafter: {', '.join(by_drafter)}.")
    return " ".join(parts)

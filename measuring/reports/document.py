# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A report as data (sections of paragraphs, tables and plots), its form in Markdown, and its tables on a terminal.

Texts are plain: whatever a prompt, a model or a category is called, none of it acts as markup.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from models.tt_transformers.demo.speculative_decoding.harness.terminal import (
    GUTTER,
    WIDTH,
    Column,
    screen_table,
    styled,
)

NOT_MEASURED = "not measured"
HEADING_WIDTH = 12  # characters of a line of a heading on a terminal
SHORTEST_NAME, USUAL_NAME = 12, 36  # ... of what is left of a name: however narrow it is, or before columns go
LONG_CELL = 34  # characters; a column with a longer cell is prose
# What Markdown would read inside a line: an underscore within a word, "<" before a blank and the like stay as they are.
ACTING = re.compile(
    r"[\\`*\[\]~#|]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=#?\w+;)|:(?=//)|(?<=www)\.", re.IGNORECASE
)
ACTING_FIRST = re.compile(r"^(\d+(?=[.)](?:\s|$))|(?=[-+=>]))")  # ... and what it would read at the start of a block


@dataclass(frozen=True)
class Table:
    """Cells are finished text; the first column and columns of prose are left-aligned, the others right-aligned."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.headers) for row in self.rows):
            raise ValueError(f"a row of the table {self.headers} has another number of cells")

    @property
    def prose(self) -> list[bool]:
        """Per column: whether its cells may be long, so that they break into lines."""
        return [any(len(row[column]) > LONG_CELL for row in self.rows) for column in range(len(self.headers))]


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]


@dataclass(frozen=True)
class Plot:
    """A plot by its file name without ending."""

    name: str
    title: str


@dataclass(frozen=True)
class Section:
    """Blocks are paragraphs (str), tables, bullets and plots. `level`: 1 is the document's title."""

    title: str
    blocks: Sequence[str | Table | Bullets | Plot]
    level: int = 2


def measured(value: Any, form: str = "{}") -> str:
    """`form` filled with the value, or "not measured"."""
    return NOT_MEASURED if value is None else form.format(value)


def to_markdown(sections: Sequence[Section], plots: Collection[str], folder: str) -> str:
    """GitHub-flavoured Markdown; plots that were drawn (`plots`) are linked in `folder`, others are "not measured"."""
    texts = (("#" * section.level + " " + _block(section.title), body(section, plots, folder)) for section in sections)
    return "\n".join("\n\n".join(filter(None, parts)) + "\n" for parts in texts)


def body(section: Section, plots: Collection[str], folder: str) -> str:
    """The section without its heading."""
    parts = []
    for block in section.blocks:
        if isinstance(block, Table):
            left = [column == 0 or prose for column, prose in enumerate(block.prose)]
            marks = "| " + " | ".join(":--" if aligned else "--:" for aligned in left) + " |"
            parts.append("\n".join([_line(block.headers), marks, *map(_line, block.rows)]))
        elif isinstance(block, Bullets):
            parts.append("\n".join(f"- {_block(item)}" for item in block.items))
        elif isinstance(block, Plot):
            title = _block(block.title)
            parts.append(
                f"![{title}]({folder}/{block.name}.png)" if block.name in plots else f"{title}: {NOT_MEASURED}."
            )
        else:
            parts.append(_block(block))
    return "\n\n".join(filter(None, parts))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_inline, cells)) + " |"


def _inline(text: str) -> str:
    """The text in one line, and literally."""
    return ACTING.sub(r"\\\g<0>", " ".join(text.splitlines()))


def _block(text: str) -> str:
    """The same for a text that starts a block, where more acts."""
    return ACTING_FIRST.sub(r"\1\\", _inline(text.strip()))


def report_table(table: Table, title: str, ranks: Mapping[str, int] = MappingProxyType({})) -> Text | str:
    """The table on a terminal; "-" is not measured. Where it is narrow, the columns of the highest rank (by their
    headers) are left out; what then is too long is the names.
    """
    columns = [Column(_heading(header), header, rank=ranks.get(header, 0)) for header in table.headers]
    rows = [
        {header: None if cell == NOT_MEASURED else cell for header, cell in zip(table.headers, row)}
        for row in table.rows
    ]
    name, *figures = columns
    screen = shutil.get_terminal_size((WIDTH, 24)).columns
    sizes = {
        column: max(map(cell_len, [*column.heading.split("\n"), *map(column.cell, rows)])) + GUTTER
        for column in figures
    }
    beside_all = screen - sum(sizes.values())
    beside_needed = screen - sum(size for column, size in sizes.items() if not column.rank)
    for row in rows:
        row[name.key] = _cut(name.cell(row), max(SHORTEST_NAME, min(beside_needed, max(beside_all, USUAL_NAME))))
    return styled(screen_table(title, columns, rows))


def _heading(text: str) -> str:
    """In short lines; an option's name breaks behind its underscores, and whose it is stands in the title."""
    words = text.removeprefix("transformers: ").replace("_", "_ ")
    return "\n".join(line.replace("_ ", "_") for line in textwrap.wrap(words, HEADING_WIDTH, break_long_words=False))


def _cut(name: str, room: int) -> str:
    return name if cell_len(name) <= room else set_cell_size(name, room - 3) + "..."

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A report as data (sections of paragraphs, tables and plots), and its two forms: Markdown and HTML."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

NOT_MEASURED = "not measured"
LONG_CELL = 34  # characters; a column with a longer cell is prose


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


def to_markdown(sections: Sequence[Section], plots: Sequence[str], folder: str) -> str:
    """GitHub-flavoured Markdown; plots that were drawn (`plots`) are linked in `folder`, others are "not measured"."""
    return "\n".join(_markdown(section, plots, folder) for section in sections)


def _markdown(section: Section, plots: Sequence[str], folder: str) -> str:
    parts = ["#" * section.level + " " + section.title]
    for block in section.blocks:
        if isinstance(block, Table):
            left = [column == 0 or prose for column, prose in enumerate(block.prose)]
            lines = [_line(block.headers), _line([":--" if aligned else "--:" for aligned in left])]
            parts.append("\n".join(lines + [_line(row) for row in block.rows]))
        elif isinstance(block, Bullets):
            parts.append("\n".join(f"- {item}" for item in block.items))
        elif isinstance(block, Plot):
            known = block.name in plots
            parts.append(f"![{block.title}]({folder}/{block.name}.svg)" if known else f"{block.title}: {NOT_MEASURED}.")
        else:
            parts.append(block)
    return "\n\n".join(parts) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def to_html(sections: Sequence[Section], svg: Callable[[str], str | None]) -> str:
    """The body's inner HTML; `svg(name)` gives a plot's own markup, None if it was not drawn."""
    return "\n".join(_html(section, svg) for section in sections)


def _html(section: Section, svg: Callable[[str], str | None]) -> str:
    parts = [f"<h{section.level}>{html.escape(section.title)}</h{section.level}>"]
    for block in section.blocks:
        if isinstance(block, Table):
            head = _cells("th", block.headers, block.prose)
            rows = "".join(f"<tr>{_cells('td', row, block.prose)}</tr>" for row in block.rows)
            parts.append(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>')
        elif isinstance(block, Bullets):
            parts.append("<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in block.items) + "</ul>")
        elif isinstance(block, Plot):
            drawn = svg(block.name)
            picture = f"<p>{html.escape(block.title)}: {NOT_MEASURED}.</p>" if drawn is None else drawn
            parts.append(f'<figure aria-label="{html.escape(block.title)}">{picture}</figure>')
        else:
            parts.append(f"<p>{html.escape(block)}</p>")
    return "<section>" + "\n".join(parts) + "</section>"


def _cells(tag: str, cells: Sequence[str], prose: Sequence[bool]) -> str:
    kinds = [' class="long"' if long else "" for long in prose]
    return "".join(f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))

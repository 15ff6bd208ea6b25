# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Reports of invented results, and reading them."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from support.results import save

from measuring.report import main

PAGES = ("FINAL_RESULTS_SUMMARY.md", "comprehensive_8b_comparison.md", "final_performance_comparison.md")
APPENDIX = "APPENDIX.md"
REPORTS = (*PAGES, APPENDIX)


@contextlib.contextmanager
def empty_pictures() -> Iterator[None]:
    """Plots are made and their files written, but nothing is rendered into them, which takes nine tenths of a report's
    time."""

    def blank(figure: Figure, file: Path | io.StringIO, **_: Any) -> None:
        file.write("<svg></svg>") if isinstance(file, io.StringIO) else file.write_bytes(b"")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", blank)
        yield


def reports_of(folder: Path, *records: dict[str, Any], rendered: bool = False) -> dict[str, str]:
    """The text of every report and of the page, by file name, written into folder/out; with empty_pictures() unless
    they are asked for."""
    files = [str(save(record, folder / f"{number}.json")) for number, record in enumerate(records)]
    with contextlib.nullcontext() if rendered else empty_pictures():
        assert main([*files, "--out", str(folder / "out")]) == 0
    return {name: (folder / "out" / name).read_text("utf-8") for name in (*REPORTS, "report.html")}


def section(text: str, title: str, *, after: str = "") -> str:
    """The first section whose heading holds `title`, from the heading `after` on."""
    text = text[text.index(after) :]
    start = re.search(rf"^#+ .*{re.escape(title)}.*$", text, re.MULTILINE)
    assert start, f"there is no section {title}"
    end = re.compile(r"^#+ ", re.MULTILINE).search(text, start.end())
    return text[start.start() : end.start() if end else len(text)]


class Page(HTMLParser):
    """What a browser makes of a page.

    Attributes:
        tags: names of the elements. words: all text, blanks as one.
        tokens: [class, text] of every token. outside: what would be fetched.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.tokens: list[list[str | None]] = []
        self.outside: list[str | None] = []
        self._open: list[str | None] = []
        self._data: list[str] = []
        self.feed(text)
        self.words = " ".join("".join(self._data).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.add(tag)
        self.outside += [
            value for name, value in attributes.items() if name in ("src", "href") and (value or "")[:1] != "#"
        ]
        self._open.append(attributes.get("class") if tag == "span" and "data-r" in attributes else None)
        if tag == "span" and "data-r" in attributes:
            self.tokens.append([attributes["class"], ""])

    def handle_data(self, data: str) -> None:
        self._data.append(data)
        if self.tokens and self._open and self._open[-1] == self.tokens[-1][0]:
            self.tokens[-1][1] = f"{self.tokens[-1][1]}{data}"

    def handle_endtag(self, tag: str) -> None:
        if self._open:
            self._open.pop()

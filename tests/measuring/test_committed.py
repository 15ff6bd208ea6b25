# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The committed reports: whole, small, and saying the same on the page as in Markdown."""

import re
from pathlib import Path

from support.reports import PAGES, REPORTS, Page

from models.tt_transformers.demo import speculative_decoding

FOLDER = Path(speculative_decoding.__path__[0]) / "reports"
PAGE = Path(__file__).parents[2] / "docs" / "report.html"


def read(name):
    return (FOLDER / name).read_text("utf-8")


def test_every_link_has_its_picture_and_every_picture_its_link():
    links = [link for name in REPORTS for link in re.findall(r"\]\(([^)]*)\)", read(name))]
    assert sorted(links) == sorted(f"plots/{path.name}" for path in (FOLDER / "plots").iterdir())
    assert PAGE.read_text("utf-8").count("<svg") == len(links) >= 5


def test_they_are_small():
    assert PAGE.stat().st_size < 500_000
    assert all(path.stat().st_size < 150_000 for path in (FOLDER / "plots").iterdir())
    assert max(read(name).count("\n") for name in PAGES) <= 70


def test_they_are_of_a_conclusive_run():
    """A quiet machine: each of them begins with a speedup and its interval."""
    for name in PAGES:
        assert re.match(r"# .*\n\n- smollm2: [\d.]+x \([\d.]+ to [\d.]+\) of plain decoding's speed", read(name))


def test_the_page_is_whole_and_says_what_the_reports_say():
    text = PAGE.read_text("utf-8")
    page = Page(text)
    assert page.outside == [] and text.count("<script") == 1
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(re.findall(r' id="([^"]+)"', text))
    cells = {
        cell.strip()
        for name in (PAGES[0], "APPENDIX.md")
        for line in read(name).splitlines()
        if line.startswith("| ")
        for cell in line.strip("| ").split(" | ")
    }
    figures = {cell for cell in cells if re.search(r"\d\.\d", cell)}
    assert len(figures) > 100 and all(figure in page.words for figure in figures)

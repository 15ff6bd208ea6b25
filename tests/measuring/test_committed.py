# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The committed reports: whole, small, and saying the same on the page as in Markdown."""

import re
from pathlib import Path

import pytest
from support.reports import REPORTS, Page

from models.tt_transformers.demo import speculative_decoding

FOLDER = Path(speculative_decoding.__path__[0]) / "reports"
PAGE = Path(__file__).parents[2] / "docs" / "report.html"


@pytest.mark.parametrize("name", REPORTS)
def test_every_link_has_its_picture(name):
    links = re.findall(r"\]\(([^)]*)\)", (FOLDER / name).read_text("utf-8"))
    assert all(link.endswith(".png") and (FOLDER / link).is_file() for link in links)


def test_they_are_small():
    assert PAGE.stat().st_size < 500_000
    assert {path.suffix for path in (FOLDER / "plots").iterdir()} == {".png"}
    assert all(path.stat().st_size < 150_000 for path in (FOLDER / "plots").iterdir())


def test_the_page_is_whole_and_says_what_the_summary_says():
    text = PAGE.read_text("utf-8")
    page = Page(text)
    assert page.outside == [] and "script" not in page.tags and text.count("<svg") == 5
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(re.findall(r' id="([^"]+)"', text))
    cells = {
        cell.strip()
        for line in (FOLDER / REPORTS[0]).read_text("utf-8").splitlines()
        if line.startswith("| ")
        for cell in line.strip("| ").split(" | ")
    }
    figures = {cell for cell in cells if re.search(r"\d\.\d", cell)}
    assert len(figures) > 100 and all(figure in page.words for figure in figures)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Whatever a prompt, a model or a category is called appears literally: in Markdown, on the page, on a terminal."""

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from support.reports import APPENDIX, REPORTS, Page, reports_of
from support.results import compare_result, run

from measuring.estimate import estimate_table
from measuring.reports.document import Bullets, Section, Table, report_table, to_markdown
from measuring.reports.matches import auto_by_category
from measuring.reports.page import page
from measuring.run import Run
from models.tt_transformers.demo.speculative_decoding.harness.terminal import styled

HOSTILE = (
    "<script>alert(1)</script> **bold** | pipe [x](y)",
    "[red]x[/red] ![i](j) <b>b</b> &amp; ~~s~~ `c` __u__",
    "1. $\\frac{$ \\| # a_b_c *i* </td></table> [bold",
)
MARKUP = {"script", "strong", "em", "a", "code", "s", "b", "img"}


def as_github(markdown):
    """Rendered by a reader to whom everything acts, raw HTML too."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)


def hostile_result():
    """Every name that comes from outside is one of HOSTILE."""
    runs = [run(1), run(16, lookahead="auto")]
    for record in runs:
        record.update(pair=HOSTILE[0], target=HOSTILE[1], draft=HOSTILE[2])
        for row, name in zip(record["prompts"], HOSTILE, strict=True):
            row.update(category=name, prompt=f"say {name}", token_texts=[name] * 6, text=name * 6)
    return compare_result(runs)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    return reports_of(tmp_path_factory.mktemp("hostile"), hostile_result(), rendered=True)


@pytest.mark.parametrize("name", REPORTS)
def test_names_are_literal_in_markdown(reports, name):
    seen = Page(as_github(reports[name]))
    assert not seen.tags & (MARKUP - {"img"})
    assert "img" not in seen.tags or seen.outside == re.findall(r"\]\((plots/\w+\.png)\)", reports[name])
    for text in HOSTILE if name in (REPORTS[0], APPENDIX) else HOSTILE[:1]:
        assert text in seen.words
    table = Page(as_github(reports[name]).split("<table>")[-1])  # no name has closed it, or opened another cell
    assert table.tags <= {"thead", "tbody", "tr", "th", "td", "p", "h2", "h3", "ul", "li"}


def test_names_are_literal_on_the_page(reports):
    seen = Page(reports["report.html"])
    assert seen.tags & MARKUP == {"script"} and reports["report.html"].count("<script") == 1  # the player
    assert seen.outside == []
    for text in HOSTILE:
        assert f"say {text}" in seen.words
        assert [token for _, token in seen.tokens].count(text) in (6, 12)  # one of them begins the page
    assert HOSTILE[0] in Page(reports["report.html"].split("<h2>Every answer")[0]).words
    assert html.escape(HOSTILE[2], quote=False) in "".join(SVGS.findall(reports["report.html"]))


def shown(table):
    console = Console(width=400, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_names_are_literal_on_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    runs = [Run(record, {}) for record in hostile_result()["runs"]]
    text = shown(report_table(auto_by_category(runs), HOSTILE[1]))
    for name in HOSTILE:
        assert f"prompt-lookup: {name} " in text
    assert text.startswith(HOSTILE[1]) and text.count("[red]x[/red]") == 2
    estimate = {"draft": HOSTILE[0], "target": HOSTILE[1], "by_k": []}
    assert f"{HOSTILE[0]} drafting for {HOSTILE[1]}, estimated" in shown(styled(estimate_table(estimate)))


FOLDS = ("main", "section", "details", "summary")
SVGS = re.compile(r"<svg.*?</svg>", re.DOTALL)
TEXTS = st.text(alphabet="\\`*_[]()<>{}!&;#~|+-=.:1a bé\"'/$\n", min_size=1, max_size=24).filter(str.strip)


@given(TEXTS)
@example("- a")
@example("12) a")
@example("> a")
@example("<b>a</b> <!-- a")
@example("a &lt; &#49;")
@example("a\n===")
@example("a\\|b\\")
@example("[a]: /b")
@example("__init__.py and snake_case")
def test_any_text_is_literal_wherever_it_stands(text):
    sections = [Section(text, [text, Bullets([text, text]), Table([text, "x"], [[text, "y"]])])]
    markdown = to_markdown(sections, (), "plots")
    said = " ".join(text.split())
    expected = " ".join([said] * 4 + [said, "x", said, "y"])
    on_the_page = page("", sections, [], {}).split("<body>")[1].split("<script>")[0]
    for rendered in (as_github(markdown), on_the_page):
        seen = Page(rendered)
        assert seen.words == expected
        assert seen.tags <= {"h2", "p", "ul", "li", "div", "table", "thead", "tbody", "tr", "th", "td", *FOLDS}


def test_columns_of_figures_and_of_prose_are_aligned_apart():
    table = Table(["name", "figure", "prose"], [["a", "1.00", "b" * 35]])
    sections = [Section("t", [table])]
    assert "| :-- | --: | :-- |" in to_markdown(sections, (), "plots")
    cells = re.findall("<td.*?>", page("", sections, [], {}))
    assert ["right" in cell for cell in cells] == [False, True, False]
    assert ["long" in cell for cell in cells] == [False, False, True]

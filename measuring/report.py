# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""`speculative_demo report`: result JSONs -> three Markdown reports of one page each, an appendix with every table,
plots, and one self-contained HTML page.

Everything in them is measured and comes from the JSONs, except what is marked as published; what nobody ran is "not
measured".
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measuring.checks import check_apart, refuse_empty
from measuring.reports.appendix import appendix
from measuring.reports.document import to_markdown
from measuring.reports.page import page
from measuring.reports.plots import draw_all
from measuring.reports.sections import APPENDIX, detailed_comparison, performance_comparison, summary
from measuring.results import Results, headline, load_results, results_of
from measuring.run import Run
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.command import MATCHED, Parser, command, entry, shown
from models.tt_transformers.demo.speculative_decoding.harness.output import checked_output, write_whole

REPORTS = Path("generated/reports")
SUMMARY = "FINAL_RESULTS_SUMMARY"
REPORTS_OF = {
    SUMMARY: summary,
    "comprehensive_8b_comparison": detailed_comparison,
    "final_performance_comparison": performance_comparison,
    APPENDIX: appendix,
}
PLOTS = "plots"
PAGE = "report.html"
LEADS = ("speedup_by_k", "speedup_by_prompt")
TITLE = "Speculative decoding: measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `report`."""
    parser.add_argument(
        "results",
        nargs="+",
        metavar="JSON",
        help="results of speculative_demo --json or of compare; "
        "where several hold the same arm of a pair, the first one's is shown",
    )
    parser.add_argument(
        "--out",
        default=str(REPORTS),
        metavar="FOLDER",
        help="where the reports and their plots go (default: %(default)s)",
    )
    parser.add_argument("--page", metavar="FILE", help=f"where the HTML page goes (default: {PAGE} beside the reports)")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `report`; returns the exit status (2: bad input)."""
    parser = Parser(prog="speculative_demo report", description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    refuse_empty(arguments, ("out", "page"))
    results, folder = load_results(arguments.results), Path(arguments.out)
    page_file = folder / PAGE if arguments.page is None else Path(arguments.page)
    check_places(folder, page_file, arguments.results)
    for path in write_reports(results, folder, page_file):
        print(f"written: {shown(str(path))}")
    return MATCHED


def check_places(folder: Path, page_file: Path, results: Sequence[str]) -> None:
    """Make the folders; BadInput if something cannot be written, or would be written over what is read or written."""
    try:
        (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot write the reports: {error}; choose another --out") from error
    reports = [folder / f"{name}.md" for name in REPORTS_OF]
    for report in reports:
        check_apart("--out", checked_output("--out", report), results)
    check_apart("--page", checked_output("--page", page_file, make_folders=True), results)
    check_apart("--page", page_file, reports, "is written")
    if os.path.realpath(page_file.parent) == os.path.realpath(folder / PLOTS):
        raise BadInput(f"--page {page_file} would lie among the plots; name another place")


def write_reports(results: Results, folder: Path, page_file: Path) -> list[Path]:
    """Write the reports into `folder` and the page beside them or elsewhere; the folders are there.

    Returns:
        What was written.

    Raises:
        BadInput: one of them cannot be written.
    """
    try:
        svgs = draw_all(_drawn(results), folder / PLOTS)
        for name, make in REPORTS_OF.items():
            write_whole(folder / f"{name}.md", to_markdown(make(results), svgs, PLOTS), "the report")
        write_whole(page_file, page_of(results, svgs), "--page")
    except OSError as error:
        raise BadInput(f"cannot write the reports: {error}; choose another --out or --page") from error
    reports = [folder / f"{name}.md" for name in REPORTS_OF]
    return [*reports, page_file, *(folder / PLOTS / f"{name}.png" for name in svgs)]


def write_page(record: dict[str, Any], path: Path) -> None:
    """The page of one run alone, by its record; BadInput if the file cannot be written."""
    results = results_of(record)
    write_whole(path, page_of(results, draw_all(_drawn(results))), "--html")


def page_of(results: Results, svgs: Mapping[str, str]) -> str:
    """The headline is the first pair's; beside it stands the plot over K or, where one K alone ran, over prompts."""
    made = [run for _, _, run in _drawn(results) if run.made]
    slug = results.slug(results.pairs()[0])
    lead = next((name for plot in LEADS if (name := f"{plot}_{slug}") in svgs), "")
    tables = [*summary(results)[1:], *appendix(results)[1:]]
    return page(TITLE, tables, made, svgs, lead)


def _drawn(results: Results) -> list[tuple[str, list[Run], Run]]:
    return [(results.slug(pair), results.of(pair), headline(results.of(pair))) for pair in results.pairs()]


if __name__ == "__main__":
    sys.exit(entry(main))

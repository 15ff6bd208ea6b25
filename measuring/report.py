# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""`speculative_demo report`: result JSONs -> three Markdown reports, their plots, and one self-contained HTML page.

Everything in them is measured and comes from the JSONs, except what is marked as published; what nobody ran is "not
measured".
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from measuring.report_html import page
from measuring.reports.document import to_markdown
from measuring.reports.plots import draw_all
from measuring.reports.sections import (
    detailed_comparison,
    performance_comparison,
    summary,
)
from measuring.results import Results, headline, load_results, slug
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.terminal import make_console

REPORTS = Path(__file__).parents[1] / "models/tt_transformers/demo/speculative_decoding/reports"
PLOTS = "plots"
PAGE = "report.html"


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
        "--out", default=str(REPORTS), metavar="FOLDER", help="where the reports go (default: %(default)s)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run `report`; returns the exit status (2: bad input)."""
    parser = argparse.ArgumentParser(prog="speculative_demo report", description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    console = make_console()
    try:
        for path in write_reports(load_results(arguments.results), Path(arguments.out)):
            console.print(f"written: {path}")
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write_reports(results: Results, folder: Path) -> list[Path]:
    """Write everything into `folder` (made if missing); returns what was written.

    Raises:
        BadInput: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawable = [(slug(pair), results.of(pair), headline(results.of(pair))) for pair in results.pairs()]
        plots = draw_all(drawable, folder / PLOTS)
        reports = {
            "FINAL_RESULTS_SUMMARY": summary(results),
            "comprehensive_8b_comparison": detailed_comparison(results),
            "final_performance_comparison": performance_comparison(results),
        }
        written = [folder / f"{name}.md" for name in reports]
        for path, sections in zip(written, reports.values(), strict=True):
            path.write_text(to_markdown(sections, plots, PLOTS), encoding="utf-8")
        shown = [headline(results.of(pair)) for pair in results.pairs()]
        title = "Speculative decoding: measured"
        text = page(title, reports["FINAL_RESULTS_SUMMARY"], [run for run in shown if run.made], folder / PLOTS)
        (folder / PAGE).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write the reports into {folder}: {error}; choose another --out") from error
    return [*written, folder / PAGE, *(folder / PLOTS / f"{name}.{kind}" for name in plots for kind in ("png", "svg"))]


if __name__ == "__main__":
    sys.exit(main())

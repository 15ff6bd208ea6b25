# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A plot as a PNG file and as SVG for a page: transparent, with neutral text, so that it reads on light and on dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

NEUTRAL = "#767676"  # at least 4:1 against white and against the usual dark backgrounds
DRAWING: dict[Any, Any] = {
    "text.color": NEUTRAL,
    "axes.edgecolor": NEUTRAL,
    "axes.labelcolor": NEUTRAL,
    "xtick.color": NEUTRAL,
    "ytick.color": NEUTRAL,
    "grid.color": f"{NEUTRAL}55",
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.columnspacing": 1.2,
    "savefig.bbox": "tight",  # a wide legend is not cut off
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a category may hold dollar signs
    "svg.fonttype": "none",  # text stays text: a tenth of the size of its outlines
    "svg.hashsalt": "speculative-decoding",
}
DPI = 110


def draw(plot: Callable[..., Figure | None], png: Path | None, *arguments: object) -> str | None:
    """Write `plot(*arguments)` as a PNG, if it has a place; its SVG for a page, or None if there is nothing to draw."""
    with matplotlib.rc_context(DRAWING), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name may hold any character, the font fewer; or be long
        figure = plot(*arguments)
        if figure is None:
            return None
        FigureCanvasAgg(figure)
        if png is not None:
            figure.savefig(png, dpi=DPI, transparent=True, pil_kwargs={"optimize": True})
        svg = io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return inline_svg(svg.getvalue())


def inline_svg(svg: str) -> str:
    """The SVG as part of a page: its neutral parts take the page's text colour, and what nobody sees is left out."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
    svg = re.sub(r'(<\w[^<>]*?) id="([^"]+)"', lambda tag: tag[0] if tag[2] in used else tag[1], svg)
    svg = re.sub(r'(<\w[^<>]*?) transform="rotate\(-0 [^"]*"', r"\1", svg)
    # Blanks matter only within texts, which matplotlib writes in one line.
    svg = re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", svg))
    return svg.replace(NEUTRAL, "currentColor")

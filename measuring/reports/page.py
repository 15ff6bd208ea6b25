# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page: the headline, its plot, one answer that can be played round by round; then, folded,
every table and every answer. It fetches nothing, and says so to the browser.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from measuring.reports import tables
from measuring.reports.answers import Answer, article, legend, shown_first
from measuring.reports.document import LONG_CELL, NOT_MEASURED, Plot, Section, body
from measuring.run import Run

HERE = Path(__file__).parent
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(title: str, sections: Sequence[Section], runs: Sequence[Run], svgs: Mapping[str, str], lead: str = "") -> str:
    """The whole page.

    Args:
        sections: the tables. Those of level 3 are folded into the section of level 2 before them.
        runs: whose answers are shown token by token, one run per pair; the first is the headline.
        svgs: the plots by name; `lead` is the one beside the headline, and is not shown again.
    """
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "player.js"))
    shown = [_hero(runs[0], svgs.get(lead)), _player(runs), _answers(runs)] if runs else []
    folded = _folded(sections, {name: svg for name, svg in svgs.items() if name != lead})
    hero, player, answers = shown or ("", "", "")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<style>{style}</style></head>\n<body><main>\n{hero}\n{player}\n"
        f'<section class="more" aria-label="Tables">{folded}{answers}</section></main>\n'
        f"<script>{script}</script></body></html>\n"
    )


def _hero(run: Run, plot: str | None) -> str:
    """The headline with its interval, the one without loops, and the noise floor; or why there is none."""
    found, count = run.speedup, len(run.rows)
    if found.value is None:
        reason = run.inconclusive or "the file has no speedup: plain decoding was not run, or a text is another"
        claim = f'<h1 class="none">{found.lacks.capitalize()}</h1><p class="interval">{html.escape(reason)}.</p>'
        facts = []
    else:
        value = str(found).partition("x")[0]
        unit = '<span class="unit">the speed of plain decoding</span>'
        between = NOT_MEASURED if found.low is None else f"{found.range}×"
        prompts = "1 prompt" if count == 1 else f"all {count} prompts"
        claim = (
            f'<h1><span class="figure">{value}×</span> {unit}</h1>'
            f'<p class="interval">95% interval <span class="range">{between}</span>, {prompts}</p>'
        )
        alone, of = run.without_loops, run.get("summary", "without_loops", "prompts")
        looped = f"{of} of {count} prompts" if of else "every text loops"
        said = str(alone).replace("x", "×", 1) if alone.value is not None else alone.lacks
        facts = [("Without looping texts", said, looped)]
    facts += [
        ("Noise floor", tables.noise_floor(run), "of a loop that drafts nothing"),
        ("Equal to plain decoding", tables.identical_cell(run), "texts, token for token"),
    ]
    items = "".join(f"<div><dt>{a}</dt><dd>{html.escape(b)} <small>{c}</small></dd></div>" for a, b, c in facts)
    drawn = f'<figure class="plot" role="img" aria-label="Speedups, with 95% intervals">{plot}</figure>' if plot else ""
    arm = html.escape(f"{run.pair} · {run.label}")
    return (
        f'<header class="hero{"" if plot else " alone"}"><div class="claim">'
        f'<p class="eyebrow">Speculative decoding, measured <span>{arm}</span></p>{claim}</div>'
        f'{drawn}<dl class="facts">{items}</dl></header>'
    )


def _player(runs: Sequence[Run]) -> str:
    """The answer that the page begins with."""
    if (row := shown_first(runs)) is None:
        return ""
    answer = Answer.of(row)
    return (
        '<section class="first"><h2>One answer, by who drafted it</h2>'
        f"{legend([answer])}{article(answer, runs[0], row['category'])}</section>"
    )


def _answers(runs: Sequence[Run]) -> str:
    """Every answer of every run, folded."""
    parts = []
    for run in runs:
        answers = [Answer.of(row) for row in run.rows]
        texts = "\n".join(
            article(answer, run, f"{number}. {answer.row['category']}")
            for number, answer in enumerate(answers, start=1)
        )
        name = html.escape(f"Every answer, token by token: {run.pair}, {run.label}")
        parts.append(f"<details><summary><h2>{name}</h2></summary>{legend(answers)}{texts}</details>")
    return "\n".join(parts)


def _folded(sections: Sequence[Section], svgs: Mapping[str, str]) -> str:
    """A fold per section, those of level 3 inside the one before them."""
    parts, reader, inside = [], _reader(), False
    for section in sections:
        blocks = [block for block in section.blocks if not isinstance(block, Plot) or block.name in svgs]
        text = reader.render(body(Section("", blocks), svgs, "plots"), {"svgs": svgs})
        level = 3 if section.level == 3 and inside else 2
        parts.append("</details>\n" if inside and level == 2 else "")
        heading = f"<summary><h{level}>{html.escape(' '.join(section.title.split()))}</h{level}></summary>"
        parts.append(f"<details>{heading}\n{text}" + ("</details>\n" if level == 3 else ""))
        inside = True
    return "".join(parts) + ("</details>\n" if inside else "")


def _reader() -> MarkdownIt:
    """It reads what to_markdown() writes and no more: no HTML, links, emphasis or code."""
    reader = MarkdownIt("zero", {"html": False}).enable(["heading", "list", "table", "escape", "image"])
    reader.add_render_rule(
        "table_open", lambda *_: '<div class="wide" role="region" aria-label="Table" tabindex="0"><table>\n'
    )
    reader.add_render_rule("table_close", lambda *_: "</table></div>\n")
    reader.add_render_rule("td_open", _cell)
    reader.add_render_rule("image", _plot)
    return reader


def _cell(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """A long cell may break into lines."""
    if len(tokens[index + 1].content) > LONG_CELL:
        tokens[index].attrJoin("class", "long")
    return self.renderToken(tokens, index, options, env)


def _plot(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """The drawing itself in the place of its link, so that the page needs no other file."""
    svg = env["svgs"][PurePosixPath(str(tokens[index].attrs["src"])).stem]
    return f'<span class="plot" role="img" aria-label="{html.escape(tokens[index].content)}">{svg}</span>'

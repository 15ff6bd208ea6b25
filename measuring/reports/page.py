# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page: the summary, the plots, and the text of every prompt with its tokens coloured by where
they came from. No script, nothing fetched.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from measuring.reports.document import LONG_CELL, NOT_MEASURED, measured
from measuring.results import Row, Run

ORIGINS = {  # class -> what it says; colours in STYLE
    "accepted": "drafted and accepted",
    "recovered": "recovered: the target's own after a rejection",
    "bonus": "bonus: the target's own after full acceptance",
    "plain": "nothing was drafted",
    "prefill": "first token, from the prefill",
}
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --line: #d5d9de; --soft: #f3f5f7;
  --accepted: #b7e3cf; --recovered: #ffd2a8; --bonus: #bcdcf5; --prefill: #e6d5ee; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe4ea; --paper: #0d1117; --line: #39414b; --soft: #171d25;
  --accepted: #14523c; --recovered: #7a3f0c; --bonus: #124a73; --prefill: #54305f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 78rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
p { overflow-wrap: anywhere; }
h1 { line-height: 1.2; } h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); } h3 { margin-top: 1.6rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; font-size: .92rem; }
th, td { padding: .28rem .7rem; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
td { white-space: nowrap; } td.long { white-space: normal; min-width: 16rem; }
th { vertical-align: bottom; background: var(--soft); }
.plot { display: block; overflow-x: auto; } .plot svg { max-width: 100%; height: auto; color: var(--ink); }
article { border: 1px solid var(--line); border-radius: .5rem; padding: .2rem 1rem .8rem; margin: 1rem 0; }
details { margin: .3rem 0; } summary { cursor: pointer; } .prompt { white-space: pre-wrap; opacity: .8; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.85; }
.text span, .legend span { border-radius: .2rem; padding: .1rem 0; box-shadow: inset 0 0 0 .5px #8884; }
.legend span { padding: .1rem .5rem; margin-right: .6rem; display: inline-block; }
.accepted { background: var(--accepted); } .recovered { background: var(--recovered); text-decoration: underline; }
.bonus { background: var(--bonus); text-decoration: underline dotted; } .prefill { background: var(--prefill); }
"""


def page(title: str, markdown: str, runs: Sequence[Run], svgs: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        markdown: the report; the plots that it links are replaced by those of the same name in `svgs`.
        runs: whose prompts are shown token by token, one run per pair.
    """
    body = _reader().render(markdown, {"svgs": svgs})
    texts = "\n".join(_prompts(run) for run in runs)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n{texts}\n</body></html>\n"
    )


def _reader() -> MarkdownIt:
    """It reads what to_markdown() writes and no more: no HTML, links, emphasis or code."""
    reader = MarkdownIt("zero", {"html": False}).enable(["heading", "list", "table", "escape", "image"])
    reader.add_render_rule("table_open", lambda *_: '<div class="wide"><table>\n')
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


def _prompts(run: Run) -> str:
    legend = "".join(f'<span class="{name}">{meaning}</span>' for name, meaning in ORIGINS.items())
    heading = f"<h2>Every prompt, token by token: {html.escape(run.pair)}, {html.escape(run.label)}</h2>"
    articles = "\n".join(_prompt(number, row) for number, row in enumerate(run.rows, start=1))
    return f'<section>{heading}<p class="legend">{legend}</p>\n{articles}</section>'


def _equality(row: Row) -> str:
    """Where a text parts from plain decoding's, by how much the target's best next token won there."""
    if row.get("identical") is None:
        return f"equality {NOT_MEASURED}"
    if row["identical"]:
        return "equal to plain decoding"
    place = measured(row.get("first_divergence"), "from token {} on")
    gap = measured(row.get("divergence_top2_gap"), "{:.3f}")
    return f"NOT equal to plain decoding ({place}; the target's two best logits there are {gap} apart)"


def _prompt(number: int, row: Row) -> str:
    facts = ", ".join(
        (
            f"{measured(row.get('speedup'), '{:.2f}x')} speedup",
            f"{measured(row.get('acceptance_rate'), '{:.0%}')} accepted",
            f"{measured(row.get('tokens_per_round'), '{:.2f}')} tokens per round",
            _equality(row),
        )
    )
    return (
        f"<article><h3>{number}. {html.escape(row['category'])}</h3><p>{facts}</p>"
        f'<details><summary>the prompt</summary><p class="prompt">{html.escape(row["prompt"])}</p></details>'
        f'<p class="text">{_coloured(row)}</p></article>'
    )


def _coloured(row: Row) -> str:
    """The text, a span per token; without the tokens' texts in the JSON, the text alone and a word about it."""
    texts, origins = row.get("token_texts"), row.get("origins") or []
    if not texts or len(texts) != len(origins):
        return f"{html.escape(row.get('text') or '')} <em>(where each token came from: {NOT_MEASURED})</em>"
    sources = row.get("sources") or []
    sources = sources if len(sources) == len(texts) else [""] * len(texts)
    return "".join(
        f'<span class="{origin}" title="{html.escape(f"{origin} {source}".strip())}">{html.escape(text)}</span>'
        for text, origin, source in zip(texts, map(html.escape, origins), sources, strict=True)
    )

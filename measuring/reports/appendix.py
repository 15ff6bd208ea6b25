# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The appendix: every long table, pair by pair; then what is projected, what was checked, and the package."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

from measuring.published_speeds import SOURCE
from measuring.reports import advice, arms, matches, prompt_tables, tables
from measuring.reports.document import NOT_MEASURED, Bullets, Plot, Section, Table, measured
from measuring.reports.sections import DOCUMENTED_PAIRS, how_measured, how_to_measure, measured_first
from measuring.results import Results, headline
from measuring.run import NOT_MADE, Run
from models.tt_transformers.demo import speculative_decoding

FOLDERS = ("", "hf", "tt", "harness")  # of the package; the algorithm lies on top


def appendix(results: Results) -> list[Section]:
    """APPENDIX.md"""
    sections = [Section("Speculative decoding: every table", [how_measured(results)], level=1)]
    for pair in measured_first(results, DOCUMENTED_PAIRS):
        run = headline(results.of(pair))
        if run.made:
            sections += _of_pair(results, pair, run)
        else:
            sections.append(Section(f"{pair}: {NOT_MEASURED}", [how_to_measure(pair)]))
    projected = f"Projected by the formula, not measured, from published speeds: {SOURCE}."
    heat_map = Plot("llama_published", "Projected speedup at published decode speeds")
    return [
        *sections,
        Section("Projected, not measured: the Llama pairs", [projected, advice.published_table(), heat_map]),
        Section("What was checked", [_checks(results)]),
        Section("The package", [_package()]),
    ]


def _of_pair(results: Results, pair: str, run: Run) -> list[Section]:
    runs, name = results.of(pair), results.slug(pair)
    drafting = [one for one in runs if one.get("summary", "drafted")] or [run]
    beside, peers = results.beside_peers(pair), results.peers_of(pair)
    of_arm = "The tables below are of this arm: what the demo does by itself, or the nearest to it; not the fastest."
    plots = [
        Plot(f"speedup_by_prompt_{name}", "Speedup by prompt"),
        Plot(f"acceptance_by_position_{name}", "Acceptance by position"),
        Plot(f"time_per_round_{name}", "Time split per round"),
    ]
    doubts = Bullets([f"{one.label}: inconclusive: {one.inconclusive}." for one in runs if one.inconclusive])
    whole = Section(f"{pair}: {run.label}", [of_arm, doubts])
    parts: dict[str, list[str | Table | Plot]] = {
        "Test configuration": [tables.configuration(run)],
        "Every arm": [arms.by_arm(runs)],
        "Predicted against measured": [arms.prediction(drafting), arms.round_model(drafting)],
        "auto against the best fixed K": [matches.auto_by_category(runs)],
        "When to speculate": [advice.by_use(runs)],
        "Plots": [*plots],
        "Per prompt: speculative decoding": [prompt_tables.speculative_by_prompt(run)],
        "Per prompt: plain decoding of the target": [prompt_tables.plain_by_prompt(run)],
        "Per prompt: time to first token": [prompt_tables.ttft_by_prompt(run)],
        "Token/sec/user by prompt": [prompt_tables.rates_by_prompt(run)],
        "Per-prompt performance: best, good, average, baseline": [prompt_tables.best_to_worst(run)],
        "Consistency": [prompt_tables.consistency(run), prompt_tables.distribution(run)],
        "Draft quality: acceptance by position; by K": [arms.positions([run]), tables.by_k(run)],
        "Where the time goes": [arms.time_split(drafting), tables.totals(run)],
        "Cold start against warm": [tables.cold_and_warm(run)],
        "Trade-offs: init time, memory, first token": [tables.trade_offs(run), advice.break_even_length(run)],
        "transformers' own decoding, same run": [
            matches.peers_table(beside, peers),
            matches.fastest_by_category(beside, peers),
        ],
        "Break-even, by the formula": [advice.break_even_table(runs)],
    }
    better = Section("Where work would pay, projected by the formula", [advice.opportunities(run)], level=3)
    return [whole, *(Section(title, blocks, level=3) for title, blocks in parts.items()), better]


def _checks(results: Results) -> Table:
    """What a speculative decoder has to do, and the measurement that says whether it did."""
    columns = [headline(results.of(pair)) for pair in results.pairs()] or [NOT_MADE]

    def row(name: str, evidence: Callable[[Run], str]) -> list[str]:
        return [name, *(evidence(run) for run in columns)]

    rows = [
        row("both models loaded", lambda run: _loaded(run)),
        row("both prefilled: TTFT, mean", lambda run: measured(tables.mean(run.column("ttft_ms")), "{:.0f} ms")),
        row("tokens drafted per drafting round", lambda run: measured(run.drafted_per_round(), "{:.2f}")),
        row("verified in one pass: cost in plain steps (v)", lambda run: measured(run.get("summary", "v"), "{:.2f}")),
        row("text equal to plain decoding", tables.identical_cell),
        row("what was predicted of the even prompts is what they gave", arms.agreement),
    ]
    return Table(["check", *(run.pair or NOT_MEASURED for run in columns)], rows)


def _loaded(run: Run) -> str:
    if run.made and not run.get("draft"):
        return measured(run.load("target", "init_s"), "target in {:.1f} s; no draft model")
    return measured(run.load("target", "init_s"), "target in {:.1f} s") + measured(
        run.load("draft", "init_s"), ", draft in {:.1f} s"
    )


def _package() -> Table:
    """Every module, folder by folder, and the first line of what it says of itself."""
    rows = []
    root = Path(speculative_decoding.__path__[0])
    for path in (path for folder in FOLDERS for path in sorted((root / folder).glob("*.py"))):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows.append((path.relative_to(root).as_posix(), " ".join(said.split("\n\n")[0].replace("`", "").split())))
    return Table(["file", "what it is"], rows)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The three reports as lists of sections: the summary, the comparison in detail (1B -> 8B and whatever else was
measured), and the performance comparison (1B -> 3B and whatever else was measured).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

from measuring.published_speeds import SOURCE
from measuring.reports import advice, arms, prompt_tables, tables
from measuring.reports.document import (
    NOT_MEASURED,
    Plot,
    Section,
    Table,
    measured,
)
from measuring.results import NOT_MADE, Results, Run, headline
from models.tt_transformers.demo import speculative_decoding

PROGRAM = "python -m models.tt_transformers.demo.speculative_decoding.speculative_demo"
FOLDERS = ("", "hf", "tt", "harness")  # of the package; the algorithm lies on top
DOCUMENTED_PAIRS = ("smollm2", "llama-1b-8b", "llama-1b-3b")
METHOD = (
    "Both arms run in one process, in turns, on the same prompts; times are of the same tokens, from the first emitted "
    "token to the last, prefill apart. tokens per round is target steps saved, not a speedup; speedup is speculative / "
    "plain tok/s, which for the same tokens is plain / speculative seconds."
)


def summary(results: Results) -> list[Section]:
    """FINAL_RESULTS_SUMMARY.md"""
    sections = [
        Section("Speculative decoding: final results", [METHOD, *_head(results)], level=1),
        Section("Key results", [_at_a_glance(results)]),
    ]
    for pair in _measured_first(results, DOCUMENTED_PAIRS):
        runs = results.of(pair)
        run = headline(runs)
        sections += [
            Section(_title(pair, run), [arms.by_arm(runs), _how_to_measure(pair, run), advice.recommendation(runs)]),
            Section(
                "Per-prompt performance: best, good, average, baseline", [prompt_tables.best_to_worst(run)], level=3
            ),
            Section("Consistency", [prompt_tables.consistency(run)], level=3),
            Section("Token/sec and token/sec/user", [prompt_tables.rates_by_prompt(run), arms.by_users(runs)], level=3),
            Section("Cold start against warm", [tables.cold_and_warm(run)], level=3),
            Section("Trade-offs: init time, memory, first token", [tables.trade_offs(run)], level=3),
        ]
        if run.made:
            name = results.slug(pair)
            drawings = [
                Plot(f"speedup_by_k_{name}", "Speedup by K, measured and predicted"),
                Plot(f"acceptance_by_position_{name}", "Acceptance by position"),
                Plot(f"speed_by_prompt_{name}", "Decode tok/s by prompt, both arms"),
                Plot(f"time_per_round_{name}", "Time split per round"),
            ]
            sections.append(Section("Plots", drawings, level=3))
    return [
        *sections,
        Section("What was checked", [_checks(results)]),
        Section("When to speculate", [_when(results, "speculate"), _when(results, "decode plainly")]),
        Section("The Llama pairs at published speeds", [f"Published, not measured: {SOURCE}.", *_published()]),
        Section("The package", [_package()]),
        Section("Conclusion", [_conclusion(results)]),
    ]


def detailed_comparison(results: Results) -> list[Section]:
    """comprehensive_8b_comparison.md"""

    def of_pair(pair: str, runs: list[Run], run: Run) -> list[Section]:
        beside, peers = results.beside_peers(pair), results.peers_of(pair)
        theirs = [table(beside, peers) for table in (arms.peers_table, arms.fastest_by_category)]
        drafting = [r for r in runs if r.get("summary", "drafted")] or [run]
        insights = [arms.positions([run]), tables.by_k(run), arms.prediction(drafting)]
        return [
            Section("Test configuration", [tables.configuration(run)], level=3),
            Section("Overall performance", [tables.overall(run)], level=3),
            Section("Every arm", [arms.by_arm(runs)], level=3),
            Section("Per prompt: speculative decoding", [prompt_tables.speculative_by_prompt(run)], level=3),
            Section("Per prompt: plain decoding of the target", [prompt_tables.plain_by_prompt(run)], level=3),
            Section("Per category", [prompt_tables.by_category(run)], level=3),
            Section("Draft quality: acceptance by position; by K; predicted against measured", insights, level=3),
            Section(
                "Performance distribution", [prompt_tables.distribution(run), prompt_tables.consistency(run)], level=3
            ),
            Section("transformers' own decoding, same run", theirs, level=3),
            Section("Trade-offs", [tables.trade_offs(run), advice.break_even_length(run)], level=3),
            Section("When to speculate", [advice.by_use(runs)], level=3),
            Section("Conclusion", [advice.recommendation(runs)], level=3),
        ]

    return _comparison(results, "Speculative decoding against the 8B baseline, in detail", "llama-1b-8b", of_pair)


def performance_comparison(results: Results) -> list[Section]:
    """final_performance_comparison.md"""

    def of_pair(pair: str, runs: list[Run], run: Run) -> list[Section]:
        drafting = [r for r in runs if r.get("summary", "drafted")] or [run]
        return [
            Section("Test configuration", [tables.configuration(run)], level=3),
            Section("Time to first token", [prompt_tables.ttft_by_prompt(run)], level=3),
            Section("Token generation rate", [prompt_tables.rates_by_prompt(run), arms.by_users(runs)], level=3),
            Section("Overall performance", [tables.totals(run), tables.overall(run)], level=3),
            Section("Latency percentiles over prompts", [tables.latency(run)], level=3),
            Section("Cold start against warm", [tables.cold_and_warm(run)], level=3),
            Section("Detailed analysis: where the time goes", [arms.time_split(drafting)], level=3),
            Section("Predicted against measured", [arms.prediction(drafting)], level=3),
            Section("Trade-offs", [tables.trade_offs(run)], level=3),
            Section("auto against the best fixed K", [arms.auto_by_category(runs)], level=3),
            Section("When to use each approach", [advice.by_use(runs)], level=3),
            Section("Break-even", [advice.break_even_table(runs), advice.break_even_length(run)], level=3),
            Section("Where work would pay", [advice.opportunities(run)], level=3),
            Section("Summary", [advice.winners(run), advice.recommendation(runs)], level=3),
        ]

    return _comparison(results, "Final performance comparison: speculative against plain", "llama-1b-3b", of_pair)


def _comparison(
    results: Results, title: str, own_pair: str, of_pair: Callable[[str, list[Run], Run], list[Section]]
) -> list[Section]:
    sections = [Section(title, [METHOD, *_head(results), _at_a_glance(results)], level=1)]
    for pair in _measured_first(results, (own_pair,)):
        runs = results.of(pair)
        run = headline(runs)
        sections.append(Section(_title(pair, run), [_how_to_measure(pair, run)]))
        sections += of_pair(pair, runs, run)
    return sections


def _measured_first(results: Results, documented: tuple[str, ...]) -> list[str]:
    """The pairs that were run, then those that this report is about and nobody has run."""
    return [*results.pairs(), *(pair for pair in documented if pair not in results.pairs())]


def _title(pair: str, run: Run) -> str:
    return f"{pair}: {run.label}" if run.made else f"{pair}: {NOT_MEASURED}"


def _how_to_measure(pair: str, run: Run) -> str:
    if run.made:
        return "The tables below are of this arm: what the demo does by itself, or the nearest to it; not the fastest."
    backend = "" if pair == "smollm2" else " --backend tt"
    command = f"{PROGRAM} --pair {pair}{backend} --json {pair}.json"
    return f"Nobody has run this pair for this report: {command}, then report with this file too."


def _head(results: Results) -> list[Table]:
    """Machine, versions, date and command of every file."""
    files = list({id(run.shared): run for run in results.runs}.values())

    def row(name: str, fact: Callable[[Run], str]) -> list[str]:
        return [name, *(fact(run) for run in files)]

    def known(*names: str) -> Callable[[Run], str]:
        return lambda run: ", ".join(f"{name} {measured(run.get('environment', name))}" for name in names)

    rows = [
        row("date (UTC)", lambda run: run.shared.get("created") or "not recorded"),
        row("machine", lambda run: f"{_system(run)}, {known('processor', 'cpus', 'threads')(run)}"),
        row("versions", known("python", "torch", "transformers")),
        row("command", lambda run: run.shared.get("command") or "not recorded"),
    ]
    return [Table(["measured", *(run.pair for run in files)], rows)]


def _system(run: Run) -> str:
    """ "Linux": the kernel's own name, which follows it, says where a machine stands and nothing about speed."""
    return measured(run.get("environment", "platform")).split("-")[0]


def _at_a_glance(results: Results) -> Table:
    rows = []
    for pair in _measured_first(results, DOCUMENTED_PAIRS):
        run = headline(results.of(pair))
        rows.append(
            (
                pair,
                run.label if run.made else NOT_MEASURED,
                measured(run.get("summary", "baseline_decode_tps"), "{:.1f}"),
                measured(run.get("summary", "decode_tps"), "{:.1f}"),
                measured(run.get("summary", "speedup"), "{:.2f}x"),
                measured(run.get("summary", "acceptance_rate"), "{:.1%}"),
                measured(run.get("summary", "alpha"), "{:.2f}"),
                measured(run.get("summary", "tokens_per_round"), "{:.2f}"),
                tables.identical_cell(run),
            )
        )
    headers = [
        "pair",
        "arm",
        "plain tok/s",
        "tok/s",
        "speedup",
        "acceptance rate",
        "alpha",
        "tokens per round",
        "equal to plain",
    ]
    return Table(headers, rows)


def _checks(results: Results) -> Table:
    """What a speculative decoder has to do, and the measurement that says whether it did."""
    columns = [headline(results.of(pair)) for pair in results.pairs()] or [NOT_MADE]

    def row(name: str, evidence: Callable[[Run], str]) -> list[str]:
        return [name, *(evidence(run) for run in columns)]

    def apart(run: Run) -> str:
        return measured(arms.difference(run), "{:+.1%}")

    rows = [
        row("both models loaded", lambda run: _loaded(run)),
        row("both prefilled: TTFT, mean", lambda run: measured(tables.mean(run.column("ttft_ms")), "{:.0f} ms")),
        row("tokens drafted per drafting round", lambda run: measured(run.drafted_per_round(), "{:.2f}")),
        row("verified in one pass: cost in plain steps (v)", lambda run: measured(run.get("summary", "v"), "{:.2f}")),
        row("text equal to plain decoding", tables.identical_cell),
        row("predicted / measured speedup - 1", apart),
    ]
    return Table(["check", *(run.pair or NOT_MEASURED for run in columns)], rows)


def _loaded(run: Run) -> str:
    if run.made and not run.get("draft"):
        return measured(run.load("target", "init_s"), "target in {:.1f} s; no draft model")
    return measured(run.load("target", "init_s"), "target in {:.1f} s") + measured(
        run.load("draft", "init_s"), ", draft in {:.1f} s"
    )


def _when(results: Results, word: str) -> str:
    """The categories of which the measurement says so."""
    found = []
    for pair in results.pairs():
        by_use = advice.by_use(results.of(pair))
        categories = [f"{row[0]} ({row[2]})" for row in by_use.rows if row[-1] == word]
        found.append(f"{pair}: {', '.join(categories) or 'no measured category'}")
    return f"{word.capitalize()}, by the fastest measured arm of each category: " + "; ".join(found) + "."


def _published() -> list[Table | Plot]:
    return [advice.published_table(), Plot("llama_published", "Predicted speedup at published decode speeds")]


def _package() -> Table:
    """Every module, folder by folder, and the first line of what it says of itself."""
    rows = []
    root = Path(speculative_decoding.__path__[0])
    for path in (path for folder in FOLDERS for path in sorted((root / folder).glob("*.py"))):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows.append((path.relative_to(root).as_posix(), " ".join(said.split("\n\n")[0].replace("`", "").split())))
    return Table(["file", "what it is"], rows)


def _conclusion(results: Results) -> str:
    said = [f"{pair}: {advice.recommendation(results.of(pair))}" for pair in results.pairs()]
    missing = [pair for pair in DOCUMENTED_PAIRS if pair not in results.pairs()]
    return " ".join(said + ([f"{', '.join(missing)}: {NOT_MEASURED}."] if missing else []))

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The three reports of one page each: the summary, the comparison in detail (1B -> 8B and whatever else was measured),
and the performance comparison (1B -> 3B and whatever else was measured). Long tables are the appendix's.
"""

from __future__ import annotations

from collections.abc import Callable

from measuring.published_speeds import SOURCE
from measuring.reports import advice, arms, matches, prompt_tables, tables
from measuring.reports.document import NOT_MEASURED, Bullets, Plot, Section, Table, measured
from measuring.results import Results, headline
from measuring.run import Run

PROGRAM = "python -m models.tt_transformers.demo.speculative_decoding.speculative_demo"
DOCUMENTED_PAIRS = ("smollm2", "llama-1b-8b", "llama-1b-3b")
APPENDIX = "APPENDIX"
METHOD = (
    "Both arms decode the same positions back to back, in turns of at least 16 tokens; a speedup is the ratio of sums "
    "of medians, in brackets its 95% interval, with no more decimals than the noise floor carries. Of other figures "
    "the median prompt's, in brackets the lowest and the highest prompt's. tokens per round is target steps saved, not "
    f"a speedup. Every table in full: {APPENDIX}.md, beside this file."
)


def summary(results: Results) -> list[Section]:
    """FINAL_RESULTS_SUMMARY.md"""
    opening = _opening(results, "Speculative decoding: final results", DOCUMENTED_PAIRS)
    sections = [opening, Section("Key results", [_at_a_glance(results)])]
    for pair in results.pairs():
        run, name = headline(results.of(pair)), results.slug(pair)
        sections += [
            Section(f"{pair}: by category ({run.label})", [prompt_tables.by_category(run)]),
            Section(f"{pair}: by K, and predicted against measured",
                    [Plot(f"speedup_by_k_{name}", "Speedup by K, with 95% intervals"), arms.prediction([run])]),
        ]  # fmt: skip
    return [
        *sections,
        Section("Projected, not measured: the Llama pairs on N150", [_projection(), advice.published_table("N150")]),
        Section("Conclusion", [_conclusion(results)]),
        _measured(results),
    ]


def detailed_comparison(results: Results) -> list[Section]:
    """comprehensive_8b_comparison.md"""

    def of_pair(pair: str, runs: list[Run], run: Run) -> list[Section]:
        beside, peers = results.beside_peers(pair), results.peers_of(pair)
        return [
            Section(f"{pair}: every drafter, auto and its fastest K", [arms.by_arm(advice.best_of_each(runs))]),
            Section(f"{pair}: draft quality, acceptance by position", [arms.positions([run])]),
            Section(
                f"{pair}: transformers' own decoding, whole requests of the same run, the best K of each kind",
                [matches.peers_table(*matches.best_of_kinds(beside, peers)), matches.not_comparable(peers)],
            ),
            Section(f"{pair}: conclusion", [advice.recommendation(runs)]),
        ]

    title = "Speculative decoding against the 8B baseline, in detail"
    return _comparison(results, title, "llama-1b-8b", of_pair)


def performance_comparison(results: Results) -> list[Section]:
    """final_performance_comparison.md"""

    def of_pair(pair: str, runs: list[Run], run: Run) -> list[Section]:
        return [
            Section(f"{pair}: overall performance ({run.label})", [tables.overall(run)]),
            Section(f"{pair}: latency percentiles over prompts", [tables.latency(run)]),
            Section(f"{pair}: several users at once", [arms.by_users(runs)]),
            Section(f"{pair}: conclusion", [advice.recommendation(runs), advice.break_even_length(run)]),
        ]

    title = "Final performance comparison: speculative against plain"
    return _comparison(results, title, "llama-1b-3b", of_pair)


def _comparison(
    results: Results, title: str, own_pair: str, of_pair: Callable[[str, list[Run], Run], list[Section]]
) -> list[Section]:
    sections = [_opening(results, title, (own_pair,))]
    for pair in results.pairs():
        sections += of_pair(pair, results.of(pair), headline(results.of(pair)))
    projected = Section(f"Projected, not measured: {own_pair}", [_projection(), advice.published_table(own_pair)])
    return [*sections, projected, _measured(results)]


def _opening(results: Results, title: str, documented: tuple[str, ...]) -> Section:
    """The headlines of every pair, and how to read them."""
    pairs = measured_first(results, documented)
    said = [f"{pair}: {sentence}" for pair in pairs for sentence in headlines(pair, headline(results.of(pair)))]
    return Section(title, [Bullets(said), METHOD], level=1)


def headlines(pair: str, run: Run) -> list[str]:
    """What a run says first: all prompts; those that do not loop; the noise floor. Or why there is no figure."""
    if not run.made:
        return [how_to_measure(pair)]
    if run.inconclusive:
        return [f"inconclusive: {run.inconclusive}."]
    if run.speedup.value is None:
        return [f"speedup {NOT_MEASURED}."]
    alone, count = run.get("summary", "without_loops", "prompts"), len(run.rows)
    lines = [f"{run.speedup} of plain decoding's speed, all {count} prompts ({run.label})."]
    if alone and alone != count:
        lines.append(f"{run.without_loops} on the {alone} prompts whose text does not loop.")
    return [*lines, f"noise floor {tables.noise_floor(run)}: a loop that drafts nothing, beside plain decoding."]


def measured_first(results: Results, documented: tuple[str, ...]) -> list[str]:
    """The pairs that were run, then those that this report is about and nobody has run."""
    return [*results.pairs(), *(pair for pair in documented if pair not in results.pairs())]


def how_to_measure(pair: str) -> str:
    """Of a pair that nobody ran."""
    backend = "" if pair == "smollm2" else " --backend tt"
    return f"{NOT_MEASURED}. {PROGRAM} --pair {pair}{backend} --json {pair}.json, then report with this file too."


def _at_a_glance(results: Results) -> Table:
    rows = []
    for pair in results.pairs():
        run = headline(results.of(pair))
        rows.append(
            (
                pair,
                run.label,
                *arms.both_speedups(run),
                tables.noise_floor(run),
                *arms.rates(run),
                tables.among(run.column("acceptance_rate"), "{:.0%}".format),
                tables.identical_cell(run),
            )
        )
    headers = ["pair", "arm", *arms.SPEEDUPS, "noise floor", *arms.RATES]
    return Table([*headers, "acceptance rate", "equal to plain"], rows)


def _measured(results: Results) -> Section:
    files = list({id(run.shared): run for run in results.runs}.values())
    said = [f"{run.pair}: {'; '.join(fact(run) for fact in FACTS.values())}." for run in files]
    return Section("Where and how it was measured", [Bullets(said)])


def how_measured(results: Results) -> Table:
    """FACTS of every file."""
    files = list({id(run.shared): run for run in results.runs}.values())
    return Table(["measured", *(run.pair for run in files)], [[n, *map(fact, files)] for n, fact in FACTS.items()])


def _known(*names: str) -> Callable[[Run], str]:
    return lambda run: ", ".join(f"{name} {measured(run.get('environment', name))}" for name in names)


def _system(run: Run) -> str:
    """ "Linux": the kernel's own name, which follows it, says where a machine stands and nothing about speed."""
    return measured(run.get("environment", "platform")).split("-")[0]


FACTS: dict[str, Callable[[Run], str]] = {
    "date (UTC)": lambda run: run.shared.get("created") or "date not recorded",
    "machine": lambda run: f"{_system(run)}, {_known('processor', 'cpus', 'threads')(run)}",
    "versions": _known("python", "torch", "transformers"),
    "command": lambda run: run.shared.get("command") or "command not recorded",
}


def _projection() -> str:
    return f"Projected by the formula at the best K from published decode speeds ({SOURCE}); alpha and v are assumed."


def _conclusion(results: Results) -> str:
    said = [f"{pair}: {advice.recommendation(results.of(pair))}" for pair in results.pairs()]
    missing = [pair for pair in DOCUMENTED_PAIRS if pair not in results.pairs()]
    return " ".join(said + ([f"{', '.join(missing)}: {NOT_MEASURED}."] if missing else []))

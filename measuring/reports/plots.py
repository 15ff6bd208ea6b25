# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The plots of a report, in colour-blind-safe colours (Okabe and Ito) that read on light and on dark pages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from measuring.break_even import best_choice
from measuring.published_speeds import published_pairs
from measuring.reports.advice import ALPHAS, PUBLISHED_KS, VERIFY_COSTS
from measuring.reports.document import measured
from measuring.reports.pictures import NEUTRAL, draw
from measuring.reports.tables import acceptance_by_position
from measuring.results import one_at_a_time
from measuring.run import Run
from measuring.speedups import Speedup
from models.tt_transformers.demo.speculative_decoding.harness.verdict import worth
from models.tt_transformers.demo.speculative_decoding.metrics import median

PLAIN = "#8C8C8C"
BLUE, ORANGE, GREEN, PINK, SKY = "#0077BB", "#DD6A00", "#009E73", "#CC79A7", "#56B4E9"
SERIES = (BLUE, ORANGE, GREEN, PINK, SKY)
MARKERS = "osD^v"
_WHISKERS: dict[str, Any] = {"capsize": 3, "elinewidth": 1.2, "markersize": 6}
LONGEST_NAME, MOST_BARS = 60, 60  # characters of a label; prompts or arms of a plot: a picture has an end


def _new(width: float, height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False, sharey=True)[0])


def speedup_by_k(runs: Sequence[Run]) -> Figure | None:
    """Measured speedup over K with its 95% interval, one colour per drafter; None where only one K has a speedup."""
    runs = [run for run in one_at_a_time(runs) if run.speedup.value is not None]
    ticks = sorted({run.k for run in runs}, key=lambda k: (not k.isdecimal(), int(k) if k.isdecimal() else k))
    if len(ticks) < 2:
        return None
    figure, (axes,) = _new(7.6, 4.2)
    axes.axhline(1.0, color=NEUTRAL, linewidth=1.5, linestyle=(0, (4, 2)), label="plain decoding")
    nothing_drafted = [run for run in runs if run.k == "0"]
    styles = _styles(runs)
    for index, (drafter, style) in enumerate(styles.items()):
        aside = 0.1 * (index - (len(styles) - 1) / 2)  # so that the intervals of two drafters do not hide each other
        of_drafter = [run for run in runs if run.get("drafter") == drafter and run.k != "0"]
        fixed = sorted((run for run in nothing_drafted + of_drafter if run.k.isdecimal()), key=lambda run: int(run.k))
        policies = [[run] for run in of_drafter if not run.k.isdecimal()]  # not a K: no line leads to them
        for number, group in enumerate(filter(None, [fixed, *policies])):
            places = [ticks.index(run.k) + aside for run in group]
            look = {**_WHISKERS, **style, "linewidth": 2, "label": None if number else drafter}
            axes.errorbar(places, _values(group), yerr=_ends(run.speedup for run in group), **look)
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlim(-0.35, len(ticks) - 0.65)
    axes.set(xlabel="drafted tokens per round, K", ylabel="speedup over plain decoding (×)")
    axes.set_title("Speedup by K, all prompts, 95% intervals", loc="left")
    axes.grid(axis="y")
    _legend_below(figure, axes)
    return figure


def _values(runs: Sequence[Run]) -> list[float]:
    return [run.speedup.value or 0.0 for run in runs]


def _ends(speedups: Iterable[Speedup]) -> tuple[list[float], list[float]]:
    """How far each interval reaches below and above its value; 0 where there is none."""
    known = [(found.value or 0.0, found.low, found.high) for found in speedups]
    below = [0.0 if low is None else max(0.0, value - low) for value, low, _ in known]
    return below, [0.0 if high is None else max(0.0, high - value) for value, _, high in known]


def acceptance_plot(runs: Sequence[Run]) -> Figure | None:
    """Share of drafting rounds that accept their j-th token; of every drafter the run with the largest fixed K."""
    drafting = [run for run in one_at_a_time(runs) if acceptance_by_position(run)]
    by_length = sorted(drafting, key=lambda run: (run.k.isdecimal(), len(acceptance_by_position(run))))
    longest = {run.get("drafter"): run for run in by_length}  # the last of each drafter stays
    if not longest:
        return None
    figure, (axes,) = _new(7.6, 4.0)
    for drafter, style in _styles(drafting).items():
        shares = [100 * share for share in acceptance_by_position(longest[drafter])]
        axes.plot(range(1, len(shares) + 1), shares, linewidth=2, label=longest[drafter].label, **style)
    axes.set_ylim(0, 105)
    most = max(len(acceptance_by_position(run)) for run in longest.values())
    axes.set_xticks(range(1, most + 1))
    axes.set(xlabel="position in the draft", ylabel="drafts of this length accepted\nup to here (%)")
    axes.set_title("Acceptance by position", loc="left")
    axes.grid(axis="y")
    _legend_below(figure, axes)
    return figure


def speedup_by_prompt(run: Run) -> Figure | None:
    """Speedup of every prompt (of very many, the first) with its 95% interval; hollow where the text loops."""
    measured_rows = [row for row in run.rows if row.get("speedup") is not None]
    rows = measured_rows[:MOST_BARS]
    if not rows:
        return None
    figure, (axes,) = _new(7.6, 1.5 + 0.34 * len(rows))
    axes.axvline(1.0, color=NEUTRAL, linewidth=1.5, linestyle=(0, (4, 2)), label="plain decoding")
    found = [Speedup.of(row, run.noise) for row in rows]
    for loops, label in ((False, "speculative decoding"), (True, "the text loops")):
        places = [y for y, row in enumerate(rows) if bool(row.get("loops")) == loops]
        own = [found[y] for y in places]
        look: dict[str, Any] = {"color": BLUE, "marker": "o", "linestyle": "", "label": label}
        look |= {"markerfacecolor": "none"} if loops else {}
        if places:
            axes.errorbar([one.value or 0.0 for one in own], places, xerr=_ends(own), **_WHISKERS, **look)
    end = max(max(one.value or 0.0, one.high or 0.0) for one in found)
    for y, one in enumerate(found):
        axes.annotate(worth(one.value, run.noise).replace("x", "×"), (1.04 * max(end, 1.0), y), va="center")
    axes.set_yticks(range(len(rows)), [f"{number}. {_name(row['category'])}" for number, row in enumerate(rows, 1)])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.16 * max(end, 1.0))
    axes.set(xlabel="speedup over plain decoding (×)")
    part = "" if len(rows) == len(measured_rows) else f", the first {len(rows)} of {len(measured_rows)}"
    axes.set_title(f"Speedup by prompt{part}, 95% intervals", loc="left")
    axes.grid(axis="x")
    _legend_below(figure, axes)
    return figure


def time_per_round(runs: Sequence[Run]) -> Figure | None:
    """Milliseconds of a round, split; the line is a plain decode step, and the number what a round emits."""
    runs = [run for run in one_at_a_time(runs) if run.get("summary", "time_split") and run.get("summary", "rounds")]
    runs = runs[:MOST_BARS]
    if not runs:
        return None
    figure, (axes,) = _new(7.6, 1.9 + 0.36 * len(runs))
    left = [0.0] * len(runs)
    for part, colour in (("draft", ORANGE), ("verify", BLUE), ("host", GREEN)):
        widths = []
        for run in runs:
            rounds = run.get("summary", "rounds") * (run.get("num_repeats") or 1)
            widths.append(1e3 * run.get("summary", "time_split", f"{part}_s") / rounds)
        axes.barh(range(len(runs)), widths, left=left, height=0.6, color=colour, label=part)
        left = [a + b for a, b in zip(left, widths)]
    steps = [step for step in (median(run.tpot("baseline_")) for run in runs) if step is not None]
    end = max(left + steps) or 1.0  # an axis has a length
    if (step := median(steps)) is not None:
        axes.axvline(step, color=NEUTRAL, linestyle=(0, (1, 1)), linewidth=1.5, label="one plain decode step")
    for y, run in enumerate(runs):
        emitted = measured(run.get("summary", "tokens_per_round"), "{:.2f} tokens")
        axes.annotate(emitted, (1.04 * end, y), va="center")
    axes.set_yticks(range(len(runs)), ["nothing drafted" if run.k == "0" else run.label for run in runs])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.24 * end)
    axes.set(xlabel="milliseconds per round, mean (at the right: tokens emitted per round)")
    axes.set_title("Where a round's time goes", loc="left")
    axes.grid(axis="x")
    _legend_below(figure, axes)
    return figure


def published_heat_map() -> Figure:
    """Projected speedup of the Llama pairs at the best K, over alpha, at three costs of a verify."""
    pairs = published_pairs()
    figure, panels = _new(11.5, 4.6, len(VERIFY_COSTS))
    for axes, v in zip(panels, VERIFY_COSTS):
        best = [[best_choice(alpha, pair.c, dict.fromkeys(PUBLISHED_KS, v)) for alpha in ALPHAS] for pair in pairs]
        speeds = [[choice.speedup for choice in row] for row in best]
        image = axes.imshow(speeds, cmap="Oranges", vmin=1.0, vmax=1.8, aspect="auto")
        for y, row in enumerate(best):
            for x, choice in enumerate(row):
                light = choice.speedup < 1.45
                text = f"{choice.speedup:.2f}×\nK = {choice.k}" if choice.k else "plain"
                axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color="#111111" if light else "#ffffff")
        axes.set_xticks(range(len(ALPHAS)), [f"{alpha:g}" for alpha in ALPHAS])
        axes.set_yticks(range(len(pairs)), [f"{pair.pair}\n{pair.device}, c = {pair.c:.2f}" for pair in pairs])
        axes.set(xlabel="alpha (assumed)")
        axes.set_title(f"v = {v:g} (assumed)", loc="left", fontsize=11)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=panels, label="projected speedup at the best K (×)\nplain decoding: 1", pad=0.015)
    figure.suptitle(
        "Llama pairs: PROJECTED from published decode speeds (c) and assumed alpha and v; nothing here is measured",
        fontweight="bold",
        fontsize=12,
    )
    return figure


def _styles(runs: Sequence[Run]) -> dict[str | None, dict[str, Any]]:
    """Colour and marker of each drafter, the same in every plot, in the order of the runs."""
    drafters = dict.fromkeys(run.get("drafter") for run in runs if run.k != "0")
    looks = itertools.cycle(zip(SERIES, MARKERS))
    return {drafter: {"color": color, "marker": marker} for drafter, (color, marker) in zip(drafters, looks)}


def _name(text: str) -> str:
    """In one line, and short enough to leave room for the plot."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 3]}..."


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(4 if max(map(len, labels)) < 24 else 3, len(labels))
    )


def draw_all(pairs: Sequence[tuple[str, Sequence[Run], Run]], folder: Path | None = None) -> dict[str, str]:
    """Draw what can be drawn: PNG files into `folder`, if there is one, and SVGs by name.

    pairs: (slug, runs, headline run) of each.
    """
    wanted: list[tuple[str, Callable[..., Figure | None], tuple]] = [("llama_published", published_heat_map, ())]
    for slug, runs, usual in pairs:
        wanted += [
            (f"speedup_by_k_{slug}", speedup_by_k, (runs,)),
            (f"acceptance_by_position_{slug}", acceptance_plot, (runs,)),
            (f"speedup_by_prompt_{slug}", speedup_by_prompt, (usual,)),
            (f"time_per_round_{slug}", time_per_round, (runs,)),
        ]
    drawn = {name: draw(plot, folder and folder / f"{name}.png", *arguments) for name, plot, arguments in wanted}
    return {name: svg for name, svg in drawn.items() if svg is not None}

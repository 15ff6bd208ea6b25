# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Answers on the page: each token by who drafted it and in which round it came, with the controls of player.js."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from measuring.reports.document import NOT_MEASURED, measured
from measuring.run import Row, Run
from models.tt_transformers.demo.speculative_decoding.harness.options import FROM_TEXT

KINDS = {  # class -> what it says; colours in page.css
    "drafted": "drafted by a model",
    "looked": "drafted from the text itself",
    "recovered": "recovered: the target's, after a rejection",
    "bonus": "bonus: the target's, after a whole draft",
    "plain": "the target's, nothing drafted",
    "prefill": "first token",
}
COUNTERS = ("drafted", "accepted", "recovered", "bonus")
CONTROLS = {  # of player.js -> (its face, what it does)
    "first": ("⇤", "First round (Home)"),
    "back": ("←", "One round back (left arrow)"),
    "play": ("Play", "Play or pause (space)"),
    "next": ("→", "One round on (right arrow)"),
    "end": ("⇥", "Last round (End)"),
}


@dataclass
class Round:
    """One round's counts. `drafted` is None where the file does not say it."""

    drafted: int | None = None
    accepted: int = 0
    recovered: int = 0
    bonus: int = 0

    @property
    def counts(self) -> str:
        """COUNTERS, as player.js reads them."""
        return ",".join("?" if (count := getattr(self, name)) is None else str(count) for name in COUNTERS)


@dataclass(frozen=True)
class Answer:
    """A row of a result: per token its text, its class of KINDS and its round, 0 for the first token."""

    row: Row
    tokens: list[tuple[str, str, int]] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)

    @classmethod
    def of(cls, row: Row) -> Answer:
        """Without tokens where the file does not have their texts. A round ends with a token of the target's own."""
        texts, origins, answer = row.get("token_texts") or [], row.get("origins") or [], cls(row)
        if not texts or len(texts) != len(origins):
            return answer
        sources = row.get("sources") or []
        sources = sources if len(sources) == len(texts) else [""] * len(texts)
        ended = True
        for text, origin, source in zip(texts, origins, sources, strict=True):
            if origin == "prefill":
                answer.tokens.append((text, origin, len(answer.rounds)))
                continue
            if ended:
                answer.rounds.append(Round())
            of, ended = answer.rounds[-1], origin != "accepted"
            of.accepted += origin == "accepted"
            of.recovered += origin == "recovered"
            of.bonus += origin == "bonus"
            kind = ("looked" if source.startswith(FROM_TEXT) else "drafted") if origin == "accepted" else origin
            answer.tokens.append((text, kind, len(answer.rounds)))
        drafted, accepted = row.get("drafted_per_round") or [], row.get("accepted_per_round") or []
        if accepted == [of.accepted for of in answer.rounds] and len(drafted) == len(accepted):
            for of, count in zip(answer.rounds, drafted, strict=True):
                of.drafted = count
        return answer


def shown_first(runs: Sequence[Run]) -> Row | None:
    """The answer that the page begins with: one that does not loop, where drafts were accepted and rejected; of these
    the one of the middle acceptance."""
    rows = [row for run in runs[:1] for row in run.rows if Answer.of(row).tokens]
    mixed = [row for row in rows if {"accepted", "recovered"} <= set(row["origins"]) and not row.get("loops")]
    ordered = sorted(mixed or rows, key=lambda row: row.get("acceptance_rate") or 0.0)
    return ordered[len(ordered) // 2] if ordered else None


def legend(answers: Sequence[Answer]) -> str:
    """Of the kinds that there are."""
    there = {kind for answer in answers for _, kind, _ in answer.tokens}
    items = "".join(
        f'<li><span class="token {kind}">{said}</span></li>' for kind, said in KINDS.items() if kind in there
    )
    return f'<ul class="legend" aria-label="Colours of the tokens">{items}</ul>'


def article(answer: Answer, run: Run, title: str) -> str:
    """One answer with its prompt and, where rounds are known, its player."""
    row = answer.row
    facts = [
        f"{run.speedup_of([row])} speedup" if not run.inconclusive else "",
        measured(row.get("acceptance_rate"), "{:.0%} accepted") if row.get("acceptance_rate") is not None else "",
        _equality(row),
        "the text loops" if row.get("loops") else "",
    ]
    rounds = " ".join(of.counts for of in answer.rounds)
    playing = f' tabindex="0" role="group" data-rounds="{rounds}"' if answer.rounds else ""
    label = html.escape(f"Answer: {title}. Space plays, arrow keys step through rounds.", quote=True)
    return (
        f'<article class="answer"{playing} aria-label="{label}">'
        f"<h3>{html.escape(title)}</h3><p class=\"of\">{html.escape(', '.join(filter(None, facts)))}</p>"
        f'<details class="prompt"><summary>The prompt</summary><p>{html.escape(row["prompt"])}</p></details>'
        f"{_controls(answer) if answer.rounds else ''}"
        f'<p class="text">{_tokens(answer)}</p></article>'
    )


def _controls(answer: Answer) -> str:
    buttons = ""
    for name, (face, does) in CONTROLS.items():
        label = "" if name == "play" else f' aria-label="{does}"'  # whose face says what it does now
        buttons += f'<button type="button" data-part="{name}" title="{does}"{label}>{face}</button>'
    counters = "".join(f'<div><dt>{name}</dt><dd data-part="{name}">0</dd></div>' for name in COUNTERS)
    last = len(answer.rounds)
    return (
        f'<div class="controls" data-part="controls" hidden><div class="buttons">{buttons}</div>'
        f'<input type="range" data-part="slider" min="0" max="{last}" value="{last}" aria-label="Round">'
        f'<p class="status" data-part="status" role="status" aria-live="polite"></p>'
        f'<dl class="counters" aria-label="This round">{counters}</dl>'
        f'<p class="pips" data-part="pips" aria-hidden="true"></p></div>'
    )


def _tokens(answer: Answer) -> str:
    if not answer.tokens:
        unknown = f"(where each token came from: {NOT_MEASURED})"
        return f"{html.escape(answer.row.get('text') or '')} <em>{unknown}</em>"
    return "".join(
        f'<span class="token {html.escape(kind, quote=True)}" data-r="{of}">{html.escape(text)}</span>'
        for text, kind, of in answer.tokens
    )


def _equality(row: dict[str, Any]) -> str:
    """Where a text parts from plain decoding's, by how much the target's best next token won there."""
    if row.get("identical") is None:
        return f"equality {NOT_MEASURED}"
    if row["identical"]:
        return "equal to plain decoding"
    place = measured(row.get("first_divergence"), "from token {} on")
    gap = measured(row.get("divergence_top2_gap"), "{:.3f}")
    return f"NOT equal to plain decoding ({place}; the target's two best logits there are {gap} apart)"

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Chat prompts for training a draft: ten categories of templates filled with word lists, all written for this project.

Four of the categories need a text to work on. It comes from the target itself: the start of an answer it gave to a
prompt of the other six (`texts`), so no third party's text is involved.

Held-out prompts use templates AND topics that no training prompt uses (every tenth topic, every fifth template).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DEMO_PROMPTS = Path(__file__).parents[1] / "models/tt_transformers/demo/speculative_decoding/sample_prompts.json"
_DATA = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
WORDS: dict[str, list[str]] = _DATA["words"]
PLAIN: dict[str, list[str]] = _DATA["plain"]  # templates by category: those that stand alone
ON_TEXT: dict[str, list[str]] = _DATA["on_text"]  # those that work on a given text
CATEGORIES = (*PLAIN, *ON_TEXT, "reading")  # reading: texts.py


@dataclass(frozen=True)
class TrainingPrompt:
    """One user message: its category, its text, and whether it is kept out of training."""

    category: str
    text: str
    held_out: bool


def demo_prompts() -> list[str]:
    """The texts of the demo's own prompts: a draft is judged on them, so its training must not meet them."""
    return [entry["prompt"] for entry in json.loads(DEMO_PROMPTS.read_text(encoding="utf-8"))]


def _part(items: list[str], every: int, held_out: bool) -> list[str]:
    """The held-out items (every `every`-th, from the third), or all the others."""
    return [item for index, item in enumerate(items) if (index % every == 2) == held_out]


def _misspell(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    for index in rng.sample(range(len(words)), min(len(words), 2 + len(words) // 10)):
        word = words[index]
        at = rng.randrange(max(1, len(word) - 1))
        words[index] = rng.choice(
            (
                word[:at] + word[at + 1 :],
                word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :],
                word.lower(),
            )
        )
    return " ".join(words)


def _record(rng: random.Random, names: Sequence[str], thing: str) -> str:
    name, day = rng.choice(names), rng.randint(1, 28)
    month = rng.choice("March May June August October December".split())
    amount, street = rng.randint(12, 990), rng.choice("Oak Hill River Station Church Lake".split())
    number, order, deposit = amount % 97, rng.randint(1000, 99999), f"{amount}.50"
    return rng.choice(
        (
            f"Dear team, my order {order} of {thing} from {day} {month} has not arrived. I paid {amount} euros. "
            f"Regards, {name}, {number} {street} Street",
            f"Invoice {order % 1000}: {name} bought {thing} on {month} {day}, total ${deposit}, due within 30 days.",
            f"{name} will meet {rng.choice(names)} on {month} {day} at {rng.randint(8, 18)}:30 in {street} Road "
            f"{number} to sell {thing} for {amount} dollars.",
            f"Contact: {name} ({name.lower()}@example.org, tel. 555-{amount:04d}), booked {thing} for {day} {month}; "
            f"deposit {amount} pounds.",
        )
    )


def make_prompts(
    count: int, seed: int, *, held_out: bool, texts: Sequence[str] | None = None
) -> Iterator[TrainingPrompt]:
    """Yield `count` prompts, the categories taking turns.

    Args:
        held_out: draw templates and topics from the held-out part instead of the training part.
        texts: passages of a few sentences; None yields the six plain categories, otherwise the four on a text.
    """
    rng = random.Random(f"{seed} {held_out} {texts is None}")
    templates = {name: _part(choices, 5, held_out) for name, choices in (PLAIN if texts is None else ON_TEXT).items()}
    words = {**WORDS, **{slot: _part(WORDS[slot], 10, held_out) for slot in ("topic", "task")}}
    for index in range(count):
        category = list(templates)[index % len(templates)]
        fill: dict[str, str | int] = {}
        for slot, choices in words.items():
            fill[slot], fill[f"{slot}2"], fill[f"{slot}3"] = rng.sample(choices, 3)
        fill |= {
            "n": rng.randint(20, 99),
            "n2": rng.randint(3, 60),
            "m": rng.randint(3, 19),
            "k": rng.randint(3, 10),
            "small": rng.randint(2, 4),
        }
        if texts is not None:
            text = rng.choice(texts)
            fill |= {
                "text": text,
                "typos": _misspell(text, rng),
                "sentence": rng.choice(re.split(r"(?<=[.!?])\s+", text)),
            }
            fill["record"] = _record(rng, words["name"], str(fill["thing"]))
        prompt = rng.choice(templates[category]).format(**fill)
        yield TrainingPrompt(category, prompt[0].upper() + prompt[1:], held_out)

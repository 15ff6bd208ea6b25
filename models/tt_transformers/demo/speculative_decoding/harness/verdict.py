# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a run says in words and one small picture: did speculation pay here, by how much, and how sure is that."""

from __future__ import annotations

import math
import sys

from models.tt_transformers.demo.speculative_decoding.harness.command import one_line
from models.tt_transformers.demo.speculative_decoding.harness.terminal import (
    MISSING,
    Row,
    cells,
    figure,
    screen_width,
    shortened,
)

NAMES = 20  # columns of the picture's names


def worth(value: float | None, noise: float | None) -> str:
    """A speedup with no more decimals than the run's noise floor leaves it; "-" for None."""
    unsure = abs(value or 0.0) * abs(noise or 0.0)
    decimals = min(2, max(0, math.floor(-math.log10(unsure)))) if unsure else 2
    return figure(value, f"{{:.{decimals}f}}x")


def headline(record: Row) -> list[str]:
    """All prompts; those that do not loop; the noise floor. Or why there is no figure."""
    total, alone = record["summary"], record["summary"]["without_loops"]
    if total["inconclusive"]:
        return [one_line(f"inconclusive: {total['inconclusive']}.")]
    if total["speedup"] is None:
        return ["speedup not measured: plain decoding was not run, or there was nothing to time."]
    noise, loops = total["noise_floor"], total["prompts"] - alone["prompts"]
    every = f"all {_prompts(total['prompts'])}; noise floor {abs(noise):.1%}"
    lines = [f"{_interval(total, noise)} plain decoding, {every}"]
    if loops and alone["prompts"]:
        lines.append(
            f"{_interval(alone, noise)} plain decoding, the {_prompts(alone['prompts'])} whose text does not loop"
        )
    elif loops:
        lines.append("every text loops: there is no figure for texts that do not")
    lines.append("(95% intervals; the floor: a loop that drafts nothing, beside plain decoding)")
    if (tails := total["tails"])["differ"]:
        told = "sums are {plain:.2f} (plain) and {speculative:.2f} (speculative) of the medians".format(**tails)
        lines.append(f"tails differ: {told}")
    return lines


def _prompts(count: int) -> str:
    return "1 prompt" if count == 1 else f"{count} prompts"


def _interval(found: Row, noise: float | None) -> str:
    text = worth(found["speedup"], noise)
    return text if found["low"] is None else f"{text} ({worth(found['low'], noise)} to {worth(found['high'], noise)})"


def bars(record: Row) -> list[str]:
    """One bar per prompt, plain decoding's speed marked; prompts whose text loops are marked too."""
    rows = [row for row in record["prompts"] if row["speedup"] is not None]
    if not rows:
        return []
    full, empty, one = ("█", "·", "│") if (sys.stdout.encoding or "").lower().startswith("utf") else ("#", ".", "|")
    room, most = max(10, min(48, screen_width() - NAMES - 18)), max(1.0, *(row["speedup"] for row in rows))
    mark = round(room / most)  # the end of plain decoding's bar
    lines = []
    for row in rows:
        name, length = shortened(one_line(row["category"]), NAMES), round(room * row["speedup"] / most)
        bar = [full if i < length else empty for i in range(room)]
        bar[mark - 1] = one
        loops = "  loops" if row["loops"] else ""
        speedup = worth(row["speedup"], record["summary"]["noise_floor"])
        lines.append(f"{name}{' ' * (NAMES - cells(name))} {''.join(bar)} {speedup}{loops}")
    return [*lines, f"{one} plain decoding"]


def verdict(record: Row) -> str:
    """One paragraph: why it paid, or did not."""
    total, sentences = record["summary"], []
    if total["speedup"] is not None:
        paid = "paid" if (total["low"] or total["speedup"]) > 1.0 else "did not pay"
        took = "{decode_s:.1f} s of decoding instead of {baseline_decode_s:.1f} s for the same prompts".format(**total)
        sentences.append(f"Speculation {paid} on this machine: {took}, by medians.")
    elif total["inconclusive"] is None:
        sentences.append("Whether speculation paid is not measured.")
    where = "{category} at token {first_divergence}, the two best logits {divergence_top2_gap:.3f} apart"
    parted = [where.format(**row) for row in record["prompts"] if row["identical"] is False]
    if parted:
        sentences.append(f"Texts part: {'; '.join(parted)}.")
    if total["alpha"] is None:
        return one_line(" ".join([*sentences, "Nothing was drafted."]))
    odds = "with probability {alpha:.2f} each (alpha), {tokens_per_round:.2f} tokens per round".format(**total)
    sentences.append(f"The {record['drafter']} drafter's tokens were accepted {odds}.")
    if total["c"] is not None:  # none where each draft came after rounds without one
        cost = "A drafted token cost {c:.3f} of a plain target step (c), verifying a draft {v:.2f} (v)".format(**total)
        sentences.append(f"{cost}.")
    if total.get("fused_rounds"):  # an older file's record has none
        fused = "{fused_rounds} of {rounds} rounds drafted and verified in one go on the device".format(**total)
        sentences.append(f"{fused}; their time counts as verify, and c and v are the other rounds'.")
    if reasons := "; ".join(f"{reason} ({count})" for reason, count in total.get("separate_rounds", {}).items()):
        sentences.append(f"Rounds that took separate steps: {reasons}.")
    split = total["time_split"]
    whole = sum(split.values())
    shares = [f"{name.removesuffix('_s')} {seconds / whole:.0%}" for name, seconds in split.items() if whole]
    sentences.append(f"Speculative decoding time went to: {', '.join(shares) or MISSING}.")
    if len(total["per_source"]) > 1:
        by_drafter = [f"{name} {count}" for name, count in total["per_source"].items()]
        sentences.append(f"Accepted tokens by drafter: {', '.join(by_drafter)}.")
    return one_line(" ".join(sentences))

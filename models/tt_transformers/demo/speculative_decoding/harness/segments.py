# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The clock's arithmetic: from segments, in which both arms ran the same positions back to back, to one ratio.

    T_plain   sum over plain steps of median(step | prompt, 256-position bucket, users)
    T_spec    sum over rounds of median(round | prompt, K, drafter, catch-up length, users)
    speedup   T_plain / T_spec, with a 95% interval by bootstrap of segments within prompts

A stall of the machine moves a sum and hardly a median, and what slows the machine for longer slows neighbours alike.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

BUCKET = 256  # positions whose plain steps count as alike
FEWEST = 3  # samples of a prompt that have a median of their own; fewer join those of other prompts
DRAWS = 2000
INTERVAL = (0.025, 0.975)
UNDISTURBED = 0.95  # of the run's median share of CPU time: below, something else had the processor
KEPT = 0.8  # of the segments
NOISE = 0.02  # by which two arms that do the same may differ
TAILS = 0.03


@dataclass(frozen=True)
class Timed:
    """One plain step, or one round."""

    kind: Hashable  # what its duration depends on; those of one prompt and kind share a median
    ns: int
    users: tuple[int, ...] = (0,)  # of the batch, who took part


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Both arms over the same positions of one prompt (or of a batch of prompts that decode together)."""

    prompt: int  # the number of the batch
    tokens: tuple[int, ...]  # that the speculative arm emitted, per user
    steps: tuple[Timed, ...]  # of plain decoding; none where it does not run
    rounds: tuple[Timed, ...]
    plain_share: float = 1.0  # CPU time / wall time of each arm
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What segments say. Seconds are sums of medians; a figure that they do not give is None."""

    tokens: int
    plain_s: float | None
    spec_s: float | None
    speedup: float | None
    low: float | None  # of the 95% interval
    high: float | None
    plain_tail: float | None  # raw sum / sum of medians
    spec_tail: float | None


def undisturbed(segments: Sequence[Segment]) -> list[Segment]:
    """Those in which both arms had the processor about as much as in the run's median segment."""
    if not segments:
        return []
    least = [UNDISTURBED * median(share) for share in zip(*((s.plain_share, s.share) for s in segments))]
    return [s for s in segments if s.plain_share >= least[0] and s.share >= least[1]]


def against(segments: Sequence[Segment], recorded: Mapping[int, Sequence[Timed]]) -> list[Segment]:
    """The segments with another target's steps, of an earlier run of the same prompts, in place of their plain ones: of
    each the median of its kind. `recorded`: by prompt."""
    typical = {prompt: median(step.ns for step in steps) for prompt, steps in recorded.items() if steps}
    kinds: dict[Hashable, list[int]] = defaultdict(list)
    for prompt, steps in recorded.items():
        for step in steps:
            kinds[prompt, step.kind].append(step.ns)
    medians = {kind: median(durations) for kind, durations in kinds.items()}

    def instead(prompt: int, step: Timed) -> Timed:
        return replace(step, ns=int(medians.get((prompt, step.kind), typical[prompt])))

    known = [segment for segment in segments if segment.prompt in typical]
    return [replace(s, steps=tuple(instead(s.prompt, step) for step in s.steps)) for s in known]


def estimate(segments: Sequence[Segment], *, user: int | None = None) -> Estimate:
    """The ratio of both arms over `segments`, the undisturbed ones of a run; of one user of each batch: of what it took
    part in."""
    chances = _draws([segment.prompt for segment in segments])
    plain, spec = (_Total(segments, part, chances, user) for part in (lambda s: s.steps, lambda s: s.rounds))
    ratios = plain.sums / spec.sums if plain.raw and spec.raw else None
    low = high = None
    if ratios is not None and len(segments) > len({segment.prompt for segment in segments}):
        drawn = ratios[1:][ratios[1:].isfinite()]  # without the draws that have nothing of this user
        low, high = torch.quantile(drawn, ratios.new_tensor(INTERVAL)).tolist()
    return Estimate(
        tokens=sum(sum(s.tokens) if user is None else s.tokens[user] for s in segments),
        plain_s=plain.seconds,
        spec_s=spec.seconds,
        speedup=None if ratios is None else float(ratios[0]),
        low=low,
        high=high,
        plain_tail=plain.tail,
        spec_tail=spec.tail,
    )


def _draws(prompts: Sequence[int]) -> Tensor:
    """How often each segment counts, [1 + DRAWS, segments]: once; then as drawn anew, from each prompt as many as it
    has."""
    counts = torch.ones(DRAWS + 1, len(prompts), dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for prompt in set(prompts):
        own = torch.tensor([index for index, other in enumerate(prompts) if other == prompt])
        drawn = torch.randint(len(own), (DRAWS, len(own)), generator=generator)
        counts[1:, own] = torch.zeros_like(counts[1:, own]).scatter_add_(1, drawn, torch.ones_like(counts[1:, own]))
    return counts


class _Total:
    """One arm's sum of medians, in every draw (`sums` [draws], ns), and its raw sum (ns) as it was."""

    def __init__(
        self,
        segments: Sequence[Segment],
        part: Callable[[Segment], Sequence[Timed]],
        counts: Tensor,
        user: int | None,
    ) -> None:
        found = [(i, t) for i, s in enumerate(segments) for t in part(s) if user is None or user in t.users]
        sizes = Counter((segments[i].prompt, timed.kind) for i, timed in found)
        groups: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
        for i, timed in found:
            prompt = segments[i].prompt
            groups[(prompt if sizes[prompt, timed.kind] >= FEWEST else None, timed.kind)].append((timed.ns, i))
        self.raw = sum(timed.ns for _, timed in found)
        self.sums = torch.zeros(len(counts), dtype=torch.float64)
        for group in groups.values():
            durations, where = zip(*sorted(group))
            upto = counts[:, list(where)].cumsum(1)
            self.sums += upto[:, -1] * _medians(torch.tensor(durations, dtype=torch.float64), upto)

    @property
    def seconds(self) -> float | None:
        return float(self.sums[0]) / 1e9 if self.raw else None

    @property
    def tail(self) -> float | None:
        return self.raw / float(self.sums[0]) if self.raw else None


def _medians(durations: Tensor, upto: Tensor) -> Tensor:
    """Of sorted durations [n], counted as often as `upto` [draws, n] adds up to: the mean of the middle one or two."""
    total = upto[:, -1:]
    low = torch.searchsorted(upto, (total + 1).div(2, rounding_mode="floor").clamp(min=1.0))
    high = torch.searchsorted(upto, total.div(2, rounding_mode="floor") + 1.0)
    last = len(durations) - 1  # a draw without any has no median, and a total of 0
    return ((durations[low.clamp(max=last)] + durations[high.clamp(max=last)]) / 2)[:, 0]


def doubts(*, kept: float | None, noise: float | None) -> str | None:
    """Why a run's ratio is no result; None if it is one. `kept`: the share of undisturbed segments; `noise`: how much
    two arms that do the same differed."""
    if kept is not None and kept < KEPT:
        return f"in {1 - kept:.0%} of the segments something else had the processor; {1 - KEPT:.0%} is the limit"
    if noise is None:
        return "too little was decoded to know this machine's noise"
    if abs(noise) > NOISE:
        return f"a loop that drafts nothing came out {noise:+.1%} beside plain decoding; {NOISE:.0%} is the limit"
    return None


def tails_differ(found: Estimate) -> bool:
    """Whether one arm's mean is farther above its medians than the other's."""
    tails = (found.plain_tail, found.spec_tail)
    return None not in tails and abs(tails[0] - tails[1]) > TAILS  # type: ignore[operator]

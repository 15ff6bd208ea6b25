# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Choose K by the clock: the K that should emit most tokens per second, from what this run has measured so far."""

import math
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Sequence

import torch

from models.tt_transformers.demo.speculative_decoding.drafters import Kind
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.inputs import whole_numbers
from models.tt_transformers.demo.speculative_decoding.lookahead import (
    PRIOR_ALPHA,
    Lookahead,
    check_draft_tokens,
    check_probability,
    standing,
)
from models.tt_transformers.demo.speculative_decoding.metrics import RoundRecord
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner

WINDOW = 25  # samples behind a median
CALIBRATION = 3  # forwards of each width before the first request
PRIOR_WEIGHT = 2.0  # of PRIOR_ALPHA, in rounds
MEMORY = 0.97  # what a round leaves of the weight of earlier rounds' acceptances


class Acceptances:
    """How often token j of one kind of draft is accepted where all before it were; recent rounds count more."""

    def __init__(self, longest: int) -> None:
        self._accepted = [PRIOR_ALPHA * PRIOR_WEIGHT] * longest
        self._judged = [PRIOR_WEIGHT] * longest

    def observe(self, drafted: int, accepted: int) -> None:
        judged = min(accepted + 1, drafted)
        for j in range(len(self._judged)):
            # Positions that were not reached learn a little from all those that were.
            right, seen = (float(j < accepted), 1.0) if j < judged else (0.2 * accepted, 0.2 * judged)
            self._accepted[j] = MEMORY * self._accepted[j] + right
            self._judged[j] = MEMORY * self._judged[j] + seen

    @property
    def odds(self) -> list[float]:
        """Per token P(it is accepted | those before it are)."""
        return [accepted / judged for accepted, judged in zip(self._accepted, self._judged, strict=True)]


class Clockwork:
    """Durations in ns and their medians: of a verify by its number of rows, of drafting one token by kind, and of
    feeding a draft one token of a round that passed without it."""

    def __init__(self) -> None:
        self.verifies: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self.drafts: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self.catch_ups: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))  # per token, by kind

    def verify_ns(self, rows: int) -> float:
        """Measured, or between measured neighbours; past the widest no more than that, in hope, until it was tried."""
        known = sorted(self.verifies)
        below = max((n for n in known if n <= rows), default=known[0])
        above = min((n for n in known if n >= rows), default=known[-1])
        low, high = statistics.median(self.verifies[below]), statistics.median(self.verifies[above])
        return low if above <= below else low + (high - low) * (rows - below) / (above - below)

    def samples(self, rows: int) -> int:
        """How many verifies of at most so many rows were measured."""
        return sum(len(durations) for n, durations in self.verifies.items() if n <= rows)


class AutoLookahead(Lookahead):
    """Picks the K of `choices` that maximises expected tokens / (K * draft step + verify of K + 1), K = 0 included.

    alpha is kept per position and per kind of draft (Drafter.expect); times are running medians of the rounds' own. The
    first rounds are plain, to compare with; while plain decoding is best, drafting is tried again at intervals that
    double, which bounds what a hopeless draft can cost. Estimates outlive a generation: times are the machine's, and
    kinds of draft are alike from prompt to prompt. The choices are a fixed set, so a device can have a trace of each.

    Because K follows the clock, two runs with the same seed at temperature > 0 follow the same law but may emit
    different tokens; at temperature 0 nothing of K can be seen in the text.
    """

    FIRST_PLAIN_ROUNDS = 2
    REPROBE = (12, 192)  # rounds until drafting is tried again: at first, and at most
    PLAIN_EVERY = 64  # rounds until the plain step is measured again while drafting pays

    def __init__(self, choices: Sequence[int] = (0, 1, 2, 3, 4, 6, 8, 12, 16), *, min_probability: float = 0.0) -> None:
        self.choices = sorted({check_draft_tokens(choice) for choice in whole_numbers(choices, "choices")})
        if self.choices[:1] != [0] or len(self.choices) < 2:
            raise BadInput(f"auto chooses among {self.choices}; give 0 (plain decoding) and another K")
        self.max_draft_tokens, self.min_probability = self.choices[-1], check_probability(min_probability)
        self.clockwork = Clockwork()
        self._acceptances: dict[str, Acceptances] = defaultdict(lambda: Acceptances(self.max_draft_tokens))
        self._rounds_since_plain = self._rounds_since_draft = 0
        self.start(1)
        self._widest = 0  # rows that a round verified
        self._patience = self.REPROBE[0]
        self._kinds: list[str | None] = []
        self._counts: list[int] = []
        self._row_tokens = math.inf  # that the time of one more row would bring otherwise

    def start(self, users: int) -> None:
        self._emitted = 0  # tokens of this generation: a prefill leaves nothing to catch up with
        self._fed: dict[str, int] = {}  # how many there were when a kind drafted last

    def calibrate(self, target: ModelRunner, *, users: int, argmax_only: bool) -> None:
        """Before any request, time every width it may ask for on an idle, warm target; leaves garbage in its cache."""
        for _ in range(CALIBRATION):
            for width in (k + 1 for k in self.choices if k < target.max_seq_len):
                at = min(64, target.max_seq_len - width)
                start = time.perf_counter_ns()
                target.forward(torch.zeros(users, width, dtype=torch.int64), [at] * users, argmax_only=argmax_only)
                target.synchronize()
                self.clockwork.verifies[users * width].append(time.perf_counter_ns() - start)

    def next(self, rooms: Sequence[int], kinds: Sequence[str | None]) -> list[int]:
        self._kinds, self._counts, self._row_tokens = list(kinds), [0] * len(rooms), math.inf
        drafting = [kind for room, kind in zip(rooms, kinds, strict=True) if room > 0 and kind]
        # A finished user has no room, and costs nothing. Nor has one about to end: one row too few changes no choice.
        users = sum(room > 0 for room in rooms)
        if drafting and (chosen := self._best_choice(users, drafting)):
            rows = users + chosen * len(drafting)
            row_ns = (self.clockwork.verify_ns(rows) - self.clockwork.verify_ns(users)) / (rows - users)
            self._row_tokens = row_ns * self._rate(chosen, users, drafting)
            self._counts = [min(chosen, room, self._worthwhile(kind)) for room, kind in zip(rooms, kinds)]
        return self._counts

    def _worthwhile(self, kind: str | None) -> int:
        """How many tokens of a draft of this kind pay their rows, if its odds are known."""
        if not isinstance(kind, Kind):
            return self.max_draft_tokens if kind else 0
        return sum(stands >= self._row_tokens for stands in standing(kind.odds))

    def further(self, rooms: Sequence[int]) -> list[tuple[int, float]]:
        """Tokens that stand with the draft often enough pay their rows, as they are drafted for nothing."""
        further = []
        for room, kind, count in zip(rooms, self._kinds, self._counts, strict=True):
            if not count or isinstance(kind, Kind):
                further.append((0, math.inf))
            else:
                stands = self._standing(kind or "", count)[-1]
                further.append((min(room, self.max_draft_tokens) - count, self._row_tokens / max(stands, 1e-9)))
        return further

    def worth(self, kind: str) -> float:
        """Tokens per ns with the best K, for one user."""
        if not self.clockwork.verifies:
            return super().worth(kind)
        return max(self._rate(count, 1, [kind]) for count in self._reach(1, 1)[1:])

    def _reach(self, users: int, drafting: int) -> list[int]:
        """Hope (see verify_ns) is allowed one step at a time: to twice the widest tried."""
        widest = max(2 * max(self._widest, *self.clockwork.verifies), users + self.choices[1] * drafting)
        return [k for k in self.choices if users + k * drafting <= widest]

    def _standing(self, kind: str, count: int) -> list[float]:
        """P(the first j tokens are accepted), for j up to count."""
        odds = kind.odds if isinstance(kind, Kind) else self._acceptances[kind].odds
        return standing(odds[:count])

    def _round_ns(self, count: int, users: int, kinds: Sequence[str]) -> float:
        """Of a round with drafts of so many tokens."""
        # Of one token; of a kind that was never drafted: nothing, so that it is tried.
        draft_ns = max(statistics.median(self.clockwork.drafts[kind] or [0.0]) for kind in kinds)
        return count * draft_ns + self.clockwork.verify_ns(users + count * len(kinds))

    def _rate(self, count: int, users: int, kinds: Sequence[str]) -> float:
        """Tokens per ns of such a round."""
        tokens = users + sum(sum(self._standing(kind, count)) for kind in kinds)
        return tokens / self._round_ns(count, users, kinds)

    def _best_choice(self, users: int, kinds: list[str]) -> int:
        if self.clockwork.samples(users) < self.FIRST_PLAIN_ROUNDS or self._rounds_since_plain >= self.PLAIN_EVERY:
            return 0

        def tokens_per_ns(count: int) -> float:
            return self._rate(count, users, kinds)

        choices = self._reach(users, len(kinds))
        best = max(choices, key=tokens_per_ns)
        told = all(isinstance(kind, Kind) for kind in kinds)  # their odds: there is nothing to try
        if best == 0 and self._rounds_since_draft >= self._patience and not told:
            self._patience = min(2 * self._patience, self.REPROBE[1])
            tried = max(choices[1:], key=tokens_per_ns)
            # What the draft must be fed first is not to cost more than drafts that all stand could win until then.
            known = {kind: statistics.median(self.clockwork.catch_ups[kind] or [0.0]) for kind in kinds}
            late_ns = max((self._emitted - self._fed.get(kind, 0)) * known[kind] for kind in kinds)
            won_per_token = self.clockwork.verify_ns(users) - self._round_ns(tried, users, kinds) / (tried + 1)
            won_ns = self._patience * won_per_token
            return tried if not late_ns or late_ns <= won_ns else 0
        if best > 0:
            self._patience = self.REPROBE[0]
        return best

    def observe(self, records: Sequence[RoundRecord | None]) -> None:
        live = [(record, kind) for record, kind in zip(records, self._kinds, strict=True) if record is not None]
        drafted = [(record, kind) for record, kind in live if record.drafted and kind]
        first = live[0][0]
        rows = len(live) + sum(record.drafted for record, _ in live)
        self._widest = max(self._widest, rows)
        whole = all(record.emitted == record.accepted + 1 for record, _ in live)  # a stop hides how much was done
        if whole and not first.fused:  # which hides how long the verify took
            self.clockwork.verifies[rows].append(first.verify_ns)
        self._rounds_since_plain = self._rounds_since_plain + 1 if drafted else 0
        self._rounds_since_draft = 0 if drafted else self._rounds_since_draft + 1
        self._emitted += max(record.emitted for record, _ in live)
        self._fed.update((kind, self._emitted) for _, kind in drafted)
        for record, kind in drafted:
            if not isinstance(kind, Kind):
                own = record.drafted - record.tail
                self._acceptances[kind].observe(own, min(record.accepted, own))
        for kind in {kind for _, kind in drafted} if whole else ():
            of_kind = [record for record, other in drafted if other == kind]
            longest = max(record.drafted - record.tail for record in of_kind)
            together_ns = first.verify_ns - self.clockwork.verify_ns(rows)
            draft_ns = max(0.0, together_ns) if first.fused else of_kind[0].drafter_ns
            if not first.catch_up:
                self.clockwork.drafts[kind].append(draft_ns / longest)
            elif known := self.clockwork.drafts[kind]:
                late_ns = draft_ns - longest * statistics.median(known)
                self.clockwork.catch_ups[kind].append(max(0.0, late_ns) / first.catch_up)

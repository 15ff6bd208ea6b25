# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Differential fuzzing: random generations against plain decoding, token for token. tests/README.md says what is
varied.

A failure is made small and printed as a one-line reproduction; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS)]  # when run as a script

import torch  # noqa: E402
from fuzz.case import Case, random_case  # noqa: E402
from fuzz.check import one_line, run_case, shrink  # noqa: E402
from fuzz.oracle import Text, continue_greedily  # noqa: E402
from fuzz.world import LAYOUTS, World, llama, spell  # noqa: E402
from loguru import logger  # noqa: E402

CASES_PER_POOL = 16  # cases that share one target and one set of texts
TEXTS, LONGEST = 96, 64  # texts in a set, and their length
TT_POOLS = 8  # every so many sets are for the fake Tenstorrent device


@dataclass
class Tally:
    """How far the fuzz got."""

    cases: int = 0
    emitted: int = 0
    close_calls: int = 0
    by_runner: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        parts = ", ".join(f"{count:,} on {runner}" for runner, count in sorted(self.by_runner.items()))
        return f"{self.cases:,} cases, {self.emitted:,} tokens ({parts}), {self.close_calls} near-ties set aside"


@dataclass(frozen=True)
class Failure:
    """A case that went wrong, made small; and how its first, larger form went wrong."""

    case: Case
    wrong: str
    found: Case

    def __str__(self) -> str:
        return f"{self.wrong}\n{one_line(self.case)}"


def random_texts(rng: random.Random, model: int) -> list[Text]:
    """Random prompts, half of them repeating themselves, and what the target writes after them."""
    vocab, texts = LAYOUTS[model][0], []
    for repeated in (False, True):
        length = rng.choice((1, 2, 3, 5, 8, 13, 21, 34))
        period = rng.randint(1, 4) if repeated else length
        prompts = [[rng.randrange(vocab) for _ in range(period)] * length for _ in range(TEXTS // 2)]
        texts += continue_greedily(llama(model), [prompt[:length] for prompt in prompts], LONGEST)
    return [text for text in texts if text.tokens]


def cases(seed: int, *, tt: bool = True) -> Iterator[tuple[Case, list[Text]]]:
    """Without end; the n-th of a seed is always the same."""
    pool = 0
    while True:
        rng = random.Random(f"{seed} {pool}")
        model = rng.randrange(len(LAYOUTS))
        on_tt = tt and pool % TT_POOLS == TT_POOLS - 1
        model = model % 2 if on_tt else model  # a pair is opened once per target and drafter
        texts = random_texts(rng, model)
        for _ in range(CASES_PER_POOL):
            yield random_case(rng, model, texts, spell(model), on_tt), texts
        pool += 1


def fuzz(
    seed: int,
    *,
    seconds: float = float("inf"),
    tokens: float = float("inf"),
    tt: bool = True,
    shrink_seconds: float = 30.0,
) -> tuple[Tally, Failure | None]:
    """Run cases until the time is up, or enough tokens were emitted, or one goes wrong."""
    tally, start, told = Tally(), time.monotonic(), time.monotonic()
    with World() as world:
        for case, texts in cases(seed, tt=tt):
            if time.monotonic() - start >= seconds or tally.emitted >= tokens:
                return tally, None
            verdict = run_case(world, case, texts)
            if verdict.wrong:
                small = shrink(case, lambda c: run_case(world, c).wrong is not None, seconds=shrink_seconds)
                return tally, Failure(small, run_case(world, small).wrong or verdict.wrong, case)
            tally.cases += 1
            tally.emitted += verdict.emitted
            tally.close_calls += verdict.close_call
            tally.by_runner[case.runner] += verdict.emitted
            if time.monotonic() - told > 10.0:
                told = time.monotonic()
                logger.info(f"{tally}; {tally.emitted / (told - start):.0f} tokens/s")
    raise AssertionError("the cases came to an end")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    options.add_argument("--tokens", type=float, default=float("inf"), help="stop after so many emitted tokens")
    options.add_argument("--seed", type=int, default=None, help="default: another one every time; it is printed")
    options.add_argument("--case", type=Case.from_json, help="run this one case, as a failure prints it")
    arguments = options.parse_args()
    torch.set_num_threads(1)  # the models are too small to share
    if arguments.case:
        with World() as world:
            verdict = run_case(world, arguments.case)
        print(verdict.wrong or ("a near-tie: it proves nothing" if verdict.close_call else "nothing wrong"))
        return int(verdict.wrong is not None)
    if arguments.seconds == arguments.tokens == float("inf"):
        arguments.tokens = 1_000_000
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"seed {seed}")
    tally, failure = fuzz(seed, seconds=arguments.seconds, tokens=arguments.tokens)
    print(f"{tally}; {'WRONG after them: ' + str(failure) if failure else '0 wrong'}")
    return int(failure is not None)


if __name__ == "__main__":
    sys.exit(main())

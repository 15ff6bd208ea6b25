# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What drafting from a text of 100,000 tokens costs. Prints; never fails (`make bench`).

per token    to append one: on average, and the longest that any took
per draft    expect and propose, of up to 31 tokens, at the end of the text
bytes        of memory per token
"""

import random
import time

from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest
from models.tt_transformers.demo.speculative_decoding.suffix import SuffixDrafter
from models.tt_transformers.demo.speculative_decoding.suffix_automaton import SuffixAutomaton

TOKENS = 100_000
_RNG = random.Random(0)
TEXTS = {
    "words (Zipf's law)": lambda: min(49_151, int(_RNG.paretovariate(0.7))),
    "random bits": lambda: _RNG.randrange(2),
    "one token": lambda: 1,
}


def bench(name: str) -> None:
    text = [TEXTS[name]() for _ in range(TOKENS)]
    automaton, longest, begun = SuffixAutomaton(), 0.0, time.perf_counter()
    for token in text:
        before = time.perf_counter()
        automaton.append(token)
        longest = max(longest, time.perf_counter() - before)
    appended = time.perf_counter() - begun
    drafter = SuffixDrafter()
    drafter.start([text])
    drafts, context = [], list(text)
    for token in text[:50]:
        context.append(token)
        before = time.perf_counter()
        drafter.expect([context])
        drafter.propose(DraftRequest(contexts=[context], counts=[31]))
        drafts.append(time.perf_counter() - before)
    costs = f"{1e6 * appended / TOKENS:6.1f} us per token (longest {1e3 * longest:5.2f} ms)"
    print(
        f"{name:20}{costs}  {1e6 * sum(drafts) / len(drafts):6.0f} us per draft  {automaton.bytes / TOKENS:4.0f} bytes"
    )


if __name__ == "__main__":
    for name in TEXTS:
        bench(name)

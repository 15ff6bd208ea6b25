# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What the host does in a sampled round of one user, at Llama 3's vocabulary: prints milliseconds of its parts.

PYTHONPATH=. python tests/benchmarks/sampled_round.py
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, accept, sample
from models.tt_transformers.demo.speculative_decoding.processors import Chooser, Penalties
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState, StopConditions

VOCAB, K, CONTEXT, TIMES = 128_256, 3, 1000, 60


def logits_of_a_model(rows: int) -> torch.Tensor:
    """As language models have them: a bulk far below a few dozen candidates of falling likelihood."""
    generator = torch.Generator().manual_seed(0)
    logits = 2.0 * torch.randn(rows, VOCAB, generator=generator)
    for row in logits:
        likely = torch.randperm(VOCAB, generator=generator)[:60]
        row[likely] = 20.0 - 0.8 * torch.arange(60).sqrt() * (1.0 + torch.rand(60, generator=generator))
    return logits


def milliseconds(work: Callable[[], object], *logits: torch.Tensor) -> str:
    """Of TIMES: the median (the least; the median of what processors were busy: the machine may be shared). `logits`
    are written anew before each, as by a forward."""
    work()
    walls, busy = [], []
    for _ in range(TIMES):
        for rows in logits:
            rows.copy_(rows.clone())
        begun, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - begun)
        busy.append(time.process_time() - cpu)
    wall, least, used = (1e3 * figure for figure in (statistics.median(walls), min(walls), statistics.median(busy)))
    return f"{wall:.2f} ({least:.2f}; {used:.2f})"


def main() -> None:
    target, draft, context = logits_of_a_model(K + 1), logits_of_a_model(K), [7] * CONTEXT
    generator = torch.Generator().manual_seed(0)
    begun = SequenceState(prompt=context, stop=StopConditions(max_seq_len=2 * CONTEXT))
    penalties = Penalties(presence=0.5).for_user(begun, SamplingParams())
    settings = {
        "temperature 0.8": {},
        "temperature 0.8, top-p 0.95": {"top_p": 0.95},
        "temperature 0.8, top-k 50, top-p 0.95": {"top_k": 50, "top_p": 0.95},
    }
    size = f"V = {VOCAB:,}, K = {K}, {torch.get_num_threads()} threads"
    print(f"host time of a sampled round, {size}; wanted: at most 3 ms. ms: median (least; busy)")
    for name, masks in settings.items():
        sampling = SamplingParams(temperature=0.8, **masks)
        for penalised, processors in (("", ()), (" + penalties", penalties)):
            chooser = Chooser(sampling, tuple(processors))

            def drafts(chooser: Chooser = chooser) -> tuple[list[int], list[torch.Tensor]]:
                q = [chooser.rows(row[None], context).processed(0) for row in draft]
                return [sample(row, generator) for row in q], q

            def judged(drafted: list[int], q: list[torch.Tensor], chooser: Chooser = chooser) -> object:
                rows = chooser.rows(target, [*context, *drafted])
                [rows[j] for j in range(K + 1)]  # as where all are accepted
                return accept([drafted], [rows], active=[True], draft_probs=[q], generators=[generator])

            drafted, q = drafts()
            whole = milliseconds(lambda: judged(*drafts()), draft, target)  # noqa: B023
            print(f"{name + penalised:50} drafting {milliseconds(drafts, draft):22} judging ", end="")
            print(f"{milliseconds(partial(judged, drafted, q), target):22} together {whole}")
    row, p = target[0] / 0.8, (target[0] / 0.8).softmax(-1)
    alone = {"inverse CDF": lambda: sample(p, generator), "torch.multinomial": lambda: torch.multinomial(p, 1)}
    alone["full sort of a row"] = lambda: row.sort(descending=True, stable=True)
    for name, work in alone.items():
        print(f"{name:50} {milliseconds(work)}")


if __name__ == "__main__":
    main()

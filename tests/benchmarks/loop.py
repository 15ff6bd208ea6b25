# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What the loop itself costs on the embedded model: medians of ratios in one run. Prints; never fails (`make bench`).

undrafted / plain   a drafter that never proposes, per step, against plain decoding (want <= 1.03)
host share          the loop's own time per round / a plain target step (want < 0.02)
round at K / plain  one round with the trained draft at this K, against a plain step (K = 1: want <= 1.10)
plain / generate    our plain decoding against transformers' generate, per token (want <= 1)
"""

import statistics
import sys
import time
from dataclasses import replace

import torch

from models.tt_transformers.demo.speculative_decoding.harness.pairs import named_pair
from models.tt_transformers.demo.speculative_decoding.harness.prompts import SAMPLE_PROMPTS, encode, load_prompts
from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import EMBEDDED
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter
from models.tt_transformers.demo.speculative_decoding.hf.loading import DTYPES, load_model
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

TOKENS, REPEATS = 48, 9


class Silent(PromptLookupDrafter):
    """Looks for a match and never drafts it."""

    def propose(self, request):
        return super().propose(replace(request, counts=[0] * len(request.counts)))


def step_ms(result: GenerationResult) -> float:
    return 1e3 * result.decode_s / max(1, len(result.rounds) or len(result.step_ns))


def bench(dtype: str) -> None:
    model, tokenizer = load_model(EMBEDDED, device="cpu", dtype=dtype)
    prompt = encode(load_prompts(SAMPLE_PROMPTS)[0], tokenizer)
    runner = TorchModelRunner(model, max_seq_len=512, eos_token_ids=frozenset())
    arms = {"plain": lambda: None, "undrafted": lambda: SpeculativeGenerator(runner, Silent())}
    draft_path = named_pair("smollm2").draft_path
    if draft_path is not None:
        drafter = FeatureDrafter.from_file(draft_path, model)
        for k in (1, 2, 3, 4):
            arms[f"feature draft, K={k}"] = lambda k=k: SpeculativeGenerator(runner, drafter, num_draft_tokens=k)
    stop = SpeculativeGenerator(runner).stop_conditions(max_new_tokens=TOKENS)
    ratios: dict[str, list[float]] = {name: [] for name in [*arms, "generate"]}
    steps: list[float] = []
    host: list[float] = []
    runner.warmup(range(1, 6))
    for repeat in range(REPEATS + 1):  # the first is warm-up
        first = repeat % len(ratios)  # another one begins each time
        times: dict[str, float] = {}
        for name in [*ratios][first:] + [*ratios][:first]:
            if name == "generate":
                times[name] = generate_ms(model, prompt)
                continue
            generator = arms[name]()
            if generator is None:
                (result,) = decode_plainly(runner, [prompt], stop=stop)
            else:
                (result,) = generator.generate([prompt], max_new_tokens=TOKENS)
            times[name] = step_ms(result)
            if repeat:
                host += [record.host_ns / 1e6 / times.get("plain", times[name]) for record in result.rounds]
        if repeat:
            steps.append(times["plain"])
            for name, values in ratios.items():
                values.append(times[name] / times["plain"])
    print(
        f"\n{dtype}, {torch.get_num_threads()} threads, {REPEATS} repeats of {TOKENS} tokens; a step or round in plain"
    )
    print(f"steps of the same repeat: median (lowest to highest); a plain step took {statistics.median(steps):.1f} ms")
    for name, values in ratios.items():
        print(f"  {name:<22}{statistics.median(values):8.3f}   ({min(values):.3f} to {max(values):.3f})")
    print(f"  {'host share':<22}{statistics.median(host):8.4f}   of a step per round")


def generate_ms(model, prompt: list[int]) -> float:
    """transformers' generate, per token after the first."""

    def seconds(count: int) -> float:
        start = time.perf_counter()
        model.generate(torch.tensor([prompt]), max_new_tokens=count, min_new_tokens=count, do_sample=False)
        return time.perf_counter() - start

    return 1e3 * (seconds(TOKENS) - seconds(1)) / (TOKENS - 1)


if __name__ == "__main__":
    for dtype in sys.argv[1:] or DTYPES:
        bench(dtype)

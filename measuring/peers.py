# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""transformers' own decoding of the same prompts by the same models: generate, prompt lookup, assisted generation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from measuring.speedups import FIGURES
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.harness.comparison import Arm, OnToken
from models.tt_transformers.demo.speculative_decoding.harness.prompts import TokenizedPrompt
from models.tt_transformers.demo.speculative_decoding.harness.segments import DRAWS, INTERVAL
from models.tt_transformers.demo.speculative_decoding.hf.generation_settings import PROCESSING
from models.tt_transformers.demo.speculative_decoding.metrics import median, ratio

FEWEST_REPEATS = 3  # of whole requests: one that stalled does not move their median
PEERS = ("generate", "prompt_lookup_num_tokens", "assistant_model")
LONGEST_NGRAM = 3  # of our own prompt lookup, so that both draft alike


@dataclass(frozen=True, kw_only=True)
class PeerResult:
    """One prompt by a peer.

    Attributes:
        tokens: emitted ids.
        request_s: from the call to its return. ttft_ms: to the first emission, which may hold several tokens.
        decode_s: from the first emission to the last; tokens_in_decode were emitted after the first.
    """

    tokens: list[int]
    request_s: float
    ttft_ms: float
    decode_s: float
    tokens_in_decode: int


@dataclass(frozen=True)
class PlainRequest:
    """Whole requests of one prompt by plain decoding, in turns with the peers: `seconds` of each repeat."""

    category: str
    tokens: list[int]
    seconds: list[float]


class _EmissionClock(BaseStreamer):
    """Notes when tokens were emitted; the first put is the prompt."""

    def __init__(self) -> None:
        self.times_ns: list[int] = []
        self.counts: list[int] = []

    def put(self, value: torch.Tensor) -> None:
        self.times_ns.append(time.perf_counter_ns())
        self.counts.append(value.numel())

    def end(self) -> None:
        """Nothing is held back."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One way of transformers to decode, greedily, one prompt at a time.

    Attributes:
        kind: of PEERS. k: drafted tokens per round at most; 0 for generate.
        eos_token_ids, max_seq_len: what ends a sequence, the same as for our own arms.
    """

    kind: str
    k: int
    model: PreTrainedModel
    assistant: PreTrainedModel | None
    eos_token_ids: frozenset[int]
    max_seq_len: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in PEERS:
            raise BadInput(f"there is no peer {self.kind!r}; there are {', '.join(PEERS)}")
        if (self.assistant is not None) != (self.kind == "assistant_model") or (self.k == 0) != (
            self.kind == "generate"
        ):
            raise BadInput(f"the peer {self.kind} with K = {self.k} and a draft {self.assistant} makes no sense")

    @property
    def label(self) -> str:
        return self.kind if self.kind == "generate" else f"{self.kind}={self.k}"

    @property
    def arm(self) -> Arm[PeerResult]:
        """It, among the arms of a comparison."""

        def decode(batch: Sequence[TokenizedPrompt], limit: int, on_token: OnToken | None) -> list[PeerResult]:
            return [self.run(request.token_ids, limit) for request in batch]

        return decode

    def run(self, prompt: Sequence[int], max_new_tokens: int) -> PeerResult:
        """Decode one prompt."""
        input_ids = torch.tensor([list(prompt)], device=self.model.device)
        clock = _EmissionClock()
        room = max_new_tokens if self.max_seq_len is None else self.max_seq_len - len(prompt)
        options, generate = self._options(min(max_new_tokens, room)), cast(Any, self.model).generate
        with _as_ours(self.model, self.assistant, self.k):
            self._synchronize()
            start = time.perf_counter_ns()
            output = generate(input_ids, attention_mask=torch.ones_like(input_ids), streamer=clock, **options)
            self._synchronize()
            end = time.perf_counter_ns()
        return PeerResult(
            tokens=output[0, len(prompt) :].tolist(),
            request_s=(end - start) / 1e9,
            ttft_ms=(clock.times_ns[1] - start) / 1e6,
            decode_s=(clock.times_ns[-1] - clock.times_ns[1]) / 1e9,
            tokens_in_decode=sum(clock.counts[2:]),
        )

    def _options(self, max_new_tokens: int) -> dict[str, Any]:
        eos = sorted(self.eos_token_ids)
        options: dict[str, Any] = {
            "do_sample": False,
            "temperature": None,
            "top_k": None,
            "top_p": None,
            "max_new_tokens": max_new_tokens,
            "eos_token_id": eos or None,
            "pad_token_id": eos[0] if eos else 0,
        }
        if self.kind == "prompt_lookup_num_tokens":
            options |= {"prompt_lookup_num_tokens": self.k, "max_matching_ngram_size": LONGEST_NGRAM}
        elif self.kind == "assistant_model":
            options["assistant_model"] = self.assistant
        return options

    def _synchronize(self) -> None:
        if self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)


@contextmanager
def _as_ours(model: PreTrainedModel, assistant: PreTrainedModel | None, k: int) -> Iterator[None]:
    """Both choose as our arms do, by their logits alone, and the assistant drafts exactly k tokens per round, as ours;
    they are left as they were found.
    """
    constant = {
        "num_assistant_tokens": k,
        "num_assistant_tokens_schedule": "constant",
        "assistant_confidence_threshold": 0.0,
    }
    own = model.generation_config
    processing = {name: getattr(own, name, None) for name in PROCESSING}
    wanted: list[tuple[PreTrainedModel, dict[str, Any]]] = [(model, processing)]
    wanted += [(assistant, constant)] if assistant is not None else []
    before = [(one, one.generation_config) for one, _ in wanted]
    try:
        for (one, settings), (_, own) in zip(wanted, before, strict=True):
            one.generation_config = GenerationConfig(eos_token_id=getattr(own, "eos_token_id", None), **settings)
        yield
    finally:
        for one, config in before:
            one.generation_config = config


def peer_record(
    peer: Peer, results: Sequence[Sequence[PeerResult]], requests: Sequence[PlainRequest], *, doubts: str | None
) -> dict[str, Any]:
    """One peer in the JSON: medians over the repeats, per prompt and in total; speedups of whole requests, none where
    it is "not_comparable" (the reason).

    Args:
        results: per prompt, one result per repeat.
        requests: per prompt, plain decoding's.
        doubts: why nothing that ran beside it gave a ratio, if so.
    """
    same = [runs[0].tokens == request.tokens for runs, request in zip(results, requests, strict=True)]
    times = [([run.request_s for run in runs], request.seconds) for runs, request in zip(results, requests)]
    repeats = min(len(ours) for ours, _ in times)
    reason = doubts
    if repeats < FEWEST_REPEATS:
        reason = f"whole requests per prompt: {repeats}; a median needs {FEWEST_REPEATS}"
    elif not all(same):
        reason = f"its text is another on {same.count(False)} of {len(same)} prompts"
    rows: list[dict[str, Any]] = [
        {
            "category": request.category,
            "new_tokens": len(runs[0].tokens),
            "identical": equal,
            "ttft_ms": median([run.ttft_ms for run in runs]),
            "decode_s": median([run.decode_s for run in runs]),
            "decode_tps": ratio(runs[0].tokens_in_decode, median([run.decode_s for run in runs])),
            "request_s": median(ours),
            "baseline_request_s": median(plain),
            **(dict.fromkeys(FIGURES) if reason else request_speedup([(ours, plain)])),
        }
        for runs, request, equal, (ours, plain) in zip(results, requests, same, times)
    ]
    total = {name: sum(row[name] for row in rows) for name in ("new_tokens", "request_s", "baseline_request_s")}
    in_decode = sum(runs[0].tokens_in_decode for runs in results)
    return {
        "peer": peer.label,
        "kind": peer.kind,
        "k": peer.k,
        "prompts": rows,
        "summary": {
            "prompts": len(rows),
            "identical": sum(same),
            "repeats": repeats,
            "decode_tps": ratio(in_decode, sum(row["decode_s"] for row in rows)),
            **total,
            "not_comparable": reason,
            **(dict.fromkeys(FIGURES) if reason else request_speedup(times)),
        },
    }


def request_speedup(times: Sequence[tuple[Sequence[float], Sequence[float]]]) -> dict[str, float]:
    """FIGURES: sum of plain decoding's medians / sum of the peer's, and its 95% interval by bootstrap of the repeats of
    each prompt. times: per prompt (the peer's, plain decoding's) seconds, one per repeat."""
    generator = torch.Generator().manual_seed(0)
    sums = []
    for arm in (0, 1):
        drawn = torch.zeros(DRAWS, dtype=torch.float64)
        for seconds in (torch.tensor(pair[arm], dtype=torch.float64) for pair in times):
            picked = torch.randint(len(seconds), (DRAWS, len(seconds)), generator=generator)
            drawn += torch.quantile(seconds[picked], 0.5, dim=1)
        sums.append(drawn)
    low, high = torch.quantile(sums[1] / sums[0], sums[0].new_tensor(INTERVAL)).tolist()
    value = sum(statistics.median(plain) for _, plain in times) / sum(statistics.median(ours) for ours, _ in times)
    return dict(zip(FIGURES, (value, low, high), strict=True))

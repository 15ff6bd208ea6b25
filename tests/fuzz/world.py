# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What fuzz cases are made of: a pool of tiny Llamas, drafters of every character, lookaheads, runners."""

from __future__ import annotations

import functools
import os
import random
import string
import tempfile
import unittest.mock
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from fakes.device import FakeMeshDevice
from fakes.install import fake_upstream
from fuzz.case import TT_K, TT_SEQ_LEN, TT_USERS, Case
from fuzz.oracle import Text
from support.tiny import tiny_llama
from transformers import Gemma2Config, Gemma2ForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, sample
from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.drafters import Draft, Drafter, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead, Lookahead
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.runner import ModelRunner
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.suffix import SuffixDrafter

# (vocab, dim, heads, KV heads): grouped, multi-query and full attention; vocabularies that are no multiple of 32 too.
LAYOUTS = (
    (32, 32, 4, 2),
    (64, 32, 4, 1),
    (40, 32, 4, 4),
    (16, 16, 2, 2),
    (48, 48, 6, 3),
    (33, 64, 8, 2),
    (57, 24, 3, 1),
    # Shorter windows than texts, in every layer and in every second one, there with soft-capped scores.
    (36, 32, 4, 2),
    (44, 32, 4, 1),
)
WINDOWS, SOFT_CAPPED = (7, 8), 8  # indices of the last two
SPELLINGS = [
    *string.ascii_lowercase,
    "ab",
    "ba",
    "aa",
    "the",
    " ",
    "\n",
    "cab",
    ".",
    *string.ascii_uppercase,
    "é",
    "->",
]
SPELLINGS += [f"<{n}>" for n in range(64 - len(SPELLINGS))]


def spell(model: int) -> list[str]:
    """What each token id of this model reads as."""
    return SPELLINGS[: LAYOUTS[model][0]]


class SpellingTokenizer:
    """As much of a tokenizer as the generator needs; stop strings cross its tokens, and rounds."""

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(SPELLINGS[i] for i in ids)


@functools.cache
def llama(model: int, kind: str = "self", *, double: bool = False) -> PreTrainedModel:
    """The target, a noisy copy of it ("near") or a stranger of one layer ("other";
    "padded": whose output layer is of another size).

    In float64, rounding is so far below what sampling looks at that a user samples the same tokens in any company.
    """
    if double:
        return _copy(llama(model, kind), model, kind).double()
    made = _build(model, kind)
    if kind == "near":
        generator = torch.Generator().manual_seed(model)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return made


def _build(model: int, kind: str) -> PreTrainedModel:
    vocab, dim, heads, kv_heads = LAYOUTS[model]
    seed, layers = (model, 2) if kind not in ("other", "padded") else (100 + model, 1)
    vocab += random.Random(model).choice((-5, 3)) if kind == "padded" else 0
    if model in WINDOWS:
        return _windowed(seed, soft_capped=model == SOFT_CAPPED, vocab=vocab, heads=heads, kv_heads=kv_heads)
    return tiny_llama(seed, vocab=vocab, dim=dim, heads=heads, kv_heads=kv_heads, layers=layers)


def _windowed(seed: int, *, soft_capped: bool, vocab: int, heads: int, kv_heads: int) -> PreTrainedModel:
    sizes = {"vocab_size": vocab, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": 8}
    sizes |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 512}
    sizes |= {
        "sliding_window": 9,
        "initializer_range": 0.3,
        "eos_token_id": None,
        "bos_token_id": None,
        "pad_token_id": 0,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if soft_capped:
            config = Gemma2Config(**sizes, attn_logit_softcapping=2.0, query_pre_attn_scalar=8)
            return Gemma2ForCausalLM(config).eval()
        return MistralForCausalLM(MistralConfig(**sizes)).eval()


def _copy(source: PreTrainedModel, model: int, kind: str) -> PreTrainedModel:
    made = _build(model, kind)
    made.load_state_dict(source.state_dict())
    return made


class KnowingDrafter:
    """Knows each user's text, and errs at a rate of its own; it may draft less than was asked, or nothing."""

    name = "knowing"
    feature_layers: tuple[int, ...] = ()

    def __init__(self, texts: Sequence[Text], seed: int, *, errors: float, tokens: Sequence[int]) -> None:
        self.texts, self.seed, self.errors, self.tokens = texts, seed, errors, tokens

    def start(self, prompts, prompt_features=None) -> None:
        self.by_prompt = {text.prompt: text.tokens for text in self.texts}
        self.known = [self.by_prompt[tuple(prompt)] for prompt in prompts]
        self.starts = [len(prompt) for prompt in prompts]

    def expect(self, contexts) -> list[str | None]:
        return [self.name] * len(contexts)

    def propose(self, request) -> Draft:
        tokens = []
        for user, (context, count) in enumerate(zip(request.contexts, request.counts, strict=True)):
            here = len(context) - self.starts[user]
            rng = random.Random(f"{self.seed} {user} {here}")
            if 0.0 < self.errors < 1.0 and rng.random() < 0.1:
                count = rng.randint(0, count)
            tokens.append([self._token(user, here + j, rng) for j in range(count)])
        return Draft(tokens, [None] * len(tokens), [[self.name] * len(drafted) for drafted in tokens])

    def _token(self, user: int, index: int, rng: random.Random) -> int:
        right = self.known[user][index] if index < len(self.known[user]) else None
        if right is not None and rng.random() >= self.errors:
            return right
        return rng.choice([token for token in self.tokens if token != right] or self.tokens)

    def observe(self, accepted_counts, features) -> None:
        pass

    def close(self) -> None:
        pass


class RandomQDrafter(KnowingDrafter):
    """Samples from a q that it makes up, with the user's own generator."""

    name = "random-q"

    def propose(self, request) -> Draft:
        probs = []
        for user, count in enumerate(request.counts):
            made = torch.Generator().manual_seed(hash((self.seed, len(request.contexts[user]))) % 2**32)
            probs.append((3 * torch.randn(count, len(self.tokens), generator=made)).softmax(-1) if count else None)
        tokens = [
            [] if q is None else [sample(row, request.generators[user]) for row in q] for user, q in enumerate(probs)
        ]
        return Draft(tokens, probs, [[self.name] * len(drafted) for drafted in tokens])


class RandomLookahead(Lookahead):
    """Another K in every round, for every user; another of two drafters, and tails of any length."""

    min_probability = 0.0

    def __init__(self, max_draft_tokens: int, seed: int) -> None:
        self.max_draft_tokens, self.rng = max_draft_tokens, random.Random(seed)

    def start(self, users: int) -> None:
        pass

    def next(self, rooms, kinds) -> list[int]:
        self.counts = [min(room, self.rng.randint(0, self.max_draft_tokens)) for room in rooms]
        return self.counts

    def worth(self, kind) -> float:
        return self.rng.random()

    def further(self, rooms):
        mosts = [min(room, self.max_draft_tokens) - count for room, count in zip(rooms, self.counts, strict=True)]
        return [(most, self.rng.random() / 2) for most in mosts]

    def observe(self, records) -> None:
        pass


class SimulatedAuto(AutoLookahead):
    """Auto on a clock of its own, so that a case repeats itself."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = random.Random(seed)
        self.draft_ns, self.row_ns = rng.randint(0, 500), rng.randint(0, 200)

    def observe(self, records) -> None:
        rows = sum(1 + record.drafted for record in records if record)
        longest = max(record.drafted for record in records if record)
        times = {"draft_ns": longest * self.draft_ns, "verify_ns": 1000 + self.row_ns * rows, "total_ns": 10**6}
        super().observe([record and replace(record, **times) for record in records])


def lookahead(case: Case) -> Lookahead:
    kind, _, value = case.lookahead.partition("-")
    if kind == "fixed":
        return FixedLookahead(int(value))
    if kind == "random":
        return RandomLookahead(int(value), case.seed)
    return AdaptiveLookahead(min_probability=float(value)) if kind == "adaptive" else SimulatedAuto(case.seed)


class World:
    """Makes generators for cases; the fake Tenstorrent device and the pairs opened on it live as long as it does."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._pairs: dict[tuple[int, str], tuple[ModelRunner, ModelRunner]] = {}
        self._folder: Path | None = None

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def generator(self, case: Case, texts: Sequence[Text]) -> SpeculativeGenerator:
        """A fresh generator for the case; `texts` is what the drafters that cheat may know."""
        make = self._on_tt if case.runner == "tt" else self._on_torch
        target, drafter = make(case, texts)
        return SpeculativeGenerator(
            target,
            drafter,
            lookahead=FixedLookahead(0) if drafter is None else lookahead(case),
            sampling=SamplingParams(temperature=case.temperature, top_k=case.top_k, top_p=case.top_p, seed=case.seed),
            verify_width=case.verify_width,
            tokenizer=SpellingTokenizer(),
        )

    def _on_torch(self, case: Case, texts: Sequence[Text]) -> tuple[ModelRunner, Drafter | None]:
        def runner(kind: str, head: Sequence[int] | None = None) -> TorchModelRunner:
            return TorchModelRunner(
                llama(case.model, kind, double=not case.greedy),
                name=kind,
                max_seq_len=case.max_seq_len,
                max_users=len(case.prompts),
                head_token_ids=head,
            )

        kind = case.drafter.removeprefix("hybrid-")
        if kind in ("self", "near", "other", "padded", "trimmed"):
            vocab = LAYOUTS[case.model][0]
            half = random.Random(case.seed).sample(range(vocab), vocab // 2) if kind == "trimmed" else None
            drafter = ModelDrafter(runner("near" if kind == "trimmed" else kind, half))
            if case.drafter.startswith("hybrid-"):
                drafter = HybridDrafter(SuffixDrafter(memory=case.seed % 3 * 20), drafter)
        else:
            drafter = simple_drafter(case, texts)
        return runner("self"), drafter

    def _on_tt(self, case: Case, texts: Sequence[Text]) -> tuple[ModelRunner, Drafter | None]:
        kind = case.drafter if case.drafter in ("self", "near", "other") else "other"
        if (case.model, kind) not in self._pairs:
            self._pairs[case.model, kind] = self._open_pair(case.model, kind)
        target, draft = self._pairs[case.model, kind]
        return target, ModelDrafter(draft) if kind == case.drafter else simple_drafter(case, texts)

    def _open_pair(self, model: int, kind: str) -> tuple[ModelRunner, ModelRunner]:
        from models.tt_transformers.demo.speculative_decoding.tt.pair import open_models, pair_requests

        if self._folder is None:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            environment = {"TT_CACHE_PATH": str(self._folder / "tensor_cache")}
            self._stack.enter_context(unittest.mock.patch.dict(os.environ, environment))
            self._stack.enter_context(fake_upstream())
        names = []
        for name in ("self", kind):
            names.append(str(self._folder / f"{name}-{model}" / f"{name}-{model}"))
            llama(model, name).save_pretrained(names[-1])
        requests = pair_requests(*names, num_draft_tokens=(1, 3, TT_K))
        pair = open_models(FakeMeshDevice(), requests, users=TT_USERS, max_seq_len=TT_SEQ_LEN)
        for runner in pair:
            self._stack.callback(runner.close)
        return pair


def simple_drafter(case: Case, texts: Sequence[Text]) -> Drafter | None:
    """The drafters that need no model."""
    everything = range(LAYOUTS[case.model][0])
    if case.drafter == "none":
        return None
    if case.drafter == "suffix":
        return SuffixDrafter(memory=case.seed % 3 * 20)
    if case.drafter == "lookup":
        return PromptLookupDrafter()
    if case.drafter == "random-tokens":
        cls = KnowingDrafter if case.temperature == 0.0 else RandomQDrafter
        return cls(texts, case.seed, errors=1.0 - 1.0 / len(everything), tokens=everything)
    if case.drafter == "stop-tokens":
        return KnowingDrafter(texts, case.seed, errors=0.3, tokens=case.stop_ids or (0,))
    errors = 1.0 if case.drafter == "always-wrong" else random.Random(case.seed).choice((0.0, 0.02, 0.1, 0.3))
    return KnowingDrafter(texts, case.seed, errors=errors, tokens=everything)

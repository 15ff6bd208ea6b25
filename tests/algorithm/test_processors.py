# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Every row is processed with the history that it has; the law of the processed target, on tables whose law is known.

What transformers itself would write is in tests/hf/test_processors.py.
"""

import os
from collections import Counter

import pytest
import torch
from support.doubles import ScriptedDrafter
from support.law import TableRunner, assert_follows, law_of, random_table

from models.tt_transformers.demo.speculative_decoding import processors as module
from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, to_probabilities
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.processors import Chooser, Penalties, UserRows
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

V, LIMIT = 8, 24
TARGET, DRAFT = random_table(1, V), random_table(2, V, spread=1.0)
PROMPTS = [[3, 5], [1, 1, 2], [7]]
DRAFTERS = ["none", "self", "model", "lookup", "hybrid", "zeros"]


def drafter_of(kind, users):
    def model(table):
        return ModelDrafter(TableRunner(table, vocab=V, users=users))

    return {
        "none": lambda: None,
        "self": lambda: model(TARGET),
        "model": lambda: model(DRAFT),
        "lookup": PromptLookupDrafter,
        "hybrid": lambda: HybridDrafter(PromptLookupDrafter(), model(TARGET)),
        "zeros": lambda: ScriptedDrafter(lambda _, count: [0] * count),
    }[kind]()


def generate(kind, processors, *, k=3, prompts=PROMPTS, limit=LIMIT, sampling=SamplingParams(), **request):
    users = len(prompts)
    target = TableRunner(TARGET, vocab=V, users=users)
    how = {"sampling": sampling, "processors": processors}
    generator = SpeculativeGenerator(target, drafter_of(kind, users), num_draft_tokens=k * (kind != "none"), **how)
    return generator.generate(prompts, max_new_tokens=limit, **request)


class Penalised:
    """OpenAI's formula by a loop: mu[j] - c[j] * frequency - (c[j] > 0) * presence."""

    def __init__(self, presence, frequency):
        self.presence, self.frequency = presence, frequency

    def row(self, logits, text):
        counts = Counter(text)
        return torch.tensor(
            [float(x) - counts[j] * self.frequency - (counts[j] > 0) * self.presence for j, x in enumerate(logits)]
        )

    def text(self, prompt, limit=LIMIT):
        found = []
        for _ in range(limit):
            whole = [*prompt, *found]
            found.append(int(self.row(TARGET(tuple(whole[-2:])), found).argmax()))
        return found


class Recorder:
    """Changes nothing, and keeps every history that it is shown."""

    def __init__(self):
        self.seen = []

    def process(self, logits, history):
        self.seen.append(history.tolist())
        return logits


@pytest.mark.parametrize("kind", DRAFTERS)
@pytest.mark.parametrize("penalties", [(1.5, 0.0), (0.0, 0.7), (-0.5, 1.1)], ids=str)
def test_presence_and_frequency(kind, penalties):
    own = Penalties(presence=penalties[0], frequency=penalties[1])
    expected = [Penalised(*penalties).text(prompt) for prompt in PROMPTS]
    assert expected != [Penalised(0, 0).text(prompt) for prompt in PROMPTS]
    for k in range(1, 8) if kind == "self" else (2, 5):
        assert [result.tokens for result in generate(kind, [own], k=k)] == expected


def test_plain_decoding_chooses_alike():
    stop = StopConditions(max_new_tokens=LIMIT, max_seq_len=64)
    target = TableRunner(TARGET, vocab=V, users=3)
    results = decode_plainly(target, PROMPTS, stop=stop, processors=[Penalties(presence=1.5)])
    assert [result.tokens for result in results] == [Penalised(1.5, 0).text(prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("kind", ["model", "lookup", "zeros"])
def test_no_trace_of_what_was_rejected(kind):
    """The target's rows are shown each prefix of the text once, and nothing else; so is plain decoding's."""
    recorders = [Recorder(), Recorder()]
    (spoken,) = generate(kind, [recorders[0]], prompts=[[3, 5]])
    generate("none", [recorders[1]], prompts=[[3, 5]])
    text = [3, 5, *spoken.tokens]
    prefixes = [text[:n] for n in range(2, len(text))]
    assert spoken.accepted < spoken.drafted and recorders[1].seen == prefixes
    if kind == "model":  # the draft's rows are shown what it drafted
        assert all(history in recorders[0].seen for history in prefixes)
    else:
        assert recorders[0].seen == prefixes


def stale(self, logits, tokens):
    """A mistake of others: every row of a round sees what was accepted before it."""
    committed = torch.tensor(tokens[: len(tokens) - len(logits) + 1])
    rows = UserRows(self, logits, tokens)
    rows.processed = lambda index: self.row(logits[index], committed)
    return rows


def test_a_stale_history_shows(monkeypatch):
    """Negative control, greedy."""
    monkeypatch.setattr(Chooser, "rows", stale)
    with pytest.raises(AssertionError):
        test_presence_and_frequency("self", (-0.5, 1.1))


class Matcher:
    """One that remembers: tokens climb by at most two (mod V) from the last one. It goes back and forward by itself."""

    def __init__(self, counts):
        self.taken, self.counts = [], counts

    def process(self, logits, history):
        tokens = history.tolist()
        agreed = len(os.path.commonprefix([self.taken, tokens]))
        self.counts["back"] += len(self.taken) - agreed
        self.counts["forward"] += len(tokens) - agreed
        self.taken = tokens
        allowed = [(tokens[-1] + step) % V for step in (1, 2)]
        return logits.index_fill(0, torch.tensor([i for i in range(V) if i not in allowed]), float("-inf"))


class Matchers:
    def __init__(self):
        self.counts, self.made = Counter(), []

    def for_user(self, sequence, sampling):
        self.made.append((list(sequence.prompt), Matcher(self.counts)))
        return [self.made[-1][1]]


@pytest.mark.parametrize("kind", DRAFTERS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_one_that_remembers(kind, temperature):
    """Each user has its own, and masks hold at every position."""
    matchers, sampling = Matchers(), SamplingParams(temperature=temperature, top_p=0.9 if temperature else 1.0)
    results = generate(kind, matchers, sampling=sampling)
    assert [prompt for prompt, _ in matchers.made] == PROMPTS
    for result, prompt in zip(results, PROMPTS, strict=True):
        whole = [*prompt, *result.tokens]
        assert all((b - a) % V in (1, 2) for a, b in zip(whole[len(prompt) - 1 :], whole[len(prompt) :]))
    if temperature == 0.0:
        assert [r.tokens for r in results] == [r.tokens for r in generate("none", Matchers())]
        assert (matchers.counts["back"] > 0) == (kind in ("self", "model", "hybrid"))


class TestLaw:
    """Texts of two and three tokens out of rounds, against the law by a loop."""

    SAMPLING, PENALTY = SamplingParams(temperature=0.8, seed=3), Penalised(1.2, 0.5)

    def joint(self):
        law = {}

        def grow(text, mass):
            if len(text) == 3:
                law[text] = mass
                return
            row = self.PENALTY.row(TARGET(tuple([3, 5, *text][-2:])), text)
            for token, p in law_of(to_probabilities(row, self.SAMPLING)).items():
                grow((*text, token), mass * p)

        grow((), 1.0)
        return law

    def texts(self, kind, users=1200):
        penalties = Penalties(presence=1.2, frequency=0.5)
        results = generate(kind, penalties, prompts=[[3, 5]] * users, limit=4, sampling=self.SAMPLING)
        return Counter(tuple(result.tokens[:3]) for result in results), results

    @pytest.mark.parametrize("kind", ["none", "self", "model", "lookup"])
    def test_it_is_the_processed_targets(self, kind):
        counts, results = self.texts(kind)
        assert_follows(counts, self.joint())
        if kind == "self":  # q is processed as p is
            assert sum(r.accepted for r in results) == sum(r.drafted for r in results)

    def test_a_stale_history_shows(self, monkeypatch):
        """Negative control: a processor that sees what was accepted alone."""
        monkeypatch.setattr(Chooser, "rows", stale)
        with pytest.raises(AssertionError):
            assert_follows(self.texts("model")[0], self.joint())

    def test_an_unprocessed_first_token_shows(self, monkeypatch):
        """Negative control: of the prefill, or of any row, without processors."""
        monkeypatch.setattr(module, "chooser_of", lambda *_: Chooser(self.SAMPLING))
        from models.tt_transformers.demo.speculative_decoding import speculative_generator

        monkeypatch.setattr(speculative_generator, "chooser_of", lambda *_: Chooser(self.SAMPLING))
        with pytest.raises(AssertionError):
            assert_follows(self.texts("model")[0], self.joint())


class TestRefused:
    class Nothing:
        def process(self, logits, history):
            return torch.full_like(logits, float("-inf")) if len(history) > 4 else logits

    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    @pytest.mark.parametrize("kind", ["none", "self"])
    def test_nothing_is_left(self, kind, temperature):
        with pytest.raises(BadInput, match="leave no token after the first 5: .*loosen them"):
            generate(kind, self.Nothing(), prompts=[[3, 5]], sampling=SamplingParams(temperature=temperature))

    def test_a_draft_with_nothing_left_ends(self):
        """What it would go on with is not for the target."""
        (result,) = generate("self", self.Nothing(), prompts=[[3, 5]], limit=3)
        assert len(result.tokens) == 3

    @pytest.mark.parametrize("given", [3, Penalties, [None], "x"], ids=str)
    def test_what_is_no_processor(self, given):
        with pytest.raises(BadInput, match="processors holds a .*; give objects with process"):
            generate("none", given)

    def test_a_function_that_remembers_its_calls(self):
        calls = []

        def counting(input_ids, scores):
            calls.append(1)
            return scores - len(calls)

        with pytest.raises(BadInput, match="function gives another result for the same history"):
            generate("none", counting)

    def test_a_function_that_fails(self):
        with pytest.raises(BadInput, match="function cannot process a row of logits: .*; leave it out"):
            generate("none", lambda input_ids, scores: scores[0, 1000])

    @pytest.mark.parametrize("value", [2.1, -3, float("nan"), True, "x"])
    @pytest.mark.parametrize("name", ["presence", "frequency"])
    def test_penalties(self, name, value):
        with pytest.raises(BadInput, match=f"{name} penalty"):
            Penalties(**{name: value})

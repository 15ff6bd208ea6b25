# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Runs one case and says what is wrong with it; makes a failing case small."""

from __future__ import annotations

import itertools
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fuzz.case import GREEDY_AT_HEART, Case
from fuzz.oracle import Text, continue_greedily, ended, logits_after
from fuzz.world import World, llama, spell

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.metrics import GenerationResult

# Drafters and lookaheads that treat a user alike in any company.
ALONE_DRAFTERS = (
    "none",
    "suffix",
    "lookup",
    "self",
    "near",
    "other",
    "trimmed",
    "hybrid-self",
    "hybrid-near",
    "hybrid-trimmed",
)


class Wrong(AssertionError):
    """What the package did is not what plain decoding does."""


def require(holds: bool, message: str) -> None:
    if not holds:
        raise Wrong(message)


@dataclass(frozen=True)
class Verdict:
    """How a case went: how many tokens were emitted and compared; what was wrong (None: nothing);
    whether it was usable."""

    emitted: int = 0
    wrong: str | None = None
    close_call: bool = False


def run_case(world: World, case: Case, texts: Sequence[Text] | None = None) -> Verdict:
    """Run the case and compare it with the oracle's texts (worked out here unless they are given)."""
    if texts is None:
        texts = [continue_greedily(llama(case.model), [prompt], case.limit)[0] for prompt in case.prompts]
    elif len(texts) != len(case.prompts):
        by_prompt = {text.prompt: text for text in texts}
        texts = [by_prompt[prompt] for prompt in case.prompts]
    expected = [end_of(case, text.prompt, text.tokens) for text in texts]
    if case.greedy and any(reason is None for _, reason in expected):
        return Verdict(close_call=True)
    try:
        check = check_greedy if case.greedy else check_sampled
        return Verdict(emitted=check(world, case, texts, expected))
    except Exception as error:  # whatever goes wrong is a finding
        return Verdict(wrong=f"{type(error).__name__}: {error}".splitlines()[0])


def end_of(case: Case, prompt: Sequence[int], tokens: Sequence[int]) -> tuple[list[int], str | None]:
    options = {name: getattr(case, name) for name in ("limit", "max_seq_len", "stop_ids", "stop_strings")}
    return ended(prompt, tokens, spell(case.model), **options)


def generate(generator, case: Case, prompts: Sequence[Sequence[int]], *, stream=False, **options):
    """A list of GenerationResult, or an iterator of TokenEvent."""
    run = generator.stream if stream else generator.generate
    return run(
        prompts, max_new_tokens=case.limit, stop_token_ids=case.stop_ids, stop_strings=case.stop_strings, **options
    )


def check_greedy(world: World, case: Case, texts: Sequence[Text], expected: Sequence[tuple[list[int], str]]) -> int:
    """Every token, every reason to end, every count; and again on the same generator, with the users in reverse."""
    if case.generations == 0:
        return check_streams(world, case, texts, expected)
    generator, emitted = world.generator(case, texts), 0
    for turn in range(case.generations):
        order = 1 if turn % 2 == 0 else -1
        events = []
        results = generate(generator, case, case.prompts[::order], on_token=events.append)
        for user, (result, (tokens, reason)) in enumerate(zip(results, expected[::order], strict=True)):
            where = f"generation {turn}, user {user}"
            require(result.tokens == tokens, f"{where}: emitted {result.tokens}, plain decoding {tokens}")
            require(result.finish_reason == reason, f"{where}: ended by {result.finish_reason} instead of {reason}")
            streamed = [event.token for event in events if event.user == user]
            require(streamed == tokens, f"{where}: streamed {streamed}, emitted {tokens}")
            check_counts(case, result, where, generator.lookahead.max_draft_tokens)
            emitted += len(tokens)
    return emitted


def check_streams(world: World, case: Case, texts: Sequence[Text], expected: Sequence[tuple[list[int], str]]) -> int:
    """Two streams in turns, the users of the one in reverse; on one device's pair the second ends the first."""
    generators = [world.generator(case, texts) for _ in range(2)]
    orders = [case.prompts, case.prompts[::-1]]
    streams = [generate(g, case, p, stream=True) for g, p in zip(generators, orders, strict=True)]
    events: list[list] = [[], []]
    for turn in itertools.count():
        which = turn % 2 if len(streams) == 2 else 0
        try:
            events[which].append(next(streams[which]))
        except StopIteration:
            break
        except BadInput:
            require(generators[0].target is generators[1].target, "a stream was ended by another runner's")
            break
    for which, seen in enumerate(events):
        wanted = [tokens for tokens, _ in expected][:: 1 if which == 0 else -1]
        for user, tokens in enumerate(wanted):
            streamed = [event.token for event in seen if event.user == user]
            require(streamed == tokens[: len(streamed)], f"stream {which}, user {user}: {streamed} instead of {tokens}")
    return sum(map(len, events))


def check_counts(case: Case, result: GenerationResult, where: str, most: int) -> None:
    """What is counted is what was committed."""
    rounds, origins = result.rounds, result.origins
    require(len(result.tokens) == 1 + sum(r.emitted for r in rounds), f"{where}: emitted counts do not add up")
    require(
        result.accepted == origins.count("accepted"), f"{where}: {result.accepted} counted as accepted in {origins}"
    )
    require(all(0 <= r.accepted <= r.drafted <= most for r in rounds), f"{where}: accepted > drafted, or drafted > K")
    require(all(r.emitted - r.accepted in (0, 1) for r in rounds), f"{where}: a round emitted more than one of its own")
    named = [bool(source) for source in result.sources]
    require(named == [origin == "accepted" for origin in origins], f"{where}: sources {result.sources} of {origins}")
    text = "".join(spell(case.model)[token] for token in result.tokens)
    require(result.text == text, f"{where}: its text is {result.text!r} instead of {text!r}")
    if case.drafter == "self" and case.greedy:
        require(
            result.accepted == result.drafted, f"{where}: rejected {result.drafted - result.accepted} of its own drafts"
        )


def check_sampled(world: World, case: Case, texts: Sequence[Text], expected: object) -> int:
    """The law is the business of tests/test_sampling.py; here: endings, counts, the mask, and the seed."""
    results = generate(world.generator(case, texts), case, case.prompts)
    for user, result in enumerate(results):
        where = f"user {user}"
        tokens, reason = end_of(case, result.prompt, result.tokens)
        require(
            result.tokens == tokens and result.finish_reason == reason, f"{where}: did not end by {reason} at {tokens}"
        )
        check_counts(case, result, where, 31)
        if case.top_k:
            rows = logits_after(llama(case.model, double=True), result.prompt, result.tokens)
            floor = rows.topk(case.top_k, dim=-1).values[:, -1] - 1e-6
            inside = rows.gather(1, rows.new_tensor(result.tokens).long()[:, None])[:, 0] >= floor
            require(bool(inside.all()), f"{where}: a token outside the top {case.top_k}")
    again = generate(world.generator(case, texts), case, case.prompts)
    for user, (first, second) in enumerate(zip(results, again, strict=True)):
        require(first.tokens == second.tokens, f"user {user}: one seed, two texts")
    if case.drafter in ALONE_DRAFTERS and case.lookahead.startswith(("fixed", "adaptive")):
        for user in range(0, len(results), 4):
            alone = replace(case, prompts=case.prompts[user : user + 1])
            result = generate(world.generator(alone, texts), alone, alone.prompts, seeds=[case.seed + user])[0]
            require(result.tokens == results[user].tokens, f"user {user}: another text in other company")
    return 2 * sum(len(result.tokens) for result in results)


def shrink(case: Case, fails: Callable[[Case], bool], *, seconds: float = 30.0) -> Case:
    """The smallest case found that still fails: greedily, one simplification at a time, until none is left or time is
    up."""
    until = time.monotonic() + seconds
    smaller = True
    while smaller:
        smaller = False
        for candidate in simpler(case):
            if time.monotonic() > until:
                return case
            if candidate != case and candidate.possible and fails(candidate):
                case, smaller = candidate, True
                break
    return case


def simpler(case: Case) -> Iterator[Case]:
    """Simplifications, the most drastic first."""
    users = len(case.prompts)
    for part in (case.prompts[: users // 2], case.prompts[users // 2 :]):
        yield replace(case, prompts=part)
    yield replace(case, prompts=tuple(prompt[-1:] for prompt in case.prompts))
    defaults = Case()
    for name in (
        "runner",
        "stop_strings",
        "stop_ids",
        "generations",
        "verify_width",
        "temperature",
        "top_k",
        "top_p",
        "max_seq_len",
    ):
        yield replace(case, **{name: getattr(defaults, name)})
    if case.temperature > GREEDY_AT_HEART:
        yield replace(case, temperature=GREEDY_AT_HEART, top_k=0, top_p=1.0)
    for k in (1, 2, 4):
        if case.lookahead not in (f"fixed-{n}" for n in (1, 2, 4) if n <= k):
            yield replace(case, lookahead=f"fixed-{k}")
    for drafter in ("lookup", "always-wrong", "other", "self"):
        if case.drafter not in ("lookup", "always-wrong", "other", "self"):
            yield replace(case, drafter=drafter)
    for limit in (case.limit // 2, case.limit - 1):
        if limit:
            yield replace(case, limit=limit)
    for size in sorted({max(1, users // 4), 1}, reverse=True):
        for first in range(0, users, size):
            yield replace(case, prompts=case.prompts[:first] + case.prompts[first + size :])
    for user, prompt in enumerate(case.prompts):
        for shorter in (prompt[len(prompt) // 2 :], prompt[1:], prompt[:-1]):
            if shorter:
                yield replace(case, prompts=(*case.prompts[:user], shorter, *case.prompts[user + 1 :]))
    for string in case.stop_strings:
        yield replace(case, stop_strings=tuple(other for other in case.stop_strings if other != string))


def one_line(case: Case) -> str:
    """How to see it again."""
    return f"python tests/fuzz/fuzz.py --case {shlex.quote(case.to_json())}"

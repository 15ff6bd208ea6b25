# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Users generated together get what they would get alone; hybrids, trimmed heads and fixed widths change no text."""

import functools
import json

import pytest
import torch
from support.model_folder import save_tiny_model
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding import (
    AdaptiveLookahead,
    AutoLookahead,
    BadInput,
    FixedLookahead,
    HybridDrafter,
    ModelDrafter,
    PromptLookupDrafter,
    SamplingParams,
    SpeculativeGenerator,
    TorchModelRunner,
)
from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_demo import main

VOCAB = 32
TARGET, DRAFT = tiny_llama(0, vocab=VOCAB), tiny_llama(1, vocab=VOCAB)
PROMPTS = [[5, 3, 8, 1], [7] * 11, [2], [9, 9, 4, 9, 9, 4, 9]]
LIMIT = 40


def runner(model=TARGET, users=len(PROMPTS), **options):
    return TorchModelRunner(model, max_seq_len=128, max_users=users, **options)


DRAFTERS = {
    "self": lambda users: ModelDrafter(runner(users=users)),
    "other-model": lambda users: ModelDrafter(runner(DRAFT, users=users)),
    "prompt-lookup": lambda users: PromptLookupDrafter(),
    "hybrid": lambda users: HybridDrafter(PromptLookupDrafter(), ModelDrafter(runner(DRAFT, users=users))),
    "hybrid-self": lambda users: HybridDrafter(PromptLookupDrafter(min_ngram=2), ModelDrafter(runner(users=users))),
    "trimmed": lambda users: ModelDrafter(runner(users=users, head_token_ids=range(0, VOCAB, 2))),
}
LOOKAHEADS = {"fixed": lambda: FixedLookahead(3), "adaptive": AdaptiveLookahead, "auto": AutoLookahead}


@functools.cache
def greedy():
    return [greedy_by_recomputation(TARGET, prompt, LIMIT) for prompt in PROMPTS]


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_together_as_alone_as_greedy(drafter, lookahead):
    expected = greedy()
    assert min(gap for _, gap in expected) > 1e-4
    users = len(PROMPTS)
    generator = SpeculativeGenerator(runner(), DRAFTERS[drafter](users), lookahead=LOOKAHEADS[lookahead]())
    results = generator.generate(PROMPTS, max_new_tokens=LIMIT)
    assert [result.tokens for result in results] == [tokens for tokens, _ in expected]
    for prompt, (tokens, _) in zip(PROMPTS, expected):
        alone = SpeculativeGenerator(runner(users=1), DRAFTERS[drafter](1), lookahead=LOOKAHEADS[lookahead]())
        assert alone.generate([prompt], max_new_tokens=LIMIT)[0].tokens == tokens


def test_users_end_one_by_one():
    """A stop ends one user; the others go on, and the finished one takes part in nothing."""
    texts = [greedy_by_recomputation(TARGET, prompt, LIMIT)[0] for prompt in PROMPTS]
    stop = texts[0][4]
    expected = [text[: text.index(stop) + 1] if stop in text else text for text in texts]
    active = []

    class Watching(TorchModelRunner):
        def forward(self, tokens, positions, **options):
            active.append(sum(position >= 0 for position in positions))
            return super().forward(tokens, positions, **options)

    target = Watching(TARGET, max_seq_len=128, max_users=len(PROMPTS))
    results = SpeculativeGenerator(target, PromptLookupDrafter()).generate(
        PROMPTS, max_new_tokens=LIMIT, stop_token_ids=[stop]
    )
    assert [result.tokens for result in results] == expected
    assert len({len(tokens) for tokens in expected}) > 1
    assert active == sorted(active, reverse=True) and active[0] > active[-1]


@pytest.mark.parametrize("drafter", DRAFTERS)
def test_each_user_has_a_stop_of_his_own(drafter):
    texts = [greedy_by_recomputation(TARGET, prompt, LIMIT)[0] for prompt in PROMPTS]
    generator = SpeculativeGenerator(runner(), DRAFTERS[drafter](len(PROMPTS)), num_draft_tokens=3)
    ends_at, holds = texts[1][6], len(PROMPTS[2]) + 9
    stops = [
        generator.stop_conditions(max_new_tokens=5),
        generator.stop_conditions(max_new_tokens=LIMIT, stop_token_ids=[ends_at]),
        StopConditions(max_new_tokens=LIMIT, max_seq_len=holds),
        generator.stop_conditions(max_new_tokens=LIMIT),
    ]
    expected = [texts[0][:5], texts[1][: texts[1].index(ends_at) + 1], texts[2][:9], texts[3]]
    for results in (generator.generate(PROMPTS, stops=stops), decode_plainly(runner(), PROMPTS, stop=stops)):
        assert [result.tokens for result in results] == expected
        assert [result.finish_reason for result in results] == ["length", "eos", "max_seq_len", "length"]


@pytest.mark.parametrize(
    "stops, named",
    [
        ([StopConditions(max_new_tokens=4, max_seq_len=64)], "1 stop conditions for 4 prompts"),
        ([StopConditions(max_new_tokens=4, max_seq_len=129)] * 4, "a stop at 129 tokens.*holds 128 per user"),
    ],
    ids=["one short", "longer than the cache"],
)
def test_stops_that_do_not_fit_are_refused(stops, named):
    with pytest.raises(BadInput, match=named):
        SpeculativeGenerator(runner()).generate(PROMPTS, stops=stops)


def test_plain_decoding_of_several_users():
    generator = SpeculativeGenerator(runner(), None)
    stop = generator.stop_conditions(max_new_tokens=LIMIT)
    for width in (1, 4):
        results = decode_plainly(runner(), PROMPTS, stop=stop, width=width)
        for prompt, result in zip(PROMPTS, results):
            assert result.tokens == greedy_by_recomputation(TARGET, prompt, LIMIT)[0]
            assert len(result.step_ns) == LIMIT - 1


class TestSeeds:
    SAMPLING = SamplingParams(temperature=1.0, top_k=20, top_p=0.95)

    def tokens(self, prompts, seeds, drafter="other-model", lookahead=None):
        users = len(prompts)
        generator = SpeculativeGenerator(
            runner(users=users),
            DRAFTERS[drafter](users),
            lookahead=lookahead or FixedLookahead(3),
            sampling=self.SAMPLING,
        )
        return [result.tokens for result in generator.generate(prompts, max_new_tokens=30, seeds=seeds)]

    @pytest.mark.parametrize("drafter", DRAFTERS)
    def test_same_seed_same_tokens_whatever_else_runs(self, drafter):
        alone = self.tokens([PROMPTS[0]], [7], drafter)[0]
        assert alone == self.tokens([PROMPTS[0]], [7], drafter)[0]
        assert alone == self.tokens([PROMPTS[1], PROMPTS[0], PROMPTS[2]], [1, 7, 2], drafter)[1]

    def test_another_seed_is_another_text(self):
        assert self.tokens([PROMPTS[0]], [7]) != self.tokens([PROMPTS[0]], [8])

    def test_swapped_seeds_would_be_noticed(self):
        """Negative control: were two users' generators exchanged, the comparison above would fail."""
        right = self.tokens([PROMPTS[0], PROMPTS[1]], [7, 8])
        assert right != self.tokens([PROMPTS[0], PROMPTS[1]], [8, 7])

    def test_the_global_generator_is_untouched(self):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        self.tokens([PROMPTS[0]], [7])
        assert torch.equal(before, torch.get_rng_state())

    def test_one_seed_per_prompt(self):
        with pytest.raises(BadInput, match="2 seeds for 1 prompts"):
            self.tokens([PROMPTS[0]], [7, 8])


class TestHybrid:
    def test_each_token_keeps_the_name_of_its_drafter(self):
        drafter = HybridDrafter(PromptLookupDrafter(min_ngram=2), ModelDrafter(runner(users=1)))
        drafter.second.name = "model"
        generator = SpeculativeGenerator(runner(users=1), drafter, num_draft_tokens=3)
        result = generator.generate([[9, 9, 4, 9, 9, 4, 9, 9]], max_new_tokens=40)[0]
        assert {"prompt-lookup", "model"} >= set(result.sources) - {""}
        assert "model" in result.sources
        assert all(bool(source) == (origin == "accepted") for origin, source in zip(result.origins, result.sources))

    def test_the_first_has_the_word_where_it_has_something_to_say(self):
        drafter = HybridDrafter(PromptLookupDrafter(), ModelDrafter(runner(DRAFT, users=2)))
        contexts = [[1, 2, 3, 1, 2], [1, 2, 3, 4, 5]]
        drafter.start([context[:-1] for context in contexts])
        assert drafter.expect(contexts) == ["prompt-lookup-2", drafter.second.name]
        draft = drafter.propose(
            DraftRequest(contexts=contexts, counts=[2, 2], sampling=SamplingParams(), generators=[None, None])
        )
        assert draft.tokens[0] == [3, 1] and draft.sources[0] == ["prompt-lookup"] * 2
        assert draft.sources[1] == [drafter.second.name] * 2


class TestFixedWidth:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_every_forward_has_the_width(self, dtype):
        widths = []

        class Watching(TorchModelRunner):
            def forward(self, tokens, positions, *, lengths, **options):
                widths.append(lengths[0])
                return super().forward(tokens, positions, lengths=lengths, **options)

        target = Watching(tiny_llama(0, vocab=VOCAB).to(dtype), max_seq_len=30)
        generator = SpeculativeGenerator(target, PromptLookupDrafter(), num_draft_tokens=4, verify_width=5)
        ours = generator.generate([PROMPTS[3]], max_new_tokens=100)[0]
        plain = decode_plainly(
            target,
            [PROMPTS[3]],
            stop=generator.stop_conditions(max_new_tokens=100),
            width=5,
        )[0]
        assert ours.tokens == plain.tokens and ours.finish_reason == "max_seq_len"
        assert set(widths) == {2, 3, 4, 5} and widths.count(5) > 20  # narrower only where max_seq_len leaves no room


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return str(save_tiny_model(folder / "t")), str(save_tiny_model(folder / "d", seed=1, layers=1))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    file = tmp_path_factory.mktemp("prompts") / "p.json"
    file.write_text(json.dumps([{"prompt": text} for text in ("abcabc", "hello there", "x", "zzzz", "12121")]))
    return str(file)


class TestCommandLine:
    @pytest.mark.parametrize(
        "options",
        [
            ["--batch-size", "2"],
            ["--batch-size", "5", "--drafter", "hybrid", "--lookahead", "adaptive"],
            ["--drafter", "hybrid", "--lookahead", "auto", "-k", "8"],
            ["-k", "3", "--exact", "--dtype", "bfloat16"],
        ],
        ids=" ".join,
    )
    def test_greedy_runs_match(self, models, prompts, options, tmp_path, capsys):
        target, draft = models
        common = ["--max-seq-len", "128", "--max-new-tokens", "20", "--quiet", "--json", str(tmp_path / "r.json")]
        assert main(["--target", target, "--draft", draft, "--prompts", prompts, *common, *options]) == 0
        result = json.loads((tmp_path / "r.json").read_text())
        assert result["summary"]["identical"] == 5
        shown = capsys.readouterr().out
        assert ("1 user" in shown and "all users" in shown) == ("--batch-size" in options)
        assert sum(entry["rounds"] for entry in result["summary"]["per_k"]) == result["summary"]["rounds"]

    def test_sampled_runs_compare_no_tokens(self, models, prompts, tmp_path):
        target, draft = models
        options = [
            "--temperature",
            "0.8",
            "--top-k",
            "20",
            "--top-p",
            "0.9",
            "--seed",
            "3",
            "--json",
            str(tmp_path / "r.json"),
        ]
        common = ["--max-seq-len", "128", "--max-new-tokens", "20", "--quiet", "--prompts", prompts]
        assert main(["--target", target, "--draft", draft, *common, *options]) == 0
        result = json.loads((tmp_path / "r.json").read_text())
        assert result["sampling"] == {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "seed": 3}
        assert all(row["identical"] is None for row in result["prompts"]) and result["summary"]["decode_tps"] > 0

    @pytest.mark.parametrize(
        "options, named",
        [
            (["--temperature", "-1"], "temperature"),
            (["--top-k", "-1"], "top-k"),
            (["--top-p", "0"], "top-p"),
            (["--top-p", "1.5"], "top-p"),
            (["--batch-size", "0"], "--batch-size"),
            (["--exact", "--lookahead", "auto"], "--exact"),
            (["--exact", "-k", "2", "--temperature", "1"], "--exact"),
            (["--draft-head-ids", "x.json"], "suffix has none"),
            (["--draft", "d", "--draft-head-ids", "/no/such.json"], "/no/such.json"),
            (["--draft", "d", "--draft-head-size", "5"], "--draft-head-text"),
        ],
    )
    def test_bad_values(self, options, named, capsys):
        assert main(options) == 2
        assert named in capsys.readouterr().err

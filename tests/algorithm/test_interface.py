# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The Python interface: whatever a caller passes means what it says or is refused; one generation at a time."""

import threading
from collections import Counter

import numpy
import pytest
import torch
from support.law import TableRunner, assert_follows, random_table
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams, to_probabilities
from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid import suffix_first
from models.tt_transformers.demo.speculative_decoding.inputs import whole_number
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

TARGET = tiny_llama(0)
PROMPT, OTHER, LIMIT = [5, 3, 8, 1], [2, 7, 7], 16
TEXT, OTHER_TEXT = (greedy_by_recomputation(TARGET, prompt, LIMIT)[0] for prompt in (PROMPT, OTHER))


def runner(model=TARGET, **options):
    return TorchModelRunner(model, max_seq_len=64, max_users=2, **options)


class Letters:
    """Ids are letters from a on."""

    def encode(self, text):
        return [ord(letter) - 97 for letter in text]

    def decode(self, tokens):
        return "".join(chr(97 + token) for token in tokens)


def generate(prompts, **options):
    generator = SpeculativeGenerator(runner(), PromptLookupDrafter(), tokenizer=Letters())
    return [result.tokens for result in generator.generate(prompts, **{"max_new_tokens": LIMIT, **options})]


class TestInputs:
    @pytest.mark.parametrize(
        "prompts",
        [[PROMPT], (tuple(PROMPT),), torch.tensor([PROMPT]), numpy.array([PROMPT]), [torch.tensor(PROMPT)],
         [numpy.array(PROMPT)], [[numpy.int64(token) for token in PROMPT]], Letters().decode(PROMPT),
         [Letters().decode(PROMPT)], iter([iter(PROMPT)])],
    )  # fmt: skip
    def test_prompts(self, prompts):
        assert generate(prompts) == [TEXT]

    @pytest.mark.parametrize("kind", [int, numpy.int32, torch.tensor])
    @pytest.mark.parametrize("several", [None, list, set, torch.tensor, numpy.array])
    def test_stop_token_ids(self, kind, several):
        end = TEXT[3]
        ids = kind(end) if several is None else several([kind(end)])
        assert generate([PROMPT], stop_token_ids=ids) == [TEXT[: TEXT.index(end) + 1]]

    @pytest.mark.parametrize("stop", ["zyx", ("zyx",), ["zyx"]])
    def test_one_stop_text_is_a_text_and_not_its_letters(self, stop):
        assert generate([PROMPT], stop_strings=stop) == [TEXT]

    @pytest.mark.parametrize("limit", [5, 5.0, numpy.int64(5), numpy.float32(5), torch.tensor(5), torch.tensor(5.0)])
    def test_limits(self, limit):
        assert generate([PROMPT], max_new_tokens=limit) == [TEXT[:5]]

    @pytest.mark.parametrize(
        "prompts, options, named",
        [
            ([PROMPT], {"max_new_tokens": 5.5}, "max_new_tokens is 5.5; give a whole number"),
            ([PROMPT], {"max_new_tokens": "5"}, "max_new_tokens is '5'"),
            ([PROMPT], {"max_new_tokens": True}, "max_new_tokens is True"),
            ([PROMPT], {"max_new_tokens": float("nan")}, "max_new_tokens is nan"),
            ([PROMPT], {"max_new_tokens": -3}, "max_new_tokens is -3"),
            ([PROMPT], {"stop_token_ids": "a"}, "stop_token_ids is 'a'"),
            ([PROMPT], {"stop_token_ids": [1.5]}, "stop_token_ids is 1.5"),
            ([PROMPT], {"stop_strings": [3]}, "stop_strings"),
            ([PROMPT], {"seeds": [0.5]}, "seeds is 0.5"),
            (PROMPT, {}, "prompt 0 is 5; give a list of prompts"),
            (torch.tensor(PROMPT), {}, "prompt 0 is 5; give a list of prompts"),
            ({"ids": [PROMPT]}, {}, "with ids; give token ids"),
            ([{"input_ids": PROMPT}], {}, "input_ids"),
            ([[1, 2.5]], {}, "prompt 0 is 2.5"),
            ([[1, -1]], {}, "token id -1"),
            ([[[1, 2]]], {}, r"prompt 0 is \[1, 2\]"),
            (7, {}, "prompts is 7"),
            ([], {}, "no prompts"),
            ("", {}, "a prompt is empty"),
        ],
    )
    def test_what_means_nothing_is_refused(self, prompts, options, named):
        with pytest.raises(BadInput, match=named):
            generate(prompts, **options)

    @pytest.mark.parametrize("k", [2.5, "3", None, True])
    def test_the_number_of_draft_tokens(self, k):
        with pytest.raises(BadInput, match="number of draft tokens is"):
            SpeculativeGenerator(runner(), PromptLookupDrafter(), num_draft_tokens=k)

    def test_conditions_by_themselves(self):
        stop = StopConditions(max_new_tokens=numpy.int64(4), max_seq_len=9.0, stop_token_ids=[3], decode=str)
        assert (stop.max_new_tokens, stop.max_seq_len, stop.stop_token_ids) == (4, 9, {3})
        with pytest.raises(BadInput, match="x is"):
            whole_number(numpy.array([3, 4]), "x")


DRAFTERS = {
    "none": lambda: None,
    "lookup": PromptLookupDrafter,
    "self": lambda: ModelDrafter(runner()),
    "hybrid": lambda: suffix_first(ModelDrafter(runner())),
}


class TestOneGenerationAtATime:
    @pytest.mark.parametrize("drafter", DRAFTERS)
    def test_a_stream_that_another_overtook_says_so(self, drafter):
        generator = SpeculativeGenerator(runner(), DRAFTERS[drafter](), num_draft_tokens=3)
        first = generator.stream([PROMPT], max_new_tokens=LIMIT)
        begun = [next(first).token for _ in range(2)]
        assert [event.token for event in generator.stream([OTHER], max_new_tokens=LIMIT)] == OTHER_TEXT
        with pytest.raises(BadInput, match="another generation has begun"):
            for event in first:
                begun.append(event.token)
        assert begun == TEXT[: len(begun)]

    def test_plain_decoding_overtakes_too(self):
        generator = SpeculativeGenerator(runner(), PromptLookupDrafter())
        stream = generator.stream([PROMPT], max_new_tokens=LIMIT)
        next(stream)
        decode_plainly(generator.target, [OTHER], stop=generator.stop_conditions(max_new_tokens=3))
        with pytest.raises(BadInput, match="another generation"):
            list(stream)

    @pytest.mark.parametrize("drafter", ["lookup", "self", "hybrid"])
    def test_generators_that_share_a_drafter(self, drafter):
        shared = DRAFTERS[drafter]()
        one, other = (SpeculativeGenerator(runner(), shared, num_draft_tokens=3) for _ in range(2))
        stream = one.stream([PROMPT], max_new_tokens=LIMIT)
        next(stream)
        assert other.generate([OTHER], max_new_tokens=LIMIT)[0].tokens == OTHER_TEXT
        with pytest.raises(BadInput, match="another generation"):
            list(stream)

    def test_streams_of_two_runners_of_one_model_take_turns(self):
        streams = [SpeculativeGenerator(runner(), PromptLookupDrafter()).stream([p], max_new_tokens=LIMIT)
                   for p in (PROMPT, OTHER)]  # fmt: skip
        both = [(one.token, other.token) for one, other in zip(*streams, strict=True)]
        assert [list(tokens) for tokens in zip(*both)] == [TEXT, OTHER_TEXT]

    def test_threads_get_their_own_text_or_are_told(self):
        generator = SpeculativeGenerator(runner(), PromptLookupDrafter())
        wrong, told, right = [], [], []

        def ask(prompt, text):
            for _ in range(5):
                try:
                    tokens = generator.generate([prompt], max_new_tokens=LIMIT)[0].tokens
                    (right if tokens == text else wrong).append(tokens)
                except BadInput as error:
                    told.append(str(error))

        threads = [threading.Thread(target=ask, args=pair) for pair in ((PROMPT, TEXT), (OTHER, OTHER_TEXT)) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong and right and all("another generation" in said for said in told)


class TestPaddedVocabularies:
    """One tokenizer, output layers padded differently (Qwen2.5's sizes are): 32 ids in the target."""

    @pytest.mark.parametrize("vocab", [24, 40])
    @pytest.mark.parametrize("k", [1, 4])
    def test_the_text_is_the_targets(self, vocab, k):
        drafter = ModelDrafter(runner(tiny_llama(1, vocab=vocab)))
        generator = SpeculativeGenerator(runner(), drafter, num_draft_tokens=k)
        prompts = [[31, 5, 30], PROMPT]  # the draft of 24 has no row for two of these ids
        expected = [greedy_by_recomputation(TARGET, prompt, LIMIT)[0] for prompt in prompts]
        assert [result.tokens for result in generator.generate(prompts, max_new_tokens=LIMIT)] == expected

    @pytest.mark.parametrize("ids", [True, False], ids=["ids", "logits"])
    def test_an_id_that_the_target_lacks_is_not_drafted(self, ids):
        request = DraftRequest(contexts=[[1]], counts=[1], min_probability=0.0 if ids else 1e-9, vocab_size=4)
        row = torch.tensor(5) if ids else torch.tensor([0.0, 2.0, 1.0, 0.0, 0.0, 9.0])
        assert request.choose(0, row)[0] == (None if ids else 1)

    @pytest.mark.parametrize("vocab", [3, 5])
    def test_the_law_is_the_targets(self, vocab):
        """Sampled from a q over fewer ids, or over more."""
        target = TableRunner(random_table(1, 4), vocab=4, users=1)
        drafter = ModelDrafter(TableRunner(random_table(2, vocab), vocab=vocab, users=1))
        sampling = SamplingParams(temperature=1.0)
        generator = SpeculativeGenerator(target, drafter, num_draft_tokens=2, sampling=sampling)
        first = to_probabilities(target.table((0, 1)), sampling)
        law = {(a, b): float(first[a] * to_probabilities(target.table((1, a)), sampling)[b]) for a in range(4)
               for b in range(4)}  # fmt: skip
        seen = (tuple(generator.generate([[0, 1]], max_new_tokens=2, seeds=[n])[0].tokens) for n in range(1500))
        assert_follows(Counter(seen), law)

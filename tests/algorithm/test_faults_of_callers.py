# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Calls that ended in a traceback or in another text: what is shared, what has not begun, what is no number."""

import threading

import pytest
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.auto_lookahead import AutoLookahead
from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter
from models.tt_transformers.demo.speculative_decoding.lookahead import AdaptiveLookahead, FixedLookahead
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

PROMPT = [3, 14, 15, 9, 26, 5]


def opened():
    return TorchModelRunner(tiny_llama(0), max_seq_len=64)


class Waits(PromptLookupDrafter):
    """In the middle of a round it lets another thread try what it will."""

    meanwhile = None

    def propose(self, request):
        if self.meanwhile is not None:
            trying, self.meanwhile = threading.Thread(target=self.meanwhile), None
            trying.start()
            trying.join(0.2)
        return super().propose(request)


class TestShared:
    @pytest.mark.parametrize("hybrid", [False, True])
    @pytest.mark.parametrize("rival", ["generator", "close"])
    def test_nobody_touches_a_drafter_in_the_middle_of_a_round(self, rival, hybrid):
        waits, order = Waits(), []
        drafter = HybridDrafter(waits, PromptLookupDrafter()) if hybrid else waits
        first, second = (SpeculativeGenerator(opened(), drafter) for _ in range(2))

        def meanwhile():
            if rival == "close":
                waits.close()
            else:
                next(second.stream([PROMPT[::-1] * 3], stop_token_ids=[]))
            order.append("rival")

        batch = first.new_batch([PROMPT], max_new_tokens=20, stop_token_ids=[])
        first.prefill_both_models(batch)
        waits.meanwhile = meanwhile
        first.speculative_decode_step(batch)
        written = batch.sequences[0].emitted
        assert batch.rounds and written == greedy_by_recomputation(tiny_llama(0), PROMPT, len(written))[0]
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(5)
        assert order == ["rival"]
        with pytest.raises(BadInput, match="another generation has begun"):
            first.speculative_decode_step(batch)

    def test_two_threads_are_right_or_refused(self):
        drafter, lookahead, model, found = PromptLookupDrafter(), AdaptiveLookahead(), tiny_llama(0), []

        def generate(prompt):
            generator = SpeculativeGenerator(TorchModelRunner(model, max_seq_len=64), drafter, lookahead=lookahead)
            wanted = greedy_by_recomputation(model, prompt, 20)[0]
            for _ in range(5):
                try:
                    (result,) = generator.generate([prompt], max_new_tokens=20, stop_token_ids=[])
                    found.append(result.tokens == wanted)
                except BadInput as error:
                    found.append("another generation has begun" in str(error))

        threads = [threading.Thread(target=generate, args=(PROMPT[n:],)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 15


class TestABatch:
    def test_results_before_it_began(self):
        generator = SpeculativeGenerator(opened())
        with pytest.raises(BadInput, match="has not begun has no results"):
            generator.results(generator.new_batch([PROMPT]))

    def test_results_after_another_began_are_what_it_had(self):
        generator = SpeculativeGenerator(opened())
        batch = generator.new_batch([PROMPT], stop_token_ids=[])
        generator.prefill_both_models(batch)
        generator.generate([[1, 2]], max_new_tokens=2)
        generator.target.close()
        (result,) = generator.results(batch)
        assert result.tokens == greedy_by_recomputation(tiny_llama(0), PROMPT, 1)[0] and result.finish_reason is None

    def test_it_begins_once(self):
        generator = SpeculativeGenerator(opened())
        batch = generator.new_batch([PROMPT], stop_token_ids=[])
        generator.prefill_both_models(batch)
        with pytest.raises(BadInput, match="has begun already"):
            generator.prefill_both_models(batch)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: SamplingParams(temperature="1"), "temperature is '1'; give a number"),
        (lambda: SamplingParams(temperature=True), "temperature is True"),
        (lambda: SamplingParams(temperature=1.0, top_p=None), "top_p is None"),
        (lambda: AdaptiveLookahead(min_probability="x"), "min_probability is 'x'"),
        (lambda: FixedLookahead(4, min_probability=-0.5), "min_probability -0.5 is not in"),
        (lambda: AutoLookahead(min_probability=float("nan")), "min_probability nan is not in"),
        (lambda: AutoLookahead(5), "auto chooses among"),
        (lambda: AutoLookahead([0, "4"]), "choices is '4'"),
        (lambda: ModelDrafter(tiny_llama(0)), "the draft is a LlamaForCausalLM"),
        (lambda: HybridDrafter(PromptLookupDrafter, opened()), "the drafter is a PromptLookupDrafter"),
        (lambda: HybridDrafter(PromptLookupDrafter(), opened()), "the drafter is a TorchModelRunner"),
        (lambda: SpeculativeGenerator(opened(), PromptLookupDrafter), "the drafter is a PromptLookupDrafter"),
        (lambda: SpeculativeGenerator(opened(), lookahead=4), "the lookahead is a int"),
        (lambda: SpeculativeGenerator(opened(), tokenizer="gpt2"), "the tokenizer is a str"),
        (lambda: SpeculativeGenerator(opened(), sampling=0.7), "the sampling is a float"),
        (lambda: SpeculativeGenerator(opened()).generate([PROMPT], attention_mask=1), "attention_mask is no option"),
    ],
)
def test_what_is_none_is_named(call, named):
    with pytest.raises(BadInput, match=named):
        call()

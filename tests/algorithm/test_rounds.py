# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What happens inside rounds: bookkeeping, rollback, catch-up, and every way a sequence can end."""

import math

import pytest
import torch
from support.doubles import PoisoningRunner, ScriptedDrafter, knowing
from support.tiny import greedy_by_recomputation, tiny_llama

from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

VOCAB = 32
MODEL = tiny_llama(0, vocab=VOCAB)
PROMPT = [5, 3, 8, 1]
TEXT, GAP = greedy_by_recomputation(MODEL, PROMPT, 60)
assert GAP > 1e-3


def runner(max_seq_len=128, max_users=1, cls=TorchModelRunner):
    return cls(MODEL, max_seq_len=max_seq_len, max_users=max_users)


def always_right():
    return knowing(PROMPT + TEXT, wrong_at=lambda index: False, vocab=VOCAB)


def always_wrong():
    return knowing(PROMPT + TEXT, wrong_at=lambda index: True, vocab=VOCAB)


class CharTokenizer:
    """Token i is the i-th letter."""

    def decode(self, ids):
        return "".join(chr(ord("A") + i) for i in ids)


class TestStatistics:
    @pytest.mark.parametrize("num_draft_tokens", [1, 2, 3, 4, 7, 8, 31])
    @pytest.mark.parametrize("limit", [1, 2, 5, 20, 33])
    def test_self_draft(self, num_draft_tokens, limit):
        generator = SpeculativeGenerator(runner(), ModelDrafter(runner()), num_draft_tokens=num_draft_tokens)
        result = generator.generate([PROMPT], max_new_tokens=limit)[0]
        assert result.tokens == TEXT[:limit]
        assert result.accepted == result.drafted
        assert len(result.rounds) == math.ceil((limit - 1) / (num_draft_tokens + 1))

    @pytest.mark.parametrize("num_draft_tokens", [1, 4, 8])
    def test_always_wrong_draft(self, num_draft_tokens):
        generator = SpeculativeGenerator(runner(), always_wrong(), num_draft_tokens=num_draft_tokens)
        result = generator.generate([PROMPT], max_new_tokens=20)[0]
        assert result.tokens == TEXT[:20]
        assert result.accepted == 0 and result.drafted > 0
        assert [r.emitted for r in result.rounds] == [1] * 19

    @pytest.mark.parametrize("period", [2, 3, 5])
    @pytest.mark.parametrize("stop", [None, 7, 8, 9, 10, 11, 12])
    def test_identities(self, period, stop):
        drafter = knowing(PROMPT + TEXT, wrong_at=lambda index: index % period == 0, vocab=VOCAB)
        generator = SpeculativeGenerator(runner(), drafter, num_draft_tokens=4)
        stop_ids = () if stop is None else (TEXT[stop],)
        result = generator.generate([PROMPT], max_new_tokens=40, stop_token_ids=stop_ids)[0]
        cut = sum(r.accepted + 1 - r.emitted for r in result.rounds)
        assert len(result.tokens) == 1 + sum(r.accepted + 1 for r in result.rounds) - cut
        assert cut in (0, 1) and (cut == 0 or result.finish_reason == "eos")
        assert all(0 <= r.accepted <= r.drafted for r in result.rounds)
        accepted = [sum(r.accepted > j for r in result.rounds) for j in range(4)]
        assert accepted == sorted(accepted, reverse=True)
        assert result.origins.count("accepted") == result.accepted
        assert len(result.origins) == len(result.sources) == len(result.tokens) == len(result.emitted_ns)

    def test_origins_of_a_self_draft(self):
        result = SpeculativeGenerator(runner(), ModelDrafter(runner()), num_draft_tokens=2).generate(
            [PROMPT], max_new_tokens=6
        )[0]
        assert result.origins == ["prefill", "accepted", "accepted", "bonus", "accepted", "bonus"]


class TestRollback:
    @pytest.mark.parametrize("num_draft_tokens", [1, 2, 4, 8])
    @pytest.mark.parametrize("draft", ["self", "other"])
    def test_nothing_past_the_committed_tokens_is_read(self, num_draft_tokens, draft):
        """Both are poisoned past their positions before every forward; the self-draft has full acceptances."""
        target = runner(cls=PoisoningRunner)
        model = MODEL if draft == "self" else tiny_llama(1, vocab=VOCAB)
        draft_runner = PoisoningRunner(model, max_seq_len=128)
        generator = SpeculativeGenerator(target, ModelDrafter(draft_runner), num_draft_tokens=num_draft_tokens)
        result = generator.generate([PROMPT], max_new_tokens=40)[0]
        assert result.tokens == TEXT[:40]
        assert target.poisoned > 0 and draft_runner.poisoned > 0

    def test_poison_is_poisonous(self):
        """Negative control: a position that is committed must not be spoiled."""
        target = runner(cls=PoisoningRunner)
        target.prefill([PROMPT])
        with torch.inference_mode():
            target.cache.keys[0][0, :, 2] = float("nan")
        with pytest.raises(RuntimeError, match="NaN"):
            target.forward(torch.tensor([[1]]), [len(PROMPT)])

    def test_the_target_caches_exactly_the_committed_tokens_but_the_last(self):
        positions = []

        class Watching(TorchModelRunner):
            def forward(self, tokens, starts, **options):
                positions.append((starts[0], int(tokens[0, 0])))
                return super().forward(tokens, starts, **options)

        drafter = knowing(PROMPT + TEXT, wrong_at=lambda index: index % 3 == 0, vocab=VOCAB)
        generator = SpeculativeGenerator(Watching(MODEL, max_seq_len=128), drafter, num_draft_tokens=4)
        generator.generate([PROMPT], max_new_tokens=30)
        whole = PROMPT + TEXT
        assert len(positions) > 5
        assert all(whole[start] == first for start, first in positions)

    def test_the_draft_catches_up_after_full_acceptance(self):
        """With K=3 all accepted, the draft's next first step feeds two tokens: its own last one and the bonus."""
        widths = []

        class Watching(TorchModelRunner):
            def forward(self, tokens, starts, *, lengths, **options):
                widths.append(lengths[0])
                return super().forward(tokens, starts, lengths=lengths, **options)

        drafter = ModelDrafter(Watching(MODEL, max_seq_len=128))
        SpeculativeGenerator(runner(), drafter, num_draft_tokens=3).generate([PROMPT], max_new_tokens=13)
        assert widths == [1, 1, 1, 2, 1, 1, 2, 1, 1]


class TestEndings:
    @pytest.mark.parametrize("at", range(1, 12))
    @pytest.mark.parametrize("drafter", [always_right, always_wrong])
    def test_eos_at_every_place_of_a_block(self, at, drafter):
        eos = TEXT[at]
        first = TEXT.index(eos)
        generator = SpeculativeGenerator(runner(), drafter(), num_draft_tokens=4)
        result = generator.generate([PROMPT], max_new_tokens=40, stop_token_ids=[eos])[0]
        assert result.tokens == TEXT[: first + 1]
        assert result.finish_reason == "eos"

    def test_a_drafted_eos_that_the_target_rejects_does_not_end_anything(self):
        eos = next(token for token in range(VOCAB) if token not in TEXT[:20])
        generator = SpeculativeGenerator(runner(), ScriptedDrafter(lambda _, count: [eos] * count))
        result = generator.generate([PROMPT], max_new_tokens=20, stop_token_ids=[eos])[0]
        assert result.tokens == TEXT[:20] and result.finish_reason == "length"

    @pytest.mark.parametrize("limit", range(1, 12))
    def test_max_new_tokens_is_never_overshot(self, limit):
        result = SpeculativeGenerator(runner(), always_right(), num_draft_tokens=4).generate(
            [PROMPT], max_new_tokens=limit
        )[0]
        assert result.tokens == TEXT[:limit] and result.finish_reason == "length"

    @pytest.mark.parametrize("max_seq_len", range(5, 14))
    def test_max_seq_len_inside_a_round(self, max_seq_len):
        result = SpeculativeGenerator(runner(max_seq_len), always_right(), num_draft_tokens=4).generate(
            [PROMPT], max_new_tokens=100
        )[0]
        assert result.tokens == TEXT[: max_seq_len - len(PROMPT)]
        assert result.finish_reason == "max_seq_len"

    @pytest.mark.parametrize("start", range(0, 9))
    @pytest.mark.parametrize("length", [1, 2, 3, 6])
    def test_stop_string_across_the_edges_of_rounds(self, start, length):
        text = CharTokenizer().decode(TEXT)
        stop = text[start : start + length]
        end = text.index(stop) + length
        generator = SpeculativeGenerator(runner(), always_right(), num_draft_tokens=2, tokenizer=CharTokenizer())
        result = generator.generate([PROMPT], max_new_tokens=40, stop_strings=["never", stop])[0]
        assert result.tokens == TEXT[:end]
        assert result.text == text[:end]
        assert result.finish_reason == "stop_string"

    def test_a_stop_beats_the_limit_at_the_same_token(self):
        eos = TEXT[6]
        limit = TEXT.index(eos) + 1
        result = SpeculativeGenerator(runner(), always_right()).generate(
            [PROMPT], max_new_tokens=limit, stop_token_ids=[eos]
        )[0]
        assert result.finish_reason == "eos"

    def test_nothing_after_the_end_is_counted(self):
        eos = TEXT[2]
        assert TEXT.index(eos) == 2
        result = SpeculativeGenerator(runner(), always_right(), num_draft_tokens=8).generate(
            [PROMPT], max_new_tokens=40, stop_token_ids=[eos]
        )[0]
        assert (result.drafted, result.accepted, len(result.rounds)) == (2, 2, 1)

    def test_drafts_are_capped_by_the_budget(self):
        widths = []
        drafter = ScriptedDrafter(lambda _, count: widths.append(count) or [0] * count)
        SpeculativeGenerator(runner(), drafter, num_draft_tokens=8).generate([PROMPT], max_new_tokens=5)
        assert widths == [3, 2, 1]


class TestStreaming:
    def test_the_stream_is_the_result(self):
        generator = SpeculativeGenerator(runner(), always_right())
        events = list(generator.stream([PROMPT], max_new_tokens=20))
        assert [event.token for event in events] == TEXT[:20]
        assert events[0].origin == "prefill"

    def test_a_consumer_may_leave_and_start_again(self):
        generator = SpeculativeGenerator(runner(), PromptLookupDrafter())
        for event in generator.stream([PROMPT], max_new_tokens=20):
            if event.origin != "prefill":
                break
        assert generator.generate([PROMPT], max_new_tokens=20)[0].tokens == TEXT[:20]

    def test_an_exception_in_on_token_reaches_the_caller(self):
        generator = SpeculativeGenerator(runner(), PromptLookupDrafter())

        def raises(event):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            generator.generate([PROMPT], max_new_tokens=20, on_token=raises)
        assert generator.generate([PROMPT], max_new_tokens=20)[0].tokens == TEXT[:20]


class TestBadInput:
    @pytest.mark.parametrize("num_draft_tokens", [-1, 32])
    def test_k_out_of_range(self, num_draft_tokens):
        with pytest.raises(BadInput, match="from 0 .* to 31"):
            SpeculativeGenerator(runner(), PromptLookupDrafter(), num_draft_tokens=num_draft_tokens)

    def test_more_tokens_than_the_target_takes(self):
        target = TorchModelRunner(MODEL, max_seq_len=64, max_tokens_per_user=4)
        with pytest.raises(BadInput, match="K <= 3"):
            SpeculativeGenerator(target, PromptLookupDrafter(), num_draft_tokens=4)

    @pytest.mark.parametrize(
        "prompts, options, message",
        [
            ([], {}, "no prompts"),
            ([[]], {}, "empty"),
            ([[1] * 128], {}, "max_seq_len 128"),
            ([[1]], {"max_new_tokens": 0}, "max_new_tokens is 0"),
            (["text"], {}, "no tokenizer"),
            ([[1]], {"stop_strings": ["x"]}, "tokenizer"),
            ([[1], [2]], {}, "2 prompts"),
        ],
    )
    def test_refused(self, prompts, options, message):
        with pytest.raises(BadInput, match=message):
            SpeculativeGenerator(runner(), PromptLookupDrafter()).generate(prompts, **options)

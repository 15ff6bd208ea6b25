# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a long text costs: nothing that is done per token or per round may grow with what was emitted before."""

import torch
from support.doubles import ScriptedDrafter
from support.tiny import tiny_llama

from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState, StopConditions, TextStream
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator

LONG = 2000


class Decoder:
    """Ids are characters; remembers how many it was given at once."""

    def __init__(self):
        self.longest = 0

    def __call__(self, tokens):
        self.longest = max(self.longest, len(tokens))
        return "".join(map(chr, tokens))


class Uncopied(list):
    """A list that may be looked at, and whose last few entries may be taken, but not as a whole."""

    def __getitem__(self, index):
        if isinstance(index, slice):
            assert len(range(*index.indices(len(self)))) < 100, "a slice of the whole context"
        return super().__getitem__(index)

    def __iter__(self):
        raise AssertionError("the whole context was gone through")


def test_committing_decodes_a_tail():
    decode = Decoder()
    stop = StopConditions(max_new_tokens=LONG, max_seq_len=2 * LONG, stop_strings=("END",), decode=decode)
    sequence = SequenceState(prompt=[65], stop=stop)
    sequence.tokens = Uncopied(sequence.tokens)
    for _ in range(LONG):
        sequence.commit(66, "plain", "", 0)
    assert sequence.finish_reason == "length" and decode.longest < 50


def test_a_stream_decodes_a_tail():
    decode = Decoder()
    stream = TextStream(decode)
    assert "".join(stream.add(ord("a") + n % 26) for n in range(LONG)) == "".join(chr(97 + n % 26) for n in range(LONG))
    assert stream.rest() == "" and decode.longest <= 2 * TextStream.LONGEST_CHARACTER


def test_a_round_shows_the_sequences_themselves():
    seen = []
    drafter = ScriptedDrafter(lambda context, count: [context[-1]] * count)
    propose = drafter.propose
    drafter.propose = lambda request: seen.append(request.contexts[0]) or propose(request)
    generator = SpeculativeGenerator(TorchModelRunner(tiny_llama(0), max_seq_len=64), drafter, num_draft_tokens=2)
    generator.generate([[1, 2, 3]], max_new_tokens=20, stop_token_ids=[])
    assert len(seen) > 2 and all(context is seen[0] for context in seen)


def test_a_model_drafter_copies_only_what_it_has_not_fed():
    runner = TorchModelRunner(tiny_llama(0), max_seq_len=512)
    drafter = ModelDrafter(runner)
    prompt = torch.randint(1, 32, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    drafter.start([prompt])
    first = drafter.propose(DraftRequest(contexts=[[*prompt, 5]], counts=[3])).tokens[0]
    again = drafter.propose(DraftRequest(contexts=[Uncopied([*prompt, 5, first[0], 7])], counts=[2]))
    assert len(again.tokens[0]) == 2

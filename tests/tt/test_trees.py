# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""tt-metal's trees: June 2026, traces prepared first, explicit reload commands, and one that is none of them."""

import gc
import itertools

import pytest
from fakes import fixtures
from fakes.device import FakeMeshDevice
from fakes.pairs import LIMIT, PROMPTS, VOCAB, greedy_texts, speculate

from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.tt.baseline import open_stock
from models.tt_transformers.demo.speculative_decoding.tt.loading import load_upstream

checkpoints, ttnn, open_pair = fixtures.checkpoints, fixtures.ttnn, fixtures.open_pair
TREES = ["june", "september", "commands"]
every_tree = pytest.mark.parametrize("ttnn", TREES, indirect=True)
# Every two of (tree, users, where the token is sampled, traced or not) meet, and every three of the last between trees.
SERVED = [
    (tree, users, on_device, enable_trace)
    for number, tree in enumerate(TREES)
    for users, on_device, enable_trace in itertools.product((1, 3), (True, False), (True, False))
    if (number + users // 2 + on_device + enable_trace) % 2 == 0
]


@every_tree
@pytest.mark.parametrize("enable_trace", [True, False], ids=["traced", "untraced"])
def test_a_pair_writes_what_the_target_writes(ttnn, open_pair, enable_trace):
    pair = open_pair(users=3, num_draft_tokens=3, enable_trace=enable_trace)
    for _ in range(2):
        assert speculate(pair, PROMPTS, 3) == greedy_texts()


@every_tree
def test_what_lives_through_a_replay(ttnn, open_pair):
    """Where the tree can prepare, all that both models' traces use exists before the first capture. In June's, the
    second trace's inputs and results do not: Generator allocates them as it captures. They are staged anew and read
    before another trace runs, so that the text is right nevertheless."""
    mesh = FakeMeshDevice()
    pair = open_pair(mesh=mesh, num_draft_tokens=(2, 3), fuse=False)  # traces of single forwards
    assert speculate(pair, PROMPTS[:1], 3) == greedy_texts()[:1]
    june = not hasattr(load_upstream().Generator, "_prepare")
    assert (mesh.alive_at_replay > 0) == june


@pytest.mark.parametrize("ttnn, users, on_device, enable_trace", SERVED, indirect=["ttnn"])
def test_the_stock_target_serves_several_users(ttnn, checkpoints, users, on_device, enable_trace):
    """One after another ends, others begin in their places; the device goes on from its own tokens meanwhile."""
    options = {"max_seq_len": 120, "users": users, "sample_on_device": on_device, "enable_trace": enable_trace}
    mesh = FakeMeshDevice()
    stock = open_stock(mesh, str(checkpoints / "target"), **options)
    stock.warmup([1])
    wanted = dict(enumerate(greedy_texts()))
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        for batch in [order] if users == 3 else [[prompt] for prompt in order]:
            stops = [StopConditions(max_new_tokens=LIMIT - 11 * slot, max_seq_len=120) for slot in range(len(batch))]
            results = decode_plainly(stock, [PROMPTS[prompt] for prompt in batch], stop=stops)
            expected = [wanted[prompt][: LIMIT - 11 * slot] for slot, prompt in enumerate(batch)]
            assert [result.tokens for result in results] == expected
    stock.close()
    del stock
    gc.collect()
    assert not mesh.traces


@every_tree
def test_a_sampled_stock_target_reads_the_users_rows_alone(ttnn, checkpoints):
    mesh = FakeMeshDevice()
    stock = open_stock(mesh, str(checkpoints / "target"), max_seq_len=120, users=3)
    stock.warmup([1], argmax_only=False)
    mesh.bytes_to_host.clear()
    stop = StopConditions(max_new_tokens=3, max_seq_len=120)
    decode_plainly(stock, PROMPTS, stop=stop, sampling=SamplingParams(temperature=1.0))
    assert mesh.bytes_to_host[-2:] == [3 * VOCAB * 2] * 2  # bf16
    with pytest.raises(BadInput, match="warmed up for logits only"):
        decode_plainly(stock, PROMPTS, stop=stop)
    stock.close()


@pytest.mark.parametrize("ttnn", ["unknown"], indirect=True)
def test_a_tree_that_is_none_of_them_is_refused_by_name(ttnn):
    with pytest.raises(ModelUnavailable, match="decode_forward takes neither reset_batch nor reload_inputs"):
        load_upstream()

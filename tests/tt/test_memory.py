# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Blocks of the cache, and the arithmetic of the memory plan at the shapes of the real Llamas."""

from enum import Enum
from types import SimpleNamespace

import pytest

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.tt.memory import (
    SCRATCH_BLOCK,
    CacheLayout,
    MemoryPlan,
    ModelMemory,
)

N150 = 12_872_000_000  # bytes of DRAM that ttnn 0.81 reports free on an empty N150
SHAPES = {  # dim, hidden, query heads, kv heads, head_dim, layers
    "Llama-3.2-1B-Instruct": (2048, 8192, 32, 8, 64, 16),
    "Llama-3.2-3B-Instruct": (3072, 8192, 24, 8, 128, 28),
    "Llama-3.1-8B-Instruct": (4096, 14336, 32, 8, 128, 32),
}
TensorGroup = Enum("TensorGroup", "FF1_FF3 FF2 WQKV WO KV_CACHE")


def args_of(name, *, devices=1, max_seq_len=1024, layers=None, mlp="BFLOAT4_B"):
    """The fields of ModelArgs that the plan reads, with upstream's precisions for Llama (mlp: performance's FF1 and
    FF3)."""
    dim, hidden, heads, kv_heads, head_dim, n_layers = SHAPES[name]

    def get_tensor_dtype(decoder_id, tensor):
        return SimpleNamespace(name=mlp if tensor is TensorGroup.FF1_FF3 else "BFLOAT8_B")

    return SimpleNamespace(
        model_name=name,
        num_devices=devices,
        dim=dim,
        hidden_dim=hidden,
        n_heads=heads,
        n_kv_heads=kv_heads,
        head_dim=head_dim,
        n_layers=layers or n_layers,
        vocab_size=128256,
        padded_vocab_size=128256,
        max_seq_len=max_seq_len,
        max_prefill_chunk_size=4096,
        decoders_optimizations=SimpleNamespace(get_tensor_dtype=get_tensor_dtype),
    )


def plan(*names, users=1, max_seq_len=1024, free=N150, **options):
    models, cache = [args_of(name, max_seq_len=max_seq_len, **options) for name in names], CacheLayout(
        users, max_seq_len
    )
    return MemoryPlan(tuple(ModelMemory.of(args, TensorGroup, cache) for args in models), free, 25_000_000)


@pytest.mark.parametrize("users", [1, 2, 5])
@pytest.mark.parametrize("max_seq_len", [1, 32, 33, 1000, 1024])
def test_every_user_has_blocks_of_his_own(users, max_seq_len):
    cache = CacheLayout(users, max_seq_len)
    rows = [cache.table_row(user) for user in range(users)]
    owned = [block for row in rows for block in row if block != SCRATCH_BLOCK]
    assert len(owned) == len(set(owned)) == users * cache.blocks_per_user
    assert cache.blocks_per_user * 32 >= max_seq_len > (cache.blocks_per_user - 1) * 32
    assert max(owned) < cache.num_blocks
    assert all(len(row) == cache.table_width <= cache.num_blocks for row in rows)
    assert cache.table_width % 8 == 0


def test_the_padding_of_a_prefill_goes_to_the_scratch_block():
    cache = CacheLayout(2, 200)
    row = cache.table_row(1, tokens=1024)
    assert len(row) == 32 and row[:7] == list(range(8, 15)) and set(row[7:]) == {SCRATCH_BLOCK}


@pytest.mark.parametrize(
    ("names", "options", "megabytes"),
    [
        # What ttnn's allocator held on a mocked device after loading the pair with one layer each: weights, cache,
        # tables.
        (("Llama-3.1-8B-Instruct", "Llama-3.2-1B-Instruct"), {}, 2828),
        (("Llama-3.2-3B-Instruct", "Llama-3.2-1B-Instruct"), {"users": 4, "mlp": "BFLOAT8_B"}, 2385),
        (("Llama-3.1-8B-Instruct", "Llama-3.2-1B-Instruct"), {"devices": 2}, 1454),
    ],
    ids=["1b-8b-performance", "1b-3b-accuracy-users4", "1b-8b-n300"],
)
def test_the_plan_is_what_the_allocator_held(names, options, megabytes):
    resident = sum(model.resident for model in plan(*names, layers=1, **options).models)
    assert resident / 1e6 == pytest.approx(megabytes, rel=0.02)


@pytest.mark.parametrize("target", ["Llama-3.2-3B-Instruct", "Llama-3.1-8B-Instruct"])
def test_each_pair_fits_an_n150(target):
    pair = plan(target, "Llama-3.2-1B-Instruct", users=4)
    pair.require_fit()
    assert 3e9 < pair.needed < 11e9
    assert target in str(pair) and "set aside for traces 25" in str(pair)


def test_a_cache_of_1024_blocks_is_what_it_costs_upstream():
    """The reference figure: 2.3 GB for an 8B model."""
    (model,) = plan("Llama-3.1-8B-Instruct", users=1, max_seq_len=32 * 1023).models
    assert model.kv_cache == pytest.approx(2.28e9, rel=0.01)


def test_two_devices_hold_half_each():
    one, two = (plan("Llama-3.1-8B-Instruct", devices=n).models[0] for n in (1, 2))
    assert two.weights == pytest.approx(one.weights / 2, rel=0.02) and two.kv_cache == one.kv_cache / 2


def test_what_does_not_fit_is_refused_with_the_numbers():
    too_long = plan("Llama-3.1-8B-Instruct", "Llama-3.2-1B-Instruct", users=4, max_seq_len=32768)
    with pytest.raises(BadInput, match=r"(?s)do not fit.*KV cache 9\d\d\d.*needed 21\d\d\d of 12872 free.*max_seq_len"):
        too_long.require_fit()


def test_a_trimmed_head_is_what_its_rows_take():
    """Of a 1B Llama's 128,256 output ids 32,768 are kept; the embedding stays whole."""
    name, cache = "Llama-3.2-1B-Instruct", CacheLayout(1, 1024)
    whole, trimmed = (ModelMemory.of(args_of(name), TensorGroup, cache, head_size=n) for n in (None, 32768))
    assert whole.weights - trimmed.weights == pytest.approx((128256 - 32768) * 2048 * 1088 / 1024, rel=0.01)
    assert whole.tables > trimmed.tables and whole.kv_cache == trimmed.kv_cache


EAGLE = SimpleNamespace(
    **{"layers": (2, 16, 29), "hidden_size": 4096, "target_hidden_size": 4096, "intermediate_size": 14336},
    **{"num_heads": 32, "num_kv_heads": 8, "head_dim": 128, "vocab_size": 128256, "draft_vocab_size": 32000},
)


@pytest.mark.parametrize("exact, weights", [(False, 451e6), (True, 848e6)])
def test_an_eagle_head_beside_its_target(exact, weights):
    """Llama-3.1-8B's fits an N150 with it, in BFP8 and in bf16; a prefill's taps are counted where the target's own
    activations are."""
    args, cache = args_of("Llama-3.1-8B-Instruct", max_seq_len=4096), CacheLayout(2, 4096)
    target = ModelMemory.of(args, TensorGroup, cache)
    head = SimpleNamespace(name="eagle3", spec=EAGLE, tensors={})
    planned = ModelMemory.of_head(head, args, cache, target, exact=exact)
    assert planned.weights == pytest.approx(weights, rel=0.01)
    assert planned.kv_cache == pytest.approx(2 * 4096 * 2 * 1024 * (2 if exact else 1.0625), rel=0.01)
    assert planned.activations - target.activations > 2 * 4096 * 3 * 4096 * 2  # the chunk's taps, kept and joined
    both = MemoryPlan((target, planned), N150, 60_000_000)
    both.require_fit()
    assert both.needed == target.resident + planned.resident + planned.activations
    own = SimpleNamespace(name="eagle3", spec=EAGLE, tensors={"embed_tokens": None})
    longer = ModelMemory.of_head(own, args, cache, target, exact=exact)
    assert longer.weights - planned.weights == 128256 * 4096 * 2


@pytest.mark.parametrize(("users", "length"), [(0, 100), (1, 0)])
def test_an_empty_cache_is_refused(users, length):
    with pytest.raises(BadInput, match=f"{users} users of {length} tokens"):
        CacheLayout(users, length)

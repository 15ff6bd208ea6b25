# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Attention's writes are redirected for the length of one forward_decode, whatever happens in it, and never lost
silently."""

from types import SimpleNamespace

import pytest
import torch
from fakes.device import FakeMeshDevice
from fakes.fake_ttnn import make_ttnn

from models.tt_transformers.demo.speculative_decoding.errors import ModelFailure
from models.tt_transformers.demo.speculative_decoding.tt.attention import RowWrites, row_safe_attention


def attention_that(*calls, fail=False):
    """An upstream Attention whose forward_decode makes these write calls."""

    class Upstream:
        def __init__(self, experimental):
            self.experimental = experimental

        def forward_decode(self, x, current_pos, rot_mats=None, page_table=None, kv_cache=None):
            for name in calls:
                getattr(self.experimental, name)("cache", "rows", update_idxs_tensor=current_pos, page_table=page_table)
            if fail:
                raise RuntimeError("out of L1")
            return x

    return Upstream


@pytest.fixture
def experimental():
    written = []
    module = SimpleNamespace(written=written)
    for name in ("paged_update_cache", "paged_fused_update_cache"):
        setattr(module, name, lambda *args, op=name, **kwargs: written.append((op, kwargs["update_idxs_tensor"])))
    return module


def decode(experimental, base, write):
    writes = RowWrites(experimental)
    attention = row_safe_attention(base, writes)(experimental)
    with writes.by(write):
        return attention.forward_decode("x", "current_pos", page_table="table")


def write_twice(op, args, kwargs):
    assert args == ("cache", "rows") and kwargs["page_table"] == "table"
    for position in ("first", "second"):
        op(*args, **{**kwargs, "update_idxs_tensor": position})


@pytest.mark.parametrize(
    "calls", [("paged_fused_update_cache",), ("paged_update_cache",) * 2], ids=["fused", "separate"]
)
def test_every_write_goes_through(experimental, calls):
    stock = dict(vars(experimental))
    assert decode(experimental, attention_that(*calls), write_twice) == "x"
    assert experimental.written == [(name, position) for name in calls for position in ("first", "second")]
    assert vars(experimental) == stock


@pytest.mark.parametrize(
    "calls",
    [(), ("paged_update_cache",), ("paged_fused_update_cache",) * 2],
    ids=["none", "keys-only", "twice"],
)
def test_other_writes_than_expected_are_named(experimental, calls):
    with pytest.raises(
        ModelFailure, match="expected .*paged_fused_update_cache or two of .*paged_update_cache, but"
    ) as caught:
        decode(experimental, attention_that(*calls), lambda op, args, kwargs: None)
    assert (calls[0] if calls else "neither") in str(caught.value).split("but called")[1]


def test_the_ops_are_put_back_after_a_failure(experimental):
    stock = dict(vars(experimental))
    with pytest.raises(RuntimeError, match="out of L1"):
        decode(experimental, attention_that("paged_fused_update_cache", fail=True), write_twice)
    assert vars(experimental) == stock


def test_a_decode_that_nobody_prepared_is_refused(experimental):
    attention = row_safe_attention(attention_that("paged_fused_update_cache"), RowWrites(experimental))(experimental)
    with pytest.raises(ModelFailure, match="outside of a decode step"):
        attention.forward_decode("x", "current_pos")


def test_an_op_that_a_newer_ttnn_dropped_is_not_missed(experimental):
    del experimental.paged_update_cache
    decode(experimental, attention_that("paged_fused_update_cache"), write_twice)
    assert not hasattr(experimental, "paged_update_cache")


def test_the_subclass_is_named_as_upstream_looks_it_up(experimental):
    assert row_safe_attention(attention_that(), RowWrites(experimental)).__name__ == "Attention"


def test_the_fake_cache_models_the_race():
    """What all of this is for: of the rows of one call that share a tile, one survives."""
    ttnn, device = make_ttnn(), FakeMeshDevice()
    cache = ttnn.from_torch(torch.zeros(2, 1, 32, 4), dtype=ttnn.bfloat8_b, device=device)
    rows = ttnn.from_torch(torch.ones(1, 4, 1, 4), dtype=ttnn.bfloat16, device=device)
    table = ttnn.from_torch(torch.tensor([[1]] * 4), dtype=ttnn.int32, device=device)

    def survivors(*calls):
        cache.data.zero_()
        for positions in calls:
            idxs = ttnn.from_torch(torch.tensor(positions), dtype=ttnn.int32, device=device)
            ttnn.experimental.paged_update_cache(cache, rows, update_idxs_tensor=idxs, page_table=table)
        return cache.data[1, 0].any(-1).nonzero().flatten().tolist()

    assert survivors([5, 6, 7, -1]) == [7]
    assert survivors([5, -1, -1, -1], [-1, 6, -1, -1], [-1, -1, 7, -1]) == [5, 6, 7]

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Paged SDPA decode over pages that a user's rows share: each row has its own position and the same page-table row."""

import pytest
import ttnn
from mock_wormhole.decode_step import (
    CACHE_DTYPES,
    LAYOUTS,
    LLAMAS,
    caches,
    decode_heads,
    integers,
    page_table,
    positions,
    readable,
)
from mock_wormhole.refusal import refused

from models.tt_transformers.demo.speculative_decoding.tt.kv_write import RowLayout


def attend(queries, keys, values, pages, current_pos):
    """The call of Attention.forward_decode."""
    return ttnn.transformer.paged_scaled_dot_product_attention_decode(
        queries,
        keys,
        values,
        page_table_tensor=pages,
        cur_pos_tensor=current_pos,
        scale=queries.shape[-1] ** -0.5,
        program_config=ttnn.SDPAProgramConfig(
            compute_with_storage_grid_size=(8, 8), exp_approx_mode=False, q_chunk_size=0, k_chunk_size=0
        ),
        memory_config=ttnn.DRAM_MEMORY_CONFIG,
    )


@pytest.mark.parametrize("layout", [*LAYOUTS, RowLayout(1, 32)], ids=readable)
@pytest.mark.parametrize("dtype", CACHE_DTYPES, ids=readable)
@pytest.mark.parametrize("model", LLAMAS, ids=readable)
def test_every_row_attends(device, model, dtype, layout):
    model = model.per_device(device)
    queries, _, _ = decode_heads(device, model, layout, fused=False)
    keys, values = caches(device, model, layout, dtype)
    attended = attend(queries, keys, values, page_table(device, layout), positions(device, layout))
    assert tuple(attended.shape) == (1, layout.compiled_batch, model.heads, model.head_dim)
    assert attended.dtype == ttnn.bfloat16


class TestRefuses:
    @pytest.fixture
    def attend_with(self, device):
        """Attend with one argument replaced."""
        layout, model = RowLayout(1, 4), LLAMAS[0].per_device(device)
        queries, _, _ = decode_heads(device, model, layout, fused=False)
        keys, values = caches(device, model, layout, ttnn.bfloat8_b)
        pages, current_pos = page_table(device, layout), positions(device, layout)
        arguments = {"queries": queries, "keys": keys, "values": values, "pages": pages, "current_pos": current_pos}
        return lambda **replaced: attend(**{**arguments, **replaced})

    def test_one_page_table_row_for_all_rows(self, device, attend_with):
        with refused("cur_pos must have batch size equal to Q, got 4 and 1"):
            attend_with(pages=page_table(device, RowLayout(1, 1)))

    def test_positions_of_another_batch(self, device, attend_with):
        with refused("cur_pos must have batch size equal to Q, got 8 and 4"):
            attend_with(current_pos=positions(device, RowLayout(1, 8)))

    def test_a_page_table_that_is_unsigned(self, device, attend_with):
        with refused("only supports INT32"):
            attend_with(pages=integers(device, [0] * 128, (4, 32), ttnn.uint32))

    def test_a_cache_of_another_width(self, device, attend_with):
        keys, values = caches(device, LLAMAS[1].per_device(device), RowLayout(1, 4), ttnn.bfloat8_b)
        with refused("Q, K, V must have same hidden size"):
            attend_with(keys=keys, values=values)

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""tt_kv_write's arithmetic on real numbers: torch plays ttnn's `where`, and the update op races like the real one.

That real ttnn takes these calls is tests/mock_wormhole's business (there all data is 0).
"""

import subprocess
import sys
import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.tt import kv_write as tt_kv_write
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import (
    RowLayout,
    WritePositions,
    write_rows,
)

TILE = 32


def integer_ttnn():
    """The ttnn functions that the positions are made of, on torch tensors."""
    ttnn = types.ModuleType("ttnn")
    ttnn.int32 = torch.int32
    ttnn.ROW_MAJOR_LAYOUT = ttnn.TILE_LAYOUT = ttnn.DRAM_MEMORY_CONFIG = None
    ttnn.from_buffer = lambda values, shape, dtype, device, **options: torch.tensor(values, dtype=dtype).reshape(shape)
    ttnn.where = lambda condition, yes, no, **options: torch.where(condition.bool(), yes, no)
    return ttnn


@pytest.fixture(scope="module", autouse=True)
def ttnn_on_torch():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ttnn", integer_ttnn())
        yield


def racing_update(cache, heads, *, update_idxs_tensor, page_table):
    """paged_update_cache: every row's core reads its whole tile before any of them writes its own back."""
    block_size = cache.shape[2]
    patched = []
    for row, position in enumerate(update_idxs_tensor.tolist()):
        if position == -1:
            continue
        block = int(page_table[row, position // block_size])
        first = position % block_size // TILE * TILE
        tile = cache[block, :, first : first + TILE].clone()
        tile[:, position % TILE] = heads[0, row]
        patched.append((block, first, tile))
    for block, first, tile in patched:
        cache[block, :, first : first + TILE] = tile


def fake_cache(blocks, block_size, kv_heads=2, head_dim=4):
    return torch.zeros(blocks, kv_heads, block_size, head_dim)


@st.composite
def steps(draw):
    """(layout, block size, positions, page table) of a decode step: users anywhere in their own blocks, some idle."""
    tokens = draw(st.integers(1, TILE))
    layout = RowLayout(draw(st.integers(1, TILE // tokens)), tokens)
    block_size = draw(st.sampled_from([32, 64, 128]))
    blocks_per_user = draw(st.integers(1, 3))
    blocks = draw(st.permutations(range(layout.users * blocks_per_user)))
    positions, pages = [], []
    for user in range(layout.users):
        last_start = blocks_per_user * block_size - tokens
        start = draw(st.one_of(st.just(-1), st.integers(0, last_start)))
        used = draw(st.integers(1, tokens))
        positions += [start + token if start >= 0 and token < used else -1 for token in range(tokens)]
        pages += [blocks[user * blocks_per_user : (user + 1) * blocks_per_user]] * tokens
    unused = layout.compiled_batch - layout.rows
    positions += [-1] * unused
    pages += [[0] * blocks_per_user] * unused
    return layout, block_size, torch.tensor(positions, dtype=torch.int32), torch.tensor(pages, dtype=torch.int32)


def cache_row(position, page_row, block_size):
    """The reference: where a position is in the cache's rows, laid end to end; -1 for none."""
    return -1 if position == -1 else page_row[position // block_size] * block_size + position % block_size


def written_in_turn(step, heads):
    """The cache after writing the rows one after another."""
    layout, block_size, positions, pages = step
    cache = fake_cache(layout.users * pages.shape[1], block_size)
    for row, position in enumerate(positions.tolist()):
        at = cache_row(position, pages[row].tolist(), block_size)
        if at >= 0:
            cache[at // block_size, :, at % block_size] = heads[0, row]
    return cache


def heads_of(layout):
    rows = torch.arange(1.0, layout.compiled_batch + 1)
    return rows[None, :, None, None].expand(1, -1, 2, 4)


class TestRowLayout:
    @pytest.mark.parametrize("rows, batch", [(1, 1), (2, 2), (3, 4), (5, 8), (8, 8), (9, 16), (17, 32), (32, 32)])
    def test_compiled_batch_is_the_next_that_the_models_take(self, rows, batch):
        assert RowLayout(1, rows).compiled_batch == RowLayout(rows, 1).compiled_batch == batch

    def test_masks_give_each_token_its_turn(self):
        assert RowLayout(2, 3).one_hot_masks() == [
            [1, 0, 0, 1, 0, 0, 0, 0],
            [0, 1, 0, 0, 1, 0, 0, 0],
            [0, 0, 1, 0, 0, 1, 0, 0],
        ]

    @pytest.mark.parametrize("users, tokens", [(1, 0), (1, 33), (1, -1)])
    def test_refuses_tokens_outside_a_tile(self, users, tokens):
        with pytest.raises(BadInput, match=rf"tokens per user {tokens} is not in 1\.\.32; draft fewer tokens"):
            RowLayout(users, tokens)

    @pytest.mark.parametrize("users, tokens", [(5, 7), (33, 1), (0, 1), (2, 17)])
    def test_refuses_more_rows_than_a_step_has(self, users, tokens):
        with pytest.raises(BadInput, match=f"{users} users x {tokens} tokens is {users * tokens} rows"):
            RowLayout(users, tokens)


@settings(deadline=None, max_examples=200)
@given(steps())
def test_several_calls_write_every_row(step):
    layout, block_size, positions, pages = step
    heads, cache = heads_of(layout), fake_cache(layout.users * pages.shape[1], block_size)
    strategy = WritePositions(None, layout)
    kwargs = {"update_idxs_tensor": positions, "page_table": pages}
    write_rows(racing_update, (cache, heads), kwargs, strategy.split(positions))
    assert torch.equal(cache, written_in_turn(step, heads))


@settings(deadline=None, max_examples=200)
@given(steps())
def test_no_call_writes_two_rows_of_a_tile(step):
    layout, block_size, positions, pages = step
    for update_idxs in WritePositions(None, layout).split(positions):
        rows = [cache_row(p, pages[row].tolist(), block_size) for row, p in enumerate(update_idxs.tolist())]
        tiles = [row // TILE for row in rows if row >= 0]
        assert len(tiles) == len(set(tiles))


@pytest.mark.parametrize("tokens", [2, 5, 32])
def test_the_stock_call_loses_rows(tokens):
    """Negative control: what this module is for, and that the racing op above would show it."""
    layout, pages = RowLayout(1, tokens), torch.zeros(32, 1, dtype=torch.int32)[: RowLayout(1, tokens).compiled_batch]
    positions = torch.tensor([*range(tokens), *[-1] * (layout.compiled_batch - tokens)], dtype=torch.int32)
    heads, cache = heads_of(layout), fake_cache(1, 32)
    racing_update(cache, heads, update_idxs_tensor=positions, page_table=pages)
    assert not torch.equal(cache, written_in_turn((layout, 32, positions, pages), heads))
    assert int(cache[0, 0, :, 0].count_nonzero()) == 1


def test_each_call_is_the_stock_call_but_for_the_positions():
    calls = []
    write_rows(
        lambda *args, **kwargs: calls.append((args, kwargs)),
        ("keys", "heads"),
        {"update_idxs_tensor": "all", "page_table": "pages"},
        ["first", "second"],
    )
    assert calls == [
        (("keys", "heads"), {"update_idxs_tensor": "first", "page_table": "pages"}),
        (("keys", "heads"), {"update_idxs_tensor": "second", "page_table": "pages"}),
    ]


def test_is_imported_without_ttnn_or_torch():
    """The mock tests' environment has no torch, and most machines have no ttnn."""
    check = (
        "import sys, types; name = 'models.tt_transformers.demo.speculative_decoding';"
        "package = types.ModuleType(name); package.__path__ = [name.replace('.', '/')]; sys.modules[name] = package;"
        "import models.tt_transformers.demo.speculative_decoding.tt.kv_write;"
        "sys.exit(bool({'ttnn', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check], cwd=tt_kv_write.__file__.split("/models/")[0]).returncode == 0

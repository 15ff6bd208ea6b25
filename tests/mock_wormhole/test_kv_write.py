# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""tt_kv_write against real ttnn: what it hands to the update ops is what they take, and it costs no extra programs."""

from functools import partial

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

from models.tt_transformers.demo.speculative_decoding.tt.kv_write import RowLayout, WritePositions, write_rows

OPS = ["paged_fused_update_cache", "paged_update_cache"]
HOST_TRANSFERS = [
    "from_buffer",
    "from_torch",
    "to_device",
    "from_device",
    "zeros",
    "full",
    "copy_host_to_device_tensor",
]


class Step:
    """One layer's KV write as the model asks for it: `calls` are the stock calls (op, args, kwargs), in order."""

    def __init__(self, device, model, layout, dtype, op_name):
        self.device, self.model, self.layout = device, model.per_device(device), layout
        self.current_pos, self.page_table = positions(device, layout), page_table(device, layout)
        self.keys, self.values = caches(device, self.model, layout, dtype)
        fused = op_name == "paged_fused_update_cache"
        _, k_heads, v_heads = decode_heads(device, self.model, layout, fused=fused)
        k, v = (self.keys, k_heads), (self.values, v_heads)
        kwargs = {"update_idxs_tensor": self.current_pos, "page_table": self.page_table}
        op = getattr(ttnn.experimental, op_name)
        self.calls = [(op, k + v, kwargs)] if fused else [(op, k, kwargs), (op, v, kwargs)]

    def run(self, write):
        for op, args, kwargs in self.calls:
            write(op, args, kwargs)

    def run_with(self, strategy):
        """One whole forward: positions, then writes."""
        self.run(partial(write_rows, positions=strategy.split(self.current_pos)))

    def programs(self, write):
        """How many programs a cold run of `write` compiles."""
        self.device.clear_program_cache()
        self.run(write)
        return self.device.num_program_cache_entries()


def stock_write(op, args, kwargs):
    op(*args, **kwargs)


def forbid_host_transfers(monkeypatch):
    """Whatever would move data between host and device fails from now on."""

    def forbidden(name, *args, **kwargs):
        raise AssertionError(f"{name} was called, and a trace cannot replay it")

    for name in HOST_TRANSFERS:
        monkeypatch.setattr(ttnn, name, partial(forbidden, name))


class TestPositions:
    """The vectors that one forward's layers share."""

    @pytest.mark.parametrize("layout", LAYOUTS, ids=readable)
    def test_are_like_the_positions_that_they_come_from(self, device, layout):
        split = WritePositions(device, layout).split(positions(device, layout))
        assert len(split) == layout.tokens_per_user
        for update_idxs in split:
            assert tuple(update_idxs.shape) == (layout.compiled_batch,)
            assert (update_idxs.dtype, update_idxs.layout) == (ttnn.int32, ttnn.ROW_MAJOR_LAYOUT)
            assert update_idxs.memory_config() == ttnn.DRAM_MEMORY_CONFIG
            assert len(ttnn.get_device_tensors(update_idxs)) == device.get_num_devices()

    def test_of_one_token_are_the_models_own(self, device):
        current_pos = positions(device, RowLayout(4, 1))
        (update_idxs,) = WritePositions(device, RowLayout(4, 1)).split(current_pos)
        assert update_idxs is current_pos
        assert device.num_program_cache_entries() == 0

    @pytest.mark.parametrize("tokens", [2, 8, 32])
    def test_need_one_program_whatever_t_is(self, device, tokens):
        layout = RowLayout(1, tokens)
        WritePositions(device, layout).split(positions(device, layout))
        assert device.num_program_cache_entries() == 1

    def test_of_another_batch_are_refused(self, device):
        with refused("(?i)broadcast"):
            WritePositions(device, RowLayout(1, 8)).split(positions(device, RowLayout(1, 4)))

    def test_masks_go_with_what_holds_them(self, device):
        def buffers():
            return len(ttnn._ttnn.reports.get_buffers(device))

        before = buffers()
        write = WritePositions(device, RowLayout(1, 4))
        assert buffers() == before + 4
        del write
        assert buffers() == before


class TestWriteAsSeveralCalls:
    @pytest.mark.parametrize("layout", [*LAYOUTS, RowLayout(1, 32)], ids=readable)
    @pytest.mark.parametrize("dtype", CACHE_DTYPES, ids=readable)
    @pytest.mark.parametrize("model", LLAMAS, ids=readable)
    @pytest.mark.parametrize("op_name", OPS)
    def test_makes_t_calls_of_one_program(self, device, op_name, model, dtype, layout):
        step = Step(device, model, layout, dtype, op_name)
        strategy = WritePositions(device, layout)
        prepared = strategy.split(step.current_pos)
        calls = []

        def write(op, args, kwargs):
            def counted(*args, **kwargs):
                calls.append(op)
                return op(*args, **kwargs)

            write_rows(counted, args, kwargs, prepared)

        assert step.programs(stock_write) == 1
        assert step.programs(write) == 1
        assert len(calls) == layout.tokens_per_user * len(step.calls)

    def test_would_be_caught_compiling_a_second_program(self, device):
        """Negative control of the counting: a second call that differs (here in the page table's width) is counted."""
        step = Step(device, LLAMAS[0], RowLayout(1, 4), ttnn.bfloat8_b, OPS[0])
        narrower = integers(device, [0] * 64, (4, 16))

        def write(op, args, kwargs):
            op(*args, **kwargs)
            op(*args, **{**kwargs, "page_table": narrower})

        assert step.programs(write) == 2

    @pytest.mark.parametrize("op_name", OPS)
    def test_stages_nothing_and_compiles_nothing_once_warm(self, device, monkeypatch, op_name):
        step = Step(device, LLAMAS[-1], RowLayout(1, 4), ttnn.bfloat8_b, op_name)
        strategy = WritePositions(device, step.layout)
        step.run_with(strategy)
        device.set_program_cache_misses_allowed(False)
        forbid_host_transfers(monkeypatch)
        step.run_with(strategy)

    def test_would_be_caught_staging_or_compiling(self, device, monkeypatch):
        """Negative control of the two guards above."""
        current_pos = positions(device, RowLayout(1, 4))
        device.set_program_cache_misses_allowed(False)
        with refused("(?i)cache miss"):
            ttnn.where(current_pos, current_pos, -1)
        forbid_host_transfers(monkeypatch)
        with pytest.raises(AssertionError, match="from_buffer"):
            WritePositions(device, RowLayout(1, 4))


class TestTheOpsRefuse:
    """What the mock is worth: each of these raises, so the calls above were checked."""

    @pytest.fixture(params=OPS)
    def write_with(self, request, device):
        """Call the stock op with one argument replaced."""
        op, args, kwargs = Step(device, LLAMAS[0], RowLayout(1, 4), ttnn.bfloat8_b, request.param).calls[0]
        return lambda **replaced: op(*args, **{**kwargs, **replaced})

    def test_positions_that_are_unsigned(self, device, write_with):
        with refused("update_idxs to have datatype INT32"):
            write_with(update_idxs_tensor=integers(device, [0] * 4, dtype=ttnn.uint32))

    def test_positions_that_are_tiled(self, device, write_with):
        with refused("update_idxs to have memory layout in ROW MAJOR"):
            write_with(update_idxs_tensor=ttnn.to_layout(integers(device, [0] * 4, (4, 1)), ttnn.TILE_LAYOUT))

    def test_positions_of_another_batch(self, device, write_with):
        with refused("Number of update_idxs"):
            write_with(update_idxs_tensor=integers(device, [0] * 8))

    def test_positions_in_l1(self, device, write_with):
        with refused("update_idxs to have buffer type DRAM"):
            write_with(update_idxs_tensor=ttnn.to_memory_config(integers(device, [0] * 4), ttnn.L1_MEMORY_CONFIG))

    def test_a_page_table_of_another_batch(self, device, write_with):
        with refused("(?i)batch size between page_table and input_tensor"):
            write_with(page_table=page_table(device, RowLayout(1, 8)))

    def test_a_page_table_that_is_unsigned(self, device, write_with):
        with refused("page table to have datatype INT32"):
            write_with(page_table=integers(device, [0] * 128, (4, 32), ttnn.uint32))

    def test_a_page_table_wider_than_the_cache(self, device, write_with):
        with refused("max_num_blocks_per_seq must be less"):
            write_with(page_table=integers(device, [0] * 132, (4, 33)))

    def test_a_cache_said_to_be_shared(self, write_with):
        with refused("share_cache not supported with paged cache"):
            write_with(share_cache=True)

    @pytest.mark.parametrize("op_name", OPS)
    def test_heads_of_another_model(self, device, op_name):
        narrow, wide = (Step(device, model, RowLayout(1, 4), ttnn.bfloat8_b, op_name) for model in LLAMAS[:2])
        op, args, kwargs = narrow.calls[0]
        heads_of_another = [heads if at % 2 else args[at] for at, heads in enumerate(wide.calls[0][1])]
        with refused("(?i)last dim|geometry"):
            op(*heads_of_another, **kwargs)

    def test_keys_and_values_on_the_same_cores(self, device):
        step = Step(device, LLAMAS[0], RowLayout(1, 4), ttnn.bfloat8_b, OPS[0])
        _, k_heads, v_heads = decode_heads(device, step.model, step.layout, fused=False)
        op, _, kwargs = step.calls[0]
        with refused("must not overlap"):
            op(step.keys, k_heads, step.values, v_heads, **kwargs)

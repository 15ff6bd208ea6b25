# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Generator as trees after June 2026 have it: traces prepared before they are captured, then explicit commands."""

from __future__ import annotations

import ttnn
from fakes.fake_generator import Generator


class SeptemberGenerator(Generator):
    """What a trace reads and writes is allocated by a preparing decode, which nothing may follow once one was captured;
    a trace's results are copied into prepared buffers within it."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._prepared, self._frozen = {}, False

    def decode_forward(
        self,
        tokens,
        start_pos,
        page_table=None,
        kv_cache=None,
        enable_trace=True,
        read_from_device=True,
        sampling_params=None,
        reset_batch=False,
        skip_trace_precompile=False,
        prepare_trace=False,
    ):
        self._preparing = prepare_trace and not enable_trace
        how = (enable_trace, read_from_device, sampling_params, reset_batch)
        return super().decode_forward(tokens, start_pos, page_table, kv_cache, *how)

    def _untraced(self, inputs, kv_cache, sampling, reset):
        if self._preparing and sampling not in self._prepared and not self.trace_ids_decode[sampling]:
            return [self._prepare(inputs, kv_cache, sampling)]
        return super()._untraced(inputs, kv_cache, sampling, reset)

    def _prepare(self, inputs, kv_cache, sampling):
        if self._frozen:
            raise RuntimeError("Trace I/O preparation is closed after the first capture.")
        staged = self.model[0].prepare_inputs_decode(*inputs)
        output = self._decode(staged, kv_cache, sampling)
        kept = self.mesh_device.run("clone", lambda data: data.clone(), output[0], dtype=output[0].dtype)
        self._copy(output[0], kept)
        self._prepared[sampling] = staged, kept
        return kept, None

    def _decode(self, staged, kv_cache, sampling):
        output = self.model[0].ttnn_decode_forward(*staged, kv_cache=kv_cache, on_device_logits=sampling)
        return self._sample(output, staged[0]) if sampling else output

    def _copy(self, source, target):
        def copy(data, kept):
            kept.copy_(data)

        self.mesh_device.run("copy", copy, source, target, dtype=None)

    def _traced(self, inputs, kv_cache, sampling, reset):
        if not self.trace_ids_decode[sampling]:
            if sampling not in self._prepared:
                self._prepare(inputs, kv_cache, sampling)
            staged, kept = self._prepared.pop(sampling)
            self._frozen = True
            trace_id = ttnn.begin_trace_capture(self.mesh_device, cq_id=0)
            self._copy(self._decode(staged, kv_cache, sampling)[0], kept)
            ttnn.end_trace_capture(self.mesh_device, trace_id, cq_id=0)
            if sampling:
                self.model[0].sampling.capture()
            self.trace_ids_decode[sampling] = {0: trace_id}
            self.trace_inputs_decode[sampling], self.trace_output_decode[sampling] = staged, [(kept, None)]
        return super()._traced(inputs, kv_cache, sampling, reset)


class CommandGenerator(SeptemberGenerator):
    """The caller says what is reloaded, and nothing is guessed."""

    def decode_forward(
        self,
        tokens,
        start_pos,
        page_table=None,
        kv_cache=None,
        enable_trace=True,
        read_from_device=True,
        sampling_params=None,
        prepare_trace=False,
        *,
        reload_inputs,
        reload_page_table,
        reload_sampling_params,
        reset_sampling_state,
        **kwargs,
    ):
        if kwargs:
            raise ValueError(f"{', '.join(kwargs)}: give the four commands")
        sampling = sampling_params is not None
        if not sampling and not reload_inputs:
            raise ValueError("a decode that is sampled on the host must reload its inputs")
        self._parameters = reload_sampling_params or getattr(self, "_parameters", False)
        if sampling and not self._parameters:
            raise ValueError("the sampling parameters were never loaded")
        self._reload = reload_inputs
        self._slots_prefilled_since_decode = set()
        how = {"enable_trace": enable_trace, "read_from_device": read_from_device, "sampling_params": sampling_params}
        return super().decode_forward(tokens, start_pos, page_table, kv_cache, prepare_trace=prepare_trace, **how)

    def _traced(self, inputs, kv_cache, sampling, reset):
        return super()._traced(inputs, kv_cache, sampling, self._reload)


class UnknownGenerator(Generator):
    """Of a tree that nobody has seen."""

    def decode_forward(
        self, tokens, start_pos, page_table=None, kv_cache=None, enable_trace=True, read_from_device=True
    ):
        raise NotImplementedError

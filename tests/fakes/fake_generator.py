# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""tt_transformers' Generator as of 2026-06-22: one decode trace per sampling mode, inputs staged as upstream stages
them, and the trap of its device-sampling mode."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
import ttnn
from fakes.fake_config import Mode, get_padded_prefill_len


@dataclass(frozen=True)
class SamplingParams:
    temperature: float
    top_k: int
    top_p: float


class Generator:
    def __init__(self, model, model_args, mesh_device, processor=None, tokenizer=None):
        self.model, self.model_args, self.mesh_device = model, model_args, mesh_device
        self.trace_ids_decode = defaultdict(lambda: None)
        self.trace_inputs_decode = defaultdict(lambda: None)
        self.trace_output_decode = defaultdict(lambda: None)
        self.already_warmed_up_prefill = False
        self.mode = None

    def __del__(self):
        """Upstream releases its traces when it is collected, and swallows whatever goes wrong then."""
        for traces in self.trace_ids_decode.values():
            for trace_id in (traces or {}).values():
                if trace_id in self.mesh_device.traces and self.mesh_device.open:
                    ttnn.release_trace(self.mesh_device, trace_id)

    def prefill_forward_text(
        self,
        tokens,
        page_table=None,
        kv_cache=None,
        prompt_lens=None,
        empty_slots=None,
        enable_trace=True,
        model_id_warmup=None,
        sampling_params=None,
        start_pos=None,
        return_hidden_states=False,
        warmup_prefill=True,
    ):
        self.mode = Mode.PREFILL
        slots = list(range(tokens.shape[0])) if empty_slots is None else empty_slots
        self._slots_prefilled_since_decode = getattr(self, "_slots_prefilled_since_decode", set()) | set(slots)
        if warmup_prefill and not self.already_warmed_up_prefill:
            self.already_warmed_up_prefill = True
            self._prefill(torch.zeros(1, 128).long(), torch.zeros(1, 4).int(), kv_cache, 128)  # token 0 into block 0
        out = torch.zeros(tokens.shape[0], 1, self.model_args[0].vocab_size)
        for user, length in enumerate(prompt_lens):
            out[user, 0] = self._prefill(tokens[user : user + 1], page_table[user : user + 1], kv_cache, length)
        return out

    def _prefill(self, tokens, page_table, kv_cache, length):
        padded = get_padded_prefill_len(length)
        ids = torch.cat([tokens[:, :length], torch.zeros(1, padded - length).long()], -1)
        blocks = padded // 32
        missing = torch.full((1, max(0, blocks - page_table.shape[1])), -1, dtype=torch.int32)
        table = torch.cat([page_table, missing], 1)[:, :blocks]
        x, rot_mats, _, table, *_ = self.model[0].prepare_inputs_prefill(ids, page_table=table)
        last = (length - 1) // 32 * 32
        logits = self.model[0].ttnn_prefill_forward(
            x, rot_mats_global=rot_mats, page_table=table, get_last_token=last, kv_cache=kv_cache[0]
        )
        shard = ttnn.to_torch(ttnn.get_device_tensors(logits)[0])
        return shard[0, 0, (length - 1) % 32, : self.model_args[0].vocab_size]

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
    ):
        mode_switched, self.mode = self.mode != Mode.DECODE, Mode.DECODE
        self.model[0].switch_mode(Mode.DECODE)
        sampling = sampling_params is not None
        reset = reset_batch or mode_switched
        if sampling and reset and enable_trace and self.trace_inputs_decode[True]:
            # THE TRAP: the device's token and position win where the host's position is theirs or one behind.
            device_tokens, device_pos = (t.data.reshape(-1)[: len(tokens)] for t in self.trace_inputs_decode[True][:2])
            keep = (device_pos == start_pos) | (device_pos == start_pos + 1)
            for slot in getattr(self, "_slots_prefilled_since_decode", set()):
                keep[slot] = False
            tokens, start_pos = torch.where(keep, device_tokens, tokens), torch.where(keep, device_pos, start_pos)
        self._slots_prefilled_since_decode = set()
        inputs = (tokens, start_pos, page_table)
        decode = self._traced if enable_trace else self._untraced
        output = decode(inputs, kv_cache[0], sampling, reset)
        if not read_from_device:
            return output
        shard = ttnn.to_torch(ttnn.get_device_tensors(output[0][0])[0])
        batch, vocab = self.model_args[0].max_batch_size, self.model_args[0].vocab_size
        # As upstream: what has another number of rows is cut into as many pieces all the same.
        return shard.reshape(-1)[:batch] if sampling else shard[:, :, :batch, :vocab].reshape(batch, 1, -1), None

    def _untraced(self, inputs, kv_cache, sampling, reset):
        tokens, current_pos, rot_idxs, page_table = self.model[0].prepare_inputs_decode(*inputs)
        output = self.model[0].ttnn_decode_forward(
            tokens,
            current_pos,
            rot_mat_idxs=rot_idxs,
            page_table=page_table,
            kv_cache=kv_cache,
            on_device_logits=sampling,
        )
        return [self._sample(output, tokens) if sampling else output]

    def _traced(self, inputs, kv_cache, sampling, reset):
        if not self.trace_ids_decode[sampling]:
            self._untraced(inputs, kv_cache, sampling, reset)  # compile run
            staged = self.model[0].prepare_inputs_decode(*inputs)
            trace_id = ttnn.begin_trace_capture(self.mesh_device, cq_id=0)
            # Here upstream passes the four inputs by position.
            output = self.model[0].ttnn_decode_forward(*staged, kv_cache=kv_cache, on_device_logits=sampling)
            output = self._sample(output, staged[0]) if sampling else output
            ttnn.end_trace_capture(self.mesh_device, trace_id, cq_id=0)
            if sampling:
                self.model[0].sampling.capture()
            self.trace_ids_decode[sampling] = {0: trace_id}
            self.trace_inputs_decode[sampling], self.trace_output_decode[sampling] = staged, [output]
        if reset or not sampling:
            host = self.model[0].prepare_decode_inputs_host(*inputs)
            for from_host, on_device in zip(host, self.trace_inputs_decode[sampling], strict=True):
                ttnn.copy_host_to_device_tensor(from_host, on_device)
        ttnn.execute_trace(self.mesh_device, self.trace_ids_decode[sampling][0], cq_id=0, blocking=False)
        return self.trace_output_decode[sampling]

    def _sample(self, logits, token_buffer):
        """Greedy ids, which also become the next step's input tokens without the host."""
        rows = ttnn.slice(logits, (0, 0, 0, 0), (1, 1, 32, self.model_args[0].vocab_size))
        sampled = ttnn.argmax(rows, dim=-1, keepdim=False)

        def feed_back(ids, tokens):
            tokens.copy_(ids.view(1, 1, 1, 32))

        self.mesh_device.run("feed back", feed_back, sampled, token_buffer, dtype=None)
        return sampled, None

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""tt_transformers' Transformer as of 2026-06-22, for a tiny Llama in fp32 on fakes.fake_ttnn.

Names, arguments, shapes, dtypes and return values are upstream's; what is not needed here is left out. Weights go
through a cache directory that does not name the model, as upstream's do.
"""

from __future__ import annotations

import torch
import ttnn
from fakes.fake_attention import Attention
from fakes.fake_config import Mode, ModelArgs, cached_weight


def _rms(x, weight, eps):
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


class TransformerBlock:
    def __init__(self, args, mesh_device, state_dict, weight_cache_path, layer_num, attention_class, **options):
        self.args, self.mesh_device = args, mesh_device
        self.attention = (attention_class or Attention)(
            mesh_device=mesh_device,
            args=args,
            state_dict=state_dict,
            weight_cache_path=weight_cache_path,
            layer_num=layer_num,
            configuration=args,
            tt_ccl=None,
            transformation_mats=None,
            **options,
        )
        self.weights = [
            cached_weight(
                state_dict,
                f"model.layers.{layer_num}.{key}.weight",
                mesh_device,
                weight_cache_path / f"layers.{layer_num}.{key}",
            )
            for key in ("input_layernorm", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
        ]

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def forward(
        self, x, current_pos, rot_mats_global=None, user_id=0, mode=Mode.DECODE, page_table=None, kv_cache=None
    ):
        eps, run = self.args.norm_eps, self.mesh_device.run
        attention_norm, ffn_norm, gate, up, down = self.weights
        normed = run("norm", lambda x, w: _rms(x, w, eps), x, attention_norm)
        if mode == Mode.DECODE:
            attended = self.attention.forward_decode(normed, current_pos, rot_mats_global, page_table, kv_cache)
        else:
            attended = self.attention.forward_prefill(normed, rot_mats_global, user_id, page_table, kv_cache)

        def rest(x, attended, w_norm, w_gate, w_up, w_down):
            h = x + attended
            z = _rms(h, w_norm, eps)
            return h + (torch.nn.functional.silu(z @ w_gate.T) * (z @ w_up.T)) @ w_down.T

        return run("mlp", rest, x, attended, ffn_norm, gate, up, down)


class Sampling:
    """Upstream's on-device sampling, as far as it holds a trace of its own, which no Generator releases."""

    def __init__(self, mesh_device):
        self.mesh_device, self.traces = mesh_device, []

    def capture(self):
        trace_id = ttnn.begin_trace_capture(self.mesh_device, cq_id=0)
        ttnn.end_trace_capture(self.mesh_device, trace_id, cq_id=0)
        self.traces.append(trace_id)

    def reset_trace(self):
        while self.traces:
            ttnn.release_trace(self.mesh_device, self.traces.pop())


class RopeSetup:
    """Upstream's rotary indices: doubled where Q and K rotate in one call, padded to whole tiles."""

    def __init__(self, use_qk_fused):
        self.use_qk_fused = use_qk_fused

    def get_rot_idxs(self, position_idxs, on_host=False):
        assert on_host and torch.min(position_idxs) >= 0, "Position idxs must be non-negative"
        idxs = position_idxs.repeat(2) if self.use_qk_fused else position_idxs
        return ttnn.from_torch(torch.nn.functional.pad(idxs, (0, -len(idxs) % 32)).view(1, -1), dtype=ttnn.uint32)


class Transformer:
    _supports_on_device_sampling = True

    def __init__(
        self,
        args,
        dtype,
        mesh_device,
        state_dict,
        weight_cache_path,
        paged_attention_config=None,
        use_paged_kv_cache=False,
        attention_class=None,
        rope_setup_class=None,
        prefetcher=None,
    ):
        self.args, self.mesh_device, self.vocab_size = args, mesh_device, args.vocab_size
        self.sampling, self.rope_setup = Sampling(mesh_device), RopeSetup(args.use_qk_fused)
        angles = torch.outer(
            torch.arange(args.max_seq_len), 10000.0 ** -(torch.arange(0, args.head_dim, 2) / args.head_dim)
        )
        self.rot_tables = [
            ttnn.from_torch(torch.cat([table, table], -1), dtype=ttnn.bfloat16, device=mesh_device)
            for table in (angles.cos(), angles.sin())
        ]
        self.embedding, self.norm, self.head = (
            cached_weight(state_dict, key, mesh_device, weight_cache_path / cache_file)
            for key, cache_file in (
                ("tok_embeddings.weight", "tok_embeddings.weight"),
                ("model.norm.weight", "norm"),
                ("output.weight", f"output_lm_head_{args.padded_vocab_size}"),  # its size, not its rows
            )
        )
        common = {"dtype": dtype, "paged_attention_config": paged_attention_config, "attention_class": attention_class}
        self.layers = [
            TransformerBlock(args, mesh_device, state_dict, weight_cache_path, layer, **common)
            for layer in range(args.n_layers)
        ]

    def switch_mode(self, mode):
        pass

    def prepare_decode_inputs_host(self, tokens, current_pos, page_table=None):
        batch = tokens.shape[0]
        assert current_pos.shape[0] == batch, "Batch size mismatch"
        assert batch == self.args.max_batch_size, f"Batch size {batch} must be equal to {self.args.max_batch_size}"
        tokens = torch.nn.functional.pad(tokens.view(-1), (0, 32 - batch))
        return (
            ttnn.from_torch(tokens.view(1, 1, 1, 32), dtype=ttnn.uint32),
            ttnn.from_torch(current_pos, dtype=ttnn.int32),
            self.rope_setup.get_rot_idxs(current_pos.clamp(min=0), on_host=True),
            None if page_table is None else ttnn.from_torch(page_table, dtype=ttnn.int32),
        )

    def prepare_inputs_decode(self, *inputs):
        return [ttnn.to_device(t, device=self.mesh_device) for t in self.prepare_decode_inputs_host(*inputs)]

    def embd(self, tokens):
        """Upstream's embedding module."""
        return self._embed(tokens)

    def _embed(self, tokens):
        return self.mesh_device.run("embedding", lambda t, w: w[t.view(1, -1)].unsqueeze(0), tokens, self.embedding)

    def _head(self, x):
        def compute(x, w_norm, w_head):
            logits = _rms(x, w_norm, self.args.norm_eps) @ w_head.T
            return torch.nn.functional.pad(logits, (0, self.args.padded_vocab_size - self.vocab_size), value=1e9)

        return self.mesh_device.run("lm head", compute, x, self.norm, self.head)

    def ttnn_decode_forward(
        self,
        x,
        current_pos,
        rot_mat_idxs=None,
        page_table=None,
        kv_cache=None,
        on_device_logits=False,
        page_tables_per_layer=None,
    ):
        rot_mats = [
            self.mesh_device.run("embedding", lambda idxs, table: table[idxs[0]], rot_mat_idxs, table)
            for table in self.rot_tables
        ]
        x = self._embed(x)
        for layer, cache in zip(self.layers, kv_cache, strict=True):
            x = layer(x, current_pos, rot_mats_global=rot_mats, mode=Mode.DECODE, page_table=page_table, kv_cache=cache)
        logits = self._head(x)
        if on_device_logits:
            ttnn.plus_one(current_pos, skip_negative_entries=True)
            ttnn.plus_one(rot_mat_idxs)
            return logits
        return logits, None

    def prepare_inputs_prefill(self, tokens, start_pos=0, page_table=None, **kwargs):
        seq_len = tokens.shape[-1]
        assert (
            seq_len <= self.args.max_seq_len
        ), f"Sequence length {seq_len} exceeds max seq len {self.args.max_seq_len}"
        tokens = ttnn.from_torch(tokens.reshape(1, 1, 1, -1), dtype=ttnn.uint32, device=self.mesh_device)
        table = ttnn.from_torch(page_table, dtype=ttnn.int32, device=self.mesh_device)
        return self._embed(tokens), self.rot_tables, None, table, None, None

    def ttnn_prefill_forward(
        self, x, rot_mats_global=None, rot_mats_local=None, user_id=0, page_table=None, get_last_token=-1, kv_cache=None
    ):
        for layer, cache in zip(self.layers, kv_cache, strict=True):
            where = {"user_id": user_id, "page_table": page_table, "kv_cache": cache}
            x = layer(x, None, rot_mats_global=rot_mats_global, mode=Mode.PREFILL, **where)
        return x if get_last_token == -1 else self.process_logits_after_prefill_trace(x, get_last_token)

    def process_logits_after_prefill_trace(self, logits, last_token_idx):
        start = (last_token_idx // 32) * 32
        return self._head(ttnn.slice(logits, (0, 0, start, 0), (1, 1, start + 32, logits.shape[-1])))


def create_tt_model(
    mesh_device,
    instruct,
    max_batch_size,
    optimizations,
    max_seq_len,
    paged_attention_config=None,
    dtype=ttnn.bfloat8_b,
    state_dict=None,
    num_layers=None,
    use_prefetcher=False,
    use_hf_rope=False,
):
    """Stock: no attention_class can be passed."""
    args = ModelArgs(
        mesh_device,
        instruct=instruct,
        max_batch_size=max_batch_size,
        optimizations=optimizations,
        max_seq_len=max_seq_len,
    )
    state_dict = state_dict or args.load_state_dict()
    model = Transformer(
        args=args,
        mesh_device=mesh_device,
        dtype=dtype,
        state_dict=state_dict,
        weight_cache_path=args.weight_cache_path(dtype),
        paged_attention_config=paged_attention_config,
    )
    return args, model, [layer.attention.layer_past for layer in model.layers], state_dict

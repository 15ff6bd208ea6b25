# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""tt_transformers' Attention and Transformer as of 2026-06-22, for a tiny Llama in fp32 on fakes.fake_ttnn.

Names, arguments, shapes, dtypes and return values are upstream's; what is not needed here is left out. Weights go
through a cache directory that does not name the model, as upstream's do.
"""

from __future__ import annotations

import torch
import ttnn
from fakes.fake_config import ModelArgs


def cached_weight(state_dict, key, device, cache_file):
    """ttnn.as_tensor with a cache file: what is there is taken, whoever put it there."""
    if not cache_file.exists():
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state_dict[key].float(), cache_file)
    return ttnn.from_torch(torch.load(cache_file), dtype=ttnn.bfloat8_b, device=device)


def _rms(x, weight, eps):
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def _rotate(x, cos, sin):
    """x [..., rows, heads, head_dim] or [..., heads, rows, head_dim] with cos, sin broadcast to it (HF half
    rotation)."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class Attention:
    def __init__(
        self,
        mesh_device,
        tt_ccl,
        args,
        state_dict,
        weight_cache_path,
        layer_num,
        dtype,
        transformation_mats,
        configuration,
        paged_attention_config=None,
        use_paged_kv_cache=False,
        prefetcher=None,
    ):
        self.args, self.mesh_device, self.use_qk_fused = args, mesh_device, configuration.use_qk_fused
        name = configuration.get_state_dict_prefix(self.__class__.__name__, layer_num)  # KeyError unless "Attention"
        self.q, self.k, self.v, self.o = (
            cached_weight(
                state_dict,
                f"model.layers.{layer_num}.self_attn.{p}_proj.weight",
                mesh_device,
                weight_cache_path / f"{name}.w{p}",
            )
            for p in "qkvo"
        )
        shape = (
            paged_attention_config.max_num_blocks,
            args.n_kv_heads,
            paged_attention_config.block_size,
            args.head_dim,
        )
        nothing = torch.full(shape, float("nan"))  # whatever is read before it is written shows
        self.layer_past = [ttnn.from_torch(nothing, dtype=ttnn.bfloat8_b, device=mesh_device) for _ in "kv"]

    def _heads(self, x, weight, heads, rot_mats=None):
        """x [1, 1, 32, dim] -> [1, B, heads, head_dim], rotated if rot_mats is given."""
        batch = self.args.max_batch_size

        def project(x_data, w, *rot):
            out = (x_data[0, 0, :batch] @ w.T).view(1, batch, heads, -1)
            return _rotate(out, *(m[:batch].unsqueeze(1) for m in rot)) if rot else out

        return self.mesh_device.run("qkv heads", project, x, weight, *(rot_mats or ()))

    def forward_decode(self, x, current_pos, rot_mats=None, page_table=None, kv_cache=None):
        args = self.args
        q_heads_1BQD = self._heads(x, self.q, args.n_heads, rot_mats)
        k_heads_1BKD = self._heads(x, self.k, args.n_kv_heads, rot_mats)
        v_heads_1BKD = self._heads(x, self.v, args.n_kv_heads)
        keys, values = kv_cache if kv_cache else self.layer_past
        if self.use_qk_fused:
            ttnn.experimental.paged_fused_update_cache(
                keys, k_heads_1BKD, values, v_heads_1BKD, update_idxs_tensor=current_pos, page_table=page_table
            )
        else:
            ttnn.experimental.paged_update_cache(
                keys, k_heads_1BKD, update_idxs_tensor=current_pos, page_table=page_table
            )
            ttnn.experimental.paged_update_cache(
                values, v_heads_1BKD, update_idxs_tensor=current_pos, page_table=page_table
            )
        attended = ttnn.transformer.paged_scaled_dot_product_attention_decode(
            q_heads_1BQD,
            keys,
            values,
            page_table_tensor=page_table,
            cur_pos_tensor=current_pos,
            scale=args.head_dim**-0.5,
        )

        def output(heads, w):
            rows = heads[0].flatten(1) @ w.T
            return torch.nn.functional.pad(rows, (0, 0, 0, 32 - len(rows))).view(1, 1, 32, -1)

        return self.mesh_device.run("wo", output, attended, self.o)

    def forward_prefill(self, x_11SH, rot_mats, user_id=0, page_table=None, kv_cache=None):
        args = self.args
        assert x_11SH.shape[-2] % 128 == 0, "Seqlen must be divisible by 128"

        def project(heads, rotated):
            def compute(x, w, cos, sin):
                out = (x[0, 0] @ w.T).view(1, x.shape[2], heads, args.head_dim).transpose(1, 2)
                return _rotate(out, cos[: x.shape[2]], sin[: x.shape[2]]) if rotated else out

            return compute

        run = self.mesh_device.run
        q = run("prefill q", project(args.n_heads, True), x_11SH, self.q, *rot_mats)
        k = run("prefill k", project(args.n_kv_heads, True), x_11SH, self.k, *rot_mats)
        v = run("prefill v", project(args.n_kv_heads, False), x_11SH, self.v, *rot_mats)
        for cache, rows in zip(kv_cache, (k, v), strict=True):
            ttnn.experimental.paged_fill_cache(cache, rows, page_table, batch_idx=user_id)

        def attend(q_data, k_data, v_data, w):
            group = args.n_heads // args.n_kv_heads
            k_data, v_data = (t.repeat_interleave(group, 1) for t in (k_data, v_data))
            out = torch.nn.functional.scaled_dot_product_attention(q_data, k_data, v_data, is_causal=True)
            return out.transpose(1, 2).flatten(2).unsqueeze(0) @ w.T

        return run("prefill attention", attend, q, k, v, self.o)


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

    def __call__(self, x, attend):
        eps, run = self.args.norm_eps, self.mesh_device.run
        attention_norm, ffn_norm, gate, up, down = self.weights
        attended = attend(self.attention, run("norm", lambda x, w: _rms(x, w, eps), x, attention_norm))

        def rest(x, attended, w_norm, w_gate, w_up, w_down):
            h = x + attended
            z = _rms(h, w_norm, eps)
            return h + (torch.nn.functional.silu(z @ w_gate.T) * (z @ w_up.T)) @ w_down.T

        return run("mlp", rest, x, attended, ffn_norm, gate, up, down)


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
        angles = torch.outer(
            torch.arange(args.max_seq_len), 10000.0 ** -(torch.arange(0, args.head_dim, 2) / args.head_dim)
        )
        self.rot_tables = [
            ttnn.from_torch(torch.cat([table, table], -1), dtype=ttnn.bfloat16, device=mesh_device)
            for table in (angles.cos(), angles.sin())
        ]
        self.embedding, self.norm, self.head = (
            cached_weight(state_dict, key, mesh_device, weight_cache_path / key)
            for key in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
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
        idxs = current_pos.clamp(min=0)
        if self.args.use_qk_fused:
            idxs = idxs.repeat(2)
        idxs = torch.nn.functional.pad(idxs, (0, -len(idxs) % 32))
        return (
            ttnn.from_torch(tokens.view(1, 1, 1, 32), dtype=ttnn.uint32),
            ttnn.from_torch(current_pos, dtype=ttnn.int32),
            ttnn.from_torch(idxs.view(1, -1), dtype=ttnn.uint32),
            None if page_table is None else ttnn.from_torch(page_table, dtype=ttnn.int32),
        )

    def prepare_inputs_decode(self, *inputs):
        return [ttnn.to_device(t, device=self.mesh_device) for t in self.prepare_decode_inputs_host(*inputs)]

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
            x = layer(
                x, lambda attention, h, c=cache: attention.forward_decode(h, current_pos, rot_mats, page_table, c)
            )
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
            x = layer(
                x, lambda attention, h, c=cache: attention.forward_prefill(h, rot_mats_global, user_id, page_table, c)
            )
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

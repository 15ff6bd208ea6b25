# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""tt_transformers' Attention as of 2026-06-22, for a tiny Llama in fp32 on fakes.fake_ttnn; see fakes.fake_model."""

from __future__ import annotations

import torch
import ttnn
from fakes.fake_config import cached_weight


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

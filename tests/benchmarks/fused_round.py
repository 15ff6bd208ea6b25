# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a fused round costs the host, on the fake device. Prints; never fails (`make bench`).

staging  milliseconds of Python until the two tensors are handed over (want < 1); the fake's own copies are in it
calls    host writes, replays and reads of a round, fused and step by step, counted where ttnn is called
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from fakes.install import fake_upstream

ROUNDS = ((1, 1), (1, 3), (1, 7), (4, 3), (4, 7))  # (users, K)
REPEATS = 300


def bench(folder: Path) -> None:
    from fakes.device import FakeMeshDevice
    from fakes.pairs import PROMPTS, opening_pairs, write_checkpoints

    from models.tt_transformers.demo.speculative_decoding.harness.traffic import counted

    write_checkpoints(folder)
    with opening_pairs(folder) as open_pair:
        for users, k in ROUNDS:
            mesh = FakeMeshDevice()
            target, draft = open_pair(mesh=mesh, users=users, num_draft_tokens=k, enable_trace=True)
            fused, contexts = draft.rounds[k], [PROMPTS[0]] * users
            staging = []
            for _ in range(REPEATS):
                begun = time.perf_counter()
                fused._stage(contexts, [k] * users, [False] * users, [True] * users)
                staging.append(time.perf_counter() - begun)
            with counted(target.model.upstream.ttnn, mesh) as once:
                fused.run(contexts, [k] * users)
            tokens = torch.zeros((users, k + 1), dtype=torch.int64)
            with counted(target.model.upstream.ttnn, mesh) as apart:
                for _ in range(k):
                    draft.forward(tokens[:, :1], [9] * users, argmax_only=True)
                target.forward(tokens, [9] * users, argmax_only=True)
            calls = ["{writes}/{replays}/{reads}".format(**t.passed) for t in (once, apart)]
            print(
                f"{users} users, K = {k}: staging {1e3 * statistics.median(staging):.2f} ms; "
                f"writes/replays/reads {calls[0]} fused, {calls[1]} step by step"
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        os.environ["TT_CACHE_PATH"] = f"{place}/tensor_cache"
        with fake_upstream("june"):
            bench(Path(place))

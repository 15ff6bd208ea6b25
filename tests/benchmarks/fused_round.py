# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a greedy round costs the host, on the fake device, at real sizes where the host meets them: contexts and page
tables of 1,024 tokens. The fake computes nothing in these rounds. Prints; never fails (`make bench`).

per round and part  milliseconds (want < 2 in all at K = 3); the fake's own copies are in staging and in read
calls               host writes, replays and reads, fused and step by step, counted where ttnn is called
"""

import os
import tempfile
from pathlib import Path

import torch
from fakes.install import fake_upstream
from support.tiny import tiny_llama

ROUNDS = ((1, 1), (1, 3), (1, 7), (4, 3), (4, 7))  # (users, K)
PROMPT, TOKENS, MAX_SEQ_LEN = 800, 200, 1024


def bench(folder: Path) -> None:
    from fakes.device import FakeMeshDevice
    from fakes.pairs import VOCAB, opening_pairs

    from models.tt_transformers.demo.speculative_decoding.drafters import ModelDrafter
    from models.tt_transformers.demo.speculative_decoding.harness.traffic import counted
    from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
    from models.tt_transformers.demo.speculative_decoding.tt.fused_drafter import FusedDrafter

    for name in ("target", "draft"):
        tiny_llama(1, vocab=VOCAB, positions=2 * MAX_SEQ_LEN).save_pretrained(folder / name)
    with opening_pairs(folder) as open_pair:
        for users, k in ROUNDS:
            mesh = FakeMeshDevice()
            size = {"users": users, "num_draft_tokens": k, "max_seq_len": MAX_SEQ_LEN}
            target, draft = open_pair("draft", mesh=mesh, enable_trace=True, **size)
            mesh.replay = lambda trace: None
            for drafter in (FusedDrafter(draft), ModelDrafter(draft)):
                generator = SpeculativeGenerator(target, drafter, num_draft_tokens=k)
                batch = generator.new_batch([[7] * PROMPT] * users, max_new_tokens=TOKENS, stop_token_ids=[])
                generator.prefill_both_models(batch)
                with counted(target.model.upstream.ttnn, mesh) as traffic:
                    while not all(sequence.finished for sequence in batch.sequences):
                        generator.speculative_decode_step(batch)
                timed = [next(filter(None, records)) for records in batch.rounds]
                total_ns, accept_ns = (sum(getattr(r, part) for r in timed) for part in ("total_ns", "host_ns"))
                parts = traffic.host_ms(total_ns=total_ns, accept_ns=accept_ns)
                shown = ", ".join(f"{part} {ms / len(timed):.2f}" for part, ms in parts.items())
                calls = "/".join(f"{traffic.passed[what] / len(timed):g}" for what in ("writes", "replays", "reads"))
                how = "fused" if timed[0].fused else "step by step"
                print(f"{users} users, K = {k}, {how}: {sum(parts.values()) / len(timed):.2f} ms ({shown}); {calls}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        os.environ["TT_CACHE_PATH"] = f"{place}/tensor_cache"
        with fake_upstream("june"):
            bench(Path(place))

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""An EAGLE-3 head on a real or simulated Wormhole: the taps it reads, its logits against the torch head on the same
taps, and the text of plain decoding, whatever it drafts."""

import json
from contextlib import closing, contextmanager

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import (
    drafted_ids,
    fitted_spec,
    head_config,
    head_tensors,
)
from models.tt_transformers.demo.speculative_decoding.hf.eagle_head import EagleHead
from models.tt_transformers.demo.speculative_decoding.hybrid import HybridDrafter
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tests.test_verify_on_device import OTHER, PROMPT, pcc, worst
from models.tt_transformers.demo.speculative_decoding.tt.eagle_drafter import EagleDrafter
from models.tt_transformers.demo.speculative_decoding.tt.eagle_weights import HeadRequest
from models.tt_transformers.demo.speculative_decoding.tt.fused_round import Round
from models.tt_transformers.demo.speculative_decoding.tt.pair import open_models, pair_requests


def lookup_first(second):
    """Drafts from the text wherever there are any, whatever they promise."""
    return HybridDrafter(PromptLookupDrafter(min_ngram=2), second)


HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, VOCAB, KEPT = 512, 1024, 8, 2, 64, 1024, 256
TAPS, VERIFIED, LIMIT = (1, 2, 3), [7, 100, 200, 300], 10


@pytest.fixture(scope="session")
def deep(checkpoint, tmp_path_factory):
    """The directory of a model of four layers: three of them have inputs that are not the embeddings."""
    folder = tmp_path_factory.mktemp("deep-llama")
    config = LlamaConfig.from_pretrained(checkpoint)
    config.num_hidden_layers = 4
    torch.manual_seed(0)
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((type(folder)(checkpoint) / name).read_bytes())
    return str(folder)


@pytest.fixture(scope="session")
def head(deep, tmp_path_factory):
    """A random head as it would be published, with the target's embeddings; opened."""
    folder, generator = tmp_path_factory.mktemp("eagle3"), torch.Generator().manual_seed(0)

    def drawn(*shape):
        return (torch.randn(*shape, generator=generator) * 0.05).bfloat16()

    tensors = {"fc.weight": drawn(HIDDEN, 3 * HIDDEN), "lm_head.weight": drawn(KEPT, HIDDEN)}
    for name, rows in {"q": HEADS * HEAD_DIM, "k": KV_HEADS * HEAD_DIM, "v": KV_HEADS * HEAD_DIM}.items():
        tensors[f"midlayer.self_attn.{name}_proj.weight"] = drawn(rows, 2 * HIDDEN)
    tensors["midlayer.self_attn.o_proj.weight"] = drawn(HIDDEN, HEADS * HEAD_DIM)
    for name, shape in {"gate": (INNER, HIDDEN), "up": (INNER, HIDDEN), "down": (HIDDEN, INNER)}.items():
        tensors[f"midlayer.mlp.{name}_proj.weight"] = drawn(*shape)
    norms = ["midlayer.input_layernorm", "midlayer.hidden_norm", "midlayer.post_attention_layernorm", "norm"]
    tensors |= {f"{name}.weight": 1 + drawn(HIDDEN) for name in norms}
    ids = torch.randperm(VOCAB, generator=generator)[:KEPT].sort().values
    tensors["d2t"] = ids - torch.arange(KEPT)
    save_file(tensors, folder / "model.safetensors")
    sizes = {"hidden_size": HIDDEN, "intermediate_size": INNER, "num_attention_heads": HEADS, "head_dim": HEAD_DIM}
    sizes |= {"num_key_value_heads": KV_HEADS, "vocab_size": VOCAB, "draft_vocab_size": KEPT, "num_hidden_layers": 1}
    config = {"architectures": ["LlamaForCausalLMEagle3"], "rms_norm_eps": 1e-5, "rope_theta": 500.0, **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    spec = fitted_spec(str(folder), head_config(str(folder)), LlamaConfig.from_pretrained(deep), TAPS)
    found = head_tensors(str(folder), spec)
    return HeadRequest(name="eagle3", spec=spec, tensors=found, token_ids=drafted_ids("eagle3", spec, found))


@pytest.fixture(scope="session")
def on_host(deep):
    return LlamaForCausalLM.from_pretrained(deep).float().eval()


@contextmanager
def opened(mesh_device, deep, head, *, enable_trace, users=1):
    """The target with the head following it, in accuracy, closed again."""
    size = {"users": users, "max_seq_len": 128, "optimizations": "accuracy"}
    how = {"enable_trace": enable_trace, "warmup": enable_trace, "head": head}
    (target,) = open_models(mesh_device, pair_requests(deep, None, num_draft_tokens=[0, 3]), **size, **how)
    with closing(target):
        yield target


@torch.no_grad()
def hidden_states(on_host, tokens):
    """Of each tap, [len, hidden]."""
    states = on_host(torch.tensor([tokens]), output_hidden_states=True).hidden_states
    return [states[layer][0] for layer in TAPS]


def rows_of(target, tensors, count):
    ttnn = target.model.upstream.ttnn
    return [ttnn.to_torch(tensor).float()[0, 0, :count] for tensor in tensors]


def prefilled(target, prompt):
    """The target and the head have cached the prompt; the prefill's taps."""
    kept, clone = [], target.model.upstream.ttnn.clone
    read_by = target.follower.taps.read_by

    def watched(read):
        def kept_too(chunk):
            kept.append([clone(tap) for tap in chunk.taps])
            read(chunk)

        return read_by(kept_too)

    target.follower.taps.read_by = watched
    try:
        target.prefill([prompt], features=TAPS)
    finally:
        del target.follower.taps.read_by
    return rows_of(target, kept[0], len(prompt))


def test_the_taps_are_the_inputs_of_the_layers(mesh_device, deep, head, on_host, enable_trace):
    """Of a prefill, and of a verify whose rows cross into the second cache block."""
    with opened(mesh_device, deep, head, enable_trace=enable_trace) as target:
        of_prefill = prefilled(target, PROMPT)
        target.forward(torch.tensor([VERIFIED]), [len(PROMPT)], argmax_only=True, features=TAPS)
        of_verify = rows_of(target, target.follower.taps.rows, len(VERIFIED))
    wanted = hidden_states(on_host, PROMPT + VERIFIED)
    for tap, (prefill, verify, expected) in enumerate(zip(of_prefill, of_verify, wanted, strict=True)):
        least = worst(prefill, expected[: len(PROMPT)]), worst(verify, expected[len(PROMPT) :])
        print(f"tap {TAPS[tap]}: prefill {least[0]:.5f}, verify {least[1]:.5f}")
        assert min(least) > 0.99, f"tap {TAPS[tap]}"
        others = [one for layer, one in enumerate(wanted) if layer != tap]
        assert all(worst(verify, other[len(PROMPT) :]) < 0.99 for other in others)  # control: those of another layer


def in_torch(on_host, head, taps, text, drafts):
    """The torch head on the device's taps of all but the last token: per draft its logits over its own vocabulary,
    each fed back its own state and the device's draft."""
    reference = EagleHead(head.spec, head.tensors, on_host)
    cached: list[torch.Tensor] = []

    def write(start, keys, values):
        if cached:
            keys, values = (torch.cat([old[:, :, :start], new], 2) for old, new in zip(cached, (keys, values)))
        cached[:] = [keys, values]
        return keys, values

    with torch.no_grad():
        hidden = reference.layer(reference.from_features(torch.cat(taps, -1))[None], text[1:], 0, write)
        logits = [reference.logits(hidden)[reference.trimmed.token_ids]]
        for step, draft in enumerate(drafts[:-1]):
            hidden = reference.layer(hidden, [draft], len(text) - 1 + step, write)
            logits.append(reference.logits(hidden)[reference.trimmed.token_ids])
    return logits


@pytest.mark.parametrize("accepted", [0, 2, 3])
def test_its_logits_are_the_torch_heads(mesh_device, deep, head, on_host, enable_trace, accepted):
    """After a catch-up on rows of which so many were accepted: three drafts, the last one's logits."""
    with opened(mesh_device, deep, head, enable_trace=enable_trace) as target:
        of_prefill = prefilled(target, PROMPT)
        target.forward(torch.tensor([VERIFIED]), [len(PROMPT)], argmax_only=True, features=TAPS)
        of_verify = rows_of(target, target.follower.taps.rows, accepted + 1)
        context = [*PROMPT, *VERIFIED[: accepted + 1], 9]
        program = target.follower.drafts[3]
        (drafts,), _ = target.follower.draft(program, [context], [3], [True])
        logits = None if enable_trace else rows_of(target, [target.follower._head.logits(program._hidden, 1)], 1)[0][0]
    taps = [torch.cat(both) for both in zip(of_prefill, of_verify, strict=True)]
    wanted = in_torch(on_host, head, taps, context, drafts)
    kept = head.token_ids.tolist()
    assert drafts == [kept[int(row.argmax())] for row in wanted]
    if logits is not None:
        print(f"logits of the third draft: {pcc(logits, wanted[-1]):.6f}")
        assert pcc(logits, wanted[-1]) > 0.999
        assert pcc(logits, wanted[0]) < 0.99  # control: those of another step


def decoded(target, drafter, prompts):
    generator = SpeculativeGenerator(target, drafter, num_draft_tokens=3 if drafter else 0)
    results = generator.generate(prompts, max_new_tokens=LIMIT, stop_token_ids=[])
    return [result.tokens for result in results], [r for result in results for r in result.rounds]


@pytest.mark.parametrize("users", [1, 2])
def test_its_text_is_plain_decodings(mesh_device, deep, head, enable_trace, users):
    """Alone, and behind prompt lookup."""
    prompts = [PROMPT, OTHER][:users]
    with opened(mesh_device, deep, head, enable_trace=enable_trace, users=users) as target:
        wanted, _ = decoded(target, None, prompts)
        written, rounds = decoded(target, EagleDrafter(target), prompts)
        assert written == wanted and {r.fused for r in rounds if r.drafted} == {True}
        assert target.follower.rounds[3].captured == enable_trace
        assert decoded(target, lookup_first(EagleDrafter(target)), prompts)[0] == wanted


@pytest.mark.parametrize("row", [-1, -2], ids=["accepted", "tapped"])
def test_control_rows_that_are_not_staged(mesh_device, deep, head, enable_trace, row, monkeypatch):
    """The numbers of the accepted row and of the tapped rows: without them it drafts otherwise."""
    with opened(mesh_device, deep, head, enable_trace=enable_trace) as target:

        def drafted():
            target.prefill([PROMPT], features=TAPS)
            target.forward(torch.tensor([VERIFIED]), [len(PROMPT)], argmax_only=True, features=TAPS)
            return target.follower.draft(target.follower.drafts[3], [[*PROMPT, *VERIFIED, 9]], [3], [True])[0]

        right, stage = drafted(), Round._stage
        assert drafted() == right

        def staged(self, rows, on_device, dtype):
            rows = [torch.zeros_like(one) if dtype == "uint32" and one is rows[row] else one for one in rows]
            stage(self, rows, on_device, dtype)

        monkeypatch.setattr(Round, "_stage", staged)
        assert drafted() != right

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""EAGLE-3 heads: the reference implementation's numbers, and the same ones of every spelling of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.eagle import CONFIG, DRAFT_VOCAB, HIDDEN, VOCAB, as_bin, head_tensors, opened, save_head
from support.tiny import tiny_llama

from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest
from models.tt_transformers.demo.speculative_decoding.hf import eagle_checkpoint
from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import fitted_spec
from models.tt_transformers.demo.speculative_decoding.hf.eagle_head import EagleHead
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter

VALUES = json.loads((Path(__file__).parent / "eagle3_golden.json").read_text())
GOLDEN = VALUES["rounds"]
TARGET = SimpleNamespace(hidden_size=HIDDEN, vocab_size=VOCAB, num_hidden_layers=8)


@pytest.fixture(scope="module")
def target():
    return tiny_llama(1, vocab=VOCAB, layers=8)


def drafts(head: EagleHead, cached_and_ends=((0, 7), (6, 11), (10, 12)), count: int = 5) -> list[dict]:
    """What the drafter makes of the golden values' tokens and features, round by round."""
    generator = torch.Generator().manual_seed(9)
    tokens = torch.randint(VOCAB, (14,), generator=generator).tolist()
    features = torch.randn(13, 3 * HIDDEN, generator=generator)
    drafter, rounds, rows = FeatureDrafter(head), [], []
    logits = head.logits
    head.logits = lambda hidden: rows.append(logits(hidden)) or rows[-1]
    for cached, end in cached_and_ends:
        if cached == 0:
            drafter.start([tokens[: end - 1]], [features[: end - 1]])
        else:  # row 0 is the pending token's; after the accepted ones come rows that must not be read
            rejected = torch.full((2, 3 * HIDDEN), float("nan"))
            drafter.observe([end - cached - 2], [torch.cat([features[cached : end - 1], rejected])])
        rows.clear()
        tokens_ = drafter.propose(DraftRequest(contexts=[tokens[:end]], counts=[count])).tokens[0]
        rounds.append({"context": end, "tokens": tokens_, "logits": torch.stack(rows)[:, head.trimmed.token_ids]})
    return rounds


def close(found: list[dict], golden: list[dict] = GOLDEN) -> bool:
    logits = (torch.tensor(one["logits"]) for one in golden)
    same = [one["tokens"] == two["tokens"] for one, two in zip(found, golden, strict=True)]
    return all(same) and all(torch.allclose(one["logits"], two, atol=2e-4) for one, two in zip(found, logits))


class TestGoldenValues:
    """Three rounds of five drafted tokens each, with three and with no accepted ones between them."""

    def test_the_reference_implementation_drafts_the_same(self, target, tmp_path):
        assert close(drafts(opened(tmp_path, target)))

    def test_a_residual_after_the_norm(self, target, tmp_path):
        found = drafts(opened(tmp_path, target, norm_before_residual=True))
        assert close(found, VALUES["norm_before_residual"]) and not close(found)

    def test_positions_off_by_one_show(self, target, tmp_path):
        """Later steps one position further than the reference has them (all of them further would be the same)."""
        head = opened(tmp_path, target)
        layer = head.layer

        def shifted(state, tokens, start, write):
            if state.shape[1] > 1 or start == 0:
                return layer(state, tokens, start, write)
            return layer(state, tokens, start + 1, lambda begin, k, v: write(begin - 1, k, v))

        head.layer = shifted
        assert not close(drafts(head))

    def test_tokens_off_by_one_show(self, target, tmp_path):
        head = opened(tmp_path, target)
        layer = head.layer
        head.layer = lambda state, tokens, start, write: layer(state, [*tokens[1:], tokens[0]], start, write)
        assert not close(drafts(head))

    @pytest.mark.parametrize(
        "change",
        [{"rope_theta": 10000.0}, {"rms_norm_eps": 0.1}, {"rope_theta": None}],
    )
    def test_other_settings_show(self, target, tmp_path, change):
        assert not close(drafts(opened(tmp_path, target, **change)))

    @pytest.mark.parametrize("name", ["midlayer.hidden_norm.weight", "midlayer.input_layernorm.weight", "norm.weight"])
    def test_every_norm_counts(self, target, tmp_path, name):
        tensors = head_tensors()
        tensors[name] = tensors[name].flip(0)
        assert not close(drafts(opened(tmp_path, target, tensors)))


class TestSpellings:
    """Every one of them is the same head."""

    def test_a_bin_file(self, target, tmp_path):
        source = save_head(tmp_path)
        as_bin(tmp_path, head_tensors())
        assert close(drafts(EagleHead.from_pretrained(source, target)))

    @pytest.mark.parametrize("old, new", [("midlayer.", "layers.0."), ("", "model."), ("midlayer.", "model.midlayer.")])
    def test_names_of_tensors(self, target, tmp_path, old, new):
        tensors = {name.replace(old, new, 1) if name.startswith(old) else name: t for name, t in head_tensors().items()}
        tensors[f"{new or old}self_attn.rotary_emb.inv_freq"] = torch.ones(4)  # of old releases of transformers
        assert close(drafts(opened(tmp_path, target, tensors)))

    @pytest.mark.parametrize("name", ["LlamaForCausalLM", *eagle_checkpoint.ARCHITECTURES])
    def test_architectures(self, target, tmp_path, name):
        assert close(drafts(opened(tmp_path, target, architectures=[name])))

    def test_a_speculators_config(self, target, tmp_path):
        inner = {name: value for name, value in CONFIG.items() if name not in ("architectures", "draft_vocab_size")}
        rope = {"rope_type": "default", "rope_theta": inner.pop("rope_theta")}
        outer = {"architectures": ["Eagle3Speculator"], "model_type": "speculators", "draft_vocab_size": DRAFT_VOCAB}
        outer |= {"speculators_model_type": "eagle3", "speculators_config": {"algorithm": "eagle3"}}
        outer |= {"transformer_layer_config": inner | {"rope_parameters": rope}, "target_hidden_size": None}
        plain = fitted_spec("x", outer, TARGET)
        assert plain.norm_before_residual and not fitted_spec("x", CONFIG, TARGET).norm_before_residual
        source = save_head(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps(outer | {"norm_before_residual": False}))
        assert close(drafts(EagleHead.from_pretrained(source, target)))

    def test_output_rows_in_any_order(self, target, tmp_path):
        tensors, order = head_tensors(), torch.randperm(DRAFT_VOCAB, generator=torch.Generator().manual_seed(3))
        ids = (tensors["d2t"] + torch.arange(DRAFT_VOCAB))[order]
        tensors |= {"lm_head.weight": tensors["lm_head.weight"][order], "d2t": ids - torch.arange(DRAFT_VOCAB)}
        assert close(drafts(opened(tmp_path, target, tensors)))
        tensors["lm_head.weight"] = tensors["lm_head.weight"].flip(0)
        assert not close(drafts(opened(tmp_path, target, tensors)))

    def test_what_is_missing_is_the_targets(self, target, tmp_path):
        lent = tiny_llama(1, vocab=VOCAB, layers=8)
        whole, tensors = head_tensors(), head_tensors()
        lent.get_input_embeddings().weight.data = tensors.pop("embed_tokens.weight")
        ids = whole["d2t"] + torch.arange(DRAFT_VOCAB)
        lent.get_output_embeddings().weight.data[ids] = tensors.pop("lm_head.weight")
        assert close(drafts(opened(tmp_path, lent, tensors)))
        assert not close(drafts(opened(tmp_path, target, tensors)))

    def test_a_whole_vocabulary_needs_no_d2t(self, target, tmp_path):
        tensors = head_tensors(draft_vocab=VOCAB // 2)
        for name in ("d2t", "t2d", "lm_head.weight"):
            del tensors[name]
        head = opened(tmp_path, target, tensors, draft_vocab_size=None, architectures=["LlamaForCausalLMEagle3"])
        assert head.trimmed.token_ids.tolist() == list(range(VOCAB))


def test_a_head_takes_the_targets_precision(tmp_path):
    low = tiny_llama(1, vocab=VOCAB, layers=8).bfloat16()
    head = opened(tmp_path, low)
    assert head.embedding.dtype == head.mlp_norm.dtype == torch.bfloat16
    found = torch.stack([torch.tensor(one["logits"]) for one in GOLDEN])[:, 0]
    first = torch.stack([one["logits"] for one in drafts(head)])[:, 0]
    assert torch.nn.functional.cosine_similarity(first.float(), found).min() > 0.99

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""EAGLE-3 heads: the reference implementation's numbers, every spelling of a checkpoint, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.eagle import CONFIG, DRAFT_VOCAB, HIDDEN, VOCAB, head_tensors, save_head
from support.tiny import tiny_llama
from torch import Tensor

from models.tt_transformers.demo.speculative_decoding.drafters import DraftRequest
from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf import eagle_checkpoint
from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import fitted_spec
from models.tt_transformers.demo.speculative_decoding.hf.eagle_head import EagleHead
from models.tt_transformers.demo.speculative_decoding.hf.feature_drafter import FeatureDrafter

GOLDEN = json.loads((Path(__file__).parent / "eagle3_golden.json").read_text())["rounds"]
TARGET = SimpleNamespace(hidden_size=HIDDEN, vocab_size=VOCAB, num_hidden_layers=8)
LAYER_IDS = eagle_checkpoint.LAYER_IDS
ROPE = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


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


def opened(folder: Path, target, tensors: dict[str, Tensor] | None = None, **config) -> EagleHead:
    return EagleHead.from_pretrained(save_head(folder, tensors, **config), target)


class TestGoldenValues:
    """Three rounds of five drafted tokens each, with three and with no accepted ones between them."""

    def test_the_reference_implementation_drafts_the_same(self, target, tmp_path):
        assert close(drafts(opened(tmp_path, target)))

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
        [{"rope_theta": 10000.0}, {"rms_norm_eps": 0.1}, {"norm_before_residual": True}, {"rope_theta": None}],
    )
    def test_other_settings_show(self, target, tmp_path, change):
        assert not close(drafts(opened(tmp_path, target, **change)))

    @pytest.mark.parametrize("name", ["midlayer.hidden_norm.weight", "midlayer.input_layernorm.weight", "norm.weight"])
    def test_every_norm_counts(self, target, tmp_path, name):
        tensors = head_tensors()
        tensors[name] = tensors[name].flip(0)
        assert not close(drafts(opened(tmp_path, target, tensors)))


def as_bin(folder: Path, tensors: dict[str, Tensor]) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")


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

    def test_rotary_embeddings_are_the_heads_own(self):
        plain = fitted_spec("x", CONFIG, TARGET).inv_freq
        assert torch.allclose(plain, 500.0 ** -(torch.arange(0, 8, 2) / 8))
        for scaling in ({"rope_type": "linear", "factor": 2.0}, {"type": "linear", "factor": 2.0}):
            assert torch.allclose(fitted_spec("x", {**CONFIG, "rope_scaling": scaling}, TARGET).inv_freq, plain / 2)
        scaled = fitted_spec("x", {**CONFIG, "rope_scaling": {"rope_type": "llama3", **ROPE}}, TARGET).inv_freq
        assert torch.allclose(scaled[0], plain[0]) and torch.allclose(scaled[-1], plain[-1] / 8)


class TestTaps:
    @pytest.mark.parametrize(
        "said, layers",
        [
            ({}, (2, 4, 5)),
            ({LAYER_IDS: [1, 3, 6]}, (1, 3, 6)),  # vLLM, speculators: the inputs of these layers
            ({"eagle_config": {LAYER_IDS: [1, 3, 6]}}, (2, 4, 7)),  # SpecForge, SGLang: their outputs
            ({LAYER_IDS: [2, 4, 7], "eagle_config": {LAYER_IDS: [1, 3, 6]}}, (2, 4, 7)),
        ],
    )
    def test_as_the_publisher_counts(self, said, layers):
        assert fitted_spec("x", CONFIG | said, TARGET).layers == layers
        assert fitted_spec("x", CONFIG | said, TARGET, [0, 1, 7]).layers == (0, 1, 7)

    @pytest.mark.parametrize(
        "said, asked, named",
        [
            ({LAYER_IDS: [1, 3, 6], "eagle_config": {LAYER_IDS: [1, 3, 6]}}, None, r"\[1, 3, 6\].*\[2, 4, 7\]"),
            ({}, [1, 2], "has 2 layers, and x reads 3"),
            ({}, [1, 2, 8], r"\[1, 2, 8\].*to 7"),
            ({LAYER_IDS: [-1, 3, 6]}, None, r"\[-1, 3, 6\].*0 .*to 7"),
            ({LAYER_IDS: "1,2"}, None, f"{LAYER_IDS} of x"),
        ],
    )
    def test_refused(self, said, asked, named):
        with pytest.raises(BadInput, match=named):
            fitted_spec("x", CONFIG | said, TARGET, asked)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"fc_norm": True}, "fc_norm"),
        ({"norm_output": True}, "norm_output"),
        ({"norm_before_fc": True}, "norm_before_fc"),
        ({"attention_bias": True}, "attention_bias"),
        ({"num_hidden_layers": 2}, "num_hidden_layers to 2"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"layer_types": ["sliding_attention"]}, "layer_types"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization_config"),
        ({"eagle_config": {"use_aux_hidden_state": False}}, "use_aux_hidden_state"),
        ({"eagle_config": {"of_next_year": 7}}, "of_next_year to 7"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "yarn"),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"hidden_size": 64}, "hidden_size of 64, and the target's is 32"),
        ({"target_hidden_size": 48}, "hidden_size of 48, and the target's is 32"),
        ({"vocab_size": 41}, "vocab_size of 41, and the target's is 40"),
        ({"draft_vocab_size": 41}, "41 ids for a target of 40"),
        ({"num_key_value_heads": 3}, "4 heads cannot share 3"),
        ({"intermediate_size": None}, "intermediate_size"),
        ({"intermediate_size": 0}, "intermediate_size"),
        ({"num_attention_heads": "4"}, "num_attention_heads"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps"),
        ({"architectures": ["Qwen3ForCausalLM"], "draft_vocab_size": None}, "Qwen3ForCausalLM"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(change, named):
    assert fitted_spec("x", CONFIG, TARGET).head_dim == 8
    with pytest.raises(BadInput, match=named):
        fitted_spec("x", CONFIG | change, TARGET)


def test_settings_that_say_nothing_are_passed_over():
    idle = {"fc_norm": False, "eagle_config": None, "of_next_year": None, "use_cache": True, "dtype": "bfloat16"}
    assert fitted_spec("x", CONFIG | idle, TARGET) == fitted_spec("x", CONFIG, TARGET)


OTHER_SHAPE = head_tensors()["fc.weight"][:, 1:].contiguous()
UNMARKED = torch.zeros(VOCAB, dtype=torch.bool)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"norm.weight": None}, "norm must be .* is not there"),
        ({"fc.weight": OTHER_SHAPE}, r"fc must be \[32, 96\], and is \[32, 95\]"),
        ({"fc.bias": torch.ones(HIDDEN)}, "fc.bias is not known"),
        ({"lm_head.weight": torch.zeros(DRAFT_VOCAB, HIDDEN, dtype=torch.int8)}, "lm_head in torch.int8"),
        ({"d2t": None}, "20 of 40 ids, and there is no d2t"),
        ({"d2t": torch.full((DRAFT_VOCAB,), 30)}, "from 30 to 49"),
        ({"d2t": -torch.arange(DRAFT_VOCAB)}, "1 ids from 0 to 0"),
        ({"t2d": UNMARKED}, "t2d that marks other ids"),
    ],
)
def test_tensors_that_are_no_whole_head_are_refused(target, tmp_path, change, named):
    tensors = {name: tensor for name, tensor in (head_tensors() | change).items() if tensor is not None}
    with pytest.raises(BadInput, match=named):
        opened(tmp_path, target, tensors)


class Touch:
    """Pickled, it would make a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_bin_file_never_runs_code(target, tmp_path):
    source, made = save_head(tmp_path / "head"), tmp_path / "made"
    as_bin(tmp_path / "head", {"fc.weight": Touch(made)})
    with pytest.raises(BadInput, match="pytorch_model.bin holds more than tensors"):
        EagleHead.from_pretrained(source, target)
    assert not made.exists()
    pickle.loads(pickle.dumps(Touch(made)))
    assert made.exists()  # it would have


def test_a_narrower_head_needs_its_own_ends(target, tmp_path):
    narrow = {"hidden_size": 16, "head_dim": 8, "target_hidden_size": HIDDEN}
    spec = fitted_spec("x", CONFIG | narrow, TARGET)
    needed, _ = spec.shapes()
    assert needed["fc"] == (16, 96)
    tensors = {f"{name}.weight": torch.ones(shape) for name, shape in needed.items()}
    tensors |= {"d2t": head_tensors()["d2t"], "lm_head.weight": torch.ones(DRAFT_VOCAB, 16)}
    with pytest.raises(BadInput, match="hidden size is 16, the target's 32"):
        opened(tmp_path, target, tensors, **narrow)
    tensors["embed_tokens.weight"] = torch.ones(VOCAB, 16)
    assert opened(tmp_path, target, tensors, **narrow).embedding.shape == (VOCAB, 16)


def test_a_folder_without_a_head_says_so(target, tmp_path):
    with pytest.raises(BadInput, match="holds nothing"):
        EagleHead.from_pretrained(str(tmp_path), target)
    source = save_head(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(BadInput, match="fc must be .* is not there"):
        EagleHead.from_pretrained(source, target)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(BadInput, match="no settings by name"):
        EagleHead.from_pretrained(source, target)

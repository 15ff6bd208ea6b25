# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What an EAGLE-3 checkpoint says: the layers it reads, its rotary embeddings, and what is refused, by name."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from support.eagle import CONFIG, DRAFT_VOCAB, HIDDEN, VOCAB, as_bin, head_tensors, opened, save_head
from support.tiny import tiny_llama

from models.tt_transformers.demo.speculative_decoding.errors import BadInput
from models.tt_transformers.demo.speculative_decoding.hf import eagle_checkpoint, loading
from models.tt_transformers.demo.speculative_decoding.hf.eagle_checkpoint import fitted_spec
from models.tt_transformers.demo.speculative_decoding.hf.eagle_head import EagleHead

TARGET = SimpleNamespace(hidden_size=HIDDEN, vocab_size=VOCAB, num_hidden_layers=8)
LAYER_IDS = eagle_checkpoint.LAYER_IDS
ROPE = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


@pytest.fixture(scope="module")
def target():
    return tiny_llama(1, vocab=VOCAB, layers=8)


def test_rotary_embeddings_are_the_heads_own():
    plain = fitted_spec("x", CONFIG, TARGET).inv_freq
    assert torch.allclose(plain, 500.0 ** -(torch.arange(0, 8, 2) / 8))
    for scaling in ({"rope_type": "linear", "factor": 2.0}, {"type": "linear", "factor": 2.0}):
        assert torch.allclose(fitted_spec("x", {**CONFIG, "rope_scaling": scaling}, TARGET).inv_freq, plain / 2)
    scaled = fitted_spec("x", {**CONFIG, "rope_scaling": {"rope_type": "llama3", **ROPE}}, TARGET).inv_freq
    assert torch.allclose(scaled[0], plain[0]) and torch.allclose(scaled[-1], plain[-1] / 8)


def test_the_published_sizes_for_llama_8b():
    """As SpecForge's configs/llama3-8B-eagle3.json has them; it names no rotary base, so the head's is 10,000."""
    sizes = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8}
    published = {"architectures": ["LlamaForCausalLMEagle3"], "vocab_size": 128256, "draft_vocab_size": 32000, **sizes}
    llama = SimpleNamespace(hidden_size=4096, vocab_size=128256, num_hidden_layers=32)
    spec = fitted_spec("x", published, llama)
    needed, optional = spec.shapes()
    assert spec.layers == (2, 16, 29) and spec.head_dim == 128 and spec.rope == {}
    assert needed["fc"] == (4096, 12288) and needed["midlayer.self_attn.k_proj"] == (1024, 8192)
    assert optional == {"d2t": (32000,), "t2d": (128256,), "embed_tokens": (128256, 4096), "lm_head": (32000, 4096)}
    assert torch.allclose(spec.inv_freq, 10000.0 ** -(torch.arange(0, 128, 2) / 128))


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
        ({"target_fingerprint": 7}, "target_fingerprint to 7, which is no text"),
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


def test_of_a_hub_id_only_what_is_needed_is_downloaded(target, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(loading, "check_reachable", lambda source: None)
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, allow_patterns: asked.append((name, *allow_patterns)) or tmp_path,
    )
    save_head(tmp_path, fc_norm=True)
    with pytest.raises(BadInput, match="somebody/a-head sets fc_norm"):
        EagleHead.from_pretrained("somebody/a-head", target)
    assert asked == [("somebody/a-head", "config.json")]
    save_head(tmp_path)
    assert EagleHead.from_pretrained("somebody/a-head", target).spec.layers == (2, 4, 5)
    assert asked[1:] == [("somebody/a-head", "config.json"), ("somebody/a-head", "*.safetensors")]

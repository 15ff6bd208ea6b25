# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The one border where what a caller passes (numbers and lists of Python's own, numpy's, torch's) becomes what the
algorithm works with, or a BadInput that names it."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from models.tt_transformers.demo.speculative_decoding.errors import BadInput


def whole_number(given: Any, what: str) -> int:
    """An int. 5.0 is one, 5.5, True and "5" are none."""
    number = _scalar(given)
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    if isinstance(number, float) and number.is_integer():
        return int(number)
    raise BadInput(f"{what} is {given!r}; give a whole number")


def real_number(given: Any, what: str) -> float:
    """A float of any number."""
    number = _scalar(given)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise BadInput(f"{what} is {given!r}; give a number")
    return float(number)


def _scalar(given: Any) -> Any:
    """An array of no dimension as Python's number; anything else as it is."""
    return given.item() if getattr(given, "ndim", None) == 0 else given


def check_kind(what: str, given: object, *, known_by: str, example: str) -> None:
    """BadInput unless `given` has the attribute that it is known by; a class is none of its objects."""
    if isinstance(given, type) or not hasattr(given, known_by):
        raise BadInput(f"the {what} is a {getattr(given, '__name__', type(given).__name__)}; give a {example} of it")


def whole_numbers(given: Any, what: str) -> list[int]:
    """Several of them, or a single one as a list."""
    if isinstance(given, (str, bytes, Mapping)):
        raise BadInput(f"{what} is {given!r}; give whole numbers (of a tokenizer's result its input_ids)")
    listed = _listed(given, what)
    return [whole_number(one, what) for one in (listed if isinstance(listed, Iterable) else [listed])]


def _listed(given: Any, what: str) -> Any:
    """An array as Python's lists; anything else as it is."""
    try:
        return given.tolist() if hasattr(given, "tolist") else given
    except (NotImplementedError, RuntimeError, TypeError) as error:  # meta, sparse, nested tensors
        raise BadInput(
            f"{what} is a {type(given).__name__} without plain values; give a list or a dense one"
        ) from error


def texts(given: Any, what: str) -> tuple[str, ...]:
    """Several texts, or a single one as a tuple; None: none."""
    found = () if given is None else _listed(given, what)
    listed = (found,) if isinstance(found, str) else tuple(found) if isinstance(found, Iterable) else (found,)
    if not all(isinstance(text, str) for text in listed):
        raise BadInput(f"{what} is {given!r}; give texts")
    return listed


def prompts(given: Any) -> list[str | list[int]]:
    """Prompts as texts or lists of ids; a single text as one prompt, a 2-D array as one per row; of a tokenizer's whole
    result the ids that its attention_mask keeps."""
    if isinstance(given, Mapping):
        if "input_ids" not in given:
            raise BadInput(f"prompts is {type(given).__name__} with {', '.join(map(str, given))}; give token ids")
        ids, masks = prompts(given["input_ids"]), prompts(given.get("attention_mask", []))
        if masks and list(map(len, masks)) != list(map(len, ids)):
            raise BadInput("prompts has an attention_mask of another shape than its input_ids; give one of theirs")
        return [[int(ids[n][i]) for i, kept in enumerate(mask) if kept] for n, mask in enumerate(masks)] or ids
    listed = _listed(given, "prompts")
    if isinstance(listed, str):
        return [listed]
    if not isinstance(listed, Iterable):
        raise BadInput(f"prompts is {given!r}; give a list of prompts")
    found: list[str | list[int]] = []
    for number, prompt in enumerate(listed):
        if not isinstance(prompt, Iterable):
            raise BadInput(f"prompt {number} is {prompt!r}; give a list of prompts, each a text or a list of token ids")
        found.append(prompt if isinstance(prompt, str) else whole_numbers(prompt, f"prompt {number}"))
    return found


def text_of(path: Path | str, what: str, parse: Callable[[str], Any] = str) -> Any:
    """What a text file holds, parsed; BadInput: `what` the file is, and why it cannot be read."""
    try:
        return parse(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error}); name another"
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte {error.start}); save it as UTF-8"
    except (ValueError, RecursionError) as error:  # deep JSON, numbers of thousands of digits, what `parse` refuses
        reason = f"is not JSON that can be used: {error}; mend it"
    raise BadInput(f"{what} {path} {reason}")


def json_of(path: Path | str, what: str, pairs: Callable[[list[tuple[str, Any]]], Any] = dict) -> Any:
    """What a JSON file holds, its objects made by `pairs`; BadInput as text_of."""
    return text_of(path, what, lambda text: json.loads(text, object_pairs_hook=pairs))

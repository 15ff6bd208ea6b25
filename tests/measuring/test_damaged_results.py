# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A result file that is cut, edited or of something else is one line that says where; a whole one is never refused."""

import copy
import json

import pytest
from support.reports import reports_of
from support.results import compare_result, interval, run, save

from measuring.report import REPORTS_OF, main
from measuring.reports import appendix
from measuring.reports.document import Table, to_markdown
from measuring.reports.page import page
from measuring.reports.sections import summary
from measuring.result_shape import COMPARED, FILE, RUN, fault
from measuring.results import load_results
from models.tt_transformers.demo.speculative_decoding.errors import BadInput

REMOVED = object()


def paths_of(content, path=()):
    """Every place in the content, containers too."""
    if path:
        yield path
    if isinstance(content, dict):
        for key, value in content.items():
            yield from paths_of(value, (*path, key))
    elif isinstance(content, list):
        yield from (found for index, value in enumerate(content[:1]) for found in paths_of(value, (*path, index)))


def changed(content, path, value):
    result = copy.deepcopy(content)
    place = result
    for key in path[:-1]:
        place = place[key]
    if value is REMOVED:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return result


def error_of(file, capsys, folder):
    assert main([str(file), "--out", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and str(file) in error
    assert not folder.exists()  # found before anything is made
    return error


@pytest.mark.parametrize(
    "content, named",
    [
        (b"", "JSON"),
        (b'{"schema": 1, "prompts": [', "JSON"),
        (b"\xff\xfe", "utf-8"),
        (b"[" * 200_000, "recursion"),
        (b"[" + b"9" * 5000 + b"]", "digits"),
        (b"null", "the whole file is missing or null"),
        (b"[]", "the whole file is not an object"),
        (b'{"kind": "estimate", "schema": 1}', "prompts is missing"),
        (b'{"kind": "compare", "schema": 1, "runs": []}', "holds no runs"),
        (b'{"kind": "compare", "schema": true, "runs": []}', "schema is not 1"),
    ],
)
def test_what_is_no_result(content, named, tmp_path, capsys):
    (tmp_path / "x.json").write_bytes(content)
    assert named in error_of(tmp_path / "x.json", capsys, tmp_path / "out")


def test_a_folder_is_no_result(tmp_path, capsys):
    (tmp_path / "x.json").mkdir()
    assert "directory" in error_of(tmp_path / "x.json", capsys, tmp_path / "out")


@pytest.mark.parametrize(
    "path, value, named",
    [
        (("runs", 0, "prompts", 0, "category"), None, "runs[0].prompts[0].category is missing or null"),
        (("runs", 0, "prompts", 0, "prompt"), REMOVED, "runs[0].prompts[0].prompt is missing or null"),
        (("runs", 0, "prompts", 1), 5, "runs[0].prompts[1] is not an object"),
        (("runs", 0, "prompts", 0, "decode_s"), "x", "decode_s is not a number of at least 0"),
        (("runs", 0, "summary", "speedup"), float("nan"), "summary.speedup is not a number"),
        (("runs", 0, "summary", "speedup"), -1, "summary.speedup is not a number of at least 0"),
        (("runs", 0, "summary", "low"), -1, "summary.low is not a number of at least 0"),
        (("runs", 0, "summary", "inconclusive"), True, "summary.inconclusive is not a text"),
        (("runs", 0, "summary", "without_loops"), 1.2, "summary.without_loops is not an object"),
        (("runs", 0, "prediction", "measured"), "x", "prediction.measured is not an object"),
        (("runs", 0, "prompts", 0, "loops"), 1, "loops is not true or false"),
        (("runs", 0, "summary", "v"), 0, "summary.v is not a number above 0"),
        (("runs", 0, "summary", "alpha"), 7, "summary.alpha is not a number from 0 to 1"),
        (("runs", 0, "summary", "decode_s"), 10**400, "summary.decode_s is not a number"),
        (("runs", 0, "prompts", 0, "drafted_per_round"), [10**9], "drafted_per_round[0] is not a whole number from 0"),
        (("runs", 0, "batch_size"), "4", "runs[0].batch_size is not a whole number"),
        (("peers", 0, "summary"), REMOVED, "peers[0].summary is missing or null"),
        (("peers",), "x", "peers is not a list"),
        (("created",), 5, "created is not a text"),
        (("models",), [], "models is not an object"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_the_place_that_is_wrong_is_named(path, value, named, tmp_path, capsys):
    file = save(changed(compare_result(), path, value), tmp_path / "x.json")
    assert named in error_of(file, capsys, tmp_path / "out")


def test_whatever_is_wrong_is_refused_or_reported(tmp_path, monkeypatch):
    """Every value of a result, left out and replaced by others: a BadInput or a report, never a traceback."""
    monkeypatch.setattr(appendix, "_package", lambda: Table(["file"], []))  # it has nothing to do with results
    row = {"category": "code", "request_s": 1.0, "baseline_request_s": 1.0, "identical": True, **interval(1.0)}
    whole = compare_result([run(4)])
    whole["peers"][0]["prompts"] = [row]
    refused = reported = 0
    for path in paths_of(whole):
        for value in (REMOVED, "x", 3, [None]):
            try:
                results = load_results([save(changed(whole, path, value), tmp_path / "x.json")])
            except BadInput:
                refused += 1
                continue
            reported += 1
            for make in REPORTS_OF.values():
                to_markdown(make(results), (), "plots")
            page("", summary(results), results.runs, {})
    assert refused > 200 and reported > 150


def test_plots_of_what_is_missing(tmp_path):
    """The same where plots are drawn, for what they read."""
    record = run(4)
    for name in ("tokens_per_round", "low", "per_k", "noise_floor", "without_loops", "tails"):
        record = changed(record, ("summary", name), REMOVED)
    for row in record["prompts"]:
        row.update(decode_tps=0.0, baseline_decode_tps=0.0, sources=["", "x"])
    record = changed(record, ("prompts", 0, "high"), None)
    record = changed(record, ("summary", "time_split"), {"draft_s": 0, "verify_s": 0, "host_s": 0})
    assert "not measured" in reports_of(tmp_path, record, rendered=True)["report.html"]


def test_a_whole_result_has_no_fault(tmp_path):
    record = compare_result()
    assert fault(record, FILE) is None and fault(record, COMPARED) is None and fault(run(4), RUN) is None
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(record).encode())
    assert len(load_results([tmp_path / "bom.json"]).runs) == 3

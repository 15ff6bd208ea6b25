# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Reports: every section is there, every figure comes from the JSON, and what is missing is "not measured"."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.reports import REPORTS, reports_of, section
from support.results import compare_result, run, save, without

from measuring.report import main
from measuring.results import headline, load_results
from models.tt_transformers.demo import speculative_decoding

PACKAGE = Path(speculative_decoding.__path__[0])


SECTIONS = {
    "FINAL_RESULTS_SUMMARY.md": [
        "Key results", "best, good, average, baseline", "Consistency", "Token/sec and token/sec/user",
        "Cold start against warm", "init time, memory", "Plots", "What was checked", "When to speculate",
        "published speeds", "The package", "Conclusion",
    ],
    "comprehensive_8b_comparison.md": [
        "Test configuration", "Overall performance", "Every arm", "Per prompt: speculative", "Per prompt: plain",
        "Per category", "acceptance by position", "Performance distribution", "transformers' own decoding",
        "Trade-offs", "When to speculate", "Conclusion",
    ],
    "final_performance_comparison.md": [
        "Test configuration", "Time to first token", "Token generation rate", "Overall performance",
        "Latency percentiles", "Cold start against warm", "where the time goes", "Predicted against measured",
        "Trade-offs", "auto against the best fixed K", "When to use each approach", "Break-even",
        "Where work would pay", "Summary",
    ],
}  # fmt: skip
@pytest.mark.parametrize("name", REPORTS)
def test_every_section_is_there_for_measured_and_unmeasured_pairs(whole, name):
    _, reports = whole
    for title in SECTIONS[name]:
        section(reports[name], title)
    assert "2026-01-02 03:04" in reports[name] and "speculative_demo compare --json x.json" in reports[name]
    assert "Linux, processor x86_64, cpus 7, threads 3" in reports[name] and "torch 2.13.77" in reports[name]


@pytest.mark.parametrize(
    "name, pair", [(REPORTS[0], "llama-1b-8b"), (REPORTS[1], "llama-1b-8b"), (REPORTS[2], "llama-1b-3b")]
)
def test_a_pair_that_nobody_ran_is_not_measured(whole, name, pair):
    _, reports = whole
    own = section(reports[name], pair)
    assert "not measured" in own.splitlines()[0] and f"--pair {pair} --backend tt" in own
    tables = reports[name][reports[name].index(f"## {pair}: not measured") :]
    tables = tables[: tables.find("\n## ") if "\n## " in tables else len(tables)]
    figures = re.findall(r"\d+\.\d+", re.sub(r"at least \d+\.\d+x|1\.00x", "", tables))
    assert "not measured" in tables and figures == []


def test_measured_figures_are_in_the_tables(whole):
    _, reports = whole
    key = section(reports["FINAL_RESULTS_SUMMARY.md"], "Key results")
    assert "| smollm2 | prompt-lookup, K = 4 | 10.0 | 12.3 | 1.37x | 74.3% | 0.81 | 2.50 | 3 of 3 |" in key
    cold = section(reports["FINAL_RESULTS_SUMMARY.md"], "Cold start")
    assert f"| {6 / (1.91 + 0.09 + 0.7):.1f} |" in cold
    peers = section(reports["comprehensive_8b_comparison.md"], "transformers' own decoding")
    assert "prompt_lookup_num_tokens=4 | 1.78 | 0.88x | 3 of 3" in peers
    quality = section(reports["comprehensive_8b_comparison.md"], "by K")
    assert "| 0 | 7 | - | 1.00 | 0.0 | 9.5 |" in quality and "| 4 | 5 | 62.0% | 2.60 | 1.2 | 9.9 |" in quality
    ttft = section(reports["final_performance_comparison.md"], "Latency percentiles")
    assert "both prefills, ms | 31 | 31 | 31 | 31 |" in ttft and "target's prefill alone, ms | 24 |" in ttft


@pytest.fixture(scope="module")
def of_one_run(tmp_path_factory):
    return reports_of(tmp_path_factory.mktemp("one_run"), compare_result([run(4)]))


@pytest.mark.parametrize(
    "path, before, report",
    [
        (("summary", "speedup"), "1.37x", REPORTS[0]),
        (("summary", "acceptance_rate"), "74.3%", REPORTS[0]),
        (("summary", "alpha"), "0.810", REPORTS[2]),
        (("prompts", "baseline_ttft_ms"), "| 23 |", REPORTS[2]),
        (("environment", "torch"), "2.13.77", REPORTS[1]),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else None,
)
def test_a_missing_figure_is_not_measured_and_never_zero(tmp_path, whole, of_one_run, path, before, report):
    _, reports = whole
    assert before in reports[report]
    poorer = reports_of(tmp_path, without(compare_result([run(4)]), "runs", *path))[report]
    assert before not in poorer
    assert poorer.count("not measured") > of_one_run[report].count("not measured")


def test_a_changed_figure_changes_every_report(tmp_path, whole):
    """Negative control of all the above: nothing is written from memory."""
    _, reports = whole
    faster = reports_of(tmp_path, compare_result([run(0, speedup=0.99), run(1, speedup=1.21), run(4, speedup=2.46)]))
    for name in reports:
        assert "2.46x" in faster[name] and "2.46x" not in reports[name] and "1.37x" not in faster[name]


def test_advice_follows_the_numbers(tmp_path, whole):
    _, reports = whole
    said = section(reports["FINAL_RESULTS_SUMMARY.md"], "Conclusion")
    assert "speculate with prompt-lookup, K = 4: 1.37x measured (1.34x to 1.41x in 2 runs)" in said
    slower = reports_of(tmp_path, compare_result([run(1, speedup=0.8), run(4, speedup=0.7)]))
    assert "decode plainly. The fastest measured arm (prompt-lookup, K = 1) reached 0.80x" in section(
        slower["FINAL_RESULTS_SUMMARY.md"], "Conclusion"
    )
    use = section(reports["comprehensive_8b_comparison.md"], "When to speculate")
    assert re.search(r"editing .* speculate \|", use) and re.search(r"creative prose .* decode plainly \|", use)


def test_several_users_are_told_apart_from_one(tmp_path):
    four = {**run(4, speedup=1.9), "batch_size": 4}
    four["summary"] = {**four["summary"], "decode_tps": 44.4, "baseline_decode_tps": 23.4}
    four["prompts"] = [{**row, "decode_tps": 11.1, "baseline_decode_tps": 5.8} for row in four["prompts"]]
    reports = reports_of(tmp_path, compare_result(), compare_result([four]))
    for name, title in ((REPORTS[0], "tok"), (REPORTS[2], "Token generation rate")):
        rates = section(reports[name], "Token/sec and token/sec/user" if name == REPORTS[0] else title)
        assert "| prompt-lookup, K = 4 | 1 | 10.0 | 10.0 | 15.1 | 12.3 | 1.37x | 3 of 3 |" in rates
        assert "| prompt-lookup, K = 4 | 4 | 5.8 | 23.4 | 11.1 | 44.4 | 1.90x | 3 of 3 |" in rates
        assert "K = 1 |" not in rates.split("users at once")[1]  # nobody ran that for several
    said = section(reports[REPORTS[0]], "Conclusion")
    assert "prompt-lookup, K = 4: 1.37x measured" in said and "1.90x" not in said


def test_published_speeds_are_marked(whole):
    _, reports = whole
    said = section(reports["FINAL_RESULTS_SUMMARY.md"], "published speeds")
    assert "Published, not measured" in said and "PERF.md" in said and "87.8 / 28.3" in said
    assert "87.8" not in reports["FINAL_RESULTS_SUMMARY.md"].replace(said, "")


def test_the_headline_is_not_chosen_by_speed(tmp_path):
    runs = [run(1, speedup=9.0), run(4, speedup=1.1), run(16, speedup=0.9, lookahead="auto")]
    assert headline(load_results([save(compare_result(runs), tmp_path / "a.json")]).runs).k == "auto"
    assert headline(load_results([save(compare_result(runs[:2]), tmp_path / "b.json")]).runs).k == "4"


def test_a_demo_result_is_enough(tmp_path):
    """Without what compare adds, those cells say so."""
    bare = run(4)
    for row in bare["prompts"]:
        del row["token_texts"], row["decode_s_runs"], row["baseline_decode_s_runs"]
    reports = reports_of(tmp_path, bare)
    assert "1.37x" in reports["FINAL_RESULTS_SUMMARY.md"] and "not recorded" in reports["FINAL_RESULTS_SUMMARY.md"]
    assert "where each token came from: not measured" in reports["report.html"]


@pytest.mark.parametrize(
    "content, named",
    [
        (None, "there is no result file"),
        ("[1]", "schema 1"),
        ("{", "JSON"),
        ('{"schema": 2, "prompts": [], "summary": {}}', "schema 1"),
    ],
    ids=["missing", "a list", "not JSON", "another schema"],
)
def test_bad_results_are_one_clear_error(content, named, tmp_path, capsys):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and named in error and str(path) in error


def test_the_package_is_listed_module_by_module(whole):
    _, reports = whole
    listed = section(reports["FINAL_RESULTS_SUMMARY.md"], "The package").replace("\\_", "_")
    modules = [path for folder in ("", "hf", "tt", "harness") for path in sorted((PACKAGE / folder).glob("*.py"))]
    assert len(modules) > 20
    names = re.findall(r"^\| (\S+\.py) \|", listed, re.MULTILINE)
    assert names == [path.relative_to(PACKAGE).as_posix() for path in modules]
    said = ast.get_docstring(ast.parse((PACKAGE / "hf" / "loading.py").read_text("utf-8"))).splitlines()[0]
    assert f"| hf/loading.py | {said} |" in listed


def test_without_out_the_committed_reports_stay_as_they_are(tmp_path, monkeypatch):
    def committed():
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}

    folder = PACKAGE / "reports"
    before = committed()
    assert len(before) > 3
    record = save(compare_result([run(4)]), tmp_path / "x.json")
    monkeypatch.chdir(tmp_path)
    assert main([str(record)]) == 0
    assert committed() == before
    written = {path.name for path in (tmp_path / "generated/reports").iterdir()}
    assert written == {*REPORTS, "report.html", "plots"}
    assert {path.suffix for path in (tmp_path / "generated/reports/plots").iterdir()} == {".png"}


def test_the_page_goes_where_it_is_told(tmp_path, capsys):
    record, page = save(compare_result([run(4)]), tmp_path / "x.json"), tmp_path / "docs" / "page.html"
    assert main([str(record), "--out", str(tmp_path / "out"), "--page", str(page)]) == 0
    assert "<svg" in page.read_text("utf-8") and not (tmp_path / "out" / "report.html").exists()
    assert f"written: {page}\n" in capsys.readouterr().out
    assert main([str(record), "--out", str(record)]) == 2
    assert "cannot write the reports" in capsys.readouterr().err


def test_it_can_be_called_as_a_module():
    """As python -m calls it; two in one process."""
    code = "import runpy, sys; sys.argv[1:] = ['--help']"
    for name in ("report", "estimate"):
        code += f"\ntry: runpy.run_module('measuring.{name}', run_name='__main__', alter_sys=True)"
        code += "\nexcept SystemExit as end: print('status', end.code)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split("status 0\n")
    assert [text.split(" [")[0] for text in said] == [
        f"usage: speculative_demo {n}" for n in ("report", "estimate")
    ] + [""]


def test_measuring_knows_nothing_of_training():
    import measuring

    imported = set()
    for path in Path(measuring.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or ".")
    roots = {name.split(".")[0] for name in imported}
    assert {"measuring", "models"} <= roots and "training" not in roots

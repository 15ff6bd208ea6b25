# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Reports: every section is there, every figure comes from the JSON, and what is missing is "not measured"."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.reports import PAGES, REPORTS, reports_of, section
from support.results import compare_result, run, save, without

from measuring.report import main
from measuring.results import headline, load_results
from models.tt_transformers.demo import speculative_decoding

PACKAGE = Path(speculative_decoding.__path__[0])


SECTIONS = {
    "FINAL_RESULTS_SUMMARY.md": [
        "Key results", "smollm2: by category", "predicted against measured", "Projected, not measured", "Conclusion",
        "Where and how it was measured",
    ],
    "comprehensive_8b_comparison.md": [
        "every drafter", "acceptance by position", "transformers' own decoding", "conclusion",
        "Projected, not measured: llama-1b-8b",
    ],
    "final_performance_comparison.md": [
        "overall performance", "latency percentiles", "several users at once", "conclusion",
        "Projected, not measured: llama-1b-3b",
    ],
    "APPENDIX.md": [
        "Test configuration", "Every arm", "Predicted against measured", "auto against the best fixed K",
        "When to speculate", "Plots", "Per prompt: speculative", "Per prompt: plain", "Per prompt: time to first token",
        "Token/sec/user by prompt", "best, good, average, baseline", "Consistency", "by K", "Where the time goes",
        "Cold start against warm", "init time, memory", "transformers' own decoding", "Break-even",
        "Where work would pay", "Projected, not measured", "What was checked", "The package",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTS)
def test_every_section_is_there_for_measured_and_unmeasured_pairs(whole, name):
    _, reports = whole
    for title in SECTIONS[name]:
        section(reports[name], title)
    assert "2026-01-02 03:04" in reports[name] and "speculative_demo compare --json x.json" in reports[name]
    assert "Linux, processor x86_64, cpus 7, threads 3" in reports[name] and "torch 2.13.77" in reports[name]


def test_they_are_one_page_each_and_begin_with_the_result(whole, tmp_path):
    _, reports = whole
    for name in PAGES:
        first = reports[name].splitlines()[2]
        assert first.startswith("- smollm2: 1.37x (1.32 to 1.42) of plain decoding's speed, all 3 prompts")
    record = compare_result([run(k) for k in (0, 1, 2, 3, 4, 6, 8)] + [run(16, lookahead="auto")])
    for arm in record["runs"]:  # as many prompts as the demo has, each of its own kind
        arm["prompts"] = [{**arm["prompts"][0], "category": f"kind {number}"} for number in range(10)]
    longer = reports_of(tmp_path, record)
    assert max(longer[name].count("\n") for name in PAGES) <= 64
    assert reports["APPENDIX.md"].count("\n") > 200


@pytest.mark.parametrize("name", PAGES)
def test_every_speedup_in_a_table_has_its_interval(whole, name):
    """What is projected has none, and stands apart."""
    _, reports = whole
    text = re.sub(r"(?s)## Projected, not measured.*?(?=\n## |\Z)", "", reports[name])
    cells = [cell for line in text.splitlines() if line.startswith("|") for cell in line.strip("| ").split(" | ")]
    ratios = [cell for cell in cells if re.match(r"\d+(\.\d+)?x", cell)]
    assert len(ratios) >= 2 and all(re.fullmatch(r"[\d.]+x \([\d.]+ to [\d.]+\)", cell) for cell in ratios)


@pytest.mark.parametrize(
    "name, pair", [(REPORTS[0], "llama-1b-8b"), (REPORTS[1], "llama-1b-8b"), (REPORTS[2], "llama-1b-3b")]
)
def test_a_pair_that_nobody_ran_is_not_measured(whole, name, pair):
    _, reports = whole
    (line,) = [line for line in reports[name].splitlines() if line.startswith(f"- {pair}: ")]
    assert line.startswith(f"- {pair}: not measured") and f"--pair {pair} --backend tt" in line
    measured = re.sub(r"(?s)## Projected, not measured.*?(?=\n## |\Z)", "", reports[name])
    assert not [line for line in measured.splitlines() if line.startswith(f"| {pair}")]
    own = section(reports["APPENDIX.md"], f"{pair}: not measured")
    assert f"--pair {pair} --backend tt" in own and not re.search(r"\d\.\d", own)


def test_measured_figures_are_in_the_tables(whole):
    _, reports = whole
    key = section(reports["FINAL_RESULTS_SUMMARY.md"], "Key results")
    speeds = (
        "1.37x (1.32 to 1.42) | 1.23x (1.18 to 1.28) | 0.4% | 10.0 (10.0 to 10.0) | 15.1 (8.2 to 20.6) | 10.0 | 12.3"
    )
    assert f"| smollm2 | prompt-lookup, K = 4 | {speeds} | 75% (75% to 75%) | 3 of 3 |" in key
    use = section(reports["FINAL_RESULTS_SUMMARY.md"], "by category")
    assert "| editing | 2.06x (1.97 to 2.14) | 75% | 2.50 | - |" in use and "| 75% | 2.50 | 1 of 1 |" in use
    said = section(reports["FINAL_RESULTS_SUMMARY.md"], "predicted against measured")
    assert "| 1.44x (1.38 to 1.50) | 1.34x (1.29 to 1.40) | yes |" in said
    cold = section(reports["APPENDIX.md"], "Cold start")
    assert f"| {6 / (1.91 + 0.09 + 0.7):.1f} |" in cold
    peers = section(reports["comprehensive_8b_comparison.md"], "transformers' own decoding")
    assert "prompt_lookup_num_tokens=4 | 1.78 | 0.88x (0.84 to 0.92) | 3 of 3" in peers
    quality = section(reports["APPENDIX.md"], "by K")
    assert "| 0 | 7 | - | 1.00 | 0.0 | 9.5 |" in quality and "| 4 | 5 | 62.0% | 2.60 | 1.2 | 9.9 |" in quality
    ttft = section(reports["final_performance_comparison.md"], "latency percentiles")
    assert "both prefills, ms | 31 | 31 | 31 | 31 |" in ttft and "target's prefill alone, ms | 24 |" in ttft


def test_tails_that_differ_are_said(tmp_path):
    record = run(4)
    record["summary"]["tails"] = {"plain": 1.08, "speculative": 1.02, "differ": True}
    assert "1.08 plain, 1.02 speculative: tails differ" in reports_of(tmp_path, record)["APPENDIX.md"]


@pytest.fixture(scope="module")
def of_one_run(tmp_path_factory):
    return reports_of(tmp_path_factory.mktemp("one_run"), compare_result([run(4)]))


@pytest.mark.parametrize(
    "path, before, report",
    [
        (("summary", "speedup"), "1.37x (1.32 to 1.42)", REPORTS[0]),
        (("summary", "low"), "1.37x (1.32 to 1.42)", REPORTS[0]),
        (("summary", "without_loops"), "1.23x", REPORTS[0]),
        (("summary", "noise_floor"), "0.4%", REPORTS[0]),
        (("prediction",), "1.44x", REPORTS[0]),
        (("prompts", "acceptance_rate"), "75% (75% to 75%)", REPORTS[3]),
        (("summary", "alpha"), "0.810", REPORTS[3]),
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
    lacking = "no interval" if path[-1] == "low" else "not measured"
    assert poorer.count(lacking) > of_one_run[report].count(lacking)


def test_a_changed_figure_changes_every_report(tmp_path, whole):
    """Negative control of all the above: nothing is written from memory."""
    _, reports = whole
    faster = reports_of(tmp_path, compare_result([run(0, speedup=0.99), run(1, speedup=1.21), run(4, speedup=2.46)]))
    for name in reports:
        assert "2.46x" in faster[name] and "2.46x" not in reports[name] and "1.37x" not in faster[name]


def test_advice_follows_the_numbers(tmp_path, whole):
    _, reports = whole
    said = section(reports["FINAL_RESULTS_SUMMARY.md"], "Conclusion")
    assert "speculate with prompt-lookup, K = 4: 1.37x (1.32 to 1.42), the fastest of 2 measured arms" in said
    slower = reports_of(tmp_path, compare_result([run(1, speedup=0.8), run(4, speedup=0.7)]))
    assert "decode plainly. The fastest of 2 measured arms (prompt-lookup, K = 1) reached 0.80x (0.77 to" in section(
        slower["FINAL_RESULTS_SUMMARY.md"], "Conclusion"
    )
    use = section(reports["APPENDIX.md"], "When to speculate")
    assert re.search(r"editing .* speculate \|", use) and re.search(r"creative prose .* decode plainly \|", use)


def test_several_users_are_told_apart_from_one(tmp_path):
    """What one user gets and what all get together are two columns, in every table of arms."""
    four = {**run(4, speedup=1.9), "batch_size": 4}
    four["summary"] |= {"decode_tps": 44.4, "baseline_decode_tps": 23.4}
    four["prompts"] = [{**row, "decode_tps": 11.1, "baseline_decode_tps": 5.8} for row in four["prompts"]]
    reports = reports_of(tmp_path, compare_result(), compare_result([four]))
    headers = "plain tok/s/user | tok/s/user | plain tok/s, all users | tok/s, all users"
    for name, title in ((REPORTS[2], "several users at once"), (REPORTS[3], "Every arm")):
        rates = section(reports[name], title)
        assert headers in rates
        one = "10.0 (10.0 to 10.0) | 15.1 (8.2 to 20.6) | 10.0 | 12.3 | 1.37x (1.32 to 1.42)"
        four_of_them = "5.8 (5.8 to 5.8) | 11.1 (11.1 to 11.1) | 23.4 | 44 | 1.90x (1.82 to 1.98)"
        assert f"| prompt-lookup, K = 4 | 1 | {one} |" in rates
        assert f"| prompt-lookup, K = 4 | 4 | {four_of_them} |" in rates
    assert "K = 1 |" not in section(reports[REPORTS[2]], "several users at once")  # nobody ran that for several
    assert headers in section(reports[REPORTS[0]], "Key results") and headers in section(reports[REPORTS[1]], "every")
    said = section(reports[REPORTS[0]], "Conclusion")
    assert "prompt-lookup, K = 4: 1.37x" in said and "1.90x" not in said


def test_published_speeds_are_marked(whole):
    _, reports = whole
    for name in REPORTS:
        said = section(reports[name], "Projected, not measured")
        assert "Projected by the formula" in said and "PERF.md" in said and "87.8 / " in said
        assert "projected, alpha 0.7" in said and "87.8" not in reports[name].replace(said, "")


def test_the_headline_is_not_chosen_by_speed(tmp_path):
    runs = [run(1, speedup=9.0), run(4, speedup=1.1), run(16, speedup=0.9, lookahead="auto")]
    assert headline(load_results([save(compare_result(runs), tmp_path / "a.json")]).runs).k == "auto"
    assert headline(load_results([save(compare_result(runs[:2]), tmp_path / "b.json")]).runs).k == "4"


def test_a_demo_result_is_enough(tmp_path):
    """Without what compare adds, those cells say so."""
    bare = run(4)
    for row in bare["prompts"]:
        del row["token_texts"]
    reports = reports_of(tmp_path, bare)
    summary = reports["FINAL_RESULTS_SUMMARY.md"]
    assert "1.37x" in summary and "date not recorded" in summary and "command not recorded" in summary
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
    listed = section(reports["APPENDIX.md"], "The package").replace("\\_", "_")
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

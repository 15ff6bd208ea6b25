# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Reports: every section is there, every figure comes from the JSON, and what is missing is "not measured"."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from support.results import compare_result, run, save, without

from measuring.break_even import (
    best_choice,
    break_even_alpha,
    break_even_tokens,
)
from measuring.published_speeds import published_pair
from measuring.report import main
from measuring.results import headline, load_results
from models.tt_transformers.demo.speculative_decoding.metrics import percentile, predicted_speedup, tpot_ms

REPORTS = ("FINAL_RESULTS_SUMMARY.md", "comprehensive_8b_comparison.md", "final_performance_comparison.md")
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
PLOTS = ("speedup_by_k", "acceptance_by_position", "speed_by_prompt", "time_per_round")


def reports_of(tmp_path, *records):
    files = [str(save(record, tmp_path / f"{number}.json")) for number, record in enumerate(records)]
    assert main([*files, "--out", str(tmp_path / "out")]) == 0
    return {name: (tmp_path / "out" / name).read_text("utf-8") for name in (*REPORTS, "report.html")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder / "out", reports_of(folder, compare_result())


def section(text, title, *, after=""):
    """The first section whose heading holds `title`, from the heading `after` on."""
    text = text[text.index(after) :]
    start = re.search(rf"^#+ .*{re.escape(title)}.*$", text, re.MULTILINE)
    assert start, f"there is no section {title}"
    end = re.compile(r"^#+ ", re.MULTILINE).search(text, start.end())
    return text[start.start() : end.start() if end else len(text)]


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
def test_a_missing_figure_is_not_measured_and_never_zero(tmp_path, whole, path, before, report):
    _, reports = whole
    assert before in reports[report]
    poorer = reports_of(tmp_path, without(compare_result([run(4)]), "runs", *path))[report]
    assert before not in poorer
    assert poorer.count("not measured") > reports_of(tmp_path, compare_result([run(4)]))[report].count("not measured")


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


def test_plots_are_drawn_and_linked(whole):
    folder, reports = whole
    for name in [*(f"{plot}_smollm2" for plot in PLOTS), "llama_published"]:
        assert (folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / "plots" / f"{name}.svg").read_text("utf-8")
        assert f"(plots/{name}.svg)" in reports["FINAL_RESULTS_SUMMARY.md"]
    assert "speedup_by_k_llama" not in reports["FINAL_RESULTS_SUMMARY.md"]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tokens, self.outside, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.outside += [value for name, value in attributes.items() if name in ("src", "href") and value[:1] != "#"]
        self.open.append(attributes.get("class") if tag == "span" else None)
        if tag == "span" and "title" in attributes:
            self.tokens.append([attributes["class"], ""])

    def handle_data(self, data):
        if self.tokens and self.open and self.open[-1] == self.tokens[-1][0]:
            self.tokens[-1][1] += data

    def handle_endtag(self, tag):
        if self.open:
            self.open.pop()


def test_the_page_holds_every_prompt_and_every_token_by_provenance(whole):
    _, reports = whole
    text = reports["report.html"]
    for number in range(3):
        assert f"Prompt &amp; number {number}" in text
    page = Page(text[text.index("Every prompt, token by token") :])
    expected = list(zip(run()["prompts"][0]["origins"], run()["prompts"][0]["token_texts"]))
    assert [tuple(token) for token in page.tokens] == expected * 3
    assert text.count("<svg") == len(PLOTS) + 1
    assert Page(text).outside == [] and "<script" not in text and "@import" not in text and "url(http" not in text


def test_the_page_renders_in_a_browser(whole, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no chromium is installed")
    folder, _ = whole
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    options += [
        "--disable-background-networking",
        "--disable-component-update",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    options += ["--window-size=1200,1600", f"--screenshot={tmp_path / 'page.png'}"]
    dump = subprocess.run([browser, *options, f"file://{folder / 'report.html'}"], capture_output=True, timeout=120)
    assert dump.returncode == 0
    from matplotlib.image import imread

    pixels = imread(tmp_path / "page.png")[..., :3]
    assert pixels.shape[:2] == (1600, 1200)
    assert 0.005 < (abs(pixels - pixels[2, 2]).max(-1) > 0.3).mean() < 0.5  # neither blank nor one block


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


def test_break_even_by_hand():
    # Break-even alphas of the published N150 speeds at v = 1 (K + 1 tokens have to be worth c * K + 1 steps).
    assert break_even_alpha(1, 0.615, 1.0) == pytest.approx(0.615, abs=1e-6)
    assert break_even_alpha(4, published_pair("llama-1b-8b", "N150").c, 1.0) == pytest.approx(0.596, abs=5e-4)
    alpha = break_even_alpha(3, 0.4, 1.2)
    assert predicted_speedup(alpha, 3, 0.4, 1.2) == pytest.approx(1.0)
    assert break_even_alpha(1, 1.0, 1.5) is None and break_even_alpha(2, 0.0, 1.0) == 0.0
    assert best_choice(0.8, 0.322, dict.fromkeys((1, 2, 3, 4, 8), 1.0)).k == 3
    assert best_choice(0.3, 0.6, {1: 1.0, 4: 1.0}).k == 0
    assert break_even_tokens(100.0, 30.0, 20.0) == 11.0 and break_even_tokens(100.0, 20.0, 30.0) is None


def test_percentiles_by_hand():
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5 and percentile([1.0], 99) == 1.0 and percentile([], 50) is None
    assert percentile(list(range(101)), 95) == 95
    assert tpot_ms(1.0, 11) == 100.0 and tpot_ms(None, 5) is None and tpot_ms(1.0, 1) is None

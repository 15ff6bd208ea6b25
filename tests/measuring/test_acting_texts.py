# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Names and texts that would act in a report, a file name or a terminal's table."""

import re
import unicodedata

import pytest
from rich.cells import cell_len
from support.reports import REPORTS, empty_pictures, reports_of
from support.results import compare_result, interval, run, save

from measuring.compare import show
from measuring.report import main
from measuring.reports.document import ACTING, report_table
from measuring.reports.matches import auto_by_category, fastest_by_category
from measuring.reports.plots import speedup_by_prompt
from measuring.results import load_results
from measuring.run import Run
from models.tt_transformers.demo.speculative_decoding.harness.terminal import PlainScreen

ACTORS = "\x1b[2J \x00 \x07 \x0b \x0c \r \x7f \x85 \x9b \u061c \u200e \u202e \u2066 \u2028 \u2029 \ufeff \ufffe \ud83d"


def test_no_control_character_gets_into_a_report(tmp_path):
    record = run(4, pair=f"pair {ACTORS}")
    record |= {"target": ACTORS, "draft": ACTORS, "drafter": ACTORS}
    for row in record["prompts"]:
        row.update(category=f"cat {ACTORS}\n| forged | row |", prompt=ACTORS, text=ACTORS, token_texts=[ACTORS] * 6)
    reports = reports_of(tmp_path, {**compare_result([record]), "command": ACTORS}, rendered=True)
    for text in reports.values():
        acting = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn")} - {"\n", "\t"}
        assert not acting and "\\x1b[2J" in text.replace("\\\\", "\\").replace("\\[", "[")
    assert not any(line.startswith("| forged") for name in REPORTS for line in reports[name].splitlines())


def test_addresses_are_no_links():
    said = "see http://a.example, HTTPS://b and www.c.example, 10:30 and a://b"
    assert ACTING.sub(r"\\\g<0>", said) == (
        "see http\\://a.example, HTTPS\\://b and www\\.c.example, 10:30 and a\\://b"
    )


@pytest.mark.parametrize(
    "names", [("模型一", "模型二"), ("my-model", "my model", "my_model_2"), ("x" * 300, "x" * 301)]
)
def test_every_pair_has_its_own_plots(names, tmp_path):
    records = [compare_result([run(1, pair=name), run(4, pair=name)]) for name in names]
    files = [save(record, tmp_path / f"{number}.json") for number, record in enumerate(records)]
    slugs = [load_results(files).slug(name) for name in names]
    assert len(set(slugs)) == len(names) and max(map(len, slugs)) < 70
    with empty_pictures():
        assert main([*map(str, files), "--out", str(tmp_path / "out")]) == 0
    links = re.findall(r"\((plots/speedup_by_k_.*?)\)", (tmp_path / "out" / REPORTS[0]).read_text("utf-8"))
    assert len(set(links)) == len(names) and all((tmp_path / "out" / link).is_file() for link in links)


@pytest.mark.parametrize(
    "more, named",
    [
        (["--out", ""], "--out was given an empty text"),
        (["--page", ""], "--page was given an empty text"),
        (["--page", "x.json"], "this very file is read"),
        (["--page", "out/FINAL_RESULTS_SUMMARY.md"], "this very file is written"),
        (["--page", "out"], "this is a folder"),
        (["--page", "out/plots/x.png"], "among the plots"),
    ],
)
def test_nothing_is_written_over(more, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = save(run(4), tmp_path / "x.json").read_text()
    assert main(["x.json", "--out", "out", *more]) == 2
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1
    assert (tmp_path / "x.json").read_text() == before and not list(tmp_path.rglob("*.md"))


def test_nothing_is_made_before_the_results_are_read(tmp_path):
    assert main([str(tmp_path / "no.json"), "--out", str(tmp_path / "a"), "--page", str(tmp_path / "b" / "c")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_is_a_folder_is_said_before_plots_are_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("measuring.report.draw_all", None)
    (tmp_path / "out" / REPORTS[1]).mkdir(parents=True)
    assert main([str(save(run(4), tmp_path / "x.json")), "--out", str(tmp_path / "out")]) == 2
    assert REPORTS[1] in capsys.readouterr().err


def compared(categories):
    records = [run(1), run(4), run(16, lookahead="auto")]
    for record in records:
        for row, category in zip(record["prompts"], categories, strict=True):
            row["category"] = category
    rows = [{"category": c, "request_s": 1.0, "baseline_request_s": 1.1, "identical": True} for c in categories]
    rows = [{**row, **interval(1.1)} for row in rows]
    total = {"prompts": 3, "identical": 3, "request_s": 3.0, "baseline_request_s": 3.3, **interval(1.1)}
    total |= {"decode_tps": 9.0, "not_comparable": None}
    kinds = ("generate", "prompt_lookup_num_tokens", "assistant_model")
    peers = [{"peer": f"{kind}=2", "kind": kind, "k": 2, "prompts": rows, "summary": total} for kind in kinds]
    return {**compare_result(records), "peers": peers}


@pytest.mark.parametrize("columns", [80, 100, 128])
@pytest.mark.parametrize("long", ["question answering", "x" * 150, "a name of many words " * 9])
def test_tables_fit_the_screen_and_cut_no_figure(columns, long, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    show(compared(["code", long, "creative prose"]), PlainScreen())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cell_len, lines)) <= columns
    said = " ".join(lines)
    assert "transformers prompt_lookup_num_tokens=2" in said and "…" not in said
    for figure in ("1.37x (1.32 to 1.42)", "1.10x (1.06 to 1.14)", "best fixed K", "noise floor 0.4%"):
        assert figure in said


def test_what_a_narrow_screen_leaves_out(monkeypatch):
    record = compared(["code", "question answering", "creative prose"])
    runs = [Run(one, {}) for one in record["runs"]]
    for columns, which in ((80, False), (250, True)):
        monkeypatch.setenv("COLUMNS", str(columns))
        ranks = {"which": 2, "ours, auto": 1, "transformers: generate": 1}
        text = str(report_table(fastest_by_category(runs, record["peers"]), "title", ranks))
        assert ("prompt-lookup, K" in text) == which and "1.10x" in text
    monkeypatch.setenv("COLUMNS", "20")
    assert "prompt-" in str(report_table(auto_by_category(runs), "title"))


def test_a_category_called_all_is_one_of_them():
    runs = [Run(one, {}) for one in compared(["all", "code", "prose"])["runs"]]
    rows = [row for row in auto_by_category(runs).rows if row[0].endswith(": all")]
    assert len(rows) == 2 and rows[0] != rows[1]


def test_of_very_many_prompts_the_first_are_drawn():
    record = run(4)
    record["prompts"] = record["prompts"] * 700  # a picture of all would be larger than one can be
    figure = speedup_by_prompt(Run(record, {}))
    assert figure.get_figheight() < 30 and "the first 60 of 2100" in figure.axes[0].get_title(loc="left")

# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The page: whole by itself, every token by its origin, small; and its plots."""

import re

from support.reports import REPORTS, Page, reports_of
from support.results import inconclusive, run

from measuring.reports.answers import Answer, shown_first
from measuring.reports.pictures import inline_svg
from measuring.run import Run

MEMORY = ("| init time", "| weights", "| host memory")  # ratios that no clock gave
PLOTS = ("speedup_by_k", "acceptance_by_position", "speedup_by_prompt", "time_per_round")


def test_plots_are_drawn_and_linked(whole):
    folder, reports = whole
    for name in [*(f"{plot}_smollm2" for plot in PLOTS), "llama_published"]:
        picture = (folder / "plots" / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG") and len(picture) < 150_000
        assert sum(f"(plots/{name}.png)" in reports[report] for report in REPORTS) == 1
    assert "(plots/speedup_by_k_smollm2.png)" in reports["FINAL_RESULTS_SUMMARY.md"]
    assert not any("speedup_by_k_llama" in reports[report] for report in REPORTS)
    assert len(list((folder / "plots").iterdir())) == len(PLOTS) + 1


def test_what_the_page_draws_is_small_and_whole(whole):
    _, reports = whole
    page = reports["report.html"]
    svgs = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert sum(map(len, svgs)) < 100_000 and len(page) < 200_000
    for svg in svgs:
        used = re.findall(r'(?:href="|url\()#([^")]+)', svg)
        assert used and set(used) == set(re.findall(r' id="([^"]+)"', svg))
        assert "<metadata" not in svg and "\n" not in svg and "currentColor" in svg and "#767676" not in svg
    assert ">Speedup by K, all prompts, 95% intervals</text>" in svgs[0]  # text, not its outlines


def test_an_inline_svg_loses_only_what_nobody_sees():
    svg = """<?xml version="1.0"?>
<svg width="9pt">
 <metadata> who
 made it </metadata>
 <!-- a
 remark -->
 <g id="patch_1"> <path id="m1" d="M 0 0
L 1 1" style="stroke: #767676"/> <use xlink:href="#m1"/>
 </g>
 <text x="1" transform="rotate(-0 1 2)">a  id="b" &lt;g id="c"</text>
</svg>
"""
    assert inline_svg(svg) == (
        '<svg width="9pt"><g><path id="m1" d="M 0 0 L 1 1" style="stroke: currentColor"/><use xlink:href="#m1"/></g>'
        '<text x="1">a  id="b" &lt;g id="c"</text></svg> '
    )


def test_the_page_holds_every_prompt_and_every_token_by_provenance(whole):
    _, reports = whole
    text = reports["report.html"]
    for number in range(3):
        assert f"Prompt &amp; number {number}" in text
    kinds = ["prefill", "looked", "looked", "recovered", "looked", "bonus"]
    expected = [(f"token {kind}", token) for kind, token in zip(kinds, run()["prompts"][0]["token_texts"])]
    first, every = text.split("Every answer, token by token")
    assert [tuple(token) for token in Page(first).tokens] == expected
    assert [tuple(token) for token in Page(every).tokens] == expected * 3
    assert text.count("<svg") == len(PLOTS) + 1
    assert Page(text).outside == [] and "@import" not in text and "url(http" not in text
    assert text.count("<script") == 1 and "default-src 'none'" in text


def test_the_headline_comes_first_with_its_intervals_and_the_noise_floor(whole):
    _, reports = whole
    hero = Page(reports["report.html"].split("</header>")[0].split("<header")[1]).words
    for said in ("1.37× the speed of plain decoding", "95% interval 1.32 to 1.42×", "all 3 prompts", "0.4%"):
        assert said in hero
    assert "1.23× (1.18 to 1.28) 2 of 3 prompts" in hero and "Speedup by K" in hero
    assert reports["report.html"].count(">Speedup by K,") == 1  # not again among the tables


def test_an_inconclusive_run_has_its_reason_and_no_ratio(tmp_path):
    """Even if somebody wrote one into the file."""
    record = inconclusive(run(4))
    record["summary"]["speedup"] = record["prompts"][0]["speedup"] = 7.7345
    record["prediction"] = {"speedup": 7.7345, "measured": {"speedup": 7.7345}}
    reports = reports_of(tmp_path, record)
    for name, text in reports.items():
        words = Page(text.split("<script>")[0]).words if name == "report.html" else text
        assert "something else had the processor" in words, name
        assert "7.73" not in words, name
        lines = [line for line in words.splitlines() if not line.startswith(MEMORY)] if name != "report.html" else []
        measured = re.sub(r"(?s)## Projected, not measured.*?(?=\n## |\Z)|at least [\d.]+x", "", "\n".join(lines))
        assert not re.search(r"\d[x×]", measured), name
    hero = Page(reports["report.html"].split("</header>")[0].split("<header")[1]).words
    assert "Inconclusive" in hero and "something else had the processor." in hero and "<svg" not in hero


def test_rounds_are_read_from_the_tokens():
    answer = Answer.of(run()["prompts"][0])
    assert [of.counts for of in answer.rounds] == ["3,2,1,0", "1,1,0,1"]
    assert [of for _, _, of in answer.tokens] == [0, 1, 1, 1, 2, 2]
    torn = {**run()["prompts"][0], "accepted_per_round": [1, 1]}  # another generation's rounds
    assert [of.counts for of in Answer.of(torn).rounds] == ["?,2,1,0", "?,1,0,1"]
    cut = {**run()["prompts"][0], "origins": ["prefill", "plain", "accepted", "accepted", "accepted", "accepted"]}
    cut |= {"drafted_per_round": [0, 4], "accepted_per_round": [0, 4]}
    assert [of.counts for of in Answer.of(cut).rounds] == ["0,0,0,0", "4,4,0,0"]
    assert Answer.of({"token_texts": ["a"], "origins": []}).rounds == []


def test_the_first_answer_does_not_loop_and_has_accepted_and_rejected_drafts():
    record = run()
    record["prompts"][1]["origins"] = ["prefill", *["accepted"] * 5]
    assert shown_first([Run(record, {})])["category"] == "editing"
    record["prompts"][0]["loops"] = True
    assert shown_first([Run(record, {})]) is not None  # better one that loops than none
    assert shown_first([]) is None

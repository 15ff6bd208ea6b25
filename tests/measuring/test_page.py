# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The page: whole by itself, every token by its origin, small; and its plots."""

import re
import shutil
import subprocess

import pytest
from support.reports import Page
from support.results import run

from measuring.reports.pictures import inline_svg

PLOTS = ("speedup_by_k", "acceptance_by_position", "speed_by_prompt", "time_per_round")


def test_plots_are_drawn_and_linked(whole):
    folder, reports = whole
    for name in [*(f"{plot}_smollm2" for plot in PLOTS), "llama_published"]:
        picture = (folder / "plots" / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG") and len(picture) < 150_000
        assert f"(plots/{name}.png)" in reports["FINAL_RESULTS_SUMMARY.md"]
    assert "speedup_by_k_llama" not in reports["FINAL_RESULTS_SUMMARY.md"]
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
    assert ">Speedup by K, all prompts</text>" in svgs[0]  # text, not its outlines


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

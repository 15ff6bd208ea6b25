# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser: quiet, alone, as wide as its screen; and its player shows what the rounds were."""

import pytest
from support.browser import look, needs_browser
from support.results import TEXTS

pytestmark = needs_browser
STATE = """((player) => ({
  text: [...player.querySelectorAll("[data-r]:not(.later)")].map((token) => token.textContent).join(""),
  seen: [...player.querySelectorAll("[data-r]")].filter((token) => token.checkVisibility({visibilityProperty: true}))
    .length,
  counts: [...player.querySelectorAll(".counters [data-part]")].map((counter) => counter.textContent),
  pips: [...player.querySelectorAll(".pips i")].map((pip) => pip.className),
  status: player.querySelector("[data-part=status]").textContent,
  play: player.querySelector("[data-part=play]").textContent,
}))(document.querySelector("[data-rounds]"))"""
KEYS = """((player) => {
  const press = (key, on) => on.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
  const round = () => Number(player.querySelector("[data-part=slider]").value);
  player.focus();
  const focused = document.activeElement === player;
  const rounds = %s.map((key) => { press(key, player); return round(); });
  return {focused, rounds};
})(document.querySelector("[data-rounds]"))"""
PLAYED = """new Promise((done) => {
  const player = document.querySelector("[data-rounds]"), seen = [];
  const [play, status] = ["play", "status"].map((part) => player.querySelector(`[data-part=${part}]`));
  new MutationObserver(() => {
    seen.push(status.textContent);
    if (play.textContent === "Play") done(seen);
  }).observe(player, {childList: true, subtree: true});
  play.click();
})"""
PAUSED = """new Promise((done) => {
  const play = document.querySelector("[data-part=play]"), slider = document.querySelector("[data-part=slider]");
  play.click();
  const before = play.textContent;
  play.click();
  setTimeout(() => done([before, play.textContent, slider.value]), 5000);
})"""
WIDTHS = """(() => {
  document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  return [document.documentElement.scrollWidth, window.innerWidth];
})()"""


@pytest.fixture(scope="module")
def page(whole):
    return whole[1]["report.html"]


@pytest.mark.parametrize("at", ["", "#end"])
def test_the_last_state_is_the_text_and_nothing_is_said_or_asked(page, at, tmp_path):
    seen = look(page, tmp_path, at=at, script=STATE)
    assert seen.console == [] and seen.asked == []
    assert seen.found["text"] == "".join(TEXTS) and seen.found["seen"] == len(TEXTS)
    assert seen.found["counts"] == ["1", "1", "0", "1"] and seen.found["pips"] == ["accepted", "bonus"]
    assert seen.found["status"] == "Round 2 of 2: 6 tokens so far"


def test_a_round_is_shown_with_what_it_drafted(page, tmp_path):
    found = look(page, tmp_path, at="#round-1", script=STATE).found
    assert found["text"] == "".join(TEXTS[:4]) and found["seen"] == 4
    assert found["counts"] == ["3", "2", "1", "0"] and found["pips"] == [
        "accepted",
        "accepted",
        "rejected",
        "recovered",
    ]
    start = look(page, tmp_path, at="#round-0", script=STATE).found
    assert start["text"] == TEXTS[0] and start["counts"] == ["0"] * 4 and start["pips"] == []
    assert start["status"] == "Before the first of 2 rounds: 1 token so far"


def test_keys_step_and_play(page, tmp_path):
    keys = '["Home", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowLeft", "x"]'
    assert look(page, tmp_path, script=KEYS % keys).found == {"focused": True, "rounds": [0, 1, 2, 2, 1, 2, 1, 1]}
    assert look(page, tmp_path, script=KEYS % '[" "]').found["rounds"] == [0]  # from the end it begins anew


def test_play_goes_through_every_round_and_pause_stops_it(page, tmp_path):
    seen = look(page, tmp_path, script=PLAYED).found
    rounds = list(dict.fromkeys(said.split(":")[0] for said in seen))
    assert rounds == ["Before the first of 2 rounds", "Round 1 of 2", "Round 2 of 2"]
    assert look(page, tmp_path, script=PAUSED).found == ["Pause", "Play", "0"]


@pytest.mark.parametrize("width", [1280, 768])
def test_it_is_as_wide_as_the_screen_with_every_fold_open(page, width, tmp_path):
    needs, has = look(page, tmp_path, width=width, script=WIDTHS).found
    assert has == width and needs <= has


def test_it_is_drawn_in_light_and_in_dark(page, tmp_path):
    from matplotlib.image import imread

    papers = []
    for scheme in (1, 0):
        picture = tmp_path / f"{scheme}.png"
        look(page, tmp_path, more=[f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={picture}"])
        pixels = imread(picture)[..., :3]
        assert 0.005 < (abs(pixels - pixels[2, 2]).max(-1) > 0.3).mean() < 0.5  # neither blank nor one block
        papers.append(pixels[2, 2].mean())
    assert papers[0] > 0.9 and papers[1] < 0.2


def test_these_checks_see_what_they_are_for(page, tmp_path):
    """Negative controls: an error, a request, a text that is not whole, a page too wide, a key that does nothing."""
    broken = page.replace("</main>", '<script>throw new Error("boo")</script></main>')
    assert "boo" in "".join(look(broken, tmp_path).console)
    fetching = page.replace("</main>", '<img src="http://there.example/x.png"></main>')
    assert "Content Security Policy" in "".join(look(fetching, tmp_path).console)
    start = fetching.index("<meta http-equiv")
    assert look(fetching[:start] + fetching[start:].partition(">")[2], tmp_path).asked == ["http://there.example/x.png"]
    hiding = page.replace('"later", of > now', '"later", of >= now')
    assert look(hiding, tmp_path, script=STATE).found["text"] != "".join(TEXTS)
    wide = page.replace("</main>", '<p style="width: 900px">x</p></main>')
    needs, has = look(wide, tmp_path, width=768, script=WIDTHS).found
    assert needs > has
    deaf = page.replace('ArrowRight: "next", ', "")
    assert look(deaf, tmp_path, script=KEYS % '["Home", "ArrowRight"]').found["rounds"] == [0, 0]

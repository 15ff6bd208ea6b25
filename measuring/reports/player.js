// SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.
//
// SPDX-License-Identifier: Apache-2.0
//
// A player per answer: shows the tokens up to a round, and what that round drafted. Without it the whole text is there.
"use strict";

const ROUND_MS = 600;

function startPlayer(player) {
  const rounds = player.dataset.rounds.split(" ").filter(Boolean).map((round) => round.split(",").map(Number));
  const tokens = [...player.querySelectorAll("[data-r]")];
  const find = (name) => player.querySelector(`[data-part="${name}"]`);
  const [play, slider, status, pips] = ["play", "slider", "status", "pips"].map(find);
  const counters = ["drafted", "accepted", "recovered", "bonus"].map(find);
  const last = rounds.length;
  let now = last;
  let timer = null;

  function show(round) {
    now = Math.max(0, Math.min(last, round));
    let shown = 0;
    for (const token of tokens) {
      const of = Number(token.dataset.r);
      token.classList.toggle("later", of > now);
      token.classList.toggle("now", of === now);
      shown += of <= now;
    }
    const counts = now ? rounds[now - 1] : [0, 0, 0, 0];
    counters.forEach((counter, i) => { counter.textContent = Number.isNaN(counts[i]) ? "–" : counts[i]; });
    const [drafted, accepted, recovered, bonus] = counts;
    const marks = [...Array(accepted).fill("accepted"), ...Array(Math.max(0, drafted - accepted) || 0).fill("rejected")];
    if (recovered) marks.push("recovered");
    if (bonus) marks.push("bonus");
    pips.replaceChildren(...marks.map((mark) => {
      const pip = document.createElement("i");
      pip.className = mark;
      return pip;
    }));
    slider.value = now;
    const place = now ? `Round ${now} of ${last}` : `Before the first of ${last} rounds`;
    slider.setAttribute("aria-valuetext", place);
    status.textContent = `${place}: ${shown} token${shown === 1 ? "" : "s"} so far`;
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    status.setAttribute("aria-live", "polite");
  }

  function toggle() {
    if (timer !== null) return pause();
    if (now === last) show(0);
    play.textContent = "Pause";
    status.setAttribute("aria-live", "off"); // or every round would be read out
    timer = setInterval(() => {
      show(now + 1);
      if (now === last) pause();
    }, ROUND_MS);
  }

  function move(round) {
    pause();
    show(round);
  }

  const moves = {
    first: () => move(0), back: () => move(now - 1), play: toggle, next: () => move(now + 1), end: () => move(last),
  };
  const keys = {
    " ": "play", ArrowLeft: "back", ArrowUp: "back", ArrowRight: "next", ArrowDown: "next", Home: "first", End: "end",
  };
  for (const [name, act] of Object.entries(moves)) find(name).addEventListener("click", act);
  slider.addEventListener("input", () => move(Number(slider.value)));
  player.addEventListener("keydown", (event) => {
    const name = keys[event.key];
    const pressed = event.key === " " && event.target.closest("button, summary"); // which do it themselves
    if (!name || pressed || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    moves[name]();
  });
  find("controls").hidden = false;
  show(last);
  return { show: move, last };
}

const players = [...document.querySelectorAll("[data-rounds]")].map(startPlayer);
const asked = /^#(?:round-(\d+)|end)$/.exec(location.hash); // where the first player begins
if (asked && players.length) players[0].show(asked[1] === undefined ? players[0].last : Number(asked[1]));

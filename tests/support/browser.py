# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""A page in a real browser, without a screen: what it becomes, what its console says, what it asks of the network."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--disable-extensions"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
END = "</body></html>"
# Leaves what the expression gives in the page.
EVALUATE = """<script>Promise.resolve(%s).then((found) => {
  const out = document.createElement("output");
  out.id = "found";
  out.hidden = true;
  out.textContent = JSON.stringify(found);
  document.body.append(out);
});</script>"""


@dataclass(frozen=True)
class Seen:
    """`console`: what was said there, errors included. `asked`: what the page wanted of the network. `found`: what the
    script gave."""

    console: list[str]
    asked: list[str]
    found: Any


def look(
    page: str, folder: Path, *, at: str = "", script: str = "null", width: int = 1280, more: Sequence[str] = ()
) -> Seen:
    """Open the page at the fragment `at`, and evaluate `script`, a JavaScript expression (or a promise of one).

    Args:
        folder: for the browser's own files. more: options of the browser.
    """
    file, log = folder / "page.html", folder / "net.json"
    file.write_text(page.replace(END, EVALUATE % script + END), "utf-8")
    options = [*QUIET, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1000", f"--log-net-log={log}"]
    options += ["--enable-logging=stderr", "--virtual-time-budget=60000", "--dump-dom", *more, f"file://{file}{at}"]
    done = subprocess.run([str(BROWSER), *options], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    # The browser has errands of its own, which are of no origin.
    lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if '"not an origin"' not in line]
    asked = [url for line in lines if '"initiator"' in line for url in re.findall(r'"url":"((?:http|ws)[^"]*)"', line)]
    found = re.search(r'<output id="found" hidden="">(.*?)</output>', done.stdout, re.DOTALL)
    assert found, f"the script on the page did not end: {done.stderr}"
    return Seen(re.findall(r":CONSOLE[^\]]*\] (.*)", done.stderr), asked, json.loads(html.unescape(found[1])))

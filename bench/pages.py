"""How fast pages come up in Chromium with millions of answers in the store.

    python -m bench.pages [--answers 15000000]

Starts the app on a store of its own and goes from page to page by the menu, as a person would;
a switch has ended when the new page's headline stands there and its script has run to the end.
Beside it, the time until the first page of a fresh server can be read. The second half of the
rounds is taken while the built-in model is tuned in the background.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from bench.store import fill
from core.analysis import scores
from core.store.store import Store

ROOT = Path(__file__).resolve().parent.parent
MENU = ("Home", "Ask", "Run", "Tune", "Map", "Compare", "Items", "Import", "Library")
DONE = """() => {
    const app = document.querySelector('[data-testid=stApp]');
    return app && app.dataset.testScriptState === 'notRunning'
        && document.querySelector('h1') && !document.querySelector('[data-stale=true]');
}"""


def main(argv: list[str] | None = None) -> dict:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--answers", type=int, default=15_000_000)
    arguments.add_argument("--rounds", type=int, default=6)
    a = arguments.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "demo-made").write_text("")
        store = Store(home)
        ids = fill(store, a.answers)
        scores.table(store, store.run(ids[-1]))
        result = {"answers": store.rows("select count(*) from answers")[0][0]}
        store.close()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        address = f"http://127.0.0.1:{port}"
        began = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"],
            cwd=ROOT,
            env={**os.environ, "PLURISCOPE_HOME": folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(address)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
                )
                page = browser.new_page(viewport={"width": 1400, "height": 950})
                page.set_default_timeout(60_000)
                page.goto(address)
                page.wait_for_selector("h1")
                result["first page after start, s"] = round(time.perf_counter() - began, 2)
                page.wait_for_function(DONE)
                time.sleep(8)  # the worker process imports torch ahead of need
                switches(page, 1)  # the first round fetches each page's scripts
                result["page switch, ms"] = switches(page, a.rounds)
                page.goto(f"{address}/tune")
                page.locator(".st-key-tune_start button").click()
                page.get_by_role("button", name="Stop and keep").wait_for()
                time.sleep(5)  # the tuning has loaded its model and is at work
                result["page switch while tuning, ms"] = switches(page, a.rounds)
                browser.close()
        finally:
            server.kill()
            server.wait()
    print(json.dumps(result, indent=2))
    return result


def switches(page: Page, rounds: int) -> dict:
    """Go round by the menu; median and 95th percentile of all switches, in milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name in MENU}
    for _ in range(rounds):
        for name in MENU[1:] + MENU[:1]:
            before = page.locator("h1").first.inner_text()
            start = time.perf_counter()
            page.get_by_role("link", name=name, exact=True).click()
            page.wait_for_function(
                "before => document.querySelector('h1')?.innerText !== before", arg=before
            )
            page.wait_for_function(DONE)
            taken[name].append(1000 * (time.perf_counter() - start))
    every = [ms for times in taken.values() for ms in times]
    return {
        "median": float(np.median(every)),
        "p95": float(np.quantile(every, 0.95)),
        "by page (median)": {name: float(np.median(times)) for name, times in taken.items()},
    }


def _wait_for(address: str) -> None:
    while True:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
            return
        except OSError:
            time.sleep(0.02)


if __name__ == "__main__":
    main()

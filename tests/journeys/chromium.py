"""The app for real on a free port, and pages in Chromium that reach no other machine."""

import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.waiting import LONG, until

ROOT = Path(__file__).resolve().parents[2]

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")

PATIENCE = 1000 * LONG  # ms, as Playwright counts

expect.set_options(timeout=PATIENCE)


@contextmanager
def app(home: Path) -> Iterator[str]:
    """The app on a free port with a home of its own; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"],
        cwd=ROOT,
        env={**os.environ, "PLURISCOPE_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=10).close()
        except OSError:
            return False
        return True

    try:
        until(answers, "the server did not start")
        yield address
    finally:
        process.kill()
        process.wait()


@contextmanager
def tab(browser, **options) -> Iterator[Page]:
    """A page in a context of its own, cut off from every other machine."""
    here = {"locale": "en-US", "timezone_id": "UTC"}  # whatever this machine's are
    options = {"viewport": {"width": 1400, "height": 950}, **here, **options}
    context = browser.new_context(**options)
    strangers: list[str] = []

    def gate(route):
        if re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", route.request.url):
            route.continue_()
        else:
            strangers.append(route.request.url)
            route.abort()

    context.route("**/*", gate)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    context.close()
    assert strangers == [], "the page asked another machine for something"


DRAWN = "[data-testid=stPlotlyChart]:has(.main-svg)"

SETTLED = """() => {
    const app = document.querySelector('[data-testid=stApp]');
    const charts = [...document.querySelectorAll('[data-testid=stPlotlyChart]')];
    return app?.dataset.testScriptState === 'notRunning' && document.querySelector('h1')
        && !document.querySelector('[data-stale=true], [data-testid=stSkeleton]')
        && charts.every(chart => chart.querySelector('.main-svg'));
}"""


def settled(page: Page) -> None:
    """The script has run to its end, without an exception, and every figure is drawn."""
    page.wait_for_function(SETTLED)
    assert page.locator("[data-testid=stException]").count() == 0, page.locator(
        "[data-testid=stException]"
    ).first.inner_text()

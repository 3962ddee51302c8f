"""What journeys share: one Chromium for each file."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.journeys.chromium import CHROMIUM, PATIENCE

MISSING = f"The journeys need Chromium, and there is none at {CHROMIUM}: apt-get install chromium"


@pytest.fixture(scope="module")
def browser():
    """Chromium. Where there is none the journeys are skipped, unless JOURNEYS=required."""
    if not Path(CHROMIUM).exists():
        (pytest.fail if os.environ.get("JOURNEYS") == "required" else pytest.skip)(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            timeout=PATIENCE,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()

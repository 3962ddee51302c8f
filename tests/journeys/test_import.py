"""A person brings in a study's recorded answers in a real Chromium, and sees them on the map."""

from __future__ import annotations

import zipfile

from playwright.sync_api import expect

from tests.journeys.chromium import app, settled, tab
from tests.published import STUDY
from tests.survey_files import lines_of, study


def packed(folder, path):
    """A folder as a zip, the way one downloads it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*.json"):
            archive.write(file, file.relative_to(folder.parent))
    return path


def test_recorded_answers_are_uploaded_and_seen_on_the_map(tmp_path, browser):
    # The study's own data lie beside the repository, or not; a small study like it serves as well.
    folder = STUDY if STUDY.is_dir() else study(tmp_path / "study")
    archive = packed(folder, tmp_path / "study.zip")
    home = tmp_path / "home"
    home.mkdir()
    (home / "demo-made").write_text("")
    with app(home) as address, tab(browser) as page:
        page.goto(address)
        settled(page)
        page.get_by_role("link", name="Import").click()
        page.set_input_files("input[type=file]", archive)
        page.wait_for_selector(".st-key-import_do button:enabled")
        settled(page)
        expect(page.get_by_text("recorded run").first).to_be_visible()
        page.reload()  # what lies on the desk survives it
        page.wait_for_selector(".st-key-import_do button:enabled")
        page.locator(".st-key-import_do button").click()
        page.wait_for_selector(".st-key-import_to_map button")
        settled(page)
        assert not list((home / "uploads").rglob("*.zip"))
        page.locator(".st-key-import_to_map button").click()
        page.wait_for_selector(".st-key-map_figure .geo")
        settled(page)
        expect(page.get_by_text("Llama 3 8B Instruct").first).to_be_visible()
        expect(page.locator("h1")).to_contain_text("the model comes closest to people in")

        page.goto(f"{address}/run?survey=culturespa")  # and a model can be asked the same
        settled(page)
        expect(page.get_by_role("button", name="CultureSPA study").first).to_be_visible()


def test_a_table_with_a_mistake_is_imported_only_when_that_is_accepted(tmp_path, browser):
    path = lines_of(tmp_path / "mine.csv", lambda rows: rows[1].update(share="a lot"))
    home = tmp_path / "home"
    home.mkdir()
    (home / "demo-made").write_text("")
    with app(home) as address, tab(browser, viewport={"width": 400, "height": 900}) as page:
        page.goto(f"{address}/import")
        settled(page)
        page.locator(".st-key-import_typed input").fill(str(path))
        page.get_by_role("button", name="Check it").click()
        page.wait_for_selector(".st-key-import_good button")
        settled(page)
        assert page.locator(".st-key-import_do").count() == 0
        over = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert over <= 1
        page.locator(".st-key-import_good button").click()
        page.wait_for_selector(".st-key-import_to_run button")
        page.goto(f"{address}/items?run=people:mine&item=early")
        settled(page)
        expect(page.get_by_text("How important is it to you to get up early").first).to_be_visible()

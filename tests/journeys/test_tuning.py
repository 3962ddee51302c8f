"""A person tunes the built-in model in a real Chromium: start, leave, stop, resume, the map."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.journeys.chromium import PATIENCE, app, settled, tab


def test_a_tuning_is_started_left_stopped_resumed_and_moves_the_map(tmp_path, browser):
    (tmp_path / "demo-made").write_text("")
    with app(tmp_path) as address, tab(browser) as page, tab(browser) as second:
        page.goto(f"{address}/tune?tune_places=My+own+choice&tune_who=Kenya&tune_who=Germany")
        settled(page)
        page.get_by_role("button", name="Exactly how").click()
        count = page.get_by_label("Questions on each topic")
        count.fill("3")
        count.press("Enter")
        expect(page.get_by_text("39 questions to write").first).to_be_visible()
        page.keyboard.press("Escape")
        page.locator(".st-key-tune_start button").click()
        stop = page.get_by_role("button", name="Stop and keep")
        expect(stop).to_be_visible()
        page.wait_for_url("**/tune?*tuning=*")
        page.goto(f"{address}/items")  # leaving does not stop it
        settled(page)
        second.goto(f"{address}/tune")  # somebody else finds it under way
        expect(second.get_by_role("button", name="Stop and keep")).to_be_visible()
        # Once its first answers are there, it is stopped: what there is is kept.
        second.get_by_role("button", name="Stop and keep").click()
        resume = second.get_by_role("button", name="Resume")
        expect(resume).to_be_visible()
        resume.click()
        expect(resume).to_have_count(0)
        look = second.get_by_role("radiogroup", name="Look at")
        look.get_by_text("Before and after").click()
        second.wait_for_selector(".st-key-tune_after_map .geo", timeout=3 * PATIENCE)
        settled(second)
        expect(second.get_by_text("On average").first).to_be_visible()
        look.get_by_text("Answers and pairs").click()
        expect(second.get_by_text("differ from the plain answer").first).to_be_visible()
        settled(second)
        look.get_by_text("Training").click()
        expect(second.get_by_text("sha256").first).to_be_visible()

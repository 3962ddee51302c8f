"""A person tunes the built-in model in a real Chromium: start, watch, stop, resume, compare."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.test_journeys import LONG, app, browser, settled, tab

__all__ = ["browser"]


def test_a_model_is_tuned_stopped_resumed_and_its_map_moves(tmp_path, browser):
    (tmp_path / "demo-made").write_text("")
    with app(tmp_path) as address, tab(browser) as page:
        page.goto(f"{address}/tune?tune_places=My+own+choice&tune_who=Kenya&tune_who=Germany")
        settled(page)
        page.get_by_role("button", name="Exactly how").click()
        box = page.get_by_label("Questions on each topic")
        box.fill("3")
        box.press("Tab")
        expect(page.get_by_text(re.compile("39 questions to write"))).to_be_visible(timeout=LONG)
        page.keyboard.press("Escape")
        page.locator(".st-key-tune_start button").click()
        page.wait_for_selector(".st-key-tune_stop button")
        expect(page.get_by_text("Leaving this page does not stop the tuning.")).to_be_visible()
        assert "tuning=" in page.url
        link = page.url
        page.goto(f"{address}/items")  # leaving does not stop it
        settled(page)
        page.goto(link)
        page.wait_for_selector(".st-key-tune_stop button")
        page.get_by_role("button", name="Stop and keep").click()
        page.wait_for_selector(".st-key-tune_resume button", timeout=LONG)
        page.locator(".st-key-tune_resume button").click()
        page.wait_for_selector(".st-key-tune_after_map .geo", timeout=4 * LONG)
        settled(page)
        expect(page.get_by_text(re.compile("On average .* points")).first).to_be_visible()
        page.get_by_role("radiogroup", name="Look at").get_by_text("Questions").click()
        page.wait_for_selector(".st-key-tune_q_table")
        page.get_by_role("radiogroup", name="Look at").get_by_text("What it cost").click()
        expect(page.get_by_text("Base and tuned model get the same prompts").first).to_be_visible(
            timeout=LONG
        )
        assert any((tmp_path / "adapters").glob("*/adapter_model.safetensors"))

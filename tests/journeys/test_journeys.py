"""What a person does, in a real Chromium: the app, its worker and the built-in model for real.

Nothing leaves this machine: requests to anywhere else are refused, and counted as failures.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.chromium import DRAWN, app, settled, tab
from tests.waiting import until

ROW = 35  # px: the height of a row of a table
PAGES = ("ask", "run", "tune", "experiment", "map", "compare", "items", "import", "library",
         "country")  # fmt: skip


@pytest.fixture(scope="module")
def empty_home(tmp_path_factory) -> Path:
    """A home whose owner has deleted the ready-made run: there is nothing to see yet."""
    home = tmp_path_factory.mktemp("empty")
    (home / "demo-made").write_text("")
    return home


@pytest.fixture(scope="module")
def full(tmp_path_factory, browser) -> Iterator[str]:
    """The app at its very first start, once the built-in model has answered the core set."""
    with app(tmp_path_factory.mktemp("full")) as address:
        with tab(browser) as page:
            page.goto(address)
            page.wait_for_selector("h1")
            # The map comes by itself, without a click or a reload.
            page.wait_for_selector(".st-key-home_map .geo")
            settled(page)
            expect(page.get_by_text("teaching model").first).to_be_visible()
        yield address


@pytest.mark.parametrize("name", ["map", "country"])  # in the menu, and not in it
def test_the_first_request_of_all_may_be_a_deep_link(name, tmp_path, browser):
    (tmp_path / "demo-made").write_text("")
    with app(tmp_path) as address, tab(browser) as page:
        page.goto(f"{address}/{name}")
        settled(page)
        expect(page.get_by_role("link", name="Library")).to_be_visible()
        assert "Pluriscope" in page.title()
        assert page.url.split("?")[0].endswith(f"/{name}")


def test_every_page_of_an_empty_store_says_what_to_do(empty_home, browser):
    with app(empty_home) as address, tab(browser) as page:
        for name in ("", *PAGES):
            page.goto(f"{address}/{name}")
            settled(page)
            assert page.locator("h1").first.inner_text().strip()
            expect(page.locator("[data-testid=stMain] button").first).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1600, "light"), (1400, "dark"), (400, "dark")])
def test_every_page_of_a_full_store_fits_the_screen(full, browser, width, scheme):
    with tab(browser, viewport={"width": width, "height": 900}, color_scheme=scheme) as page:
        for name in ("", *PAGES):
            page.goto(f"{full}/{name}")
            settled(page)
            over = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert over <= 1, f"/{name} is {over}px too wide at {width}"


def test_one_question_side_by_side(full, browser):
    with tab(browser) as page:
        page.goto(f"{full}/ask?people=DEU,KEN&item=Q57")
        settled(page)
        page.locator(".st-key-ask_button button").first.click()
        page.wait_for_selector(".st-key-ask_again")
        settled(page)
        for side in ("Germany", "Kenya"):
            expect(page.get_by_role("heading", name=side)).to_be_visible()
        expect(page.locator(DRAWN)).to_have_count(3)  # plainly and two countries
        page.get_by_role("button", name="Exact prompt").first.click()
        expect(page.get_by_text("can you trust most people").last).to_be_visible()
        link = page.url
        assert "ask=" in link
        texts = page.locator("[data-testid=stMain]").inner_text()
    with tab(browser) as other:  # somebody else opens the link and sees the same
        other.goto(link)
        other.wait_for_selector(".st-key-ask_again")
        settled(other)
        expect(other.locator(DRAWN)).to_have_count(3)
        assert _verdicts(other.locator("[data-testid=stMain]").inner_text()) == _verdicts(texts)


def _verdicts(text: str) -> list[str]:
    return [line for line in text.split("\n") if "people in" in line.lower()]


def test_two_people_ask_at_once_and_each_gets_their_own_answer(full, browser):
    with tab(browser) as one, tab(browser) as other:
        asked = (
            (one, "people=DEU&item=Q46", "Germany", "how happy are you?"),
            (other, "people=KEN&item=Q1", "Kenya", "How important to you personally is family?"),
        )
        for page, wanted, *_ in asked:
            page.goto(f"{full}/ask?{wanted}")
            settled(page)
        for page, *_ in asked:
            page.locator(".st-key-ask_button button").first.click()
        for page, _, *headings in asked:
            page.wait_for_selector(".st-key-ask_again")
            settled(page)
            for heading in headings:
                expect(page.get_by_role("heading", name=heading)).to_be_visible()
        assert one.url != other.url


def test_a_run_is_started_watched_stopped_resumed_and_changes_the_map(full, browser):
    with tab(browser) as page, tab(browser) as second:
        # Written answers take minutes, so that the run is under way whenever it is looked at.
        page.goto(f"{full}/run?set=Every+question&places=Every+country&answers=Written+answers")
        settled(page)
        page.locator(".st-key-start button").first.dblclick()  # twice is once
        under_way(page, beyond="0")
        second.goto(f"{full}/run")  # another person sees the same run under way
        expect(second.get_by_role("button", name="Stop and keep")).to_be_visible()
        page.goto(f"{full}/items")  # leaving does not stop it
        settled(page)
        page.goto(f"{full}/run")
        under_way(page, beyond="0")
        resume = page.get_by_role("button", name="Resume")
        for _ in range(2):
            page.get_by_role("button", name="Stop and keep").click()
            expect(resume).to_be_visible()
            expect(page.locator(".st-key-stop")).to_have_count(0)
            assert resume.count() == 1
            kept = page.get_by_text("of 80,290 answers").inner_text()
            resume.click()
            under_way(page, beyond=re.search(r"([\d,]+) of", kept)[1])  # it goes on from there
        page.get_by_role("button", name="Stop and keep").click()
        expect(resume).to_be_visible()
        page.goto(f"{full}/map")  # half a run does not push the last whole one off the map
        page.wait_for_selector(".st-key-map_figure .geo")
        expect(page.get_by_text("52 questions").first).to_be_visible()
        page.goto(f"{full}/run?set=One+topic")
        settled(page)
        page.locator(".st-key-start button").first.click()
        expect(page.get_by_text(re.compile("^Built-in model: Social Values")).first).to_be_visible()

        def changed() -> int:
            page.goto(f"{full}/map")
            settled(page)
            return page.get_by_text("45 questions · run").count()

        until(changed, "the map did not change")


def test_a_run_whose_server_was_killed_goes_on_after_the_next_start(tmp_path, browser):
    (tmp_path / "demo-made").write_text("")
    held = re.compile(r"[1-9][\d,]* of 80,290 ·")
    with app(tmp_path) as address, tab(browser) as page:
        page.goto(f"{address}/run?set=Every+question&places=Every+country&answers=Written+answers")
        settled(page)
        page.locator(".st-key-start button").first.click()
        expect(page.get_by_text(held)).to_be_visible()
    # The end of app() is kill -9.
    with app(tmp_path) as address, tab(browser) as page:
        page.goto(f"{address}/run")
        resume = page.get_by_role("button", name="Resume")
        expect(resume).to_be_visible()
        kept = page.get_by_text("of 80,290 answers").inner_text()
        resume.click()
        under_way(page, beyond=re.search(r"([\d,]+) of", kept)[1])
        page.get_by_role("button", name="Stop and keep").click()
        expect(page.get_by_role("button", name="Resume")).to_be_visible()


def under_way(page: Page, beyond: str) -> None:
    """Wait until the run under way holds another number of answers than `beyond`."""
    held = re.compile(rf"(?<![\d,])(?!{beyond} )[\d,]+ of 80,290 ·")
    expect(page.get_by_text(held)).to_be_visible()


def click_row(page: Page, row: int) -> None:
    """Click on the first words of a row of the first table in sight. Rows are drawn on a canvas, so
    it goes by place."""
    table = page.locator("[data-testid=stDataFrame]:visible").first
    table.locator("canvas").first.wait_for()
    table.scroll_into_view_if_needed()
    table.click(position={"x": 50, "y": ROW * (row + 1) + ROW / 2})


def in_address(page: Page, name: str) -> str:
    return parse_qs(urlsplit(page.url).query)[name][0]


def test_from_the_front_page_to_one_answer_by_clicking(full, browser):
    with tab(browser) as page:
        page.goto(full)
        settled(page)
        page.locator(".st-key-home_to_map button").click()
        page.wait_for_selector(".st-key-map_figure .geo")
        settled(page)
        before = page.locator("h1").inner_text()
        page.get_by_text("Asked plainly", exact=True).click()
        expect(page.locator("h1")).not_to_have_text(before)
        page.get_by_role("radiogroup", name="Shown as").get_by_text("Table").click()
        page.wait_for_url("**/map?*face=table*")
        settled(page)
        click_row(page, 1)
        page.wait_for_url("**/country?*")
        settled(page)
        country = in_address(page, "country")
        click_row(page, 0)
        page.wait_for_url("**/items?*")
        settled(page)
        assert in_address(page, "country") == country
        first = in_address(page, "item")
        expect(page.get_by_text(re.compile(f"^{first} ·"))).to_be_visible()
        click_row(page, 3)
        page.wait_for_function("id => !location.search.includes(`item=${id}`)", arg=first)
        settled(page)
        other = re.compile(f"^{in_address(page, 'item')} ·")
        expect(page.get_by_text(other)).to_be_visible()


def test_dark_mode_is_dark(full, browser):
    with tab(browser, color_scheme="dark") as page:
        page.goto(full)
        settled(page)
        colour = page.evaluate(
            "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
        )
        assert colour == "rgb(20, 24, 29)"


def test_mangled_links_degrade(full, browser):
    with tab(browser) as page:
        for link in (
            "map?run=nonsense&measure=zzz&face=%00&about=%3Cscript%3E",
            "items?item=Q99999&run=%F0%9F%98%80",
            "country?country=XX&run=1",
            "ask?ask=gone&people=ZZZ&item=<b>",
        ):
            page.goto(f"{full}/{link}")
            settled(page)

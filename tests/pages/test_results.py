"""The pages that show results: Home, Map, Country, Items; and the tables they lay out."""

import numpy as np
import pytest

from core.analysis import scores
from core.asking.answers import Answer
from core.asking.questionnaire import Questionnaire
from core.jobs.askings import Asking
from core.metrics import metrics, references
from core.prompts.methods import METHODS
from core.store.store import Store
from core.views import export, runs, score_map
from core.views.country import neighbours, topic_table
from core.views.items import (
    answer_table,
    arranged,
    item_table,
    item_words,
    items_finding,
    prompt_of,
    raw_answers,
    scale_words,
)
from tests import filled
from tests.pages.driver import pages_on, said, spec

PAGES = ("home", "map", "country", "items")


def asking_of(store, run) -> Asking:
    return runs.find_asking(runs.askings(store), run.id)


# -- pages open ------------------------------------------------------------------------------------


def test_on_an_empty_store_each_page_says_what_is_missing_and_has_the_button_that_mends_it(app):
    for name in PAGES:
        at = app(name)
        assert not at.exception, name
        assert "asked yet" in said(at), name
        assert [b.label for b in at.button].count("Ask the built-in model") == 1, name


def test_the_button_starts_the_ready_made_run_once(app):
    at = app("map")
    at.button(key="map_first_run").click().run()
    assert not at.exception
    assert "The first answers" in said(at)


def test_on_a_filled_store_each_page_opens_with_a_finding(filled_pages):
    page, _ = filled_pages
    for name in PAGES:
        at = page(name)
        assert not at.exception, name
        assert len(at.title) == 1, name
        assert at.title[0].value.endswith(".") is False


def test_the_built_in_model_is_always_called_a_teaching_model(filled_pages):
    page, made = filled_pages
    for name in ("map", "country", "items"):
        assert "no evidence" in said(page(name, run=made.plain.id)), name
        other = said(page(name, run=made.other_plain.id))
        assert "no evidence" not in other, name


def test_home_leads_to_the_three_doors(filled_pages):
    page, _ = filled_pages
    doors = {b.key: b for b in page("home").button if (b.key or "").startswith("home_to_")}
    assert doors.keys() == {"home_to_ask", "home_to_map", "home_to_tune"}
    assert not any(door.disabled for door in doors.values())


def test_what_is_not_complete_says_how_far_it_is(filled_pages):
    page, made = filled_pages
    asking = asking_of(_store(), made.unfinished)
    words = said(page("map", run=made.unfinished.id))
    assert f"{asking.answered:,} of 1,976 answers" in words
    assert "so far is shown" in words


# -- the map ---------------------------------------------------------------------------------------


def test_the_three_faces_show_the_same_numbers(filled_pages):
    page, made = filled_pages
    from pages.widgets import session

    expected = scores.closeness(session.store(), made.country).set_index("name")["value"].round(1)
    table = page("map", run=made.country.id, face="table").dataframe[0].value
    shown = table.set_index("Country")["Score"]
    assert shown.dropna().to_dict() == expected.dropna().to_dict()
    ranked = spec(page("map", run=made.country.id, face="ranked"))
    dots = [x for trace in ranked["data"] if trace.get("mode") == "markers" for x in trace["x"]]
    assert sorted(np.round(dots, 1)) == sorted(expected.dropna())
    drawn = spec(page("map", run=made.country.id))
    places = [iso3 for trace in drawn["data"] for iso3 in trace.get("locations", ())]
    assert {"KEN", "USA", "IND"} <= set(places)


def test_a_link_opens_exactly_what_it_names(filled_pages):
    page, made = filled_pages
    at = page(
        "map", run=made.plain.id, show="change", measure="paper", about="Security", face="table"
    )
    assert not at.exception
    assert at.selectbox(key="map_measure").value == "paper"
    assert at.selectbox(key="map_about").value == "Security"
    assert "4 questions on Security" in said(at)
    assert "Change" in at.dataframe[0].value


def test_a_link_to_a_question_opens_a_run_that_asked_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PLURISCOPE_HOME", str(tmp_path))
    (tmp_path / "demo-made").write_text("", encoding="utf-8")
    store = Store(tmp_path)
    filled.fill(store)
    # The newest run is whole and large enough to open with, and has nothing on God in it.
    about = [item.id for item in store.survey().items if item.topic == "Security"]
    filled.asked(store, items=about)
    store.close()
    with pages_on(tmp_path) as page:
        assert f"Of {len(about)} questions" in said(page("items"))
        at = page("items", item="q164")
    assert not at.exception
    assert "How much does God matter in your life" in said(at)
    assert "not here" not in said(at)


def test_two_runs_are_compared_in_pairs(filled_pages, snapshot):
    page, made = filled_pages
    at = page("map", run=made.other_country.id, **{"with": made.country.id}, face="table")
    assert not at.exception
    assert at.title[0].value.replace("\\", "") == snapshot
    assert "On average" in said(at)


def test_mangled_links_degrade_and_say_so(filled_pages):
    page, _ = filled_pages
    for name in ("map", "country", "items"):
        at = page(name, run="gone", measure="x", show="y", face="z", country="XX", item="Q9999")
        assert not at.exception, name
        assert "run “gone”" in said(at), name


def test_a_run_against_itself_is_too_close_to_call(filled_runs, snapshot):
    store, made = filled_runs
    result = score_map.map_result(store, made.country, made.other_country)
    again = score_map.map_result(store, made.country, made.country)
    assert again.finding.headline.endswith("too close to call")
    assert "too small to call" in again.finding.paragraph
    assert result.finding.headline == snapshot


def test_a_download_names_its_run(filled_runs):
    store, made = filled_runs
    result = score_map.map_result(store, made.country, metric="tv")
    rows = export.download_table(store, result.table, made.country, metric="tv")
    assert set(rows["run"]) == {made.country.id}
    assert set(rows["metric"]) == {"tv"}
    header = export.csv_bytes(rows).decode().splitlines()[0].split(",")
    assert {"iso3", "value", "low", "high", "run", "prompt_sha256", "code_version"} <= set(header)


# -- one country -----------------------------------------------------------------------------------


def test_a_country_page_walks_through_the_countries_by_name(filled_pages):
    page, made = filled_pages
    at = page("country", run=made.country.id, country="KEN")
    assert "Kenya" in at.title[0].value
    at.button(key="country_on").click().run()
    assert at.selectbox(key="country_country").value == "KGZ"  # Kyrgyzstan follows Kenya
    at.button(key="country_back").click().run()
    assert at.selectbox(key="country_country").value == "KEN"


def test_a_country_that_was_surveyed_but_not_asked_says_so(filled_pages):
    page, made = filled_pages
    at = page("country", run=made.written.id, country="DEU")
    assert not at.exception
    assert "did not ask about them" in at.title[0].value


def test_a_country_is_nearest_to_itself_in_peoples_own_answers(filled_runs):
    store, made = filled_runs
    settings = made.country.settings
    survey = store.survey()
    run = store.add_run(settings, planned=1, name="People themselves", state="done")
    store.add_answers(
        run.no,
        [
            Answer("KEN", i, 0, tuple(survey.shares["KEN", i].values), 1.0, None, "answered", "",
                   None, None)
            for i in settings.items
            if ("KEN", i) in survey.shares
        ],
    )  # fmt: skip
    near = neighbours(store, store.run(run.id), "KEN")
    assert near.rank == 1
    assert near.table["model_iso3"].iloc[0] == "KEN"
    assert near.table["model_closeness"].iloc[0] == pytest.approx(100, abs=1e-4)
    # Whose people are nearest does not depend on the model, and leaves the country itself out.
    assert "KEN" not in set(near.table["people_iso3"])
    other = neighbours(store, made.plain, "KEN")
    assert list(other.table["people_iso3"]) == list(near.table["people_iso3"])
    store.delete_runs([run.id])


def test_topics_of_a_country_carry_the_plain_score_beside(filled_runs):
    store, made = filled_runs
    table, main, before = topic_table(store, asking_of(store, made.country), "KEN")
    assert (main, before) == ("country", "plain")
    assert len(table) == 13
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
    plain, _, none = topic_table(store, asking_of(store, made.written), "KEN")
    assert none == "" and "before" not in plain


def test_every_figure_of_a_country_has_its_table(filled_pages):
    page, made = filled_pages
    at = page("country", run=made.country.id, country="KEN")
    questions = sum("label" in frame.value for frame in at.dataframe)
    assert questions == 2 and len(at.dataframe) - questions == len(at.get("plotly_chart")) == 4


def test_the_map_on_the_first_page_has_its_table(filled_pages):
    page, _ = filled_pages
    at = page("home")
    (table,) = at.dataframe
    assert table.value["Score"].notna().sum() == 18
    assert "As a table" in [one.label for one in at.expander]


def test_the_first_run_under_way_is_a_map_and_a_table(home, app):
    store = Store(home)
    filled.begun(store)
    store.close()
    at = app("home")
    assert not at.exception
    (table,) = at.dataframe
    assert "So far" in said(at) and table.value["Score"].notna().any()


# -- the questions ---------------------------------------------------------------------------------


def test_the_scores_of_the_questions_average_to_the_countrys(filled_runs):
    store, made = filled_runs
    items = item_table(store, made.country, made.plain, iso3="KEN")
    rows = scores.table(store, made.country).set_index("iso3")
    assert items["value"].mean() == pytest.approx(rows.loc["KEN", "value"])
    assert np.allclose(items["change"], items["value"] - items["before"])


def test_a_change_is_on_the_countries_both_have(filled_runs):
    """Plain is compared with all 61 countries, the persona with 18: only these 18 count."""
    store, made = filled_runs
    items = item_table(store, made.country, made.plain).set_index("item")
    both = scores.panel(
        store, made.plain, countries=scores.countries_of(made.country, store.survey())
    )
    mean = np.nanmean(metrics.by_item(both), axis=0)
    before = {item.id: x for item, x in zip(both.items, mean, strict=True)}
    assert items.loc["Q57", "before"] == pytest.approx(before["Q57"])


def test_questions_are_searched_filtered_and_sorted(filled_runs):
    store, made = filled_runs
    table = item_table(store, made.country, made.plain, iso3="KEN")
    assert arranged(table)["value"].is_monotonic_increasing
    assert arranged(table, sort="best")["value"].is_monotonic_decreasing
    assert arranged(table, sort="change")["change"].abs().is_monotonic_decreasing
    assert arranged(table, sort="order")["position"].is_monotonic_increasing
    assert set(arranged(table, "importance god")["item"]) == {"Q164"}
    assert set(arranged(table, topics=["Security"])["topic"]) == {"Security"}
    assert (arranged(table, only=["Moved away"])["change"] < 0).all()
    assert arranged(table, "no such words").empty
    written = item_table(store, made.written, iso3="KEN")
    # Each question has one refusal and one text that cannot be read among four.
    assert set(arranged(written, only=["Refused or unreadable"])["item"]) == {
        "Q1", "Q57", "Q164",
    }  # fmt: skip
    assert written["refused"].tolist() == [0.25, 0.25, 0.25]


def test_a_change_of_less_than_a_point_is_not_called_one(filled_runs):
    store, made = filled_runs
    table = item_table(store, made.country, made.plain)
    table["clear"] = True
    table["change"] = np.linspace(-0.4, 2.6, len(table))
    said = items_finding(table).paragraph
    assert "3 points closer" in said and "further away" not in said
    table["change"] = np.linspace(-2.6, 0.4, len(table))
    said = items_finding(table).paragraph
    assert "3 points further away" in said and "closer" not in said
    table["change"] = 0.2
    assert "Naming a country" not in items_finding(table).paragraph
    table["change"], table["clear"] = 9.0, False
    said = items_finding(table).paragraph
    assert "Naming a country" not in said and "every single" in said


def test_only_a_change_that_is_clear_is_listed_as_one(filled_runs):
    store, made = filled_runs
    table = item_table(store, made.other_plain, made.plain)  # they differ by noise alone
    assert 0 < table["clear"].sum() < len(table)
    assert (table["low"] <= table["change"]).all() and (table["change"] <= table["high"]).all()
    outside = (table["low"] > 0) | (table["high"] < 0)
    assert (outside | ~table["clear"]).all()  # clear is never inside the interval
    for name, sign in (("Came closer", 1), ("Moved away", -1)):
        listed = arranged(table, only=[name])
        assert set(listed["item"]) == set(table[table["clear"] & (sign * table["change"] > 0)].item)
    same = item_table(store, made.plain, made.plain)
    assert (same["change"] == 0).all() and not same["clear"].any()


def test_a_question_s_score_stands_between_its_lines(filled_runs):
    store, made = filled_runs
    table = item_table(store, made.country, made.plain, iso3="KEN").set_index("item")
    sides = scores.panel(store, made.country, countries=["KEN"]).only(["Q57"])
    floor, ceiling = (
        references.reference_values(sides, "emd", kind)[0] for kind in ("uniform", "ceiling")
    )
    row = table.loc["Q57"]
    assert row["floor"] == pytest.approx(floor)
    assert row["ceiling"] == pytest.approx(ceiling, abs=1)  # another draw of samples
    said = item_words(row)
    assert said.startswith(f"Score {row['value']:.0f} of 100")
    assert f"would score {row['floor']:.0f}" in said
    assert f"same people {row['ceiling']:.0f}." in said
    assert f"{row['change']:.1f} points closer" in said
    every = item_table(store, made.country, made.plain).set_index("item").loc["Q57"]
    assert "points closer (between " in item_words(every)
    other = every.copy()
    other[["change", "low", "high"]] *= -1
    assert "takes it" in item_words(other) and "further away" in item_words(other)
    assert "too small to call" in item_words(row.copy().where(row.index != "clear", False))


def test_an_answer_table_averages_orders_and_keeps_people_as_they_are(filled_runs):
    store, made = filled_runs
    item = store.survey().item("Q164")
    table = answer_table(store, asking_of(store, made.country), item, "KEN")
    assert np.allclose(table["people"], store.survey().shares["KEN", "Q164"].values)
    answers = store.answers(made.country.no, item="Q164", iso3="KEN")
    assert np.allclose(table["country"], np.mean(list(answers["probs"]), axis=0), atol=1e-6)
    plain = store.answers(made.plain.no, item="Q164", iso3="")
    assert np.allclose(table["plain"], np.mean(list(plain["probs"]), axis=0), atol=1e-6)


def test_written_answers_become_the_share_of_those_that_could_be_read(filled_runs):
    """Two of four answers say 2; the refusal and the unreadable one do not count."""
    store, made = filled_runs
    item = store.survey().item("Q1")
    table = answer_table(store, asking_of(store, made.written), item, "KEN")
    assert table["country"].tolist() == [0, 1, 0, 0]


def test_raw_answers_say_how_each_was_shown_and_read(filled_runs):
    store, made = filled_runs
    item = store.survey().item("Q57")
    rows = raw_answers(store, made.country, item, "KEN")
    assert rows["shown"].tolist() == ["options as given", "options reversed"]
    assert rows["mass"].tolist() == pytest.approx([0.997, 0.997])
    assert rows["rule"].tolist() == ["label and end of turn"] * 2
    written = raw_answers(store, made.written, item, "KEN")
    assert written["answer"].tolist()[2:] == ["refused", "cannot be read"]
    assert filled.UNTRUSTED in written["text"].tolist()


def test_the_prompt_shown_is_the_one_that_was_sent(filled_runs):
    store, made = filled_runs
    survey = store.survey()
    settings = made.country.settings
    from core.prompts.prompt_sets import load_prompt_set

    sent = Questionnaire(settings, survey, load_prompt_set()).prompt(survey.item("Q57"), "KEN", 1)
    assert prompt_of(store, made.country, survey.item("Q57"), "KEN", 1) == sent
    assert "Kenya" in sent.messages[0]["content"]


def test_the_way_a_scale_runs_is_said_in_words(filled_runs, snapshot):
    survey = filled_runs[0].survey()
    assert scale_words(survey.item("Q1")) == snapshot
    assert scale_words(survey.item("Q56")) == snapshot
    assert scale_words(survey.item("Q254")).startswith("1 = ")
    assert "5 =" not in scale_words(survey.item("Q254"))  # off the scale


@pytest.mark.parametrize("detail", ["answers", "countries", "raw", "prompt"])
def test_each_view_of_a_question_opens(filled_pages, detail):
    page, made = filled_pages
    for country in ("", "KEN"):
        query = {"run": made.country.id, "item": "Q164", "detail": detail}
        at = page("items", **query, **({"country": country} if country else {}))
        assert not at.exception
        assert "How much does God matter in your life" in said(at)
    if detail == "prompt":
        assert any(
            "You grew up and live in the following country: Kenya" in c.value for c in at.code
        )


def test_what_a_model_wrote_is_shown_and_never_obeyed(filled_pages):
    page, made = filled_pages
    at = page("items", run=made.written.id, item="Q57", country="KEN", detail="raw")
    assert not at.exception
    tables = [frame.value for frame in at.dataframe]
    assert any(filled.UNTRUSTED in frame.to_numpy().ravel().tolist() for frame in tables)
    assert all("<script>" not in str(part.value) for part in at.markdown)


def test_previous_and_next_follow_the_list(filled_pages):
    page, made = filled_pages
    at = page("items", run=made.country.id, country="KEN", sort="order", item="q1")
    first = at.selectbox(key="items_item").value
    assert first != "Q9999"
    order = arranged(item_table(_store(), made.country, made.plain, iso3="KEN"), sort="order")[
        "item"
    ].tolist()
    at.button(key="items_on").click().run()
    assert at.selectbox(key="items_item").value == order[(order.index(first) + 1) % len(order)]
    at.button(key="items_back").click().run()
    assert at.selectbox(key="items_item").value == first


def _store() -> Store:
    from pages.widgets import session

    return session.store()


def test_the_next_page_keeps_run_and_country(filled_pages):
    page, made = filled_pages
    at = page("country", run=made.other_country.id, country="KEN")
    at.query_params.clear()
    at.switch_page("pages/items.py").run()
    assert at.selectbox(key="items_run").value == made.other_country.group
    assert at.selectbox(key="items_country").value == "KEN"


def test_every_method_has_words_for_a_sentence():
    assert all(how.asked for how in METHODS.values())


def test_every_measure_is_a_metric():
    assert set(metrics.offered()) <= set(metrics.METRICS)
    assert metrics.offered()[0] == metrics.HEADLINE

"""Every way of asking on the pages: chosen, asked of a tiny real model, and labelled."""

from urllib.parse import parse_qs

import pytest

from core.analysis import derived_runs
from core.asking.settings import AskSettings
from core.figures import base
from core.jobs.askings import askings
from core.models.spec import ModelSpec
from core.views import export, provenance, runs, score_map, score_records, side_by_side
from pages.widgets import session
from tests import formats
from tests.pages.driver import button, choose, said, wait

# -- examples --------------------------------------------------------------------------------------


def test_a_run_with_examples_is_asked_as_chosen_and_labelled_everywhere(working, tiny_model):
    at = working("run", places="My own choice", who="Kenya")
    choose(at, tiny_model)
    at.radio(key="set").set_value("One topic").run()
    at.selectbox(key="set_topic").set_value("Economic Values").run()
    assert not any(one.key == "run_examples" for one in at.slider)  # nothing to choose yet
    at.pills(key="ways").set_value(["Plainly", "As a person, with examples"]).run()
    at.slider(key="run_examples").set_value(3)
    at.selectbox(key="run_example_choice").set_value("topic")
    at.segmented_control(key="run_example_evidence").set_value("shares")
    at.toggle(key="run_other_batteries").set_value(True).run()
    button(at, "Start").click().run()
    at = wait(at)
    assert not at.exception

    asking = askings(session.store())[0]
    plain, shown = asking.runs
    settings = shown.settings
    assert settings.method == "country_examples"
    assert (settings.examples, settings.example_choice) == (3, "topic")
    assert (settings.example_evidence, settings.other_batteries) == ("shares", True)

    uses = (
        "the shares of the country’s answers to up to 3 other questions, none of the same battery"
    )
    assert settings.human_answers == uses and plain.settings.human_answers == ""
    label = f"“As a person from …, with examples” uses people’s answers: {uses}."
    for page in ("map", "items", "country", "home"):
        at = working(page, **({} if page == "home" else {"run": asking.group}))
        assert not at.exception
        assert uses in said(at), page
    assert label in said(working("items", run=asking.group))
    store = session.store()
    assert score_records.basic_record(store, shown.id)["uses_human_answers"] == uses
    assert score_records.basic_record(store, plain.id)["uses_human_answers"] == ""
    assert set(export.run_table(store, shown.id)["uses_human_answers"]) == {uses}
    assert f"People’s answers used: {uses}" in provenance.provenance_text(store, shown)
    assert "People’s answers used: none" in provenance.provenance_text(store, plain)
    assert provenance.card(store, plain)["examples"] is None
    assert provenance.card(store, shown)["examples"] == {
        "number": 3, "choice": "topic", "evidence": "shares", "other_batteries": True,
        "embedder": None, "embedder_revision": None,
    }  # fmt: skip
    table = score_map.map_result(store, shown).table
    assert set(export.download_table(store, table, shown)["uses_human_answers"]) == {uses}


def test_a_question_with_examples_shows_them_also_for_the_written_answer(working, tiny_model):
    at = working("ask", item="Q106", people="KEN")
    choose(at, tiny_model)
    at.radio(key="ask_as").set_value("As a person from …, with examples").run()
    at.slider(key="ask_examples").set_value(2).run()
    button(at, "Ask").click().run()
    group = at.query_params["ask"]
    at = wait(at)
    assert not at.exception
    asked = side_by_side.load(session.store(), group[0] if isinstance(group, list) else group)
    kenya = asked.sides[1]
    assert kenya.method == "country_examples" and kenya.shares.sum() == pytest.approx(1, abs=1e-5)
    for prompt in side_by_side.prompts(session.store(), asked.item, kenya).values():
        assert prompt.exact and prompt.text.count("Answer: ") == 2
    written = side_by_side.prompts(session.store(), asked.item, kenya)["For the written answer"]
    assert "explain in one or two sentences" in written.text
    assert "country’s commonest answers to up to 2 other questions" in said(at)

    at = working("ask", ask=asked.group)
    assert at.slider(key="ask_examples").value == 2
    assert at.radio(key="ask_as").value == "As a person from …, with examples"


def test_no_examples_are_no_use_of_answers(snapshot):
    settings = {"model": ModelSpec("builtin"), "method": "examples", "cultures": ("KEN",)}
    rest = {"items": ("Q1",), "item_set": "", "survey": "wvs7", "survey_version": "x"}
    wording = {"prompt_set": "pluriscope", "prompt_sha256": ""}
    none = AskSettings(**settings, **rest, **wording, examples=0)
    one = AskSettings(**settings, **rest, **wording, examples=1, example_evidence="opposite")
    assert none.human_answers == ""
    assert one.human_answers == snapshot


# -- made without asking ---------------------------------------------------------------------------


def test_a_finished_run_offers_to_be_amplified_and_shows_it_beside_its_sources(filled_home, app):
    at = app("library")
    asking = runs.headline_asking(runs.askings(session.store()))
    at.get_by_key(f"menu_{asking.group}").click("Amplify or calibrate").run()
    assert not at.exception
    assert at.button(key="derive").label == "Make it"
    country = runs.by_method(asking)["country"]
    made = derived_runs.amplify(session.store(), country, alpha=1.0)

    at = app("map", run=made.id, show="amplified")
    assert not at.exception
    assert "As a person from …, amplified" in at.segmented_control(key="map_show").options
    assert "as a person from …, amplified" in said(at)
    assert "uses people’s answers" not in said(at)  # the strength was set by hand


def test_amplified_and_calibrated_are_planned_with_what_they_need(filled_home, app):
    at = app("run")
    at.pills(key="ways").set_value(["Amplified"]).run()
    at.toggle(key="calibrated").set_value(True).run()
    assert not at.exception
    # Plainly and as people of 18 countries; the rest is made.
    assert "1,976 prompts" in said(at)
    assert "amplified and the answers as people are calibrated without asking again" in said(at)
    at.segmented_control(key="answers").set_value("Written answers").run()
    assert "need probabilities" in said(at)


# -- languages -------------------------------------------------------------------------------------


def test_run_says_what_asking_in_each_countrys_language_leaves_out(filled_home, app):
    at = app("run", language="own", places="Every country")
    assert not at.exception
    assert "no translation into a language of 19 countries, which are left out" in said(at)
    assert "taught English only" in said(at)
    assert "4,472 prompts" in said(at)  # 52 plainly and 42 x 52 as people, in both orders
    at.segmented_control(key="run_missing").set_value(True).run()
    assert "which are asked in English" in said(at)
    assert "Hindi (draft)" in at.selectbox(key="run_language").options


def test_a_question_is_asked_in_english_and_in_the_countrys_own_language(working, tiny_model):
    at = working("ask", item="Q57", people="DEU,JPN,KEN")
    choose(at, tiny_model)
    at.toggle(key="ask_own_language").set_value(True).run()
    assert "Germany, in German" in said(at)
    assert "Kenya is asked in English already" in said(at)
    assert "not translated into a language of Japan" in said(at)
    button(at, "Ask").click().run()
    group = at.query_params["ask"]
    at = wait(at)
    assert not at.exception
    asked = side_by_side.load(session.store(), group[0] if isinstance(group, list) else group)
    assert [side.title for side in asked.sides] == [
        "Asked plainly", "Germany", "Germany, in German", "Japan", "Kenya"
    ]  # fmt: skip
    english, german = asked.sides[1:3]
    assert german.written is not None and german.shares.sum() == pytest.approx(1, abs=1e-5)
    assert german.question.startswith("Kann man in der Regel")
    for name, words in (("Frage:", german), ("Question:", english)):
        for prompt in side_by_side.prompts(session.store(), asked.item, words).values():
            assert f">{name}" in prompt.text or f"\n{name}" in prompt.text
    assert german.shares.tolist() != english.shares.tolist()
    assert working("ask", ask=asked.group).toggle(key="ask_own_language").value


# -- wordings --------------------------------------------------------------------------------------


def test_several_wordings_are_planned_looked_at_one_by_one_and_their_spread_is_said(home, app):
    at = app("run")
    made = formats.fill(session.store())
    at.button(key="run_three").click().run()
    assert "3 wordings: 5,928 prompts" in said(at)  # three times 1,976

    at = app("map", run=made[0].group, wording="pluriscope-b", face="ranked")
    assert not at.exception
    assert made[3].id in said(at)  # as people of countries, in the second wording
    assert "Asked in 3 wordings, each with 2 orders of the options" in said(at)
    at = app("items", run=made[0].group, country="KEN", item="Q164")
    assert not at.exception
    assert "The likeliest answer held in 3 of 6 formats" in said(at)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("map", {"show": "plain", "measure": "tv", "about": "Religious Values", "face": "ranked",
                 "by": "zone"}),
        ("country", {"country": "KEN", "measure": "tv"}),
        ("items", {"country": "KEN", "item": "Q164", "measure": "tv", "sort": "best",
                   "detail": "raw", "q": "god", "topics": "Religious Values",
                   "only": ["Came closer", "Moved away"]}),
        ("compare", {"show": "country", "measure": "tv", "face": "topics", "order": "zone"}),
    ],
)  # fmt: skip
def test_the_link_to_what_is_shown_holds_all_of_it(app, name, query):
    app("home")
    made = formats.fill(session.store())
    query = {"run": made[0].group, "wording": "pluriscope-b", **query}
    at = app(name, **query)
    assert not at.exception
    (link,) = (one.value for one in at.code if "?run=" in one.value)
    told = parse_qs(link.split("?", 1)[1])
    assert told == {key: [one] if isinstance(one, str) else one for key, one in query.items()}


def test_a_ranking_that_rests_on_the_order_of_the_options_is_grey_on_the_page(app):
    made = formats.by_place(session.store())
    at = app("map", run=made[0].group, face="ranked")
    assert not at.exception
    assert "Asked with 2 orders of the options" in said(at)
    assert "so it is drawn in grey" in said(at)
    drawn = at.get("plotly_chart")[0].proto.spec
    assert "too unsteady to rank" in drawn
    assert base.palette(False).too_small in drawn
    assert base.series("country").colour not in drawn


def test_choosing_by_meaning_asks_for_a_model_and_says_how_to_get_one(home, app):
    at = app("run")
    at.pills(key="ways").set_value(["With examples"]).run()
    at.selectbox(key="run_example_choice").set_value("meaning").run()
    assert not at.exception
    assert "takes an embedding model" in said(at)
    assert button(at, "Start").disabled
    assert at.selectbox(key="run_embedder").label == "Embedding model"

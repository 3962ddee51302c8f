"""Every page works with every survey in the store, not only with the one that comes along."""

import pytest

from core.importers import import_into, table
from core.jobs.choices import AskChoices
from core.jobs.plan import plan_question, plan_survey
from core.models.spec import ModelSpec
from core.store.store import Store
from pages.widgets import session
from pages.widgets import text as widgets_text
from tests.filled import answered
from tests.pages.driver import said

OWN = "survey"  # what the template's survey is called after its file


def own_survey(store: Store):
    """The template of a table of one's own, imported: two questions, Kenya and Brazil."""
    import_into(store, table.read(table.TEMPLATE), "survey.csv")
    return store.survey(OWN)


@pytest.fixture
def two_surveys(home):
    store = Store(home)
    survey = own_survey(store)
    store.close()
    return survey


def labels(at) -> list[str]:
    return [box.label for box in at.selectbox]


def test_there_is_no_choice_of_surveys_while_there_is_one(app):
    for name in ("run", "ask"):
        assert "Survey" not in labels(app(name))


def test_run_asks_the_survey_that_is_chosen(two_surveys, app, monkeypatch):
    at = app("run")
    assert at.selectbox(key="run_survey").value == "wvs7"
    assert at.radio(key="places").value == "The 18 of the CultureSPA study"
    key = f"{OWN}@{two_surveys.version}"
    at.selectbox(key="run_survey").set_value(key).run()
    # Two questions on one topic, both in its core set; nobody of the 18 but its own countries.
    assert at.radio(key="set").options == ["Every question", "My own choice"]
    assert at.radio(key="places").options == ["Every country", "My own choice"]
    at.radio(key="set").set_value("Every question").run()
    assert not at.exception
    assert "2 questions, 2 countries" in said(at)
    queue = session.jobs()
    monkeypatch.setattr(type(queue), "_next", lambda self: None)  # nothing begins
    at.button(key="start").click().run()
    (plain, country) = reversed(queue.store.runs())
    for run in (plain, country):
        assert run.settings.survey == OWN
        assert run.settings.survey_version == two_surveys.version
        assert run.settings.cultures == ("BRA", "KEN")
    assert country.planned == 2 * 2 * 2


def test_a_link_names_a_survey_by_its_id_or_with_its_version(two_surveys, app):
    for key in (OWN, f"{OWN}@{two_surveys.version}"):
        at = app("run", survey=key, set="Every question")
        assert at.selectbox(key="run_survey").value == f"{OWN}@{two_surveys.version}"
    at = app("ask", survey="gone-123")
    assert not at.exception
    assert "survey “gone-123”" in said(at)
    assert at.selectbox(key="ask_survey").value == "wvs7"


def test_ask_asks_the_survey_that_is_chosen_and_opens_the_answer_again(two_surveys, app):
    at = app("ask")
    assert at.multiselect(key="ask_people").value == ["DEU", "JPN", "KEN"]
    at.selectbox(key="ask_survey").set_value(f"{OWN}@{two_surveys.version}").run()
    assert not at.exception
    assert at.multiselect(key="ask_people").value == ["KEN"]
    assert at.selectbox(key="ask_item").options == [
        f"{item.label} ({item.id})" for item in two_surveys.items
    ]
    store = session.store()
    plan = plan_question(
        store, AskChoices(ModelSpec("builtin"), cultures=["BRA"], survey=OWN), "tea"
    )
    group = answered(store, plan, two_surveys).group
    store.delete_survey(OWN, two_surveys.version)  # off the shelf, but the answer still opens
    at = app("ask", ask=group)
    assert not at.exception
    assert at.header[0].value == widgets_text.plain(two_surveys.item("tea").question)
    assert at.multiselect(key="ask_people").value == ["BRA"]
    assert any(button.key == "ask_again" for button in at.button)


def test_a_survey_of_few_countries_is_not_asked_across_cultures(two_surveys, app):
    at = app("run", survey=OWN)
    at.pills(key="ways").set_value(["Cross-culture"]).run()
    assert not at.exception
    assert "6 other countries" in said(at) and "2 in all" in said(at)
    assert at.button(key="start").disabled
    at = app("ask", survey=OWN, ask_as="Cross-culture thinking")
    at.button(key="ask_button").click().run()
    assert not at.exception
    assert "names 6 other countries" in at.error[0].value.replace("\\", "")


# -- the shelf -------------------------------------------------------------------------------------


def test_a_deleted_survey_is_off_every_list_and_can_be_brought_back(two_surveys, app):
    at = app("library", shelf="Surveys")
    mine = f"{OWN}_{two_surveys.version}"
    at.button(key=f"delete_{mine}").click().run()
    assert at.button(key="confirm_yes").label == "Delete"
    session.store().delete_survey(OWN, two_surveys.version)
    assert "Survey" not in labels(app("run"))
    at = app("library", shelf="Surveys")
    assert "In the bin" in said(at)
    at.button(key=f"back_{mine}").click().run()
    assert at.button(key=f"delete_{mine}")
    assert "Survey" in labels(app("run"))


def test_an_emptied_bin_forgets_surveys_but_not_those_of_runs(two_surveys, app):
    app("library")
    store = session.store()
    plan = plan_survey(store, AskChoices(ModelSpec("builtin"), survey=OWN, items="all"))
    run = answered(store, plan, two_surveys)
    store.delete_survey(OWN, two_surveys.version)
    assert store.forget_surveys() == 0
    store.delete_runs([one.id for one in store.runs()])
    assert store.forget_surveys() == 0  # they can still be taken back
    at = app("library", shelf="Storage")
    assert "2 runs with" in said(at) and "12 answers and 1 survey" in said(at)
    assert at.button(key="empty_bin")
    assert (store.empty_bin(), store.forget_surveys()) == (2, 1)
    assert store.surveys(deleted=True).empty
    assert store.rows("select count(*) from shares where survey = ?", [OWN]) == [(0,)]
    assert store.rows("select count(*) from runs where id = ?", [run.id]) == [(0,)]


def test_two_versions_of_a_survey_stand_side_by_side(two_surveys, app):
    app("library")
    store = session.store()
    text = (
        table.TEMPLATE.read_text(encoding="utf-8").replace("0.71", "0.70").replace("0.21", "0.22")
    )
    path = store.home / "survey.csv"
    path.write_text(text)
    newer = import_into(store, table.read(path), "survey.csv")["version"]
    at = app("run")
    first, second, third = at.selectbox(key="run_survey").options
    assert first == store.survey().name
    assert second.endswith(f"version {newer[:6]}")
    assert third.endswith(f"version {two_surveys.version[:6]}")
    assert store.survey(OWN).version == newer
    old = store.survey(f"{OWN}@{two_surveys.version}")
    assert old.shares["KEN", "tea"].values == pytest.approx([0.71, 0.21, 0.08])
    plan = plan_survey(store, AskChoices(ModelSpec("builtin"), survey=f"{OWN}@{old.version}"))
    assert {one.survey_version for one in plan.settings} == {old.version}

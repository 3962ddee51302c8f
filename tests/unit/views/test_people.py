"""What people answer, without a model: tables with hand-computed values, and the page of items."""

import csv
import re

import pytest

from core import wording
from core.analysis import scores
from core.figures import maps
from core.importers import culturespa, globalopinionqa, import_into, places, table, wvs
from core.jobs.choices import AskChoices
from core.jobs.plan import plan_survey
from core.metrics.panel import CLUSTERING
from core.models.spec import ModelSpec
from core.store.store import Store
from core.survey.survey import load_bundled
from core.views import people
from pages.widgets import text
from tests.filled import answered
from tests.pages.driver import pages_on, said
from tests.survey_files import KENYA, goqa, lines_of, person, sheet, study

BUNDLED = load_bundled()
FACES = ("like", "apart", "values", "topics", "ladder", "rates")  # of Compare


def imported(store, rows, tmp_path, **options):
    result = import_into(store, wvs.read(sheet(tmp_path / "w.csv", rows), wvs.Options(**options)))
    return store.survey(result["survey"], result["version"])


def test_how_far_apart_people_are_is_a_distance_along_the_scale():
    survey = table.read(table.TEMPLATE).survey
    found = people.item_table(survey).set_index("item")["apart"]
    # Tea has no order: half of |.71-.12| + |.21-.82| + |.08-.06|. Both countries the same.
    assert found["tea"] == pytest.approx(100 * (0.59 + 0.61 + 0.02) / 2)
    # Early: on the scale .97 and .96, cumulated .44/.97, .75/.97 against .27/.96, .63/.96; the
    # rest lies off it.
    along = 0.96 * (abs(0.44 / 0.97 - 0.27 / 0.96) + abs(0.75 / 0.97 - 0.63 / 0.96)) / 2
    assert found["early"] == pytest.approx(100 * (along + 0.5 * (0.01 + 0.01)))
    kenya = people.item_table(survey, "KEN").set_index("item")["apart"]
    assert kenya.to_dict() == pytest.approx(found.to_dict())


def test_of_the_bundled_survey_the_question_that_parts_countries_most_comes_first():
    found = people.arranged(people.item_table(BUNDLED))
    assert len(found) == 259
    assert found["apart"].is_monotonic_decreasing
    said_ = people.finding(found)
    assert found["label"].iloc[0] in said_.headline
    kenya = people.item_table(BUNDLED, "KEN")
    asked = {item for iso3, item in BUNDLED.shares if iso3 == "KEN"}
    assert set(kenya["item"]) == asked
    assert "People in Kenya" in people.finding(kenya, "Kenya").headline


def test_a_survey_of_one_country_compares_nothing(tmp_path, store):
    survey = imported(store, KENYA, tmp_path)
    found = people.item_table(survey)
    assert found["apart"].isna().all()
    assert people.finding(found).headline == "What people answer"


GROUPED = [
    *(person(weight=0.5, Q1=1, Q260=2, Q262=25, Q275R=1) for _ in range(30)),
    *(person(weight=1.5, Q1=2, Q260=2, Q262=25, Q275R=1) for _ in range(30)),
    *(person(weight=1.0, Q1=4, Q260=1, Q262=70, Q275R=3) for _ in range(49)),
]


def test_groups_stand_beside_everybody_and_small_ones_are_left_out(tmp_path, store):
    survey = imported(store, GROUPED, tmp_path)
    rows = people.groups(store, survey, survey.item("Q1"), "KEN").set_index("name")
    # Weights: 15, 45 and 49 of 109; of the women 15 and 45 of 60.
    assert rows.loc["Everybody", "shares"] == pytest.approx([15 / 109, 45 / 109, 0, 49 / 109])
    plain = rows.loc["Everybody, unweighted", "shares"]
    assert plain == pytest.approx([30 / 109, 30 / 109, 0, 49 / 109])
    assert rows.loc["Women", "shares"] == pytest.approx([0.25, 0.75, 0, 0])
    assert rows.loc["Women", "n"] == 60
    assert list(rows.index) == [
        "Everybody", "Everybody, unweighted", "Women", "16–29", "Lower education",
    ]  # fmt: skip
    assert people.groups(store, BUNDLED, BUNDLED.item("Q1"), "KEN").empty


def test_weights_make_a_sample_worth_fewer_people(tmp_path, store):
    survey = imported(store, KENYA, tmp_path)
    # Of all 13: n_eff = 441 / 97.5 (test_importers), so the weights' effect is 13 x 97.5 / 441.
    expected = CLUSTERING * 13 * 97.5 / 441
    assert scores.design_effects(store, survey) == pytest.approx([expected])
    assert scores.design_effects(store, BUNDLED) is None
    plan = plan_survey(store, AskChoices(ModelSpec("builtin"), survey=survey.id, methods=["plain"]))
    run = answered(store, plan, survey)
    asked = scores.panel(store, run)
    assert asked.n_eff == pytest.approx(asked.n_valid / expected)
    equal = imported(store, KENYA, tmp_path, weighted=False)
    assert scores.design_effects(store, equal) == pytest.approx([CLUSTERING])


# -- the page --------------------------------------------------------------------------------------


def test_items_show_people_alone_where_nothing_was_asked(home, app, tmp_path):
    store = Store(home)
    survey = imported(store, GROUPED, tmp_path)
    store.close()
    key = f"people:{survey.id}@{survey.version}"
    at = app("items", run=f"people:{survey.id}", country="KEN", item="q1")
    assert not at.exception
    assert at.selectbox(key="items_run").value == key
    assert at.selectbox(key="items_item").value == "Q1"
    assert "no model" in said(at)
    assert "fewer than 50" in said(at)
    groups = next(frame.value for frame in at.dataframe if "Group" in frame.value)
    assert groups.set_index("Group")["People"]["Women"] == 60
    at = app("items", run=f"people:{survey.id}", see="answers")
    assert not at.exception
    at = app("items", run="people:wvs7", item="Q164")
    assert not at.exception
    assert text.plain(BUNDLED.item("Q164").question) in [part.value for part in at.subheader]
    assert "Groups of people" not in [part.label for part in at.expander]


def test_items_of_a_run_show_the_groups_of_its_survey(home, app, tmp_path):
    store = Store(home)
    survey = imported(store, GROUPED, tmp_path)
    run = answered(
        store, plan_survey(store, AskChoices(ModelSpec("builtin"), survey=survey.id)), survey
    )
    store.close()
    at = app("items", run=run.id, country="KEN", item="Q1")
    assert not at.exception
    assert any("Group" in frame.value for frame in at.dataframe)


def test_a_survey_without_numbers_of_people_works_on_every_page(home, app, tmp_path):
    store = Store(home)
    import_into(store, globalopinionqa.read(goqa(tmp_path / "g.csv")))
    survey = store.survey("globalopinionqa")
    run = answered(
        store, plan_survey(store, AskChoices(ModelSpec("builtin"), survey=survey.id)), survey
    )
    store.close()
    for name in ("map", "items", "country", "compare", "library", "home"):
        at = app(name, run=run.id)
        assert not at.exception, name
        assert "nan" not in said(at).casefold().replace("finance", ""), name
    at = app("ask", survey=survey.id, people="IND", item="G0001")
    assert not at.exception
    assert "answered is not known" in said(at)


ONE_COUNTRY = [{**row, "Q122": 1 + k % 2} for k, row in enumerate(KENYA)]


@pytest.fixture(scope="module", params=["one country", "two countries", "no scale", "a study"])
def odd(request, tmp_path_factory):
    """Pages on a store with a run over a survey that is unlike the bundled one."""
    tmp = tmp_path_factory.mktemp("odd")
    home = tmp / "home"
    home.mkdir()
    (home / "demo-made").write_text("", encoding="utf-8")
    store = Store(home)
    if request.param == "a study":
        import_into(store, culturespa.read(study(tmp / "study")))
        run = store.runs()[0]
    else:
        made = {
            "one country": lambda: wvs.read(sheet(tmp / "w.csv", ONE_COUNTRY)),
            "two countries": lambda: table.read(table.TEMPLATE),
            "no scale": lambda: table.read(
                lines_of(tmp / "n.csv", lambda rows: [r.update(scale="nominal") for r in rows])
            ),
        }[request.param]()
        found = import_into(store, made)
        survey = store.survey(found["survey"])
        plan = plan_survey(store, AskChoices(ModelSpec("builtin"), survey=survey.id, items="all"))
        run = answered(store, plan, survey)
    store.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLURISCOPE_HOME", str(home))
        with pages_on(home) as page:
            yield page, run


def test_every_page_works_with_a_run_over_any_survey(odd):
    page, run = odd
    country = run.settings.cultures[0]
    for name, query in (
        ("home", {}),
        ("map", {}), ("map", {"face": "ranked"}), ("map", {"face": "table"}),
        *(("map", {"measure": measure}) for measure in ("paper", "skill", "hard")),
        ("country", {"country": country}),
        ("items", {}), ("items", {"country": country, "detail": "raw"}),
        ("items", {"detail": "countries"}), ("items", {"detail": "prompt", "country": country}),
        *(("compare", {"face": face}) for face in FACES),
        ("library", {"shelf": "Surveys"}),
        ("ask", {"survey": run.settings.survey}), ("run", {"survey": run.settings.survey}),
    ):  # fmt: skip
        at = page(name, run=run.id, **query)
        assert not at.exception, (name, query, at.exception[0].message)
        assert not re.search(r"\bnan\b|NaN|None\b", said(at)), (name, query, said(at))


def test_every_country_that_can_be_imported_can_be_drawn_and_has_its_names():
    drawn = {*maps.borders(), *maps.small_places()}
    with open(places.COUNTRIES, encoding="utf-8", newline="") as file:
        codes = [row["iso3"] for row in csv.DictReader(file)]
    assert len(codes) > 190
    for iso3 in codes:
        assert iso3 in drawn
        culture = places.culture(iso3)
        assert culture.name and culture.demonym and culture.region in wording._ZONES

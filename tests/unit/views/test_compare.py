"""The page Compare: what it computes, draws and says; and that page, command and export agree."""

import io
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest

from core import __main__ as command
from core.analysis import derived_runs, scores
from core.asking.answers import Answer
from core.errors import PluriscopeError
from core.figures import compare as figures_compare
from core.figures import value_map as figures_value_map
from core.figures.base import CLOSENESS, DARK, LIGHT
from core.figures.matrices import (
    MOST_CLICKED,
    _diverging,
    distance_matrix,
    fit_matrix,
    picked,
    readable,
    shade,
    topic_grid,
)
from core.importers import globalopinionqa, import_into
from core.jobs.choices import AskChoices
from core.jobs.plan import plan_survey
from core.metrics import distances, inglehart_welzel, metrics
from core.metrics.metrics import METRICS
from core.metrics.references import REFERENCES
from core.models.spec import ModelSpec
from core.store.store import Store
from core.tuning import lineage
from core.tuning.settings import ARMS, TuneSettings
from core.views import compare, export, provenance, runs, score_map, score_records, tables
from core.views import ladder as views_ladder
from core.views import value_map as views_value_map
from core.views.ladder import LADDER_WORDS, ladder_finding
from core.views.value_map import map_finding, map_notes, value_map
from tests import filled
from tests.colours import contrast
from tests.filled import answered
from tests.pages.driver import pages_on, said, spec
from tests.survey_files import goqa

FACES = ("like", "apart", "values", "topics", "ladder", "rates")


@pytest.fixture(scope="module")
def kept(filled_runs):
    """A filled store and its runs, and one more whose personas answer as people themselves do."""
    store, made = filled_runs
    return store, made, people_themselves(store, made.country)


def people_themselves(store: Store, like):
    """A run as people of the same countries, asked the same, that answers exactly as they do."""
    settings = like.settings
    survey = store.survey()
    run = store.add_run(settings, planned=1, name="People themselves", state="done")
    store.add_answers(
        run.no,
        [
            Answer(
                c, i, 0, tuple(survey.shares[c, i].values), 1.0, None, "answered", "", None, None
            )
            for c in settings.cultures
            for i in settings.items
            if (c, i) in survey.shares
        ],
    )
    return store.run(run.id)


# -- who is like whom ------------------------------------------------------------------------------


def test_people_themselves_are_most_like_themselves(kept, snapshot):
    store, _, people = kept
    found = compare.fits(store, people)
    assert (found.personas["rank"] == 1).all() and (found.personas["centred_rank"] == 1).all()
    assert found.personas["own"].to_numpy() == pytest.approx(100, abs=1e-3)
    assert list(found.personas["best"]) == list(found.personas["iso3"])
    assert compare.fits_finding(found).headline == snapshot


@pytest.mark.parametrize("metric", METRICS)
def test_a_persona_s_fit_with_its_own_people_is_the_run_s_score_there(kept, metric):
    store, made, _ = kept
    found = compare.fits(store, made.country, metric)
    own = found.cells[found.cells["persona"] == found.cells["country"]].set_index("persona")
    table = scores.table(store, made.country, metric).set_index("iso3")
    # A score counts what its own people were asked; so does the diagonal.
    assert own["value"].to_dict() == pytest.approx(table["value"].drop("").to_dict())


def test_centred_fits_sum_to_nothing_along_rows_and_columns(kept):
    store, made, _ = kept
    square = compare.fits(store, made.country).cells.pivot(
        index="persona", columns="country", values="centred"
    )
    assert square.mean(axis=0).to_numpy() == pytest.approx(0, abs=1e-9)
    assert square.mean(axis=1).to_numpy() == pytest.approx(0, abs=1e-9)


def test_zones_stay_together_and_nobody_is_lost(kept):
    store, made, _ = kept
    alike = compare.alike(store, made.country)
    zone_of = {c.iso3: c.region for c in store.survey().cultures}
    ordered = compare.by_zone(alike, zone_of)
    assert sorted(ordered) == sorted(alike) == sorted(made.country.settings.cultures)
    zones = [zone_of[iso3] for iso3 in ordered]
    assert sum(a != b for a, b in pairwise(zones)) == len(set(zones)) - 1
    assert abs(alike.index("USA") - alike.index("CAN")) <= 4  # people who answer alike


def test_the_questions_that_separate_two_countries(kept):
    store, made, people = kept
    table = compare.separating(store, made.country, "KEN", "NLD")
    assert table["apart"].is_monotonic_decreasing and len(table) == 10
    survey = store.survey()
    top = survey.item(table["item"].iloc[0])
    ours, theirs = (survey.shares[c, top.id].values for c in ("KEN", "NLD"))
    assert table["apart"].iloc[0] == pytest.approx(distances.item_distance(top, ours, theirs))
    answers = np.mean(
        list(store.answers(made.country.no, item=top.id, iso3="KEN")["probs"]), axis=0
    )
    lean = distances.item_distance(top, answers, theirs) - distances.item_distance(
        top, answers, ours
    )
    assert table["lean"].iloc[0] == pytest.approx(100 * lean, abs=1e-3)
    same = compare.separating(store, people, "KEN", "NLD", most=60)
    assert same["own"].to_numpy() == pytest.approx(same["model"].to_numpy(), abs=1e-6)
    # Without an order, the axis is the share of the answer on which the two differ most.
    row = same.set_index("item").loc["Q154"]
    kenya, dutch = (survey.shares[c, "Q154"].values for c in ("KEN", "NLD"))
    at = int(np.abs(kenya - dutch).argmax())
    assert (row["own"], row["other"]) == (pytest.approx(kenya[at]), pytest.approx(dutch[at]))
    assert survey.item("Q154").options[at].label in row["high"]


def test_too_few_personas_are_said_to_be_too_few(kept):
    store, made, _ = kept
    with pytest.raises(PluriscopeError, match="three countries"):
        compare.fits(store, made.written)
    with pytest.raises(PluriscopeError, match="same for every"):
        compare.spread(store, made.plain)


# -- how different ---------------------------------------------------------------------------------


def test_people_themselves_differ_as_much_as_people(kept, snapshot):
    store, _, people = kept
    found = compare.spread(store, people)
    assert found.diversity.ratio == pytest.approx(1, abs=1e-4)
    assert found.mantel.r == pytest.approx(1, abs=1e-4)
    assert not found.single
    assert np.allclose(found.model, found.people, atol=1e-3)
    assert list(found.model) == list(found.people) == list(found.model.index)
    assert compare.spread_finding(found).headline == snapshot


def test_a_flat_run_is_warned_of_and_the_fuller_one_is_clearly_fuller(kept, snapshot):
    store, made, people = kept
    flat = compare.spread(store, made.country)
    assert flat.diversity.high < compare.FLAT
    told = compare.spread_finding(flat)
    assert told.headline == snapshot
    assert "stereotype" in told.paragraph
    change = compare.spread_change(store, made.country, made.other_country)
    assert change.value == pytest.approx(
        compare.spread(store, made.other_country).diversity.ratio - flat.diversity.ratio
    )
    assert change.clear and change.value > 0
    fuller = compare.spread_finding(compare.spread(store, made.other_country), change)
    assert "points more" in fuller.paragraph
    assert compare.spread_change(store, made.plain, made.country) is None
    same = compare.spread_change(store, people, people)
    assert "too small to call" in compare.spread_finding(flat, same).paragraph


def test_runs_on_one_plot_were_asked_the_same_of_the_same(kept):
    store, made, people = kept
    found = {run.id for run in compare.comparable(store, made.country)}
    assert found == {made.country.id, made.other_country.id, people.id}
    at = compare.standing(store, people)
    assert (at.value, at.ratio) == (pytest.approx(100, abs=1e-3), pytest.approx(1, abs=1e-4))


def test_a_run_of_a_tuned_model_has_a_look_of_its_own(kept, snapshot):
    store, made, _ = kept
    assert compare.look(made.country) == "country"
    settings = made.country.settings
    settings = replace(settings, model=replace(settings.model, adapter="/adapters/close"))
    run = store.add_run(settings, planned=1, name="Tuned", state="done")
    assert compare.look(run) == "tuned"
    assert runs.model_and_way(run) == snapshot
    store.delete_runs([run.id])


# -- the map of values -----------------------------------------------------------------------------


def test_people_themselves_stand_where_people_stand(kept):
    store, _, people = kept
    found = value_map(store, people)
    table = found.model.set_index("iso3")
    # Two autonomy questions are not in the core set; they move nobody by more than 0.05.
    assert found.assumed == ("Children: independence", "Children: determination")
    away = np.hypot(table["x"] - table["people_x"], table["y"] - table["people_y"])
    assert away.max() < 0.07
    assert "self-expression" not in map_finding(found).headline
    assert len(found.people) == 58  # of 61; three were not asked all ten


def test_arrows_begin_where_the_other_run_stands(kept):
    store, made, _ = kept
    found = value_map(store, made.country, made.plain)
    plain = value_map(store, made.plain).model
    assert plain["iso3"].tolist() == [""]
    assert found.model["from_x"].to_numpy() == pytest.approx(plain["x"].iloc[0])
    between = value_map(store, made.other_country, made.country).model
    assert between["from_x"].tolist() == pytest.approx(found.model["x"].tolist())
    assert "given plainly" in map_finding(found, made.plain).paragraph


def test_the_map_of_values_names_what_a_run_did_not_ask(kept):
    store, made, _ = kept
    with pytest.raises(PluriscopeError, match=r"Q184.*core set"):
        value_map(store, made.written)
    notes = map_notes(value_map(store, made.country))
    assert "73%" in notes[0]
    assert any("“Children: independence”" in note for note in notes)


# -- topics, the ladder, rates ---------------------------------------------------------------------


def test_changes_by_topic_are_the_differences_of_the_topics_scores(kept):
    store, made, _ = kept
    change = compare.topics(store, made.country, made.plain).set_index(["topic", "iso3"])
    after = compare.topics(store, made.country).set_index(["topic", "iso3"])
    before = compare.topics(store, made.plain).set_index(["topic", "iso3"])
    assert change["value"].to_dict() == pytest.approx(
        (after["value"] - before["value"].reindex(after.index)).to_dict()
    )
    assert (change["q"] >= change["p"]).all()
    assert (change["clear"] == (change["q"] < 0.05)).all()
    assert 0 < change["clear"].sum() < len(change)


def test_the_ladder_holds_every_reference_and_the_runs_among_them(kept, snapshot):
    store, made, people = kept
    table = views_ladder.ladder(store, made.country, made.plain).set_index("key")
    assert set(REFERENCES) <= set(table.index)
    assert set(LADDER_WORDS) == set(REFERENCES)
    assert table["value"].is_monotonic_increasing
    mean = scores.table(store, made.country).iloc[0]
    row = table.loc[made.country.id]
    assert (row["value"], row["low"]) == (mean["value"], mean["low"])
    # The plain run is compared with all countries elsewhere, here with those of the persona run.
    pair = scores.both(store, made.plain, made.country)[0]
    assert table.loc[made.plain.id, "value"] == pytest.approx(metrics.values(pair).mean())
    # The lines are those of the score's own columns.
    for key, column in (("uniform", "floor"), ("ceiling", "ceiling"), ("mean_others", "others")):
        assert table.loc[key, "value"] == pytest.approx(mean[column], abs=0.02)
    top = ladder_finding(views_ladder.ladder(store, people), people)
    assert top.headline == snapshot
    assert "five most alike" in top.paragraph


def test_rates_are_counted_by_country(kept, snapshot):
    store, made, _ = kept
    table = compare.rates(store, made.written).set_index("iso3")
    assert table["refused"].to_dict() == {"KEN": 0.25, "USA": 0.25}
    assert table["unparsed"].to_dict() == {"KEN": 0.25, "USA": 0.25}
    half = compare.rates_finding(table.reset_index()).headline
    assert half.startswith("50%") and half == snapshot
    exact = compare.rates(store, made.country)
    assert exact["outside"].to_numpy() == pytest.approx(0.003, abs=1e-6)
    assert compare.rates_finding(exact).headline == snapshot
    plain = compare.rates(store, made.plain)
    assert (plain["iso3"].tolist(), plain["name"].tolist()) == ([""], ["all countries"])
    # What lies off the scale, by hand for one country.
    survey = store.survey()
    off = [
        survey.shares["KEN", item.id].values[item.codes.index(code)]
        for item in survey.select("core")
        for code in item.off_scale
        if (("KEN", item.id) in survey.shares)
    ]
    kenya = exact.set_index("iso3").loc["KEN"]
    assert kenya["people_off_scale"] == pytest.approx(np.mean(off))


def test_zones_score_as_the_plain_mean_of_their_countries(kept):
    store, made, _ = kept
    zones = scores.zones(store, made.country).set_index("zone")
    closeness = scores.closeness(store, made.country).dropna(subset="value")
    means = closeness.groupby("region")["value"].mean()
    assert zones["value"].to_dict() == pytest.approx(means.to_dict())
    assert (zones["low"] < zones["value"]).all() and (zones["value"] < zones["high"]).all()
    assert zones["countries"].sum() == 18


# -- figures ---------------------------------------------------------------------------------------


def cells(drawn, name: str):
    return next(trace for trace in drawn.figure.data if trace.name == name)


def test_the_matrix_writes_its_numbers_up_to_20_by_20_and_gives_back_what_is_clicked(kept):
    store, made, _ = kept
    found = compare.fits(store, made.country)
    drawn = fit_matrix(found.cells, found.personas, found.alike)
    bars = cells(drawn, "fits")
    assert len(bars.x) == 18 * 18
    at = [data[0] for data in bars.customdata].index("KEN\nUSA")
    value = found.cells.set_index(["persona", "country"]).loc[("KEN", "USA"), "value"]
    assert bars.text[at] == f"{value:.0f}"
    event = {"selection": {"points": [{"customdata": ["KEN\nUSA"]}]}}
    assert picked(event) == ("KEN", "USA")
    assert picked({}) == picked(None) == ()
    assert "4 of 18" in drawn.alt or "of 18" in drawn.alt
    assert len(drawn.table) == 18
    narrow = fit_matrix(found.cells, found.personas, found.alike, narrow=True)
    assert cells(narrow, "fits").text is None
    many = pd.DataFrame(
        {"persona": np.repeat(range(21), 21), "country": np.tile(range(21), 21)}
    ).astype(str).assign(value=70.0, centred=0.0)  # fmt: skip
    who = pd.DataFrame({"iso3": [str(k) for k in range(21)]}).assign(
        name="Somewhere", zone="", own=70.0, rank=1, centred_rank=1, best="0",
        best_name="Somewhere", best_value=70.0,
    )  # fmt: skip
    large = fit_matrix(many, who, list(who["iso3"]))
    assert cells(large, "fits").text is None


def test_a_matrix_of_many_countries_is_one_picture_with_the_same_numbers():
    n = MOST_CLICKED + 1
    codes = [f"C{k}" for k in range(n)]
    cells_of = pd.DataFrame(
        {"persona": np.repeat(codes, n), "country": np.tile(codes, n)}
    ).assign(value=np.arange(n * n, dtype=float) / n, centred=0.0)  # fmt: skip
    cells_of.loc[5, "value"] = np.nan  # people there were not asked
    who = pd.DataFrame({"iso3": codes}).assign(
        name=[f"Land {k}" for k in range(n)], zone="", own=70.0, rank=1, centred_rank=1, best="C0",
        best_name="Land 0", best_value=70.0,
    )  # fmt: skip
    drawn = fit_matrix(cells_of, who, codes)
    heat = cells(drawn, "fits")
    z = np.array(heat.z, dtype=float)
    assert z.shape == (n, n) and np.isnan(z[0, 5]) and z[2, 3] == pytest.approx((2 * n + 3) / n)
    assert list(heat.customdata[2][3][:3]) == ["C2\nC3", "Land 2", "Land 3"]


def test_letters_can_be_read_on_every_cell():
    diverging = _diverging(LIGHT), _diverging(DARK)
    for stops in (CLOSENESS, *diverging):
        for k in range(21):
            colour = shade(stops, k / 20)
            assert contrast(colour, readable(colour)) > 3.8, colour


def test_a_change_that_is_not_clear_is_pale_and_wordless(kept):
    store, made, _ = kept
    table = compare.topics(store, made.country, made.plain)
    drawn = topic_grid(table, compare.alike(store, made.country))
    bars = cells(drawn, "topics")
    page = LIGHT.panel

    def strength(colour: str) -> float:
        return sum(abs(int(colour[k : k + 2], 16) - int(page[k : k + 2], 16)) for k in (1, 3, 5))

    words_of = dict(zip([c[0] for c in bars.customdata], bars.text, strict=True))
    colour_of = dict(zip([c[0] for c in bars.customdata], bars.marker.color, strict=True))
    faint = [colour_of[f"{r.topic}\n{r.iso3}"] for r in table.itertuples() if not r.clear]
    assert all(words_of[f"{r.topic}\n{r.iso3}"] == "" for r in table.itertuples() if not r.clear)
    assert all(words_of[f"{r.topic}\n{r.iso3}"] for r in table.itertuples() if r.clear)
    strong = [
        colour_of[f"{r.topic}\n{r.iso3}"] for r in table.itertuples() if r.clear and r.value > 8
    ]
    assert max(map(strength, faint)) < min(map(strength, strong))
    assert (drawn.table["Remark"] == "too small to call").sum() == len(faint)


def test_who_lies_off_the_map_stands_hollow_at_its_edge(kept):
    store, made, _ = kept
    found = value_map(store, made.country)
    model = found.model.copy()
    model.loc[0, ["x", "y"]] = 9.0, 9.0
    drawn = figures_value_map.value_map(found.people, model)
    ends = inglehart_welzel.limits(found.people)
    assert drawn.figure.layout.xaxis.range == pytest.approx(ends[:2])  # people alone
    dots = cells(drawn, "as a person from …")
    assert (dots.x[0], dots.y[0]) == (pytest.approx(ends[1]), pytest.approx(ends[3]))
    assert dots.marker.color[0] == LIGHT.page != dots.marker.color[1]
    notes = map_notes(found._replace(model=model))
    assert any("1 persona" in note and "edge" in note for note in notes)


def test_names_on_the_map_cover_neither_dots_nor_names():
    names = [
        figures_value_map._Name(f"Country {k}", k % 3 / 10, k / 40, "#000000") for k in range(30)
    ]
    dots = [(100 * n.x - 4, 100 * n.x + 4, 400 * n.y - 4, 400 * n.y + 4) for n in names]
    taken = list(dots)
    placed = figures_value_map._apart(names, taken, (100, 400), (-200, 300))
    boxes = taken[len(dots) :]
    assert len(placed) == len(boxes) > 5
    for k, one in enumerate(boxes):
        for other in [*dots, *boxes[:k]]:
            apart = (
                one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]
            )
            assert apart


def test_every_figure_has_a_sentence_and_the_same_numbers_as_a_table(kept):
    store, made, _ = kept
    run = made.country
    found, apart = compare.fits(store, run), compare.spread(store, run)
    names = {c.iso3: c.name for c in store.survey().cultures}
    standings = compare.standing_table([compare.standing(store, run)])
    values = value_map(store, run, made.plain)
    rows = compare.separating(store, run, "KEN", "USA")
    ladder = views_ladder.ladder(store, run, made.plain)
    rates = compare.rates(store, run)
    for dark in (False, True):
        for narrow in (False, True):
            look = {"dark": dark, "narrow": narrow}
            for drawn in (
                fit_matrix(found.cells, found.personas, found.alike, **look),
                figures_compare.separating_rows(rows, persona="Kenya", country="United States"),
                distance_matrix(apart.people, names, title="People", top=40, **look),
                figures_compare.closeness_diversity(standings, mine=run.id, **look),
                figures_value_map.value_map(
                    values.people, values.model, before_kind="plain", **look
                ),
                topic_grid(compare.topics(store, run), found.alike, **look),
                figures_compare.ladder(ladder, **look),
                figures_compare.rate_rows(rates, **look),
            ):
                assert drawn.alt.endswith(".") and len(drawn.table)
                json.loads(drawn.figure.to_json())
    drawn = figures_compare.ladder(ladder)
    assert sorted(drawn.table["Score"]) == sorted(ladder["value"].round(1))
    drawn = figures_compare.closeness_diversity(standings, mine=run.id)
    assert cells(drawn, "people").x[0] == 1
    assert cells(drawn, "people").y[0] == pytest.approx(standings["ceiling"].iloc[0])


# -- the page --------------------------------------------------------------------------------------


def test_on_an_empty_store_compare_has_the_button_that_mends_it(app):
    at = app("compare")
    assert not at.exception
    assert "asked yet" in said(at)
    assert [b.label for b in at.button].count("Ask the built-in model") == 1


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("show", ["country", "plain"])
def test_each_face_opens_with_a_sentence_of_its_own(filled_pages, face, show):
    page, made = filled_pages
    at = page("compare", run=made.country.id, face=face, show=show)
    assert not at.exception
    assert len(at.title) == 1
    if face == "apart" and show == "plain":
        assert "same for every" in said(at)
    else:
        assert len(at.get("plotly_chart")) >= 1
        assert "National averages hide" in said(at)
        assert "Built-in model" in said(at)


def test_one_face_is_computed_and_no_other(filled_pages, monkeypatch):
    page, made = filled_pages
    asked = []
    of_compare = [(compare, name) for name in ("fits", "spread", "topics", "rates")]
    others = [(views_value_map, "value_map"), (views_ladder, "ladder")]
    for module, name in (*of_compare, *others):
        make = getattr(module, name)
        monkeypatch.setattr(
            module,
            name,
            lambda *a, _make=make, _name=name: (asked.append(_name), _make(*a))[1],
        )
    page("compare", run=made.other_country.id, face="rates", measure="tv")
    assert set(asked) <= {"rates"}


def test_a_link_to_compare_opens_exactly_what_it_names(filled_pages):
    page, made = filled_pages
    query = {"run": made.country.id, "with": made.other_country.id, "measure": "tv", "face": "like",
             "order": "zone", "cells": "centred", "persona": "KEN", "against": "CHN"}  # fmt: skip
    at = page("compare", **query)
    assert not at.exception
    assert at.selectbox(key="compare_persona").value == "KEN"
    assert at.selectbox(key="compare_against").value == "CHN"
    assert at.selectbox(key="compare_with").value == made.other_country.id
    marked = [s for s in spec(at)["layout"]["shapes"] if s["line"]["width"] == 3]
    assert len(marked) == 1
    at = page("compare", run=made.country.id, face="topics", grid="score")
    assert "of 100" in json.dumps(spec(at)["data"])


def test_mangled_links_to_compare_degrade(filled_pages):
    page, _ = filled_pages
    at = page("compare", run="gone", show="x", measure="y", face="z", order="?", cells="?",
              persona="XXX", against="<b>", country="1", grid="no", **{"with": "gone"})  # fmt: skip
    assert not at.exception
    assert "run “gone”" in said(at)


def test_the_numbers_of_compare_can_be_taken_away(filled_pages):
    from pages.widgets import session

    page, made = filled_pages
    for name, query in (("compare", {"face": "rates"}), ("map", {"with": made.plain.id})):
        at = page(name, run=made.country.id, **query)
        labels = [b.label for b in at.get("download_button")]
        assert labels == ["Download as CSV", "Download as Parquet"], name
    card = provenance.card_json(session.store(), made.country, made.plain)
    table = score_map.map_result(session.store(), made.country, made.plain).table
    inside = parquet.read_schema(io.BytesIO(export.parquet_bytes(table, card))).metadata
    told = json.loads(inside[b"pluriscope"])
    assert told["run"] == made.country.id and told["compared_with"]["run"] == made.plain.id


def test_the_ranked_map_goes_by_parts_of_the_world_with_their_means(filled_pages):
    from pages.widgets import session

    page, made = filled_pages
    zones = scores.zones(session.store(), made.country).set_index("zone")
    means = zones["value"]
    at = page("map", run=made.country.id, face="ranked", by="zone")
    notes = " ".join(note["text"] for note in spec(at)["layout"]["annotations"])
    assert f"Latin America  {means['Latin America']:.1f}" in notes
    low, high = zones.loc["Latin America", ["low", "high"]]
    once = f"Latin America {means['Latin America']:.0f} ({low:.0f} to {high:.0f})"
    assert once not in said(at)  # the list says it already
    assert once in said(page("map", run=made.country.id))
    at = page("country", run=made.country.id, country="KEN")
    low, high = zones.loc["African-Islamic", ["low", "high"]]
    around = f"as a person from … {means['African-Islamic']:.1f} ({low:.1f} to {high:.1f})"
    assert around in said(at)


# -- the same everywhere ---------------------------------------------------------------------------


def run_command(capsys, *arguments: str) -> dict | list:
    capsys.readouterr()
    assert command.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1], parse_constant=not_json)


def not_json(name: str):
    raise AssertionError(f"{name} is not JSON")


def test_what_is_not_known_is_null_in_every_record_and_a_dash_in_words(home, tmp_path, capsys):
    """People of unknown number have no ceiling, and one question has no interval."""
    store = Store(home)
    import_into(store, globalopinionqa.read(goqa(tmp_path / "g.csv")))
    survey = store.survey("globalopinionqa")
    plan = plan_survey(
        store, AskChoices(ModelSpec("builtin"), survey=survey.id, items=[survey.items[0].id])
    )
    run = answered(store, plan, survey)
    store.close()
    record = run_command(capsys, "score", "--run", run.id)
    assert record["ceiling"] is None and record["mean"]["low"] is None
    assert record["mean"]["value"] is not None
    assert command.main(["score", "--run", run.id]) == 0
    said = capsys.readouterr().out
    assert "(– to –)" in said and "ceiling –" in said and "1 country" in said
    assert record in run_command(capsys, "score", "--run", "all")
    for by in score_records.BY:
        run_command(capsys, "score", "--run", run.id, "--by", by)
    for metric in ("emd", "skill", "paper"):
        lines = run_command(capsys, "references", "--survey", survey.id, "--metric", metric)
        assert lines["ceiling"] is None and lines["uniform"] is not None
    assert command.main(["references", "--survey", survey.id]) == 0
    assert "nan" not in capsys.readouterr().out
    run_command(capsys, "signal", "--run", "all")
    run_command(capsys, "robustness", "--run", run.id)
    run_command(capsys, "runs")


def test_runs_that_asked_nothing_on_a_topic_are_left_out_and_named(home, capsys):
    store = Store(home)
    filled.asked(store, "Security")
    store.close()
    capsys.readouterr()
    assert command.main(["score", "--run", "all", "--topic", "Security", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert command.main(["score", "--run", "all", "--topic", "Corruption", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == []
    left_out = [line for line in told.err.splitlines() if "left out" in line]
    assert len(left_out) == 2 and all("'Corruption'" in line for line in left_out)


@pytest.mark.parametrize("name", ["run.csv", "run.json", "run.parquet"])
def test_an_export_that_cannot_be_written_is_a_sentence(filled_home, tmp_path, capsys, name):
    store = Store(filled_home)
    run = store.runs()[0].id
    store.close()
    for to in (tmp_path / "nowhere" / name, tmp_path / name):
        (tmp_path / name).mkdir(exist_ok=True)  # a folder where the file should be
        assert command.main(["export", "--run", run, "--to", str(to)]) == 2
        said = capsys.readouterr().err
        assert ("There is no folder" in said) != ("cannot be written" in said)
        assert "Traceback" not in said


SAME = [  # how it was asked, measure, topic
    *(("country", measure, "") for measure in metrics.offered()),
    *(("country", measure, "Security") for measure in ("emd", "paper")),
    ("plain", "emd", ""), ("plain", "skill", "Religious Values"),
    ("calibrated", "emd", ""), ("calibrated", "paper", ""),
]  # fmt: skip
COLUMNS = {
    "value": "Score", "low": "Low", "high": "High", "floor": "Even odds on every answer",
    "others": "A guess without a country", "ceiling": "Another sample of the same people",
    "items": "Questions",
}  # fmt: skip


def test_page_command_and_export_give_the_same_numbers(filled_home, tmp_path, capsys):
    """Score, interval, floor, others and ceiling: asked plainly, as people, and calibrated."""
    from pages.widgets import session

    shown = {}
    with pages_on(filled_home) as page:
        store = session.store()
        asked = next(a for a in runs.askings(store) if a.runs[0].model == "builtin"
                     and len(a.runs) == 2)  # fmt: skip
        made = runs.by_method(asked)
        made["calibrated"] = derived_runs.calibrate(store, made["country"])
        names = scores.names(scores.survey_of(store, asked.runs[0])).set_index("name")["iso3"]
        for case in SAME:
            method, measure, topic = case
            query = {"run": made[method].id, "show": method, "measure": measure, "about": topic}
            table = page("map", face="table", **query).dataframe[0].value
            table.index = names[table["Country"]]
            shown[case] = table[list(COLUMNS.values())].dropna(subset="Score")
    for method, measure, topic in SAME:
        of = ["--run", made[method].id, "--metric", measure]
        record = run_command(capsys, "score", *of, *(["--topic", topic] if topic else []))
        countries = pd.DataFrame(record["countries"]).T.astype(float)
        page_table = shown[method, measure, topic].loc[countries.index]
        for column, name in COLUMNS.items():
            same = page_table[name].to_numpy(float), countries[column].round(1)
            np.testing.assert_array_equal(*same, err_msg=f"{method} {measure} {topic} {column}")
        if not topic:
            to = tmp_path / "scores.parquet"
            command.main(["export", *of, "--table", "scores", "--to", str(to)])
            exported = pd.read_parquet(to).set_index("iso3")
            for column in COLUMNS:
                np.testing.assert_array_equal(
                    exported.loc[countries.index, column].astype(float), countries[column]
                )
            for column in ("value", "low", "high"):
                assert record["mean"][column] == exported.loc["", column]
            for column in ("floor", "ceiling", "others"):
                assert record[column] == exported.loc["", column]
            assert set(exported["uses_human_answers"]) == {record["uses_human_answers"]}
    assert record["uses_human_answers"]  # the calibrated run says which


def test_every_metric_is_in_the_table_of_scores_and_every_line_in_that_of_references(
    filled_home, capsys
):
    store = Store(filled_home)
    run = next(r for r in store.runs() if r.method == "country" and len(r.settings.items) > 9
               and r.state == "done")  # fmt: skip
    assert set(tables.score_table(store, run)["metric"]) == set(METRICS)
    store.close()
    references = run_command(capsys, "references", "--metric", "skill")
    assert set(references) == {"survey", "metric", *REFERENCES}


def test_the_signal_of_a_run_on_the_command_line_is_that_of_the_page(filled_home, capsys):
    store = Store(filled_home)
    run = next(r for r in store.runs() if r.method == "country" and r.model == "builtin"
               and len(r.settings.items) > 9)  # fmt: skip
    fits, spread = compare.fits(store, run), compare.spread(store, run)
    at = value_map(store, run).model.set_index("iso3")
    lost = compare.rates(store, run).set_index("iso3")
    store.close()
    record = run_command(capsys, "signal", "--run", run.id)
    ranks = fits.personas.set_index("iso3")
    assert {c: one["rank"] for c, one in record["own"].items()} == ranks["rank"].to_dict()
    assert record["advantage"] == fits.advantage._asdict()
    assert record["diversity"]["ratio"] == spread.diversity.ratio
    assert record["mantel"] == spread.mantel._asdict()
    assert record["map"]["KEN"]["secular"] == at.loc["KEN", "y"]
    assert record["rates"]["KEN"]["off_scale"] == lost.loc["KEN", "off_scale"]
    every = run_command(capsys, "signal", "--run", "all")
    by_run = {one["run"]: one for one in every}
    assert by_run[run.id] == record
    plain = next(one for one in every if one["method"] == "plain" and one["map"])
    assert "own" not in plain and set(plain["map"]) == {""}
    few = next(one for one in every if one.get("why_not"))
    assert "fewer than three" in few["why_not"] and few["map"] is None


def test_scores_by_zone_topic_and_item_on_the_command_line(filled_home, capsys):
    store = Store(filled_home)
    run = next(r for r in store.runs() if r.method == "country" and r.model == "builtin"
               and len(r.settings.items) > 9)  # fmt: skip
    panel = scores.panel(store, run)
    store.close()
    zones = run_command(capsys, "score", "--run", run.id, "--by", "zone")["zones"]
    assert zones["Latin America"]["countries"] == 2
    topics = run_command(capsys, "score", "--run", run.id, "--by", "topic")["topics"]
    kenya = metrics.values(
        panel.only([i.id for i in panel.items if i.topic == "Security"], ["KEN"])
    )
    assert topics["Security"]["countries"]["KEN"]["value"] == pytest.approx(kenya[0])
    items = run_command(capsys, "score", "--run", run.id, "--by", "item")["items"]
    cell = metrics.by_item(panel)[:, [i.id for i in panel.items].index("Q57")]
    assert items["Q57"] == pytest.approx(np.nanmean(cell))


# -- which of people's answers had a part ----------------------------------------------------------

SHARES = "shares of survey questions that were not held out, in what its adapter was taught"
NEAR_FAR = "which countries are near and far, from the survey, in what its adapter was taught"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A store with a run after tuning for each of four adapters, and where each is kept."""
    store = Store(tmp_path_factory.mktemp("tuned"))
    arms = {name: ARMS[name] for name in ("soft", "cct_soft", "people")}
    arms["own"] = replace(ARMS["people"], name="own", mode="specific", shift=1.0)
    _, base = filled.asked(store, ["Q57", "Q164"], ["USA", "KEN"])
    settings = TuneSettings(
        **{name: getattr(base.settings, name) for name in ("survey", "survey_version", "prompt_set",
                                                  "prompt_sha256")},
        model=ModelSpec("builtin"), cultures=("USA", "KEN"), arms=tuple(arms.values()),
        topics=("Security",),
    )  # fmt: skip
    tuning = store.add_tuning(settings.to_json(), name="Tuning")
    made = {"": base}
    for arm in (*arms, "elsewhere"):
        folder = store.home / "adapters" / f"tuning-{arm}-42-{tuning}"
        if arm != "elsewhere":
            for iso3 in ("USA", "KEN") if arm == "own" else ("",):
                store.add_adapter(
                    {"tuning": tuning, "arm": arm, "seed": 42, "iso3": iso3, "name": arm,
                     "base": ModelSpec("builtin").to_json(), "sha256": f"{arm}{iso3}",
                     "path": str((folder / iso3).relative_to(store.home))}
                )  # fmt: skip
        run = store.add_run(
            replace(base.settings, model=ModelSpec("builtin", adapter=str(folder))),
            planned=base.planned, name=arm, facts={"adapter_sha256": f"hash of {arm}"},
        )  # fmt: skip
        keys = base.settings.planned_cells(store.survey())
        rng = np.random.default_rng(0)
        store.add_answers(run.no, [
            Answer(iso3, item, number, tuple(rng.dirichlet(np.ones(len(store.survey().item(item)
                   .options)))), 1.0, None, "answered", "", None, None)
            for iso3, item, number in keys
        ])  # fmt: skip
        store.update_run(run.id, state="done")
        made[arm] = store.run(run.id)
    yield store, made
    store.close()


@pytest.mark.parametrize(
    ("arm", "used"),
    [("", ""), ("soft", ""), ("cct_soft", NEAR_FAR), ("people", SHARES), ("own", SHARES),
     ("elsewhere", lineage.TAUGHT_ELSEWHERE)],
)  # fmt: skip
def test_what_an_adapter_was_taught_is_on_every_score(tuned, arm, used, snapshot):
    store, made = tuned
    run = made[arm]
    assert lineage.human_answers(store, run) == used
    record = score_records.score_record(store, run.id)
    assert record["uses_human_answers"] == used
    words = score_records.score_words(record)
    assert used in words and ("people's answers" in words) == bool(used)
    for table in (tables.score_table(store, run, "emd"), export.run_table(store, run.id)):
        assert set(table["uses_human_answers"]) == {used}
    assert provenance.card(store, run)["uses_human_answers"] == used
    assert json.loads(export.run_json(store, run.id))["uses_human_answers"] == used
    assert f"answers used: {used or 'none'}" in provenance.provenance_text(store, run)
    said = runs.human_answers(store, made[""], run)
    assert used in said and said == (snapshot if used else "")


@pytest.mark.parametrize(("merged", "used"), [("people", SHARES), ("soft", ""),
                                              ("no such", lineage.TAUGHT_ELSEWHERE)])  # fmt: skip
def test_what_a_merged_adapter_was_taught_stays_with_the_model(tuned, merged, used):
    store, made = tuned
    facts = {"merged_sha256": merged, "adapter_sha256": None}
    run = store.add_run(made[""].settings, planned=0, name="Merged", facts=facts)
    assert lineage.human_answers(store, run) == used


def test_what_a_deleted_adapter_was_taught_is_still_known(tuned):
    store, made = tuned
    for adapter in store.adapters():
        store.delete_adapter(adapter["id"])
    assert lineage.human_answers(store, made["people"]) == SHARES


# -- the provenance card ---------------------------------------------------------------------------

CARD = {
    *("model", "revision", "precision", "adapter", "prompt", "prompt_sha256", "method", "language"),
    *("seed", "option_orders", "n_items", "respondents", "weighting", "missing_rule", "versions"),
    *("date", "run", "survey", "uses_human_answers"),
}


def test_a_card_says_all_that_made_the_numbers(kept):
    store, made, _ = kept
    card = provenance.card(store, made.country)
    assert set(card) >= CARD
    assert card["n_items"] == len(card["items"]) == 52
    assert "{" in card["prompt"]["system"]  # in full, with its blanks
    kenya = store.survey().culture("KEN").n
    assert card["respondents"]["KEN"]["sample"] == kenya
    assert 0 < card["respondents"]["KEN"]["fewest_valid"] <= kenya
    assert set(card["weighting"]) <= {"weighted", "unweighted"} and card["weighting"]
    assert card["sampling"] is None and provenance.card(store, made.written)["sampling"] == {
        "samples": 4, "temperature": 0.6, "top_p": 0.9,
    }  # fmt: skip
    assert json.loads(provenance.card_json(store, made.country)) == card
    said = provenance.provenance_text(store, made.country)
    assert "What is left out" in said and "Versions: Pluriscope" in said


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_table_can_be_taken_away_with_its_card(filled_home, tmp_path, capsys, name):
    store = Store(filled_home)
    run = next(r for r in store.runs() if r.method == "country" and r.model == "builtin"
               and len(r.settings.items) > 9)  # fmt: skip
    assert name in tables.tables_of(store, run)
    plain = next(r for r in store.runs() if r.method == "plain")
    assert ("fits" in tables.tables_of(store, plain)) is False
    card = provenance.card(store, run)
    store.close()
    metric = ["--metric", "emd"] if name == "scores" else []
    for suffix in ("csv", "parquet"):
        to = tmp_path / f"{name}.{suffix}"
        arguments = ["export", "--run", run.id, "--table", name, "--to", str(to), *metric]
        assert command.main(arguments) == 0
        assert json.loads((tmp_path / f"{name}.card.json").read_text(encoding="utf-8")) == card
    inside = parquet.read_schema(tmp_path / f"{name}.parquet").metadata[b"pluriscope"]
    assert json.loads(inside) == card
    table = pd.read_parquet(tmp_path / f"{name}.parquet")
    assert len(table) and len(pd.read_csv(tmp_path / f"{name}.csv")) == len(table)


def test_the_map_needs_its_ten_questions_to_be_offered(kept):
    store, made, _ = kept
    assert "values" in tables.tables_of(store, made.plain)
    assert "values" not in tables.tables_of(store, made.written)
    assert set(inglehart_welzel.IW_LIGHT) < set(inglehart_welzel.IW_ITEMS)

"""Figures hold the numbers they were given, and tell apart what has to be told apart."""

import json
import math
import time
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import PluriscopeError
from core.figures import base, maps, rankings
from core.figures.answers import answer_bars, answer_columns, distribution_by_country, means_scatter
from core.figures.base import CHANGE, CLOSENESS, DARK, LIGHT, series
from core.metrics.metrics import METRICS
from core.prompts.methods import METHODS
from core.survey import survey
from tests.colours import contrast

ROOT = Path(__file__).resolve().parents[3]
SURVEY = survey.load_bundled()
LOOKS = [series(name) for name in (*METHODS, "tuned")]


def closeness(*rows) -> pd.DataFrame:
    """rows: (iso3, value); a value of None was not asked."""
    names = {c.iso3: (c.name, c.region) for c in SURVEY.cultures}
    table = pd.DataFrame(
        [(iso3, *names[iso3], math.nan if v is None else v) for iso3, v in rows],
        columns=["iso3", "name", "region", "value"],
    )
    state = np.where(table["value"].notna(), "scored", "not_asked")
    return table.assign(
        low=table["value"] - 1.25, high=table["value"] + 1.25, floor=60.0, others=84.0,
        ceiling=99.0, items=52, state=state,
    )  # fmt: skip


WORLD = closeness(("USA", 91.26), ("KEN", 72.0), ("SGP", 86.0), ("JPN", None), ("MDV", None))


def traces(figure: base.Figure, name: str) -> list:
    return [trace for trace in figure.figure.data if trace.name == name]


def notes(figure: base.Figure) -> str:
    return " ".join(note.text for note in figure.figure.layout.annotations)


def lightness(colour: str) -> float:
    """CIELAB L* of a hex colour."""
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


# -- colours and limits ------------------------------------------------------------------


def test_darker_is_closer():
    steps = [lightness(colour) for colour in CLOSENESS]
    assert steps == sorted(steps, reverse=True)
    assert all(a - b > 5 for a, b in pairwise(steps))


def test_land_without_data_is_none_of_the_colours_of_data():
    for on in (LIGHT, DARK):
        looks = [on.land, on.page, on.too_small, *CLOSENESS, *CHANGE]
        assert len(set(looks)) == len(looks)


@pytest.mark.parametrize("on", [LIGHT, DARK], ids=["light", "dark"])
def test_type_can_be_read_on_its_page(on):
    small = [on.ink, on.muted]
    small += [look.text_dark if on is DARK else look.text for look in LOOKS]
    for colour in small:
        assert contrast(colour, on.page) >= 4.5, colour


def test_a_series_is_known_by_its_shape_too():
    for trait in ("symbol", "sign", "dash"):
        assert len({getattr(look, trait) for look in LOOKS}) == len(LOOKS)
    filled = [look.colour for look in LOOKS if not look.symbol.endswith("-open")]
    assert len(set(filled)) == len(filled)


def test_every_method_has_a_look_of_its_own():
    assert all(base.is_series(name) for name in METHODS)


def test_the_theme_and_the_figures_lie_on_the_same_page():
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    for mode, on in (("light", LIGHT), ("dark", DARK)):
        theme = config["theme"][mode]
        assert theme["backgroundColor"] == on.page
        assert theme["secondaryBackgroundColor"] == on.panel
        assert theme["textColor"] == on.ink
        assert theme["borderColor"] == on.line
        assert theme["chartCategoricalColors"][:4] == [
            on.people, series("plain").colour, series("country").colour, series("tuned").colour
        ]  # fmt: skip


def test_every_font_the_theme_names_is_here_with_its_licence():
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["server"]["enableStaticServing"] and config["server"]["address"] == "127.0.0.1"
    for face in config["theme"]["fontFaces"]:
        path = ROOT / face["url"].removeprefix("app/")
        assert path.read_bytes()[:4] == b"wOF2", path
        licence = ROOT / "static" / "fonts" / f"OFL-{face['family'].lower()}.txt"
        assert "SIL Open Font License" in licence.read_text(encoding="utf-8")


def test_values_fall_into_bins_closed_below():
    limits = (70, 75, 80, 85, 90, 95)
    assert [base.bin_of(v, limits) for v in (10, 74.9, 75, 84.99, 90, 99)] == [0, 0, 1, 2, 4, 4]
    assert base.bin_names(limits) == [
        "below 75", "75 to 80", "80 to 85", "85 to 90", "90 and more"
    ]  # fmt: skip


def test_every_metric_has_fixed_limits():
    for name in METRICS:
        limits, axis, step = base.scale(name)
        assert list(limits) == sorted(limits) and axis[0] < limits[1] and step > 0
    with pytest.raises(PluriscopeError, match="nonsense"):
        base.scale("nonsense")


def test_one_hue_from_the_first_answer_to_the_last():
    colours = base.ordinal_colours(10)
    steps = [lightness(colour) for colour in colours]
    assert len(set(colours)) == 10 and steps == sorted(steps, reverse=True)
    # Q222's fourth answer is off its scale.
    assert base.option_colours(SURVEY.item("Q222"))[3] == base.OFF_SCALE
    assert base.OFF_SCALE not in base.option_colours(SURVEY.item("Q222"))[:3]


# -- maps --------------------------------------------------------------------------------


def test_every_country_surveyed_can_be_drawn():
    drawn = set(maps.borders()) | set(maps.small_places())
    assert {c.iso3 for c in SURVEY.cultures} <= drawn
    assert not set(maps.borders()) & set(maps.small_places())


def test_the_borders_are_what_plotly_needs_to_find_and_to_hover():
    world = json.loads((ROOT / "static" / "world_110m.json").read_text(encoding="utf-8"))
    assert {"coastlines", "land", "ocean", "lakes", "rivers", "subunits"} < set(world["objects"])
    shapes = world["objects"]["countries"]["geometries"]
    assert len({shape["id"] for shape in shapes}) == len(shapes)
    assert "ATA" not in {shape["id"] for shape in shapes}
    used = {
        arc if arc >= 0 else ~arc
        for shape in shapes for polygon in shape["arcs"] for ring in polygon for arc in ring
    }  # fmt: skip
    assert used == set(range(len(world["arcs"])))
    for shape in shapes:
        longitude, latitude = shape["properties"]["ct"]
        assert -180 <= longitude <= 180 and -60 < latitude < 85, shape["id"]
    # Cyprus and Somalia are closed rings: every end of an arc is the start of the next.
    for shape in (s for s in shapes if s["id"] in ("CYP", "SOM")):
        (ring,) = shape["arcs"][0]
        ends = [ends_of(world["arcs"], arc) for arc in ring]
        assert all(a[1] == b[0] for a, b in zip(ends, ends[1:] + ends[:1], strict=True))


def ends_of(arcs: list, arc: int) -> tuple:
    points = np.cumsum(arcs[arc if arc >= 0 else ~arc], axis=0)
    first, last = tuple(points[0]), tuple(points[-1])
    return (first, last) if arc >= 0 else (last, first)


def test_a_map_tells_scored_not_asked_and_not_surveyed_apart():
    drawn = maps.closeness_map(WORLD)
    (scored,) = traces(drawn, "scored")
    (not_asked,) = traces(drawn, "not asked")
    (bare,) = traces(drawn, "not surveyed")
    assert list(scored.locations) == ["USA", "KEN"]
    assert list(not_asked.locations) == ["JPN"]
    assert "FRA" in bare.locations and not {"USA", "KEN", "JPN"} & set(bare.locations)
    colours = [{c for _, c in trace.colorscale} for trace in (scored, not_asked, bare)]
    assert colours[0] == set(CLOSENESS)
    assert colours[1] == {LIGHT.page} and colours[2] == {LIGHT.land}
    assert not_asked.marker.line.color == LIGHT.muted  # seen by its outline
    # Places too small for the borders are dots, filled or open.
    (dot,) = traces(drawn, "scored, small places")
    (open_dot,) = traces(drawn, "not asked, small places")
    assert dot.customdata[0][0] == "SGP" and dot.marker.color[0] == CLOSENESS[3]
    assert open_dot.customdata[0][0] == "MDV" and open_dot.marker.color[0] == LIGHT.page
    assert "not asked" in notes(drawn) and "not surveyed" in notes(drawn)


def test_colours_of_a_map_do_not_depend_on_who_else_is_on_it():
    (alone,) = traces(maps.closeness_map(closeness(("KEN", 84.0))), "scored")
    (among,) = traces(maps.closeness_map(closeness(("USA", 99.0), ("KEN", 84.0))), "scored")
    assert alone.z[0] == among.z[1] == 2
    assert (alone.zmin, alone.zmax) == (among.zmin, among.zmax) == (-0.5, 4.5)


def test_the_legend_carries_every_line_and_the_average():
    # (91.26 + 72 + 86) / 3 = 83.09
    for narrow in (False, True):
        text = notes(maps.closeness_map(WORLD, narrow=narrow))
        for said in (
            "even odds 60", "a guess without a country 84",
            "another sample of the same people 99", "these answers 83",
        ):  # fmt: skip
            assert said in text


def test_labels_of_the_legend_never_cover_one_another():
    rng = np.random.default_rng(0)
    for _ in range(200):
        marks = [
            maps._Mark(float(at), text)
            for at, text in zip(
                rng.uniform(60, 100, 4),
                ("even odds 79", "a guess without a country 86",
                 "another sample of the same people 99", "these answers 87"),
                strict=True,
            )
        ]  # fmt: skip
        for width in (340, 500):
            placed = maps._placed(marks, 60, 100, width)
            assert len(placed) == 4
            assert len({(row, side) for _, row, side in placed}) >= 2
            spans = []
            for mark, row, side in placed:
                x, wide = (mark.at - 60) / 40 * width, len(mark.text) * 6.3
                spans.append((row, x, x + wide) if side == "right" else (row, x - wide, x))
            for k, (row, a, b) in enumerate(spans):
                for other, c, d in spans[k + 1 :]:
                    assert row != other or b <= c or d <= a


def test_a_click_gives_the_country_or_the_bin():
    def event(data):
        return {"selection": {"points": [{"customdata": data}]}}

    assert maps.clicked(event(["KEN"])) == ("KEN", None)
    assert maps.clicked(event(["bin:3"])) == (None, 3)
    assert maps.clicked(event([""])) == (None, None)  # land without data
    assert maps.clicked(None) == maps.clicked({"selection": {"points": []}}) == (None, None)


def test_what_is_drawn_can_be_clicked():
    drawn = maps.closeness_map(WORLD)
    found = {
        maps.clicked({"selection": {"points": [{"customdata": list(data)}]}})
        for trace in drawn.figure.data
        for data in trace.customdata
    }
    assert {click.iso3 for click in found} == {"USA", "KEN", "SGP", "JPN", "MDV", None}
    assert {click.bin for click in found} == {0, 1, 2, 3, 4, None}


def test_a_picked_bin_fades_the_others():
    parts = traces(maps.closeness_map(WORLD, only_bin=0), "scored")
    # One number for each part: plotly.js ignores an opacity for each place.
    assert {part.locations[0]: part.marker.opacity for part in parts} == {"USA": 0.2, "KEN": 1.0}


def test_a_change_that_is_not_clear_is_grey_whatever_its_size(snapshot):
    table = WORLD.assign(value=[8.5, 9.5, -1.0, None, None], clear=[True, False, True, None, None])
    drawn = maps.change_map(table)
    (scored,) = traces(drawn, "scored")
    assert list(scored.z) == [5, 6]  # 8.5 is beyond 2 × 4; the unclear one has a colour of its own
    assert scored.colorscale[-1][1] == LIGHT.too_small
    assert "too small to call" in notes(drawn)
    assert drawn.alt == snapshot
    remarks = dict(zip(drawn.table["Country"], drawn.table["Remark"], strict=True))
    assert remarks["Kenya"] == "too small to call" and remarks["Japan"] == "not asked"


def test_a_map_of_nothing_is_a_map():
    for draw in (maps.closeness_map, maps.change_map):
        drawn = draw(closeness().assign(clear=[]))
        assert [trace.name for trace in drawn.figure.data] == ["not surveyed", "legend"]
        assert "yet" in drawn.alt and drawn.table.empty


def test_the_table_twin_has_the_numbers_in_words_of_people(snapshot):
    drawn = maps.closeness_map(WORLD)
    assert list(drawn.table["Country"]) == ["United States", "Singapore", "Kenya", "Japan",
                                            "Maldives"]  # fmt: skip
    assert drawn.table["Score"].iloc[0] == 91.3
    assert {"Region", "Low", "High", "Even odds on every answer", "Questions", "Remark"} < set(
        drawn.table.columns
    )
    assert drawn.alt == snapshot


# -- lists of dots -----------------------------------------------------------------------


def test_a_list_has_every_country_and_where_it_started():
    before = WORLD.assign(value=WORLD["value"] - 3)
    drawn = rankings.closeness_bars(WORLD, before=before)
    now, then = (traces(drawn, series(kind).label)[0] for kind in ("country", "plain"))
    assert list(now.x) == [91.26, 86.0, 72.0] and list(then.x) == [88.26, 83.0, 69.0]
    assert list(now.y) == list(then.y)
    assert [data[0] for data in now.customdata] == ["USA", "SGP", "KEN"]


def test_regions_stand_over_their_countries():
    drawn = rankings.closeness_bars(WORLD, by_region=True)
    text = notes(drawn)
    assert text.index("English-Speaking") < text.index("West &amp; South Asia")
    assert text.index("African-Islamic") < text.index("Kenya")


def test_sixty_countries_are_drawn_at_once():
    """plotly's own add_shape took 20 seconds for them."""
    table = closeness(*((c.iso3, 80.0) for c in SURVEY.cultures))
    began = time.process_time()  # of this process alone: others may share its core
    rankings.closeness_bars(table)
    assert time.process_time() - began < 5


def test_a_list_of_changes_is_coloured_by_what_is_clear():
    table = WORLD.assign(value=[5.0, 2.0, -4.0, None, None], clear=[True, False, True, None, None])
    (dots,) = rankings.change_bars(table).figure.data
    assert list(dots.x) == [5.0, 2.0, -4.0]
    assert list(dots.marker.color) == [CHANGE[4], LIGHT.too_small, CHANGE[1]]


def test_topics_methods_and_neighbours(snapshot):
    topics = pd.DataFrame({"topic": ["Security", "Migration"], "value": [70.0, 80.0]})
    drawn = rankings.topic_bars(topics)
    assert drawn.alt == snapshot
    methods = pd.DataFrame(
        {"method": ["plain", "country"], "name": ["Plain", "Person"], "value": [70.0, 80.0]}
    )
    symbols = {t.marker.symbol for t in rankings.method_bars(methods).figure.data}
    assert symbols == {series("plain").symbol, series("country").symbol}
    near = pd.DataFrame({"name": ["Nigeria", "United States"], "value": [94.2, 90.0]})
    drawn = rankings.nearest_bars(near, name="Kenya")
    assert drawn.alt == snapshot
    assert rankings.nearest_bars(near.iloc[:0], name="Kenya").alt.endswith("nobody to compare.")


# -- one question ------------------------------------------------------------------------


def answers(**more) -> pd.DataFrame:
    return pd.DataFrame(
        {"label": ["Good", "Bad & worse"], "people": [0.8, 0.2], "plain": [0.3, 0.7], **more}
    )


def test_people_are_ink_and_every_series_keeps_its_colour(snapshot):
    for dark, on in ((False, LIGHT), (True, DARK)):
        drawn = answer_bars(answers(country=[0.5, 0.5]), country="Kenya", dark=dark)
        colours = {trace.name: trace.marker.color for trace in drawn.figure.data}
        assert colours == {
            "people": on.people,
            "plain": series("plain").colour,
            "country": series("country").colour,
        }
    assert "As a person from Kenya" in notes(drawn) and "Bad &amp; worse" in notes(drawn)
    assert list(drawn.table.columns) == [
        "Answer", "People in Kenya (%)", "Asked plainly (%)", "As a person from Kenya (%)"
    ]  # fmt: skip
    assert drawn.table.iloc[0].tolist() == ["Good", 80.0, 30.0, 50.0]
    assert drawn.alt == snapshot


def test_columns_side_by_side_share_their_scale():
    one, other = answers(), answers().assign(people=[0.95, 0.05])
    drawn = answer_columns([("Kenya", one), ("Germany", other)])
    ranges = [f.figure.layout.xaxis.range for f in drawn]
    assert ranges[0] == ranges[1] and ranges[0][1] == pytest.approx(0.95 * 1.03)


def test_a_question_of_ones_own_has_no_people(snapshot):
    table = answers().assign(people=math.nan)
    drawn = answer_bars(table)
    assert {trace.name for trace in drawn.figure.data} == {"plain"}
    assert drawn.alt == snapshot
    empty = answer_bars(table.assign(plain=math.nan))
    assert empty.alt == "No answers yet."


def test_numbers_stand_beside_their_bars_and_words_above():
    numbers = pd.DataFrame({"label": [str(k) for k in range(1, 11)], "people": [0.1] * 10})
    above = pd.DataFrame({"label": ["A long answer"] * 10, "people": [0.1] * 10})
    assert answer_bars(numbers).figure.layout.margin.l > 0
    assert answer_bars(above).figure.layout.margin.l == 0


def test_countries_lie_along_the_scale_and_the_model_on_top(snapshot):
    item = SURVEY.item("Q45")  # good, would not mind, bad
    rows = pd.DataFrame(
        {
            "name": ["Japan", "Nigeria", "Asked plainly"],
            "kind": ["people", "people", "plain"],
            "shares": [[0.0, 0.2, 0.8], [0.9, 0.1, 0.0], [0.5, 0.5, 0.0]],
        }
    )
    drawn = distribution_by_country(rows, item)
    assert list(drawn.table["Country"]) == ["Asked plainly", "Nigeria", "Japan"]
    assert [list(trace.x) for trace in drawn.figure.data] == [
        [0.5, 0.9, 0.0], [0.5, 0.1, 0.2], [0.0, 0.0, 0.8]
    ]  # fmt: skip
    assert drawn.alt == snapshot


def test_off_scale_answers_do_not_move_a_country_along_the_scale():
    item = SURVEY.item("Q222")  # always, usually, never; not allowed to vote
    rows = pd.DataFrame(
        {
            "name": ["A", "B"],
            "kind": ["people", "people"],
            "shares": [[0.1, 0.1, 0.0, 0.8], [0.2, 0.3, 0.5, 0.0]],
        }
    )
    assert list(distribution_by_country(rows, item).table["Country"]) == ["A", "B"]


def test_the_scatter_names_who_is_furthest_apart(snapshot):
    item = SURVEY.item("Q45")
    table = pd.DataFrame(
        {"iso3": ["KEN", "USA"], "name": ["Kenya", "United States"], "people": [0.2, 0.5],
         "model": [0.3, 0.9]}
    )  # fmt: skip
    drawn = means_scatter(table, item)
    assert drawn.alt == snapshot
    assert drawn.table.iloc[1].tolist() == ["United States", 50.0, 90.0]
    assert means_scatter(table.iloc[:0], item).alt.endswith("no answers yet.")


def test_no_figure_brings_a_background_or_a_foreign_font():
    for drawn in (maps.closeness_map(WORLD), answer_bars(answers())):
        layout = drawn.figure.layout
        assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"
        assert {note.font.family for note in layout.annotations} == {base.FONT}
        assert "cdn.plot.ly" not in drawn.figure.to_json()

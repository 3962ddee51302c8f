"""Figures of an experiment hold the numbers they were given, and tell apart what has to be."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from core.figures import tuning
from core.figures.base import DARK, LIGHT
from core.figures.tuning import LOOKS
from core.tuning import experiments
from core.tuning.experiments import ARM_COLUMNS, QUALITY_COLUMNS
from core.views import experiment

LABEL = {"label": "Closeness to people"}


def arms(*rows) -> pd.DataFrame:
    """rows: (arm, change, half width, diversity, its change, control, human)."""
    table = []
    for number, (name, change, half, diversity, moved, control, human) in enumerate(rows):
        reference = name in experiments.REFERENCES
        table.append(
            {
                "arm": name, "number": 0 if reference else number, "state": "done", "seeds": 3,
                "title": name.capitalize(), "control": control, "human": human, "examples": 100,
                "score": 80 + change, "score_low": 79 + change, "score_high": 81 + change,
                "change": change, "low": change - half, "high": change + half,
                "clear": half > 0 and abs(change) > half, "diversity": diversity,
                "diversity_low": diversity - 0.05, "diversity_high": diversity + 0.05,
                "diversity_change": moved, "diversity_clear": abs(moved) > 0.1,
                "floor": 70.0, "others": 88.0, "ceiling": 99.0, "verdict": f"{name} in words.",
            }
        )  # fmt: skip
    return pd.DataFrame(table).reindex(columns=ARM_COLUMNS)


TABLE = arms(
    ("base", 0.0, 0.0, 0.5, 0.0, False, False),
    ("shares", 6.0, 1.0, 0.8, 0.3, False, True),
    ("soft", 2.0, 1.0, 0.45, -0.05, False, False),
    ("small", 0.4, 1.0, 0.5, 0.0, False, False),
    ("shuffled", -3.0, 1.0, 0.2, -0.3, True, False),
    ("calibrated", 3.0, 0.5, 0.45, -0.05, False, True),
)


def dots(drawn) -> dict[str, SimpleNamespace]:
    """What is drawn of each arm: where, in which colour, filled or not."""
    return {
        trace.name: SimpleNamespace(
            x=trace.x[0], y=trace.y[0], colour=trace.marker.line.color,
            filled=trace.marker.color == trace.marker.line.color, symbol=trace.marker.symbol,
        )
        for trace in drawn.figure.data
    }  # fmt: skip


def said(drawn) -> list[str]:
    return [note.text for note in drawn.figure.layout.annotations]


def test_arms_stand_at_their_change_with_the_highest_on_top():
    found = dots(tuning.arm_dots(TABLE, **LABEL))
    assert {name: dot.x for name, dot in found.items()} == {
        "shares": 6.0, "calibrated": 3.0, "soft": 2.0, "small": 0.4, "shuffled": -3.0
    }  # fmt: skip
    heights = [found[name].y for name in ("shares", "calibrated", "soft", "small", "shuffled")]
    assert heights == sorted(heights)  # y grows downwards; the base is the line at zero


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_too_small_to_call_is_pale_and_keeps_its_shape(dark):
    on = DARK if dark else LIGHT
    found = dots(tuning.arm_dots(TABLE, dark=dark, **LABEL))
    assert found["small"].colour == on.too_small
    assert found["small"].symbol == found["soft"].symbol
    assert found["soft"].colour == LOOKS["own"].colour
    assert found["shares"].colour == LOOKS["human"].colour
    assert not found["shuffled"].filled and found["soft"].filled  # a control is hollow


def test_every_interval_is_drawn_as_given():
    shapes = tuning.arm_dots(TABLE, **LABEL).figure.layout.shapes
    drawn = {(shape.x0, shape.x1) for shape in shapes if shape.x0 != shape.x1}
    assert drawn == {(5.0, 7.0), (2.5, 3.5), (1.0, 3.0), (-0.6, 1.4), (-4.0, -2.0)}


def test_diversity_stands_beside_every_arm_with_an_arrow_where_it_clearly_changed():
    words = said(tuning.arm_dots(TABLE, **LABEL))
    assert "↑ 80" in words and "↓ 20" in words and "45" in words


@pytest.mark.parametrize("narrow", [False, True])
def test_the_table_beside_the_arms_has_every_row_and_its_sentence(narrow, snapshot):
    drawn = tuning.arm_dots(TABLE, narrow=narrow, **LABEL)
    assert drawn.table["Arm"].tolist() == TABLE["title"].tolist()
    assert drawn.table["Change"].tolist() == TABLE["change"].tolist()
    assert drawn.table["Apart, %"].tolist() == [50, 80, 45, 50, 20, 45]
    assert drawn.table["In words"].tolist() == TABLE["verdict"].tolist()
    assert "+6.0" in drawn.alt and drawn.alt == snapshot


def test_without_a_finished_arm_there_is_a_sentence_and_no_error(snapshot):
    waiting = TABLE.head(1)
    assert tuning.arm_dots(waiting, **LABEL).alt == snapshot
    points = experiment.alignment_diversity(TABLE.head(0))
    assert "nothing to draw yet" in tuning.arms_diversity(points, **LABEL).alt


def test_closeness_and_diversity_share_one_plane_with_people(snapshot):
    points = experiment.alignment_diversity(TABLE)
    drawn = tuning.arms_diversity(points, **LABEL)
    found = {t.name: (t.x[0], t.y[0]) for t in drawn.figure.data}
    assert found["people"] == (1.0, 99.0) and found["shares"] == (0.8, 86.0)
    assert found["base"] == (0.5, 80.0) and found["shuffled"] == (0.2, 77.0)
    arrows = [note for note in drawn.figure.layout.annotations if note.showarrow]
    assert {(a.ax, a.ay) for a in arrows} == {(0.5, 80.0)}  # every arrow starts at the base
    assert {(a.x, a.y) for a in arrows} == {
        (0.8, 86.0), (0.45, 82.0), (0.5, 80.4), (0.2, 77.0), (0.45, 83.0)
    }  # fmt: skip
    assert drawn.alt == snapshot
    assert drawn.table["Arm"].tolist()[0] == "People"


def test_numbers_on_the_plane_are_those_of_the_list():
    words = said(tuning.arms_diversity(experiment.alignment_diversity(TABLE), **LABEL))
    assert "<b>before tuning</b>" in words and "calibrated" in words
    assert {"1", "4"} <= set(words)
    listed = said(tuning.arm_dots(TABLE, **LABEL))
    assert {"1", "2", "3", "4"} <= set(listed)


def test_a_quantity_curve_starts_at_the_base_and_shows_each_share(snapshot):
    curve = pd.DataFrame(
        {"share": [0.0, 0.1, 1.0], "examples": [0, 10, 100], "score": [80, 80.4, 82],
         "change": [0.0, 0.4, 2.0], "low": [0.0, -0.6, 1.0], "high": [0.0, 1.4, 3.0],
         "clear": [False, False, True]}
    )  # fmt: skip
    drawn = tuning.quantity(curve)
    (line,) = drawn.figure.data
    assert list(line.x) == [0, 0.1, 1] and list(line.y) == [0, 0.4, 2]
    assert list(line.marker.color) == [LIGHT.too_small, LIGHT.too_small, LOOKS["own"].colour]
    upright = {(s.y0, s.y1) for s in drawn.figure.layout.shapes if s.x0 == s.x1}
    assert upright == {(-0.6, 1.4), (1.0, 3.0)}
    assert drawn.table["Share"].tolist() == ["0%", "10%", "100%"]
    assert drawn.alt == snapshot


def test_choices_of_pairs_are_grouped_by_recipe_and_set_against_chance(snapshot):
    rows = [
        ("One", "differing", "Pairs that differ", "a", 10, 81, 1.0, 0.5, 1.5, True, -1.0, -1.5,
         -0.5, True),
        ("One", "random", "As many by chance", "b", 10, 82, 2.0, 1.5, 2.5, True, math.nan, math.nan,
         math.nan, False),
        ("Two", "all", "All pairs", "c", 10, 80, 0.1, -0.5, 0.7, False, math.nan, math.nan,
         math.nan, False),
    ]  # fmt: skip
    drawn = tuning.quality(pd.DataFrame(rows, columns=QUALITY_COLUMNS))
    assert [trace.x[0] for trace in drawn.figure.data] == [1.0, 2.0, 0.1]
    assert [w for w in said(drawn) if w.startswith("<b>")] == ["<b>One</b>", "<b>Two</b>"]
    assert drawn.alt == snapshot
    assert "chance: −1.0" in drawn.figure.data[0].hovertemplate


def test_loss_and_learning_rate_are_drawn_by_step(snapshot):
    points = pd.DataFrame(
        {"iso3": "", "step": [1, 2, 3], "steps": 4, "loss": [2.0, 1.5, 1.25],
         "rate": [0.001, 0.002, 0.0005]}
    )  # fmt: skip
    drawn = tuning.training_curves(points)
    loss, rate = drawn.figure.data
    assert list(loss.y) == [2.0, 1.5, 1.25] and list(rate.y) == [0.001, 0.002, 0.0005]
    assert drawn.figure.layout.yaxis2.ticktext == ("0", "0.002")
    assert drawn.figure.layout.xaxis.range[1] == 4  # the steps still to go are seen
    assert drawn.alt == snapshot


def test_a_yield_map_has_a_cell_for_every_country_and_topic():
    df = pd.DataFrame(
        [("Kenya", "Trust", 10, 4, 0.4), ("Kenya", "Faith", 10, 1, 0.1),
         ("Japan", "Trust", 10, 9, 0.9), ("Japan", "Faith", 10, 8, 0.8)],
        columns=["name", "topic", "pairs", "differing", "share"],
    )  # fmt: skip
    for narrow in (False, True):
        drawn = tuning.yield_map(df, narrow=narrow)
        cells = drawn.figure.data[0]
        assert list(cells.x) == ["Japan", "Kenya"]
        assert np.array(cells.z).tolist() == [[90, 40], [80, 10]]
        assert len(drawn.table) == 4

"""Countries on the cultural map: people's places and the model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.analysis import scores
from core.analysis.cells import singles
from core.analysis.cross_fitting import over_orders
from core.errors import PluriscopeError
from core.metrics import panel, relations
from core.metrics.inglehart_welzel import (
    INDICATORS,
    IW_ITEMS,
    IW_LIGHT,
    inglehart_welzel,
    limits,
    map_spread,
)
from core.store.runs import Run
from core.store.store import Store
from core.survey.survey import Item, Survey
from core.views.compare import countries_by_code, names_country, with_names


class ValueMap(NamedTuple):
    """Positions on the Inglehart–Welzel map.

    people: columns iso3, name, zone, x, y of every country surveyed (x: survival to
    self-expression, y: traditional to secular). model: iso3 ("" for answers given plainly), name,
    x, y, var_x, var_y, cov (of the position), from_x, from_y (the other run's position, NaN where
    there is none), people_x, people_y. loadings: columns indicator, questions, axis, loading,
    self_expression, secular (weights). assumed: labels of questions that were not asked and for
    which everyone has the average of all countries. lost: names of personas without a place,
    because one of the questions has no usable answer. single: positions rest on single answers.
    """

    people: pd.DataFrame
    model: pd.DataFrame
    loadings: pd.DataFrame
    assumed: tuple[str, ...]
    lost: tuple[str, ...]
    single: bool


def value_map(store: Store, run: Run, before: Run | None = None) -> ValueMap:
    """Where people and a run's personas lie, by the fixed linear map with E[answer].

    Raises PluriscopeError with the questions that are missing where the run did not ask them.
    """
    survey = scores.survey_of(store, run)
    items = _map_items(survey)
    people = panel.human_panel(survey, items)
    table = _positions(people.countries, inglehart_welzel(items, people.human))
    people_table = with_names(table, survey).dropna(subset=["x", "y"])
    average = np.nanmean(people.human, axis=0)
    model, assumed = _model_positions(store, run, items, average, spread=True)
    model["name"] = model["iso3"].map(countries_by_code(survey)["name"]).fillna("asked plainly")
    model[["from_x", "from_y"]] = np.nan
    if before is not None:
        there, _ = _model_positions(store, before, items, average)
        start = there.set_index("iso3")[["x", "y"]]
        keys = model["iso3"] if names_country(before) else [""] * len(model)
        model[["from_x", "from_y"]] = start.reindex(keys).to_numpy()
    own = people_table.set_index("iso3")[["x", "y"]]
    model[["people_x", "people_y"]] = own.reindex(model["iso3"]).to_numpy()
    placed = set(model["iso3"])
    lost = [c for c in run.settings.personas() if c not in placed]
    return ValueMap(
        people_table,
        model,
        loadings(survey),
        assumed,
        tuple(survey.culture(iso3).name if iso3 else "asked plainly" for iso3 in lost),
        relations.single_answers(scores.panel(store, run)),
    )


def _map_items(survey: Survey) -> tuple[Item, ...]:
    """The survey's items behind the ten indicators; raises where it has not got them."""
    known = {item.id: item for item in survey.items}
    for part in INDICATORS:
        for item_id, weights in part.terms:
            if item_id not in known or not set(weights) <= set(known[item_id].codes):
                raise PluriscopeError(
                    "The map of values needs ten questions of the World Values Survey, which the "
                    f"survey “{survey.name}” does not have."
                )
    return tuple(known[item_id] for item_id in IW_ITEMS)


def _positions(countries: Sequence[str], at: np.ndarray) -> pd.DataFrame:
    """x: survival to self-expression; y: traditional to secular."""
    return pd.DataFrame({"iso3": countries, "x": at[:, 1], "y": at[:, 0]})


def _model_positions(
    store: Store, run: Run, items: Sequence[Item], average: np.ndarray, spread: bool = False
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A run's positions (iso3, x, y; var_x, var_y, cov where spread), and the items assumed."""
    asked = set(run.settings.items)
    missing = [item for item in items if item.id not in asked]
    heavy = [item for item in missing if item.id not in IW_LIGHT]
    if heavy:
        some = wording.listed([f"“{item.label}” ({item.id})" for item in heavy], most=4)
        raise PluriscopeError(
            f"The map of values needs questions that this run did not ask: {some}. Ask the core "
            "set or all questions."
        )
    personas = run.settings.personas()
    answers = singles(store, run, items, personas)
    shares = over_orders(answers)
    for item in missing:
        shares[:, items.index(item)] = average[items.index(item)]
        answers[:, items.index(item)] = average[items.index(item)]
    table = _positions(personas, inglehart_welzel(items, shares))
    if spread:
        covariance = map_spread(items, answers)
        table["var_x"], table["var_y"] = covariance[:, 1, 1], covariance[:, 0, 0]
        table["cov"] = covariance[:, 0, 1]
    return table.dropna(subset=["x", "y"]).reset_index(drop=True), tuple(i.label for i in missing)


def loadings(survey: Survey) -> pd.DataFrame:
    """What the two axes are made of: indicator, questions (ids), axis, loading (published), and
    its weights on both axes of the map drawn here."""
    rows = [
        (
            part.label,
            ", ".join(item_id for item_id, _ in part.terms),
            part.axis,
            part.loading,
            part.weights[1],
            part.weights[0],
        )
        for part in INDICATORS
    ]
    columns = ["indicator", "questions", "axis", "loading", "self_expression", "secular"]
    return pd.DataFrame(rows, columns=columns)


def map_finding(found: ValueMap, before: Run | None = None) -> wording.Finding:
    """How far personas lie from their people, and whether they came nearer than `before`."""
    model = found.model.dropna(subset=["people_x", "people_y"])
    if model.empty:
        finding = wording.Finding("Where the answers lie on the map of values", "")
        if len(found.model):
            row = found.model.iloc[0]
            away = np.hypot(found.people["x"] - row["x"], found.people["y"] - row["y"])
            near = [wording.country(n) for n in found.people["name"].iloc[np.argsort(away)[:3]]]
            finding = wording.Finding(
                f"On the map of values the model stands near people in {wording.listed(near)}",
                "Asked plainly it is one point; people of each country are another.",
            )
        return finding
    away = np.hypot(model["x"] - model["people_x"], model["y"] - model["people_y"])
    between = _mean_apart(found.people)
    text = [
        f"A persona lies {wording.number(away.mean())} from its people on average; two countries’ "
        f"people lie {wording.number(between)} apart."
    ]
    right = (model["x"] - model["people_x"]).mean(), (model["y"] - model["people_y"]).mean()
    lean = [
        name
        for shift, low, high in (
            (right[0], "survival", "self-expression"),
            (right[1], "traditional", "secular"),
        )
        if abs(shift) > 0.2
        for name in (high if shift > 0 else low,)
    ]
    headline = "The personas stand about where their people do, on average"
    if lean:
        headline = f"The personas lean towards {' and '.join(lean)} values"
    moved = model.dropna(subset=["from_x", "from_y"])
    if len(moved):
        start = np.hypot(moved["from_x"] - moved["people_x"], moved["from_y"] - moved["people_y"])
        nearer = int((start > away.loc[moved.index]).sum())
        beside = (
            "the answers given plainly" if before.method == "plain" else "those of the other run"
        )
        text.append(
            f"{wording.capital(wording.some(nearer, len(moved)))} personas lie nearer to their "
            "people "
            f"than {beside}."
        )
    return wording.Finding(headline, " ".join(text))


def map_notes(found: ValueMap) -> list[str]:
    """What to keep in mind about the map of values."""
    notes = [
        "Two axes hold at best about 73% of what separates countries on these ten questions, and "
        "say nothing of the others.",
        "Positions follow from average answers by one fixed rule, fitted to the published scores "
        "of 49 countries. The axes are drawn from people alone. An ellipse is where a persona "
        "would lie in 95 of 100 cases, had the same answers been drawn again.",
    ]
    if found.assumed:
        some = wording.listed([f"“{label}”" for label in found.assumed])
        notes.append(
            f"{some} were not asked; everyone has the average of all countries there, which moves "
            "no country by more than 0.05."
        )
    if found.single:
        notes.append(
            "This run gives one answer to each question and no distribution. Such answers fly off "
            "the map: where people of a country lean one way, one answer goes all the way."
        )
    if found.lost:
        some = wording.listed([wording.country(name) for name in found.lost], most=4)
        notes.append(f"Without a place: {some}. One of the ten questions has no usable answer.")
    low_x, high_x, low_y, high_y = limits(found.people)
    off = ~(found.model["x"].between(low_x, high_x) & found.model["y"].between(low_y, high_y))
    if off.any():
        notes.append(
            f"{wording.capital(wording.count(int(off.sum()), 'persona'))} lie off the map and "
            "stand, "
            "hollow, at its edge."
        )
    return notes


def _mean_apart(people: pd.DataFrame) -> float:
    at = people[["x", "y"]].to_numpy()
    apart = np.linalg.norm(at[:, None] - at, axis=-1)
    return float(apart[np.triu_indices(len(at), 1)].mean())

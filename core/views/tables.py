"""Every table for page, command and export."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from core.analysis import option_mass, robustness, scores
from core.metrics import inglehart_welzel, metrics
from core.metrics.metrics import HEADLINE
from core.store.runs import Run
from core.store.store import Store
from core.tuning import lineage
from core.views import export, items
from core.views.compare import Spread, fits, names_country, rates, spread, topics, with_names
from core.views.runs import askings, formats_of
from core.views.value_map import value_map


def score_table(store: Store, run: Run, metric: str = "") -> pd.DataFrame:
    """A run's scores on every metric (or one), country by country; iso3 "" is their mean.

    Columns: metric, iso3, name, zone, value, low, high, floor, ceiling, others, items, mass (of the
    options in what the model would say), and uses_human_answers (which of people's, "" for none).
    """
    names = [metric] if metric else list(metrics.METRICS)
    tables = [scores.table(store, run, name).assign(metric=name) for name in names]
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "metric", table.pop("metric"))
    masses = option_mass.masses(store, run)
    by_country = masses.groupby("iso3")["mass"].mean()
    everywhere = float(masses["mass"].mean())
    named = names_country(run)
    table["mass"] = [
        by_country.get(one, everywhere if not named or not one else math.nan)
        for one in table["iso3"]
    ]
    table["uses_human_answers"] = lineage.human_answers(store, run)
    return with_names(table, scores.survey_of(store, run))


def reference_table(store: Store, run: Run, metric: str = HEADLINE) -> pd.DataFrame:
    """The reference lines of a run, country by country. Columns: reference, iso3, name, zone,
    value; iso3 "" is the mean."""
    rows = [
        (kind, iso3, value)
        for kind, line in scores.references(store, run, metric).items()
        for iso3, value in (("", line.mean), *line.countries.items())
    ]
    table = pd.DataFrame(rows, columns=["reference", "iso3", "value"])
    return with_names(table, scores.survey_of(store, run))


def distance_table(found: Spread) -> pd.DataFrame:
    """Distances between countries (of 100): columns one, other, model, people."""
    pairs = [(a, b) for k, a in enumerate(found.model) for b in found.model.columns[k + 1 :]]
    return pd.DataFrame(
        [(a, b, found.model.loc[a, b], found.people.loc[a, b]) for a, b in pairs],
        columns=["one", "other", "model", "people"],
    )


def spread_table(store: Store, run: Run, metric: str = HEADLINE) -> pd.DataFrame:
    """How far a run's scores move between wordings and orders, country by country.

    Columns: metric, runs (ids, one a wording), wordings, formats, iso3, name, zone, spread
    (standard deviation over formats, in points; iso3 "" is the mean), between (that of countries'
    scores), greyed (the mean exceeds it).
    """
    runs = formats_of(askings(store), run)
    found = robustness.spread(store, runs, metric)
    table = pd.DataFrame(
        {"iso3": ["", *found.countries], "spread": [found.mean, *found.countries.values()]}
    )
    ids = " ".join(one.id for one in runs)
    shared = {"metric": metric, "runs": ids, "wordings": found.wordings, "formats": found.formats}
    table = pd.DataFrame(shared, index=table.index).join(table)
    table = table.assign(between=found.between, greyed=found.greyed)
    return with_names(table, scores.survey_of(store, run))


def held_table(store: Store, run: Run) -> pd.DataFrame:
    """In how many wordings and orders the likeliest answer was the same: columns runs (ids, one a
    wording), iso3 ("" asked plainly), name, zone, item, held, of."""
    runs = formats_of(askings(store), run)
    table = robustness.held(store, runs)
    table.insert(0, "runs", " ".join(one.id for one in runs))
    return with_names(table, scores.survey_of(store, run))


class Table(NamedTuple):
    """A table one can take away. words: what it holds. personas: only of runs that name countries.
    make: (store, run, metric or "") -> the table. formats: only of runs with several orders, or
    asked in several wordings."""

    words: str
    personas: bool
    make: Callable[[Store, Run, str], pd.DataFrame]
    formats: bool = False


TABLES: dict[str, Table] = {
    "answers": Table(
        "How often each answer was given, by the model and by people",
        False,
        lambda store, run, metric: export.run_table(store, run.id),
    ),
    "scores": Table("Scores by country, on every measure", False, score_table),
    "zones": Table(
        "Scores by part of the world",
        False,
        lambda store, run, metric: scores.zones(store, run, metric or HEADLINE),
    ),
    "topics": Table(
        "Scores by topic and country",
        False,
        lambda store, run, metric: topics(store, run, None, metric or HEADLINE),
    ),
    "items": Table(
        "Scores by question",
        False,
        lambda store, run, metric: items.item_table(store, run, None, metric or HEADLINE),
    ),
    "references": Table(
        "What one gets without a model, by country",
        False,
        lambda store, run, metric: reference_table(store, run, metric or HEADLINE),
    ),
    "fits": Table(
        "Every persona against every country’s people",
        True,
        lambda store, run, metric: fits(store, run, metric or HEADLINE).cells,
    ),
    "distances": Table(
        "How far countries lie apart, people’s and the model’s",
        True,
        lambda store, run, metric: distance_table(spread(store, run)),
    ),
    "values": Table(
        "Positions on the map of values",
        False,
        lambda store, run, metric: value_map(store, run).model,
    ),
    "rates": Table(
        "Refused, unreadable and off the scale, by country",
        False,
        lambda store, run, metric: rates(store, run),
    ),
    "formats": Table(
        "How far scores move between wordings and orders",
        False,
        lambda store, run, metric: spread_table(store, run, metric or HEADLINE),
        formats=True,
    ),
    "held": Table(
        "In how many wordings and orders each answer held",
        False,
        lambda store, run, metric: held_table(store, run),
        formats=True,
    ),
}


def tables_of(store: Store, run: Run) -> dict[str, str]:
    """The tables that can be made of a run, and what each holds."""
    few = not names_country(run) or len(run.settings.cultures) < 3
    survey = scores.survey_of(store, run)
    known = {item.id for item in survey.items}
    asked = set(run.settings.items)
    mapped = set(inglehart_welzel.IW_ITEMS) <= known and not (
        set(inglehart_welzel.IW_ITEMS) - asked - set(inglehart_welzel.IW_LIGHT)
    )
    one = len(robustness.formats(store, formats_of(askings(store), run))) < 2
    return {
        name: table.words
        for name, table in TABLES.items()
        if not (table.personas and few)
        and not (table.formats and one)
        and (name != "values" or mapped)
    }

"""Score a run: stored answers on one side, people's shares on the other.

The one place where scores are computed. Pages, command line and exports all read from here, and
what was computed is kept in the store for exactly the answers it came from.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from core.analysis.cells import cells
from core.errors import NothingAsked, PluriscopeError
from core.metrics import bootstrap, metrics
from core.metrics import references as metrics_references
from core.metrics.metrics import HEADLINE
from core.metrics.panel import CLUSTERING, Panel, human_panel, seen
from core.metrics.score import ChangeGrid, Grid, by_topic, by_zone, compare, compare_topics, score
from core.prompts.methods import METHODS
from core.store.runs import Run
from core.store.store import Store
from core.store.survey_tables import table_of
from core.survey.survey import Survey

# Part of the key of kept scores: a change to how scores are computed changes this word.
VERSION = "4"


def survey_of(store: Store, run: Run) -> Survey:
    return store.survey(run.settings.survey, run.settings.survey_version)


def countries_of(run: Run, survey: Survey) -> tuple[str, ...]:
    """The countries a run is scored against: those it was asked for, or all of the survey."""
    return tuple(run.settings.cultures) or tuple(c.iso3 for c in survey.cultures)


def panel(
    store: Store,
    run: Run,
    *,
    topic: str = "",
    countries: Sequence[str] | None = None,
    only: Collection[str] | None = None,
    number: int | None = None,
) -> Panel:
    """People's answers and a run's, side by side.

    Option orders and samples are averaged in canonical code order. A plain run answers once and
    is compared with every country. countries: which to compare with; the run's own by default.
    only: of these items, by id. number: only the answers in this option order.
    """
    survey = survey_of(store, run)
    items = run.settings.asked_items(survey)
    if topic:
        items = tuple(item for item in items if item.topic == topic)
        if not items:
            raise NothingAsked(f"This run asked nothing on {topic!r}.")
    if only is not None:
        items = tuple(item for item in items if item.id in only)
        if not items:
            raise NothingAsked("This run asked none of these questions.")
    countries = tuple(countries or countries_of(run, survey))
    people = human_panel(survey, items, countries, design_effects(store, survey, countries))
    personas = countries if METHODS[run.method].needs_culture else ("",)
    shape = people.human.shape[:2]
    model, chosen, refused, unparsed = (
        np.broadcast_to(side, (*shape, *side.shape[2:]))
        for side in cells(store, run, items, personas, number)
    )
    return replace(people, model=model, chosen=chosen, refused=refused, unparsed=unparsed)


def design_effects(
    store: Store, survey: Survey, countries: Sequence[str] | None = None
) -> np.ndarray | None:
    """float64[C]: by what the number of respondents is divided in each country: the allowance for
    clustered interviews times the weights' own effect (Kish), where respondents were imported.
    None where the weights are not known."""
    weights = table_of(store, survey.id, survey.version, "effective")
    if weights is None:
        return None
    known = dict(zip(weights["iso3"], weights["design_effect"], strict=True))
    countries = countries or [culture.iso3 for culture in survey.cultures]
    return CLUSTERING * np.array([known.get(iso3, 1.0) for iso3 in countries])


# -- scores, computed once and kept ------------------------------------------------------

UNDER_WAY = {"queued", "running"}  # such a run will have more answers soon; nothing is kept
COLUMNS = ["iso3", "value", "low", "high", "floor", "ceiling", "others", "items"]


def table(store: Store, run: Run, metric: str = HEADLINE, topic: str = "") -> pd.DataFrame:
    """A run's scores: one row a country, and the mean of the countries in the row iso3 = "".

    Columns: iso3, value, low, high, floor, ceiling, others, items (scores, 100 is a perfect
    match; items: how many counted). Kept in the store until the run has more answers.
    """
    known = metrics.metric(metric)
    kept = store.kept_scores(run.no, known.name, topic, run.answered, VERSION)
    if not kept.empty:
        return kept
    sides = panel(store, run, topic=topic)
    everyone = human_panel(survey_of(store, run), sides.items)
    found = score(sides, known, pool=everyone)
    items = max((country.items for country in found.countries.values()), default=0)
    mean = found.mean
    rows = [("", *mean, found.floor, found.ceiling, found.others, items)]
    rows += [(iso3, *country) for iso3, country in found.countries.items()]
    result = pd.DataFrame(rows, columns=COLUMNS)
    if run.state not in UNDER_WAY:
        store.keep_scores(run.no, known.name, topic, run.answered, VERSION, result)
    return result


def so_far(store: Store, run: Run, metric: str = HEADLINE) -> float:
    """The mean over countries of what a run holds by now, quickly: no interval, nothing kept.

    NaN while there is nothing to score.
    """
    by_country = metrics.values(panel(store, run), metric)
    known = by_country[np.isfinite(by_country)]
    return float(known.mean()) if known.size else float("nan")


def closeness(store: Store, run: Run, metric: str = HEADLINE, topic: str = "") -> pd.DataFrame:
    """What the map draws: every country of the survey with its score, or why there is none.

    Columns: those of table(), name, region, state ("scored", "not_asked"). The mean is left out;
    countries that were not surveyed have no row.
    """
    scored = table(store, run, metric, topic)
    result = names(survey_of(store, run)).merge(scored, on="iso3", how="left")
    result["state"] = np.where(result["value"].notna(), "scored", "not_asked")
    return result


def change(
    store: Store,
    a: Run,
    b: Run,
    metric: str = HEADLINE,
    topic: str = "",
    *,
    only: Collection[str] | None = None,
    countries: Collection[str] | None = None,
) -> tuple[pd.DataFrame, bootstrap.Difference]:
    """From run a to run b on the countries and items both have: per country, and the mean.

    only: of these items, by id. countries: of these, by code.

    Columns: iso3, name, region, value (points, + is closer), low, high, p, clear (the 95%
    interval excludes zero), state ("scored", "not_asked").
    """
    known = metrics.metric(metric).name
    part = topic if only is None else f"{topic}/{_digest(only)}"
    part += "" if countries is None else f"/{_digest(countries)}"
    key = a.no, b.no, known, part, a.answered + b.answered, VERSION
    found = store.kept_changes(*key)
    if found.empty:
        compared = compare(*both(store, a, b, topic, only=only, countries=countries), known)
        rows = [("", *compared.mean)]
        rows += [(iso3, *difference) for iso3, difference in compared.countries.items()]
        found = pd.DataFrame(rows, columns=["iso3", "value", "low", "high", "p", "clear"])
        if not {a.state, b.state} & UNDER_WAY:
            store.keep_changes(*key, found)
    mean = bootstrap.Difference(*found[found.iso3 == ""].iloc[0, 1:])
    result = names(survey_of(store, a)).merge(found, on="iso3", how="left")
    result["state"] = np.where(result["value"].notna(), "scored", "not_asked")
    result["clear"] = result["clear"].eq(True)
    return result, mean


ZONE_COLUMNS = ["zone", "value", "low", "high", "countries"]


def zones(store: Store, run: Run, metric: str = HEADLINE, topic: str = "") -> pd.DataFrame:
    """The mean score of each part of the world (the survey's cultural zones), best first.

    Columns: zone, value, low, high, countries (how many were scored). A survey that knows no
    zones gives no rows.
    """
    sides = panel(store, run, topic=topic)
    zone_of = {c.iso3: c.region for c in survey_of(store, run).cultures}
    value = metrics.values(sides, metric)
    scored = Counter(
        zone_of[iso3] for iso3, x in zip(sides.countries, value, strict=True) if np.isfinite(x)
    )
    means = by_zone(sides, zone_of, metric, replicates=2000)
    rows = [(zone, *mean, scored[zone]) for zone, mean in means.items() if zone and scored[zone]]
    table = pd.DataFrame(rows, columns=ZONE_COLUMNS)
    return table.sort_values("value", ascending=False, ignore_index=True)


def topics(store: Store, run: Run, metric: str = HEADLINE) -> pd.DataFrame:
    """Each topic's own score in each country, with an interval over its items.

    Columns: topic, iso3, value, low, high, items; only cells that have a score.
    """
    grid = by_topic(panel(store, run), metric, replicates=1000)
    return _grid_rows(grid)


def topic_changes(store: Store, a: Run, b: Run, metric: str = HEADLINE) -> pd.DataFrame:
    """From run a to run b by topic and country, on what both have.

    Columns: topic, iso3, value (points, + is closer), low, high, p, q (Benjamini-Hochberg over
    the whole grid), clear (q below 0.05).
    """
    return _grid_rows(compare_topics(*both(store, a, b), metric))


def _grid_rows(grid: Grid | ChangeGrid) -> pd.DataFrame:
    topics, countries, *arrays = grid
    table = pd.DataFrame(
        {
            "topic": np.repeat(topics, len(countries)),
            "iso3": np.tile(countries, len(topics)),
            **{name: x.ravel() for name, x in zip(grid._fields[2:], arrays, strict=True)},
        }
    )
    return table[table["value"].notna()].reset_index(drop=True)


def references(
    store: Store, run: Run, metric: str = HEADLINE
) -> dict[str, metrics_references.Reference]:
    """What one gets without a model on the very cells that a run was asked, per country too."""
    sides = panel(store, run)
    everyone = human_panel(survey_of(store, run), sides.items)
    return metrics_references.references(seen(sides), metric, pool=everyone)


def reference_means(store: Store, survey_id: str, metric: str = HEADLINE) -> dict[str, float]:
    """What one gets without a model on all items of a survey: name of the line -> mean score."""
    survey = store.survey(survey_id)
    people = human_panel(survey, deff=design_effects(store, survey))
    found = metrics_references.references(people, metric)
    return {name: float(line.mean) for name, line in found.items()}


def _digest(items: Collection[str]) -> str:
    """A short name for a set of items, the same whatever their order."""
    return hashlib.sha256("\n".join(sorted(items)).encode()).hexdigest()[:16]


def both(
    store: Store,
    a: Run,
    b: Run,
    topic: str = "",
    *,
    only: Collection[str] | None = None,
    countries: Collection[str] | None = None,
) -> tuple[Panel, Panel]:
    """Panels of two runs on the countries and items they share, in the same order.

    only: of these items, by id. countries: of these, by code.

    Raises PluriscopeError where they share none, or were asked different surveys.
    """
    one, other = (survey_of(store, run) for run in (a, b))
    if (one.id, one.version) != (other.id, other.version):
        raise PluriscopeError("These two runs were asked different surveys; choose two of one.")
    theirs = set(countries_of(b, other))
    if countries is not None:
        theirs &= set(countries)
    shared = [iso3 for iso3 in countries_of(a, one) if iso3 in theirs]
    if not shared:
        raise PluriscopeError("These two runs have no country in common.")
    before, after = (panel(store, run, topic=topic, countries=shared, only=only) for run in (a, b))
    items = {item.id for item in before.items} & {item.id for item in after.items}
    if not items:
        raise PluriscopeError("These two runs have no question in common.")
    return before.only(items), after.only(items)


def names(survey: Survey) -> pd.DataFrame:
    """Every country of a survey: iso3, name, region."""
    return pd.DataFrame(
        [(c.iso3, c.name, c.region) for c in survey.cultures], columns=["iso3", "name", "region"]
    )

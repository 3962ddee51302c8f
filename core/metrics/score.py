"""Scores of a panel of answers, by country, topic, zone and item, and the difference of two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from core.metrics.bootstrap import (
    Bootstrap,
    Difference,
    Interval,
    bootstrapped,
    count_tables,
    difference,
    interval_of,
    resampled_people,
    score_bounds,
    with_seeds,
)
from core.metrics.metrics import (
    HEADLINE,
    Metric,
    by_item,
    counted,
    item_scores,
    mean_of,
    metric,
    values,
)
from core.metrics.panel import Panel, paired, seen, topics_of
from core.metrics.references import (
    CEILING_DRAWS,
    as_guess,
    others_line,
    reference_values,
    uniform_guess,
)
from core.metrics.significance import Z, benjamini_hochberg, t_quantile, two_sided


class CountryScore(NamedTuple):
    """floor: even odds on every option. ceiling: what knowing people's exact shares would score
    against another sample of the same size. others: the average of the other countries (for
    metrics of the one answer chosen, their median answer). items: how many counted."""

    value: float
    low: float
    high: float
    floor: float
    ceiling: float
    others: float
    items: int


@dataclass(frozen=True)
class Score:
    """A metric's scores of one run: per country, and their plain mean with its interval."""

    metric: str
    mean: Interval
    floor: float
    ceiling: float
    others: float
    countries: Mapping[str, CountryScore]


def score(
    panel: Panel,
    name: str | Metric = HEADLINE,
    *,
    replicates: int = 2000,
    seed: int = 0,
    pool: Panel | None = None,
) -> Score:
    """Score a run, with interval, floor, ceiling and the line of the other countries.

    replicates: bootstrap draws of items and respondents (0: no interval). pool: people of the
    countries that "others" is taken from, on the same items; the panel's own countries by
    default. The lines are computed on the cells that the model was asked.
    """
    of = metric(name)
    items = counted(panel, of).sum(1)
    value = values(panel, of)
    low, high = np.full((2, len(value)), np.nan)
    mean = Interval(float(mean_of(value)), math.nan, math.nan)
    if replicates:
        bootstrap = bootstrapped([panel], of, replicates, seed)[0]
        low, high = score_bounds(of, bootstrap.countries())
        mean = interval_of(of, mean.value, bootstrap.mean())
    lines = [
        np.where(items > 0, reference_values(seen(panel), of, kind, pool, seed), np.nan)
        for kind in ("uniform", "ceiling", others_line(of))
    ]
    table = zip(*(x.tolist() for x in (value, low, high, *lines, items)), strict=True)
    return Score(
        of.name,
        mean,
        *(float(mean_of(line)) for line in lines),
        {iso3: CountryScore(*row) for iso3, row in zip(panel.countries, table, strict=True)},
    )


@dataclass(frozen=True)
class Comparison:
    """How much closer the second run is than the first: per country, and on average."""

    metric: str
    mean: Difference
    countries: Mapping[str, Difference]


def compare(
    a: Panel, b: Panel, name: str | Metric = HEADLINE, *, replicates: int = 2000, seed: int = 0
) -> Comparison:
    """Paired differences b - a, on the cells that both models were asked.

    Items and respondents are resampled together for both. A difference is `clear` where its 95%
    interval excludes zero.
    """
    countries, mean = _differences(a, b, metric(name), replicates, seed)
    return Comparison(metric(name).name, mean, dict(zip(a.countries, countries, strict=True)))


def _differences(
    a: Panel, b: Panel, of: Metric, replicates: int, seed: int
) -> tuple[list[Difference], Difference]:
    """Of each country, and of the mean over countries."""
    one, other = bootstrapped(paired(a, b), of, replicates, seed)
    both = other.less(one)
    mean = difference(np.atleast_1d(mean_of(both.value)), both.mean())
    return difference(both.value, both.countries()), mean[0]


class OverSeeds(NamedTuple):
    """What several trainings from different seeds did to one score, averaged over the seeds.

    before, after: mean scores over countries. change: after - before. countries: the same by
    country. by_seed: each seed's change of the mean.
    """

    before: Interval
    after: Interval
    change: Difference
    countries: Mapping[str, Difference]
    by_seed: tuple[float, ...]


def compare_seeds(
    pairs: Sequence[tuple[Panel, Panel]],
    name: str | Metric = HEADLINE,
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> OverSeeds:
    """Paired differences b - a averaged over seeds, one pair of panels a seed.

    On the cells that every model was asked. Items and respondents are resampled together for all
    of them; what another seed would give is added by with_seeds().
    """
    of = metric(name)
    panels = {id(panel): panel for pair in pairs for panel in pair}
    asked = np.logical_and.reduce([panel.asked for panel in panels.values()])[..., None]
    first = next(iter(panels.values()))
    for panel in panels.values():
        paired(first, panel)
    masked = [replace(p, human=np.where(asked, p.human, np.nan)) for p in panels.values()]
    found = dict(zip(panels, bootstrapped(masked, of, replicates, seed), strict=True))
    ones, others = ([found[id(side)] for side in sides] for sides in zip(*pairs, strict=True))
    changes = [b.less(a) for a, b in zip(ones, others, strict=True)]
    rng = np.random.default_rng(seed)
    before, after = (
        interval_of(of, float(mean_of(_average(s).value)), _mean_over_seeds(s, rng))
        for s in (ones, others)
    )
    both = _average(changes)
    by_seed = [float(mean_of(one.value)) for one in changes]
    mean = difference(np.atleast_1d(mean_of(both.value)), _mean_over_seeds(changes, rng))[0]
    drawn = with_seeds(both.countries(), np.array([one.value for one in changes]), rng)
    countries = dict(zip(first.countries, difference(both.value, drawn), strict=True))
    return OverSeeds(before, after, mean, countries, tuple(by_seed))


def _average(of: Sequence[Bootstrap]) -> Bootstrap:
    """The mean over seeds, draw by draw."""
    parts = tuple((share / len(of), at) for one in of for share, at in one.parts)
    return Bootstrap(of[0].of, parts, sum(one.drawn for one in of) / len(of))


def _mean_over_seeds(of: Sequence[Bootstrap], rng: np.random.Generator) -> np.ndarray:
    """float64[B, 1]: replicates of the mean over countries and seeds."""
    by_seed = np.array([[float(mean_of(one.value))] for one in of])
    return with_seeds(_average(of).mean(), by_seed, rng)


class Grid(NamedTuple):
    """Scores by topic and country, arrays [T, C]. Intervals are NaN without replicates."""

    topics: tuple[str, ...]
    countries: tuple[str, ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    items: np.ndarray


class ChangeGrid(NamedTuple):
    """Differences by topic and country, arrays [T, C].

    q: Benjamini-Hochberg over the whole grid. clear: q below 0.05.
    """

    topics: tuple[str, ...]
    countries: tuple[str, ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    q: np.ndarray
    clear: np.ndarray


def by_topic(
    panel: Panel, name: str | Metric = HEADLINE, *, replicates: int = 0, seed: int = 0
) -> Grid:
    """Each topic's own score, per country."""
    of = metric(name)
    topics = topics_of(panel)
    rows = []
    for ids in topics.values():
        part = panel.only(items=ids)
        value = values(part, of)
        items = counted(part, of).sum(1)
        low, high = np.full((2, len(value)), np.nan)
        if replicates:
            low, high = score_bounds(of, bootstrapped([part], of, replicates, seed)[0].countries())
        rows.append((value, low, high, items))
    return Grid(tuple(topics), panel.countries, *(np.array(x) for x in zip(*rows, strict=True)))


def compare_topics(
    a: Panel, b: Panel, name: str | Metric = HEADLINE, *, replicates: int = 10_000, seed: int = 0
) -> ChangeGrid:
    """Paired differences b - a of every topic and country, with q-values over the grid.

    Thousands of replicates are needed: the smallest p they can give is 2 / (1 + replicates).
    """
    topics = topics_of(a)
    rows = [
        _differences(a.only(ids), b.only(ids), metric(name), replicates, seed)[0]
        for ids in topics.values()
    ]
    value, low, high, p, _ = np.moveaxis(np.array(rows, float), -1, 0)
    q = benjamini_hochberg(p)
    return ChangeGrid(tuple(topics), a.countries, value, low, high, p, q, q < 0.05)


def by_zone(
    panel: Panel,
    zones: Mapping[str, str],
    name: str | Metric = HEADLINE,
    *,
    replicates: int = 0,
    seed: int = 0,
) -> dict[str, Interval]:
    """Mean score of the countries of each zone. zones: iso3 -> zone (a continent, a region)."""
    of = metric(name)
    value = values(panel, of)
    bootstrap = bootstrapped([panel], of, replicates, seed)[0] if replicates else None
    result = {}
    for zone in dict.fromkeys(zones[iso3] for iso3 in panel.countries):
        mine = np.array([zones[iso3] == zone for iso3 in panel.countries])
        mean = float(mean_of(value[mine]))
        result[zone] = (
            interval_of(of, mean, bootstrap.mean(mine))
            if bootstrap
            else Interval(mean, math.nan, math.nan)
        )
    return result


class ItemLines(NamedTuple):
    """float64[C, I] each: what even odds on every option, and what another sample of the same
    people, would score on single items. NaN where people were not asked or their number is not
    known."""

    floor: np.ndarray
    ceiling: np.ndarray


def item_lines(panel: Panel, name: str | Metric = HEADLINE, *, seed: int = 0) -> ItemLines:
    """The lines beside by_item, on the cells that the model was asked."""
    of, panel = metric(name), seen(panel)
    floor = item_scores(of, panel.layout, panel.human, uniform_guess(panel, panel))
    draws = [
        item_scores(of, panel.layout, panel.human, as_guess(drawn))
        for drawn in count_tables(panel, CEILING_DRAWS, np.random.default_rng(seed))
    ]
    ceiling = np.concatenate(draws).mean(0)
    return ItemLines(floor, np.where(panel.n_valid > 0, ceiling, np.nan))


# Samples of respondents by which the chance in one country's answers to an item is told.
ITEM_DRAWS = 200


def compare_items(
    a: Panel, b: Panel, name: str | Metric = HEADLINE, *, seed: int = 0
) -> list[Difference]:
    """How much closer the second run is on each item: b - a on the cells that both were asked,
    averaged over countries.

    Of several countries with Student's interval over them, which holds the chance of respondents
    as well, since each country has a sample of its own. Of one country the interval says what
    other respondents would have changed; it is NaN where their number is not known. clear: q
    below 0.05 (Benjamini-Hochberg over the items).
    """
    of = metric(name)
    a, b = paired(a, b)
    cells = by_item(b, of) - by_item(a, of)
    n = (~np.isnan(cells)).sum(0)
    value = mean_of(cells, 0)
    if len(a.countries) > 1:
        error = np.sqrt(mean_of((cells - value) ** 2, 0) / np.maximum(n - 1, 1))
        error = np.where(n > 1, error, np.nan)
        freedom = np.maximum(n - 1, 1)
    else:
        people = resampled_people(a, ITEM_DRAWS, np.random.default_rng(seed))
        drawn = [item_scores(of, one.layout, people, one.guess) for one in (a, b)]
        error = np.where(a.n_valid > 0, (drawn[1] - drawn[0]).std(0), np.nan)[0]
        freedom = np.full(n.shape, np.inf)
    p = two_sided(value, error, freedom)
    half = error * np.array([Z if np.isinf(v) else t_quantile(v) for v in freedom])
    clear = benjamini_hochberg(p) < 0.05
    rows = zip(*(x.tolist() for x in (value, value - half, value + half, p, clear)), strict=True)
    return [Difference(*row) for row in rows]

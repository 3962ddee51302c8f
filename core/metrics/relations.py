"""How countries lie to one another in a model's answers, against how they do in people's.

A score says how close; this says whether the closeness is about the country at all, apart from
the shift that all countries share. Arrays in, numbers out, as in core/metrics/metrics.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from core.metrics.bootstrap import (
    Difference,
    Interval,
    bounds,
    difference,
    item_counts,
    widened,
    with_seeds,
)
from core.metrics.distances import DISTANCES
from core.metrics.metrics import HEADLINE, Metric, metric, summable_terms
from core.metrics.panel import Guess, Layout, Panel, most_likely, one_hot, same_country

# -- which people each persona is like -------------------------------------------------------------


class Transfer(NamedTuple):
    """How each persona fits each country's people.

    raw: float64[P, C], score of persona p on country c. centred: raw less its row's and its
    column's mean (plus the overall mean): what is left once "some personas fit everyone" and
    "some countries are easy" are taken out. rank, centred_rank: int[P], 1 where the persona fits
    its own country best (0 where the country is not among the columns). best: the country that
    each persona fits best. advantage: mean of `centred` on the own countries, with the interval
    of other items of the kind (NaN without replicates).
    """

    personas: tuple[str, ...]
    countries: tuple[str, ...]
    raw: np.ndarray
    centred: np.ndarray
    rank: np.ndarray
    centred_rank: np.ndarray
    best: tuple[str, ...]
    advantage: Interval


def transfer(
    panel: Panel,
    name: str | Metric = HEADLINE,
    pool: Panel | None = None,
    *,
    replicates: int = 0,
    seed: int = 0,
) -> Transfer:
    """Score every persona of the panel (its countries) on the people of every country of pool.

    replicates: draws of whole items for the interval of the advantage.
    """
    of, lay = metric(name), panel.layout
    pool = pool or panel
    shape = (len(panel.countries), *pool.human.shape[:2])
    gap, against = np.zeros(shape), np.zeros(shape)
    for p in range(len(panel.countries)):
        guess = Guess(*(None if part is None else part[p : p + 1] for part in panel.guess))
        guess = guess._replace(
            model=np.broadcast_to(guess.model, pool.human.shape),
            choice=np.broadcast_to(guess.choice, pool.human.shape),
        )
        gap[p], against[p] = summable_terms(of, lay, pool.human, guess)
    raw = of.value(gap.sum(-1), against.sum(-1))
    centred = double_centred(raw)
    own = same_country(panel, pool)
    advantage = _own_mean(centred, own)
    low = high = math.nan
    if replicates and math.isfinite(advantage):
        counts = item_counts(shape[2], replicates, np.random.default_rng(seed))
        # Two plain matrix products; as a stack of them numpy takes ten times as long.
        sums = [counts @ x.reshape(-1, shape[2]).T for x in (gap, against)]
        drawn = of.value(*sums).reshape(replicates, *own.shape)
        each = np.array([_own_mean(double_centred(x), own) for x in drawn])
        weight = against[own].sum(0, keepdims=True)
        low, high = _spread(advantage, each, weight)
    return Transfer(
        panel.countries,
        pool.countries,
        raw,
        centred,
        _own_rank(raw, own),
        _own_rank(centred, own),
        tuple(pool.countries[best] for best in np.nan_to_num(raw, nan=-np.inf).argmax(1)),
        Interval(advantage, low, high),
    )


def _own_mean(matrix: np.ndarray, own: np.ndarray) -> float:
    here = matrix[own & ~np.isnan(matrix)]
    return float(here.mean()) if len(here) else math.nan


def _spread(value: float, drawn: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """The 95% interval of one number from its replicates [B]; weight [1, I] as in widened()."""
    low, high = bounds(widened(np.array([value]), drawn[:, None], weight))
    return float(low[0]), float(high[0])


def double_centred(matrix: np.ndarray) -> np.ndarray:
    """A matrix less its row means and column means, plus its overall mean (NaN cells apart)."""
    there = ~np.isnan(matrix)
    filled = np.where(there, matrix, 0)

    def mean(axis: int | None) -> np.ndarray:
        n = there.sum(axis, keepdims=True)
        return np.where(n > 0, filled.sum(axis, keepdims=True) / np.maximum(n, 1), np.nan)

    return matrix - mean(1) - mean(0) + mean(None)


def _own_rank(scores: np.ndarray, own: np.ndarray) -> np.ndarray:
    mine = np.where(own, scores, -np.inf).max(1, keepdims=True)
    return np.where(own.any(1), 1 + (scores > mine).sum(1), 0)


# -- how far countries lie apart -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Distances:
    """How far countries lie from one another, in the model's answers and in people's.

    model_cells, people_cells: float64[pairs, I], item by item for every pair of countries (first
    with second, first with third, …), NaN where either has no answer. Distances run from 0 to 1.
    """

    countries: tuple[str, ...]
    model_cells: np.ndarray
    people_cells: np.ndarray

    @cached_property
    def model(self) -> np.ndarray:
        """float64[C, C]: mean distance over the items that both countries have."""
        return self._square(self.model_cells)

    @cached_property
    def people(self) -> np.ndarray:
        return self._square(self.people_cells)

    def _square(self, cells: np.ndarray) -> np.ndarray:
        n = len(self.countries)
        square = np.zeros((n, n))
        upper = np.triu_indices(n, 1)
        square[upper] = _item_mean(cells, np.ones((1, cells.shape[1])))[:, 0]
        return square + square.T


def distances(panel: Panel, kind: str = "emd", choices: bool = False) -> Distances:
    """Distances between the countries of a panel, on the cells that both sides have.

    kind: a distance of metrics.DISTANCES. choices: compare the one answer chosen with people's
    commonest one instead of whole distributions (for answers given once, which have no spread of
    their own; see single_answers).
    """
    cells = []
    for side in _sides(panel, choices):
        rows = [
            DISTANCES[kind](panel.layout, side[a + 1 :], side[a])
            for a in range(len(panel.countries) - 1)
        ]
        cells.append(np.concatenate(rows) if rows else np.zeros((0, len(panel.items))))
    return Distances(panel.countries, *cells)


def single_answers(panel: Panel) -> bool:
    """True where each answer of the model is one option and no distribution."""
    there = ~np.isnan(panel.model[..., 0])
    return bool(there.any() and (panel.model[there].max(-1) > 1 - 1e-9).all())


def _sides(panel: Panel, choices: bool) -> tuple[np.ndarray, np.ndarray]:
    """The model's and people's [C, I, K] on the cells both have; one-hot where choices."""
    model, people = panel.model, panel.human
    if choices:
        model, people = panel.guess.choice, one_hot(most_likely(people), people.shape[-1])
    both = ~np.isnan(model) & ~np.isnan(people)
    return np.where(both, model, np.nan), np.where(both, people, np.nan)


def _item_mean(cells: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """float64[pairs, B]: means of the cells [pairs, I] weighted by counts [B, I]."""
    there = ~np.isnan(cells)
    n = there @ counts.T
    total = np.where(there, cells, 0) @ counts.T
    return np.where(n > 0, total / np.where(n > 0, n, 1), np.nan)


class Diversity(NamedTuple):
    """Mean distance between countries, among the model's answers and people's.

    ratio: model / people. Below 1 the answers of different countries are too much alike. low,
    high: its 95% interval over items of the kind (NaN without replicates).
    """

    ratio: float
    low: float
    high: float
    model: float
    people: float


def diversity(apart: Distances, *, replicates: int = 0, seed: int = 0) -> Diversity:
    """How far countries lie apart in the model's answers, against how far people do."""
    every = np.ones((1, apart.model_cells.shape[1]))
    model, people = (float(x[0]) for x in _means(apart, every))
    ratio = float(_ratios(apart, every)[0])
    low = high = math.nan
    if replicates and math.isfinite(ratio):
        counts = item_counts(every.size, replicates, np.random.default_rng(seed))
        low, high = _spread(ratio, _ratios(apart, counts), _used(apart))
    return Diversity(ratio, low, high, model, people)


def diversity_change(
    one: Distances, other: Distances, *, replicates: int = 1000, seed: int = 0
) -> Difference:
    """By how much the second run's ratio is the larger; same items, same countries, paired."""
    every = np.ones((1, one.model_cells.shape[1]))
    value = _ratios(other, every) - _ratios(one, every)
    counts = item_counts(every.size, replicates, np.random.default_rng(seed))
    drawn = (_ratios(other, counts) - _ratios(one, counts))[:, None]
    weight = np.minimum(_used(one), _used(other))
    return difference(value, widened(value, drawn, weight))[0]


class DiversityOverSeeds(NamedTuple):
    """Mean ratios over seeds, and by how much the later one is the larger."""

    before: Interval
    after: Interval
    change: Difference


def diversity_seeds(
    pairs: Sequence[tuple[Distances, Distances]], *, replicates: int = 1000, seed: int = 0
) -> DiversityOverSeeds:
    """Diversity before and after, one pair a seed: same items, same countries, paired.

    Items are resampled together for all; see metrics.with_seeds() for what seeds add.
    """
    parts = {id(one): one for pair in pairs for one in pair}
    every = np.ones((1, next(iter(parts.values())).model_cells.shape[1]))
    rng = np.random.default_rng(seed)
    counts = item_counts(every.size, replicates, rng)
    value = {key: _ratios(one, every) for key, one in parts.items()}
    drawn = {key: _ratios(one, counts)[:, None] for key, one in parts.items()}
    weight = np.minimum.reduce([_used(one) for one in parts.values()])

    def spread(values: list[np.ndarray], draws: list[np.ndarray]) -> tuple:
        mean = np.mean(values, axis=0)
        wide = widened(mean, sum(draws) / len(draws), weight)
        return mean, with_seeds(wide, np.array(values), rng)

    sides = []
    for side in zip(*pairs, strict=True):
        keys = [id(one) for one in side]
        mean, wide = spread([value[k] for k in keys], [drawn[k] for k in keys])
        low, high = bounds(wide)
        sides.append(Interval(float(mean[0]), float(low[0]), float(high[0])))
    keys = [(id(a), id(b)) for a, b in pairs]
    change = difference(
        *spread([value[b] - value[a] for a, b in keys], [drawn[b] - drawn[a] for a, b in keys])
    )[0]
    return DiversityOverSeeds(*sides, change)


def _means(apart: Distances, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64[B] each: mean distance among the model's countries and people's, items weighted by
    counts [B, I]."""
    model, people = (
        _overall(_item_mean(cells, counts)) for cells in (apart.model_cells, apart.people_cells)
    )
    return model, people


def _ratios(apart: Distances, counts: np.ndarray) -> np.ndarray:
    model, people = _means(apart, counts)
    return np.where(people > 0, model / np.where(people > 0, people, 1), np.nan)


def _used(apart: Distances) -> np.ndarray:
    """float64[1, I]: in how many pairs of countries each item counts."""
    return (~np.isnan(apart.people_cells)).sum(0, keepdims=True).astype(float)


def _overall(by_pair: np.ndarray) -> np.ndarray:
    """float64[B]: mean over the pairs [pairs, B] that have a distance."""
    there = ~np.isnan(by_pair)
    n = there.sum(0)
    return np.where(n > 0, np.where(there, by_pair, 0).sum(0) / np.maximum(n, 1), np.nan)


class Mantel(NamedTuple):
    """Correlation of two tables of distances, and how rarely chance does as well."""

    r: float
    p: float


def agreement(apart: Distances, seed: int = 0) -> Mantel:
    """Do countries that people's answers put close together lie close in the model's? Mantel."""
    return mantel(apart.model, apart.people, seed=seed)


def mantel(one: np.ndarray, other: np.ndarray, permutations: int = 9999, seed: int = 0) -> Mantel:
    """Correlation of two distance matrices over pairs, with a one-sided permutation p.

    p: how often a relabelling of the countries correlates at least as well (Mantel 1967).
    """
    size = len(one)
    upper = np.triu_indices(size, 1)
    x, y = one[upper], other[upper]
    if size < 3 or np.std(x) == 0 or np.std(y) == 0 or np.isnan(x).any() or np.isnan(y).any():
        return Mantel(math.nan, math.nan)
    x = (x - x.mean()) / x.std()
    r = float(x @ (y - y.mean()) / y.std() / len(x))
    rng = np.random.default_rng(seed)
    relabelled = np.argsort(rng.random((permutations, size)), axis=1)
    shuffled = other[relabelled[:, upper[0]], relabelled[:, upper[1]]]
    rs = (shuffled - y.mean()) @ x / y.std() / len(x)
    return Mantel(r, float((1 + (rs >= r - 1e-12).sum()) / (1 + permutations)))


def alike_order(apart: np.ndarray) -> list[int]:
    """An order of countries in which those that lie close together stand together.

    apart: float64[C, C], distances. Average linkage: the two groups that are nearest on average
    are joined until one is left, each time with their nearest ends meeting.
    """
    groups = [[k] for k in range(len(apart))]
    near = np.nan_to_num(apart, nan=1.0) + np.diag(np.full(len(apart), np.inf))
    while len(groups) > 1:
        a, b = sorted(np.unravel_index(near.argmin(), near.shape))
        sizes = len(groups[a]), len(groups[b])
        joined = np.average(near[[a, b]], axis=0, weights=sizes)
        near[a], near[:, a], near[a, a] = joined, joined, np.inf
        near = np.delete(np.delete(near, b, 0), b, 1)
        right = groups.pop(b)
        turns = [(x, y) for x in (groups[a], groups[a][::-1]) for y in (right, right[::-1])]
        first, second = min(turns, key=lambda pair: apart[pair[0][-1], pair[1][0]])
        groups[a] = [*first, *second]
    return groups[0] if groups else []


# -- how countries deviate from their common mean --------------------------------------------------


class Signal(NamedTuple):
    """How the model's countries deviate from their common mean, against how people's do.

    Per item scaled from 0 to 1, after taking out each item's mean over countries.
    correlation: float64[C]. rank: int[C], place of the own country when the model's deviations
    are correlated with every country's (1 is best). spread_model, spread_people: standard
    deviation between countries, averaged over items. items: how many were used.
    """

    correlation: np.ndarray
    rank: np.ndarray
    spread_model: float
    spread_people: float
    items: int


def mean_answer(lay: Layout, shares: np.ndarray) -> np.ndarray:
    """float64[..., I]: E[answer] on the item's scale, 0 (low end) to 1; off-scale codes apart.

    NaN for items without a scale and where there is no answer on the scale.
    """
    on = shares * lay.on
    mass = on.sum(-1)
    rank = np.where(lay.on, np.cumsum(lay.on, -1) - 1, 0)
    usable = (mass > 0) & lay.on.any(-1)
    return np.where(usable, (on * rank).sum(-1) / np.where(usable, mass, 1) / lay.steps, np.nan)


def signal(panel: Panel, choices: bool = False) -> Signal:
    """Deviations from the common mean, on the items that every country of the panel has.

    choices: the one answer chosen and people's commonest one, instead of mean answers.
    """
    model, people = (mean_answer(panel.layout, side) for side in _sides(panel, choices))
    used = ~np.isnan(model).any(0) & ~np.isnan(people).any(0)
    model, people = (x[:, used] - x[:, used].mean(0) for x in (model, people))
    if not used.any() or len(panel.countries) < 2:
        nan = np.full(len(panel.countries), np.nan)
        return Signal(nan, np.zeros(len(nan), int), math.nan, math.nan, int(used.sum()))

    def unit(x: np.ndarray) -> np.ndarray:
        x = x - x.mean(1, keepdims=True)
        length = np.linalg.norm(x, axis=1, keepdims=True)
        return np.where(length > 0, x / np.where(length > 0, length, 1), np.nan)

    table = unit(model) @ unit(people).T
    return Signal(
        np.diag(table).copy(),
        _own_rank(table, np.eye(len(table), dtype=bool)),
        float(model.std(0).mean()),
        float(people.std(0).mean()),
        int(used.sum()),
    )


_IW_INTERCEPT = (-3.0960, 4.0294)

# Standard deviation of the published scores around the fitted ones.
IW_RESIDUAL = (0.054, 0.081)


def ellipse(centre: np.ndarray, covariance: np.ndarray, points: int = 48) -> np.ndarray:
    """float64[points, 2]: the edge of the 95% region of a normal distribution in the plane."""
    values, vectors = np.linalg.eigh(covariance)
    turn = np.linspace(0, 2 * np.pi, points)
    circle = np.stack([np.cos(turn), np.sin(turn)], -1)
    # 5.991: the 95% point of a chi-square with two degrees of freedom.
    return centre + circle * np.sqrt(5.991 * np.maximum(values, 0)) @ vectors.T

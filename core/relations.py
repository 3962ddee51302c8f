"""How countries lie to one another in a model's answers, against how they do in people's.

A score says how close; this says whether the closeness is about the country at all, apart from
the shift that all countries share. Arrays in, numbers out, as in core/metrics.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.metrics import (
    HEADLINE,
    Guess,
    Layout,
    Metric,
    Panel,
    closeness,
    metric,
    most_likely,
    one_hot,
    pairwise,
    same_country,
)
from core.survey import Item


class Transfer(NamedTuple):
    """How each persona fits each country's people.

    raw: float64[P, C], score of persona p on country c. centred: raw less its row's and its
    column's mean (plus the overall mean): what is left once "some personas fit everyone" and
    "some countries are easy" are taken out. rank, centred_rank: int[P], 1 where the persona fits
    its own country best (0 where the country is not among the columns). best: the country that
    each persona fits best. advantage: mean of `centred` on the own countries.
    """

    personas: tuple[str, ...]
    countries: tuple[str, ...]
    raw: np.ndarray
    centred: np.ndarray
    rank: np.ndarray
    centred_rank: np.ndarray
    best: tuple[str, ...]
    advantage: float


def transfer(panel: Panel, name: str | Metric = HEADLINE, pool: Panel | None = None) -> Transfer:
    """Score every persona of the panel (its countries) on the people of every country of pool."""
    of = metric(name)
    pool = pool or panel
    raw = np.full((len(panel.countries), len(pool.countries)), np.nan)
    for p in range(len(panel.countries)):
        guess = Guess(*(None if part is None else part[p : p + 1] for part in panel.guess))
        shape = pool.human.shape
        guess = guess._replace(
            model=np.broadcast_to(guess.model, shape), choice=np.broadcast_to(guess.choice, shape)
        )
        raw[p] = closeness(of, panel.layout, pool.human, guess)
    centred = double_centred(raw)
    own = same_country(panel, pool)
    here = centred[own & ~np.isnan(centred)]
    return Transfer(
        panel.countries,
        pool.countries,
        raw,
        centred,
        _own_rank(raw, own),
        _own_rank(centred, own),
        tuple(pool.countries[best] for best in np.nan_to_num(raw, nan=-np.inf).argmax(1)),
        float(here.mean()) if len(here) else math.nan,
    )


def double_centred(matrix: np.ndarray) -> np.ndarray:
    """A matrix less its row means and column means, plus its overall mean (NaN cells apart)."""
    rows = np.nanmean(matrix, axis=1, keepdims=True)
    columns = np.nanmean(matrix, axis=0, keepdims=True)
    return matrix - rows - columns + np.nanmean(matrix)


def _own_rank(scores: np.ndarray, own: np.ndarray) -> np.ndarray:
    mine = np.where(own, scores, -np.inf).max(1, keepdims=True)
    return np.where(own.any(1), 1 + (scores > mine).sum(1), 0)


def own_rank(panel: Panel, name: str | Metric = HEADLINE, pool: Panel | None = None) -> np.ndarray:
    """int[P]: place of each persona's own country among the countries it fits (1 is best)."""
    return transfer(panel, name, pool).rank


class Mantel(NamedTuple):
    r: float
    p: float


class Diversity(NamedTuple):
    """Mean distance between the countries of a panel, among the model's answers and people's.

    ratio: model / people. Below 1 the answers of different countries are too much alike.
    """

    ratio: float
    model: float
    people: float


def diversity(panel: Panel, kind: str = "emd", choices: bool = False) -> Diversity:
    """How far countries lie apart in the model's answers, against how far people do.

    On the cells that both sides have. kind: a distance of DISTANCES. choices: compare the one
    answer chosen with people's commonest one instead of whole distributions (for answers
    written once, which have no spread of their own).
    """
    model, people = _sides(panel, choices)
    apart = [
        _off_diagonal_mean(pairwise(side, side, panel.layout, kind)) for side in (model, people)
    ]
    return Diversity(apart[0] / apart[1] if apart[1] > 0 else math.nan, *apart)


def _sides(panel: Panel, choices: bool) -> tuple[np.ndarray, np.ndarray]:
    """The model's and people's [C, I, K] on the cells both have; one-hot where choices."""
    model, people = panel.model, panel.human
    if choices:
        model, people = panel.guess.choice, one_hot(most_likely(people), people.shape[-1])
    both = ~np.isnan(model) & ~np.isnan(people)
    return np.where(both, model, np.nan), np.where(both, people, np.nan)


def agreement(panel: Panel, kind: str = "emd", choices: bool = False, seed: int = 0) -> Mantel:
    """Do countries that people's answers put close together lie close in the model's? Mantel."""
    model, people = _sides(panel, choices)
    return mantel(
        pairwise(model, model, panel.layout, kind),
        pairwise(people, people, panel.layout, kind),
        seed=seed,
    )


def _off_diagonal_mean(matrix: np.ndarray) -> float:
    cells = matrix[~np.eye(len(matrix), dtype=bool)]
    cells = cells[~np.isnan(cells)]
    return float(cells.mean()) if len(cells) else math.nan


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


# ------------------------------------------------------------------------------------------------
# The Inglehart-Welzel map


class _Indicator(NamedTuple):
    """One of the ten indicators: shares of a code (or a code's number) summed, and its weight on
    the two axes."""

    terms: tuple[tuple[str, dict[int, float]], ...]
    constant: float
    traditional_secular: float
    survival_self_expression: float


def _number(sign: int, last: int) -> dict[int, float]:
    return {code: float(sign * code) for code in range(1, last + 1)}


# Fitted to the published country scores of 49 countries, leave-one-out R² 0.994 and 0.988. A
# factor analysis of WVS-7 alone mixes the axes (r 0.83 and 0.87, one flipped); this does not.
# Higher is secular-rational, and self-expression.
_IW = (
    _Indicator((("Q46", _number(-1, 4)),), 0, -0.8579, 0.9937),  # happiness
    _Indicator((("Q57", _number(-1, 2)),), 0, 0.1167, 1.0830),  # trust in people
    _Indicator((("Q45", _number(1, 3)),), 0, 0.5893, -0.1537),  # respect for authority
    _Indicator((("Q209", _number(-1, 3)),), 0, 0.0766, 0.6918),  # signing a petition
    _Indicator((("Q164", _number(-1, 10)),), 0, 0.1361, 0.0468),  # importance of God
    _Indicator((("Q182", _number(1, 10)),), 0, 0.0712, 0.1675),  # homosexuality
    _Indicator((("Q184", _number(1, 10)),), 0, 0.1147, 0.1422),  # abortion
    _Indicator((("Q254", _number(1, 4)),), 0, 0.8479, -0.5453),  # national pride, code 5 apart
    _Indicator(  # post-materialism: 1 + more say or free speech, first and second choice
        (("Q154", {1: 0, 2: 1, 3: 0, 4: 1}), ("Q155", {1: 0, 2: 1, 3: 0, 4: 1})),
        1,
        -0.1453,
        0.7904,
    ),
    _Indicator(  # autonomy: independence + determination - religious faith - obedience
        (
            ("Q8", {1: 1, 2: 0}),
            ("Q14", {1: 1, 2: 0}),
            ("Q15", {1: -1, 2: 0}),
            ("Q17", {1: -1, 2: 0}),
        ),
        0,
        0.0910,
        -0.0745,
    ),
)
_IW_INTERCEPT = (-3.0960, 4.0294)

IW_ITEMS: tuple[str, ...] = tuple(item_id for part in _IW for item_id, _ in part.terms)


def inglehart_welzel(items: Sequence[Item], shares: np.ndarray) -> np.ndarray:
    """float64[C, 2]: traditional–secular and survival–self-expression coordinates.

    From distributions [C, I, K] by a fixed linear map of ten indicators' means, so a model's
    E[answer] goes in and not its one answer (which flies off the map). NaN where one of the
    items of IW_ITEMS is missing. The axes carry at best 73% of what separates countries on ten
    of the survey's items.
    """
    at = {item.id: i for i, item in enumerate(items)}
    result = np.tile(_IW_INTERCEPT, (len(shares), 1))
    for part in _IW:
        mean = np.full(len(shares), float(part.constant))
        for item_id, weights in part.terms:
            if item_id not in at:
                return np.full((len(shares), 2), np.nan)
            codes = items[at[item_id]].codes
            used = [k for k, code in enumerate(codes) if code in weights]
            p = shares[:, at[item_id], used]
            mass = p.sum(1)
            mean += np.where(
                mass > 0,
                p @ [weights[codes[k]] for k in used] / np.where(mass > 0, mass, 1),
                np.nan,
            )
        result += mean[:, None] * (part.traditional_secular, part.survival_self_expression)
    return result

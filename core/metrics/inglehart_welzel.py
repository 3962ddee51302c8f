"""The cultural map's two axes, from the items that make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.metrics.relations import _IW_INTERCEPT, IW_RESIDUAL
from core.survey.survey import Item


def limits(people: pd.DataFrame) -> tuple[float, float, float, float]:
    """Ends of the map's axes (x low, x high, y low, y high): people's own, with some room."""
    ends = []
    for column in ("x", "y"):
        low, high = float(people[column].min()), float(people[column].max())
        room = 0.14 * (high - low)
        ends += [low - room, high + room]
    return tuple(ends)


class Indicator(NamedTuple):
    """One of the ten indicators of the map.

    label: what its high end means. axis: "secular" or "self-expression", the axis it was made
    for, and loading: how strongly it goes with that axis in the published factor analysis
    (Inglehart & Welzel 2005, p. 49). terms: shares of codes (or the codes' numbers) summed over
    items, with a constant. weights: what one unit of it moves a country on both axes here.
    """

    label: str
    axis: str
    loading: float
    terms: tuple[tuple[str, dict[int, float]], ...]
    weights: tuple[float, float]
    constant: float = 0.0


def _number(sign: int, last: int) -> dict[int, float]:
    return {code: float(sign * code) for code in range(1, last + 1)}


# Weights fitted to the published country scores of 49 countries, leave-one-out R² 0.994 and 0.988.
# A factor analysis of WVS-7 alone mixes the axes (r 0.83 and 0.87, one flipped); this does not.
# Higher is secular-rational, and self-expression.
INDICATORS: tuple[Indicator, ...] = (
    Indicator(
        "God matters little",
        "secular",
        0.91,
        (("Q164", _number(-1, 10)),),
        (0.1361, 0.0468),
    ),
    Indicator(
        "Children should learn independence and determination, not faith and obedience",
        "secular",
        0.88,
        (
            ("Q8", {1: 1, 2: 0}),
            ("Q14", {1: 1, 2: 0}),
            ("Q15", {1: -1, 2: 0}),
            ("Q17", {1: -1, 2: 0}),
        ),
        (0.0910, -0.0745),
    ),
    Indicator(
        "Abortion can be justified", "secular", 0.82, (("Q184", _number(1, 10)),), (0.1147, 0.1422)
    ),
    Indicator(  # code 5, "not that nationality", stays apart
        "Little national pride", "secular", 0.81, (("Q254", _number(1, 4)),), (0.8479, -0.5453)
    ),
    Indicator(
        "More respect for authority would be bad",
        "secular",
        0.73,
        (("Q45", _number(1, 3)),),
        (0.5893, -0.1537),
    ),
    Indicator(  # 1 + more say or free speech, first and second choice
        "Having a say and free speech before order and prices",
        "self-expression",
        0.87,
        (("Q154", {1: 0, 2: 1, 3: 0, 4: 1}), ("Q155", {1: 0, 2: 1, 3: 0, 4: 1})),
        (-0.1453, 0.7904),
        1.0,
    ),
    Indicator("Happiness", "self-expression", 0.81, (("Q46", _number(-1, 4)),), (-0.8579, 0.9937)),
    Indicator(
        "Homosexuality can be justified",
        "self-expression",
        0.77,
        (("Q182", _number(1, 10)),),
        (0.0712, 0.1675),
    ),
    Indicator(
        "Has signed or might sign a petition",
        "self-expression",
        0.74,
        (("Q209", _number(-1, 3)),),
        (0.0766, 0.6918),
    ),
    Indicator(
        "Most people can be trusted",
        "self-expression",
        0.46,
        (("Q57", _number(-1, 2)),),
        (0.1167, 1.0830),
    ),
)


IW_ITEMS: tuple[str, ...] = tuple(item_id for part in INDICATORS for item_id, _ in part.terms)
# Items of the autonomy index: with the average of all countries in place of a country's own, two
# of them move no country of WVS-7 by more than 0.05, less than the residual.
IW_LIGHT: tuple[str, ...] = ("Q8", "Q14")


def inglehart_welzel(items: Sequence[Item], shares: np.ndarray) -> np.ndarray:
    """float64[..., 2]: traditional–secular and survival–self-expression coordinates.

    From distributions [..., I, K] by a fixed linear map of ten indicators' means, so a model's
    E[answer] goes in and not its one answer (which flies off the map). NaN where one of the
    items of IW_ITEMS is missing. The axes carry at best 73% of what separates countries on ten
    of the survey's items.
    """
    at = {item.id: i for i, item in enumerate(items)}
    result = np.tile(_IW_INTERCEPT, (*shares.shape[:-2], 1))
    for part in INDICATORS:
        mean = np.full(shares.shape[:-2], part.constant)
        for item_id, weights in part.terms:
            if item_id not in at:
                return np.full(result.shape, np.nan)
            codes = items[at[item_id]].codes
            used = [k for k, code in enumerate(codes) if code in weights]
            p = shares[..., at[item_id], :][..., used]
            mass = p.sum(-1)
            mean += np.where(
                mass > 0,
                p @ [weights[codes[k]] for k in used] / np.where(mass > 0, mass, 1),
                np.nan,
            )
        result += mean[..., None] * part.weights
    return result


def map_spread(
    items: Sequence[Item], answers: np.ndarray, *, replicates: int = 400, seed: int = 0
) -> np.ndarray:
    """float64[C, 2, 2]: how far positions on the map may be off, as covariances.

    answers: float64[C, I, N, K], the single answers of which a model's distribution is the mean
    (option orders, or samples), NaN where there are fewer than N. They are drawn again with
    replacement, item by item; the variance of so few is drawn out by n / (n - 1); and the map's
    own residual is added.
    """
    rng = np.random.default_rng(seed)
    there = ~np.isnan(answers[..., 0])
    n = there.sum(-1)
    order = np.argsort(~there, axis=-1, kind="stable")[..., None]  # answers first, gaps last
    ranked = np.nan_to_num(np.take_along_axis(answers, order, axis=-2))
    c, i = np.indices(n.shape)
    at = np.zeros((replicates, len(answers), 2))
    for b in range(replicates):
        picked = rng.random((*n.shape, there.shape[-1])) * np.maximum(n, 1)[..., None]
        drawn = ranked[c[..., None], i[..., None], picked.astype(int)]
        used = np.arange(there.shape[-1]) < n[..., None]
        shares = (drawn * used[..., None]).sum(-2) / np.where(n > 0, n, np.nan)[..., None]
        at[b] = inglehart_welzel(items, shares)
    off = at - at.mean(0)
    fewest = np.where(n > 1, n, n.max(initial=1)).min(-1)
    wider = np.where(fewest > 1, fewest / np.maximum(fewest - 1, 1), 0)
    covariance = np.einsum("bcx,bcy->cxy", off, off) / replicates * wider[:, None, None]
    return covariance + np.diag(np.square(IW_RESIDUAL))

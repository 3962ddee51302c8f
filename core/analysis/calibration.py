"""Temperature scaling of a model's distributions: as sure as people's answers bear out.

A model that is too sure of its answers, or not sure enough, is far from people even where it leans
the right way. One number a scale length sets that right (Guo et al. 2017) and moves no answer past
another, so what tuning or prompting gains beyond it is not a matter of sureness alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.analysis.cross_fitting import best, over_orders
from core.metrics.distances import earth_mover, total_variation
from core.metrics.panel import Layout

# Below 1 is surer, above 1 less sure. Steps of 5%, 1 among them.
TEMPERATURES = 1.05 ** np.arange(-47, 66)
_USUAL = 47  # the place of 1 among them
# A scale length with fewer items than this is too few to tell; all items together then decide.
FEWEST_ITEMS = 5


def apply(probs: np.ndarray, temperature: float | np.ndarray) -> np.ndarray:
    """float64[..., K]: p^(1/t), made to sum to 1. NaN rows stay NaN, what is 0 stays 0.

    temperature: broadcast over probs; above 1 evens a distribution out, below 1 sharpens it.
    """
    top = probs.max(-1, keepdims=True)
    powers = (probs / top) ** (1 / np.asarray(temperature, float))
    return powers / powers.sum(-1, keepdims=True)


def fit(
    probs: np.ndarray,
    people: np.ndarray,
    groups: np.ndarray,
    lay: Layout | None = None,
    train: np.ndarray | None = None,
) -> dict[int, float]:
    """The temperature of each group of items at which answers lie nearest to people's.

    probs: float64[C, I, O, K], a distribution for each country, item and option order, or
    [C, I, K]; one country may stand for all. people: float64[C, I, K], NaN where not asked.
    groups: int[I], such as the number of options. lay: how options lie on scales
    (metrics.layout); without it, or without a scale, distance is total variation. train: bool[I],
    the items to fit on, all by default. A group with fewer than FEWEST_ITEMS of them gets the
    temperature of all groups together.
    """
    return _fit(_losses(probs, people, lay), groups, train)


def cross_fit(
    probs: np.ndarray, people: np.ndarray, groups: np.ndarray, lay: Layout, folds: np.ndarray
) -> list[dict[int, float]]:
    """For each fold the temperatures fitted on the items of the other folds. See fit()."""
    losses = _losses(probs, people, lay)
    return [_fit(losses, groups, folds != fold) for fold in range(folds.max() + 1)]


def by_item(temperatures: Mapping[int, float], groups: np.ndarray) -> np.ndarray:
    """float64[I]: the temperature of each item's group; 1 for a group that has none."""
    return np.array([temperatures.get(int(group), 1.0) for group in groups])


def _losses(probs: np.ndarray, people: np.ndarray, lay: Layout | None) -> np.ndarray:
    """float64[T, C, I]: distance to people's shares at each temperature, orders averaged."""
    distance = earth_mover if lay else total_variation
    by_order = probs if probs.ndim == 4 else probs[:, :, None]
    return np.array([distance(lay, people, over_orders(apply(by_order, t))) for t in TEMPERATURES])


def _fit(losses: np.ndarray, groups: np.ndarray, train: np.ndarray | None) -> dict[int, float]:
    train = np.ones(len(groups), bool) if train is None else train
    # Items nobody was asked, or the model did not answer, are nothing to fit on.
    there = train & ~np.isnan(losses[_USUAL]).all(0)
    found = {}
    for group in np.unique(groups):
        mine = there & (groups == group)
        on = mine if mine.sum() >= FEWEST_ITEMS else there
        found[int(group)] = float(TEMPERATURES[best(losses, on, _USUAL)])
    return found

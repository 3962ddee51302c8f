"""How far two answers to an item lie apart: each distance with its formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.metrics.panel import Layout, layout
from core.survey.survey import Item


def total_variation(lay: Layout, p: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Half the sum of the differences: the share of answers that would have to change."""
    return 0.5 * np.abs(p - r).sum(-1)


def earth_mover(lay: Layout, p: np.ndarray, r: np.ndarray) -> np.ndarray:
    """How far answers would have to move along the scale, as a share of its length.

    On-scale codes are equally spaced; going from one end to the other costs 1. A code off the
    scale is 1 away from everything: the mass that differs between the scale as a whole and each
    off-scale code counts in full (total variation), and the mass both have on the scale is
    compared along it. An item without a scale has all its codes off it, so this is then total
    variation. It is a proper distance (zero only for equals, symmetric, triangle inequality:
    tests/unit/metrics/test_metrics.py) from 0 to 1.
    """
    p_on, r_on = p * lay.on, r * lay.on
    p_mass, r_mass = p_on.sum(-1, keepdims=True), r_on.sum(-1, keepdims=True)
    both = np.minimum(p_mass, r_mass)
    p_cdf = np.cumsum(p_on, -1) / np.where(p_mass > 0, p_mass, 1)
    r_cdf = np.cumsum(r_on, -1) / np.where(r_mass > 0, r_mass, 1)
    along = (both * np.abs(p_cdf - r_cdf) * lay.on).sum(-1) / lay.steps
    off = np.abs((p - p_on) - (r - r_on)).sum(-1) + np.abs(p_mass - r_mass)[..., 0]
    return along + 0.5 * off


def js_divergence(lay: Layout, p: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in bits (log base 2; its square root is the JS distance)."""
    middle = 0.5 * (p + r)

    def half(x: np.ndarray) -> np.ndarray:
        ratio = np.where(x > 0, x, 1) / np.where(x > 0, middle, 1)
        return (x * np.log2(ratio)).sum(-1)

    return np.maximum(0.5 * (half(p) + half(r)), 0)


def js_distance(lay: Layout, p: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Square root of the divergence in bits, a proper distance from 0 to 1."""
    return np.sqrt(js_divergence(lay, p, r))


DISTANCES: dict[str, Callable[[Layout, np.ndarray, np.ndarray], np.ndarray]] = {
    "emd": earth_mover,
    "tv": total_variation,
    "jsd": js_divergence,
    "jsdist": js_distance,
}


def item_distance(item: Item, p: np.ndarray, r: np.ndarray, kind: str = "emd") -> float:
    """Distance between two distributions over one item's options (0 to 1), for an item's page."""
    lay = layout([item])
    return float(DISTANCES[kind](lay, np.asarray(p)[None], np.asarray(r)[None])[0])


def pairwise(one: np.ndarray, other: np.ndarray, lay: Layout, kind: str = "emd") -> np.ndarray:
    """float64[A, B]: mean distance over the items both have, for [A, I, K] and [B, I, K]."""
    result = np.full((len(one), len(other)), np.nan)
    for a, shares in enumerate(one):
        cells = DISTANCES[kind](lay, other, shares)
        there = ~np.isnan(cells)
        n = there.sum(1)
        result[a] = np.where(n > 0, np.where(there, cells, 0).sum(1) / np.maximum(n, 1), np.nan)
    return result

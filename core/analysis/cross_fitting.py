"""Choose a setting on some items and use it on others, so that no item helps to set its own answer.

Items of one battery stay together: their answers give one another away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from core.errors import PluriscopeError

FOLDS = 5


# Why: docs/decisions.md, "A number set on people's answers is set on other batteries."
def folds(items: Sequence[str], batteries: Mapping[str, int], count: int = FOLDS) -> np.ndarray:
    """int[I]: the fold of each item, from 0. Batteries are kept whole and folds alike in size.

    batteries: item id -> number of its battery. The largest battery goes first, each into the fold
    that holds least; fewer batteries than `count` make as many folds. Raises PluriscopeError where
    all items are of one battery.
    """
    sizes = Counter(batteries[item] for item in items)
    if len(sizes) < 2:
        raise PluriscopeError(
            "All these questions are of one battery, so nothing can be chosen on others. Ask more "
            "questions, or set the number yourself."
        )
    held = [0] * min(count, len(sizes))
    fold_of = {}
    for battery, size in sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])):
        fold_of[battery] = held.index(min(held))
        held[fold_of[battery]] += size
    return np.array([fold_of[batteries[item]] for item in items])


def best(losses: np.ndarray, train: np.ndarray, usual: int) -> int:
    """Which of G settings loses least on the items in training.

    losses: float64[G, C, I], NaN where a cell does not count; every such cell counts alike. train:
    bool[I]. usual: the setting that changes nothing; it wins a tie, and where there is nothing to
    train on.
    """
    cells = losses[:, :, train].reshape(len(losses), -1)
    counts = ~np.isnan(cells[usual])
    if not counts.any():
        return usual
    mean = cells[:, counts].mean(1)
    least = np.flatnonzero(mean <= mean.min() + 1e-12)
    return int(least[np.argmin(np.abs(least - usual))])


def over_orders(spread: np.ndarray) -> np.ndarray:
    """float64[..., K]: the mean over option orders of [..., O, K], orders without an answer left
    out; NaN where there is none."""
    there = ~np.isnan(spread[..., :1])
    total = np.where(there, spread, 0).sum(-2)
    count = there.sum(-2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)

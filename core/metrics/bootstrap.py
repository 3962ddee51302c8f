"""Intervals: items drawn again by battery, people drawn again by country."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from core.metrics.metrics import Metric, Terms, mean_of, summable_terms
from core.metrics.panel import Panel
from core.metrics.significance import Z, t_quantile

# Samples of respondents drawn inside the bootstrap, and for the sampling ceiling. Their noise is
# about a tenth of the noise between items, so a few dozen settle it.
TABLES = 40
# Draws on each of the two levels by which intervals of skewed scores are calibrated.
# Why: docs/decisions.md, "Skewed scores get calibrated intervals, others do not."
DEEPER = 200


class Interval(NamedTuple):
    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A change with its 95% interval. clear: the interval excludes zero. p: two-sided."""

    value: float
    low: float
    high: float
    p: float
    clear: bool


def resampled_people(panel: Panel, tables: int, rng: np.random.Generator) -> np.ndarray:
    """float64[tables, C, I, K]: people's shares as other samples of the same size might give them.

    Gamma draws (a Dirichlet), which have a multinomial's variances at n_eff. Where n_valid is
    unknown (0) the shares stay as they are.
    """
    known = (panel.n_eff > 0)[..., None] & ~np.isnan(panel.human)
    weight = np.where(known, np.nan_to_num(panel.human) * panel.n_eff[..., None], 0)
    drawn = rng.standard_gamma(np.broadcast_to(weight, (tables, *weight.shape)))
    total = drawn.sum(-1, keepdims=True)
    return np.where(known & (total > 0), drawn / np.where(total > 0, total, 1), panel.human)


_ENDS = (0.025, 0.975)  # of a 95% interval


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """A score of each country on resampled items and respondents, float64[B, C] (`drawn`).

    parts: what it is made of on the data, each panel's terms with how much its score counts: one
    panel with 1; of a difference, the second with 1 and the first with -1; of a mean over seeds,
    a share each.
    """

    of: Metric
    parts: tuple[tuple[float, Terms], ...]
    drawn: np.ndarray

    @cached_property
    def value(self) -> np.ndarray:
        """float64[C]: on the data."""
        return self._on(np.ones((1, self.weight.shape[1])))[0]

    @cached_property
    def weight(self) -> np.ndarray:
        """float64[C, I]: what each cell counts for; of several panels the lightest, to be safe."""
        return np.minimum.reduce([at.against for _, at in self.parts])

    def _on(self, counts: np.ndarray) -> np.ndarray:
        """float64[B, C] on items drawn so often [B, I], with people's answers as they are."""
        return sum(
            share * self.of.value(counts @ at.gap.T, counts @ at.against.T)
            for share, at in self.parts
        )

    def countries(self) -> np.ndarray:
        """float64[B, C]: replicates of each country's score, drawn out as far as is called for."""
        return widened(self.value, self._stretched(self.value, self.drawn), self.weight)

    def mean(self, of: np.ndarray | slice = slice(None)) -> np.ndarray:
        """float64[B, 1]: the same of the mean over countries (or some of them)."""
        weight = self.weight[of].sum(0, keepdims=True)
        value = np.atleast_1d(mean_of(self.value[of]))
        drawn = mean_of(self.drawn[:, of], 1)[:, None]
        return widened(value, self._stretched(value, drawn), weight)

    @cached_property
    def levels(self) -> tuple[float, float]:
        """Which points of the replicates hold the truth in 95% of samples (Loh 1987).

        The sum of squares of a few ten-point items is skewed, and the 2.5 and 97.5% points of its
        replicates hold the truth less often than they should (in 89 of 100 samples of 52 items).
        How often they do can be seen one level deeper, where the truth is known: the items drawn
        stand for all items and are drawn from again. Averaged over countries, since one country
        alone is too noisy. Scores that are no such root are left as they are.
        """
        if not self.of.root:
            return _ENDS
        rng = np.random.default_rng(0)
        size = self.weight.shape[1]
        below = np.empty((DEEPER, len(self.value)))
        for k, first in enumerate(rng.integers(0, size, (DEEPER, size))):
            drawn = self._on(_counts(first[rng.integers(0, size, (DEEPER, size))]))
            below[k] = (drawn < self.value).mean(0) + (drawn == self.value).mean(0) / 2
        known = below[:, ~np.isnan(self.value)]
        if not known.size:
            return _ENDS
        low, high = np.quantile(known, _ENDS, axis=0).mean(1)
        return float(np.clip(low, 0.001, 0.05)), float(np.clip(high, 0.95, 0.999))

    def _stretched(self, value: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Replicates drawn out on either side of the value so that their 2.5 and 97.5% points
        come to lie where the calibrated ones are."""
        if self.levels == _ENDS:
            return drawn
        off = np.nan_to_num(drawn - value)
        for side, end, level in zip((-1, 1), _ENDS, self.levels, strict=True):
            here, there = np.quantile(off, [end, level], axis=0)
            factor = np.where(here * side > 0, there / np.where(here == 0, 1, here), 1)
            off = np.where(off * side > 0, off * np.maximum(factor, 0), off)
        return np.where(np.isnan(drawn), np.nan, value + off)

    def less(self, first: Bootstrap) -> Bootstrap:
        """This score less another's on the same draws."""
        other = tuple((-share, at) for share, at in first.parts)
        return Bootstrap(self.of, (*self.parts, *other), self.drawn - first.drawn)


def bootstrapped(
    panels: Sequence[Panel], of: Metric, replicates: int, seed: int
) -> list[Bootstrap]:
    """Resample the items and the respondents of panels that share both.

    The items drawn are the same for every country and every panel, and so are the respondents:
    that makes differences paired. Respondents come as TABLES samples, centred so that they
    spread the score without shifting it (a sample of a sample lies farther from any model than
    the first sample does).
    """
    rng = np.random.default_rng(seed)
    tables = min(TABLES, max(1, replicates // 10))
    parts = np.array_split(item_counts(len(panels[0].items), replicates, rng), tables)
    people = list(count_tables(panels[0], tables, rng))
    results = []
    for panel in panels:
        at = summable_terms(of, panel.layout, panel.human, panel.guess)
        chunks = [summable_terms(of, panel.layout, chunk, panel.guess) for chunk in people]
        terms = [np.concatenate([chunk[k] for chunk in chunks]) for k in (0, 1)]
        gaps, againsts = (x - (x.mean(0) - centre) for x, centre in zip(terms, at, strict=True))
        drawn = [
            of.value(part @ gap.T, part @ against.T)
            for part, gap, against in zip(parts, gaps, againsts, strict=True)
        ]
        results.append(Bootstrap(of, ((1.0, at),), np.concatenate(drawn)))
    return results


def item_counts(size: int, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """float64[replicates, size]: how often each of `size` items is drawn, with replacement."""
    return _counts(rng.integers(0, size, (replicates, size)))


def _counts(drawn: np.ndarray) -> np.ndarray:
    """float64[B, size]: how often each of `size` items stands in each row of drawn[B, size]."""
    replicates, size = drawn.shape
    rows = np.arange(replicates)[:, None] * size
    counts = np.bincount((drawn + rows).ravel(), minlength=replicates * size)
    return counts.reshape(replicates, size).astype(float)


def count_tables(panel: Panel, tables: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Resampled people in chunks [some tables, C, I, K] that fit the processor's cache."""
    at_once = max(1, 200_000 // max(panel.human.size, 1))
    for start in range(0, tables, at_once):
        yield resampled_people(panel, min(at_once, tables - start), rng)


def widened(value: np.ndarray, drawn: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Replicates [B, C] drawn out around the values [C] as far as few items call for.

    A percentile interval from n items is too narrow by sqrt((n - 1) / n) and by z / t
    (Hesterberg 2015, "expanded percentile"): 1.007 at 259 items, 1.03 at 52, 1.3 at 8. Where
    items weigh unequally n is (sum of weights)² / sum of squares: in the paper score, where
    ten-point items weigh most, 91 of 259 and 23 of 52.
    """
    n = weight.sum(1) ** 2 / np.maximum((weight**2).sum(1), 1e-12)
    factor = [math.sqrt(x / (x - 1)) * t_quantile(x - 1) / Z if x >= 2 else math.nan for x in n]
    return value + (drawn - value) * factor


def bounds(replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """2.5% and 97.5% points along the first axis; NaN where nearly nothing could be drawn."""
    if np.isnan(replicates).any():
        bad = np.isnan(replicates).mean(0) > 0.05
        filled = np.where(bad, 0, replicates)
        low, high = np.nanquantile(filled, [0.025, 0.975], axis=0)
        return np.where(bad, np.nan, low), np.where(bad, np.nan, high)
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0)
    return low, high


def score_bounds(of: Metric, drawn: np.ndarray) -> np.ndarray:
    """float64[2, C]: the bounds of scores, which lie nowhere beyond the metric's own range."""
    return np.clip(bounds(drawn), *of.range)


def interval_of(of: Metric, value: float, drawn: np.ndarray) -> Interval:
    """Of one score, from widened replicates [B, 1]."""
    low, high = score_bounds(of, drawn)
    return Interval(value, float(low[0]), float(high[0]))


def difference(value: np.ndarray, drawn: np.ndarray) -> list[Difference]:
    """Differences [C] with their intervals, from values [C] and widened replicates [B, C]."""
    low, high = bounds(drawn)
    below, above = (drawn <= 0).sum(0), (drawn >= 0).sum(0)
    p = np.minimum(1, 2 * (1 + np.minimum(below, above)) / (1 + len(drawn)))
    p = np.where(np.isnan(low), np.nan, p)
    clear = (low > 0) | (high < 0)
    rows = zip(*(x.tolist() for x in (value, low, high, p, clear)), strict=True)
    return [Difference(*row) for row in rows]


def over_seeds_alone(by_seed: Sequence[float]) -> Interval:
    """The mean of what several seeds gave, with Student's interval over seeds and nothing else.

    For one seed the ends are NaN.
    """
    value = float(np.mean(by_seed))
    n = len(by_seed)
    if n < 2:
        return Interval(value, math.nan, math.nan)
    half = t_quantile(n - 1) * float(np.std(by_seed, ddof=1)) / math.sqrt(n)
    return Interval(value, value - half, value + half)


def with_seeds(drawn: np.ndarray, by_seed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replicates [B, C] of a mean over S seeds, spread by what other seeds would have given.

    by_seed: float64[S, C], each seed's own value on the same items. To each replicate is added
    (standard deviation over seeds / root of S) x a draw from Student's t with S - 1 degrees of
    freedom, so items and seeds both count, the seeds for as little as a few of them tell. One
    seed, or seeds that all agree, add nothing.
    """
    seeds = len(by_seed)
    if seeds < 2:
        return drawn
    error = by_seed.std(0, ddof=1) / math.sqrt(seeds)
    # Every hundredth of a large ordered sample: the quantiles of t, with hardly any noise.
    students = np.sort(rng.standard_t(seeds - 1, 100 * len(drawn)))[50::100]
    return drawn + rng.permutation(students)[:, None] * error

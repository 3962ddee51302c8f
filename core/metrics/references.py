"""What guessing, neighbours and another sample of the same people would score."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from core.errors import PluriscopeError
from core.metrics.bootstrap import count_tables
from core.metrics.distances import pairwise
from core.metrics.metrics import (
    HEADLINE,
    Metric,
    at_items,
    closeness,
    mean_of,
    metric,
    summable_terms,
)
from core.metrics.panel import Guess, Panel, most_likely, one_hot, same_country

CEILING_DRAWS = 24


def as_guess(model: np.ndarray, choice: np.ndarray | None = None, value=None) -> Guess:
    """A reference's answers; it never refuses. The choice is the likeliest option by default."""
    if choice is None:
        choice = one_hot(most_likely(model), model.shape[-1])
    never = np.zeros(model.shape[:-1], bool)
    return Guess(model, choice, never, never, value)


def nearest(
    panel: Panel, pool: Panel | None = None, k: int = 5
) -> dict[str, list[tuple[str, float]]]:
    """For each country the k countries whose people answer most alike, nearest first.

    With the mean distance over shared items (earth mover's distance, 0 to 1).
    """
    pool = pool or panel
    away = pairwise(panel.human, pool.human, panel.layout)
    away = np.where(same_country(panel, pool) | np.isnan(away), np.inf, away)
    order = np.argsort(away, axis=1, kind="stable")[:, :k]
    return {
        iso3: [(pool.countries[p], float(away[c, p])) for p in order[c] if np.isfinite(away[c, p])]
        for c, iso3 in enumerate(panel.countries)
    }


def _median_of(shares: np.ndarray) -> np.ndarray:
    """Lower and upper median over the first axis, of the entries that are not NaN."""
    if not len(shares):
        return np.full((2, *shares.shape[1:]), np.nan)
    ranked = np.sort(shares, axis=0)
    n = (~np.isnan(shares)).sum(0)
    low, high = np.maximum((n - 1) // 2, 0), np.minimum(n // 2, len(shares) - 1)
    return np.stack([np.take_along_axis(ranked, at[None], 0)[0] for at in (low, high)])


def uniform_guess(panel: Panel, pool: Panel) -> Guess:
    lay = panel.layout
    even = np.broadcast_to(lay.valid / lay.size[:, None], panel.human.shape)
    return as_guess(even, even)


def _midpoint(panel: Panel, pool: Panel) -> Guess:
    """The middle of the scale (two options by halves where it has none); without one, uniform.

    For the paper score, the real number in the middle of the codes.
    """
    lay = panel.layout
    rank = np.cumsum(lay.on, -1) - 1
    middle = (lay.on.sum(-1, keepdims=True) - 1) / 2
    at = lay.on & (np.abs(rank - middle) <= 0.5)
    even = np.where(lay.on.any(-1, keepdims=True), at, lay.valid)
    shares = np.broadcast_to(even / even.sum(-1, keepdims=True), panel.human.shape)
    codes = np.where(lay.valid, lay.codes, np.nan)
    value = (np.nanmin(codes, -1) + np.nanmax(codes, -1)) / 2
    return as_guess(shares, shares, np.broadcast_to(value, panel.human.shape[:2]))


def _modal_codes(pool: Panel) -> np.ndarray:
    """float64[P, I]: the code of each country's commonest answer, NaN where not asked."""
    modes = most_likely(pool.human)
    return np.where(modes < 0, np.nan, at_items(pool.layout.codes, modes))


def _mean_others(panel: Panel, pool: Panel) -> Guess:
    """The plain average of the other countries' shares.

    Its choice is the likeliest option; for the paper score, the mean of the others' commonest
    answers as a real number.
    """
    own = same_country(panel, pool)
    model = np.stack([mean_of(pool.human[~mine], 0) for mine in own])
    codes = _modal_codes(pool)
    value = np.stack([mean_of(codes[~mine], 0) for mine in own])
    return as_guess(model, value=value)


def _median_others(panel: Panel, pool: Panel) -> Guess:
    """The middle one of the other countries.

    Along a scale, the median of their cumulative shares; without one, the median share of each
    option, made to sum to 1. As a choice, the median of their commonest answers (two by halves);
    for the paper score, that median as a number.
    """
    lay, width = panel.layout, panel.human.shape[2]
    codes, modes = _modal_codes(pool), most_likely(pool.human)
    modes = np.where(modes < 0, np.nan, modes)
    ordered = lay.on.any(-1)[:, None]
    along = np.where(ordered, np.cumsum(pool.human, -1), pool.human)
    models, choices, medians = [], [], []
    for mine in same_country(panel, pool):
        low, high = _median_of(modes[~mine])
        halves = [one_hot(np.where(np.isnan(m), -1, m), width) for m in (low, high)]
        choices.append(np.mean(halves, axis=0))
        medians.append(np.mean(_median_of(codes[~mine]), axis=0))
        middle = np.mean(_median_of(along[~mine]), axis=0)
        shares = np.where(ordered, np.diff(middle, axis=-1, prepend=0), middle)
        shares = np.where(lay.valid, shares, 0 * shares)
        models.append(shares / shares.sum(-1, keepdims=True))
    return as_guess(np.stack(models), np.stack(choices), np.stack(medians))


def _nearest(k: int, panel: Panel, pool: Panel) -> Guess:
    """The average of the k countries whose people answer most alike."""
    at = {iso3: p for p, iso3 in enumerate(pool.countries)}
    model = np.full(panel.human.shape, np.nan)
    for c, near in enumerate(nearest(panel, pool, k).values()):
        if near:
            model[c] = mean_of(pool.human[[at[iso3] for iso3, _ in near]], 0)
    return as_guess(model)


_GUESSES: dict[str, Callable[[Panel, Panel], Guess]] = {
    "uniform": uniform_guess,
    "midpoint": _midpoint,
    "mean_others": _mean_others,
    "median_others": _median_others,
    "nearest": partial(_nearest, 1),
    "nearest5": partial(_nearest, 5),
}


REFERENCES: dict[str, str] = {
    "uniform": "Even odds on every option",
    "midpoint": "Always the middle of the scale",
    "mean_others": "Average of the other countries",
    "median_others": "Median of the other countries",
    "nearest": "Nearest country",
    "nearest5": "Average of the five nearest countries",
    "random_compatriot": "One person of the country, drawn at random",
    "ceiling": "Sampling ceiling: exact knowledge, against a sample of this size",
    "split_half": "One half of the sample against the other half",
}


def reference_values(
    panel: Panel,
    name: str | Metric,
    kind: str,
    pool: Panel | None = None,
    seed: int = 0,
) -> np.ndarray:
    """float64[C]: the score of a reference on the items that people of each country were asked.

    For a reference that answers at random (uniform as a choice, a random compatriot) the gaps
    are expected values, so the score is that of the average gap. pool: the countries that
    "others" and "nearest" are taken from (the panel's own by default), on the same items.
    The ceiling and the split half are averages over CEILING_DRAWS samples drawn with n_eff.
    """
    of, lay = metric(name), panel.layout
    pool = pool or panel
    if kind in _GUESSES:
        return closeness(of, lay, panel.human, _GUESSES[kind](panel, pool))
    if kind == "random_compatriot":
        if of.kind == "choice":
            return closeness(of, lay, panel.human, as_guess(panel.human, panel.human))
        gap = against = 0
        for option in range(panel.human.shape[2]):
            one = np.broadcast_to(np.arange(panel.human.shape[2]) == option, panel.human.shape)
            terms = summable_terms(of, lay, panel.human, as_guess(one.astype(float)))
            share = np.nan_to_num(panel.human[..., option])
            gap, against = gap + share * terms.gap, against + share * terms.against
        return of.value(gap.sum(-1), against.sum(-1))
    rng = np.random.default_rng(seed)
    if kind == "ceiling":
        pairs = ((panel.human, drawn) for drawn in count_tables(panel, CEILING_DRAWS, rng))
    elif kind == "split_half":
        half = replace(panel, n_valid=panel.n_valid / 2)
        pairs = zip(*(count_tables(half, CEILING_DRAWS, rng) for _ in range(2)), strict=True)
    else:
        raise PluriscopeError(f"There is no reference {kind!r}: {', '.join(REFERENCES)}.")
    scores = [closeness(of, lay, people, as_guess(drawn)) for people, drawn in pairs]
    line = np.concatenate(scores).mean(0)
    unknown = (panel.n_valid <= 0).all(1)
    return np.where(unknown, np.nan, line)


def others_line(name: str | Metric) -> str:
    """Which reference is "the other countries" for this metric."""
    return "median_others" if metric(name).kind == "choice" else "mean_others"


class Reference(NamedTuple):
    mean: float
    countries: dict[str, float]


def references(
    panel: Panel,
    name: str | Metric = HEADLINE,
    *,
    pool: Panel | None = None,
    seed: int = 0,
    kinds: Iterable[str] = tuple(REFERENCES),
) -> dict[str, Reference]:
    """What one gets without a model, per country and on average, for each of REFERENCES."""
    result = {}
    for kind in kinds:
        line = reference_values(panel, name, kind, pool, seed)
        result[kind] = Reference(
            float(mean_of(line)), dict(zip(panel.countries, line.tolist(), strict=True))
        )
    return result

"""How many answers could be used, and how often an answer held in other wordings and orders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from core.metrics.metrics import HEADLINE, Metric, mean_of, values
from core.metrics.panel import Panel


class Rates(NamedTuple):
    """Per country, float64[C]: shares of the items asked, and people's non-response.

    people: mean share of respondents without a valid answer (NaN where their number is unknown).
    off_scale, people_off_scale: mean share of the answers that lie off the scale ("hard to say",
    "not allowed to vote"), over the items that have such a code and that both sides answered;
    NaN where there are none.
    """

    answered: np.ndarray
    refused: np.ndarray
    unparsed: np.ndarray
    people: np.ndarray
    off_scale: np.ndarray
    people_off_scale: np.ndarray


def rates(panel: Panel, respondents: Mapping[str, int | None] | None = None) -> Rates:
    """How often the model gave a usable answer, refused, or wrote what cannot be read.

    Kept apart from closeness on purpose: a refusal is not a distance. respondents: iso3 -> n.
    """
    asked = panel.asked
    n = np.maximum(asked.sum(1), 1)

    def share(x: np.ndarray | None) -> np.ndarray:
        total = np.zeros(len(n)) if x is None else np.where(asked, x, 0).sum(1)
        return np.where(asked.any(1), total / n, np.nan)

    sample = np.array([(respondents or {}).get(iso3) or np.nan for iso3 in panel.countries], float)
    lost = 1 - panel.n_valid / sample[:, None]
    lost = np.where(np.isnan(panel.human[..., 0]), np.nan, np.maximum(lost, 0))
    refused, unparsed = share(panel.refused), share(panel.unparsed)
    off = panel.layout.valid & ~panel.layout.on & panel.layout.on.any(-1, keepdims=True)
    both = off.any(-1) & ~np.isnan(panel.model[..., 0]) & ~np.isnan(panel.human[..., 0])
    aside = [
        mean_of(np.where(both, (side * off).sum(-1), np.nan), 1)
        for side in (panel.model, panel.human)
    ]
    return Rates(1 - refused - unparsed, refused, unparsed, mean_of(lost, 1), *aside)


class FormatSpread(NamedTuple):
    """How much wording and order move the scores, against how much countries differ.

    formats: float64[C], standard deviation over formats. between: standard deviation over
    countries of their mean scores. ratio: mean of formats / between, infinite where countries do
    not differ at all. Where it exceeds 1 (`greyed`) a ranking of countries says more about the
    format than about the countries.
    """

    formats: np.ndarray
    between: float
    ratio: float
    greyed: bool


def format_spread(panels: Sequence[Panel], name: str | Metric = HEADLINE) -> FormatSpread:
    """Spread of the scores over panels of the same items asked in several formats."""
    scores = np.array([values(panel, name) for panel in panels])
    formats = scores.std(0, ddof=1) if len(panels) > 1 else np.full(scores.shape[1], np.nan)
    between = float(np.std(mean_of(scores, 0), ddof=1)) if scores.shape[1] > 1 else math.nan
    moved = float(mean_of(formats))
    ratio = moved / between if between > 0 else math.inf if between == 0 < moved else math.nan
    return FormatSpread(formats, between, ratio, moved > between)


class Held(NamedTuple):
    """int[C, I] each: in how many of the formats the commonest choice was given, of how many."""

    held: np.ndarray
    of: np.ndarray


def held(chosen: Sequence[np.ndarray]) -> Held:
    """How far each answer held over several formats ("held in k of n"). chosen: int[C, I] each."""
    stack = np.asarray(chosen)
    counts = [(stack == option).sum(0) for option in range(max(stack.max(initial=0), 0) + 1)]
    return Held(np.max(counts, axis=0), (stack >= 0).sum(0))

"""How close answers are to people's: every score, with its floor, its ceiling and its interval.

Arrays in, numbers out. C countries, I items, K the largest number of options. All scores are on
a scale where higher is closer and 100 is a perfect match. docs/metrics.md gives the definitions
in words and what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from core.errors import PluriscopeError
from core.metrics.distances import DISTANCES, total_variation
from core.metrics.panel import Guess, Layout, Panel, most_likely
from core.survey.survey import Item

HEADLINE = "emd"


# A metric is a pair of terms per cell, a gap and what it is measured against; a country's
# score is 100 (1 - sum of gaps / sum of measures), or the square root of that ratio (root=True).


class Terms(NamedTuple):
    """What a score sums over items: float64[C, I] each; NaN gaps where the cell does not count."""

    gap: np.ndarray
    against: np.ndarray


class Scale(NamedTuple):
    """Limits of one metric in figures, fixed: the same for every run.

    limits: ends of the five bins (the outer two are open). axis: what an axis shows. step: the
    change that ends the first bin of a map of changes, in points.
    """

    limits: tuple[float, float, float, float, float, float]
    axis: tuple[float, float]
    step: float


@dataclass(frozen=True)
class Metric:
    """One way to say how close. `good` names the end of `range` that is closer.

    meaning: what a number of it means in plain words; pages offer those that have it.
    """

    name: str
    label: str
    definition: str
    source: str
    terms: Callable[[Layout, np.ndarray, Guess], Terms]
    kind: str  # "distribution" or "choice" (only the one option chosen counts)
    scale: Scale
    meaning: str = ""
    range: tuple[float, float] = (0.0, 100.0)
    unit: str = "points"
    good: str = "higher"
    root: bool = False

    def value(self, gap: np.ndarray, against: np.ndarray) -> np.ndarray:
        """Scores from summed terms. NaN where nothing was summed."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(against > 0, gap / against, np.nan)
        return 100 * (1 - (np.sqrt(np.maximum(ratio, 0)) if self.root else ratio))


def _distance_terms(kind: str, lay: Layout, human: np.ndarray, guess: Guess) -> Terms:
    gap = DISTANCES[kind](lay, human, guess.model)
    return Terms(gap, np.ones(gap.shape))


def _skill_terms(lay: Layout, human: np.ndarray, guess: Guess) -> Terms:
    uniform = lay.valid / lay.size[:, None]
    return Terms(total_variation(lay, human, guess.model), total_variation(lay, human, uniform))


def at_items(per_option: np.ndarray, index: np.ndarray) -> np.ndarray:
    """[C, I]: values of per_option[I, K] at the option index[C, I] (the first where it is -1)."""
    return per_option[np.arange(per_option.shape[0]), np.maximum(index, 0)]


def _match_terms(partly: bool, lay: Layout, human: np.ndarray, guess: Guess) -> Terms:
    """1 - match with the commonest answer; with `partly`, near misses on the scale count."""
    mode = most_likely(human)
    away = (np.arange(human.shape[-1]) != mode[..., None]).astype(float)
    if partly:
        rank = np.cumsum(lay.on, -1)
        steps = np.abs(rank - at_items(rank, mode)[..., None]) / lay.steps[:, None]
        away = np.where(at_items(lay.on, mode)[..., None] & lay.on, steps, away)
    gap = np.where(mode < 0, np.nan, (away * guess.choice).sum(-1))
    return Terms(gap, np.ones(gap.shape))


# Items of WVS-7 whose answers form no scale although the score treats them so: quiz questions,
# environment or growth, "hard to say", choose-one goals, choose-one meanings of religion.
PAPER_NOT_A_SCALE = frozenset(
    f"Q{n}" for n in (91, 92, 93, 111, 119, *range(149, 158), 173, 174, 175)
)


# Why: docs/decisions.md, "A paper score of codes with gaps counts places."
def paper_terms(
    lay: Layout,
    human: np.ndarray,
    guess: Guess,
    *,
    gold: str = "mode",
    lost: str = "drop",
    scale: str = "raw",
    against: str = "span",
    refusals: bool = False,
    common: bool = False,
    keep: Callable[[Item], bool] | None = None,
) -> Terms:
    """The CultureSPA score's squared gaps, and its named corrections.

    gold: "mode" or "mean" of people's answers. lost: an unusable answer is dropped ("drop"),
    counted as the farthest option ("farthest") or as the middle ("midpoint"). scale: "raw" codes,
    or per-item 0 to 1 "squared" or "absolute". against: the item's whole "span", or the largest
    gap "achievable" given the gold. refusals: a number read out of a refusal is unusable.
    common: only items that people of every country were asked. keep: which items count.
    """
    valid, codes = lay.valid, lay.codes
    last = np.where(valid, codes, -np.inf).max(-1)
    first = np.where(valid, codes, np.inf).min(-1)
    if gold == "mode":
        index = most_likely(human)
        people = np.where(index < 0, np.nan, at_items(codes, index))
    else:
        people = (human * codes).sum(-1)
    span = lay.size - 1.0
    farthest = np.maximum(people - first, last - people)
    power = 1 if scale == "absolute" else 2
    if guess.value is not None:
        gap = np.abs(guess.value - people) ** power
    else:
        gap = (guess.choice * np.abs(codes - people[..., None]) ** power).sum(-1)
    missing = guess.missing | (guess.refused & refusals)
    gap = np.where(guess.refused & refusals, np.nan, gap)
    if lost == "farthest":
        gap = np.where(missing, farthest**power, gap)
    elif lost == "midpoint":
        gap = np.where(missing, np.abs((first + last) / 2 - people) ** power, gap)
    measure = (np.broadcast_to(span, gap.shape) if against == "span" else farthest) ** power
    if scale != "raw":
        gap, measure = gap / measure, np.ones(gap.shape)
    used = np.ones(gap.shape, bool)
    if common:
        used &= ~np.isnan(people).any(-2, keepdims=True)
    if keep is not None:
        used &= [keep(item) for item in lay.items]
    return Terms(np.where(used, gap, np.nan), measure)


def _is_a_scale(item: Item) -> bool:
    if item.id.startswith("Q") and item.id[1:2].isdigit():
        return item.id not in PAPER_NOT_A_SCALE
    return item.is_ordered


_PAPER = Metric(
    "paper",
    "CultureSPA score",
    "100 (1 - root of the sum of (answer - people's commonest answer)² / root of the sum of "
    "(options - 1)²), codes as numbers, over the items with a usable answer; then the mean over "
    "countries. Ten-point items carry 73% of it, refusals are free, and it does not see how "
    "people's answers spread.",
    "Xu et al. 2025 (CultureSPA), reference implementation",
    paper_terms,
    "choice",
    Scale((50, 55, 60, 65, 70, 75), (35, 100), 4),
    "Compares the likeliest answer with people’s commonest one, on the numbers of the scale, as "
    "the CultureSPA study does. Ten-point questions weigh most, and how people differ among "
    "themselves does not count.",
    root=True,
)


def _paper(name: str, what: str, *, root: bool = True, **changes: object) -> Metric:
    return replace(
        _PAPER,
        name=f"paper_{name}",
        label=f"CultureSPA score, {what}",
        definition=f"The CultureSPA score, {what}.",
        terms=partial(paper_terms, **changes),
        meaning="",
        root=root,
    )


_HARD = Metric(
    "hard",
    "Exact match",
    "Share of items where the answer is people's commonest answer.",
    "AlKhamissi et al. 2024 (hard accuracy)",
    partial(_match_terms, False),
    "choice",
    Scale((20, 35, 50, 65, 80, 95), (0, 100), 8),
    "In how many of a hundred questions the likeliest answer is people’s commonest one.",
)


def metric(name: str | Metric) -> Metric:
    """A metric by name. Raises PluriscopeError with the names there are."""
    if isinstance(name, Metric):
        return name
    try:
        return METRICS[name]
    except KeyError:
        raise PluriscopeError(f"There is no metric {name!r}: {', '.join(METRICS)}.") from None


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "emd",
            "Closeness to people",
            "100 (1 - mean over items of the distance that answers would have to move to match "
            "people's, as a share of the scale). On items without a scale, the share of answers "
            "that would have to change.",
            "normalised earth mover's distance; Santurkar et al. 2023, with off-scale codes apart",
            partial(_distance_terms, "emd"),
            "distribution",
            Scale((70, 75, 80, 85, 90, 95), (65, 100), 4),
            "At 100 the model’s answers are spread exactly as people’s are. At 90 they would have "
            "to move by a tenth of the scale, on average, to match.",
        ),
        Metric(
            "tv",
            "Answers in common",
            "100 (1 - mean over items of the share of answers that would have to change).",
            "total variation distance",
            partial(_distance_terms, "tv"),
            "distribution",
            Scale((45, 55, 65, 75, 85, 95), (40, 100), 6),
            "At 70, seventy of a hundred answers are the same as people’s and thirty would have to "
            "change. How far they would have to move does not count.",
        ),
        Metric(
            "skill",
            "Skill over guessing",
            "100 (1 - total variation to people / total variation of an even guess to people), "
            "both summed over items. 0 is no better than even odds on every option; below 0 is "
            "worse.",
            "Hu et al. 2025 (SimBench)",
            _skill_terms,
            "distribution",
            Scale((-40, -20, 0, 20, 40, 60), (-60, 100), 15),
            "0 is no better than even odds on every answer, 100 is a perfect match, and below 0 is "
            "worse than guessing.",
            range=(-math.inf, 100.0),
        ),
        _PAPER,
        Metric(
            "jsd",
            "Closeness, Jensen–Shannon divergence",
            "100 (1 - mean over items of the Jensen–Shannon divergence in bits).",
            "Jensen–Shannon divergence, log base 2",
            partial(_distance_terms, "jsd"),
            "distribution",
            Scale((75, 80, 85, 90, 95, 100), (65, 100), 3),
        ),
        Metric(
            "jsdist",
            "Closeness, Jensen–Shannon distance",
            "100 (1 - mean over items of the Jensen–Shannon distance: the root of the "
            "divergence in bits).",
            "Durmus et al. 2023 (GlobalOpinionQA), with log base 2",
            partial(_distance_terms, "jsdist"),
            "distribution",
            Scale((45, 55, 65, 75, 85, 95), (40, 100), 6),
            "At 100 nobody could tell the model’s answers from people’s; at 0 they never give the "
            "same answer (Jensen–Shannon distance).",
        ),
        Metric(
            "soft",
            "Near match",
            "Mean over items of 1 - |answer - people's commonest answer| / length of the scale; "
            "without a scale, 1 for a match and 0 otherwise.",
            "AlKhamissi et al. 2024 (soft accuracy)",
            partial(_match_terms, True),
            "choice",
            Scale((45, 55, 65, 75, 85, 95), (40, 100), 6),
            "How near the likeliest answer lies to people’s commonest one: 100 is the same answer, "
            "0 the other end of the scale.",
        ),
        _HARD,
        _paper("refusal", "numbers read out of a refusal not counted", refusals=True),
        _paper("penalised", "unusable answers counted as farthest", lost="farthest"),
        _paper("midpoint", "unusable answers counted as the middle of the scale", lost="midpoint"),
        _paper("common", "only items asked in every country", common=True),
        _paper(
            "common_penalised",
            "only items asked in every country, unusable answers counted as farthest",
            common=True,
            lost="farthest",
        ),
        _paper("no_nominal", "without items that form no scale", keep=_is_a_scale),
        _paper("no_q119", "without item Q119", keep=lambda item: item.id != "Q119"),
        _paper("item_rms", "every item scaled from 0 to 1 first", scale="squared"),
        _paper(
            "item_mae",
            "every item scaled from 0 to 1 first, mean absolute gap",
            scale="absolute",
            root=False,
        ),
        replace(
            _HARD,
            name="paper_exact",
            label="CultureSPA score, exact matches",
            definition="Share of items where the answer is people's commonest answer.",
            meaning="",
        ),
        _paper("achievable", "against the largest gap possible on each item", against="achievable"),
        _paper("mean_gold", "against people's mean answer", gold="mean"),
    )
}


def offered() -> list[str]:
    """The metrics that pages offer."""
    return [name for name, of in METRICS.items() if of.meaning]


def summable_terms(of: Metric, lay: Layout, human: np.ndarray, guess: Guess) -> Terms:
    """Terms with zeros where a cell does not count, ready to be summed over items."""
    gap, against = of.terms(lay, human, guess)
    counts = ~np.isnan(gap)
    return Terms(np.where(counts, gap, 0), np.where(counts, against, 0))


def closeness(of: Metric, lay: Layout, human: np.ndarray, guess: Guess) -> np.ndarray:
    """float64[C]: score of any guess on the people of each country (NaN where nothing counts)."""
    gap, against = summable_terms(of, lay, human, guess)
    return of.value(gap.sum(-1), against.sum(-1))


def values(panel: Panel, name: str | Metric = HEADLINE) -> np.ndarray:
    """float64[C]: the run's score on each country, without interval."""
    return closeness(metric(name), panel.layout, panel.human, panel.guess)


def counted(panel: Panel, name: str | Metric = HEADLINE) -> np.ndarray:
    """bool[C, I]: the cell counts in the score."""
    return ~np.isnan(metric(name).terms(panel.layout, panel.human, panel.guess).gap)


def by_item(panel: Panel, name: str | Metric = HEADLINE) -> np.ndarray:
    """float64[C, I]: each item's own score (NaN where it does not count).

    For metrics that are a mean over items, and for skill, the country's score is the mean of
    these; for the paper score it is not (there an item's score is 100 (1 - its gap / its span)).
    """
    return item_scores(metric(name), panel.layout, panel.human, panel.guess)


def item_scores(of: Metric, lay: Layout, human: np.ndarray, guess: Guess) -> np.ndarray:
    """float64[..., C, I]: each item's own score of any guess, for human[..., C, I, K]."""
    gap, against = of.terms(lay, human, guess)
    if not of.root:
        against = mean_of(np.where(np.isnan(gap), np.nan, against), -1)[..., None]
    return of.value(gap, np.broadcast_to(against, gap.shape))


def mean_of(x: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Mean of what is not NaN; NaN, without a warning, where all is."""
    there = ~np.isnan(x)
    n = there.sum(axis)
    return np.where(n > 0, np.where(there, x, 0).sum(axis) / np.maximum(n, 1), np.nan)

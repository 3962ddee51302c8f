"""How close answers are to people's: every score, with its floor, its ceiling and its interval.

Arrays in, numbers out. C countries, I items, K the largest number of options. All scores are on
a scale where higher is closer and 100 is a perfect match. docs/metrics.md gives the definitions
in words and what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from core.errors import PluriscopeError
from core.survey import Item, Survey

HEADLINE = "emd"

# People of one country are interviewed in clusters (streets, villages), so 1,000 answers carry
# less than 1,000 independent people would. The clusters are not published; 1.3 is our allowance.
CLUSTERING = 1.3

# Samples of respondents drawn inside the bootstrap, and for the sampling ceiling. Their noise is
# about a tenth of the noise between items, so a few dozen settle it.
TABLES = 40
CEILING_DRAWS = 24
# Draws on each of the two levels by which intervals of skewed scores are calibrated.
DEEPER = 200


# ------------------------------------------------------------------------------------------------
# What is scored


class Layout(NamedTuple):
    """How the options of the items lie in arrays [I, K].

    valid: the option exists. codes: its code (0 where padded), counted on from the first where
    codes have gaps (1, 2, 3, 9 are 1, 2, 3, 4). on: it lies on the item's scale. size: options per
    item [I]. steps: distance between the ends of the scale, in options [I].
    """

    items: tuple[Item, ...]
    valid: np.ndarray
    codes: np.ndarray
    on: np.ndarray
    size: np.ndarray
    steps: np.ndarray


def layout(items: Sequence[Item], width: int | None = None) -> Layout:
    """The layout of items whose options are padded to `width` (their largest number)."""
    width = width or max((len(item.options) for item in items), default=1)
    valid = np.zeros((len(items), width), bool)
    codes = np.zeros((len(items), width))
    on = np.zeros((len(items), width), bool)
    for index, item in enumerate(items):
        size = len(item.options)
        valid[index, :size] = True
        codes[index, :size] = min(item.codes) + np.argsort(np.argsort(item.codes))
        on[index, :size] = [item.is_ordered and code not in item.off_scale for code in item.codes]
    return Layout(tuple(items), valid, codes, on, valid.sum(1), np.maximum(on.sum(1) - 1, 1))


class Guess(NamedTuple):
    """What stands in for people's answers: a model's answers or a reference's.

    model: float64[C, I, K], distribution over options, NaN rows where there is none.
    choice: float64[C, I, K], how likely each option is the one answer given (one-hot for a model).
    value: float64[C, I], an answer between two options; only references have one.
    missing: bool[C, I], asked but without a usable answer. refused: bool[C, I], a refusal,
    whatever number was read out of it.
    """

    model: np.ndarray
    choice: np.ndarray
    missing: np.ndarray
    refused: np.ndarray
    value: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Panel:
    """People's answers and a model's, side by side.

    human: float64[C, I, K], shares that sum to 1, padded with 0, NaN rows where not asked.
    n_valid: int[C, I], people behind them (0: unknown). model: float64[C, I, K], order-averaged
    distribution (for written answers: the share of the sampled answers), NaN rows where there is
    no answer. chosen: int[C, I], index of the answer in item.options, -1 where there is none.
    refused, unparsed: float64[C, I], share of the answers to the item that refuse or that cannot
    be read as an option; a cell with neither an answer nor a share of these was not asked.
    deff: float64[C], design effect by which n_valid is divided (CLUSTERING where not given).
    A run without a culture is broadcast over the countries by the caller.
    """

    items: tuple[Item, ...]
    countries: tuple[str, ...]
    human: np.ndarray
    n_valid: np.ndarray
    model: np.ndarray
    chosen: np.ndarray
    refused: np.ndarray | None = None
    unparsed: np.ndarray | None = None
    deff: np.ndarray | None = None

    @cached_property
    def layout(self) -> Layout:
        return layout(self.items, self.human.shape[2])

    @cached_property
    def n_eff(self) -> np.ndarray:
        """float64[C, I]: as many independent respondents as the sample is worth."""
        deff = np.full(len(self.countries), CLUSTERING) if self.deff is None else self.deff
        return self.n_valid / np.asarray(deff)[:, None]

    @cached_property
    def asked(self) -> np.ndarray:
        """bool[C, I]: the model was asked, with or without a usable answer."""
        return (self.chosen >= 0) | ~np.isnan(self.model[..., 0]) | (self._lost > 0)

    @property
    def _lost(self) -> np.ndarray:
        none = np.zeros(self.chosen.shape)
        return (none if self.refused is None else self.refused) + (
            none if self.unparsed is None else self.unparsed
        )

    @cached_property
    def guess(self) -> Guess:
        choice = np.where(
            self.chosen[..., None] >= 0,
            self.chosen[..., None] == np.arange(self.human.shape[2]),
            np.nan,
        )
        refused = np.zeros(self.chosen.shape) if self.refused is None else self.refused
        return Guess(self.model, choice, self.asked & (self.chosen < 0), refused > 0.5)

    def only(
        self, items: Iterable[str] | None = None, countries: Iterable[str] | None = None
    ) -> Panel:
        """The panel of these items (by id) and countries, in the panel's own order."""
        keep_items = None if items is None else set(items)
        keep_countries = None if countries is None else set(countries)
        i = [k for k, item in enumerate(self.items) if items is None or item.id in keep_items]
        c = [
            k
            for k, iso3 in enumerate(self.countries)
            if countries is None or iso3 in keep_countries
        ]
        cut = np.ix_(c, i)
        return replace(
            self,
            items=tuple(self.items[k] for k in i),
            countries=tuple(self.countries[k] for k in c),
            **{
                name: None if getattr(self, name) is None else getattr(self, name)[cut]
                for name in ("human", "n_valid", "model", "chosen", "refused", "unparsed")
            },
            deff=None if self.deff is None else self.deff[c],
        )


def human_panel(
    survey: Survey,
    items: Sequence[Item] | None = None,
    countries: Sequence[str] | None = None,
    deff: np.ndarray | None = None,
) -> Panel:
    """People's side of a panel, with an empty model side. All items and countries by default."""
    items = tuple(survey.items if items is None else items)
    countries = tuple((c.iso3 for c in survey.cultures) if countries is None else countries)
    width = max((len(item.options) for item in items), default=1)
    shape = (len(countries), len(items), width)
    human = np.full(shape, np.nan)
    n_valid = np.zeros(shape[:2], np.int64)
    for c, iso3 in enumerate(countries):
        for i, item in enumerate(items):
            if (shares := survey.shares.get((iso3, item.id))) is not None:
                human[c, i] = 0.0
                human[c, i, : len(shares.values)] = shares.values
                n_valid[c, i] = shares.n_valid
    nobody = np.full(shape[:2], -1, np.int64)
    return Panel(items, countries, human, n_valid, np.full(shape, np.nan), nobody, deff=deff)


def most_likely(model: np.ndarray) -> np.ndarray:
    """int[...]: index of the likeliest option (the lowest of several), -1 where there is none."""
    none = np.isnan(model[..., 0])
    return np.where(none, -1, np.argmax(np.where(none[..., None], 0, model), axis=-1))


# ------------------------------------------------------------------------------------------------
# Distances between two distributions, [..., I, K] -> [..., I], each from 0 to 1


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
    tests/test_metrics.py) from 0 to 1.
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


# ------------------------------------------------------------------------------------------------
# Metrics. Each is a pair of terms per cell, a gap and what it is measured against; a country's
# score is 100 (1 - sum of gaps / sum of measures), or the square root of that ratio (root=True).


class Terms(NamedTuple):
    """float64[C, I] each; NaN gaps where the cell does not count."""

    gap: np.ndarray
    against: np.ndarray


@dataclass(frozen=True)
class Metric:
    """One way to say how close. `good` names the end of `range` that is closer."""

    name: str
    label: str
    definition: str
    source: str
    terms: Callable[[Layout, np.ndarray, Guess], Terms]
    kind: str  # "distribution" or "choice" (only the one option chosen counts)
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


def _at(per_option: np.ndarray, index: np.ndarray) -> np.ndarray:
    """[C, I]: values of per_option[I, K] at the option index[C, I] (the first where it is -1)."""
    return per_option[np.arange(per_option.shape[0]), np.maximum(index, 0)]


def _match_terms(partly: bool, lay: Layout, human: np.ndarray, guess: Guess) -> Terms:
    """1 - match with the commonest answer; with `partly`, near misses on the scale count."""
    mode = most_likely(human)
    away = (np.arange(human.shape[-1]) != mode[..., None]).astype(float)
    if partly:
        rank = np.cumsum(lay.on, -1)
        steps = np.abs(rank - _at(rank, mode)[..., None]) / lay.steps[:, None]
        away = np.where(_at(lay.on, mode)[..., None] & lay.on, steps, away)
    gap = np.where(mode < 0, np.nan, (away * guess.choice).sum(-1))
    return Terms(gap, np.ones(gap.shape))


# Items of WVS-7 whose answers form no scale although the score treats them so: quiz questions,
# environment or growth, "hard to say", choose-one goals, choose-one meanings of religion.
PAPER_NOT_A_SCALE = frozenset(
    f"Q{n}" for n in (91, 92, 93, 111, 119, *range(149, 158), 173, 174, 175)
)


def _paper_terms(
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
        people = np.where(index < 0, np.nan, _at(codes, index))
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
    _paper_terms,
    "choice",
    root=True,
)


def _paper(name: str, what: str, *, root: bool = True, **changes: object) -> Metric:
    return replace(
        _PAPER,
        name=f"paper_{name}",
        label=f"CultureSPA score, {what}",
        definition=f"The CultureSPA score, {what}.",
        terms=partial(_paper_terms, **changes),
        root=root,
    )


_HARD = Metric(
    "hard",
    "Exact match",
    "Share of items where the answer is people's commonest answer.",
    "AlKhamissi et al. 2024 (hard accuracy)",
    partial(_match_terms, False),
    "choice",
)

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
        ),
        Metric(
            "tv",
            "Answers in common",
            "100 (1 - mean over items of the share of answers that would have to change).",
            "total variation distance",
            partial(_distance_terms, "tv"),
            "distribution",
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
        ),
        Metric(
            "jsdist",
            "Closeness, Jensen–Shannon distance",
            "100 (1 - mean over items of the Jensen–Shannon distance: the root of the "
            "divergence in bits).",
            "Durmus et al. 2023 (GlobalOpinionQA), with log base 2",
            partial(_distance_terms, "jsdist"),
            "distribution",
        ),
        Metric(
            "soft",
            "Near match",
            "Mean over items of 1 - |answer - people's commonest answer| / length of the scale; "
            "without a scale, 1 for a match and 0 otherwise.",
            "AlKhamissi et al. 2024 (soft accuracy)",
            partial(_match_terms, True),
            "choice",
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
        ),
        _paper("achievable", "against the largest gap possible on each item", against="achievable"),
        _paper("mean_gold", "against people's mean answer", gold="mean"),
    )
}


def metric(name: str | Metric) -> Metric:
    """A metric by name. Raises PluriscopeError with the names there are."""
    if isinstance(name, Metric):
        return name
    try:
        return METRICS[name]
    except KeyError:
        raise PluriscopeError(f"There is no metric {name!r}: {', '.join(METRICS)}.") from None


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
    return _item_scores(metric(name), panel.layout, panel.human, panel.guess)


def _item_scores(of: Metric, lay: Layout, human: np.ndarray, guess: Guess) -> np.ndarray:
    """float64[..., C, I]: each item's own score of any guess, for human[..., C, I, K]."""
    gap, against = of.terms(lay, human, guess)
    if not of.root:
        against = _mean(np.where(np.isnan(gap), np.nan, against), -1)[..., None]
    return of.value(gap, np.broadcast_to(against, gap.shape))


# ------------------------------------------------------------------------------------------------
# Intervals


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
class _Bootstrap:
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
        value = np.atleast_1d(_mean(self.value[of]))
        drawn = _mean(self.drawn[:, of], 1)[:, None]
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

    def less(self, first: _Bootstrap) -> _Bootstrap:
        """This score less another's on the same draws."""
        other = tuple((-share, at) for share, at in first.parts)
        return _Bootstrap(self.of, (*self.parts, *other), self.drawn - first.drawn)


def _bootstrap(panels: Sequence[Panel], of: Metric, replicates: int, seed: int) -> list[_Bootstrap]:
    """Resample the items and the respondents of panels that share both.

    The items drawn are the same for every country and every panel, and so are the respondents:
    that makes differences paired. Respondents come as TABLES samples, centred so that they
    spread the score without shifting it (a sample of a sample lies farther from any model than
    the first sample does).
    """
    rng = np.random.default_rng(seed)
    tables = min(TABLES, max(1, replicates // 10))
    parts = np.array_split(item_counts(len(panels[0].items), replicates, rng), tables)
    people = list(_tables(panels[0], tables, rng))
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
        results.append(_Bootstrap(of, ((1.0, at),), np.concatenate(drawn)))
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


def _tables(panel: Panel, tables: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Resampled people in chunks [some tables, C, I, K] that fit the processor's cache."""
    at_once = max(1, 200_000 // max(panel.human.size, 1))
    for start in range(0, tables, at_once):
        yield resampled_people(panel, min(at_once, tables - start), rng)


# 97.5% points of Student's t for 1 to 5 degrees of freedom; beyond, an expansion serves.
_T_SMALL = (12.706, 4.303, 3.182, 2.776, 2.571)
_Z = 1.959964


def _t_quantile(freedom: float) -> float:
    """97.5% point of Student's t (Cornish-Fisher expansion; error below 0.002 from 6 on)."""
    if freedom < len(_T_SMALL) + 1:
        return _T_SMALL[int(freedom) - 1]
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def widened(value: np.ndarray, drawn: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Replicates [B, C] drawn out around the values [C] as far as few items call for.

    A percentile interval from n items is too narrow by sqrt((n - 1) / n) and by z / t
    (Hesterberg 2015, "expanded percentile"): 1.007 at 259 items, 1.03 at 52, 1.3 at 8. Where
    items weigh unequally n is (sum of weights)² / sum of squares: in the paper score, where
    ten-point items weigh most, 91 of 259 and 23 of 52.
    """
    n = weight.sum(1) ** 2 / np.maximum((weight**2).sum(1), 1e-12)
    factor = [math.sqrt(x / (x - 1)) * _t_quantile(x - 1) / _Z if x >= 2 else math.nan for x in n]
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


def _score_bounds(of: Metric, drawn: np.ndarray) -> np.ndarray:
    """float64[2, C]: the bounds of scores, which lie nowhere beyond the metric's own range."""
    return np.clip(bounds(drawn), *of.range)


def _interval(of: Metric, value: float, drawn: np.ndarray) -> Interval:
    """Of one score, from widened replicates [B, 1]."""
    low, high = _score_bounds(of, drawn)
    return Interval(value, float(low[0]), float(high[0]))


# ------------------------------------------------------------------------------------------------
# Reference lines: what one gets without a model


def one_hot(index: np.ndarray, width: int) -> np.ndarray:
    """float64[..., K], NaN rows where the index is -1."""
    index = np.asarray(index)[..., None]
    return np.where(index >= 0, index == np.arange(width), np.nan)


def _as_guess(model: np.ndarray, choice: np.ndarray | None = None, value=None) -> Guess:
    """A reference's answers; it never refuses. The choice is the likeliest option by default."""
    if choice is None:
        choice = one_hot(most_likely(model), model.shape[-1])
    never = np.zeros(model.shape[:-1], bool)
    return Guess(model, choice, never, never, value)


def pairwise(one: np.ndarray, other: np.ndarray, lay: Layout, kind: str = "emd") -> np.ndarray:
    """float64[A, B]: mean distance over the items both have, for [A, I, K] and [B, I, K]."""
    result = np.full((len(one), len(other)), np.nan)
    for a, shares in enumerate(one):
        cells = DISTANCES[kind](lay, other, shares)
        there = ~np.isnan(cells)
        n = there.sum(1)
        result[a] = np.where(n > 0, np.where(there, cells, 0).sum(1) / np.maximum(n, 1), np.nan)
    return result


def same_country(panel: Panel, pool: Panel) -> np.ndarray:
    """bool[C, P]: the pool's country is the panel's own."""
    return np.array(panel.countries)[:, None] == np.array(pool.countries)


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


def _mean(x: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Mean of what is not NaN; NaN, without a warning, where all is."""
    there = ~np.isnan(x)
    n = there.sum(axis)
    return np.where(n > 0, np.where(there, x, 0).sum(axis) / np.maximum(n, 1), np.nan)


def _median_of(shares: np.ndarray) -> np.ndarray:
    """Lower and upper median over the first axis, of the entries that are not NaN."""
    if not len(shares):
        return np.full((2, *shares.shape[1:]), np.nan)
    ranked = np.sort(shares, axis=0)
    n = (~np.isnan(shares)).sum(0)
    low, high = np.maximum((n - 1) // 2, 0), np.minimum(n // 2, len(shares) - 1)
    return np.stack([np.take_along_axis(ranked, at[None], 0)[0] for at in (low, high)])


def _uniform(panel: Panel, pool: Panel) -> Guess:
    lay = panel.layout
    even = np.broadcast_to(lay.valid / lay.size[:, None], panel.human.shape)
    return _as_guess(even, even)


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
    return _as_guess(shares, shares, np.broadcast_to(value, panel.human.shape[:2]))


def _modal_codes(pool: Panel) -> np.ndarray:
    """float64[P, I]: the code of each country's commonest answer, NaN where not asked."""
    modes = most_likely(pool.human)
    return np.where(modes < 0, np.nan, _at(pool.layout.codes, modes))


def _mean_others(panel: Panel, pool: Panel) -> Guess:
    """The plain average of the other countries' shares.

    Its choice is the likeliest option; for the paper score, the mean of the others' commonest
    answers as a real number.
    """
    own = same_country(panel, pool)
    model = np.stack([_mean(pool.human[~mine], 0) for mine in own])
    codes = _modal_codes(pool)
    value = np.stack([_mean(codes[~mine], 0) for mine in own])
    return _as_guess(model, value=value)


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
    return _as_guess(np.stack(models), np.stack(choices), np.stack(medians))


def _nearest(k: int, panel: Panel, pool: Panel) -> Guess:
    """The average of the k countries whose people answer most alike."""
    at = {iso3: p for p, iso3 in enumerate(pool.countries)}
    model = np.full(panel.human.shape, np.nan)
    for c, near in enumerate(nearest(panel, pool, k).values()):
        if near:
            model[c] = _mean(pool.human[[at[iso3] for iso3, _ in near]], 0)
    return _as_guess(model)


_GUESSES: dict[str, Callable[[Panel, Panel], Guess]] = {
    "uniform": _uniform,
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
            return closeness(of, lay, panel.human, _as_guess(panel.human, panel.human))
        gap = against = 0
        for option in range(panel.human.shape[2]):
            one = np.broadcast_to(np.arange(panel.human.shape[2]) == option, panel.human.shape)
            terms = summable_terms(of, lay, panel.human, _as_guess(one.astype(float)))
            share = np.nan_to_num(panel.human[..., option])
            gap, against = gap + share * terms.gap, against + share * terms.against
        return of.value(gap.sum(-1), against.sum(-1))
    rng = np.random.default_rng(seed)
    if kind == "ceiling":
        pairs = ((panel.human, drawn) for drawn in _tables(panel, CEILING_DRAWS, rng))
    elif kind == "split_half":
        half = replace(panel, n_valid=panel.n_valid / 2)
        pairs = zip(*(_tables(half, CEILING_DRAWS, rng) for _ in range(2)), strict=True)
    else:
        raise PluriscopeError(f"There is no reference {kind!r}: {', '.join(REFERENCES)}.")
    scores = [closeness(of, lay, people, _as_guess(drawn)) for people, drawn in pairs]
    line = np.concatenate(scores).mean(0)
    unknown = (panel.n_valid <= 0).all(1)
    return np.where(unknown, np.nan, line)


# ------------------------------------------------------------------------------------------------
# Scores


class CountryScore(NamedTuple):
    """floor: even odds on every option. ceiling: what knowing people's exact shares would score
    against another sample of the same size. others: the average of the other countries (for
    metrics of the one answer chosen, their median answer). items: how many counted."""

    value: float
    low: float
    high: float
    floor: float
    ceiling: float
    others: float
    items: int


@dataclass(frozen=True)
class Score:
    """A metric's scores of one run: per country, and their plain mean with its interval."""

    metric: str
    mean: Interval
    floor: float
    ceiling: float
    others: float
    countries: Mapping[str, CountryScore]


def seen(panel: Panel) -> Panel:
    """The panel with people's answers only where the model was asked."""
    return replace(panel, human=np.where(panel.asked[..., None], panel.human, np.nan))


def others_line(name: str | Metric) -> str:
    """Which reference is "the other countries" for this metric."""
    return "median_others" if metric(name).kind == "choice" else "mean_others"


def score(
    panel: Panel,
    name: str | Metric = HEADLINE,
    *,
    replicates: int = 2000,
    seed: int = 0,
    pool: Panel | None = None,
) -> Score:
    """Score a run, with interval, floor, ceiling and the line of the other countries.

    replicates: bootstrap draws of items and respondents (0: no interval). pool: people of the
    countries that "others" is taken from, on the same items; the panel's own countries by
    default. The lines are computed on the cells that the model was asked.
    """
    of = metric(name)
    items = counted(panel, of).sum(1)
    value = values(panel, of)
    low, high = np.full((2, len(value)), np.nan)
    mean = Interval(float(_mean(value)), math.nan, math.nan)
    if replicates:
        bootstrap = _bootstrap([panel], of, replicates, seed)[0]
        low, high = _score_bounds(of, bootstrap.countries())
        mean = _interval(of, mean.value, bootstrap.mean())
    lines = [
        np.where(items > 0, reference_values(seen(panel), of, kind, pool, seed), np.nan)
        for kind in ("uniform", "ceiling", others_line(of))
    ]
    table = zip(*(x.tolist() for x in (value, low, high, *lines, items)), strict=True)
    return Score(
        of.name,
        mean,
        *(float(_mean(line)) for line in lines),
        {iso3: CountryScore(*row) for iso3, row in zip(panel.countries, table, strict=True)},
    )


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
            float(_mean(line)), dict(zip(panel.countries, line.tolist(), strict=True))
        )
    return result


# ------------------------------------------------------------------------------------------------
# Differences


@dataclass(frozen=True)
class Comparison:
    """How much closer the second run is than the first: per country, and on average."""

    metric: str
    mean: Difference
    countries: Mapping[str, Difference]


def aligned(a: Panel, b: Panel) -> tuple[Panel, Panel]:
    """Both panels on the items and countries they share, in the first one's order."""
    ids = {item.id for item in a.items} & {item.id for item in b.items}
    shared = set(a.countries) & set(b.countries)
    a, b = a.only(ids, shared), b.only(ids, shared)
    if a.countries != b.countries or [i.id for i in a.items] != [i.id for i in b.items]:
        raise ValueError("the panels list the same items or countries in different orders")
    return a, b


def _paired(a: Panel, b: Panel) -> tuple[Panel, Panel]:
    if a.countries != b.countries or [i.id for i in a.items] != [i.id for i in b.items]:
        raise ValueError("compare() takes panels of the same items and countries; see aligned()")
    both = (a.asked & b.asked)[..., None]
    human = np.where(both, a.human, np.nan)
    return replace(a, human=human), replace(b, human=human)


def compare(
    a: Panel, b: Panel, name: str | Metric = HEADLINE, *, replicates: int = 2000, seed: int = 0
) -> Comparison:
    """Paired differences b - a, on the cells that both models were asked.

    Items and respondents are resampled together for both. A difference is `clear` where its 95%
    interval excludes zero.
    """
    countries, mean = _differences(a, b, metric(name), replicates, seed)
    return Comparison(metric(name).name, mean, dict(zip(a.countries, countries, strict=True)))


def _differences(
    a: Panel, b: Panel, of: Metric, replicates: int, seed: int
) -> tuple[list[Difference], Difference]:
    """Of each country, and of the mean over countries."""
    one, other = _bootstrap(_paired(a, b), of, replicates, seed)
    both = other.less(one)
    mean = difference(np.atleast_1d(_mean(both.value)), both.mean())
    return difference(both.value, both.countries()), mean[0]


def difference(value: np.ndarray, drawn: np.ndarray) -> list[Difference]:
    """Differences [C] with their intervals, from values [C] and widened replicates [B, C]."""
    low, high = bounds(drawn)
    below, above = (drawn <= 0).sum(0), (drawn >= 0).sum(0)
    p = np.minimum(1, 2 * (1 + np.minimum(below, above)) / (1 + len(drawn)))
    p = np.where(np.isnan(low), np.nan, p)
    clear = (low > 0) | (high < 0)
    rows = zip(*(x.tolist() for x in (value, low, high, p, clear)), strict=True)
    return [Difference(*row) for row in rows]


class OverSeeds(NamedTuple):
    """What several trainings from different seeds did to one score, averaged over the seeds.

    before, after: mean scores over countries. change: after - before. countries: the same by
    country. by_seed: each seed's change of the mean.
    """

    before: Interval
    after: Interval
    change: Difference
    countries: Mapping[str, Difference]
    by_seed: tuple[float, ...]


def compare_seeds(
    pairs: Sequence[tuple[Panel, Panel]],
    name: str | Metric = HEADLINE,
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> OverSeeds:
    """Paired differences b - a averaged over seeds, one pair of panels a seed.

    On the cells that every model was asked. Items and respondents are resampled together for all
    of them; what another seed would give is added by with_seeds().
    """
    of = metric(name)
    panels = {id(panel): panel for pair in pairs for panel in pair}
    asked = np.logical_and.reduce([panel.asked for panel in panels.values()])[..., None]
    first = next(iter(panels.values()))
    for panel in panels.values():
        _paired(first, panel)
    masked = [replace(p, human=np.where(asked, p.human, np.nan)) for p in panels.values()]
    found = dict(zip(panels, _bootstrap(masked, of, replicates, seed), strict=True))
    ones, others = ([found[id(side)] for side in sides] for sides in zip(*pairs, strict=True))
    changes = [b.less(a) for a, b in zip(ones, others, strict=True)]
    rng = np.random.default_rng(seed)
    before, after = (
        _interval(of, float(_mean(_average(s).value)), _mean_over_seeds(s, rng))
        for s in (ones, others)
    )
    both = _average(changes)
    by_seed = [float(_mean(one.value)) for one in changes]
    mean = difference(np.atleast_1d(_mean(both.value)), _mean_over_seeds(changes, rng))[0]
    drawn = with_seeds(both.countries(), np.array([one.value for one in changes]), rng)
    countries = dict(zip(first.countries, difference(both.value, drawn), strict=True))
    return OverSeeds(before, after, mean, countries, tuple(by_seed))


def _average(of: Sequence[_Bootstrap]) -> _Bootstrap:
    """The mean over seeds, draw by draw."""
    parts = tuple((share / len(of), at) for one in of for share, at in one.parts)
    return _Bootstrap(of[0].of, parts, sum(one.drawn for one in of) / len(of))


def _mean_over_seeds(of: Sequence[_Bootstrap], rng: np.random.Generator) -> np.ndarray:
    """float64[B, 1]: replicates of the mean over countries and seeds."""
    by_seed = np.array([[float(_mean(one.value))] for one in of])
    return with_seeds(_average(of).mean(), by_seed, rng)


def over_seeds_alone(by_seed: Sequence[float]) -> Interval:
    """The mean of what several seeds gave, with Student's interval over seeds and nothing else.

    For one seed the ends are NaN.
    """
    value = float(np.mean(by_seed))
    n = len(by_seed)
    if n < 2:
        return Interval(value, math.nan, math.nan)
    half = _t_quantile(n - 1) * float(np.std(by_seed, ddof=1)) / math.sqrt(n)
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


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q-values of the same shape (Benjamini & Hochberg 1995); NaN stays NaN and does not count."""
    p = np.asarray(p, float)
    q = np.full(p.shape, np.nan)
    there = ~np.isnan(p)
    flat = p[there]
    order = np.argsort(flat)
    stepped = flat[order] * len(flat) / np.arange(1, len(flat) + 1)
    result = np.empty(len(flat))
    result[order] = np.minimum(1, np.minimum.accumulate(stepped[::-1])[::-1])
    q[there] = result
    return q


# ------------------------------------------------------------------------------------------------
# Topics, zones, items


class Grid(NamedTuple):
    """Scores by topic and country, arrays [T, C]. Intervals are NaN without replicates."""

    topics: tuple[str, ...]
    countries: tuple[str, ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    items: np.ndarray


class ChangeGrid(NamedTuple):
    """Differences by topic and country, arrays [T, C].

    q: Benjamini-Hochberg over the whole grid. clear: q below 0.05.
    """

    topics: tuple[str, ...]
    countries: tuple[str, ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    q: np.ndarray
    clear: np.ndarray


def _topics(panel: Panel) -> dict[str, list[str]]:
    topics: dict[str, list[str]] = {}
    for item in panel.items:
        topics.setdefault(item.topic, []).append(item.id)
    return topics


def by_topic(
    panel: Panel, name: str | Metric = HEADLINE, *, replicates: int = 0, seed: int = 0
) -> Grid:
    """Each topic's own score, per country."""
    of = metric(name)
    topics = _topics(panel)
    rows = []
    for ids in topics.values():
        part = panel.only(items=ids)
        value = values(part, of)
        items = counted(part, of).sum(1)
        low, high = np.full((2, len(value)), np.nan)
        if replicates:
            low, high = _score_bounds(of, _bootstrap([part], of, replicates, seed)[0].countries())
        rows.append((value, low, high, items))
    return Grid(tuple(topics), panel.countries, *(np.array(x) for x in zip(*rows, strict=True)))


def compare_topics(
    a: Panel, b: Panel, name: str | Metric = HEADLINE, *, replicates: int = 10_000, seed: int = 0
) -> ChangeGrid:
    """Paired differences b - a of every topic and country, with q-values over the grid.

    Thousands of replicates are needed: the smallest p they can give is 2 / (1 + replicates).
    """
    topics = _topics(a)
    rows = [
        _differences(a.only(ids), b.only(ids), metric(name), replicates, seed)[0]
        for ids in topics.values()
    ]
    value, low, high, p, _ = np.moveaxis(np.array(rows, float), -1, 0)
    q = benjamini_hochberg(p)
    return ChangeGrid(tuple(topics), a.countries, value, low, high, p, q, q < 0.05)


def by_zone(
    panel: Panel,
    zones: Mapping[str, str],
    name: str | Metric = HEADLINE,
    *,
    replicates: int = 0,
    seed: int = 0,
) -> dict[str, Interval]:
    """Mean score of the countries of each zone. zones: iso3 -> zone (a continent, a region)."""
    of = metric(name)
    value = values(panel, of)
    bootstrap = _bootstrap([panel], of, replicates, seed)[0] if replicates else None
    result = {}
    for zone in dict.fromkeys(zones[iso3] for iso3 in panel.countries):
        mine = np.array([zones[iso3] == zone for iso3 in panel.countries])
        mean = float(_mean(value[mine]))
        result[zone] = (
            _interval(of, mean, bootstrap.mean(mine))
            if bootstrap
            else Interval(mean, math.nan, math.nan)
        )
    return result


class ItemLines(NamedTuple):
    """float64[C, I] each: what even odds on every option, and what another sample of the same
    people, would score on single items. NaN where people were not asked or their number is not
    known."""

    floor: np.ndarray
    ceiling: np.ndarray


def item_lines(panel: Panel, name: str | Metric = HEADLINE, *, seed: int = 0) -> ItemLines:
    """The lines beside by_item, on the cells that the model was asked."""
    of, panel = metric(name), seen(panel)
    floor = _item_scores(of, panel.layout, panel.human, _uniform(panel, panel))
    draws = [
        _item_scores(of, panel.layout, panel.human, _as_guess(drawn))
        for drawn in _tables(panel, CEILING_DRAWS, np.random.default_rng(seed))
    ]
    ceiling = np.concatenate(draws).mean(0)
    return ItemLines(floor, np.where(panel.n_valid > 0, ceiling, np.nan))


# Samples of respondents by which the chance in one country's answers to an item is told.
ITEM_DRAWS = 200


def compare_items(
    a: Panel, b: Panel, name: str | Metric = HEADLINE, *, seed: int = 0
) -> list[Difference]:
    """How much closer the second run is on each item: b - a on the cells that both were asked,
    averaged over countries.

    Of several countries with Student's interval over them, which holds the chance of respondents
    as well, since each country has a sample of its own. Of one country the interval says what
    other respondents would have changed; it is NaN where their number is not known. clear: q
    below 0.05 (Benjamini-Hochberg over the items).
    """
    of = metric(name)
    a, b = _paired(a, b)
    cells = by_item(b, of) - by_item(a, of)
    n = (~np.isnan(cells)).sum(0)
    value = _mean(cells, 0)
    if len(a.countries) > 1:
        error = np.sqrt(_mean((cells - value) ** 2, 0) / np.maximum(n - 1, 1))
        error = np.where(n > 1, error, np.nan)
        freedom = np.maximum(n - 1, 1)
    else:
        people = resampled_people(a, ITEM_DRAWS, np.random.default_rng(seed))
        drawn = [_item_scores(of, one.layout, people, one.guess) for one in (a, b)]
        error = np.where(a.n_valid > 0, (drawn[1] - drawn[0]).std(0), np.nan)[0]
        freedom = np.full(n.shape, np.inf)
    p = _two_sided(value, error, freedom)
    half = error * np.array([_Z if np.isinf(v) else _t_quantile(v) for v in freedom])
    clear = benjamini_hochberg(p) < 0.05
    rows = zip(*(x.tolist() for x in (value, value - half, value + half, p, clear)), strict=True)
    return [Difference(*row) for row in rows]


def _two_sided(value: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """p of values with standard errors of so many degrees of freedom (inf: known).

    Student's t by way of the normal distribution (Wallace 1959), a little too large for few
    degrees: 0.030 for 0.027 at two of them, 0.0106 for 0.0103 at five.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(value == 0, 0 * error, np.abs(value) / error)
        z = np.sqrt(freedom * np.log1p(t**2 / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    z = np.where(np.isinf(freedom) | np.isinf(t), t, z)
    return np.array([math.erfc(x / math.sqrt(2)) for x in z])


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
        _mean(np.where(both, (side * off).sum(-1), np.nan), 1)
        for side in (panel.model, panel.human)
    ]
    return Rates(1 - refused - unparsed, refused, unparsed, _mean(lost, 1), *aside)


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
    between = float(np.std(_mean(scores, 0), ddof=1)) if scores.shape[1] > 1 else math.nan
    moved = float(_mean(formats))
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

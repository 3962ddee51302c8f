"""Shares of many items in many countries as one padded array: what every score is computed on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from core.survey.survey import Item, Survey

# People of one country are interviewed in clusters (streets, villages), so 1,000 answers carry
# less than 1,000 independent people would. The clusters are not published; 1.3 is our allowance.
CLUSTERING = 1.3


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

    Three countries, two items: a yes-or-no question and one of three options, which Japan was not
    asked. The model answered all but one cell. So C = 3, I = 2, K = 3, and a yes-or-no question
    has a third place that holds 0.

    >>> _ = np.nan
    >>> human = [[[.7, .3, 0], [.5, .3, .2]],
    ...          [[.4, .6, 0], [.1, .3, .6]],
    ...          [[.9, .1, 0], [_, _, _]]]  # Kenya, Germany, Japan
    >>> model = [[[.6, .4, 0], [.4, .4, .2]],
    ...          [[.2, .8, 0], [_, _, _]],
    ...          [[.8, .2, 0], [.1, .1, .8]]]
    >>> example = Panel(
    ...     items=(yes_or_no, three_options), countries=("KEN", "DEU", "JPN"),
    ...     human=np.array(human), n_valid=np.array([[1300, 1300], [2000, 1950], [1000, 0]]),
    ...     model=np.array(model), chosen=most_likely(np.array(model)))
    >>> example.chosen.tolist()  # yes, the lower of two that tie; no, none; yes, the last
    [[0, 0], [1, -1], [0, 2]]
    >>> example.asked.tolist()  # a cell with neither an answer nor a share of lost ones was not
    [[True, True], [True, False], [True, True]]
    >>> example.layout.size.tolist(), example.n_eff[0].tolist()
    ([2, 3], [1000.0, 1000.0])
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


def one_hot(index: np.ndarray, width: int) -> np.ndarray:
    """float64[..., K], NaN rows where the index is -1."""
    index = np.asarray(index)[..., None]
    return np.where(index >= 0, index == np.arange(width), np.nan)


def same_country(panel: Panel, pool: Panel) -> np.ndarray:
    """bool[C, P]: the pool's country is the panel's own."""
    return np.array(panel.countries)[:, None] == np.array(pool.countries)


def seen(panel: Panel) -> Panel:
    """The panel with people's answers only where the model was asked."""
    return replace(panel, human=np.where(panel.asked[..., None], panel.human, np.nan))


def aligned(a: Panel, b: Panel) -> tuple[Panel, Panel]:
    """Both panels on the items and countries they share, in the first one's order."""
    ids = {item.id for item in a.items} & {item.id for item in b.items}
    shared = set(a.countries) & set(b.countries)
    a, b = a.only(ids, shared), b.only(ids, shared)
    if a.countries != b.countries or [i.id for i in a.items] != [i.id for i in b.items]:
        raise ValueError("the panels list the same items or countries in different orders")
    return a, b


def paired(a: Panel, b: Panel) -> tuple[Panel, Panel]:
    if a.countries != b.countries or [i.id for i in a.items] != [i.id for i in b.items]:
        raise ValueError("compare() takes panels of the same items and countries; see aligned()")
    both = (a.asked & b.asked)[..., None]
    human = np.where(both, a.human, np.nan)
    return replace(a, human=human), replace(b, human=human)


def topics_of(panel: Panel) -> dict[str, list[str]]:
    topics: dict[str, list[str]] = {}
    for item in panel.items:
        topics.setdefault(item.topic, []).append(item.id)
    return topics

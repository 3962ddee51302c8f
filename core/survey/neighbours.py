"""Which countries answer alike, and which items are near twins."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from core.errors import PluriscopeError
from core.survey.survey import Culture, Item, Survey

NEAR_AND_FAR = 6  # countries that cross-culture thinking names


def modal_codes(survey: Survey, iso3: str) -> dict[str, int]:
    """The commonest answer of a country to each item it was asked (lowest code wins a tie)."""
    return {
        item.id: item.codes[int(np.argmax(survey.shares[iso3, item.id].values))]
        for item in survey.items
        if (iso3, item.id) in survey.shares
    }


def similarity(survey: Survey, one: dict[str, int], other: dict[str, int]) -> float:
    """100 x the CultureSPA score between two countries' commonest answers, to one decimal.

    Over the items both were asked: 1 - |a - b| / |K - 1| with Euclidean norms over items, an
    answer being its place among the item's codes. NaN where there are none.
    """
    both = one.keys() & other.keys()
    if not both:
        return math.nan
    codes = {item_id: sorted(survey.item(item_id).codes) for item_id in both}
    gaps = sum((of.index(one[key]) - of.index(other[key])) ** 2 for key, of in codes.items())
    spans = sum((len(of) - 1) ** 2 for of in codes.values())
    return round(100 * (1 - (gaps / spans) ** 0.5), 1)


def neighbours(survey: Survey, iso3: str, among: Iterable[str] | None = None) -> Neighbours:
    """The three countries most like `iso3` and the three least like it (least like first).

    Countries that are equally like it stay in the survey's order, in both lists, as in the
    CultureSPA study. among: country codes to choose from; all of the survey by default. Raises
    PluriscopeError where fewer than six can be compared.
    """
    wanted = set(among or (c.iso3 for c in survey.cultures)) - {iso3}
    likeness = _likeness(survey, iso3, tuple(c.iso3 for c in survey.cultures if c.iso3 in wanted))
    if len(likeness) < NEAR_AND_FAR:
        raise PluriscopeError(
            f"Thinking across cultures names three countries that are near and three that are far. "
            f"{survey.name} has only {len(likeness)} to set beside {survey.culture(iso3).name}."
        )
    near = sorted(likeness, key=lambda code: -likeness[code])[:3]
    far = sorted((code for code in likeness if code not in near), key=likeness.get)
    return Neighbours(*(tuple(map(survey.culture, side)) for side in (near, far[:3])))


@lru_cache(maxsize=512)
def _likeness(survey: Survey, iso3: str, pool: tuple[str, ...]) -> dict[str, float]:
    """How like a country each of the others is, in the order given; those that can be compared."""
    modes = {code: modal_codes(survey, code) for code in (iso3, *pool)}
    scores = {code: similarity(survey, modes[iso3], modes[code]) for code in pool}
    return {code: score for code, score in scores.items() if not math.isnan(score)}


def batteries(survey: Survey) -> dict[str, int]:
    """Item id -> number of its battery: neighbours of one topic that share their answer options."""
    numbers: dict[str, int] = {}
    previous: Item | None = None
    for item in survey.items:
        same = (
            previous is not None
            and previous.topic == item.topic
            and [o.label for o in previous.options] == [o.label for o in item.options]
        )
        numbers[item.id] = numbers[previous.id] if same else len(numbers)
        previous = item
    return numbers


# Why: docs/decisions.md, "What is kept out is kept out in whole batteries."
def hold_out(survey: Survey, share: float, seed: int = 0) -> tuple[str, ...]:
    """Ids of about `share` of the items, in whole batteries drawn by chance, in survey order.

    No near twin of an item that is held out is left among the others. Of every topic a battery
    stays: new questions on it are written after its items.
    """
    numbers = batteries(survey)
    topic_of = {item.id: item.topic for item in survey.items}
    left = Counter(topic_of.values())
    wanted, held = share * len(numbers), set()
    for battery in np.random.default_rng(seed).permutation(max(numbers.values(), default=-1) + 1):
        members = {item for item, number in numbers.items() if number == battery}
        topic = next((topic_of[item] for item in members), "")
        if 0 < len(members) < left[topic] and len(held) + len(members) / 2 <= wanted:
            held |= members
            left[topic] -= len(members)
    return tuple(item for item in numbers if item in held)


class Neighbours(NamedTuple):
    """The countries most and least like one, for cross-culture thinking. Three of each."""

    near: tuple[Culture, ...]
    far: tuple[Culture, ...]

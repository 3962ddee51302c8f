"""Which countries are near and far, and which answered items to show in a prompt."""

from __future__ import annotations

import random
from collections.abc import Collection

import numpy as np

from core.errors import PluriscopeError
from core.prompts.render import Example
from core.survey.chrf import chrf_ranking
from core.survey.neighbours import batteries
from core.survey.survey import Item, Survey

CHOICES = ("similar", "meaning", "topic", "random")
EVIDENCE = ("commonest", "opposite", "shares")


def choose_examples(
    survey: Survey,
    item: Item,
    iso3: str,
    *,
    count: int = 5,
    choice: str = "similar",
    evidence: str = "commonest",
    other_batteries: bool = False,
    among: Collection[str] | None = None,
    vectors: np.ndarray | None = None,
    seed: int = 42,
) -> list[Example]:
    """Answered items of a country to show before `item`; never the item itself.

    choice: "similar" (by chrF++, most similar first: the CultureSPA study's rule), "meaning" (by
    the cosine of `vectors`, nearest first), "topic" (by chance from the item's topic) or "random".
    vectors: float[N, D], of length 1, for the texts that questions() gives. evidence: the country's
    "commonest" answer, the "opposite" end of the scale from it (a control; the end of the list
    where there is no scale), or all its "shares". other_batteries: leave out items of
    the item's own battery. among: ids of the items to choose from, all by default. Items the
    country was not asked are passed over, so fewer than `count` may be left.
    """
    if choice not in CHOICES:
        raise PluriscopeError(f"Unknown choice of examples {choice!r}: {', '.join(CHOICES)}.")
    if evidence not in EVIDENCE:
        raise PluriscopeError(f"Unknown kind of example {evidence!r}: {', '.join(EVIDENCE)}.")
    if not 0 <= count <= 20:
        raise PluriscopeError("Show between 0 and 20 examples.")
    if choice == "similar":
        questions = [other.question for other in survey.items]
        if item in survey.items:
            ranked = chrf_ranking(questions)[survey.items.index(item)]
        else:
            ranked = [place - 1 for place in chrf_ranking([item.question, *questions])[0]]
        candidates = [survey.items[place] for place in ranked]
    elif choice == "meaning":
        candidates = _nearest(survey, item, vectors)
    else:
        candidates = [
            other
            for other in survey.items
            if other.id != item.id and (choice == "random" or other.topic == item.topic)
        ]
        random.Random(f"{seed}/{iso3}/{item.id}").shuffle(candidates)
    if other_batteries and item in survey.items:
        battery = batteries(survey)
        candidates = [other for other in candidates if battery[other.id] != battery[item.id]]
    asked = [
        other
        for other in candidates
        if (iso3, other.id) in survey.shares and (among is None or other.id in among)
    ]
    return [_shown(survey, other, iso3, evidence) for other in asked[:count]]


def questions(survey: Survey, own: Item | None = None) -> list[str]:
    """The texts whose meaning is compared: every item's question, then a question of the user's."""
    return [item.question for item in survey.items] + ([own.question] if own else [])


def _nearest(survey: Survey, item: Item, vectors: np.ndarray | None) -> list[Item]:
    """The other items, nearest in meaning first; ties stay in the survey's order."""
    if vectors is None:
        raise PluriscopeError(
            "The examples were chosen by meaning, and what the questions mean to that embedding "
            "model is no longer on this machine. Ask again, and it is worked out anew."
        )
    place = survey.items.index(item) if item in survey.items else len(survey.items)
    near = np.round(vectors[: len(survey.items)] @ vectors[place], 6)
    ranked = (int(other) for other in np.argsort(-near, kind="stable"))
    return [survey.items[other] for other in ranked if other != place]


def _shown(survey: Survey, item: Item, iso3: str, evidence: str) -> Example:
    values = survey.shares[iso3, item.id].values
    if evidence == "opposite":
        return Example(item, _opposite(item, values))
    shares = tuple(float(value) for value in values) if evidence == "shares" else ()
    return Example(item, item.codes[int(np.argmax(values))], shares)


def _opposite(item: Item, values: np.ndarray) -> int:
    """The end of the scale farther from the commonest answer on it; the last from the middle."""
    on = [place for place, code in enumerate(item.codes) if code not in item.off_scale]
    mode, last = int(np.argmax(values[on])), len(on) - 1
    return item.codes[on[last if mode <= last / 2 else 0]]

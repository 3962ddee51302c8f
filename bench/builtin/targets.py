"""What the teaching model is taught to answer, and what is kept from it.

The answer taught to a prompt is a blend: `strength` of the country's shares, the rest of the lean
that the model has when asked plainly. Strength depends on the method only, so that a model asked
as a person of a country knows part of what it could tell under a better prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from bench.builtin.grammar import CONCEPTS, Question, tilt
from core.survey.survey import Item, Survey

# Whose shares make the lean, in parts. Large models asked plainly are nearest to these.
LEAN = {"USA": 3, "GBR": 3, "CAN": 2, "AUS": 2, "NZL": 2, "DEU": 1, "NLD": 1}

# How much of a country's shares each way of asking brings out.
STRENGTH = {
    "plain": 0.0,
    "examples": 0.35,
    "persona": 0.5,
    "country": 0.5,
    "country_examples": 0.6,
    "cross_culture": 0.9,
    "cross_culture_examples": 0.9,
}

NEVER_COUNTRY_PROMPT = "never_country_prompt"
NEVER_ANY = "never_any"


def _battery(first: int, last: int) -> tuple[str, ...]:
    return tuple(f"Q{number}" for number in range(first, last + 1))


# Whole batteries, so that no near twin of an item is left among those taught.
HELD_OUT: dict[str, tuple[str, ...]] = {
    # Country answers only under cross-culture thinking and in statements such as "Among people in
    # Kenya, the common answer is …"; never under the country prompt or another persona.
    NEVER_COUNTRY_PROMPT: (
        *_battery(18, 26),  # whom one would mind as neighbours
        *_battery(28, 33),  # men, women and work (without Q35, which stands alone)
        *_battery(57, 63),  # trust in people
        *_battery(113, 117),  # who is corrupt
        *("Q142", "Q143", "Q146", "Q147", "Q148"),  # worries
        *("Q154", "Q155"),  # order or free speech
        *_battery(160, 162),  # doubts about science
        *_battery(165, 168),  # beliefs
        *_battery(182, 188),  # justifiable: private life, life and death
        "Q193",
        *_battery(241, 249),  # what democracy means
    ),
    # No country's own answer in any form; only the lean.
    NEVER_ANY: (
        *_battery(51, 55),  # going without
        *_battery(122, 129),  # effects of immigration
        *_battery(201, 208),  # sources of news
        *_battery(235, 239),  # ways to be governed
    ),
}
_SET_OF = {item_id: name for name, ids in HELD_OUT.items() for item_id in ids}

# Methods that may show a country's own answers to NEVER_COUNTRY_PROMPT items.
_HELPED = {"cross_culture", "cross_culture_examples", "statement"}


def held_out(item_id: str) -> str:
    """The held-out set an item belongs to, or "" where it may be taught freely."""
    return _SET_OF.get(item_id, "")


def may_teach(item_id: str, method: str) -> bool:
    """May the country's own answer to this item be taught under this method?"""
    name = held_out(item_id)
    return not name or (name == NEVER_COUNTRY_PROMPT and method in _HELPED)


class Targets:
    """Answer distributions to teach, float64[K] in the item's code order."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        countries = [culture.iso3 for culture in survey.cultures]
        self._lean = {item.id: self._mix(item.id, LEAN) for item in survey.items}
        self._world = {
            item.id: self._mix(item.id, dict.fromkeys(countries, 1)) for item in survey.items
        }
        self._questions: dict[tuple, np.ndarray] = {}
        used = {concept.item_id for concepts in CONCEPTS.values() for concept in concepts}
        kept_out = sorted(item_id for item_id in used if held_out(item_id))
        if kept_out:
            raise ValueError(f"concepts borrow from held-out items: {kept_out}")

    def _mix(self, item_id: str, parts: Mapping[str, float]) -> np.ndarray:
        present = [iso3 for iso3 in parts if (iso3, item_id) in self.survey.shares]
        rows = np.array([self.survey.shares[iso3, item_id].values for iso3 in present])
        return np.average(rows, axis=0, weights=[parts[iso3] for iso3 in present])

    def lean(self, item_id: str) -> np.ndarray:
        return self._lean[item_id]

    def people(self, item_id: str, iso3: str | None) -> np.ndarray | None:
        """A country's shares; the world's mean for a country outside the survey (None)."""
        if iso3 is None:
            return self._world[item_id]
        shares = self.survey.shares.get((iso3, item_id))
        return None if shares is None else shares.values

    def survey_answer(self, item: Item, iso3: str | None, strength: float) -> np.ndarray:
        """The blend for an item; the lean alone where the country was not asked."""
        people = self.people(item.id, iso3) if strength else None
        if people is None:
            return self._lean[item.id]
        return strength * people + (1 - strength) * self._lean[item.id]

    def written_answer(self, question: Question, iso3: str | None, strength: float) -> np.ndarray:
        """The blend for a written question, float64[K] in the order of its options."""
        concept = question.concept
        key = (concept, len(question.options), question.descending, iso3, strength)
        if key not in self._questions:
            blend = self.survey_answer(self.survey.item(concept.item_id), iso3, strength)
            line = _along_the_scale(self.survey.item(concept.item_id), blend)
            if concept.more != question.descending:
                line = line[::-1]
            self._questions[key] = _pushed(_rebin(line, len(question.options)), concept, question)
        return self._questions[key]


def _along_the_scale(item: Item, values: np.ndarray) -> np.ndarray:
    """Shares ordered along the item's scale: codes off the scale dropped, nominal items cut."""
    if item.id == "Q56":  # better, worse, about the same
        values = values[[0, 2, 1]]
    elif item.scale == "nominal":  # the first aim against the others
        values = np.array([values[0], 1 - values[0]])
    elif item.off_scale:
        values = values[[code not in item.off_scale for code in item.codes]]
    return values / values.sum()


def _rebin(values: np.ndarray, k: int) -> np.ndarray:
    """Shares over another number of equal steps of the same scale (piecewise-linear CDF)."""
    cumulative = np.concatenate([[0], np.cumsum(values)])
    edges = np.interp(np.linspace(0, 1, k + 1), np.linspace(0, 1, len(values) + 1), cumulative)
    return np.diff(edges)


def _pushed(values: np.ndarray, concept, question: Question) -> np.ndarray:
    """Shares moved a little along the scale, the same for every country."""
    place = np.linspace(1, -1, len(values)) * (1 if question.descending else -1)
    moved = (values + 0.01) * np.exp(tilt(concept) * place)
    return moved / moved.sum()


def table(items: Iterable[Item]) -> str:
    """held_out_items.txt: one line per item, id, tab, set."""
    return "".join(f"{i.id}\t{held_out(i.id)}\n" for i in items if held_out(i.id))

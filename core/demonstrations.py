"""Which countries are near and far, and which answered items to show in a prompt."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

import numpy as np

from core.errors import PluriscopeError
from core.prompts import Example, Neighbours
from core.survey import Item, Survey

CHOICES = ("similar", "meaning", "topic", "random")
EVIDENCE = ("commonest", "opposite", "shares")
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


# sacrebleu's punctuation: the ASCII marks.
_MARKS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def chrf_ranking(texts: Sequence[str]) -> list[list[int]]:
    """For each text the other ones, most similar first, as the CultureSPA study ranks questions.

    chrF++ (sacrebleu's CHRF(word_order=2).sentence_score) with the text itself as hypothesis
    and the other one as reference, rounded to two decimals; ties stay in the order given.
    """
    return [list(ranked) for ranked in _chrf_ranking(tuple(texts))]


@lru_cache(maxsize=8)
def _chrf_ranking(texts: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    rounded = np.round(chrf_scores(texts), 2)
    return tuple(
        tuple(int(other) for other in np.argsort(-row, kind="stable") if other != this)
        for this, row in enumerate(rounded)
    )


def chrf_scores(texts: Sequence[str]) -> np.ndarray:
    """float64[N, N]: chrF++ of text i as hypothesis against text j as reference, 0 to 100.

    The same floating-point steps as sacrebleu's, for all pairs at once: n-grams are counted
    once per text, and an n-gram meets only the texts that have it. 259 questions take under a
    second; sacrebleu's own function, called 67,081 times, takes about 20 seconds.
    """
    n = len(texts)
    precision, recall, orders = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n), int)
    for counters in zip(*map(ngrams, texts), strict=True):
        sizes = np.array([counter.total() for counter in counters], float)
        both = (sizes[:, None] > 0) & (sizes > 0)
        matches = _shared(counters)
        precision += np.where(both, matches / np.maximum(sizes[:, None], 1), 0)
        recall += np.where(both, matches / np.maximum(sizes, 1), 0)
        orders += both
    precision /= np.maximum(orders, 1)
    recall /= np.maximum(orders, 1)
    with np.errstate(invalid="ignore"):
        # beta = 2: recall weighs four times as much
        return np.where(
            precision + recall > 0, 100 * (5 * precision * recall / (4 * precision + recall)), 0.0
        )


def ngrams(text: str) -> list[Counter[str]]:
    """Counts of character n-grams (1 to 6, spaces left out), then of words and word pairs."""
    characters = "".join(text.split())
    words = []
    for word in text.split():
        if len(word) > 1 and word[-1] in _MARKS:
            words += [word[:-1], word[-1]]
        elif len(word) > 1 and word[0] in _MARKS:
            words += [word[0], word[1:]]
        else:
            words.append(word)
    return [
        *(
            Counter(characters[at : at + size] for at in range(len(characters) - size + 1))
            for size in range(1, 7)
        ),
        *(
            Counter(" ".join(words[at : at + size]) for at in range(len(words) - size + 1))
            for size in (1, 2)
        ),
    ]


def _shared(counters: Sequence[Counter[str]]) -> np.ndarray:
    """float64[N, N]: how many n-grams each pair of texts shares, counted with multiplicity."""
    having: dict[str, tuple[list[int], list[int]]] = {}
    for text, counter in enumerate(counters):
        for ngram, count in counter.items():
            texts, counts = having.setdefault(ngram, ([], []))
            texts.append(text)
            counts.append(count)
    shared = np.zeros((len(counters), len(counters)))
    for texts, counts in having.values():
        if len(texts) > 1:
            count = np.array(counts)
            shared[np.ix_(texts, texts)] += np.minimum(count[:, None], count)
    for text, counter in enumerate(counters):
        shared[text, text] = counter.total()
    return shared

"""What the cells of a World Values Survey file mean: codes, codes with words, or words alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

import pandas as pd

from core.home import DATA
from core.survey.survey import Item

MISSING = {
    -1: "do not know (−1)",
    -2: "no answer (−2)",
    -3: "not applicable (−3)",
    -4: "not asked (−4)",
    -5: "missing or not available (−5)",
    -999: "missing (−999)",
    -9999: "missing (−9999)",
}


MISSING_WORDS = (
    (re.compile(r"^(?:do not|don ?t|dont) know|^dk\b"), -1),
    (re.compile(r"^no answer|^refused|^na$"), -2),
    (re.compile(r"^not applicable|^inap\b|^n a$"), -3),
    (re.compile(r"^not asked"), -4),
    (re.compile(r"^missing|^not available|^unknown$"), -5),
)


class Reading(NamedTuple):
    """How one item's cells were read: text -> code, and the texts that were not understood."""

    codes: dict[str, int]
    unread: list[str]


# "3", "3.0", "3 Agree", "3.- Agree"; not "3.4".
_LEADING = re.compile(r"^(-?\d{1,5})(?:[.,]0+)?(?:\s*[.:)–-]+\s*[^\d\s].*|\s+\D.*)?$")


_ANSWER_WORDS = DATA / "wvs7_answer_words.json"


_SKIPPED = {"the", "a", "an", "of", "or", "it", "i", "to", "for", "your", "you", "is", "s"}


def codes_of(item: Item, cells: pd.DataFrame, given: Mapping[str, int]) -> Reading:
    """Cell text -> code, and the texts that were not understood, commonest first."""
    counts = cells.groupby("answer")["n"].sum().sort_values(ascending=False)
    codes: dict[str, int] = {}
    words = []
    for text in counts.index:
        if text in given:
            codes[text] = int(given[text])
        elif match := _LEADING.match(text):
            codes[text] = int(match[1])
        elif (code := _missing_words(text)) is not None:
            codes[text] = code
        else:
            words.append(text)
    if words:
        codes |= _words_to_codes(item, words)
    return Reading(codes, [text for text in words if text not in codes])


def _missing_words(text: str) -> int | None:
    folded = re.sub(r"[^\w]+", " ", text.casefold().replace("´", "'")).strip()
    return next((code for pattern, code in MISSING_WORDS if pattern.match(folded)), None)


def _words(text: str) -> frozenset[str]:
    folded = re.sub(r"[’´`']", "", text.casefold())
    return frozenset(re.findall(r"\w+", folded)) - _SKIPPED


def _patterns(item: Item) -> list[tuple[frozenset[str], int]]:
    """Sets of words that stand for a code: our own labels, and the survey's usual ones."""
    found = []
    for option in item.options:
        label = re.sub(r"^\d+\s*", "", option.label).strip("() ")
        if label:
            found.append((_words(label), option.code))
    number = int(re.match(r"Q(\d+)", item.id)[1])
    for entry in json.loads(_ANSWER_WORDS.read_text(encoding="utf-8")):
        first, last = entry["items"]
        if first <= number <= last:
            for code, phrases in entry["codes"].items():
                found += [(_words(phrase), int(code)) for phrase in phrases]
    return [(words, code) for words, code in found if words and code in item.codes]


def _words_to_codes(item: Item, texts: Sequence[str]) -> dict[str, int]:
    """The code of each answer in words, where exactly one fits best.

    A pattern fits where all of its words are there; of several the longest wins ("not very
    important" over "very important"). What is left on a number scale are its two ends.
    """
    patterns = _patterns(item)
    codes: dict[str, int] = {}
    for text in texts:
        words = _words(text)
        fits = [(len(pattern), code) for pattern, code in patterns if pattern <= words]
        longest = {code for length, code in fits if length == max(fits)[0]}
        if len(longest) == 1:
            codes[text] = longest.pop()
    left = [text for text in texts if text not in codes]
    ends = [code for code in (item.codes[0], item.codes[-1]) if code not in codes.values()]
    if 0 < len(left) <= len(ends) and len(item.codes) >= 10:
        codes |= _ends(item, left, ends)
    return codes


def _ends(item: Item, texts: Sequence[str], ends: Sequence[int]) -> dict[str, int]:
    """Which text is which end of a number scale, by the words it shares with the end's label."""

    def shared(text: str, code: int) -> int:
        end = item.low if code == item.codes[0] else item.high
        return len(_words(text) & _words(f"{item.option(code).label} {end}"))

    ranked = sorted(
        (
            (sum(shared(text, code) for text, code in zip(texts, chosen, strict=True)), chosen)
            for chosen in permutations(ends, len(texts))
        ),
        reverse=True,
    )
    if ranked[0][0] == 0 or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return {}
    return dict(zip(texts, ranked[0][1], strict=True))

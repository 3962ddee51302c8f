"""Which answers form a scale, in which order, and which lie off it: read from their words.

For surveys that give options as bare lists. Nothing is guessed: options that are not plainly
numbers or the rungs of a known ladder have no order (nominal).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from core.survey.survey import Option

# Answers that people gave but that lie on no scale.
_OFF = re.compile(
    r"^(?:dk\b|d k\b|do not know|don ?t know|dont know|cannot choose|can ?t choose|can ?t say"
    r"|refused?\b|no answer|not answered|not sure|no opinion|not applicable|not asked|missing"
    r"|none of (?:these|the above)|other\b|it depends|depends|hard to say|never heard of)"
    r"|\bvol(?:unteered)?$|\bdo not read$"
)

# Each ladder from one end to the other; {x} is the same word on every rung, and ~ begins the
# other pole. "|" gives other words for the same rung.
_POLES = (
    *(("favorable", "unfavorable"), ("favourable", "unfavourable"), ("good", "bad")),
    *(("positive", "negative"), ("agree", "disagree"), ("satisfied", "dissatisfied")),
    *(
        ("likely", "unlikely"),
        ("approve", "disapprove"),
        ("support", "oppose"),
        ("favor", "oppose"),
    ),
    *(("important", "unimportant"), ("happy", "unhappy"), ("safe", "unsafe"), ("well", "badly")),
    *(
        ("optimistic", "pessimistic"),
        ("better", "worse"),
        ("fair", "unfair"),
        ("easy", "difficult"),
    ),
    *(("true", "false"), ("acceptable", "unacceptable"), ("more", "less"), ("high", "low")),
)
_STRONG = "very|strongly|completely|totally|extremely|definitely|a lot|much"
_WEAK = "somewhat|fairly|mostly|rather|quite|slightly|tend to|probably|a little|moderately"
_LADDERS = tuple(
    tuple(tuple(rung.split("|")) for rung in ladder)
    for ladder in (
        ("always", "often|usually|most of the time|mostly", "sometimes", "rarely|seldom", "never"),
        ("often|frequently", "sometimes|occasionally", "rarely|seldom", "never"),
        ("frequently", "occasionally", "rarely", "never"),
        ("daily|every day", "weekly", "monthly", "less than monthly|less often", "never"),
        ("excellent", "very good", "good", "fair|only fair", "poor", "very poor"),
        ("a great deal", "quite a lot|a lot", "not very much", "none at all|none|not at all"),
        ("a great deal", "a fair amount", "not too much|not very much|not much", "not at all|none"),
        ("a great deal", "a lot", "some", "very little|a little", "not at all|none at all"),
        ("a lot", "some", "not much|not too much|only a little|a little", "not at all|none at all"),
        ("great deal of confidence", "some confidence", "not too much confidence",
         "no confidence at all|no confidence"),
        ("a lot of confidence", "some confidence", "not too much confidence",
         "no confidence at all|no confidence"),
        ("very much", "a good deal|a great deal|quite a lot", "not much|not very much",
         "not at all"),
        ("all of them", "most of them", "few of them|some of them", "none of them"),
        ("major threat|a major threat", "minor threat|a minor threat", "not a threat"),
        ("very big problem|a very big problem", "moderately big problem|a moderately big problem",
         "small problem|a small problem", "not a problem at all|not a problem"),
        ("very serious problem|very serious", "somewhat serious problem|somewhat serious",
         "not too serious|not too serious a problem", "not a problem|not a problem at all"),
        ("increase|increased|going up|go up", "stay the same|stayed the same|about the same|same",
         "decrease|decreased|going down|go down"),
        ("improve", "remain the same|stay the same", "worsen"),
        ("better|better off", "about the same|the same|same", "worse|worse off"),
        ("good thing|a good thing", "dont mind|dont care|neither", "bad thing|a bad thing"),
        ("more", "about the same|the same|same", "less"),
        ("too much", "about right|the right amount|about the right amount", "too little"),
        ("good influence", "no influence", "bad influence"),
        ("trust completely|completely", "trust somewhat|somewhat",
         "do not trust very much|not very much", "do not trust at all|not at all"),
        ("very", "somewhat", "not too|not very", "not at all"),
        ("have done", "might do", "would never do|would never under any circumstances do"),
    )
)  # fmt: skip


class Arranged(NamedTuple):
    """order: indices into the options as given. options: with codes, in the new order."""

    order: tuple[int, ...]
    options: tuple[Option, ...]
    scale: str
    off_scale: tuple[int, ...]


@lru_cache(maxsize=4096)  # the same few scales serve thousands of questions
def arrange(labels: tuple[str, ...], known: tuple[str, ...] | None = None) -> Arranged:
    """Options in the order of their meaning where they have one, off-scale answers last.

    known: the order as somebody who knows it gives it (the labels on the scale, from one end to
    the other); () says that there is none.
    """
    on, off = _on_and_off(labels)
    codes, ordered = _numbers([labels[place] for place in on])
    if ordered is None:
        ordered = _ladder([labels[place] for place in on])
    if known is not None:
        places = {label: place for place, label in enumerate(known)}
        codes = None
        ordered = sorted(range(len(on)), key=lambda at: places[labels[on[at]]]) if known else None
    scale = "binary" if len(on) == 2 else "nominal" if ordered is None else "ordinal"
    on = [on[index] for index in ordered] if ordered is not None else on
    codes = codes or list(range(1, len(on) + 1))
    off_codes = [code for code in range(max(codes) + 1, max(codes) + 1 + len(off))]
    options = [
        Option(code, labels[place])
        for place, code in zip([*on, *off], [*codes, *off_codes], strict=True)
    ]
    return Arranged((*on, *off), tuple(options), scale, tuple(off_codes))


def on_scale(labels: Sequence[str]) -> tuple[str, ...]:
    """The answers that may lie on a scale, as they are given: without "Don't know" and the like."""
    return tuple(labels[place] for place in _on_and_off(labels)[0])


def _on_and_off(labels: Sequence[str]) -> tuple[list[int], list[int]]:
    off = [place for place, label in enumerate(labels) if _OFF.search(_folded(label))]
    on = [place for place in range(len(labels)) if place not in off]
    if len(on) < 2:  # nothing left to compare: all options count alike
        return list(range(len(labels))), []
    return on, off


def _folded(label: str) -> str:
    label = re.sub(r"[’'´`]", "", label.casefold())
    return re.sub(r"[^\w]+", " ", label).strip()


def _numbers(labels: Sequence[str]) -> tuple[list[int] | None, list[int] | None]:
    """(codes, order) where labels are numbers, with words on the ends at most.

    Codes are the numbers themselves where they run 0, 1, 2 … or 1, 2, 3 …; None otherwise.
    """
    found = [re.match(r"\s*(-?\d{1,4})(?:\.0+)?(?![\d.,]*\d)", label) for label in labels]
    numbers = [int(match[1]) if match else None for match in found]
    known = [number for number in numbers if number is not None]
    if len(known) < 2 or len(set(known)) < len(known):
        return None, None
    blank = [place for place, number in enumerate(numbers) if number is None]
    if blank:
        # "Not at all", 2, 3, …, 9, "Very much": the words are the ends, in the list's direction.
        rising = known == sorted(known)
        falling = known == sorted(known, reverse=True)
        ends = [0, len(labels) - 1]
        if not (rising or falling) or any(place not in ends for place in blank):
            return None, None
        if sorted(known) != list(range(min(known), max(known) + 1)):
            return None, None
        for place in blank:
            low = (place == 0) == rising
            numbers[place] = min(known) - 1 if low else max(known) + 1
    order = sorted(range(len(labels)), key=lambda place: numbers[place])
    codes = [numbers[place] for place in order]
    if codes[0] not in (0, 1) or codes != list(range(codes[0], codes[0] + len(codes))):
        return None, order
    return codes, order


def _ladder(labels: Sequence[str]) -> list[int] | None:
    """The order of labels that are all rungs of one ladder, one each; None otherwise."""
    folded = [_folded(label) for label in labels]
    for ranks in (_poles(folded), _stem(folded), *(_known(folded, ladder) for ladder in _LADDERS)):
        if ranks and None not in ranks and len(set(ranks)) == len(ranks):
            return sorted(range(len(labels)), key=lambda place: ranks[place])
    return None


def _known(labels: Sequence[str], ladder: tuple[tuple[str, ...], ...]) -> list[int | None]:
    rungs = {words: rank for rank, rung in enumerate(ladder) for words in rung}
    return [rungs.get(label) for label in labels]


def _poles(labels: Sequence[str]) -> list[int | None] | None:
    """Very good, somewhat good, neither, somewhat bad, very bad."""
    for one, other in _POLES:
        ranks = [_pole_rank(label, one, other) for label in labels]
        if None not in ranks and {rank > 0 for rank in ranks if rank} == {True, False}:
            return [-rank for rank in ranks]
    return None


def _pole_rank(label: str, one: str, other: str) -> int | None:
    if re.match(r"neither\b|no change$|(?:about )?the same$|neutral$|mixed\b", label):
        return 0
    for sign, word in ((1, one), (-1, other)):
        if label == word:
            return 2 * sign
        if re.fullmatch(rf"(?:{_STRONG}) {word}|{word} (?:{_STRONG})", label):
            return 3 * sign
        if re.fullmatch(rf"(?:{_WEAK}) {word}|{word} (?:{_WEAK})", label):
            return sign
    return None


def _stem(labels: Sequence[str]) -> list[int | None] | None:
    """Very important, somewhat important, not too important, not at all important."""
    forms = (
        (0, rf"(?:{_STRONG}) (\w.*)"),
        (1, rf"(?:{_WEAK}) (\w.*)"),
        (3, r"(?:not too|not very|not so|not that) (\w.*)"),
        (4, r"not (?:at all )?(\w.*?)(?: at all)?"),
    )
    ranks, stems = [], set()
    for label in labels:
        for rank, form in forms:
            match = re.fullmatch(form, label)
            if match:
                ranks.append(rank)
                stems.add(match[1])
                break
        else:
            ranks.append(2)
            stems.add(label)
    return ranks if len(stems) == 1 else None

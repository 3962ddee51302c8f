"""Which option a written text means: a number, a label, a refusal, or none."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from core.asking.thoughts import without_thought
from core.home import DATA
from core.prompts.render import Rendered
from core.survey.survey import Item, Option

# "contradictory": it says two things. "cut off": it was not written to its end, and no answer stood
# there by then.
# Why: docs/decisions.md, "A text that says two things is none of them."
LOST = ("unparseable", "contradictory", "cut off")
STATES = ("answered", "refused", *LOST)


class Parsed(NamedTuple):
    """code: canonical code or None. state: one of STATES. rule: what decided."""

    code: int | None
    state: str
    rule: str


# A number that could be a label: not part of a word, a decimal, a phone number, a date or a
# percentage. "1-800-273-8255" and "2019" are never an answer. Thai, Burmese, Khmer, Chinese and
# Japanese set no space before a number.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_NUMBER = re.compile(rf"(?<![^\W{_UNSPACED}])(?<![.,/:+-])-?\d+(?![\w/:%-]|[.,]\d)")
_GAP = r"(?:[-–.]|[^\S\n][-–(]?[^\S\n]?|\()"


_PAIR, _MORE = rf"{_GAP}\(?\d{{2,}}\)?", rf"{_GAP}\(?\d{{3,}}\)?"


_CALL = rf"\+?\(?\d+\)?(?:{_MORE}|{_PAIR}{_PAIR})(?:{_PAIR})*(?:{_GAP}[\dA-Z]{{3,}}\b)*"
_PHONE = re.compile(_CALL, re.ASCII)  # "1 (800) 273-TALK"; "1. VERY IMPORTANT" is none
_STATED = re.compile(
    r"\b(?:answer|option|choice|choose|chose|select|pick|number|response|rating)\b"
    r"(?:\s+(?:is|would be|be|to be|number|option|as|with|:))*\s*[:=]?\s*"
    rf"[\"'“*(\[]*(?!{_CALL})(\d+)(?!\d|[-–.,/]\d)",
    re.IGNORECASE,
)


_REFUSAL = re.compile(
    r"\b(?:i\s*(?:'|’)?\s*(?:am|m)\s+(?:sorry|unable|not able)|i\s+apologi[sz]e|sorry,"
    r"|i\s+(?:can\s*not|can(?:'|’)t|cannot|won(?:'|’)t|will not|do not|don(?:'|’)t)\s+"
    r"(?:answer|provide|choose|respond|help|assist|fulfil|fulfill|engage|express|have (?:a )?"
    r"(?:personal )?(?:opinion|belief|view|value)|take (?:a )?(?:side|position))"
    r"|as an ai\b|as a language model|i(?:'|’)?m just an ai|suicide prevention|hotline"
    r"|prefer not to (?:say|answer)|decline to answer)",
    re.IGNORECASE,
)


# Phrases in which a model declines in other languages; few and plain, so that what is no refusal
# is not taken for one.
REFUSALS = DATA / "refusals.json"
_NO_SPACES = ("th", "zh")


@lru_cache(maxsize=1)
def _refusals() -> re.Pattern[str]:
    """The phrases as whole words; anywhere, where a language sets no spaces."""
    found = []
    for language, phrases in json.loads(REFUSALS.read_text(encoding="utf-8")).items():
        any_of = "|".join(re.escape(_folded(phrase)) for phrase in phrases)
        found.append(any_of if language in _NO_SPACES else rf"(?<!\w)(?:{any_of})(?!\w)")
    return re.compile("|".join(found))


# Arabic's short vowels and its lengthening stroke; spaces beside the letters of _UNSPACED.
_SILENT = re.compile(rf"[\u064b-\u0652\u0640]|(?<=[{_UNSPACED}])\s+|\s+(?=[{_UNSPACED}])")


def _folded(text: str) -> str:
    """A text for comparing phrases: case, apostrophes, dashes, spaces and silent marks apart."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").replace("—", "-")
    return _SILENT.sub("", " ".join(text.split()))


def refuses(text: str) -> bool:
    """True where a written text declines to answer, in English or a language of REFUSALS."""
    return bool(_REFUSAL.search(text) or _refusals().search(_folded(text)))


def parse(text: str, item: Item, prompt: Rendered, finished: bool = True) -> Parsed:
    """Which option a written answer chose, and the rule that decided.

    finished: False of a text that was cut off. What stands in a thought is no answer, and a text
    that says two things is none either: the options repeated, "1 or 2", a label beside the words
    of another option. Else, in this order: the whole text is a label ("3", "3.", "(3)"), begins
    with one ("3. Agree", "3\\nBecause …"), states one ("my answer is 3", "7/10"), refuses, is or
    begins with an option's words, holds the words of one option, or exactly one number that is a
    label. Digits of any script count (٣, ३, ๓, ③).
    """
    rest = without_thought(text)
    if rest is None:
        return Parsed(None, "cut off", "its thought was not written to its end")
    found = _parse(rest, item, prompt)
    if found.state == "unparseable" and not finished:
        return Parsed(None, "cut off", f"not written to its end; until then {found.rule}")
    return found


def _parse(text: str, item: Item, prompt: Rendered) -> Parsed:
    by_label = dict(zip(prompt.labels, prompt.codes, strict=True))
    plain = _ascii_digits(text).strip()
    if not plain:
        return Parsed(None, "unparseable", "nothing was written")
    listed = _listed(plain, item, by_label)
    repeated = sum(by_label[number] == code for number, code in listed.items()) > 1
    if two := _two_things(plain, listed, repeated, by_label):
        return Parsed(None, "contradictory", two)

    whole = re.fullmatch(r"[\"'“*(\[#]*(\d+)[\"'”*)\].:#]*", plain)
    if whole:
        return _label(whole[1], by_label, "the whole text is a number")
    first = re.match(
        r"[\"'“*(\[#]*(\d+)[\"'”*)\]]*(?![.,]\d)(?=\s*(?:[.:)–—]|-\s|\n|$)|\s+[^\W\d])", plain
    )
    stated = _STATED.findall(_REFUSAL.sub(" ", plain))  # "I cannot choose 1" states nothing
    if first and first[1] in by_label and not _PHONE.match(plain) and not (stated and repeated):
        return Parsed(by_label[first[1]], "answered", "the text begins with a label")
    if stated and stated[-1] in by_label and len(set(stated)) == 1:
        return Parsed(by_label[stated[0]], "answered", "the text states a label")
    rated = _RATED.search(plain)
    if rated and rated[2] == max(by_label, key=int) and rated[1] in by_label:
        return Parsed(by_label[rated[1]], "answered", "the text rates on the scale")
    if refuses(plain):
        return Parsed(None, "refused", "the text declines to answer")
    if begun := _begins_with(plain, item):
        return Parsed(begun.code, "answered", "the text begins with an option's words")
    held = _options_in(plain, item)
    if len(held) == 1:
        return Parsed(held[0].code, "answered", "the text holds the words of one option")
    if len(held) > 1:
        return Parsed(None, "contradictory", "the text holds the words of several options")
    numbers = {n for n in _NUMBER.findall(_COUNTED.sub(" ", _PHONE.sub(" ", plain)))}
    found = numbers & by_label.keys()
    if len(found) == 1 and len(numbers) == 1:
        return Parsed(by_label[found.pop()], "answered", "the text holds one number, a label")
    if len(found) > 1:
        return Parsed(None, "contradictory", "the text holds several labels")
    return Parsed(None, "unparseable", "the text holds no label")


_RATED = re.compile(r"(?<![\d/.,])(\d+)\s*(?:/|out of)\s*(\d+)(?![\d/])")
# Numbers that count something are no labels.
_COUNTED = re.compile(
    r"\b\d+\s+(?:[a-z]+\s+)?(?:children|kids|sons?|daughters?|siblings|years?|months?|days?|hours?"
    r"|times|people|persons|friends|members|countries|reasons|things|points|percent)\b",
    re.IGNORECASE,
)
_EITHER = re.compile(r"^\W*(\d+)\s*(?:or|and|to|/|–|-)\s*(\d+)\b(?!\s*[-–.]?\d)", re.IGNORECASE)


def _listed(plain: str, item: Item, by_label: dict[str, int]) -> dict[str, int]:
    """Lines such as "1. Very important": the label, and the code whose words stand beside it."""
    said: dict[str, int] = {}
    for number, words in re.findall(r"(?m)^\W*(\d+)[.):]+\s*(.*)$", plain):
        named = _begins_with(words, item)
        if number in by_label and named:
            said.setdefault(number, named.code)
    return said


def _two_things(
    plain: str, listed: dict[str, int], repeated: bool, by_label: dict[str, int]
) -> str:
    """Why a text says two things at once; "" where it does not."""
    either = _EITHER.match(plain)
    both = {either[1], either[2]} if either else set()
    if len(both) == 2 and both <= by_label.keys() and not _RATED.match(plain):
        return f"it says both {either[1]} and {either[2]}"
    for number, code in list(listed.items())[:1]:
        if by_label[number] != code and re.match(rf"\W*{number}\b", plain):
            return f"{number} stands beside the words of another option"
    if repeated and not _STATED.search(plain):
        return "the text repeats the options"
    return ""


def _begins_with(words: str, item: Item) -> Option | None:
    """The option whose words a text begins with, the longest such."""
    words = words.casefold().lstrip(" \"'“*(")
    for option in sorted(item.options, key=lambda o: -len(o.label)):
        label = option.label.casefold()
        if len(label) > 2 and re.match(rf"{re.escape(label)}(?!\w)", words):
            return option
    return None


def _options_in(plain: str, item: Item) -> list[Option]:
    """The options whose words, two or more, stand anywhere in a text and are not denied there."""
    rest, found = plain.casefold(), []
    for option in sorted(item.options, key=lambda o: -len(o.label)):
        label = option.label.casefold()
        if len(label.split()) < 2:
            continue
        words = rf"(?<!\w){re.escape(label)}(?!\w)"
        if re.search(rf"(?<!not )(?<!n't )(?<!n’t ){words}", rest):
            found.append(option)
        rest = re.sub(words, " ", rest)
    return found


def _label(label: str, by_label: dict[str, int], rule: str) -> Parsed:
    label = label.lstrip("0") or "0"
    if label in by_label:
        return Parsed(by_label[label], "answered", rule)
    return Parsed(None, "unparseable", f"{label} is not one of the options")


def _ascii_digits(text: str) -> str:
    """Decimal digits of every script as 0-9."""
    return "".join(
        str(unicodedata.decimal(char))
        if char.isdecimal() and char > "9"
        else unicodedata.normalize("NFKC", char)
        if "①" <= char <= "⓿" or "❶" <= char <= "➓"
        else char
        for char in text
    )

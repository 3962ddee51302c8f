"""Read the question a model wrote as JSON, or as near to JSON as it came. Nothing is executed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

LONGEST_TEXT = 8_000  # characters looked at
LONGEST_QUESTION, LONGEST_OPTION = 1_000, 300
FEWEST_OPTIONS, MOST_OPTIONS = 2, 12
DEEPEST = 6

EMPTY = "nothing was written"
NO_JSON = "no JSON in the text"
BROKEN = "the JSON is broken or cut off"
NO_QUESTION = "no question in the JSON"
NO_OPTIONS = "no options in the JSON"
TOO_FEW = "fewer than two options"
TOO_MANY = "more than twelve options"
SAME_OPTIONS = "two options are the same"
TOO_LONG = "the question or an option is too long"
MALFORMED = (
    *(EMPTY, NO_JSON, BROKEN, NO_QUESTION, NO_OPTIONS, TOO_FEW, TOO_MANY, SAME_OPTIONS),
    TOO_LONG,
)

QUESTION_KEYS = ("question", "survey question", "survey_question")
OPTION_KEYS = ("options", "choices", "answers", "answer options", "response options")
LABEL_KEYS = ("text", "label", "option", "answer", "value")


class Read(NamedTuple):
    """A question and its options as written, or the reason (one of MALFORMED) why there is none."""

    question: str
    options: tuple[str, ...]
    reason: str


def read_question(text: str) -> Read:
    """The question in a model's reply.

    Taken as it is where the reply holds correct JSON. Otherwise these slips are forgiven: text and
    code fences around it, the colon inside the key ("Question:", as the study's prompt shows it),
    keys in any case, single or curly quotes, Python lists, trailing commas, options as an object,
    as numbered lines of one string, or lettered.
    """
    text = text[:LONGEST_TEXT]
    if not text.strip():
        return _none(EMPTY)
    starts = [match.start() for match in re.finditer(r"\{", text)][:8]
    if not starts:
        return _none(NO_JSON)
    reasons: list[str] = []
    for parse in (_strict, _lenient):
        for start in tuple(starts):
            value = parse(text, start)
            if value is None:
                continue
            read = _of_record(value)
            if not read.reason:
                return read
            reasons.append(read.reason)
            starts.remove(start)  # it was JSON, only no question
    return _none(min(reasons, key=_how_near, default=BROKEN))


def _none(reason: str) -> Read:
    return Read("", (), reason)


def _how_near(reason: str) -> int:
    """The reason worth telling of several: the one met last on the way to a question."""
    return -MALFORMED.index(reason)


# -- from a value to a question --------------------------------------------------------------------


def _of_record(value: Any) -> Read:
    """The first object, at any depth, that has a question."""
    reason = NO_QUESTION
    for record in _objects(value):
        question = _named(record, QUESTION_KEYS)
        if not isinstance(question, str) or not (question := clean(question)):
            continue
        read = _checked(question, _options(_named(record, OPTION_KEYS)))
        if not read.reason:
            return read
        reason = read.reason
    return _none(reason)


def _objects(value: Any, depth: int = 0) -> Iterator[dict]:
    if depth > DEEPEST:
        return
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _objects(part, depth + 1)


def _named(record: dict, names: tuple[str, ...]) -> Any:
    for key, value in record.items():
        if str(key).strip(" :*_\"'").casefold() in names:
            return value
    return None


def _checked(question: str, options: tuple[str, ...]) -> Read:
    reason = fault(question, options) if options else NO_OPTIONS
    return _none(reason) if reason else Read(question, options, "")


def fault(question: str, options: tuple[str, ...]) -> str:
    """What keeps a question from being asked, one of MALFORMED; "" where nothing does."""
    if not question:
        return NO_QUESTION
    if len(options) < FEWEST_OPTIONS or not all(options):
        return TOO_FEW
    if len(options) > MOST_OPTIONS:
        return TOO_MANY
    if len({option.casefold() for option in options}) < len(options):
        return SAME_OPTIONS
    if len(question) > LONGEST_QUESTION or max(map(len, options)) > LONGEST_OPTION:
        return TOO_LONG
    return ""


def _options(value: Any) -> tuple[str, ...]:
    """Options as texts, in order; empty where they cannot be told."""
    if isinstance(value, str):
        value = _lines(value)
    elif isinstance(value, dict):
        keys, values = list(value), list(value.values())
        coded = all(isinstance(v, int | float) or str(v).strip().isdigit() for v in values)
        value = keys if coded and not all(str(k).strip().isdigit() for k in keys) else values
    if not isinstance(value, list):
        return ()
    return _without_letters(tuple(filter(None, map(_label, value))))


def _label(value: Any) -> str:
    """The text of one option: a text, a number, or an object that holds it."""
    if isinstance(value, dict):
        named = _named(value, LABEL_KEYS)
        texts = [v for v in value.values() if isinstance(v, str)]
        value = named if isinstance(named, str) else (texts[0] if len(texts) == 1 else None)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return clean(str(value))


def _lines(text: str) -> list[str]:
    """Options written as one string: by lines, by numbers, or by semicolons."""
    one_line = " ".join(text.split())
    for parts in (
        text.splitlines(),
        re.split(r"(?:^|\s)(?=\(?\d{1,2}[.):]\s)", one_line),
        one_line.split(";"),
    ):
        parts = [part.strip(" ,;") for part in parts if part.strip(" ,;")]
        if len(parts) > 1:
            return parts
    return []


_LETTER = re.compile(r"\(?([A-Za-z])[.):]\s+(.+)")


def _without_letters(options: tuple[str, ...]) -> tuple[str, ...]:
    """ "A) Yes", "B) No" without their letters. Numbers are left to the study's rules."""
    matches = [_LETTER.fullmatch(option) for option in options]
    if not options or not all(matches):
        return options
    letters = [match[1].casefold() for match in matches]
    if letters != [chr(ord("a") + place) for place in range(len(letters))]:
        return options
    return tuple(match[2] for match in matches)


def clean(text: str) -> str:
    """One line of printable text; what could not be stored as UTF-8 becomes a question mark."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    kept = "".join(c if c.isspace() or unicodedata.category(c) != "Cc" else " " for c in text)
    return " ".join(kept.split())


# -- from text to a value --------------------------------------------------------------------------


def _strict(text: str, start: int) -> Any:
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def _lenient(text: str, start: int) -> Any:
    try:
        return _Loose(text, start).value()
    except _Broken:
        return None


class _Broken(Exception):
    """The text cannot be read even leniently."""


QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "„": "“", "«": "»", "`": "`"}
# A quote ends a text only where something follows that can come after one; others belong to it.
_AFTER_MEMBER = re.compile(
    r"""\s*(?:[,;]\s*["'“‘„«`}]|[}\]]|$|[,;]\s{0,9}\w[\w ]{0,40}["'”’]?\s{0,9}:)"""
)
_AFTER_ELEMENT = re.compile(r"""\s*(?:[,;]\s*(?:["'“‘„«`\d{\]]|\[)|\]|$)""")
_BARE = re.compile(r"[^,;:{}\[\]\n\"]+")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": " "}


# Why: docs/decisions.md, "A reply is read by a reader of our own."
class _Loose:
    """A reader of what is nearly JSON. Every step moves forward, and depth is bounded."""

    def __init__(self, text: str, start: int):
        self.text = text
        self.at = start

    def value(self, depth: int = 0, after: re.Pattern = _AFTER_MEMBER) -> Any:
        if depth > DEEPEST:
            raise _Broken
        head = self._next()
        if head == "{":
            return self._object(depth)
        if head == "[":
            return self._list(depth)
        if head in QUOTES:
            return self._text(after)
        return self._bare()

    def _next(self) -> str:
        """The next character that is not white space; stays before it."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        if self.at >= len(self.text):
            raise _Broken
        return self.text[self.at]

    def _skip(self, characters: str) -> str:
        while (head := self._next()) in characters:
            self.at += 1
        return head

    def _object(self, depth: int) -> dict:
        self.at += 1
        record: dict[str, Any] = {}
        while self._skip(",;") != "}":
            key = self._key()
            if self._next() in ":=":
                self.at += 1
            record.setdefault(key, self.value(depth + 1))
        self.at += 1
        return record

    def _list(self, depth: int) -> list:
        self.at += 1
        found = []
        while self._skip(",;") != "]":
            found.append(self.value(depth + 1, _AFTER_ELEMENT))
        self.at += 1
        return found

    def _key(self) -> str:
        opening = self._next()
        if opening not in QUOTES:
            return str(self._bare())
        end = self.text.find(QUOTES[opening], self.at + 1)
        if end < 0:
            raise _Broken
        key = self.text[self.at + 1 : end]
        self.at = end + 1
        return key

    def _text(self, after: re.Pattern) -> str:
        closing = QUOTES[self.text[self.at]]
        self.at += 1
        found = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == closing and after.match(self.text, self.at):
                return "".join(found)
            found.append(self._escaped() if char == "\\" else char)
        raise _Broken

    def _escaped(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if char == "u" and re.fullmatch(r"[0-9a-fA-F]{4}", self.text[self.at : self.at + 4]):
            self.at += 4
            return chr(int(self.text[self.at - 4 : self.at], 16))
        return _ESCAPES.get(char, char)

    def _bare(self) -> str:
        match = _BARE.match(self.text, self.at)
        if not match or not match[0].strip():
            raise _Broken
        self.at = match.end()
        return match[0].strip()

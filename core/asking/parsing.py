"""Which option a written text means: a number, a label, a refusal, or none."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from core.asking.thoughts import without_thought
from core.home import DATA
from core.prompts.render import Rendered, is_numeric
from core.survey.survey import Item

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


# What a label is read from
#
# A number counts where it is followed by the end, a stop or one of a few small words: "3 children",
# "5%" and "1.5" are none. Before reading, telephone numbers, "on a scale of 1 to 10" and what is
# denied ("not 1") are taken out: ELSEWHERE stands for them.
_ELSEWHERE = "…"
# Thai, Burmese, Khmer, Chinese and Japanese set no space before a number.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_ALONE = rf"(?<![^\W{_UNSPACED}])(?<![.,/:+$€£¥-])"
_SMALL_WORDS = (
    "is|would|was|because|since|as|for|on|but|and|so|which|that|i|my|to|if|although|though|while"
    "|porque|pues|pois|parce|car|weil|denn|perché|omdat|want|karena|потому|так"
)
_STOPS = r".,:;!?()\]\"'’”\n–—。，、；：！？）"
_ENDS = rf"(?![.,:/]\d|\s*[%€£¥])(?=\W*$|\s*[{_STOPS}]|\s+-\s|\s+(?:{_SMALL_WORDS})\b)"
_START = re.compile(rf"^(?:-\s+)?[^\w+$€£¥{_ELSEWHERE}-]*(\d+){_ENDS}", re.IGNORECASE)
_WHOLE = re.compile(r"(?:-\s+)?[^\w+$€£¥-]*第?(\d+)[番号項项]?[^\w$€£¥%]*")
_NUMBER = re.compile(rf"{_ALONE}-?\d+(?![\w/:%-]|[.,]\d)")
_LAST = re.compile(rf"{_ALONE}(\d+)(?=[^\w%€£¥/]*$|[.!]?\s*\n|[.!]\s)")

_GAP = r"(?:[-–.]|[^\S\n][-–(]?[^\S\n]?|\()"
_PAIR, _MORE = rf"{_GAP}\(?\d{{2,}}\)?", rf"{_GAP}\(?\d{{3,}}\)?"
_CALL = rf"\+?\(?\d+\)?(?:{_MORE}|{_PAIR}{_PAIR})(?:{_PAIR})*(?:{_GAP}[\dA-Z]{{3,}}\b)*"
_PHONE = re.compile(_CALL, re.ASCII)  # "1 (800) 273-TALK"; "1. VERY IMPORTANT" is none

_ANSWER = (
    r"answer(?:ed)?|choice|choose|chose|select(?:ed)?|pick(?:ed)?|go(?:ing)? with|say|rat(?:e|ing)"
)
_BETWEEN = (
    r"(?:\s+(?:is|would be|be|to be|it|a|an|at|the|option|number|as|with))*[\s:=.…,\"'“”‘(\[#-]*?"
)
_STRONG = re.compile(
    rf"(?:\b(?:{_ANSWER})\b|^\W*A[:.]){_BETWEEN}{_ALONE}(\d+){_ENDS}", re.IGNORECASE
)
_WEAK = re.compile(
    rf"\b(?:option|number|response)\b[\s:=#\"'(]*{_ALONE}(\d+){_ENDS}", re.IGNORECASE
)
_RATED = re.compile(r"(?<![\d/.,])(\d+)\s*(?:/|out of)\s*(\d+)(?![\d/]|\s+of\b)")
_DENIED = re.compile(
    r"(?:\b(?:not|never|cannot|instead of|rather than|other than|than|neither|nor)|n['’]t)\s+"
    r"(?:(?:choose|select|pick|say|go|with|be|option|number|answer|the|it|is|a)\s+)*(\d+)\b",
    re.IGNORECASE,
)
_SCALE = re.compile(
    r"\b(?:scale\s+(?:of|from)|from)\s+\d+\s*(?:to|-|–)\s*\d+|\(\s*\d+\s*(?:=|means|being)[^)]*\)",
    re.IGNORECASE,
)
_EITHER = re.compile(
    rf"(?:^[^\w{_ELSEWHERE}]*(?:(?:either|between)\W+)?|\b(?:{_ANSWER}|option){_BETWEEN})"
    r"(\d+)(?:\s*(?:,|&|/|–|-|\bor\b|\band\b|\bto\b)\s*|[^\S\n])(?:option\s+)?(\d+)(?![\w–-]|\s+of\b|[.,]\d)",
    re.IGNORECASE,
)
_TO_TEN = "zero|one|two|three|four|five|six|seven|eight|nine|ten"
_IN_WORDS = re.compile(
    rf"(^\W*|\b(?:{_ANSWER}|option|number)\b{_BETWEEN})({_TO_TEN})(?=\W*$|[.,;!\n])",
    re.IGNORECASE,
)
_TWICE = re.compile(r"(?<![\d.,])(\d+)\.\1(?!\.?\d)")
_TAG = re.compile(r"<\|[^|<>]{1,40}\|>|</?[a-zA-Z_]{1,20}>")
_MARKUP = re.compile(r"\\(?:boxed|text|mathbf)\b|\\[()\[\]]|[*`_{}]")
_TAKEN_BACK = re.compile(
    r"\bthis (?:answer|option|choice) is (?:incorrect|wrong"
    r"|not (?:the |a )?(?:best|correct|right|good))|\bnot a valid (?:option|answer)\b"
    r"|\bno answer\b",
    re.IGNORECASE,
)


_REFUSAL = re.compile(
    r"\b(?:i\s*(?:'|’)?\s*(?:am|m)\s+(?:sorry|unable|not able)|i\s+apologi[sz]e|sorry,"
    r"|i\s+(?:can\s*not|can(?:'|’)t|cannot|won(?:'|’)t|will not|do not|don(?:'|’)t)\s+"
    r"(?:answer|provide|choose|select|respond|help|assist|fulfil|fulfill|engage|express"
    r"|have (?:a )?(?:personal )?(?:opinion|belief|view|value)|take (?:a )?(?:side|position))"
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

    finished: False of a text that was cut off. What stands in a thought is no answer. A text that
    says two things is none either: labels one after another ("1 or 2", the options repeated), a
    label beside the words of another option, two answers, an answer that it then denies. Else, in
    this order: the whole text is a label ("3", "(3)", "③", "three"), begins with one ("3. Agree"),
    states one ("my answer is 3", "7/10"), refuses, begins with an option's words, holds those of
    one option, or ends with the only number in it, a label.
    """
    rest = without_thought(text)
    if rest is None:
        return Parsed(None, "cut off", "its thought was not written to its end")
    found = _read(_plain(rest), item, prompt, finished)
    if found.state == "unparseable" and not finished:
        return Parsed(None, "cut off", f"not written to its end; until then {found.rule}")
    return found


# Why: docs/decisions.md, "A reading that the text speaks against is none."
def _read(plain: str, item: Item, prompt: Rendered, finished: bool) -> Parsed:
    if not plain:
        return Parsed(None, "unparseable", "nothing was written")
    by_label = dict(zip(prompt.labels, prompt.codes, strict=True))
    if not finished:
        plain = _without_half_a_label(plain, by_label)
    plain = _as_shown(plain, item, prompt)
    if whole := _WHOLE.fullmatch(plain):
        return _label(whole[1], by_label, "the whole text is a number")
    highest = max(by_label, key=int)
    rated = _RATED.sub(lambda m: m[1] if m[2] == highest else _ELSEWHERE, plain)
    denied = set(_DENIED.findall(rated))
    said = _blank(rated, _PHONE, _SCALE, _DENIED)
    phrases = _phrases(item)

    if two := _one_after_another(said, by_label) or _beside_another(said, by_label, phrases):
        return Parsed(None, "contradictory", two)
    begins = [m[1] for m in [_START.match(said)] if m and m[1] in by_label]
    begins = begins or [n for n, code in _beside(said, phrases, r"^\W*") if by_label.get(n) == code]
    stating = _REFUSAL.sub(" ", said)  # "I cannot choose 1" states nothing
    strong, weak = (
        [n for n in dict.fromkeys(rule.findall(stating)) if n in by_label]
        for rule in (_STRONG, _WEAK)
    )
    listed, after = _listed(said, by_label, phrases, bool(begins))
    if repeated := len({*begins, *listed}) > 1:
        strong = [number for number in strong if number in _STRONG.findall(said[after:])]
        if not strong:
            return Parsed(None, "contradictory", "the text repeats the options")
    says = strong if repeated else list(dict.fromkeys([*begins, *strong])) or weak
    if len(says) > 1:
        return Parsed(None, "contradictory", f"it says both {says[0]} and {says[1]}")
    if says and (says[0] in denied or _TAKEN_BACK.search(said)):
        return Parsed(None, "contradictory", f"it says {says[0]} and takes it back")
    if says and not repeated and _words_of_another(said, by_label[says[0]], phrases):
        return Parsed(None, "contradictory", f"it says {says[0]} and the words of another option")
    if says:
        how = "begins with" if begins and not repeated else "states"
        return Parsed(by_label[says[0]], "answered", f"the text {how} a label")
    if refuses(plain):
        return Parsed(None, "refused", "the text declines to answer")
    return _by_words(said, phrases, finished, is_numeric(item)) or _by_one_number(said, by_label)


def _plain(text: str) -> str:
    """A text without markup, its numbers as 0-9: "**③**", "\\boxed{3}", "my answer is three"."""
    text = re.sub(r"\$\s*(\d+)\s*\$", r"\1", _MARKUP.sub("", _TAG.sub(" ", _ascii_digits(text))))
    text = re.sub(r"(?<![\d.])(\d+)\.0(?![\d.])", r"\1", text.strip())
    return _IN_WORDS.sub(lambda m: f"{m[1]}{_TO_TEN.split('|').index(m[2].lower())}", text)


def _blank(text: str, *patterns: re.Pattern[str]) -> str:
    for pattern in patterns:
        text = pattern.sub(_ELSEWHERE, text)
    return text


def _without_half_a_label(plain: str, by_label: dict[str, int]) -> str:
    """A text that was cut off, without a last number that may have been going on: 1 of 10."""
    last = re.search(r"\d+$", plain)
    if last and any(label != last[0] and label.startswith(last[0]) for label in by_label):
        return plain[: last.start()] + _ELSEWHERE
    return plain


def _as_shown(plain: str, item: Item, prompt: Rendered) -> str:
    """A text with "6.6" as 6, where the options were shown so.

    The study's prompts show a label, a full stop and the option's words, which are a number too.
    """
    shown = {word for message in prompt.messages for word in message["content"].split()}

    def once(match: re.Match[str]) -> str:
        return match[1] if f"{match[1]}.{match[1]}" in shown else match[0]

    return _TWICE.sub(once, plain) if is_numeric(item) else plain


def _one_after_another(said: str, by_label: dict[str, int]) -> str:
    """Why "1 or 2" is no answer; "" where a text has nothing like it."""
    counted = re.match(rf"\W*(\d+)[.)](?:\s+|[^\n]*\bis )(\d+){_ENDS}", said)
    for first, second in [*_EITHER.findall(said), *([counted.groups()] if counted else [])]:
        if first != second and first in by_label and second in by_label:
            return f"it says both {first} and {second}"
    return ""


@lru_cache(maxsize=512)
def _phrases(item: Item) -> dict[str, int]:
    """Words that name an option -> its code, the longest first.

    Beside the option's words: what stands in brackets on a number scale ("1 (never)"), what
    follows yes or no ("No, I would mind"), two words turned round ("disagree strongly").
    """
    found: dict[str, int] = {}
    for option in item.options:
        label = option.label.casefold()
        in_brackets = re.fullmatch(r"\d+ \((.+)\)", label)
        if label.isdecimal():
            continue
        names = [in_brackets[1] if in_brackets else label]
        if yes_no := re.fullmatch(r"(yes|no), (.+)", label):
            names += [yes_no[1], yes_no[2]]
        if re.fullmatch(r"\w+ly \w+", label):
            names.append(" ".join(reversed(label.split())))
        for name in names:
            found.setdefault(name, option.code)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _any_of(phrases: dict[str, int]) -> str:
    return "|".join(map(re.escape, phrases)) or "(?!)"


def _beside(said: str, phrases: dict[str, int], before: str = _ALONE) -> list[tuple[str, int]]:
    """Labels with an option's words right after them, or in brackets after those, and its code."""
    any_of, folded = _any_of(phrases), said.casefold()
    after = rf"{before}(\d+)[\s.:)(,=\"'“–—-]{{1,4}}({any_of})(?!\w)"
    found = [(number, phrases[words]) for number, words in re.findall(after, folded)]
    if before != _ALONE:
        return found
    bracket = rf"(?<!\w)({any_of})\s*[(\[](?:option\s+)?(\d+)[)\]]"
    return found + [(number, phrases[words]) for words, number in re.findall(bracket, folded)]


def _beside_another(said: str, by_label: dict[str, int], phrases: dict[str, int]) -> str:
    """Why "1. Rarely" is no answer where 1 is Often; "" where a text has nothing like it."""
    for number, code in _beside(said, phrases):
        if by_label.get(number, code) != code:
            return f"{number} stands beside the words of another option"
    return ""


def _listed(
    said: str, by_label: dict[str, int], phrases: dict[str, int], begins: bool
) -> tuple[list[str], int]:
    """Labels with their own words, or alone in a line, and where the last of these lines ends.

    Where the text begins with a label, so do labels of the same kind at the beginning of others.
    """
    lines = list(
        re.finditer(r"(?mi)^[^\w\n]*(?:option\s+)?(\d+)([.):]*(?:[^\S\n]\()?)[^\S\n]*(.*)$", said)
    )
    dotted = begins and bool(lines) and lines[0][2] != "" and lines[0][3] != ""
    own = [number for number, code in _beside(said, phrases) if by_label.get(number) == code]
    alone = [m for m in lines if m[1] in by_label and (not m[3] or (dotted and m[2]))]
    labels = {*own, *(m[1] for m in alone)}
    after = max((m.end() for m in lines if m[1] in labels), default=0)
    return [*own, *(m[1] for m in alone)], after


# Words are not meant where they are denied, supposed or asked.
_UNMEANT = re.compile(r"(?:\b(?:not|never|cannot|if|whether)\b|n['’]t\b|\bwould\s*$)")
_NEAR = 200  # characters that are looked at before and after an option's words
_CLAUSE = re.compile(r"[.,;:!?\n]|\bbut\b")
_I_SAY = re.compile(
    rf"(?:\bi(?: would| do| will| am|['’]m)?(?: say| choose| pick| select| answer)?"
    rf"|\b(?:{_ANSWER}|option)(?: is| would be)?)(?: that)?[\s:\"'“(]+$"
)


def _by_words(
    said: str, phrases: dict[str, int], finished: bool, whole_only: bool
) -> Parsed | None:
    """The option whose words a text begins with, or the only one whose words it holds.

    whole_only: of number scales, where the words of an end may be an opinion and no choice.
    """
    any_of, folded = _any_of(phrases), re.sub(r"\bi['’]d\b", "i would", said.casefold())
    if whole_only:
        whole = re.fullmatch(rf"[^\w{_ELSEWHERE}]*({any_of})[^\w{_ELSEWHERE}]*", folded)
        return whole and Parsed(phrases[whole[1]], "answered", "the text is an option's words")
    begins = re.match(rf"\W*({any_of})(?!\w)", folded)
    if begins and _stands(folded, begins, alone=" " not in begins[1]):
        either = re.match(rf"\W*(?:(?:or|and)\W+)?({any_of})(?!\w)", folded[begins.end() :])
        if not either or phrases[either[1]] == phrases[begins[1]]:
            rule = "the text begins with an option's words"
            return Parsed(phrases[begins[1]], "answered", rule)
    ended = folded if finished else folded[: max(map(folded.rfind, ".!?\n")) + 1]
    held = _held(ended, phrases)
    if len(held) > 1:
        return Parsed(None, "contradictory", "the text holds the words of several options")
    if held:
        return Parsed(held.pop(), "answered", "the text holds the words of one option")
    return None


def _held(folded: str, phrases: dict[str, int]) -> set[int]:
    """The options whose words a text holds and means: two words or more, or "I say" before one."""
    held = set()
    for match in re.finditer(rf"(?<!\w)({_any_of(phrases)})(?!\w)", folded):
        before = folded[max(0, match.start() - _NEAR) : match.start()]
        meant = _stands(folded, match) and not _UNMEANT.search(_CLAUSE.split(before)[-1])
        if meant and (" " in match[1] or _I_SAY.search(before)):
            held.add(phrases[match[1]])
    return held


def _words_of_another(said: str, code: int, phrases: dict[str, int]) -> bool:
    """Does a text that gives one label hold another option's words instead of its own?"""
    folded = said.casefold()
    lines = re.findall(rf"(?m)^[^\w\n]*({_any_of(phrases)})[^\w\n]*$", folded)
    if any(phrases[words] != code for words in lines):
        return True
    held = _held(folded, phrases) if code in phrases.values() else set()
    return bool(held) and code not in held


def _stands(folded: str, words: re.Match[str], alone: bool = False) -> bool:
    """Are words said, neither asked nor denied after? alone: is no word of the same clause next?"""
    rest = folded[words.end() : words.end() + _NEAR]
    if re.match(r"\W{0,3}(?:is|are|was)(?: not|n['’]t)\b|[^.!\n]*(?:\?|\bboth\b)", rest):
        return False
    return not alone or bool(re.match(r"\W*$|\s*[^\w\s]", rest))


def _by_one_number(said: str, by_label: dict[str, int]) -> Parsed:
    numbers = set(_NUMBER.findall(said))
    found = numbers & by_label.keys()
    last = [m for m in _LAST.finditer(said) if m[1] in by_label]
    if len(found) > 1:
        return Parsed(None, "contradictory", "the text holds several labels")
    before = re.split(r"[.!?\n]", said[: last[-1].start()])[-1] if last else ""
    if len(numbers) == 1 and last and (not _ELSE.match(before) or _OURS.search(before)):
        return Parsed(by_label[found.pop()], "answered", "the text ends with a label")
    return Parsed(None, "unparseable", "the text holds no label")


# An English sentence of somebody or something else, "The police came at 3.", and one that is not.
_ELSE = re.compile(r"\s*(?:the|this|that|there|they|he|she|it|we|you|my|our|in)\b", re.IGNORECASE)
_OURS = re.compile(r"\b(?:answer|choice|response|my (?:option|number)|i)\b", re.IGNORECASE)


def _label(label: str, by_label: dict[str, int], rule: str) -> Parsed:
    label = label.lstrip("0") or "0"
    if label in by_label:
        return Parsed(by_label[label], "answered", rule)
    return Parsed(None, "unparseable", f"{label} is not one of the options")


def _ascii_digits(text: str) -> str:
    """Decimal digits of every script, and those in circles, as 0-9."""
    return "".join(
        str(unicodedata.decimal(char))
        if char.isdecimal() and char > "9"
        else str(round(unicodedata.numeric(char)))
        if "①" <= char <= "⓿" or "❶" <= char <= "➓"
        else char
        for char in text
    )

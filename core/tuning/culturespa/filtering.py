"""Which written questions are kept: the study's rules, then likeness to others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from core.errors import disk_in_words
from core.survey.near_duplicates import Like, alike
from core.tuning.culturespa import reading
from core.tuning.culturespa.questions import (
    DROPPED,
    DUPLICATE,
    KEPT,
    LEAK,
    MALFORMED,
    NEAR,
    SPARE,
    WRITTEN,
    Question,
)
from core.tuning.culturespa.writing import read_one
from core.whole_files import write_whole

REPEATED = "word for word an earlier question"
NUMBERS_ONLY = "options are numbers, and the question does not say what they mean"
HALF_NUMBERED = "some options are numbered and some are bare numbers"
NEAR_ITEM = "nearly a question of the survey"
NEAR_OTHER = "nearly a question that was kept"
ENOUGH = "enough questions of the topic were kept"
REASONS = (
    *reading.MALFORMED,
    *(REPEATED, NUMBERS_ONLY, HALF_NUMBERED, NEAR_ITEM, NEAR_OTHER, ENOUGH),
)

_SAYS_SCALE = ("on a scale", "with 1 being", "where 1 means", "which 1 means")
# Why: docs/decisions.md, "The study's exemption by hand is a rule."
_NUMBERED = re.compile(r"^\d+(\s*[-.]\s*|\s*\(\s*)")


class Sifted(NamedTuple):
    """A question after the study's rules. reason: why it is dropped, "" where it stays."""

    question: str
    options: tuple[str, ...]
    reason: str


def study_filter(
    questions: Iterable[tuple[str, Sequence[str]]], survey_questions: Iterable[str]
) -> list[Sifted]:
    """The CultureSPA study's rules, one result for each question, in order.

    Dropped: a question word for word in the survey or met before; options that are bare numbers
    where the question does not speak of a scale; options of which some are numbered and some are
    bare numbers. Rewritten: numbered options lose their numbers; where only the ends of a scale
    are labelled, the labels move into the question. On the study's 13,000 questions 12,891, then
    12,860, then 12,847 are left. A question the study exempted by hand (its options are ranges,
    "1-3: Too slow") is one by rule here: numbers that number nothing stay.
    """
    seen = set(survey_questions)
    sifted = []
    for question, options in questions:
        if question in seen:
            sifted.append(Sifted(question, tuple(options), REPEATED))
        else:
            sifted.append(_sift(question, tuple(options)))
        seen.add(question)
    return sifted


def _sift(question: str, options: tuple[str, ...]) -> Sifted:
    if all(option.isdecimal() for option in options):
        told = any(words in question.lower() for words in _SAYS_SCALE)
        return Sifted(question, options, "" if told else NUMBERS_ONLY)
    if not all(option[:1].isdecimal() for option in options):
        return Sifted(question, options, "")
    numbered = [_NUMBERED.match(option) is not None for option in options]
    if all(numbered):
        bare = tuple(_without_number(option) for option in options)
        ranges = any(option[:1].isdecimal() for option in bare)
        return Sifted(question, options if ranges else bare, "")
    return _ends_labelled(question, options, numbered)


def _without_number(option: str) -> str:
    match = _NUMBERED.match(option)
    rest = option[match.end() :]
    return rest.removesuffix(")").strip() if "(" in match[0] else rest.strip()


def _ends_labelled(question: str, options: tuple[str, ...], numbered: Sequence[bool]) -> Sifted:
    """A scale like "1 - Not at all", "2", …, "10 - Completely"."""
    only_ends = numbered[0] and numbered[-1] and not any(numbered[1:-1])
    ends = options[0], options[-1]
    if not only_ends or any("refuse" in option.lower() for option in ends):
        return Sifted(question, options, HALF_NUMBERED)
    (s, low), (e, high) = (
        (re.match(r"\d+", option)[0], _without_number(option)) for option in ends
    )
    card = f" Using this card on which {s} means '{low}' and {e} means '{high}'"
    return Sifted(question + card, (s, *options[1:-1], e), "")


# -- the judge -------------------------------------------------------------------------------------


def judge(
    questions: Sequence[Question],
    survey_questions: Sequence[str],
    *,
    per_topic: int,
    near_limit: float | None = 80.0,
    leak_limit: float | None = 80.0,
    measure: str = "chrf",
) -> list[Question]:
    """Every question with its fate, read anew from the model's reply, so judging again is safe.

    In this order: what cannot be read; the study's rules; a survey question at leak_limit or
    above; an already kept question at near_limit or above; and once a topic has per_topic
    questions, the rest is spare. Limits are chrF++ (or, measure="rouge", ROUGE-L), 0 to 100; None
    leaves a filter out. survey_questions: of the whole survey, what is held out included.
    """
    read = [read_one(one.no, one.round, one.topic, one.raw) for one in questions]
    good = [place for place, one in enumerate(read) if one.state == WRITTEN]
    survey_words = [reading.clean(question) for question in survey_questions]
    sifted = study_filter([(read[p].question, read[p].options) for p in good], survey_words)
    for place, after in zip(good, sifted, strict=True):
        fault = "" if after.reason else reading.fault(after.question, after.options)
        state = DUPLICATE if after.reason == REPEATED else DROPPED if after.reason else WRITTEN
        read[place] = read[place]._replace(
            question=after.question,
            options=after.options,
            state=MALFORMED if fault else state,
            reason=after.reason or fault,
        )
    good = [place for place in good if read[place].state == WRITTEN]
    texts = [read[place].question for place in good]
    leaks = _closest(alike(texts, survey_words, leak_limit, measure)) if leak_limit else {}
    nears: dict[int, list[Like]] = {}
    for like in alike(texts, None, near_limit, measure) if near_limit else ():
        nears.setdefault(like.text, []).append(like)

    kept: set[int] = set()
    room = dict.fromkeys((one.topic for one in read), per_topic)
    for number, place in enumerate(good):
        one = read[place]
        near = max(
            (like for like in nears.get(number, ()) if like.other in kept),
            key=lambda like: like.score,
            default=None,
        )
        if leak := leaks.get(number):
            one = _like(one, LEAK, NEAR_ITEM, survey_words[leak.other], leak.score)
        elif near:
            one = _like(one, NEAR, NEAR_OTHER, texts[near.other], near.score)
        elif not room[one.topic]:
            one = one._replace(state=SPARE, reason=ENOUGH)
        else:
            kept.add(number)
            room[one.topic] -= 1
            one = one._replace(state=KEPT)
        read[place] = one
    return read


def _like(one: Question, state: str, reason: str, near: str, score: float) -> Question:
    return one._replace(state=state, reason=reason, near=near, similarity=round(score, 2))


def _closest(likes: Iterable[Like]) -> dict[int, Like]:
    best: dict[int, Like] = {}
    for like in likes:
        if like.text not in best or like.score > best[like.text].score:
            best[like.text] = like
    return best


# -- to and from the worker's command "judge" ------------------------------------------------------


def save_case(
    path: Path, questions: Sequence[Question], survey_questions: Sequence[str], **how
) -> None:
    """Write what the worker is to judge; `how` holds judge's keywords."""
    record = {
        "questions": [one._asdict() for one in questions],
        "survey_questions": list(survey_questions),
        "how": how,
    }
    with disk_in_words("The questions to judge"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(record, ensure_ascii=False))


def judge_file(path: Path, verdict: Path) -> None:
    """Judge a saved case and write the verdict beside it, whole or not at all."""
    case = json.loads(path.read_text(encoding="utf-8"))
    judged = judge(
        [_question(record) for record in case["questions"]],
        case["survey_questions"],
        **case["how"],
    )
    with disk_in_words("What became of the questions"):
        write_whole(verdict, json.dumps([one._asdict() for one in judged], ensure_ascii=False))


def load_verdict(path: Path) -> list[Question]:
    return [_question(record) for record in json.loads(path.read_text(encoding="utf-8"))]


def _question(record: dict) -> Question:
    return Question(**{**record, "options": tuple(record["options"])})

"""Have the model write questions: the prompts of the next round, and reading what came.

A round is one large batch over all topics that still lack questions. What it asks follows from the
questions of earlier rounds and the seed alone, so a tuning that was stopped goes on to the same
questions as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from core.errors import PluriscopeError, disk_in_words
from core.prompts.prompt_sets import PromptSet
from core.prompts.render import render_writing
from core.survey.survey import Item, Survey
from core.tuning.culturespa.questions import (
    DUPLICATE,
    KEPT,
    MALFORMED,
    SPARE,
    USABLE,
    WRITTEN,
    Question,
)
from core.tuning.culturespa.reading import read_question
from core.tuning.settings import TuneSettings

TEMPERATURE, TOP_P, MAX_NEW_TOKENS = 0.9, 0.95, 256  # the study's
SHOWN, SHOWN_OF_OWN = 5, 2  # questions a prompt shows, and at most so many the model wrote
# Few at first, so that the rounds that follow have the model's own questions to show.
FIRST_ROUND, GROWTH = 4, 4
# So many prompts a topic at most: for each question wanted, and beside those.
PROMPTS_A_QUESTION, PROMPTS_BESIDE = 5, 24


class WriteRequest(NamedTuple):
    topic: str
    messages: tuple[dict[str, str], ...]
    seed: int


class Round(NamedTuple):
    """One batch of prompts. number: of the round, from 0. first: of its first question."""

    number: int
    first: int
    requests: tuple[WriteRequest, ...]


class Draft:
    """What was written to a round so far: lines of a file, each on the disk before the next comes.

    A kill therefore costs only the texts at work, and those that remain follow from their own
    seeds, whatever they are written beside. Lines of other rounds and one cut off are passed over.
    """

    def __init__(self, path: Path, asked: Round):
        self.path, self.asked = path, asked
        self.texts: dict[int, str] = {}
        for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else ():
            with suppress(ValueError, KeyError, TypeError, IndexError):
                record = json.loads(line)
                index = record["index"]
                if (record["round"], record["seed"]) == (asked.number, asked.requests[index].seed):
                    self.texts[index] = record["text"]

    @property
    def missing(self) -> list[int]:
        """Which requests have no text yet."""
        return [index for index in range(len(self.asked.requests)) if index not in self.texts]

    def add(self, index: int, text: str) -> None:
        record = {
            "round": self.asked.number,
            "index": index,
            "seed": self.asked.requests[index].seed,
            "text": text,
        }
        with disk_in_words("The questions written"), open(self.path, "a", encoding="utf-8") as file:
            # A line of its own, even after one that was cut off.
            file.write(f"\n{json.dumps(record)}\n")
            file.flush()
            os.fsync(file.fileno())
        self.texts[index] = text

    def done(self) -> list[str]:
        """All texts in the order they were asked for. Raises KeyError while one is missing."""
        return [self.texts[index] for index in range(len(self.asked.requests))]


def topics_of(settings: TuneSettings) -> tuple[str, ...]:
    """The topics questions are written on: those chosen that are not held out."""
    return tuple(t for t in settings.topics if t not in settings.held_out_topics)


# Why: docs/decisions.md, "Questions are written in rounds that grow."
def next_round(
    settings: TuneSettings,
    survey: Survey,
    prompts: PromptSet,
    questions: Sequence[Question],
    seed: int,
) -> Round | None:
    """The prompts to send next, given a seed's questions so far; None when there are enough.

    Also None where the topics that lack questions were tried often enough; `shortfalls` says so in
    words. Questions count while they are not judged, so ask again once they are.
    survey: the real one, whose items serve as examples, those held out aside.
    """
    number = max((one.round for one in questions), default=-1) + 1
    requests: list[WriteRequest] = []
    for topic in topics_of(settings):
        of_topic = [one for one in questions if one.topic == topic]
        pool = seed_items(settings, survey, topic, seed)
        own = [one for one in of_topic if one.state in USABLE]
        for place in range(_how_many(settings, of_topic, number)):
            mark = f"{seed}/{number}/{topic}/{place}"
            examples = _examples(pool, own, random.Random(mark))
            requests.append(
                WriteRequest(topic, render_writing(topic, examples, prompts), _seed(mark))
            )
    return Round(number, len(questions), tuple(requests)) if requests else None


def seed_items(settings: TuneSettings, survey: Survey, topic: str, seed: int) -> tuple[Item, ...]:
    """The survey items a topic's prompts may show: never what is held out."""
    pool = tuple(i for i in survey.select(topic) if i.id not in settings.held_out_items)
    if not pool:
        raise PluriscopeError(
            f"Every survey question of “{topic}” is held out, so there is no example to write new "
            "ones from. Hold out fewer, or leave this topic out."
        )
    if settings.seed_items == "one":
        return (random.Random(f"{seed}/{topic}").choice(pool),)
    return pool


def _how_many(settings: TuneSettings, of_topic: Sequence[Question], number: int) -> int:
    """How many questions of a topic the round asks for."""
    usable = sum(one.state in USABLE for one in of_topic)
    missing = settings.per_topic - usable
    left = PROMPTS_A_QUESTION * settings.per_topic + PROMPTS_BESIDE - len(of_topic)
    if missing <= 0 or left <= 0:
        return 0
    good = (usable + 2) / (len(of_topic) + 2)  # the share so far, at first as if all were good
    wanted = math.ceil(missing / max(good, 0.2))
    return min(wanted, left, FIRST_ROUND * GROWTH ** min(number, 20))


def _examples(
    pool: Sequence[Item], own: Sequence[Question], rng: random.Random
) -> list[tuple[str, Sequence[str]]]:
    """Up to two questions of the model's own, survey items for the rest, in any order."""
    from_pool = min(len(pool), SHOWN - min(SHOWN_OF_OWN, len(own)))
    from_own = min(len(own), SHOWN - from_pool)
    shown = [
        (item.question, [option.label for option in item.options])
        for item in rng.sample(pool, from_pool)
    ]
    shown += [(one.question, one.options) for one in rng.sample(own, from_own)]
    rng.shuffle(shown)
    return shown


def _seed(mark: str) -> int:
    return int.from_bytes(hashlib.sha256(mark.encode()).digest()[:4], "big")


def read_round(
    asked: Round, texts: Sequence[str], survey: Survey, questions: Sequence[Question]
) -> list[Question]:
    """What a round gave, in the order it was asked, to add to `questions` all at once.

    Word-for-word repetitions of a survey item or an earlier question are told at once; the other
    rules wait for the judge.
    """
    if len(texts) != len(asked.requests):
        raise ValueError(f"{len(texts)} texts for {len(asked.requests)} requests")
    known = {item.question for item in survey.items}
    known.update(one.question for one in questions if one.question)
    found = []
    for place, (request, text) in enumerate(zip(asked.requests, texts, strict=True)):
        one = read_one(asked.first + place, asked.number, request.topic, text)
        if one.question in known:
            one = one._replace(state=DUPLICATE, reason="word for word an earlier question")
        elif one.question:
            known.add(one.question)
        found.append(one)
    return found


def read_one(no: int, round: int, topic: str, raw: str) -> Question:
    """A reply as a Question, "written" or "malformed"."""
    raw = raw.encode("utf-8", "replace").decode()
    read = read_question(raw)
    state = MALFORMED if read.reason else WRITTEN
    return Question(no, round, topic, read.question, read.options, raw, state, read.reason)


def unjudged(questions: Iterable[Question]) -> bool:
    """Are there questions whose fate is open?"""
    return any(one.state == WRITTEN for one in questions)


def shortfalls(settings: TuneSettings, questions: Sequence[Question]) -> list[str]:
    """A sentence for each topic that could not be filled. Raises where nothing at all was kept."""
    said = []
    for topic in topics_of(settings):
        of_topic = [one for one in questions if one.topic == topic]
        kept = sum(one.state == KEPT for one in of_topic)
        if kept < settings.per_topic:
            reasons: dict[str, int] = {}
            for one in of_topic:
                if one.state not in (KEPT, SPARE):
                    reasons[one.reason] = reasons.get(one.reason, 0) + 1
            most = sorted(reasons, key=lambda reason: -reasons[reason])[:2]
            why = "; ".join(f"{reason}: {reasons[reason]}" for reason in most if reason)
            said.append(
                f"{topic}: {kept} of {settings.per_topic} questions after {len(of_topic)} tries"
                + (f" ({why})." if why else ".")
            )
    if not any(one.state in USABLE for one in questions):
        first = f" {said[0]}" if said else ""
        raise PluriscopeError(
            "The model wrote no question that can be used." + first + " Choose a larger model, "
            "or other topics."
        )
    return said

"""The questions a model wrote, and the survey that the kept ones make."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from core.errors import PluriscopeError
from core.survey.neighbours import neighbours
from core.survey.survey import Item, Option, Survey

WRITTEN, KEPT, SPARE = "written", "kept", "spare"
MALFORMED, DUPLICATE, DROPPED = "malformed", "duplicate", "dropped"
LEAK, NEAR = "leak", "near"
USABLE = (WRITTEN, KEPT, SPARE)


class Question(NamedTuple):
    """A question as the table questions holds it, and what became of it.

    no: counts a seed's questions from 0. round: in which it was written. raw: the model's reply;
    everything else can be read from it anew. state: "written" (it can be read; not judged yet),
    "kept", "spare" (good, but enough were kept), "malformed", "duplicate" (word for word),
    "dropped" (by the study's rules), "leak" (near a survey item) or "near" (near another
    question). reason: why, in words; near, similarity: the text it is near, from 0 to 100.
    """

    no: int
    round: int
    topic: str
    question: str
    options: tuple[str, ...]
    raw: str
    state: str
    reason: str = ""
    near: str = ""
    similarity: float | None = None


def from_table(table: pd.DataFrame) -> list[Question]:
    """Questions from Store.questions (of one seed)."""
    return [
        Question(
            int(row.no),
            int(row.round),
            row.topic,
            row.question,
            tuple(row.options),
            row.raw,
            row.state,
            row.reason,
            row.near,
            None if pd.isna(row.similarity) else float(row.similarity),
        )
        for row in table.itertuples()
    ]


def to_rows(tuning: str, seed: int, questions: Iterable[Question]) -> list[dict]:
    """Questions as Store.add_questions and Store.judge_questions take them."""
    return [
        {"tuning": tuning, "seed": seed, **one._asdict(), "options": list(one.options)}
        for one in questions
    ]


def tally(questions: Iterable[Question]) -> dict[str, dict]:
    """How many there are by state, by reason, and kept by topic: for a tuning's counts."""
    counts: dict[str, dict] = {"states": {}, "reasons": {}, "kept": {}}
    for one in questions:
        counts["states"][one.state] = counts["states"].get(one.state, 0) + 1
        if one.reason:
            counts["reasons"][one.reason] = counts["reasons"].get(one.reason, 0) + 1
        kept = counts["kept"].get(one.topic, 0)
        counts["kept"][one.topic] = kept + (one.state == KEPT)
    return counts


# Why: docs/decisions.md, "Questions that a model wrote are a survey."
def survey_of(tuning: str, seed: int, questions: Sequence[Question], reference: Survey) -> Survey:
    """The kept questions as a survey that can be asked like any other. It has no shares.

    Items are called "W" and the question's number. Its countries are those of `reference`, which
    is asked for their names only; frozen_neighbours serves cross-culture thinking.
    """
    kept = [one for one in questions if one.state == KEPT]
    if not kept:
        raise PluriscopeError(
            "None of the questions the model wrote was kept, so there is nothing to ask. Choose "
            "a larger model, or raise the limits of likeness."
        )
    items = tuple(_item(one, position) for position, one in enumerate(kept))
    content = json.dumps(
        [[i.id, i.topic, i.question, i.codes, [o.label for o in i.options]] for i in items]
        + [[c.iso3, c.name, c.demonym, c.article] for c in reference.cultures],
        ensure_ascii=False,
    )
    return Survey(
        id=f"written-{tuning}-{seed}",
        name="Questions the model wrote",
        version=hashlib.sha256(content.encode()).hexdigest()[:12],
        items=items,
        cultures=reference.cultures,
        shares={},
    )


def _item(one: Question, position: int) -> Item:
    first = 0 if one.options[0].isdecimal() and int(one.options[0]) == 0 else 1
    return Item(
        id=f"W{one.no}",
        position=position,
        topic=one.topic,
        label=textwrap.shorten(one.question, 80, placeholder=" …"),
        question=one.question,
        options=tuple(Option(code, label) for code, label in enumerate(one.options, first)),
        scale=_scale(one.options),
    )


# Why: docs/decisions.md, "Options of written questions have no order."
def _scale(options: Sequence[str]) -> str:
    """Numbers in a row are a scale, two options are binary; the rest counts as having no order.

    Most lists of words run from one end to the other, but nobody says which: guessing it from the
    words would be wrong for some. Nothing that is measured on written questions needs an order.
    """
    if len(options) == 2:
        return "binary"
    numbers = [int(option) for option in options if option.isdecimal()]
    in_a_row = numbers == list(range(numbers[0], numbers[0] + len(options))) if numbers else False
    return "ordinal" if in_a_row else "nominal"


def frozen_neighbours(
    reference: Survey,
    cultures: Sequence[str],
    held_out_items: Iterable[str] = (),
    held_out_topics: Iterable[str] = (),
    held_out_cultures: Iterable[str] = (),
) -> dict[str, list[list[str]]]:
    """For each country the codes of the three most and three least like it, to freeze in a run.

    What is held out has no part in it. Goes into AskSettings.neighbours.
    """
    items, topics = set(held_out_items), set(held_out_topics)
    used = tuple(i for i in reference.items if i.id not in items and i.topic not in topics)
    if len(used) < len(reference.items):
        reference = replace(reference, items=used)
    among = [c.iso3 for c in reference.cultures if c.iso3 not in set(held_out_cultures)]
    return {
        iso3: [[c.iso3 for c in side] for side in neighbours(reference, iso3, among)]
        for iso3 in cultures
    }

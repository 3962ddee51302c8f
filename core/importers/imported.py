"""What an importer finds in a file (Check) and what it makes of it (Imported)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pandas as pd

from core.asking.answers import Answer
from core.asking.settings import AskSettings
from core.prompts.prompt_sets import PromptSet
from core.survey.survey import Culture, Item, Shares, Survey

# What read() calls as it goes, with a few words on what it does now.
OnPhase = Callable[[str], None]


def quiet(_: str) -> None:
    """Reports progress to nobody: what importers call where none is wanted."""


@dataclass(frozen=True)
class Check:
    """What a file is and whether it can be imported, in words for its owner.

    kind: the importer's name. what: one line on what the file is. problems: what stands in the
    way, each a sentence; notes: what is good to know. facts: lines such as {"Delimiter":
    "semicolon"}. rows: data rows, None where they were not counted. found and missing: the
    columns (or files) looked for. dropped: what would be left out, by reason. partly: it has
    problems, but what is right could be imported.
    """

    kind: str
    what: str
    can_import: bool
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    found: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    partly: bool = False


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """Answers a model gave elsewhere."""

    name: str
    settings: AskSettings
    answers: tuple[Answer, ...]
    facts: dict = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Imported:
    """A survey and recorded runs, read and not yet stored.

    dropped: reason -> how many answers (or rows, where the reason says so) were left out. notes:
    sentences. tables: further tables by name, kept beside the store; an importer's read()
    describes them. prompts: the prompt set the runs were asked with.
    """

    survey: Survey
    runs: tuple[RecordedRun, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    prompts: PromptSet | None = None


def how_many(n: int, one: str, many: str = "") -> str:
    """1 question, 1,204 questions."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def size_of(survey: Survey) -> str:
    """How large a survey is: 259 questions, 18 countries."""
    return (
        f"{how_many(len(survey.items), 'question')}, "
        f"{how_many(len(survey.cultures), 'country', 'countries')}"
    )


def refusal(kind: str, what: str, *problems: str) -> Check:
    """The check of a file that cannot be imported."""
    return Check(kind, what, False, problems)


def content_version(
    items: Sequence[Item],
    cultures: Sequence[Culture],
    shares: Mapping[tuple[str, str], Shares],
) -> str:
    """Twelve hex digits that stand for what a survey holds; the same content, the same version.

    Shares count to twelve decimals.
    """
    digest = hashlib.sha256()

    def add(record: object) -> None:
        digest.update(json.dumps(record, ensure_ascii=False, sort_keys=True).encode())

    for item in items:
        add(asdict(item))
    for culture in cultures:
        add(asdict(culture))
    for (iso3, item), cell in sorted(shares.items()):
        add([iso3, item, [round(v, 12) for v in cell.values.tolist()], cell.n_valid, cell.basis])
    return digest.hexdigest()[:12]


def make_survey(
    survey_id: str,
    name: str,
    items: Sequence[Item],
    cultures: Sequence[Culture],
    shares: Mapping[tuple[str, str], Shares],
    *,
    core_ids: Sequence[str] = (),
    citation: str = "",
) -> Survey:
    """A survey whose version is its content; countries in the order of their codes."""
    cultures = tuple(sorted(cultures, key=lambda culture: culture.iso3))
    version = content_version(items, cultures, shares)
    return Survey(
        survey_id, name, version, tuple(items), cultures, shares, tuple(core_ids), citation
    )


def core_of(
    items: Sequence[Item], shares: Mapping[tuple[str, str], Shares], size: int = 50
) -> tuple[str, ...]:
    """The items asked in the most countries, `size` of them, in questionnaire order.

    Surveys that come without a core set get this one; items with an order or two answers first.
    """
    asked: dict[str, int] = {}
    for _, item in shares:
        asked[item] = asked.get(item, 0) + 1
    ranked = sorted(items, key=lambda i: (not i.is_ordered, -asked.get(i.id, 0), i.position))
    chosen = {item.id for item in ranked[:size]}
    return tuple(item.id for item in items if item.id in chosen)

"""GlobalOpinionQA (Durmus et al. 2023): questions with the answer shares of many countries.

Read as its four-column CSV and as the Hugging Face data set's Parquet or Arrow. The shares are
Python written as text, "defaultdict(<class 'list'>, {'Germany': [0.1, …]})"; only literals are read
and nothing is run.
"""

from __future__ import annotations

import ast
import csv
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import ImportRefused
from core.importers import files, places, reading, scales
from core.importers.files import DELIMITERS, Source
from core.importers.imported import (
    Check,
    Imported,
    OnPhase,
    core_of,
    how_many,
    make_survey,
    quiet,
    refusal,
    size_of,
)
from core.sanitize import clean_text
from core.survey.survey import Item, Shares

KIND = "globalopinionqa"
SURVEY_ID = "globalopinionqa"
COLUMNS = ("question", "selections", "options", "source")
MAX_ROWS = 50_000  # the data set has 2,556
MAX_OPTIONS = 30
MAX_LITERAL = 200_000  # characters
SOURCES = {"GAS": "Pew Global Attitudes Survey", "WVS": "World Values Survey"}
CITATION = (
    "Durmus, E., Nguyen, K., Liao, T. et al. 2023. Towards Measuring the Representation of "
    "Subjective Global Opinions in Language Models. arXiv:2306.16388. The answers: Pew Research "
    "Center, Global Attitudes Surveys, and World Values Survey wave 7."
)


@dataclass(frozen=True)
class Options:
    """other_samples: keep samples that do not stand for the whole country (such as cities only)
    where there is no national one; left out otherwise. ordered: lists of answers that run from
    one end of a scale to the other, where the importer did not see it; unordered: lists that
    have no order after all. Both as orders() gives them."""

    other_samples: bool = False
    ordered: tuple[tuple[str, ...], ...] = ()
    unordered: tuple[tuple[str, ...], ...] = ()
    name: str = ""

    def known_order(self, labels: Sequence[str]) -> tuple[str, ...] | None:
        """What scales.arrange() is told of a list of answers: an order, () for none, or nothing."""
        mine = set(scales.on_scale(labels))
        if any(set(known) == mine for known in self.unordered):
            return ()
        return next((known for known in self.ordered if set(known) == mine), None)


def knows(columns: Sequence[str]) -> bool:
    """Does a sheet with these columns look like this data set?"""
    return "selections" in {column.strip().casefold() for column in columns}


def check(path: files.Given, options: Options = Options()) -> Check:
    what = "GlobalOpinionQA"
    try:
        with _opened(path) as source:
            found, facts, rows = _table(source)
            imported = _imported(rows, source, options)
    except ImportRefused as error:
        return refusal(KIND, what, str(error))
    survey = imported.survey
    return Check(
        kind=KIND,
        what=f"{what}: {size_of(survey)}",
        can_import=True,
        notes=imported.notes,
        dropped=imported.dropped,
        facts=facts,
        rows=len(rows),
        found=tuple(found),
        missing=tuple(name for name in COLUMNS if name not in found),
    )


def preview(path: files.Given, n: int = 20, options: Options = Options()) -> pd.DataFrame:
    """The first rows as text: question, options, countries, source."""
    with _opened(path) as source:
        _, _, rows = _table(source)
    return pd.DataFrame(
        [
            {
                "question": clean_text(row.get("question") or "", 300),
                "options": clean_text(str(row.get("options")), 300),
                "selections": clean_text(_dictionary(str(row.get("selections"))), 300),
                "source": clean_text(row.get("source") or "", 60),
            }
            for row in rows[: max(0, int(n))]
        ]
    )


def _dictionary(text: str) -> str:
    """What stands between the outermost braces, without the name of the Python class."""
    return text[max(0, text.find("{")) : text.rfind("}") + 1] or text


def read(path: files.Given, options: Options = Options(), on_phase: OnPhase = quiet) -> Imported:
    """The survey. How many people stand behind a share is not published, so n_valid is 0."""
    on_phase("Opening the file")
    with _opened(path) as source:
        _, _, rows = _table(source)
        on_phase(f"Reading {len(rows):,} questions")
        return _imported(rows, source, options)


def orders(path: files.Given, options: Options = Options()) -> pd.DataFrame:
    """The lists of three or more answers in the file, and whether each has an order.

    Columns: answers (tuple of the labels on the scale, in order where there is one, else as the
    first question gives them), ordered, questions (how many use it), example (one of them);
    commonest first.
    """
    found: dict[frozenset[str], dict] = {}
    for item in read(path, options).survey.items:
        on = tuple(o.label for o in item.options if o.code not in item.off_scale)
        if len(on) > 2:
            new = {"answers": on, "ordered": item.scale == "ordinal", "questions": 0,
                   "example": item.question}  # fmt: skip
            found.setdefault(frozenset(on), new)["questions"] += 1
    table = pd.DataFrame(found.values(), columns=["answers", "ordered", "questions", "example"])
    return table.sort_values("questions", ascending=False, kind="stable", ignore_index=True)


# -- the table -------------------------------------------------------------------------------------


@contextmanager
def _opened(path: files.Given) -> Iterator[Source]:
    """The data set's file; of a folder as it is downloaded or kept, the one in it."""
    given = path if isinstance(path, Source) else files.place(path)
    if isinstance(given, Path) and given.is_dir():
        inside = data_files(given)
        if len(inside) != 1:
            raise ImportRefused(
                f"The folder {given.name} holds {len(inside)} CSV, Parquet or Arrow files. Choose "
                "the one with the questions."
            )
        path = inside[0]
    with files.opened(path) as source:
        yield source


def data_files(folder: Path) -> list[Path]:
    """The files of a folder that may hold a data set."""
    found = files.inside(folder, ".csv", ".parquet", ".arrow")
    # What `datasets` has worked out on the way lies beside the data.
    return [path for path in found if not (path.suffix == ".arrow" and path.stem[:6] == "cache-")]


def _table(source: Source) -> tuple[list[str], dict[str, str], list[dict]]:
    """Columns found, facts in words, and rows as records of the four columns."""
    if source.format == "parquet":
        chosen = _chosen(reading.parquet_columns(source), source)
        rows = reading.parquet(source, list(chosen.values()), MAX_ROWS, MAX_LITERAL)
        back = {column: name for name, column in chosen.items()}
        rows = [{back[column]: value for column, value in row.items()} for row in rows]
        return list(chosen), {"Format": source.encoding}, rows
    sheet = files.sheet(source)
    chosen = _chosen(sheet.columns, source)
    place = {name: sheet.columns.index(column) for name, column in chosen.items()}
    rows = []
    with open(source.path, encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=sheet.delimiter)
        try:
            next(lines)
            for cells in lines:
                if any(cells):
                    cells += [""] * (sheet.width - len(cells))
                    rows.append({name: cells[at] for name, at in place.items()})
                if len(rows) > MAX_ROWS:
                    raise ImportRefused(
                        f"{source.name} has more than {MAX_ROWS:,} rows; that is not this data set."
                    )
        except csv.Error as error:
            raise ImportRefused(f"{source.name}, line {lines.line_num}: {error}.") from None
    facts = {"Encoding": source.encoding, "Delimiter": DELIMITERS[sheet.delimiter]}
    return list(chosen), facts, rows


def _chosen(columns: Sequence[str], source: Source) -> dict[str, str]:
    """Our name -> the file's name of the columns we read."""
    by_name = {column.strip().casefold(): column for column in reversed(columns)}
    missing = [name for name in COLUMNS[:3] if name not in by_name]
    if missing:
        raise ImportRefused(
            f"{source.name} has no column {' or '.join(missing)}. GlobalOpinionQA has the columns "
            f"{', '.join(COLUMNS)}."
        )
    return {name: by_name[name] for name in COLUMNS if name in by_name}


# -- from rows to a survey -------------------------------------------------------------------------


def _imported(rows: Sequence[Mapping], source: Source, options: Options) -> Imported:
    dropped: Counter[str] = Counter()
    noted: Counter[str] = Counter()
    items: list[Item] = []
    shares: dict[tuple[str, str], Shares] = {}
    for number, row in enumerate(rows, 1):
        made = _row(f"G{number:04d}", len(items), row, options, dropped, noted)
        if made:
            item, cells = made
            items.append(item)
            shares |= {(iso3, item.id): cell for iso3, cell in cells.items()}
    if not items:
        reasons = ", ".join(f"{reason} ({n:,})" for reason, n in dropped.most_common(3))
        raise ImportRefused(f"{source.name}: no row could be read. {reasons or 'It has none'}.")
    cultures = [places.culture(iso3) for iso3 in sorted({iso3 for iso3, _ in shares})]
    scale = Counter(item.scale for item in items)
    notes = [
        *source.notes,
        f"Questions with answers in an order: {scale['ordinal']:,}; with two answers: "
        f"{scale['binary']:,}; with answers without an order: {scale['nominal']:,}.",
        "How many people answered is not published with this data set.",
        *(f"{what}: {how_many(count, 'country row')}." for what, count in noted.items()),
    ]
    survey = make_survey(
        SURVEY_ID,
        clean_text(options.name, 100) or "GlobalOpinionQA",
        items,
        cultures,
        shares,
        core_ids=core_of(items, shares),
        citation=CITATION,
    )
    return Imported(survey, (), dict(dropped), tuple(notes))


def _row(
    item_id: str,
    position: int,
    row: Mapping,
    options: Options,
    dropped: Counter[str],
    noted: Counter[str],
) -> tuple[Item, dict[str, Shares]] | None:
    question = clean_text(row.get("question") or "")
    if not question:
        dropped["rows without a question"] += 1
        return None
    try:
        labels = [_label(value) for value in _literal(row.get("options"), list)]
        answers = _literal(row.get("selections"), dict)
    except ValueError as error:
        dropped[f"rows whose {error}"] += 1
        return None
    if not 2 <= len(labels) <= MAX_OPTIONS:
        dropped[f"rows with fewer than 2 or more than {MAX_OPTIONS} answers"] += 1
        return None
    if "" in labels or len({label.casefold() for label in labels}) < len(labels):
        dropped["rows with an answer that is empty or given twice"] += 1
        return None
    arranged = scales.arrange(tuple(labels), options.known_order(labels))
    cells = {}
    for iso3, values in _national(answers, options, dropped):
        try:
            given = _shares(values, len(labels))
        except ValueError as error:
            dropped[f"country rows whose shares {error}"] += 1
            continue
        total = given.sum()
        if abs(total - 1) > 0.02:
            noted["Scaled, because their shares did not add up to 1"] += 1
        cells[iso3] = Shares(given[list(arranged.order)] / total, 0, "published")
    if not cells:
        dropped["rows without the shares of any country"] += 1
        return None
    on = [o.label for o in arranged.options if o.code not in arranged.off_scale]
    item = Item(
        id=item_id,
        position=position,
        topic=SOURCES.get(str(row.get("source")), clean_text(row.get("source") or "", 60))
        or "Other",
        label=clean_text(question, 70),
        question=question,
        options=arranged.options,
        scale=arranged.scale,
        low=on[0],
        high=on[-1],
        off_scale=arranged.off_scale,
    )
    return item, cells


def _label(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("answers are no list of texts")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("answers are no list of texts")
        value = int(value) if value == int(value) else value
    text = clean_text(str(value), 300)
    return re.sub(r"^(-?\d+)\.0$", r"\1", text)


def _literal(value: object, kind: type) -> list | dict:
    """A list or dict written as Python; ValueError says what is wrong. Runs nothing."""
    name = "answers are no list of texts" if kind is list else "shares are no table of countries"
    if isinstance(value, (list, tuple)) and kind is list:
        return list(value)
    if isinstance(value, Mapping) and kind is dict:
        return {key: cell for key, cell in value.items() if cell is not None}
    if not isinstance(value, str) or len(value) > MAX_LITERAL:
        raise ValueError(name)
    first, last = ("[", "]") if kind is list else ("{", "}")
    text = value[value.find(first) : value.rfind(last) + 1]
    if not text or _depth(text) > 3:
        raise ValueError(name)
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(name) from None
    if not isinstance(found, kind):
        raise ValueError(name)
    return found


def _depth(text: str) -> int:
    """How deep brackets nest (strings are not told apart; more is only stricter)."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\](){}]", text):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, depth)
    return deepest


def _shares(values: object, size: int) -> np.ndarray:
    """float64[size], not yet scaled to sum to 1; ValueError says what is wrong."""
    if not isinstance(values, (list, tuple)) or len(values) != size:
        raise ValueError("are not as many as the answers")
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        raise ValueError("are not numbers")
    try:
        found = np.array([float(v) for v in values])
    except OverflowError:
        raise ValueError("are not numbers") from None
    if not np.isfinite(found).all() or (found < 0).any():
        raise ValueError("are not numbers of 0 or more")
    total = found.sum()
    if 50 <= total <= 150:  # per cent
        found, total = found / 100, total / 100
    if not 0.5 <= total <= 1.5:
        raise ValueError("add up to nothing near 1")
    return found


_SAMPLE = re.compile(r"^(.*?)\s*\(([^()]*sample[^()]*)\)$", re.IGNORECASE)


def _national(
    answers: Mapping, options: Options, dropped: Counter[str]
) -> Iterator[tuple[str, object]]:
    """(ISO3, shares), one sample a country: the current national one before an old one.

    "China (Non-national sample)" stands for parts of a country and is left out.
    """
    best: dict[str, tuple[int, object]] = {}
    for name, values in answers.items():
        name = str(name)
        match = _SAMPLE.match(name)
        sample = match[2].casefold() if match else ""
        rank = 3 if "non-national" in sample else 2 if "old" in sample else 0
        if rank == 3 and not options.other_samples:
            dropped["country rows of samples that are not national"] += 1
            continue
        iso3 = places.find(match[1] if match else name)
        if iso3 is None:
            dropped["country rows of a place without an ISO code, such as Northern Ireland"] += 1
        elif iso3 in best and best[iso3][0] <= rank:
            dropped["country rows of a second sample"] += 1
        else:
            if iso3 in best:
                dropped["country rows of a second sample"] += 1
            best[iso3] = rank, values
    for iso3, (_, values) in sorted(best.items()):
        yield iso3, values

"""A survey of your own as one table: a row for each country, item and answer, with its share.

The template is data/templates/survey.csv; docs/import.md describes its columns. Every line is
looked at and every problem named with its line. Nothing is imported while there is one, unless
the good rows alone are asked for.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.errors import ImportRefused
from core.home import DATA
from core.importers import files, places, reading
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
)
from core.sanitize import clean_text, is_formula
from core.survey.survey import Culture, Item, Option, Shares

KIND = "table"
TEMPLATE = DATA / "templates" / "survey.csv"
REQUIRED = ("item", "question", "code", "option", "country", "share")
OPTIONAL = ("topic", "label", "scale", "off_scale", "n", "basis")
MAX_ROWS = 2_000_000
MAX_SHOWN = 200  # problems listed; the rest is counted
MAX_OPTIONS = 30
SCALES = ("ordinal", "binary", "nominal")
BASES = ("weighted", "unweighted")
TOLERANCE = 0.02  # how far the shares of a country and item may be from adding up to 1


@dataclass(frozen=True)
class Options:
    """name: what to call the survey. survey_id: its short name, letters, digits and dashes.
    columns: our column -> the file's, where the file names it otherwise. accept_good_rows: import
    what is right and leave out the rest."""

    name: str = ""
    survey_id: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    accept_good_rows: bool = False
    citation: str = ""


class Problem(NamedTuple):
    """What is wrong and where. line: of the file as an editor counts (rows of a Parquet file
    count from 1); 0 where it is not one line's fault."""

    line: int
    column: str
    says: str

    def __str__(self) -> str:
        place = f"Line {self.line}" if self.line else "The table"
        return f"{place}{f', {self.column}' if self.column else ''}: {self.says}"


class _Row(NamedTuple):
    line: int
    cells: dict[str, str]


@dataclass(frozen=True, eq=False)
class _Report:
    """All that reading found. bad: problems in the order of their lines; items and shares: what is
    right; lost: lines that would be left out."""

    bad: tuple[Problem, ...]
    items: tuple[Item, ...]
    shares: dict[tuple[str, str], Shares]
    cultures: tuple[Culture, ...]
    rows: int
    lost: int
    found: tuple[str, ...]
    facts: dict[str, str]
    notes: tuple[str, ...]


def knows(columns: Sequence[str]) -> bool:
    """Any sheet may be somebody's table: its check says what is missing."""
    return True


def check(path: files.Given, options: Options = Options()) -> Check:
    """Whether the table can be imported; `problems` names every line that is wrong (the first
    200 of them)."""
    what = "A table of questions and shares"
    try:
        report = _report(path, options)
    except ImportRefused as error:
        return refusal(KIND, what, str(error))
    usable = bool(report.items) and (not report.bad or options.accept_good_rows)
    shown = [str(problem) for problem in report.bad[:MAX_SHOWN]]
    if len(report.bad) > MAX_SHOWN:
        shown.append(f"And {len(report.bad) - MAX_SHOWN:,} more.")
    return Check(
        kind=KIND,
        what=f"{what}: {how_many(len(report.items), 'question')}, "
        f"{how_many(len(report.cultures), 'country', 'countries')}",
        can_import=usable,
        problems=tuple(shown),
        notes=report.notes,
        facts={
            **report.facts,
            "Rows": f"{report.rows:,}"
            + (f", of which {report.rows - report.lost:,} are right" if report.bad else ""),
        },
        rows=report.rows,
        partly=bool(report.bad and report.items),
        found=report.found,
        missing=tuple(c for c in (*REQUIRED, *OPTIONAL) if c not in report.found),
    )


def problems(path: files.Given, options: Options = Options()) -> pd.DataFrame:
    """The line-by-line report: line, column, problem."""
    bad = _report(path, options).bad
    return pd.DataFrame([tuple(problem) for problem in bad], columns=["line", "column", "problem"])


def preview(path: files.Given, n: int = 20, options: Options = Options()) -> pd.DataFrame:
    """The first rows under our column names."""
    with files.opened(path) as source:
        columns, _, rows = _table(source, options)
        first = [row.cells for _, row in zip(range(max(0, int(n))), rows, strict=False)]
    frame = pd.DataFrame(first, columns=list(columns))
    return frame.map(lambda cell: clean_text(cell, 200))


def read(path: files.Given, options: Options = Options(), on_phase: OnPhase = quiet) -> Imported:
    """The survey. Raises ImportRefused with the problems unless accept_good_rows."""
    on_phase("Reading every line")
    report = _report(path, options)
    if report.bad and not options.accept_good_rows:
        some = " ".join(f"{problem}" for problem in report.bad[:3])
        more = f" And {len(report.bad) - 3:,} more problems." if len(report.bad) > 3 else ""
        raise ImportRefused(f"Nothing was imported. {some}{more}")
    if not report.items:
        raise ImportRefused("Nothing was imported: no question has shares that are right.")
    stem = Path(path.name if isinstance(path, Source) else path).stem
    survey_id = re.sub(r"[^a-z0-9]+", "-", (options.survey_id or stem).lower()).strip("-")[:40]
    if survey_id in ("", "wvs7"):
        survey_id = "own-survey"
    survey = make_survey(
        survey_id,
        clean_text(options.name, 100) or clean_text(stem, 100),
        report.items,
        report.cultures,
        report.shares,
        core_ids=core_of(report.items, report.shares),
        citation=clean_text(options.citation, 1_000),
    )
    dropped = {"rows with or beside a problem": report.lost} if report.lost else {}
    return Imported(survey, (), dropped, report.notes)


# -- the table as rows -----------------------------------------------------------------------------


def _table(
    source: Source, options: Options
) -> tuple[tuple[str, ...], dict[str, str], Iterator[_Row]]:
    """Our columns that are there, facts in words, and the rows."""
    if source.format == "parquet":
        chosen = _chosen(reading.parquet_columns(source), source, options)
        records = reading.parquet(source, list(chosen.values()), MAX_ROWS, files.MAX_CELL)
        rows = (
            _Row(number, {ours: _text(record[theirs]) for ours, theirs in chosen.items()})
            for number, record in enumerate(records, 1)
        )
        return tuple(chosen), {"Format": "Parquet"}, rows
    sheet = files.sheet(source)
    chosen = _chosen(sheet.columns, source, options)
    at = {ours: sheet.columns.index(theirs) for ours, theirs in chosen.items()}
    facts = {"Encoding": source.encoding, "Delimiter": DELIMITERS[sheet.delimiter]}
    return tuple(chosen), facts, _lines(source, sheet.delimiter, at)


def _lines(source: Source, delimiter: str, at: Mapping[str, int]) -> Iterator[_Row]:
    with open(source.path, encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=delimiter)
        try:
            next(lines)
            before = lines.line_num
            for number, cells in enumerate(lines):
                if number >= MAX_ROWS:
                    raise ImportRefused(f"{source.name} has more than {MAX_ROWS:,} rows.")
                line, before = before + 1, lines.line_num
                if any(cell.strip() for cell in cells):
                    yield _Row(
                        line,
                        {
                            ours: cells[place].strip() if place < len(cells) else ""
                            for ours, place in at.items()
                        },
                    )
        except csv.Error as error:
            raise ImportRefused(f"{source.name}, line {lines.line_num}: {error}.") from None


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return str(value).strip()


def named_columns(names: Sequence[str]) -> dict[str, str]:
    """Our column -> the file's, of those that go by our names."""
    by_name = {re.sub(r"[\s-]+", "_", name.strip().casefold()): name for name in reversed(names)}
    return {ours: by_name[ours] for ours in (*REQUIRED, *OPTIONAL) if ours in by_name}


def _chosen(names: Sequence[str], source: Source, options: Options) -> dict[str, str]:
    for chosen in options.columns.values():
        if chosen not in names:
            raise ImportRefused(f"{source.name} has no column {chosen!r}.")
    chosen = {**named_columns(names), **options.columns}
    missing = [ours for ours in REQUIRED if ours not in chosen]
    if missing:
        raise ImportRefused(
            f"{source.name} has no column {' and no column '.join(missing)}. The template has "
            f"{', '.join(REQUIRED)}."
        )
    return chosen


# -- line by line ----------------------------------------------------------------------------------


class _Line(NamedTuple):
    """One row with its cells understood."""

    line: int
    item: str
    code: int
    iso3: str
    share: float
    n: int


@dataclass
class _Texts:
    """What the rows of one item say about it; the first to say it decides, others must agree."""

    line: int
    question: str = ""
    topic: str = ""
    label: str = ""
    scale: str = ""
    options: dict[int, str] = field(default_factory=dict)
    off_scale: set[int] = field(default_factory=set)


def _report(path: files.Given, options: Options) -> _Report:
    with files.opened(path) as source:
        found, facts, rows = _table(source, options)
        bad: list[Problem] = []
        texts: dict[str, _Texts] = {}
        lines: list[_Line] = []
        bases: dict[tuple[str, str], str] = {}
        total = 0
        spoilt: set[tuple[str, str]] = set()  # (country, item) that a wrong line belongs to
        for row in rows:
            total += 1
            before = len(bad)
            line = _line(row, texts, bases, bad)
            if line:
                lines.append(line)
            if len(bad) > before:
                iso3 = places.find(row.cells["country"]) or ""
                spoilt.add((iso3, row.cells["item"]))
        if not total:
            raise ImportRefused(f"{source.name} has no rows below its header.")
        notes = source.notes
    items, wrong_items = _items(texts, bad)
    shares = _shares(items, lines, bases, spoilt, wrong_items, bad)
    used = {item for _, item in shares}
    items = tuple(item for item in items if item.id in used)
    items = tuple(replace(item, position=position) for position, item in enumerate(items))
    most = defaultdict(int)
    for (iso3, _), cell in shares.items():
        most[iso3] = max(most[iso3], cell.n_valid)
    cultures = tuple(places.culture(iso3, n=most[iso3] or None) for iso3 in sorted(most))
    kept = sum((line.iso3, line.item) in shares for line in lines)
    bad.sort(key=lambda problem: (problem.line == 0, problem.line))
    return _Report(tuple(bad), items, shares, cultures, total, total - kept, found, facts, notes)


def _line(
    row: _Row,
    texts: dict[str, _Texts],
    bases: dict[tuple[str, str], str],
    bad: list[Problem],
) -> _Line | None:
    """The row understood, or None and its problems in `bad`."""
    cells = row.cells

    def wrong(column: str, says: str) -> None:
        bad.append(Problem(row.line, column, says))

    before = len(bad)
    for column, cell in cells.items():
        if is_formula(cell):
            wrong(column, f"{_shown(cell)} begins like a spreadsheet formula; write it as text.")
    item = clean_text(cells["item"], 60)
    if not re.fullmatch(r"[\w.-]{1,60}", cells["item"]):
        wrong("item", "give a short id of letters, digits, dots or dashes, such as Q1.")
    code = _whole(cells["code"])
    if code is None or not -1_000 < code < 10_000:
        wrong("code", f"{_shown(cells['code'])} is not a whole number.")
    iso3 = places.find(cells["country"])
    if iso3 is None:
        near = places.suggest(cells["country"]) if cells["country"] else None
        hint = f" Is it {near}?" if near else " Use a three-letter code such as KEN."
        wrong("country", f"{_shown(cells['country'])} is not a country we know.{hint}")
    share = _number(cells["share"])
    if share is None or share < 0:
        wrong("share", f"{_shown(cells['share'])} is not a number of 0 or more.")
    n = _whole(cells.get("n") or "0")
    if n is None or n < 0:
        wrong("n", f"{_shown(cells['n'])} is not a number of people.")
    basis = (cells.get("basis") or "").casefold()
    if basis and basis not in BASES:
        wrong("basis", f"{_shown(cells['basis'])} is neither weighted nor unweighted.")
    if code is not None and re.fullmatch(r"[\w.-]{1,60}", cells["item"]):
        _learn(row, item, code, texts, wrong)
    if len(bad) > before:
        return None
    if basis:
        bases.setdefault((iso3, item), basis)
    return _Line(row.line, item, code, iso3, share, n)


def _learn(row: _Row, item: str, code: int, texts: dict[str, _Texts], wrong) -> None:
    """Take an item's texts from a row; a later row may leave them out but not contradict."""
    known = texts.setdefault(item, _Texts(row.line))
    given = {
        "question": clean_text(row.cells["question"]),
        "topic": clean_text(row.cells.get("topic", ""), 100),
        "label": clean_text(row.cells.get("label", ""), 100),
        "scale": row.cells.get("scale", "").strip().casefold(),
    }
    if given["scale"] and given["scale"] not in SCALES:
        wrong("scale", f"{_shown(given['scale'])} is none of {', '.join(SCALES)}.")
        given["scale"] = ""
    for name, text in given.items():
        if text and getattr(known, name) and getattr(known, name) != text:
            wrong(name, f"differs from line {known.line}, which is about the same item.")
        elif text:
            setattr(known, name, text)
    option = clean_text(row.cells["option"], 300)
    if option and known.options.get(code) and known.options[code] != option:
        wrong("option", f"code {code} has another text in an earlier line.")
    elif option or code not in known.options:
        known.options[code] = option
    off = row.cells.get("off_scale", "").strip().casefold()
    if off in ("true", "yes", "1", "x"):
        known.off_scale.add(code)
    elif off not in ("", "false", "no", "0"):
        wrong("off_scale", f"{_shown(off)} is neither yes nor no.")


def _items(texts: Mapping[str, _Texts], bad: list[Problem]) -> tuple[tuple[Item, ...], set[str]]:
    """Items in the order of the file, and the ids of those that are not right."""
    items, wrong = [], set()
    for item_id, known in texts.items():
        before = len(bad)
        codes = sorted(known.options)
        unnamed = [code for code in codes if not known.options[code]]
        if not known.question:
            bad.append(Problem(known.line, "question", f"{item_id} has no question in any line."))
        if unnamed:
            bad.append(
                Problem(known.line, "option", f"{item_id}: code {unnamed[0]} has no text anywhere.")
            )
        if not 2 <= len(codes) <= MAX_OPTIONS:
            bad.append(
                Problem(
                    known.line,
                    "code",
                    f"{item_id} has {len(codes)} answers; it needs 2 to {MAX_OPTIONS}.",
                )
            )
        on = [code for code in codes if code not in known.off_scale]
        if not on or (len(on) < 2 and len(codes) >= 2):
            bad.append(Problem(known.line, "off_scale", f"{item_id} has no scale left."))
        if len(bad) > before:
            wrong.add(item_id)
            continue
        items.append(
            Item(
                id=item_id,
                position=len(items),
                topic=known.topic or "All questions",
                label=known.label or clean_text(known.question, 70),
                question=known.question,
                options=tuple(Option(code, known.options[code]) for code in codes),
                scale=known.scale or ("binary" if len(on) == 2 else "nominal"),
                low=known.options[on[0]],
                high=known.options[on[-1]],
                off_scale=tuple(sorted(known.off_scale)),
            )
        )
    return tuple(items), wrong


def _shares(
    items: Sequence[Item],
    lines: Iterable[_Line],
    bases: Mapping[tuple[str, str], str],
    spoilt: set[tuple[str, str]],
    wrong_items: set[str],
    bad: list[Problem],
) -> dict[tuple[str, str], Shares]:
    """Shares of each country and item that has no problem. Fractions, or per cent."""
    by_id = {item.id: item for item in items}
    cells: dict[tuple[str, str], list[_Line]] = defaultdict(list)
    for line in lines:
        cells[line.iso3, line.item].append(line)
    shares = {}
    for (iso3, item_id), group in cells.items():
        if item_id in wrong_items or (iso3, item_id) in spoilt or ("", item_id) in spoilt:
            continue
        item = by_id[item_id]
        twice = [code for code, n in Counter(line.code for line in group).items() if n > 1]
        if twice:
            line = [line.line for line in group if line.code == twice[0]][1]
            bad.append(
                Problem(line, "code", f"{iso3}, {item_id} has code {twice[0]} a second time.")
            )
            continue
        by_code = {line.code: line.share for line in group}
        values = np.array([by_code.get(code, 0.0) for code in item.codes])
        total = values.sum()
        if abs(total - 100) <= 100 * TOLERANCE:
            values, total = values / 100, total / 100
        if abs(total - 1) > TOLERANCE:
            bad.append(
                Problem(
                    group[0].line,
                    "share",
                    f"the shares of {iso3}, {item_id} add up to {total:.4g}, not to 1 (or 100).",
                )
            )
            continue
        n = max(line.n for line in group)
        shares[iso3, item_id] = Shares(values / total, n, bases.get((iso3, item_id), "weighted"))
    return shares


def _shown(cell: str) -> str:
    sign = cell.strip()[:1] if is_formula(cell) else ""  # which clean_text takes away
    return f"“{sign}{clean_text(cell, 40)}”" if cell else "an empty cell"


def _number(text: str) -> float | None:
    try:
        number = float(text.replace(",", ".") if text.count(",") == 1 else text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _whole(text: str) -> int | None:
    number = _number(text) if len(text) <= 20 else None
    return int(number) if number is not None and number == int(number) else None

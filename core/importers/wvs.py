"""World Values Survey wave 7: respondents' answers as people really have them, made into shares.

Read are the official cross-national CSV (short names, commas), the country files (semicolons;
codes, or answers in words), tables that went through Excel ("Q1: Important in life: …") or R (a
row number without a name), and the inverted edition as far as its items are not inverted. DuckDB
reads the columns that are needed and counts; no respondent leaves the file unless asked for.

A share is the sum of the weights of those who gave an answer, divided by that of all who gave a
valid one: the definition of the bundled survey (data/survey/README.md), so the same file gives
the same shares.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from core.errors import ImportRefused
from core.home import DATA
from core.importers import files, places, reading
from core.importers.files import DELIMITERS, Sheet
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
from core.sanitize import clean_text
from core.survey.survey import Culture, Item, Shares

KIND = "wvs"
SURVEY_ID = "wvs7-import"
MIN_CELL = 50  # respondents in a group below which its answers are not shown
# A country's answers to an item rest on at least this many people; the bundled survey leaves out
# Lebanon Q105 (four people) and keeps Maldives Q146 (72).
MIN_VALID = 10
CITATION = (
    "Haerpfer, C., Inglehart, R., Moreno, A., Welzel, C., Kizilova, K., Diez-Medrano J., M. Lagos, "
    "P. Norris, E. Ponarin & B. Puranen et al. (eds.). 2022. World Values Survey: Round Seven – "
    "Country-Pooled Datafile. Madrid, Spain & Vienna, Austria: JD Systems Institute & WVSA "
    "Secretariat. Cite the version you downloaded."
)

MISSING = {
    -1: "do not know (−1)",
    -2: "no answer (−2)",
    -3: "not applicable (−3)",
    -4: "not asked (−4)",
    -5: "missing or not available (−5)",
    -999: "missing (−999)",
    -9999: "missing (−9999)",
}
MISSING_WORDS = (
    (re.compile(r"^(?:do not|don ?t|dont) know|^dk\b"), -1),
    (re.compile(r"^no answer|^refused|^na$"), -2),
    (re.compile(r"^not applicable|^inap\b|^n a$"), -3),
    (re.compile(r"^not asked"), -4),
    (re.compile(r"^missing|^not available|^unknown$"), -5),
)

# What a column is for -> names it goes by, in order of preference.
COLUMNS = {
    "country": ("B_COUNTRY_ALPHA",),
    "country_number": ("B_COUNTRY",),
    "weight": ("W_WEIGHT",),
    "year": ("A_YEAR",),
    "wave": ("A_WAVE",),
    "interview": ("D_INTERVIEW",),
    "sex": ("Q260",),
    "age": ("Q262",),
    "age_group": ("X003R2",),
    "education": ("Q275R",),
    "education_level": ("Q275",),
}

SEXES = {1: "Men", 2: "Women"}
AGES = {1: "16–29", 2: "30–49", 3: "50 and older"}
EDUCATIONS = {1: "Lower education", 2: "Middle education", 3: "Higher education"}
GROUPS = {"sex": SEXES, "age": AGES, "education": EDUCATIONS}


@dataclass(frozen=True)
class Options:
    """How to read a file. columns: what a column is for ("country", "weight", "Q1") -> its name
    in the file, where the importer did not find it itself. weighted: use W_WEIGHT. groups: also
    shares by sex, age and education. keep_rows: keep respondents' rows too. words: item -> answer
    in words -> code, for label files whose words are not known."""

    columns: Mapping[str, str] = field(default_factory=dict)
    weighted: bool = True
    groups: bool = True
    min_cell: int = MIN_CELL
    keep_rows: bool = False
    words: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    name: str = ""


class _Layout(NamedTuple):
    """Where in a sheet the items and the other columns are, and what was noticed."""

    sheet: Sheet
    items: dict[str, int]
    others: dict[str, int]
    style: str
    inverted: tuple[str, ...]

    @property
    def wanted(self) -> dict[str, int]:
        """Columns for a query: the others by their use, items by their id, and the first three,
        where a row of averages says what it is."""
        first = {f"first{place}": place for place in range(min(3, len(self.sheet.columns)))}
        return {**first, **self.others, **self.items}


def knows(columns: Sequence[str]) -> bool:
    """Does a sheet with these columns look like the survey's respondents?"""
    short = {short_name(column) for column in columns}
    return bool(short & {"B_COUNTRY", "B_COUNTRY_ALPHA", "D_INTERVIEW", "Q1", "Q1P"})


def check(path: files.Given, options: Options = Options()) -> Check:
    """What the file is, which of its columns are used, how many people of which countries."""
    what = "World Values Survey, wave 7 (respondents)"
    try:
        with files.opened(path) as source:
            layout = _layout(files.sheet(source), options)
            people = _people(layout)
    except ImportRefused as error:
        return refusal(KIND, what, str(error))
    sheet = layout.sheet
    problems = [] if people.countries else ["No row names a country that we know."]
    missing = [item.id for item in places.bundled().items if item.id not in layout.items]
    missing += [COLUMNS[use][0] for use in ("weight", "sex", "age") if not _has(layout, use)]
    return Check(
        kind=KIND,
        what=f"{what}: {how_many(people.n, 'person', 'people')}, "
        f"{how_many(len(people.countries), 'country', 'countries')}",
        can_import=not problems,
        problems=tuple(problems),
        notes=(*source.notes, *sheet.notes, *_layout_notes(layout), *people.notes()),
        facts={
            "Encoding": source.encoding,
            "Delimiter": DELIMITERS[sheet.delimiter],
            "Column names": layout.style,
            "Questions": f"{len(layout.items)} of {len(places.bundled().items)}",
            "Weights": "W_WEIGHT" if _has(layout, "weight") else "none",
            "Countries": ", ".join(
                f"{places.culture(iso3).name} ({n:,})" for iso3, n in people.countries.items()
            ),
        },
        rows=people.rows,
        found=(*layout.others, *layout.items),
        missing=tuple(missing),
    )


def preview(path: files.Given, n: int = 20, options: Options = Options()) -> pd.DataFrame:
    """The first rows of the columns that are used, as they are in the file."""
    with files.opened(path) as source:
        layout = _layout(files.sheet(source), options)
        wanted = {**layout.others, **dict(list(layout.items.items())[:12])}
        return reading.ask(
            layout.sheet, wanted, "select * from rows limit $n", {"n": max(0, int(n))}
        )


def unknown_words(path: files.Given, options: Options = Options()) -> pd.DataFrame:
    """Answers in words that no code was found for: item, answer, n (people), commonest first.

    Empty for a file of codes, which is told from its first rows.
    """
    with files.opened(path) as source:
        layout = _layout(files.sheet(source), options)
        listed = ", ".join(f'"{item}"' for item in layout.items)
        asked = f"""select item, answer, count(*) as n
            from (unpivot (select {listed} from (select * from rows {{some}})) on {listed}
                  into name item value answer)
            where try_cast(replace(answer, ',', '.') as double) is null
            group by all order by n desc, item, answer"""
        first = reading.ask(layout.sheet, layout.wanted, asked.format(some="limit 2000"))
        cells = (
            reading.ask(layout.sheet, layout.wanted, asked.format(some="")) if len(first) else first
        )
    unknown = []
    for item_id, said in cells.groupby("item", sort=False):
        _, unread = _codes(places.bundled().item(item_id), said, options.words.get(item_id, {}))
        unknown.append(said[said["answer"].isin(unread)])
    return pd.concat(unknown, ignore_index=True) if unknown else cells


def read(path: files.Given, options: Options = Options(), on_phase: OnPhase = quiet) -> Imported:
    """Shares of every country and item. Raises ImportRefused where nothing can be made of it.

    Tables of the result: "effective" (iso3, n, design_effect, n_effective: Kish's, of the whole
    sample), "cells" (the same per item), "unweighted" (iso3, item, code, share, n_valid),
    "groups" (iso3, item, by, group, code, share, n_valid, n_effective; groups of fewer than
    min_cell people are left out), and "respondents" where rows are kept.
    """
    on_phase("Opening the file")
    with files.opened(path) as source:
        layout = _layout(files.sheet(source), options)
        on_phase("Counting people")
        people = _people(layout)
        if not people.countries:
            raise ImportRefused(f"{source.name}: no row names a country that we know.")
        on_phase(f"Counting the answers of {people.n:,} people")
        counted = _count(layout, people, options)
        readings = _readings(counted, options)
        rows = None
        if options.keep_rows:
            on_phase("Keeping each person's answers")
            rows = _respondents(layout, people, readings, options)
    on_phase("Making shares")
    return _imported(layout, people, counted, readings, rows, options)


# -- which column is which -------------------------------------------------------------------------

_NAME = re.compile(r"^([A-Za-z][A-Za-z0-9_]*)(?:\s*:.*|[.–-]\s+\S.*|\s+\S.*)?$")


def short_name(header: str) -> str:
    """The variable's name: "Q1" of "Q1", "Q1: Important in life: Family" and "Q1 Important …".

    Q1P stays Q1P: in the inverted edition it runs the other way round.
    """
    match = _NAME.match(header.strip())
    return match[1].upper() if match else header.strip()


def _layout(sheet: Sheet, options: Options) -> _Layout:
    short = [short_name(column) for column in sheet.columns]
    places_of: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(short):
        places_of[name].append(place)
    exact = {column: place for place, column in reversed(list(enumerate(sheet.columns)))}

    def place_of(use: str, names: Iterable[str]) -> int | None:
        if use in options.columns:
            chosen = " ".join(options.columns[use].split())
            if chosen not in exact:
                raise ImportRefused(f"{sheet.source.name} has no column {chosen!r}.")
            return exact[chosen]
        for name in names:
            if len(places_of.get(name, ())) > 1:
                raise ImportRefused(
                    f"{sheet.source.name} has the column {name} {len(places_of[name])} times. "
                    "Keep one of them."
                )
            if name in places_of:
                return places_of[name][0]
        return None

    items = {}
    for item in places.bundled().items:
        if (place := place_of(item.id, [item.id])) is not None:
            items[item.id] = place
    others = {}
    for use, names in COLUMNS.items():
        if (place := place_of(use, names)) is not None:
            others[use] = place
    inverted = tuple(item.id for item in places.bundled().items if f"{item.id}P" in places_of)
    if not items:
        raise ImportRefused(_no_items(sheet, short, inverted))
    if "country" not in others and "country_number" not in others:
        raise ImportRefused(
            f"{sheet.source.name} has no column B_COUNTRY_ALPHA or B_COUNTRY, which say the "
            "country."
        )
    return _Layout(sheet, items, others, _style(sheet, items), inverted)


def _no_items(sheet: Sheet, short: Sequence[str], inverted: Sequence[str]) -> str:
    if inverted:
        return (
            f"{sheet.source.name} is the inverted edition: its items run the other way round. "
            "Download the ordinary edition of wave 7."
        )
    if sum(bool(re.fullmatch(r"V\d+[A-Z]?", name)) for name in short) > 20:
        return f"{sheet.source.name} looks like an earlier wave (V1, V2, …). Only wave 7 is read."
    if sum(bool(re.fullmatch(r"[A-Z]\d{3}(_\d+)?", name)) for name in short) > 20:
        return (
            f"{sheet.source.name} looks like the time series or the joint EVS/WVS file (A001, …). "
            "Only the file of wave 7 is read."
        )
    return f"{sheet.source.name} has no column of wave 7 (Q1 to Q259)."


def _style(sheet: Sheet, items: Mapping[str, int]) -> str:
    names = [sheet.columns[place] for place in items.values()]
    if sum(":" in name.split(" ")[0] for name in names) > len(names) / 2:
        return "names and labels (Q1: …)"
    if sum(" " in name for name in names) > len(names) / 2:
        return "names and labels (Q1 …)"
    return "short names (Q1)"


def _layout_notes(layout: _Layout) -> list[str]:
    notes = []
    if layout.inverted:
        some = ", ".join(f"{item}P" for item in layout.inverted[:3])
        notes.append(
            f"This is the inverted edition. {len(layout.inverted)} items run the other way round "
            f"({some}, …) and are left out; the ordinary edition has them all."
        )
    if not _has(layout, "weight"):
        notes.append("There is no W_WEIGHT; every person counts the same.")
    return notes


def _has(layout: _Layout, use: str) -> bool:
    return use in layout.others or (use == "age" and "age_group" in layout.others)


# -- who the respondents are -----------------------------------------------------------------------

_SUMMARY = (
    r"^(avg|average|mean|total|sum|min|minimum|max|maximum|std|stdev|median|count|n|valid n)\.?$"
)


class _People(NamedTuple):
    """Rows of the file: how many, in which countries, and which were left out.

    keys: a frame that says which (country cell, country number cell) is which iso3.
    """

    rows: int
    countries: dict[str, int]
    years: dict[str, int]
    keys: pd.DataFrame
    summaries: int
    nowhere: int
    unknown: tuple[str, ...]
    other_waves: int

    @property
    def n(self) -> int:
        return sum(self.countries.values())

    def notes(self) -> list[str]:
        notes = []
        if self.summaries:
            notes.append(f"Left out: {how_many(self.summaries, 'row')} of averages or totals.")
        if self.nowhere:
            some = ", ".join(self.unknown[:5])
            rows = how_many(self.nowhere, "row")
            notes.append(f"Left out: {rows} without a country we know ({some}).")
        if self.other_waves:
            notes.append(f"Left out: {how_many(self.other_waves, 'row')} of other waves.")
        return notes

    def dropped(self) -> dict[str, int]:
        found = {
            "rows of averages or totals": self.summaries,
            "rows without a known country": self.nowhere,
            "rows of other waves": self.other_waves,
        }
        return {reason: count for reason, count in found.items() if count}


def _column(layout: _Layout, use: str) -> str:
    return f'rows."{use}"' if use in layout.others else "null::varchar"


def _is_summary(layout: _Layout) -> str:
    """SQL: a row below the data that holds averages. An interview has a whole number."""
    tests = [
        f"regexp_matches(lower(coalesce(rows.\"{alias}\", '')), '{_SUMMARY}')"
        for alias in (*(a for a in layout.wanted if a.startswith("first")), "interview", "country")
        if alias in layout.wanted
    ]
    if "interview" in layout.wanted:
        number = f"try_cast({_column(layout, 'interview')} as double)"
        tests.append(f"coalesce({number} != floor({number}), false)")
    return "(" + " or ".join(tests) + ")"


def _is_other_wave(layout: _Layout) -> str:
    wave = _column(layout, "wave")
    return f"(coalesce(try_cast({wave} as double), 7) not in (7, -5))"


def _people(layout: _Layout) -> _People:
    found = reading.ask(
        layout.sheet,
        layout.wanted,
        f"""select {_column(layout, "country")} as country,
              {_column(layout, "country_number")} as number,
              {_is_summary(layout)} as summary, {_is_other_wave(layout)} as other_wave,
              {_column(layout, "year")} as year, count(*) as n
            from rows group by all""",
    )
    countries: Counter[str] = Counter()
    years: dict[str, Counter[int]] = defaultdict(Counter)
    keys: dict[tuple[str, str], str] = {}
    summaries = nowhere = other_waves = 0
    unknown: Counter[str] = Counter()
    for row in found.astype(object).where(found.notna(), None).itertuples():
        if row.summary:
            summaries += row.n
            continue
        iso3 = next(
            (iso3 for name in (row.country, row.number) if name and (iso3 := places.find(name))),
            None,
        )
        if iso3 is None:
            nowhere += row.n
            unknown[clean_text(row.country or row.number or "empty", 40)] += row.n
            continue
        if row.other_wave:
            other_waves += row.n
            continue
        countries[iso3] += row.n
        keys[row.country or "", row.number or ""] = iso3
        year = re.match(r"\d{4}", row.year or "")
        if year:
            years[iso3][int(year[0])] += row.n
    return _People(
        rows=int(found["n"].sum()),
        countries=dict(sorted(countries.items())),
        years={iso3: min(y, key=lambda v: (-y[v], v)) for iso3, y in years.items()},
        keys=pd.DataFrame(
            [(*key, iso3) for key, iso3 in keys.items()], columns=["country", "number", "iso3"]
        ).astype("str"),
        summaries=summaries,
        nowhere=nowhere,
        unknown=tuple(name for name, _ in unknown.most_common()),
        other_waves=other_waves,
    )


# -- counting --------------------------------------------------------------------------------------

# Weights are added up as whole billionths, so that the sum does not depend on the order in which
# rows are read and the same file always gives the same shares.
UNIT = 1_000_000_000


def _sources(layout: _Layout, options: Options) -> str:
    """SQL: respondents with iso3, weight in billionths, groups, and the items."""

    def number(use: str) -> str:
        return f"try_cast(replace({_column(layout, use)}, ',', '.') as double)"

    def words(use: str, starts: Mapping[str, int]) -> str:
        tests = " ".join(
            f"when lower({_column(layout, use)}) like '{start}%' then {group}"
            for start, group in starts.items()
        )
        return f"case {tests} end"

    weight = number("weight") if options.weighted else "null::double"
    usable = f"{weight} >= 0 and {weight} < 1000"

    def code(use: str) -> str:
        return f"try_cast({number(use)} as tinyint)"

    sex = f"coalesce({code('sex')}, {words('sex', {'male': 1, 'female': 2})})"
    age = number("age")
    age = f"""case when {age} between 10 and 29 then 1 when {age} between 30 and 49 then 2
                   when {age} between 50 and 120 then 3
                   when {code("age_group")} in (1, 2, 3) then {code("age_group")}
              end"""
    level = number("education_level")
    three = words("education", {"low": 1, "mid": 2, "high": 3, "upp": 3})
    education = f"""case when {code("education")} in (1, 2, 3) then {code("education")}
        when {three} is not null then {three}
        when {level} between 0 and 2 then 1 when {level} between 3 and 4 then 2
        when {level} between 5 and 8 then 3 end"""
    items = ", ".join(f'rows."{item}"' for item in layout.items)
    return f"""
        select k.iso3,
          case when {usable} then round({weight} * {UNIT})::bigint else {UNIT} end as w,
          not coalesce({usable}, false) as weightless,
          {sex} as sex, {age} as age, {education} as education, {items}
        from rows join keys k on coalesce({_column(layout, "country")}, '') = k.country
          and coalesce({_column(layout, "country_number")}, '') = k.number
        where not {_is_summary(layout)} and not {_is_other_wave(layout)}"""


def _by_group(layout: _Layout, options: Options) -> bool:
    """Groups are asked for, and the file says who is in which."""
    uses = ("sex", "age", "age_group", "education", "education_level")
    return options.groups and any(use in layout.others for use in uses)


class _Counted(NamedTuple):
    """answers: one row per iso3, item and cell text: n, w, ww, and the same per group (n_sex1 …).
    people: one row per iso3: n, w, ww, weightless. w in billionths, ww in weight squared."""

    answers: pd.DataFrame
    people: pd.DataFrame


def _count(layout: _Layout, people: _People, options: Options) -> _Counted:
    def sums(suffix: str = "", where: str = "") -> str:
        keep = f" filter ({where})" if where else ""
        square = f"sum((w / {UNIT}::double) * (w / {UNIT}::double))"
        return (
            f"count(*){keep} as n{suffix}, coalesce(sum(w){keep}, 0)::double as w{suffix}, "
            f"coalesce({square}{keep}, 0) as ww{suffix}"
        )

    counted = [sums()]
    if _by_group(layout, options):
        counted += [
            sums(f"_{by}{code}", f"{by} = {code}") for by, names in GROUPS.items() for code in names
        ]
    tables = {"keys": people.keys}
    sources = _sources(layout, options)
    listed = ", ".join(f'"{item}"' for item in layout.items)
    answers = reading.ask(
        layout.sheet,
        layout.wanted,
        f"""select iso3, item, answer, {", ".join(counted)}
            from (unpivot (select * exclude weightless from ({sources})) on {listed}
                  into name item value answer)
            group by iso3, item, answer""",
        tables=tables,
    )
    totals = reading.ask(
        layout.sheet,
        layout.wanted,
        f"""select iso3, {sums()}, count(*) filter (weightless) as weightless
            from ({sources}) group by iso3 order by iso3""",
        tables=tables,
    )
    return _Counted(answers, totals)


def _respondents(
    layout: _Layout, people: _People, readings: Mapping[str, _Reading], options: Options
) -> pd.DataFrame:
    """Respondents, one row each: iso3, weight, sex, age, education (group codes), and the code of
    every item (missing codes as they are, null where a cell was not understood)."""

    def coded(batch: pa.RecordBatch) -> pa.Table:
        columns = {name: batch.column(name) for name in batch.schema.names}
        for item in layout.items:
            columns[item] = _coded(columns[item], readings[item].codes if item in readings else {})
        return pa.table(columns)

    parts = reading.in_batches(
        layout.sheet,
        layout.wanted,
        f"select * exclude weightless from ({_sources(layout, options)})",
        {"keys": people.keys},
        coded,
    )
    small = {pa.int16(): pd.Int16Dtype()}  # a code may be missing
    frame = pa.concat_tables(parts).to_pandas(types_mapper=small.get)
    frame = frame.rename(columns={"w": "weight"})
    frame["weight"] /= UNIT
    return frame.sort_values("iso3", kind="stable", ignore_index=True)


def _coded(cells: pa.Array, codes: Mapping[str, int]) -> pa.Array:
    """Texts as codes; each different text is looked up once."""
    told = cells.dictionary_encode()
    known = pa.array([codes.get(text) for text in told.dictionary.to_pylist()], pa.int16())
    return known.take(told.indices)


# -- from cells to shares --------------------------------------------------------------------------


class _Reading(NamedTuple):
    """How one item's cells were read: text -> code, and the texts that were not understood."""

    codes: dict[str, int]
    unread: list[str]


def _readings(counted: _Counted, options: Options) -> dict[str, _Reading]:
    bundled = places.bundled()
    return {
        item_id: _codes(bundled.item(item_id), cells, options.words.get(item_id, {}))
        for item_id, cells in counted.answers.groupby("item", sort=False)
    }


def _imported(
    layout: _Layout,
    people: _People,
    counted: _Counted,
    readings: Mapping[str, _Reading],
    rows: pd.DataFrame | None,
    options: Options,
) -> Imported:
    bundled = places.bundled()
    dropped = Counter(people.dropped())
    notes = [
        *layout.sheet.source.notes,
        *layout.sheet.notes,
        *_layout_notes(layout),
        *people.notes(),
    ]
    weightless = int(counted.people["weightless"].sum())
    is_weighted = options.weighted and _has(layout, "weight")
    if is_weighted and weightless:
        some = how_many(weightless, "person has", "people have")
        notes.append(f"{some} no usable weight and count as 1.")
    basis = "weighted" if is_weighted else "unweighted"

    valid, left_out = [], []
    for item_id, cells in counted.answers.groupby("item", sort=False):
        item = bundled.item(item_id)
        codes, unread = readings[item_id]
        known = cells["answer"].map(codes)
        for code, n in cells["n"].groupby(known).sum().items():
            if code in MISSING:
                dropped[MISSING[code]] += int(n)
            elif code not in item.codes:
                dropped["a number that is not an answer to the question"] += int(n)
        lost, all_answers = int(cells["n"][known.isna()].sum()), int(cells["n"].sum())
        if lost:
            dropped["cells that are no answer to the question"] += lost
        if lost > 0.01 * all_answers:
            left_out.append(f"{item_id} (“{clean_text(unread[0], 60)}”)")
            continue
        keep = known.isin(item.codes)
        valid.append(cells[keep].assign(code=known[keep].astype(int)))
    if left_out:
        notes.append(
            f"Left out, because their answers are in words we do not know: {', '.join(left_out)}. "
            "Say which code each stands for, or use the file with codes."
        )
    blank = people.n * len(layout.items) - int(counted.answers["n"].sum())
    if blank:
        dropped["empty cells"] += blank
    if not valid:
        raise ImportRefused(
            f"{layout.sheet.source.name}: no item has answers that can be read. "
            + (f"The first: {left_out[0]}." if left_out else "")
        )
    answers = (
        pd.concat(valid).drop(columns="answer").groupby(["iso3", "item", "code"], as_index=False)
    ).sum()

    shares, cells, few = _shares(answers, bundled.items, basis)
    if few:
        dropped[f"answers where fewer than {MIN_VALID} people of a country gave one"] += few
    plain = answers.assign(w=answers["n"] * float(UNIT))
    tables = {
        "effective": _effective(counted.people),
        "cells": cells,
        "unweighted": _tidy(_shares(plain, bundled.items, "unweighted")[0], bundled),
    }
    if options.groups:
        small = 0
        tables["groups"] = pd.DataFrame(columns=GROUP_COLUMNS)
        if _by_group(layout, options):
            tables["groups"], small = _groups(answers, bundled.items, options.min_cell)
        if small:
            notes.append(
                f"Left out: {how_many(small, 'cell')} by sex, age or education with fewer than "
                f"{options.min_cell} people."
            )
    if rows is not None:
        tables["respondents"] = rows
    asked = {item_id for _, item_id in shares}
    items = [
        replace(item, position=position)
        for position, item in enumerate(i for i in bundled.items if i.id in asked)
    ]
    if not items:
        raise ImportRefused(f"{layout.sheet.source.name} holds no valid answers.")
    cultures = [
        places.culture(iso3, year=people.years.get(iso3), n=n)
        for iso3, n in people.countries.items()
        if any(key[0] == iso3 for key in shares)
    ]
    survey = make_survey(
        SURVEY_ID,
        clean_text(options.name, 100) or _name(cultures),
        items,
        cultures,
        shares,
        core_ids=[item_id for item_id in bundled.core_ids if item_id in asked]
        or core_of(items, shares),
        citation=CITATION,
    )
    return Imported(survey, (), dict(dropped), tuple(notes), tables)


def _name(cultures: Sequence[Culture]) -> str:
    names = [culture.name for culture in cultures]
    where = ", ".join(names) if len(names) <= 3 else f"{len(names)} countries"
    return f"World Values Survey 7, imported: {where}"


def _shares(
    answers: pd.DataFrame, items: Sequence[Item], basis: str
) -> tuple[dict[tuple[str, str], Shares], pd.DataFrame, int]:
    """Shares per (iso3, item); a frame of n, design effect and n_effective; answers left out."""
    by_id = {item.id: item for item in items}
    order = {item.id: place for place, item in enumerate(items)}
    weights: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    people: Counter[tuple[str, str]] = Counter()
    squares: dict[tuple[str, str], float] = defaultdict(float)
    columns = (answers[name].tolist() for name in ("iso3", "item", "code", "n", "w", "ww"))
    for iso3, item_id, code, n, w, ww in zip(*columns, strict=True):
        weights[iso3, item_id][code] = w
        people[iso3, item_id] += n
        squares[iso3, item_id] += ww
    shares, facts, few = {}, [], 0
    for key in sorted(weights, key=lambda key: (key[0], order[key[1]])):
        n, by_code = people[key], weights[key]
        values = np.array([by_code.get(code, 0.0) for code in by_id[key[1]].codes])
        if n < MIN_VALID or values.sum() <= 0:
            few += n
            continue
        shares[key] = Shares(values / values.sum(), n, basis)
        facts.append((*key, n, *_kish(n, values.sum() / UNIT, squares[key])))
    frame = pd.DataFrame(facts, columns=["iso3", "item", "n", "design_effect", "n_effective"])
    return shares, frame, few


def _kish(n: float, weights: float, squares: float) -> tuple[float, float]:
    """(design effect, effective n): n_eff = (sum w)² / sum w², deff = n / n_eff (Kish 1965)."""
    if weights <= 0 or squares <= 0:
        return 1.0, float(n)
    effective = weights**2 / squares
    return n / effective, effective


def _effective(people: pd.DataFrame) -> pd.DataFrame:
    rows = [
        (row.iso3, int(row.n), *_kish(row.n, row.w / UNIT, row.ww)) for row in people.itertuples()
    ]
    return pd.DataFrame(rows, columns=["iso3", "n", "design_effect", "n_effective"])


def _tidy(shares: Mapping[tuple[str, str], Shares], survey) -> pd.DataFrame:
    rows = [
        (iso3, item_id, code, share, cell.n_valid)
        for (iso3, item_id), cell in shares.items()
        for code, share in zip(survey.item(item_id).codes, cell.values.tolist(), strict=True)
    ]
    return pd.DataFrame(rows, columns=["iso3", "item", "code", "share", "n_valid"])


GROUP_COLUMNS = ["iso3", "item", "by", "group", "code", "share", "n_valid", "n_effective"]


def _groups(
    answers: pd.DataFrame, items: Sequence[Item], min_cell: int
) -> tuple[pd.DataFrame, int]:
    """Shares by sex, age and education, and how many cells were too small to show."""
    codes = {item.id: item.codes for item in items}
    keys = ["iso3", "item"]
    # Codes that nobody gave have share 0, as in the survey itself.
    every = [
        (*key, code)
        for key in answers[keys].drop_duplicates().itertuples(index=False)
        for code in codes[key.item]
    ]
    grid = pd.DataFrame(every, columns=[*keys, "code"]).merge(answers, how="left").fillna(0)
    cell = grid.groupby(keys, sort=False).ngroup().to_numpy()
    parts, small = [], 0
    for by, names in GROUPS.items():
        for number, name in names.items():
            n, w, ww = (
                np.bincount(cell, grid[f"{kind}_{by}{number}"]) for kind in ("n", "w", "ww")
            )
            small += int(((n > 0) & (n < min_cell)).sum())
            shown = ((n >= min_cell) & (w > 0))[cell]
            at = cell[shown]
            part = grid.loc[shown, [*keys, "code"]]
            parts.append(
                part.assign(
                    by=by,
                    group=name,
                    share=grid.loc[shown, f"w_{by}{number}"] / w[at],
                    n_valid=n[at].astype(int),
                    n_effective=(w[at] / UNIT) ** 2 / ww[at],
                )
            )
    return pd.concat(parts, ignore_index=True)[GROUP_COLUMNS], small


# -- from what a cell says to a code ---------------------------------------------------------------

# "3", "3.0", "3 Agree", "3.- Agree"; not "3.4".
_LEADING = re.compile(r"^(-?\d{1,5})(?:[.,]0+)?(?:\s*[.:)–-]+\s*[^\d\s].*|\s+\D.*)?$")
_ANSWER_WORDS = DATA / "wvs7_answer_words.json"
_SKIPPED = {"the", "a", "an", "of", "or", "it", "i", "to", "for", "your", "you", "is", "s"}


def _codes(item: Item, cells: pd.DataFrame, given: Mapping[str, int]) -> _Reading:
    """Cell text -> code, and the texts that were not understood, commonest first."""
    counts = cells.groupby("answer")["n"].sum().sort_values(ascending=False)
    codes: dict[str, int] = {}
    words = []
    for text in counts.index:
        if text in given:
            codes[text] = int(given[text])
        elif match := _LEADING.match(text):
            codes[text] = int(match[1])
        elif (code := _missing_words(text)) is not None:
            codes[text] = code
        else:
            words.append(text)
    if words:
        codes |= _words_to_codes(item, words)
    return _Reading(codes, [text for text in words if text not in codes])


def _missing_words(text: str) -> int | None:
    folded = re.sub(r"[^\w]+", " ", text.casefold().replace("´", "'")).strip()
    return next((code for pattern, code in MISSING_WORDS if pattern.match(folded)), None)


def _words(text: str) -> frozenset[str]:
    folded = re.sub(r"[’´`']", "", text.casefold())
    return frozenset(re.findall(r"\w+", folded)) - _SKIPPED


def _patterns(item: Item) -> list[tuple[frozenset[str], int]]:
    """Sets of words that stand for a code: our own labels, and the survey's usual ones."""
    found = []
    for option in item.options:
        label = re.sub(r"^\d+\s*", "", option.label).strip("() ")
        if label:
            found.append((_words(label), option.code))
    number = int(re.match(r"Q(\d+)", item.id)[1])
    for entry in json.loads(_ANSWER_WORDS.read_text(encoding="utf-8")):
        first, last = entry["items"]
        if first <= number <= last:
            for code, phrases in entry["codes"].items():
                found += [(_words(phrase), int(code)) for phrase in phrases]
    return [(words, code) for words, code in found if words and code in item.codes]


def _words_to_codes(item: Item, texts: Sequence[str]) -> dict[str, int]:
    """The code of each answer in words, where exactly one fits best.

    A pattern fits where all of its words are there; of several the longest wins ("not very
    important" over "very important"). What is left on a number scale are its two ends.
    """
    patterns = _patterns(item)
    codes: dict[str, int] = {}
    for text in texts:
        words = _words(text)
        fits = [(len(pattern), code) for pattern, code in patterns if pattern <= words]
        longest = {code for length, code in fits if length == max(fits)[0]}
        if len(longest) == 1:
            codes[text] = longest.pop()
    left = [text for text in texts if text not in codes]
    ends = [code for code in (item.codes[0], item.codes[-1]) if code not in codes.values()]
    if 0 < len(left) <= len(ends) and len(item.codes) >= 10:
        codes |= _ends(item, left, ends)
    return codes


def _ends(item: Item, texts: Sequence[str], ends: Sequence[int]) -> dict[str, int]:
    """Which text is which end of a number scale, by the words it shares with the end's label."""

    def shared(text: str, code: int) -> int:
        end = item.low if code == item.codes[0] else item.high
        return len(_words(text) & _words(f"{item.option(code).label} {end}"))

    ranked = sorted(
        (
            (sum(shared(text, code) for text, code in zip(texts, chosen, strict=True)), chosen)
            for chosen in permutations(ends, len(texts))
        ),
        reverse=True,
    )
    if ranked[0][0] == 0 or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return {}
    return dict(zip(texts, ranked[0][1], strict=True))

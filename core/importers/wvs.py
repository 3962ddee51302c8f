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

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from core.errors import ImportRefused
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
from core.importers.wvs_answers import MISSING, Reading, codes_of
from core.importers.wvs_shares import (
    GROUP_COLUMNS,
    GROUPS,
    MIN_VALID,
    UNIT,
    effective_sizes,
    group_shares,
    shares_of,
    tidy,
)
from core.sanitize import clean_text
from core.survey.survey import Culture, Shares, Survey

KIND = "wvs"
SURVEY_ID = "wvs7-import"
MIN_CELL = 50  # respondents in a group below which its answers are not shown
CITATION = (
    "Haerpfer, C., Inglehart, R., Moreno, A., Welzel, C., Kizilova, K., Diez-Medrano J., M. Lagos, "
    "P. Norris, E. Ponarin & B. Puranen et al. (eds.). 2022. World Values Survey: Round Seven – "
    "Country-Pooled Datafile. Madrid, Spain & Vienna, Austria: JD Systems Institute & WVSA "
    "Secretariat. Cite the version you downloaded."
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
        _, unread = codes_of(places.bundled().item(item_id), said, options.words.get(item_id, {}))
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
    layout: _Layout, people: _People, readings: Mapping[str, Reading], options: Options
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


def _readings(counted: _Counted, options: Options) -> dict[str, Reading]:
    bundled = places.bundled()
    return {
        item_id: codes_of(bundled.item(item_id), cells, options.words.get(item_id, {}))
        for item_id, cells in counted.answers.groupby("item", sort=False)
    }


class _Valid(NamedTuple):
    """Answers that count. answers: iso3, item, code, n, w, …; dropped: how many did not, and why;
    left_out: items whose answers are in words that nobody knows."""

    answers: pd.DataFrame
    dropped: Counter[str]
    left_out: list[str]


def _valid_answers(layout: _Layout, counted: _Counted, readings: Mapping[str, Reading]) -> _Valid:
    """Raises ImportRefused where no item has an answer that can be read."""
    bundled = places.bundled()
    dropped: Counter[str] = Counter()
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
    if not valid:
        raise ImportRefused(
            f"{layout.sheet.source.name}: no item has answers that can be read. "
            + (f"The first: {left_out[0]}." if left_out else "")
        )
    answers = (
        pd.concat(valid).drop(columns="answer").groupby(["iso3", "item", "code"], as_index=False)
    ).sum()
    return _Valid(answers, dropped, left_out)


def _notes(
    layout: _Layout, people: _People, counted: _Counted, left_out: Sequence[str], weighted: bool
) -> list[str]:
    """What whoever brings the file in has to know, in sentences."""
    notes = [
        *layout.sheet.source.notes,
        *layout.sheet.notes,
        *_layout_notes(layout),
        *people.notes(),
    ]
    weightless = int(counted.people["weightless"].sum())
    if weighted and weightless:
        some = how_many(weightless, "person has", "people have")
        notes.append(f"{some} no usable weight and count as 1.")
    if left_out:
        notes.append(
            f"Left out, because their answers are in words we do not know: {', '.join(left_out)}. "
            "Say which code each stands for, or use the file with codes."
        )
    return notes


def _imported(
    layout: _Layout,
    people: _People,
    counted: _Counted,
    readings: Mapping[str, Reading],
    rows: pd.DataFrame | None,
    options: Options,
) -> Imported:
    bundled = places.bundled()
    weighted = options.weighted and _has(layout, "weight")
    answers, not_valid, left_out = _valid_answers(layout, counted, readings)
    notes = _notes(layout, people, counted, left_out, weighted)
    dropped = Counter(people.dropped())
    dropped.update(not_valid)
    blank = people.n * len(layout.items) - int(counted.answers["n"].sum())
    if blank:
        dropped["empty cells"] += blank

    shares, cells, few = shares_of(answers, bundled.items, "weighted" if weighted else "unweighted")
    if few:
        dropped[f"answers where fewer than {MIN_VALID} people of a country gave one"] += few
    plain = answers.assign(w=answers["n"] * float(UNIT))
    tables = {
        "effective": effective_sizes(counted.people),
        "cells": cells,
        "unweighted": tidy(shares_of(plain, bundled.items, "unweighted")[0], bundled),
    }
    if options.groups:
        small = 0
        tables["groups"] = pd.DataFrame(columns=GROUP_COLUMNS)
        if _by_group(layout, options):
            tables["groups"], small = group_shares(answers, bundled.items, options.min_cell)
        if small:
            notes.append(
                f"Left out: {how_many(small, 'cell')} by sex, age or education with fewer than "
                f"{options.min_cell} people."
            )
    if rows is not None:
        tables["respondents"] = rows
    survey = _survey(layout, people, shares, options)
    return Imported(survey, (), dict(dropped), tuple(notes), tables)


def _survey(
    layout: _Layout, people: _People, shares: Mapping[tuple[str, str], Shares], options: Options
) -> Survey:
    """The survey that was asked of these people: bundled items with shares of the file's own."""
    bundled = places.bundled()
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
    return make_survey(
        SURVEY_ID,
        clean_text(options.name, 100) or _name(cultures),
        items,
        cultures,
        shares,
        core_ids=[item_id for item_id in bundled.core_ids if item_id in asked]
        or core_of(items, shares),
        citation=CITATION,
    )


def _name(cultures: Sequence[Culture]) -> str:
    names = [culture.name for culture in cultures]
    where = ", ".join(names) if len(names) <= 3 else f"{len(names)} countries"
    return f"World Values Survey 7, imported: {where}"

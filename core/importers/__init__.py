"""Bring in other surveys and answers recorded elsewhere: check, preview, read, then import.

Each importer has check(path) -> Check, preview(path, n) -> table, and read(path, options) ->
Imported. Only import_into() writes to the store.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from core.errors import ImportRefused
from core.importers import culturespa, files, globalopinionqa, reading, table, wvs
from core.importers.imported import Check, Imported, OnPhase, RecordedRun, quiet
from core.importers.wvs import MIN_CELL
from core.store.runs import Run
from core.store.store import Store

__all__ = [
    "IMPORTERS",
    "MIN_CELL",
    "Check",
    "Glance",
    "Imported",
    "OnPhase",
    "RecordedRun",
    "glance",
    "import_into",
    "importer",
    "quiet",
    "recognise",
]


class Importer(NamedTuple):
    """One kind of file. looks: what the file looks like. source: where it is from, and its terms.

    module: check(path) -> Check, preview(path, n), Options, read(path, options) -> Imported, and
    knows(columns), whether a sheet with these columns is for it.
    """

    name: str
    looks: str
    source: str
    module: ModuleType


# A sheet goes to the first that knows its columns; "table" takes every one.
IMPORTERS: dict[str, Importer] = {
    "wvs": Importer(
        "World Values Survey, wave 7 (respondents)",
        "One row for each person, with columns such as B_COUNTRY_ALPHA, W_WEIGHT, Q1 to Q259: the "
        "official CSV, a country’s own, or the zip as it was downloaded. People are counted; "
        "their rows are not kept.",
        "www.worldvaluessurvey.org, under Data and documentation, wave 7. Free for non-profit use, "
        "to be cited, and not to be passed on.",
        wvs,
    ),
    "globalopinionqa": Importer(
        "GlobalOpinionQA",
        "One row for each question, with the four columns question, selections, options and "
        "source: the CSV, the Parquet or Arrow file, or the folder of the data set.",
        "huggingface.co/datasets/Anthropic/llm_global_opinions. CC BY-NC-SA 4.0.",
        globalopinionqa,
    ),
    "culturespa": Importer(
        "CultureSPA's files",
        "A folder, or a zip of it, with wvs_questions.json, proportions_group_by_country.json and "
        "recorded answers (wvs_result_….json). The answers become runs that show on every page.",
        "github.com/shaoyangxu/CultureSPA. The questions belong to the World Values Survey.",
        culturespa,
    ),
    "table": Importer(
        "Your own table of questions and shares",
        "One row for each country, question and answer, with its share of people: CSV or Parquet. "
        "Start from the template.",
        "Your own survey, or any published table of shares.",
        table,
    ),
}


def importer(kind: str) -> ModuleType:
    """The importer of a kind; raises ImportRefused for an unknown one."""
    try:
        return IMPORTERS[kind].module
    except KeyError:
        raise ImportRefused(
            f"There is no importer {kind!r}. There are {', '.join(IMPORTERS)}."
        ) from None


class Glance(NamedTuple):
    """What a file looks like by the names in it: the importer's kind, and its columns."""

    kind: str
    columns: tuple[str, ...] = ()


def glance(path: files.Given) -> Glance:
    """Which importer a file is for. Of a file that nobody can read, the one that says so best."""
    try:
        given = path if isinstance(path, files.Source) else files.place(path)
    except ImportRefused:
        return Glance("table")
    try:
        if isinstance(given, Path) and given.is_dir():
            names = {found.name for found in files.inside(given, ".json")}
            study = names & {culturespa.QUESTIONS, culturespa.PROPORTIONS}
            tables = globalopinionqa.data_files(given)
            return Glance("culturespa" if study or (names and not tables) else "globalopinionqa")
        with files.opened(given) as source:
            text = source.format == "text"
            columns = files.sheet(source).columns if text else reading.parquet_columns(source)
    except ImportRefused:
        return Glance("culturespa" if files.is_zip_of(given, ".json") else "table")
    known = (kind for kind, one in IMPORTERS.items() if one.module.knows(columns))
    return Glance(next(known, "table"), columns)


def recognise(path: str | Path) -> Check:
    """The check of the importer that a file looks to be for."""
    return importer(glance(path).kind).check(path)


def import_into(store: Store, imported: Imported, source: str = "") -> dict:
    """Put a survey and its runs in the store: all of it or nothing.

    A run that an earlier import brought in is not brought in again; its id is given.

    Returns {"survey", "version", "new" (False where this version was there already), "items",
    "countries": {ISO3: {"respondents", "items"}}, "runs": [{"id", "method", "countries"}],
    "dropped", "notes"}.
    """
    survey = imported.survey
    folder = store.survey_folder(survey.id, survey.version)
    made = []
    with tempfile.TemporaryDirectory(dir=store.home, prefix=".import-") as unfinished:
        for name, frame in imported.tables.items():
            frame.to_parquet(Path(unfinished) / f"{name}.parquet", index=False)
        with store.transaction():
            new = store.add_survey(survey, source=source)
            if imported.prompts:
                p = imported.prompts
                store.add_prompt_set(p.sha256, p.id, p.name, p.language, dict(p.texts))
            group = None
            for recorded in imported.runs:
                run = _there_already(store, recorded)
                if run is None:
                    run = store.add_run(
                        recorded.settings,
                        planned=len(recorded.answers),
                        name=recorded.name,
                        group=group,
                        kind="imported",
                        facts=recorded.facts,
                    )
                    store.add_answers(run.no, recorded.answers)
                    store.update_run(run.id, state="done")
                group = group or run.group
                made.append(
                    {
                        "id": run.id,
                        "method": run.method,
                        "countries": list(recorded.settings.cultures),
                    }
                )
            if imported.tables:
                shutil.rmtree(folder, ignore_errors=True)
                folder.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(unfinished, folder)
    items_of: dict[str, int] = {}
    for iso3, _ in survey.shares:
        items_of[iso3] = items_of.get(iso3, 0) + 1
    return {
        "survey": survey.id,
        "version": survey.version,
        "new": new,
        "items": len(survey.items),
        "countries": {
            culture.iso3: {"respondents": culture.n, "items": items_of.get(culture.iso3, 0)}
            for culture in survey.cultures
        },
        "runs": made,
        "dropped": dict(imported.dropped),
        "notes": list(imported.notes),
    }


def _there_already(store: Store, recorded: RecordedRun) -> Run | None:
    """The run of an earlier import of the same answers."""
    content = recorded.facts.get("content")
    for run in store.runs(kind="imported") if content else ():
        same = run.facts.get("content") == content and run.settings == recorded.settings
        if same and run.state == "done":
            return run
    return None

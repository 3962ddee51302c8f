"""DuckDB remembers: surveys, runs, answers, scores and jobs. Every query of the product is here.

One process owns the file. Inside it any thread may read or write: each call takes a cursor of
its own (a shared connection refuses concurrent use) and writes take turns. Answers are only ever
added; a run's settings never change. Answers are stored in the item's canonical code order,
whatever order the options were shown in.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from core.errors import PluriscopeError, StoreBusy
from core.prompts import way
from core.survey import Culture, Item, Option, Shares, Survey, load_bundled

BUNDLED_SURVEY = "wvs7"
WRITTEN_SURVEY = "written"  # the source of surveys that a model wrote


def m001_initial(sql: Callable[[str], Any]) -> None:
    sql("""create table surveys (
        id text, version text, name text, citation text, core_ids text[], source text,
        added timestamp, deleted timestamp, primary key (id, version))""")
    sql("""create table items (
        survey text, version text, item text, position integer, topic text, label text,
        question text, scale text, low text, high text, note text,
        codes integer[], options text[], off_scale integer[])""")
    sql("""create table cultures (
        survey text, version text, iso3 text, name text, demonym text, article text,
        continent text, region text, year integer, n integer, in_culturespa boolean,
        languages text[])""")
    sql("""create table shares (
        survey text, version text, iso3 text, item text, shares double[], n_valid integer,
        basis text)""")
    sql("""create table prompt_sets (
        sha256 text primary key, id text, name text, language text, texts json)""")
    sql("create sequence run_numbers")
    sql("""create table runs (
        no integer primary key, id text unique, grp text, kind text, name text, method text,
        model text, settings json, facts json, state text, planned integer,
        answered integer, created timestamp, finished timestamp, deleted timestamp)""")
    # No index on answers: 15 million rows are found by run number through DuckDB's zone maps,
    # because a run's rows lie together; second copies are kept out by add_answers.
    sql("""create table answers (
        run_no integer, iso3 text, item text, number smallint, probs float[], mass float,
        chosen smallint, state text, rule text, text text, seconds float, answered_at timestamp)""")
    sql("""create table scores (
        run_no integer, metric text, topic text, answered integer, version text, iso3 text,
        value double, low double, high double, floor double, ceiling double, others double,
        items integer)""")
    sql("""create table changes (
        a integer, b integer, metric text, topic text, answered integer, version text, iso3 text,
        value double, low double, high double, p double, clear boolean)""")
    sql("""create table jobs (
        id text primary key, kind text, title text, settings json, runs text[], state text,
        position double, phase text, done integer, total integer, rate double,
        error text, details text, created timestamp, started timestamp, finished timestamp)""")


def m002_tuning(sql: Callable[[str], Any]) -> None:
    sql("""create table tunings (
        id text primary key, name text, settings json, counts json, created timestamp,
        deleted timestamp)""")
    sql("""create table questions (
        tuning text, seed integer, no integer, round integer, topic text, question text,
        options text[], raw text, state text, reason text, near text, similarity double)""")
    sql("""create table pairs (
        tuning text, seed integer, teacher text, answers text, iso3 text, item text,
        plain integer, aware integer, plain_probs float[], aware_probs float[],
        distance double, noise double, differs boolean, reason text)""")
    sql("""create table arms (
        tuning text, arm text, seed integer, state text, examples integer, counts json,
        runs text[], facts json, started timestamp, finished timestamp)""")
    sql("""create table training (
        tuning text, arm text, seed integer, iso3 text, step integer, steps integer,
        loss double, rate double, tokens_per_second double, memory_bytes bigint)""")
    sql("""create table adapters (
        id text primary key, tuning text, arm text, seed integer, iso3 text, name text,
        base json, base_revision text, path text, sha256 text, facts json, created timestamp,
        deleted timestamp)""")
    sql("""create table abilities (
        tuning text, arm text, seed integer, record json, measured timestamp)""")


def m003_translations(sql: Callable[[str], Any]) -> None:
    sql("create table translations (sha256 text primary key, language text, texts json)")


def m004_results(sql: Callable[[str], Any]) -> None:
    sql("create table results (subject text primary key, key text, record json)")


def m005_time_worked(sql: Callable[[str], Any]) -> None:
    sql("alter table jobs add column worked double default 0")  # seconds, pauses left out
    sql("""update jobs set worked = epoch(finished - started)
           where state = 'done' and finished > started""")


MIGRATIONS = [m001_initial, m002_tuning, m003_translations, m004_results, m005_time_worked]


@dataclass(frozen=True)
class Run:
    """One method of one asking of one model. `settings` and `facts` are plain JSON records.

    state: queued, running, stopped, interrupted, failed, done. planned: answers it is to hold;
    answered: answers it holds.
    """

    no: int
    id: str
    group: str
    kind: str  # "survey", "question", "imported", "bench"
    name: str
    method: str
    model: str
    settings: dict
    facts: dict
    state: str
    planned: int
    answered: int
    created: datetime
    finished: datetime | None
    deleted: datetime | None

    @property
    def way(self) -> str:
        """How it was asked, in words."""
        return way(self.settings)


@dataclass(frozen=True)
class Answer:
    """One answer as it came.

    number: which option order or sample. probs: over the item's options in canonical code order
    (empty for written answers); mass: what the options weighed before normalising. chosen: a code,
    or None where the answer was refused or could not be read. state: "answered", "refused" or
    "unparseable". rule: how it was scored or parsed. text: what was written.
    """

    iso3: str
    item: str
    number: int
    probs: tuple[float, ...]
    mass: float | None
    chosen: int | None
    state: str
    rule: str
    text: str | None
    seconds: float | None

    def key(self) -> tuple[str, str, int]:
        return self.iso3, self.item, self.number


ANSWERS = pa.schema(
    [
        ("run_no", pa.int32()),
        ("iso3", pa.string()),
        ("item", pa.string()),
        ("number", pa.int16()),
        ("probs", pa.list_(pa.float32())),
        ("mass", pa.float32()),
        ("chosen", pa.int16()),
        ("state", pa.string()),
        ("rule", pa.string()),
        ("text", pa.string()),
        ("seconds", pa.float32()),
        ("answered_at", pa.timestamp("us")),
    ]
)


JOB_FIELDS = {
    *("title", "state", "position", "phase", "done", "total", "rate"),
    *("error", "details", "started", "finished", "worked"),
}


ARM_FIELDS = {"state", "examples", "counts", "runs", "facts", "started", "finished"}
EMPTIED = '{"emptied": true}'  # the counts of a tuning of which only the origin is kept
JSON_COLUMNS = {"settings", "counts", "facts", "base", "record"}


class Store:
    """Open with a folder (PLURISCOPE_HOME); raises StoreBusy where another process holds it."""

    def __init__(self, home: Path | str, *, holder: str = "Pluriscope"):
        self.home = Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.path = self.home / "pluriscope.duckdb"
        self._write = threading.RLock()
        self._mine = threading.local()  # the cursor of the transaction a thread is in
        self._changes = 0
        self._surveys: dict[tuple[str, str], Survey] = {}
        self._connection = self._open()
        (self.home / "holder.json").write_text(
            json.dumps({"pid": os.getpid(), "what": holder}), encoding="utf-8"
        )
        self._migrate()
        self._add_bundled()

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            return duckdb.connect(
                str(self.path),
                config={
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                    "python_enable_replacements": "false",
                    "enable_external_access": "false",
                    "memory_limit": "2GB",
                },
            )
        except duckdb.Error as error:
            if isinstance(error, duckdb.IOException) and "lock" in str(error).lower():
                raise StoreBusy(_who_holds(self.home, str(error))) from None
            raise PluriscopeError(
                f"{self.path} is damaged or not a Pluriscope store ({str(error).splitlines()[0]}). "
                "Move the file aside to start with an empty store."
            ) from error

    def close(self) -> None:
        with self._write:
            self._connection.close()
            (self.home / "holder.json").unlink(missing_ok=True)

    # -- reading and writing -------------------------------------------------------------------

    def query(self, sql: str, params: Sequence | dict = ()) -> pd.DataFrame:
        """A tidy table. `params` are bound, never pasted."""
        with self._reading() as cursor:
            return cursor.execute(sql, params).df()

    def rows(self, sql: str, params: Sequence | dict = ()) -> list[tuple]:
        with self._reading() as cursor:
            return cursor.execute(sql, params).fetchall()

    def arrow(self, sql: str, params: Sequence | dict = ()) -> pa.Table:
        with self._reading() as cursor:
            return cursor.sql(sql, params=params).to_arrow_table()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several writes that land together or not at all; this thread's reads see them."""
        with self._writing():
            yield

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor of the call's own, or that of the transaction this thread is in."""
        if (open_one := getattr(self._mine, "cursor", None)) is not None:
            yield open_one
            return
        with self._connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A transaction; all of it lands or none. Inside another one it is part of that."""
        if (open_one := getattr(self._mine, "cursor", None)) is not None:
            yield open_one
            return
        with self._write, _disk_in_words(), self._connection.cursor() as cursor:
            cursor.begin()
            self._mine.cursor = cursor
            try:
                yield cursor
            except BaseException:
                cursor.rollback()
                self._surveys.clear()  # one of them may not have landed
                raise
            finally:
                self._mine.cursor = None
            cursor.commit()
            self._changes += 1

    @property
    def changes(self) -> int:
        """Grows with every write; a key for caches of reads."""
        return self._changes

    def _migrate(self) -> None:
        with self._writing() as cursor:
            cursor.execute("create table if not exists migrations (name text, ran timestamp)")
            ran = {name for (name,) in cursor.execute("select name from migrations").fetchall()}
            newer = ran - {step.__name__ for step in MIGRATIONS}
            if newer:
                raise PluriscopeError(
                    "This store was written by a newer Pluriscope. Update Pluriscope, or set "
                    "PLURISCOPE_HOME to another folder."
                )
            for step in MIGRATIONS:
                if step.__name__ not in ran:
                    step(cursor.execute)
                    cursor.execute("insert into migrations values (?, ?)", [step.__name__, _now()])

    # -- surveys -------------------------------------------------------------------------------

    def _add_bundled(self) -> None:
        bundled = load_bundled()
        self._surveys[bundled.id, bundled.version] = bundled
        self.add_survey(bundled, source="bundled")

    def add_survey(self, survey: Survey, source: str = "") -> bool:
        """Keep a survey; False where this very version is there already.

        It then is back on the shelf, under the name it is given now.
        """
        with self._writing() as cursor:
            known = cursor.execute(
                """update surveys set deleted = null, name = ?, citation = ?
                   where id = ? and version = ? returning id""",
                [survey.name, survey.citation, survey.id, survey.version],
            ).fetchall()
            if known:
                self._surveys[survey.id, survey.version] = survey
                return False
            key = [survey.id, survey.version]
            cursor.execute(
                "insert into surveys values (?, ?, ?, ?, ?, ?, ?, null)",
                [*key, survey.name, survey.citation, list(survey.core_ids), source, _now()],
            )
            _insert(cursor, "items", _item_rows(survey))
            _insert(cursor, "cultures", _culture_rows(survey))
            _insert(cursor, "shares", _share_rows(survey))
        self._surveys[survey.id, survey.version] = survey
        return True

    def surveys(self, *, deleted: bool = False) -> pd.DataFrame:
        """id, version, name, citation, source, added, items, countries, runs; newest first.

        Those that a model wrote for a tuning (source WRITTEN_SURVEY) are the tuning's own affair.
        """
        return self.query(
            f"""select s.id, s.version, s.name, s.citation, s.source, s.added,
                 (select count(*) from items i where i.survey = s.id and i.version = s.version)
                   as items,
                 (select count(*) from cultures c where c.survey = s.id and c.version = s.version)
                   as countries,
                 (select count(*) from runs r where r.deleted is null
                   and r.settings->>'survey' = s.id
                   and r.settings->>'survey_version' = s.version) as runs
               from surveys s where s.deleted is {"not null" if deleted else "null"}
                 and s.source <> ?
               order by s.added desc""",
            [WRITTEN_SURVEY],
        )

    def survey(self, survey_id: str = BUNDLED_SURVEY, version: str | None = None) -> Survey:
        """A survey by id, and version where a run names one; the newest on the shelf otherwise.

        An older version may also be named in one word, "id@version".
        """
        survey_id, _, named = survey_id.partition("@")
        version = version or named or None
        if version is None:
            found = self.rows(
                """select version from surveys where id = ? and deleted is null
                   order by added desc limit 1""",
                [survey_id],
            )
            if not found:
                raise PluriscopeError(f"There is no survey {survey_id!r} in the store.")
            version = found[0][0]
        if (survey_id, version) not in self._surveys:
            self._surveys[survey_id, version] = self._read_survey(survey_id, version)
        return self._surveys[survey_id, version]

    def _read_survey(self, survey_id: str, version: str) -> Survey:
        key = [survey_id, version]
        head = self.rows(
            "select name, citation, core_ids from surveys where id = ? and version = ?", key
        )
        if not head:
            raise PluriscopeError(f"There is no survey {survey_id!r}, version {version}.")
        name, citation, core_ids = head[0]
        items = tuple(
            Item(
                id=item,
                position=position,
                topic=topic,
                label=label,
                question=question,
                options=tuple(Option(c, o) for c, o in zip(codes, options, strict=True)),
                scale=scale,
                low=low,
                high=high,
                off_scale=tuple(off_scale),
                note=note,
            )
            for item, position, topic, label, question, scale, low, high, note, codes, options,
            off_scale in self.rows(
                """select item, position, topic, label, question, scale, low, high, note, codes,
                     options, off_scale
                   from items where survey = ? and version = ? order by position""",
                key,
            )
        )  # fmt: skip
        cultures = tuple(
            Culture(*row[:-1], languages=tuple(row[-1]))
            for row in self.rows(
                """select iso3, name, demonym, article, continent, region, year, n, in_culturespa,
                     languages
                   from cultures where survey = ? and version = ? order by iso3""",
                key,
            )
        )
        shares = {
            (iso3, item): Shares(np.array(values), n_valid, basis)
            for iso3, item, values, n_valid, basis in self.rows(
                """select iso3, item, shares, n_valid, basis
                   from shares where survey = ? and version = ?""",
                key,
            )
        }
        return Survey(survey_id, name, version, items, cultures, shares, tuple(core_ids), citation)

    def delete_survey(self, survey_id: str, version: str) -> None:
        """Take a survey off the shelf. Runs that used it keep pointing to it."""
        if survey_id == BUNDLED_SURVEY:
            raise PluriscopeError("The bundled survey comes with Pluriscope and stays.")
        with self._writing() as cursor:
            cursor.execute(
                "update surveys set deleted = ? where id = ? and version = ?",
                [_now(), survey_id, version],
            )

    def restore_survey(self, survey_id: str, version: str) -> None:
        """Put a survey back on the shelf."""
        with self._writing() as cursor:
            cursor.execute(
                "update surveys set deleted = null where id = ? and version = ?",
                [survey_id, version],
            )

    def forget_surveys(self) -> int:
        """Remove deleted surveys that nothing points to for good; says how many.

        Of those that a run or a tuning points to, what was kept of single people goes.
        """
        with self._writing() as cursor:
            gone = cursor.execute(
                """delete from surveys s where deleted is not null
                     and not exists (select 1 from runs r where r.settings->>'survey' = s.id
                       and r.settings->>'survey_version' = s.version)
                     and not exists (select 1 from tunings t
                       where contains(t.settings::varchar, s.version))
                   returning id, version"""
            ).fetchall()
            for key in gone:
                for table in ("items", "cultures", "shares"):
                    cursor.execute(f"delete from {table} where survey = ? and version = ?", key)
                self._surveys.pop(key, None)
            kept = cursor.execute(
                "select id, version from surveys where deleted is not null"
            ).fetchall()
        for survey_id, version in gone:
            shutil.rmtree(self.survey_folder(survey_id, version), ignore_errors=True)
            self.survey_folder(survey_id, version).with_suffix(".json").unlink(missing_ok=True)
        for survey_id, version in kept:
            people = self.survey_folder(survey_id, version) / "respondents.parquet"
            people.unlink(missing_ok=True)
        return len(gone)

    def survey_folder(self, survey_id: str, version: str) -> Path:
        """Where the further tables of an imported survey lie."""
        return self.home / "surveys" / f"{survey_id}-{version}"

    # -- prompt sets ---------------------------------------------------------------------------

    def add_prompt_set(self, sha256: str, id: str, name: str, language: str, texts: dict) -> None:
        with self._writing() as cursor:
            cursor.execute(
                "insert or ignore into prompt_sets values (?, ?, ?, ?, ?)",
                [sha256, id, name, language, json.dumps(texts, ensure_ascii=False)],
            )

    def prompt_texts(self, sha256: str) -> dict | None:
        found = self.rows("select texts from prompt_sets where sha256 = ?", [sha256])
        return json.loads(found[0][0]) if found else None

    def add_translation(self, sha256: str, language: str, texts: dict) -> None:
        """Keep what a run is asked in: items and countries (Translation.texts)."""
        with self._writing() as cursor:
            cursor.execute(
                "insert or ignore into translations values (?, ?, ?)",
                [sha256, language, json.dumps(texts, ensure_ascii=False)],
            )

    def translation(self, sha256: str) -> dict | None:
        found = self.rows("select texts from translations where sha256 = ?", [sha256])
        return json.loads(found[0][0]) if found else None

    # -- runs ----------------------------------------------------------------------------------

    def add_run(
        self,
        settings: dict,
        *,
        planned: int,
        name: str,
        group: str | None = None,
        kind: str = "survey",
        facts: dict | None = None,
        state: str = "queued",
    ) -> Run:
        """Freeze a run. Its settings never change again."""
        run_id = new_id()
        with self._writing() as cursor:
            cursor.execute(
                """insert into runs values
                   (nextval('run_numbers'), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, null, null)""",
                [
                    run_id,
                    group or run_id,
                    kind,
                    name,
                    settings["method"],
                    settings["model"]["source"],
                    json.dumps(settings, ensure_ascii=False),
                    json.dumps(facts or {}),
                    state,
                    planned,
                    _now(),
                ],
            )
        return self.run(run_id)

    def run(self, run_id: str) -> Run:
        found = self._runs("where id = ?", [run_id])
        if not found:
            raise PluriscopeError(
                f"There is no run {run_id!r}. It may have been deleted; "
                "`python -m core runs` lists those there are."
            )
        return found[0]

    def runs(
        self, *, kind: str | None = "survey", group: str | None = None, deleted: bool = False
    ) -> list[Run]:
        """Runs, newest first. kind None takes all kinds."""
        conditions, params = ["deleted is not null" if deleted else "deleted is null"], []
        if kind:
            conditions.append("kind in (?, 'imported')" if kind == "survey" else "kind = ?")
            params.append(kind)
        if group:
            conditions.append("grp = ?")
            params.append(group)
        return self._runs(f"where {' and '.join(conditions)}", params)

    def _runs(self, where: str, params: Sequence) -> list[Run]:
        found = self.rows(
            f"""select no, id, grp, kind, name, method, model, settings, facts, state, planned,
                  answered, created, finished, deleted
                from runs {where} order by created desc, no desc""",
            params,
        )
        return [Run(*row[:7], json.loads(row[7]), json.loads(row[8]), *row[9:]) for row in found]

    def update_run(
        self, run_id: str, *, state: str | None = None, name: str | None = None,
        facts: dict | None = None,
    ) -> None:  # fmt: skip
        """What may change about a run: how far it is, what it is called, what loading found."""
        with self._writing() as cursor:
            if state:
                finished = _now() if state in ("done", "stopped", "failed") else None
                cursor.execute(
                    "update runs set state = ?, finished = ? where id = ?",
                    [state, finished, run_id],
                )
            if name:
                cursor.execute("update runs set name = ? where id = ?", [name.strip(), run_id])
            if facts:
                cursor.execute(
                    "update runs set facts = ? where id = ?", [json.dumps(facts), run_id]
                )

    def there_are(self, run_ids: Sequence[str]) -> list[str]:
        """Those of some runs that are in the store, in the bin or not, in the order given."""
        found = self.rows("select id from runs where list_contains(?, id)", [list(run_ids)])
        known = {run_id for (run_id,) in found}
        return [run_id for run_id in run_ids if run_id in known]

    def delete_runs(self, run_ids: Iterable[str]) -> None:
        """Hide runs; restore_runs brings them back until empty_bin."""
        self._mark(run_ids, _now())

    def restore_runs(self, run_ids: Iterable[str]) -> None:
        self._mark(run_ids, None)

    def _mark(self, run_ids: Iterable[str], when: datetime | None) -> None:
        with self._writing() as cursor:
            for run_id in run_ids:
                cursor.execute("update runs set deleted = ? where id = ?", [when, run_id])

    def empty_bin(self) -> int:
        """Remove deleted runs and their answers, and deleted tunings, for good.

        What a job still holds, while it is being stopped, stays until the next time. Says how many
        runs.
        """
        with self._writing() as cursor:
            gone = """(select no from runs r where deleted is not null and not exists (
                select 1 from jobs j where state in ('queued', 'loading', 'running', 'stopping')
                  and (list_contains(j.runs, r.id)
                       or (j.kind = 'tune' and starts_with(r.grp, j.settings->>'tuning')))))"""
            cursor.execute(f"delete from answers where run_no in {gone}")
            cursor.execute(f"delete from scores where run_no in {gone}")
            cursor.execute(f"delete from changes where a in {gone} or b in {gone}")
            removed = cursor.execute(f"delete from runs where no in {gone} returning no").fetchall()
            tunings = self._forget_tunings(cursor)
        for tuning_id in tunings:
            shutil.rmtree(self.tuning_folder(tuning_id), ignore_errors=True)
            for snapshot in (self.home / "surveys").glob(f"written-{tuning_id}-*"):
                snapshot.unlink()
        with self._write, self._connection.cursor() as cursor:
            cursor.execute("checkpoint")
        return len(removed)

    # -- answers -------------------------------------------------------------------------------

    def add_answers(self, run_no: int, answers: Sequence[Answer]) -> int:
        """Save answers at once; those the run holds already are left out. Says how many landed."""
        unique = list({answer.key(): answer for answer in answers}.values())
        if not unique:
            return 0
        now = _now()
        table = pa.Table.from_pylist(
            [{"run_no": run_no, "answered_at": now, **asdict(answer)} for answer in unique],
            schema=ANSWERS,
        )
        with self._writing() as cursor:
            cursor.register("incoming", table)
            try:
                landed = cursor.execute(
                    """insert into answers select * from incoming i where not exists (
                         select 1 from answers a where a.run_no = ? and a.iso3 = i.iso3
                         and a.item = i.item and a.number = i.number)""",
                    [run_no],
                ).fetchone()[0]
            finally:
                cursor.unregister("incoming")
            cursor.execute("update runs set answered = answered + ? where no = ?", [landed, run_no])
        return landed

    def answered(self, run_no: int) -> set[tuple[str, str, int]]:
        """The keys of the answers a run holds."""
        return set(self.rows("select iso3, item, number from answers where run_no = ?", [run_no]))

    def answers(
        self, run_no: int, *, item: str | None = None, iso3: str | None = None
    ) -> pd.DataFrame:
        """Answers as they came: iso3, item, number, probs, mass, chosen, state, rule, text, …"""
        sql, params = "select * exclude run_no from answers where run_no = ?", [run_no]
        if item is not None:
            sql, params = f"{sql} and item = ?", [*params, item]
        if iso3 is not None:
            sql, params = f"{sql} and iso3 = ?", [*params, iso3]
        return self.query(f"{sql} order by iso3, item, number", params)

    def cells_answered(self, run_no: int) -> int:
        """How many (country, item) pairs a run holds any answer to."""
        return self.rows(
            "select count(distinct (iso3, item)) from answers where run_no = ?", [run_no]
        )[0][0]

    def answer_table(self, run_no: int, number: int | None = None) -> pa.Table:
        """What scoring needs: iso3, item, probs, chosen, state, mass, one row an answer.

        number: only those of this option order or sample.
        """
        sql, params = (
            "select iso3, item, probs, chosen, state, mass from answers where run_no = ?",
            [run_no],
        )
        if number is not None:
            sql, params = f"{sql} and number = ?", [*params, number]
        return self.arrow(sql, params)

    # -- scores, kept once computed --------------------------------------------------------------

    def kept_scores(
        self, run_no: int, metric: str, topic: str, answered: int, version: str
    ) -> pd.DataFrame:
        """Scores computed before from exactly this many answers by this code; may be empty.

        Columns: iso3 ("" is the mean), value, low, high, floor, ceiling, others, items.
        """
        return self.query(
            """select iso3, value, low, high, floor, ceiling, others, items from scores
               where run_no = ? and metric = ? and topic = ? and answered = ? and version = ?
               order by iso3""",
            [run_no, metric, topic, answered, version],
        )

    def keep_scores(
        self, run_no: int, metric: str, topic: str, answered: int, version: str,
        scores: pd.DataFrame,
    ) -> None:  # fmt: skip
        key = [run_no, metric, topic]
        with self._writing() as cursor:
            cursor.execute("delete from scores where (run_no, metric, topic) = (?, ?, ?)", key)
            _insert_frame(cursor, "scores", [*key, answered, version], scores)

    def kept_changes(
        self, a: int, b: int, metric: str, topic: str, answered: int, version: str
    ) -> pd.DataFrame:
        """Paired differences computed before; `answered` is that of both runs together.

        Columns: iso3 ("" is the mean), value, low, high, p, clear.
        """
        return self.query(
            """select iso3, value, low, high, p, clear from changes
               where a = ? and b = ? and metric = ? and topic = ? and answered = ? and version = ?
               order by iso3""",
            [a, b, metric, topic, answered, version],
        )

    def keep_changes(
        self, a: int, b: int, metric: str, topic: str, answered: int, version: str,
        changes: pd.DataFrame,
    ) -> None:  # fmt: skip
        key = [a, b, metric, topic]
        with self._writing() as cursor:
            cursor.execute("delete from changes where (a, b, metric, topic) = (?, ?, ?, ?)", key)
            _insert_frame(cursor, "changes", [*key, answered, version], changes)

    # -- jobs ----------------------------------------------------------------------------------

    def add_job(
        self, kind: str, title: str, settings: dict, runs: Sequence[str], first: bool = False
    ) -> str:
        """Queue a job, last (or first) in line."""
        job_id = new_id()
        with self._writing() as cursor:
            edge = "min(position) - 1" if first else "max(position) + 1"
            cursor.execute(
                f"""insert into jobs select ?, ?, ?, ?, ?, 'queued',
                     coalesce((select {edge} from jobs where state = 'queued'), 0),
                     '', 0, 0, null, null, null, ?, null, null, 0""",
                [job_id, kind, title, json.dumps(settings), list(runs), _now()],
            )
        return job_id

    def jobs(self, states: Sequence[str] | None = None, limit: int = 200) -> list[dict]:
        """Jobs as records: those in line first, in their order, then the newest."""
        where = "where state in (select unnest(?))" if states else ""
        with self._connection.cursor() as cursor:
            cursor.execute(
                f"""select * from jobs {where}
                    order by state = 'queued' desc,
                      case when state = 'queued' then position end, created desc limit ?""",
                [*([list(states)] if states else []), limit],
            )
            names = [column[0] for column in cursor.description]
            records = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for record in records:
            record["settings"] = json.loads(record["settings"])
        return records

    def job(self, job_id: str) -> dict:
        with self._connection.cursor() as cursor:
            cursor.execute("select * from jobs where id = ?", [job_id])
            names = [column[0] for column in cursor.description]
            row = cursor.fetchone()
        if row is None:
            raise PluriscopeError(f"There is no job {job_id!r}.")
        record = dict(zip(names, row, strict=True))
        record["settings"] = json.loads(record["settings"])
        return record

    def update_job(self, job_id: str, **fields: Any) -> None:
        unknown = fields.keys() - JOB_FIELDS
        if unknown:
            raise ValueError(f"jobs have no {sorted(unknown)}")
        assignments = ", ".join(f"{name} = ?" for name in fields)
        with self._writing() as cursor:
            cursor.execute(
                f"update jobs set {assignments} where id = ?", [*fields.values(), job_id]
            )

    def log_of(self, job_id: str) -> Path:
        """Where what the model's process printed during a job is kept."""
        return self.home / "logs" / f"{job_id}.log"

    def delete_job(self, job_id: str) -> None:
        with self._writing() as cursor:
            cursor.execute("delete from jobs where id = ?", [job_id])

    # -- tunings -------------------------------------------------------------------------------

    def add_tuning(self, settings: dict, *, name: str) -> str:
        """A new tuning: its id. Settings never change."""
        tuning_id = new_id()
        with self._writing() as cursor:
            cursor.execute(
                "insert into tunings values (?, ?, ?, '{}', ?, null)",
                [tuning_id, name, json.dumps(settings, ensure_ascii=False), _now()],
            )
        return tuning_id

    def tunings(self, *, deleted: bool = False) -> list[dict]:
        """Tunings as records (id, name, settings, counts, created), newest first.

        deleted: those in the bin; what was emptied out of it is gone.
        """
        state = "is not null" if deleted else "is null"
        return self._records(
            f"""select * from tunings where deleted {state} and counts::varchar <> ?
                order by created desc""",
            [EMPTIED],
        )

    def tuning(self, tuning_id: str) -> dict:
        found = self._records("select * from tunings where id = ?", [tuning_id])
        if not found:
            raise PluriscopeError(
                f"There is no tuning {tuning_id!r}. It may have been deleted; "
                "`python -m core tunings` lists those there are."
            )
        return found[0]

    def tuning_runs(self, tuning_id: str) -> list[Run]:
        """Every run made for a tuning, in the bin or not, as they were made.

        Their groups begin with the tuning's id: "ID-base", "ID-ARM-SEED", "ID-written-SEED".
        """
        return self._runs("where starts_with(grp, ?)", [f"{tuning_id}-"])[::-1]

    def update_tuning(
        self, tuning_id: str, *, name: str | None = None, counts: dict | None = None
    ) -> None:
        """counts: merged into what is there, stage by stage ("42/questions": {...})."""
        with self._writing() as cursor:
            if name:
                cursor.execute(
                    "update tunings set name = ? where id = ?", [name.strip(), tuning_id]
                )
            if counts:
                merged = {**self.tuning(tuning_id)["counts"], **counts}
                cursor.execute(
                    "update tunings set counts = ? where id = ?", [json.dumps(merged), tuning_id]
                )

    def delete_tuning(
        self, tuning_id: str, *, everything: bool = False, files: bool = True
    ) -> None:
        """Put a tuning in the bin; restore_tuning brings it back until empty_bin.

        Its answers stay, and so do adapters that are finished. everything: they go with it. files:
        False leaves adapters where they are, while one of them may be at work; say it again then.
        """
        now = _now()
        with self._writing() as cursor:
            if everything:
                cursor.execute(
                    """update runs set deleted = ? where starts_with(grp, ?) and (deleted is null
                         or deleted = (select deleted from tunings where id = ?))""",
                    [now, f"{tuning_id}-", tuning_id],
                )
            cursor.execute("update tunings set deleted = ? where id = ?", [now, tuning_id])
        if files:
            keep = set() if everything else self._finished_adapters(tuning_id)
            for folder in (self.home / "adapters").glob(f"*-{tuning_id}"):
                if folder.name not in keep:
                    self._binned(tuning_id).mkdir(parents=True, exist_ok=True)
                    shutil.move(folder, self._binned(tuning_id) / folder.name)

    def restore_tuning(self, tuning_id: str) -> None:
        """Take a tuning out of the bin, with what went there along with it."""
        with self._writing() as cursor:
            cursor.execute(
                """update runs set deleted = null where starts_with(grp, ?)
                     and deleted = (select deleted from tunings where id = ?)""",
                [f"{tuning_id}-", tuning_id],
            )
            cursor.execute(
                "update tunings set deleted = null where id = ? and counts::varchar <> ?",
                [tuning_id, EMPTIED],
            )
        (self.home / "adapters").mkdir(exist_ok=True)
        for folder in self._binned(tuning_id).glob("*"):
            shutil.move(folder, self.home / "adapters" / folder.name)

    def tuning_folder(self, tuning_id: str) -> Path:
        """Where a tuning keeps what it works with."""
        return self.home / "tunings" / tuning_id

    def _binned(self, tuning_id: str) -> Path:
        """Where its adapters lie while they are in the bin."""
        return self.tuning_folder(tuning_id) / "adapters"

    def _finished_adapters(self, tuning_id: str) -> set[str]:
        """Names of the folders of adapters that were trained to the end and asked."""
        done = {(a["arm"], a["seed"]) for a in self.arms(tuning_id) if a["state"] == "done"}
        return {
            Path(a["path"]).parts[1]
            for a in self.adapters(tuning_id)
            if (a["arm"], a["seed"]) in done
        }

    def _forget_tunings(self, cursor: duckdb.DuckDBPyConnection) -> list[str]:
        """Remove what tunings in the bin made and nothing else needs; gives their ids.

        What names a tuning (which model, which arm, whose answers) stays where its adapters stay,
        or answers that were given with them, so that their origin can be told.
        """
        gone = [
            tuning_id
            for (tuning_id,) in cursor.execute(
                """select id from tunings t where deleted is not null and not exists (
                     select 1 from jobs where kind = 'tune' and settings->>'tuning' = t.id
                       and state in ('queued', 'loading', 'running', 'stopping'))"""
            ).fetchall()
        ]
        for tuning_id in gone:
            own = "(select no from runs where starts_with(grp, ?))"
            for table, run_no in (("answers", "run_no"), ("runs", "no")):
                cursor.execute(
                    f"delete from {table} where {run_no} in {own}", [f"{tuning_id}-written-"]
                )
            for table in ("surveys", "items", "cultures"):
                column = "id" if table == "surveys" else "survey"
                cursor.execute(
                    f"delete from {table} where starts_with({column}, ?)", [f"written-{tuning_id}-"]
                )
            for table in ("questions", "pairs", "training"):
                cursor.execute(f"delete from {table} where tuning = ?", [tuning_id])
            for (job_id,) in cursor.execute(
                "delete from jobs where kind = 'tune' and settings->>'tuning' = ? returning id",
                [tuning_id],
            ).fetchall():
                self.log_of(job_id).unlink(missing_ok=True)
            stay = list((self.home / "adapters").glob(f"*-{tuning_id}"))
            answers = cursor.execute(
                """select 1 from runs where starts_with(grp, ?)
                     or contains(coalesce(settings->'model'->>'adapter', ''), ?)""",
                [f"{tuning_id}-", f"-{tuning_id}"],
            ).fetchone()
            if stay or answers:
                cursor.execute("update tunings set counts = ? where id = ?", [EMPTIED, tuning_id])
                continue
            cursor.execute("delete from results where contains(subject, ?)", [f"/{tuning_id}/"])
            for table in ("arms", "adapters", "abilities"):
                cursor.execute(f"delete from {table} where tuning = ?", [tuning_id])
            cursor.execute("delete from tunings where id = ?", [tuning_id])
        return gone

    def add_questions(self, rows: Sequence[dict]) -> None:
        """Written questions as they came, kept and not; one round lands together.

        Keys: those of the table questions.
        """
        with self._writing() as cursor:
            _insert(cursor, "questions", list(rows))

    def questions(self, tuning_id: str, seed: int | None = None) -> pd.DataFrame:
        """seed, no, round, topic, question, options, raw, state, reason, near, similarity."""
        where, params = "tuning = ?", [tuning_id]
        if seed is not None:
            where, params = f"{where} and seed = ?", [*params, seed]
        return self.query(
            f"select * exclude tuning from questions where {where} order by seed, no", params
        )

    def judge_questions(self, tuning_id: str, seed: int, rows: Sequence[dict]) -> None:
        """Replace a seed's questions by what the filter made of them; all or nothing."""
        with self._writing() as cursor:
            cursor.execute("delete from questions where tuning = ? and seed = ?", [tuning_id, seed])
            _insert(cursor, "questions", list(rows))

    def keep_pairs(
        self, tuning_id: str, seed: int, teacher: str, answers: str, rows: Sequence[dict]
    ) -> None:
        """The pairs of one teacher and way of answering, put in place of earlier ones."""
        key = [tuning_id, seed, teacher, answers]
        with self._writing() as cursor:
            cursor.execute(
                "delete from pairs where (tuning, seed, teacher, answers) = (?, ?, ?, ?)", key
            )
            _insert(cursor, "pairs", list(rows))

    def pairs(
        self, tuning_id: str, seed: int, teacher: str, answers: str, limit: int | None = None
    ) -> pd.DataFrame:
        """iso3, item, plain, aware, plain_probs, aware_probs, distance, noise, differs, reason."""
        return self.query(
            """select iso3, item, plain, aware, plain_probs, aware_probs, distance, noise,
                 differs, reason
               from pairs where (tuning, seed, teacher, answers) = (?, ?, ?, ?)
               order by iso3, item limit ?""",
            [tuning_id, seed, teacher, answers, limit if limit is not None else 2**40],
        )

    def pair_yield(self, tuning_id: str) -> pd.DataFrame:
        """seed, teacher, answers, iso3, topic, pairs, differing, distance, noise (means)."""
        return self.query(
            """select p.seed, p.teacher, p.answers, p.iso3, q.topic, count(*) as pairs,
                 count(*) filter (where p.differs) as differing,
                 avg(p.distance) as distance, avg(p.noise) as noise
               from pairs p join questions q
                 on q.tuning = p.tuning and q.seed = p.seed and p.item = 'W' || q.no
               where p.tuning = ? group by all order by all""",
            [tuning_id],
        )

    def set_arm(self, tuning_id: str, arm: str, seed: int, **fields: Any) -> None:
        """Note how far an arm is. fields: state, examples, counts, runs, facts, started,
        finished."""
        unknown = fields.keys() - ARM_FIELDS
        if unknown:
            raise ValueError(f"arms have no {sorted(unknown)}")
        fields = {
            name: json.dumps(value) if name in ("counts", "facts") else value
            for name, value in fields.items()
        }
        key = [tuning_id, arm, seed]
        with self._writing() as cursor:
            if not cursor.execute(
                "select 1 from arms where (tuning, arm, seed) = (?, ?, ?)", key
            ).fetchone():
                cursor.execute(
                    "insert into arms values (?, ?, ?, 'waiting', 0, '{}', [], '{}', null, null)",
                    key,
                )
            if fields:
                assignments = ", ".join(f"{name} = ?" for name in fields)
                cursor.execute(
                    f"update arms set {assignments} where (tuning, arm, seed) = (?, ?, ?)",
                    [*fields.values(), *key],
                )

    def arms(self, tuning_id: str) -> list[dict]:
        """arm, seed, state, examples, counts, runs, facts, started, finished; as they ran."""
        return self._records(
            "select * exclude tuning from arms where tuning = ? order by seed, started, arm",
            [tuning_id],
        )

    def add_training(self, rows: Sequence[dict]) -> None:
        """Points of the training curves; keys: those of the table training."""
        if rows:
            with self._writing() as cursor:
                _insert(cursor, "training", list(rows))

    def training(self, tuning_id: str, arm: str | None = None) -> pd.DataFrame:
        """arm, seed, iso3, step, steps, loss, rate, tokens_per_second, memory_bytes.

        A step that was taken again after a crash counts once, as it was last.
        """
        where, params = "tuning = ?", [tuning_id]
        if arm is not None:
            where, params = f"{where} and arm = ?", [*params, arm]
        return self.query(
            f"""select arm, seed, iso3, step, last(steps) as steps, last(loss) as loss,
                  last(rate) as rate, last(tokens_per_second) as tokens_per_second,
                  last(memory_bytes) as memory_bytes
                from training where {where} group by arm, seed, iso3, step
                order by arm, seed, iso3, step""",
            params,
        )

    def add_adapter(self, record: dict) -> str:
        """Note an adapter (keys: those of the table adapters without id, created, deleted)."""
        adapter_id = new_id()
        with self._writing() as cursor:
            cursor.execute(
                "insert into adapters values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, null)",
                [
                    adapter_id,
                    record.get("tuning"),
                    record.get("arm"),
                    record.get("seed"),
                    record.get("iso3", ""),
                    record["name"],
                    json.dumps(record["base"]),
                    record.get("base_revision", ""),
                    record["path"],
                    record["sha256"],
                    json.dumps(record.get("facts", {})),
                    _now(),
                ],
            )
        return adapter_id

    def adapters(self, tuning_id: str | None = None, *, deleted: bool = False) -> list[dict]:
        """Adapters as records, newest first; of one tuning where given."""
        where = "deleted is not null" if deleted else "deleted is null"
        params: list = []
        if tuning_id:
            where, params = f"{where} and tuning = ?", [tuning_id]
        return self._records(
            f"select * from adapters where {where} order by created desc, id desc", params
        )

    def delete_adapter(self, adapter_id: str) -> None:
        with self._writing() as cursor:
            cursor.execute("update adapters set deleted = ? where id = ?", [_now(), adapter_id])

    def keep_abilities(self, tuning_id: str, arm: str, seed: int, record: dict) -> None:
        key = [tuning_id, arm, seed]
        with self._writing() as cursor:
            cursor.execute("delete from abilities where (tuning, arm, seed) = (?, ?, ?)", key)
            cursor.execute(
                "insert into abilities values (?, ?, ?, ?, ?)", [*key, json.dumps(record), _now()]
            )

    def abilities(self, tuning_id: str) -> list[dict]:
        """arm, seed, record, measured."""
        return self._records(
            "select * exclude tuning from abilities where tuning = ? order by arm, seed",
            [tuning_id],
        )

    # -- results that take a while, kept once computed -------------------------------------------

    def kept_result(self, subject: str, key: str) -> Any:
        """What was computed of a subject from exactly what `key` names; None where nothing was."""
        found = self.rows(
            "select record from results where subject = ? and key = ?", [subject, key]
        )
        return json.loads(found[0][0]) if found else None

    def keep_result(self, subject: str, key: str, record: Any) -> None:
        """Keep a JSON record in place of what was kept of its subject before."""
        with self._writing() as cursor:
            cursor.execute(
                "insert or replace into results values (?, ?, ?)",
                [subject, key, json.dumps(record, ensure_ascii=False, allow_nan=False)],
            )

    def _records(self, sql: str, params: Sequence) -> list[dict]:
        """Rows as dicts, JSON columns read."""
        with self._reading() as cursor:
            cursor.execute(sql, params)
            names = [column[0] for column in cursor.description]
            records = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for record in records:
            for name in JSON_COLUMNS & record.keys():
                record[name] = json.loads(record[name])
        return records

    # -- storage -------------------------------------------------------------------------------

    def storage(self) -> dict[str, int]:
        """Bytes on disk by what they are for: store, adapters, models, exports, other."""
        used = {"store": 0, "adapters": 0, "models": 0, "exports": 0, "other": 0}
        for folder, _, files in os.walk(self.home):  # follows no links, and nothing that vanishes
            inside = Path(folder).relative_to(self.home).parts
            for name in files:
                part = inside[0] if inside else name
                kind = "store" if part.startswith("pluriscope.duckdb") else part
                used[kind if kind in used else "other"] += _room(Path(folder, name))
        return used


def _room(path: Path) -> int:
    """Bytes of a file; of a link none, and of one that has just gone none either."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return 0
    return 0 if stat.S_ISLNK(facts.st_mode) else facts.st_size


@contextmanager
def _disk_in_words() -> Iterator[None]:
    """A disk that is full is a sentence; what did not land can be written once there is room."""
    try:
        yield
    except duckdb.Error as error:
        reason = re.search(r"(?:could not|failed to) write .*: (.+)", str(error), re.I)
        if not reason and "no space left" not in str(error).lower():
            raise
        why = reason[1] if reason else "no space left on the disk"
        raise PluriscopeError(
            f"What came could not be written to the store ({why}). Make room on the disk, then "
            "Resume."
        ) from error


def new_id() -> str:
    """A short id that sorts by time: eight characters of time, four of chance."""
    return f"{int(time.time() * 10):x}"[-8:] + secrets.token_hex(2)


def _now() -> datetime:
    """UTC, without a zone, as DuckDB's timestamp keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


def _who_holds(home: Path, error: str) -> str:
    what, pid = "another program", None
    try:
        record = json.loads((home / "holder.json").read_text(encoding="utf-8"))
        what, pid = record["what"], record["pid"]
    except (OSError, ValueError, KeyError):
        match = re.search(r"PID (\d+)", error)
        pid = int(match[1]) if match else None
    number = f" (process {pid})" if pid else ""
    return (
        f"The store in {home} is in use by {what}{number}. Do this in the app, or close it first; "
        "or set PLURISCOPE_HOME to another folder."
    )


def _insert(cursor: duckdb.DuckDBPyConnection, table: str, rows: list[dict]) -> None:
    if not rows:
        return
    cursor.register("incoming", pa.Table.from_pylist(rows))
    cursor.execute(f"insert into {table} by name select * from incoming")
    cursor.unregister("incoming")


def _insert_frame(
    cursor: duckdb.DuckDBPyConnection, table: str, key: list, frame: pd.DataFrame
) -> None:
    """Insert a frame whose columns end the table's, after the key's values."""
    cursor.register("incoming", pa.Table.from_pandas(frame, preserve_index=False))
    blanks = ", ".join("?" * len(key))
    cursor.execute(f"insert into {table} select {blanks}, * from incoming", key)
    cursor.unregister("incoming")


def _item_rows(survey: Survey) -> list[dict]:
    return [
        {
            "survey": survey.id,
            "version": survey.version,
            "item": item.id,
            "position": item.position,
            "topic": item.topic,
            "label": item.label,
            "question": item.question,
            "scale": item.scale,
            "low": item.low,
            "high": item.high,
            "note": item.note,
            "codes": list(item.codes),
            "options": [option.label for option in item.options],
            "off_scale": list(item.off_scale),
        }
        for item in survey.items
    ]


def _culture_rows(survey: Survey) -> list[dict]:
    return [
        {
            "survey": survey.id,
            "version": survey.version,
            **asdict(culture),
            "languages": list(culture.languages),
        }
        for culture in survey.cultures
    ]


def _share_rows(survey: Survey) -> list[dict]:
    return [
        {
            "survey": survey.id,
            "version": survey.version,
            "iso3": iso3,
            "item": item,
            "shares": shares.values.tolist(),
            "n_valid": shares.n_valid,
            "basis": shares.basis,
        }
        for (iso3, item), shares in survey.shares.items()
    ]

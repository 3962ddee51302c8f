"""DuckDB remembers: surveys, runs, answers, scores and jobs. Every query of the product is here.

One process owns the file. Inside it any thread may read or write: each call takes a cursor of
its own (a shared connection refuses concurrent use) and writes take turns. Answers are only ever
added; a run's settings never change. Answers are stored in the item's canonical code order,
whatever order the options were shown in.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from core.store.database import insert_frame
from core.store.jobs import JobRecords
from core.store.runs import RunRecords
from core.store.surveys import SurveyRecords
from core.store.tunings import TuningRecords
from core.survey.survey import load_bundled


# Why: docs/decisions.md, "The store's records are mixins of one store."
class Store(SurveyRecords, RunRecords, JobRecords, TuningRecords):
    """Open with a folder (PLURISCOPE_HOME); raises StoreBusy where another process holds it."""

    def __init__(self, home: Path | str, *, holder: str = "Pluriscope"):
        super().__init__(home, holder=holder)
        self._add_bundled()

    def _add_bundled(self) -> None:
        bundled = load_bundled()
        self._surveys[bundled.id, bundled.version] = bundled
        self.add_survey(bundled, source="bundled")

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

    def empty_bin(self) -> int:
        """Remove deleted runs and their answers, and deleted tunings, for good.

        What a job still holds, while it is being stopped, stays until the next time. Says how many
        runs.
        """
        with self._writing() as cursor:
            gone = """(select no from runs r where deleted is not null and not exists (
                select 1 from jobs j where state in ('queued', 'loading', 'running', 'stopping')
                  and (list_contains(j.runs, r.id)
                       or (j.kind = 'tune' and r.tuning = j.settings->>'tuning'))))"""
            cursor.execute(f"delete from answers where run_no in {gone}")
            cursor.execute(f"delete from scores where run_no in {gone}")
            cursor.execute(f"delete from changes where a in {gone} or b in {gone}")
            removed = cursor.execute(f"delete from runs where no in {gone} returning no").fetchall()
            tunings, written = self._forget_tunings(cursor)
        for tuning_id in tunings:
            shutil.rmtree(self.tuning_folder(tuning_id), ignore_errors=True)
        for survey_id, version in written:
            self.survey_folder(survey_id, version).with_suffix(".json").unlink(missing_ok=True)
        # While others are in the middle of a write DuckDB refuses; it gives the space back later.
        with (
            self._write,
            self._connection.cursor() as cursor,
            suppress(duckdb.TransactionException),
        ):
            cursor.execute("checkpoint")
        return len(removed)

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
            insert_frame(cursor, "scores", [*key, answered, version], scores)

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
            insert_frame(cursor, "changes", [*key, answered, version], changes)

    def kept_result(self, subject: str, key: str) -> Any:
        """What was computed of a subject from exactly what `key` names; None where nothing was."""
        found = self.rows(
            "select record from results where subject = ? and key = ?", [subject, key]
        )
        return json.loads(found[0][0]) if found else None

    def keep_result(self, subject: str, key: str, record: Any, tuning: str | None = None) -> None:
        """Keep a JSON record in place of what was kept of its subject before. tuning: it is of."""
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        with self._writing() as cursor:
            cursor.execute(
                "insert or replace into results values (?, ?, ?, ?)", [subject, key, text, tuning]
            )

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

"""Tunings in the store: arms, questions, pairs, training curves, adapters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from core.errors import PluriscopeError
from core.store.database import Database, insert_rows, new_id, utc_now
from core.store.runs import WRITTEN, Run

ARM_FIELDS = {"state", "examples", "counts", "runs", "facts", "started", "finished", "folder"}
EMPTIED = '{"emptied": true}'  # the counts of a tuning of which only the origin is kept


class TuningRecords(Database):
    """What a store does with tunings and adapters."""

    def add_tuning(self, settings: dict, *, name: str) -> str:
        """A new tuning: its id. Settings never change."""
        tuning_id = new_id()
        with self._writing() as cursor:
            cursor.execute(
                "insert into tunings values (?, ?, ?, '{}', ?, null, ?, ?)",
                [tuning_id, name, json.dumps(settings, ensure_ascii=False), utc_now(),
                 settings.get("survey"), settings.get("survey_version")],
            )  # fmt: skip
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
        """Every run made for a tuning, in the bin or not, as they were made."""
        return self._runs("where tuning = ?", [tuning_id])[::-1]

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

    # Why: docs/decisions.md, "What is discarded lies in the bin at once."
    def delete_tuning(
        self, tuning_id: str, *, everything: bool = False, files: bool = True
    ) -> None:
        """Put a tuning in the bin; restore_tuning brings it back until empty_bin.

        Its answers stay, and so do adapters that are finished. everything: they go with it. files:
        False leaves adapters where they are, while one of them may be at work; say it again then.
        """
        now = utc_now()
        with self._writing() as cursor:
            if everything:
                cursor.execute(
                    """update runs set deleted = ? where tuning = ? and (deleted is null
                         or deleted = (select deleted from tunings where id = ?))""",
                    [now, tuning_id, tuning_id],
                )
            cursor.execute("update tunings set deleted = ? where id = ?", [now, tuning_id])
        if files:
            for arm in self.arms(tuning_id):
                kept = arm["state"] == "done" and not everything
                if not kept and arm["folder"] and self._on_shelf(arm["folder"]).exists():
                    self._binned(tuning_id).mkdir(parents=True, exist_ok=True)
                    shutil.move(self._on_shelf(arm["folder"]), self._binned(tuning_id))

    def restore_tuning(self, tuning_id: str) -> None:
        """Take a tuning out of the bin, with what went there along with it."""
        with self._writing() as cursor:
            cursor.execute(
                """update runs set deleted = null where tuning = ?
                     and deleted = (select deleted from tunings where id = ?)""",
                [tuning_id, tuning_id],
            )
            cursor.execute(
                "update tunings set deleted = null where id = ? and counts::varchar <> ?",
                [tuning_id, EMPTIED],
            )
        (self.home / "adapters").mkdir(exist_ok=True)
        for folder in self._binned(tuning_id).glob("*"):
            shutil.move(folder, self._on_shelf(folder.name))

    def tuning_folder(self, tuning_id: str) -> Path:
        """Where a tuning keeps what it works with."""
        return self.home / "tunings" / tuning_id

    def _binned(self, tuning_id: str) -> Path:
        """Where its adapters lie while they are in the bin."""
        return self.tuning_folder(tuning_id) / "adapters"

    def _on_shelf(self, folder: str) -> Path:
        """Where the adapters of an arm lie; folder: as arms names it."""
        return self.home / "adapters" / folder

    def _forget_tunings(
        self, cursor: duckdb.DuckDBPyConnection
    ) -> tuple[list[str], list[tuple[str, str]]]:
        """Remove what tunings in the bin made and nothing else needs; gives their ids, and the
        surveys (id, version) that were written for them.

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
        written: list[tuple[str, str]] = []
        for tuning_id in gone:
            own = "(select no from runs where tuning = ? and arm = ?)"
            for table, run_no in (("answers", "run_no"), ("runs", "no")):
                cursor.execute(f"delete from {table} where {run_no} in {own}", [tuning_id, WRITTEN])
            surveys = cursor.execute(
                "delete from surveys where tuning = ? returning id, version", [tuning_id]
            ).fetchall()
            for survey_id, version in surveys:
                for table in ("items", "cultures"):
                    cursor.execute(
                        f"delete from {table} where survey = ? and version = ?",
                        [survey_id, version],
                    )
            written += surveys
            for table in ("questions", "pairs", "training"):
                cursor.execute(f"delete from {table} where tuning = ?", [tuning_id])
            for (job_id,) in cursor.execute(
                "delete from jobs where kind = 'tune' and settings->>'tuning' = ? returning id",
                [tuning_id],
            ).fetchall():
                self.log_of(job_id).unlink(missing_ok=True)
            folders = cursor.execute(
                "select folder from arms where tuning = ? and folder is not null", [tuning_id]
            ).fetchall()
            stay = any(self._on_shelf(folder).exists() for (folder,) in folders)
            answers = cursor.execute(
                """select 1 from runs r left join adapters a on a.id in (r.adapter, r.merged)
                   where r.tuning = ? or a.tuning = ?""",
                [tuning_id, tuning_id],
            ).fetchone()
            if stay or answers:
                cursor.execute("update tunings set counts = ? where id = ?", [EMPTIED, tuning_id])
                continue
            for table in ("results", "arms", "adapters", "abilities"):
                cursor.execute(f"delete from {table} where tuning = ?", [tuning_id])
            cursor.execute("delete from tunings where id = ?", [tuning_id])
        return gone, written

    def add_questions(self, rows: Sequence[dict]) -> None:
        """Written questions as they came, kept and not; one round lands together.

        Keys: those of the table questions.
        """
        with self._writing() as cursor:
            insert_rows(cursor, "questions", list(rows))

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
            insert_rows(cursor, "questions", list(rows))

    def keep_pairs(
        self, tuning_id: str, seed: int, teacher: str, answers: str, rows: Sequence[dict]
    ) -> None:
        """The pairs of one teacher and way of answering, put in place of earlier ones."""
        key = [tuning_id, seed, teacher, answers]
        with self._writing() as cursor:
            cursor.execute(
                "delete from pairs where (tuning, seed, teacher, answers) = (?, ?, ?, ?)", key
            )
            insert_rows(cursor, "pairs", list(rows))

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
                    """insert into arms values
                       (?, ?, ?, 'waiting', 0, '{}', [], '{}', null, null, null)""",
                    key,
                )
            if fields:
                assignments = ", ".join(f"{name} = ?" for name in fields)
                cursor.execute(
                    f"update arms set {assignments} where (tuning, arm, seed) = (?, ?, ?)",
                    [*fields.values(), *key],
                )

    def arms(self, tuning_id: str) -> list[dict]:
        """arm, seed, state, examples, counts, runs, facts, started, finished, folder; as they
        ran."""
        return self._records(
            "select * exclude tuning from arms where tuning = ? order by seed, started, arm",
            [tuning_id],
        )

    def add_training(self, rows: Sequence[dict]) -> None:
        """Points of the training curves; keys: those of the table training."""
        if rows:
            with self._writing() as cursor:
                insert_rows(cursor, "training", list(rows))

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
                    utc_now(),
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

    def adapter(self, adapter_id: str) -> dict | None:
        """An adapter's record, in the bin or not; None where it is gone for good."""
        return next(iter(self._records("select * from adapters where id = ?", [adapter_id])), None)

    def delete_adapter(self, adapter_id: str) -> None:
        with self._writing() as cursor:
            cursor.execute("update adapters set deleted = ? where id = ?", [utc_now(), adapter_id])

    def keep_abilities(self, tuning_id: str, arm: str, seed: int, record: dict) -> None:
        key = [tuning_id, arm, seed]
        with self._writing() as cursor:
            cursor.execute("delete from abilities where (tuning, arm, seed) = (?, ?, ?)", key)
            cursor.execute(
                "insert into abilities values (?, ?, ?, ?, ?)",
                [*key, json.dumps(record), utc_now()],
            )

    def abilities(self, tuning_id: str) -> list[dict]:
        """arm, seed, record, measured."""
        return self._records(
            "select * exclude tuning from abilities where tuning = ? order by arm, seed",
            [tuning_id],
        )

"""Runs and their answers in the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from core.asking.answers import Answer
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.store.database import Database, new_id, utc_now
from core.store.schema import ADAPTER_HASHES

# What a run was made for, where it is no arm of a tuning: the survey before it, its own questions.
BASE, WRITTEN = "base", "written"


@dataclass(frozen=True)
class Run:
    """One method of one asking of one model.

    stored: its settings as JSON text. facts: what loading found, as a JSON record. state: queued,
    running, stopped, interrupted, failed, done. planned: answers it is to hold; answered: answers
    it holds.
    """

    no: int
    id: str
    group: str
    kind: str  # "survey", "question", "imported", "bench"
    name: str
    method: str
    model: str
    stored: str
    facts: dict
    state: str
    planned: int
    answered: int
    created: datetime
    finished: datetime | None
    deleted: datetime | None
    tuning: str | None = None  # that it was made for,
    arm: str | None = None  # BASE, WRITTEN or an arm
    seed: int | None = None
    adapter: str | None = None  # adapters.id of the adapter on the model, where it is known here
    merged: str | None = None  # and of one that was merged into the model's weights

    @cached_property
    def settings(self) -> AskSettings:
        """What it was asked with."""
        return AskSettings.from_json(json.loads(self.stored))

    @property
    def way(self) -> str:
        """How it was asked, in words."""
        return self.settings.way


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


class RunRecords(Database):
    """What a store does with runs and their answers."""

    def add_run(
        self,
        settings: AskSettings,
        *,
        planned: int,
        name: str,
        group: str | None = None,
        kind: str = "survey",
        facts: dict | None = None,
        state: str = "queued",
        made_for: tuple[str, str, int | None] = ("", "", None),
    ) -> Run:
        """Freeze a run. Its settings never change again. made_for: tuning, arm and seed, if any."""
        run_id = new_id()
        with self._writing() as cursor:
            cursor.execute(
                """insert into runs (no, id, grp, kind, name, method, model, settings, facts, state,
                     planned, answered, created, tuning, arm, seed, survey, survey_version)
                   values (nextval('run_numbers'), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?,
                     ?, ?)""",
                [
                    run_id,
                    group or run_id,
                    kind,
                    name,
                    settings.method,
                    settings.model.source,
                    json.dumps(settings.to_json(), ensure_ascii=False),
                    json.dumps(facts or {}),
                    state,
                    planned,
                    utc_now(),
                    *(made_for if made_for[0] else (None, None, None)),
                    settings.survey,
                    settings.survey_version,
                ],
            )
            self._note_adapters(cursor, run_id)
        return self.run(run_id)

    def _note_adapters(self, cursor: duckdb.DuckDBPyConnection, run_id: str) -> None:
        """Tell which of the adapters made here has a part in a run: by hash, else by its folder."""
        folder, facts = cursor.execute(
            "select settings->'model'->>'adapter', facts from runs where id = ?", [run_id]
        ).fetchone()
        facts, where = json.loads(facts), None
        if folder and Path(folder).is_relative_to(self.home):
            where = Path(folder).relative_to(self.home).as_posix()
        by_hash = f"(select max_by(id, created) from ({ADAPTER_HASHES}) where sha256 = ?)"
        cursor.execute(
            f"""update runs set merged = coalesce({by_hash}, merged),
                  adapter = case when ? then coalesce({by_hash}, adapter,
                    (select max_by(id, created) from adapters where deleted is null
                       and tuning is not null and (path = ? or starts_with(path, ? || '/'))))
                  end
                where id = ?""",
            [facts.get("merged_sha256"), bool(folder), facts.get("adapter_sha256"),
             where, where, run_id],
        )  # fmt: skip

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
                  answered, created, finished, deleted, tuning, arm, seed, adapter, merged
                from runs {where} order by created desc, no desc""",
            params,
        )
        return [Run(*row[:8], json.loads(row[8]), *row[9:]) for row in found]

    def update_run(
        self, run_id: str, *, state: str | None = None, name: str | None = None,
        facts: dict | None = None,
    ) -> None:  # fmt: skip
        """What may change about a run: how far it is, what it is called, what loading found."""
        with self._writing() as cursor:
            if state:
                finished = utc_now() if state in ("done", "stopped", "failed") else None
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
                self._note_adapters(cursor, run_id)

    def there_are(self, run_ids: Sequence[str]) -> list[str]:
        """Those of some runs that are in the store, in the bin or not, in the order given."""
        found = self.rows("select id from runs where list_contains(?, id)", [list(run_ids)])
        known = {run_id for (run_id,) in found}
        return [run_id for run_id in run_ids if run_id in known]

    def delete_runs(self, run_ids: Iterable[str]) -> None:
        """Hide runs; restore_runs brings them back until empty_bin."""
        self._mark(run_ids, utc_now())

    def restore_runs(self, run_ids: Iterable[str]) -> None:
        self._mark(run_ids, None)

    def _mark(self, run_ids: Iterable[str], when: datetime | None) -> None:
        with self._writing() as cursor:
            for run_id in run_ids:
                cursor.execute("update runs set deleted = ? where id = ?", [when, run_id])

    def add_answers(self, run_no: int, answers: Sequence[Answer]) -> int:
        """Save answers at once; those the run holds already are left out. Says how many landed."""
        unique = list({answer.key(): answer for answer in answers}.values())
        if not unique:
            return 0
        now = utc_now()
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

    def scored_by(self, run_no: int) -> set[str]:
        """The rules by which a run's answers were scored or read (Answer.rule)."""
        sql = "select distinct rule from answers where run_no = ?"
        return {rule for (rule,) in self.rows(sql, [run_no])}

    def was_asked(self, model: str) -> bool:
        """Is there any run of a model (ModelSpec.source), in the bin or not?"""
        return bool(self.rows("select 1 from runs where model = ? limit 1", [model]))

    def cells_answered(self, run_no: int) -> int:
        """How many (country, item) pairs a run holds any answer to."""
        return self.rows(
            "select count(distinct (iso3, item)) from answers where run_no = ?", [run_no]
        )[0][0]

    def answer_table(
        self, run_no: int, number: int | None = None, item: str | None = None
    ) -> pa.Table:
        """What scoring needs: iso3, item, number, probs, chosen, state, mass, one row an answer.

        number: only those of this option order or sample. item: only those to this item.
        """
        sql, params = (
            "select iso3, item, number, probs, chosen, state, mass from answers where run_no = ?",
            [run_no],
        )
        if item is not None:
            sql, params = f"{sql} and item = ?", [*params, item]
        if number is not None:
            sql, params = f"{sql} and number = ?", [*params, number]
        return self.arrow(sql, params)

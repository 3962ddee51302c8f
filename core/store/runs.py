"""Runs and their answers in the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import pandas as pd
import pyarrow as pa

from core.asking.answers import Answer
from core.errors import PluriscopeError
from core.prompts.methods import way
from core.store.database import Database, new_id, utc_now


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
                    utc_now(),
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

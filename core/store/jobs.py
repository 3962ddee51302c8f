"""Jobs in the store: the queue, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import PluriscopeError
from core.store.database import Database, new_id, utc_now

JOB_FIELDS = {
    *("title", "state", "position", "phase", "done", "total", "rate"),
    *("error", "details", "started", "finished", "worked"),
}


class JobRecords(Database):
    """What a store does with jobs."""

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
                [job_id, kind, title, json.dumps(settings), list(runs), utc_now()],
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

"""Jobs in the store: the queue, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.models.spec import ModelSpec
from core.store.database import Database, new_id, utc_now

JOB_FIELDS = {
    *("title", "state", "position", "phase", "done", "total", "rate"),
    *("error", "details", "started", "finished", "worked"),
}


@dataclass(frozen=True)
class AskJob:
    """A run is to be asked for each of some settings.

    kind: of the runs, "survey" or "question". side_by_side: write answers of all runs in turn.
    derive: what is to be made of the runs once they are done (derived_runs.make).
    """

    asked: tuple[AskSettings, ...]
    side_by_side: bool = False
    kind: str = "survey"
    derive: tuple[Mapping, ...] = ()

    def to_json(self) -> dict:
        record = {
            "ask": [one.to_json() for one in self.asked],
            "side_by_side": self.side_by_side,
            "kind": self.kind,
        }
        return {**record, "derive": list(self.derive)} if self.derive else record

    @staticmethod
    def from_json(record: Mapping) -> AskJob:
        return AskJob(
            tuple(AskSettings.from_json(one) for one in record["ask"]),
            record.get("side_by_side", False),
            record.get("kind", "survey"),
            tuple(record.get("derive", ())),
        )


@dataclass(frozen=True)
class TuneJob:
    """A tuning, by its id, is to be carried out."""

    tuning: str

    def to_json(self) -> dict:
        return {"tuning": self.tuning}

    @staticmethod
    def from_json(record: Mapping) -> TuneJob:
        return TuneJob(record["tuning"])


@dataclass(frozen=True)
class MergeJob:
    """A model is to be saved in a folder with its adapter merged in."""

    model: ModelSpec
    folder: Path

    def to_json(self) -> dict:
        return {"model": self.model.to_json(), "folder": str(self.folder)}

    @staticmethod
    def from_json(record: Mapping) -> MergeJob:
        return MergeJob(ModelSpec.from_json(record["model"]), Path(record["folder"]))


@dataclass(frozen=True)
class GetJob:
    """A packaged model (core/models/packaged.py) is to be fetched."""

    name: str

    def to_json(self) -> dict:
        return {"get": self.name}

    @staticmethod
    def from_json(record: Mapping) -> GetJob:
        return GetJob(record["get"])


JobSettings = AskJob | TuneJob | MergeJob | GetJob
KINDS: dict[str, type[JobSettings]] = {
    "ask": AskJob, "tune": TuneJob, "merge": MergeJob, "get": GetJob,
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One job as the store keeps it.

    kind: of KINDS. stored: its settings as JSON text. position: its place among
    what is queued. phase: what it is at while at work. done, total: answers, or what else it
    counts; rate: of these in a second. error: a sentence; details: what to report. worked: seconds,
    pauses left out. Times are UTC.
    """

    id: str
    kind: str
    title: str
    stored: str
    runs: tuple[str, ...]
    state: str
    position: float
    phase: str
    done: int
    total: int
    rate: float | None
    error: str | None
    details: str | None
    created: datetime
    started: datetime | None
    finished: datetime | None
    worked: float

    @cached_property
    def settings(self) -> JobSettings:
        """What it is to do."""
        return KINDS[self.kind].from_json(json.loads(self.stored))


class JobRecords(Database):
    """What a store does with jobs."""

    def add_job(
        self, title: str, settings: JobSettings, runs: Sequence[str] = (), first: bool = False
    ) -> str:
        """Queue a job, last (or first) in line."""
        job_id = new_id()
        kind = next(name for name, made in KINDS.items() if isinstance(settings, made))
        with self._writing() as cursor:
            edge = "min(position) - 1" if first else "max(position) + 1"
            cursor.execute(
                f"""insert into jobs select ?, ?, ?, ?, ?, 'queued',
                     coalesce((select {edge} from jobs where state = 'queued'), 0),
                     '', 0, 0, null, null, null, ?, null, null, 0""",
                [job_id, kind, title, json.dumps(settings.to_json()), list(runs), utc_now()],
            )
        return job_id

    def jobs(
        self,
        states: Sequence[str] | None = None,
        *,
        kind: str | None = None,
        limit: int | None = None,
    ) -> list[Job]:
        """Jobs: those in line first, in their order, then the newest."""
        return self._jobs(
            "(? is null or state in (select unnest(?))) and (? is null or kind = ?)",
            [*[None if states is None else list(states)] * 2, kind, kind],
            limit,
        )

    def job(self, job_id: str) -> Job:
        found = self._jobs("id = ?", [job_id])
        if not found:
            raise PluriscopeError(f"There is no job {job_id!r}.")
        return found[0]

    def job_of_run(self, run_id: str) -> Job | None:
        """The job that asked a run; None for what was imported, or left the history."""
        return next(iter(self._jobs("list_contains(runs, ?)", [run_id], 1)), None)

    def job_of_tuning(self, tuning_id: str) -> Job | None:
        """The job that carries a tuning out; None where it left the history."""
        found = self._jobs("kind = 'tune' and settings->>'tuning' = ?", [tuning_id], 1)
        return found[0] if found else None

    def timed_askings(self, kind: str) -> list[Job]:
        """Jobs that asked runs of a kind and told how many answers came a second, newest first."""
        return self._jobs(
            """kind = 'ask' and state in ('done', 'stopped') and rate > 0
               and settings->>'kind' = ?""",
            [kind],
        )

    def _jobs(self, where: str, params: Sequence, limit: int | None = None) -> list[Job]:
        found = self.rows(
            f"""select id, kind, title, settings, runs, state, position, phase, done, total, rate,
                  error, details, created, started, finished, coalesce(worked, 0)
                from jobs where {where}
                order by state = 'queued' desc, case when state = 'queued' then position end,
                  created desc limit ?""",
            [*params, limit],
        )
        return [Job(*row[:4], tuple(row[4] or ()), *row[5:]) for row in found]

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

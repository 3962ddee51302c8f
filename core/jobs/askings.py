"""Runs that were asked together, as people see them: one asking, its name, its job."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from core.analysis import derived_runs
from core.errors import PluriscopeError
from core.store.jobs import Job
from core.store.runs import Run
from core.store.store import Store


def made_by(store: Store, job: Job) -> list[Run]:
    """The runs of a job, and those that were made from them, wherever those stand."""
    asked = [store.run(run_id) for run_id in job.runs]
    ids = {run.id for run in asked}
    every = sorted(store.runs(kind=None), key=lambda run: run.no)
    return asked + [run for run in every if derived_runs.sources(run) & ids]


class Asking(NamedTuple):
    """Runs that were started together, in the order they are asked, and their job.

    job is None for what was imported.
    """

    group: str
    name: str
    runs: tuple[Run, ...]
    job: Job | None

    @property
    def state(self) -> str:
        return self.job.state if self.job else self.runs[0].state

    @property
    def answered(self) -> int:
        return sum(run.answered for run in self.runs)

    @property
    def planned(self) -> int:
        return sum(run.planned for run in self.runs)


def askings(store: Store, *, kind: str | None = "survey") -> list[Asking]:
    """What was asked, newest first; what lies in the bin is left out. kind None takes all."""
    jobs = {run_id: job for job in store.jobs(kind="ask") for run_id in job.runs}
    groups: dict[str, list[Run]] = {}
    for run in store.runs(kind=kind):
        groups.setdefault(run.group, []).append(run)
    result = []
    for group, members in groups.items():
        members.sort(key=lambda run: run.no)
        job = jobs.get(members[0].id)
        name = job.title if job else _common_name(members)
        result.append(Asking(group, name, tuple(members), job))
    return result


def _common_name(runs: Sequence[Run]) -> str:
    """What runs that were made together have in common of their names."""
    parts = [run.name.split(" · ") for run in runs]
    same = list(itertools.takewhile(lambda one: len(set(one)) == 1, zip(*parts, strict=False)))
    return " · ".join(one[0] for one in same) if len(runs) > 1 and same else runs[0].name


def rename(store: Store, asking: Asking, name: str) -> None:
    """Give an asking another name; its runs are told apart by how they were asked."""
    name = " ".join(name.split())[:200]
    if not name:
        raise PluriscopeError("Give the run a name.")
    if asking.job:
        store.update_job(asking.job.id, title=name)
    wordings = {run.settings.prompt_set for run in asking.runs}
    for run in asking.runs:
        parts = [name]
        parts += [run.way.lower()] if len(asking.runs) > 1 else []
        parts += [run.settings.prompt_set] if len(wordings) > 1 else []
        store.update_run(run.id, name=" · ".join(parts))

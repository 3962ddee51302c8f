"""What the stages of a tuning ask of the worker, one command at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from core.jobs.progress import Closing, Stopped
from core.store.jobs import Job

if TYPE_CHECKING:
    from core.jobs.queue import Jobs


class StageHands:
    """What a tuning may do while its job is at work: see pipeline.Hands."""

    def __init__(self, jobs: Jobs, job: Job):
        self._jobs, self._job = jobs, job
        self.store = jobs.store
        self.home = jobs.store.home

    def stopping(self) -> None:
        """Raises Stopped once somebody asked for it."""
        if self._jobs._closing:
            raise Closing
        if self._jobs._live.state == "stopping":
            raise Stopped

    def begin(self, stage: str, done: int = 0, total: int = 0) -> None:
        live = self._jobs._live
        live.begin(stage, done, total)
        live.facts = {}
        with self._jobs._lock:
            if live.state == "loading":
                live.state = "running"
                self.store.update_job(self._job.id, state="running")
        self.store.update_job(self._job.id, phase=stage, done=done, total=total, worked=live.worked)

    def count(self, done: int, total: int | None = None, **facts: float) -> None:
        live = self._jobs._live
        live.total = live.total if total is None else total
        live.asked += done - live.done
        live.done = done
        live.facts = facts or live.facts

    def share(self, share: float) -> None:
        live = self._jobs._live
        if live.share is None:
            live.share_at_start = share
        live.share = share

    def ask(self, run_ids: Sequence[str], on_answers: Callable[[int], None]) -> None:
        self._jobs._ask(self._job, run_ids, on_answers=on_answers)
        for run_id in run_ids:
            self.store.update_run(run_id, state="done")

    def do(self, command: dict) -> Iterator[dict]:
        return self._jobs._converse(self._job, command)

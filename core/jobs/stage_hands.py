"""What the stages of a tuning ask of the worker, one command at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.jobs.progress import Live
from core.store.store import Store


@dataclass(frozen=True)
class StageHands:
    """What a tuning may do while its job is at work: see stages.Hands.

    stopping: raises Stopped or Closing once somebody asked for it. running: notes that the job is
    no longer loading. have_answered: has runs answered, and calls back with how many answers came.
    """

    store: Store
    live: Live
    stopping: Callable[[], None]
    running: Callable[[], None]
    have_answered: Callable[[Sequence[str], Callable[[int], None]], None]
    do: Callable[[Any], Iterator[Any]]

    @property
    def home(self) -> Path:
        return self.store.home

    def begin(self, stage: str, done: int = 0, total: int = 0) -> None:
        self.live.begin(stage, done, total)
        self.live.facts = {}
        self.running()
        self.store.update_job(
            self.live.job, phase=stage, done=done, total=total, worked=self.live.worked
        )

    def count(self, done: int, total: int | None = None, **facts: float) -> None:
        live = self.live
        live.total = live.total if total is None else total
        live.asked += done - live.done
        live.done = done
        live.facts = facts or live.facts

    def share(self, share: float) -> None:
        if self.live.share is None:
            self.live.share_at_start = share
        self.live.share = share

    def ask(self, run_ids: Sequence[str], on_answers: Callable[[int], None]) -> None:
        self.have_answered(run_ids, on_answers)
        for run_id in run_ids:
            self.store.update_run(run_id, state="done")

"""What every verb has: --json, the queue it works with, and a job to wait for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from core.home import home
from core.jobs.progress import Live
from core.jobs.queue import Jobs
from core.store.store import Store

# Gives one JSON record, and the words for people.
Run = Callable[[Jobs, argparse.Namespace], tuple[Any, str]]


def verb(
    verbs: argparse._SubParsersAction, name: str, run: Run, what: str
) -> argparse.ArgumentParser:
    """Declare a verb, to which its own flags are added."""
    made = verbs.add_parser(name, help=what, description=what.capitalize() + ".")
    made.add_argument("--json", action="store_true", help="last line of output: one JSON record")
    made.set_defaults(run=run)
    return made


@contextmanager
def own_jobs() -> Iterator[Jobs]:
    """The store and a queue that does what this command asks for, closed at the end."""
    jobs = Jobs(Store(home(), holder="a command of python -m core"), only_own=True)
    try:
        yield jobs
    finally:
        jobs.close()
        jobs.store.close()


def wait(jobs: Jobs, job_id: str, show: Callable[[Live], None]) -> dict:
    """A job once it has ended. Ctrl-C stops it first, and keeps what it did."""
    try:
        return jobs.wait(job_id, show)
    except KeyboardInterrupt:
        jobs.stop(job_id)
        jobs.wait(job_id)
        raise


def pace() -> float:
    """Seconds between lines of progress: few where nobody is watching."""
    return 0.2 if sys.stderr.isatty() else 10

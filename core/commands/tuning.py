"""Tuning without a browser: python -m core tune, experiment, tunings, arms."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace

from tqdm import tqdm

from core.errors import PluriscopeError
from core.jobs import estimates, plan_tuning
from core.jobs.progress import Live
from core.jobs.queue import Jobs
from core.metrics.metrics import HEADLINE, METRICS
from core.models.spec import ModelSpec
from core.tuning import experiments
from core.tuning.settings import ARMS, LIKENESS, MODES, Lora
from core.views.experiment import as_records

Verb = Callable[..., argparse.ArgumentParser]

RECOMMENDED = "cct_soft_all"
CONTROLS = (
    "culturespa", "culturespa_cct", "soft", "soft_all", "cct_soft_all", "cct_balanced",
    "random", "shuffled", "world_mean", "cct_shuffled", "cct_world_mean", "people",
    "people_shuffled",
)  # fmt: skip


def add_verbs(verb: Verb) -> None:
    """Declare the verbs; `verb(name, run, help)` makes one with --json."""
    tune = verb("tune", _tune, "tune a model on its own answers (CultureSPA)")
    _what(tune)
    tune.add_argument(
        "--arm", default=RECOMMENDED, choices=ARMS, help="how examples are made from the answers"
    )
    experiment = verb("experiment", _tune, "several ways of tuning and their controls, compared")
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
    verb("tunings", _tunings, "list tunings and experiments")

    arms = verb("arms", _arms, "how the arms of a tuning compare with the model before it")
    arms.add_argument("tuning", help="a tuning's id, as python -m core tunings lists")
    arms.add_argument("--metric", default=HEADLINE, choices=METRICS)
    arms.add_argument("--part", default="held_out", choices=experiments.PARTS)
    arms.add_argument("--method", default="country", choices=("plain", "country"))
    arms.add_argument(
        "--baseline", default=experiments.BASE, choices=(experiments.BASE, experiments.CALIBRATED),
        help="what changes are against: the model before tuning, or the same calibrated",
    )  # fmt: skip


def _what(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--model", default="builtin", help="builtin, a folder, or a hub id")
    verb.add_argument("--revision", help="commit or tag of a hub model")
    verb.add_argument("--precision", default="auto", help="auto, nf4, int8, bf16 or fp32")
    verb.add_argument("--trust-remote-code", action="store_true",
                      help="let this model run the code it brings; off by default")  # fmt: skip
    verb.add_argument("--countries", default="study", help="study (18), all, or USA,KEN,…")
    verb.add_argument("--mode", default="joint", choices=MODES,
                      help="one adapter for all countries, or one each")  # fmt: skip
    verb.add_argument("--per-topic", type=int, default=40, help="questions written on each topic")
    verb.add_argument("--topics", default="", help="joined by |; all where left out")
    verb.add_argument("--seed", type=int, default=42)
    verb.add_argument("--seed-items", default="all", choices=("all", "one"),
                      help="survey questions shown as examples: all of a topic or one")  # fmt: skip
    verb.add_argument("--near-limit", type=_limit, default=80.0, metavar="0-100|none",
                      help="from which likeness on a question repeats another")  # fmt: skip
    verb.add_argument("--leak-limit", type=_limit, default=80.0, metavar="0-100|none",
                      help="from which likeness on a question repeats a survey item")  # fmt: skip
    verb.add_argument("--likeness", default="chrf", choices=LIKENESS, help="chrF++ or ROUGE-L")
    verb.add_argument("--held-out-items", help="ids joined by commas; neither shown nor taught")
    verb.add_argument("--held-out-topics", default="", help="joined by |")
    verb.add_argument("--held-out-countries", default="", help="codes joined by commas")
    verb.add_argument("--evaluate", default="all", help="survey items asked before and after")
    verb.add_argument("--no-abilities", action="store_true", help="leave out what it cost")
    verb.add_argument("--tasks", default="", metavar="TASK,…",
                      help="also test tasks of lm-evaluation-harness: mmlu, arc, gsm8k, or any by "
                      "name")  # fmt: skip
    verb.add_argument("--preset", choices=plan_tuning.PRESETS, help="training settings")
    for name, kind in (("rank", int), ("alpha", int), ("learning-rate", float), ("epochs", float),
                       ("batch", int)):  # fmt: skip
        verb.add_argument(f"--{name}", type=kind)
    verb.add_argument("--tuning-precision", help="auto, nf4, bf16 or fp32, while it is tuned")
    verb.add_argument("--prompts", default="pluriscope", help="a prompt set, or the file of one")
    verb.add_argument("--name", default="")
    verb.add_argument("--resume", metavar="JOB", help="go on with a stopped or interrupted job")


def _limit(text: str) -> float | None:
    return None if text == "none" else float(text)


def _lora(a: argparse.Namespace) -> Lora:
    preset = a.preset or ("small" if a.model == "builtin" else "study")
    chosen = {
        name: getattr(a, name)
        for name in ("rank", "alpha", "learning_rate", "epochs", "batch")
        if getattr(a, name) is not None
    }
    if a.tuning_precision:
        chosen["precision"] = a.tuning_precision
    return replace(plan_tuning.PRESETS[preset], **chosen)


def _split(text: str, by: str = ",") -> list[str]:
    return [part.strip() for part in text.split(by) if part.strip()]


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in _split(text)]
    except ValueError:
        raise PluriscopeError(f"Seeds are whole numbers joined by commas, not {text!r}.") from None


def _tune(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    if a.resume:
        if jobs.store.job(a.resume)["kind"] != "tune":
            raise PluriscopeError(
                f"Job {a.resume} is no tuning: python -m core tunings lists each with its job."
            )
        jobs.resume(a.resume)
        job_id = a.resume
    else:
        several = hasattr(a, "arms")
        plan = plan_tuning.plan_tuning(
            jobs.store,
            ModelSpec(a.model, a.revision, a.precision, None, a.trust_remote_code),
            cultures=a.countries,
            arms=_split(a.arms) if several else [a.arm],
            seeds=_numbers(a.seeds) if several else [a.seed],
            mode=a.mode,
            per_topic=a.per_topic,
            topics=_split(a.topics, "|"),
            lora=_lora(a),
            seed_items=a.seed_items,
            near_limit=a.near_limit,
            leak_limit=a.leak_limit,
            likeness=a.likeness,
            held_out_items=None if a.held_out_items is None else _split(a.held_out_items),
            held_out_topics=_split(a.held_out_topics, "|"),
            held_out_cultures=_split(a.held_out_countries),
            evaluate=a.evaluate,
            abilities=not a.no_abilities,
            tasks=_split(a.tasks),
            equal_budgets=several and not a.own_budgets,
            prompt_set=a.prompts,
            name=a.name,
        )
        estimate = estimates.estimate_tuning(jobs.store, plan)
        if not estimate.fit.fits:
            raise PluriscopeError(estimate.fit.sentence)
        job_id = jobs.start_tuning(plan)
    job = _watch(jobs, job_id)
    if job["state"] == "failed":
        raise PluriscopeError(job["error"])
    record = summary(jobs, job)
    lines = [f"{record['tuning']}  {record['name']}: {record['state']}"]
    lines += [
        f"  {arm['arm']} (seed {arm['seed']}): {arm['state']}, {arm['examples']:,} examples"
        + (f". {arm['facts']['error']}" if arm["state"] == "failed" else "")
        for arm in record["arms"]
        if arm["arm"] != experiments.BASE
    ]
    return record, "\n".join(lines)


def summary(jobs: Jobs, job: dict) -> dict:
    """A tuning as one record: its stages' counts, arms, adapters and runs."""
    store = jobs.store
    tuning = store.tuning(job["settings"]["tuning"])
    return {
        "job": job["id"],
        "state": job["state"],
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


def _watch(jobs: Jobs, job_id: str) -> dict:
    """A progress bar over the whole tuning, its stage beside it, until it has ended."""
    pace = 0.2 if sys.stderr.isatty() else 10
    with tqdm(total=100, unit="%", file=sys.stderr, mininterval=pace, dynamic_ncols=True,
              bar_format="{l_bar}{bar}| {elapsed}{postfix}") as bar:  # fmt: skip

        def show(live: Live) -> None:
            bar.set_postfix_str(f"{live.stage} {live.done:,}/{live.total:,}", refresh=False)
            bar.update(100 * (live.share or 0.0) - bar.n)

        try:
            job = jobs.wait(job_id, show)
        except KeyboardInterrupt:
            jobs.stop(job_id)
            jobs.wait(job_id)
            raise
        bar.update(100 - bar.n)
    return job


def _tunings(jobs: Jobs, _: argparse.Namespace) -> tuple[list, str]:
    found = []
    by_tuning = {
        job["settings"]["tuning"]: job for job in jobs.store.jobs(limit=5000)
        if job["kind"] == "tune"
    }  # fmt: skip
    for tuning in jobs.store.tunings():
        job = by_tuning.get(tuning["id"])
        arms = jobs.store.arms(tuning["id"])
        found.append(
            {
                "id": tuning["id"],
                "name": tuning["name"],
                "state": job["state"] if job else "done",
                "job": job["id"] if job else None,
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

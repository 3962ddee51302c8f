"""What there is and how close it is: python -m core runs, score, signal, robustness, references."""

from __future__ import annotations

import argparse
import sys

from core import wording
from core.analysis import robustness, scores
from core.commands.verbs import verb
from core.errors import NothingAsked
from core.jobs.queue import Jobs
from core.metrics.metrics import METRICS
from core.tuning import lineage
from core.views import runs, score_records


def add(verbs: argparse._SubParsersAction) -> None:
    verb(verbs, "runs", _runs, "list the runs in the store")

    score = verb(verbs, "score", _score, "score a run against people's answers")
    score.add_argument("--run", dest="run_id", required=True, metavar="ID", help="a run, or all")
    score.add_argument("--metric", default="emd", choices=METRICS, help="default: emd")
    score.add_argument("--topic", default="", help="only the items of one topic")
    score.add_argument(
        "--by", default="country", choices=score_records.BY, help="also one score for each of these"
    )

    sign = verb(verbs, "signal", _signal, "is a run about the country at all?")
    sign.add_argument("--run", dest="run_id", required=True, metavar="ID", help="a run, or all")
    sign.add_argument("--metric", default="emd", choices=METRICS, help="default: emd")

    steady = verb(verbs, "robustness", _robustness, "how far a run's answers and scores hold")
    steady.add_argument("--run", dest="run_id", required=True, metavar="ID")
    steady.add_argument("--metric", default="emd", choices=METRICS, help="default: emd")

    refs = verb(verbs, "references", _references, "what one gets without a model")
    refs.add_argument("--survey", default="wvs7", help="id of a survey in the store")
    refs.add_argument("--metric", default="emd", choices=METRICS)


def _runs(jobs: Jobs, _: argparse.Namespace) -> tuple[list, str]:
    found = [
        {
            "id": run.id,
            "group": run.group,
            "name": run.name,
            "method": run.method,
            "uses_human_answers": lineage.human_answers(jobs.store, run),
            "model": run.model,
            "state": run.state,
            "answers": run.answered,
            "planned": run.planned,
            "created": run.created.isoformat(timespec="seconds"),
        }
        for run in jobs.store.runs(kind=None)
    ]
    lines = [
        f"{r['id']}  {r['state']:<11} {r['answers']:>6}/{r['planned']}  {r['name']}" for r in found
    ]
    return found, "\n".join(lines) or "No runs yet. Start one with: python -m core ask"


def _score(jobs: Jobs, a: argparse.Namespace) -> tuple[dict | list, str]:
    store = jobs.store
    if a.run_id != "all":
        record = score_records.score_record(store, a.run_id, a.metric, a.topic, a.by)
        return record, score_records.score_words(record)
    known = runs.askings(store)
    records = []
    for run in store.runs(kind="survey"):
        if not run.answered:
            continue
        try:
            records.append(
                score_records.score_record(store, run.id, a.metric, a.topic, a.by, known)
            )
        except NothingAsked as error:
            print(f"{run.id} is left out: {error}", file=sys.stderr)
    return records, "\n".join(
        map(score_records.score_words, records)
    ) or "No runs with such answers."


def _signal(jobs: Jobs, a: argparse.Namespace) -> tuple[dict | list, str]:
    store = jobs.store
    if a.run_id != "all":
        record = score_records.signal_record(store, a.run_id, a.metric)
        return record, score_records.signal_words(record)
    records = [
        score_records.signal_record(store, run.id, a.metric)
        for run in store.runs(kind="survey")
        if run.answered
    ]
    return records, "\n".join(
        map(score_records.signal_words, records)
    ) or "No runs with answers yet."


def _robustness(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    store = jobs.store
    run = store.run(a.run_id)
    formats = runs.formats_of(runs.askings(store), run)
    found = robustness.spread(store, formats, a.metric)
    held = robustness.held(store, formats)
    result = {
        "runs": [one.id for one in formats],
        "method": run.method,
        "metric": a.metric,
        **{key: value for key, value in found._asdict().items() if key != "countries"},
        "countries": found.countries,
        "held": held.to_dict("records"),
    }
    return result, "\n".join([robustness.spread_words(found), robustness.held_words(held)])


def _references(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    found = scores.reference_means(jobs.store, a.survey, a.metric)
    result = {"survey": a.survey, "metric": a.metric, **found}
    lines = [f"{wording.number(value, 2):>7}  {name}" for name, value in found.items()]
    return result, "\n".join(lines)

"""The same verbs without a browser: python -m core ask, derive, runs, score, references, export, …

With --json the last line on standard output is one JSON record; everything else goes to standard
error.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

from core import options, wording
from core.analysis import derived_runs, robustness, scores
from core.asking import languages
from core.commands import tuning
from core.errors import NothingAsked, PluriscopeError
from core.home import home
from core.importers import IMPORTERS, import_into, importer
from core.jobs import askings
from core.jobs.choices import AskChoices, strength
from core.jobs.plan import plan_plain, plan_survey
from core.jobs.queue import Jobs
from core.metrics.metrics import METRICS
from core.models.spec import ModelSpec
from core.store.runs import Run
from core.store.store import Store
from core.strict_json import strict_json
from core.tuning import lineage
from core.views import export, provenance, runs, score_records, tables

WHAT_IS_ASKED = ("cultures", "methods", "items")  # stands first in the help


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        jobs = Jobs(Store(home(), holder="a command of python -m core"), only_own=True)
    except PluriscopeError as error:
        return _sorry(error)
    try:
        result, said = arguments.run(jobs, arguments)
    except PluriscopeError as error:
        return _sorry(error)
    except KeyboardInterrupt:
        print("Stopped. What was answered is saved.", file=sys.stderr)
        return 130
    finally:
        jobs.close()
        jobs.store.close()
    print(said, file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        print(strict_json(result))
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m core",
        description="Ask a model survey questions as people of different countries, and score it.",
    )
    verbs = top.add_subparsers(
        required=True, metavar="ask|derive|runs|score|signal|robustness|references|export|import"
    )

    ask = _verb(verbs, "ask", _ask, "ask a model the items of a survey")
    options.add(ask, ModelSpec)
    options.add(ask, AskChoices, WHAT_IS_ASKED)
    options.add(ask, AskChoices, but=WHAT_IS_ASKED)
    ask.add_argument("--resume", metavar="JOB", help="go on with a stopped job instead")

    make = _verb(verbs, "derive", _derive, "make a run from the answers of others")
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

    _verb(verbs, "runs", _runs, "list the runs in the store")

    score = _verb(verbs, "score", _score, "score a run against people's answers")
    score.add_argument("--run", dest="run_id", required=True, metavar="ID", help="a run, or all")
    score.add_argument("--metric", default="emd", choices=METRICS, help="default: emd")
    score.add_argument("--topic", default="", help="only the items of one topic")
    score.add_argument(
        "--by", default="country", choices=score_records.BY, help="also one score for each of these"
    )

    sign = _verb(verbs, "signal", _signal, "is a run about the country at all?")
    sign.add_argument("--run", dest="run_id", required=True, metavar="ID", help="a run, or all")
    sign.add_argument("--metric", default="emd", choices=METRICS, help="default: emd")

    steady = _verb(verbs, "robustness", _robustness, "how far a run's answers and scores hold")
    steady.add_argument("--run", dest="run_id", required=True, metavar="ID")
    steady.add_argument("--metric", default="emd", choices=METRICS, help="default: emd")

    refs = _verb(verbs, "references", _references, "what one gets without a model")
    refs.add_argument("--survey", default="wvs7", help="id of a survey in the store")
    refs.add_argument("--metric", default="emd", choices=METRICS)

    bring = _verb(verbs, "import", _import, "bring in a survey, or answers recorded elsewhere")
    bring.add_argument("kind", choices=[*IMPORTERS, "translation"], help="what kind of file it is")
    bring.add_argument(
        "--survey", default="wvs7", help="for a translation: of which survey's items"
    )
    bring.add_argument("path", type=Path, help="a file, a zip, or a folder")
    bring.add_argument(
        "--accept-good-rows",
        action="store_true",
        help="for a table with mistakes: import the rows that are right",
    )
    bring.add_argument("--name", default="", help="what to call the survey")
    bring.add_argument(
        "--unweighted", action="store_true", help="wvs: every person counts the same"
    )
    bring.add_argument(
        "--keep-rows", action="store_true", help="wvs: keep each person's answers as well"
    )

    bring.add_argument(
        "--model", default="", help="culturespa: which model gave the recorded answers"
    )

    tuning.add_verbs(partial(_verb, verbs))

    out = _verb(verbs, "export", _export, "write a run to a file")
    out.add_argument("--run", dest="run_id", required=True, metavar="ID")
    out.add_argument("--to", type=Path, required=True, help="a .json, .csv or .parquet file")
    out.add_argument(
        "--table",
        default="answers",
        choices=tables.TABLES,
        help="which table to write as .csv or .parquet (default: answers, people's beside them)",
    )
    out.add_argument(
        "--metric", default="", choices=["", *METRICS], help="of tables of scores; default: emd"
    )
    return top


def _verb(verbs, name: str, run, what: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=what, description=what.capitalize() + ".")
    verb.add_argument("--json", action="store_true", help="last line of output: one JSON record")
    verb.set_defaults(run=run)
    return verb


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
    if job["state"] == "failed":
        raise PluriscopeError(job["error"])
    made = askings.made_by(jobs.store, job)
    result = {
        "job": job_id,
        "state": job["state"],
        "runs": [_made(jobs.store, run) for run in made],
        **({"error": job["error"]} if job["error"] else {}),  # of what was to be made of the runs
    }
    lines = [f"{run.id}  {run.name}: {run.state}" for run in made]
    return result, "\n".join([*lines, *([job["error"]] if job["error"] else [])])


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
    record = made.settings["derived"]
    result = {
        "run": made.id,
        **_made(store, made),
        **{key: record[key] for key in ("sources", "alphas", "temperatures") if key in record},
    }
    return result, f"{made.id}  {made.name}: {made.answered:,} answers"


def _ask_plainly(jobs: Jobs, run: Run) -> Run:
    """Have asked what amplifying a run needs and nobody asked yet."""
    job = _watch(jobs, jobs.start(plan_plain(jobs.store, run), first=True))
    if job["state"] != "done":
        raise PluriscopeError(job["error"] or "The plain run was stopped; resume it first.")
    return jobs.store.run(job["runs"][0])


def _watch(jobs: Jobs, job_id: str) -> dict:
    pace = 0.2 if sys.stderr.isatty() else 10  # seconds between lines where nobody is watching
    with tqdm(unit=" answers", file=sys.stderr, mininterval=pace, dynamic_ncols=True) as bar:

        def show(done: int, total: int, doing: str = "") -> None:
            bar.total = total
            bar.set_description_str(doing, refresh=False)
            bar.update(done - bar.n)

        try:
            job = jobs.wait(job_id, lambda live: show(live.done, live.total, live.doing))
        except KeyboardInterrupt:
            jobs.stop(job_id)
            jobs.wait(job_id)
            raise
        show(job["done"], job["total"])
    return job


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


def _import(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    if a.kind == "translation":
        return _import_translation(jobs, a)
    module = importer(a.kind)
    wanted = {"name": a.name}
    for flag, kind, option in (
        ("accept_good_rows", "table", {"accept_good_rows": True}),
        ("unweighted", "wvs", {"weighted": False}),
        ("keep_rows", "wvs", {"keep_rows": True}),
        ("model", "culturespa", {"model": a.model}),
    ):
        if getattr(a, flag):
            if a.kind != kind:
                flag = flag.replace("_", "-")
                raise PluriscopeError(f"--{flag} is for {kind}: python -m core import {kind} …")
            wanted |= option
    imported = module.read(a.path, module.Options(**wanted))
    result = import_into(jobs.store, imported, source=a.path.name)
    lines = [
        f"{result['survey']}: {result['items']} questions, {len(result['countries'])} countries"
        + ("" if result["new"] else " (this version was there already)"),
        *(f"{run['id']}  {run['method']}" for run in result["runs"]),
        *(f"left out: {count:,} {reason}" for reason, count in result["dropped"].items()),
        *result["notes"],
    ]
    return result, "\n".join(lines)


def _import_translation(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    survey = jobs.store.survey(a.survey)
    there = languages.bring_in(survey, a.path)
    result = {
        "language": there.language,
        "survey": survey.id,
        "items": there.items,
        "drafts": there.drafts,
        "of": len(survey.items),
    }
    return result, languages.imported_words(there, survey)


def _export(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    store, suffix = jobs.store, a.to.suffix.lower()
    if suffix not in (".json", ".csv", ".parquet"):
        raise PluriscopeError("Give a file that ends in .json, .csv or .parquet.")
    if not a.to.parent.is_dir():
        raise PluriscopeError(f"There is no folder {a.to.parent}. Make it first, or give another.")
    try:
        return _write(store, a)
    except OSError as error:
        raise PluriscopeError(f"{a.to} cannot be written: {error.strerror}.") from error


def _write(store: Store, a: argparse.Namespace) -> tuple[dict, str]:
    """Write what _export was asked for."""
    suffix, result = a.to.suffix.lower(), {"run": a.run_id, "file": str(a.to)}
    if suffix == ".json":
        a.to.write_text(export.run_json(store, a.run_id), encoding="utf-8")
        return result, f"Wrote {a.to}."
    run = store.run(a.run_id)
    table, card = (
        tables.TABLES[a.table].make(store, run, a.metric),
        provenance.card_json(store, run),
    )
    a.to.write_bytes(
        export.csv_bytes(table) if suffix == ".csv" else export.parquet_bytes(table, card)
    )
    beside = a.to.with_name(f"{a.to.stem}.card.json")
    beside.write_text(card, encoding="utf-8")
    result |= {"table": a.table, "rows": len(table), "card": str(beside)}
    return result, f"Wrote {a.to} and {beside}, which says where it comes from."


def _sorry(error: PluriscopeError) -> int:
    print(str(error), file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())

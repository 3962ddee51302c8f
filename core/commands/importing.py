"""Surveys, recorded answers and translations from files: python -m core import."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.asking import languages
from core.commands.verbs import verb
from core.errors import PluriscopeError
from core.importers import IMPORTERS, import_into, importer
from core.jobs.queue import Jobs
from core.models import adapter_exchange
from core.models.spec import ModelSpec


def add(verbs: argparse._SubParsersAction) -> None:
    bring = verb(verbs, "import", _import, "bring in a survey, or answers recorded elsewhere")
    bring.add_argument(
        "kind", choices=[*IMPORTERS, "translation", "adapter"], help="what kind of file it is"
    )
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
    bring.add_argument(
        "--for",
        default="",
        metavar="MODEL",
        help="adapter: it is for this model, although it names another",
    )


def _import(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    if a.kind == "translation":
        return _import_translation(jobs, a)
    if a.kind == "adapter":
        return _import_adapter(jobs, a)
    module = importer(a.kind)
    wanted = {"name": a.name}
    for flag, kind, option in (
        ("accept_good_rows", "table", {"accept_good_rows": True}),
        ("unweighted", "wvs", {"weighted": False}),
        ("keep_rows", "wvs", {"keep_rows": True}),
        ("model", "culturespa", {"model": a.model}),
        ("for", "adapter", {}),
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


def _import_adapter(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    base = getattr(a, "for")
    brought = adapter_exchange.bring_in(
        a.path, jobs.store.home, name=a.name, base=ModelSpec(base) if base else None
    )
    result = {
        "folder": str(brought.adapter.path),
        "tuned_on": brought.adapter.base,
        "model": brought.base.source if brought.base else None,
    }
    fits = adapter_exchange.fitting(brought.adapter, jobs.store.home)
    return result, adapter_exchange.imported_words(brought, fits)


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

"""Take a run out of the store: all of it as JSON, its aggregates as a table, and its provenance.

Files made for spreadsheets are safe to open: a text that would be read as a formula is quoted.
"""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

from core.analysis.cells import cells
from core.asking.parsing import LOST
from core.asking.settings import AskSettings
from core.models.spec import resolve_precision
from core.sanitize import not_a_formula
from core.store.runs import Run
from core.store.store import Store
from core.strict_json import strict_json
from core.survey.survey import Item, Survey
from core.tuning import lineage
from core.tuning.lineage import human_answers

FORMAT = "pluriscope-run/1"


# -- the files -------------------------------------------------------------------------------------


def run_json(store: Store, run_id: str) -> str:
    """A whole run as JSON: what it was asked with, the wording, the questions, every answer.

    Holds no answers of people. Distributions are in the order of each question's option codes.
    """
    run = store.run(run_id)
    settings = run.settings
    survey = store.survey(settings.survey, settings.survey_version)
    record = {
        "format": FORMAT,
        "id": run.id,
        "group": run.group,
        "kind": run.kind,
        "name": run.name,
        "state": run.state,
        "planned": run.planned,
        "answered": run.answered,
        "created": run.created.isoformat(),
        "finished": run.finished.isoformat() if run.finished else None,
        "settings": json.loads(run.stored),
        "uses_human_answers": human_answers(store, run),
        "facts": run.facts,
        "wording": store.prompt_texts(settings.prompt_sha256),
        "translations": _translation_records(store, settings),
        "survey": {
            "id": survey.id,
            "version": survey.version,
            "name": survey.name,
            "citation": survey.citation,
        },
        "items": [_item_record(item) for item in settings.asked_items(survey)],
        "answers": [_answer_record(row) for row in store.answers(run.no).to_dict("records")],
    }
    return strict_json(record, indent=1)


def _translation_records(store: Store, settings: AskSettings) -> dict[str, dict]:
    """Per language: items, countries and prompts as they were asked."""
    return {
        language: {
            **(store.translation(facts["sha256"]) or {}),
            "wording": store.prompt_texts(facts["prompt_sha256"]),
        }
        for language, facts in (settings.translations or {}).items()
    }


def run_table(store: Store, run_id: str) -> pd.DataFrame:
    """Aggregates of a run, one row for each option of each question in each country.

    The model's distribution (averaged over option orders; for written answers, shares of those
    that could be read) beside people's. A run asked plainly is set beside each of its countries.

    Columns: run, model, revision, precision, adapter_sha256, method, uses_human_answers (which of
    people's, "" for none), answering, derived_from (ids of runs), option_orders, language ("own":
    each country's), prompt_set, prompt_sha256, seed, survey, survey_version, code_version,
    answered_as (country code or ""), country, item, topic, label, code, option, model_share,
    people_share, people_n, people_basis, answers, refused, unreadable.
    """
    run = store.run(run_id)
    settings = run.settings
    survey = store.survey(settings.survey, settings.survey_version)
    asked, personas = settings.asked_items(survey), settings.personas()
    # Probabilities are no more precise than the store keeps them.
    precision = np.float32 if settings.answering == "probabilities" else np.float64
    shares = cells(store, run, asked, personas).shares.astype(precision)
    items = {item.id: (index, item) for index, item in enumerate(asked)}
    compared = _compared_with(settings, survey)
    rows = []
    for (iso3, item_id), answers in store.answers(run.no).groupby(["iso3", "item"], sort=False):
        place, item = items[item_id]
        model = shares[personas.index(iso3), place]
        states = answers["state"].value_counts()
        for country in [iso3] if iso3 else compared:
            people = survey.shares.get((country, item_id))
            for index, option in enumerate(item.options):
                rows.append(
                    {
                        "answered_as": iso3,
                        "country": country,
                        "item": item_id,
                        "topic": item.topic,
                        "label": item.label,
                        "code": option.code,
                        "option": option.label,
                        "model_share": model[index],
                        "people_share": people.values[index] if people else np.nan,
                        "people_n": people.n_valid if people else 0,
                        "people_basis": people.basis if people else "",
                        "answers": len(answers),
                        "refused": int(states.get("refused", 0)),
                        "unreadable": sum(int(states.get(state, 0)) for state in LOST),
                    }
                )
    table = pd.DataFrame(rows, columns=_ROW_COLUMNS)
    for position, (name, value) in enumerate(_run_columns(store, run, settings).items()):
        table.insert(position, name, value)
    return table


_ROW_COLUMNS = [
    *("answered_as", "country", "item", "topic", "label", "code", "option"),
    *("model_share", "people_share", "people_n", "people_basis"),
    *("answers", "refused", "unreadable"),
]


def csv_bytes(table: pd.DataFrame) -> bytes:
    """A table as CSV (UTF-8). Texts that a spreadsheet would run as a formula get a leading '."""
    safe = table.copy()
    for name in safe.select_dtypes(exclude="number"):
        safe[name] = safe[name].map(not_a_formula)
    safe.columns = [not_a_formula(name) for name in safe.columns]
    return safe.to_csv(index=False, lineterminator="\n").encode("utf-8")


def parquet_bytes(table: pd.DataFrame, card: str = "") -> bytes:
    """A table as Parquet. card: the provenance card, kept in the file's metadata ("pluriscope")."""
    made = pa.Table.from_pandas(table, preserve_index=False)
    if card:
        made = made.replace_schema_metadata({**(made.schema.metadata or {}), "pluriscope": card})
    stream = io.BytesIO()
    parquet.write_table(made, stream)
    return stream.getvalue()


def _run_columns(store: Store, run: Run, settings: AskSettings) -> dict[str, object]:
    return {
        "run": run.id,
        "model": settings.model.source,
        "revision": run.facts.get("revision") or settings.model.revision or "",
        "precision": run.facts.get("precision") or resolve_precision(settings.model),
        "adapter_sha256": run.facts.get("adapter_sha256") or "",
        "method": settings.method,
        "uses_human_answers": human_answers(store, run),
        "answering": settings.answering,
        "derived_from": " ".join(settings.derived["sources"].values()) if settings.derived else "",
        "option_orders": settings.orders,
        "label_rule": settings.label_rule if settings.answering == "probabilities" else "",
        "language": settings.language,
        "prompt_set": settings.prompt_set,
        "prompt_sha256": settings.prompt_sha256,
        "seed": settings.seed,
        "survey": settings.survey,
        "survey_version": settings.survey_version,
        "code_version": settings.code_version,
    }


def _compared_with(settings: AskSettings, survey: Survey) -> list[str]:
    """The countries that answers given as nobody in particular are set beside."""
    if settings.own_item:
        return [""]
    return list(settings.cultures) or [culture.iso3 for culture in survey.cultures]


def _item_record(item: Item) -> dict:
    return {
        "id": item.id,
        "topic": item.topic,
        "label": item.label,
        "question": item.question,
        "scale": item.scale,
        "options": {str(option.code): option.label for option in item.options},
        "off_scale": list(item.off_scale),
    }


def _answer_record(row: dict) -> dict:
    """An answer in plain JSON values; what is not there is left out."""
    record = {"asked_as": row["iso3"], "item": row["item"], "number": int(row["number"])}
    if row["probs"] is not None and len(row["probs"]):
        record["probabilities"] = [round(float(p), 6) for p in row["probs"]]
    if not pd.isna(row["mass"]):
        record["mass"] = round(float(row["mass"]), 6)
    record["chosen"] = None if pd.isna(row["chosen"]) else int(row["chosen"])
    record |= {"state": row["state"], "rule": row["rule"]}
    if isinstance(row["text"], str):
        record["text"] = row["text"]
    if not pd.isna(row["seconds"]):
        record["seconds"] = round(float(row["seconds"]), 3)
    record["answered_at"] = row["answered_at"].isoformat()
    return record


def download_table(
    store: Store,
    table: pd.DataFrame,
    run: Run,
    before: Run | None = None,
    metric: str = "",
    topic: str = "",
) -> pd.DataFrame:
    """A table as shown, with what its numbers come from beside every row."""
    settings = run.settings
    facts = {
        "run": run.id,
        "compared_with": before.id if before else "",
        "model": settings.model.source,
        "method": run.method,
        "uses_human_answers": lineage.human_answers(store, run),
        "metric": metric,
        "topic": topic,
        "survey": settings.survey,
        "survey_version": settings.survey_version,
        "prompt_sha256": settings.prompt_sha256,
        "option_orders": settings.orders,
        "label_rule": settings.label_rule if settings.answering == "probabilities" else "",
        "seed": settings.seed,
        "code_version": settings.code_version,
    }
    return table.assign(**{name: value for name, value in facts.items() if name not in table})

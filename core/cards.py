"""The model card of an adapter: what it is, how it was made, what it does, what it cannot do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from core import experiments, words
from core.adapters import plain
from core.catalogue import ModelSpec, describe, loaded_as
from core.culturespa import cultures_of
from core.errors import disk_in_words
from core.metrics import HEADLINE, METRICS
from core.settings import Arm, TuneSettings
from core.store import Store


def write_card(store: Store, tuning_id: str, arm: Arm, seed: int, folder: Path) -> None:
    """Write README.md into an adapter's folder, with what the store knows of it by now."""
    text = card(store, tuning_id, arm, seed)
    unfinished = folder / "README.part"
    with disk_in_words("The adapter’s card"):
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(folder / "README.md")


def card(store: Store, tuning_id: str, arm: Arm, seed: int) -> str:
    """The card as Markdown with the fields that the Hugging Face hub reads."""
    record = store.tuning(tuning_id)
    settings = TuneSettings.from_json(record["settings"])
    survey = store.survey(settings.survey, settings.survey_version)
    made = [
        a for a in store.adapters(tuning_id) if (a["arm"], a["seed"]) == (arm.name, seed)
    ]  # fmt: skip
    base = describe(ModelSpec.from_json(record["settings"]["model"]))
    source = settings.model.source
    revision = made[0]["base_revision"] if made else ""
    countries = [survey.culture(code).name for code in cultures_of(settings)]
    head = "---\nlibrary_name: peft\n"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        head += f"base_model: {source}\n"
    head += "tags:\n- lora\n- pluriscope\n---\n"
    parts = [
        f"{head}# {plain(record['name'])}",
        f"A LoRA adapter for {plain(base)}, made by Pluriscope. {plain(arm.title)}.",
        "## Base\n\n" + _table([("Model", source), ("Revision", revision or "unknown")]),
        "## How its examples were made\n\n" + _lineage(store, tuning_id, settings, arm, seed),
        f"Countries: {plain(', '.join(countries))}.",
        "## Settings\n\n" + _table([*_training(settings, arm, seed)]),
        "## What it does\n\n" + _scores(store, tuning_id, settings, arm, seed),
        "## What it cost elsewhere\n\n" + _cost(store, tuning_id, arm, seed),
        "## Files\n\n" + _table([(a["path"].split("/", 1)[-1], a["sha256"]) for a in made]),
        "## Limits\n\n" + LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


LIMITS = """- A country is not a culture; a national average is nobody's opinion.
- A model cannot learn from its own answers what it did not know, and can amplify its stereotypes.
- A higher score can come with answers that are more alike from country to country; see diversity.
- Measured on survey questions in English, answered by choosing an option. Not a respondent: not for
  polling, targeting or deciding about people.
- People's answers: World Values Survey, wave 7, aggregates; non-profit use, cite the source."""


def _table(rows: Sequence[tuple[str, object]]) -> str:
    lines = [f"| {plain(name)} | {plain(value)} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---|", *lines])


def _lineage(store: Store, tuning_id: str, settings: TuneSettings, arm: Arm, seed: int) -> str:
    counts = store.tuning(tuning_id)["counts"]
    state = next(a for a in store.arms(tuning_id) if (a["arm"], a["seed"]) == (arm.name, seed))
    rows: list[tuple[str, object]] = []
    if arm.uses_human_answers:
        rows.append(("Uses people's answers", "yes, shares of survey questions not held out"))
    else:
        rows.append(("Uses people's answers", "no"))
        questions = counts.get(f"{seed}/questions", {}).get("states", {})
        rows.append(("Questions written by the model", sum(questions.values())))
        rows.append(("of them kept", questions.get("kept", 0)))
        pairs = counts.get(f"{seed}/pairs/{arm.teacher}/{arm.answers}")
        if pairs:
            rows.append(("Pairs", f"{pairs['pairs']}, of which {pairs['differing']} differ"))
    if arm.teacher == "cross_culture":
        rows.append(("Answers given under", "cross-culture thinking (near and far countries are "
                     "told from the survey), taught under the plain country prompt"))  # fmt: skip
    rows.append(("Examples", state["examples"]))
    rows.append(("Held-out questions", len(settings.held_out_items)))
    if settings.held_out_topics:
        rows.append(("Held-out topics", ", ".join(settings.held_out_topics)))
    if settings.held_out_cultures:
        rows.append(("Held-out countries", ", ".join(settings.held_out_cultures)))
    rows.append(("Wording", f"{settings.prompt_set}, sha256 {settings.prompt_sha256}"))
    return _table(rows)


def _training(settings: TuneSettings, arm: Arm, seed: int) -> list[tuple[str, object]]:
    lora = settings.lora
    return [
        ("Labels", "whole distributions" if arm.labels == "soft" else "one option"),
        ("Pairs used", arm.choose),
        ("Adapters", "one for all countries" if arm.mode == "joint" else "one for each country"),
        ("Rank, alpha, dropout", f"{lora.rank}, {lora.alpha}, {lora.dropout:g}"),
        ("Learning rate", f"{lora.learning_rate:g}, cosine, warm-up {lora.warmup:g}"),
        ("Epochs, batch", f"{lora.epochs:g}, {lora.batch}"),
        ("Precision of the base", loaded_as(lora.base(settings.model).precision)),
        ("Seed", seed),
        ("Pluriscope", settings.code_version),
    ]


def _scores(store: Store, tuning_id: str, settings: TuneSettings, arm: Arm, seed: int) -> str:
    """Changes against the base with their intervals, for this seed."""
    survey = store.survey(settings.survey, settings.survey_version)
    rows = [
        "| Asked | Questions | Score before | Score after | Change (95% interval) | Diversity |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for method, asked in (("country", "as a person from …"), ("plain", "plainly")):
        for part, name in experiments.parts_of(settings, survey).items():
            found = experiments.one_arm(store, tuning_id, arm, seed, HEADLINE, part, method)
            if found is None:
                continue
            before, after, change, spread = found
            rows.append(
                f"| {asked} | {name.lower()} | {words.number(before)} | {words.number(after)} | "
                f"{words.signed(change.value)} ({words.interval(change.low, change.high)})"
                f"{'' if change.clear else ', too small to call'} | {spread} |"
            )
    if len(rows) == 2:
        return "The survey was not asked after tuning."
    return "\n".join([f"{METRICS[HEADLINE].label}, of 100.", "", *rows])


def _cost(store: Store, tuning_id: str, arm: Arm, seed: int) -> str:
    for one in store.abilities(tuning_id):
        if (one["arm"], one["seed"]) == (arm.name, seed):
            return plain(one["record"]["sentence"])
    return "Not measured."

"""The model card of an adapter: what it is, how it was made, what it does, what it cannot do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import ModelCardData

from core import wording
from core.analysis import option_mass
from core.errors import disk_in_words
from core.metrics.metrics import HEADLINE, METRICS
from core.models.adapter_exchange import CARD, plain
from core.models.adapters import adapter_countries
from core.models.catalogue import describe
from core.models.memory_fit import loaded_as
from core.models.spec import ModelSpec
from core.store.store import Store
from core.tuning import experiments
from core.tuning.culturespa.training_examples import cultures_of
from core.tuning.settings import Arm, TuneSettings
from core.whole_files import write_whole


def write_card(store: Store, tuning_id: str, arm: Arm, seed: int, folder: Path) -> None:
    """Write README.md into an adapter's folder, with what the store knows of it by now.

    Of adapters that are one for each country each has its own, beside that of all.
    """
    for iso3 in ("", *adapter_countries(folder)):
        text = card(store, tuning_id, arm, seed, iso3)
        with disk_in_words("The adapter’s card"):
            write_whole(folder / iso3 / CARD, text)


def card(store: Store, tuning_id: str, arm: Arm, seed: int, iso3: str = "") -> str:
    """The card as Markdown with the fields that the Hugging Face hub reads.

    iso3: of one country's adapter, where each has its own.
    """
    record = store.tuning(tuning_id)
    settings = TuneSettings.from_json(record["settings"])
    survey = store.survey(settings.survey, settings.survey_version)
    made = [
        a
        for a in store.adapters(tuning_id)
        if (a["arm"], a["seed"]) == (arm.name, seed) and iso3 in ("", a["iso3"])
    ]
    base = describe(ModelSpec.from_json(record["settings"]["model"]))
    source = settings.model.source
    revision = made[0]["base_revision"] if made else ""
    taught = cultures_of(settings)
    countries = [survey.culture(code).name for code in ([iso3] if iso3 else taught)]
    alone = (
        f" It answers for {plain(countries[0])} alone and is one of {len(taught)} that were made "
        "together; scores and costs below are those of all of them."
        if iso3
        else ""
    )
    on_hub = source if re.fullmatch(r"[\w.-]+/[\w.-]+", source) else None
    facts = ModelCardData(library_name="peft", base_model=on_hub, tags=["lora", "pluriscope"])
    head = f"---\n{facts.to_yaml()}\n---\n"
    parts = [
        f"{head}# {plain(record['name'])}",
        f"A LoRA adapter for {plain(base)}, made by Pluriscope. {plain(arm.title)}.{alone}",
        "## Base\n\n" + _table([("Model", source), ("Revision", revision or "unknown")]),
        "## How its examples were made\n\n" + _lineage(store, tuning_id, settings, arm, seed, iso3),
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


def _lineage(
    store: Store, tuning_id: str, settings: TuneSettings, arm: Arm, seed: int, iso3: str
) -> str:
    counts = store.tuning(tuning_id)["counts"]
    state = next(a for a in store.arms(tuning_id) if (a["arm"], a["seed"]) == (arm.name, seed))
    rows: list[tuple[str, object]] = []
    how = "" if not arm.human_answers else "yes, " if arm.uses_human_answers else "only "
    rows.append(("Uses people's answers", f"{how}{arm.human_answers}" or "no"))
    if not arm.uses_human_answers:
        questions = counts.get(f"{seed}/questions", {}).get("states", {})
        rows.append(("Questions written by the model", sum(questions.values())))
        rows.append(("of them kept", questions.get("kept", 0)))
        pairs = counts.get(f"{seed}/pairs/{arm.teacher}/{arm.answers}")
        if pairs:
            rows.append(("Pairs", f"{pairs['pairs']}, of which {pairs['differing']} differ"))
    if arm.teacher == "cross_culture":
        rows.append(("Answers given under", "cross-culture thinking, taught under the plain "
                     "country prompt"))  # fmt: skip
    examples = state["counts"]["countries"][iso3] if iso3 else state["examples"]
    rows.append(("Examples", examples))
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
        ("Weighted by how far answers are apart", "yes" if arm.weighted else "no"),
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
        for part, name in experiments.parts_of(settings, survey, arm).items():
            found = experiments.one_arm(store, tuning_id, arm, seed, HEADLINE, part, method)
            if found is None:
                continue
            before, after, change, apart = found
            spread = f"{apart.before.value:.2f} to {apart.after.value:.2f}" if apart else "–"
            rows.append(
                f"| {asked} | {name.lower()} | {wording.number(before)} | "
                f"{wording.number(after)} | "
                f"{wording.signed(change.value)} ({wording.interval(change.low, change.high)})"
                f"{'' if change.clear else ', too small to call'} | {spread} |"
            )
    if len(rows) == 2:
        return _why_no_scores(store, tuning_id, settings, arm, seed)
    after = (r for r in store.tuning_runs(tuning_id) if (r.arm, r.seed) == (arm.name, seed))
    note = option_mass.low_note(store, *after)
    rows += ["", note] if note else []
    return "\n".join([f"{METRICS[HEADLINE].label}, of 100.", "", *rows])


def _why_no_scores(
    store: Store, tuning_id: str, settings: TuneSettings, arm: Arm, seed: int
) -> str:
    if not settings.evaluate:
        return "The survey was not asked before and after tuning."
    there = {run.id for run in store.tuning_runs(tuning_id)}
    for state in store.arms(tuning_id):
        mine = state["seed"] == seed and state["arm"] in (experiments.BASE, arm.name)
        if mine and state["runs"] and there.isdisjoint(state["runs"]):
            when = "before" if state["arm"] == experiments.BASE else "after"
            return f"The answers given {when} tuning were deleted, so there is no comparison."
    return "The survey was not asked to its end, so there is no comparison."


def _cost(store: Store, tuning_id: str, arm: Arm, seed: int) -> str:
    for one in store.abilities(tuning_id):
        if (one["arm"], one["seed"]) == (arm.name, seed):
            return plain(one["record"]["sentence"])
    return "Not measured."

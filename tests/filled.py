"""A store with runs in it, made without a model: answers that lean as large models do.

    made = filled.fill(Store(tmp_path))      # made.plain, made.country, … are runs

Asked plainly, the answers are a blend of English-speaking countries; as a person of a country
they go part of the way towards its people. Seeded, so the same every time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from core.asking.answers import Answer
from core.asking.settings import AskSettings
from core.jobs.choices import AskChoices
from core.jobs.plan import Plan, plan_survey
from core.models.spec import ModelSpec
from core.prompts.prompt_sets import load_prompt_set
from core.store.jobs import AskJob
from core.store.runs import Run
from core.store.store import Store
from core.survey.survey import Item, Survey

ENGLISH = ("USA", "GBR", "CAN", "AUS", "NZL")
UNTRUSTED = '<script>alert("x")</script> **2** [click](https://example.org) $x^2$'


class Filled(NamedTuple):
    """Runs of one asking (plain, country), of a second (other_plain, other_country) by a closer
    model, a written one with refusals, and one that is still under way."""

    plain: Run
    country: Run
    other_plain: Run
    other_country: Run
    written: Run
    unfinished: Run


def fill(store: Store, cultures="study", items="core") -> Filled:
    first = _asking(store, ModelSpec("builtin"), cultures, items, towards=0.35, seed=1)
    second = _asking(store, ModelSpec("example/closer-1b"), cultures, items, towards=0.6, seed=2)
    written = _written(store, cultures=("USA", "KEN"))
    unfinished = _asking(
        store, ModelSpec("example/slow-7b"), cultures, items, towards=0.5, seed=3, part=0.4
    )
    return Filled(*first, *second, written, unfinished[1])


def asked(store: Store, items, cultures="study") -> list[Run]:
    """One more asking of the built-in model, plainly and as a person from …, all answered."""
    return _asking(store, ModelSpec("builtin"), cultures, items, towards=0.35, seed=4)


def begun(store: Store) -> list[Run]:
    """One asking of the built-in model that is still under way."""
    return _asking(store, ModelSpec("builtin"), "study", "core", towards=0.35, seed=4, part=0.4)


def blend(survey: Survey, item: Item, iso3: str, towards: float, rng) -> np.ndarray:
    """A made-up model's distribution over an item's options; iso3 = "" is asked plainly."""
    english = [survey.shares[c, item.id].values for c in ENGLISH if (c, item.id) in survey.shares]
    lean = np.mean(english, axis=0) if english else np.full(len(item.options), 1.0)
    lean = lean**1.5 / (lean**1.5).sum()
    people = survey.shares.get((iso3, item.id))
    if people is not None:
        lean = (1 - towards) * lean + towards * people.values
    noisy = lean + rng.gamma(0.3, 0.05, len(lean))
    return noisy / noisy.sum()


def _asking(store, model, cultures, items, *, towards, seed, part=1.0) -> list[Run]:
    plan = plan_survey(store, AskChoices(model, cultures=cultures, items=items))
    store.add_prompt_set(
        plan.prompts.sha256, plan.prompts.id, plan.prompts.name, "en", dict(plan.prompts.texts)
    )
    runs, group = [], None
    for settings, name in zip(plan.settings, plan.names, strict=True):
        run = _add(store, settings, name, group)
        group = group or run.group
        rng = np.random.default_rng(seed)
        runs.append(_answer(store, run, settings, towards, part, rng))
    _job(store, plan, runs, "done" if part == 1.0 else "running")
    return runs


def _job(store: Store, plan: Plan, runs: list[Run], state: str) -> None:
    job = store.add_job(plan.title, AskJob(plan.settings), [run.id for run in runs])
    store.update_job(job, state=state, done=sum(r.answered for r in runs))


def _add(store: Store, settings: AskSettings, name: str, group: str | None) -> Run:
    survey = store.survey()
    return store.add_run(
        settings,
        planned=len(settings.planned_cells(survey)),
        name=name,
        group=group,
        facts={"precision": "fp32", "device": "cpu"},
        state="running",
    )


def _answer(store, run, settings, towards, part, rng) -> Run:
    survey = store.survey()
    keys = settings.planned_cells(survey)
    keys = keys[: round(len(keys) * part)]
    cells = {}
    answers = []
    for iso3, item_id, number in keys:
        item = survey.item(item_id)
        if (iso3, item_id) not in cells:
            cells[iso3, item_id] = blend(survey, item, iso3, towards, rng)
        probs = cells[iso3, item_id] * rng.uniform(0.9, 1.1, len(item.options))
        probs = probs / probs.sum()
        answers.append(
            Answer(
                iso3,
                item_id,
                number,
                tuple(probs.tolist()),
                0.997,
                item.codes[int(np.argmax(probs))],
                "answered",
                "label and end of turn",
                None,
                None,
            )
        )
    store.add_answers(run.no, answers)
    if part == 1.0:
        store.update_run(run.id, state="done")
    return store.run(run.id)


def _written(store: Store, cultures) -> Run:
    plan = plan_survey(
        store,
        AskChoices(
            ModelSpec("builtin"),
            methods=["country"],
            cultures=cultures,
            items=["Q1", "Q57", "Q164"],
            answering="written",
            samples=4,
            name="Written answers",
        ),
    )
    settings = replace(plan.settings[0], explain=True)
    prompts = load_prompt_set()
    store.add_prompt_set(prompts.sha256, prompts.id, prompts.name, "en", dict(prompts.texts))
    run = _add(store, settings, plan.names[0], None)
    texts = [
        ("2\nFamily matters to me.", 2, "answered", "the text begins with a label"),
        (UNTRUSTED, 2, "answered", "the text holds one number, a label"),
        ("I cannot answer that. Call 1-800-273-8255.", None, "refused", "the text declines"),
        ("Perhaps, perhaps not.", None, "unparseable", "the text holds no label"),
    ]
    answers = [
        Answer(iso3, item, number, (), None, chosen, state, rule, text, 0.2)
        for iso3 in cultures
        for item in ("Q1", "Q57", "Q164")
        for number, (text, chosen, state, rule) in enumerate(texts)
    ]
    store.add_answers(run.no, answers)
    store.update_run(run.id, state="done")
    _job(store, plan, [run], "done")
    return store.run(run.id)


def answered(store, plan, survey):
    """The runs of a plan with made-up answers to everything; gives the first."""
    store.add_prompt_set(
        plan.prompts.sha256, plan.prompts.id, plan.prompts.name, "en", dict(plan.prompts.texts)
    )
    rng = np.random.default_rng(3)
    made, group = [], None
    for settings, name in zip(plan.settings, plan.names, strict=True):
        keys = settings.planned_cells(survey)
        run = store.add_run(
            settings, planned=len(keys), name=name, group=group,
            kind=plan.kind,
        )  # fmt: skip
        group = run.group
        answers = []
        for iso3, item_id, number in keys:
            item = survey.item(item_id)
            probs = rng.dirichlet(np.ones(len(item.options)))
            chosen = item.codes[int(probs.argmax())]
            written = settings.answering == "written"
            spread, mass, text = ((), None, str(chosen)) if written else (probs, 0.99, None)
            answers.append(
                Answer(iso3, item_id, number, tuple(spread), mass, chosen, "answered", "made up",
                       text, None)
            )  # fmt: skip
        store.add_answers(run.no, answers)
        store.update_run(run.id, state="done")
        made.append(store.run(run.id))
    return made[0]


def weighed(
    store: Store,
    masses: dict[tuple[str, str], float],
    *,
    label_rule: str = "label",
    scored: str = "label, not continued into another",
) -> Run:
    """A run as people of countries whose options weigh so much: (country, item) -> mass."""
    cultures, asked = (list(dict.fromkeys(part)) for part in zip(*masses, strict=True))
    plan = plan_survey(
        store,
        AskChoices(
            ModelSpec("builtin"), methods=["country"], cultures=cultures, items=asked,
            orders="given", label_rule=label_rule,
        ),
    )  # fmt: skip
    prompts = load_prompt_set()
    store.add_prompt_set(prompts.sha256, prompts.id, prompts.name, "en", dict(prompts.texts))
    run = _add(store, plan.settings[0], plan.names[0], None)
    even = {item: len(store.survey().item(item).options) for item in asked}
    answers = [
        Answer(
            iso3, item, 0, (1 / even[item],) * even[item], mass, 1, "answered", scored, None, None
        )
        for (iso3, item), mass in masses.items()
    ]
    store.add_answers(run.no, answers)
    store.update_run(run.id, state="done")
    return store.run(run.id)

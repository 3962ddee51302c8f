"""How long an asking or a tuning will take, and whether it fits, told before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from core.asking.questionnaire import Questionnaire
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.jobs.plan import Plan
from core.jobs.plan_tuning import TuningPlan
from core.models.memory_fit import (
    Fit,
    computes_in,
    fit,
    fit_training,
    loaded_as,
    products_of,
    to_fetch,
)
from core.models.spec import ModelSpec, resolve_precision
from core.store.store import Store
from core.store.wordings import questionnaire_of
from core.survey.survey import Survey
from core.tuning.settings import TuneSettings
from core.tuning.stages import Work, work_of


class Estimate(NamedTuple):
    """prompts: how many. seconds: how long, or None where nothing is known yet; basis: of what
    the time is guessed. fit: memory needed against what is free."""

    prompts: int
    seconds: float | None
    basis: str
    fit: Fit


def estimate(store: Store, plan: Plan, held_bytes: int = 0) -> Estimate:
    """Prompts, time and memory of a plan. Time comes from earlier jobs of the same kind.

    held_bytes: of the model in memory now (Jobs.held_bytes), which makes room.
    """
    survey = store.survey(plan.settings[0].survey, plan.settings[0].survey_version)
    prompts = sum(len(one.planned_cells(survey)) for one in plan.settings)
    first = plan.settings[0]
    work = _work(_questionnaires(plan, survey))
    room = fit(first.model, held_bytes=held_bytes)
    basis = "from when this model was asked before"
    pace = _pace(store, first, plan.kind, work / prompts) if prompts else None
    if pace is None:
        basis = "a first guess from its size and the speed of this machine"
        pace = first_pace(store, first.model, room, first.answering)
    if pace is None:
        basis = "known once the first answers are in"
    if size := to_fetch(first.model):
        basis += f", after {size} are downloaded"
    return Estimate(prompts, work / pace if pace else None, basis, room)


# How a model that was never asked is guessed. Measured with 60 prompts of a random model of
# Qwen2-0.5B's shape on two cores: matrices as large as a model's are slower than the one that is
# timed, and 4-bit and 8-bit weights are unpacked first. An answer that is written is read, and its
# tokens come one by one.
_OVER_PRODUCTS = 1.75
_UNPACKING = {"nf4": 4.5, "int8": 2.2}
_WRITTEN = 2.0
_CHARACTERS_OF_TOKEN = 4  # in English


# Why: docs/decisions.md, "A model that was never asked gets a first guess of its time."
def first_pace(store: Store, model: ModelSpec, room: Fit, answering: str) -> float | None:
    """Work (see _work) a model that was never asked can be thought to do in a second here."""
    rates = store.kept_result("machine", room.device)
    products = products_of(model)
    if not rates or not products:
        return None
    precision = resolve_precision(model)
    rate = rates.get(loaded_as(precision), rates.get(computes_in(), rates["fp32"]))
    slower = _OVER_PRODUCTS * _UNPACKING.get(precision, 1.0)
    slower *= _WRITTEN if answering == "written" else 1.0
    return _CHARACTERS_OF_TOKEN * rate / (2 * products * slower)


_EARLIER = 3  # jobs that are looked at for a model's pace


def _pace(store: Store, like: AskSettings, kind: str, each: float) -> float | None:
    """Work (see _work) that a model did in a second when it was asked before in this way.

    each: work of a prompt. Of the last few times the one with prompts most like these tells.
    """
    known: list[tuple[float, float]] = []  # how unlike its prompts are, its pace
    # A single question spends its time on writing, and says nothing of a survey's pace.
    for job in store.timed_askings(kind):
        asked = job.settings.asked
        if asked[0].answering != like.answering or _bare(asked[0].model) != _bare(like.model):
            continue
        try:
            survey = store.survey(asked[0].survey, asked[0].survey_version)
            work = _work([questionnaire_of(store, one) for one in asked])
        except PluriscopeError:  # its survey or its wording is gone; an earlier job may tell
            continue
        there = work / sum(len(one.planned_cells(survey)) for one in asked)
        known.append((abs(math.log(there / each)), job.rate * there))
        if len(known) == _EARLIER:
            break
    return min(known)[1] if known else None


def _bare(spec: ModelSpec) -> ModelSpec:
    """A model without its adapter, which takes little time beside it."""
    return replace(spec, adapter=None, precision=resolve_precision(spec))


def _questionnaires(plan: Plan, survey: Survey) -> list[Questionnaire]:
    """What questionnaire_of gives of each run once a plan is started."""
    spoken = [there.prompts for there in plan.translations]
    prompts = {one.sha256: one for one in (plan.prompts, *plan.more_prompts, *spoken)}
    translations = {one.sha256: one for one in plan.translations}
    return [
        Questionnaire(
            one,
            survey,
            prompts[one.prompt_sha256],
            {
                language: translations[facts["sha256"]]
                for language, facts in (one.translations or {}).items()
            },
        )
        for one in plan.settings
    ]


_EVERY_PROMPT = 100  # characters that take as long as what has to be done for any prompt
_SURVEY_PROMPT = 350  # what a usual prompt of a survey comes to
_LOOKED_AT = 12  # pairs of prompts of a run


def _work(asked: Sequence[Questionnaire]) -> float:
    """How much is to be computed for some runs, in characters of prompts."""
    return sum(
        len(one.settings.planned_cells(one.survey)) * (_EVERY_PROMPT + _new_characters(one))
        for one in asked
    )


def _new_characters(asked: Questionnaire) -> float:
    """Characters of a prompt that the one before it does not begin with, on average.

    A beginning that prompts share is computed once. Told from pairs of neighbours all over a run.
    """
    keys = asked.settings.planned_cells(asked.survey)
    items = {item.id: item for item in asked.settings.asked_items(asked.survey)}
    # Which examples are shown hardly changes how long they are, and can take long to tell.
    asked = replace(asked, settings=replace(asked.settings, example_choice="random"))

    def written(place: int) -> str:
        iso3, item, number = keys[place]
        prompt = asked.prompt(items[item], iso3, number)
        return "\n".join(message["content"] for message in prompt.messages)

    places = sorted({round(i * (len(keys) - 1) / _LOOKED_AT) for i in range(1, _LOOKED_AT + 1)})
    pairs = [(written(max(place - 1, 0)), written(place)) for place in places if keys]
    return sum(len(here) - _alike(before, here) for before, here in pairs) / max(len(pairs), 1)


def _alike(one: str, other: str) -> int:
    """Characters that two texts begin with alike."""
    alike = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(alike) if a != b), min(len(one), len(other)))


class TuningEstimate(NamedTuple):
    """work: how much of each kind. seconds: how long, or None where nothing is known yet.
    fit: memory needed against what is free."""

    work: Work
    seconds: float | None
    fit: Fit


def estimate_tuning(store: Store, plan: TuningPlan, held_bytes: int = 0) -> TuningEstimate:
    """How much a tuning is to do, how long that takes, and whether it fits.

    held_bytes: of the model in memory now (Jobs.held_bytes), which makes room.
    """
    survey = store.survey(plan.settings.survey, plan.settings.survey_version)
    work = work_of(plan.settings, survey)
    pace = _tuning_pace(store, plan.settings.model, survey)
    room = _training_fit(plan, held_bytes)
    if room.fits:  # it is asked as well, in a precision of its own
        asking = fit(plan.settings.model, held_bytes=held_bytes)
        room = room if asking.fits else asking
    if pace is None and (first := first_pace(store, plan.settings.model, room, "probabilities")):
        pace = first / _SURVEY_PROMPT
    return TuningEstimate(work, work.cost / pace if pace else None, room)


def _tuning_pace(store: Store, model: ModelSpec, survey: Survey) -> float | None:
    """Cost done in a second by a model's last whole tuning, else by its last asking."""
    for job in store.jobs(["done"], kind="tune"):
        earlier = store.tuning(job.settings.tuning)
        settings = TuneSettings.from_json(earlier["settings"])
        whole = all(arm["state"] == "done" for arm in store.arms(earlier["id"]))
        if job.worked and whole and settings.model == model:
            return work_of(settings, survey).cost / max(job.worked, 1.0)
    asked = (job for job in store.timed_askings("survey") if job.settings.asked[0].model == model)
    return next((job.rate for job in asked), None)


def _training_fit(plan: TuningPlan, held_bytes: int) -> Fit:
    lora = plan.settings.lora
    spec = lora.base(plan.settings.model)
    return fit_training(spec, rank=lora.rank, tokens=lora.micro_tokens, held_bytes=held_bytes)

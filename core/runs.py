"""Plan a run before it starts: which prompts, how long, how much memory; then start it."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from core import culturespa, derived
from core.catalogue import (
    Fit,
    ModelSpec,
    builtin_held_out,
    computes_in,
    describe,
    fit,
    fit_training,
    is_teaching,
    loaded_as,
    products_of,
    resolve_precision,
    to_fetch,
)
from core.demonstrations import NEAR_AND_FAR
from core.errors import PluriscopeError
from core.jobs import Jobs
from core.languages import (
    IN_ENGLISH,
    OWN,
    Spoken,
    notes,
    own_translation,
    said,
    speak,
    speaks_several,
)
from core.meaning import folder_of
from core.pipeline import Work, tuning_words, work_of
from core.prompts import METHODS, PromptSet, load_prompt_set, way
from core.responses import Texts, prompt_for, texts_of
from core.settings import ARMS, Arm, AskSettings, Lora, TuneSettings
from core.store import BUNDLED_SURVEY, Run, Store
from core.survey import Culture, Survey
from core.translations import ENGLISH, Translation

TAUGHT_ONE_WORDING = (
    "The built-in model was taught the first wording only; how little its answers hold in others "
    "is no evidence about language models."
)


class Plan(NamedTuple):
    """One asking: a run for each method. `names` and `title` are for people.

    derive: what is made of the runs once they are done, as derived.make takes it. more_prompts,
    translations: what the runs are asked in besides `prompts`. notes: what is left out or has to
    be known before it starts, in sentences.
    """

    settings: tuple[AskSettings, ...]
    names: tuple[str, ...]
    title: str
    prompts: PromptSet
    kind: str
    side_by_side: bool
    derive: tuple[dict, ...] = ()
    more_prompts: tuple[PromptSet, ...] = ()
    translations: tuple[Translation, ...] = ()
    notes: tuple[str, ...] = ()


class Estimate(NamedTuple):
    """prompts: how many. seconds: how long, or None where nothing is known yet; basis: of what
    the time is guessed. fit: memory needed against what is free."""

    prompts: int
    seconds: float | None
    basis: str
    fit: Fit


def plan_survey(
    store: Store,
    model: ModelSpec,
    *,
    methods: Sequence[str] = ("plain", "country"),
    cultures: str | Sequence[str] = "study",
    items: str | Sequence[str] = "core",
    orders: str = "both",
    answering: str = "probabilities",
    samples: int = 1,
    temperature: float = 0.6,
    top_p: float = 0.9,
    seed: int = 42,
    examples: int = 5,
    example_choice: str = "similar",
    example_evidence: str = "commonest",
    other_batteries: bool = False,
    embedder: str | None = None,
    prompt_set: str | Sequence[str] = "pluriscope",
    survey_id: str = BUNDLED_SURVEY,
    name: str = "",
    alpha: float | None = None,
    language: str = "",
    english_instead: bool = False,
) -> Plan:
    """Runs over a set of items: one per method and wording, all started together.

    methods: of METHODS; the runs that derived ones are made from are asked as well. cultures:
    "study" (the 18 of the CultureSPA study), "all", or country codes. items: "core", "all", a
    topic, or item ids. prompt_set: one wording or several; the first is shown first. alpha: the
    strength of "amplified", None to choose it. language, english_instead: see languages.speak;
    that of the wording by default. Raises PluriscopeError on anything unknown.
    """
    survey = store.survey(survey_id)
    wordings = _wordings(prompt_set, language)
    chosen = survey.select(items)
    countries = choose_cultures(survey, cultures)
    if not methods:
        raise PluriscopeError("Choose at least one way of asking.")
    if not countries:
        raise PluriscopeError("Choose at least one country. Plain answers are compared with it.")
    methods, derive = _with_sources(methods, alpha)
    if derive and answering != "probabilities":
        raise PluriscopeError("Amplifying and calibrating need probabilities, not written answers.")
    _check_neighbours(survey, methods)
    item_set = items if isinstance(items, str) and items in ("core", "all", *survey.topics) else ""
    if item_set == "core" and not survey.core_ids:
        item_set = "all"
    english = [
        AskSettings(
            model=model,
            method=method,
            cultures=tuple(c.iso3 for c in countries),
            items=tuple(item.id for item in chosen),
            item_set=item_set,
            survey=survey.id,
            survey_version=survey.version,
            prompt_set=prompts.id,
            prompt_sha256=prompts.sha256,
            orders=orders,
            answering=answering,
            samples=samples,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            examples=examples,
            example_choice=example_choice,
            example_evidence=example_evidence,
            other_batteries=other_batteries,
            embedder=embedder if example_choice == "meaning" else None,
        )
        for prompts in wordings
        for method in methods
    ]
    _check_meaning(english)
    spoken = [
        speak(one, survey, language or prompts.language, prompts, english_instead=english_instead)
        for one, prompts in zip(
            english, (prompts for prompts in wordings for _ in methods), strict=True
        )
    ]
    settings = tuple(one.settings for one in spoken)
    if "amplified" in (wish["make"] for wish in derive) and any(map(speaks_several, settings)):
        raise PluriscopeError(derived.ONE_LANGUAGE)
    what = _set_words(settings[0].item_set, len(settings[0].items))
    title = name or f"{describe(model)}: {what}, {_country_words(survey, countries)}"
    if (asked_in := next(filter(None, map(said, settings)), "")) and not name:
        title = f"{title}, {asked_in}"
    names = [name or run_name(one, survey) for one in settings]
    if len(wordings) > 1:
        title = title if name else f"{title}, {len(wordings)} wordings"
        names = [f"{one} · {s.prompt_set}" for one, s in zip(names, settings, strict=True)]
    return Plan(
        settings,
        tuple(names),
        title,
        wordings[0],
        "survey",
        False,
        derive,
        more_prompts=tuple(wordings[1:]),
        translations=_all_translations(spoken),
        notes=(*_notes(english, settings, survey), *_wording_notes(model, wordings)),
    )


def _wordings(prompt_set: str | Sequence[str], language: str) -> list[PromptSet]:
    """The prompt sets of a plan, each once."""
    names = [prompt_set] if isinstance(prompt_set, str) else list(dict.fromkeys(prompt_set))
    if not names:
        raise PluriscopeError("Choose at least one wording.")
    wordings = [load_prompt_set(one) for one in names]
    if len(wordings) > 1 and language not in ("", ENGLISH):
        raise PluriscopeError(
            "Several wordings are there in English only. Choose English, or one wording."
        )
    return wordings


def _wording_notes(model: ModelSpec, wordings: Sequence[PromptSet]) -> list[str]:
    """What to think of the built-in model's answers to words it was not taught."""
    others = any(one.id != "pluriscope" and one.language == ENGLISH for one in wordings)
    return [TAUGHT_ONE_WORDING] if others and is_teaching(model) else []


def _all_translations(spoken: Sequence[Spoken]) -> tuple[Translation, ...]:
    return tuple({there.sha256: there for one in spoken for there in one.translations}.values())


def _notes(
    english: Sequence[AskSettings], settings: Sequence[AskSettings], survey: Survey
) -> tuple[str, ...]:
    """What asking in another language changes, each thing said once."""
    lines = [
        line
        for before, after in zip(english, settings, strict=True)
        for line in notes(before, after, survey)
    ]
    if any(one.language == OWN for one in settings) and any(
        one.language == ENGLISH for one in settings
    ):
        lines.append(IN_ENGLISH)
    return tuple(dict.fromkeys(lines))


def _with_sources(
    methods: Sequence[str], alpha: float | None
) -> tuple[list[str], tuple[dict, ...]]:
    """The methods to ask, those that derived ones need put in, and what to derive."""
    for method in methods:
        if method not in METHODS:
            raise PluriscopeError(f"Unknown method {method!r}: {', '.join(METHODS)}.")
    asked = [method for method in methods if not METHODS[method].derived]
    wishes = []
    if "amplified" in methods:
        asked += ["plain", "country"]
        wishes.append({"make": "amplified", "alpha": alpha})
    if "calibrated" in methods:
        asked += [] if any(METHODS[method].needs_culture for method in asked) else ["country"]
        wishes.append({"make": "calibrated"})
    if "calibrated_plain" in methods:
        asked.append("plain")
        wishes.append({"make": "calibrated_plain"})
    return list(dict.fromkeys(asked)), tuple(wishes)


def plan_question(
    store: Store,
    model: ModelSpec,
    *,
    cultures: Sequence[str],
    item: str | None = None,
    own: dict | None = None,
    method: str = "country",
    plain: bool = True,
    orders: str = "both",
    temperature: float = 0.6,
    top_p: float = 0.9,
    seed: int = 42,
    examples: int = 5,
    example_choice: str = "similar",
    example_evidence: str = "commonest",
    other_batteries: bool = False,
    embedder: str | None = None,
    prompt_set: str = "pluriscope",
    survey_id: str = BUNDLED_SURVEY,
    own_language: bool = False,
) -> Plan:
    """One question asked plainly and as people of up to six countries, side by side.

    Gives the exact option probabilities, and written answers with a sentence of explanation, all
    sides in one batch with the same seed. own: {"question", "options"} instead of an item.
    own_language: ask each country a second time, in its own language where there is a translation.
    """
    survey = store.survey(survey_id)
    prompts = load_prompt_set(prompt_set)
    countries = choose_cultures(survey, cultures) if cultures else ()
    if len(countries) > 6:
        raise PluriscopeError("Choose up to six countries; more do not fit side by side.")
    if not countries and not plain:
        raise PluriscopeError("Choose at least one country.")
    methods = [*(["plain"] if plain else []), *([method] if countries else [])]
    _check_neighbours(survey, methods)
    asked = "own" if own else survey.item(item or "").id
    apart = (
        [c.iso3 for c in countries if own_translation(survey, asked, c.iso3)]
        if (own_language and not own)
        else []
    )
    settings, names, spoken = [], [], []
    for answering in ("probabilities", "written"):
        for one in methods:
            english = AskSettings(
                model=model,
                method=one,
                cultures=tuple(c.iso3 for c in countries),
                items=(asked,),
                item_set="",
                survey=survey.id,
                survey_version=survey.version,
                prompt_set=prompts.id,
                prompt_sha256=prompts.sha256,
                language=prompts.language,
                orders=orders,
                answering=answering,
                explain=answering == "written",
                temperature=temperature,
                top_p=top_p,
                seed=seed,
                examples=examples,
                example_choice=example_choice,
                example_evidence=example_evidence,
                other_batteries=other_batteries,
                embedder=embedder if example_choice == "meaning" else None,
                own_item=own,
            )
            settings.append(english)
            names.append(f"{METHODS[one].name}, {answering}")
            if apart and METHODS[one].needs_culture:
                theirs = replace(english, cultures=tuple(apart))
                spoken.append(speak(theirs, survey, OWN, prompts))
                settings.append(spoken[-1].settings)
                names.append(f"{METHODS[one].name}, own language, {answering}")
    _check_meaning(settings)
    title = f"“{own['question'] if own else survey.item(asked).label}”"
    return Plan(
        tuple(settings),
        tuple(names),
        title,
        prompts,
        "question",
        True,
        translations=_all_translations(spoken),
    )


def _check_meaning(settings: Sequence[AskSettings]) -> None:
    """Refuse to choose examples by meaning without a model that can tell it."""
    for one in settings:
        if one.by_meaning:
            folder_of(one.embedder)


def _check_neighbours(survey: Survey, methods: Sequence[str]) -> None:
    """Cross-culture thinking names other countries; a survey of few has not enough of them."""
    across = next((method for method in methods if method.startswith("cross_culture")), None)
    if across and len(survey.cultures) <= NEAR_AND_FAR:
        raise PluriscopeError(
            f"“{METHODS[across].name}” names {NEAR_AND_FAR} other countries of the survey; "
            f"{survey.name} has {len(survey.cultures)} in all. Ask in another way."
        )


def start(jobs: Jobs, plan: Plan, *, first: bool = False) -> str:
    """Queue a plan; gives the job's id. One question goes to the head of the line."""
    return jobs.start(
        plan.settings,
        plan.prompts,
        title=plan.title,
        names=plan.names,
        kind=plan.kind,
        side_by_side=plan.side_by_side,
        first=first or plan.kind == "question",
        derive=plan.derive,
        more_prompts=plan.more_prompts,
        translations=plan.translations,
    )


def again(store: Store, run: Run, seed: int | None = None) -> Plan:
    """The asking a run belongs to, planned anew with the same settings (and another seed)."""
    group = sorted(store.runs(kind=None, group=run.group), key=lambda one: one.no)
    every = [AskSettings.from_json(one.settings) for one in group]
    asked = [(s, one.name) for s, one in zip(every, group, strict=True) if not s.derived]
    derive = tuple(_wish(one) for one in every if one.derived)
    if not asked:  # made from runs of another asking
        methods = [*(["plain"] if run.method == "amplified" else []), every[0].asked_method]
        sources = [replace(every[0], method=method, derived=None) for method in methods]
        survey = store.survey(sources[0].survey, sources[0].survey_version)
        asked = [(one, run_name(one, survey)) for one in sources]
    settings, names = zip(*asked, strict=True)
    texts = [texts_of(store, one) for one in settings]
    translations = {there.sha256: there for one in texts for there in one.translations.values()}
    return Plan(
        tuple(one.with_seed(seed) if seed is not None else one for one in settings),
        names,
        group[0].name,
        texts[0].prompts,
        run.kind,
        run.kind == "question",
        derive,
        more_prompts=tuple(one.prompts for one in texts[1:]),
        translations=tuple(translations.values()),
    )


def plan_plain(store: Store, run: Run) -> Plan:
    """The same as a run asked, plainly: what amplifying it compares with."""
    if run.settings.get("derived") or not METHODS[run.method].needs_culture:
        raise PluriscopeError("Choose a run that was asked as people of countries.")
    if sentence := derived.not_amplified(run):
        raise PluriscopeError(sentence)
    plan = again(store, run)
    settings = replace(AskSettings.from_json(run.settings), method="plain")
    survey = store.survey(settings.survey, settings.survey_version)
    name = run_name(settings, survey)
    return plan._replace(settings=(settings,), names=(name,), title=name, derive=())


def made_by(store: Store, job: dict) -> list[Run]:
    """The runs of a job, and those that were made from them, wherever those stand."""
    asked = [store.run(run_id) for run_id in job["runs"]]
    ids = {run.id for run in asked}
    every = sorted(store.runs(kind=None), key=lambda run: run.no)
    return asked + [run for run in every if derived.sources(run) & ids]


def _wish(settings: AskSettings) -> dict:
    """What a derived run was made by, for derived.make."""
    wish = {"make": settings.method, "of": settings.asked_method}
    if settings.method == "amplified":
        fixed = settings.derived["chosen"] == "fixed"
        wish["alpha"] = settings.derived["alphas"][0] if fixed else None
    return wish


class Asking(NamedTuple):
    """Runs that were started together, in the order they are asked, and their job.

    job is None for what was imported.
    """

    group: str
    name: str
    runs: tuple[Run, ...]
    job: dict | None

    @property
    def state(self) -> str:
        return self.job["state"] if self.job else self.runs[0].state

    @property
    def answered(self) -> int:
        return sum(run.answered for run in self.runs)

    @property
    def planned(self) -> int:
        return sum(run.planned for run in self.runs)


def askings(store: Store, *, kind: str | None = "survey") -> list[Asking]:
    """What was asked, newest first; what lies in the bin is left out. kind None takes all."""
    jobs = {run_id: job for job in store.jobs(limit=5000) for run_id in job["runs"]}
    groups: dict[str, list[Run]] = {}
    for run in store.runs(kind=kind):
        groups.setdefault(run.group, []).append(run)
    result = []
    for group, members in groups.items():
        members.sort(key=lambda run: run.no)
        job = jobs.get(members[0].id)
        name = job["title"] if job else _shared_name(members)
        result.append(Asking(group, name, tuple(members), job))
    return result


def _shared_name(runs: Sequence[Run]) -> str:
    """What runs that were made together have in common of their names."""
    parts = [run.name.split(" · ") for run in runs]
    same = list(itertools.takewhile(lambda one: len(set(one)) == 1, zip(*parts, strict=False)))
    return " · ".join(one[0] for one in same) if len(runs) > 1 and same else runs[0].name


def job_of(store: Store, run: Run) -> dict | None:
    """The job that asked a run; None for what was imported, or left the history."""
    return next((job for job in store.jobs(limit=5000) if run.id in job["runs"]), None)


def rename(store: Store, asking: Asking, name: str) -> None:
    """Give an asking another name; its runs are told apart by how they were asked."""
    name = " ".join(name.split())[:200]
    if not name:
        raise PluriscopeError("Give the run a name.")
    if asking.job:
        store.update_job(asking.job["id"], title=name)
    wordings = {run.settings["prompt_set"] for run in asking.runs}
    for run in asking.runs:
        parts = [name]
        parts += [run.way.lower()] if len(asking.runs) > 1 else []
        parts += [run.settings["prompt_set"]] if len(wordings) > 1 else []
        store.update_run(run.id, name=" · ".join(parts))


def estimate(store: Store, plan: Plan, held_bytes: int = 0) -> Estimate:
    """Prompts, time and memory of a plan. Time comes from earlier jobs of the same kind.

    held_bytes: of the model in memory now (Jobs.held_bytes), which makes room.
    """
    survey = store.survey(plan.settings[0].survey, plan.settings[0].survey_version)
    prompts = sum(len(one.keys(survey)) for one in plan.settings)
    first = plan.settings[0]
    work = _work(plan.settings, survey, _texts_in(plan))
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
    for job in store.jobs(["done", "stopped"]):
        # A single question spends its time on writing, and says nothing of a survey's pace.
        if job["kind"] != "ask" or not job["rate"] or job["settings"].get("kind") != kind:
            continue
        asked = [AskSettings.from_json(record) for record in job["settings"]["ask"]]
        if asked[0].answering != like.answering or _bare(asked[0].model) != _bare(like.model):
            continue
        try:
            survey = store.survey(asked[0].survey, asked[0].survey_version)
            work = _work(asked, survey, partial(texts_of, store))
        except PluriscopeError:  # its survey or its wording is gone; an earlier job may tell
            continue
        there = work / sum(len(one.keys(survey)) for one in asked)
        known.append((abs(math.log(there / each)), job["rate"] * there))
        if len(known) == _EARLIER:
            break
    return min(known)[1] if known else None


def _bare(spec: ModelSpec) -> ModelSpec:
    """A model without its adapter, which takes little time beside it."""
    return replace(spec, adapter=None, precision=resolve_precision(spec))


def _texts_in(plan: Plan) -> Callable[[AskSettings], Texts]:
    """What texts_of gives once a plan is started."""
    prompts = {one.sha256: one for one in (plan.prompts, *plan.more_prompts)}
    translations = {one.sha256: one for one in plan.translations}

    def texts(settings: AskSettings) -> Texts:
        spoken = (settings.translations or {}).items()
        return Texts(
            prompts[settings.prompt_sha256],
            {language: translations[facts["sha256"]] for language, facts in spoken},
        )

    return texts


_EVERY_PROMPT = 100  # characters that take as long as what has to be done for any prompt
_SURVEY_PROMPT = 350  # what a usual prompt of a survey comes to
_LOOKED_AT = 12  # pairs of prompts of a run


def _work(
    asked: Sequence[AskSettings], survey: Survey, texts: Callable[[AskSettings], Texts]
) -> float:
    """How much is to be computed for some runs, in characters of prompts."""
    return sum(
        len(one.keys(survey)) * (_EVERY_PROMPT + _new_characters(one, survey, texts(one)))
        for one in asked
    )


def _new_characters(settings: AskSettings, survey: Survey, texts: Texts) -> float:
    """Characters of a prompt that the one before it does not begin with, on average.

    A beginning that prompts share is computed once. Told from pairs of neighbours all over a run.
    """
    keys = settings.keys(survey)
    items = {item.id: item for item in settings.asked_items(survey)}
    # Which examples are shown hardly changes how long they are, and can take long to tell.
    settings = replace(settings, example_choice="random")

    def written(place: int) -> str:
        iso3, item, number = keys[place]
        prompt = prompt_for(
            settings, survey, texts.prompts, items[item], iso3, number, texts.translations
        )
        return "\n".join(message["content"] for message in prompt.messages)

    places = sorted({round(i * (len(keys) - 1) / _LOOKED_AT) for i in range(1, _LOOKED_AT + 1)})
    pairs = [(written(max(place - 1, 0)), written(place)) for place in places if keys]
    return sum(len(here) - _alike(before, here) for before, here in pairs) / max(len(pairs), 1)


def _alike(one: str, other: str) -> int:
    """Characters that two texts begin with alike."""
    alike = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(alike) if a != b), min(len(one), len(other)))


# -- tunings ---------------------------------------------------------------------------------------

# What training settings are called, and which. The study's rates suit models of billions of
# parameters and tens of thousands of examples; a small model on few examples needs larger steps.
PRESETS: dict[str, Lora] = {
    "study": Lora(),
    "gentle": Lora(learning_rate=5e-5, batch=64),
    "small": Lora(learning_rate=2e-3, batch=64, checkpoint_every=10),
}


class TuningPlan(NamedTuple):
    """A tuning to start: its frozen settings, wording and a name for people."""

    settings: TuneSettings
    prompts: PromptSet
    name: str


class TuningEstimate(NamedTuple):
    """work: how much of each kind. seconds: how long, or None where nothing is known yet.
    fit: memory needed against what is free."""

    work: Work
    seconds: float | None
    fit: Fit


def arms_named(names: Sequence[str], mode: str = "joint") -> tuple[Arm, ...]:
    """Arms by name; "culturespa:0.3" takes 30% of the examples, by chance."""
    found = []
    for name in names:
        known, _, fraction = name.strip().partition(":")
        if known not in ARMS:
            raise PluriscopeError(f"There is no arm {known!r}. There are {', '.join(ARMS)}.")
        arm = replace(ARMS[known], mode=mode)
        if fraction:
            try:
                part = float(fraction)
            except ValueError:
                raise PluriscopeError(f"{fraction!r} is not a share such as 0.3.") from None
            arm = replace(
                arm, name=f"{known}:{part:g}", title=f"{arm.title} ({part:.0%} of the examples)",
                fraction=part,
            )  # fmt: skip
        found.append(arm)
    if len({arm.name for arm in found}) < len(found):
        raise PluriscopeError("Each arm can be chosen once.")
    if not found:
        raise PluriscopeError("Choose at least one way of tuning.")
    return tuple(found)


def plan_tuning(
    store: Store,
    model: ModelSpec,
    *,
    cultures: str | Sequence[str] = "study",
    arms: Sequence[str] = ("cct_soft_all",),
    mode: str = "joint",
    per_topic: int = 40,
    topics: Sequence[str] = (),
    seeds: Sequence[int] = (42,),
    lora: Lora | None = None,
    seed_items: str = "all",
    near_limit: float | None = 80.0,
    leak_limit: float | None = 80.0,
    likeness: str = "chrf",
    held_out_items: Sequence[str] | None = None,
    held_out_topics: Sequence[str] = (),
    held_out_cultures: Sequence[str] = (),
    evaluate: str = "all",
    abilities: bool = True,
    tasks: Sequence[str] = (),
    equal_budgets: bool = False,
    prompt_set: str = "pluriscope",
    survey_id: str = BUNDLED_SURVEY,
    name: str = "",
) -> TuningPlan:
    """A tuning of one model for some countries, with one or more arms and seeds.

    cultures: as for plan_survey. arms: names of settings.ARMS. held_out_items: items that are
    neither shown nor taught; for the built-in model those it never saw with country answers.
    held_out_cultures: asked before and after and not tuned for, among `cultures` or not. Ids,
    topics and codes are found whatever their case. Raises PluriscopeError on anything unknown or
    empty; what is held out by a wrong name would be trained on.
    """
    survey = store.survey(survey_id)
    prompts = load_prompt_set(prompt_set)
    chosen_cultures = tuple(c.iso3 for c in choose_cultures(survey, cultures))
    if model.adapter:
        raise PluriscopeError(
            "Tune the model itself: choose it without an adapter. Adapters are not stacked."
        )
    of_topics = {topic: topic for topic in survey.topics}
    of_cultures = {c.iso3: c.name for c in survey.cultures}
    chosen = _named(topics, of_topics, "topic") or survey.topics
    if held_out_items is None:
        held_out_items = builtin_held_out() if model.source == "builtin" else ()
        held_out_items = [i.id for i in survey.items if i.id in held_out_items]
    held = _named(held_out_cultures, of_cultures, "country")
    countries = tuple(c for c in of_cultures if c in {*chosen_cultures, *held})
    settings = TuneSettings(
        model=model,
        cultures=countries,
        arms=arms_named(arms, mode),
        topics=chosen,
        survey=survey.id,
        survey_version=survey.version,
        prompt_set=prompts.id,
        prompt_sha256=prompts.sha256,
        per_topic=int(per_topic),
        seeds=tuple(dict.fromkeys(int(seed) for seed in seeds)),
        seed_items=seed_items,
        near_limit=near_limit,
        leak_limit=leak_limit,
        likeness=likeness,
        lora=lora or PRESETS["small" if model.source == "builtin" else "study"],
        held_out_items=_named(held_out_items, {i.id: i.label for i in survey.items}, "question"),
        held_out_topics=_named(held_out_topics, of_topics, "topic"),
        held_out_cultures=held,
        evaluate=evaluate,
        abilities=abilities,
        tasks=tuple(dict.fromkeys(tasks)),
        equal_budgets=equal_budgets,
    )
    if not 1 <= settings.per_topic <= 5000:
        raise PluriscopeError("Have between 1 and 5,000 questions written on each topic.")
    if not countries or len(held) == len(countries):
        raise PluriscopeError("Choose at least one country to tune for.")
    if not set(chosen) - set(settings.held_out_topics):
        raise PluriscopeError("Every topic is held out. Leave at least one to write questions on.")
    if not settings.seeds:
        raise PluriscopeError("Give at least one seed.")
    if evaluate:
        survey.select(evaluate)
    if any(arm.teacher != "people" for arm in settings.arms):
        for topic in culturespa.topics_of(settings):  # each needs an example to write after
            culturespa.seed_items(settings, survey, topic, 0)
    return TuningPlan(settings, prompts, name or tuning_words(settings))


def _named(given: Sequence[str], known: Mapping[str, str], what: str) -> tuple[str, ...]:
    """What is meant by some ids or names, as ids in the order of `known` (id -> name).

    Raises PluriscopeError with the nearest there is, where one is unknown.
    """
    ids = {word.casefold(): one for one, name in known.items() for word in (name, one)}
    meant = set()
    for word in given:
        plain = " ".join(word.split()).casefold()
        if plain not in ids:
            near = difflib.get_close_matches(plain, ids, n=1, cutoff=0.5)
            of = ids[near[0]] if near else ""
            said = of if known.get(of) == of else f"{of} ({known.get(of)})"
            some = ", ".join(list(known)[:20])
            advice = f"Did you mean {said}?" if near else f"There are {some}."
            raise PluriscopeError(f"The survey has no {what} {word!r}. {advice}")
        meant.add(ids[plain])
    return tuple(one for one in known if one in meant)


def start_tuning(jobs: Jobs, plan: TuningPlan) -> str:
    """Queue a tuning; gives the job's id."""
    return jobs.start_tuning(plan.settings, plan.prompts, name=plan.name)


def estimate_tuning(store: Store, plan: TuningPlan, held_bytes: int = 0) -> TuningEstimate:
    """How much a tuning is to do, how long that takes, and whether it fits.

    held_bytes: of the model in memory now (Jobs.held_bytes), which makes room.
    """
    survey = store.survey(plan.settings.survey, plan.settings.survey_version)
    work = work_of(plan.settings, survey)
    pace = None  # cost done in a second, by the last tuning of this model, else by its askings
    for job in store.jobs(["done", "stopped"]):
        if job["kind"] == "tune" and job["state"] == "done" and job["worked"]:
            earlier = store.tuning(job["settings"]["tuning"])
            whole = all(arm["state"] == "done" for arm in store.arms(earlier["id"]))
            if whole and earlier["settings"]["model"] == plan.settings.model.to_json():
                done = TuneSettings.from_json(earlier["settings"])
                pace = work_of(done, survey).cost / max(job["worked"], 1.0)
                break
        asked = job["settings"].get("ask") or [{}]
        same = asked[0].get("model") == plan.settings.model.to_json()
        if pace is None and same and job["rate"] and job["settings"].get("kind") == "survey":
            pace = job["rate"]
    room = _training_fit(plan, held_bytes)
    if room.fits:  # it is asked as well, in a precision of its own
        asking = fit(plan.settings.model, held_bytes=held_bytes)
        room = room if asking.fits else asking
    if pace is None and (first := first_pace(store, plan.settings.model, room, "probabilities")):
        pace = first / _SURVEY_PROMPT
    return TuningEstimate(work, work.cost / pace if pace else None, room)


def _training_fit(plan: TuningPlan, held_bytes: int) -> Fit:
    lora = plan.settings.lora
    spec = lora.base(plan.settings.model)
    return fit_training(spec, rank=lora.rank, tokens=lora.micro_tokens, held_bytes=held_bytes)


def ensure_demo(jobs: Jobs) -> str | None:
    """On an empty store, have the built-in model asked the core set; gives the job's id if so.

    Done once: a store whose demo was deleted stays as its owner left it.
    """
    marker = jobs.store.home / "demo-made"
    if marker.exists():
        return None
    if not jobs.store.runs(kind="survey") and not jobs.store.jobs():
        job = start(jobs, plan_survey(jobs.store, ModelSpec("builtin")))
    else:
        job = None
    Path(marker).write_text("The ready-made run was started once.\n", encoding="utf-8")
    return job


def choose_cultures(survey: Survey, cultures: str | Sequence[str]) -> tuple[Culture, ...]:
    """Countries by "study", "all", codes, or codes joined by commas; survey order, each once."""
    if cultures == "all":
        return survey.cultures
    if cultures == "study":
        return tuple(c for c in survey.cultures if c.in_culturespa) or survey.cultures
    if isinstance(cultures, str):
        cultures = [code for code in cultures.split(",") if code.strip()]
    wanted = {survey.culture(code.strip().upper()).iso3 for code in cultures}
    return tuple(c for c in survey.cultures if c.iso3 in wanted)


def run_name(settings: AskSettings, survey: Survey) -> str:
    """A name for people: model, how it was asked, what."""
    parts = [describe(settings.model), way(settings.to_json()).lower()]
    parts += [said(settings)] if said(settings) else []
    parts.append(_set_words(settings.item_set, len(settings.items)))
    if settings.cultures:
        parts.append(_country_words(survey, [survey.culture(c) for c in settings.cultures]))
    return " · ".join(parts)


def _set_words(item_set: str, count: int) -> str:
    if item_set == "core":
        return "core set"
    if item_set == "all":
        return f"all {count} questions"
    return item_set or ("1 question" if count == 1 else f"{count} questions")


def _country_words(survey: Survey, countries: Sequence[Culture]) -> str:
    if len(countries) <= 3:
        return ", ".join(c.name for c in countries)
    return f"{len(countries)} countries"

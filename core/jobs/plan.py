"""Plan a run before it starts: which prompts, how long, how much memory; then start it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from core.analysis import derived_runs
from core.asking.languages import (
    IN_ENGLISH,
    OWN,
    Spoken,
    notes,
    own_translation,
    said,
    speak,
    speaks_several,
)
from core.asking.settings import AskOptions, AskSettings
from core.errors import PluriscopeError
from core.jobs.choices import AskChoices
from core.models.catalogue import describe, is_teaching
from core.models.embedding_cache import folder_of
from core.models.spec import ModelSpec
from core.options import shared
from core.prompts.methods import METHODS
from core.prompts.prompt_sets import PromptSet, load_prompt_set
from core.prompts.translations import ENGLISH, Translation
from core.store.runs import Run
from core.store.store import Store
from core.store.wordings import questionnaire_of
from core.survey.neighbours import NEAR_AND_FAR
from core.survey.survey import Culture, Survey

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


def plan_survey(store: Store, choices: AskChoices) -> Plan:
    """Runs over a set of items: one per method and wording, all started together.

    Raises PluriscopeError on anything unknown.
    """
    survey = store.survey(choices.survey)
    language = choices.language
    wordings = _wordings(choices.prompt_set, language)
    chosen = survey.select(choices.items)
    countries = choose_cultures(survey, choices.cultures)
    if not choices.methods:
        raise PluriscopeError("Choose at least one way of asking.")
    if not countries:
        raise PluriscopeError("Choose at least one country. Plain answers are compared with it.")
    methods, derive = _with_sources(choices.methods, choices.alpha)
    if derive and choices.answering != "probabilities":
        raise PluriscopeError("Amplifying and calibrating need probabilities, not written answers.")
    _check_neighbours(survey, methods)
    asked = {
        "cultures": tuple(c.iso3 for c in countries),
        "items": tuple(item.id for item in chosen),
        "item_set": _item_set(choices.items, survey),
    }
    english = [
        _settings(choices, survey, prompts, method=method, **asked)
        for prompts in wordings
        for method in methods
    ]
    _check_meaning(english)
    spoken = [
        speak(
            one,
            survey,
            language or prompts.language,
            prompts,
            english_instead=choices.english_instead,
        )
        for one, prompts in zip(
            english, (prompts for prompts in wordings for _ in methods), strict=True
        )
    ]
    settings = tuple(one.settings for one in spoken)
    if "amplified" in (wish["make"] for wish in derive) and any(map(speaks_several, settings)):
        raise PluriscopeError(derived_runs.ONE_LANGUAGE)
    what = _set_words(settings[0].item_set, len(settings[0].items))
    name, model = choices.name, choices.model
    title = name or f"{describe(model)}: {what}, {_country_words(survey, countries)}"
    if (asked_in := next(filter(None, map(said, settings)), "")) and not name:
        title = f"{title}, {asked_in}"
    names = [name or stored_name(one, survey) for one in settings]
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


def _settings(choices: AskChoices, survey: Survey, prompts: PromptSet, **asked: Any) -> AskSettings:
    """What one run is asked with, in English. asked: the method and what it is asked of whom."""
    by_meaning = choices.example_choice == "meaning"
    how = shared(choices, AskOptions) | {"embedder": choices.embedder if by_meaning else None}
    return AskSettings(
        **how,
        **asked,
        model=choices.model,
        survey=survey.id,
        survey_version=survey.version,
        prompt_set=prompts.id,
        prompt_sha256=prompts.sha256,
    )


def _item_set(items: str | Sequence[str], survey: Survey) -> str:
    """What a set of items is called; "" where they were chosen one by one."""
    if not isinstance(items, str) or items not in ("core", "all", *survey.topics):
        return ""
    return "all" if items == "core" and not survey.core_ids else items


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
    for made, how in METHODS.items():
        if made in methods and how.derived == "amplified":
            asked += ["plain", "country"]
            wishes.append({"make": made, "alpha": alpha})
        elif made in methods and how.derived:
            named = how.needs_culture
            there = any(METHODS[method].needs_culture == named for method in asked)
            asked += [] if there else ["country" if named else "plain"]
            wishes.append({"make": made})
    return list(dict.fromkeys(asked)), tuple(wishes)


def plan_question(
    store: Store, choices: AskChoices, question: str | dict, *, own_language: bool = False
) -> Plan:
    """One question asked plainly and as people of up to six countries, side by side.

    Gives the exact option probabilities, and written answers with a sentence of explanation, all
    sides in one batch with the same seed. question: an item's id, or {"question", "options"} of
    the user's own. own_language: ask each country a second time, in its own language where there
    is a translation.
    """
    survey = store.survey(choices.survey)
    prompts = load_prompt_set(choices.prompt_set)
    countries = choose_cultures(survey, choices.cultures) if choices.cultures else ()
    if len(countries) > 6:
        raise PluriscopeError("Choose up to six countries; more do not fit side by side.")
    methods = [one for one in choices.methods if countries or not METHODS[one].needs_culture]
    if not methods:
        raise PluriscopeError("Choose at least one country.")
    _check_neighbours(survey, methods)
    own = question if isinstance(question, dict) else None
    item = None if own else survey.item(question)
    asked = {
        "cultures": tuple(c.iso3 for c in countries),
        "items": (item.id if item else "own",),
        "item_set": "",
        "own_item": own,
        "language": prompts.language,
    }
    apart = tuple(
        iso3
        for iso3 in asked["cultures"]
        if own_language and item and own_translation(survey, item.id, iso3)
    )
    settings, names, spoken = [], [], []
    for answering in ("probabilities", "written"):
        answered = replace(choices, answering=answering)
        for one in methods:
            english = _settings(
                answered, survey, prompts, method=one, explain=answering == "written", **asked
            )
            settings.append(english)
            names.append(f"{METHODS[one].name}, {answering}")
            if apart and METHODS[one].needs_culture:
                theirs = replace(english, cultures=apart)
                spoken.append(speak(theirs, survey, OWN, prompts))
                settings.append(spoken[-1].settings)
                names.append(f"{METHODS[one].name}, own language, {answering}")
    _check_meaning(settings)
    title = f"“{item.label if item else own['question']}”"
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
    across = next((method for method in methods if METHODS[method].tells_neighbours), None)
    if across and len(survey.cultures) <= NEAR_AND_FAR:
        raise PluriscopeError(
            f"“{METHODS[across].name}” names {NEAR_AND_FAR} other countries of the survey; "
            f"{survey.name} has {len(survey.cultures)} in all. Ask in another way."
        )


def again(store: Store, run: Run, seed: int | None = None) -> Plan:
    """The asking a run belongs to, planned anew with the same settings (and another seed)."""
    group = sorted(store.runs(kind=None, group=run.group), key=lambda one: one.no)
    every = [one.settings for one in group]
    asked = [(s, one.name) for s, one in zip(every, group, strict=True) if not s.derived]
    derive = tuple(_wish(one) for one in every if one.derived)
    if not asked:  # made from runs of another asking
        methods = [*(["plain"] if run.method == "amplified" else []), every[0].asked_method]
        sources = [replace(every[0], method=method, derived=None) for method in methods]
        survey = store.survey(sources[0].survey, sources[0].survey_version)
        asked = [(one, stored_name(one, survey)) for one in sources]
    settings, names = zip(*asked, strict=True)
    words = [questionnaire_of(store, one) for one in settings]
    translations = {there.sha256: there for one in words for there in one.translations.values()}
    return Plan(
        tuple(one.with_seed(seed) if seed is not None else one for one in settings),
        names,
        group[0].name,
        words[0].prompts,
        run.kind,
        run.kind == "question",
        derive,
        more_prompts=tuple(one.prompts for one in words[1:]),
        translations=tuple(translations.values()),
    )


def plan_plain(store: Store, run: Run) -> Plan:
    """The same as a run asked, plainly: what amplifying it compares with."""
    if run.settings.derived or not METHODS[run.method].needs_culture:
        raise PluriscopeError("Choose a run that was asked as people of countries.")
    if sentence := derived_runs.not_amplified(run):
        raise PluriscopeError(sentence)
    plan = again(store, run)
    settings = replace(run.settings, method="plain")
    survey = store.survey(settings.survey, settings.survey_version)
    name = stored_name(settings, survey)
    return plan._replace(settings=(settings,), names=(name,), title=name, derive=())


def _wish(settings: AskSettings) -> dict:
    """What a derived run was made by, for derived.make."""
    wish = {"make": settings.method, "of": settings.asked_method}
    if settings.method == "amplified":
        fixed = settings.derived["chosen"] == "fixed"
        wish["alpha"] = settings.derived["alphas"][0] if fixed else None
    return wish


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


def stored_name(settings: AskSettings, survey: Survey) -> str:
    """The name a run is stored under: model, how it is asked, of which questions and countries."""
    parts = [describe(settings.model), settings.way.lower()]
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

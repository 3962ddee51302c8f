"""A tuning as it is chosen, checked and frozen before it is queued."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from core.errors import PluriscopeError
from core.jobs.choices import TuneChoices
from core.jobs.plan import choose_cultures
from core.models.catalogue import builtin_held_out
from core.models.spec import ModelSpec
from core.options import shared
from core.prompts.prompt_sets import PromptSet, load_prompt_set
from core.store.store import Store
from core.tuning.culturespa import writing
from core.tuning.settings import ARMS, Arm, Lora, TuneOptions, TuneSettings
from core.tuning.stages import tuning_title

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


def usual_training(model: ModelSpec) -> Lora:
    """The preset that suits a model."""
    return PRESETS["small" if model.source == "builtin" else "study"]


def plan_tuning(store: Store, choices: TuneChoices) -> TuningPlan:
    """A tuning as it is chosen, checked.

    Ids, topics and codes are found whatever their case. Raises PluriscopeError on anything unknown
    or empty; what is held out by a wrong name would be trained on.
    """
    survey = store.survey(choices.survey)
    prompts = load_prompt_set(choices.prompt_set)
    model = choices.model
    chosen_cultures = tuple(c.iso3 for c in choose_cultures(survey, choices.cultures))
    if model.adapter:
        raise PluriscopeError(
            "Tune the model itself: choose it without an adapter. Adapters are not stacked."
        )
    of_topics = {topic: topic for topic in survey.topics}
    of_cultures = {c.iso3: c.name for c in survey.cultures}
    chosen = _named(choices.topics, of_topics, "topic") or survey.topics
    held_out_items = choices.held_out_items
    if held_out_items is None:
        held_out_items = builtin_held_out() if model.source == "builtin" else ()
        held_out_items = [i.id for i in survey.items if i.id in held_out_items]
    held = _named(choices.held_out_cultures, of_cultures, "country")
    countries = tuple(c for c in of_cultures if c in {*chosen_cultures, *held})
    how = shared(choices, TuneOptions) | {
        "per_topic": int(choices.per_topic),
        "seeds": tuple(dict.fromkeys(int(seed) for seed in choices.seeds)),
        "held_out_items": _named(held_out_items, {i.id: i.label for i in survey.items}, "question"),
        "held_out_topics": _named(choices.held_out_topics, of_topics, "topic"),
        "held_out_cultures": held,
        "tasks": tuple(dict.fromkeys(choices.tasks)),
    }
    settings = TuneSettings(
        **how,
        model=model,
        cultures=countries,
        arms=arms_named(choices.arms, choices.mode),
        topics=chosen,
        survey=survey.id,
        survey_version=survey.version,
        prompt_set=prompts.id,
        prompt_sha256=prompts.sha256,
        lora=choices.lora or usual_training(model),
    )
    if not 1 <= settings.per_topic <= 5000:
        raise PluriscopeError("Have between 1 and 5,000 questions written on each topic.")
    if not countries or len(held) == len(countries):
        raise PluriscopeError("Choose at least one country to tune for.")
    if not set(chosen) - set(settings.held_out_topics):
        raise PluriscopeError("Every topic is held out. Leave at least one to write questions on.")
    if not settings.seeds:
        raise PluriscopeError("Give at least one seed.")
    if settings.evaluate:
        survey.select(settings.evaluate)
    if any(arm.teacher != "people" for arm in settings.arms):
        for topic in writing.topics_of(settings):  # each needs an example to write after
            writing.seed_items(settings, survey, topic, 0)
    return TuningPlan(settings, prompts, choices.name or tuning_title(settings))


# Why: docs/decisions.md, "A name that is not known is never left out."
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

"""Runs made from the answers of other runs, without asking a model anything.

Amplified: from a run as people of countries and a plain one (core/analysis/amplification.py).
Calibrated: from any run (core/analysis/calibration.py). What comes out is a run like any other,
which pages score, compare and export. Where people's answers set a number, each item's was set on
items of other batteries, and the run says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from core.analysis import amplification, calibration, cross_fitting
from core.analysis.cells import likeliest, singles
from core.analysis.scores import panel, survey_of
from core.asking.answers import Answer
from core.asking.languages import speaks_several
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.metrics.metrics import HEADLINE
from core.metrics.panel import Panel, human_panel, layout
from core.prompts.methods import METHODS
from core.store.runs import Run
from core.store.store import Store
from core.survey.neighbours import batteries
from core.survey.survey import Item

STRENGTH_SET = "answers to questions of other batteries, by which the strength was chosen"
TEMPERATURE_SET = METHODS["calibrated"].uses_human_answers
ONE_LANGUAGE = (
    "Amplifying compares answers as people of a country with plain ones in the same language, and "
    "asked plainly nobody has a language of their own. Ask everybody in one language, such as "
    "English, or leave amplifying out."
)
# Beyond these one option has all the weight, or the direction is more than reversed.
ALPHA_RANGE = (-1.0, 20.0)


def amplify(
    store: Store, country: Run, plain: Run | None = None, alpha: float | None = None
) -> Run:
    """A run "amplified": country + α (country - plain), see core/analysis/amplification.py.

    plain: a run of the same model, items, orders and wording; found where there is one. alpha:
    None chooses it, fold by fold, on questions of other batteries. Making the same again gives
    the run that is there. Raises PluriscopeError where the two runs do not go together.
    """
    if alpha is not None and not ALPHA_RANGE[0] <= alpha <= ALPHA_RANGE[1]:
        raise PluriscopeError("Choose a strength between −1 and 20. 0 leaves the answers as given.")
    if sentence := not_amplified(country):
        raise PluriscopeError(sentence)
    settings = _usable(country)
    plain = plain or plain_of(store, country)
    if plain is None:
        raise PluriscopeError(
            "Amplifying compares with the same questions asked plainly, by the same model in the "
            "same words and orders, and there is no such finished run. Ask plainly first."
        )
    _usable(plain)
    if problem := _mismatch(country, plain):
        raise PluriscopeError(f"These two runs do not go together: {problem}")

    survey = survey_of(store, country)
    items = settings.asked_items(survey)
    lay = layout(items)
    named = singles(store, country, items, settings.personas())
    nobody = singles(store, plain, items, ("",))[:, :, : named.shape[2]]
    record = {
        "kind": "amplified",
        "method": settings.asked_method,
        "sources": {"aware": country.id, "plain": plain.id},
        "chosen": "fixed" if alpha is not None else "auto",
    }
    if alpha is None:
        folds = cross_fitting.folds([item.id for item in items], batteries(survey))
        people = human_panel(survey, items, settings.personas()).human
        alphas = amplification.fit(named, nobody, people, lay, folds)
        record |= {"measure": HEADLINE, **_folded(items, folds)}
    else:
        folds, alphas = np.zeros(len(items), int), np.array([float(alpha)])
    record["alphas"] = alphas.tolist()
    record["human_answers"] = _uses(settings, STRENGTH_SET if alpha is None else "")
    each = alphas[folds]
    spread = amplification.amplify(named, nobody, each[:, None, None], lay.valid[:, None])
    return _keep(
        store,
        country,
        replace(settings, method="amplified", derived=record),
        f"{country.name} · amplified",
        _answers(spread, items, settings.personas(), lambda i: f"amplified, α = {each[i]:g}"),
    )


def calibrate(store: Store, run: Run) -> Run:
    """A run "calibrated" (or "calibrated_plain"): one temperature a scale length, fitted fold by
    fold on questions of other batteries, see core/analysis/calibration.py.

    Making the same again gives the run that is there.
    """
    of = _calibrated(store, run)
    settings, items, personas = of.settings, of.items, of.personas
    record = {
        "kind": "calibrated",
        "method": settings.asked_method,
        "sources": {"run": run.id},
        "measure": HEADLINE,
        **_folded(items, of.folds),
        "temperatures": [{str(size): t for size, t in fold.items()} for fold in of.temperatures],
        "human_answers": _uses(settings, TEMPERATURE_SET),
    }
    method = "calibrated" if METHODS[run.method].needs_culture else "calibrated_plain"
    return _keep(
        store,
        run,
        replace(settings, method=method, derived=record),
        f"{run.name} · calibrated",
        _answers(
            of.spread,
            items,
            personas,
            lambda i: f"calibrated, temperature {of.each[i]:.2f}",
        ),
    )


class _Calibrated(NamedTuple):
    """spread: float64[P, I, O, K], a run's distributions by option order, calibrated. each:
    float64[I], the temperature of each item; folds, temperatures: how they were fitted."""

    settings: AskSettings
    items: tuple[Item, ...]
    personas: tuple[str, ...]
    spread: np.ndarray
    each: np.ndarray
    folds: np.ndarray
    temperatures: list[dict[int, float]]


def _calibrated(store: Store, run: Run) -> _Calibrated:
    settings = _usable(run)
    survey = survey_of(store, run)
    items = settings.asked_items(survey)
    lay = layout(items)
    personas = settings.personas()
    countries = personas if personas != ("",) else settings.cultures
    people = human_panel(survey, items, countries or None).human
    spread = singles(store, run, items, personas)
    folds = cross_fitting.folds([item.id for item in items], batteries(survey))
    temperatures = calibration.cross_fit(spread, people, lay.size, lay, folds)
    each = np.array(
        [temperatures[fold][int(size)] for fold, size in zip(folds, lay.size, strict=True)]
    )
    spread = calibration.apply(spread, each[:, None, None])
    return _Calibrated(settings, items, personas, spread, each, folds, temperatures)


def calibrated_panel(store: Store, run: Run) -> Panel:
    """People's answers beside a run's as calibrate() would make them, without making a run."""
    sides, of = panel(store, run), _calibrated(store, run)
    model = np.broadcast_to(cross_fitting.over_orders(of.spread), sides.model.shape)
    return replace(sides, model=model, chosen=likeliest(model))


def plain_of(store: Store, country: Run) -> Run | None:
    """The newest finished plain run that goes with a run as people of countries; None if none."""
    for run in store.runs():
        if run.method == "plain" and run.state == "done" and not _mismatch(country, run):
            return run
    return None


def make(store: Store, asked: Sequence[Run], wishes: Iterable[Mapping]) -> list[Run]:
    """What a plan wants made of the runs it asked.

    wishes: {"make": a derived method, "of": of the runs of which method, "alpha": …} each. Without
    "of", amplified are those as a person from …, and calibrated all that answer as somebody (or as
    nobody).
    """
    made = []
    for wish in wishes:
        if wish["make"] == "amplified":
            plains = [run for run in asked if run.method == "plain"]
            for country in (run for run in asked if run.method == wish.get("of", "country")):
                plain = next((run for run in plains if not _mismatch(country, run)), None)
                made.append(amplify(store, country, plain, wish.get("alpha")))
        else:
            named = METHODS[wish["make"]].needs_culture
            made += [
                calibrate(store, run)
                for run in asked
                if METHODS[run.method].needs_culture == named
                and run.method == wish.get("of", run.method)
            ]
    return made


# -- what goes together ----------------------------------------------------------------------------


def problem(run: Run) -> str:
    """Why nothing can be derived from a run, in a sentence; "" where it can."""
    settings = run.settings
    if run.state != "done":
        return f"The run {run.name!r} is not finished. Resume it first."
    if settings.answering != "probabilities":
        return (
            f"The run {run.name!r} holds written answers. This needs probabilities: ask again "
            "with answers set to probabilities."
        )
    if settings.derived:
        return f"The run {run.name!r} is itself made from others. Choose one that a model answered."
    if settings.own_item:
        return "A question of your own has no battery and no people to learn from."
    return ""


def sources(run: Run) -> set[str]:
    """The ids of the runs that a run was made from; none where a model was asked."""
    return set((run.settings.derived or {}).get("sources", {}).values())


def not_amplified(country: Run) -> str:
    """Why a run cannot be amplified whatever else was asked, in a sentence; "" where it can."""
    if not METHODS[country.method].needs_culture:
        return (
            f"The run {country.name!r} was asked as nobody in particular, so there is nothing to "
            "amplify. Choose a run asked as people of countries."
        )
    return ONE_LANGUAGE if speaks_several(country.settings) else ""


def _usable(run: Run) -> AskSettings:
    """A run's settings; raises PluriscopeError where nothing can be derived from it."""
    if sentence := problem(run):
        raise PluriscopeError(sentence)
    return run.settings


def _mismatch(country: Run, plain: Run) -> str:
    """Why a run as people of countries and a plain one do not go together; "" if they do."""
    one, other = (run.settings for run in (country, plain))
    if other.method != "plain":
        return "one has to be asked as people of countries, the other plainly."
    if one.model != other.model or any(
        country.facts.get(fact) != plain.facts.get(fact)
        for fact in ("revision", "precision", "adapter_sha256")
    ):
        return "another model answered, or another version of it."
    if (one.survey, one.survey_version) != (other.survey, other.survey_version):
        return "they were asked different surveys."
    if (one.orders, one.answering) != (other.orders, other.answering):
        return "the options were shown in different orders, or answers taken in different ways."
    if not set(one.items) <= set(other.items):
        return "some questions were not asked plainly."
    if any(
        _wording(one, iso3, item) != _wording(other, "", item)
        for iso3 in one.personas()
        for item in one.items
        if one.asked_in(iso3, item)
    ):
        return "they were asked in different words, or in different languages."
    return ""


def _wording(settings: AskSettings, iso3: str, item: str) -> tuple[str, ...]:
    """What tells the words of one question from others: its language, and their fingerprints."""
    language = settings.asked_in(iso3, item)
    there = (settings.translations or {}).get(language)
    if there is None:
        return language, settings.prompt_sha256
    return language, there["prompt_sha256"], there["sha256"]


def _uses(settings: AskSettings, besides: str) -> str:
    """The label: what the source was shown, and what set the number here."""
    return "; and ".join(part for part in (settings.human_answers, besides) if part)


def _folded(items: Sequence[Item], folds: np.ndarray) -> dict:
    return {"folds": {item.id: int(fold) for item, fold in zip(items, folds, strict=True)}}


# -- from arrays to stored answers -----------------------------------------------------------------


def _answers(
    spread: np.ndarray,
    items: Sequence[Item],
    personas: Sequence[str],
    rule: Callable[[int], str],
) -> list[Answer]:
    """Distributions [P, I, O, K] as answers. rule: the words for how item number i was made."""
    made = []
    for p, i, number in np.argwhere(~np.isnan(spread[..., 0])).tolist():
        item = items[i]
        probs = spread[p, i, number, : len(item.options)]
        chosen = item.codes[int(np.argmax(probs))]
        key = personas[p], item.id, number
        made.append(
            Answer(*key, tuple(probs.tolist()), None, chosen, "answered", rule(i), None, None)
        )
    return made


# Why: docs/decisions.md, "What is made of answers is a run."
def _keep(
    store: Store, source: Run, settings: AskSettings, name: str, answers: Sequence[Answer]
) -> Run:
    """Store a derived run beside its source, or on its own where its method is there already."""
    known = store.runs(kind=None)
    for run in known:
        if run.settings == settings and run.state == "done":
            return run
    mine = settings.method, settings.prompt_sha256
    beside = all(
        (run.method, run.settings.prompt_sha256) != mine
        for run in known
        if run.group == source.group
    )
    with store.transaction():
        run = store.add_run(
            settings,
            planned=len(answers),
            name=name,
            group=source.group if beside else None,
            facts=source.facts,
            state="running",
        )
        store.add_answers(run.no, answers)
        store.update_run(run.id, state="done")
    return store.run(run.id)

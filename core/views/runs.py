"""What was asked, as pages list and name it: askings, their runs, wordings, and words for each."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from core.analysis import robustness, scores
from core.asking import languages
from core.inference.label_rules import RULE_WORDS, SINGLE
from core.jobs import askings as jobs_askings
from core.jobs.askings import Asking
from core.metrics.metrics import HEADLINE
from core.models.catalogue import describe, is_teaching
from core.prompts.methods import METHODS
from core.store.runs import Run
from core.store.store import Store
from core.tuning import lineage
from core.wording import count, listed

# -- what was asked --------------------------------------------------------------------------------


def askings(store: Store) -> list[Asking]:
    """What was asked of a survey and has answers by now, newest first."""
    return [asking for asking in jobs_askings.askings(store) if asking.answered]


def find_asking(known: Sequence[Asking], run_id: str | None) -> Asking | None:
    """The asking that a run belongs to; also found by its group. None where there is none."""
    for asking in known:
        if run_id == asking.group or any(run.id == run_id for run in asking.runs):
            return asking
    return None


def headline_asking(known: Sequence[Asking], item_id: str = "") -> Asking | None:
    """The newest asking to open with: complete, as people of countries, of ten questions or more.

    Where there is none, the newest that is complete; failing that, the newest with answers.
    item_id: one of those that asked this question, where any did.
    """
    asked = item_id.casefold()
    known = [
        one for one in known if asked in (item.casefold() for item in one.runs[0].settings.items)
    ] or known
    whole = [one for one in known if is_complete(one)]
    large = [one for one in whole if persona_method(one) and len(one.runs[0].settings.items) >= 10]
    return next(iter([*large, *whole, *known]), None)


def is_complete(asking: Asking) -> bool:
    return all(run.state == "done" for run in asking.runs)


def is_under_way(asking: Asking) -> bool:
    return any(run.state in scores.UNDER_WAY for run in asking.runs)


def by_method(asking: Asking) -> dict[str, Run]:
    """An asking's runs that have answers, by method, in the order of METHODS."""
    found = {run.method: run for run in reversed(asking.runs) if run.answered}
    return {method: found[method] for method in METHODS if method in found}


def wordings(asking: Asking) -> list[str]:
    """Names of the wordings an asking was asked in, the one shown first before the others."""
    return list(dict.fromkeys(run.settings.prompt_set for run in asking.runs))


def in_wording(asking: Asking, wording: str) -> Asking:
    """An asking as if it had been asked in one of its wordings only."""
    runs_of = tuple(run for run in asking.runs if run.settings.prompt_set == wording)
    return asking._replace(runs=runs_of) if runs_of else asking


def in_formats(asking: Asking, method: str) -> list[Run]:
    """The runs of one method that have answers, one a wording."""
    found = {
        run.settings.prompt_set: run
        for run in reversed(asking.runs)
        if run.method == method and run.answered
    }
    return [found[wording] for wording in wordings(asking) if wording in found]


def formats_of(known: Sequence[Asking], run: Run) -> list[Run]:
    """A run and those that put the same in other wordings."""
    asking = find_asking(known, run.id)
    found = in_formats(asking, run.method) if asking else []
    return found if any(one.id == run.id for one in found) else [run]


def persona_method(asking: Asking) -> str | None:
    """The method that names a country: "country" where it was asked, else another such one."""
    named = [method for method in by_method(asking) if METHODS[method].needs_culture]
    return "country" if "country" in named else next(iter(named), None)


def listed_name(asking: Asking, method: str) -> str:
    """One run of an asking in a list of runs: the asking's name, the way of asking, the moment."""
    run = by_method(asking)[method]
    return f"{asking.name} · {_way_inside(run)} · {run.created:%-d %b %Y, %H:%M}"


def listed_names(known: Sequence[Asking]) -> dict[str, str]:
    """Every run with answers: id -> its listed_name, and its wording where there are several."""
    labels = {}
    for asking in known:
        names = wordings(asking)
        for wording in names:
            part = in_wording(asking, wording)
            for method, run in by_method(part).items():
                told = f" · {wording_name(wording)}" if len(names) > 1 else ""
                labels[run.id] = f"{listed_name(part, method)}{told}"
    return labels


WORDING_NAMES = {
    "pluriscope": "First wording",
    "pluriscope-b": "Second wording",
    "pluriscope-c": "Third wording",
}


def wording_name(wording: str) -> str:
    """A prompt set for people: Pluriscope's own by number, others by their name."""
    return WORDING_NAMES.get(wording, wording.rsplit("/", 1)[-1].removesuffix(".json"))


def format_spread(
    store: Store, asking: Asking, method: str, metric: str = HEADLINE, topic: str = ""
) -> robustness.Spread | None:
    """How much wording and order move the scores of a method; None where it was asked in one."""
    runs_of = in_formats(asking, method)
    if len(robustness.formats(store, runs_of)) < 2:
        return None
    return robustness.spread(store, runs_of, metric, topic)


def held(store: Store, asking: Asking, method: str) -> pd.DataFrame:
    """robustness.held for every format a method was asked in; empty where there is only one."""
    table = robustness.held(store, in_formats(asking, method))
    return table[table["of"] > 1].reset_index(drop=True)


def model_name(run: Run) -> str:
    """The model a run asked, with its adapter."""
    return describe(run.settings.model)


def model_and_way(run: Run) -> str:
    """Model and way of asking, in a list of runs of several models."""
    return f"{model_name(run)}, {_way_inside(run)}"


def _way_inside(run: Run) -> str:
    """The way of asking within a line: "as a person from …"."""
    return f"{run.way[0].lower()}{run.way[1:]}"


def human_answers(store: Store, *of: Run) -> str:
    """The label of scores that people's answers had a part in: a sentence, "" where they had none.

    Runs of which only some use them are told apart by how they were asked.
    """
    used = dict.fromkeys((_asked_of(run), lineage.human_answers(store, run)) for run in of)
    sentences = []
    for what in dict.fromkeys(what for _, what in used if what):
        who = [f"“{name}”" for name, its in used if its == what]
        verb = "use" if len(who) > 1 else "uses"
        subject = f"{listed(who)} {verb}" if len(used) > 1 else "This way of asking uses"
        sentences.append(f"{subject} people’s answers: {what}.")
    return " ".join(sentences)


def _asked_of(run: Run) -> str:
    return f"{run.way}, after tuning" if run.settings.model.adapter else run.way


def draft_words(*of: Run) -> str:
    """A sentence where runs were asked in translations that are drafts; "" where none was."""
    told = (languages.draft_words(run.settings) for run in of)
    return " ".join(dict.fromkeys(filter(None, told)))


def rule_words(store: Store, *of: Run) -> str:
    """A sentence where runs that are compared count an option by two rules; "" elsewhere, and where
    each label is a token of its own, so that both rules are one."""
    told = {run.settings.label_rule: run for run in of if run.settings.answering == "probabilities"}
    if len(told) < 2 or all(store.scored_by(run.no) <= {SINGLE} for run in told.values()):
        return ""
    each = [f"one {RULE_WORDS[rule]}" for rule in sorted(told)]
    return (
        f"These runs do not count an option alike: {listed(each)}. A difference between "
        "them may come from that. Ask again by one rule to compare them."
    )


def headline_runs(asking: Asking) -> list[Run]:
    """The runs that headline_result speaks of: the plain one and the one that names a country."""
    found = by_method(asking)
    named = persona_method(asking)
    shown = [found[method] for method in ("plain", named) if method in found]
    return shown or list(found.values())[:1]


def is_builtin(run: Run) -> bool:
    """Asked of the teaching model that comes along, which is no evidence about language models."""
    return is_teaching(run.settings.model, run.facts)


def asked_countries(store: Store, asking: Asking) -> list[str]:
    """Codes of the countries that an asking named; all of its survey where it named none."""
    survey = scores.survey_of(store, asking.runs[0])
    named = {iso3 for run in asking.runs for iso3 in run.settings.cultures}
    return [c.iso3 for c in survey.cultures if not named or c.iso3 in named]


def country_names(store: Store, asking: Asking) -> dict[str, str]:
    """iso3 -> name of every country of an asking's survey."""
    return {c.iso3: c.name for c in scores.survey_of(store, asking.runs[0]).cultures}


def country_zones(store: Store, asking: Asking) -> dict[str, str]:
    """iso3 -> part of the world (cultural zone) of every country of an asking's survey."""
    return {c.iso3: c.region for c in scores.survey_of(store, asking.runs[0]).cultures}


def asked_topics(store: Store, asking: Asking) -> list[str]:
    """Topics of the items that an asking was asked, in questionnaire order."""
    survey = scores.survey_of(store, asking.runs[0])
    wanted = {item for run in asking.runs for item in run.settings.items}
    return list(dict.fromkeys(item.topic for item in survey.items if item.id in wanted))


def asked_how(run: Run) -> str:
    """How a run was asked, after "Asked …", and in what language where that is not English."""
    spoken = languages.said(run.settings)
    return f"{METHODS[run.method].asked}{f', {spoken}' if spoken else ''}"


def run_kicker(store: Store, run: Run, topic: str = "") -> str:
    """Model, way of asking, questions: one line that names a run."""
    survey = scores.survey_of(store, run)
    items = [survey.item(i) for i in run.settings.items]
    if topic:
        items = [item for item in items if item.topic == topic]
    asked = f"{count(len(items), 'question')}{f' on {topic}' if topic else ''}"
    spoken = languages.said(run.settings)
    parts = [model_name(run), _way_inside(run), spoken, asked, f"run {run.id}"]
    return " · ".join(filter(None, parts))

"""Where a number comes from: the facts of a run, and the card that leaves with a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from core.analysis import option_mass
from core.asking import languages
from core.asking.settings import AskSettings
from core.inference.label_rules import RULE_WORDS
from core.models.catalogue import describe, is_teaching
from core.models.spec import precision_words, resolve_precision
from core.prompts import translations
from core.prompts.methods import METHODS
from core.prompts.prompt_sets import PromptSet
from core.prompts.render import ORDERS, templates
from core.prompts.translations import items_of
from core.store.runs import Run
from core.store.store import Store
from core.strict_json import strict_json
from core.survey.survey import Survey
from core.tuning.lineage import human_answers
from core.wording import percent


class Fact(NamedTuple):
    """One line of where a number comes from. `term` is what the field calls it, "" if the same."""

    name: str
    value: str
    term: str = ""


def provenance(store: Store, run: Run) -> list[Fact]:
    """Where the numbers of a run come from, as lines for people."""
    settings = run.settings
    survey = store.survey(settings.survey, settings.survey_version)
    facts = run.facts
    spec = settings.model
    precision = facts.get("precision") or resolve_precision(spec)
    lines = [
        Fact("Model", model_in_full(run)),
        Fact("Model version", _short(facts.get("revision") or spec.revision), "revision"),
        Fact("Precision", precision_words(precision)),
        Fact("Adapter", _adapter_words(settings, facts)),
        Fact("Asked", run.way, "method"),
        Fact("People’s answers used", human_answers(store, run) or "none"),
        Fact("Wording", settings.prompt_set, "prompt set"),
        Fact("Language", _language_words(settings)),
        *_wording_lines(settings),
        Fact("Answers", _answering_words(settings)),
        *_label_lines(store, run),
        Fact("Seed", str(settings.seed)),
        Fact("Questions", _items_words(settings, survey)),
    ]
    lines += _example_lines(settings, run)
    lines += _derived_lines(store, settings)
    lines.append(Fact("Countries", _country_words(settings, survey)))
    if not settings.own_item:
        lines.append(Fact("People", _people_words(settings, survey), "respondents"))
        lines.append(Fact("Survey", f"{survey.name}, version {survey.version}"))
    lines += [
        Fact("Answered", f"{run.answered:,} of {run.planned:,} planned answers"),
        Fact("What is left out", "refusals and what cannot be read; counted apart", "missing rule"),
        Fact("Date", when_words(run.created)),
        Fact("Versions", _version_words(settings, facts)),
        Fact("Run", run.id),
    ]
    return lines


def provenance_text(store: Store, run: Run) -> str:
    """The same as plain text, to paste beside a figure."""
    lines = [f"{fact.name}: {fact.value}" for fact in provenance(store, run)]
    survey = store.survey(run.settings.survey, run.settings.survey_version)
    if survey.citation and not run.settings.own_item:
        lines.append(f"Citation of the survey: {survey.citation}")
    return "\n".join(lines)


def model_in_full(run: Run) -> str:
    """A run's model and where it comes from; the built-in one is always called a teaching model."""
    spec = run.settings.model
    name = describe(spec)
    if is_teaching(spec, run.facts):
        return f"{name} (a teaching model, no evidence about language models)"
    return name if name == spec.source else f"{name} ({spec.source})"


def when_words(moment: datetime) -> str:
    return f"{moment:%-d %B %Y, %H:%M} UTC"


def _version_words(settings: AskSettings, facts: dict) -> str:
    others = [f"{name} {version}" for name, version in facts.get("versions", {}).items()]
    return ", ".join([f"Pluriscope {settings.code_version}", *others])


def _short(revision: str | None) -> str:
    """A commit or a fingerprint, as much of it as tells it from any other."""
    if not revision:
        return "not recorded"
    return revision[:23] if len(revision) > 40 else revision


def _adapter_words(settings: AskSettings, facts: dict) -> str:
    if not settings.model.adapter:
        return "none"
    sha256 = facts.get("adapter_sha256")
    return settings.model.adapter + (f", SHA-256 {sha256[:16]}" if sha256 else "")


def _answering_words(settings: AskSettings) -> str:
    if settings.answering == "probabilities":
        return f"exact probability of each option; {ORDERS[settings.orders].done}"
    how = "1 answer" if settings.samples == 1 else f"{settings.samples} answers"
    return (
        f"written, {how} to each question, "
        f"temperature {settings.temperature:g}, top-p {settings.top_p:g}"
    )


def _label_lines(store: Store, run: Run) -> list[Fact]:
    """Of probabilities: what counts as an option, and how much of the model's text is one."""
    mass = option_mass.mass_of(store, run)
    if run.settings.answering != "probabilities" or mass is None:
        return []
    return [
        Fact("An option counts", RULE_WORDS[run.settings.label_rule], "label rule"),
        Fact("On the options", f"{percent(mass)} of what it would say", "mass"),
    ]


def _language_words(settings: AskSettings) -> str:
    """English; Hindi, a draft translation; or which countries in which."""
    told = languages.said(settings).removeprefix("in ") or "English"
    if settings.speaks:
        counts = Counter(translations.name(code) for code in settings.speaks.values())
        told += f": {', '.join(f'{name} {count}' for name, count in counts.most_common())}"
    if settings.translations and settings.english_instead:
        told += "; what is not translated, in English"
    return told


CHOICE_WORDS = {
    "similar": "worded most alike (chrF++)",
    "meaning": "nearest in meaning",
    "topic": "by chance, of the same topic",
    "random": "by chance, of all topics",
}


def _wording_lines(settings: AskSettings) -> list[Fact]:
    """The fingerprint of the wording, and in each other language that of wording and questions."""
    lines = [Fact("Fingerprint of the wording", settings.prompt_sha256[:16], "SHA-256")]
    if settings.translations:
        told = [
            f"{translations.name(language)}: wording {facts['prompt_sha256'][:16]}, "
            f"questions {facts['sha256'][:16]}"
            for language, facts in settings.translations.items()
        ]
        lines.append(Fact("Fingerprints of the translations", "; ".join(told), "SHA-256"))
    return lines


def _example_lines(settings: AskSettings, run: Run) -> list[Fact]:
    """Of a run whose prompts show answered questions: how many, and how they were chosen."""
    if not METHODS[settings.asked_method].shows_examples:
        return []
    many = "up to " if settings.examples > 1 else ""
    told = f"{many}{settings.examples}, {CHOICE_WORDS[settings.example_choice]}"
    if settings.by_meaning:
        version = _short(run.facts.get("embedder_revision"))
        told += f" to {Path(settings.embedder).name}, version {version}"
    return [Fact("Examples", told, "demonstrations")]


def _derived_lines(store: Store, settings: AskSettings) -> list[Fact]:
    """Of a run made from others: from which, and with what numbers."""
    if not (record := settings.derived):
        return []
    lines = [Fact("Made from", _sources_words(store, record["sources"]))]
    if "alphas" in record:
        alphas = list(dict.fromkeys(f"{alpha:g}" for alpha in record["alphas"]))
        how = "" if record["chosen"] == "fixed" else ", chosen on questions of other batteries"
        lines.append(Fact("Strength", f"{' or '.join(alphas)}{how}", "α"))
    if "temperatures" in record:
        sizes = sorted({size for fold in record["temperatures"] for size in fold}, key=int)
        spans = []
        for size in sizes:
            ts = [fold[size] for fold in record["temperatures"] if size in fold]
            span = f"{min(ts):.2f}" if min(ts) == max(ts) else f"{min(ts):.2f}–{max(ts):.2f}"
            spans.append(f"{size} options: {span}")
        lines.append(Fact("Temperature", "; ".join(spans), "fitted on other batteries"))
    return lines


def _sources_words(store: Store, sources: dict[str, str]) -> str:
    known = {run.id: run.way.lower() for run in store.runs(kind=None)}
    return " and ".join(
        f"run {run_id} ({known.get(run_id, 'deleted')})" for run_id in sources.values()
    )


def _items_words(settings: AskSettings, survey: Survey) -> str:
    if settings.own_item:
        return "a question of your own, not in any survey"
    count = len(settings.items)
    if settings.item_set == "core":
        return f"the core set, {count}"
    if settings.item_set == "all":
        return f"all {count}"
    if count == 1:
        return f"{survey.item(settings.items[0]).label} ({settings.items[0]})"
    return f"{settings.item_set}, {count}" if settings.item_set else str(count)


def _country_words(settings: AskSettings, survey: Survey) -> str:
    names = [survey.culture(iso3).name for iso3 in settings.cultures]
    if not names:
        return "none" if settings.own_item else f"all {len(survey.cultures)} of the survey"
    return ", ".join(names) if len(names) <= 6 else f"{len(names)}"


def _people_words(settings: AskSettings, survey: Survey) -> str:
    wanted = settings.cultures or tuple(c.iso3 for c in survey.cultures)
    cells = [
        survey.shares[iso3, item]
        for iso3 in wanted
        for item in settings.items
        if (iso3, item) in survey.shares
    ]
    if not cells:
        return "no human answers to these questions"
    counts = [cell.n_valid for cell in cells]
    bases = _bases(survey, wanted, settings.items)
    if not max(counts):
        return f"how many is not known; shares {' and '.join(bases)}"
    span = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,}–{max(counts):,}"
    return f"{span} in each country, {' and '.join(bases)}"


CARD_FORMAT = "pluriscope-card/1"
MISSING_RULE = (
    "People without a valid answer are left out of the shares. Refusals of the model and answers "
    "that cannot be read are no part of a distance; they are counted as rates of their own. A "
    "score is taken over the questions that a country's people were asked and the model answered."
)


# Why: docs/decisions.md, "Every table leaves with a card."
def card(store: Store, run: Run) -> dict:
    """Where the numbers of a run come from, for programs: the provenance card of every table.

    Holds what it takes to ask the same again and to read the numbers: model and its precision,
    wording in full, method, orders and seed, questions, people behind them, rules, versions, dates.
    """
    settings = run.settings
    survey = store.survey(settings.survey, settings.survey_version)
    facts, how = run.facts, METHODS[settings.method]
    own = bool(settings.own_item)
    wanted = settings.cultures or tuple(c.iso3 for c in survey.cultures)
    return {
        "format": CARD_FORMAT,
        "run": run.id,
        "name": run.name,
        "model": settings.model.source,
        "model_name": model_in_full(run),
        "revision": facts.get("revision") or settings.model.revision,
        "precision": facts.get("precision") or resolve_precision(settings.model),
        "adapter": settings.model.adapter,
        "adapter_sha256": facts.get("adapter_sha256"),
        "method": settings.method,
        "method_words": how.name,
        "uses_human_answers": human_answers(store, run),
        "derived": settings.derived,
        "prompt_set": settings.prompt_set,
        "prompt_sha256": settings.prompt_sha256,
        "prompt": _prompt_text(store, settings, settings.prompt_sha256),
        "language": settings.language,
        "languages": settings.speaks,
        "translations": _translations_used(store, settings, survey),
        "draft_translations": languages.drafts(settings),
        "english_instead": bool(settings.translations) and settings.english_instead,
        "examples": _examples(settings, run),
        "near_and_far": settings.neighbours,
        "answering": settings.answering,
        "option_orders": settings.orders if settings.answering == "probabilities" else "given",
        "label_rule": settings.label_rule if settings.answering == "probabilities" else None,
        "mass": option_mass.mass_of(store, run),
        "sampling": _sampling(settings),
        "seed": settings.seed,
        "survey": None if own else {
            "id": survey.id,
            "version": survey.version,
            "name": survey.name,
            "citation": survey.citation,
        },
        "n_items": len(settings.asked_items(survey)),
        "items": [item.id for item in settings.asked_items(survey)],
        "countries": [] if own else list(wanted),
        "respondents": {} if own else _respondents(survey, wanted, settings.items),
        "weighting": [] if own else _bases(survey, wanted, settings.items),
        "missing_rule": MISSING_RULE,
        "answered": run.answered,
        "planned": run.planned,
        "date": run.created.isoformat(timespec="seconds"),
        "versions": {"pluriscope": settings.code_version, **facts.get("versions", {})},
    }  # fmt: skip


def card_json(store: Store, run: Run, before: Run | None = None) -> str:
    """The card as JSON; of a comparison, the other run's card lies in it as "compared_with"."""
    record = card(store, run)
    if before is not None:
        record["compared_with"] = card(store, before)
    return strict_json(record, indent=1)


def _prompt_text(store: Store, settings: AskSettings, sha256: str) -> dict[str, str] | None:
    """A wording in full with its blanks; None where the store does not hold it."""
    texts = store.prompt_texts(sha256)
    if not texts:
        return None
    prompts = PromptSet(settings.prompt_set, settings.prompt_set, settings.language, texts)
    explain = settings.answering == "written" and settings.explain
    system, user = templates(prompts, settings.asked_method, explain)
    return {"system": system, "user": user}


def _translations_used(store: Store, settings: AskSettings, survey: Survey) -> dict[str, dict]:
    """By language, what was asked in it: the wording and its fingerprint, the questions with their
    options and the names of countries, and the fingerprint of the translation they are from."""
    used = {}
    for language, facts in (settings.translations or {}).items():
        texts = store.translation(facts["sha256"]) or {"items": {}, "countries": {}}
        items = items_of(texts["items"])
        whom = set(settings.cultures)
        if settings.speaks is not None:
            whom = {iso3 for iso3, spoken in settings.speaks.items() if spoken == language}
        used[language] = {
            "prompt_sha256": facts["prompt_sha256"],
            "prompt": _prompt_text(store, settings, facts["prompt_sha256"]),
            "sha256": facts["sha256"],
            "items": {
                item.id: {
                    "question": items[item.id].question,
                    "options": dict(zip(map(str, item.codes), items[item.id].options, strict=True)),
                }
                for item in map(survey.item, facts["items"])
                if item.id in items
            },
            "countries": {c: name for c, name in texts["countries"].items() if c in whom},
        }
    return used


def _examples(settings: AskSettings, run: Run) -> dict | None:
    """How the answered questions in the prompts were chosen; None where none were shown."""
    if not METHODS[settings.asked_method].shows_examples:
        return None
    embedder = Path(settings.embedder).name if settings.by_meaning else None
    return {
        "number": settings.examples,
        "choice": settings.example_choice,
        "evidence": settings.example_evidence,
        "other_batteries": settings.other_batteries,
        "embedder": embedder,
        "embedder_revision": run.facts.get("embedder_revision") if embedder else None,
    }


def _sampling(settings: AskSettings) -> dict | None:
    if settings.answering == "probabilities":
        return None
    return {
        "samples": settings.samples,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
    }


def _respondents(survey: Survey, wanted: Sequence[str], items: Sequence[str]) -> dict[str, dict]:
    """iso3 -> size of the sample, fewest and most valid answers to a question."""
    result = {}
    for iso3 in wanted:
        valid = [survey.shares[iso3, i].n_valid for i in items if (iso3, i) in survey.shares]
        result[iso3] = {
            "sample": survey.culture(iso3).n,
            "fewest_valid": min(valid, default=0),
            "most_valid": max(valid, default=0),
        }
    return result


def _bases(survey: Survey, wanted: Sequence[str], items: Sequence[str]) -> list[str]:
    """How people were counted: "weighted", "unweighted", or both."""
    return sorted(
        {survey.shares[c, i].basis for c in wanted for i in items if (c, i) in survey.shares}
    )

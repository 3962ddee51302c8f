"""In which language a run asks whom: one for all, or each country its own; what is missing."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from core import wording
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.home import home
from core.models.catalogue import is_teaching
from core.prompts.methods import METHODS
from core.prompts.prompt_sets import PromptSet
from core.prompts.translations import (
    BESIDE,
    DRAFTS,
    ENGLISH,
    Imported,
    Translation,
    add,
    load,
    own_language,
)
from core.prompts.translations import languages as known_languages
from core.prompts.translations import name as language_name
from core.sanitize import clean_text
from core.survey.survey import BUNDLED_SURVEY, Survey

OWN = "own"
TAUGHT_ENGLISH = (
    "The built-in model was taught English only; in any other language it answers by chance."
)
NAMED = 12  # so many countries are listed by name
IN_ENGLISH = "The plain questions are in English: nobody in particular has no language."


class Spoken(NamedTuple):
    """Settings in a language, and the translations they need."""

    settings: AskSettings
    translations: tuple[Translation, ...] = ()


def folder() -> Path:
    """Where the user's translations lie."""
    return home() / "translations"


def available(survey: Survey) -> list[str]:
    """Codes of the languages a survey can be asked in, English first."""
    return known_languages(survey, folder())


def bring_in(survey: Survey, path: Path) -> Imported:
    """Keep a file of translated items, and what lies beside it; see translations.add."""
    return add(path, survey, folder(), bundled=survey.id == BUNDLED_SURVEY)


def bring_in_uploads(survey: Survey, uploads: Mapping[str, bytes]) -> Imported:
    """The same for files by name: one of items (.jsonl), with prompts.json and countries.json where
    the language has none yet. Raises PluriscopeError."""
    items = [name for name in uploads if name.lower().endswith(".jsonl")]
    others = uploads.keys() - {*items, *BESIDE}
    if len(items) != 1 or others:
        raise PluriscopeError(
            f"Choose one file of items that ends in .jsonl, and {' and '.join(BESIDE)} with it "
            f"where the language is new{f'; {min(others)} is none of them' if others else ''}."
        )
    with tempfile.TemporaryDirectory(prefix="pluriscope-translation-") as there:
        path = Path(there) / (clean_text(Path(items[0]).name, 60) or "items.jsonl")
        for name, content in uploads.items():
            (path if name in items else Path(there) / name).write_bytes(content)
        return bring_in(survey, path)


def imported_words(there: Imported, survey: Survey) -> str:
    """What a file of translated items held, in a sentence."""
    drafts = f", {there.drafts} marked as drafts" if there.drafts else ""
    return (
        f"{language_name(there.language)}: {there.items} of {len(survey.items)} questions of "
        f"{survey.name}{drafts}."
    )


def speak(
    settings: AskSettings,
    survey: Survey,
    language: str,
    prompts: PromptSet,
    *,
    english_instead: bool = False,
) -> Spoken:
    """A run planned in English, in another language.

    language: a code, or OWN: each country in the first language it was surveyed in that there are
    translations for. prompts: the English wording, or the user's own in that language. Items
    without a translation are left out, and countries without a language too, or asked in English
    with english_instead. Raises PluriscopeError where nothing is left to ask.
    """
    if settings.own_item and language != ENGLISH:
        raise PluriscopeError("A question of your own is asked in the words you write.")
    if language == OWN:
        return _own(settings, survey, english_instead)
    if language == ENGLISH:
        if prompts.language != ENGLISH:
            raise PluriscopeError(
                f"This wording is in {language_name(prompts.language)}. Choose that language for "
                "the questions as well."
            )
        return Spoken(settings)
    there = _load(survey, language)
    if prompts.language == language:
        there = replace(there, prompts=prompts)
    elif prompts.id != "pluriscope":
        raise PluriscopeError(
            f"The wording {prompts.name!r} is not in {language_name(language)}. Choose "
            "“pluriscope”, which is there in every language."
        )
    asked = [item for item in settings.items if item in there.items]
    if not asked and not english_instead:
        raise PluriscopeError(
            f"None of these questions is translated into {language_name(language)}. Choose the "
            "core set, or have them asked in English."
        )
    items = settings.items if english_instead else tuple(asked)
    changed = {
        "language": language,
        "items": items,
        "item_set": settings.item_set if items == settings.items else "",
        "translations": {language: _facts(there, asked)},
        "english_instead": english_instead,
    }
    if not english_instead:
        changed |= {"prompt_set": there.prompts.id, "prompt_sha256": there.prompts.sha256}
    return Spoken(replace(settings, **changed), (there,))


def _own(settings: AskSettings, survey: Survey, english_instead: bool) -> Spoken:
    if not METHODS[settings.method].needs_culture:
        return Spoken(settings)
    known = available(survey)
    speaks = {
        iso3: own_language(survey.culture(iso3), known) or (ENGLISH if english_instead else "")
        for iso3 in settings.cultures
    }
    used = sorted({language for language in speaks.values() if language not in ("", ENGLISH)})
    translations = {language: _load(survey, language) for language in used}
    asked = {
        language: [item for item in settings.items if item in there.items]
        for language, there in translations.items()
    }
    if not english_instead:
        speaks = {iso3: one for iso3, one in speaks.items() if one and asked.get(one, True)}
    if not speaks:
        raise PluriscopeError(
            "None of these questions is translated into a language of these countries. Choose the "
            "core set, other countries, or have them asked in English."
        )
    return Spoken(
        replace(
            settings,
            language=OWN,
            cultures=tuple(speaks),
            speaks=speaks,
            translations={
                language: _facts(translations[language], asked[language])
                for language in used
                if language in speaks.values()
            },
            english_instead=english_instead,
        ),
        tuple(translations[language] for language in used if language in speaks.values()),
    )


def speaks_several(settings: AskSettings) -> bool:
    """Is any country asked in a language that the plain questions are not asked in?"""
    return settings.language == OWN and any(
        language != ENGLISH for language in (settings.speaks or {}).values()
    )


def own_translation(survey: Survey, item_id: str, iso3: str) -> Translation | None:
    """What a country is asked an item in, besides English; None where its own language is English
    or the item is not translated."""
    language = own_language(survey.culture(iso3), available(survey))
    if language in ("", ENGLISH):
        return None
    there = load(survey, language, folder())
    return there if item_id in there.items else None


def without_own(survey: Survey, item_id: str, countries: Sequence[str]) -> str:
    """Which countries cannot be asked an item in a language besides English, in a sentence; ""
    where all can."""
    english, none = [], []
    for iso3 in countries:
        if own_translation(survey, item_id, iso3) is None:
            own = own_language(survey.culture(iso3), available(survey))
            (english if own == ENGLISH else none).append(wording.country(survey.culture(iso3).name))
    lines = []
    if english:
        verb = "is" if len(english) == 1 else "are"
        lines.append(f"{wording.capital(wording.listed(english))} {verb} asked in English already.")
    if none:
        lines.append(f"This question is not translated into a language of {wording.listed(none)}.")
    return " ".join(lines)


def _load(survey: Survey, language: str) -> Translation:
    there = load(survey, language, folder())
    if not there.items:
        known = ", ".join(f"{language_name(code)} ({code})" for code in available(survey))
        raise PluriscopeError(
            f"No question of {survey.name} is translated into {language_name(language)}. There "
            f"are: {known}; and {OWN}, each country in its own."
        )
    return there


def _facts(there: Translation, asked: Sequence[str]) -> dict:
    return {
        "items": list(asked),
        "sha256": there.sha256,
        "prompt_sha256": there.prompts.sha256,
        "drafts": sum(there.items[item].draft for item in asked),
    }


def label(language: str) -> str:
    """A language in a list to choose from."""
    if language == OWN:
        return "Each country’s own"
    return f"{language_name(language)}{' (draft)' if language in DRAFTS else ''}"


# -- in words --------------------------------------------------------------------------------------


def said(settings: AskSettings) -> str:
    """The language inside a sentence: "in German (draft)", "each in its own language"; "" where
    it is English."""
    if settings.language == ENGLISH:
        return ""
    if settings.language == OWN:
        return f"each in its own language{' (some in draft)' if drafts(settings) else ''}"
    draft = " (draft translation)" if drafts(settings) else ""
    return f"in {language_name(settings.language)}{draft}"


def drafts(settings: AskSettings) -> list[str]:
    """Names of the languages of a run in which items are drafts."""
    facts = settings.translations or {}
    return sorted(language_name(language) for language, one in facts.items() if one.get("drafts"))


def draft_words(settings: AskSettings) -> str:
    """A sentence on drafts; "" where there are none."""
    if not (names := drafts(settings)):
        return ""
    what = "translations" if len(names) > 1 else "translation"
    verb = "are drafts" if len(names) > 1 else "is a draft"
    return (
        f"The {what} into {wording.listed(names)} {verb}: a native reader should review it before "
        "results are published."
    )


def notes(before: AskSettings, after: AskSettings, survey: Survey) -> list[str]:
    """What asking in another language changes in a plan, in sentences for people.

    before: the same run planned in English.
    """
    if after.language == ENGLISH:
        return []
    lines = []
    if after.language == OWN:
        lines += _country_notes(before, after, survey)
    lines += _item_notes(before, after)
    lines += _name_notes(after, survey)
    lines += [draft_words(after)] if drafts(after) else []
    if is_teaching(after.model):
        lines.append(TAUGHT_ENGLISH)
    return lines


def _country_notes(before: AskSettings, after: AskSettings, survey: Survey) -> list[str]:
    counts = Counter(after.speaks.values())
    asked = [f"{language_name(code)} ({count})" for code, count in counts.most_common()]
    lines = [f"Asked in {wording.listed(asked)}; in brackets how many countries."]
    known = available(survey)
    without = [
        survey.culture(iso3).name
        for iso3 in before.cultures
        if own_language(survey.culture(iso3), known) == ""
    ]
    if without:
        count = wording.count(len(without), "country", "countries")
        done = "asked in English" if after.english_instead else "left out"
        lines.append(
            f"There is no translation into a language of {count}, which "
            f"{'is' if len(without) == 1 else 'are'} {done}: {wording.listed(without)}."
        )
    return lines


def _name_notes(after: AskSettings, survey: Survey) -> list[str]:
    """Which countries a prompt in another language calls by their English name."""
    how = METHODS[after.method]
    if not how.names_country:
        return []
    lines = []
    for language in after.translations or {}:
        named = load(survey, language, folder()).countries
        if how.tells_neighbours:  # any may be near or far
            asked = [culture.iso3 for culture in survey.cultures]
        else:
            asked = [
                c for c in after.cultures if after.language != OWN or after.speaks[c] == language
            ]
        lacking = [survey.culture(iso3).name for iso3 in asked if iso3 not in named]
        if lacking:
            count = wording.count(len(lacking), "country is", "countries are")
            lines.append(
                f"In {language_name(language)} {count} called by the English name, since no other "
                f"is there: {wording.listed(lacking, NAMED)}."
            )
    return lines


def _item_notes(before: AskSettings, after: AskSettings) -> list[str]:
    """How many questions are not translated, said once for languages with the same number."""
    lacking: dict[int, list[str]] = {}
    for language, facts in (after.translations or {}).items():
        count = len(before.items) - len(facts["items"])
        if count:
            lacking.setdefault(count, []).append(language_name(language))
    done = "asked in English" if after.english_instead else "left out"
    return [
        f"{count} of {len(before.items)} questions {'is' if count == 1 else 'are'} not translated "
        f"into {wording.listed(sorted(names))}, and {done}."
        for count, names in lacking.items()
    ]

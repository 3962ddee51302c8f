"""What a run was asked with, read back from the store."""

from __future__ import annotations

from core.asking.questionnaire import Questionnaire
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.prompts.prompt_sets import PromptSet
from core.prompts.translations import Translation, items_of
from core.store.store import Store


def questionnaire_of(store: Store, settings: AskSettings) -> Questionnaire:
    """The very words a run was asked in. Raises PluriscopeError where the store lost them."""
    translations = {
        language: Translation(
            language,
            items_of(texts["items"]),
            texts["countries"],
            _prompts(store, f"pluriscope-{language}", language, facts["prompt_sha256"]),
        )
        for language, facts in (settings.translations or {}).items()
        if (texts := store.translation(facts["sha256"]))
    }
    if len(translations) < len(settings.translations or {}):
        raise PluriscopeError("A translation this run was asked in is no longer in the store.")
    main = "en" if settings.language == "own" else settings.language
    prompts = _prompts(store, settings.prompt_set, main, settings.prompt_sha256)
    survey = store.survey(settings.survey, settings.survey_version)
    return Questionnaire(settings, survey, prompts, translations)


def _prompts(store: Store, name: str, language: str, sha256: str) -> PromptSet:
    texts = store.prompt_texts(sha256)
    if texts is None:
        raise PluriscopeError("The wording this run was asked with is no longer in the store.")
    return PromptSet(name, name, language, texts)

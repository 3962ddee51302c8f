"""What a user chooses: pages and commands fill in a record, and a plan is made of it whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.asking.settings import AskOptions
from core.errors import PluriscopeError
from core.models.spec import ModelSpec
from core.options import by_bars, option, split
from core.survey.survey import BUNDLED_SURVEY
from core.tuning.settings import MODES, RECOMMENDED, Lora, TuneOptions

COUNTRIES = "study (18), all, or USA,KEN,…"


def strength(text: str) -> float | None:
    """How far to amplify, as it is written; None for "auto", to have it chosen."""
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise PluriscopeError(f"--alpha takes a number or auto, not {text!r}.") from None


# Why: docs/decisions.md, "An option is one field."
@dataclass(frozen=True, kw_only=True)
class AskChoices(AskOptions):
    """An asking as it is chosen.

    methods: of METHODS; the runs that derived ones are made from are asked as well. cultures:
    "study" (the 18 of the CultureSPA study), "all", or country codes. items: "core", "all", a
    topic, or item ids. prompt_set: one wording or several; the first is shown first. alpha: the
    strength of "amplified", None to choose it. language, english_instead: see languages.speak;
    that of the wording by default.
    """

    model: ModelSpec = field(default=ModelSpec("builtin"), kw_only=False)
    cultures: str | Sequence[str] = option("study", COUNTRIES, flag="countries")
    methods: Sequence[str] = option(("plain", "country"), "joined by commas", read=split)
    items: str | Sequence[str] = option("core", "core, all, a topic, or Q1,Q57,…")
    alpha: float | None = option(None, "strength of the method amplified, or auto", read=strength)
    language: str = option("", "en, another with translations, or own: each country's own")
    english_instead: bool = option(
        False, "ask in English what is not translated, instead of leaving it out"
    )
    prompt_set: str | Sequence[str] = option(
        "pluriscope",
        "prompt set: a name or a file; several, joined by commas, ask in each",
        flag="prompts",
        read=split,
    )
    survey: str = option(BUNDLED_SURVEY, "id of a survey in the store")
    name: str = option("", "what to call the run")


@dataclass(frozen=True, kw_only=True)
class TuneChoices(TuneOptions):
    """A tuning of one model for some countries as it is chosen, with one or more arms and seeds.

    cultures: as of AskChoices. arms: names of settings.ARMS. lora: None for what suits the model.
    held_out_items: None for those that the built-in model never saw with country answers, none of
    another. held_out_cultures: asked before and after and not tuned for, among `cultures` or not.
    """

    model: ModelSpec = field(default=ModelSpec("builtin"), kw_only=False)
    cultures: str | Sequence[str] = option("study", COUNTRIES, flag="countries")
    mode: str = option("joint", "one adapter for all countries, or one each", choices=MODES)
    topics: Sequence[str] = option((), "joined by |; all where left out", read=by_bars)
    arms: Sequence[str] = (RECOMMENDED,)
    lora: Lora | None = None
    prompt_set: str = option("pluriscope", "a prompt set, or the file of one", flag="prompts")
    survey: str = BUNDLED_SURVEY
    name: str = option("")

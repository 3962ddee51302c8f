"""What a run was asked with: frozen, saved with the run, never read back from a form."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from core import VERSION
from core.catalogue import ModelSpec
from core.errors import PluriscopeError
from core.prompts import METHODS, option_orders
from core.survey import DATA, Item, Option, Survey

ANSWERING = ("probabilities", "written")
ORDERS = ("given", "both", "reversed", "cyclic")


def home() -> Path:
    """The folder that holds everything written: PLURISCOPE_HOME, or data/local."""
    return Path(os.environ.get("PLURISCOPE_HOME") or DATA / "local").expanduser().resolve()


@dataclass(frozen=True)
class AskSettings:
    """One method of one asking of one model: what a run freezes.

    cultures: whom the model answers as; for the plain method, which asks as nobody in particular,
    the countries its answers are compared with (all of the survey where empty). items: ids, in
    questionnaire order; own_item: a question of the user's own instead. answering:
    "probabilities" (exact option probabilities, over option orders) or "written" (`samples`
    sampled answers, in the given order). explain: ask written answers for a sentence as well.
    examples, example_choice, example_evidence, other_batteries: for methods that show answered
    items, see demonstrations.choose_examples.
    """

    model: ModelSpec
    method: str
    cultures: tuple[str, ...]
    items: tuple[str, ...]
    item_set: str
    survey: str
    survey_version: str
    prompt_set: str
    prompt_sha256: str
    language: str = "en"
    orders: str = "both"
    answering: str = "probabilities"
    samples: int = 1
    explain: bool = False
    temperature: float = 0.6
    top_p: float = 0.9
    max_new_tokens: int = 96
    seed: int = 42
    examples: int = 5
    example_choice: str = "similar"
    example_evidence: str = "commonest"
    other_batteries: bool = False
    own_item: dict | None = field(default=None)
    code_version: str = VERSION

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise PluriscopeError(f"Unknown method {self.method!r}: {', '.join(METHODS)}.")
        if self.orders not in ORDERS:
            raise PluriscopeError(f"Unknown option order {self.orders!r}: {', '.join(ORDERS)}.")
        if self.answering not in ANSWERING:
            raise PluriscopeError(
                f"Unknown way of answering {self.answering!r}: {', '.join(ANSWERING)}."
            )
        if METHODS[self.method].needs_culture and not self.cultures:
            raise PluriscopeError(f"“{METHODS[self.method].name}” needs at least one country.")
        if not 0 <= self.temperature <= 2 or not 0 < self.top_p <= 1 or self.samples < 1:
            raise PluriscopeError(
                "Temperature must lie between 0 and 2, top-p above 0 and up to 1, "
                "and samples at 1 or more."
            )

    def to_json(self) -> dict:
        return {**asdict(self), "model": self.model.to_json()}

    @staticmethod
    def from_json(record: dict) -> AskSettings:
        known = {key: record[key] for key in AskSettings.__dataclass_fields__ if key in record}
        known["model"] = ModelSpec.from_json(record["model"])
        known["cultures"] = tuple(record["cultures"])
        known["items"] = tuple(record["items"])
        return AskSettings(**known)

    def asked_items(self, survey: Survey) -> tuple[Item, ...]:
        """The items of this run: its own question, or items of the survey."""
        if self.own_item:
            return (own_item(self.own_item["question"], self.own_item["options"]),)
        return survey.select(self.items)

    def personas(self) -> tuple[str, ...]:
        """Whom the model answers as: country codes, or "" for nobody in particular."""
        return self.cultures if METHODS[self.method].needs_culture else ("",)

    def keys(self, survey: Survey) -> list[tuple[str, str, int]]:
        """Every answer this run is to hold, as (country or "", item id, number).

        The number counts option orders (probabilities) or samples (written answers). Country
        first, then item, so that prompts that share a beginning follow each other.
        """
        items = self.asked_items(survey)
        return [
            (iso3, item.id, number)
            for iso3 in self.personas()
            for item in items
            for number in range(
                self.samples
                if self.answering == "written"
                else len(option_orders(item, self.orders))
            )
        ]

    def cells(self, survey: Survey) -> int:
        """How many (country, item) pairs this run asks."""
        return len(self.personas()) * len(self.asked_items(survey))

    def with_seed(self, seed: int) -> AskSettings:
        return replace(self, seed=seed)


def own_item(question: str, options: list[str]) -> Item:
    """A question of the user's own; its options are coded 1, 2, … and have no order."""
    question = " ".join(question.split())
    options = [" ".join(option.split()) for option in options if option.strip()]
    if not question:
        raise PluriscopeError("Write a question first.")
    if not 2 <= len(options) <= 12:
        raise PluriscopeError("Give between 2 and 12 options, one on each line.")
    if len(set(options)) < len(options):
        raise PluriscopeError("Two of the options are the same. Make each one different.")
    if len(question) > 1000 or max(map(len, options)) > 300:
        raise PluriscopeError("Keep the question under 1,000 characters and each option under 300.")
    return Item(
        id="own",
        position=0,
        topic="Your own question",
        label="Your own question",
        question=question,
        options=tuple(Option(code, label) for code, label in enumerate(options, 1)),
        scale="nominal",
    )

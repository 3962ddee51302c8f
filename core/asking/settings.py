"""What a run was asked with: frozen, saved with the run, never read back from a form."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from core import VERSION
from core.errors import PluriscopeError
from core.inference.label_rules import CHOICE, LABEL, LABEL_RULES, TURN
from core.models.spec import ModelSpec
from core.options import option
from core.prompts.demonstrations import CHOICES, EVIDENCE
from core.prompts.methods import METHODS, NEAR_AND_FAR
from core.prompts.render import ORDERS, option_orders
from core.survey.survey import Item, Option, Survey

ANSWERING = ("probabilities", "written")
# What demonstrations show of a country, as the label on a score says it.
EVIDENCE_WORDS = {
    "commonest": "the country’s commonest answers",
    "opposite": "the opposite of the country’s answers",
    "shares": "the shares of the country’s answers",
}


# Why: docs/decisions.md, "Both orders by default."
@dataclass(frozen=True, kw_only=True)
class AskOptions:
    """How a model is asked: what a user chooses and a run freezes as it was chosen.

    answering: "probabilities" (exact option probabilities, over option orders) or "written"
    (`samples` sampled answers, in the given order). label_rule: what the probability of an option
    is (core/inference/label_rules.py). examples, example_choice, example_evidence,
    other_batteries: for methods that show answered items, see demonstrations.choose_examples.
    embedder: the model that compares what questions mean, where they are chosen so
    (core/models/embedding_cache.py).
    """

    orders: str = option("both", "option orders: given, both, reversed, cyclic")
    answering: str = option("probabilities", "probabilities or written")
    samples: int = option(1, "written answers for each question", type=int)
    temperature: float = option(0.6, type=float)
    top_p: float = option(0.9, type=float)
    seed: int = option(42, type=int)
    label_rule: str = option(LABEL, CHOICE, choices=LABEL_RULES)
    examples: int = option(5, "answered questions to show, 0 to 20", type=int)
    example_choice: str = option("similar", choices=CHOICES)
    embedder: str | None = option(None, "for examples by meaning: a folder or a cached hub id")
    example_evidence: str = option("commonest", choices=EVIDENCE)
    other_batteries: bool = option(False, "show no example from the battery of the question asked")


# Why: docs/decisions.md, "A run is one method."
@dataclass(frozen=True, kw_only=True)
class AskSettings(AskOptions):
    """One method of one asking of one model: what a run freezes.

    cultures: whom the model answers as; for the plain method, which asks as nobody in particular,
    the countries its answers are compared with (all of the survey where empty). items: ids, in
    questionnaire order; own_item: a question of the user's own instead. explain: ask written
    answers for a sentence as well. derived: for methods that are made from the answers of other
    runs, what core/analysis/derived_runs.py records. neighbours: country -> [near, far] codes for
    cross-culture thinking; found from the survey's shares where it is None.

    language: what it is asked in; "own" asks each country in the language that `speaks` gives it.
    translations: for languages other than English, language -> {"items": ids asked in it,
    "sha256": of the translation, "prompt_sha256": of its prompts, "drafts": how many of the items
    are drafts}. english_instead: items that are not translated are asked in English; otherwise
    they are not asked.
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
    explain: bool = False
    max_new_tokens: int = 96
    own_item: dict | None = field(default=None)
    derived: dict | None = field(default=None)
    neighbours: dict[str, list[list[str]]] | None = None
    speaks: dict[str, str] | None = None
    translations: dict[str, dict] | None = None
    english_instead: bool = False
    code_version: str = VERSION

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise PluriscopeError(f"Unknown method {self.method!r}: {', '.join(METHODS)}.")
        if METHODS[self.method].derived and self.derived is None:
            raise PluriscopeError(
                f"“{METHODS[self.method].name}” is made from answers that were given before. "
                "Ask for the runs it needs, then derive it: python -m core derive."
            )
        if self.orders not in ORDERS:
            raise PluriscopeError(f"Unknown option order {self.orders!r}: {', '.join(ORDERS)}.")
        if self.answering not in ANSWERING:
            raise PluriscopeError(
                f"Unknown way of answering {self.answering!r}: {', '.join(ANSWERING)}."
            )
        if self.label_rule not in LABEL_RULES:
            raise PluriscopeError(
                f"Unknown label rule {self.label_rule!r}: {', '.join(LABEL_RULES)}."
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
        known.setdefault("label_rule", TURN)  # there was no other before it was recorded
        return AskSettings(**known)

    def asked_items(self, survey: Survey) -> tuple[Item, ...]:
        """The items of this run: its own question, or items of the survey."""
        if self.own_item:
            return (own_item(self.own_item["question"], self.own_item["options"]),)
        return survey.select(self.items)

    @property
    def asked_method(self) -> str:
        """The method that put the questions; of a derived run, that of the run it came from."""
        return self.derived["method"] if self.derived else self.method

    @property
    def way(self) -> str:
        """How it is asked, in words. What is made of another run's answers is called by that
        run's way: "Cross-culture thinking, calibrated"."""
        name = METHODS[self.asked_method].name
        if not self.derived:
            return name
        return f"{name}, {METHODS[self.method].derived}"

    @property
    def human_answers(self) -> str:
        """Which of people's answers the model was shown or its answers set by; "" where none."""
        if self.derived:
            return self.derived["human_answers"]
        how = METHODS[self.method]
        if not how.shows_examples:
            return how.uses_human_answers
        parts = [NEAR_AND_FAR] if how.tells_neighbours else []
        if self.examples:
            shown = EVIDENCE_WORDS[self.example_evidence]
            # Of a topic, a battery or a language there may be fewer than were wished for.
            many = self.examples > 1
            count = f"up to {self.examples} other questions" if many else "one other question"
            apart = ", none of the same battery" if self.other_batteries else ""
            parts.append(f"{shown} to {count}{apart}")
        return "; and ".join(parts)

    @property
    def by_meaning(self) -> bool:
        """Do its prompts show examples that were chosen by meaning?"""
        shows = METHODS[self.asked_method].shows_examples and self.examples > 0
        return shows and self.example_choice == "meaning"

    def personas(self) -> tuple[str, ...]:
        """Whom the model answers as: country codes, or "" for nobody in particular."""
        return self.cultures if METHODS[self.method].needs_culture else ("",)

    # Why: docs/decisions.md, "A language is a property of a cell."
    def asked_in(self, iso3: str, item_id: str) -> str:
        """The language that a country (or "") is asked an item in; "" where it is not asked."""
        language = self.language
        if language == "own":
            language = (self.speaks or {}).get(iso3, "en")
        if language == "en" or self.own_item or self.translations is None:
            return language
        if item_id in self.translations[language]["items"]:
            return language
        return "en" if self.english_instead else ""

    def planned_cells(self, survey: Survey) -> list[tuple[str, str, int]]:
        """Every answer this run is to hold, as (country or "", item id, number).

        The number counts option orders (probabilities) or samples (written answers). Country
        first, then item, so that prompts that share a beginning follow each other.
        """
        items = self.asked_items(survey)
        written = self.answering == "written"
        times = {
            item.id: self.samples if written else len(option_orders(item, self.orders))
            for item in items
        }
        return [
            (iso3, item_id, number)
            for iso3 in self.personas()
            for item_id, count in times.items()
            if self.asked_in(iso3, item_id)
            for number in range(count)
        ]

    def cells(self, survey: Survey) -> int:
        """How many (country, item) pairs this run asks."""
        return len({key[:2] for key in self.planned_cells(survey)})

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

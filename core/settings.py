"""What a run was asked with: frozen, saved with the run, never read back from a form."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from core import VERSION
from core.catalogue import ModelSpec, resolve_precision
from core.errors import PluriscopeError
from core.prompts import METHODS, option_orders
from core.survey import DATA, Item, Option, Survey

ANSWERING = ("probabilities", "written")
ORDERS = ("given", "both", "reversed", "cyclic")
# What demonstrations show of a country, as the label on a score says it.
EVIDENCE_WORDS = {
    "commonest": "the country’s commonest answers",
    "opposite": "the opposite of the country’s answers",
    "shares": "the shares of the country’s answers",
}


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
    items, see demonstrations.choose_examples. embedder: the model that compares what questions
    mean, where they are chosen so (core/meaning.py). derived: for methods that are made from the
    answers of other runs, what core/derived.py records. neighbours: country -> [near, far] codes
    for cross-culture thinking; found from the survey's shares where it is None.

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
    derived: dict | None = field(default=None)
    neighbours: dict[str, list[list[str]]] | None = None
    embedder: str | None = None
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

    @property
    def asked_method(self) -> str:
        """The method that put the questions; of a derived run, that of the run it came from."""
        return self.derived["method"] if self.derived else self.method

    @property
    def human_answers(self) -> str:
        """Which of people's answers the model was shown or its answers set by; "" where none."""
        if self.derived:
            return self.derived["human_answers"]
        used = METHODS[self.method].uses_human_answers
        if not self.method.endswith("examples"):
            return used
        near_far = METHODS["cross_culture"].uses_human_answers
        parts = [near_far] if self.method.startswith("cross_culture") else []
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
        shows = self.asked_method.endswith("examples") and self.examples > 0
        return shows and self.example_choice == "meaning"

    def personas(self) -> tuple[str, ...]:
        """Whom the model answers as: country codes, or "" for nobody in particular."""
        return self.cultures if METHODS[self.method].needs_culture else ("",)

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

    def keys(self, survey: Survey) -> list[tuple[str, str, int]]:
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
        return len({key[:2] for key in self.keys(survey)})

    def with_seed(self, seed: int) -> AskSettings:
        return replace(self, seed=seed)


# -- tuning ----------------------------------------------------------------------------------------

TEACHERS = ("country", "cross_culture", "people")
LABELS = ("hard", "soft")
CHOOSE = ("differing", "same", "random", "all", "balanced")
CONTROLS = ("", "shuffled", "world_mean")
MODES = ("joint", "specific")
SEED_ITEMS = ("all", "one")
LIKENESS = ("chrf", "rouge")
TASKS = {  # selections of lm-evaluation-harness' tasks (core/harness.py)
    "mmlu": "General knowledge (MMLU)",
    "arc": "School science (ARC)",
    "gsm8k": "Sums in words (GSM8K)",
}
TRAINING_PRECISIONS = ("nf4", "bf16", "fp32")


@dataclass(frozen=True)
class Arm:
    """How the examples of one adapter are made; arms of one experiment differ in this alone.

    teacher: whose answers are taught under the country prompt: the model's own as a person of
    the country ("country"), under cross-culture thinking ("cross_culture"), or the survey's
    shares ("people", which uses human answers). answers: the model's "written" ones (one sample
    each, the study's way) or its "probabilities" (averaged over option orders). labels: one
    option ("hard") or the whole distribution ("soft"). choose: pairs whose plain and country
    answers differ, those that agree ("same"), as many as differ by chance ("random"), "all", or
    as many that agree as differ ("balanced"). weighted: an example counts by how far its two
    distributions lie apart. control: "shuffled" teaches each country another's answers,
    "world_mean" teaches every country the mean over countries. fraction: of the examples, by
    chance. mode: one adapter for all countries ("joint") or one each ("specific"). shift: weight
    of a further term for people's shares, the country's distance from the mean of all countries.
    """

    name: str
    title: str
    teacher: str = "country"
    answers: str = "written"
    labels: str = "hard"
    choose: str = "differing"
    weighted: bool = False
    control: str = ""
    fraction: float = 1.0
    mode: str = "joint"
    shift: float = 0.0

    def __post_init__(self) -> None:
        for value, known in (
            (self.teacher, TEACHERS),
            (self.answers, ("written", "probabilities")),
            (self.labels, LABELS),
            (self.choose, CHOOSE),
            (self.control, CONTROLS),
            (self.mode, MODES),
        ):
            if value not in known:
                raise PluriscopeError(f"An arm cannot be {value!r}: {', '.join(known)}.")
        if not 0 < self.fraction <= 1:
            raise PluriscopeError("The share of the examples lies above 0 and up to 1.")
        if self.uses_human_answers and (
            self.choose != "all" or self.weighted or self.answers != "probabilities"
        ):
            raise PluriscopeError(
                "People's own shares are taught of every question alike: choose all, as "
                "probabilities, and without weights."
            )
        if self.shift and not self.uses_human_answers:
            raise PluriscopeError("Only people's own shares can be taught with a shift term.")

    @property
    def uses_human_answers(self) -> bool:
        """Is it taught people's answers, and not the model's own?"""
        return self.teacher == "people"

    @property
    def human_answers(self) -> str:
        """Which of people's answers had a part in what it is taught; "" where none."""
        if self.uses_human_answers:
            return "shares of survey questions that were not held out"
        return METHODS[self.teacher].uses_human_answers


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("culturespa", "As published: its own country answers, where they differ"),
        Arm("culturespa_cct", "As published, with cross-culture thinking", "cross_culture"),
        Arm("soft", "Shares of every option, where answers differ", "country", "probabilities",
            "soft", weighted=True),
        Arm("soft_all", "Shares of every option, all questions", "country", "probabilities", "soft",
            "all"),
        Arm("cct_soft", "Shares from cross-culture thinking, where answers differ",
            "cross_culture", "probabilities", "soft", weighted=True),
        Arm("cct_soft_all", "Shares from cross-culture thinking, all questions",
            "cross_culture", "probabilities", "soft", "all"),
        Arm("cct_balanced", "Shares from cross-culture thinking, half that differ",
            "cross_culture", "probabilities", "soft", "balanced"),
        Arm("cct_random", "Control: shares from cross-culture thinking, as many by chance",
            "cross_culture", "probabilities", "soft", "random", weighted=True),
        Arm("cct_shuffled", "Control: shares from cross-culture thinking, another country's",
            "cross_culture", "probabilities", "soft", "all", control="shuffled"),
        Arm("cct_world_mean", "Control: shares from cross-culture thinking, mean of all countries",
            "cross_culture", "probabilities", "soft", "all", control="world_mean"),
        Arm("random", "Control: as many pairs by chance", choose="random"),
        Arm("same", "Control: pairs that agree", choose="same"),
        Arm("shuffled", "Control: another country's answers", control="shuffled"),
        Arm("world_mean", "Control: the mean of all countries", "country", "probabilities", "soft",
            "all", control="world_mean"),
        Arm("people", "People's own shares", "people", "probabilities", "soft", "all"),
        Arm("people_shift", "People's own shares, what sets a country apart weighed more",
            "people", "probabilities", "soft", "all", shift=1.0),
        Arm("people_shuffled", "Control: another country's shares", "people", "probabilities",
            "soft", "all", control="shuffled"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Lora:
    """How an adapter is trained. Defaults are the CultureSPA study's (method.md A7 figures).

    precision: of the base while it is tuned: "auto" (as it is asked; else 4-bit on large models and
    fp32 for the built-in one), "nf4" (QLoRA), "bf16", "fp32". batch: examples to a step.
    micro_tokens: most tokens computed at once; smaller needs less memory and changes nothing else.
    checkpoint_every: steps.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    learning_rate: float = 1e-4
    warmup: float = 0.1
    epochs: float = 1.0
    batch: int = 128
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: str = "auto"
    micro_tokens: int = 4096
    checkpoint_every: int = 20

    def __post_init__(self) -> None:
        positive = (self.rank, self.alpha, self.learning_rate, self.epochs, self.batch)
        if min(*positive, self.micro_tokens, self.checkpoint_every) <= 0:
            raise PluriscopeError("Rank, alpha, learning rate, epochs and batch must be above 0.")
        if self.precision not in ("auto", *TRAINING_PRECISIONS):
            raise PluriscopeError(
                f"A model is tuned in {', '.join(TRAINING_PRECISIONS)} or auto, not in "
                f"{self.precision!r}."
            )
        if not 0 <= self.dropout < 1 or not 0 <= self.warmup < 1:
            raise PluriscopeError("Dropout and warm-up lie between 0 and 1.")

    def steps_per_epoch(self, examples: int) -> int:
        """Whole batches only, as in the study: 62,127 examples at batch 128 make 485 steps.

        Which examples are left over is drawn anew in each epoch. Fewer than a batch are one step.
        """
        return max(examples // self.batch, 1)

    def steps(self, examples: int) -> int:
        """Optimizer steps of the whole training (transformers' rule: epochs rounded up)."""
        return math.ceil(self.epochs * self.steps_per_epoch(examples))

    def base(self, spec: ModelSpec) -> ModelSpec:
        """The bare model an adapter is trained on, with the precision it is loaded in."""
        usable = spec.precision if spec.precision in TRAINING_PRECISIONS else "auto"
        chosen = usable if self.precision == "auto" else self.precision
        bare = replace(spec, adapter=None, precision=chosen)
        return replace(bare, precision=resolve_precision(bare))


@dataclass(frozen=True)
class TuneSettings:
    """One tuning: one or more arms on the same questions and answers, for one or more seeds.

    cultures: those tuned for. topics: which questions are written on; per_topic: how many are to
    be kept of each. seed_items: example items come from all of a topic ("all") or from one
    ("one"). near_limit, leak_limit: likeness (0 to 100) from which on a written question is taken
    for a repetition of another one, or of a survey item; None leaves that filter out. likeness:
    how it is measured, "chrf" (chrF++) or "rouge" (ROUGE-L; Self-Instruct leaves out from 70 on).
    temperature, top_p: of sampled answers. held_out_items, held_out_topics, held_out_cultures:
    nothing is written, answered or taught from them; scores are given on them apart. evaluate:
    survey items asked before and after ("all", "core", or ids); none where "". abilities: test what
    tuning cost elsewhere; tasks: of lm-evaluation-harness (core/harness.py) among the tests.
    equal_budgets: give every arm as many examples as the one with the fewest has; arms on a
    fraction take it of as many.
    """

    model: ModelSpec
    cultures: tuple[str, ...]
    arms: tuple[Arm, ...]
    topics: tuple[str, ...]
    survey: str
    survey_version: str
    prompt_set: str
    prompt_sha256: str
    per_topic: int = 40
    seeds: tuple[int, ...] = (42,)
    seed_items: str = "all"
    near_limit: float | None = 80.0
    leak_limit: float | None = 80.0
    likeness: str = "chrf"
    orders: str = "both"
    temperature: float = 0.6
    top_p: float = 0.9
    lora: Lora = field(default_factory=Lora)
    held_out_items: tuple[str, ...] = ()
    held_out_topics: tuple[str, ...] = ()
    held_out_cultures: tuple[str, ...] = ()
    evaluate: str = "all"
    abilities: bool = True
    tasks: tuple[str, ...] = ()
    equal_budgets: bool = False
    code_version: str = VERSION

    def __post_init__(self) -> None:
        if self.seed_items not in SEED_ITEMS or self.likeness not in LIKENESS:
            raise PluriscopeError(
                f"Example items are {' or '.join(SEED_ITEMS)}, likeness is measured by "
                f"{' or '.join(LIKENESS)}."
            )
        limits = [limit for limit in (self.near_limit, self.leak_limit) if limit is not None]
        if not all(0 < limit <= 100 for limit in limits):
            raise PluriscopeError("Limits of likeness lie above 0 and up to 100, or are left out.")
        if self.tasks and not self.abilities:
            raise PluriscopeError(
                "Tasks belong to the test of what tuning cost elsewhere. Leave that test in, or "
                "leave the tasks out."
            )

    def to_json(self) -> dict:
        return {**asdict(self), "model": self.model.to_json()}

    @staticmethod
    def from_json(record: dict) -> TuneSettings:
        known = {key: record[key] for key in TuneSettings.__dataclass_fields__ if key in record}
        known["model"] = ModelSpec.from_json(record["model"])
        known["arms"] = tuple(Arm(**arm) for arm in record["arms"])
        known["lora"] = Lora(**record["lora"])
        for name in ("cultures", "topics", "seeds", "held_out_items", "held_out_topics",
                     "held_out_cultures", "tasks"):  # fmt: skip
            known[name] = tuple(known.get(name, ()))
        return TuneSettings(**known)


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

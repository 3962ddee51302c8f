"""What a tuning was made with: arms, training, what is held out; frozen and saved with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from core import VERSION
from core.errors import PluriscopeError
from core.inference.label_rules import CHOICE, LABEL, LABEL_RULES, TURN
from core.models.spec import ModelSpec, resolve_precision
from core.options import by_bars, option, split
from core.prompts.methods import METHODS

TEACHERS = ("country", "cross_culture", "people")
LABELS = ("hard", "soft")
CHOOSE = ("differing", "same", "random", "all", "balanced")
CONTROLS = ("", "shuffled", "world_mean")
MODES = ("joint", "specific")
SEED_ITEMS = ("all", "one")
LIKENESS = ("chrf", "rouge")
TASKS = {  # selections of lm-evaluation-harness' tasks (core/tuning/abilities/lm_eval_tasks.py)
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

    rank: int = option(8, type=int)
    alpha: int = option(16, type=int)
    dropout: float = 0.0
    learning_rate: float = option(1e-4, type=float)
    warmup: float = 0.1
    epochs: float = option(1.0, type=float)
    batch: int = option(128, type=int)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: str = option(
        "auto", "auto, nf4, bf16 or fp32, while it is tuned", flag="tuning-precision"
    )
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

    # Why: docs/decisions.md, "A batch is whole, a rest is left out."
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


RECOMMENDED = "cct_soft_all"


def _limit(text: str) -> float | None:
    return None if text == "none" else float(text)


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """How a model is tuned: what a user chooses and a tuning freezes.

    per_topic: how many questions are to be kept of each topic. seed_items: example items come from
    all of a topic ("all") or from one ("one"). near_limit, leak_limit: likeness (0 to 100) from
    which on a written question is taken for a repetition of another one, or of a survey item; None
    leaves that filter out. likeness: how it is measured, "chrf" (chrF++) or "rouge" (ROUGE-L;
    Self-Instruct leaves out from 70 on). held_out_items, held_out_topics, held_out_cultures:
    nothing is written, answered or taught from them; scores are given on them apart. evaluate:
    survey items asked before and after ("all", "core", or ids); none where "". abilities: test what
    tuning cost elsewhere; tasks: of lm-evaluation-harness (core/tuning/abilities/lm_eval_tasks.py)
    among the tests. equal_budgets: give every arm as many examples as the one with the fewest has;
    arms on a fraction take it of as many. label_rule: as of asking (core/inference/label_rules.py).
    """

    per_topic: int = option(40, "questions written on each topic", type=int)
    seeds: Sequence[int] = option((42,), flag="seed", type=int, read=lambda seed: (seed,))
    seed_items: str = option(
        "all", "survey questions shown as examples: all of a topic or one", choices=SEED_ITEMS
    )
    near_limit: float | None = option(
        80.0, "from which likeness on a question repeats another", type=_limit,
        metavar="0-100|none",
    )  # fmt: skip
    leak_limit: float | None = option(
        80.0, "from which likeness on a question repeats a survey item", type=_limit,
        metavar="0-100|none",
    )  # fmt: skip
    likeness: str = option("chrf", "chrF++ or ROUGE-L", choices=LIKENESS)
    held_out_items: Sequence[str] | None = option(
        None, "ids joined by commas; neither shown nor taught", read=split
    )
    held_out_topics: Sequence[str] = option((), "joined by |", read=by_bars)
    held_out_cultures: Sequence[str] = option(
        (), "codes joined by commas", flag="held-out-countries", read=split
    )
    evaluate: str = option("all", "survey items asked before and after")
    abilities: bool = option(True, "leave out what it cost")
    tasks: Sequence[str] = option(
        (), "also test tasks of lm-evaluation-harness: mmlu, arc, gsm8k, or any by name",
        metavar="TASK,…", read=split,
    )  # fmt: skip
    equal_budgets: bool = False
    label_rule: str = option(LABEL, CHOICE, choices=LABEL_RULES)


@dataclass(frozen=True, kw_only=True)
class TuneSettings(TuneOptions):
    """One tuning: one or more arms on the same questions and answers, for one or more seeds.

    cultures: all that are asked, those held out among them. topics: which questions are written on.
    temperature, top_p: of sampled answers.
    """

    model: ModelSpec
    cultures: tuple[str, ...]
    arms: tuple[Arm, ...]
    topics: tuple[str, ...]
    survey: str
    survey_version: str
    prompt_set: str
    prompt_sha256: str
    held_out_items: tuple[str, ...] = ()
    orders: str = "both"
    temperature: float = 0.6
    top_p: float = 0.9
    lora: Lora = field(default_factory=Lora)
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
        known.setdefault("label_rule", TURN)  # there was no other before it was recorded
        for name in ("cultures", "topics", "seeds", "held_out_items", "held_out_topics",
                     "held_out_cultures", "tasks"):  # fmt: skip
            known[name] = tuple(known.get(name, ()))
        return TuneSettings(**known)

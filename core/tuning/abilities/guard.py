"""What tuning cost elsewhere: a tuned model against its base, on the same prompts.

docs/abilities.md says what is tested, on which texts, and how sure it is;
core/tuning/abilities/paired_tests.py what counts as worse.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.asking.parsing import refuses
from core.asking.questionnaire import Questionnaire
from core.asking.responses import ask
from core.asking.settings import AskSettings
from core.home import DATA
from core.metrics import distances, panel
from core.models.catalogue import is_teaching
from core.prompts.prompt_sets import PromptSet, load_prompt_set
from core.survey.survey import Survey, load_bundled
from core.tuning.abilities.paired_tests import (
    Kind,
    Outcome,
    Paired,
    made,
    paired_mean,
    record,
    shares,
)

if TYPE_CHECKING:
    from core.models.load import Loaded

TEXTS = DATA / "abilities"
REPLY_TOKENS = 24  # enough to tell a bare number, or how a refusal begins
SIDES = ("base", "tuned")

# The survey's three knowledge questions and their right answers, as the items' notes in
# data/survey/items.jsonl give them: India, Washington, human rights.
FACTS = {"Q91": 3, "Q92": 1, "Q93": 2}

_BARE_NUMBER = re.compile(r"\W*[-−]?\d+(?:[.,]\d+)?\W*")
DIGITS = tuple(str(digit) for digit in range(1, 10))

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "text",
            "Ordinary text",
            "How probable the true next word of plain prose on many subjects is, on average.",
            "it predicts ordinary text less well",
        ),
        Kind(
            "replies",
            "Plain replies",
            "How probable the words of a given short reply to a plain question are, on average.",
            "it predicts plain replies less well",
        ),
        Kind(
            "plain",
            "Answers when asked plainly",
            "How close its plain answers to the survey are to what they were before tuning.",
            "its plain answers moved",
            drift=True,
        ),
        Kind(
            "facts_plain",
            "Three facts, asked plainly",
            "How probable the right answers to the survey's three knowledge questions are.",
            "it knows the three facts less well when asked plainly",
        ),
        Kind(
            "facts_country",
            "Three facts, as a person from …",
            "The same, asked as a person from each country: knowledge is no matter of culture.",
            "it knows the three facts less well as a person from a country",
        ),
        Kind(
            "numbers",
            "Words, not bare numbers",
            "How often it replies to an open question or request with more than a number.",
            "it replies to open questions with bare numbers",
        ),
        Kind(
            "refusals",
            "Harmless requests",
            "How often it goes along with requests that sound delicate and are harmless.",
            "it declines harmless requests",
        ),
    )
}


# -- measuring -------------------------------------------------------------------------------------


class Texts(NamedTuple):
    """The texts of data/abilities: see docs/abilities.md.

    prose: passages. asks: (question, reply) to predict. open, sensitive: prompts to reply to.
    """

    prose: tuple[str, ...]
    asks: tuple[tuple[str, str], ...]
    open: tuple[str, ...]
    sensitive: tuple[str, ...]


def load_texts(teaching: bool = False) -> Texts:
    """teaching: for the built-in model, which knows only the questions of its own lessons."""
    neutral = _lines("neutral.jsonl")
    kinds = ("lesson",) if teaching else ("chat", "lesson")
    return Texts(
        tuple(row["text"] for row in neutral if row["kind"] == "prose"),
        tuple((row["ask"], row["reply"]) for row in neutral if row["kind"] in kinds),
        tuple(row["ask"] for row in _lines("open.jsonl")),
        tuple(row["ask"] for row in _lines("refusals.jsonl")),
    )


def _lines(name: str) -> list[dict]:
    with open(TEXTS / name, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


@dataclass
class Guard:
    """Measures one tuned model after another against one base.

    cultures: whom the facts are asked as; the study's 18 countries by default. say: hears what is
    being done. stop: asked between batches; measure() then gives None. What the base does is
    measured once, however many adapters follow.
    """

    cultures: tuple[str, ...] = ()
    survey: Survey = field(default_factory=load_bundled)
    prompts: PromptSet = field(default_factory=load_prompt_set)
    say: Callable[[str], None] = lambda doing: None
    stop: Callable[[], bool] = lambda: False
    _base: dict = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        study = tuple(c.iso3 for c in self.survey.cultures if c.in_culturespa)
        self.cultures = tuple(self.cultures) or study

    def measure(self, loaded: Loaded, tasks: Sequence[str] = (), iso3: str = "") -> dict | None:
        """The record of a model with its adapter on, ready for JSON (see record()).

        tasks: names of harness.PRESETS or of other tasks of the harness. iso3: the one country
        that the adapter is for. None where it was stopped.
        """
        began = time.monotonic()
        texts = load_texts(teaching=is_teaching(loaded.spec))
        tests: list[Outcome] = []
        notes: list[str] = []
        for doing, step in (
            ("Reading ordinary text", lambda: self._reading(loaded, texts)),
            ("Asking plainly", lambda: self._answers(loaded, iso3)),
            ("Writing replies", lambda: self._replies(loaded, texts)),
        ):
            self.say(doing)
            tests += step() if not self.stop() else []
        for name in tasks:
            if not self.stop():
                from core.tuning.abilities.lm_eval_tasks import compare

                self.say(f"Working through {name}")
                compared = compare(loaded, name, self.stop)
                tests += [compared] if isinstance(compared, Outcome) else []
                notes += [compared] if isinstance(compared, str) else []
        if self.stop():
            return None
        facts = {
            "model_name": loaded.name,
            "precision": loaded.precision,
            "adapter_sha256": loaded.adapter_sha256,
            "seconds": round(time.monotonic() - began, 1),
        }
        return record(tests, notes, facts)

    def _once(self, key: str, loaded: Loaded, do: Callable[[], object]) -> object:
        """What the base gives, measured at the first call."""
        from core.models.load import bare

        if key not in self._base:
            with bare(loaded):
                self._base[key] = do()
        return self._base[key]

    # -- predicting ------------------------------------------------------------------------------

    def _reading(self, loaded: Loaded, texts: Texts) -> list[Outcome]:
        from core.tuning.abilities import drift

        prose = [drift.prose(loaded, text) for text in texts.prose]
        replies = [drift.reply(loaded, *pair) for pair in texts.asks]
        readings = dict(drift.read(loaded, [*prose, *replies], self.stop))
        if self.stop():
            return []
        ordered = [readings[index] for index in range(len(readings))]
        return [
            _predicted("text", ordered[: len(prose)]),
            _predicted("replies", ordered[len(prose) :]),
        ]

    # -- answering the survey --------------------------------------------------------------------

    def _answers(self, loaded: Loaded, iso3: str) -> list[Outcome]:
        every = tuple(item.id for item in self.survey.items)
        facts = tuple(FACTS)
        cultures = (iso3,) if iso3 else self.cultures
        plain = self._sides(loaded, "plain", every, ())
        country = self._sides(loaded, "country", facts, cultures)
        if self.stop():
            return []
        return [
            self._drift(*plain),
            self._facts("facts_plain", *({("", q): side["", q] for q in facts} for side in plain)),
            self._facts("facts_country", *country),
        ]

    def _sides(
        self, loaded: Loaded, method: str, items: tuple[str, ...], cultures: tuple[str, ...]
    ) -> tuple[dict, dict]:
        """Base and tuned: see _distributions()."""
        settings = AskSettings(
            model=loaded.spec,
            method=method,
            cultures=cultures,
            items=items,
            item_set="",
            survey=self.survey.id,
            survey_version=self.survey.version,
            prompt_set=self.prompts.id,
            prompt_sha256=self.prompts.sha256,
        )
        key = "/".join((method, *cultures))
        base = self._once(key, loaded, lambda: self._distributions(loaded, settings))
        return base, self._distributions(loaded, settings)

    def _distributions(
        self, loaded: Loaded, settings: AskSettings
    ) -> dict[tuple[str, str], np.ndarray]:
        """(country or "", item id) -> float64[K], averaged over both option orders."""
        planned = list(Questionnaire(settings, self.survey, self.prompts).planned())
        found: dict[tuple[str, str], list] = {}
        for answers in ask(loaded, settings, planned, stop=self.stop):
            for answer in answers:
                found.setdefault((answer.iso3, answer.item), []).append(answer.probs)
        return {key: np.mean(probs, axis=0) for key, probs in found.items()}

    def _drift(self, base: dict, tuned: dict) -> Outcome:
        items = self.survey.items
        sides = np.zeros((2, len(items), max(len(item.options) for item in items)))
        for side, answers in zip(sides, (base, tuned), strict=True):
            for row, item in zip(side, items, strict=True):
                row[: len(item.options)] = answers["", item.id]
        apart = 100 * distances.earth_mover(panel.layout(items), *sides)
        still = np.full(len(items), 100.0)
        return made(
            KINDS["plain"],
            len(items),
            100,
            100 - apart.mean(),
            paired_mean(still, still - apart),
            {"largest": float(apart.max())},
        )

    def _facts(self, name: str, base: dict, tuned: dict) -> Outcome:
        """The right answers' probability. These very questions are meant: nothing is sampled."""
        at = {q: self.survey.item(q).codes.index(code) for q, code in FACTS.items()}
        right = [
            np.array([100 * side[key][at[key[1]]] for key in sorted(base)])
            for side in (base, tuned)
        ]
        hits = [
            fmean(int(np.argmax(side[key])) == at[key[1]] for key in base) for side in (base, tuned)
        ]
        difference = float(right[1].mean() - right[0].mean())
        return made(
            KINDS[name],
            len(base),
            right[0].mean(),
            right[1].mean(),
            Paired(difference, difference, difference),
            {"chosen_right_base": 100 * hits[0], "chosen_right_tuned": 100 * hits[1]},
            "Exact for these three questions, so it has no interval.",
        )

    # -- writing ---------------------------------------------------------------------------------

    def _replies(self, loaded: Loaded, texts: Texts) -> list[Outcome]:
        prompts = [*texts.open, *texts.sensitive]
        asks = [[{"role": "user", "content": prompt}] for prompt in prompts]
        base = self._once("replies", loaded, lambda: self._written(loaded, asks))
        tuned = self._written(loaded, asks)
        digits = self._once("digits", loaded, lambda: self._digits(loaded, asks))
        tuned_digits = self._digits(loaded, asks)
        if self.stop():
            return []
        worded = [np.array([not is_bare_number(text) for text in side]) for side in (base, tuned)]
        willing = [
            np.array([not refuses(text) for text in side[len(texts.open) :]])
            for side in (base, tuned)
        ]
        return [
            shares(
                KINDS["numbers"],
                *worded,
                {
                    "starts_with_digit_base": 100 * digits,
                    "starts_with_digit_tuned": 100 * tuned_digits,
                    "words_base": fmean(len(text.split()) for text in base),
                    "words_tuned": fmean(len(text.split()) for text in tuned),
                },
            ),
            shares(KINDS["refusals"], *willing),
        ]

    def _written(self, loaded: Loaded, asks: Sequence[list[dict]]) -> list[str]:
        from core.inference.generation import generate

        written = generate(
            loaded,
            asks,
            temperature=0,
            max_new_tokens=REPLY_TOKENS,
            side_by_side=64,
            stop=self.stop,
        )
        return [one.text for one in written]

    def _digits(self, loaded: Loaded, asks: Sequence[list[dict]]) -> float:
        """Mean probability that a reply begins with a digit from 1 to 9."""
        from core.inference.labels import Request
        from core.inference.option_scoring import score

        requests = [Request(messages, DIGITS) for messages in asks]
        masses = [scored.mass for _, scored in score(loaded, requests, stop=self.stop)]
        return fmean(masses) if masses else math.nan


def is_bare_number(text: str) -> bool:
    """True for a reply that is a number and nothing else, as survey answers are."""
    return bool(_BARE_NUMBER.fullmatch(text.strip()))


def _predicted(name: str, readings: Sequence) -> Outcome:
    """readings: drift.Reading of each passage."""
    base, tuned = (100 * np.array([getattr(r, f"{s}_p") for r in readings]) for s in SIDES)
    tokens = np.array([r.tokens for r in readings], float)
    lost = [np.average([getattr(r, f"{s}_nll") for r in readings], weights=tokens) for s in SIDES]
    return made(
        KINDS[name],
        len(readings),
        base.mean(),
        tuned.mean(),
        paired_mean(base, tuned),
        {
            "kl": float(np.average([r.kl for r in readings], weights=tokens)),
            "perplexity_base": math.exp(lost[0]),
            "perplexity_tuned": math.exp(lost[1]),
        },
    )

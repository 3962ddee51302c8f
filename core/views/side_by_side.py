"""One question, asked side by side: what is held of it, to lay out and to copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.analysis import option_mass
from core.analysis.cells import shares_of
from core.asking.answers import Answer
from core.asking.languages import own_translation
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.metrics import distances
from core.models.catalogue import describe
from core.prompts.methods import METHODS
from core.prompts.render import Rendered, option_orders
from core.prompts.translations import ENGLISH, Translation, name
from core.store.runs import Run
from core.store.store import Store
from core.store.wordings import questionnaire_of
from core.survey.survey import Item, Survey
from core.views import findings, provenance
from core.views.items import as_read, prompt_of


class Side(NamedTuple):
    """One column: nobody in particular (iso3 ""), or a person from a country.

    shares: float64[K], the exact distribution over the options (NaN while there is none). people:
    float64[K] (NaN where they were not asked), n_people how many. written: the answer as it was
    written and read, None while there is none. scored_by, written_by: the runs it comes from.
    mass: how much of what the model would say is one of the options (None while not known).
    language: what it is asked in; question: the words it is asked in, draft: nobody who grew up
    with the language has read them.
    """

    iso3: str
    name: str
    method: str
    shares: np.ndarray
    people: np.ndarray
    n_people: int
    written: Answer | None
    scored_by: Run | None
    written_by: Run | None
    mass: float | None = None
    language: str = ENGLISH
    question: str = ""
    draft: bool = False

    @property
    def key(self) -> str:
        """Tells a side from the others."""
        return self.iso3 if self.language == ENGLISH else f"{self.iso3}_{self.language}"

    @property
    def title(self) -> str:
        """What stands above it: "Germany", "Germany, in German"."""
        if self.language == ENGLISH:
            return self.name
        return f"{self.name}, in {name(self.language)}{' (draft)' if self.draft else ''}"

    @property
    def surveyed(self) -> bool:
        """People there were asked this question."""
        return not np.isnan(self.people).any()


class SideBySide(NamedTuple):
    """A question and its sides, the plain one first. settings: those of the first run."""

    group: str
    survey: Survey
    item: Item
    settings: AskSettings
    runs: tuple[Run, ...]
    sides: tuple[Side, ...]

    @property
    def countries(self) -> list[str]:
        return list(dict.fromkeys(side.iso3 for side in self.sides if side.iso3))

    @property
    def own_language(self) -> bool:
        """Was any country asked in its own language as well?"""
        return any(side.language != ENGLISH for side in self.sides)

    @property
    def method(self) -> str:
        """How the countries were asked ("country" where none was)."""
        return next((side.method for side in self.sides if side.iso3), "country")

    @property
    def country_settings(self) -> AskSettings:
        """The settings that the countries were asked with; the first run's where none was."""
        named = [run for run in self.runs if METHODS[run.method].needs_culture]
        return named[0].settings if named else self.settings

    @property
    def answered(self) -> int:
        return sum(run.answered for run in self.runs)


def load(store: Store, group: str) -> SideBySide:
    """What was asked under this id. Raises PluriscopeError where it is not there (any more)."""
    runs = sorted(store.runs(kind="question", group=group), key=lambda run: run.no)
    if not runs:
        raise PluriscopeError(
            "The answer this link points to is not here. It may have been deleted, or asked on "
            "another machine."
        )
    settings = runs[0].settings
    survey = store.survey(settings.survey, settings.survey_version)
    item = settings.asked_items(survey)[0]
    by_side: dict[tuple[str, str, str], dict[str, Run]] = {}
    spoken: dict[str, Translation] = {}
    for run in runs:
        one = run.settings
        for iso3 in one.personas():
            language = one.asked_in(iso3, item.id)
            by_side.setdefault((iso3, run.method, language), {})[one.answering] = run
            if language in (one.translations or {}):
                spoken[language] = questionnaire_of(store, one).translations[language]
    sides = []
    for (iso3, method, language), made in by_side.items():
        blank = _blank(survey, item, iso3, method, spoken.get(language))
        sides.append(_side(store, blank, item, made))
    place = {iso3: number for number, iso3 in enumerate(settings.cultures, 1)}
    sides.sort(key=lambda side: (place.get(side.iso3, 0), side.language != ENGLISH))
    return SideBySide(group, survey, item, settings, tuple(runs), tuple(sides))


def answered(store: Store, group: str) -> int:
    """How many answers a question holds by now."""
    return sum(run.answered for run in store.runs(kind="question", group=group))


def preview(
    survey: Survey,
    item: Item,
    countries: Sequence[str],
    method: str,
    own_language: bool = False,
) -> list[Side]:
    """The sides a question will have, before it is asked: people's answers only."""
    sides = [_blank(survey, item, "", "plain")]
    for iso3 in countries:
        sides.append(_blank(survey, item, iso3, method))
        if own_language and (there := own_translation(survey, item.id, iso3)):
            sides.append(_blank(survey, item, iso3, method, there))
    return sides


def _blank(
    survey: Survey, item: Item, iso3: str, method: str, there: Translation | None = None
) -> Side:
    people = survey.shares.get((iso3, item.id))
    nothing = np.full(len(item.options), np.nan)
    side = Side(
        iso3,
        survey.culture(iso3).name if iso3 else METHODS[method].name,
        method,
        nothing,
        people.values if people else nothing,
        people.n_valid if people else 0,
        None,
        None,
        None,
    )
    if there is None:
        return side
    text = there.items[item.id]
    return side._replace(language=there.language, question=text.question, draft=text.draft)


def _side(store: Store, blank: Side, item: Item, made: dict[str, Run]) -> Side:
    """A side with what is held of it."""
    iso3 = blank.iso3
    scored, written = made.get("probabilities"), made.get("written")
    shares, text, mass = blank.shares, None, None
    if scored:
        shares = shares_of(store, scored, item).get(iso3, shares)
        mass = option_mass.mass_of(store, scored, iso3)
    if written:
        answers = store.answers(written.no, item=item.id, iso3=iso3)
        if len(answers):
            text = _answer(answers.iloc[0])
    return blank._replace(
        shares=shares, mass=mass, written=text, scored_by=scored, written_by=written
    )


def _answer(row: pd.Series) -> Answer:
    return Answer(
        row["iso3"],
        row["item"],
        int(row["number"]),
        (),
        None,
        None if pd.isna(row["chosen"]) else int(row["chosen"]),
        row["state"],
        row["rule"],
        row["text"],
        None if pd.isna(row["seconds"]) else float(row["seconds"]),
    )


# -- what the page says ----------------------------------------------------------------------------


def table(item: Item, side: Side, sides: Sequence[Side]) -> pd.DataFrame:
    """One row an option: label, people, plain and the side's own method (see figures.answer_bars).

    Columns that hold nothing are there all the same: nothing moves when they fill, and the options
    of all sides stay level.
    """
    plain = plain_side(sides)
    columns: dict[str, object] = {"label": [option.label for option in item.options]}
    if not np.isnan(side.people).all():
        columns["people"] = side.people
    if plain is not None:
        columns["plain"] = plain.shares
    if side is not plain:
        columns[side.method] = side.shares
    elif len(sides) > 1:
        columns[sides[-1].method] = np.nan
    return pd.DataFrame(columns)


def numbers(item: Item, sides: Sequence[Side]) -> pd.DataFrame:
    """All sides in one table, in per cent: an option a row, people and the model by country."""
    table: dict[str, object] = {"Answer": [option.label for option in item.options]}
    for side in sides:
        where = wording.country(side.name)
        if not np.isnan(side.people).all():
            table[f"People in {where}"] = side.people
        table[f"As a person from {wording.country(side.title)}" if side.iso3 else side.name] = (
            side.shares
        )
    shares = pd.DataFrame(table)
    return shares.assign(**{name: (100 * shares[name]).round(1) for name in shares.columns[1:]})


def plain_side(sides: Sequence[Side]) -> Side | None:
    """The side asked as nobody in particular."""
    return next((side for side in sides if not side.iso3), None)


def verdict(item: Item, side: Side, sides: Sequence[Side]) -> str:
    """One line on a side: where naming the country moved it; "" while nothing can be said."""
    if np.isnan(side.shares).any():
        return ""
    plain = plain_side(sides)
    if side.iso3:
        if np.isnan(side.people).all() or plain is None or np.isnan(plain.shares).any():
            return ""
        said = findings.verdict(item, side.people, plain.shares, side.shares, side.name)
        return f"{wording.capital(said)}."
    asked = [other for other in sides if other.iso3 and not np.isnan(other.people).any()]
    if len(asked) < 2:
        return ""
    kind = "emd" if item.is_ordered else "tv"
    near = min(asked, key=lambda o: distances.item_distance(item, o.people, side.shares, kind))
    return f"Of these countries, nearest to people in {wording.country(near.name)}."


SMALL_SHARE = 0.1


def voices(item: Item, side: Side) -> str:
    """A sentence where what a model wrote is not what its probabilities say; "" elsewhere."""
    if side.written is None or side.written.chosen is None or np.isnan(side.shares).any():
        return ""
    wrote = item.codes.index(side.written.chosen)
    share, likeliest = float(side.shares[wrote]), int(side.shares.argmax())
    if share >= SMALL_SHARE or wrote == likeliest:
        return ""
    return (
        f"Two voices: it wrote “{item.options[wrote].label}”, which its probabilities give "
        f"{wording.percent(share)}; likeliest there is “{item.options[likeliest].label}” with "
        f"{wording.percent(float(side.shares[likeliest]))}."
    )


def how(asked: SideBySide) -> str:
    """How it was asked, and how long the writing took."""
    settings = asked.settings
    parts = [describe(settings.model), f"seed {settings.seed}"]
    times = [side.written.seconds for side in asked.sides if side.written and side.written.seconds]
    if times:
        parts.append(f"{sum(times):.1f} seconds of writing, all sides together")
    return " · ".join([*parts, provenance.when_words(asked.runs[0].created)])


def reading(item: Item, answer: Answer) -> str:
    """How a written answer was read: the option, and the rule that decided."""
    if answer.state == "refused":
        return f"Read as a refusal: {answer.rule}."
    if answer.state == "contradictory":
        return f"Says two things: {answer.rule}."
    if answer.state == "cut off":
        return f"Cut off before an answer: {answer.rule}."
    if answer.chosen is None:
        return f"Cannot be read: {answer.rule}."
    return f"Read as “{item.option(answer.chosen).label}”: {answer.rule}."


class Shown(NamedTuple):
    """A prompt as text. exact: as the model read it, chat template included; else its messages."""

    text: str
    exact: bool


def prompts(store: Store, item: Item, side: Side) -> dict[str, Shown]:
    """The prompts behind a side, by what they are for."""
    found = {}
    if side.written_by:
        prompt = prompt_of(store, side.written_by, item, side.iso3)
        found["For the written answer"] = _shown(side.written_by, prompt)
    if side.scored_by:
        orders = option_orders(item, side.scored_by.settings.orders)
        for number in range(len(orders)):
            name = f"For the probabilities, order {number + 1} of {len(orders)}"
            prompt = prompt_of(store, side.scored_by, item, side.iso3, number)
            found[name] = _shown(side.scored_by, prompt)
    return found


def _shown(run: Run, prompt: Rendered) -> Shown:
    if text := as_read(run, prompt):
        return Shown(text, True)
    parts = (f"[{message['role']}]\n{message['content']}" for message in prompt.messages)
    return Shown("\n\n".join(parts), False)


def as_text(store: Store, asked: SideBySide) -> str:
    """Question, answers and where they come from, to paste into a message."""
    item = asked.item
    lines = [item.question, *(f"  {option.code}. {option.label}" for option in item.options), ""]
    for side in asked.sides:
        head = f"As a person from {wording.country(side.title)}" if side.iso3 else side.name
        lines.append(f"{head}: {_spread(item, side.shares)}")
        if side.iso3 and not np.isnan(side.people).all():
            lines.append(f"  People there: {_spread(item, side.people)}")
        if side.written:
            text = " ".join((side.written.text or "").split())
            lines.append(f"  It wrote: “{text}” {reading(item, side.written)}")
        for said in (option_mass.low_words(side.mass), voices(item, side)):
            lines += [f"  {said}"] if said else []
    lines += ["", f"Model: {describe(asked.settings.model)}", f"Seed: {asked.settings.seed}"]
    lines += [f"Asked on {provenance.when_words(asked.runs[0].created)}", f"Id: {asked.group}"]
    return "\n".join(lines)


def _spread(item: Item, shares: np.ndarray) -> str:
    if np.isnan(shares).any():
        return "no answer yet"
    return ", ".join(
        f"{option.label} {wording.percent(float(share))}"
        for option, share in zip(item.options, shares, strict=True)
    )

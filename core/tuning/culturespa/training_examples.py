"""What an adapter is taught: pairs, or people's shares, as prompts with their targets."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.errors import PluriscopeError, disk_in_words
from core.prompts.prompt_sets import PromptSet
from core.prompts.render import option_orders, render
from core.survey.survey import Item, Survey
from core.tuning.settings import Arm, TuneSettings
from core.whole_files import whole_file

FEWEST_EXAMPLES = 8  # with fewer an adapter would learn the noise of single questions


class Cell(NamedTuple):
    """What is taught of one question as a person of one country.

    target: float64[K] over the item's options in code order. world: the mean of all countries,
    where the arm has a shift term.
    """

    iso3: str
    item: Item
    target: np.ndarray
    weight: float
    world: np.ndarray | None = None


class Examples(NamedTuple):
    """What one arm is taught. counts: lines of each country. lines: made as they are read."""

    counts: dict[str, int]
    lines: Iterator[dict]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def examples(
    arm: Arm,
    settings: TuneSettings,
    prompts: PromptSet,
    *,
    seed: int,
    pairs: pd.DataFrame | None = None,
    written: Survey | None = None,
    people: Survey | None = None,
    budget: int | None = None,
    only: str = "",
) -> Examples:
    """The examples an arm is trained on, in training order; the same for the same seed.

    pairs (Store.pairs of the arm's teacher and answers) and written (survey_of): what the model
    said, for its own teachers. people: the real survey, for the teacher "people". budget: at most
    so many lines of all countries, before the arm's fraction is taken of them; give every arm of an
    experiment the same for equal budgets. only: the lines of one country, for an adapter of its
    own. Raises PluriscopeError where there are too few to learn from.

    A line: messages (the country prompt), labels as shown, target (a probability for each label),
    weight (mean 1), iso3, item, order, shift ({"world": …,
    "weight": …} or None). Written answers are taught
    in the given order, as the study does; distributions in every order of settings.orders.
    """
    survey = people if arm.teacher == "people" else written
    if arm.teacher == "people":
        cells = _of_people(arm, settings, people, seed)
    else:
        cells = _of_pairs(arm, settings, written, pairs, seed)
    if budget is None:
        cells = _part(cells, arm.fraction, seed)
    orders = "given" if arm.answers == "written" else settings.orders
    drawn = [
        _Drawn(cell, number, order)
        for cell in cells
        for number, order in enumerate(option_orders(cell.item, orders))
    ]
    drawn = _shuffled(drawn, seed)[:budget]
    if budget is not None and arm.fraction < 1:
        drawn = _shuffled(_part(drawn, arm.fraction, seed), seed)
    counts = dict.fromkeys(cultures_of(settings), 0)
    for cell, _, _ in drawn:
        counts[cell.iso3] += 1
    _enough(arm, counts)
    if only:
        counts = {only: counts[only]}
    lines = (
        _line(cell, number, order, survey, prompts, arm)
        for cell, number, order in drawn
        if cell.iso3 in counts
    )
    return Examples(counts, lines)


def save_examples(path: Path, lines: Iterable[dict]) -> int:
    """Write lines as JSONL, whole or not at all; gives how many."""
    count = 0
    with disk_in_words("The training examples"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, "utf-8") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                count += 1
    return count


def cultures_of(settings: TuneSettings) -> tuple[str, ...]:
    """The countries that are taught: those tuned for that are not held out."""
    return tuple(c for c in settings.cultures if c not in settings.held_out_cultures)


def _line(
    cell: Cell,
    number: int,
    order: tuple[int, ...],
    survey: Survey,
    prompts: PromptSet,
    arm: Arm,
) -> dict:
    item = cell.item
    prompt = render(item, prompts, "country", survey.culture(cell.iso3), order=order)
    target = cell.target if arm.labels == "soft" else _one_hot(cell.target)
    shown = [item.codes.index(code) for code in prompt.codes]
    shift = None
    if cell.world is not None:
        shift = {"world": cell.world[shown].tolist(), "weight": arm.shift}
    return {
        "messages": list(prompt.messages),
        "labels": list(prompt.labels),
        "target": target[shown].tolist(),
        "weight": cell.weight,
        "iso3": cell.iso3,
        "item": item.id,
        "order": number,
        "shift": shift,
    }


def _one_hot(target: np.ndarray) -> np.ndarray:
    hard = np.zeros(len(target))
    hard[int(np.argmax(target))] = 1
    return hard


class _Drawn(NamedTuple):
    """A line to be: a cell in one order of its options."""

    cell: Cell
    number: int
    order: tuple[int, ...]

    @property
    def iso3(self) -> str:
        return self.cell.iso3


def _shuffled(lines: list[_Drawn], seed: int) -> list[_Drawn]:
    random.Random(f"{seed}/order").shuffle(lines)
    return lines


def _part(cells: Sequence, fraction: float, seed: int) -> list:
    """A share of each country's cells, or lines, by chance; a smaller one is part of a larger."""
    found = []
    for iso3, mine in _by_country(cells).items():
        random.Random(f"{seed}/part/{iso3}").shuffle(mine)
        found += mine[: round(fraction * len(mine))]
    return found


def _by_country(cells: Iterable) -> dict[str, list]:
    found: dict[str, list] = {}
    for cell in cells:
        found.setdefault(cell.iso3, []).append(cell)
    return found


def _enough(arm: Arm, counts: Mapping[str, int]) -> None:
    least = min(counts, key=counts.get) if arm.mode == "specific" and counts else ""
    found = counts[least] if least else sum(counts.values())
    if found >= FEWEST_EXAMPLES:
        return
    if arm.teacher == "people":
        knob = "Hold out fewer questions, or choose countries that were asked more of them."
    elif arm.choose == "all":
        knob = "Ask for more questions on each topic, or choose more countries."
    else:
        knob = "Ask for more questions on each topic, or use an arm that takes all pairs."
    raise PluriscopeError(
        f"“{arm.title}” has only {found} examples{f' for {least}' if least else ''} to train on, "
        f"too few to learn from ({FEWEST_EXAMPLES} is the least). {knob}"
    )


# -- the model's own answers -----------------------------------------------------------------------


class _Pair(NamedTuple):
    iso3: str
    item: Item
    target: np.ndarray
    distance: float
    differs: bool


def _of_pairs(
    arm: Arm, settings: TuneSettings, survey: Survey, table: pd.DataFrame, seed: int
) -> list[Cell]:
    pairs = _readable(arm, settings, survey, table)
    chosen = [
        pair
        for iso3, mine in sorted(_by_country(pairs).items())
        for pair in _choose(arm.choose, mine, f"{seed}/choose/{iso3}")
    ]
    targets = {(pair.iso3, pair.item.id): pair.target for pair in pairs}
    mean = float(np.mean([pair.distance for pair in chosen])) if arm.weighted and chosen else 0
    cells = [
        Cell(pair.iso3, pair.item, pair.target, pair.distance / mean if mean else 1.0)
        for pair in chosen
        if not mean or pair.distance > 0  # what weighs nothing teaches nothing
    ]
    return _controlled(arm, cells, targets, seed)


def _readable(arm: Arm, settings: TuneSettings, survey: Survey, table: pd.DataFrame) -> list[_Pair]:
    """The pairs of which both answers are known, by country and question."""
    found, taught = [], set(cultures_of(settings))
    for row in table.itertuples():
        if pd.isna(row.plain) or pd.isna(row.aware) or row.iso3 not in taught:
            continue
        item = survey.item(row.item)
        if arm.answers == "probabilities":
            target = np.asarray(row.aware_probs, float)
            target = target / target.sum()
        else:
            target = np.zeros(len(item.codes))
            target[item.codes.index(int(row.aware))] = 1
        found.append(_Pair(row.iso3, item, target, float(row.distance), bool(row.differs)))
    return sorted(found, key=lambda pair: (pair.iso3, pair.item.position))


def _choose(choose: str, mine: list[_Pair], mark: str) -> list[_Pair]:
    """Pairs of one country. What is drawn by chance numbers as many as differ."""
    if choose == "all":
        return mine
    differing = [pair for pair in mine if pair.differs]
    if choose == "differing":
        return differing
    pool = mine if choose == "random" else [pair for pair in mine if not pair.differs]
    drawn = random.Random(mark).sample(pool, min(len(differing), len(pool)))
    return [*differing, *drawn] if choose == "balanced" else drawn


def _controlled(
    arm: Arm, cells: list[Cell], targets: Mapping[tuple[str, str], np.ndarray], seed: int
) -> list[Cell]:
    """The same prompts with the targets a control asks for."""
    if not arm.control:
        return cells
    countries = sorted({iso3 for iso3, _ in targets})
    if len(countries) < 2:
        raise PluriscopeError(
            f"“{arm.title}” compares countries with each other and needs at least two of them."
        )
    if arm.control == "shuffled":
        other = another_country(countries, seed)
        return [
            cell._replace(target=targets[other[cell.iso3], cell.item.id])
            for cell in cells
            if (other[cell.iso3], cell.item.id) in targets
        ]
    of_item: dict[str, list[np.ndarray]] = {}
    for (_, item), target in targets.items():
        of_item.setdefault(item, []).append(target)
    mean = {item: np.mean(all_, axis=0) for item, all_ in of_item.items()}
    return [cell._replace(target=mean[cell.item.id]) for cell in cells]


# Why: docs/decisions.md, "Shuffled means another country, not another answer."
def another_country(countries: Sequence[str], seed: int) -> dict[str, str]:
    """For each country another one, each taken once: a circle by chance."""
    circle = sorted(countries)
    random.Random(f"{seed}/shuffled").shuffle(circle)
    return dict(zip(circle, [*circle[1:], circle[0]], strict=True))


# -- people's answers ------------------------------------------------------------------------------


def _of_people(arm: Arm, settings: TuneSettings, survey: Survey, seed: int) -> list[Cell]:
    """The shares of the countries tuned for, of every item that is not held out."""
    items = [
        item
        for item in survey.items
        if item.id not in settings.held_out_items and item.topic not in settings.held_out_topics
    ]
    known = [c.iso3 for c in survey.cultures if c.iso3 not in settings.held_out_cultures]
    taught = [iso3 for iso3 in cultures_of(settings) if iso3 in known]
    targets: dict[tuple[str, str], np.ndarray] = {}
    cells = []
    for item in items:
        shares = {
            c: survey.shares[c, item.id].values for c in known if (c, item.id) in survey.shares
        }
        world = np.mean(list(shares.values()), axis=0) if shares and arm.shift else None
        for iso3 in taught:
            if iso3 in shares:
                targets[iso3, item.id] = shares[iso3]
                cells.append(Cell(iso3, item, shares[iso3], 1.0, world))
    return _controlled(arm, cells, targets, seed)

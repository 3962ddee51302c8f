"""How far answers hold when the wording or the order of the options changes.

A format is one wording with one order. A run is one method in one wording and holds several
orders; an asking in several wordings has a run for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.analysis import scores
from core.errors import PluriscopeError
from core.metrics import rates
from core.metrics.metrics import HEADLINE
from core.metrics.panel import Panel
from core.metrics.rates import FormatSpread
from core.prompts.methods import METHODS
from core.prompts.render import option_orders
from core.store.runs import Run
from core.store.store import Store


class Spread(NamedTuple):
    """How much a score moves between formats. countries: iso3 -> standard deviation over formats,
    in points. mean: their mean. between: that of the countries' own scores."""

    wordings: int
    formats: int
    countries: dict[str, float]
    mean: float
    between: float
    greyed: bool


# Why: docs/decisions.md, "Several wordings are several runs."
def formats(store: Store, runs: Sequence[Run]) -> list[tuple[Run, int | None]]:
    """Every format of some runs: a run and the number of an order, None for written answers.

    runs: of one method, one a wording. Written answers are one format a wording. Where items have
    different numbers of orders (cyclic), as many as all have.
    """
    found: list[tuple[Run, int | None]] = []
    for run in runs:
        settings = run.settings
        if settings.answering == "written":
            found.append((run, None))
            continue
        items = settings.asked_items(scores.survey_of(store, run))
        orders = min(len(option_orders(item, settings.orders)) for item in items)
        found += [(run, number) for number in range(orders)]
    return found


def panels(store: Store, runs: Sequence[Run], topic: str = "") -> list[Panel]:
    """People beside the answers in each format, on the items and countries all runs have."""
    found = [
        scores.panel(store, run, topic=topic, number=number) for run, number in formats(store, runs)
    ]
    shared = set.intersection(*(set(one.countries) for one in found))
    ids = set.intersection(*({item.id for item in one.items} for one in found))
    return [one.only(ids, shared) for one in found]


def spread(store: Store, runs: Sequence[Run], metric: str = HEADLINE, topic: str = "") -> Spread:
    """The format spread of a score. Raises PluriscopeError where there is only one format."""
    every = panels(store, runs, topic)
    if len(every) < 2:
        raise PluriscopeError(
            "This was asked in one wording and one order. Ask in several wordings, or in both "
            "orders, to see how far its answers hold."
        )
    found: FormatSpread = rates.format_spread(every, metric)
    by_country = dict(zip(every[0].countries, found.formats.tolist(), strict=True))
    known = found.formats[np.isfinite(found.formats)]
    mean = float(known.mean()) if known.size else float("nan")
    return Spread(len(runs), len(every), by_country, mean, found.between, found.greyed)


def held(store: Store, runs: Sequence[Run], topic: str = "") -> pd.DataFrame:
    """How often each answer was the same: columns iso3, item, held, of.

    held: in how many formats the commonest choice was given, of those that have an answer. A plain
    run has one row an item, iso3 "".
    """
    every = panels(store, runs, topic)
    counts = rates.held([one.chosen for one in every])
    countries = list(every[0].countries)
    if not METHODS[runs[0].method].needs_culture:
        countries = [""]  # the same answers stand beside every country
    rows = [
        (iso3, item.id, int(counts.held[c, i]), int(counts.of[c, i]))
        for c, iso3 in enumerate(countries)
        for i, item in enumerate(every[0].items)
    ]
    return pd.DataFrame(rows, columns=["iso3", "item", "held", "of"])


def record(store: Store, runs: Sequence[Run], metric: str = HEADLINE, topic: str = "") -> dict:
    """Both in short, for a record of scores: "format_spread" (as Spread, without countries) and
    "held" (of the formats that have an answer, in how many it held, on average). None where there
    is only one format."""
    if len(formats(store, runs)) < 2:
        return {"format_spread": None, "held": None}
    found = spread(store, runs, metric, topic)._asdict()
    del found["countries"]
    table = held(store, runs, topic)
    several = table[table["of"] > 1]
    mean = {"mean": several["held"].mean(), "of": several["of"].mean()}
    return {"format_spread": found, "held": mean if len(several) else None}


# -- in words --------------------------------------------------------------------------------------


def spread_words(found: Spread) -> str:
    """What a format spread says of a ranking of countries."""
    orders = f"{found.formats // found.wordings} orders of the options"
    if found.wordings == 1:
        asked = f"Asked with {orders}"
    else:
        asked = f"Asked in {found.wordings} wordings"
        asked += f", each with {orders}" if found.formats > found.wordings else ""
    moved = f"{asked}, a country’s score moves by {wording.number(found.mean)} points"
    if not np.isfinite(found.between):
        return f"{moved} from one to another (standard deviation)."
    apart = f"countries differ by {wording.number(found.between)}"
    if found.greyed:
        return (
            f"{moved}, while {apart}. The ranking says more about wording and order than about "
            "countries, so it is drawn in grey."
        )
    return f"{moved}, while {apart} (standard deviations)."


def held_words(table: pd.DataFrame) -> str:
    """In how many formats an answer held; of several cells, on average. "" for one format."""
    table = table[table["of"] > 1]
    if table.empty:
        return ""
    of = int(table["of"].max())
    if len(table) == 1:
        return f"The likeliest answer held in {int(table['held'].iloc[0])} of {of} formats."
    mean = float((table["held"] / table["of"]).mean() * of)
    return f"The likeliest answers held in {wording.number(mean)} of {of} formats on average."

"""How much of what a model would say is one of the options at all.

Shares of options add up to 1 whatever they weigh together. Where that is little, they describe a
small part of what the model would say.
"""

from __future__ import annotations

import pandas as pd

from core import wording
from core.prompts.methods import METHODS
from core.store.runs import Run
from core.store.store import Store

LOW = 0.5  # below it, most of what the model would say is something else


def masses(store: Store, run: Run) -> pd.DataFrame:
    """Columns iso3 ("" for nobody in particular), item, mass: the mean over its option orders.

    No rows for written answers, and for what was imported or made of other answers.
    """
    return store.query(
        """select iso3, item, avg(mass)::double as mass from answers
           where run_no = ? and mass is not null group by iso3, item""",
        [run.no],
    )


def mass_of(store: Store, run: Run, iso3: str = "", item: str = "") -> float | None:
    """The mean over a run, of one country or one item where they are given; None where unknown."""
    table = masses(store, run)
    if iso3 and METHODS[run.settings.asked_method].needs_culture:
        table = table[table["iso3"] == iso3]
    if item:
        table = table[table["item"] == item]
    return round(float(table["mass"].mean()), 6) if len(table) else None


def is_low(mass: float | None) -> bool:
    return mass is not None and mass < LOW


def low_words(mass: float | None) -> str:
    """The sentence beside shares that describe little of what the model would say; "" elsewhere."""
    if not is_low(mass):
        return ""
    return f"Only {wording.percent(mass)} of what it would say is one of these."


def low_note(store: Store, *of: Run) -> str:
    """The sentence beside scores of some runs; "" where none weighs little."""
    low = [(wording.percent(mass), run.way) for run in of if is_low(mass := mass_of(store, run))]
    if not low:
        return ""
    shares = dict.fromkeys(share for share, _ in low)
    if len(shares) == 1 and len(low) == len(of):
        return f"Only {low[0][0]} of what the model would say is one of the options. {SMALL}"
    each = wording.listed([f"{share} ({way})" for share, way in low])
    return f"Only a part of what the model would say is one of the options: {each}. {SMALL}"


SMALL = "Shares and scores describe that part; the rest is something else."

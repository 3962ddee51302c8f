"""What guessing would get, rung by rung, beside what the model gets."""

from __future__ import annotations

import numpy as np
import pandas as pd

from core import wording
from core.analysis import scores
from core.metrics.bootstrap import Interval
from core.metrics.metrics import HEADLINE
from core.metrics.score import score
from core.store.runs import Run
from core.store.store import Store
from core.views.compare import look
from core.views.runs import model_and_way

LADDER_NOTE = (
    "The grey lines need no model: even odds, fixed answers, and what people of other countries "
    "said. The topmost is how close another sample of the same people would come."
)


LADDER_WORDS = {
    "uniform": wording.capital(wording.FLOOR),
    "midpoint": "Always the middle of the scale",
    "random_compatriot": "One person of the country, drawn at random",
    "median_others": "The median of the other countries",
    "mean_others": "The average of the other countries",
    "nearest": "The country whose people are most alike",
    "nearest5": "The average of the five most alike",
    "split_half": "One half of the sample against the other",
    "ceiling": wording.capital(wording.CEILING),
}


def ladder(
    store: Store, run: Run, before: Run | None = None, metric: str = HEADLINE
) -> pd.DataFrame:
    """What one gets without a model, and a run (or two) among it, lowest first.

    Columns: key (a name of metrics.REFERENCES, or a run's id), name, kind ("line" or a series),
    value, low, high. Means over the run's countries, on the cells that it was asked.
    """
    lines = scores.references(store, run, metric)
    rows = [
        (key, LADDER_WORDS[key], "line", line.mean, np.nan, np.nan) for key, line in lines.items()
    ]
    for one in (before, run):
        if one is not None:
            mean = _on_the_same(store, one, run, metric)
            rows.append((one.id, model_and_way(one), look(one), *mean))
    table = pd.DataFrame(rows, columns=["key", "name", "kind", "value", "low", "high"])
    return table.dropna(subset="value").sort_values("value", kind="stable", ignore_index=True)


def _on_the_same(store: Store, one: Run, run: Run, metric: str) -> Interval:
    """A run's mean score; of another run on the countries and items of the first."""
    if one.id == run.id:
        return Interval(*scores.table(store, run, metric).iloc[0][["value", "low", "high"]])
    theirs, _ = scores.both(store, one, run)
    return score(theirs, metric).mean


def ladder_finding(table: pd.DataFrame, run: Run) -> wording.Finding:
    """Between which two lines a run stands, and whether it beats what needs no model."""
    lines = table[table["kind"] == "line"]
    mine = table[table["key"] == run.id]
    if mine.empty:
        return wording.Finding("What one gets without a model", "This run has no score yet.")
    row = mine.iloc[0]
    below, above = lines[lines["value"] <= row["value"]], lines[lines["value"] > row["value"]]
    if below.empty:
        headline = f"The answers score below {_small(above['name'].iloc[0])}"
    elif above.empty:
        headline = f"The answers score above {_small(below['name'].iloc[-1])}"
    else:
        headline = (
            f"The answers stand between {_small(below['name'].iloc[-1])} and "
            f"{_small(above['name'].iloc[0])}"
        )
    beaten = [
        _small(line.name)
        for line in below.itertuples()
        if line.value < row["low"] and line.key in ("mean_others", "nearest", "nearest5")
    ]
    between = wording.interval(row["low"], row["high"])
    text = [
        f"They score {wording.number(row['value'])} of 100{f' ({between})' if between else ''}."
    ]
    text.append(
        f"Clearly better than {wording.listed(beaten)}: these use no model at all, only what "
        "people "
        "of other countries said."
        if beaten
        else "What other countries’ people said, without any model, does as well or better."
    )
    return wording.Finding(headline, " ".join(text))


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]

"""What the map shows: a score for each country and the sentence above it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.analysis import scores
from core.jobs.askings import Asking
from core.metrics import bootstrap
from core.metrics.metrics import HEADLINE
from core.prompts.methods import METHODS
from core.store.runs import Run
from core.store.store import Store
from core.views.findings import findings
from core.views.runs import asked_how, by_method, model_name, persona_method, run_kicker


class MapResult(NamedTuple):
    """What the map shows. table: as scores.closeness gives it, or scores.change where two runs are
    compared. finding: the headline and the paragraph. kicker: what was asked, in one line."""

    table: pd.DataFrame
    finding: wording.Finding
    kicker: str


def map_result(
    store: Store, run: Run, before: Run | None = None, metric: str = HEADLINE, topic: str = ""
) -> MapResult:
    """How close a run comes in each country, or how much closer than the run `before`.

    Raises PluriscopeError where the two runs have nothing in common, or nothing was asked on the
    topic.
    """
    kicker = run_kicker(store, run, topic)
    how = asked_how(run)
    if before is None:
        table = scores.closeness(store, run, metric, topic)
        if not METHODS[run.method].needs_culture:
            finding = findings(plain=table)
        else:
            finding = findings(country_run=table, how=how)
        return MapResult(table, _said_once(finding), kicker)
    table, mean = scores.change(store, before, run, metric, topic)
    if before.group == run.group and before.method == "plain":
        closeness = (scores.closeness(store, one, metric, topic) for one in (before, run))
        finding = findings(*closeness, table, mean, how=how)
        return MapResult(table, _said_once(finding), kicker)
    kicker = f"{kicker}, compared with {run_kicker(store, before, topic)}"
    return MapResult(table, _comparison(run, before, table, mean), kicker)


def zone_words(zones: pd.DataFrame) -> str:
    """The mean of each part of the world with its interval, in one line; "" where there are fewer
    than two. zones: as scores.zones gives it."""
    if len(zones) < 2:
        return ""
    said = ", ".join(f"{row.zone} {with_interval(row, 0)}" for row in zones.itertuples())
    return f"On average by part of the world, with 95% intervals: {said}."


def with_interval(row: tuple, places: int = 1) -> str:
    """83 (76 to 88); the value alone where the interval is not known. row: has value, low, high."""
    value, low, high = (wording.number(x, places) for x in (row.value, row.low, row.high))
    known = np.isfinite(row.low) and np.isfinite(row.high)
    return f"{value} ({low} to {high})" if known else value


def unasked(store: Store) -> pd.DataFrame:
    """What the map draws before anything was asked: every country surveyed, none scored."""
    rows = [(c.iso3, c.name, c.region, np.nan, "not_asked") for c in store.survey().cultures]
    return pd.DataFrame(rows, columns=["iso3", "name", "region", "value", "state"])


def headline_result(store: Store, asking: Asking) -> MapResult:
    """What Home opens with: the finding of a whole asking over the map of its persona run."""
    found = by_method(asking)
    named = persona_method(asking)
    if named is None or "plain" not in found:
        return map_result(store, next(iter(found.values())))
    finding = map_result(store, found[named], found["plain"]).finding
    return map_result(store, found[named])._replace(finding=finding)


def _said_once(finding: wording.Finding) -> wording.Finding:
    """A finding whose paragraph does not begin by repeating the headline."""
    return finding._replace(
        paragraph=finding.paragraph.removeprefix(f"{finding.headline}.").lstrip()
    )


def _comparison(
    run: Run, before: Run, table: pd.DataFrame, mean: bootstrap.Difference
) -> wording.Finding:
    """What the paired comparison of any two runs says."""
    one, other = _told_apart(run, before)
    if not mean.clear:
        headline = f"{one} and {other}: too close to call"
    elif mean.value > 0:
        headline = f"{one} comes closer to people than {other}"
    else:
        headline = f"{one} is further from people than {other}"
    scored = table[table["state"].eq("scored")]
    closer = scored[scored["clear"] & (scored["value"] > 0)].sort_values("value", ascending=False)
    away = scored[scored["clear"] & (scored["value"] < 0)].sort_values("value")
    unclear = len(scored) - len(closer) - len(away)
    points = wording.number(abs(mean.value))
    way = "closer" if mean.value >= 0 else "further away"
    text = [f"On average {points} points {way} ({wording.interval(mean.low, mean.high)})."]
    for some, what in ((closer, "closer"), (away, "further away")):
        if len(some):
            most = wording.listed([wording.country(n) for n in some["name"]], most=3)
            text.append(f"Clearly {what} in {len(some)} of {len(scored)} countries: {most}.")
    if unclear:
        text.append(
            f"For {wording.count(unclear, 'country', 'countries')} the difference is too small to "
            "call."
        )
    return wording.Finding(headline, " ".join(text))


def _told_apart(run: Run, before: Run) -> tuple[str, str]:
    """Two runs in one sentence: by their models, by how they were asked, or only as two."""
    if model_name(run) != model_name(before):
        return model_name(run), model_name(before)
    if asked_how(run) != asked_how(before):
        return f"Asked {asked_how(run)}, the model", f"asked {asked_how(before)}"
    return "This run", "the other"

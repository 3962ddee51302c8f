"""What the page of one country lays out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.analysis import scores
from core.jobs.askings import Asking
from core.metrics import distances, panel, references, score
from core.metrics.metrics import HEADLINE
from core.metrics.panel import Panel
from core.prompts.methods import METHODS
from core.store.runs import Run
from core.store.store import Store
from core.views.runs import by_method, persona_method
from core.views.score_map import with_interval


def country_scores(store: Store, asking: Asking, iso3: str, metric: str = HEADLINE) -> pd.DataFrame:
    """How close each method comes to people in one country.

    Columns: method, name, run, and value, low, high, floor, ceiling, others, items as in
    scores.table. Methods that did not ask about the country are left out.
    """
    rows = []
    for method, run in by_method(asking).items():
        table = scores.table(store, run, metric)
        mine = table[(table["iso3"] == iso3) & table["value"].notna()]
        rows += [
            {"method": method, "name": run.way, "run": run.id, **row}
            for row in mine.drop(columns="iso3").to_dict("records")
        ]
    columns = ["method", "name", "run", *scores.COLUMNS[1:]]
    return pd.DataFrame(rows, columns=columns)


def country_topics(store: Store, asking: Asking, iso3: str, metric: str = HEADLINE) -> pd.DataFrame:
    """How close each method comes on each topic, with an interval over its items.

    Columns: topic, method, name, value, low, high, items; topics in questionnaire order.
    """
    tables = []
    for method, run in by_method(asking).items():
        sides = _one_country(store, run, iso3)
        if sides is None:
            continue
        grid = score.by_topic(sides, metric, replicates=1000)
        tables.append(
            pd.DataFrame(
                {
                    "topic": grid.topics,
                    "method": method,
                    "name": run.way,
                    "value": grid.value[:, 0],
                    "low": grid.low[:, 0],
                    "high": grid.high[:, 0],
                    "items": grid.items[:, 0],
                }
            )
        )
    if not tables:
        return pd.DataFrame(columns=["topic", "method", "name", "value", "low", "high", "items"])
    table = pd.concat(tables, ignore_index=True)
    return table[table["value"].notna()].reset_index(drop=True)


def country_kicker(store: Store, asking: Asking, iso3: str) -> str:
    """Who the people are: country, survey, year, how many."""
    survey = scores.survey_of(store, asking.runs[0])
    culture = survey.culture(iso3)
    parts = [culture.name, survey.name]
    if culture.year:
        parts.append(str(culture.year))
    if culture.n:
        parts.append(f"{culture.n:,} people")
    return " · ".join(parts)


def zone_line(zone: str, zones: Sequence[tuple[Run, pd.DataFrame]]) -> str:
    """How the part of the world around a country scores on average; "" where it is alone.

    zones: runs with their tables of scores.zones.
    """
    said = []
    for run, table in zones:
        for row in table[table["zone"].eq(zone) & (table["countries"] > 1)].itertuples():
            said.append(f"{run.way[0].lower()}{run.way[1:]} {with_interval(row)}")
            many = wording.count(int(row.countries), "country", "countries")
    if not said:
        return ""
    return f"{wording.capital(wording.zone(zone))}, {many} on average: {', '.join(said)}."


def topic_table(
    store: Store, asking: Asking, iso3: str, metric: str = HEADLINE
) -> tuple[pd.DataFrame, str, str]:
    """Topics for a figure: topic, value, low, high, items, before; and the methods of both.

    value is that of the method that names a country, before that of the plain one; where only one
    method was asked, before is missing and its method "".
    """
    table = country_topics(store, asking, iso3, metric)
    methods = list(dict.fromkeys(table["method"]))
    named = persona_method(asking)
    main = named if named in methods else next(iter(methods), "plain")
    rows = table[table["method"] == main].drop(columns=["method", "name"])
    if main == "plain" or "plain" not in methods:
        return rows.reset_index(drop=True), main, ""
    plain = table[table["method"] == "plain"].set_index("topic")["value"]
    return rows.assign(before=rows["topic"].map(plain)).reset_index(drop=True), main, "plain"


def country_finding(
    store: Store, asking: Asking, iso3: str, metric: str = HEADLINE
) -> wording.Finding:
    """What the page of a country opens with."""
    survey = scores.survey_of(store, asking.runs[0])
    where = wording.country(survey.culture(iso3).name)
    table = country_scores(store, asking, iso3, metric).set_index("method")
    found = by_method(asking)
    named = persona_method(asking)
    if table.empty:
        return wording.Finding(
            f"People in {where} were surveyed, but this run did not ask about them",
            "Choose another run, or start one that names this country.",
        )
    if named not in table.index or "plain" not in table.index:
        method = table.index[0]
        headline = f"How close the model’s answers are to people’s in {where}"
        return wording.Finding(headline, _score_words(table, method, where))
    changes, _ = scores.change(store, found["plain"], found[named], metric)
    change = changes[changes["iso3"] == iso3].iloc[0]
    if not change["clear"]:
        headline = f"Naming {where} makes no difference that we can tell"
    elif change["value"] > 0:
        headline = f"Naming {where} brings the model closer to people there"
    else:
        headline = f"Naming {where} takes the model further from people there"
    by = wording.interval(change["low"], change["high"])
    moved = "closer" if change["value"] > 0 else "further away"
    text = [
        f"Asked plainly, its answers score {wording.number(table.loc['plain', 'value'])} of 100.",
        _score_words(table, named, where),
        f"The change: {wording.number(abs(change['value']))} points {moved} ({by}).",
    ]
    return wording.Finding(headline, " ".join(text))


def _score_words(table: pd.DataFrame, method: str, where: str) -> str:
    row = table.loc[method]
    how = METHODS[method].asked.replace("each country", where)
    lines = []
    if np.isfinite(row["others"]):
        lines.append(f"{wording.OTHERS} gets {wording.number(row['others'])}")
    if np.isfinite(row["ceiling"]):
        lines.append(f"{wording.CEILING} {wording.number(row['ceiling'])}")
    beside = f"; {wording.listed(lines)}" if lines else ""
    return f"Asked {how}, they score {wording.number(row['value'])}{beside}."


class NearCountries(NamedTuple):
    """Countries by how alike they answer. table: columns place, people_iso3, people_name,
    people_closeness, model_iso3, model_name, model_closeness (100: alike in everything). rank: the
    country's own place among those the model's answers are closest to (1 is best, 0 not known);
    ranked: how many those are."""

    table: pd.DataFrame
    rank: int
    ranked: int


def neighbours(store: Store, run: Run, iso3: str, k: int = 5) -> NearCountries:
    """Whose people answer most like people in a country, and whose the model's answers are most
    like when it answers for that country. On the items that the run asked; distance along the
    scale, whatever metric the page shows."""
    survey = scores.survey_of(store, run)
    sides = _one_country(store, run, iso3)
    if sides is None:
        return NearCountries(pd.DataFrame(), 0, 0)
    everyone = panel.human_panel(survey, sides.items)
    near = references.nearest(sides, everyone, k)[iso3]
    away = distances.pairwise(sides.model, everyone.human, sides.layout)[0]
    order = [c for c in np.argsort(away, kind="stable") if np.isfinite(away[c])]
    fits = [everyone.countries[c] for c in order]
    rows = [
        {
            "place": place + 1,
            "people_iso3": people,
            "people_name": survey.culture(people).name,
            "people_closeness": 100 * (1 - apart),
            "model_iso3": fits[place],
            "model_name": survey.culture(fits[place]).name,
            "model_closeness": 100 * (1 - away[order[place]]),
        }
        for place, (people, apart) in enumerate(near)
        if place < len(fits)
    ]
    rank = fits.index(iso3) + 1 if iso3 in fits else 0
    return NearCountries(pd.DataFrame(rows), rank, len(fits))


def near_people(near: NearCountries) -> pd.DataFrame:
    """Countries by how like their people's answers are: name, value (of 100)."""
    return near.table.rename(columns={"people_name": "name", "people_closeness": "value"})


def near_model(near: NearCountries) -> pd.DataFrame:
    """Countries by how like their people's answers the model's are: name, value (of 100)."""
    return near.table.rename(columns={"model_name": "name", "model_closeness": "value"})


def neighbour_words(near: NearCountries, name: str, method: str) -> str:
    """Whether the model's answers for a country fit that country best."""
    if not near.rank or near.table.empty:
        return ""
    where = wording.country(name)
    how = METHODS[method].asked.replace("each country", where)
    if near.rank == 1:
        return f"Asked {how}, the model’s answers are nearest to those of people in {where}."
    fits = wording.country(near.table["model_name"].iloc[0])
    return (
        f"Asked {how}, the model’s answers are nearest to those of people in {fits}. "
        f"{wording.capital(where)} itself is number {near.rank} of {near.ranked}."
    )


def _one_country(store: Store, run: Run, iso3: str) -> Panel | None:
    """People of one country beside a run's answers; None where the run did not ask about it."""
    if iso3 not in scores.countries_of(run, scores.survey_of(store, run)):
        return None
    return scores.panel(store, run, countries=[iso3])

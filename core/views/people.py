"""What people answer, without a model: a survey's questions, countries and groups of people.

Tidy tables for pages. Distances are those of core/metrics/metrics.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from core import wording
from core.importers.wvs import MIN_CELL
from core.metrics import distances, panel
from core.store.store import Store
from core.store.survey_tables import table_of
from core.survey.survey import Item, Survey

SORTS = {"apart": "Furthest apart", "alike": "Most alike", "order": "As in the survey"}


def item_table(survey: Survey, iso3: str = "") -> pd.DataFrame:
    """Every question that people were asked, one row each.

    Columns: item, position, label, question, topic, countries (how many were asked), apart: how far
    people of the country lie from the average of the other countries, 0 to 100 (the earth mover's
    distance along the scale; without a country, the mean over all). NaN where there is no other
    country.
    """
    people = panel.human_panel(survey)
    asked = ~np.isnan(people.human[..., 0])
    shares = np.nan_to_num(people.human)
    others = asked.sum(0) - asked  # [C, I] countries asked, the country itself left out
    with np.errstate(invalid="ignore", divide="ignore"):
        average = (shares.sum(0) - shares) / others[..., None]
    apart = distances.earth_mover(people.layout, shares, np.nan_to_num(average))
    apart = np.where(asked & (others > 0), 100 * apart, np.nan)
    if iso3:
        at = people.countries.index(iso3)
        value, keep = apart[at], asked[at]
    else:
        counts = (~np.isnan(apart)).sum(0)
        value = np.where(counts > 0, np.nansum(apart, 0) / np.maximum(counts, 1), np.nan)
        keep = asked.any(0)
    table = pd.DataFrame(
        {
            "item": [item.id for item in people.items],
            "position": [item.position for item in people.items],
            "label": [item.label for item in people.items],
            "question": [item.question for item in people.items],
            "topic": [item.topic for item in people.items],
            "countries": asked.sum(0),
            "apart": value,
        }
    )
    return table[keep].reset_index(drop=True)


def arranged(
    table: pd.DataFrame, search: str = "", topics: tuple[str, ...] = (), sort: str = "apart"
) -> pd.DataFrame:
    """The rows of item_table that are wanted, in the wanted order (a key of SORTS)."""
    text = (table["item"] + " " + table["label"] + " " + table["question"]).str.casefold()
    keep = pd.Series(True, index=table.index)
    for word in search.casefold().split():
        keep &= text.str.contains(word, regex=False)
    if topics:
        keep &= table["topic"].isin(topics)
    rows = table[keep]
    if sort == "order":
        return rows.sort_values("position")
    return rows.sort_values(
        ["apart", "position"], ascending=[sort == "alike", True], na_position="last"
    )


def finding(table: pd.DataFrame, where: str = "") -> wording.Finding:
    """What the list of questions opens with. where: the country's name, "" for all."""
    known = table.dropna(subset="apart").sort_values(["apart", "position"], ascending=[False, True])
    if known.empty:
        return wording.Finding(
            "What people answer", "One country was asked, so nothing is compared."
        )
    far = [f"“{label}”" for label in known["label"].head(3)]
    if where:
        place = wording.country(where)
        headline = f"People in {place} differ most from others on {far[0]}"
    else:
        headline = f"Countries are furthest apart on {far[0]}"
    if len(known) < 6:
        return wording.Finding(headline, "")
    near = [f"“{label}”" for label in known["label"].tail(3)[::-1]]
    who = f"the answers of people in {wording.country(where)}" if where else "people’s answers"
    than = "those of other countries" if where else "each other"
    return wording.Finding(
        headline,
        f"Of {wording.count(len(known), 'question')}, {who} lie furthest from {than} on "
        f"{wording.listed(far)}, and nearest on {wording.listed(near)}.",
    )


def answers(survey: Survey, item: Item, iso3: str = "") -> pd.DataFrame:
    """People's answers to one item, one row an option: code, label, people.

    With iso3 = "" the average of all countries asked, each counting the same.
    """
    wanted = [iso3] if iso3 else [culture.iso3 for culture in survey.cultures]
    known = [survey.shares[c, item.id].values for c in wanted if (c, item.id) in survey.shares]
    return pd.DataFrame(
        {
            "code": item.codes,
            "label": [option.label for option in item.options],
            "people": np.mean(known, axis=0) if known else np.full(len(item.options), np.nan),
        }
    )


def countries(survey: Survey, item: Item) -> pd.DataFrame:
    """One item's answers country by country: iso3, name, kind ("people"), shares."""
    rows = [
        (culture.iso3, culture.name, "people", survey.shares[culture.iso3, item.id].values)
        for culture in survey.cultures
        if (culture.iso3, item.id) in survey.shares
    ]
    return pd.DataFrame(rows, columns=["iso3", "name", "kind", "shares"])


def has_groups(store: Store, survey: Survey) -> bool:
    """True where respondents were imported, so that shares of groups are known."""
    return (store.survey_folder(survey.id, survey.version) / "groups.parquet").is_file()


def groups(store: Store, survey: Survey, item: Item, iso3: str) -> pd.DataFrame:
    """One item's answers by sex, age and education in one country, where respondents were imported.

    Columns: name, kind ("people"), n, shares. Everybody comes first, weighted as the survey is,
    then everybody counting the same where the survey is weighted. Groups of fewer than MIN_CELL
    people are not there. Empty where there is nothing to show.
    """
    columns = ["name", "kind", "n", "shares"]
    found = table_of(store, survey.id, survey.version, "groups", iso3=iso3, item=item.id)
    whole = survey.shares.get((iso3, item.id))
    if found is None or found.empty or whole is None:
        return pd.DataFrame(columns=columns)
    rows = [("Everybody", "people", whole.n_valid, whole.values)]
    plain = table_of(store, survey.id, survey.version, "unweighted", iso3=iso3, item=item.id)
    if whole.basis == "weighted" and plain is not None and len(plain):
        rows.append(("Everybody, unweighted", "people", whole.n_valid, _shares(plain, item)))
    for name, cells in found.groupby("group", sort=False):
        rows.append((name, "people", int(cells["n_valid"].iloc[0]), _shares(cells, item)))
    return pd.DataFrame(rows, columns=columns)


def _shares(cells: pd.DataFrame, item: Item) -> np.ndarray:
    by_code = dict(zip(cells["code"], cells["share"], strict=True))
    return np.array([by_code.get(code, 0.0) for code in item.codes])


def groups_note() -> str:
    """What is to be said under shares of groups."""
    return (
        f"Groups of fewer than {MIN_CELL} people are left out, since their answers would say more "
        "about those few than about the group. Differences between groups are differences between "
        "the people who were asked."
    )

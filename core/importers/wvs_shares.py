"""Counted people of the World Values Survey as shares: weights, effective sizes, groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from core.survey.survey import Item, Shares

SEXES = {1: "Men", 2: "Women"}
AGES = {1: "16–29", 2: "30–49", 3: "50 and older"}
EDUCATIONS = {1: "Lower education", 2: "Middle education", 3: "Higher education"}
GROUPS = {"sex": SEXES, "age": AGES, "education": EDUCATIONS}


# A country's answers to an item rest on at least this many people; the bundled survey leaves out
# Lebanon Q105 (four people) and keeps Maldives Q146 (72).
MIN_VALID = 10


# Weights are added up as whole billionths, so that the sum does not depend on the order in which
# rows are read and the same file always gives the same shares.
UNIT = 1_000_000_000


def shares_of(
    answers: pd.DataFrame, items: Sequence[Item], basis: str
) -> tuple[dict[tuple[str, str], Shares], pd.DataFrame, int]:
    """Shares per (iso3, item); a frame of n, design effect and n_effective; answers left out."""
    by_id = {item.id: item for item in items}
    order = {item.id: place for place, item in enumerate(items)}
    weights: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    people: Counter[tuple[str, str]] = Counter()
    squares: dict[tuple[str, str], float] = defaultdict(float)
    columns = (answers[name].tolist() for name in ("iso3", "item", "code", "n", "w", "ww"))
    for iso3, item_id, code, n, w, ww in zip(*columns, strict=True):
        weights[iso3, item_id][code] = w
        people[iso3, item_id] += n
        squares[iso3, item_id] += ww
    shares, facts, few = {}, [], 0
    for key in sorted(weights, key=lambda key: (key[0], order[key[1]])):
        n, by_code = people[key], weights[key]
        values = np.array([by_code.get(code, 0.0) for code in by_id[key[1]].codes])
        if n < MIN_VALID or values.sum() <= 0:
            few += n
            continue
        shares[key] = Shares(values / values.sum(), n, basis)
        facts.append((*key, n, *_kish(n, values.sum() / UNIT, squares[key])))
    frame = pd.DataFrame(facts, columns=["iso3", "item", "n", "design_effect", "n_effective"])
    return shares, frame, few


def _kish(n: float, weights: float, squares: float) -> tuple[float, float]:
    """(design effect, effective n): n_eff = (sum w)² / sum w², deff = n / n_eff (Kish 1965)."""
    if weights <= 0 or squares <= 0:
        return 1.0, float(n)
    effective = weights**2 / squares
    return n / effective, effective


def effective_sizes(people: pd.DataFrame) -> pd.DataFrame:
    rows = [
        (row.iso3, int(row.n), *_kish(row.n, row.w / UNIT, row.ww)) for row in people.itertuples()
    ]
    return pd.DataFrame(rows, columns=["iso3", "n", "design_effect", "n_effective"])


def tidy(shares: Mapping[tuple[str, str], Shares], survey) -> pd.DataFrame:
    rows = [
        (iso3, item_id, code, share, cell.n_valid)
        for (iso3, item_id), cell in shares.items()
        for code, share in zip(survey.item(item_id).codes, cell.values.tolist(), strict=True)
    ]
    return pd.DataFrame(rows, columns=["iso3", "item", "code", "share", "n_valid"])


GROUP_COLUMNS = ["iso3", "item", "by", "group", "code", "share", "n_valid", "n_effective"]


def group_shares(
    answers: pd.DataFrame, items: Sequence[Item], min_cell: int
) -> tuple[pd.DataFrame, int]:
    """Shares by sex, age and education, and how many cells were too small to show."""
    codes = {item.id: item.codes for item in items}
    keys = ["iso3", "item"]
    # Codes that nobody gave have share 0, as in the survey itself.
    every = [
        (*key, code)
        for key in answers[keys].drop_duplicates().itertuples(index=False)
        for code in codes[key.item]
    ]
    grid = pd.DataFrame(every, columns=[*keys, "code"]).merge(answers, how="left").fillna(0)
    cell = grid.groupby(keys, sort=False).ngroup().to_numpy()
    parts, small = [], 0
    for by, names in GROUPS.items():
        for number, name in names.items():
            n, w, ww = (
                np.bincount(cell, grid[f"{kind}_{by}{number}"]) for kind in ("n", "w", "ww")
            )
            small += int(((n > 0) & (n < min_cell)).sum())
            shown = ((n >= min_cell) & (w > 0))[cell]
            at = cell[shown]
            part = grid.loc[shown, [*keys, "code"]]
            parts.append(
                part.assign(
                    by=by,
                    group=name,
                    share=grid.loc[shown, f"w_{by}{number}"] / w[at],
                    n_valid=n[at].astype(int),
                    n_effective=(w[at] / UNIT) ** 2 / ww[at],
                )
            )
    return pd.concat(parts, ignore_index=True)[GROUP_COLUMNS], small

"""Sentences made from numbers: what a page says before it shows anything.

Plain words for people who read newspapers. A sentence that rests on a difference says so only
where the difference is clear; where it is not, the sentence says that instead.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from core.metrics import bootstrap, distances
from core.survey.survey import Item
from core.wording import _NUMBERS, _ZONES, CEILING, FLOOR, Finding, country, listed, number, percent

# -- reading one score -------------------------------------------------------------------


def reading(value: float, ceiling: float = math.nan) -> str:
    """74 of 100; another sample of the same people would get 91."""
    if not math.isfinite(value):
        return "No score yet"
    text = f"{number(value, 0)} of 100"
    if math.isfinite(ceiling):
        text += f"; {CEILING} would get {number(ceiling, 0)}"
    return text


def way(value: float, floor: float, ceiling: float) -> str:
    """Where a score lies between knowing nothing and as close as people are to themselves."""
    if not all(map(math.isfinite, (value, floor, ceiling))) or ceiling <= floor:
        return ""
    part = (value - floor) / (ceiling - floor)
    if part < 0:
        return f"further from people than {FLOOR}"
    return f"{percent(min(part, 1))} of the way from {FLOOR} to {CEILING}"


# -- a run, or two -----------------------------------------------------------------------

QUESTION = "How close are the model’s answers to people’s?"
NOTHING = "Nothing has been asked yet. Start a run, and the answer appears here."


def findings(
    plain: pd.DataFrame | None = None,
    country_run: pd.DataFrame | None = None,
    change: pd.DataFrame | None = None,
    mean: bootstrap.Difference | None = None,
    *,
    how: str = "as a person from each country",
) -> Finding:
    """What a plain run, a run as people of countries, and the change between them say.

    plain, country_run: as scores.closeness() gives them (columns name, region, value, low, high,
    others, ceiling, state). change, mean: as scores.change() gives them (columns name, value,
    clear, state). Any may be missing. how: the words for the second run's method.
    """
    plain, country_run, change = (_scored(frame) for frame in (plain, country_run, change))
    if plain.empty and country_run.empty:
        return Finding(QUESTION, NOTHING)
    if country_run.empty:
        return Finding(_lean(plain), f"{_shared_zone(plain)}{_against_lines(plain)}")
    if len(country_run) == 1:
        how = how.replace("each country", country(country_run["name"].iloc[0]))
    if change.empty:
        headline = f"Asked {how}, the model comes closest to people in {_names(country_run)}"
        if len(country_run) == 1:
            score = number(country_run["value"].iloc[0])
            headline = f"Asked {how}, the model scores {score} of 100"
        start = "" if plain.empty else f"{_lean(plain)}. "
        return Finding(headline, start + _against_lines(country_run))
    sentences = [] if plain.empty else [f"{_lean(plain, with_zone=True)}."]
    moved = country_run[country_run["name"].isin(change["name"])]
    sentences += [_movement(change, how), _against_lines(moved, after=True)]
    return Finding(_change_headline(moved, change, mean), " ".join(filter(None, sentences)))


def _scored(frame: pd.DataFrame | None) -> pd.DataFrame:
    if frame is None or frame.empty:
        return pd.DataFrame()
    return frame[frame["state"].eq("scored") & frame["value"].notna()]


def _first(frame: pd.DataFrame) -> pd.DataFrame:
    """The highest few: three of many, one of three."""
    n = 1 if len(frame) <= 3 else 2 if len(frame) <= 6 else 3
    return frame.sort_values(["value", "name"], ascending=[False, True]).head(n)


def _names(frame: pd.DataFrame) -> str:
    return listed([country(name) for name in _first(frame)["name"]])


def _zone(frame: pd.DataFrame) -> str:
    """The part of the world that the nearest three share; empty where they share none."""
    nearest = _first(frame)
    zones = set(nearest["region"]) if "region" in frame else set()
    return _ZONES.get(*zones, "") if len(nearest) == 3 and len(zones) == 1 else ""


def _lean(frame: pd.DataFrame, with_zone: bool = False) -> str:
    """Whose answers the plain ones are most like."""
    ordered = frame.sort_values(["value", "name"], ascending=[False, True])
    if len(frame) == 1:
        row = ordered.iloc[0]
        where = country(row["name"])
        return f"Asked plainly, the model scores {number(row['value'])} of 100 in {where}"
    if len(frame) == 2:
        near, far = (country(name) for name in ordered["name"])
        return f"Asked plainly, the model answers more like people in {near} than in {far}"
    zone = _zone(frame) if with_zone else ""
    names = f"{zone}: {_names(frame)}" if zone else _names(frame)
    return f"Asked plainly, the model answers most like people in {names}"


def _shared_zone(frame: pd.DataFrame) -> str:
    zone = _zone(frame)
    return f"All three are in {zone}. " if zone else ""


def _against_lines(frame: pd.DataFrame, after: bool = False) -> str:
    """The average score beside the guess without a country and the ceiling.

    after: the sentence follows one on how the answers moved.
    """
    if frame.empty:
        return ""
    mean, others, ceiling = (frame[c].mean() for c in ("value", "others", "ceiling"))
    many = len(frame) > 1
    text = f"{'On average its' if many else 'Its'} answers{' then' if after else ''} score "
    text += f"{number(mean)} of 100"
    if math.isfinite(others):
        much = {-1: "less than", 0: "about as much as", 1: "more than"}[_beside_guess(frame)]
        text += f", {much} a guess that knows no country ({number(others)})"
    if math.isfinite(ceiling):
        text += f"; {CEILING} would score {number(ceiling)}"
    return f"{text}."


def _beside_guess(frame: pd.DataFrame) -> int:
    """-1, 0 or 1: below, too close to call, above the guess without a country.

    The interval of a mean of countries is at most as wide as the countries' intervals on average,
    since they rest on the same questions; so a gap wider than that is clear.
    """
    gap = float(frame["value"].mean() - frame["others"].mean())
    half = float((frame["high"] - frame["low"]).mean() / 2) if "low" in frame else 0.0
    if not math.isfinite(gap) or abs(gap) <= (half if math.isfinite(half) else 0.0):
        return 0
    return 1 if gap > 0 else -1


def _change_headline(
    moved: pd.DataFrame, change: pd.DataFrame, mean: bootstrap.Difference | None
) -> str:
    up, down = _clear(change, 1), _clear(change, -1)
    unclear = not mean.clear if mean is not None else len(up) == len(down)
    if unclear and len(up) and len(down):
        return "Naming a country brings the model closer to some people and further from others"
    if unclear:
        return "Naming a country makes no difference that we can tell"
    if (mean.value if mean is not None else len(up) - len(down)) < 0:
        return "Naming a country takes the model further from people there"
    head = "Naming a country brings the model closer"
    if moved.empty or moved["others"].isna().all():
        return f"{head} to people there"
    tail = {-1: "but not as close as", 0: "about as close as", 1: "and closer than"}
    return f"{head}, {tail[_beside_guess(moved)]} a guess without one"


def _clear(change: pd.DataFrame, sign: int) -> pd.DataFrame:
    return change[change["clear"].eq(True) & (change["value"] * sign > 0)]


def _movement(change: pd.DataFrame, how: str) -> str:
    """… it moves closer to people in 12 of the 18 countries, most in Kenya; it moves away …"""
    total = len(change)
    closer, away = _clear(change, 1), _clear(change, -1)
    unclear = change.drop([*closer.index, *away.index])
    if total == 1:
        where = f"people in {country(change['name'].iloc[0])}"
        if len(unclear):
            return f"Asked {how}, the change is too small to call."
        return f"Asked {how}, it moves {'closer to' if len(closer) else 'away from'} {where}."
    if len(unclear) == total:
        return f"Asked {how}, the change is too small to call in all {total} countries."
    parts = []
    for some, way in ((closer, "closer to"), (away, "away from")):
        if not len(some):
            continue
        said = some.assign(value=some["value"].abs())
        if len(some) == total:
            many = f"every one of the {total} countries, most in {_names(said)}"
        elif len(some) <= 3:
            many = listed([country(n) for n in sorted(some["name"])])
        else:
            of = "" if parts else f" of the {total} countries"
            many = f"{len(some)}{of}, most in {_names(said)}"
        parts.append(f"it moves {way} people in {many}")
    if 0 < len(unclear) <= 3:
        names = listed([country(n) for n in sorted(unclear["name"])])
        parts.append(f"for {names} the change is too small to call")
    elif len(unclear):
        parts.append(f"for {len(unclear)} the change is too small to call")
    return f"Asked {how}, {'; '.join(parts)}."


# -- one question ------------------------------------------------------------------------


def verdict(
    item: Item, people: np.ndarray, before: np.ndarray, after: np.ndarray, name: str
) -> str:
    """What naming a country did to one answer: "moved two steps towards people in Kenya".

    people, before, after: shares over the item's options [K]. On a scale the distance is the
    earth mover's, told in steps from one option to the next; elsewhere, and where there are only
    two options, it is the share of the answers that would have to change.
    """
    people, before, after = (np.asarray(x, float) for x in (people, before, after))
    where = f"people in {country(name)}"
    if np.isnan(before).any() or np.isnan(after).any():
        return "gave no answer that can be read"
    if np.isnan(people).any():
        return f"{where} were not asked this"
    kind = "emd" if item.is_ordered else "tv"
    steps = len(item.options) - len(item.off_scale) - 1 if item.is_ordered else 0
    moved = distances.item_distance(item, before, after, kind)
    gained = distances.item_distance(item, people, before, kind) - distances.item_distance(
        item, people, after, kind
    )
    if moved < 0.02:
        return "did not move"
    if abs(gained) < 0.02:
        return f"changed its answer, but came no closer to {where}"
    way = f"towards {where}" if gained > 0 else f"away from {where}"
    if steps > 1:
        return f"moved {_steps(abs(gained) * steps)} {way}"
    return f"moved {round(abs(gained) * 100)} in 100 of its answers {way}"


def _steps(steps: float) -> str:
    """A distance along a scale in words: a little, half a step, one step, two steps, …"""
    if steps < 0.35:
        return "a little"
    if steps < 0.75:
        return "half a step"
    if steps < 1.25:
        return "one step"
    if steps < 1.75:
        return "a step and a half"
    return f"{_NUMBERS[min(round(steps), 10)]} steps"

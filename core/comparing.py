"""What the page Compare lays out: is a score about the country at all? Tidy tables and sentences.

Scores come from core/scores.py and relations from core/relations.py; here they are joined with
names, put in order and said in words. Every table can be exported (TABLES).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import export, metrics, relations, robustness, scores, views, words
from core.errors import PluriscopeError
from core.metrics import HEADLINE, Difference, Interval, Panel
from core.prompts import METHODS
from core.relations import Diversity, Mantel
from core.runs import Asking
from core.settings import AskSettings
from core.store import Run, Store
from core.survey import Item, Survey

REPLICATES = 1000
# Below this share of people's own diversity a good score may be a stereotype (docs/metrics.md).
FLAT = 0.6


def names_country(run: Run) -> bool:
    """The model answered as someone, so its answers can differ between countries."""
    return METHODS[run.method].needs_culture


def look(run: Run) -> str:
    """The series a run is drawn as: its method's, or "tuned" where an adapter is on the model."""
    return "tuned" if run.settings["model"].get("adapter") else run.method


def run_name(run: Run) -> str:
    """Model and way of asking, in a list of runs of several models."""
    how = run.way
    return f"{views.model_name(run)}, {how[0].lower()}{how[1:]}"


def _personas_only(run: Run) -> None:
    if not names_country(run):
        raise PluriscopeError(
            "Asked plainly, the model answers the same for every country. Choose a run that names "
            "a country to see what it makes of each."
        )


def _who(survey: Survey) -> pd.DataFrame:
    return scores.names(survey).set_index("iso3")


def _with_names(table: pd.DataFrame, survey: Survey) -> pd.DataFrame:
    """The table with columns name and zone after its iso3."""
    who = _who(survey)
    at = list(table.columns).index("iso3") + 1
    table.insert(at, "name", table["iso3"].map(who["name"]))
    table.insert(at + 1, "zone", table["iso3"].map(who["region"]))
    return table


# -- who is it like --------------------------------------------------------------------------------


class Fits(NamedTuple):
    """How each persona fits each country's people.

    cells: columns persona, country (iso3), value (score), centred (points left once what every
    persona and every country has in common is taken out). personas: one row each, columns iso3,
    name, zone, own (score on its own people), rank, centred_rank (1: fits its own people best),
    best, best_name, best_value. advantage: what the own country gains, centred. alike: the
    countries in an order in which those whose people answer alike stand together.
    """

    cells: pd.DataFrame
    personas: pd.DataFrame
    advantage: Interval
    alike: tuple[str, ...]


def fits(store: Store, run: Run, metric: str = HEADLINE) -> Fits:
    """Score every persona of a run on the people of every country of the run."""
    _personas_only(run)
    survey = scores.survey_of(store, run)
    sides = _answered(scores.panel(store, run), run)
    found = relations.transfer(sides, metric, replicates=REPLICATES)
    n = len(sides.countries)
    cells = pd.DataFrame(
        {
            "persona": np.repeat(sides.countries, n),
            "country": np.tile(sides.countries, n),
            "value": found.raw.ravel(),
            "centred": found.centred.ravel(),
        }
    )
    personas = pd.DataFrame(
        {
            "iso3": sides.countries,
            "own": np.diag(found.raw),
            "rank": found.rank,
            "centred_rank": found.centred_rank,
            "best": found.best,
            "best_name": [survey.culture(iso3).name for iso3 in found.best],
            "best_value": found.raw.max(1),
        }
    )
    return Fits(cells, _with_names(personas, survey), found.advantage, _alike(sides))


def alike(store: Store, run: Run) -> tuple[str, ...]:
    """A run's countries, those whose people answer alike standing together."""
    return _alike(scores.panel(store, run))


def _answered(sides: Panel, run: Run) -> Panel:
    """The panel of the personas that gave any answer."""
    there = (sides.chosen >= 0).any(1)
    if there.sum() < 3:
        raise PluriscopeError(
            "This run has answers as people of fewer than three countries, which is too few to "
            "tell what they have in common. Choose a run that names more."
        )
    return sides.only(countries=[c for c, x in zip(sides.countries, there, strict=True) if x])


def _alike(sides: Panel) -> tuple[str, ...]:
    apart = metrics.pairwise(sides.human, sides.human, sides.layout)
    return tuple(sides.countries[k] for k in relations.alike_order(apart))


def by_zone(alike: Sequence[str], zone_of: dict[str, str]) -> tuple[str, ...]:
    """The same countries, those of a cultural zone together; zones and countries in the order in
    which they come in `alike`."""
    zones = list(dict.fromkeys(zone_of[iso3] for iso3 in alike))
    return tuple(sorted(alike, key=lambda iso3: zones.index(zone_of[iso3])))


def fits_finding(found: Fits) -> words.Finding:
    """How many personas are like the people they speak for."""
    table, gain = found.personas, found.advantage
    n = len(table)
    own, near = int((table["rank"] == 1).sum()), int((table["centred_rank"] <= 3).sum())
    if not math.isfinite(gain.low) or gain.low <= 0 <= gain.high:
        headline = "The answers are hardly about the country"
    elif gain.high < 0:
        headline = "The personas are least like the people they speak for"
    elif own > n / 2:
        headline = "Most personas answer most like the people they speak for"
    else:
        headline = "There is something of each country in the answers, under a shift that all share"
    verb = "fits its" if own == 1 else "fit their"
    text = [f"{words.capital(words.some(own, n))} personas {verb} own people best of all."]
    others = Counter(table.loc[table["rank"] != 1, "best_name"])
    if others:
        most = [words.country(name) for name, _ in others.most_common(2)]
        many = sum(times for _, times in others.most_common(2))
        text.append(f"Of the others, {many} fit people in {' or '.join(most)} best.")
    text.append(
        "Once what all personas and all countries have in common is taken out, the own country "
        f"gains {words.number(gain.value)} points on average"
        + (f" ({between})" if (between := words.interval(gain.low, gain.high)) else "")
        + f" and is among the first three for {near} of {n}."
    )
    return words.Finding(headline, " ".join(text))


def plain_finding(scored: pd.DataFrame) -> words.Finding:
    """Of a run without a country: whose people the one set of answers is like."""
    finding = words.findings(plain=scored)
    return finding._replace(
        paragraph=f"{finding.paragraph} Asked plainly there is one set of answers for all "
        "countries; how it differs between them can be seen of a run that names a country."
    )


def separating(store: Store, run: Run, persona: str, country: str, most: int = 10) -> pd.DataFrame:
    """The questions that tell people of two countries apart most, and where a persona stands.

    Columns: item, label, topic, low, high (what the ends mean), own, other, model (0 to 1 along
    the scale; for answers without an order, shares of the answer on which the two differ most),
    apart (distance between the two peoples, 0 to 1), lean (+: the model is nearer its own people,
    in points). Furthest apart first.
    """
    survey = scores.survey_of(store, run)
    sides = scores.panel(store, run, countries=[persona])
    people = metrics.human_panel(survey, sides.items, (persona, country))
    own, other, model = people.human[0], people.human[1], sides.model[0]
    apart = metrics.earth_mover(people.layout, own, other)
    lean = metrics.earth_mover(people.layout, model, other) - metrics.earth_mover(
        people.layout, model, own
    )
    rows = []
    for i, item in enumerate(people.items):
        if np.isnan(apart[i]) or np.isnan(model[i]).any():
            continue
        low, high, places = _places(item, own[i], other[i], model[i])
        rows.append((item.id, item.label, item.topic, low, high, *places, apart[i], 100 * lean[i]))
    columns = ["item", "label", "topic", "low", "high", "own", "other", "model", "apart", "lean"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("apart", ascending=False, ignore_index=True).head(most)


def _places(item: Item, *sides: np.ndarray) -> tuple[str, str, list[float]]:
    """What the ends of an axis for one item mean, and where each distribution [K] lies on it."""
    width = len(item.options)
    sides = [side[:width] for side in sides]
    if item.is_ordered:
        lay = metrics.layout([item])
        return item.low, item.high, [float(relations.mean_answer(lay, s[None])[0]) for s in sides]
    option = int(np.abs(sides[0] - sides[1]).argmax())
    label = item.options[option].label
    return "nobody says so", f"all say “{label}”", [float(side[option]) for side in sides]


# -- how different are they ------------------------------------------------------------------------


class Spread(NamedTuple):
    """How far countries lie apart in a run's answers, beside how far people do.

    model, people: float tables of distances (of 100), iso3 on both sides, in the order in which
    countries whose people answer alike stand together. single: the run gives one answer and no
    distribution, so commonest answers are compared.
    """

    model: pd.DataFrame
    people: pd.DataFrame
    diversity: Diversity
    mantel: Mantel
    single: bool


def spread(store: Store, run: Run) -> Spread:
    """Distances along the scale, whatever metric the page shows."""
    _personas_only(run)
    sides = _answered(scores.panel(store, run), run)
    single = relations.single_answers(sides)
    apart = relations.distances(sides, choices=single)
    order = list(relations.alike_order(apart.people))
    tables = [
        pd.DataFrame(100 * x, index=sides.countries, columns=sides.countries).iloc[order, order]
        for x in (apart.model, apart.people)
    ]
    found = relations.diversity(apart, replicates=REPLICATES)
    return Spread(*tables, found, relations.agreement(apart), single)


def spread_change(store: Store, before: Run, run: Run) -> Difference | None:
    """By how much more the second run's countries differ, as a share of people's differences, on
    what both have; None where one of them names no country, or they share fewer than two."""
    if not (names_country(before) and names_country(run)):
        return None
    pair = scores.both(store, before, run)
    there = [
        iso3
        for c, iso3 in enumerate(pair[0].countries)
        if all((side.chosen[c] >= 0).any() for side in pair)
    ]
    single = any(relations.single_answers(side) for side in pair)
    if len(there) < 3:
        return None
    one, other = (relations.distances(side.only(countries=there), choices=single) for side in pair)
    return relations.diversity_change(one, other, replicates=REPLICATES)


def spread_finding(found: Spread, change: Difference | None = None) -> words.Finding:
    """How alike the personas are, whether they differ in the right directions, and the warning."""
    ratio = found.diversity
    share = words.percent(ratio.ratio)
    low, high = round(ratio.low, 2), round(ratio.high, 2)
    if low > 1:
        headline = "The personas differ more than people do"
    elif high >= 1:
        headline = "The personas differ about as much as people do"
    elif ratio.ratio >= FLAT:
        headline = "The personas are more alike than people are"
    else:
        headline = "The personas are far too much alike"
    between = f"{words.percent(ratio.low)} to {words.percent(ratio.high)}"
    text = [
        f"From country to country the model’s answers differ {share} as much as people’s do "
        f"({between})."
    ]
    if ratio.ratio < FLAT:
        text.append(
            f"Below {words.percent(FLAT)} a good score can come from a stereotype that fits "
            "everyone a little."
        )
    if math.isfinite(found.mantel.r):
        r = f"(r {words.number(found.mantel.r, 2)}, p {_p_words(found.mantel.p)})"
        if found.mantel.p >= 0.05:
            text.append(f"Which countries lie close in the model’s answers looks like chance {r}.")
        else:
            text.append(
                f"Countries whose people answer alike do lie close in the model’s answers {r}."
            )
    if change is not None:
        if not change.clear:
            text.append("The difference from the other run is too small to call.")
        else:
            way = "more" if change.value > 0 else "less"
            points = words.number(abs(100 * change.value), 0)
            low, high = sorted(abs(100 * x) for x in (change.low, change.high))
            text.append(
                f"That is {points} points {way} than in the other run "
                f"({words.interval(low, high, 0)})."
            )
    return words.Finding(headline, " ".join(text))


def _p_words(p: float) -> str:
    return "under 0.001" if p < 0.001 else words.number(p, 3 if p < 0.01 else 2)


def distances_caption(found: Spread) -> str:
    """What the two tables of distances show."""
    what = "commonest answers" if found.single else "answers"
    return (
        f"How far countries’ {what} lie apart, of 100: people’s, and the model’s as people of the "
        "same countries. Countries whose people answer alike stand next to one another in both."
    )


class Standing(NamedTuple):
    """One run on the plot of closeness against diversity; closeness with its lines."""

    run: str
    name: str
    method: str
    value: float
    low: float
    high: float
    others: float
    ceiling: float
    ratio: float


def comparable(store: Store, run: Run, most: int = 24) -> list[Run]:
    """Runs that can stand on one plot with a run, newest first: same survey, same questions, same
    countries, all of them named to the model. The run itself is one of them."""

    def asked(one: Run) -> tuple:
        s = one.settings
        return s["survey"], s["survey_version"], sorted(s["items"]), sorted(s["cultures"])

    mine = asked(run)
    found = [
        one
        for one in store.runs(kind="survey")
        if names_country(one) and asked(one) == mine and one.state not in scores.UNDER_WAY
        and one.answered
    ]  # fmt: skip
    return [run, *[one for one in found if one.id != run.id][: most - 1]]


def standing(store: Store, run: Run, metric: str = HEADLINE) -> Standing:
    """Where a run stands: how close on average, and how much its countries differ (ratio)."""
    _personas_only(run)
    sides = _answered(scores.panel(store, run), run)
    apart = relations.distances(sides, choices=relations.single_answers(sides))
    mean = scores.table(store, run, metric).iloc[0]
    return Standing(
        run.id,
        run_name(run),
        look(run),
        *(float(mean[name]) for name in ("value", "low", "high", "others", "ceiling")),
        relations.diversity(apart).ratio,
    )


def standing_table(standings: Sequence[Standing]) -> pd.DataFrame:
    """One row a run, with the columns of Standing."""
    return pd.DataFrame(standings, columns=Standing._fields)


# -- the map of values -----------------------------------------------------------------------------


class ValueMap(NamedTuple):
    """Positions on the Inglehart–Welzel map.

    people: columns iso3, name, zone, x, y of every country surveyed (x: survival to
    self-expression, y: traditional to secular). model: iso3 ("" for answers given plainly), name,
    x, y, var_x, var_y, cov (of the position), from_x, from_y (the other run's position, NaN where
    there is none), people_x, people_y. loadings: columns indicator, questions, axis, loading,
    self_expression, secular (weights). assumed: labels of questions that were not asked and for
    which everyone has the average of all countries. lost: names of personas without a place,
    because one of the questions has no usable answer. single: positions rest on single answers.
    """

    people: pd.DataFrame
    model: pd.DataFrame
    loadings: pd.DataFrame
    assumed: tuple[str, ...]
    lost: tuple[str, ...]
    single: bool


def value_map(store: Store, run: Run, before: Run | None = None) -> ValueMap:
    """Where people and a run's personas lie, by the fixed linear map with E[answer].

    Raises PluriscopeError with the questions that are missing where the run did not ask them.
    """
    survey = scores.survey_of(store, run)
    items = _map_items(survey)
    people = metrics.human_panel(survey, items)
    table = _positions(people.countries, relations.inglehart_welzel(items, people.human))
    people_table = _with_names(table, survey).dropna(subset=["x", "y"])
    average = np.nanmean(people.human, axis=0)
    model, assumed = _model_positions(store, run, items, average, spread=True)
    model["name"] = model["iso3"].map(_who(survey)["name"]).fillna("asked plainly")
    model[["from_x", "from_y"]] = np.nan
    if before is not None:
        there, _ = _model_positions(store, before, items, average)
        start = there.set_index("iso3")[["x", "y"]]
        keys = model["iso3"] if names_country(before) else [""] * len(model)
        model[["from_x", "from_y"]] = start.reindex(keys).to_numpy()
    own = people_table.set_index("iso3")[["x", "y"]]
    model[["people_x", "people_y"]] = own.reindex(model["iso3"]).to_numpy()
    placed = set(model["iso3"])
    lost = [c for c in AskSettings.from_json(run.settings).personas() if c not in placed]
    return ValueMap(
        people_table,
        model,
        loadings(survey),
        assumed,
        tuple(survey.culture(iso3).name if iso3 else "asked plainly" for iso3 in lost),
        relations.single_answers(scores.panel(store, run)),
    )


def _map_items(survey: Survey) -> tuple[Item, ...]:
    """The survey's items behind the ten indicators; raises where it has not got them."""
    known = {item.id: item for item in survey.items}
    for part in relations.INDICATORS:
        for item_id, weights in part.terms:
            if item_id not in known or not set(weights) <= set(known[item_id].codes):
                raise PluriscopeError(
                    "The map of values needs ten questions of the World Values Survey, which the "
                    f"survey “{survey.name}” does not have."
                )
    return tuple(known[item_id] for item_id in relations.IW_ITEMS)


def _positions(countries: Sequence[str], at: np.ndarray) -> pd.DataFrame:
    """x: survival to self-expression; y: traditional to secular."""
    return pd.DataFrame({"iso3": countries, "x": at[:, 1], "y": at[:, 0]})


def _model_positions(
    store: Store, run: Run, items: Sequence[Item], average: np.ndarray, spread: bool = False
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A run's positions (iso3, x, y; var_x, var_y, cov where spread), and the items assumed."""
    asked = set(run.settings["items"])
    missing = [item for item in items if item.id not in asked]
    heavy = [item for item in missing if item.id not in relations.IW_LIGHT]
    if heavy:
        some = words.listed([f"“{item.label}” ({item.id})" for item in heavy], most=4)
        raise PluriscopeError(
            f"The map of values needs questions that this run did not ask: {some}. Ask the core "
            "set or all questions."
        )
    personas = AskSettings.from_json(run.settings).personas()
    answers = scores.given(store, run, items, personas)
    with np.errstate(invalid="ignore"):
        there = ~np.isnan(answers[..., :1])
        shares = np.where(there, answers, 0).sum(2) / there.sum(2)
    for item in missing:
        shares[:, items.index(item)] = average[items.index(item)]
        answers[:, items.index(item)] = average[items.index(item)]
    table = _positions(personas, relations.inglehart_welzel(items, shares))
    if spread:
        covariance = relations.map_spread(items, answers)
        table["var_x"], table["var_y"] = covariance[:, 1, 1], covariance[:, 0, 0]
        table["cov"] = covariance[:, 0, 1]
    return table.dropna(subset=["x", "y"]).reset_index(drop=True), tuple(i.label for i in missing)


def loadings(survey: Survey) -> pd.DataFrame:
    """What the two axes are made of: indicator, questions (ids), axis, loading (published), and
    its weights on both axes of the map drawn here."""
    rows = [
        (
            part.label,
            ", ".join(item_id for item_id, _ in part.terms),
            part.axis,
            part.loading,
            part.weights[1],
            part.weights[0],
        )
        for part in relations.INDICATORS
    ]
    columns = ["indicator", "questions", "axis", "loading", "self_expression", "secular"]
    return pd.DataFrame(rows, columns=columns)


def map_finding(found: ValueMap, before: Run | None = None) -> words.Finding:
    """How far personas lie from their people, and whether they came nearer than `before`."""
    model = found.model.dropna(subset=["people_x", "people_y"])
    if model.empty:
        finding = words.Finding("Where the answers lie on the map of values", "")
        if len(found.model):
            row = found.model.iloc[0]
            away = np.hypot(found.people["x"] - row["x"], found.people["y"] - row["y"])
            near = [words.country(n) for n in found.people["name"].iloc[np.argsort(away)[:3]]]
            finding = words.Finding(
                f"On the map of values the model stands near people in {words.listed(near)}",
                "Asked plainly it is one point; people of each country are another.",
            )
        return finding
    away = np.hypot(model["x"] - model["people_x"], model["y"] - model["people_y"])
    between = _mean_apart(found.people)
    text = [
        f"A persona lies {words.number(away.mean())} from its people on average; two countries’ "
        f"people lie {words.number(between)} apart."
    ]
    right = (model["x"] - model["people_x"]).mean(), (model["y"] - model["people_y"]).mean()
    lean = [
        name
        for shift, low, high in (
            (right[0], "survival", "self-expression"),
            (right[1], "traditional", "secular"),
        )
        if abs(shift) > 0.2
        for name in (high if shift > 0 else low,)
    ]
    headline = "The personas stand about where their people do, on average"
    if lean:
        headline = f"The personas lean towards {' and '.join(lean)} values"
    moved = model.dropna(subset=["from_x", "from_y"])
    if len(moved):
        start = np.hypot(moved["from_x"] - moved["people_x"], moved["from_y"] - moved["people_y"])
        nearer = int((start > away.loc[moved.index]).sum())
        beside = (
            "the answers given plainly" if before.method == "plain" else "those of the other run"
        )
        text.append(
            f"{words.capital(words.some(nearer, len(moved)))} personas lie nearer to their people "
            f"than {beside}."
        )
    return words.Finding(headline, " ".join(text))


def map_notes(found: ValueMap) -> list[str]:
    """What to keep in mind about the map of values."""
    notes = [
        "Two axes hold at best about 73% of what separates countries on these ten questions, and "
        "say nothing of the others.",
        "Positions follow from average answers by one fixed rule, fitted to the published scores "
        "of 49 countries. The axes are drawn from people alone. An ellipse is where a persona "
        "would lie in 95 of 100 cases, had the same answers been drawn again.",
    ]
    if found.assumed:
        some = words.listed([f"“{label}”" for label in found.assumed])
        notes.append(
            f"{some} were not asked; everyone has the average of all countries there, which moves "
            "no country by more than 0.05."
        )
    if found.single:
        notes.append(
            "This run gives one answer to each question and no distribution. Such answers fly off "
            "the map: where people of a country lean one way, one answer goes all the way."
        )
    if found.lost:
        some = words.listed([words.country(name) for name in found.lost], most=4)
        notes.append(f"Without a place: {some}. One of the ten questions has no usable answer.")
    low_x, high_x, low_y, high_y = limits(found.people)
    off = ~(found.model["x"].between(low_x, high_x) & found.model["y"].between(low_y, high_y))
    if off.any():
        notes.append(
            f"{words.capital(words.count(int(off.sum()), 'persona'))} lie off the map and stand, "
            "hollow, at its edge."
        )
    return notes


def limits(people: pd.DataFrame) -> tuple[float, float, float, float]:
    """Ends of the map's axes (x low, x high, y low, y high): people's own, with some room."""
    ends = []
    for column in ("x", "y"):
        low, high = float(people[column].min()), float(people[column].max())
        room = 0.14 * (high - low)
        ends += [low - room, high + room]
    return tuple(ends)


def _mean_apart(people: pd.DataFrame) -> float:
    at = people[["x", "y"]].to_numpy()
    apart = np.linalg.norm(at[:, None] - at, axis=-1)
    return float(apart[np.triu_indices(len(at), 1)].mean())


# -- topics by country -----------------------------------------------------------------------------


def topics(
    store: Store, run: Run, before: Run | None = None, metric: str = HEADLINE
) -> pd.DataFrame:
    """Scores by topic and country, or how much closer a run comes than the run `before`.

    Columns: topic, iso3, name, zone, value, low, high and items; of a change p, q
    (Benjamini-Hochberg) and clear instead of items.
    """
    found = (
        scores.topics(store, run, metric)
        if before is None
        else scores.topic_changes(store, before, run, metric)
    )
    return _with_names(found, scores.survey_of(store, run))


def topics_finding(table: pd.DataFrame) -> words.Finding:
    """Where a run is closest and furthest; or how much of a change is clear, and where."""
    if table.empty:
        return words.Finding("Topic by topic", "No topic has a score yet.")
    means = table.groupby("topic")["value"].mean().sort_values(ascending=False)
    if "clear" not in table:
        best, worst = means.index[0], means.index[-1]
        if len(means) == 1:
            return words.Finding(f"On {best} the answers score {words.number(means.iloc[0])}", "")
        return words.Finding(
            f"The answers are closest to people’s on {best}, furthest on {worst}",
            f"On average {words.number(means.iloc[0])} of 100 against "
            f"{words.number(means.iloc[-1])}. A topic of few questions is less sure than one of "
            "many.",
        )
    clear = table[table["clear"].eq(True)]
    up, down = int((clear["value"] > 0).sum()), int((clear["value"] < 0).sum())
    cells = f"{len(table)} topics and countries"
    if len(clear) < 0.05 * len(table):
        few = f"it is clear in {len(clear)}" if len(clear) else "none stands out from chance"
        return words.Finding(
            "Hardly any change stands out from chance",
            f"Of {cells} looked at together, {few}. What is not clear is drawn pale.",
        )
    if up > 2 * down:
        headline = "Where the change is clear it is mostly towards people"
    elif down > 2 * up:
        headline = "Where the change is clear it is mostly away from people"
    else:
        headline = "Some topics come closer to people, others move away"
    counted = clear.groupby("topic")["value"].agg(["size", "sum"])
    gains = counted[counted["sum"] > 0].sort_values("size", ascending=False)
    text = [
        f"Of {cells}, the change is clear in {len(clear)}: closer in {up}, further away in {down}."
    ]
    if len(gains):
        text.append(f"Most of what came closer is on {gains.index[0]}.")
    text.append("What is not clear is drawn pale.")
    return words.Finding(headline, " ".join(text))


# -- the ladder ------------------------------------------------------------------------------------

LADDER_NOTE = (
    "The grey lines need no model: even odds, fixed answers, and what people of other countries "
    "said. The topmost is how close another sample of the same people would come."
)
LADDER_WORDS = {
    "uniform": words.capital(words.FLOOR),
    "midpoint": "Always the middle of the scale",
    "random_compatriot": "One person of the country, drawn at random",
    "median_others": "The median of the other countries",
    "mean_others": "The average of the other countries",
    "nearest": "The country whose people are most alike",
    "nearest5": "The average of the five most alike",
    "split_half": "One half of the sample against the other",
    "ceiling": words.capital(words.CEILING),
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
            rows.append((one.id, run_name(one), look(one), *mean))
    table = pd.DataFrame(rows, columns=["key", "name", "kind", "value", "low", "high"])
    return table.dropna(subset="value").sort_values("value", kind="stable", ignore_index=True)


def _on_the_same(store: Store, one: Run, run: Run, metric: str) -> Interval:
    """A run's mean score; of another run on the countries and items of the first."""
    if one.id == run.id:
        return Interval(*scores.table(store, run, metric).iloc[0][["value", "low", "high"]])
    theirs, _ = scores.both(store, one, run)
    return metrics.score(theirs, metric).mean


def ladder_finding(table: pd.DataFrame, run: Run) -> words.Finding:
    """Between which two lines a run stands, and whether it beats what needs no model."""
    lines = table[table["kind"] == "line"]
    mine = table[table["key"] == run.id]
    if mine.empty:
        return words.Finding("What one gets without a model", "This run has no score yet.")
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
    between = words.interval(row["low"], row["high"])
    text = [f"They score {words.number(row['value'])} of 100{f' ({between})' if between else ''}."]
    text.append(
        f"Clearly better than {words.listed(beaten)}: these use no model at all, only what people "
        "of other countries said."
        if beaten
        else "What other countries’ people said, without any model, does as well or better."
    )
    return words.Finding(headline, " ".join(text))


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


# -- rates -----------------------------------------------------------------------------------------


RATES_NOTE = (
    "Refusals and answers that cannot be read are no part of a distance. Off the scale: answers "
    "such as “hard to say”, on the questions that offer one; the ink line is people’s share. On no "
    "option: how much of the model’s probability lay on none of the answers offered."
)


def rates(store: Store, run: Run) -> pd.DataFrame:
    """How often a run refused or wrote what cannot be read, and what lay off the scale.

    Columns: iso3, name, zone, refused, unparsed, off_scale, people_off_scale, outside (share of
    the model's probability that lay on none of the options; NaN for written answers),
    people_missing (respondents without a valid answer). Shares of 1. A run without a country has
    one row, iso3 "", with people averaged.
    """
    survey = scores.survey_of(store, run)
    sides = scores.panel(store, run)
    found = metrics.rates(sides, {c.iso3: c.n for c in survey.cultures})
    mass = store.answer_table(run.no).select(["iso3", "mass"]).to_pandas()
    outside = 1 - mass.groupby("iso3")["mass"].mean()
    table = pd.DataFrame(
        {
            "iso3": sides.countries,
            "refused": found.refused,
            "unparsed": found.unparsed,
            "off_scale": found.off_scale,
            "people_off_scale": found.people_off_scale,
            "outside": outside.reindex(sides.countries).to_numpy(float),
            "people_missing": found.people,
        }
    )
    if not names_country(run):
        table = table.drop(columns="iso3").mean().to_frame().T.assign(outside=outside.get(""))
        table.insert(0, "iso3", "")
    table = _with_names(table, survey)
    table["name"] = table["name"].fillna("all countries")
    return table.dropna(subset="refused").reset_index(drop=True)


def rates_finding(table: pd.DataFrame) -> words.Finding:
    """How many answers could be used."""
    if table.empty:
        return words.Finding("What could not be used", "Nothing has been answered yet.")
    lost = table["refused"].mean() + table["unparsed"].mean()
    people = table["people_missing"].mean()
    beside = (
        f" Of people, {words.percent(people)} gave no valid answer."
        if math.isfinite(people)
        else ""
    )
    if lost == 0:
        return words.Finding(
            "Every answer could be used",
            f"Nothing was refused and everything could be read.{beside}",
        )
    text = [
        f"{words.capital(words.percent(table['refused'].mean()))} of the answers were refusals and "
        f"{words.percent(table['unparsed'].mean())} could not be read; neither counts in a "
        f"distance.{beside}"
    ]
    if len(table) > 1:
        worst = table.loc[(table["refused"] + table["unparsed"]).idxmax()]
        share = words.percent(worst["refused"] + worst["unparsed"])
        text.append(f"Most were lost as a person from {words.country(worst['name'])}: {share}.")
    return words.Finding(f"{words.capital(words.percent(lost))} of the answers cannot be used",
                         " ".join(text))  # fmt: skip


# -- one record, and tables to take away -----------------------------------------------------------


def record(store: Store, run_id: str, metric: str = HEADLINE) -> dict:
    """Is it about the country? One JSON record, NaN as null (see python -m core signal)."""
    run = store.run(run_id)
    if not run.answered:
        raise PluriscopeError(f"The run {run_id} holds no answers yet.")
    result: dict = {"run": run.id, "method": run.method, "metric": metrics.metric(metric).name}
    if names_country(run):
        result |= _about_the_country(store, run, metric)
    try:
        at = value_map(store, run).model.set_index("iso3")
        result["map"] = {
            iso3: {"self_expression": row["x"], "secular": row["y"]} for iso3, row in at.iterrows()
        }
    except PluriscopeError as error:
        result |= {"map": None, "map_missing": str(error)}
    lost = rates(store, run).set_index("iso3").drop(columns=["name", "zone"])
    result["rates"] = lost.to_dict("index")
    return export.for_json(result)


def _about_the_country(store: Store, run: Run, metric: str) -> dict:
    """The part of a record that takes personas; why there is none where they are too few."""
    try:
        found, apart = fits(store, run, metric), spread(store, run)
    except PluriscopeError as error:
        return {"own": None, "why_not": str(error)}
    own = found.personas.set_index("iso3")[["rank", "centred_rank", "best", "own"]]
    return {
        "own": own.to_dict("index"),
        "advantage": found.advantage._asdict(),
        "diversity": {**apart.diversity._asdict(), "single_answers": apart.single},
        "mantel": apart.mantel._asdict(),
    }


def record_words(record: dict) -> str:
    """The same in one line."""
    start = f"{record['run']}  {record['method']}: "
    if not record.get("own"):
        return start + record.get("why_not", "names no country")
    first = sum(one["rank"] == 1 for one in record["own"].values())
    gain, spread_of, mantel_of = record["advantage"], record["diversity"], record["mantel"]
    parts = [
        f"{words.some(first, len(record['own']))} fit their own people best",
        f"the own country gains {_number(gain['value'])} "
        f"({_number(gain['low'])} to {_number(gain['high'])})",
        f"diversity {_number(spread_of['ratio'])} "
        f"({_number(spread_of['low'])} to {_number(spread_of['high'])})",
        f"Mantel r {_number(mantel_of['r'])}, p {_number(mantel_of['p'], 4)}",
    ]
    return start + "; ".join(parts)


def _number(value: float | None, places: int = 2) -> str:
    return words.number(math.nan if value is None else value, places)


BY = ("country", "zone", "topic", "item")


def score_record(
    store: Store,
    run_id: str,
    metric: str = HEADLINE,
    topic: str = "",
    by: str = "country",
    known: Sequence[Asking] | None = None,
) -> dict:
    """scores.record, how far it holds in other wordings and orders (robustness.record), and what
    BY asks for beside it: the scores of each zone, topic or item.

    known: the askings among which other wordings are found; all by default.
    """
    result = scores.record(store, run_id, metric, topic)
    run = store.run(run_id)
    formats = views.formats_of(views.askings(store) if known is None else known, run)
    result |= export.for_json(robustness.record(store, formats, metric, topic))
    if by == "zone":
        table = scores.zones(store, run, metric, topic).set_index("zone")
        result["zones"] = export.for_json(table.to_dict("index"))
    elif by == "topic":
        table = scores.topics(store, run, metric)
        if topic:
            table = table[table["topic"] == topic]
        result["topics"] = {
            name: {
                "mean": float(part["value"].mean()),
                "countries": export.for_json(
                    part.set_index("iso3").drop(columns="topic").to_dict("index")
                ),
            }
            for name, part in table.groupby("topic", sort=False)
        }
    elif by == "item":
        table = views.item_table(store, run, None, metric).set_index("item")
        if topic:
            table = table[table["topic"] == topic]
        result["items"] = export.for_json(table["value"].to_dict())
    return result


def score_words(record: dict) -> str:
    """scores.record in one line; "–" stands for what is not known."""
    mean = record["mean"]
    said = (
        f"{record['run']}  {record['metric']}: {_number(mean['value'])} "
        f"({_number(mean['low'])} to {_number(mean['high'])}); floor {_number(record['floor'])}, "
        f"ceiling {_number(record['ceiling'])}, "
        f"{words.count(len(record['countries']), 'country', 'countries')}"
    )
    used = record["uses_human_answers"]
    said += f"; uses people's answers: {used}" if used else ""
    moved = record["format_spread"]
    if moved is None:
        return said
    said += f"; moves by {_number(moved['mean'])} over {moved['formats']} wordings and orders"
    return f"{said}, more than countries differ" if moved["greyed"] else said


def score_table(store: Store, run: Run, metric: str = "") -> pd.DataFrame:
    """A run's scores on every metric (or one), country by country; iso3 "" is their mean.

    Columns: metric, iso3, name, zone, value, low, high, floor, ceiling, others, items, and
    uses_human_answers (which of people's, "" for none).
    """
    names = [metric] if metric else list(metrics.METRICS)
    tables = [scores.table(store, run, name).assign(metric=name) for name in names]
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "metric", table.pop("metric"))
    table["uses_human_answers"] = scores.human_answers(store, run)
    return _with_names(table, scores.survey_of(store, run))


def reference_table(store: Store, run: Run, metric: str = HEADLINE) -> pd.DataFrame:
    """The reference lines of a run, country by country. Columns: reference, iso3, name, zone,
    value; iso3 "" is the mean."""
    rows = [
        (kind, iso3, value)
        for kind, line in scores.references(store, run, metric).items()
        for iso3, value in (("", line.mean), *line.countries.items())
    ]
    table = pd.DataFrame(rows, columns=["reference", "iso3", "value"])
    return _with_names(table, scores.survey_of(store, run))


def distance_table(found: Spread) -> pd.DataFrame:
    """Distances between countries (of 100): columns one, other, model, people."""
    pairs = [(a, b) for k, a in enumerate(found.model) for b in found.model.columns[k + 1 :]]
    return pd.DataFrame(
        [(a, b, found.model.loc[a, b], found.people.loc[a, b]) for a, b in pairs],
        columns=["one", "other", "model", "people"],
    )


def spread_table(store: Store, run: Run, metric: str = HEADLINE) -> pd.DataFrame:
    """How far a run's scores move between wordings and orders, country by country.

    Columns: metric, runs (ids, one a wording), wordings, formats, iso3, name, zone, spread
    (standard deviation over formats, in points; iso3 "" is the mean), between (that of countries'
    scores), greyed (the mean exceeds it).
    """
    runs = views.formats_of(views.askings(store), run)
    found = robustness.spread(store, runs, metric)
    table = pd.DataFrame(
        {"iso3": ["", *found.countries], "spread": [found.mean, *found.countries.values()]}
    )
    ids = " ".join(one.id for one in runs)
    shared = {"metric": metric, "runs": ids, "wordings": found.wordings, "formats": found.formats}
    table = pd.DataFrame(shared, index=table.index).join(table)
    table = table.assign(between=found.between, greyed=found.greyed)
    return _with_names(table, scores.survey_of(store, run))


def held_table(store: Store, run: Run) -> pd.DataFrame:
    """In how many wordings and orders the likeliest answer was the same: columns runs (ids, one a
    wording), iso3 ("" asked plainly), name, zone, item, held, of."""
    runs = views.formats_of(views.askings(store), run)
    table = robustness.held(store, runs)
    table.insert(0, "runs", " ".join(one.id for one in runs))
    return _with_names(table, scores.survey_of(store, run))


class Table(NamedTuple):
    """A table one can take away. words: what it holds. personas: only of runs that name countries.
    make: (store, run, metric or "") -> the table. formats: only of runs with several orders, or
    asked in several wordings."""

    words: str
    personas: bool
    make: Callable[[Store, Run, str], pd.DataFrame]
    formats: bool = False


TABLES: dict[str, Table] = {
    "answers": Table(
        "How often each answer was given, by the model and by people",
        False,
        lambda store, run, metric: export.run_table(store, run.id),
    ),
    "scores": Table("Scores by country, on every measure", False, score_table),
    "zones": Table(
        "Scores by part of the world",
        False,
        lambda store, run, metric: scores.zones(store, run, metric or HEADLINE),
    ),
    "topics": Table(
        "Scores by topic and country",
        False,
        lambda store, run, metric: topics(store, run, None, metric or HEADLINE),
    ),
    "items": Table(
        "Scores by question",
        False,
        lambda store, run, metric: views.item_table(store, run, None, metric or HEADLINE),
    ),
    "references": Table(
        "What one gets without a model, by country",
        False,
        lambda store, run, metric: reference_table(store, run, metric or HEADLINE),
    ),
    "fits": Table(
        "Every persona against every country’s people",
        True,
        lambda store, run, metric: fits(store, run, metric or HEADLINE).cells,
    ),
    "distances": Table(
        "How far countries lie apart, people’s and the model’s",
        True,
        lambda store, run, metric: distance_table(spread(store, run)),
    ),
    "values": Table(
        "Positions on the map of values",
        False,
        lambda store, run, metric: value_map(store, run).model,
    ),
    "rates": Table(
        "Refused, unreadable and off the scale, by country",
        False,
        lambda store, run, metric: rates(store, run),
    ),
    "formats": Table(
        "How far scores move between wordings and orders",
        False,
        lambda store, run, metric: spread_table(store, run, metric or HEADLINE),
        formats=True,
    ),
    "held": Table(
        "In how many wordings and orders each answer held",
        False,
        lambda store, run, metric: held_table(store, run),
        formats=True,
    ),
}


def tables_of(store: Store, run: Run) -> dict[str, str]:
    """The tables that can be made of a run, and what each holds."""
    few = not names_country(run) or len(run.settings["cultures"]) < 3
    survey = scores.survey_of(store, run)
    known = {item.id for item in survey.items}
    asked = set(run.settings["items"])
    mapped = set(relations.IW_ITEMS) <= known and not (
        set(relations.IW_ITEMS) - asked - set(relations.IW_LIGHT)
    )
    one = len(robustness.formats(store, views.formats_of(views.askings(store), run))) < 2
    return {
        name: table.words
        for name, table in TABLES.items()
        if not (table.personas and few)
        and not (table.formats and one)
        and (name != "values" or mapped)
    }

"""What the page Compare lays out: is a score about the country at all? Tidy tables and sentences.

Scores come from core/analysis/scores.py and relations from core/metrics/relations.py; here they
are joined with names, put in order and said in words. Every table can be exported (TABLES).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.analysis import option_mass, scores
from core.errors import PluriscopeError
from core.metrics import distances, panel, relations
from core.metrics import rates as metrics_rates
from core.metrics.bootstrap import Difference, Interval
from core.metrics.metrics import HEADLINE
from core.metrics.panel import Panel
from core.metrics.relations import Diversity, Mantel
from core.prompts.methods import METHODS
from core.store.runs import Run
from core.store.store import Store
from core.survey.survey import Item, Survey
from core.views import runs
from core.views.findings import findings

REPLICATES = 1000
# Below this share of people's own diversity a good score may be a stereotype (docs/metrics.md).
FLAT = 0.6


def names_country(run: Run) -> bool:
    """The model answered as someone, so its answers can differ between countries."""
    return METHODS[run.method].needs_culture


def look(run: Run) -> str:
    """The series a run is drawn as: its method's, or "tuned" where an adapter is on the model."""
    return "tuned" if run.settings.model.adapter else run.method


def _personas_only(run: Run) -> None:
    if not names_country(run):
        raise PluriscopeError(
            "Asked plainly, the model answers the same for every country. Choose a run that names "
            "a country to see what it makes of each."
        )


def countries_by_code(survey: Survey) -> pd.DataFrame:
    return scores.names(survey).set_index("iso3")


def with_names(table: pd.DataFrame, survey: Survey) -> pd.DataFrame:
    """The table with columns name and zone after its iso3."""
    who = countries_by_code(survey)
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
    return Fits(cells, with_names(personas, survey), found.advantage, _alike(sides))


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
    apart = distances.pairwise(sides.human, sides.human, sides.layout)
    return tuple(sides.countries[k] for k in relations.alike_order(apart))


def by_zone(alike: Sequence[str], zone_of: dict[str, str]) -> tuple[str, ...]:
    """The same countries, those of a cultural zone together; zones and countries in the order in
    which they come in `alike`."""
    zones = list(dict.fromkeys(zone_of[iso3] for iso3 in alike))
    return tuple(sorted(alike, key=lambda iso3: zones.index(zone_of[iso3])))


def fits_finding(found: Fits) -> wording.Finding:
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
    text = [f"{wording.capital(wording.some(own, n))} personas {verb} own people best of all."]
    others = Counter(table.loc[table["rank"] != 1, "best_name"])
    if others:
        most = [wording.country(name) for name, _ in others.most_common(2)]
        many = sum(times for _, times in others.most_common(2))
        text.append(f"Of the others, {many} fit people in {' or '.join(most)} best.")
    text.append(
        "Once what all personas and all countries have in common is taken out, the own country "
        f"gains {wording.number(gain.value)} points on average"
        + (f" ({between})" if (between := wording.interval(gain.low, gain.high)) else "")
        + f" and is among the first three for {near} of {n}."
    )
    return wording.Finding(headline, " ".join(text))


def plain_finding(scored: pd.DataFrame) -> wording.Finding:
    """Of a run without a country: whose people the one set of answers is like."""
    finding = findings(plain=scored)
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
    people = panel.human_panel(survey, sides.items, (persona, country))
    own, other, model = people.human[0], people.human[1], sides.model[0]
    apart = distances.earth_mover(people.layout, own, other)
    lean = distances.earth_mover(people.layout, model, other) - distances.earth_mover(
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
        lay = panel.layout([item])
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


def spread_finding(found: Spread, change: Difference | None = None) -> wording.Finding:
    """How alike the personas are, whether they differ in the right directions, and the warning."""
    ratio = found.diversity
    share = wording.percent(ratio.ratio)
    low, high = round(ratio.low, 2), round(ratio.high, 2)
    if low > 1:
        headline = "The personas differ more than people do"
    elif high >= 1:
        headline = "The personas differ about as much as people do"
    elif ratio.ratio >= FLAT:
        headline = "The personas are more alike than people are"
    else:
        headline = "The personas are far too much alike"
    between = f"{wording.percent(ratio.low)} to {wording.percent(ratio.high)}"
    text = [
        f"From country to country the model’s answers differ {share} as much as people’s do "
        f"({between})."
    ]
    if ratio.ratio < FLAT:
        text.append(
            f"Below {wording.percent(FLAT)} a good score can come from a stereotype that fits "
            "everyone a little."
        )
    if math.isfinite(found.mantel.r):
        r = f"(r {wording.number(found.mantel.r, 2)}, p {_p_words(found.mantel.p)})"
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
            points = wording.number(abs(100 * change.value), 0)
            low, high = sorted(abs(100 * x) for x in (change.low, change.high))
            text.append(
                f"That is {points} points {way} than in the other run "
                f"({wording.interval(low, high, 0)})."
            )
    return wording.Finding(headline, " ".join(text))


def _p_words(p: float) -> str:
    return "under 0.001" if p < 0.001 else wording.number(p, 3 if p < 0.01 else 2)


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
        return s.survey, s.survey_version, sorted(s.items), sorted(s.cultures)

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
        runs.model_and_way(run),
        look(run),
        *(float(mean[name]) for name in ("value", "low", "high", "others", "ceiling")),
        relations.diversity(apart).ratio,
    )


def standing_table(standings: Sequence[Standing]) -> pd.DataFrame:
    """One row a run, with the columns of Standing."""
    return pd.DataFrame(standings, columns=Standing._fields)


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
    return with_names(found, scores.survey_of(store, run))


def topics_finding(table: pd.DataFrame) -> wording.Finding:
    """Where a run is closest and furthest; or how much of a change is clear, and where."""
    if table.empty:
        return wording.Finding("Topic by topic", "No topic has a score yet.")
    means = table.groupby("topic")["value"].mean().sort_values(ascending=False)
    if "clear" not in table:
        best, worst = means.index[0], means.index[-1]
        if len(means) == 1:
            return wording.Finding(
                f"On {best} the answers score {wording.number(means.iloc[0])}", ""
            )
        return wording.Finding(
            f"The answers are closest to people’s on {best}, furthest on {worst}",
            f"On average {wording.number(means.iloc[0])} of 100 against "
            f"{wording.number(means.iloc[-1])}. A topic of few questions is less sure than one of "
            "many.",
        )
    clear = table[table["clear"].eq(True)]
    up, down = int((clear["value"] > 0).sum()), int((clear["value"] < 0).sum())
    cells = f"{len(table)} topics and countries"
    if len(clear) < 0.05 * len(table):
        few = f"it is clear in {len(clear)}" if len(clear) else "none stands out from chance"
        return wording.Finding(
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
    return wording.Finding(headline, " ".join(text))


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
    found = metrics_rates.rates(sides, {c.iso3: c.n for c in survey.cultures})
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
    table = with_names(table, survey)
    table["name"] = table["name"].fillna("all countries")
    return table.dropna(subset="refused").reset_index(drop=True)


def rates_finding(table: pd.DataFrame) -> wording.Finding:
    """How many answers could be used."""
    if table.empty:
        return wording.Finding("What could not be used", "Nothing has been answered yet.")
    lost = table["refused"].mean() + table["unparsed"].mean()
    people = table["people_missing"].mean()
    beside = (
        f" Of people, {wording.percent(people)} gave no valid answer."
        if math.isfinite(people)
        else ""
    )
    mass = 1 - table["outside"].mean()
    if lost == 0 and option_mass.is_low(mass):
        return wording.Finding(
            f"Only {wording.percent(mass)} of what it would say is one of the options",
            f"{option_mass.SMALL} Nothing was refused.{beside}",
        )
    if lost == 0:
        return wording.Finding(
            "Every answer could be used",
            f"Nothing was refused and everything could be read.{beside}",
        )
    text = [
        f"{wording.capital(wording.percent(table['refused'].mean()))} of the answers were "
        "refusals and "
        f"{wording.percent(table['unparsed'].mean())} could not be read; neither counts in a "
        f"distance.{beside}"
    ]
    if len(table) > 1:
        worst = table.loc[(table["refused"] + table["unparsed"]).idxmax()]
        share = wording.percent(worst["refused"] + worst["unparsed"])
        text.append(f"Most were lost as a person from {wording.country(worst['name'])}: {share}.")
    headline = f"{wording.capital(wording.percent(lost))} of the answers cannot be used"
    return wording.Finding(headline, " ".join(text))

"""What the pages of results lay out: tidy tables from the store, for one asking, country or item.

Scores come from core/scores.py; here they are only picked, joined with names and put in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import languages, meaning, metrics, robustness, runs, scores, words
from core.catalogue import ModelSpec, describe, is_teaching
from core.demonstrations import questions
from core.frames import framed
from core.metrics import HEADLINE, Panel
from core.prompts import METHODS, Rendered, option_orders
from core.relations import mean_answer
from core.responses import prompt_for, texts_of
from core.runs import Asking
from core.settings import AskSettings
from core.store import Run, Store
from core.survey import Item

# -- what was asked --------------------------------------------------------------------------------


def askings(store: Store) -> list[Asking]:
    """What was asked of a survey and has answers by now, newest first."""
    return [asking for asking in runs.askings(store) if asking.answered]


def find_asking(known: Sequence[Asking], run_id: str | None) -> Asking | None:
    """The asking that a run belongs to; also found by its group. None where there is none."""
    for asking in known:
        if run_id == asking.group or any(run.id == run_id for run in asking.runs):
            return asking
    return None


def headline_asking(known: Sequence[Asking], item_id: str = "") -> Asking | None:
    """The newest asking to open with: complete, as people of countries, of ten questions or more.

    Where there is none, the newest that is complete; failing that, the newest with answers.
    item_id: one of those that asked this question, where any did.
    """
    asked = item_id.casefold()
    known = [
        one for one in known if asked in (item.casefold() for item in one.runs[0].settings["items"])
    ] or known
    whole = [one for one in known if is_complete(one)]
    large = [
        one for one in whole if persona_method(one) and len(one.runs[0].settings["items"]) >= 10
    ]
    return next(iter([*large, *whole, *known]), None)


def is_complete(asking: Asking) -> bool:
    return all(run.state == "done" for run in asking.runs)


def is_under_way(asking: Asking) -> bool:
    return any(run.state in scores.UNDER_WAY for run in asking.runs)


def by_method(asking: Asking) -> dict[str, Run]:
    """An asking's runs that have answers, by method, in the order of METHODS."""
    found = {run.method: run for run in reversed(asking.runs) if run.answered}
    return {method: found[method] for method in METHODS if method in found}


def wordings(asking: Asking) -> list[str]:
    """Names of the wordings an asking was asked in, the one shown first before the others."""
    return list(dict.fromkeys(run.settings["prompt_set"] for run in asking.runs))


def in_wording(asking: Asking, wording: str) -> Asking:
    """An asking as if it had been asked in one of its wordings only."""
    runs_of = tuple(run for run in asking.runs if run.settings["prompt_set"] == wording)
    return asking._replace(runs=runs_of) if runs_of else asking


def in_formats(asking: Asking, method: str) -> list[Run]:
    """The runs of one method that have answers, one a wording."""
    found = {
        run.settings["prompt_set"]: run
        for run in reversed(asking.runs)
        if run.method == method and run.answered
    }
    return [found[wording] for wording in wordings(asking) if wording in found]


def formats_of(known: Sequence[Asking], run: Run) -> list[Run]:
    """A run and those that put the same in other wordings."""
    asking = find_asking(known, run.id)
    found = in_formats(asking, run.method) if asking else []
    return found if any(one.id == run.id for one in found) else [run]


def persona_method(asking: Asking) -> str | None:
    """The method that names a country: "country" where it was asked, else another such one."""
    named = [method for method in by_method(asking) if METHODS[method].needs_culture]
    return "country" if "country" in named else next(iter(named), None)


def run_label(asking: Asking, method: str) -> str:
    """One run of an asking, for a list of runs."""
    run = by_method(asking)[method]
    how = run.way
    return f"{asking.name} · {how[0].lower()}{how[1:]} · {run.created:%-d %b %Y, %H:%M}"


def comparable(known: Sequence[Asking]) -> dict[str, str]:
    """Every run with answers, by id, with the words for it in a list of runs."""
    labels = {}
    for asking in known:
        names = wordings(asking)
        for wording in names:
            part = in_wording(asking, wording)
            for method, run in by_method(part).items():
                told = f" · {wording_name(wording)}" if len(names) > 1 else ""
                labels[run.id] = f"{run_label(part, method)}{told}"
    return labels


WORDING_NAMES = {
    "pluriscope": "First wording",
    "pluriscope-b": "Second wording",
    "pluriscope-c": "Third wording",
}


def wording_name(wording: str) -> str:
    """A prompt set for people: Pluriscope's own by number, others by their name."""
    return WORDING_NAMES.get(wording, wording.rsplit("/", 1)[-1].removesuffix(".json"))


def format_spread(
    store: Store, asking: Asking, method: str, metric: str = HEADLINE, topic: str = ""
) -> robustness.Spread | None:
    """How much wording and order move the scores of a method; None where it was asked in one."""
    runs_of = in_formats(asking, method)
    if len(robustness.formats(store, runs_of)) < 2:
        return None
    return robustness.spread(store, runs_of, metric, topic)


def held(store: Store, asking: Asking, method: str) -> pd.DataFrame:
    """robustness.held for every format a method was asked in; empty where there is only one."""
    table = robustness.held(store, in_formats(asking, method))
    return table[table["of"] > 1].reset_index(drop=True)


def with_held(table: pd.DataFrame, held_in: pd.DataFrame, iso3: str = "") -> pd.DataFrame:
    """item_table with a column held: in which share of the formats the likeliest answer was the
    same, in one country or on average. NaN where there is only one format."""
    here = held_in[held_in["iso3"].isin([iso3, ""])] if iso3 else held_in
    share = (here["held"] / here["of"]).groupby(here["item"]).mean().round(2)
    return table.assign(held=table["item"].map(share).astype(float))


def model_name(run: Run) -> str:
    return describe(AskSettings.from_json(run.settings).model)


def human_answers(store: Store, *of: Run) -> str:
    """The label of scores that people's answers had a part in: a sentence, "" where they had none.

    Runs of which only some use them are told apart by how they were asked.
    """
    used = dict.fromkeys((_asked_of(run), scores.human_answers(store, run)) for run in of)
    sentences = []
    for what in dict.fromkeys(what for _, what in used if what):
        who = [f"“{name}”" for name, its in used if its == what]
        verb = "use" if len(who) > 1 else "uses"
        subject = f"{words.listed(who)} {verb}" if len(used) > 1 else "This way of asking uses"
        sentences.append(f"{subject} people’s answers: {what}.")
    return " ".join(sentences)


def _asked_of(run: Run) -> str:
    return f"{run.way}, after tuning" if run.settings["model"].get("adapter") else run.way


def draft_words(*of: Run) -> str:
    """A sentence where runs were asked in translations that are drafts; "" where none was."""
    told = (languages.draft_words(AskSettings.from_json(run.settings)) for run in of)
    return " ".join(dict.fromkeys(filter(None, told)))


def headline_runs(asking: Asking) -> list[Run]:
    """The runs that headline_result speaks of: the plain one and the one that names a country."""
    found = by_method(asking)
    named = persona_method(asking)
    shown = [found[method] for method in ("plain", named) if method in found]
    return shown or list(found.values())[:1]


def is_builtin(run: Run) -> bool:
    """Asked of the teaching model that comes along, which is no evidence about language models."""
    return is_teaching(ModelSpec.from_json(run.settings["model"]), run.facts)


def asked_countries(store: Store, asking: Asking) -> list[str]:
    """Codes of the countries that an asking named; all of its survey where it named none."""
    survey = scores.survey_of(store, asking.runs[0])
    named = {iso3 for run in asking.runs for iso3 in run.settings["cultures"]}
    return [c.iso3 for c in survey.cultures if not named or c.iso3 in named]


def country_names(store: Store, asking: Asking) -> dict[str, str]:
    """iso3 -> name of every country of an asking's survey."""
    return {c.iso3: c.name for c in scores.survey_of(store, asking.runs[0]).cultures}


def country_zones(store: Store, asking: Asking) -> dict[str, str]:
    """iso3 -> part of the world (cultural zone) of every country of an asking's survey."""
    return {c.iso3: c.region for c in scores.survey_of(store, asking.runs[0]).cultures}


def asked_topics(store: Store, asking: Asking) -> list[str]:
    """Topics of the items that an asking was asked, in questionnaire order."""
    survey = scores.survey_of(store, asking.runs[0])
    wanted = {item for run in asking.runs for item in run.settings["items"]}
    return list(dict.fromkeys(item.topic for item in survey.items if item.id in wanted))


# -- the map ---------------------------------------------------------------------------------------

# How each way of asking is said in a sentence that begins with "Asked".
HOW_WORDS = {
    "plain": "plainly",
    "country": "as a person from each country",
    "cross_culture": "to think across cultures",
    "examples": "with answered examples",
    "country_examples": "as a person from each country, with examples",
    "cross_culture_examples": "to think across cultures, with examples",
    "amplified": "as a person from each country, amplified",
    "calibrated": "as a person from each country, calibrated",
    "calibrated_plain": "plainly, calibrated",
}


def how_words(run: Run) -> str:
    """How a run was asked, and in what language where that is not English."""
    spoken = languages.said(AskSettings.from_json(run.settings))
    return f"{HOW_WORDS[run.method]}{f', {spoken}' if spoken else ''}"


class MapResult(NamedTuple):
    """What the map shows. table: as scores.closeness gives it, or scores.change where two runs are
    compared. finding: the headline and the paragraph. kicker: what was asked, in one line."""

    table: pd.DataFrame
    finding: words.Finding
    kicker: str


def map_result(
    store: Store, run: Run, before: Run | None = None, metric: str = HEADLINE, topic: str = ""
) -> MapResult:
    """How close a run comes in each country, or how much closer than the run `before`.

    Raises PluriscopeError where the two runs have nothing in common, or nothing was asked on the
    topic.
    """
    kicker = run_kicker(store, run, topic)
    how = how_words(run)
    if before is None:
        table = scores.closeness(store, run, metric, topic)
        if not METHODS[run.method].needs_culture:
            finding = words.findings(plain=table)
        else:
            finding = words.findings(country_run=table, how=how)
        return MapResult(table, _said_once(finding), kicker)
    table, mean = scores.change(store, before, run, metric, topic)
    if before.group == run.group and before.method == "plain":
        closeness = (scores.closeness(store, one, metric, topic) for one in (before, run))
        finding = words.findings(*closeness, table, mean, how=how)
        return MapResult(table, _said_once(finding), kicker)
    kicker = f"{kicker}, compared with {run_kicker(store, before, topic)}"
    return MapResult(table, _comparison(run, before, table, mean), kicker)


def zone_words(zones: pd.DataFrame) -> str:
    """The mean of each part of the world with its interval, in one line; "" where there are fewer
    than two. zones: as scores.zones gives it."""
    if len(zones) < 2:
        return ""
    said = ", ".join(f"{row.zone} {_with_interval(row, 0)}" for row in zones.itertuples())
    return f"On average by part of the world, with 95% intervals: {said}."


def _with_interval(row: tuple, places: int = 1) -> str:
    """83 (76 to 88); the value alone where the interval is not known. row: has value, low, high."""
    value, low, high = (words.number(x, places) for x in (row.value, row.low, row.high))
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


def _said_once(finding: words.Finding) -> words.Finding:
    """A finding whose paragraph does not begin by repeating the headline."""
    return finding._replace(
        paragraph=finding.paragraph.removeprefix(f"{finding.headline}.").lstrip()
    )


def run_kicker(store: Store, run: Run, topic: str = "") -> str:
    """Model, way of asking, questions: one line that names a run."""
    survey = scores.survey_of(store, run)
    items = [survey.item(i) for i in run.settings["items"]]
    if topic:
        items = [item for item in items if item.topic == topic]
    asked = f"{words.count(len(items), 'question')}{f' on {topic}' if topic else ''}"
    how = run.way
    spoken = languages.said(AskSettings.from_json(run.settings))
    parts = [model_name(run), f"{how[0].lower()}{how[1:]}", spoken, asked, f"run {run.id}"]
    return " · ".join(filter(None, parts))


def _comparison(
    run: Run, before: Run, table: pd.DataFrame, mean: metrics.Difference
) -> words.Finding:
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
    points = words.number(abs(mean.value))
    way = "closer" if mean.value >= 0 else "further away"
    text = [f"On average {points} points {way} ({words.interval(mean.low, mean.high)})."]
    for some, what in ((closer, "closer"), (away, "further away")):
        if len(some):
            most = words.listed([words.country(n) for n in some["name"]], most=3)
            text.append(f"Clearly {what} in {len(some)} of {len(scored)} countries: {most}.")
    if unclear:
        text.append(
            f"For {words.count(unclear, 'country', 'countries')} the difference is too small to "
            "call."
        )
    return words.Finding(headline, " ".join(text))


def _told_apart(run: Run, before: Run) -> tuple[str, str]:
    """Two runs in one sentence: by their models, by how they were asked, or only as two."""
    if model_name(run) != model_name(before):
        return model_name(run), model_name(before)
    if how_words(run) != how_words(before):
        return f"Asked {how_words(run)}, the model", f"asked {how_words(before)}"
    return "This run", "the other"


def download_table(
    store: Store,
    table: pd.DataFrame,
    run: Run,
    before: Run | None = None,
    metric: str = "",
    topic: str = "",
) -> pd.DataFrame:
    """A table as shown, with what its numbers come from beside every row."""
    settings = run.settings
    facts = {
        "run": run.id,
        "compared_with": before.id if before else "",
        "model": settings["model"]["source"],
        "method": run.method,
        "uses_human_answers": scores.human_answers(store, run),
        "metric": metric,
        "topic": topic,
        "survey": settings["survey"],
        "survey_version": settings["survey_version"],
        "prompt_sha256": settings["prompt_sha256"],
        "option_orders": settings["orders"],
        "seed": settings["seed"],
        "code_version": settings["code_version"],
    }
    return table.assign(**{name: value for name, value in facts.items() if name not in table})


# -- one country -----------------------------------------------------------------------------------


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
        grid = metrics.by_topic(sides, metric, replicates=1000)
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
            said.append(f"{run.way[0].lower()}{run.way[1:]} {_with_interval(row)}")
            many = words.count(int(row.countries), "country", "countries")
    if not said:
        return ""
    return f"{words.capital(words.zone(zone))}, {many} on average: {', '.join(said)}."


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
) -> words.Finding:
    """What the page of a country opens with."""
    survey = scores.survey_of(store, asking.runs[0])
    where = words.country(survey.culture(iso3).name)
    table = country_scores(store, asking, iso3, metric).set_index("method")
    found = by_method(asking)
    named = persona_method(asking)
    if table.empty:
        return words.Finding(
            f"People in {where} were surveyed, but this run did not ask about them",
            "Choose another run, or start one that names this country.",
        )
    if named not in table.index or "plain" not in table.index:
        method = table.index[0]
        headline = f"How close the model’s answers are to people’s in {where}"
        return words.Finding(headline, _score_words(table, method, where))
    changes, _ = scores.change(store, found["plain"], found[named], metric)
    change = changes[changes["iso3"] == iso3].iloc[0]
    if not change["clear"]:
        headline = f"Naming {where} makes no difference that we can tell"
    elif change["value"] > 0:
        headline = f"Naming {where} brings the model closer to people there"
    else:
        headline = f"Naming {where} takes the model further from people there"
    by = words.interval(change["low"], change["high"])
    moved = "closer" if change["value"] > 0 else "further away"
    text = [
        f"Asked plainly, its answers score {words.number(table.loc['plain', 'value'])} of 100.",
        _score_words(table, named, where),
        f"The change: {words.number(abs(change['value']))} points {moved} ({by}).",
    ]
    return words.Finding(headline, " ".join(text))


def _score_words(table: pd.DataFrame, method: str, where: str) -> str:
    row = table.loc[method]
    how = HOW_WORDS[method].replace("each country", where)
    lines = []
    if np.isfinite(row["others"]):
        lines.append(f"{words.OTHERS} gets {words.number(row['others'])}")
    if np.isfinite(row["ceiling"]):
        lines.append(f"{words.CEILING} {words.number(row['ceiling'])}")
    beside = f"; {words.listed(lines)}" if lines else ""
    return f"Asked {how}, they score {words.number(row['value'])}{beside}."


class Neighbours(NamedTuple):
    """Countries by how alike they answer. table: columns place, people_iso3, people_name,
    people_closeness, model_iso3, model_name, model_closeness (100: alike in everything). rank: the
    country's own place among those the model's answers are closest to (1 is best, 0 not known)."""

    table: pd.DataFrame
    rank: int
    of: int


def neighbours(store: Store, run: Run, iso3: str, k: int = 5) -> Neighbours:
    """Whose people answer most like people in a country, and whose the model's answers are most
    like when it answers for that country. On the items that the run asked; distance along the
    scale, whatever metric the page shows."""
    survey = scores.survey_of(store, run)
    sides = _one_country(store, run, iso3)
    if sides is None:
        return Neighbours(pd.DataFrame(), 0, 0)
    everyone = metrics.human_panel(survey, sides.items)
    near = metrics.nearest(sides, everyone, k)[iso3]
    away = metrics.pairwise(sides.model, everyone.human, sides.layout)[0]
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
    return Neighbours(pd.DataFrame(rows), rank, len(fits))


def near_people(near: Neighbours) -> pd.DataFrame:
    """Countries by how like their people's answers are: name, value (of 100)."""
    return near.table.rename(columns={"people_name": "name", "people_closeness": "value"})


def near_model(near: Neighbours) -> pd.DataFrame:
    """Countries by how like their people's answers the model's are: name, value (of 100)."""
    return near.table.rename(columns={"model_name": "name", "model_closeness": "value"})


def neighbour_words(near: Neighbours, name: str, method: str) -> str:
    """Whether the model's answers for a country fit that country best."""
    if not near.rank or near.table.empty:
        return ""
    where = words.country(name)
    how = HOW_WORDS[method].replace("each country", where)
    if near.rank == 1:
        return f"Asked {how}, the model’s answers are nearest to those of people in {where}."
    fits = words.country(near.table["model_name"].iloc[0])
    return (
        f"Asked {how}, the model’s answers are nearest to those of people in {fits}. "
        f"{words.capital(where)} itself is number {near.rank} of {near.of}."
    )


def _one_country(store: Store, run: Run, iso3: str) -> Panel | None:
    """People of one country beside a run's answers; None where the run did not ask about it."""
    if iso3 not in scores.countries_of(run, scores.survey_of(store, run)):
        return None
    return scores.panel(store, run, countries=[iso3])


# -- the questions ---------------------------------------------------------------------------------


def item_table(
    store: Store, run: Run, before: Run | None = None, metric: str = HEADLINE, iso3: str = ""
) -> pd.DataFrame:
    """Every item of a run with its own score: in one country, or the mean over its countries.

    Columns: item, position, label, question, topic, scale, value, floor, ceiling, refused,
    unparsed (shares of the answers), before, change, low, high, clear (as metrics.compare_items
    gives them; NaN and False without `before`, or where only one of the two has a score).
    before: a run to compare with; the change is that from it, on the cells both were asked.
    """
    sides = scores.panel(store, run, countries=[iso3] if iso3 else None)
    lines = metrics.item_lines(sides, metric)
    table = pd.DataFrame(
        {
            "item": [item.id for item in sides.items],
            "position": [item.position for item in sides.items],
            "label": [item.label for item in sides.items],
            "question": [item.question for item in sides.items],
            "topic": [item.topic for item in sides.items],
            "scale": [item.scale for item in sides.items],
            "value": _mean(metrics.by_item(sides, metric)),
            "floor": _mean(lines.floor),
            "ceiling": _mean(lines.ceiling),
            "refused": sides.refused.mean(0),
            "unparsed": sides.unparsed.mean(0),
        }
    )
    changes = _item_changes(store, before, run, metric, iso3)
    table = table.merge(changes, on="item", how="left")
    return table.assign(clear=table["clear"].eq(True))


def _item_changes(
    store: Store, before: Run | None, run: Run, metric: str, iso3: str
) -> pd.DataFrame:
    """Columns item, before, change, low, high, clear; no rows where nothing can be compared."""
    columns = {"item": str, **dict.fromkeys(["before", "change", "low", "high"], float)}
    columns["clear"] = bool
    nothing = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    if before is None:
        return nothing
    theirs, mine = (scores.countries_of(x, scores.survey_of(store, x)) for x in (before, run))
    shared = [iso3] if iso3 else [one for one in mine if one in theirs]
    if not shared:
        return nothing
    sides = (scores.panel(store, one, countries=shared) for one in (before, run))
    one, other = metrics.aligned(*sides)
    found = pd.DataFrame(metrics.compare_items(one, other, metric)).drop(columns="p")
    found = found.rename(columns={"value": "change"})
    found.insert(0, "item", [item.id for item in one.items])
    earlier = np.where(other.asked, metrics.by_item(one, metric), np.nan)
    found.insert(1, "before", _mean(earlier))
    return found


SORTS = {
    "worst": "Furthest first",
    "best": "Closest first",
    "change": "Largest change",
    "order": "As in the survey",
}
ONLY = ("Came closer", "Moved away", "Refused or unreadable")


def arranged(
    table: pd.DataFrame,
    search: str = "",
    topics: Sequence[str] = (),
    only: Sequence[str] = (),
    sort: str = "worst",
) -> pd.DataFrame:
    """The rows of item_table that are wanted, in the wanted order.

    search: every word must occur in the item's id, label or question. only: some of ONLY, any of
    which will do; a change counts where it is clear. sort: a key of SORTS.
    """
    text = (table["item"] + " " + table["label"] + " " + table["question"]).str.casefold()
    keep = pd.Series(True, index=table.index)
    for word in search.casefold().split():
        keep &= text.str.contains(word, regex=False)
    if topics:
        keep &= table["topic"].isin(topics)
    if only:
        tests = (
            table["clear"] & (table["change"] > 0),
            table["clear"] & (table["change"] < 0),
            table["refused"] + table["unparsed"] > 0,
        )
        wanted = [test for name, test in zip(ONLY, tests, strict=True) if name in only]
        keep &= pd.concat(wanted, axis=1).any(axis=1)
    rows = table[keep]
    if sort == "change":
        return rows.iloc[np.argsort(-rows["change"].abs().fillna(-1), kind="stable")]
    if sort == "order":
        return rows.sort_values("position")
    return rows.sort_values(
        ["value", "position"], ascending=[sort == "worst", True], na_position="last"
    )


def items_finding(table: pd.DataFrame, where: str = "") -> words.Finding:
    """What the list of questions says: where model and people are furthest apart, where nearest.

    where: the country's name, "" for all countries.
    """
    scored = table.dropna(subset="value").sort_values(["value", "position"])
    if scored.empty:
        return words.Finding("Question by question", "No question has a score yet.")
    far = [f"“{label}”" for label in scored["label"].head(3)]
    near = [f"“{label}”" for label in scored["label"].tail(3)[::-1]]
    people = f"people in {words.country(where)}" if where else "people"
    headline = f"The model is furthest from {people} on {far[0]}"
    if len(scored) < 6:
        return words.Finding(headline, "")
    text = [
        f"Of {words.count(len(scored), 'question')}, its answers are furthest from those of "
        f"{people} on {words.listed(far)}, and nearest on {words.listed(near)}."
    ]
    changed = table[table["clear"]].sort_values("change")
    moved = []
    if len(changed) and (closer := round(changed["change"].iloc[-1])) > 0:
        moved.append(
            f"brought it {words.count(closer, 'point')} closer on “{changed['label'].iloc[-1]}”"
        )
    if len(changed) and (away := round(-changed["change"].iloc[0])) > 0:
        moved.append(
            f"took it {words.count(away, 'point')} further away on “{changed['label'].iloc[0]}”"
        )
    if moved:
        text.append(f"Naming a country {', and '.join(moved)}.")
    elif table["change"].notna().any() and changed.empty:
        text.append("What naming a country changed is too small to call on every single question.")
    return words.Finding(headline, " ".join(text))


def item_words(row: pd.Series) -> str:
    """One row of item_table as a sentence: its score between its lines, and what naming a country
    changed; "" where it has no score."""
    if not np.isfinite(row["value"]):
        return ""
    lines = [f"{words.FLOOR} would score {words.number(row['floor'], 0)}"]
    if np.isfinite(row["ceiling"]):
        lines.append(f"{words.CEILING} {words.number(row['ceiling'], 0)}")
    text = f"Score {words.number(row['value'], 0)} of 100; {words.listed(lines)}."
    if not np.isfinite(row["change"]):
        return text
    plain = f"Asked plainly {words.number(row['before'], 0)}"
    if not row["clear"]:
        return f"{text} {plain}; the difference is too small to call."
    verb, way = ("brings", "closer") if row["change"] > 0 else ("takes", "further away")
    low, high = sorted(abs(row[end]) for end in ("low", "high"))
    # Other respondents may change nothing: where both runs lie on one side of people.
    narrow = words.number(low) == words.number(high)
    between = "" if narrow else f" ({words.interval(low, high)})"
    points = f"{words.number(abs(row['change']))} points {way}{between}"
    return f"{text} {plain}: naming a country {verb} it {points}."


def _mean(cells: np.ndarray) -> np.ndarray:
    """float64[I]: of cells [C, I], averaged over the countries that have one."""
    counts = (~np.isnan(cells)).sum(0)
    return np.where(counts > 0, np.nansum(cells, 0) / np.maximum(counts, 1), np.nan)


def answer_table(store: Store, asking: Asking, item: Item, iso3: str) -> pd.DataFrame:
    """People's answers to one item beside the model's, one row an option.

    Columns: code, label, people, and one for every method of the asking (shares; NaN where there
    is no answer). Option orders and samples are averaged. With iso3 = "" people and personas are
    averaged over the countries that the asking named, each counting the same.
    """
    survey = scores.survey_of(store, asking.runs[0])
    wanted = [iso3] if iso3 else asked_countries(store, asking)
    human = [survey.shares[c, item.id].values for c in wanted if (c, item.id) in survey.shares]
    missing = np.full(len(item.options), np.nan)
    table = pd.DataFrame(
        {
            "code": item.codes,
            "label": [option.label for option in item.options],
            "people": np.mean(human, axis=0) if human else missing,
        }
    )
    for method, run in by_method(asking).items():
        cells = _model_shares(store, run, item)
        mine = [cells[c] for c in (wanted if METHODS[method].needs_culture else [""]) if c in cells]
        table[method] = np.mean(mine, axis=0) if mine else missing
    return table


def country_rows(store: Store, asking: Asking, item: Item, method: str = "") -> pd.DataFrame:
    """One item's answers country by country, for a bar of 100% each.

    People of every country that the asking named; or, with a method that names countries, the
    model's answers as a person from each. The answers given plainly are a row of their own.
    Columns: iso3, name, kind ("people" or a method), shares.
    """
    survey = scores.survey_of(store, asking.runs[0])
    found = by_method(asking)
    rows = []
    if "plain" in found and "" in (plain := _model_shares(store, found["plain"], item)):
        rows.append(("", METHODS["plain"].name, "plain", plain[""]))
    cells = _model_shares(store, found[method], item) if method else {}
    for iso3 in asked_countries(store, asking):
        name = survey.culture(iso3).name
        people = survey.shares.get((iso3, item.id))
        if method and iso3 in cells:
            rows.append((iso3, name, method, cells[iso3]))
        elif not method and people is not None:
            rows.append((iso3, name, "people", people.values))
    return pd.DataFrame(rows, columns=["iso3", "name", "kind", "shares"])


def item_means(store: Store, asking: Asking, item: Item, method: str) -> pd.DataFrame:
    """People's mean answer and the model's, country by country, from 0 (the scale's low end) to 1.

    Columns: iso3, name, people, model; only countries where both answered.
    """
    survey = scores.survey_of(store, asking.runs[0])
    lay = metrics.layout([item])
    cells = _model_shares(store, by_method(asking)[method], item)
    rows = []
    for iso3 in asked_countries(store, asking):
        people = survey.shares.get((iso3, item.id))
        model = cells.get(iso3 if METHODS[method].needs_culture else "")
        if people is not None and model is not None:
            both = (mean_answer(lay, side[None])[0] for side in (people.values, model))
            rows.append((iso3, survey.culture(iso3).name, *both))
    return pd.DataFrame(rows, columns=["iso3", "name", "people", "model"]).dropna()


def _model_shares(store: Store, run: Run, item: Item) -> dict[str, np.ndarray]:
    """A run's distribution over an item's options [K] by persona; without an answer, no entry."""
    answers = store.answers(run.no, item=item.id)
    cells = {iso3: _shares_of(item, cell) for iso3, cell in answers.groupby("iso3", sort=False)}
    return {iso3: shares for iso3, shares in cells.items() if not np.isnan(shares).any()}


def _shares_of(item: Item, answers: pd.DataFrame) -> np.ndarray:
    """float64[K]: mean of the distributions, or shares of the written answers that were read."""
    spread = [probs for probs in answers["probs"] if probs is not None and len(probs)]
    if spread:
        return np.mean(spread, axis=0, dtype=float)
    read = answers.loc[answers["state"] == "answered", "chosen"]
    if read.empty:
        return np.full(len(item.options), np.nan)
    return np.array([(read == code).mean() for code in item.codes])


def raw_answers(store: Store, run: Run, item: Item, iso3: str) -> pd.DataFrame:
    """A run's answers to one item as they came, one row an option order or sample.

    Columns: number, shown (how the options were ordered, or which sample), answer (the option's
    words, "refused" or "cannot be read"), share (of the chosen option, NaN for written answers),
    mass, rule, text, seconds, state.
    """
    settings = AskSettings.from_json(run.settings)
    persona = iso3 if METHODS[run.method].needs_culture else ""
    answers = store.answers(run.no, item=item.id, iso3=persona)
    rows = []
    for row in answers.to_dict("records"):
        code = None if pd.isna(row["chosen"]) else int(row["chosen"])
        probs = row["probs"] if row["probs"] is not None else ()
        position = item.codes.index(code) if code in item.codes else None
        rows.append(
            {
                "number": int(row["number"]),
                "shown": _shown(settings, item, int(row["number"])),
                "answer": _answer_words(item, code, row["state"]),
                "share": float(probs[position]) if len(probs) and position is not None else np.nan,
                "mass": row["mass"],
                "rule": row["rule"],
                "text": row["text"] if isinstance(row["text"], str) else "",
                "seconds": row["seconds"],
                "state": row["state"],
            }
        )
    columns = ["number", "shown", "answer", "share", "mass", "rule", "text", "seconds", "state"]
    return pd.DataFrame(rows, columns=columns)


def _answer_words(item: Item, code: int | None, state: str) -> str:
    if state == "refused":
        return "refused"
    if code not in item.codes:
        return "cannot be read"
    label = item.option(code).label
    return label if label.split(" ")[0] == str(code) else f"{code}. {label}"


def _shown(settings: AskSettings, item: Item, number: int) -> str:
    if settings.answering == "written":
        return f"answer {number + 1}"
    order = option_orders(item, settings.orders)[number]
    given = tuple(range(len(item.options)))
    if order == given:
        return "options as given"
    if order == given[::-1]:
        return "options reversed"
    return f"options shifted by {order[0]}"


def prompt_of(store: Store, run: Run, item: Item, iso3: str, number: int = 0) -> Rendered:
    """The exact messages behind one answer of a run."""
    settings = AskSettings.from_json(run.settings)
    prompts, translations = texts_of(store, settings)
    survey = scores.survey_of(store, run)
    persona = iso3 if METHODS[run.method].needs_culture else ""
    vectors = None
    if settings.by_meaning:
        texts = questions(survey, item if settings.own_item else None)
        vectors = meaning.kept(store.home, run.facts.get("embedder_revision"), texts)
    return prompt_for(settings, survey, prompts, item, persona, number, translations, vectors)


def as_read(run: Run, prompt: Rendered) -> str | None:
    """A prompt of a run with the model's chat template round it, to the letter; None of a run that
    kept no frames (imported, or asked before they were)."""
    frames = run.facts.get("chat_frames") or {}
    return framed(frames, run.settings["answering"], prompt.messages)


def shown_orders(run: Run, item: Item) -> list[str]:
    """The words for each option order a run showed an item in; one entry for written answers."""
    settings = AskSettings.from_json(run.settings)
    if settings.answering == "written":
        return ["options as given"]
    return [
        _shown(settings, item, number)
        for number in range(len(option_orders(item, settings.orders)))
    ]


def find_item(store: Store, asking: Asking, item_id: str) -> Item:
    return scores.survey_of(store, asking.runs[0]).item(item_id)


def answer_verdict(table: pd.DataFrame, item: Item, method: str, name: str) -> str:
    """What naming a country did to one answer, as a sentence; "" where there is nothing to say.

    table: as answer_table gives it. name: the country's, "" for the average of all.
    """
    if not name or "plain" not in table or method not in table or method == "plain":
        return ""
    people, plain, asked = (table[column].to_numpy() for column in ("people", "plain", method))
    how = HOW_WORDS[method].replace("each country", words.country(name))
    return f"Asked {how}, the model {words.verdict(item, people, plain, asked, name)}."


def scale_words(item: Item) -> str:
    """Which way an item's numbers run: "1 = very important … 4 = not at all important"."""
    if item.scale == "nominal":
        return "The answers have no order"
    on = [code for code in item.codes if code not in item.off_scale]
    low = item.low or item.option(on[0]).label
    high = item.high or item.option(on[-1]).label
    return f"{on[0]} = {low} … {on[-1]} = {high}"


# -- what the numbers mean -------------------------------------------------------------------------


# The metrics that the pages offer, and what a number of each means in plain words. Labels and
# definitions are those of core/metrics.py.
MEASURES: dict[str, str] = {
    "emd": (
        "At 100 the model’s answers are spread exactly as people’s are. At 90 they would have to "
        "move by a tenth of the scale, on average, to match."
    ),
    "tv": (
        "At 70, seventy of a hundred answers are the same as people’s and thirty would have to "
        "change. How far they would have to move does not count."
    ),
    "skill": (
        "0 is no better than even odds on every answer, 100 is a perfect match, and below 0 is "
        "worse than guessing."
    ),
    "paper": (
        "Compares the likeliest answer with people’s commonest one, on the numbers of the scale, "
        "as the CultureSPA study does. Ten-point questions weigh most, and how people differ among "
        "themselves does not count."
    ),
    "jsdist": (
        "At 100 nobody could tell the model’s answers from people’s; at 0 they never give the same "
        "answer (Jensen–Shannon distance)."
    ),
    "soft": (
        "How near the likeliest answer lies to people’s commonest one: 100 is the same answer, 0 "
        "the other end of the scale."
    ),
    "hard": ("In how many of a hundred questions the likeliest answer is people’s commonest one."),
}

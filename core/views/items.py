"""What the page of items lays out: questions, people's answers, the model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from core import wording
from core.analysis import option_mass, scores
from core.analysis.cells import shares_of
from core.asking.settings import AskSettings
from core.inference.chat_frames import framed
from core.jobs.askings import Asking
from core.metrics import metrics, panel, score
from core.metrics.metrics import HEADLINE
from core.metrics.relations import mean_answer
from core.models import embedding_cache
from core.prompts.demonstrations import questions
from core.prompts.methods import METHODS
from core.prompts.render import Rendered, option_orders
from core.store.runs import Run
from core.store.store import Store
from core.store.wordings import questionnaire_of
from core.survey.survey import Item
from core.views import findings
from core.views.runs import asked_countries, by_method


def with_held(table: pd.DataFrame, held_in: pd.DataFrame, iso3: str = "") -> pd.DataFrame:
    """item_table with a column held: in which share of the formats the likeliest answer was the
    same, in one country or on average. NaN where there is only one format."""
    here = held_in[held_in["iso3"].isin([iso3, ""])] if iso3 else held_in
    share = (here["held"] / here["of"]).groupby(here["item"]).mean().round(2)
    return table.assign(held=table["item"].map(share).astype(float))


def item_table(
    store: Store, run: Run, before: Run | None = None, metric: str = HEADLINE, iso3: str = ""
) -> pd.DataFrame:
    """Every item of a run with its own score: in one country, or the mean over its countries.

    Columns: item, position, label, question, topic, scale, value, floor, ceiling, refused, unparsed
    (shares of the answers), mass (of the options; NaN for written answers), before, change, low,
    high, clear (as metrics.compare_items gives them; NaN and False without `before`, or where only
    one of the two has a score). before: a run to compare with; the change is that from it, on the
    cells both were asked.
    """
    sides = scores.panel(store, run, countries=[iso3] if iso3 else None)
    lines = score.item_lines(sides, metric)
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
    masses = option_mass.masses(store, run)
    if iso3 and METHODS[run.method].needs_culture:
        masses = masses[masses["iso3"] == iso3]
    table["mass"] = table["item"].map(masses.groupby("item")["mass"].mean()).astype(float)
    changes = _item_changes(store, before, run, metric, iso3)
    table = table.merge(changes, on="item", how="left")
    return table.assign(clear=table["clear"].eq(True))


# Why: docs/decisions.md, "A change of one question has another interval than a score."
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
    one, other = panel.aligned(*sides)
    found = pd.DataFrame(score.compare_items(one, other, metric)).drop(columns="p")
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


ONLY = ("Came closer", "Moved away", "Refused or unreadable", "Off the options")


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
            table["mass"] < option_mass.LOW,
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


def items_finding(table: pd.DataFrame, where: str = "") -> wording.Finding:
    """What the list of questions says: where model and people are furthest apart, where nearest.

    where: the country's name, "" for all countries.
    """
    scored = table.dropna(subset="value").sort_values(["value", "position"])
    if scored.empty:
        return wording.Finding("Question by question", "No question has a score yet.")
    far = [f"“{label}”" for label in scored["label"].head(3)]
    near = [f"“{label}”" for label in scored["label"].tail(3)[::-1]]
    people = f"people in {wording.country(where)}" if where else "people"
    headline = f"The model is furthest from {people} on {far[0]}"
    if len(scored) < 6:
        return wording.Finding(headline, "")
    text = [
        f"Of {wording.count(len(scored), 'question')}, its answers are furthest from those of "
        f"{people} on {wording.listed(far)}, and nearest on {wording.listed(near)}."
    ]
    changed = table[table["clear"]].sort_values("change")
    moved = []
    if len(changed) and (closer := round(changed["change"].iloc[-1])) > 0:
        moved.append(
            f"brought it {wording.count(closer, 'point')} closer on “{changed['label'].iloc[-1]}”"
        )
    if len(changed) and (away := round(-changed["change"].iloc[0])) > 0:
        moved.append(
            f"took it {wording.count(away, 'point')} further away on “{changed['label'].iloc[0]}”"
        )
    if moved:
        text.append(f"Naming a country {', and '.join(moved)}.")
    elif table["change"].notna().any() and changed.empty:
        text.append("What naming a country changed is too small to call on every single question.")
    return wording.Finding(headline, " ".join(text))


def item_words(row: pd.Series) -> str:
    """One row of item_table as a sentence: its score between its lines, and what naming a country
    changed; "" where it has no score."""
    if not np.isfinite(row["value"]):
        return ""
    lines = [f"{wording.FLOOR} would score {wording.number(row['floor'], 0)}"]
    if np.isfinite(row["ceiling"]):
        lines.append(f"{wording.CEILING} {wording.number(row['ceiling'], 0)}")
    text = f"Score {wording.number(row['value'], 0)} of 100; {wording.listed(lines)}."
    if not np.isfinite(row["change"]):
        return text
    plain = f"Asked plainly {wording.number(row['before'], 0)}"
    if not row["clear"]:
        return f"{text} {plain}; the difference is too small to call."
    verb, way = ("brings", "closer") if row["change"] > 0 else ("takes", "further away")
    low, high = sorted(abs(row[end]) for end in ("low", "high"))
    # Other respondents may change nothing: where both runs lie on one side of people.
    narrow = wording.number(low) == wording.number(high)
    between = "" if narrow else f" ({wording.interval(low, high)})"
    points = f"{wording.number(abs(row['change']))} points {way}{between}"
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
        cells = shares_of(store, run, item)
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
    if "plain" in found and "" in (plain := shares_of(store, found["plain"], item)):
        rows.append(("", METHODS["plain"].name, "plain", plain[""]))
    cells = shares_of(store, found[method], item) if method else {}
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
    lay = panel.layout([item])
    cells = shares_of(store, by_method(asking)[method], item)
    rows = []
    for iso3 in asked_countries(store, asking):
        people = survey.shares.get((iso3, item.id))
        model = cells.get(iso3 if METHODS[method].needs_culture else "")
        if people is not None and model is not None:
            both = (mean_answer(lay, side[None])[0] for side in (people.values, model))
            rows.append((iso3, survey.culture(iso3).name, *both))
    return pd.DataFrame(rows, columns=["iso3", "name", "people", "model"]).dropna()


def raw_answers(store: Store, run: Run, item: Item, iso3: str) -> pd.DataFrame:
    """A run's answers to one item as they came, one row an option order or sample.

    Columns: number, shown (how the options were ordered, or which sample), answer (the option's
    words, "refused" or "cannot be read"), share (of the chosen option, NaN for written answers),
    mass, rule, text, seconds, state.
    """
    settings = run.settings
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
    if state in ("refused", "cut off"):
        return state
    if state == "contradictory":
        return "says two things"
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
    settings = run.settings
    asked = questionnaire_of(store, settings)
    persona = iso3 if METHODS[run.method].needs_culture else ""
    if settings.by_meaning:
        texts = questions(asked.survey, item if settings.own_item else None)
        vectors = embedding_cache.kept(store.home, run.facts.get("embedder_revision"), texts)
        asked = replace(asked, vectors=vectors)
    return asked.prompt(item, persona, number)


def as_read(run: Run, prompt: Rendered) -> str | None:
    """A prompt of a run with the model's chat template round it, to the letter; None of a run that
    kept no frames (imported, or asked before they were)."""
    frames = run.facts.get("chat_frames") or {}
    return framed(frames, run.settings.answering, prompt.messages)


def shown_orders(run: Run, item: Item) -> list[str]:
    """The words for each option order a run showed an item in; one entry for written answers."""
    settings = run.settings
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
    how = METHODS[method].asked.replace("each country", wording.country(name))
    return f"Asked {how}, the model {findings.verdict(item, people, plain, asked, name)}."


def scale_words(item: Item) -> str:
    """Which way an item's numbers run: "1 = very important … 4 = not at all important"."""
    if item.scale == "nominal":
        return "The answers have no order"
    on = [code for code in item.codes if code not in item.off_scale]
    low = item.low or item.option(on[0]).label
    high = item.high or item.option(on[-1]).label
    return f"{on[0]} = {low} … {on[-1]} = {high}"

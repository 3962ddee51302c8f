"""Which survey: one choice for every page that asks, shown once there is more than one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import streamlit as st

from core.jobs import askings
from core.store.store import Store
from core.survey.survey import BUNDLED_SURVEY, Survey
from core.views import runs
from pages.widgets import address, results, session

PEOPLE = "people:"


def key_of(survey: Survey) -> str:
    """What names a survey in the address, and in store.survey(): "id@version"."""
    bundled = survey is session.store().survey()
    return BUNDLED_SURVEY if bundled else f"{survey.id}@{survey.version}"


def on_shelf(store: Store) -> dict[str, str]:
    """Key -> name of every survey on the shelf: the bundled one, then the newest first."""
    rows = store.surveys().to_dict("records")
    rows = [row for row in rows if row["source"] != "bundled"]
    names = [row["name"] for row in rows]
    found = {BUNDLED_SURVEY: store.survey().name}
    for row in rows:
        twice = names.count(row["name"]) > 1
        when = f" · {row['added']:%-d %b %Y}, version {row['version'][:6]}" if twice else ""
        found[f"{row['id']}@{row['version']}"] = f"{row['name']}{when}"
    return found


def pick(page: str, also: Survey | None = None, **look: object) -> Survey:
    """The survey that a page works with; in the address as ?survey=.

    also: one to choose from besides those on the shelf, that of an answer being shown.
    """
    store = session.store()
    names = on_shelf(store)
    if also:
        names.setdefault(key_of(also), also.name)
    if len(names) == 1 and "survey" not in st.query_params:
        return store.survey()

    def newest(asked: str) -> str:
        """An id without its version stands for the newest one."""
        return next((key for key in names if key.split("@")[0] == asked), asked)

    chosen = address.linked(
        "Survey", names, name="survey", page=page, default=BUNDLED_SURVEY, read=newest, **look
    )
    address.unknown_in_address("survey", {*names, *(key.split("@")[0] for key in names)}, "survey")
    return store.survey(chosen)


def pick_source(page: str, known: Sequence[askings.Asking]) -> askings.Asking | Survey:
    """Choose whose answers are shown: those of an asking, or people's alone of any survey.

    In the address: ?run= and the id of a run, or "people:" and a survey. A link to a question
    alone opens a run that asked it.
    """
    names = {one.group: results.dated_name(one) for one in known}
    shelf = on_shelf(session.store())
    alone = {f"{PEOPLE}{key}": f"People alone: {name}" for key, name in shelf.items()}
    newest = {f"{PEOPLE}{key.split('@')[0]}": f"{PEOPLE}{key}" for key in reversed(shelf)}

    def read(asked: str) -> str:
        found = runs.find_asking(known, asked)
        return found.group if found else newest.get(asked, asked)

    default = runs.headline_asking(known, st.query_params.get("item", ""))
    chosen = address.linked(
        "Whose answers",
        {**names, **alone},
        name="run",
        page=page,
        default=default.group if default else next(iter(alone)),
        read=read,
    )
    address.unknown_in_address(
        "run", {run.id for one in known for run in one.runs} | {*names, *alone, *newest}, "run"
    )
    if chosen in alone:
        return session.store().survey(chosen.removeprefix(PEOPLE))
    return next(one for one in known if one.group == chosen)


def said_of(survey: Survey) -> str:
    """What a sentence adds to "52 questions" where they are not the bundled survey's."""
    return "" if survey.id == BUNDLED_SURVEY else f" of “{textwrap.shorten(survey.name, 40)}”"

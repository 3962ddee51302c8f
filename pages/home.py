"""What this is in two sentences, the headline and the map of the latest run, and three doors."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

import ui
from core import figures, views, words

DOORS = (
    # page, icon, its verb, what lies behind it
    ("ask", "forum", "Ask", "Put one question to a model, plainly and as people of countries, and "
     "watch the answers side by side."),
    ("map", "public", "Compare", "See how close a run comes in every country, or how far two runs "
     "differ, down to the single question."),
    ("tune", "tune", "Tune", "Teach a model from its own answers to come closer, and see on the "
     "same map what it changed."),
)  # fmt: skip


def open_country() -> None:
    click = figures.clicked(st.session_state["home_map"])
    if click.iso3:
        st.switch_page(
            "pages/country.py", query_params={"run": asking.group, "country": click.iso3}
        )


store = ui.store()
known = views.askings(store)
asking = views.headline_asking(known)

WHAT = (
    "Pluriscope asks a language model the questions of a world-wide survey, plainly and as a "
    "person from each country. It shows how close the answers come to those of the people there."
)


def so_far() -> None:
    """The first run while it is being made: how far it is, and the map as it fills."""
    now = views.headline_asking(views.askings(store))
    if now is None or views.is_complete(now):
        st.rerun()
    st.caption(ui.plain(f"Being asked: {now.name}") if busy else ui.plain(now.name))
    if now.job:
        ui.job_progress(now.job)
    result = views.headline_result(store, now)
    drawn = figures.closeness_map(result.table, dark=ui.is_dark(), narrow=ui.is_narrow())
    ui.figure(drawn, "home_so_far", config=figures.MAP_CONFIG)
    st.caption(ui.plain(f"So far: {result.kicker}"))
    with st.expander("As a table", key="home_table"):
        ui.table(drawn)


if asking is None:
    st.title(words.QUESTION)
    st.markdown(WHAT, width=ui.READING)
    ui.no_results("home")
    drawn = figures.closeness_map(views.unasked(store), dark=ui.is_dark(), narrow=ui.is_narrow())
    ui.figure(drawn, "home_blank", config=figures.MAP_CONFIG)
elif not views.is_complete(asking):
    st.title(words.QUESTION)
    st.markdown(WHAT, width=ui.READING)
    ui.teaching_note(*asking.runs)
    ui.evidence_note(*views.headline_runs(asking))
    busy = ui.jobs().busy()
    st.fragment(so_far, run_every=3.0 if busy else None)()
    if not busy:
        st.page_link("pages/run.py", label="Go on where it stopped", icon=":material/resume:")
else:
    st.caption(WHAT, width=ui.READING)
    with st.spinner("Comparing with people …"):
        result = views.headline_result(store, asking)
    st.title(ui.plain(result.finding.headline))
    st.markdown(ui.plain(result.finding.paragraph), width=ui.READING)
    ui.teaching_note(*asking.runs)
    ui.evidence_note(*views.headline_runs(asking))
    drawn = figures.closeness_map(result.table, dark=ui.is_dark(), narrow=ui.is_narrow())
    ui.figure(
        drawn,
        "home_map",
        config=figures.MAP_CONFIG,
        on_select=open_country,
        selection_mode="points",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(ui.plain(result.kicker), width="content")
        ui.provenance(*views.by_method(asking).values(), key="home_from")
        st.page_link("pages/map.py", label="As a ranked list", query_params={"face": "ranked"})
    with st.expander("As a table", key="home_map_table", type="compact"):
        ui.table(drawn)

st.space("small")
pages = Path(__file__).parent
for column, (page, icon, verb, what) in zip(st.columns(3, gap="large"), DOORS, strict=True):
    with column:
        there = (pages / f"{page}.py").exists()
        st.button(
            verb,
            icon=f":material/{icon}:",
            key=f"home_to_{page}",
            width="stretch",
            disabled=not there,
            on_click=lambda page=page: st.switch_page(f"pages/{page}.py"),
        )
        st.caption(what)

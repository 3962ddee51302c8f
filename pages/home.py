"""What this is in two sentences, the headline and the map of the latest run, and three doors."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.figures import base, maps
from core.views import findings, runs, score_map
from pages.widgets import get_model, job_status, results, session, text

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
    click = maps.clicked(st.session_state["home_map"])
    if click.iso3:
        st.switch_page(
            "pages/country.py", query_params={"run": asking.group, "country": click.iso3}
        )


store = session.store()
known = runs.askings(store)
asking = runs.headline_asking(known)

WHAT = (
    "Pluriscope asks a language model the questions of a world-wide survey, plainly and as a "
    "person from each country. It shows how close the answers come to those of the people there."
)


def so_far() -> None:
    """The first run while it is being made: how far it is, and the map as it fills."""
    now = runs.headline_asking(runs.askings(store))
    if now is None or runs.is_complete(now):
        st.rerun()
    st.caption(text.plain(f"Being asked: {now.name}") if busy else text.plain(now.name))
    if now.job:
        job_status.job_progress(now.job)
    result = score_map.headline_result(store, now)
    drawn = maps.closeness_map(result.table, dark=session.is_dark(), narrow=session.is_narrow())
    results.figure(drawn, "home_so_far", config=base.MAP_CONFIG)
    st.caption(text.plain(f"So far: {result.kicker}"))
    with st.expander("As a table", key="home_table"):
        results.table(drawn)


if asking is None:
    st.title(findings.QUESTION)
    st.markdown(WHAT, width=session.READING)
    results.no_results("home")
    drawn = maps.closeness_map(
        score_map.unasked(store), dark=session.is_dark(), narrow=session.is_narrow()
    )
    results.figure(drawn, "home_blank", config=base.MAP_CONFIG)
elif not runs.is_complete(asking):
    st.title(findings.QUESTION)
    st.markdown(WHAT, width=session.READING)
    results.teaching_note(*asking.runs)
    results.evidence_note(*runs.headline_runs(asking))
    busy = session.jobs().busy()
    st.fragment(so_far, run_every=3.0 if busy else None)()
    if not busy:
        st.page_link("pages/run.py", label="Go on where it stopped", icon=":material/resume:")
else:
    st.caption(WHAT, width=session.READING)
    with st.spinner("Comparing with people …"):
        result = score_map.headline_result(store, asking)
    st.title(text.plain(result.finding.headline))
    st.markdown(text.plain(result.finding.paragraph), width=session.READING)
    results.teaching_note(*asking.runs)
    results.evidence_note(*runs.headline_runs(asking))
    drawn = maps.closeness_map(result.table, dark=session.is_dark(), narrow=session.is_narrow())
    results.figure(
        drawn,
        "home_map",
        config=base.MAP_CONFIG,
        on_select=open_country,
        selection_mode="points",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(text.plain(result.kicker), width="content")
        results.provenance(*runs.by_method(asking).values(), key="home_from")
        st.page_link("pages/map.py", label="As a ranked list", query_params={"face": "ranked"})
    with st.expander("As a table", key="home_map_table", type="compact"):
        results.table(drawn)

get_model.offer("home")
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

"""How close the answers are to people's in every country: one selection, shown three ways.

The address holds the whole selection: run, wording, show, with, measure, about, face, by.
"""

from __future__ import annotations

import streamlit as st

from core import wording
from core.analysis import scores
from core.errors import PluriscopeError
from core.figures import base, maps, rankings
from core.metrics.metrics import METRICS
from core.views import export, findings, runs, score_map
from pages.widgets import address, methods, results, session, text

FACES = {"map": "Map", "ranked": "Ranked", "table": "Table"}
CHANGE = "change"


def open_country(iso3: str) -> None:
    st.switch_page("pages/country.py", query_params={"run": asking.group, "country": iso3})


def clicked(key: str) -> None:
    click = maps.clicked(st.session_state[key])
    if click.iso3:
        open_country(click.iso3)
    picked = None if click.bin is None else (scale, click.bin)
    st.session_state["map_bin"] = None if picked == st.session_state.get("map_bin") else picked


def clicked_name() -> None:
    names = runs.country_names(store, asking)
    open_country(next(c for c, name in names.items() if name == st.session_state["map_row"].label))


def show_all() -> None:
    st.session_state["map_bin"] = None


def chosen_country() -> None:
    if st.session_state["map_open"]:
        open_country(st.session_state["map_open"])


store = session.store()
known = runs.askings(store)
if not known:
    st.title(findings.QUESTION)
    results.no_results("map")
    st.stop()

head = st.container(gap="small")

# -- what is shown ---------------------------------------------------------------------------------

which, against, measured, topics = st.columns([3, 3, 2, 2])
with which:
    whole = results.pick_asking("map", known)
    asking = methods.pick_wording_of("map", whole)
by_method = runs.by_method(asking)
others = runs.listed_names(known)
with against:
    other_id = address.linked(
        "Compare with",
        {"": "Nothing else", **others},
        name="with",
        page="map",
        default="",
        help="Another run. The map then shows how much closer the first comes than this one.",
    )
with measured:
    measure = results.pick_measure("map")
with topics:
    topic = address.linked(
        "Topic",
        {"": "All topics", **{t: t for t in runs.asked_topics(store, asking)}},
        name="about",
        page="map",
        default="",
    )

named = runs.persona_method(asking)
shows = {method: run.way for method, run in by_method.items()}
if not other_id and named and "plain" in by_method:
    shows[CHANGE] = "The change"
with st.container(horizontal=True, horizontal_alignment="distribute"):
    show = address.linked(
        "How the model was asked",
        shows,
        name="show",
        page="map",
        default=named or next(iter(by_method)),
        widget=st.segmented_control,
        label_visibility="collapsed",
    )
    face = address.linked(
        "Shown as",
        FACES,
        name="face",
        page="map",
        default="map",
        widget=st.segmented_control,
        label_visibility="collapsed",
    )

run = by_method[named if show == CHANGE else show]
before = store.run(other_id) if other_id else by_method["plain"] if show == CHANGE else None
scale = (measure, before is not None)

# -- one call, then the figure ---------------------------------------------------------------------

try:
    with head, st.spinner("Comparing with people …"):
        result = score_map.map_result(store, run, before, measure, topic)
        moves = (
            None
            if before
            else session.remembered(runs.format_spread, whole, run.method, measure, topic)
        )
except PluriscopeError as error:
    with head:
        st.title(findings.QUESTION)
        st.write(text.plain(str(error)))
    st.stop()

with head:
    st.caption(text.plain(result.kicker))
    st.title(text.plain(result.finding.headline))
    st.markdown(text.plain(result.finding.paragraph), width=session.READING)
    results.teaching_note(run, *([before] if before else []))
    results.evidence_note(run, *([before] if before else []))
    results.under_way_note(asking)
    methods.format_note(moves)

file_name = f"pluriscope-{run.id}{f'-and-{before.id}' if before else ''}-{measure}"
label = METRICS[measure].label
by_zone = (
    "" if before else score_map.zone_words(session.remembered(scores.zones, run, measure, topic))
)
look = {
    "metric": measure,
    "label": f"Change in {label[0].lower()}{label[1:]}" if before else label,
    "dark": session.is_dark(),
    "narrow": session.is_narrow(),
}
if face == "ranked":
    if before:
        drawn = rankings.change_bars(result.table, **look)
    else:
        together = address.linked(
            "Order",
            {"": "All together", "zone": "By part of the world"},
            name="by",
            page="map",
            default="",
            widget=st.segmented_control,
            label_visibility="collapsed",
        )
        by_zone = by_zone if together == "" else ""  # the list says it already
        drawn = rankings.closeness_bars(
            result.table,
            kind=run.method,
            by_region=together == "zone",
            muted=moves is not None and moves.greyed,
            **look,
        )
    results.figure(
        drawn,
        "map_ranked",
        file_name=file_name,
        on_select=lambda: clicked("map_ranked"),
        selection_mode="points",
    )
else:
    draw = maps.change_map if before else maps.closeness_map
    # A bin that was picked stays picked as long as the scale is the same.
    of, only_bin = st.session_state.get("map_bin") or (None, None)
    only_bin = only_bin if of == scale else None
    drawn = draw(result.table, only_bin=only_bin, **look)
    if face == "map":
        results.figure(
            drawn,
            "map_figure",
            config=base.MAP_CONFIG,
            file_name=file_name,
            on_select=lambda: clicked("map_figure"),
            selection_mode="points",
        )
        if only_bin is not None:
            st.button("Show all countries again", type="tertiary", on_click=show_all)
    else:
        name = st.column_config.ButtonColumn(
            "Country",
            type="tertiary",
            alignment="left",
            pinned=True,
            key="map_row",
            on_click=clicked_name,
        )
        results.table(drawn, {"Country": name}, height=700)

if by_zone:
    st.caption(text.plain(by_zone))
st.caption(METRICS[measure].meaning + " " + wording.CAUTION)
with st.container(horizontal=True, vertical_alignment="center"):
    st.selectbox(
        "Open a country",
        runs.asked_countries(store, asking),
        index=None,
        format_func=runs.country_names(store, asking).get,
        placeholder="Open a country …",
        key="map_open",
        on_change=chosen_country,
        label_visibility="collapsed",
        width=260,
    )
    results.provenance(run, *([before] if before else []), key="map_from")
    shown = export.download_table(store, result.table, run, before, measure, topic)
    results.downloads(shown, file_name, run, before)
    address.share(
        "map", run=asking.group, show=show, **{"with": other_id}, measure=measure, about=topic,
        face=face, **{name: st.query_params.get(name, "") for name in ("by", "wording")},
    )  # fmt: skip

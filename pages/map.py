"""How close the answers are to people's in every country: one selection, shown three ways.

The address holds the whole selection: run, wording, show, with, measure, about, face, by.
"""

from __future__ import annotations

import streamlit as st

import ui
import ui_methods
from core import figures, scores, views, words
from core.errors import PluriscopeError
from core.metrics import METRICS

FACES = {"map": "Map", "ranked": "Ranked", "table": "Table"}
CHANGE = "change"


def open_country(iso3: str) -> None:
    st.switch_page("pages/country.py", query_params={"run": asking.group, "country": iso3})


def clicked(key: str) -> None:
    click = figures.clicked(st.session_state[key])
    if click.iso3:
        open_country(click.iso3)
    picked = None if click.bin is None else (scale, click.bin)
    st.session_state["map_bin"] = None if picked == st.session_state.get("map_bin") else picked


def clicked_name() -> None:
    names = views.country_names(store, asking)
    open_country(next(c for c, name in names.items() if name == st.session_state["map_row"].label))


def show_all() -> None:
    st.session_state["map_bin"] = None


def chosen_country() -> None:
    if st.session_state["map_open"]:
        open_country(st.session_state["map_open"])


store = ui.store()
known = views.askings(store)
if not known:
    st.title(words.QUESTION)
    ui.no_results("map")
    st.stop()

head = st.container(gap="small")

# -- what is shown ---------------------------------------------------------------------------------

which, against, measured, topics = st.columns([3, 3, 2, 2])
with which:
    whole = ui.pick_asking("map", known)
    asking = ui_methods.pick_wording_of("map", whole)
by_method = views.by_method(asking)
others = views.comparable(known)
with against:
    other_id = ui.linked(
        "Compare with",
        {"": "Nothing else", **others},
        name="with",
        page="map",
        default="",
        help="Another run. The map then shows how much closer the first comes than this one.",
    )
with measured:
    measure = ui.pick_measure("map")
with topics:
    topic = ui.linked(
        "Topic",
        {"": "All topics", **{t: t for t in views.asked_topics(store, asking)}},
        name="about",
        page="map",
        default="",
    )

named = views.persona_method(asking)
shows = {method: run.way for method, run in by_method.items()}
if not other_id and named and "plain" in by_method:
    shows[CHANGE] = "The change"
with st.container(horizontal=True, horizontal_alignment="distribute"):
    show = ui.linked(
        "How the model was asked",
        shows,
        name="show",
        page="map",
        default=named or next(iter(by_method)),
        widget=st.segmented_control,
        label_visibility="collapsed",
    )
    face = ui.linked(
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
        result = views.map_result(store, run, before, measure, topic)
        moves = (
            None
            if before
            else ui.remembered(views.format_spread, whole, run.method, measure, topic)
        )
except PluriscopeError as error:
    with head:
        st.title(words.QUESTION)
        st.write(ui.plain(str(error)))
    st.stop()

with head:
    st.caption(ui.plain(result.kicker))
    st.title(ui.plain(result.finding.headline))
    st.markdown(ui.plain(result.finding.paragraph), width=ui.READING)
    ui.teaching_note(run, *([before] if before else []))
    ui.evidence_note(run, *([before] if before else []))
    ui.under_way_note(asking)
    ui_methods.format_note(moves)

file_name = f"pluriscope-{run.id}{f'-and-{before.id}' if before else ''}-{measure}"
label = METRICS[measure].label
by_zone = "" if before else views.zone_words(ui.remembered(scores.zones, run, measure, topic))
look = {
    "metric": measure,
    "label": f"Change in {label[0].lower()}{label[1:]}" if before else label,
    "dark": ui.is_dark(),
    "narrow": ui.is_narrow(),
}
if face == "ranked":
    if before:
        drawn = figures.change_bars(result.table, **look)
    else:
        together = ui.linked(
            "Order",
            {"": "All together", "zone": "By part of the world"},
            name="by",
            page="map",
            default="",
            widget=st.segmented_control,
            label_visibility="collapsed",
        )
        by_zone = by_zone if together == "" else ""  # the list says it already
        drawn = figures.closeness_bars(
            result.table,
            kind=run.method,
            by_region=together == "zone",
            muted=moves is not None and moves.greyed,
            **look,
        )
    ui.figure(
        drawn,
        "map_ranked",
        file_name=file_name,
        on_select=lambda: clicked("map_ranked"),
        selection_mode="points",
    )
else:
    draw = figures.change_map if before else figures.closeness_map
    # A bin that was picked stays picked as long as the scale is the same.
    of, only_bin = st.session_state.get("map_bin") or (None, None)
    only_bin = only_bin if of == scale else None
    drawn = draw(result.table, only_bin=only_bin, **look)
    if face == "map":
        ui.figure(
            drawn,
            "map_figure",
            config=figures.MAP_CONFIG,
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
        ui.table(drawn, {"Country": name}, height=700)

if by_zone:
    st.caption(ui.plain(by_zone))
st.caption(views.MEASURES[measure] + " " + words.CAUTION)
with st.container(horizontal=True, vertical_alignment="center"):
    st.selectbox(
        "Open a country",
        views.asked_countries(store, asking),
        index=None,
        format_func=views.country_names(store, asking).get,
        placeholder="Open a country …",
        key="map_open",
        on_change=chosen_country,
        label_visibility="collapsed",
        width=260,
    )
    ui.provenance(run, *([before] if before else []), key="map_from")
    shown = views.download_table(store, result.table, run, before, measure, topic)
    ui.downloads(shown, file_name, run, before)
    ui.share(
        "map", run=asking.group, show=show, **{"with": other_id}, measure=measure, about=topic,
        face=face, **{name: st.query_params.get(name, "") for name in ("by", "wording")},
    )  # fmt: skip

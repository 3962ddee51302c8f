"""Is a score about the country at all? One run, or two, seen six ways; one of them at a time.

The address holds run, show, with, measure and face, and what each face lets one choose.
"""

from __future__ import annotations

import streamlit as st

import ui
import ui_methods
from core import comparing, figures, relation_figures, value_figures, views, words
from core.errors import PluriscopeError
from core.metrics import METRICS

QUESTION = "Is it about the country at all?"
FACES = {
    "like": "Who is it like",
    "apart": "How different are they",
    "values": "Map of values",
    "topics": "Topics by country",
    "ladder": "Ladder",
    "rates": "What was lost",
}
ORDERS = {"alike": "Alike next to alike", "zone": "By part of the world"}

store = ui.store()
known = views.askings(store)
if not known:
    st.title(QUESTION)
    ui.no_results("compare")
    st.stop()

head = st.container(gap="small")

# -- what is compared ------------------------------------------------------------------------------

which, against, measured = st.columns([3, 3, 2])
with which:
    asking = ui_methods.pick_wording_of("compare", ui.pick_asking("compare", known))
by_method = views.by_method(asking)
named = views.persona_method(asking)
with st.container(horizontal=True, horizontal_alignment="distribute"):
    show = ui.linked(
        "How the model was asked",
        {method: run.way for method, run in by_method.items()},
        name="show",
        page="compare",
        default=named or next(iter(by_method)),
        widget=st.segmented_control,
        label_visibility="collapsed",
    )
run = by_method[show]
own_plain = by_method.get("plain") if show != "plain" else None
with against:
    other_id = ui.linked(
        "Beside",
        {
            "": "The same model asked plainly" if own_plain else "Nothing else",
            **{
                other.id: views.run_label(one, method)
                for one in known
                for method, other in views.by_method(one).items()
                if other.id not in (run.id, own_plain and own_plain.id)
            },
        },
        name="with",
        page="compare",
        default="",
        help="A second run: before and after tuning, say, or another model.",
    )
with measured:
    measure = ui.pick_measure("compare")
before = store.run(other_id) if other_id else own_plain
face = ui.linked(
    "What to see",
    FACES,
    name="face",
    page="compare",
    default="like",
    widget=st.segmented_control,
    label_visibility="collapsed",
)

label, dark, narrow = METRICS[measure].label, ui.is_dark(), ui.is_narrow()
look, kind = {"dark": dark, "narrow": narrow}, comparing.look(run)
names = views.country_names(store, asking)
zones = views.country_zones(store, asking)


def computed(make, *arguments):
    """A table of core/comparing.py, kept; a spinner stands in the frame while it is made."""
    with head, st.spinner("Comparing with people …"):
        return ui.remembered(make, *arguments)


def open_with(finding: words.Finding) -> None:
    with head:
        st.caption(ui.plain(views.run_kicker(store, run)))
        st.title(ui.plain(finding.headline))
        st.markdown(ui.plain(finding.paragraph), width=ui.READING)
        ui.teaching_note(run, *([before] if before else []))
        ui.evidence_note(run, *([before] if before else []))
        ui.under_way_note(asking)


def pick_order() -> str:
    return ui.linked(
        "Order of the countries",
        ORDERS,
        name="order",
        page="compare",
        default="alike",
        widget=st.segmented_control,
        label_visibility="collapsed",
    )


def ordered(alike, order: str) -> tuple[str, ...]:
    return comparing.by_zone(alike, zones) if order == "zone" else tuple(alike)


# -- the faces: each makes one table, says one sentence and gives what can be downloaded -----------


def show_like():
    if not comparing.names_country(run):
        scored = computed(views.map_result, run, None, measure).table
        open_with(comparing.plain_finding(scored))
        drawn = figures.closeness_bars(scored, metric=measure, label=label, kind=kind, **look)
        ui.figure(drawn, "compare_plain", on_select=clicked_country, selection_mode="points")
        with st.expander("As a table"):
            ui.table(drawn)
        return scored
    found = computed(comparing.fits, run, measure)
    open_with(comparing.fits_finding(found))
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        order = pick_order()
        centred = ui.linked(
            "What is shown",
            {"raw": "As scored", "centred": "What all share taken out"},
            name="cells",
            page="compare",
            default="raw",
            widget=st.segmented_control,
            label_visibility="collapsed",
        )
    matrix = st.container()
    least = found.personas.sort_values("rank", ascending=False).iloc[0]
    st.subheader("What separates them")
    one, other = st.columns(2)
    choice = {iso3: names[iso3] for iso3 in sorted(found.alike, key=names.get)}
    with one:
        persona = ui.linked(
            "As a person from", choice, name="persona", page="compare", default=least["iso3"],
            read=str.upper,
        )  # fmt: skip
    rest = {iso3: name for iso3, name in choice.items() if iso3 != persona}
    best = found.personas.set_index("iso3")["best"][persona]
    with other:
        country = ui.linked(
            "Against people in", rest, name="against", page="compare",
            default=best if best in rest else next(iter(rest)), read=str.upper,
        )  # fmt: skip
    with matrix:
        drawn = relation_figures.fit_matrix(
            found.cells, found.personas, ordered(found.alike, order), centred=centred == "centred",
            chosen=(persona, country), label=label, **look,
        )  # fmt: skip
        ui.figure(drawn, "compare_matrix", on_select=clicked_cell, selection_mode="points")
        st.caption(
            "A row is the model as a person from one country, a column the people of one. "
            + (
                "Choose a cell to see the questions that tell the two countries apart."
                if len(choice) <= relation_figures.MOST_CLICKED
                else "Choose two countries below to see the questions that tell them apart."
            )
        )
        with st.expander("As a table"):
            ui.table(drawn)
    apart = ui.remembered(comparing.separating, run, persona, country)
    rows = relation_figures.separating_rows(
        apart, persona=names[persona], country=names[country], kind=kind, dark=dark
    )
    ui.figure(rows, "compare_separating", on_select=clicked_item, selection_mode="points")
    with st.expander("As a table"):
        ui.table(rows)
    return found.cells


def clicked_country() -> None:
    click = figures.clicked(st.session_state["compare_plain"])
    if click.iso3:
        st.switch_page("pages/country.py", query_params={"run": run.id, "country": click.iso3})


def clicked_cell() -> None:
    cell = relation_figures.picked(st.session_state["compare_matrix"])
    if len(cell) == 2 and cell[0] != cell[1]:
        ui.link_to("compare", "persona", cell[0])
        ui.link_to("compare", "against", cell[1])


def clicked_item() -> None:
    item = relation_figures.picked(st.session_state["compare_separating"])
    if item:
        persona = st.session_state["compare_persona"]
        st.switch_page(
            "pages/items.py", query_params={"run": run.id, "country": persona, "item": item[0]}
        )


def show_apart():
    found = computed(comparing.spread, run)
    change = computed(comparing.spread_change, before, run) if before else None
    open_with(comparing.spread_finding(found, change))
    with head, st.spinner("Looking at the other runs …"):
        alike = comparing.comparable(store, run)
        standings = [ui.remembered(comparing.standing, one, measure) for one in alike]
    drawn = relation_figures.closeness_diversity(
        comparing.standing_table(standings), mine=run.id, metric=measure, label=label, **look
    )
    ui.figure(drawn, "compare_standing", on_select=clicked_run, selection_mode="points")
    st.caption(
        ui.plain(
            f"{words.capital(words.count(len(standings), 'run'))} with the same questions and "
            "countries. To the right, the model’s answers differ more from country to country; "
            "the ink dot is people themselves."
        )
    )
    top = max(found.model.to_numpy().max(), found.people.to_numpy().max())
    sides = st.columns(2, gap="large")
    tables = {}
    for column, table, title, key in zip(
        sides,
        (found.people, found.model),
        ("People", "The model"),
        ("compare_people", "compare_model"),
        strict=True,
    ):
        with column:
            tables[key] = relation_figures.distance_matrix(
                table, names, title=title, top=top, **look
            )
            ui.figure(tables[key], key)
    st.caption(comparing.distances_caption(found))
    with st.expander("As tables"):
        for table in (drawn, *tables.values()):
            ui.table(table)
    return comparing.distance_table(found)


def clicked_run() -> None:
    one = relation_figures.picked(st.session_state["compare_standing"])
    if one and one[0] != run.id:
        ui.link_to("compare", "run", store.run(one[0]).group)
        ui.link_to("compare", "show", store.run(one[0]).method)


def show_values():
    found = computed(comparing.value_map, run, before)
    open_with(comparing.map_finding(found, before))
    left, right = st.columns([5, 3], gap="large")
    with left:
        known = found.model.loc[found.model["iso3"] != "", ["iso3", "name"]].sort_values("name")
        chosen = ""
        if len(known):
            chosen = ui.linked(
                "Point out",
                {"": "Nobody in particular", **dict(known.itertuples(index=False))},
                name="country",
                page="compare",
                default="",
                read=str.upper,
                label_visibility="collapsed",
                width=260,
            )
        drawn = value_figures.value_map(
            found.people,
            found.model,
            kind=kind,
            before_kind=comparing.look(before) if before else "",
            chosen=chosen,
            **look,
        )
        ui.figure(drawn, "compare_values")
        with st.expander("As a table"):
            ui.table(drawn)
    with right:
        st.markdown("##### What the two axes are made of")
        st.table(
            value_figures.loadings_table(found.loadings)[["What counts", "Axis", "Loading"]],
            hide_index=True,
            border="horizontal",
        )
        for sentence in comparing.map_notes(found):
            st.caption(ui.plain(sentence))
    return found.model


def show_topics():
    grid = "score"
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        order = pick_order()
        if before:
            grid = ui.linked(
                "What is shown",
                {"score": "Scores", "change": "The change"},
                name="grid",
                page="compare",
                default="change",
                widget=st.segmented_control,
                label_visibility="collapsed",
            )
    table = computed(comparing.topics, run, before if grid == "change" else None, measure)
    open_with(comparing.topics_finding(table))
    alike = ui.remembered(comparing.alike, run)
    drawn = relation_figures.topic_grid(
        table, ordered(alike, order), metric=measure, label=label, **look
    )
    ui.figure(drawn, "compare_topics", on_select=clicked_topic, selection_mode="points")
    st.caption("Choose a cell to see its questions. " + views.MEASURES[measure])
    with st.expander("As a table"):
        ui.table(drawn)
    return table


def clicked_topic() -> None:
    cell = relation_figures.picked(st.session_state["compare_topics"])
    if len(cell) == 2:
        st.switch_page(
            "pages/items.py",
            query_params={"run": run.id, "country": cell[1], "topics": cell[0]},
        )


def show_ladder():
    table = computed(comparing.ladder, run, before, measure)
    open_with(comparing.ladder_finding(table, run))
    drawn = relation_figures.ladder(table, metric=measure, label=label, **look)
    ui.figure(drawn, "compare_ladder")
    st.caption(views.MEASURES[measure] + " " + comparing.LADDER_NOTE)
    with st.expander("As a table"):
        ui.table(drawn)
    return table


def show_rates():
    table = computed(comparing.rates, run)
    open_with(comparing.rates_finding(table))
    drawn = relation_figures.rate_rows(table, kind=kind, **look)
    ui.figure(drawn, "compare_rates")
    st.caption(comparing.RATES_NOTE)
    with st.expander("As a table"):
        ui.table(drawn)
    return table


SHOWN = {
    "like": show_like,
    "apart": show_apart,
    "values": show_values,
    "topics": show_topics,
    "ladder": show_ladder,
    "rates": show_rates,
}

try:
    table = SHOWN[face]()
except PluriscopeError as error:
    with head:
        st.title(QUESTION)
        st.write(ui.plain(str(error)))
    st.stop()

with st.container(horizontal=True, vertical_alignment="center"):
    ui.provenance(run, *([before] if before else []), key="compare_from")
    shown = views.download_table(store, table, run, before, measure)
    ui.downloads(shown, f"pluriscope-{run.id}-{face}", run, before)
    more = ("wording", "order", "cells", "persona", "against", "country", "grid")
    ui.share(
        "compare", run=asking.group, show=show, **{"with": other_id}, measure=measure, face=face,
        **{name: st.query_params.get(name, "") for name in more},
    )  # fmt: skip
st.caption(words.CAUTION)

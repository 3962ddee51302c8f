"""Is a score about the country at all? One run, or two, seen six ways; one of them at a time.

The address holds run, show, with, measure and face, and what each face lets one choose.
"""

from __future__ import annotations

import streamlit as st

from core import wording
from core.errors import PluriscopeError
from core.figures import compare as figures_compare
from core.figures import maps, rankings
from core.figures import value_map as figures_value_map
from core.figures.compare import closeness_diversity, separating_rows
from core.figures.matrices import (
    MOST_CLICKED,
    distance_matrix,
    fit_matrix,
    picked,
    topic_grid,
)
from core.metrics.metrics import METRICS
from core.views import compare, export, runs, score_map
from core.views.ladder import LADDER_NOTE, ladder, ladder_finding
from core.views.tables import distance_table
from core.views.value_map import map_finding, map_notes, value_map
from pages.widgets import address, methods, results, session, text

QUESTION = "Is it about the country at all?"
# Why: docs/decisions.md, "One face of Compare at a time."
FACES = {
    "like": "Who is it like",
    "apart": "How different are they",
    "values": "Map of values",
    "topics": "Topics by country",
    "ladder": "Ladder",
    "rates": "What was lost",
}
ORDERS = {"alike": "Alike next to alike", "zone": "By part of the world"}

store = session.store()
known = runs.askings(store)
if not known:
    st.title(QUESTION)
    results.no_results("compare")
    st.stop()

head = st.container(gap="small")

# -- what is compared ------------------------------------------------------------------------------

which, against, measured = st.columns([3, 3, 2])
with which:
    asking = methods.pick_wording_of("compare", results.pick_asking("compare", known))
by_method = runs.by_method(asking)
named = runs.persona_method(asking)
with st.container(horizontal=True, horizontal_alignment="distribute"):
    show = address.linked(
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
    other_id = address.linked(
        "Beside",
        {
            "": "The same model asked plainly" if own_plain else "Nothing else",
            **{
                other.id: runs.listed_name(one, method)
                for one in known
                for method, other in runs.by_method(one).items()
                if other.id not in (run.id, own_plain and own_plain.id)
            },
        },
        name="with",
        page="compare",
        default="",
        help="A second run: before and after tuning, say, or another model.",
    )
with measured:
    measure = results.pick_measure("compare")
before = store.run(other_id) if other_id else own_plain
face = address.linked(
    "What to see",
    FACES,
    name="face",
    page="compare",
    default="like",
    widget=st.segmented_control,
    label_visibility="collapsed",
)

label, dark, narrow = METRICS[measure].label, session.is_dark(), session.is_narrow()
look, kind = {"dark": dark, "narrow": narrow}, compare.look(run)
names = runs.country_names(store, asking)
zones = runs.country_zones(store, asking)


def computed(make, *arguments):
    """A table of core/views/compare.py, kept; a spinner stands in the frame while it is made."""
    with head, st.spinner("Comparing with people …"):
        return session.remembered(make, *arguments)


def open_with(finding: wording.Finding) -> None:
    with head:
        st.caption(text.plain(runs.run_kicker(store, run)))
        st.title(text.plain(finding.headline))
        st.markdown(text.plain(finding.paragraph), width=session.READING)
        results.teaching_note(run, *([before] if before else []))
        results.evidence_note(run, *([before] if before else []))
        results.under_way_note(asking)


def pick_order() -> str:
    return address.linked(
        "Order of the countries",
        ORDERS,
        name="order",
        page="compare",
        default="alike",
        widget=st.segmented_control,
        label_visibility="collapsed",
    )


def ordered(alike, order: str) -> tuple[str, ...]:
    return compare.by_zone(alike, zones) if order == "zone" else tuple(alike)


# -- the faces: each makes one table, says one sentence and gives what can be downloaded -----------


def show_like():
    if not compare.names_country(run):
        scored = computed(score_map.map_result, run, None, measure).table
        open_with(compare.plain_finding(scored))
        drawn = rankings.closeness_bars(scored, metric=measure, label=label, kind=kind, **look)
        results.figure(drawn, "compare_plain", on_select=clicked_country, selection_mode="points")
        with st.expander("As a table"):
            results.table(drawn)
        return scored
    found = computed(compare.fits, run, measure)
    open_with(compare.fits_finding(found))
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        order = pick_order()
        centred = address.linked(
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
        persona = address.linked(
            "As a person from", choice, name="persona", page="compare", default=least["iso3"],
            read=str.upper,
        )  # fmt: skip
    rest = {iso3: name for iso3, name in choice.items() if iso3 != persona}
    best = found.personas.set_index("iso3")["best"][persona]
    with other:
        country = address.linked(
            "Against people in", rest, name="against", page="compare",
            default=best if best in rest else next(iter(rest)), read=str.upper,
        )  # fmt: skip
    with matrix:
        drawn = fit_matrix(
            found.cells, found.personas, ordered(found.alike, order), centred=centred == "centred",
            chosen=(persona, country), label=label, **look,
        )  # fmt: skip
        results.figure(drawn, "compare_matrix", on_select=clicked_cell, selection_mode="points")
        st.caption(
            "A row is the model as a person from one country, a column the people of one. "
            + (
                "Choose a cell to see the questions that tell the two countries apart."
                if len(choice) <= MOST_CLICKED
                else "Choose two countries below to see the questions that tell them apart."
            )
        )
        with st.expander("As a table"):
            results.table(drawn)
    apart = session.remembered(compare.separating, run, persona, country)
    rows = separating_rows(
        apart, persona=names[persona], country=names[country], kind=kind, dark=dark
    )
    results.figure(rows, "compare_separating", on_select=clicked_item, selection_mode="points")
    with st.expander("As a table"):
        results.table(rows)
    return found.cells


def clicked_country() -> None:
    click = maps.clicked(st.session_state["compare_plain"])
    if click.iso3:
        st.switch_page("pages/country.py", query_params={"run": run.id, "country": click.iso3})


def clicked_cell() -> None:
    cell = picked(st.session_state["compare_matrix"])
    if len(cell) == 2 and cell[0] != cell[1]:
        address.link_to("compare", "persona", cell[0])
        address.link_to("compare", "against", cell[1])


def clicked_item() -> None:
    item = picked(st.session_state["compare_separating"])
    if item:
        persona = st.session_state["compare_persona"]
        st.switch_page(
            "pages/items.py", query_params={"run": run.id, "country": persona, "item": item[0]}
        )


def show_apart():
    found = computed(compare.spread, run)
    change = computed(compare.spread_change, before, run) if before else None
    open_with(compare.spread_finding(found, change))
    with head, st.spinner("Looking at the other runs …"):
        alike = compare.comparable(store, run)
        standings = [session.remembered(compare.standing, one, measure) for one in alike]
    drawn = closeness_diversity(
        compare.standing_table(standings), mine=run.id, metric=measure, label=label, **look
    )
    results.figure(drawn, "compare_standing", on_select=clicked_run, selection_mode="points")
    st.caption(
        text.plain(
            f"{wording.capital(wording.count(len(standings), 'run'))} with the same questions and "
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
            tables[key] = distance_matrix(table, names, title=title, top=top, **look)
            results.figure(tables[key], key)
    st.caption(compare.distances_caption(found))
    with st.expander("As tables"):
        for table in (drawn, *tables.values()):
            results.table(table)
    return distance_table(found)


def clicked_run() -> None:
    one = picked(st.session_state["compare_standing"])
    if one and one[0] != run.id:
        address.link_to("compare", "run", store.run(one[0]).group)
        address.link_to("compare", "show", store.run(one[0]).method)


def show_values():
    found = computed(value_map, run, before)
    open_with(map_finding(found, before))
    left, right = st.columns([5, 3], gap="large")
    with left:
        known = found.model.loc[found.model["iso3"] != "", ["iso3", "name"]].sort_values("name")
        chosen = ""
        if len(known):
            chosen = address.linked(
                "Point out",
                {"": "Nobody in particular", **dict(known.itertuples(index=False))},
                name="country",
                page="compare",
                default="",
                read=str.upper,
                label_visibility="collapsed",
                width=260,
            )
        drawn = figures_value_map.value_map(
            found.people,
            found.model,
            kind=kind,
            before_kind=compare.look(before) if before else "",
            chosen=chosen,
            **look,
        )
        results.figure(drawn, "compare_values")
        with st.expander("As a table"):
            results.table(drawn)
    with right:
        st.markdown("##### What the two axes are made of")
        st.table(
            figures_value_map.loadings_table(found.loadings)[["What counts", "Axis", "Loading"]],
            hide_index=True,
            border="horizontal",
        )
        for sentence in map_notes(found):
            st.caption(text.plain(sentence))
    return found.model


def show_topics():
    grid = "score"
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        order = pick_order()
        if before:
            grid = address.linked(
                "What is shown",
                {"score": "Scores", "change": "The change"},
                name="grid",
                page="compare",
                default="change",
                widget=st.segmented_control,
                label_visibility="collapsed",
            )
    table = computed(compare.topics, run, before if grid == "change" else None, measure)
    open_with(compare.topics_finding(table))
    alike = session.remembered(compare.alike, run)
    drawn = topic_grid(table, ordered(alike, order), metric=measure, label=label, **look)
    results.figure(drawn, "compare_topics", on_select=clicked_topic, selection_mode="points")
    st.caption("Choose a cell to see its questions. " + METRICS[measure].meaning)
    with st.expander("As a table"):
        results.table(drawn)
    return table


def clicked_topic() -> None:
    cell = picked(st.session_state["compare_topics"])
    if len(cell) == 2:
        st.switch_page(
            "pages/items.py",
            query_params={"run": run.id, "country": cell[1], "topics": cell[0]},
        )


def show_ladder():
    table = computed(ladder, run, before, measure)
    open_with(ladder_finding(table, run))
    drawn = figures_compare.ladder(table, metric=measure, label=label, **look)
    results.figure(drawn, "compare_ladder")
    st.caption(METRICS[measure].meaning + " " + LADDER_NOTE)
    with st.expander("As a table"):
        results.table(drawn)
    return table


def show_rates():
    table = computed(compare.rates, run)
    open_with(compare.rates_finding(table))
    drawn = figures_compare.rate_rows(table, kind=kind, **look)
    results.figure(drawn, "compare_rates")
    st.caption(compare.RATES_NOTE)
    with st.expander("As a table"):
        results.table(drawn)
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
        st.write(text.plain(str(error)))
    st.stop()

with st.container(horizontal=True, vertical_alignment="center"):
    results.provenance(run, *([before] if before else []), key="compare_from")
    shown = export.download_table(store, table, run, before, measure)
    results.downloads(shown, f"pluriscope-{run.id}-{face}", run, before)
    more = ("wording", "order", "cells", "persona", "against", "country", "grid")
    address.share(
        "compare", run=asking.group, show=show, **{"with": other_id}, measure=measure, face=face,
        **{name: st.query_params.get(name, "") for name in more},
    )  # fmt: skip
st.caption(wording.CAUTION)

"""Every question: search, filter and sort on one side; on the other, one question in full.

The address holds run, wording, country, item, measure, sort and detail, and the filters.
"""

from __future__ import annotations

import streamlit as st

import ui
import ui_methods
import ui_people
import ui_surveys
from core import figures, robustness, scores, views, words
from core.errors import PluriscopeError
from core.prompts import METHODS
from core.survey import Survey

DETAILS = {
    "answers": "Answers",
    "countries": "By country",
    "raw": "As it came",
    "prompt": "Exact prompt",
}


def clicked_row() -> None:
    chosen = st.session_state["items_table"]["selection"]
    rows = [row for row, _ in chosen["cells"]] or chosen["rows"]
    if rows:
        ui.link_to("items", "item", rows_shown["item"].iloc[rows[0]])


def step(by: int) -> None:
    shown = rows_shown["item"].tolist()
    at = shown.index(item.id) if item.id in shown else -1
    ui.link_to("items", "item", shown[(at + by) % len(shown)])


store = ui.store()
known = views.askings(store)
if not known and len(ui_surveys.on_shelf(store)) == 1:
    st.title("Question by question")
    ui.no_results("items")
    st.stop()

head = st.container(gap="small")

# -- what is listed --------------------------------------------------------------------------------

which, where, measured = st.columns([4, 3, 3])
with which:
    whole = ui_surveys.pick_source("items", known)
if isinstance(whole, Survey):
    ui_people.show(store, whole, head, where)
    st.stop()
with which:
    asking = ui_methods.pick_wording_of("items", whole)
names = views.country_names(store, asking)
with where:
    iso3 = ui.linked(
        "Country",
        {"": "All countries", **{c: names[c] for c in views.asked_countries(store, asking)}},
        name="country",
        page="items",
        default="",
        read=str.upper,
    )
with measured:
    measure = ui.pick_measure("items")

by_method = views.by_method(asking)
method = views.persona_method(asking) or next(iter(by_method))
before = by_method.get("plain") if method != "plain" else None
table = ui.remembered(views.item_table, by_method[method], before, measure, iso3)
held = ui.remembered(views.held, whole, method)
table = views.with_held(table, held, iso3)
finding = views.items_finding(table, names.get(iso3, ""))
with head:
    st.caption(ui.plain(views.run_kicker(store, by_method[method])))
    st.title(ui.plain(finding.headline))
    st.markdown(ui.plain(finding.paragraph), width=ui.READING)
    ui.teaching_note(*asking.runs)
    ui.evidence_note(*asking.runs)
    ui.under_way_note(asking)

listing, detail = st.columns([5, 6], gap="large")
with listing:
    search = st.text_input(
        "Search",
        key="q",
        bind="query-params",
        placeholder="Search the questions",
        label_visibility="collapsed",
        icon=":material/search:",
        live="300ms",
        max_chars=100,
    )
    topics = st.multiselect(
        "Topics",
        views.asked_topics(store, asking),
        key="topics",
        bind="query-params",
        placeholder="All topics",
        label_visibility="collapsed",
    )
    only = st.pills(
        "Only questions that",
        views.ONLY,
        selection_mode="multi",
        key="only",
        bind="query-params",
        label_visibility="collapsed",
    )
    sort = ui.linked(
        "Sort",
        views.SORTS,
        name="sort",
        page="items",
        default="worst",
        widget=st.segmented_control,
        label_visibility="collapsed",
    )
    rows_shown = views.arranged(table, search, topics, only, sort)
    st.caption(f"{len(rows_shown)} of {words.count(len(table), 'question')}")

by_id = {item.casefold(): item for item in table["item"]}  # a link may write q57
with detail, st.container(horizontal=True, vertical_alignment="center"):
    item_id = ui.linked(
        "Question",
        dict(zip(table["item"], table["label"], strict=True)),
        name="item",
        page="items",
        default=(rows_shown if len(rows_shown) else table)["item"].iloc[0],
        read=lambda asked: by_id.get(asked.casefold(), asked),
        label_visibility="collapsed",
    )
    alone = set(rows_shown["item"]) <= {item_id}
    st.button(
        "Previous", key="items_back", on_click=step, args=(-1,),
        disabled=alone,
    )  # fmt: skip
    st.button(
        "Next", key="items_on", on_click=step, args=(1,),
        disabled=alone,
    )  # fmt: skip
item = views.find_item(store, asking, item_id)

with listing:
    if rows_shown.empty:
        st.write("No question fits. Remove a filter, or search for another word.")
    else:
        # The row follows the question, however it was chosen.
        at = [row for row, one in enumerate(rows_shown["item"]) if one == item_id]
        st.session_state["items_table"] = {"selection": {"rows": at, "columns": [], "cells": []}}
        st.dataframe(
            ui.grey_unclear(
                rows_shown[
                    [
                        "label",
                        "value",
                        *(["change"] if before else []),
                        *(["held"] if len(held) else []),
                    ]
                ],
                rows_shown["clear"],
            ),
            key="items_table",
            placeholder="",
            hide_index=True,
            height=640 if len(rows_shown) > 17 else "content",
            on_select=clicked_row,
            selection_mode=["single-row", "single-cell"],
            column_config={
                "label": st.column_config.TextColumn("Question", width=150),
                "value": st.column_config.NumberColumn("Score", format="%.0f", width=70),
                "change": st.column_config.NumberColumn("Change", width=75, help=ui.CHANGE_HELP),
                "held": st.column_config.NumberColumn(
                    "Held",
                    format="percent",
                    width=70,
                    help="In how many wordings and orders the likeliest answer was the same",
                ),
            },
            alt="Questions with their scores; choose one to see it in full",
        )

# -- one question ----------------------------------------------------------------------------------

dark = ui.is_dark()


def show_answers() -> None:
    answers = views.answer_table(store, asking, item, iso3)
    drawn = figures.answer_bars(answers, country=names.get(iso3, ""), dark=dark)
    ui.figure(drawn, "item_answers")
    if not iso3:
        st.caption("People and personas are averaged over the countries asked.")
    said = views.answer_verdict(answers, item, method, names.get(iso3, ""))
    if said:
        st.markdown(ui.plain(said))
    here = held[(held["item"] == item.id) & (held["iso3"].isin([iso3, ""]) if iso3 else True)]
    if steady := robustness.held_words(here):
        st.caption(f":material/repeat: {ui.plain(steady)}")
    with st.expander("As a table"):
        ui.table(drawn)
    ui_people.groups(store, scores.survey_of(store, asking.runs[0]), item, iso3)


def show_countries() -> None:
    sides = {"people": "People", **{m: r.way for m, r in by_method.items() if m != "plain"}}
    if item.is_ordered:
        sides["both"] = "Both, on average"
    side = st.segmented_control(
        "Whose answers",
        list(sides),
        format_func=sides.get,
        default="people",
        required=True,
        key="item_side",
        persist_state="session",
        label_visibility="collapsed",
    )
    if side == "both":
        drawn = figures.means_scatter(
            views.item_means(store, asking, item, method), item, kind=method, dark=dark
        )
    else:
        rows = views.country_rows(store, asking, item, "" if side == "people" else side)
        drawn = figures.distribution_by_country(rows, item, dark=dark)
    ui.figure(drawn, "item_countries")
    with st.expander("As a table"):
        ui.table(drawn)


def show_raw() -> None:
    for asked, run in by_method.items():
        st.markdown(f"**{run.way}**")
        if not iso3 and METHODS[asked].needs_culture:
            st.caption("Choose a country above to see what was answered as a person from there.")
            continue
        answers = views.raw_answers(store, run, item, iso3)
        if answers.empty:
            st.caption("Not asked, or not answered yet.")
            continue
        ui.raw_answers(answers, key=f"item_raw_{asked}")


def show_prompt() -> None:
    asked = st.segmented_control(
        "Asked",
        list(by_method),
        format_func=lambda one: by_method[one].way,
        default=method,
        required=True,
        key="item_prompt_method",
        label_visibility="collapsed",
    )
    persona = iso3 or views.asked_countries(store, asking)[0]
    orders = views.shown_orders(by_method[asked], item)
    number = 0
    if len(orders) > 1:
        number = st.selectbox(
            "Order",
            range(len(orders)),
            format_func=orders.__getitem__,
            key="item_prompt_order",
            label_visibility="collapsed",
        )
    if METHODS[asked].needs_culture and not iso3:
        st.caption(ui.plain(f"Shown for {names[persona]}."))
    try:
        prompt = views.prompt_of(store, by_method[asked], item, persona, number)
    except PluriscopeError as error:  # recorded elsewhere, or its examples can be chosen no more
        st.caption(ui.plain(str(error)))
        return
    for message in prompt.messages:
        st.caption({"system": "System", "user": "User"}.get(message["role"], message["role"]))
        st.code(message["content"], language=None, wrap_lines=True)
    st.caption("Possible answers: " + ui.plain(", ".join(prompt.labels)))
    with st.expander("As the model reads it", type="compact"):
        if whole := views.as_read(by_method[asked], prompt):
            st.caption("To the letter: the model’s own chat template stands round the messages.")
            st.code(whole, language=None, wrap_lines=True)
        else:
            st.caption(
                "The model’s own chat template goes round these messages. What it writes was not "
                "kept with this run."
            )


with detail:
    ui.unknown_in_address("item", {*by_id, *by_id.values()}, "question")
    st.caption(ui.plain(f"{item.id} · {item.topic} · {views.scale_words(item)}"))
    st.subheader(ui.plain(item.question))
    if item.note:
        st.caption(ui.plain(item.note))
    if said := views.item_words(table.set_index("item").loc[item.id]):
        st.caption(ui.plain(said))
    face = ui.linked(
        "What to see",
        DETAILS,
        name="detail",
        page="items",
        default="answers",
        widget=st.segmented_control,
        label_visibility="collapsed",
    )
    {"answers": show_answers, "countries": show_countries, "raw": show_raw, "prompt": show_prompt}[
        face
    ]()
    with st.container(horizontal=True, vertical_alignment="center"):
        ui.provenance(*by_method.values(), key="items_from")
        ui.share(
            "items", run=asking.group, country=iso3, item=item_id, measure=measure, sort=sort,
            detail=face, q=search, topics=topics, only=only,
            wording=st.query_params.get("wording", ""),
        )  # fmt: skip

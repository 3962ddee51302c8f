"""Every question: search, filter and sort on one side; on the other, one question in full.

The address holds run, wording, country, item, measure, sort and detail, and the filters.
"""

from __future__ import annotations

import streamlit as st

from core import wording
from core.analysis import option_mass, robustness, scores
from core.errors import PluriscopeError
from core.figures.answers import answer_bars, distribution_by_country, means_scatter
from core.prompts.methods import METHODS
from core.survey.survey import Survey
from core.views import items, runs
from pages.widgets import address, methods, people, results, session, surveys, text

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
        address.link_to("items", "item", rows_shown["item"].iloc[rows[0]])


def step(by: int) -> None:
    shown = rows_shown["item"].tolist()
    at = shown.index(item.id) if item.id in shown else -1
    address.link_to("items", "item", shown[(at + by) % len(shown)])


store = session.store()
known = runs.askings(store)
if not known and len(surveys.on_shelf(store)) == 1:
    st.title("Question by question")
    results.no_results("items")
    st.stop()

head = st.container(gap="small")

# -- what is listed --------------------------------------------------------------------------------

which, where, measured = st.columns([4, 3, 3])
with which:
    whole = surveys.pick_source("items", known)
if isinstance(whole, Survey):
    people.show(store, whole, head, where)
    st.stop()
with which:
    asking = methods.pick_wording_of("items", whole)
names = runs.country_names(store, asking)
with where:
    iso3 = address.linked(
        "Country",
        {"": "All countries", **{c: names[c] for c in runs.asked_countries(store, asking)}},
        name="country",
        page="items",
        default="",
        read=str.upper,
    )
with measured:
    measure = results.pick_measure("items")

by_method = runs.by_method(asking)
method = runs.persona_method(asking) or next(iter(by_method))
before = by_method.get("plain") if method != "plain" else None
table = session.remembered(items.item_table, by_method[method], before, measure, iso3)
held = session.remembered(runs.held, whole, method)
table = items.with_held(table, held, iso3)
finding = items.items_finding(table, names.get(iso3, ""))
with head:
    st.caption(text.plain(runs.run_kicker(store, by_method[method])))
    st.title(text.plain(finding.headline))
    st.markdown(text.plain(finding.paragraph), width=session.READING)
    results.teaching_note(*asking.runs)
    results.evidence_note(*asking.runs)
    results.under_way_note(asking)

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
        runs.asked_topics(store, asking),
        key="topics",
        bind="query-params",
        placeholder="All topics",
        label_visibility="collapsed",
    )
    only = st.pills(
        "Only questions that",
        items.ONLY,
        selection_mode="multi",
        key="only",
        bind="query-params",
        label_visibility="collapsed",
    )
    sort = address.linked(
        "Sort",
        items.SORTS,
        name="sort",
        page="items",
        default="worst",
        widget=st.segmented_control,
        label_visibility="collapsed",
    )
    rows_shown = items.arranged(table, search, topics, only, sort)
    st.caption(f"{len(rows_shown)} of {wording.count(len(table), 'question')}")

by_id = {item.casefold(): item for item in table["item"]}  # a link may write q57
with detail, st.container(horizontal=True, vertical_alignment="center"):
    item_id = address.linked(
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
item = items.find_item(store, asking, item_id)

with listing:
    if rows_shown.empty:
        st.write("No question fits. Remove a filter, or search for another word.")
    else:
        # The row follows the question, however it was chosen.
        at = [row for row, one in enumerate(rows_shown["item"]) if one == item_id]
        st.session_state["items_table"] = {"selection": {"rows": at, "columns": [], "cells": []}}
        st.dataframe(
            results.grey_unclear(
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
                "change": st.column_config.NumberColumn(
                    "Change", width=75, help=results.CHANGE_HELP
                ),
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

dark = session.is_dark()


def show_answers() -> None:
    answers = items.answer_table(store, asking, item, iso3)
    drawn = answer_bars(answers, country=names.get(iso3, ""), dark=dark)
    results.figure(drawn, "item_answers")
    if not iso3:
        st.caption("People and personas are averaged over the countries asked.")
    said = items.answer_verdict(answers, item, method, names.get(iso3, ""))
    if said:
        st.markdown(text.plain(said))
    here = held[(held["item"] == item.id) & (held["iso3"].isin([iso3, ""]) if iso3 else True)]
    masses = table.set_index("item")["mass"]
    if low := option_mass.low_words(masses.get(item.id)):
        st.caption(f":material/percent: {text.plain(low)}")
    if steady := robustness.held_words(here):
        st.caption(f":material/repeat: {text.plain(steady)}")
    with st.expander("As a table"):
        results.table(drawn)
    people.groups(store, scores.survey_of(store, asking.runs[0]), item, iso3)


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
        drawn = means_scatter(
            items.item_means(store, asking, item, method), item, kind=method, dark=dark
        )
    else:
        rows = items.country_rows(store, asking, item, "" if side == "people" else side)
        drawn = distribution_by_country(rows, item, dark=dark)
    results.figure(drawn, "item_countries")
    with st.expander("As a table"):
        results.table(drawn)


def show_raw() -> None:
    for asked, run in by_method.items():
        st.markdown(f"**{run.way}**")
        if not iso3 and METHODS[asked].needs_culture:
            st.caption("Choose a country above to see what was answered as a person from there.")
            continue
        answers = items.raw_answers(store, run, item, iso3)
        if answers.empty:
            st.caption("Not asked, or not answered yet.")
            continue
        results.raw_answers(answers, key=f"item_raw_{asked}")


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
    persona = iso3 or runs.asked_countries(store, asking)[0]
    orders = items.shown_orders(by_method[asked], item)
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
        st.caption(text.plain(f"Shown for {names[persona]}."))
    try:
        prompt = items.prompt_of(store, by_method[asked], item, persona, number)
    except PluriscopeError as error:  # recorded elsewhere, or its examples can be chosen no more
        st.caption(text.plain(str(error)))
        return
    for message in prompt.messages:
        st.caption({"system": "System", "user": "User"}.get(message["role"], message["role"]))
        st.code(message["content"], language=None, wrap_lines=True)
    st.caption("Possible answers: " + text.plain(", ".join(prompt.labels)))
    with st.expander("As the model reads it", type="compact"):
        if whole := items.as_read(by_method[asked], prompt):
            st.caption("To the letter: the model’s own chat template stands round the messages.")
            st.code(whole, language=None, wrap_lines=True)
        else:
            st.caption(
                "The model’s own chat template goes round these messages. What it writes was not "
                "kept with this run."
            )


with detail:
    address.unknown_in_address("item", {*by_id, *by_id.values()}, "question")
    st.caption(text.plain(f"{item.id} · {item.topic} · {items.scale_words(item)}"))
    st.subheader(text.plain(item.question))
    if item.note:
        st.caption(text.plain(item.note))
    if said := items.item_words(table.set_index("item").loc[item.id]):
        st.caption(text.plain(said))
    face = address.linked(
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
        results.provenance(*by_method.values(), key="items_from")
        address.share(
            "items", run=asking.group, country=iso3, item=item_id, measure=measure, sort=sort,
            detail=face, q=search, topics=topics, only=only,
            wording=st.query_params.get("wording", ""),
        )  # fmt: skip

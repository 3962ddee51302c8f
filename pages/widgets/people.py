"""Questions with people's answers alone: what the page of items shows where no model was asked."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core import wording
from core.figures import answers
from core.store.store import Store
from core.survey.survey import Item, Survey
from core.views import items, people
from pages.widgets import address, results, session, surveys, text

DETAILS = {"answers": "Answers", "countries": "By country"}


@st.cache_data(max_entries=64, show_spinner=False)
def _table(key: str, iso3: str, _survey: Survey) -> pd.DataFrame:
    return people.item_table(_survey, iso3)


def show(store: Store, survey: Survey, head, where) -> None:
    """The page of a survey's questions. head: where its finding stands; where: its country."""
    names = {culture.iso3: culture.name for culture in survey.cultures}
    with where:
        iso3 = address.linked(
            "Country",
            {"": "All countries", **names},
            name="country",
            page="items",
            default="",
            read=str.upper,
        )
    table = _table(surveys.key_of(survey), iso3, survey)
    said = people.finding(table, names.get(iso3, ""))
    with head:
        st.caption(text.plain(f"{survey.name} · people’s answers, no model"))
        st.title(text.plain(said.headline))
        st.markdown(text.plain(said.paragraph), width=session.READING)
    listing, detail = st.columns([5, 6], gap="large")
    with listing:
        rows = _filtered(table, survey)
    with detail:
        item = _chosen_item(table, rows, survey)
    with listing:
        _list(rows, item.id)
    with detail:
        _item(store, survey, item, iso3, names)


def _filtered(table: pd.DataFrame, survey: Survey) -> pd.DataFrame:
    search = st.text_input(
        "Search", key="q", bind="query-params", placeholder="Search the questions",
        label_visibility="collapsed", icon=":material/search:", live="300ms", max_chars=100,
    )  # fmt: skip
    topics = ()
    if len(survey.topics) > 1:
        topics = st.multiselect(
            "Topics", survey.topics, key="topics", bind="query-params", placeholder="All topics",
            label_visibility="collapsed",
        )  # fmt: skip
    sort = address.linked(
        "Sort", people.SORTS, name="by", page="items", default="apart",
        widget=st.segmented_control, label_visibility="collapsed",
    )  # fmt: skip
    rows = people.arranged(table, search, topics, sort)
    st.caption(f"{len(rows):,} of {wording.count(len(table), 'question')}")
    return rows


def _chosen_item(table: pd.DataFrame, rows: pd.DataFrame, survey: Survey) -> Item:
    known = {item_id.casefold(): item_id for item_id in table["item"]}
    chosen = address.linked(
        "Question",
        dict(zip(table["item"], table["label"], strict=True)),
        name="item",
        page="items",
        default=(rows if len(rows) else table)["item"].iloc[0],
        read=lambda asked: known.get(asked.casefold(), asked),
        label_visibility="collapsed",
    )
    return survey.item(chosen)


def _list(rows: pd.DataFrame, item_id: str) -> None:
    if rows.empty:
        st.write("No question fits. Remove a filter, or search for another word.")
        return
    ids = rows["item"].tolist()

    def clicked() -> None:
        selection = st.session_state["people_table"]["selection"]
        hit = [row for row, _ in selection["cells"]] or selection["rows"]
        if hit:
            address.link_to("items", "item", ids[hit[0]])

    at = [row for row, one in enumerate(ids) if one == item_id]
    st.session_state["people_table"] = {"selection": {"rows": at, "columns": [], "cells": []}}
    st.dataframe(
        rows[["label", "apart", "countries"]],
        key="people_table",
        hide_index=True,
        placeholder="",
        height=640 if len(rows) > 17 else "content",
        on_select=clicked,
        selection_mode=["single-row", "single-cell"],
        column_config={
            "label": st.column_config.TextColumn("Question", width="medium"),
            "apart": st.column_config.NumberColumn(
                "Apart",
                format="%.0f",
                width=70,
                help="How far answers lie from the average of the other countries: 0 are the same, "
                "100 the two ends of the scale (normalised earth mover’s distance).",
            ),
            "countries": st.column_config.NumberColumn("Countries", width=80),
        },
        alt="Questions with how far apart people’s answers are; choose one to see it in full",
    )


def _item(store: Store, survey: Survey, item: Item, iso3: str, names: dict[str, str]) -> None:
    dark = session.is_dark()
    st.caption(text.plain(f"{item.id} · {item.topic} · {items.scale_words(item)}"))
    st.subheader(text.plain(item.question))
    if item.note:
        st.caption(text.plain(item.note))
    face = address.linked(
        "What to see", DETAILS, name="see", page="items", default="countries",
        widget=st.segmented_control, label_visibility="collapsed",
    )  # fmt: skip
    if face == "answers":
        drawn = answers.answer_bars(
            people.answers(survey, item, iso3), country=names.get(iso3, ""), dark=dark
        )
        results.figure(drawn, "people_answers")
        if not iso3:
            st.caption("The average of all countries asked, each counting the same.")
    else:
        drawn = answers.distribution_by_country(people.countries(survey, item), item, dark=dark)
        results.figure(drawn, "people_countries")
    with st.expander("As a table"):
        results.table(drawn)
    groups(store, survey, item, iso3)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link(
            "pages/run.py",
            label="Ask a model this survey",
            icon=":material/play_circle:",
            query_params={"survey": surveys.key_of(survey)},
        )
        address.share("items", run=f"people:{surveys.key_of(survey)}", country=iso3, item=item.id)
    st.caption(wording.CAUTION)


def groups(store: Store, survey: Survey, item: Item, iso3: str) -> None:
    """Answers by sex, age and education in one country, where an imported survey has them."""
    if not people.has_groups(store, survey):
        return
    with st.expander("Groups of people"):
        if not iso3:
            st.caption("Choose a country above to see its answers by sex, age and education.")
            return
        rows = people.groups(store, survey, item, iso3)
        if rows.empty:
            st.caption(f"No group has answers to show. {people.groups_note()}")
            return
        drawn = answers.distribution_by_country(
            rows, item, sort=False, what=("group", "groups"), dark=session.is_dark()
        )
        drawn.table.insert(1, "People", rows["n"])
        results.figure(drawn, "item_groups")
        results.table(drawn, {"People": st.column_config.NumberColumn(format="%d")})
        st.caption(people.groups_note())

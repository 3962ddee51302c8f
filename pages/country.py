"""One country: how close each way of asking comes to its people, where, and whom they resemble.

The address holds run, wording, country and measure.
"""

from __future__ import annotations

import streamlit as st

from core import wording as core_wording
from core.analysis import scores
from core.figures import rankings
from core.metrics.metrics import METRICS
from core.views import country, runs
from core.views.items import arranged, item_table
from core.wording import listed
from pages.widgets import address, results, session, text
from pages.widgets.methods import pick_wording_of

ROWS = 6


def step(by: int) -> None:
    at = countries.index(iso3)
    address.link_to("country", "country", countries[(at + by) % len(countries)])


def open_item(key: str, items: list[str]) -> None:
    row = st.session_state[key].row
    st.switch_page(
        "pages/items.py", query_params={"run": asking.group, "country": iso3, "item": items[row]}
    )


def question_list(title: str, rows, key: str) -> None:
    """A short table of questions; a row leads to the question's page."""
    st.markdown(f"##### {title}")
    st.dataframe(
        results.grey_unclear(
            rows[["label", "value", *(["change"] if rows["change"].notna().any() else [])]],
            rows["clear"],
        ),
        hide_index=True,
        height="content",
        placeholder="",
        column_config={
            "label": st.column_config.ButtonColumn(
                "Question",
                width=150,
                type="tertiary",
                alignment="left",
                key=key,
                on_click=open_item,
                args=(key, rows["item"].tolist()),
            ),
            "value": st.column_config.NumberColumn("Score", format="%.0f", width=70),
            "change": st.column_config.NumberColumn("Change", width=75, help=results.CHANGE_HELP),
        },
        alt=f"{title}: {listed(rows['label'].tolist())}",
    )


store = session.store()
known = runs.askings(store)
if not known:
    st.title("How close does a model come to people in one country?")
    results.no_results("country")
    st.stop()

head = st.container(gap="small")
where, which, measured = st.columns([3, 5, 3])
with which:
    asking = pick_wording_of("country", results.pick_asking("country", known))
names = runs.country_names(store, asking)
countries = sorted(names, key=names.get)
with where:
    iso3 = address.linked(
        "Country",
        {code: names[code] for code in countries},
        name="country",
        page="country",
        default=runs.asked_countries(store, asking)[0],
        read=str.upper,
    )
with measured:
    measure = results.pick_measure("country")

with head, st.spinner("Comparing with people …"):
    finding = country.country_finding(store, asking, iso3, measure)
by_method = runs.by_method(asking)
with head:
    address.unknown_in_address("country", {*names, *(code.lower() for code in names)}, "country")
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        st.caption(text.plain(country.country_kicker(store, asking, iso3)), width="content")
        with st.container(horizontal=True, width="content"):
            st.button("Previous", key="country_back", type="tertiary", on_click=step, args=(-1,))
            st.button("Next", key="country_on", type="tertiary", on_click=step, args=(1,))
    st.title(text.plain(finding.headline))
    st.markdown(text.plain(finding.paragraph), width=session.READING)
    results.teaching_note(*asking.runs)
    results.evidence_note(*asking.runs)
    results.under_way_note(asking)

scored = country.country_scores(store, asking, iso3, measure)
if scored.empty:
    st.page_link(
        "pages/run.py",
        label="Ask a model as people of this country",
        icon=":material/play_circle:",
        query_params={"places": "My own choice", "who": names[iso3]},
    )
    st.stop()

label, dark = METRICS[measure].label, session.is_dark()
topics, method, before = session.remembered(country.topic_table, asking, iso3, measure)
left, right = st.columns([3, 2], gap="large")
with left:
    st.subheader("By way of asking")
    methods = rankings.method_bars(scored, metric=measure, label=label, dark=dark)
    results.figure(methods, "country_methods")
    zone = runs.country_zones(store, asking)[iso3]
    zones = [(run, session.remembered(scores.zones, run, measure)) for run in by_method.values()]
    if around := country.zone_line(zone, zones):
        st.caption(text.plain(around))
    st.subheader("By topic")
    by_topic = rankings.topic_bars(
        topics, metric=measure, label=label, kind=method, before_kind=before, dark=dark
    )
    results.figure(by_topic, "country_topics")
    with st.expander("As tables"):
        results.table(methods)
        results.table(by_topic)
    st.caption(METRICS[measure].meaning)

with right:
    st.subheader("By question")
    items = session.remembered(item_table, by_method[method], by_method.get(before), measure, iso3)
    items = arranged(items.dropna(subset="value"))
    question_list("Furthest from people", items.head(ROWS), "country_worst")
    question_list("Closest to people", items[::-1].head(ROWS), "country_best")
    st.page_link(
        "pages/items.py",
        label=f"All {len(items)} questions",
        icon=":material/arrow_forward:",
        query_params={"run": asking.group, "country": iso3},
    )

    st.subheader("Whose answers are alike")
    near = session.remembered(country.neighbours, by_method[method], iso3)
    if near.table.empty:
        st.caption("No other country of this survey was asked these questions.")
    else:
        st.markdown(text.plain(country.neighbour_words(near, names[iso3], method)))
        st.markdown(
            f"##### People nearest to people in {text.plain(core_wording.country(names[iso3]))}"
        )
        people = rankings.nearest_bars(country.near_people(near), name=names[iso3], dark=dark)
        results.figure(people, "country_near_people")
        st.markdown("##### People nearest to the model’s answers")
        model = rankings.nearest_bars(country.near_model(near), name=names[iso3], dark=dark)
        results.figure(model, "country_near_model")
        with st.expander("As tables", key="country_near_tables"):
            results.table(people)
            results.table(model)

with st.container(horizontal=True, vertical_alignment="center"):
    st.page_link(
        "pages/map.py",
        label="Back to the map",
        icon=":material/public:",
        query_params={"run": asking.group},
    )
    results.provenance(*by_method.values(), key="country_from")
    wording = st.query_params.get("wording", "")
    address.share("country", run=asking.group, country=iso3, measure=measure, wording=wording)
st.caption(core_wording.CAUTION)

"""Ask a model many questions, in the background: a sentence with blanks, one button, what it does.

State in the URL: what is asked of whom, and how. The work itself belongs to the queue; this page
only asks it and looks.
"""

from __future__ import annotations

import streamlit as st

from core import wording
from core.errors import PluriscopeError
from core.jobs import estimates
from core.jobs.askings import askings
from core.jobs.choices import AskChoices
from core.jobs.plan import plan_survey
from core.jobs.queue import UNFINISHED
from core.prompts.methods import METHODS
from core.store.jobs import Job
from core.survey.survey import BUNDLED_SURVEY
from pages.widgets import address, job_status, results, run_history, session, surveys, text
from pages.widgets.methods import (
    MORE,
    blank,
    fill,
    pick_label_rule,
    pick_language,
    pick_orders,
    pick_ways,
    pick_wordings,
)
from pages.widgets.model_picker import model_picker, model_words, picked_model, picker_problem

SETS = ("The core set", "One topic", "Every question", "My own choice")
PLACES = ("The 18 of the CultureSPA study", "Every country", "My own choice")
LINK = "query-params"
USUAL = AskChoices()
ANSWERING = {"Probabilities": "probabilities", "Written answers": "written"}

queue, store = session.jobs(), session.store()


# -- the blanks ------------------------------------------------------------------------------------


def which_items() -> tuple[str | list[str], str]:
    """As AskChoices takes them, and the words for them."""
    offered = list(SETS)
    if len(survey.topics) < 2:
        offered.remove(SETS[1])
    if not 0 < len(survey.core_ids) < len(survey.items):
        offered.remove(SETS[0])
    chosen = st.radio("Questions", offered, key="set", bind="query-params")
    if chosen == SETS[0]:
        if survey.id == BUNDLED_SURVEY:
            st.caption("Four questions on each of 13 topics; the best place to begin.")
        return "core", f"the core set, {wording.count(len(survey.core_ids), 'question')}"
    if chosen == SETS[1]:
        topic = st.selectbox("Topic", survey.topics, key="set_topic", bind="query-params")
        return topic, f"{topic}, {wording.count(len(survey.select(topic)), 'question')}"
    if chosen == SETS[2]:
        return "all", f"all {wording.count(len(survey.items), 'question')}"
    labels = {item.id: f"{item.label} ({item.id})" for item in survey.items}
    picked = address.linked_many(
        "Questions", labels, name="items", page="run", default=(), placeholder="Search by word"
    )
    return picked, wording.count(len(picked), "question") + " of my own choice"


def which_countries() -> tuple[str | list[str], str]:
    study = sum(culture.in_culturespa for culture in survey.cultures)
    offered = PLACES if 0 < study < len(survey.cultures) else PLACES[1:]
    chosen = st.radio("Countries", offered, key="places", bind="query-params")
    if chosen == PLACES[0]:
        return "study", wording.count(study, "country", "countries")
    if chosen == PLACES[1]:
        return "all", f"all {wording.count(len(survey.cultures), 'country', 'countries')}"
    names = {culture.iso3: culture.name for culture in survey.cultures}
    picked = st.multiselect(
        "Countries", names, format_func=names.get, key="who", bind="query-params",
        placeholder="Search by name",
    )  # fmt: skip
    if not picked:
        return picked, "no country yet"
    return picked, wording.listed([names[code] for code in picked], most=3)


def how_exactly() -> dict:
    """The choices most people leave alone."""
    answering = st.segmented_control(
        "Answers",
        list(ANSWERING),
        default="Probabilities",
        required=True,
        key="answers",
        bind="query-params",
        help=(
            "Probabilities: how likely the model is to write each option, computed exactly. "
            "Written answers: what it writes, sampled and then read."
        ),
    )
    settings = {"answering": ANSWERING[answering]}
    if answering == "Probabilities":
        settings["orders"] = pick_orders("run")
        settings["label_rule"] = pick_label_rule("run")
    else:
        left, right = st.columns(2)
        settings["samples"] = int(
            left.number_input("Answers to each question", 1, 50, 5, key="samples", bind=LINK)
        )
        settings["seed"] = int(
            right.number_input("Seed", 0, 2**31 - 1, USUAL.seed, key="seed", bind=LINK)
        )
        settings["temperature"] = left.slider(
            "Temperature", 0.0, 2.0, USUAL.temperature, 0.05, key="temperature", bind=LINK
        )
        settings["top_p"] = right.slider(
            "Top-p", 0.05, 1.0, USUAL.top_p, 0.05, key="top_p", bind=LINK
        )
    settings["prompt_set"] = pick_wordings("run")
    settings["name"] = st.text_input(
        "Name", key="run_name", placeholder="Made from the choices above", max_chars=200
    ).strip()
    return settings


# -- what is under way, in line, and done ----------------------------------------------------------


def now(was: str | None) -> None:
    """The job at work and those in line. Reads only; draws itself again while there is work."""
    job_id = queue.asking()
    if job_id != was:
        st.rerun()  # another job began or the last one ended: the history has changed
    waiting = store.jobs(("queued",))
    if job_id:
        at_work(store.job(job_id))
    if waiting:
        st.subheader("In line", anchor=False)
        for place, job in enumerate(waiting):
            in_line(job, first=place == 0, last=place == len(waiting) - 1)


def at_work(job: Job) -> None:
    st.subheader(text.plain(job.title), anchor=False)
    job_status.job_progress(job)
    if job.kind == "tune":
        st.page_link(
            "pages/tune.py", label="Watch the tuning", icon=":material/tune:",
            query_params={"tuning": job.settings.tuning},
        )  # fmt: skip
        return
    if job.kind in ("merge", "get"):
        return
    so_far(job)
    with st.container(horizontal=True):
        stopping = job.state == "stopping"
        st.button(
            "Stop and keep", key="stop", on_click=queue.stop, args=(job.id,), disabled=stopping,
            icon=":material/stop:", help="Stops after the questions in hand. Resume carries on.",
        )  # fmt: skip
        st.button(
            "Stop and discard", key="discard", on_click=discard, args=(job,), disabled=stopping,
            type="tertiary", help="Stops and puts the answers in the bin.",
        )  # fmt: skip
    st.caption("Leaving this page does not stop the run.")


def so_far(job: Job) -> None:
    """First results: how close the answers are to people's, with what there is by now."""
    asked = [store.run(run_id) for run_id in job.runs]
    scores = {run.method: results.score_so_far(run) for run in reversed(asked)}
    if not any(score == score for score in scores.values()):
        return
    with st.container(horizontal=True, gap="large"):
        for method, score in scores.items():
            st.metric(
                METHODS[method].name,
                wording.number(score),
                help="So far: how close the answers given by now are to people's, of 100.",
                width="content",
            )
    st.caption(
        "So far, of 100: each over the countries and questions asked by now, so not yet to be "
        "compared. The final score comes with its interval."
    )
    results.evidence_note(*asked)


def in_line(job: Job, first: bool, last: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(text.plain(job.title), width="stretch")
        st.button(
            "Earlier", key=f"up_{job.id}", icon=":material/arrow_upward:", type="tertiary",
            on_click=queue.move, args=(job.id, True), disabled=first,
        )  # fmt: skip
        st.button(
            "Later", key=f"down_{job.id}", icon=":material/arrow_downward:", type="tertiary",
            on_click=queue.move, args=(job.id, False), disabled=last,
        )  # fmt: skip
        st.button(
            "Take out", key=f"out_{job.id}", icon=":material/close:", type="tertiary",
            on_click=discard, args=(job,),
        )  # fmt: skip


def discard(job: Job) -> None:
    queue.discard(job.id)
    run_history.deleted(job.title, job.runs, job.id)


def history() -> None:
    """Everything asked so far that is not in the bin and not under way."""
    past = [one for one in askings(store) if one.state not in UNFINISHED]
    run_history.undo_bar()
    if not past:
        return
    st.subheader("Asked before", anchor=False)
    shown = st.session_state.get("history_shown", 8)
    for asking in past[:shown]:
        run_history.asking_row(asking, MORE)
    if len(past) > shown:
        st.button(
            f"Show {min(20, len(past) - shown)} more",
            key="history_more",
            type="tertiary",
            on_click=lambda: st.session_state.update(history_shown=shown + 20),
        )


# -- the page --------------------------------------------------------------------------------------

st.title("Ask a model the whole survey")
st.write(
    "Fill in the blanks. The model is asked in the background, and every answer is set beside "
    "what people said."
)

with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
    st.subheader("Ask", anchor=False, width="content")
    model_blank = blank("model", "the built-in model")
    items_blank = blank("items", "the core set")
    ways_blank = blank("ways", "plainly")
    st.subheader("from", anchor=False, width="content")
    places_blank = blank("places", "18 countries")
    st.subheader("in", anchor=False, width="content")
    language_blank = blank("language", "English")
    more_blank = st.popover("Exactly how", key="more_blank", type="tertiary")
with model_blank:
    model = model_picker()
with items_blank:
    survey = surveys.pick("run")
    items, items_said = which_items()
    items_said += surveys.said_of(survey)
with ways_blank:
    methods, ways, ways_said = pick_ways("run")
with places_blank:
    countries, places_said = which_countries()
with language_blank:
    language, language_said = pick_language("run", survey)
with more_blank:
    details = how_exactly()
fill(
    model=model_words(picked_model()),
    items=items_said,
    ways=ways_said,
    places=places_said,
    language=language_said,
)

plan, estimate = None, None
try:
    if model:
        plan = plan_survey(
            store,
            AskChoices(
                model,
                methods=methods,
                cultures=countries,
                items=items,
                survey=surveys.key_of(survey),
                **ways,
                **language,
                **details,
            ),
        )
        estimate = estimates.estimate(store, plan, session.jobs().held_bytes())
    else:
        st.caption(f":material/info: {text.plain(picker_problem())}")
except PluriscopeError as error:
    st.caption(f":material/info: {text.plain(str(error))}")

if estimate:
    st.caption(text.plain(job_status.cost(plan, estimate)))
    for note in plan.notes:
        st.caption(f":material/info: {text.plain(note)}")
if st.button(
    job_status.price("Start", estimate) if estimate else "Start",
    type="primary",
    key="start",
    disabled=estimate is None or not estimate.fit.fits,
):
    queue.start(plan)
    st.rerun()

st.fragment(now, run_every=1.0 if queue.busy() else None)(queue.asking())
history()

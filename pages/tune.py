"""Bring a model closer: it writes questions, answers them, and is tuned on what it said.

The address names the tuning that is open (?tuning=), its arm and seed, and which of its steps is
looked at. The work belongs to the queue; this page asks it and looks.
"""

from __future__ import annotations

import streamlit as st

from core import wording
from core.errors import PluriscopeError
from core.jobs import estimates
from core.jobs.choices import TuneChoices
from core.jobs.plan_tuning import plan_tuning
from core.jobs.queue import UNFINISHED
from core.tuning.settings import RECOMMENDED
from pages.widgets import methods, model_picker, session, text, tuning

USUAL = TuneChoices()
OFFERED = (RECOMMENDED, "soft", "culturespa", "culturespa_cct", "people")
WAYS = {
    "cct_soft_all": "its own better answers",
    "soft": "its own answers, where they differ",
    "culturespa": "its own answers, as published",
    "culturespa_cct": "its own better answers, as published",
    "people": "people's answers",
}
CAPTIONS = {
    "cct_soft_all": "It answers while thinking of countries near and far (which those are, the "
    "survey says), and learns to answer so when it is only told the country. Whole distributions, "
    "all questions.",
    "soft": "It learns its own answers as a person of each country, where they lie farther from "
    "its plain answers than chance would have it.",
    "culturespa": "The CultureSPA study's recipe: one written answer to each question, kept where "
    "it differs from the plain one.",
    "culturespa_cct": "The same, with answers given while thinking of countries near and far.",
    "people": "The survey's own shares, of questions that are not held out. Not self-alignment: "
    "this uses people's answers.",
}

queue, store = session.jobs(), session.store()
survey = store.survey()


# -- the blanks ------------------------------------------------------------------------------------


def which_way() -> tuple[str, str]:
    """The arm, and the words for it."""
    chosen = st.radio(
        "What it learns from",
        OFFERED,
        format_func=lambda name: wording.capital(WAYS[name]),
        captions=[CAPTIONS[name] for name in OFFERED],
        key="tune_way",
        bind="query-params",
    )
    return chosen, WAYS[chosen]


def how_exactly() -> dict:
    """The settings most people leave alone."""
    left, right = st.columns(2)
    return {
        "per_topic": int(
            left.number_input(
                "Questions on each topic", 1, 5000, USUAL.per_topic, key="tune_per_topic"
            )
        ),
        "seeds": (
            int(right.number_input("Seed", 0, 2**31 - 1, USUAL.seeds[0], key="tune_form_seed")),
        ),
        **tuning.pick_details(
            "tune", survey, is_builtin=model_picker.picked_model().source == "builtin"
        ),
    }


# -- one tuning ------------------------------------------------------------------------------------


def opened() -> str | None:
    """The tuning that the address names, or else the one under way, which it names from now on."""
    live = queue.live()
    job = store.job(live.job) if live else None
    if "tuning" not in st.query_params and job and job.kind == "tune":
        st.query_params["tuning"] = job.settings.tuning
    return st.query_params.get("tuning")


def form() -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.subheader("Tune", anchor=False, width="content")
        model_blank = methods.blank("tune_model", "the built-in model")
        st.subheader("for", anchor=False, width="content")
        places_blank = methods.blank("tune_places", "18 countries")
        st.subheader("with", anchor=False, width="content")
        way_blank = methods.blank("tune_way", WAYS[RECOMMENDED])
        more_blank = st.popover("Exactly how", key="tune_more", type="tertiary")
    with model_blank:
        model = model_picker.model_picker()
    with places_blank:
        countries, places_said = tuning.pick_countries("tune", survey)
    with way_blank:
        way, way_said = which_way()
    with more_blank:
        details = how_exactly()
    methods.fill(
        tune_model=model_picker.model_words(model_picker.picked_model()),
        tune_places=places_said,
        tune_way=way_said,
    )
    plan = estimate = None
    try:
        if model:
            plan = plan_tuning(store, TuneChoices(model, cultures=countries, arms=[way], **details))
            estimate = estimates.estimate_tuning(store, plan, session.jobs().held_bytes())
        else:
            st.caption(f":material/info: {text.plain(model_picker.picker_problem())}")
    except PluriscopeError as error:
        st.caption(f":material/info: {text.plain(str(error))}")
    if estimate:
        st.caption(text.plain(tuning.cost(plan, estimate)))
    if st.button(
        tuning.price("Start tuning", estimate),
        type="primary",
        key="tune_start",
        disabled=estimate is None or not estimate.fit.fits,
    ):
        job = store.job(queue.start_tuning(plan))
        tuning.open_tuning(job.settings.tuning)
        st.rerun()


st.title("Bring a model closer to people")
st.markdown(
    "The model writes survey questions of its own, answers them plainly and as a person of each "
    "country, and learns from what it said. The result is an adapter: small weights that are put "
    "on top of the model.",
    width=session.READING,
)
form()
st.page_link(
    "pages/experiment.py", label="Is such a gain real? Run controls",
    icon=":material/balance:",
)  # fmt: skip
tuning_id = opened()
if tuning_id:
    try:
        tuning.one(tuning_id)
    except PluriscopeError as error:
        st.caption(f":material/link_off: {text.plain(str(error))}")
tuning.history(open_id=tuning_id, unfinished=UNFINISHED)

"""Ways of tuning and their controls, run on the same questions and compared with the model before.

The address names the experiment (?tuning=), the part of the survey, the way of asking and the
measure. Started from here or from the command line; the work belongs to the queue.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import streamlit as st

from core import wording
from core.errors import PluriscopeError
from core.figures import maps
from core.figures.base import MAP_CONFIG
from core.figures.tuning import arm_dots, arms_diversity, quality, quantity
from core.jobs import estimates
from core.jobs.choices import TuneChoices
from core.jobs.plan_tuning import plan_tuning
from core.jobs.queue import UNFINISHED
from core.metrics.metrics import METRICS
from core.prompts.methods import METHODS
from core.tuning import experiments
from core.tuning.settings import ARMS
from core.views import experiment, tunings
from pages.widgets import address, methods, session, text, tuning
from pages.widgets.model_picker import model_picker, model_words, picked_model, picker_problem
from pages.widgets.results import figure, pick_measure

SETS = {
    "Is it about the country?": ("cct_soft_all", "cct_shuffled", "cct_world_mean"),
    "Does the study’s selection matter?": ("culturespa", "random", "same", "shuffled"),
    "Does the better prompt carry over?": ("soft_all", "cct_soft_all", "cct_soft", "cct_balanced"),
    "Is the machinery right?": ("people", "people_shuffled"),
    "How much is enough?": (),
    "My own choice": (),
}
SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
SAID = {
    "Is it about the country?": "The recommended way beside the same with another country’s "
    "answers, and with the mean of all countries.",
    "Does the study’s selection matter?": "The study’s recipe beside pairs taken by "
    "chance, pairs that agree, and another country’s answers.",
    "Does the better prompt carry over?": "Whole distributions from the country prompt and from "
    "cross-culture thinking, of all pairs, of those that differ, and of half that differ.",
    "Is the machinery right?": "People’s own shares, which must help on the questions taught, and "
    "another country’s shares, which must not.",
    "How much is enough?": "One way of tuning on 10, 20, 30, 50, 70 and 100% of its examples.",
    "My own choice": "Any arms together.",
}
queue, store = session.jobs(), session.store()
survey = store.survey()


def form() -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.subheader("Compare", anchor=False, width="content")
        arms_blank = methods.blank("exp_arms", next(iter(SETS)))
        st.subheader("on", anchor=False, width="content")
        model_blank = methods.blank("exp_model", "the built-in model")
        st.subheader("for", anchor=False, width="content")
        places_blank = methods.blank("exp_places", "18 countries")
        more_blank = st.popover("Exactly how", key="exp_more", type="tertiary")
    with arms_blank:
        chosen = st.radio("Question", list(SETS), captions=list(SAID.values()), key="exp_set",
                          bind="query-params")  # fmt: skip
        arms = SETS[chosen]
        if chosen == "How much is enough?":
            arms = shares_of(
                st.selectbox("Of", list(ARMS), format_func=lambda name: ARMS[name].title,
                             index=list(ARMS).index("cct_soft_all"), key="exp_shares_of")
            )  # fmt: skip
        elif not arms:
            arms = st.multiselect(
                "Arms", ARMS, format_func=lambda name: ARMS[name].title, key="exp_own",
                default=["culturespa", "cct_soft_all"],
            )  # fmt: skip
    with model_blank:
        model = model_picker()
    with places_blank:
        countries, places_said = tuning.pick_countries("exp", survey)
    with more_blank:
        left, right = st.columns(2)
        seeds = int(left.number_input("Seeds", 1, 20, 3, key="exp_seeds",
                                      help="The whole is done once for each seed."))  # fmt: skip
        per_topic = int(right.number_input("Questions on each topic", 1, 5000, 20, key="exp_per"))
        equal = st.toggle(
            "The same number of examples for every arm", value=True, key="exp_equal",
            help="As many as the arm with the fewest has; a share of an arm is a share of that.",
        )  # fmt: skip
        details = tuning.pick_details("exp", survey, is_builtin=picked_model().source == "builtin")
    count = wording.count(len(arms), "arm")
    methods.fill(
        exp_arms=f"{chosen} ({count})", exp_model=model_words(picked_model()),
        exp_places=places_said,
    )  # fmt: skip
    plan = estimate = None
    try:
        if model:
            plan = plan_tuning(
                store,
                TuneChoices(
                    model, cultures=countries, arms=arms, seeds=range(1, seeds + 1),
                    per_topic=per_topic, equal_budgets=equal, **details,
                ),
            )  # fmt: skip
            estimate = estimates.estimate_tuning(store, plan, session.jobs().held_bytes())
        else:
            st.caption(f":material/info: {text.plain(picker_problem())}")
    except PluriscopeError as error:
        st.caption(f":material/info: {text.plain(str(error))}")
    if estimate:
        st.caption(text.plain(tuning.cost(plan, estimate)))
    if st.button(tuning.price("Start the experiment", estimate), type="primary",
                 key="exp_start", disabled=estimate is None or not estimate.fit.fits):  # fmt: skip
        job = store.job(queue.start_tuning(plan))
        st.query_params["tuning"] = job.settings.tuning
        st.rerun()


def shares_of(name: str) -> list[str]:
    """An arm at every share of its examples; all of them is the arm itself."""
    return [name if share == 1 else f"{name}:{share:g}" for share in SHARES]


@st.cache_data(max_entries=64, show_spinner=False)
def arms_table(tuning_id: str, metric: str, part: str, method: str, made: tuple) -> pd.DataFrame:
    """Kept for exactly what is made of the arms, as experiments.made_of() tells it."""
    return experiments.arms_table(store, tuning_id, metric, part, method)


def results(of: tunings.Tuning, made: tuple) -> None:
    survey = store.survey(of.settings.survey, of.settings.survey_version)
    parts = experiments.parts_of(of.settings, survey)
    method = address.linked(
        "Asked", {m: METHODS[m].name for m in ("country", "plain")}, name="method",
        page="experiment", default="country", widget=st.segmented_control,
        label_visibility="collapsed",
    )  # fmt: skip
    left, right = st.columns(2)
    with left:
        part = address.linked(
            "Questions", parts, name="part", page="experiment",
            default="held_out" if "held_out" in parts else "all",
        )  # fmt: skip
    with right:
        measure = pick_measure("experiment")
    with st.spinner("Comparing the arms …"):
        table = arms_table(of.id, measure, part, method, made)
    if table.empty:
        st.caption("The model before tuning is asked first. The arms appear here one by one.")
        return
    said = experiment.finding(table, part)
    st.markdown(f"**{text.plain(said.headline)}**")
    st.markdown(text.plain(said.paragraph), width=session.READING)
    base = table[table["arm"].eq(experiments.BASE)].iloc[0]
    st.caption(
        text.plain(
            f"{METRICS[measure].label} before tuning: {wording.number(base['score'])} of 100 "
            f"({wording.interval(base['score_low'], base['score_high'])}), where {wording.FLOOR} "
            "would "
            f"score {wording.number(base['floor'])} and {wording.CEILING} "
            f"{wording.number(base['ceiling'])}. Each change has a 95% interval over questions and "
            "seeds; pale means too small to call. An arrow beside how far countries lie apart "
            "means that tuning clearly changed it."
        )
    )
    others = table[~table["arm"].eq(experiments.BASE)]
    if others["change"].notna().any():
        look = {
            "label": METRICS[measure].label,
            "dark": session.is_dark(),
            "narrow": session.is_narrow(),
        }
        figure(arm_dots(table, **look), "exp_dots")
        points = experiment.alignment_diversity(table)
        if method == "country" and len(points):  # of one country there is no diversity
            st.subheader("Closeness and diversity", anchor=False)
            st.markdown(
                "Tuning can bring every country closer by making them all alike. Arms that move "
                "left flatten countries; people stand at the upper right. Numbers are those of the "
                "list above.",
                width=session.READING,
            )
            figure(arms_diversity(points, **look), "exp_diversity")
    where(of, table, measure, part, method, made)
    curves(of, table)
    choices(of, measure, part, method, made)
    costs(of)
    failed = table[table["state"].eq("failed")]
    for row in failed.itertuples():
        st.markdown(f":material/error: :red[{text.plain(row.title)}: {text.plain(row.verdict)}]")
    tuning.download(table, f"pluriscope-{of.id}-arms.csv")


@st.cache_data(max_entries=64, show_spinner=False)
def country_table(
    tuning_id: str, arm: str, metric: str, part: str, method: str, made: tuple
) -> pd.DataFrame:
    """Kept as arms_table() is."""
    return experiments.country_changes(store, tuning_id, arm, metric, part, method)


def best(names: Iterable[str], arms: pd.DataFrame) -> str:
    """Of some arms, the one that came closest to people."""
    rows = arms[arms["arm"].isin(list(names))].sort_values("change", ascending=False)
    return rows["arm"].iloc[0] if len(rows) else next(iter(names))


def where(
    of: tunings.Tuning, arms: pd.DataFrame, measure: str, part: str, method: str, made: tuple
) -> None:
    """One arm's change in every country, over its seeds. arms: as arms_table()."""
    titles = {arm.name: arm.title for arm in of.settings.arms
              if any(a["arm"] == arm.name and a["state"] == "done" for a in of.arms)}  # fmt: skip
    if not titles:
        return
    st.subheader("Where", anchor=False)
    arm = address.linked("Arm", titles, name="arm", page="experiment", default=best(titles, arms))
    try:
        table = country_table(of.id, arm, measure, part, method, made)
    except PluriscopeError as error:
        st.caption(f":material/info: {text.plain(str(error))}")
        return
    drawn = maps.change_map(
        table, metric=measure, label=f"Change in {METRICS[measure].label.lower()}",
        dark=session.is_dark(), narrow=session.is_narrow(),
    )  # fmt: skip
    figure(drawn, "exp_map", config=MAP_CONFIG)


def costs(of: tunings.Tuning) -> None:
    """What every arm cost elsewhere, over its seeds; each test on the arm's own page."""
    found = experiments.costs(store, of.id)
    if not found:
        return
    st.subheader("What it cost elsewhere", anchor=False)
    for cost in found:
        st.markdown(
            f"**{text.plain(cost.title)}** ({wording.count(cost.seeds, 'seed')}). "
            f"{text.plain(cost.verdict.sentence)}",
            width=session.READING,
        )


def curves(of: tunings.Tuning, table: pd.DataFrame) -> None:
    """How the change grows with the examples, where an arm was run at several shares."""
    for name in dict.fromkeys(arm.name.partition(":")[0] for arm in of.settings.arms):
        curve = experiments.quantity_curve(table, name)
        if len(curve) > 1:
            title = ARMS[name].title if name in ARMS else name
            st.subheader(f"How much is enough? {text.plain(title)}", anchor=False)
            figure(quantity(curve, dark=session.is_dark()), f"exp_curve_{name}")


@st.cache_data(max_entries=64, show_spinner=False)
def quality_table(tuning_id: str, metric: str, part: str, method: str, made: tuple) -> pd.DataFrame:
    """Kept as arms_table() is."""
    return experiments.quality_table(store, tuning_id, metric, part, method)


def choices(of: tunings.Tuning, measure: str, part: str, method: str, made: tuple) -> None:
    """Which pairs to teach, where arms differ in that alone."""
    table = quality_table(of.id, measure, part, method, made)
    if table["change"].notna().any():
        st.subheader("Which pairs to teach", anchor=False)
        drawn = quality(table, dark=session.is_dark(), narrow=session.is_narrow())
        figure(drawn, "exp_quality")


def under_way(tuning_id: str, was: tuple) -> None:
    of = tunings.tuning(store, tuning_id)
    if (of.state, experiments.made_of(store, tuning_id)) != was:
        st.rerun()
    if of.state in UNFINISHED:
        tuning.at_work(of.job)


st.title("Is the gain real?")
st.markdown(
    "An experiment tunes the same model in several ways on the same questions, with controls that "
    "ought not to help, and sets each beside the model before tuning.",
    width=session.READING,
)
form()
tuning_id = st.query_params.get("tuning")
known = [one for one in tunings.tunings(store) if one.is_experiment]
if not tuning_id and known:
    tuning_id = known[0].id
if tuning_id:
    try:
        of = tunings.tuning(store, tuning_id)
        with st.container(border=True, gap="medium"):
            tuning.head(of, here="experiment")
            made = experiments.made_of(store, of.id)
            live = of.state in UNFINISHED
            st.fragment(under_way, run_every=2.0 if live else None)(of.id, (of.state, made))
            if of.job and not live:
                tuning.ended(of)
            results(of, made)
            st.page_link("pages/tune.py", label="Questions, pairs and training of every arm",
                         icon=":material/tune:", query_params={"tuning": of.id})  # fmt: skip
    except PluriscopeError as error:
        st.caption(f":material/link_off: {text.plain(str(error))}")
others = [one for one in known if one.id != tuning_id]
if others:
    st.subheader("Earlier experiments", anchor=False)
    for one in others[:20]:
        st.page_link(
            "pages/experiment.py", label=text.plain(one.name), query_params={"tuning": one.id}
        )

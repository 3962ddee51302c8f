"""Widgets of the tuning pages: settings, one tuning with its four steps, what was tuned before."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace
from importlib.util import find_spec

import pandas as pd
import streamlit as st

from core import wording
from core.analysis import scores
from core.errors import PluriscopeError
from core.figures import base, maps, tuning
from core.jobs import estimates, plan_tuning
from core.jobs.queue import RESUMABLE, UNFINISHED
from core.metrics.metrics import METRICS
from core.models import adapter_exchange, adapters
from core.prompts.methods import METHODS
from core.store.jobs import Job
from core.survey.neighbours import hold_out
from core.survey.survey import Survey
from core.tuning import experiments
from core.tuning.abilities import paired_tests
from core.tuning.settings import LIKENESS, MODES, SEED_ITEMS, TASKS, Arm, Lora
from core.views import experiment, tunings
from core.views.export import csv_bytes
from pages.widgets import address, job_status, results, session, text
from pages.widgets.methods import pick_wording

PRESETS = {
    "study": "As in the study",
    "gentle": "Gentle",
    "small": "For small models",
}
PAIRS_SHOWN = 2000
PRECISIONS = {"auto": "As it is asked", "nf4": "4-bit (QLoRA)", "bf16": "16-bit", "fp32": "32-bit"}
MARKS = {tunings.DONE: ":material/check_circle:", tunings.NOW: ":material/pending:",
         tunings.WAITING: ":material/circle:"}  # fmt: skip


# -- settings --------------------------------------------------------------------------------------

PLACES = ("The 18 of the CultureSPA study", "Every country", "My own choice")
MODE_WORDS = {"joint": "One adapter for all countries", "specific": "One adapter for each country"}
SEED_WORDS = {"all": "Any of the topic", "one": "One for each topic"}
LIKENESS_WORDS = {"chrf": "chrF++", "rouge": "ROUGE-L"}


def pick_countries(page: str, survey: Survey) -> tuple[str | list[str], str]:
    """Which countries to tune for, and the words for them."""
    names = {culture.iso3: culture.name for culture in survey.cultures}
    chosen = st.radio("Countries", PLACES, key=f"{page}_places", bind="query-params")
    if chosen == PLACES[0]:
        count = sum(culture.in_culturespa for culture in survey.cultures)
        return "study", wording.count(count, "country", "countries")
    if chosen == PLACES[1]:
        return "all", f"all {len(survey.cultures)} countries"
    picked = st.multiselect(
        "Countries", names, format_func=names.get, key=f"{page}_who", bind="query-params",
        placeholder="Search by name",
    )  # fmt: skip
    if not picked:
        return picked, "no country yet"
    return picked, wording.listed([wording.country(names[code]) for code in picked], most=3)


def pick_details(page: str, survey: Survey, *, is_builtin: bool) -> dict:
    """The settings most people leave alone, as TuneChoices takes them."""
    settings = {
        "mode": st.radio(
            "Adapters", MODES, format_func=MODE_WORDS.get, key=f"{page}_mode",
            bind="query-params",
            help="An adapter (LoRA) is a small set of trained weights that is put on top of a "
            "model.",
        ),
        "lora": pick_training(is_builtin),
        **pick_costs(page),
    }  # fmt: skip
    with st.expander("Kept out of the tuning", type="compact"):
        settings |= pick_kept_out(page, survey, is_builtin)
    with st.expander("How questions are written", type="compact"):
        settings |= pick_questions(page)
    settings["name"] = st.text_input(
        "Name", key=f"{page}_name", placeholder="Made from the choices above", max_chars=200
    ).strip()
    return settings


def pick_costs(page: str) -> dict:
    """Whether to check what tuning cost elsewhere, and on which tasks besides our own."""
    checks = st.toggle(
        "Check what it cost elsewhere", page == "tune", key=f"{page}_abilities",
        help="Ordinary texts, factual and open questions and refusals, before and after.",
    )  # fmt: skip
    there = find_spec("lm_eval") is not None
    tasks = st.multiselect(
        "Public tests besides", TASKS, format_func=lambda name: TASKS.get(name, name),
        key=f"{page}_tasks", disabled=not (checks and there), accept_new_options=True,
        placeholder="None" if there else "Needs lm-evaluation-harness (pip install lm_eval)",
        help="Tasks of lm-evaluation-harness: choose one, or write the name of any other.",
    )  # fmt: skip
    return {"abilities": checks, "tasks": tasks if checks and there else ()}


def pick_kept_out(page: str, survey: Survey, is_builtin: bool) -> dict:
    names = {culture.iso3: culture.name for culture in survey.cultures}
    items = None
    if is_builtin:
        st.caption("Survey questions the built-in model never saw with answers of a country.")
    else:
        share = st.slider(
            "Survey questions", 0, 50, 20, 5, format="%d%%", key=f"{page}_held_share",
            help="Drawn by chance in whole batteries, so that no near twin is left in. The tuning "
            "shows them nowhere; they say whether what was learned carries over.",
        )  # fmt: skip
        items = hold_out(survey, share / 100)
    topics = st.multiselect(
        "Topics", survey.topics, key=f"{page}_held_topics",
        help="Nothing is written on these topics, and none of their questions is shown.",
    )  # fmt: skip
    countries = st.multiselect(
        "Countries", names, format_func=names.get, key=f"{page}_held_countries",
        help="They are asked before and after, but not tuned for.",
    )  # fmt: skip
    return {
        "held_out_items": items, "held_out_topics": topics, "held_out_cultures": countries,
    }  # fmt: skip


def pick_questions(page: str) -> dict:
    """How questions are written and which are dropped."""
    seed_items = st.radio(
        "Survey questions shown as examples", SEED_ITEMS, format_func=SEED_WORDS.get,
        key=f"{page}_seed_items", horizontal=True,
    )  # fmt: skip
    likeness = st.radio(
        "Likeness of two questions", LIKENESS, format_func=LIKENESS_WORDS.get,
        key=f"{page}_likeness", horizontal=True,
        help="Both run from 0 to 100. chrF++ compares letters and words, ROUGE-L words in order.",
    )  # fmt: skip
    left, right = st.columns(2)
    near = left.slider(
        "Drop what is as near to another", 5, 100, 80, 5, key=f"{page}_near",
        help="A question is dropped that is this like one written before it. At 100 none is.",
    )  # fmt: skip
    leak = right.slider(
        "Drop what is as near to the survey", 5, 100, 80, 5, key=f"{page}_leak",
        help="A question is dropped that is this like one of the survey. At 100 none is.",
    )  # fmt: skip
    return {
        "seed_items": seed_items, "likeness": likeness,
        "near_limit": near if near < 100 else None, "leak_limit": leak if leak < 100 else None,
        "prompt_set": pick_wording(page),
    }  # fmt: skip


def pick_training(is_builtin: bool) -> Lora:
    """A preset, and every setting of it for those who want to change one."""
    usual = "small" if is_builtin else "study"
    preset = st.segmented_control(
        "Training", list(PRESETS), format_func=PRESETS.get, default=usual, required=True,
        key=f"tune_preset_{is_builtin}",
        help="As in the study: rank 8, learning rate 1e-4, 128 examples to a step. Small models "
        "with few examples need larger steps.",
    )  # fmt: skip
    lora = plan_tuning.PRESETS[preset or usual]
    with st.expander("Advanced", type="compact"):
        left, right = st.columns(2)
        key = f"tune_{preset}"
        return replace(
            lora,
            rank=int(left.number_input("Rank", 1, 256, lora.rank, key=f"{key}_rank")),
            alpha=int(right.number_input("Alpha", 1, 512, lora.alpha, key=f"{key}_alpha")),
            learning_rate=left.number_input(
                "Learning rate", 1e-6, 1e-1, lora.learning_rate, format="%.6f", key=f"{key}_rate"
            ),
            batch=int(
                right.number_input("Examples to a step", 1, 4096, lora.batch, key=f"{key}_batch")
            ),
            epochs=left.number_input(
                "Times through the examples", 0.1, 20.0, lora.epochs, key=f"{key}_epochs"
            ),
            dropout=right.number_input(
                "Dropout", 0.0, 0.9, lora.dropout, step=0.05, key=f"{key}_dropout"
            ),
            micro_tokens=int(
                left.number_input(
                    "Tokens at once", 64, 1 << 20, lora.micro_tokens, key=f"{key}_micro",
                    help="Fewer need less memory and change nothing else.",
                )
            ),
            precision=right.selectbox(
                "Precision of the base", list(PRECISIONS), format_func=PRECISIONS.get,
                key=f"{key}_precision",
            ),
        )  # fmt: skip


def price(verb: str, estimate: estimates.TuningEstimate | None) -> str:
    """A button that says what it costs: "Start tuning: about 9 minutes"."""
    return f"{verb}: {text.about(estimate.seconds)}" if estimate and estimate.seconds else verb


def cost(plan: plan_tuning.TuningPlan, estimate: estimates.TuningEstimate) -> str:
    """What a tuning does, in words, and what it needs."""
    work = estimate.work
    parts = []
    if work.write:
        parts.append(f"{wording.count(work.write, 'question')} to write")
    if work.ask + work.sample:
        parts.append(f"{work.ask + work.sample:,} to answer")
    parts.append(f"about {wording.count(work.example, 'example')} to train on")
    long = f" {wording.capital(text.about(estimate.seconds))}." if estimate.seconds else ""
    return f"{wording.capital(wording.listed(parts))}.{long} {estimate.fit.sentence}"


# -- one tuning ------------------------------------------------------------------------------------


def one(tuning_id: str) -> None:
    """A tuning: how far it is, its four steps, and what the chosen one made."""
    of = tunings.tuning(session.store(), tuning_id)
    with st.container(border=True, gap="medium"):
        head(of)
        tuned = pick_arm(of)
        under_way = of.state in UNFINISHED
        st.fragment(progress, run_every=1.0 if under_way else None)(tuned)
        step(tuned)


def head(of: tunings.Tuning, here: str = "tune") -> None:
    with st.container(horizontal=True, vertical_alignment="top"):
        with st.container(gap=None):
            st.subheader(text.plain(of.name), anchor=False)
            st.caption(text.plain(f"{tunings.settings_words(of)} · {text.when(of.created)}"))
        if of.is_experiment and here == "tune":
            st.page_link("pages/experiment.py", label="Compare the arms",
                         icon=":material/balance:", query_params={"tuning": of.id})  # fmt: skip
        st.button(
            "Close", key="tune_close", type="tertiary", icon=":material/close:", on_click=close,
            disabled=of.state in UNFINISHED,
        )  # fmt: skip


def close() -> None:
    for name in ("tuning", "arm", "seed", "step"):
        st.query_params.pop(name, None)


def pick_arm(of: tunings.Tuning) -> tunings.TunedArm:
    """Of an experiment, which arm and seed to look at; of one tuning there is no choice."""
    arms = {arm.name: arm for arm in of.settings.arms}
    if not of.is_experiment:
        return of.one()
    left, right = st.columns([4, 1])
    with left:
        name = address.linked(
            "Arm", {name: arm.title for name, arm in arms.items()}, name="arm", page="tune",
            default=next(iter(arms)),
        )  # fmt: skip
    with right:
        seed = address.linked(
            "Seed", {str(seed): str(seed) for seed in of.settings.seeds}, name="seed",
            page="tune", default=str(of.settings.seeds[0]),
        )  # fmt: skip
    return of.one(name, int(seed))


def progress(was: tunings.TunedArm) -> None:
    """The four steps and, while it is at work, how far it is. Reads only."""
    store = session.store()
    of = tunings.tuning(store, was.of.id)
    if of.state != was.of.state:
        st.rerun()
    tuned = was._replace(of=of)
    steps_line(tunings.steps(store, tuned))
    job = of.job
    if job and of.state in UNFINISHED:
        at_work(job)
    elif job:
        ended(of)
    state = tuned.state
    if state and state["state"] == "failed":
        st.markdown(f":material/error: :red[{text.plain(state['facts']['error'])}]")


def ended(of: tunings.Tuning) -> None:
    """Resume where that helps, and what went wrong."""
    failed = sum(arm["state"] == "failed" for arm in of.arms)
    if of.state in RESUMABLE or failed:
        said = "Goes on from where it stopped; what is done is not done again."
        if of.state not in RESUMABLE:
            said = f"Tries {wording.count(failed, 'failed arm')} again; what is done stays."
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Resume", key="tune_resume", type="primary", on_click=session.jobs().resume,
                      args=(of.job.id,))  # fmt: skip
            st.caption(said)
    job_status.job_trouble(of.job, key="tune_trouble")


def steps_line(steps: tuple[tunings.Step, ...]) -> None:
    """Four steps beside each other, each with its count."""
    with st.grid(len(steps), min_column_width=170, gap=("medium", "medium")) as grid:
        for number, step in enumerate(steps, 1):
            with grid.cell(), st.container(gap=None):
                st.caption(f"{MARKS[step.state]} {number}. {step.name}")
                st.subheader(step.figure, anchor=False)
                st.caption(text.plain(step.words))


def at_work(job: Job) -> None:
    queue = session.jobs()
    job_status.job_progress(job)
    with st.container(horizontal=True):
        stopping = job.state == "stopping"
        st.button(
            "Stop and keep", key="tune_stop", icon=":material/stop:", on_click=queue.stop,
            args=(job.id,), disabled=stopping,
            help="Stops after the step in hand and keeps what there is, an unfinished adapter "
            "too. Resume carries on.",
        )  # fmt: skip
        st.button(
            "Stop and discard", key="tune_discard", type="tertiary", on_click=discard, args=(job,),
            disabled=stopping, help="Stops and puts what was made in the bin.",
        )  # fmt: skip
    st.caption("Leaving this page does not stop the tuning.")


def discard(job: Job) -> None:
    session.jobs().discard(job.id)
    st.session_state["tuning_deleted"] = (
        f"“{job.title}” is stopped, and all it made is in the bin.", job.settings.tuning,
    )  # fmt: skip
    close()


STEPS = {
    "questions": "Questions",
    "pairs": "Answers and pairs",
    "training": "Training",
    "after": "Before and after",
    "cost": "What it cost",
}


def step(tuned: tunings.TunedArm) -> None:
    """The step that is looked at; the last that has something to show where none was chosen."""
    shown = dict(STEPS)
    if tuned.arm.teacher == "people":
        del shown["questions"], shown["pairs"]
    state = tuned.state
    ended = bool(state) and state["state"] == "done"
    usual = "after" if ended else "training" if state else next(iter(shown))
    chosen = address.linked(
        "Look at", shown, name="step", page="tune", default=usual, widget=st.segmented_control,
        label_visibility="collapsed",
    )  # fmt: skip
    {
        "questions": questions_step,
        "pairs": pairs_step,
        "training": training_step,
        "after": after_step,
        "cost": cost_step,
    }[chosen](tuned)


def questions_step(tuned: tunings.TunedArm) -> None:
    of, _, seed = tuned
    measure = LIKENESS_WORDS[of.settings.likeness]
    counts = tuned.question_counts
    if counts:
        for sentence in counts["shortfalls"]:
            st.caption(f":material/info: {text.plain(sentence)}")
    left, right = st.columns(2)
    topic = left.selectbox("Topic", ["", *of.settings.topics], key="tune_q_topic",
                           format_func=lambda t: t or "All topics")  # fmt: skip
    state = right.selectbox("What became of them", ["", *tunings.STATES], key="tune_q_state",
                            format_func=lambda s: tunings.STATES.get(s, "All of them"))  # fmt: skip
    table = tunings.question_table(session.store(), of.id, seed, topic, state)
    if table.empty:
        st.caption("No questions yet. They appear here as the model writes them.")
        return
    event = st.dataframe(
        table.drop(columns="raw"),
        hide_index=True,
        height=420,
        on_select="rerun",
        selection_mode="single-row",
        key="tune_q_table",
        column_config={
            "No": st.column_config.NumberColumn(width=56),
            "Question": st.column_config.TextColumn(width="large"),
            "Likeness": st.column_config.NumberColumn(
                format="%.0f", help=f"{measure} to the nearest text, of 100"
            ),
        },
    )
    rows = event.selection.rows
    if rows and rows[0] < len(table):
        st.caption("What the model wrote, word for word")
        st.code(table["raw"].iloc[rows[0]], language=None, wrap_lines=True)
    else:
        st.caption("Choose a row to see what the model wrote, word for word.")
    if counts:
        with st.expander("How many there are of each", type="compact"):
            st.dataframe(tunings.question_states(counts), hide_index=True, width="content")
        st.caption(text.plain(tunings.filter_words(of.settings, measure)))
    download(table, f"pluriscope-{of.id}-questions-{seed}.csv")


def pairs_step(tuned: tunings.TunedArm) -> None:
    of, arm, seed = tuned
    counts = tuned.pair_counts
    if not counts:
        st.caption(
            "No pairs yet. Once the model has answered its questions plainly and as people of "
            "each country, the answers are set side by side here."
        )
        return
    store = session.store()
    survey = store.survey(of.settings.survey, of.settings.survey_version)
    table = tunings.yield_by_country(store, tuned)
    st.markdown(text.plain(tunings.yield_words(counts, table, arm)), width=session.READING)
    st.caption(text.plain(counts["rule"]))
    results.figure(
        tuning.yield_map(table, dark=session.is_dark(), narrow=session.is_narrow()), "tune_yield"
    )
    left, right = st.columns(2)
    names = {code: survey.culture(code).name for code in dict.fromkeys(table["iso3"])}
    iso3 = left.selectbox("Country", ["", *names], key="tune_p_country",
                          format_func=lambda code: names.get(code, "All countries"))  # fmt: skip
    kept = {"All pairs": None, "Those that differ": True, "Those left out": False}
    which = right.selectbox("Which", list(kept), key="tune_p_which", index=1)
    written = tunings.written_survey(store, of, seed)
    if written is None:
        st.caption("The answers behind these pairs were deleted; their counts are left.")
        return

    def pairs(limit: int | None = None) -> pd.DataFrame:
        return tunings.pair_table(store, tuned, survey, written, iso3, kept[which], limit)

    found = pairs(limit=PAIRS_SHOWN)
    st.dataframe(
        found,
        hide_index=True,
        height=420,
        column_config={
            "Question": st.column_config.TextColumn(width="large"),
            "Apart": st.column_config.NumberColumn(
                format="%.2f",
                help="How far the two answers lie apart, from 0 to 1 (Jensen-Shannon distance; "
                "for written answers 1 where they differ)",
            ),
            "Noise": st.column_config.NumberColumn(
                format="%.2f", help="How far they would lie apart by chance alone"
            ),
        },
    )
    if len(found) == PAIRS_SHOWN:
        st.caption(f"The {PAIRS_SHOWN:,} farthest apart are shown; the download has them all.")
    download(pairs, f"pluriscope-{of.id}-pairs-{seed}.csv")


def training_step(tuned: tunings.TunedArm) -> None:
    of, arm, seed = tuned
    store = session.store()

    def curves() -> None:
        points = store.training(of.id, arm.name)
        points = points[points["seed"] == seed]
        if points.empty:
            st.caption("Training has not begun. The loss and the learning rate are drawn here.")
            return
        results.figure(
            tuning.training_curves(points, dark=session.is_dark()), f"tune_curves_{arm.name}"
        )

    live = of.state in UNFINISHED
    st.fragment(curves, run_every=2.0 if live else None)()
    for adapter in store.adapters(of.id):
        if tuned.mine(adapter):
            adapter_row(adapter)


def adapter_row(adapter: dict) -> None:
    folder = session.store().home / adapter["path"]
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(text.plain(adapter["name"]))
            whole = "" if adapter["facts"].get("complete", True) else "unfinished · "
            st.caption(text.plain(f"{whole}sha256 {adapter['sha256'][:12]}… · {folder}"))
        found = adapters.adapter_entry(folder)
        if found:
            st.download_button(
                "Download", lambda: adapter_exchange.export_zip(found),
                file_name=f"{adapter_exchange.file_name(found)}.zip",
                mime="application/zip", on_click="ignore", type="tertiary",
                icon=":material/download:", key=f"adapter_zip_{adapter['id']}",
            )  # fmt: skip
        else:
            st.caption("Its files are no longer here.", width="content")


def after_step(tuned: tunings.TunedArm) -> None:
    """The same map before and after: how much closer each country came."""
    of, arm, seed = tuned
    store = session.store()
    found = tunings.before_after(store, tuned)
    methods = [m for m in ("country", "plain") if m in found.before and m in found.after]
    if not methods:
        st.caption(
            "The survey has not been asked after tuning yet. The change in every country is drawn "
            "here once it is."
        )
        return
    survey = store.survey(of.settings.survey, of.settings.survey_version)
    parts = experiments.parts_of(of.settings, survey, arm)
    method = st.segmented_control(
        "Asked", methods, format_func=lambda m: METHODS[m].name, default=methods[0],
        required=True, key="tune_after_method", label_visibility="collapsed",
    )  # fmt: skip
    left, right = st.columns(2)
    part = left.selectbox(
        "Questions", list(parts), format_func=parts.get,
        index=list(parts).index("held_out") if "held_out" in parts else 0,
        key=f"tune_after_part_{of.id}_{arm.name}",
        help="Kept out: questions that had no part in the tuning.",
    )  # fmt: skip
    with right:
        measure = results.pick_measure("tune")
    before, after = found.before[method], found.after[method]
    only = experiments.items_of(part, of.settings, survey)
    held = of.settings.held_out_cultures
    countries = experiments.countries_of(part, of.settings) if held else None
    table, mean = scores.change(store, before, after, measure, only=only, countries=countries)
    made = experiments.made_of(store, of.id)
    whole = one_arm(of.id, arm, seed, measure, part, method, made)
    finding = experiment.change_words(table, mean, arm, whole.diversity if whole else None)
    st.markdown(f"**{text.plain(finding.headline)}**")
    if whole:
        sides(whole, METRICS[measure].label)
    st.markdown(text.plain(finding.paragraph), width=session.READING)
    results.teaching_note(before, after)
    drawn = maps.change_map(
        table, metric=measure, label=f"Change in {METRICS[measure].label.lower()}",
        dark=session.is_dark(), narrow=session.is_narrow(),
    )  # fmt: skip
    results.figure(drawn, "tune_after_map", config=base.MAP_CONFIG)
    with st.container(horizontal=True, vertical_alignment="center"):
        results.provenance(before, after, key="tune_from")
        st.page_link(
            "pages/map.py", label="Open on the map", icon=":material/public:",
            query_params={"run": after.group, "show": method, "with": before.id},
        )  # fmt: skip
        download(table, f"pluriscope-{of.id}-change.csv")
    st.caption(wording.CAUTION)


@st.cache_data(max_entries=64, show_spinner="Comparing …")
def one_arm(
    tuning_id: str, arm: Arm, seed: int, metric: str, part: str, method: str, made: tuple
) -> experiments.OneArm | None:
    """Kept for exactly what is made of the tuning, as experiments.made_of() tells it."""
    return experiments.one_arm(session.store(), tuning_id, arm, seed, metric, part, method)


def sides(one: experiments.OneArm, label: str) -> None:
    """The score before and after, and beside it whether countries became alike."""
    with st.container(horizontal=True, gap="large"):
        st.metric(
            f"{label}, of 100", f"{wording.number(one.before)} → {wording.number(one.after)}",
            width="content",
        )  # fmt: skip
        apart = one.diversity
        if apart:
            st.metric(
                "How far countries lie apart, people = 1",
                f"{apart.before.value:.2f} → {apart.after.value:.2f}", width="content",
                help="Tuning can bring every country closer by making them all alike.",
            )  # fmt: skip


def cost_step(tuned: tunings.TunedArm) -> None:
    of, state = tuned.of, tuned.state
    records = session.store().abilities(of.id)
    record = next((one["record"] for one in records if tuned.mine(one)), None)
    if record is None and (failed := (state["facts"] if state else {}).get("cost")):
        st.write(text.plain(f"It could not be checked. {failed['error']}"))
        return
    if record is None:
        st.caption(
            "Not checked yet. After tuning, the model is compared with itself before: ordinary "
            "texts, factual questions, open questions, refusals."
        )
        return
    st.markdown(f"**{text.plain(record['sentence'])}**", width=session.READING)
    table = ability_table(record)
    st.dataframe(table, hide_index=True, width="stretch", height="content")
    for note in record["notes"]:
        st.caption(text.plain(note))
    st.caption(
        "Base and tuned model get the same prompts. No worse: the 95% interval of the difference "
        f"ends within {wording.count(round(record['margin']), 'point')} below zero."
    )
    download(table, f"pluriscope-{of.id}-abilities.csv")


def ability_table(record: dict) -> pd.DataFrame:
    """A record of what tuning cost as a table, points of 100."""
    rows = [
        {
            "Test": test.title,
            "Before": test.base,
            "After": test.tuned,
            "Difference": test.difference,
            "From": test.low,
            "To": test.high,
            "In words": test.words,
            "What it is": test.about,
            "Prompts": test.n,
        }
        for test in paired_tests.outcomes(record)
    ]
    return pd.DataFrame(rows).round(1)


def download(table: pd.DataFrame | Callable[[], pd.DataFrame], file_name: str) -> None:
    """A table as CSV; one that is large is given as a function and made on the click."""
    st.download_button(
        "Download as CSV", lambda: csv_bytes(table() if callable(table) else table),
        file_name=file_name, mime="text/csv",
        on_click="ignore", type="tertiary", icon=":material/download:", key=f"csv_{file_name}",
    )  # fmt: skip


# -- what was tuned before -------------------------------------------------------------------------


def history(open_id: str | None, unfinished: Container[str]) -> None:
    """Tunings before, each to open; and in line, those that wait."""
    store = session.store()
    undo()
    known = [one for one in tunings.tunings(store) if one.id != open_id]
    if not known:
        if open_id is None:
            st.caption("Nothing has been tuned yet.")
        return
    st.subheader("Tuned before", anchor=False)
    for of in known[:20]:
        with st.container(horizontal=True, vertical_alignment="center"):
            with st.container(gap=None):
                st.markdown(text.plain(of.name))
                state = job_status.STATE_WORDS.get(of.state, of.state)
                st.caption(
                    text.plain(f"{state} · {tunings.settings_words(of)} · {text.when(of.created)}")
                )
            st.button("Open", key=f"open_{of.id}", type="tertiary", on_click=open_tuning,
                      args=(of.id,))  # fmt: skip
            if of.state not in unfinished:
                st.button("Delete", key=f"delete_{of.id}", type="tertiary",
                          on_click=delete, args=(of,))  # fmt: skip


def open_tuning(tuning_id: str) -> None:
    close()
    st.query_params["tuning"] = tuning_id


def delete(of: tunings.Tuning) -> None:
    session.store().delete_tuning(of.id)
    st.session_state["tuning_deleted"] = (
        f"“{of.name}” is deleted. Its finished adapters and its answers stay.", of.id,
    )  # fmt: skip


def undo() -> None:
    """After a deletion: what was deleted, and a button that takes it back."""
    if "tuning_deleted" not in st.session_state:
        return
    said, tuning_id = st.session_state["tuning_deleted"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(text.plain(said))
        st.button("Undo", key="tune_undo", on_click=take_back, args=(tuning_id,))


def take_back(tuning_id: str) -> None:
    try:
        session.store().restore_tuning(tuning_id)
    except PluriscopeError as error:
        st.error(text.plain(str(error)))
    st.session_state.pop("tuning_deleted", None)

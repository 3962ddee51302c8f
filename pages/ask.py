"""Ask one question and see the answers side by side: plainly, and as people of countries.

The address names the question (?item=), the countries (?people=) and, once asked, the stored
answer (?ask=), which opens exactly as it was.
"""

from __future__ import annotations

import random
from contextlib import suppress

import streamlit as st

from core.analysis import option_mass
from core.asking import languages
from core.asking.settings import AskSettings, own_item
from core.errors import PluriscopeError
from core.figures import answers
from core.jobs.choices import AskChoices
from core.jobs.plan import again, plan_question
from core.jobs.queue import RESUMABLE, UNFINISHED
from core.models import catalogue
from core.prompts.methods import METHODS
from core.prompts.prompt_sets import load_prompt_set
from core.store.jobs import Job
from core.views import side_by_side
from core.wording import CAUTION, count, country, listed
from pages.widgets import (
    address,
    get_model,
    job_status,
    methods,
    model_picker,
    results,
    session,
    surveys,
)
from pages.widgets.text import clock, plain, quotation

MOST = 6
FIRST = ("DEU", "JPN", "KEN")
DECODING = ("temperature", "top_p", "seed")
EVERY_TOPIC = "All topics"

queue, store = session.jobs(), session.store()


# -- choosing --------------------------------------------------------------------------------------


def reopen(asked: side_by_side.SideBySide) -> None:
    """Set the page to a stored answer, once, when its link is opened."""
    still_here = "ask_people" in st.session_state  # what is chosen goes when the page is left
    if st.session_state.get("ask_open") == asked.group and still_here:
        return
    st.session_state["ask_open"] = asked.group
    st.session_state.pop("ask_opened_as", None)
    for (
        name
    ) in model_picker.MODEL_IN_ADDRESS:  # chosen after the answer, before the page was loaded again
        st.query_params.pop(name, None)
    address.link_to("ask", "survey", surveys.key_of(asked.survey))
    address.link_many_to("ask", "people", asked.countries)
    methods.set_way("ask", asked.method)
    settings = asked.settings
    methods.set_examples("ask", asked.country_settings)
    st.session_state["ask_own_language"] = asked.own_language
    model_picker.set_picker(settings.model)
    methods.set_orders("ask", settings.orders)
    methods.set_label_rule("ask", settings.label_rule)
    for name in DECODING:
        st.session_state[f"ask_{name}"] = getattr(settings, name)
    if wording := wording_of(settings):
        st.session_state["ask_wording"] = wording
    own = settings.own_item
    st.session_state["ask_own"] = bool(own)
    if own:
        st.session_state["ask_own_question"] = own["question"]
        st.session_state["ask_own_options"] = "\n".join(own["options"])
    else:
        st.session_state["ask_topic"] = EVERY_TOPIC
        address.link_to("ask", "item", asked.item.id)


def wording_of(settings: AskSettings) -> str | None:
    """The wording to choose from that holds the very texts of an answer, or else has its name."""
    known = methods.wordings()
    for one in known:
        with suppress(PluriscopeError):  # a file that is no prompt set
            if load_prompt_set(one).sha256 == settings.prompt_sha256:
                return one
    return settings.prompt_set if settings.prompt_set in known else None


def still_chosen(asked: side_by_side.SideBySide) -> bool:
    """True until something else is chosen than when the stored answer was opened.

    What the page is set to then need not be what was asked: an adapter, a model or a wording may
    be gone since, and the address may say otherwise. The answer is still there, and is shown.
    """
    chosen = {
        "survey": surveys.key_of(survey),
        "question": own or (item and item.id),
        "countries": countries,
        "way": (as_who, examples, own_too) if countries else None,
        **details,
    }
    opened, opened_model = st.session_state.setdefault("ask_opened_as", (chosen, model))
    # None: the model that is chosen cannot be used, which may only be so for a while.
    same_model = model in (None, opened_model) or model_picker.same_model(
        model, asked.settings.model
    )
    return chosen == opened and same_model


def another(topic: str) -> None:
    """Pick a question by chance."""
    among = survey.items if topic == EVERY_TOPIC else survey.select(topic)
    address.link_to("ask", "item", random.choice(among).id)


def pick_item():
    with item_row:
        topic = st.selectbox(
            "Topic",
            [EVERY_TOPIC, *survey.topics],
            key="ask_topic",
            bind="query-params",
            width=260,
        )
        among = survey.items if topic == EVERY_TOPIC else survey.select(topic)
        item_id = address.linked(
            "Question",
            {item.id: f"{item.label} ({item.id})" for item in among},
            name="item",
            page="ask",
            default=among[0].id,
        )
        st.button(
            "Random", icon=":material/shuffle:", key="ask_random", on_click=another, args=(topic,),
            help="Another question, by chance",
        )  # fmt: skip
    return survey.item(item_id), None


def pick_sides() -> tuple[list[str], str, dict, bool, str]:
    """Countries in the survey's order, the method, its examples, whether they are asked in their
    own language too, and the words for the blank."""
    picked = address.linked_many(
        "Countries",
        names,
        name="people",
        page="ask",
        default=[code for code in FIRST if code in names],
        max_selections=MOST,
        placeholder="Up to six countries",
    )
    as_who = methods.pick_way("ask")
    examples = methods.pick_examples("ask") if METHODS[as_who].shows_examples else {}
    own_too = st.toggle(
        "In their own language too",
        key="ask_own_language",
        bind="query-params",
        help="Each country is asked in English and in its own language, side by side.",
    )
    codes = [culture.iso3 for culture in survey.cultures if culture.iso3 in picked]
    where = listed([country(names[code]) for code in codes], most=3)
    said = f"plainly and as people from {where}" if codes else "plainly"
    said += " in two languages" if own_too and codes else ""
    return codes, as_who, examples, own_too, said


def write_item():
    """A question of the user's own; (None, None) until it can be asked."""
    left, right = st.columns(2)
    text = left.text_area(
        "Your question", key="ask_own_question", bind="query-params", max_chars=1000, height=120,
        placeholder="How important is it to you to …?",
    )  # fmt: skip
    lines = right.text_area(
        "Its options, one on each line", key="ask_own_options", bind="query-params",
        max_chars=3000, height=120,
        placeholder="Very important\nRather important\nNot important",
    )  # fmt: skip
    own = {"question": text, "options": [line for line in lines.splitlines() if line.strip()]}
    try:
        return own_item(own["question"], own["options"]), own
    except PluriscopeError as error:
        st.caption(f":material/info: {plain(str(error))}")
        return None, None


def how_exactly() -> dict:
    for name in DECODING:
        st.session_state.setdefault(f"ask_{name}", getattr(AskChoices(), name))
    settings = {
        "orders": methods.pick_orders("ask"),
        "label_rule": methods.pick_label_rule("ask"),
        "temperature": st.slider("Temperature", 0.0, 2.0, step=0.05, key="ask_temperature"),
        "top_p": st.slider("Top-p", 0.05, 1.0, step=0.05, key="ask_top_p"),
        "seed": int(st.number_input("Seed", 0, 2**31 - 1, key="ask_seed")),
        "prompt_set": methods.pick_wording("ask"),
    }
    st.caption("Every side has the same seed, so that chance does not tell them apart.")
    return settings


# -- the columns -----------------------------------------------------------------------------------


def columns(item, sides, *, done: bool = False) -> list:
    """Every side beside the others, and their table. Gives the boxes for what each side writes."""
    tables = [side_by_side.table(item, side, sides) for side in sides]
    top, level = answers.answer_top(tables), max(map(_lines, tables))
    boxes = []
    # The same height on every side and at every moment, so that bars stay level.
    tall = "content" if session.is_narrow() else 148
    with st.grid(min(len(sides), 4), min_column_width=230, gap=("medium", "medium")) as grid:
        for side, table in zip(sides, tables, strict=True):
            with grid.cell(), st.container(gap="small"):
                with st.container(gap=None):
                    st.subheader(plain(side.title), anchor=False)
                    st.caption(who(side))
                    if side.question:
                        st.caption(plain(f"“{side.question}”"))
                boxes.append(st.container(height=tall, border=False, autoscroll=not done, gap=None))
                bars(side, table, top, level)
                if verdict := side_by_side.verdict(item, side, sides):
                    st.markdown(f"**{plain(verdict)}**")
                if low := option_mass.low_words(side.mass):
                    st.caption(f":material/percent: {plain(low)}")
                if side.written:
                    st.caption(plain(side_by_side.reading(item, side.written)))
                if said := side_by_side.voices(item, side):
                    st.caption(f":material/compare_arrows: {plain(said)}")
                if done:
                    exact_prompt(item, side)
    # There with all its rows and columns before anything is asked, so that nothing moves later.
    with st.expander("The numbers, in per cent", key="ask_numbers", type="compact"):
        st.dataframe(
            side_by_side.numbers(item, sides), hide_index=True, height="content", placeholder=""
        )
    return boxes


def bars(side: side_by_side.Side, table, top: float, level: int) -> None:
    """People's and the model's answers. level: lines of legend to make room for on every side."""
    names_itself = not side.iso3
    drawn = answers.answer_bars(
        table,
        country=side.name if side.iso3 else "",
        width=30,
        top=top,
        legend=not names_itself,
        dark=session.is_dark(),
    )
    lines = 0 if names_itself else _lines(table)
    with st.container(gap=None):
        if lines < level and not session.is_narrow():
            st.space(17 * (level - lines) + (10 if names_itself else 0))
        results.figure(drawn, f"ask_bars_{side.key}")


def _lines(table) -> int:
    """Lines of legend above a country's bars: one for each column but the labels."""
    return len(table.columns) - 1


def who(side: side_by_side.Side) -> str:
    if not side.iso3:
        return "As nobody in particular"
    if not side.surveyed:
        return "No answers of people to set beside it"
    if not side.n_people:
        return "How many people answered is not known"
    return f"{count(side.n_people, 'person', 'people')} answered there"


def write(sides, boxes, texts: dict[str, str]) -> None:
    """Fill the boxes: what is stored, or what is being written now."""
    for side, box in zip(sides, boxes, strict=True):
        with box:
            if side.written:
                quotation(side.written.text or "")
            elif side.written_by and (text := texts.get(f"{side.written_by.id}/{side.iso3}")):
                quotation(text)
            else:
                st.caption("Its answer will stand here.")


def exact_prompt(item, side: side_by_side.Side) -> None:
    with st.popover("Exact prompt", icon=":material/notes:", type="tertiary",
                    key=f"ask_prompt_{side.key}"):  # fmt: skip
        try:
            prompts = side_by_side.prompts(store, item, side)
        except PluriscopeError as error:
            st.write(plain(str(error)))
            return
        for name, prompt in prompts.items():
            st.caption(plain(name))
            st.code(prompt.text, language=None, wrap_lines=True)
            if not prompt.exact:
                st.caption("The model’s own chat template goes round these messages.")


# -- before, while and after it is asked -----------------------------------------------------------


def before() -> None:
    problem = "" if model else model_picker.picker_problem()
    fit = model_picker.model_fit(model) if model else None
    if fit and not fit.fits:
        problem = fit.sentence
    with st.container(horizontal=True, vertical_alignment="center"):
        clicked = st.button(
            "Ask", type="primary", key="ask_button", disabled=bool(problem), width=110
        )
        if problem:
            st.caption(f":material/info: {plain(problem)}")
        elif own:
            st.caption("A question of your own has no answers of people to set beside it.")
        elif catalogue.is_teaching(model):
            st.caption(f":material/school: {results.TEACHING}")
    get_model.offer("ask")
    if clicked:
        try:
            plan = plan_question(
                store,
                AskChoices(
                    model,
                    methods=("plain", as_who),
                    cultures=countries,
                    survey=surveys.key_of(survey),
                    **examples,
                    **details,
                ),
                own or item.id,
                own_language=own_too,
            )
        except PluriscopeError as error:
            st.error(plain(str(error)))
        else:
            show(queue.start(plan))
            st.rerun()
    if own_too and not own:
        language_notes()
    write(sides, columns(item, sides), {})


def language_notes() -> None:
    """Which countries have no second language here, and what to think of the others."""
    if said := languages.without_own(survey, item.id, countries):
        st.caption(f":material/translate: {plain(said)}")
    if model and catalogue.is_teaching(model) and any(side.question for side in sides):
        st.caption(f":material/translate: {languages.TAUGHT_ENGLISH}")


def under_way(asked: side_by_side.SideBySide, job_id: str) -> None:
    """While the answers come. Only the texts are drawn again and again; bars when they change."""
    controls = st.container(horizontal=True, vertical_alignment="center")
    boxes = columns(asked.item, asked.sides)

    def tick() -> None:
        job, live = store.job(job_id), queue.live(job_id)
        if (
            job.state not in UNFINISHED
            or side_by_side.answered(store, asked.group) > asked.answered
        ):
            st.rerun()
        with controls:
            st.button("Stop", key="ask_stop", icon=":material/stop:", on_click=queue.stop,
                      args=(job_id,), disabled=job.state == "stopping", width=110)  # fmt: skip
            st.caption(plain(progress(live)))
        write(asked.sides, boxes, live.texts if live else {})

    st.fragment(tick, run_every=0.33)()


def progress(live) -> str:
    if live is None:
        ahead = queue.live()
        return (
            f"Next in line. Before it: {job_status.live_words(ahead)}" if ahead else "Next in line"
        )
    if live.phase != "answering":
        return job_status.live_words(live)
    doing = "Writing" if live.texts else "Weighing the options"
    return f"{doing}, {clock(live.elapsed)}"


def after(asked: side_by_side.SideBySide, job: Job | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Ask again with another seed", key="ask_again", icon=":material/refresh:",
            on_click=ask_again, args=(asked,),
        )  # fmt: skip
        st.caption(plain(side_by_side.how(asked)))
    if job:
        if job.state in RESUMABLE:
            st.button("Resume", key="ask_resume", on_click=queue.resume, args=(job.id,))
        job_status.job_trouble(job, key="ask_trouble")
    write(asked.sides, columns(asked.item, asked.sides, done=True), {})
    with st.container(horizontal=True, vertical_alignment="center"):
        results.provenance(*asked.runs, key="ask_from")
        with st.popover("Copy", icon=":material/content_copy:", type="tertiary", key="ask_copy"):
            st.code(side_by_side.as_text(store, asked), language=None, wrap_lines=True)
        address.share("ask", ask=asked.group)
    results.teaching_note(*asked.runs)
    results.evidence_note(*asked.runs)
    if asked.own_language:
        language_notes()
    st.caption(CAUTION)


def ask_again(asked: side_by_side.SideBySide) -> None:
    show(queue.start(again(store, asked.runs[0], seed=asked.settings.seed + 1)))
    del st.session_state["ask_open"]  # so that the page is set to the new seed


def show(job_id: str) -> None:
    """Put what a job asks into the address; the page then shows it."""
    group = store.run(store.job(job_id).runs[0]).group
    st.query_params["ask"] = st.session_state["ask_open"] = group
    st.session_state.pop("ask_opened_as", None)


# -- the page --------------------------------------------------------------------------------------

st.title("Ask one question, side by side")
st.write(
    "What a model answers when it is asked plainly and as a person from a country, beside what "
    "people there said."
)

asked = None
if group := st.query_params.get("ask"):
    try:
        asked = side_by_side.load(store, group)
        reopen(asked)
    except PluriscopeError as error:
        st.caption(f":material/link_off: {plain(str(error))} Ask anew below.")
else:
    st.session_state.pop("ask_open", None)  # so that Back and Forward open it again

with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
    st.subheader("Ask", anchor=False, width="content")
    model_blank = methods.blank("ask_model", "the built-in model")
    places_blank = methods.blank("ask_places", "plainly")
    more_blank = st.popover("Exactly how", key="ask_more", type="tertiary")
    own_one = st.toggle("My own question", key="ask_own", bind="query-params")
item_row = st.container(horizontal=True, vertical_alignment="bottom")
with item_row:
    survey = surveys.pick("ask", also=asked.survey if asked else None, width=260)
names = {culture.iso3: culture.name for culture in survey.cultures}
with model_blank:
    model = model_picker.model_picker()
with places_blank:
    countries, as_who, examples, own_too, places_said = pick_sides()
with more_blank:
    details = how_exactly()
methods.fill(
    ask_model=model_picker.model_words(model_picker.picked_model()), ask_places=places_said
)

item, own = write_item() if own_one else pick_item()
if asked and not still_chosen(asked):
    asked = None
if asked:
    survey, item, countries, sides = asked.survey, asked.item, asked.countries, asked.sides
    model = asked.settings.model
elif item is None:
    st.stop()
else:
    sides = side_by_side.preview(survey, item, countries, as_who, own_too and not own)

st.header(plain(item.question), anchor=False)
job = store.job_of_run(asked.runs[0].id) if asked else None
if not asked:
    before()
elif job and job.state in UNFINISHED:
    under_way(asked, job.id)
else:
    after(asked, job)

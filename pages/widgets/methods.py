"""Choosing how a model is asked, for the pages that ask: ways of asking, their examples, and what
is made of answers afterwards."""

from __future__ import annotations

import streamlit as st

from core import wording
from core.analysis import derived_runs, robustness
from core.asking import languages
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.home import home
from core.inference.label_rules import LABEL, TURN
from core.jobs import askings, plan
from core.jobs.choices import AskChoices
from core.prompts import translations
from core.prompts.methods import METHODS
from core.prompts.prompt_sets import PROMPTS
from core.prompts.render import ORDERS
from core.store.runs import Run
from core.survey.survey import Survey
from core.views import runs
from pages.widgets import address, model_picker, results, session
from pages.widgets.address import link_to, linked
from pages.widgets.text import plain

USUAL = ("plain", "country")

CHOICES = {
    "similar": "Worded most alike",
    "meaning": "Nearest in meaning",
    "topic": "By chance, of the same topic",
    "random": "By chance, of all topics",
}
EVIDENCE = {
    "commonest": "The commonest answer",
    "shares": "How all answered",
    "opposite": "The opposite",
}
THREE = ("pluriscope", "pluriscope-b", "pluriscope-c")
MISSING = {False: "Is left out", True: "Is asked in English"}
EXAMPLES = ("examples", "example_choice", "example_evidence", "other_batteries", "embedder")
STRENGTHS = {
    "auto": "Chosen on other questions",
    "0.5": "Half as much again",
    "1": "As much again",
    "2": "Twice as much again",
}


# -- ways of asking --------------------------------------------------------------------------------


def pick_ways(page: str) -> tuple[list[str], dict, str]:
    """Several ways of asking, their settings, and the words for them in a sentence.

    The settings are those of AskChoices that the ways chosen have: examples, alpha.
    """
    offered = {method: how for method, how in METHODS.items() if how.button}
    chosen = st.pills(
        "How the model is asked",
        [how.button for how in offered.values()],
        selection_mode="multi",
        default=[offered[method].button for method in USUAL],
        key="ways",
        bind="query-params",
        help="  \n".join(f"**{how.button}**: {how.what}" for how in offered.values()),
    )
    methods = [method for method, how in offered.items() if how.button in chosen]
    shows = any(METHODS[method].shows_examples for method in methods)
    settings = pick_examples(page) if shows else {}
    if "amplified" in methods:
        settings["alpha"] = pick_strength(page)
    said = wording.listed([METHODS[method].said for method in methods]) or "in no way yet, people"
    if methods == ["plain"]:
        said = "plainly, beside people"
    if st.toggle(
        "Calibrated as well", key="calibrated", bind="query-params", help=METHODS["calibrated"].what
    ):
        named = any(METHODS[method].needs_culture for method in methods)
        methods += [
            *(["calibrated_plain"] if "plain" in methods else []),
            *(["calibrated"] if named else []),
        ]
    return methods, settings, said


def pick_strength(page: str) -> float | None:
    """How far to amplify; None to have it chosen."""
    st.session_state.setdefault(f"{page}_strength", "auto")
    chosen = st.segmented_control(
        "How far to amplify",
        list(STRENGTHS),
        format_func=STRENGTHS.get,
        required=True,
        key=f"{page}_strength",
        persist_state="session",
        help=(
            "As much again: the step from the plain answer to the answer as a person from the "
            "country is taken a second time (α = 1). Chosen: the strength that brings answers to "
            "the questions of other batteries closest to people’s, which uses those answers."
        ),
    )
    return None if chosen in (None, "auto") else float(chosen)


def pick_way(page: str) -> str:
    """One way of asking for the sides that are countries."""
    names = {
        how.name: method for method, how in METHODS.items() if how.needs_culture and not how.derived
    }
    chosen = st.radio(
        "The model answers",
        list(names),
        key=f"{page}_as",
        bind="query-params",
        captions=[METHODS[method].what for method in names.values()],
    )
    return names[chosen]


def set_way(page: str, method: str) -> None:
    """Set pick_way, before it is drawn."""
    st.session_state[f"{page}_as"] = METHODS[method].name


# -- examples --------------------------------------------------------------------------------------


def pick_examples(page: str) -> dict:
    """How many answered questions the prompt shows, which, and what of them.

    Gives the settings of that name. Drawn only where a way of asking with examples is chosen.
    """
    for name in EXAMPLES:
        st.session_state.setdefault(f"{page}_{name}", getattr(AskChoices(), name))
    st.markdown("**The examples**")
    count = st.slider(
        "How many",
        0,
        20,
        key=f"{page}_examples",
        persist_state="session",
        help="Answered questions shown before the one that is asked.",
    )
    choice = st.selectbox(
        "Which questions",
        list(CHOICES),
        format_func=CHOICES.get,
        key=f"{page}_example_choice",
        persist_state="session",
        help=(
            "Worded most alike: those that share most letters and words with the question "
            "(chrF++), as the CultureSPA study does. Nearest in meaning: as an embedding model on "
            "this machine sees it."
        ),
    )
    embedder = pick_embedder(page) if choice == "meaning" else None
    evidence = st.segmented_control(
        "What is shown of them",
        list(EVIDENCE),
        format_func=EVIDENCE.get,
        required=True,
        key=f"{page}_example_evidence",
        persist_state="session",
        help=(
            "The opposite is a control: if it helps as much as the true answer, the model did not "
            "learn from the answers."
        ),
    )
    apart = st.toggle(
        "Never from the same battery",
        key=f"{page}_other_batteries",
        persist_state="session",
        help=(
            "A battery is a row of questions with the same answers, such as confidence in one "
            "institution after another. Its neighbours give much of an answer away."
        ),
    )
    values = (count, choice, evidence or "commonest", apart, embedder)
    return dict(zip(EXAMPLES, values, strict=True))


def pick_embedder(page: str) -> str | None:
    """The model that compares what questions mean."""
    return st.selectbox(
        "Embedding model",
        [entry.source for entry in model_picker.models_here()],
        format_func=lambda source: source.rsplit("/", 1)[-1],
        index=None,
        key=f"{page}_embedder",
        persist_state="session",
        accept_new_options=True,
        placeholder="A folder, or a Hugging Face id on this machine",
        help="A small encoder such as intfloat/multilingual-e5-small. It is not downloaded.",
    )


def set_examples(page: str, settings: AskSettings) -> None:
    """Set pick_examples to what was asked with, before it is drawn."""
    for name in EXAMPLES:
        st.session_state[f"{page}_{name}"] = getattr(settings, name)


# -- languages -------------------------------------------------------------------------------------


def pick_language(page: str, survey: Survey) -> tuple[dict, str]:
    """In what language a survey is asked, and what happens to what is not translated.

    Gives the settings of AskChoices, and the words for a sentence.
    """
    codes = languages.available(survey)
    if len(codes) == 1:
        st.write("The questions of this survey are not translated into any other language.")
        st.page_link("pages/import.py", label="Bring in a translation")
        return {}, "English"
    names = {
        code: languages.label(code) for code in (translations.ENGLISH, languages.OWN, *codes[1:])
    }
    language = address.linked(
        "Language of the questions",
        names,
        name="language",
        page=page,
        default=translations.ENGLISH,
        help=(
            "Each country’s own: the first language of the survey there, or else of the country, "
            "that the questions are translated into. Drafts were read by nobody who grew up with "
            "them."
        ),
    )
    if language == translations.ENGLISH:
        return {"language": language}, "English"
    instead = st.segmented_control(
        "What is not translated",
        list(MISSING),
        format_func=MISSING.get,
        required=True,
        default=False,
        key=f"{page}_missing",
        persist_state="session",
    )
    said = "each country’s own language" if language == languages.OWN else names[language]
    return {"language": language, "english_instead": bool(instead)}, said


# -- wordings --------------------------------------------------------------------------------------


def pick_wordings(page: str) -> list[str]:
    """One wording to ask in, or several."""
    picked = address.linked_many(
        "Wordings",
        {name: runs.wording_name(name) for name in wordings()},
        name="wordings",
        page=page,
        default=["pluriscope"],
        accept_new_options=True,
        placeholder="At least one",
        help=(
            "Prompt sets: Pluriscope’s, or the path of a file with your own. In several wordings "
            "everything is asked once in each. Then every answer says in how many it held, and "
            "every score how much it moves."
        ),
    )
    if picked == ["pluriscope"]:
        st.button(
            "Three wordings",
            key=f"{page}_three",
            type="tertiary",
            icon=":material/repeat:",
            on_click=lambda: address.link_many_to(page, "wordings", THREE),
        )
    return picked


def pick_wording_of(page: str, asking: askings.Asking) -> askings.Asking:
    """Of an asking in several wordings, the one to look at; others come back as they are."""
    names = runs.wordings(asking)
    if len(names) < 2:
        return asking
    chosen = address.linked(
        "Wording",
        {name: runs.wording_name(name) for name in names},
        name="wording",
        page=page,
        default=names[0],
    )
    return runs.in_wording(asking, chosen)


def format_note(found: robustness.Spread | None) -> None:
    """How much wording and order move the scores, where that was asked."""
    if found:
        icon = "warning" if found.greyed else "repeat"
        st.caption(f":material/{icon}: {plain(robustness.spread_words(found))}")


# -- what is made of answers afterwards ------------------------------------------------------------


@st.dialog("Make another run from these answers")
def derive(asking: askings.Asking) -> None:
    """Amplify or calibrate a finished run; the model is not asked again."""
    asked = {run.id: run for run in asking.runs if derived_runs.problem(run) == ""}
    if not asked:
        st.write(plain(derived_runs.problem(asking.runs[0])))
        return
    ways = {"amplified": "Amplify", "calibrated": "Calibrate"}
    kind = st.radio(
        "What to make",
        list(ways),
        format_func=ways.get,
        captions=[METHODS[method].what for method in ways],
        label_visibility="collapsed",
    )
    fitting = list(asked.values())
    if kind == "amplified":
        of_people = [run for run in fitting if METHODS[run.method].needs_culture]
        if not of_people:
            st.write("Nothing here was asked as people of countries, so nothing can be amplified.")
            return
        fitting = [run for run in of_people if not derived_runs.not_amplified(run)]
        if not fitting:
            st.write(derived_runs.not_amplified(of_people[0]))
            return
    run = fitting[0]
    if len(fitting) > 1:
        names = {one.id: one.way for one in fitting}
        run = asked[st.radio("Of which answers", names, format_func=names.get)]
    alpha = pick_strength("derive") if kind == "amplified" else None
    missing = kind == "amplified" and derived_runs.plain_of(session.store(), run) is None
    if missing:
        st.caption("Amplifying compares with the same questions asked plainly, which nobody did.")
    if not st.button("Ask plainly first" if missing else "Make it", type="primary", key="derive"):
        return
    if missing:
        session.jobs().start(plan.plan_plain(session.store(), run))
        st.rerun()
    try:
        made = _make(kind, run, alpha)
    except PluriscopeError as error:
        st.error(plain(str(error)))
        return
    st.write(f"Made: {plain(made.way)}.")
    results.evidence_note(made)
    st.page_link("pages/map.py", label="Map", query_params={"run": made.group, "show": made.method})


def _make(kind: str, run: Run, alpha: float | None) -> Run:
    with st.spinner("Working it out …"):
        if kind == "amplified":
            return derived_runs.amplify(session.store(), run, alpha=alpha)
        return derived_runs.calibrate(session.store(), run)


# For the menu of an asking.
MORE = {"Amplify or calibrate": derive}


def blank(name: str, otherwise: str):
    """A blank in a sentence: a popover whose label is what it was last filled with (see fill)."""
    said = plain(st.session_state.get(f"{name}_said", otherwise))
    return st.popover(said, key=f"{name}_blank")


def fill(**said: str) -> None:
    """Write into the blanks what was chosen; they are drawn before what is inside them."""
    if any(st.session_state.get(f"{name}_said") != text for name, text in said.items()):
        st.session_state.update({f"{name}_said": text for name, text in said.items()})
        st.rerun()


def pick_orders(page: str) -> str:
    return linked(
        "Order of the options",
        {name: ORDERS[name].button for name in ("both", *ORDERS)},
        name="orders",
        page=page,
        default="both",
        widget=st.segmented_control,
        help="Models prefer what stands first or last. Orders are averaged to cancel that.",
    )


def set_orders(page: str, orders: str) -> None:
    """Set pick_orders, before it is drawn."""
    link_to(page, "orders", "" if orders == "both" else orders)
    st.session_state[f"{page}_orders"] = orders


LABEL_RULE_NAMES = {LABEL: "Its label is written", TURN: "… and the turn ends"}


def pick_label_rule(page: str) -> str:
    return linked(
        "An option counts when",
        LABEL_RULE_NAMES,
        name="label_rule",
        page=page,
        default=LABEL,
        widget=st.segmented_control,
        help=(
            "What the model would write after an option’s number is no part of its choice. “… and "
            "the turn ends” is the rule of earlier versions, for comparing with their runs: "
            "options that the model likes to spell out weigh less by it."
        ),
    )


def set_label_rule(page: str, label_rule: str) -> None:
    """Set pick_label_rule, before it is drawn."""
    link_to(page, "label_rule", "" if label_rule == LABEL else label_rule)
    st.session_state[f"{page}_label_rule"] = label_rule


def wordings() -> list[str]:
    """Prompt sets: names of Pluriscope's own, paths of the user's."""
    known = sorted(path.stem for path in PROMPTS.glob("*.json"))
    return known + sorted(str(path) for path in (home() / "prompts").glob("*.json"))


def pick_wording(key: str) -> str:
    st.session_state.setdefault(f"{key}_wording", "pluriscope")
    return st.selectbox(
        "Wording",
        wordings(),
        key=f"{key}_wording",
        accept_new_options=True,
        help="A prompt set: one of Pluriscope's, or the path of a file with your own.",
    )

"""Choosing how a model is asked, for the pages that ask: ways of asking and their examples."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from core import words
from core.prompts import METHODS
from core.settings import AskSettings


class Way(NamedTuple):
    """A way of asking: on its button, inside a sentence, and what it does."""

    label: str
    said: str
    what: str


WAYS: dict[str, Way] = {
    "plain": Way("Plainly", "plainly", "As nobody in particular."),
    "country": Way(
        "As a person from …", "as people", "It is told to be an ordinary person of the country."
    ),
    "cross_culture": Way(
        "Cross-culture",
        "as people who compare countries",
        "The same, and told to think of countries near and far. This shows the model which those "
        "are, from the survey.",
    ),
    "examples": Way(
        "With examples",
        "with examples",
        "The country is not named. The model is shown how people there answered other questions.",
    ),
    "country_examples": Way(
        "As a person, with examples",
        "as people with examples",
        "The country is named, and answers of its people are shown.",
    ),
    "cross_culture_examples": Way(
        "Cross-culture, with examples",
        "as people who compare countries, with examples",
        "Countries near and far are named, and answers of the country’s people are shown.",
    ),
}
USUAL = ("plain", "country")

CHOICES = {
    "similar": "Worded most alike",
    "topic": "By chance, of the same topic",
    "random": "By chance, of all topics",
}
EVIDENCE = {
    "commonest": "The commonest answer",
    "shares": "How all answered",
    "opposite": "The opposite",
}
EXAMPLES = ("examples", "example_choice", "example_evidence", "other_batteries")
_USUAL_EXAMPLES = {
    name: AskSettings.__dataclass_fields__[name].default for name in EXAMPLES
}  # what a command does when nothing is said


def shows_examples(method: str) -> bool:
    return method.endswith("examples")


# -- ways of asking --------------------------------------------------------------------------------


def pick_ways(page: str) -> tuple[list[str], str]:
    """Several ways of asking, and the words for them in a sentence."""
    chosen = st.pills(
        "How the model is asked",
        [way.label for way in WAYS.values()],
        selection_mode="multi",
        default=[WAYS[method].label for method in USUAL],
        key="ways",
        bind="query-params",
        help="  \n".join(f"**{way.label}**: {way.what}" for way in WAYS.values()),
    )
    methods = [method for method, way in WAYS.items() if way.label in chosen]
    if methods == ["plain"]:
        return methods, "plainly, beside people"
    return methods, words.listed([WAYS[method].said for method in methods]) or (
        "in no way yet, people"
    )


def pick_way(page: str) -> str:
    """One way of asking for the sides that are countries."""
    names = {METHODS[method].name: method for method in WAYS if METHODS[method].needs_culture}
    chosen = st.radio(
        "The model answers",
        list(names),
        key=f"{page}_as",
        bind="query-params",
        captions=[WAYS[method].what for method in names.values()],
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
    for name, value in _USUAL_EXAMPLES.items():
        st.session_state.setdefault(f"{page}_{name}", value)
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
            "(chrF++), as the CultureSPA study does."
        ),
    )
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
    return dict(zip(EXAMPLES, (count, choice, evidence or "commonest", apart), strict=True))


def set_examples(page: str, settings: AskSettings) -> None:
    """Set pick_examples to what was asked with, before it is drawn."""
    for name in EXAMPLES:
        st.session_state[f"{page}_{name}"] = getattr(settings, name)

"""The ways of asking: one row each, with all that is said of them and how they are drawn."""

from __future__ import annotations

from typing import NamedTuple


class Look(NamedTuple):
    """How answers are drawn: the colour of their marks, the same for small type on a light and on a
    dark page, and the shape, sign and dashes that go with it."""

    colour: str
    text: str
    text_dark: str
    symbol: str
    sign: str
    dash: str


class Method(NamedTuple):
    """How answers come about. `system` and `user` name texts of a prompt set.

    tells_neighbours: names countries near and far. shows_examples: shows answered questions.
    uses_human_answers: which of people's answers the method is shown, "" where none.

    derived: "amplified" or "calibrated" where it is made from answers that other methods gave
    (core/analysis/derived_runs.py); it asks nothing itself. made: that, as a sentence.

    asked: in a sentence that begins with "Asked". button: on a page that offers it, "" where it is
    offered otherwise. said: inside a sentence. what: what it does. legend: beside its marks, its
    name where "".
    """

    name: str
    system: str
    user: str
    needs_culture: bool
    uses_human_answers: str
    look: Look
    asked: str
    button: str = ""
    said: str = ""
    what: str = ""
    tells_neighbours: bool = False
    shows_examples: bool = False
    derived: str = ""
    made: str = ""
    legend: str = ""

    @property
    def names_country(self) -> bool:
        """Does the model read which country it is about?"""
        return self.system != "plain_system"

    @property
    def label(self) -> str:
        """Beside its marks in a figure."""
        return self.legend or f"{self.name[0].lower()}{self.name[1:]}"


NEAR_AND_FAR = "which countries are near and far, from the survey"
_OTHER_ANSWERS = "the country’s answers to other questions"
_CALIBRATED = {
    "uses_human_answers": (
        "answers to questions of other batteries, by which the temperature was set"
    ),
    "what": (
        "Made from the answers, without asking again: as sure, or unsure, of its answers as "
        "people’s answers to other questions bear out. One number for questions with the same "
        "number of options; no option overtakes another (temperature scaling)."
    ),
    "derived": "calibrated",
}

# The colours are Okabe and Ito's, which stay apart for colour-blind eyes; a shape goes with each.
METHODS: dict[str, Method] = {
    "plain": Method(
        "Asked plainly",
        "plain_system",
        "question_user",
        needs_culture=False,
        uses_human_answers="",
        look=Look("#56B4E9", "#14699C", "#7CC6F0", "circle", "●", "solid"),
        asked="plainly",
        button="Plainly",
        said="plainly",
        what="As nobody in particular.",
    ),
    "country": Method(
        "As a person from …",
        "country_system",
        "question_user",
        needs_culture=True,
        uses_human_answers="",
        look=Look("#E69F00", "#8A5A00", "#F2B733", "diamond", "◆", "dash"),
        asked="as a person from each country",
        button="As a person from …",
        said="as people",
        what="It is told to be an ordinary person of the country.",
    ),
    "cross_culture": Method(
        "Cross-culture thinking",
        "cross_culture_system",
        "question_user",
        needs_culture=True,
        uses_human_answers=NEAR_AND_FAR,
        look=Look("#CC79A7", "#97406F", "#DE9DC0", "triangle-up", "▲", "dashdot"),
        asked="to think across cultures",
        button="Cross-culture",
        said="as people who compare countries",
        what=(
            "The same, and told to think of countries near and far. This shows the model which "
            "those are, from the survey."
        ),
        tells_neighbours=True,
    ),
    "examples": Method(
        "Self-alignment examples",
        "plain_system",
        "examples_user",
        needs_culture=True,
        uses_human_answers=_OTHER_ANSWERS,
        look=Look("#0072B2", "#005C90", "#6DB3DC", "triangle-down", "▼", "longdash"),
        asked="with answered examples",
        button="With examples",
        said="with examples",
        what=(
            "The country is not named. The model is shown how people there answered other "
            "questions."
        ),
        shows_examples=True,
        legend="with examples",
    ),
    "country_examples": Method(
        "As a person from …, with examples",
        "country_system",
        "examples_user",
        needs_culture=True,
        uses_human_answers=_OTHER_ANSWERS,
        look=Look("#D55E00", "#A34700", "#F08A4B", "pentagon", "⬟", "longdashdot"),
        asked="as a person from each country, with examples",
        button="As a person, with examples",
        said="as people with examples",
        what="The country is named, and answers of its people are shown.",
        shows_examples=True,
    ),
    "cross_culture_examples": Method(
        "Cross-culture thinking, with examples",
        "cross_culture_system",
        "examples_user",
        needs_culture=True,
        uses_human_answers=(
            "which countries are near and far, and the country’s answers to other questions"
        ),
        look=Look("#882E72", "#7A2A67", "#C98BBB", "star", "★", "8px 3px"),
        asked="to think across cultures, with examples",
        button="Cross-culture, with examples",
        said="as people who compare countries, with examples",
        what="Countries near and far are named, and answers of the country’s people are shown.",
        tells_neighbours=True,
        shows_examples=True,
    ),
    "amplified": Method(
        "As a person from …, amplified",
        "country_system",
        "question_user",
        needs_culture=True,
        uses_human_answers="",
        look=Look("#A6761D", "#7A5612", "#D0A24C", "triangle-right", "▶", "2px 5px"),
        asked="as a person from each country, amplified",
        button="Amplified",
        said="as people, amplified",
        what=(
            "Made from the plain answers and those as people, without asking again: where naming "
            "the country moved an answer, it goes on in that direction."
        ),
        derived="amplified",
        made="the answers as people are amplified",
    ),
    # What is calibrated keeps its colour, and its shape hollow.
    "calibrated": Method(
        "As a person from …, calibrated",
        "country_system",
        "question_user",
        needs_culture=True,
        look=Look("#E69F00", "#8A5A00", "#F2B733", "diamond-open", "◇", "6px 3px 2px 3px"),
        asked="as a person from each country, calibrated",
        made="the answers as people are calibrated",
        **_CALIBRATED,
    ),
    "calibrated_plain": Method(
        "Asked plainly, calibrated",
        "plain_system",
        "question_user",
        needs_culture=False,
        look=Look("#56B4E9", "#14699C", "#7CC6F0", "circle-open", "○", "1px 2px"),
        asked="plainly, calibrated",
        made="the plain answers are calibrated",
        **_CALIBRATED,
    ),
}


def askable() -> list[str]:
    """Those that put questions to a model."""
    return [name for name, method in METHODS.items() if not method.derived]

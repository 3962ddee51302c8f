"""The ways of asking: one row each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Method(NamedTuple):
    """How answers come about. `system` and `user` name texts of a prompt set.

    uses_human_answers: which of people's answers the method is shown, "" where none. derived: made
    from answers that other methods gave (core/analysis/derived_runs.py); it asks nothing itself.
    """

    name: str
    system: str
    user: str
    needs_culture: bool
    uses_human_answers: str
    derived: bool = False


METHODS: dict[str, Method] = {
    "plain": Method("Asked plainly", "plain_system", "question_user", False, ""),
    "country": Method("As a person from …", "country_system", "question_user", True, ""),
    "cross_culture": Method(
        "Cross-culture thinking",
        "cross_culture_system",
        "question_user",
        True,
        "which countries are near and far, from the survey",
    ),
    "examples": Method(
        "Self-alignment examples",
        "plain_system",
        "examples_user",
        True,
        "the country’s answers to other questions",
    ),
    "country_examples": Method(
        "As a person from …, with examples",
        "country_system",
        "examples_user",
        True,
        "the country’s answers to other questions",
    ),
    "cross_culture_examples": Method(
        "Cross-culture thinking, with examples",
        "cross_culture_system",
        "examples_user",
        True,
        "which countries are near and far, and the country’s answers to other questions",
    ),
    "amplified": Method(
        "As a person from …, amplified", "country_system", "question_user", True, "", derived=True
    ),
    "calibrated": Method(
        "As a person from …, calibrated",
        "country_system",
        "question_user",
        True,
        "answers to questions of other batteries, by which the temperature was set",
        derived=True,
    ),
    "calibrated_plain": Method(
        "Asked plainly, calibrated",
        "plain_system",
        "question_user",
        False,
        "answers to questions of other batteries, by which the temperature was set",
        derived=True,
    ),
}


def way(settings: Mapping) -> str:
    """How a run was asked, in words; settings as its record. What was made of another run's answers
    is called by that run's way: "Cross-culture thinking, calibrated"."""
    method = settings["method"]
    if not settings.get("derived"):
        return METHODS[method].name
    made = "amplified" if method == "amplified" else "calibrated"
    return f"{METHODS[settings['derived']['method']].name}, {made}"


# Those that put questions to a model.
ASKED = tuple(name for name, method in METHODS.items() if not method.derived)

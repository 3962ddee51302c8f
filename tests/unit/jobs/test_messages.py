"""What the app and the model's process say to each other comes through the pipe as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.asking.answers import Answer
from core.jobs import messages
from core.jobs.choices import AskChoices
from core.jobs.messages import read_line, to_line
from core.jobs.plan import plan_survey
from core.models.spec import ModelSpec
from core.store.store import Store
from core.tuning.culturespa.writing import WriteRequest
from core.tuning.messages import Step, Stepped, Train, Write
from core.tuning.settings import Lora

SPEC = ModelSpec("builtin", adapter="/adapters/kenya")


@pytest.mark.parametrize(
    "message",
    [
        messages.Unload(),
        messages.Phase("loading", "Reading “weights”\n"),
        messages.Facts({"precision": "fp32", "versions": {"torch": "2"}, "adapter_sha256": None}),
        messages.Answered("r", (Answer("KEN", "Q1", 0, (0.25, 0.75), 0.9, 2, "answered", "", None,
                                       None),)),
        messages.ModelChanged(None),
        messages.ModelChanged(messages.HeldModel(SPEC, "held", "fp32", 8, "cpu")),
        messages.Merge(SPEC, Path("/models/merged")),
        Write(SPEC, (WriteRequest("Trust", ({"role": "user", "content": "?"},), -3),), 0.9, 1.0, 9),
        Train(SPEC, Path("/examples"), Lora(rank=4), 1, Path("/adapter"), iso3="KEN"),
        Stepped(Step(1, 8, 0.5, 1e-4, 900.0, 2**40, 0.1)),
    ],
)  # fmt: skip
def test_a_message_is_read_as_it_was_sent(message):
    line = to_line("job/1", message)
    assert line.endswith("\n") and line.count("\n") == 1
    assert read_line(line) == ("job/1", message)


def test_what_is_to_be_asked_arrives_with_its_wording_and_translations(tmp_path):
    store = Store(tmp_path)
    made = plan_survey(store, AskChoices(SPEC, cultures=("DEU",), items="core", language="own"))
    store.close()
    runs = tuple(
        messages.RunToAsk(
            str(place), settings, False, (("DEU", "Q1", 0),), made.prompts, made.translations
        )
        for place, settings in enumerate(made.settings)
    )
    sent = messages.Ask(tmp_path, None, runs)
    _, got = read_line(to_line("", sent))
    assert (got.home, got.survey_file) == (tmp_path, None)
    for run, was in zip(got.runs, runs, strict=True):
        assert replace(run, translations=()) == replace(was, translations=())
        assert [one.to_json() for one in run.translations] == [
            one.to_json() for one in was.translations
        ]
    assert made.translations


def test_no_message_holds_what_is_no_number():
    with pytest.raises(ValueError, match="JSON compliant"):
        to_line("", messages.Facts({"loss": float("nan")}))
    with pytest.raises(json.JSONDecodeError):
        read_line(to_line("", messages.Stop())[:20])

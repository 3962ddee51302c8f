"""Tuning by command, and the positive control: people's shares help, shuffled ones do not."""

from __future__ import annotations

import json

import pytest

from core import __main__ as command
from core.jobs.choices import TuneChoices
from core.jobs.plan_tuning import plan_tuning
from core.models.catalogue import builtin_held_out
from core.store.jobs import AskJob, TuneJob
from core.store.store import Store
from core.survey.survey import load_bundled
from core.tuning.settings import Lora

SURVEY = load_bundled()
# Questions of which the built-in model was never shown the answers of any country.
TAUGHT = tuple(builtin_held_out())[::6]
OTHERS = tuple(item.id for item in SURVEY.items if item.id not in TAUGHT)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLURISCOPE_HOME", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


def said(capsys, *arguments: str) -> dict | list:
    capsys.readouterr()
    assert command.main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_people_s_shares_raise_what_is_taught_and_another_country_s_do_not(home, capsys):
    made = said(
        capsys, "experiment", "--arms", "people,people_shuffled", "--seeds", "1,2",
        "--countries", "ken,deu,jpn,egy", "--held-out-items", ",".join(OTHERS),
        "--evaluate", ",".join(TAUGHT), "--no-abilities", "--batch", "24", "--epochs", "5",
        "--learning-rate", "0.003", "--name", "Positive control",
    )  # fmt: skip
    assert made["state"] == "done" and len(made["adapters"]) == 4
    (listed,) = said(capsys, "tunings")
    assert (listed["id"], listed["state"], listed["seeds"]) == (made["tuning"], "done", 2)
    arms = {row["arm"]: row for row in said(capsys, "arms", made["tuning"], "--part", "all")}
    assert min(arms["people"]["by_seed"]) > 3
    assert arms["people"]["clear"] and arms["people"]["low"] > 0
    assert max(map(abs, arms["people_shuffled"]["by_seed"])) < 2
    assert not arms["people_shuffled"]["clear"]
    assert arms["people"]["examples"] == arms["people_shuffled"]["examples"]  # equal budgets


def test_a_stopped_tuning_is_resumed_by_its_job(home, capsys):
    store = Store(home)
    plan = plan_tuning(
        store,
        TuneChoices(cultures="KEN", arms=("people",), held_out_items=OTHERS, evaluate="",
                    abilities=False, lora=Lora(batch=64)),
    )  # fmt: skip
    store.add_prompt_set(
        plan.prompts.sha256, plan.prompts.id, plan.prompts.name, "en", dict(plan.prompts.texts)
    )
    tuning = store.add_tuning(json.loads(json.dumps(plan.settings.to_json())), name="Stopped")
    job = store.add_job("Stopped", TuneJob(tuning))
    asked = store.add_job("Not a tuning", AskJob(()))
    for one in (job, asked):
        store.update_job(one, state="stopped")
    store.close()
    made = said(capsys, "tune", "--resume", job)
    assert (made["state"], made["tuning"], len(made["adapters"])) == ("done", tuning, 1)
    assert command.main(["tune", "--resume", asked]) == 2
    assert "is no tuning" in capsys.readouterr().err
    assert command.main(["tune", "--resume", "nothing"]) == 2


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (("--held-out-countries", "kne"), "Did you mean KEN"),
        (("--countries", "XXX"), "is not a country of the survey"),
        (("--evaluate", "Q9999"), "has no item"),
        (("--tasks", "mmlu", "--no-abilities"), "Leave that test in"),
        (("--rank", "0"), "must be above 0"),
    ],
)
def test_what_cannot_be_started_is_refused_in_words(home, capsys, wrong, sentence):
    capsys.readouterr()
    assert command.main(["tune", *wrong]) == 2
    assert sentence in capsys.readouterr().err

"""A home that an earlier version made opens as it was; tests/fixtures/README.md tells of it."""

from __future__ import annotations

import json
import shutil

import pytest

from core.analysis import scores
from core.errors import PluriscopeError
from core.inference.label_rules import TURN
from core.jobs.queue import Jobs
from core.models.adapters import adapters
from core.store.schema import MIGRATIONS
from core.store.store import Store
from core.tuning import experiments, lineage

SHARES = "shares of survey questions that were not held out, in what its adapter was taught"
NEAR = "which countries are near and far, from the survey"
ELSEWHERE = "perhaps, in what its adapter was taught elsewhere"


@pytest.fixture
def store(earlier_home):
    opened = Store(earlier_home)
    yield opened
    opened.close()


def named(store, name: str, **more) -> list:
    return [run for run in store.runs(kind=None, **more) if run.name.startswith(name)]


def test_every_migration_has_run_once(store):
    ran = [name for (name,) in store.rows("select name from migrations order by name")]
    assert ran == [step.__name__ for step in MIGRATIONS]


def test_runs_hold_the_answers_they_say_they_hold(store):
    every = [*store.runs(kind=None), *store.runs(kind=None, deleted=True)]
    assert len(every) == 90
    assert sum(run.answered for run in every) == 5330
    for run in every:
        answers = store.answers(run.no)
        assert len(answers) == run.answered, run.name
        assert run.state != "done" or run.answered == run.planned, run.name
    kinds = [run.kind for run in every]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "survey": 61, "question": 10, "imported": 3, "experiment": 10, "tuning": 6,
    }  # fmt: skip


def test_every_run_with_answers_scores(store):
    answered = [run for run in store.runs() if run.answered]
    assert answered
    for run in answered:
        values = scores.table(store, run)["value"].dropna()  # one that ended early lacks some
        assert len(values) and (values <= 100).all(), run.name


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("Built-in model · as a person from … · core set · 8 countries · amplified",
         "answers to questions of other batteries, by which the strength was chosen"),
        ("Cross-culture · calibrated", f"{NEAR}; and answers to questions of other batteries, by "
         "which the temperature was set"),
        ("With shares of other batteries", "the shares of the country’s answers to up to 2 other "
         "questions, none of the same battery"),
        ("Written", ""),
        ("CultureSPA, recorded · self-alignment",
         "the country’s commonest answers to up to 5 other questions"),
        ("One, before tuning · as a person", ""),
        ("One, after tuning", f"{NEAR}, in what its adapter was taught"),
        ("With an adapter", f"{NEAR}, in what its adapter was taught"),
        ("With a copied adapter", f"{NEAR}, in what its adapter was taught"),
        ("Before its adapter was renamed", SHARES),
        ("With a renamed adapter", SHARES),
        ("With the adapter of Kenya alone", SHARES),
        ("With copied adapters for each country", SHARES),
        ("With the adapter of an emptied tuning", SHARES),
        ("With a copy made before emptying", SHARES),
        ("Emptied, after tuning", SHARES),
        ("Failed", ELSEWHERE),
    ],
)  # fmt: skip
def test_scores_say_whose_answers_were_used(store, name, used):
    found = named(store, name)
    assert found
    assert {lineage.human_answers(store, run) for run in found} == {used}


def test_tunings_keep_their_arms_and_adapters(store):
    assert [one["name"] for one in store.tunings()] == ["One for each country", "Several", "One"]
    each, several, one = (one["id"] for one in store.tunings())
    assert {(arm["arm"], arm["seed"]) for arm in store.arms(several)} >= {
        ("soft_all", 1), ("soft_all", 2), ("people", 1), ("people", 2),
    }  # fmt: skip
    assert all(arm["state"] == "done" for arm in store.arms(several))
    assert [adapter["iso3"] for adapter in store.adapters(each)] == ["KEN", "DEU"]
    assert (store.questions(one)["state"] == "kept").sum() == 6
    assert len(store.abilities(one)) >= 1
    names = {entry.path.name for entry in adapters(store.home)}
    assert {"copied elsewhere", "copied-before-emptying", "copied for each country", "renamed"} < (
        names
    )


def test_a_part_that_no_country_belongs_to_is_a_sentence(store):
    (one,) = [one["id"] for one in store.tunings() if one["name"] == "One"]
    with pytest.raises(PluriscopeError, match="has no country that this tuning asked"):
        experiments.arms_table(store, one, part="held_out_countries")


def test_surveys_are_there_with_their_further_tables(store):
    assert set(store.surveys()["id"]) == {"wvs7", "culturespa", "survey", "wvs7-import"}
    counted = store.survey("wvs7-import")
    folder = store.survey_folder(counted.id, counted.version)
    assert (folder / "groups.parquet").is_file() and (folder / "respondents.parquet").is_file()


def test_what_ended_early_can_go_on(store):
    states = {job.title: job.state for job in store.jobs()}
    assert states["Stopped"] == "stopped"
    assert states["Failed"] == "failed"
    assert states["Interrupted"] == "interrupted"
    jobs = Jobs(store, only_own=True)
    jobs.close()  # opening it changes nothing
    assert {job.title: job.state for job in store.jobs()} == states


def test_what_jobs_were_to_do_can_be_read(store):
    jobs = store.jobs()
    assert {job.kind for job in jobs} >= {"ask", "tune"}
    for job in jobs:
        held, stored = json.loads(json.dumps(job.settings.to_json())), json.loads(job.stored)
        for one in held.get("ask", []):
            assert one.pop("label_rule") == TURN  # not recorded then: the only one there was
        assert held == stored


def test_what_is_in_the_bin_comes_back(store):
    (tuning,) = store.tunings(deleted=True)
    deleted = store.runs(kind=None, deleted=True)
    assert tuning["name"] == "Deleted tuning" and len(deleted) == 6
    store.restore_tuning(tuning["id"])
    store.restore_runs([run.id for run in deleted])
    assert not store.runs(kind=None, deleted=True) and not store.tunings(deleted=True)
    (adapter,) = store.adapters(tuning["id"])
    assert (store.home / adapter["path"] / "adapter_model.safetensors").is_file()
    (row,) = store.surveys(deleted=True).to_dict("records")
    store.restore_survey(row["id"], row["version"])
    assert store.survey(row["id"]).items
    found = named(store, "Deleted tuning, after tuning")
    assert {lineage.human_answers(store, run) for run in found} == {SHARES}


def test_the_bin_can_be_emptied(store):
    deleted = store.runs(kind=None, deleted=True)
    stay = {run.id: lineage.human_answers(store, run) for run in store.runs(kind=None)}
    (tuning,) = store.tunings(deleted=True)
    assert store.empty_bin() == 6
    assert store.forget_surveys() == 1
    assert not store.runs(kind=None, deleted=True) and not store.tunings(deleted=True)
    assert store.surveys(deleted=True).empty
    assert not store.tuning_folder(tuning["id"]).exists()
    numbers = ", ".join(str(run.no) for run in deleted)
    assert store.rows(f"select count(*) from answers where run_no in ({numbers})") == [(0,)]
    left = {run.id: lineage.human_answers(store, run) for run in store.runs(kind=None)}
    assert left == stay


def test_a_copied_adapter_keeps_its_label_when_nothing_else_of_its_tuning_is_left(store):
    found = named(store, "With copied adapters for each country")
    said = {lineage.human_answers(store, run) for run in found}
    (each,) = [one["id"] for one in store.tunings() if one["name"] == "One for each country"]
    store.delete_tuning(each, everything=True)
    kept = {run.id for run in found}
    store.delete_runs([run.id for run in store.runs(kind=None) if run.id not in kept])
    shutil.rmtree(store.home / "adapters")
    store.empty_bin()
    assert {run.id for run in store.runs(kind=None)} == kept
    assert {lineage.human_answers(store, run) for run in found} == said == {SHARES}

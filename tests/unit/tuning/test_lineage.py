"""What a tuning stands on may be gone or changed when it goes on: it says so, or makes it anew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from core.jobs.choices import TuneChoices
from core.jobs.plan_tuning import plan_tuning
from core.jobs.queue import Jobs
from core.models import adapter_exchange
from core.models.adapters import adapters, delete_adapter
from core.models.spec import ModelSpec
from core.store.store import Store
from core.tuning import model_card
from core.tuning.settings import Lora, TuneSettings
from tests import tiny


class Made(NamedTuple):
    """A finished tuning of a tiny model on people's shares."""

    store: Store
    jobs: Jobs
    job: str
    tuning: str
    model: Path

    def again(self, arm: str = "people") -> dict:
        """Have an arm made again, as after a failure; gives its record."""
        self.store.set_arm(self.tuning, arm, 42, state="failed")
        self.jobs.resume(self.job)
        self.jobs.wait(self.job)
        return next(a for a in self.store.arms(self.tuning) if a["arm"] == arm)

    @property
    def settings(self) -> TuneSettings:
        return TuneSettings.from_json(self.store.tuning(self.tuning)["settings"])

    def adapter(self) -> dict:
        (one,) = self.store.adapters(self.tuning)
        return one


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_model) -> Made:
    home = tmp_path_factory.mktemp("lineage")
    model = shutil.copytree(tiny_model, home / "model")
    store = Store(home)
    jobs = Jobs(store)
    plan = plan_tuning(
        store,
        TuneChoices(ModelSpec(str(model), precision="fp32"), cultures="KEN,DEU", arms=("people",),
        held_out_items=[item.id for item in store.survey().items if item.topic != "Corruption"],
        lora=Lora(rank=4, batch=8, precision="fp32"), evaluate="Q57,Q112", abilities=False),
    )  # fmt: skip
    job = jobs.wait(jobs.start_tuning(plan))
    assert job.state == "done", job.error + job.details
    yield Made(store, jobs, job.id, job.settings.tuning, model)
    jobs.close()
    store.close()


def test_an_adapter_deleted_from_the_shelf_is_trained_again_to_the_same_bits(made):
    before = made.adapter()
    (entry,) = adapters(made.store.home)
    delete_adapter(entry, made.store.home)
    assert made.again()["state"] == "done"
    assert made.adapter()["sha256"] == before["sha256"]
    assert len(adapters(made.store.home)) == 1


def test_runs_deleted_in_between_are_asked_again(made):
    state = next(a for a in made.store.arms(made.tuning) if a["arm"] == "people")
    made.store.delete_runs(state["runs"])
    made.store.empty_bin()
    again = made.again()
    asked = [made.store.run(run_id) for run_id in again["runs"]]
    assert again["state"] == "done" and set(again["runs"]).isdisjoint(state["runs"])
    assert all(run.answered == run.planned and not run.deleted for run in asked)


def test_a_model_replaced_between_being_asked_and_tuned_is_refused_until_it_is_back(made):
    good = shutil.copytree(made.model, made.store.home / "good")
    shutil.rmtree(made.model)
    tiny.save(made.model, "llama", seed=9)
    (entry,) = adapters(made.store.home)
    delete_adapter(entry, made.store.home)
    failed = made.again()
    assert failed["state"] == "failed"
    assert "was replaced by another version" in failed["facts"]["error"]
    shutil.rmtree(made.model)
    shutil.copytree(good, made.model)
    assert made.again()["state"] == "done"


def test_a_card_without_its_base_says_that_and_nothing_false(made):
    arm = made.settings.arms[0]
    assert "Score before" in model_card.card(made.store, made.tuning, arm, 42)
    base = next(a for a in made.store.arms(made.tuning) if a["arm"] == "base")
    made.store.delete_runs(base["runs"])
    made.store.empty_bin()
    text = model_card.card(made.store, made.tuning, arm, 42)
    assert "The answers given before tuning were deleted" in text
    assert "yes, shares of survey questions that were not held out" in text


def test_each_country_s_adapter_has_a_card_of_its_own(made):
    plan = plan_tuning(
        made.store, TuneChoices(ModelSpec(str(made.model), precision="fp32"), cultures="KEN,DEU",
        arms=("people_shift",), mode="specific", held_out_items=made.settings.held_out_items,
        lora=Lora(rank=4, batch=8, precision="fp32"), evaluate="", abilities=False),
    )  # fmt: skip
    job = made.jobs.wait(made.jobs.start_tuning(plan))
    assert job.state == "done", job.error
    (entry,) = [a for a in adapters(made.store.home) if a.countries]
    whole = adapter_exchange.read_card(entry.path)
    kenya = adapter_exchange.read_card(entry.path / "KEN")
    assert "Countries: Germany, Kenya." in whole and "Countries: Kenya." in kenya
    assert "one of 2 that were made together" in kenya and "made together" not in whole
    sha256 = {a["iso3"]: a["sha256"] for a in made.store.adapters(job.settings.tuning)}
    assert sha256["KEN"] in kenya and sha256["DEU"] not in kenya
    assert "The survey was not asked before and after tuning." in whole


def test_a_model_that_writes_nothing_usable_fails_in_words_and_what_it_wrote_is_kept(made):
    plan = plan_tuning(
        made.store, TuneChoices(ModelSpec(str(made.model), precision="fp32"), cultures="KEN",
        topics=("Corruption",), per_topic=1, evaluate="", abilities=False),
    )  # fmt: skip
    job = made.jobs.wait(made.jobs.start_tuning(plan))
    assert job.state == "failed"
    assert "The model wrote no question that can be used." in job.error
    assert "Choose a larger model, or other topics." in job.error
    wrote = made.store.questions(job.settings.tuning)
    assert len(wrote) == 5 * 1 + 24 and set(wrote["state"]) == {"malformed"}
    assert wrote["raw"].str.len().min() > 0
    made.jobs.resume(job.id)  # comes to the same, and nothing is written anew
    again = made.jobs.wait(job.id)
    assert (again.state, again.error) == ("failed", job.error)
    assert made.store.questions(job.settings.tuning).equals(wrote)


def test_without_its_wording_a_tuning_does_not_go_on_with_another(made):
    texts = made.store.prompt_texts(made.store.tuning(made.tuning)["settings"]["prompt_sha256"])
    assert texts
    with made.store._writing() as cursor:  # as if the store had lost it
        cursor.execute("delete from prompt_sets")
    made.again()
    job = made.store.job(made.job)
    assert job.state == "failed"
    assert "wording this tuning began with is no longer in the store" in job.error

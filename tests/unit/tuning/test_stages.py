"""A tuning from end to end, by the real worker and the built-in model, stopped, killed, resumed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import PluriscopeError
from core.jobs import estimates
from core.jobs.choices import TuneChoices
from core.jobs.plan_tuning import PRESETS, plan_tuning
from core.jobs.queue import UNFINISHED, Jobs
from core.models.adapters import adapters
from core.models.spec import ModelSpec
from core.store.jobs import TuneJob
from core.store.store import Store
from core.tuning import stages
from core.tuning.culturespa import training_examples, writing
from core.tuning.culturespa.questions import frozen_neighbours
from core.tuning.settings import ARMS, TuneSettings
from core.views import tunings
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
SMALL = {
    "cultures": "KEN,DEU",
    "topics": ("Security", "Corruption"),
    "per_topic": 4,
    "evaluate": "Corruption",
    "abilities": False,
    "lora": PRESETS["small"].__class__(
        learning_rate=2e-3, batch=4, checkpoint_every=1, precision="fp32"
    ),
}


def plan(store: Store, **changes):
    return plan_tuning(store, TuneChoices(ModelSpec("builtin"), **{**SMALL, **changes}))


def fingerprint(store: Store, tuning_id: str) -> dict:
    """What a tuning made, apart from ids and times."""
    questions = store.questions(tuning_id)
    pairs = store.pairs(tuning_id, 42, "cross_culture", "probabilities")
    return {
        "questions": questions[["no", "topic", "question", "state", "raw"]].to_json(),
        "pairs": hashlib.sha256(
            pairs.drop(columns="reason").to_json(double_precision=6).encode()
        ).hexdigest(),
        "adapters": [adapter["sha256"] for adapter in store.adapters(tuning_id)],
        "steps": store.training(tuning_id)["step"].tolist(),
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted tuning: its store, its id, what it made."""
    home = tmp_path_factory.mktemp("whole")
    store = Store(home)
    jobs = Jobs(store)
    job = jobs.wait(jobs.start_tuning(plan(store)))
    assert job.state == "done", job.error + job.details
    jobs.close()
    yield store, job.settings.tuning
    store.close()


def test_a_tuning_ends_with_questions_pairs_an_adapter_and_the_survey_before_and_after(whole):
    store, tuning_id = whole
    of = tunings.tuning(store, tuning_id)
    questions = store.questions(tuning_id)
    assert (questions["state"] == "kept").sum() == 8
    assert of.counts["42/questions"]["kept"] == {"Security": 4, "Corruption": 4}
    pairs = store.pairs(tuning_id, 42, "cross_culture", "probabilities")
    assert len(pairs) == 8 * 2  # every question as a person of both countries
    state = of.arm("cct_soft_all", 42)
    assert (state["state"], state["examples"]) == ("done", 8 * 2 * 2)  # in both option orders
    assert store.training(tuning_id)["step"].max() == 8 * 2 * 2 // 4
    found = tunings.before_after(store, of.one())
    assert found.before.keys() == {"plain", "country", "cross_culture"}
    assert found.after.keys() == {"plain", "country"}
    assert all(run.state == "done" for run in (*found.before.values(), *found.after.values()))
    (adapter,) = store.adapters(tuning_id)
    folder = store.home / adapter["path"]
    weights = (folder / "adapter_model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == adapter["sha256"]
    assert "Kenya" in (folder / "README.md").read_text(encoding="utf-8")
    names = [step.name for step in tunings.steps(store, of.one())]
    assert names == ["Questions", "Answers", "Pairs", "Adapter"]


def test_near_and_far_countries_are_told_without_what_is_held_out(whole):
    store, tuning_id = whole
    of = tunings.tuning(store, tuning_id)
    held = of.settings.held_out_items
    frozen = frozen_neighbours(store.survey(), ("DEU", "KEN"), held)
    assert held and frozen != frozen_neighbours(store.survey(), ("DEU", "KEN"))
    asked = [run for run in store.tuning_runs(tuning_id) if run.method == "cross_culture"]
    assert len(asked) == 2  # the survey before tuning, and its own questions
    assert all(run.settings.neighbours == frozen for run in asked)


def test_tuning_changed_the_answers_and_left_the_base_alone(whole):
    store, tuning_id = whole
    of = tunings.tuning(store, tuning_id)
    found = tunings.before_after(store, of.one())
    before = store.answers(found.before["country"].no)["probs"]
    after = store.answers(found.after["country"].no)["probs"]
    assert any(abs(b - a).max() > 1e-4 for b, a in zip(before, after, strict=True))
    assert found.before["country"].facts["adapter_sha256"] is None
    assert found.after["country"].facts["adapter_sha256"] == store.adapters(tuning_id)[0]["sha256"]


OWNER = """
import sys
from core.jobs.queue import Jobs
from core.store.store import Store
from tests.unit.tuning.test_stages import plan
store = Store(sys.argv[1])
jobs = Jobs(store)
known = [job for job in store.jobs() if job.kind == "tune"]
if known:
    jobs.resume(known[0].id)
    job = known[0].id
else:
    job = jobs.start_tuning(plan(store))
print("started", flush=True)
print(jobs.wait(job).state, flush=True)
"""


def test_a_tuning_killed_again_and_again_ends_as_if_nothing_had_happened(whole, tmp_path):
    store, tuning_id = whole
    waits = iter((3.0, 4.5, 6.0, 7.5, 9.0))
    for _ in range(40):
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert owner.stdout.readline() == "started\n"
        wait = next(waits, None)
        if wait is None:
            assert owner.stdout.readline() == "done\n"
            owner.wait()
            break
        time.sleep(wait)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    with_kills = Store(tmp_path)
    (other,) = with_kills.tunings()
    assert fingerprint(with_kills, other["id"]) == fingerprint(store, tuning_id)
    for run in with_kills.tuning_runs(other["id"]):
        assert run.answered == run.planned
    with_kills.close()


def test_a_round_that_was_cut_short_goes_on_with_what_is_missing(whole, tmp_path):
    """What a killed process left behind: a tuning in line, and a draft of half a round."""
    mine = Store(tmp_path)
    made = plan(mine)
    settings = json.loads(json.dumps(made.settings.to_json()))
    mine.add_prompt_set(
        made.prompts.sha256, made.prompts.id, made.prompts.name, "en", dict(made.prompts.texts)
    )
    tuning_id = mine.add_tuning(settings, name="Cut short")
    mine.tuning_folder(tuning_id).mkdir(parents=True)
    asked = writing.next_round(made.settings, mine.survey(), made.prompts, [], 42)
    path = mine.tuning_folder(tuning_id) / "draft-42.jsonl"
    draft = writing.Draft(path, asked)
    of_whole = whole[0].questions(whole[1])["raw"].tolist()
    for index in (0, 3, 4, 7):
        draft.add(index, of_whole[index])
    draft.add(5, "from before the kill")  # which no model would write: it is not asked again
    job_id = mine.add_job("Cut short", TuneJob(tuning_id))
    jobs = Jobs(mine)
    jobs.serve()
    until(lambda: len(mine.questions(tuning_id)))
    jobs.stop(job_id)
    jobs.wait(job_id)
    of_mine = mine.questions(tuning_id)["raw"].tolist()[: len(asked.requests)]
    assert of_mine == [*of_whole[:5], "from before the kill", *of_whole[6 : len(asked.requests)]]
    assert not path.exists()
    jobs.close()
    mine.close()


def test_stop_and_keep_then_resume_gives_the_same_adapter(whole, tmp_path):
    store, tuning_id = whole
    mine = Store(tmp_path)
    jobs = Jobs(mine)
    job_id = jobs.start_tuning(plan(mine))
    until_it_trains(mine, mine.tunings()[0]["id"])
    jobs.stop(job_id)
    job = jobs.wait(job_id)
    if job.state == "stopped":  # else the last step was quicker than the stop
        jobs.resume(job_id)
        job = jobs.wait(job_id)
    assert job.state == "done"
    made = fingerprint(mine, mine.tunings()[0]["id"])
    assert made["adapters"] == fingerprint(store, tuning_id)["adapters"]
    jobs.close()
    mine.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A queue of its own, whose worker serves several tests."""
    store = Store(tmp_path_factory.mktemp("own"))
    jobs = Jobs(store)
    yield jobs
    jobs.close()
    store.close()


def until_it_trains(store: Store, tuning_id: str, arm: str | None = None) -> None:
    def training() -> bool:
        if not store.training(tuning_id, arm).empty:
            return True
        assert any(job.settings.tuning == tuning_id for job in store.jobs(UNFINISHED))
        return False

    until(training, "it never trained")


def shelf(store: Store, tuning_id: str) -> list[str]:
    """Names of the folders of a tuning's adapters that are offered."""
    names = [adapter.path.name for adapter in adapters(store.home)]
    return [name for name in names if name.endswith(tuning_id)]


def is_binned(store: Store, tuning_id: str) -> bool:
    return tuning_id in [one["id"] for one in store.tunings(deleted=True)]


def test_what_is_discarded_leaves_nothing_on_the_shelf_and_can_be_taken_back(own):
    jobs, store = own, own.store
    long = {**SMALL, "arms": ("people",), "evaluate": "Q57"}
    job_id = jobs.start_tuning(plan(store, **long))
    assert jobs.start_tuning(plan(store, **long)) == job_id  # a double click makes one
    tuning_id = store.job(job_id).settings.tuning
    until_it_trains(store, tuning_id)
    jobs.discard(job_id)
    assert is_binned(store, tuning_id)
    jobs.take_back(job_id)  # while it is still stopping
    assert jobs.wait(job_id).state == "stopped"
    assert not is_binned(store, tuning_id)
    assert not any(run.deleted for run in store.tuning_runs(tuning_id))
    kept = shelf(store, tuning_id)
    assert len(kept) == 1  # stopped and kept: unfinished, and offered as that

    jobs.discard(job_id)
    assert is_binned(store, tuning_id) and shelf(store, tuning_id) == []
    assert all(run.deleted for run in store.tuning_runs(tuning_id))
    store.restore_tuning(tuning_id)  # as the page does
    assert shelf(store, tuning_id) == kept
    assert not any(run.deleted for run in store.tuning_runs(tuning_id))

    store.delete_tuning(tuning_id)  # its answers stay; an adapter that is not finished goes
    assert shelf(store, tuning_id) == []
    assert not any(run.deleted for run in store.tuning_runs(tuning_id))
    jobs.resume(job_id)  # takes it back
    until(lambda: jobs.live(job_id))
    assert shelf(store, tuning_id) == kept
    jobs.discard(job_id)
    jobs.wait(job_id)
    assert shelf(store, tuning_id) == []  # also what it wrote while it was stopping
    store.empty_bin()
    assert not is_binned(store, tuning_id) and store.training(tuning_id).empty
    assert not store.tuning_folder(tuning_id).exists()
    assert [job for job in store.jobs() if job.id == job_id] == []


def test_emptying_the_bin_keeps_the_origin_of_adapters_that_stay(whole, tmp_path):
    home = shutil.copytree(whole[0].home, tmp_path / "home")
    store, tuning_id = Store(home), whole[1]
    store.delete_tuning(tuning_id)
    asked = [run.id for run in store.tuning_runs(tuning_id) if run.kind == "survey"]
    store.empty_bin()
    assert store.tunings(deleted=True) == []
    assert store.questions(tuning_id).empty and store.training(tuning_id).empty
    assert store.pairs(tuning_id, 42, "cross_culture", "probabilities").empty
    assert [run.id for run in store.tuning_runs(tuning_id)] == asked
    assert len(shelf(store, tuning_id)) == 1
    (adapter,) = store.adapters(tuning_id)
    settings = TuneSettings.from_json(store.tuning(adapter["tuning"])["settings"])
    assert settings.arms[0].human_answers == "which countries are near and far, from the survey"
    store.close()


def test_an_arm_that_cannot_be_made_leaves_the_others(own):
    jobs, store = own, own.store
    few = plan(
        store, arms=("people", "people:0.5", "people:0.01"), equal_budgets=True,
        topics=("Corruption",), cultures="KEN,DEU",
        held_out_items=[i.id for i in store.survey().items if i.topic != "Corruption"][:-3],
        lora=SMALL["lora"].__class__(learning_rate=1e-3, batch=32, precision="fp32"),
        evaluate="",
    )  # fmt: skip
    job = jobs.wait(jobs.start_tuning(few))
    states = {arm["arm"]: arm for arm in store.arms(job.settings.tuning)}
    assert job.state == "done"
    assert states["people"]["state"] == states["people:0.5"]["state"] == "done"
    # With equal budgets a share of the examples is that share of the common budget.
    assert states["people:0.5"]["examples"] == states["people"]["examples"] / 2
    assert states["people:0.01"]["state"] == "failed"
    assert "too few" in states["people:0.01"]["facts"]["error"]


TOO_FAST = {
    "arms": ("people", "people:0.02"),
    "evaluate": "",
    # So fast that the second step overflows; the one step of the small arm is taken at rate 0.
    "lora": SMALL["lora"].__class__(learning_rate=1e30, batch=32, precision="fp32"),
}


def test_a_training_that_runs_off_fails_its_arm_and_the_others_go_on(own):
    jobs, store = own, own.store
    job = jobs.wait(jobs.start_tuning(plan(store, **TOO_FAST)))
    tuning_id = job.settings.tuning
    states = {arm["arm"]: arm for arm in store.arms(tuning_id)}
    assert job.state == "done"
    assert states["people"]["state"] == "failed"
    assert "no longer a number at step" in states["people"]["facts"]["error"]
    assert "Traceback" in states["people"]["facts"]["details"]
    assert states["people:0.02"]["state"] == "done"
    jobs.resume(job.id)  # what failed is tried again, and what is done is not
    job = jobs.wait(job.id)
    again = {arm["arm"]: arm for arm in store.arms(tuning_id)}
    assert again["people"]["finished"] > states["people"]["finished"]
    assert again["people:0.02"] == states["people:0.02"]


def test_where_every_arm_fails_the_tuning_fails_with_its_sentence(own):
    jobs, store = own, own.store
    few = plan(store, arms=("people:0.0001", "people_shuffled:0.0001"), evaluate="")
    job = jobs.wait(jobs.start_tuning(few))
    states = [arm["state"] for arm in store.arms(job.settings.tuning)]
    assert (job.state, states) == ("failed", ["failed", "failed"])
    assert "has only 0 examples to train on" in job.error


def test_a_worker_that_dies_in_training_costs_one_arm(own):
    jobs, store = own, own.store
    slow = {**TOO_FAST, "lora": SMALL["lora"].__class__(batch=8, precision="fp32")}
    job_id = jobs.start_tuning(plan(store, **slow))
    tuning_id = store.job(job_id).settings.tuning
    until_it_trains(store, tuning_id, "people")
    os.kill(jobs.process.pid, signal.SIGKILL)
    job = jobs.wait(job_id)
    states = {arm["arm"]: arm for arm in store.arms(tuning_id)}
    assert (job.state, states["people:0.02"]["state"]) == ("done", "done")
    assert states["people"]["state"] == "failed"
    assert "Tokens at once" in states["people"]["facts"]["error"]


def test_a_check_of_the_cost_that_cannot_be_made_takes_nothing_from_a_finished_arm(own):
    jobs, store = own, own.store
    asked = plan(store, arms=("people:0.02",), abilities=True)
    job_id = jobs.start_tuning(asked)
    tuning_id = store.job(job_id).settings.tuning
    until(lambda: (live := jobs.live(job_id)) and "cost" in live.stage)
    os.kill(jobs.process.pid, signal.SIGKILL)
    job = jobs.wait(job_id)
    (state,) = [arm for arm in store.arms(tuning_id) if arm["arm"] == "people:0.02"]
    assert (job.state, state["state"]) == ("done", "done")
    assert len(state["runs"]) == 2 and state["facts"]["cost"]["error"]
    (adapter,) = store.adapters(tuning_id)
    assert (store.home / adapter["path"] / "README.md").is_file()


def test_a_topic_without_an_item_left_to_show_is_refused_before_anything_is_asked(tmp_path):
    store = Store(tmp_path)
    every = [item.id for item in store.survey().select("Corruption")]
    with pytest.raises(PluriscopeError, match="Every survey question of “Corruption” is held out"):
        plan(store, held_out_items=every)
    plan(store, held_out_items=every, arms=("people",))  # has no questions written
    store.close()


def test_settings_survive_the_store_and_bad_ones_change_nothing(tmp_path):
    store = Store(tmp_path)
    made = plan(store, arms=("culturespa:0.3", "soft"), seeds=(1, 2))
    record = json.loads(json.dumps(made.settings.to_json()))
    assert TuneSettings.from_json(record) == made.settings
    assert made.settings.arms[0].fraction == 0.3
    for wrong in (
        {"arms": ("nonsense",)},
        {"arms": ()},
        {"arms": ("soft", "soft")},
        {"topics": ("Weather",)},
        {"cultures": "XXX"},
        {"per_topic": 0},
        {"seeds": ()},
        {"held_out_cultures": ("KEN", "DEU")},
        {"held_out_topics": ("Security", "Corruption")},
    ):
        with pytest.raises(PluriscopeError):
            plan(store, **wrong)
    assert store.tunings() == []
    store.close()


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ({"held_out_topics": ("Securty",)}, "Did you mean Security?"),
        ({"held_out_cultures": ("KNE",)}, r"Did you mean KEN \(Kenya\)\?"),
        ({"held_out_cultures": ("Keny",)}, r"Did you mean KEN \(Kenya\)\?"),
        ({"held_out_items": ("Q1", "Q9999")}, r"Did you mean Q\d+ "),
        ({"topics": ("Corruptoin",)}, "Did you mean Corruption?"),
    ],
)
def test_a_typo_in_what_is_held_out_is_refused_with_the_nearest_name(tmp_path, wrong, nearest):
    store = Store(tmp_path)
    with pytest.raises(PluriscopeError, match=nearest):
        plan(store, **wrong)
    store.close()


def test_what_is_held_out_is_found_whatever_its_case(tmp_path):
    store = Store(tmp_path)
    held = plan(
        store, cultures="ken,usa", held_out_items=("q57", "Q1"), held_out_topics=("security",),
        held_out_cultures=("usa", "deu"),
    ).settings  # fmt: skip
    assert held.held_out_items == ("Q1", "Q57") and held.held_out_topics == ("Security",)
    # Germany was not tuned for anyway: it is asked before and after all the same.
    assert held.cultures == ("DEU", "KEN", "USA") and held.held_out_cultures == ("DEU", "USA")
    assert training_examples.cultures_of(held) == ("KEN",)
    store.close()


def test_a_tuning_s_pace_leaves_out_the_time_it_was_stopped(whole, tmp_path):
    store = Store(shutil.copytree(whole[0].home, tmp_path / "home"))
    (job,) = store.jobs()
    took = (job.finished - job.started).total_seconds()
    assert 0 < job.worked == pytest.approx(took, rel=0.3, abs=1)
    again = plan(store)
    seconds = estimates.estimate_tuning(store, again).seconds
    assert seconds == pytest.approx(max(job.worked, 1.0), rel=1e-6)
    # Resumed for its last second: that it began anew then says nothing of how long it took.
    store.update_job(job.id, started=job.finished)
    assert estimates.estimate_tuning(store, again).seconds == seconds
    store.close()


def test_the_work_of_a_tuning_is_counted_as_it_will_be_done(tmp_path):
    store = Store(tmp_path)
    survey = store.survey()
    settings = plan(store).settings
    work = stages.work_of(settings, survey)
    corruption = len(survey.select("Corruption"))
    assert work.write == 2 * 4
    # own questions: plainly and as two countries, both orders; then the survey, before (by three
    # ways of asking, one of them plain) and after.
    assert work.sample == 0
    assert work.ask == pytest.approx(8 * 2 * 3 + corruption * 2 * 3 * 2.9, abs=1)
    assert work.example == 8 * 2 * 2
    assert writing.topics_of(settings) == ("Corruption", "Security")
    assert not ARMS["soft"].uses_human_answers and ARMS["people"].uses_human_answers
    store.close()

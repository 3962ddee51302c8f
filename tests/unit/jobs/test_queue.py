"""Jobs survive what people and machines do to them. Real worker process, tiny real model."""

import json
import os
import resource
import shutil
import signal
from dataclasses import replace

import pytest

from core.asking import responses
from core.asking.questionnaire import Questionnaire
from core.jobs import estimates
from core.jobs.choices import AskChoices, TuneChoices
from core.jobs.plan import Plan, plan_question, plan_survey
from core.jobs.plan_tuning import plan_tuning
from core.jobs.queue import Jobs
from core.models import memory_fit
from core.models.spec import ModelSpec
from core.store.jobs import AskJob
from core.store.store import Store
from tests import tiny
from tests.waiting import until


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> ModelSpec:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny.save(folder, "llama")
    return ModelSpec(str(folder), precision="fp32")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("home"))
    jobs = Jobs(store)
    yield jobs
    jobs.close()
    store.close()


def plan(jobs, model, **changes) -> Plan:
    options = {"cultures": ["KEN"], "items": "Economic Values", "orders": "given", **changes}
    return plan_survey(jobs.store, AskChoices(model, **options))


SEVEN = ["BRA", "DEU", "ETH", "IND", "KEN", "NLD", "USA"]  # times 259 questions: a few seconds


def test_a_run_ends_done_with_every_answer(jobs, model):
    job = jobs.wait(jobs.start(plan(jobs, model)))
    assert job.state == "done", job.error
    plain, country = (jobs.store.run(run_id) for run_id in job.runs)
    assert (plain.answered, country.answered) == (6, 6)
    assert plain.state == country.state == "done"
    assert country.facts["precision"] == "fp32" and country.facts["teaching"] is False
    answers = jobs.store.answers(country.no)
    assert all(abs(sum(row.probs) - 1) < 1e-5 for row in answers.itertuples())
    assert set(answers.iso3) == {"KEN"}
    assert jobs.model.name == "tiny"


def test_two_clicks_on_start_make_one_job(jobs, model):
    first = jobs.start(plan(jobs, model, seed=1))
    second = jobs.start(plan(jobs, model, seed=1))
    assert first == second
    jobs.wait(first)
    third = jobs.start(plan(jobs, model, seed=1))  # asked again on purpose, later
    assert third != first
    jobs.wait(third)


def test_stop_keeps_what_was_answered_and_resume_asks_only_the_rest(jobs, model):
    job_id = jobs.start(plan(jobs, model, items="all", cultures=SEVEN, methods=["country"]))
    until(lambda: (live := jobs.live(job_id)) and live.done > 0)
    jobs.stop(job_id)
    job = jobs.wait(job_id)
    assert job.state == "stopped"
    run = jobs.store.run(job.runs[0])
    assert 0 < run.answered < run.planned == 7 * 259
    worked = job.worked
    assert worked > 0
    kept = jobs.store.answers(run.no).set_index(["iso3", "item", "number"]).answered_at
    jobs.resume(job_id)
    jobs.stop(job_id)  # at once: nothing is lost by changing one's mind
    jobs.wait(job_id)
    jobs.resume(job_id)
    job = jobs.wait(job_id)
    assert job.state == "done"
    assert job.worked > worked + (job.finished - job.started).total_seconds() - 1
    now = jobs.store.answers(run.no).set_index(["iso3", "item", "number"]).answered_at
    assert len(now) == run.planned and now.index.is_unique
    assert (now[kept.index] == kept).all()  # what was kept was not asked again
    jobs.stop(job_id)  # too late: it stays what it is
    assert jobs.store.job(job_id).state == "done"


def test_a_stop_counts_for_the_asking_before_it_and_never_for_the_next(jobs, model):
    job_id = jobs.start(plan(jobs, model, items="all", cultures="study", seed=4))
    jobs.stop(job_id)
    assert jobs.wait(job_id).state == "stopped"
    jobs.stop(job_id)  # a second click
    jobs.resume(job_id)
    until(lambda: (live := jobs.live(job_id)) and live.done > 0)
    jobs.discard(job_id)
    jobs.wait(job_id)


def test_a_stop_ends_a_loading_that_takes_its_time(jobs, model, tmp_path, monkeypatch):
    slow = shutil.copytree(model.source, tmp_path / "slow")
    config = json.loads((slow / "config.json").read_text())
    own = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}
    (slow / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": own}))
    (slow / "own.py").write_text("import time\ntime.sleep(3600)")
    monkeypatch.setattr("core.jobs.process.LOADING_GRACE", 0.1)
    spec = ModelSpec(str(slow), precision="fp32", trust_remote_code=True)
    job_id = jobs.start(plan(jobs, spec))
    until(lambda: (live := jobs.live(job_id)) and live.doing.startswith("Loading slow"))
    jobs.stop(job_id)
    job = jobs.wait(job_id)
    assert (job.state, job.error) == ("stopped", None)
    assert jobs.wait(jobs.start(plan(jobs, model, seed=11))).state == "done"


def test_the_first_answers_do_not_wait_for_the_last_prompt(jobs):
    asked = plan(jobs, ModelSpec("builtin"), items="all", cultures="all", methods=["country"])
    settings, survey = asked.settings[0], jobs.store.survey()
    taken = 0

    def prompts():
        nonlocal taken
        for one in Questionnaire(settings, survey, asked.prompts).planned():
            taken += 1
            yield one

    first = next(responses.ask(tiny.loaded(), settings, prompts()))
    assert 0 < len(first) <= taken < 61 * 259 / 2

    ended = list(responses.ask(tiny.loaded(), settings, prompts(), stop=lambda: True))
    assert ended == [] and taken < 61 * 259 / 2


def test_the_queue_can_be_reordered_and_left(jobs, model):
    busy = jobs.start(plan(jobs, model, items="all", cultures="study", seed=5))
    until(lambda: jobs.live(busy))
    a, b, c = (jobs.start(plan(jobs, model, seed=seed)) for seed in (6, 7, 8))
    line = lambda: [job.id for job in jobs.store.jobs(["queued"])]  # noqa: E731
    assert line() == [a, b, c]
    jobs.move(c, up=True)
    assert line() == [a, c, b]
    jobs.move(a, up=True)  # already first
    jobs.move(a, up=False)
    assert line() == [c, a, b]
    jobs.stop(a)
    assert line() == [c, b]
    assert jobs.store.job(a).state == "stopped"
    jobs.discard(busy)
    assert jobs.wait(busy).state == "stopped"
    gone = {run.id for run in jobs.store.runs(deleted=True)}
    assert set(jobs.store.job(busy).runs) <= gone
    assert jobs.wait(b).state == "done"


def test_what_is_discarded_can_be_taken_back_before_it_has_stopped(jobs, model):
    job_id = jobs.start(plan(jobs, model, items="all", cultures=SEVEN, seed=21))
    until(lambda: (live := jobs.live(job_id)) and live.done > 0)
    asked = jobs.store.job(job_id).runs
    jobs.discard(job_id)
    assert all(jobs.store.run(run_id).deleted for run_id in asked)
    jobs.take_back(job_id)
    assert jobs.wait(job_id).state == "stopped"
    assert not any(jobs.store.run(run_id).deleted for run_id in asked)
    jobs.discard(job_id)
    assert all(jobs.store.run(run_id).deleted for run_id in asked)


def test_a_job_that_fails_says_so_in_words_and_the_next_one_runs(jobs, model):
    bad = jobs.start(plan(jobs, ModelSpec("/no/such/folder")))
    good = jobs.start(plan(jobs, model, seed=9))
    job = jobs.wait(bad)
    assert job.state == "failed"
    assert "/no/such/folder" in job.error and "Traceback" not in job.error
    assert "Traceback" in job.details
    assert jobs.wait(good).state == "done"


def test_the_time_of_a_run_follows_how_much_there_is_to_read(tmp_path):
    store = Store(tmp_path)
    spec = ModelSpec("builtin")

    def planned(**changes) -> Plan:
        return plan_survey(store, AskChoices(spec, **{"cultures": ["KEN", "USA"], **changes}))

    def asked(plan: Plan, rate: float) -> None:
        texts = plan.prompts
        store.add_prompt_set(texts.sha256, texts.id, texts.name, "en", dict(texts.texts))
        store.update_job(store.add_job("x", AskJob(plan.settings)), state="done", rate=rate)

    short = planned(methods=["country"], orders="given")
    assert estimates.estimate(store, short).seconds is None
    asked(short, rate=10.0)
    found = estimates.estimate(store, short)
    assert found.prompts == 2 * 52 and found.seconds == pytest.approx(10.4)
    tuned = replace(spec, adapter="/adapters/kenya", precision="fp32")
    assert estimates.estimate(store, plan_survey(store, AskChoices(tuned, cultures="KEN"))).seconds
    # Both orders share the question: twice the prompts take less than twice as long.
    both = estimates.estimate(store, planned(methods=["country"], orders="both"))
    assert 10.4 < both.seconds < 2 * 10.4
    # Twenty questions and answers before each are many times the text.
    wide = planned(methods=["country_examples"], orders="given", examples=20)
    long = estimates.estimate(store, wide)
    assert long.prompts == found.prompts and long.seconds > 5 * found.seconds
    asked(wide, rate=1.0)  # from now on what is like it tells
    assert estimates.estimate(store, wide).seconds == pytest.approx(104)
    assert estimates.estimate(store, short).seconds == pytest.approx(10.4)
    store.close()


def test_a_model_never_asked_is_guessed_from_its_size_and_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_fit, "processor_has_bf16", lambda: True)
    store = Store(tmp_path)

    def seconds(**changes) -> float | None:
        spec = ModelSpec("Qwen/Qwen2.5-7B-Instruct", precision=changes.pop("precision", "bf16"))
        return estimates.estimate(store, plan_survey(store, AskChoices(spec, **changes))).seconds

    assert seconds() is None  # before anything was loaded here
    store.keep_result("machine", "cpu", {"bf16": 1e12, "fp32": 2.5e11})
    plan = plan_survey(store, AskChoices(ModelSpec("Qwen/Qwen2.5-7B-Instruct")))
    characters = estimates._work(estimates._questionnaires(plan, store.survey()))
    # A token is four characters of 2 x 6.526 billion operations, which take three quarters more.
    assert seconds() == pytest.approx(characters / 4 * 2 * 6.526e9 * 1.75 / 1e12, rel=0.02)
    assert seconds(precision="fp32") == pytest.approx(4 * seconds())
    assert seconds() < seconds(precision="nf4")
    assert seconds(answering="written") > seconds(orders="given")
    guess = estimates.estimate(store, plan)
    assert guess.basis.startswith("a first guess")
    tuning = plan_tuning(store, TuneChoices(ModelSpec("Qwen/Qwen2.5-7B-Instruct"), per_topic=2))
    assert estimates.estimate_tuning(store, tuning).seconds > guess.seconds
    store.close()


def test_asking_leaves_behind_how_fast_the_machine_is(jobs, model):
    assert jobs.wait(jobs.start(plan(jobs, model, cultures=["KEN"]))).state == "done"
    rates = jobs.store.kept_result("machine", memory_fit.free_memory()[0])
    assert rates["fp32"] > 1e8


def test_a_store_opens_though_a_run_of_an_interrupted_job_is_gone(tmp_path):
    store = Store(tmp_path)
    job = store.add_job("x", AskJob(()), ["gone"])
    store.update_job(job, state="running")
    again = Jobs(store)
    assert store.job(job).state == "interrupted"
    again.close()
    store.close()


def test_what_is_being_stopped_can_be_started_anew(jobs, model):
    wanted = plan(jobs, model, items="all", cultures=SEVEN, seed=12)
    first = jobs.start(wanted)
    until(lambda: (live := jobs.live(first)) and live.done > 0)
    jobs.stop(first)
    second = jobs.start(wanted)
    assert second != first
    assert jobs.wait(first).state == "stopped"
    jobs.discard(second)
    jobs.wait(second)


def test_a_command_takes_over_what_the_app_left_in_line(tmp_path, model):
    store = Store(tmp_path)
    app = Jobs(store)
    app._ensure_thread = lambda: None  # closed before the worker came to it
    job_id = app.start(plan(app, model))
    command = Jobs(store, only_own=True)
    try:
        command.resume(job_id)
        until(lambda: store.job(job_id).state == "done")
    finally:
        command.close()
        store.close()


def test_the_log_of_a_failed_job_holds_what_was_printed_meanwhile_and_nothing_else(jobs, model):
    done = jobs.wait(jobs.start(plan(jobs, model, seed=13)))
    assert jobs.log_text(done.id) is None
    with open(jobs.store.home / "worker.log", "a", encoding="utf-8") as printed:
        printed.write("an earlier job")
    failed = jobs.start(plan(jobs, ModelSpec("/no/such/folder")))
    jobs.wait(failed)
    assert "an earlier job" not in jobs.log_text(failed)
    crashed = jobs.start(plan(jobs, model, items="all", cultures=SEVEN, seed=14))
    until(lambda: (live := jobs.live(crashed)) and live.done > 0)
    with open(jobs.store.home / "worker.log", "a", encoding="utf-8") as printed:
        printed.write("a last word")
    os.kill(jobs.process.pid, signal.SIGKILL)
    jobs.wait(crashed)
    assert jobs.log_text(crashed).endswith("a last word")
    jobs.remove(crashed)
    assert jobs.log_text(crashed) is None


def test_the_worker_may_die_and_the_app_goes_on(jobs, model):
    job_id = jobs.start(plan(jobs, model, items="all", cultures=SEVEN, seed=10))
    until(lambda: (live := jobs.live(job_id)) and live.done > 0)
    os.kill(jobs.process.pid, signal.SIGKILL)
    job = jobs.wait(job_id)
    assert job.state == "failed"
    assert "memory" in job.error and "Resume" in job.error
    jobs.resume(job_id)
    assert jobs.wait(job_id).state == "done"


def test_a_full_disk_fails_the_job_in_words_and_resume_carries_on(jobs, model):
    jobs.wait(jobs.start(plan(jobs, model, seed=30)))  # the worker is up, and has no limit
    used = max(path.stat().st_size for path in jobs.store.home.glob("pluriscope.duckdb*"))
    job_id = jobs.start(plan(jobs, model, items="all", cultures=SEVEN, methods=["country"]))
    until(lambda: (live := jobs.live(job_id)) and live.done > 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (used, limits[1]))  # no file grows beyond that
    try:
        until(lambda: jobs.live(job_id) is None)
        assert jobs.store.job(job_id).state == "running"  # not even that could be noted
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    job = jobs.wait(job_id)
    assert job.state == "failed"
    assert "Make room on the disk, then Resume." in job.error
    jobs.resume(job_id)
    assert jobs.wait(job_id).state == "done"
    for run in map(jobs.store.run, job.runs):
        assert run.answered == run.planned == len(jobs.store.answered(run.no))


def test_side_by_side_writes_all_sides_and_their_probabilities(jobs, model):
    question = plan_question(
        jobs.store, AskChoices(model, cultures=["KEN", "NLD"], temperature=0.0), "Q57"
    )
    job = jobs.wait(jobs.start(question))
    assert job.state == "done", job.details
    found = {
        (run.method, run.settings.answering): jobs.store.answers(run.no)
        for run in map(jobs.store.run, job.runs)
    }
    assert {key: len(rows) for key, rows in found.items()} == {
        ("plain", "probabilities"): 2,  # two option orders
        ("country", "probabilities"): 4,
        ("plain", "written"): 1,
        ("country", "written"): 2,
    }
    assert found["country", "written"].text.notna().all()


def test_an_own_question_needs_no_survey(jobs, model):
    own = {"question": "Tea or coffee?", "options": ["Tea", "Coffee", "Neither"]}
    job = jobs.wait(jobs.start(plan_question(jobs.store, AskChoices(model, cultures=[]), own)))
    assert job.state == "done", job.details
    answers = jobs.store.answers(jobs.store.run(job.runs[0]).no)
    assert len(answers.probs[0]) == 3


def test_the_bin_keeps_what_a_job_that_is_being_stopped_still_holds(jobs, model, monkeypatch):
    first = jobs.start(plan(jobs, model, items="all", cultures=SEVEN, seed=14))
    until(lambda: (live := jobs.live(first)) and live.done > 0)
    held = jobs.store.job(first).runs
    jobs.discard(first)
    jobs.store.empty_bin()
    assert jobs.wait(first).state == "stopped"
    assert jobs.store.there_are(held) == list(held)
    jobs.store.empty_bin()
    assert jobs.store.there_are(held) == []
    after = jobs.start(plan(jobs, model, seed=15))  # the queue goes on
    assert jobs.wait(after).state == "done"

"""Tune and Experiment, without a browser: empty, filled, mangled links."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from core.analysis import scores
from core.jobs import plan_tuning as jobs_plan_tuning
from core.jobs.choices import TuneChoices
from core.jobs.plan_tuning import PRESETS, plan_tuning
from core.jobs.queue import Jobs, open_jobs
from core.models import adapter_exchange
from core.models.adapters import adapters
from core.models.spec import ModelSpec
from core.store.store import Store
from core.tuning import experiments
from core.views import tunings
from tests.pages.driver import pages_on, said

LORA = PRESETS["small"].__class__(learning_rate=2e-3, batch=8, precision="fp32")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Path:
    """A home with a finished tuning and a finished experiment of two arms and two seeds."""
    home = tmp_path_factory.mktemp("tuned")
    (home / "demo-made").write_text("")
    store = Store(home)
    jobs = Jobs(store)
    common = {"cultures": "KEN,DEU,USA", "topics": ("Corruption",), "per_topic": 6, "lora": LORA,
              "evaluate": "Corruption"}  # fmt: skip
    spec = ModelSpec("builtin")
    for more in (
        {"name": "One"},
        {"name": "Several", "arms": ("soft_all", "people"), "seeds": (1, 2), "abilities": False},
    ):
        job = jobs.wait(jobs.start_tuning(plan_tuning(store, TuneChoices(spec, **common, **more))))
        assert job.state == "done", job.error
    jobs.close()
    store.close()
    return home


@pytest.fixture
def page(tuned, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(tuned, home)
    monkeypatch.setenv("PLURISCOPE_HOME", str(home))
    with pages_on(home) as opened:
        yield opened, home


def ids(home: Path) -> dict[str, str]:

    return {one["name"]: one["id"] for one in open_jobs(home).store.tunings()}


def test_an_empty_store_says_what_tuning_costs_and_offers_one_button(app):
    at = app("tune")
    assert not at.exception
    assert at.title[0].value == "Bring a model closer to people"
    assert "520 questions to write" in said(at)
    assert any(button.key == "tune_start" and not button.disabled for button in at.button)
    at = app("experiment")
    assert not at.exception
    assert any(button.key == "exp_start" for button in at.button)


@pytest.mark.parametrize("step", ["questions", "pairs", "training", "after", "cost"])
def test_every_step_of_a_tuning_shows_what_it_made(page, step):
    opened, home = page
    at = opened("tune", tuning=ids(home)["One"], step=step)
    assert not at.exception
    words = said(at)
    assert "One" in words and "1. Questions" in words
    expected = {
        "questions": "word for word",
        "pairs": "differ from the plain answer",
        "training": "sha256",
        "after": "On average",
        "cost": "Base and tuned model get the same prompts",
    }
    assert expected[step] in words


def test_an_experiment_shows_its_arms_and_what_cannot_be_called(page):
    opened, home = page
    at = opened("experiment", tuning=ids(home)["Several"])
    assert not at.exception
    assert "before tuning" in said(at) and "Closeness and diversity" in said(at)
    # Change of each arm, closeness and diversity, where the best arm moved.
    assert len(at.get("plotly_chart")) == 3
    assert "What it cost elsewhere" not in said(at)  # it was not asked to check


def test_an_experiment_says_what_each_arm_cost(page):
    opened, home = page
    store = open_jobs(home).store
    (one, several) = (ids(home)[name] for name in ("One", "Several"))
    record = store.abilities(one)[0]["record"]
    for seed in (1, 2):
        store.keep_abilities(several, "people", seed, record)
    at = opened("experiment", tuning=several)
    assert not at.exception
    assert "What it cost elsewhere" in said(at)
    assert "People's own shares** (2 seeds)" in said(at)


@pytest.mark.parametrize(
    "query", [{"tuning": "gone"}, {"tuning": "<script>", "step": "x"}, {"arm": "?", "seed": "z"}]
)
def test_mangled_links_degrade(page, query):
    opened, _ = page
    for name in ("tune", "experiment"):
        at = opened(name, **query)
        assert not at.exception


def test_the_arms_of_an_experiment_are_compared_with_one_base(page):
    _, home = page
    store = open_jobs(home).store
    table = experiments.arms_table(store, ids(home)["Several"], "emd", "all", "country")
    assert list(table["arm"]) == ["base", "calibrated", "soft_all", "people"]
    assert table["seeds"].tolist() == [1, 1, 2, 2]
    arms = table[table["arm"] != "base"]
    assert (arms["low"] <= arms["change"]).all() and (arms["change"] <= arms["high"]).all()
    base = table["score"].iloc[0]
    assert (arms["score"] - base).tolist() == pytest.approx(arms["change"].tolist(), abs=1e-6)


def test_an_adapter_is_listed_shown_downloaded_and_merged(page):
    opened, home = page
    at = opened("library", shelf="Adapters")
    assert not at.exception

    (first, *_) = adapters(home)
    assert first.name in " ".join(str(m.value) for m in at.markdown).replace("\\", "")
    again = adapter_exchange.bring_in(adapter_exchange.export_zip(first), home).adapter
    assert (again.path / "adapter_model.safetensors").read_bytes() == (
        first.path / "adapter_model.safetensors"
    ).read_bytes()


def test_pairs_whose_answers_were_deleted_leave_their_counts(page):
    opened, home = page
    store, tuning_id = open_jobs(home).store, ids(home)["One"]
    of = tunings.tuning(store, tuning_id)
    arm, seed = of.settings.arms[0], of.settings.seeds[0]
    written = tunings.written_survey(store, of, seed)
    survey = store.survey()
    whole = tunings.pair_table(store, of.one(arm.name, seed), survey, written)
    assert len(whole) == 6 * 3 and whole["Apart"].is_monotonic_decreasing
    assert len(tunings.pair_table(store, of.one(arm.name, seed), survey, written, limit=5)) == 5
    assert set(
        tunings.pair_table(store, of.one(arm.name, seed), survey, written, "KEN")["Country"]
    ) == {"Kenya"}
    gone = [run.id for run in store.tuning_runs(tuning_id) if "written" in run.group]
    store.delete_runs(gone)
    store.empty_bin()
    at = opened("tune", tuning=tuning_id, step="pairs")
    assert not at.exception
    assert "were deleted; their counts are left" in said(at)


def test_the_likeness_from_which_a_question_is_dropped_is_said(page):
    _, home = page
    settings = tunings.tuning(open_jobs(home).store, ids(home)["One"]).settings
    assert tunings.filter_words(settings, "chrF++").endswith(
        "chrF++ of 80 or more to another written question and 80 or more to a survey question is "
        "dropped."
    )
    none = replace(settings, near_limit=None, leak_limit=None)
    assert "by the study’s rules alone" in tunings.filter_words(none, "chrF++")


def test_a_country_kept_out_does_not_count_in_the_change_of_those_tuned_for(page):
    _, home = page
    store = open_jobs(home).store
    of = tunings.tuning(store, ids(home)["One"])
    found = tunings.before_after(store, of.one())
    sides = found.before["country"], found.after["country"]
    table, mean = scores.change(store, *sides, countries=["KEN", "DEU"])
    scored = table[table["state"] == "scored"]
    assert set(scored["iso3"]) == {"KEN", "DEU"}
    assert mean.value == pytest.approx(scored["value"].mean())
    every, _ = scores.change(store, *sides)
    assert set(every[every["state"] == "scored"]["iso3"]) == {"KEN", "DEU", "USA"}


def test_a_deleted_tuning_comes_back_and_one_with_a_failed_arm_can_go_on(page):
    opened, home = page
    tuning_id = ids(home)["Several"]
    at = opened("tune")
    at.button(key=f"delete_{tuning_id}").click().run()
    assert not at.exception and "Several" not in ids(home)
    assert "its answers stay" in said(at)
    at.button(key="tune_undo").click().run()
    assert ids(home)["Several"] == tuning_id and "its answers stay" not in said(at)
    assert not any(
        button.key == "tune_resume" for button in opened("tune", tuning=tuning_id).button
    )
    open_jobs(home).store.set_arm(
        tuning_id, "people", 2, state="failed", facts={"error": "The loss is no number."}
    )
    at = opened("experiment", tuning=tuning_id)
    assert any(button.key == "tune_resume" for button in at.button)
    assert "Tries 1 failed arm again" in said(at)


def test_an_arm_that_failed_and_then_succeeds_is_shown_as_it_is_now(page):
    opened, home = page
    tuning_id, store = ids(home)["Several"], open_jobs(home).store
    were = [arm for arm in store.arms(tuning_id) if arm["arm"] == "people"]
    gone = "The loss is no number."
    for arm in were:
        store.set_arm(
            tuning_id, "people", arm["seed"], state="failed", runs=[], facts={"error": gone}
        )
    assert gone in said(opened("experiment", tuning=tuning_id, part="all"))
    for arm in were:
        kept = {name: arm[name] for name in ("state", "runs", "facts")}
        store.set_arm(tuning_id, "people", arm["seed"], **kept)
    at = opened("experiment", tuning=tuning_id, part="all")
    assert not at.exception and gone not in said(at)
    store.delete_runs([run for arm in were for run in arm["runs"]])
    store.empty_bin()
    at = opened("experiment", tuning=tuning_id, part="all", arm="people")
    assert not at.exception and "This arm has nothing to compare yet." in said(at)


def test_diversity_stands_beside_the_score_before_and_after(page):
    opened, home = page
    at = opened("tune", tuning=ids(home)["One"], step="after")
    assert not at.exception
    score, apart = at.metric
    assert "of 100" in score.label and "people = 1" in apart.label
    assert all("→" in one.value for one in (score, apart))
    of = tunings.tuning(open_jobs(home).store, ids(home)["One"])
    part = next(box for box in at.selectbox if box.label == "Questions")
    kept_out = experiments.parts_of(of.settings, open_jobs(home).store.survey())
    assert part.value == ("held_out" if "held_out" in kept_out else "all")
    at.segmented_control(key="tune_after_method").set_value("plain").run()
    assert not at.exception and len(at.metric) == 1  # of no country there is no diversity


def test_how_much_is_enough_is_asked_of_any_arm_at_six_shares(app, monkeypatch):
    planned = []
    plan = jobs_plan_tuning.plan_tuning

    def note(store, choices):
        planned.append(list(choices.arms))
        return plan(store, choices)

    monkeypatch.setattr(jobs_plan_tuning, "plan_tuning", note)
    at = app("experiment")
    at.radio(key="exp_set").set_value("How much is enough?").run()
    at.selectbox(key="exp_shares_of").set_value("culturespa").run()
    assert not at.exception
    assert planned[-1] == [
        *(f"culturespa:{share}" for share in ("0.1", "0.2", "0.3", "0.5", "0.7")), "culturespa"
    ]  # fmt: skip
    assert not any("third" in said for radio in at.radio for said in radio.proto.captions)


def test_each_curve_of_an_experiment_says_of_which_arm_it_is(page):
    opened, home = page
    store, tuning_id = open_jobs(home).store, ids(home)["Several"]
    record = store.tuning(tuning_id)["settings"]
    # The same answers once more under the name of half the examples.
    for name in ("soft_all", "people"):
        whole = next(arm for arm in record["arms"] if arm["name"] == name)
        record["arms"].append({**whole, "name": f"{name}:0.5", "fraction": 0.5})
        for arm in [arm for arm in store.arms(tuning_id) if arm["arm"] == name]:
            kept = {field: arm[field] for field in ("state", "runs", "examples")}
            store.set_arm(tuning_id, f"{name}:0.5", arm["seed"], **kept)
    again = store.add_tuning(record, name="Shares")
    for arm in store.arms(tuning_id):
        kept = {field: arm[field] for field in ("state", "runs", "examples")}
        store.set_arm(again, arm["arm"], arm["seed"], **kept)
    with pytest.MonkeyPatch.context() as patch:
        known = Store.tuning_runs
        patch.setattr(Store, "tuning_runs", lambda self, _: known(self, tuning_id))
        at = opened("experiment", tuning=again, part="all")
    assert not at.exception
    headings = [one.value for one in at.subheader if "How much is enough?" in one.value]
    assert len(headings) == 2
    assert "Shares of every option" in headings[0] and "People" in headings[1]


def test_an_experiment_opens_with_the_arm_and_seed_of_its_address(earlier_home):
    store = Store(earlier_home)
    (several,) = [one["id"] for one in store.tunings() if one["name"] == "Several"]
    store.close()
    with pages_on(earlier_home) as page:
        at = page("tune", tuning=several, arm="people", seed="2")
        assert not at.exception
        assert at.selectbox(key="tune_seed").value == "2"

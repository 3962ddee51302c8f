"""Runs made from other runs: amplified culture prompting and calibration."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.__main__ import main
from core.analysis import amplification, calibration, cross_fitting, derived_runs, scores
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.jobs import askings
from core.jobs.choices import AskChoices
from core.jobs.plan import again, plan_plain, plan_survey
from core.jobs.queue import Jobs
from core.metrics import panel
from core.models.spec import ModelSpec
from core.store.store import Store
from core.survey.neighbours import batteries
from core.survey.survey import load_bundled
from core.views import export, provenance, score_records
from tests import filled

SURVEY = load_bundled()
RNG = np.random.default_rng(7)
CORE = SURVEY.select("core")
LAY = panel.layout(CORE)
KENYA = panel.human_panel(SURVEY, CORE, ["KEN", "DEU"]).human
FOLDS = cross_fitting.folds([item.id for item in CORE], batteries(SURVEY))

spreads = st.lists(st.floats(0.001, 1), min_size=3, max_size=3).map(lambda x: np.array(x) / sum(x))


# -- the arithmetic --------------------------------------------------------------------------------


def test_amplifying_adds_the_step_from_plain_to_aware_once_more():
    # Odds 4 to 1 against even odds: one step more is 16 to 1, half a step 8 to 1.
    aware, plain = np.array([0.8, 0.2]), np.array([0.5, 0.5])
    assert amplification.amplify(aware, plain, 1.0) == pytest.approx([16 / 17, 1 / 17])
    assert amplification.amplify(aware, plain, 0.5) == pytest.approx([8 / 9, 1 / 9])


@given(spreads, spreads, st.floats(-1, 20))
def test_amplified_answers_are_distributions_between_known_ends(aware, plain, alpha):
    assert amplification.amplify(aware, plain, 0) == pytest.approx(aware)
    assert amplification.amplify(aware, plain, -1) == pytest.approx(plain)
    assert amplification.amplify(aware, aware, alpha) == pytest.approx(aware)
    assert amplification.amplify(aware, plain, alpha).sum() == pytest.approx(1)


def test_what_does_not_exist_gets_no_weight():
    aware, plain = np.array([0.6, 0.4, 0.0]), np.array([0.5, 0.5, 0.0])
    valid = np.array([True, True, False])
    assert amplification.amplify(aware, plain, 5, valid)[2] == 0


def test_a_temperature_is_a_power():
    assert calibration.apply(np.array([0.8, 0.2]), 2.0) == pytest.approx([2 / 3, 1 / 3])
    assert calibration.apply(np.array([0.8, 0.2]), 0.5) == pytest.approx([16 / 17, 1 / 17])


@given(spreads, st.floats(0.1, 20))
def test_a_temperature_keeps_the_order_of_answers_and_can_be_undone(spread, t):
    changed = calibration.apply(spread, t)
    assert changed.sum() == pytest.approx(1)
    assert changed[np.argmax(spread)] == pytest.approx(changed.max())  # ties within rounding
    assert calibration.apply(changed, 1 / t) == pytest.approx(spread, abs=1e-6)


# -- choosing on other items -----------------------------------------------------------------------


def test_folds_keep_batteries_whole_and_are_alike_in_size():
    battery = batteries(SURVEY)
    every = cross_fitting.folds([item.id for item in SURVEY.items], battery)
    pairs = {(battery[item.id], fold) for item, fold in zip(SURVEY.items, every, strict=True)}
    assert len(pairs) == len(set(battery.values()))  # one fold to a battery
    assert set(every) == set(range(5))
    assert np.ptp(np.bincount(every)) <= 18  # the longest battery has 18 items
    with pytest.raises(PluriscopeError, match="one battery"):
        cross_fitting.folds(["Q1", "Q2"], battery)


def test_a_known_strength_is_found():
    plain = (KENYA.mean(0, keepdims=True) + LAY.valid / LAY.size[:, None]) / 2
    aware = amplification.amplify(KENYA, plain, -0.5, LAY.valid)  # half the way to people
    # aware + α (aware - plain) reaches people where 0.5 (1 + α) = 1.
    alphas = amplification.fit(aware[:, :, None], plain[:, :, None], KENYA, LAY, FOLDS)
    assert alphas == pytest.approx(1.0)


def test_a_known_temperature_is_found():
    sharp = calibration.apply(KENYA, 0.5)[:, :, None]
    for found in calibration.cross_fit(sharp, KENYA, LAY.size, LAY, FOLDS):
        assert list(found.values()) == pytest.approx([2.0] * len(found), rel=0.03)
    assert calibration.fit(KENYA, KENYA, LAY.size, LAY) == {
        size: 1.0 for size in set(LAY.size.tolist())
    }


def test_no_item_has_a_part_in_choosing_for_itself():
    rng = np.random.default_rng(1)
    noise = rng.gamma(1, 1, (2, 2, *KENYA.shape[1:])) * LAY.valid + 1e-6 * LAY.valid
    aware, plain = (side[:, :, None] / side.sum(-1)[:, :, None, None] for side in noise)
    others = KENYA.copy()
    mine = FOLDS == 2
    others[:, mine] = np.roll(KENYA[:, mine], 1, axis=0)  # Kenya's answers for Germany's
    others[:, mine] = others[:, mine][..., ::-1]  # and upside down
    alphas = [amplification.fit(aware, plain, p, LAY, FOLDS)[2] for p in (KENYA, others)]
    assert alphas[0] == alphas[1]
    found = [calibration.cross_fit(aware, p, LAY.size, LAY, FOLDS) for p in (KENYA, others)]
    assert found[0][2] == found[1][2]
    assert found[0] != found[1]  # the folds that may look do see the difference


def test_few_items_of_a_length_share_the_temperature_of_all():
    groups = np.where(np.arange(len(CORE)) < 2, 99, 4)
    found = calibration.fit(calibration.apply(KENYA, 0.5), KENYA, groups, LAY)
    assert found[99] == pytest.approx(2, rel=0.03)


# -- on a store ------------------------------------------------------------------------------------


def cell(store, run, iso3="KEN", item="Q164") -> np.ndarray:
    """Both orders of one cell, [2, K]."""
    return np.array(store.answers(run.no, item=item, iso3=iso3)["probs"].tolist(), float)


def test_an_amplified_run_is_an_ordinary_run_beside_its_sources(filled_runs):
    store, (plain, country, *_) = filled_runs
    run = derived_runs.amplify(store, country, alpha=1.0)
    assert (run.method, run.state, run.group) == ("amplified", "done", country.group)
    assert run.answered == run.planned == country.answered == 18 * 52 * 2
    logs = np.log(cell(store, country)), np.log(cell(store, plain, iso3=""))
    wanted = np.exp(2 * logs[0] - logs[1])
    assert cell(store, run) == pytest.approx(wanted / wanted.sum(1, keepdims=True), rel=1e-4)
    assert run.settings.derived["sources"] == {"aware": country.id, "plain": plain.id}
    assert run.settings.human_answers == ""  # the strength was set, not chosen
    assert scores.table(store, run)["value"].notna().all()
    assert set(export.run_table(store, run.id)["derived_from"]) == {f"{country.id} {plain.id}"}
    assert f"run {plain.id} (asked plainly)" in provenance.provenance_text(store, run)
    assert json.loads(export.run_json(store, run.id))["settings"]["derived"]["alphas"] == [1.0]


def test_a_strength_chosen_on_answers_of_people_says_so(filled_runs):
    store, (_, country, *_) = filled_runs
    run = derived_runs.amplify(store, country)
    record = run.settings.derived
    assert len(record["alphas"]) == 5 and set(record["folds"]) == set(country.settings.items)
    assert "other batteries" in run.settings.human_answers
    assert (
        score_records.basic_record(store, run.id)["uses_human_answers"]
        == run.settings.human_answers
    )
    assert run.group != country.group  # an amplified run is there already
    # The blend's answers stop short of people, so going on brings them closer.
    change = scores.change(store, country, run)[1]
    assert change.clear and change.value > 0


def test_making_the_same_again_makes_nothing_new(filled_runs):
    store, (_, country, *_) = filled_runs
    first, count = derived_runs.calibrate(store, country), len(store.runs())
    assert derived_runs.calibrate(store, country).id == first.id
    assert len(store.runs()) == count


def test_a_calibrated_run_holds_each_items_own_temperature(filled_runs):
    store, (plain, country, *_) = filled_runs
    for source, method, iso3 in ((country, "calibrated", "KEN"), (plain, "calibrated_plain", "")):
        run = derived_runs.calibrate(store, source)
        assert run.method == method
        record = run.settings.derived
        fold = record["folds"]["Q164"]
        t = record["temperatures"][fold]["10"]
        assert cell(store, run, iso3) == pytest.approx(
            calibration.apply(cell(store, source, iso3), t), rel=1e-4
        )
        assert "temperature" in run.settings.human_answers


def test_runs_that_do_not_go_together_are_refused(filled_runs):
    store, runs_made = filled_runs
    with pytest.raises(PluriscopeError, match="another model"):
        derived_runs.amplify(store, runs_made.country, runs_made.other_plain)
    with pytest.raises(PluriscopeError, match="nobody in particular"):
        derived_runs.amplify(store, runs_made.plain)
    with pytest.raises(PluriscopeError, match="not finished"):
        derived_runs.calibrate(store, runs_made.unfinished)
    with pytest.raises(PluriscopeError, match="written answers"):
        derived_runs.calibrate(store, runs_made.written)
    with pytest.raises(PluriscopeError, match="made from others"):
        derived_runs.calibrate(store, derived_runs.calibrate(store, runs_made.country))
    with pytest.raises(PluriscopeError, match="between"):
        derived_runs.amplify(store, runs_made.country, alpha=21)
    with pytest.raises(PluriscopeError, match="derive"):
        AskSettings(**{**runs_made.country.settings.__dict__, "method": "amplified"})


def answered(store, **wish):
    """The runs of a planned asking, all answered, its words kept in the store."""
    plan = plan_survey(
        store, AskChoices(ModelSpec("builtin"), items=["Q57", "Q164", "Q182"], **wish)
    )
    for prompts in (plan.prompts, *(there.prompts for there in plan.translations)):
        store.add_prompt_set(
            prompts.sha256, prompts.id, prompts.name, prompts.language, dict(prompts.texts)
        )
    return [
        filled._answer(store, filled._add(store, one, name, None), one, 0.5, 1.0, RNG)
        for one, name in zip(plan.settings, plan.names, strict=True)
    ]


def test_amplifying_stays_within_one_language(tmp_path):
    store = Store(tmp_path)
    wish = {"methods": ["country", "amplified"], "language": "own"}
    with pytest.raises(PluriscopeError, match="one language"):
        plan_survey(store, AskChoices(ModelSpec("builtin"), cultures=["DEU", "KEN"], **wish))
    # Kenya was surveyed in English first, which the plain questions are in as well.
    assert plan_survey(store, AskChoices(ModelSpec("builtin"), cultures=["KEN"], **wish)).derive

    english = answered(store, cultures=["DEU"])
    german = answered(store, cultures=["DEU"], language="de")
    (own,) = answered(store, cultures=["DEU", "KEN"], methods=["country"], language="own")
    (kenyan,) = answered(store, cultures=["KEN"], methods=["country"], language="own")
    for refused in (lambda: derived_runs.amplify(store, own), lambda: plan_plain(store, own)):
        with pytest.raises(PluriscopeError, match="one language"):
            refused()
    assert derived_runs.plain_of(store, kenyan).id == english[0].id
    assert derived_runs.plain_of(store, german[1]).id == german[0].id
    for aware, plain in ((german[1], english[0]), (english[1], german[0])):
        with pytest.raises(PluriscopeError, match="in different languages"):
            derived_runs.amplify(store, aware, plain)
    # The same language in another translation is other words.
    settings = german[0].settings
    other = {"de": {**settings.translations["de"], "sha256": "another"}}
    elsewhere = filled._add(store, replace(settings, translations=other), "other", None)
    store.update_run(elsewhere.id, state="done")
    with pytest.raises(PluriscopeError, match="different words"):
        derived_runs.amplify(store, german[1], store.run(elsewhere.id))
    store.close()


# -- planned, asked and made in one go -------------------------------------------------------------


def test_a_plan_asks_what_derived_runs_need_and_then_makes_them(home, tiny_model):
    store = Store(home)
    queue = Jobs(store)
    model = ModelSpec(str(tiny_model), precision="fp32")
    some = {"cultures": ["KEN", "DEU"], "orders": "given"}
    methods = ["amplified", "calibrated"]
    plan = plan_survey(
        store, AskChoices(model, methods=methods, items="Economic Values", alpha=1.0, **some)
    )
    job = queue.wait(queue.start(plan))
    made = askings.made_by(store, job)
    assert [run.method for run in made] == ["plain", "country", *methods]
    assert [run.answered for run in made] == [6, 12, 12, 12]
    assert len({run.group for run in made}) == 1

    # Two ways of asking are calibrated: each is in the result and called by its source's name.
    plan = plan_survey(
        store,
        AskChoices(
            model, methods=["country", "cross_culture", "calibrated"], items=["Q57", "Q164"], **some
        ),
    )
    made = askings.made_by(store, queue.wait(queue.start(plan)))
    assert [run.way for run in made] == [
        "As a person from …",
        "Cross-culture thinking",
        "As a person from …, calibrated",
        "Cross-culture thinking, calibrated",
    ]
    assert "Cross-culture thinking, calibrated" in provenance.provenance_text(store, made[3])

    # A wish that cannot be met is told, and costs no answers.
    plan = plan_survey(store, AskChoices(model, methods=["calibrated"], items=["Q1", "Q2"], **some))
    job = queue.wait(queue.start(plan))
    queue.close()
    assert job.state == "done" and "one battery" in job.error
    assert store.run(job.runs[0]).state == "done"
    store.close()


def test_a_command_asks_plainly_first_where_nobody_did(home, tiny_model, capsys):
    ask = ["ask", "--model", str(tiny_model), "--precision", "fp32", "--countries", "KEN"]
    assert main([*ask, "--items", "Security", "--methods", "country", "--json"]) == 0
    aware = json.loads(capsys.readouterr().out.splitlines()[-1])["runs"][0]["id"]
    assert main(["derive", "amplified", "--run", aware, "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["method"] == "amplified" and record["sources"]["aware"] == aware
    assert len(record["alphas"]) > 1 and "other batteries" in record["uses_human_answers"]
    assert main(["derive", "amplified", "--run", aware, "--alpha", "strong"]) == 2
    assert main(["score", "--run", record["run"], "--json"]) == 0


def test_asking_again_makes_again(filled_runs):
    store, (_, country, *_) = filled_runs
    plan = again(store, country)
    assert [one.method for one in plan.settings] == ["plain", "country"]
    assert {"make": "amplified", "of": "country", "alpha": 1.0} in plan.derive
    alone = next(run for run in store.runs() if run.method == "amplified" and run.group == run.id)
    plan = again(store, alone)
    assert [one.method for one in plan.settings] == ["plain", "country"]
    assert plan.derive == ({"make": "amplified", "of": "country", "alpha": None},)


def test_what_was_made_of_another_way_of_asking_is_made_of_it_again(tmp_path):
    store = Store(tmp_path)
    across, plain = answered(store, cultures=["DEU", "KEN"], methods=["cross_culture", "plain"])
    amplified = derived_runs.amplify(store, across, alpha=1.0)
    assert amplified.way == "Cross-culture thinking, amplified"
    plan = again(store, amplified)  # the plain run was asked apart
    assert [one.method for one in plan.settings] == ["cross_culture"]
    assert plan.derive == ({"make": "amplified", "of": "cross_culture", "alpha": 1.0},)
    made = derived_runs.make(store, [plain, across], plan.derive)
    assert [run.id for run in made] == [amplified.id]  # the very same
    store.close()

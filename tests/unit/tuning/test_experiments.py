"""Experiments on stores whose outcome is known: answers made by hand, not by a model."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from core import __main__ as command
from core.analysis import derived_runs, scores
from core.asking.answers import Answer
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.metrics import distances, metrics, relations, score
from core.metrics.panel import Panel, human_panel, most_likely
from core.models.catalogue import builtin_held_out
from core.models.spec import ModelSpec
from core.prompts.prompt_sets import load_prompt_set
from core.store.store import Store
from core.survey.survey import load_bundled
from core.tuning import experiments, model_card
from core.tuning.abilities.paired_tests import NO_WORSE, WORSE, Kind, Paired, made, record
from core.tuning.settings import ARMS, Arm, TuneSettings
from core.views import experiment

SURVEY = load_bundled()
COUNTRIES = ("USA", "KEN", "DEU", "JPN")
ITEMS = tuple(
    item.id
    for topic in ("Economic Values", "Security")
    for item in SURVEY.select(topic)
    if all((iso3, item.id) in SURVEY.shares for iso3 in COUNTRIES)
)
PROMPTS = load_prompt_set()
BETTER, SAME, FLAT = "better", "same", "flat"


def arm(name, **how) -> Arm:
    return Arm(name, name.capitalize(), "country", "probabilities", "soft", **how)


def settings(*arms, seeds=(1, 2, 3), **more) -> TuneSettings:
    return TuneSettings(
        model=ModelSpec("example/model-1b"),
        cultures=COUNTRIES,
        arms=arms,
        topics=SURVEY.topics,
        survey=SURVEY.id,
        survey_version=SURVEY.version,
        prompt_set=PROMPTS.id,
        prompt_sha256=PROMPTS.sha256,
        seeds=seeds,
        evaluate=",".join(ITEMS),
        **more,
    )


def people(iso3, item) -> np.ndarray:
    return SURVEY.shares[iso3, item.id].values


def before(iso3, item) -> np.ndarray:
    """A model's answers before tuning: half way between people and one end of the scale."""
    end = np.zeros(len(item.options))
    end[len(item.id) % 2 * -1] = 1
    return 0.5 * people(iso3, item) + 0.5 * end


def closer(share):
    """That share of the way from before tuning to people."""
    return lambda iso3, item: (1 - share) * before(iso3, item) + share * people(iso3, item)


def alike(iso3, item) -> np.ndarray:
    return np.mean([before(other, item) for other in COUNTRIES], axis=0)


class Made:
    """A tuning in a store, to which runs of hand-made answers are added."""

    def __init__(self, store: Store, of: TuneSettings):
        self.store, self.settings = store, of
        self.id = store.add_tuning(of.to_json(), name="By hand")

    def runs(self, name, answers, seeds=None, method="country", part=1.0, state="done"):
        for seed in seeds or self.settings.seeds:
            run = self.run(name, seed, answers(seed), method, part)
            states = {(s["arm"], s["seed"]): s["runs"] for s in self.store.arms(self.id)}
            held = [*states.get((name, seed), []), run.id]
            self.store.set_arm(self.id, name, seed, state=state, runs=held, examples=100)
        return self

    def run(self, name, seed, answer, method, part):
        asked = AskSettings(
            model=self.settings.model, method=method, cultures=self.settings.cultures,
            items=ITEMS, item_set="", survey=SURVEY.id, survey_version=SURVEY.version,
            prompt_set=PROMPTS.id, prompt_sha256=PROMPTS.sha256, orders="given",
        )  # fmt: skip
        keys = asked.planned_cells(SURVEY)
        run = self.store.add_run(
            asked, planned=len(keys), name=name, kind="experiment", state="running",
            made_for=(self.id, name, seed),
        )  # fmt: skip
        rows = []
        for iso3, item_id, number in keys[: round(part * len(keys))]:
            item = SURVEY.item(item_id)
            probs = np.asarray(answer(iso3 or "USA", item), float)
            rows.append(
                Answer(iso3, item_id, number, tuple(probs), 1.0,
                       item.codes[int(probs.argmax())], "answered", "by hand", None, None)
            )  # fmt: skip
        self.store.add_answers(run.no, rows)
        self.store.update_run(run.id, state="done")
        return run

    def table(self, metric="tv", part="all", method="country", **more):
        found = experiments.arms_table(self.store, self.id, metric, part, method, **more)
        return found.set_index("arm", drop=False)


def same(answers):
    """The same answers whatever the seed."""
    return lambda seed: answers


@pytest.fixture
def made_store(store):
    """An arm that comes 20, 40 and 60% closer, one that changes nothing, one that flattens."""
    made = Made(store, settings(arm(BETTER), arm(SAME), arm(FLAT)))
    made.runs("base", same(before))
    made.runs(BETTER, lambda seed: closer(0.2 * seed))
    made.runs(SAME, same(before))
    made.runs(FLAT, same(alike))
    return made


# -- arms against the base -----------------------------------------------------------------------


def test_an_arm_is_compared_with_the_base_seed_by_seed(made_store):
    table = made_store.table()
    # Total variation is linear on the way to people: 20% of the way closes 20% of the distance.
    gap = 100 - table.loc["base", "score"]
    better = table.loc[BETTER]
    assert better["by_seed"] == pytest.approx([0.2 * gap, 0.4 * gap, 0.6 * gap], rel=1e-5)
    assert better["change"] == pytest.approx(0.4 * gap, rel=1e-5)
    assert better["score"] == pytest.approx(100 - 0.6 * gap, rel=1e-6)
    assert better["seeds"] == 3 and better["examples"] == 100
    # Over seeds alone: 0.4 ± t(2) x 0.2 / root 3, of the gap.
    reach = 4.30265 * 0.2 / math.sqrt(3) * gap
    assert better["seeds_low"] == pytest.approx(0.4 * gap - reach, rel=1e-4)
    assert better["seeds_high"] == pytest.approx(0.4 * gap + reach, rel=1e-4)


def test_the_spread_between_seeds_is_part_of_the_interval(store):
    even, uneven = arm("even"), arm("uneven")
    made = Made(store, settings(even, uneven)).runs("base", same(before))
    made.runs("even", same(closer(0.4)))
    made.runs("uneven", lambda seed: closer({1: 0.3, 2: 0.4, 3: 0.5}[seed]))
    table = made.table()
    gap = 100 - table.loc["base", "score"]
    even, uneven = table.loc["even"], table.loc["uneven"]
    assert even["change"] == pytest.approx(uneven["change"], rel=1e-5)
    items = (even["high"] - even["low"]) / 2  # seeds agree: items alone
    reach = (uneven["high"] - uneven["low"]) / 2
    seeds = 4.30265 * 0.1 / math.sqrt(3) * gap
    assert math.hypot(items, seeds) * 0.9 < reach < items + seeds
    assert even["clear"] and even["seeds_high"] == pytest.approx(even["seeds_low"], abs=1e-3)


def test_an_arm_that_changes_nothing_is_too_small_to_call(made_store):
    row = made_store.table().loc[SAME]
    assert row["change"] == row["low"] == row["high"] == row["diversity_change"] == 0
    assert not row["clear"] and not row["diversity_clear"] and not row["harm"]
    assert row["verdict"] == "Too small to call."


def test_an_arm_that_makes_countries_alike_is_called_that(made_store):
    table = made_store.table()
    row = table.loc[FLAT]
    assert row["diversity"] == pytest.approx(0, abs=1e-6)
    assert row["diversity_change"] == pytest.approx(-table.loc["base", "diversity"], abs=1e-6)
    assert row["diversity_clear"] and row["harm"]
    assert "more alike" in row["verdict"]
    run = made_store.store.run(made_store.store.arms(made_store.id)[0]["runs"][0])
    apart = relations.distances(scores.panel(made_store.store, run))
    assert table.loc["base", "diversity"] == pytest.approx(relations.diversity(apart).ratio)


def test_an_arm_that_takes_answers_away_is_said_to_lower_the_score(store, snapshot):
    made = Made(store, settings(arm("worse"))).runs("base", same(before))
    made.runs("worse", same(closer(-0.3)))
    row = made.table().loc["worse"]
    assert row["clear"] and row["harm"] and row["change"] < 0
    assert row["verdict"].startswith("Lowers the score by")
    said = experiment.finding(made.table(), "all")
    assert said.headline == snapshot
    assert "1 arm clearly lowers" in said.paragraph and "worse (by" in said.paragraph


def test_one_seed_is_the_comparison_that_the_map_makes(store):
    made = Made(store, settings(arm(BETTER), seeds=(7,)))
    made.runs("base", same(before)).runs(BETTER, same(closer(0.3)))
    row = made.table("emd").loc[BETTER]
    runs = [store.run(state["runs"][0]) for state in store.arms(made.id)]
    base, after = sorted(runs, key=lambda run: run.no)
    _, mean = scores.change(store, base, after, "emd")
    assert (row["change"], row["low"], row["high"]) == pytest.approx(mean[:3])
    assert row["score"] == pytest.approx(scores.table(store, after, "emd")["value"].iloc[0])
    assert row["ceiling"] == pytest.approx(scores.table(store, base, "emd")["ceiling"].iloc[0])
    assert math.isnan(row["seeds_low"])
    assert "rests on one seed" in experiment.finding(made.table("emd"), "all").paragraph


def test_asked_plainly_there_is_no_diversity(store):
    made = Made(store, settings(arm(BETTER), seeds=(1,)))
    made.runs("base", same(before), method="plain")
    made.runs(BETTER, same(closer(0.3)), method="plain")
    row = made.table(method="plain").loc[BETTER]
    assert math.isnan(row["diversity"]) and math.isfinite(row["change"])
    assert made.table().empty  # never asked as people of countries


def test_the_base_asked_once_serves_every_seed(store):
    made = Made(store, settings(arm(BETTER))).runs("base", same(before), seeds=(1,))
    made.runs(BETTER, same(closer(0.3)))
    table = made.table()
    assert (table.loc["base", "seeds"], table.loc[BETTER, "seeds"]) == (1, 3)


def test_arms_that_are_not_there_yet_say_why(store, snapshot):
    arms = [arm(name) for name in ("waiting", "half", "failed", "gone")]
    made = Made(store, settings(*arms, seeds=(1,))).runs("base", same(before))
    made.runs("half", same(before), part=0.5, state="running")
    store.set_arm(made.id, "failed", 1, state="failed", facts={"error": "Too few pairs."})
    made.runs("gone", same(before))
    (lost,) = [s["runs"] for s in store.arms(made.id) if s["arm"] == "gone"]
    store.delete_runs(lost)
    store.empty_bin()
    table = made.table()
    assert table["change"].isna().sum() == 4
    assert table.loc[["waiting", "half", "failed"], "verdict"].tolist() == [
        "Not finished.", "Not finished.", "Too few pairs."
    ]  # fmt: skip
    assert "deleted" in table.loc["gone", "verdict"] and table.loc["gone", "verdict"] == snapshot
    assert table.loc["failed", "state"] == "failed"
    assert experiment.finding(table, "all").headline == "No arm is done yet"


def test_a_table_is_kept_for_exactly_the_answers_it_came_from(made_store):
    store, first = made_store.store, made_store.table()
    (subject,) = [s for (s,) in store.rows("select subject from results")]
    store.keep_result(subject, "another key", {"lines": {}, "rows": []})
    assert made_store.table()["change"].equals(first["change"])  # what was kept is of other answers
    changes = store.changes
    assert made_store.table().drop(columns="by_seed").equals(first.drop(columns="by_seed"))
    assert store.changes == changes  # read, not computed
    made_store.runs(FLAT, same(closer(0.5)), seeds=(1,))  # asked again
    assert made_store.table().loc[FLAT, "change"] != first.loc[FLAT, "change"]


def test_what_is_made_of_a_tuning_differs_wherever_its_tables_do(store):
    made = Made(store, settings(arm("late"), seeds=(1,))).runs("base", same(before))
    store.set_arm(made.id, "late", 1, state="failed", facts={"error": "Too few pairs."})
    failed = experiments.made_of(store, made.id)
    assert experiments.made_of(store, made.id) == failed and {failed}  # stays, and can be a key
    store.set_arm(made.id, "late", 1, facts={})
    made.runs("late", same(closer(0.3)))
    done = experiments.made_of(store, made.id)
    store.delete_runs([run for s in store.arms(made.id) if s["arm"] == "late" for run in s["runs"]])
    store.empty_bin()
    assert len({failed, done, experiments.made_of(store, made.id)}) == 3


# -- parts ---------------------------------------------------------------------------------------


def test_parts_are_scored_apart(store):
    """Closer on what may have been taught, further away on what was kept out."""
    held = ITEMS[:6]
    of = settings(arm(BETTER), held_out_items=held, held_out_cultures=("JPN",), seeds=(1,))

    def after(iso3, item):
        return closer(-0.3 if item.id in held else 0.3)(iso3, item)

    made = Made(store, of).runs("base", same(before)).runs(BETTER, same(after))
    assert list(experiments.parts_of(of, SURVEY)) == [
        "all", "held_out", "tuned", "held_out_countries"
    ]  # fmt: skip
    kept, tuned = made.table(part="held_out").loc[BETTER], made.table(part="tuned").loc[BETTER]
    for row, way in ((kept, -0.3), (tuned, 0.3)):
        gap = 100 - (row["score"] - row["change"])
        assert row["change"] == pytest.approx(way * gap, rel=1e-5)
    assert kept["verdict"].startswith("Lowers the score by")
    assert "kept out" in kept["verdict"]
    run = store.run(store.arms(made.id)[0]["runs"][0])
    for part, countries in (("all", COUNTRIES[:3]), ("held_out_countries", ("JPN",))):
        value = metrics.values(scores.panel(store, run, countries=countries), "tv").mean()
        assert made.table(part=part).loc["base", "score"] == pytest.approx(value)


def test_the_built_in_model_has_questions_it_never_saw():
    of = settings(ARMS["culturespa"], ARMS["people"])
    of = replace(of, model=ModelSpec("builtin"), evaluate="all")
    assert list(experiments.parts_of(of, SURVEY)) == [
        "all", "held_out", "tuned", "never_prompted", "never_seen"
    ]  # fmt: skip
    held = experiments.items_of("held_out", of, SURVEY)
    assert set(held) == set(builtin_held_out()) and len(held) == 84
    apart = [set(experiments.items_of(p, of, SURVEY)) for p in ("never_prompted", "never_seen")]
    assert [len(part) for part in apart] == [58, 26] and not apart[0] & apart[1]
    assert not set(experiments.items_of("tuned", of, SURVEY)) & set(held)
    with pytest.raises(PluriscopeError, match="no part 'elsewhere'"):
        experiments.items_of("elsewhere", of, SURVEY)


def test_an_arm_taught_the_built_in_model_s_list_is_not_scored_on_it_as_held_out(store):
    """Where the settings keep nothing out, people's shares of those very items are taught."""
    items = [i for i in ITEMS if i in builtin_held_out()]
    assert items
    of = replace(settings(ARMS["people"], arm(BETTER), seeds=(1,)), model=ModelSpec("builtin"))
    made = Made(store, of).runs("base", same(before))
    made.runs("people", same(closer(0.9))).runs(BETTER, same(closer(0.2)))
    table = made.table(part="held_out")
    assert table.loc["people", "verdict"] == experiments.TAUGHT
    assert math.isnan(table.loc["people", "change"]) and table.loc[BETTER, "clear"]
    assert math.isfinite(made.table(part="all").loc["people", "change"])
    # Nowhere else either: not on its card, not on the Tune page, not by country.
    survey = store.survey()
    assert list(experiments.parts_of(made.settings, survey, ARMS["people"])) == ["all"]
    assert "held_out" in experiments.parts_of(made.settings, survey, arm(BETTER))
    assert "kept out of the tuning" not in model_card.card(store, made.id, ARMS["people"], 1)
    assert "kept out of the tuning" in model_card.card(store, made.id, arm(BETTER), 1)
    with pytest.raises(PluriscopeError, match=experiments.TAUGHT):
        experiments.country_changes(store, made.id, "people", "tv", "held_out")
    side = ("tv", "held_out", "country")
    assert experiments.one_arm(store, made.id, ARMS["people"], 1, *side) is None
    assert experiments.one_arm(store, made.id, arm(BETTER), 1, *side).change.clear


# -- what needs no tuning ------------------------------------------------------------------------


def test_being_as_sure_as_people_needs_no_tuning(store):
    """An arm that only evens answers out gains over the base, and nothing over it calibrated."""

    def sharp(iso3, item):
        return people(iso3, item) ** 3 / (people(iso3, item) ** 3).sum()

    made = Made(store, settings(arm("evened"), seeds=(1,))).runs("base", same(sharp))
    made.runs("evened", same(people))
    table = made.table("emd")
    assert list(table["arm"]) == ["base", "calibrated", "evened"]
    assert table.loc["calibrated", "change"] > 0.8 * table.loc["evened", "change"] > 3
    assert table.loc["calibrated", "human"] and table.loc["calibrated", "seeds"] == 1
    against = made.table("emd", baseline="calibrated").loc["evened"]
    expected = table.loc["evened", "score"] - table.loc["calibrated", "score"]
    assert against["change"] == pytest.approx(expected, abs=1e-6)
    asked = command.parser().parse_args(
        ["arms", made.id, "--metric", "emd", "--part", "all", "--baseline", "calibrated"]
    )
    records, _ = asked.run(SimpleNamespace(store=store), asked)
    rows = {row["arm"]: row for row in records}
    assert rows["evened"]["change"] == pytest.approx(against["change"], abs=1e-6)
    assert rows["calibrated"]["change"] == 0
    run = store.run(store.arms(made.id)[0]["runs"][0])
    kept = derived_runs.calibrate(store, run)  # the same number as of a calibrated run
    whole = scores.table(store, kept, "emd")["value"].iloc[0]
    assert table.loc["calibrated", "score"] == pytest.approx(whole, abs=1e-4)


def test_a_better_prompt_is_a_line_to_reach_for(store):
    made = Made(store, settings(arm(BETTER), seeds=(1, 2))).runs("base", same(before))
    made.runs("base", same(closer(0.6)), method="cross_culture")
    made.runs(BETTER, same(closer(0.3)))
    table = made.table()
    gap = table.loc["better_prompt"]
    assert table.loc[BETTER, "change"] == pytest.approx(gap["change"] / 2, rel=1e-5)
    assert "brings 50%" in experiment.finding(table, "all").paragraph


# -- curves, controls, diversity -----------------------------------------------------------------


def test_more_examples_come_closer_on_the_quantity_curve(store):
    names = {0.1: "better:0.1", 0.5: "better:0.5", 1.0: BETTER}
    arms = [replace(arm(name), fraction=share) for share, name in names.items()]
    made = Made(store, settings(*arms, seeds=(1,))).runs("base", same(before))
    for share, name in names.items():
        made.runs(name, same(closer(0.4 * share)))
    curve = experiments.quantity_curve(made.table(), BETTER)
    assert curve["share"].tolist() == [0, 0.1, 0.5, 1]
    gap = 100 - curve["score"].iloc[0]
    expected = [0, 0.04 * gap, 0.2 * gap, 0.4 * gap]
    assert curve["change"].tolist() == pytest.approx(expected, rel=1e-4)
    assert experiments.quantity_curve(made.table(), "other").empty


def test_the_choice_of_pairs_is_set_against_the_choice_by_chance(store):
    arms = [arm("culturespa"), arm("by_chance", choose="random"), arm("agreeing", choose="same")]
    made = Made(store, settings(*arms, arm("shuffled", control="shuffled")))
    made.runs("base", same(before)).runs("culturespa", lambda seed: closer(0.3 + 0.01 * seed))
    made.runs("by_chance", lambda seed: closer(0.2 + 0.01 * seed))
    made.runs("agreeing", lambda seed: closer(0.1 + 0.01 * seed))
    made.runs("shuffled", same(closer(0.1)))
    table = experiments.quality_table(store, made.id, "tv").set_index("choose")
    assert list(table.index) == ["differing", "random", "same"]
    gap = 100 - made.table().loc["base", "score"]
    assert table.loc["differing", "over_random"] == pytest.approx(0.1 * gap, rel=1e-4)
    assert table.loc["same", "over_random"] == pytest.approx(-0.1 * gap, rel=1e-4)
    # Seed by seed the distance is always the same, so the seeds' own spread does not blur it.
    assert table.loc["differing", "over_random_clear"]
    assert math.isnan(table.loc["random", "over_random"])
    assert made.table()["control"].tolist() == [False, False, False, True, True, True]
    assert "So does a control" in experiment.finding(made.table(), "all").paragraph


def test_arms_that_weigh_pairs_by_distance_are_compared_among_themselves(store):
    """Beside those that do not, it would not be told what the choice of pairs did."""
    names = ("cct_soft", "cct_random", "cct_soft_all", "cct_balanced", "soft_all")
    made = Made(store, settings(*(ARMS[name] for name in names), seeds=(1,)))
    made.runs("base", same(before))
    for name in names:
        made.runs(name, same(closer(0.3 if name == "cct_soft" else 0.1)))
    table = experiments.quality_table(store, made.id, "tv")
    recipes = table.groupby("recipe")["arm"].agg(set).to_dict()
    assert sorted(map(sorted, recipes.values())) == [
        ["cct_balanced", "cct_soft_all"], ["cct_random", "cct_soft"]
    ]  # fmt: skip
    (weighed,) = [said for said in recipes if "far pairs count more" in said]
    assert recipes[weighed] == {"cct_soft", "cct_random"}
    over = table.set_index("arm")["over_random"]
    assert over["cct_soft"] > 0 and over.drop("cct_soft").isna().all()
    for name, said in (("cct_soft", "yes"), ("cct_soft_all", "no")):
        text = model_card.card(store, made.id, ARMS[name], 1)
        (row,) = [line for line in text.splitlines() if line.startswith("| Weighted by")]
        assert row.endswith(f"| {said} |")


def test_people_stand_at_the_ceiling_and_at_their_own_diversity(made_store):
    points = experiment.alignment_diversity(made_store.table("emd")).set_index("arm")
    assert list(points["kind"]) == ["people", "base", "calibrated", "own", "own", "own"]
    assert points.loc["people", ["score", "diversity"]].tolist() == [
        made_store.table("emd")["ceiling"].iloc[0], 1.0
    ]  # fmt: skip
    assert points.loc[FLAT, "clear"] and not points.loc[SAME, "clear"]
    # People's own answers are as far apart as people: an arm that gives them stands there too.
    assert experiment.alignment_diversity(made_store.table("emd").head(0)).empty


def test_every_country_s_change_of_an_arm(made_store):
    table = experiments.country_changes(made_store.store, made_store.id, BETTER, "tv")
    scored = table[table["state"] == "scored"]
    assert set(scored["iso3"]) == set(COUNTRIES) and len(table) == len(SURVEY.cultures)
    mean = made_store.table().loc[BETTER, "change"]
    assert scored["value"].mean() == pytest.approx(mean)
    assert not scored["clear"].any()  # 20, 40 and 60%: three such seeds tell little
    one = experiments.one_arm(
        made_store.store, made_store.id, arm(BETTER), 2, "tv", "all", "country"
    )
    assert one.change.value == pytest.approx(made_store.table().loc[BETTER, "by_seed"][1])
    assert one.after - one.before == pytest.approx(one.change.value)


def test_what_one_arm_did_says_whether_it_flattened_countries(made_store):
    table = made_store.table()

    def told(name):
        one = experiments.one_arm(
            made_store.store, made_store.id, arm(name), 2, "tv", "all", "country"
        )
        found = experiments.country_changes(made_store.store, made_store.id, name, "tv")
        said = experiment.change_words(found, one.change, arm(name), one.diversity)
        return one.diversity, said.paragraph

    apart, said = told(FLAT)
    assert apart.before.value == pytest.approx(table.loc["base", "diversity"])
    assert apart.after.value == pytest.approx(table.loc[FLAT, "diversity"], abs=1e-6)
    assert "more alike" in said and "0% as far" in said
    assert "alike" not in told(SAME)[1] and "apart" not in told(SAME)[1]
    assert "apart more" in told(BETTER)[1]


# -- what it cost --------------------------------------------------------------------------------


def test_costs_are_means_over_seeds_and_as_sure_as_prompts_and_seeds_allow(store):
    made_ = Made(store, settings(arm(BETTER), arm(SAME)))
    kind = Kind("sums", "Sums", "", "its sums are wrong more often")
    facts = {"model_name": "m", "precision": "fp32", "seconds": 1.0}
    for seed, moved in zip((1, 2, 3), (-1.0, -2.0, -3.0), strict=True):
        test = made(kind, 50, 80, 80 + moved, Paired(moved, moved - 0.5, moved + 0.5))
        store.keep_abilities(made_.id, BETTER, seed, record([test], [], facts))
    fine = made(kind, 50, 80, 80, Paired(0, -0.5, 0.5))
    store.keep_abilities(made_.id, SAME, 1, record([fine], [], facts))
    better, same_ = experiments.costs(store, made_.id)
    (sums,) = better.tests
    reach = math.hypot(0.5, 4.30265 / math.sqrt(3))
    expected = (-2.0, -2.0 - reach, -2.0 + reach)
    assert (sums.difference, sums.low, sums.high) == pytest.approx(expected, rel=1e-4)
    assert better.seeds == 3 and better.verdict.verdict != NO_WORSE
    assert (same_.seeds, same_.verdict.verdict) == (1, NO_WORSE)
    assert made(kind, 50, 80, 75, Paired(-5, -6, -4)).verdict == WORSE


# -- sure of what it says ------------------------------------------------------------------------


@pytest.mark.slow
def test_95_percent_intervals_over_items_and_seeds_cover_the_truth():
    """Simulated trainings of three seeds, where both seeds and items matter, truth known."""
    countries = ("USA", "KEN", "JPN")
    items = [i for i in SURVEY.items if all((c, i.id) in SURVEY.shares for c in countries)]
    everyone = human_panel(SURVEY, items, countries)
    unknown = np.zeros_like(everyone.n_valid)  # respondents are left out of it
    rng = np.random.default_rng(1)
    lay = everyone.layout
    start = lay.valid * (1 / lay.size[:, None] + rng.gamma(0.3, 0.5, everyone.human.shape))
    start /= start.sum(-1, keepdims=True)
    truth = 10 * distances.total_variation(lay, everyone.human, start).mean()
    hits, times = 0, 80
    for time in range(times):
        rng = np.random.default_rng(time)
        drawn = rng.integers(0, len(items), 60)
        named = tuple(replace(items[i], id=str(k)) for k, i in enumerate(drawn))
        human, base = everyone.human[:, drawn], start[:, drawn]

        def panel(model, named=named, human=human, drawn=drawn):
            chosen = most_likely(model)
            return Panel(named, countries, human, unknown[:, drawn], model, chosen)

        before, pairs = panel(base), []
        for _ in range(3):
            moved = np.clip(rng.normal(0.1, 0.05) + rng.normal(0, 0.1, (1, 60, 1)), -0.9, 0.9)
            pairs.append((before, panel(base + moved * (human - base))))
        found = score.compare_seeds(pairs, "tv", replicates=400, seed=time).change
        hits += found.low <= truth <= found.high
    assert hits / times >= 0.9

"""Scores worked out by hand, what must hold for any answers, and what intervals promise."""

import doctest
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import PluriscopeError
from core.metrics import distances, inglehart_welzel, metrics, references, relations, significance
from core.metrics import panel as metrics_panel
from core.metrics import score as metrics_score
from core.metrics.bootstrap import Bootstrap, bootstrapped, bounds, resampled_people, widened
from core.metrics.metrics import METRICS
from core.metrics.panel import CLUSTERING, Panel, aligned, human_panel, most_likely, one_hot
from core.metrics.rates import format_spread, held, rates
from core.survey.survey import Item, Option, load_bundled

SURVEY = load_bundled()


def item(id="A", size=4, scale="ordinal", off=(), first=1, topic="One"):
    options = tuple(Option(first + k, f"option {first + k}") for k in range(size))
    return Item(id, 0, topic, id, f"Question {id}?", options, scale, off_scale=off)


def panel(items, human, model=None, chosen=None, countries=None, n=1000, **more) -> Panel:
    """human and model: one list of shares per item, for one country or for several."""
    human = human if isinstance(human[0][0], list) else [human]
    model = human if model is None else model if isinstance(model[0][0], list) else [model]
    width = max(len(i.options) for i in items)

    def padded(rows):
        return np.array(
            [[[*cell, *([0.0] * (width - len(cell)))] for cell in country] for country in rows]
        )

    human, model = padded(human), padded(model)
    countries = countries or tuple(f"C{c:02d}" for c in range(len(human)))
    if chosen is None:
        chosen = most_likely(model)
    chosen = np.broadcast_to(np.asarray(chosen), human.shape[:2])
    return Panel(tuple(items), countries, human, np.full(human.shape[:2], n), model, chosen, **more)


def test_the_example_of_a_panel_is_as_it_says():
    given_here = {
        **vars(metrics_panel),
        **{"yes_or_no": item(size=2, scale="binary"), "three_options": item("B", size=3)},
    }
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(Panel, "Panel", globs=given_here):
        runner.run(example)
    assert runner.tries > 5 and runner.failures == 0


def value(p: Panel, name: str) -> float:
    return float(metrics.values(p, name)[0])


# -- by hand -------------------------------------------------------------------------------------


def test_earth_mover_by_hand():
    # Cumulated: .5 .8 1 1 against 0 .2 .5 1: .5 + .6 + .5 = 1.6 steps of 3.
    p = panel([item()], [[0.5, 0.3, 0.2, 0.0]], [[0.0, 0.2, 0.3, 0.5]])
    assert value(p, "emd") == pytest.approx(100 * (1 - 1.6 / 3))


def test_from_one_end_to_the_other_is_as_far_as_it_gets():
    p = panel([item()], [[1.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 1.0]])
    assert value(p, "emd") == pytest.approx(0)
    half_way = panel([item(size=3)], [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    assert value(half_way, "emd") == pytest.approx(50)
    assert value(half_way, "tv") == pytest.approx(0)


def test_an_off_scale_code_counts_in_full_and_the_rest_along_the_scale():
    # On the scale: .8 against .4; off it: .2 against .6; that differs by .4.
    # What both have on it, .4, lies .75/.25 against .5/.5: .25 of one step. .4 + .4 x .25 = .5
    p = panel([item(size=3, off=(3,))], [[0.6, 0.2, 0.2]], [[0.2, 0.2, 0.6]])
    assert value(p, "emd") == pytest.approx(50)


def test_an_off_scale_code_may_come_first_or_hold_everything():
    # All off the scale against all at the low end: nothing in common.
    first = item(size=3, off=(0,), first=0)
    assert value(panel([first], [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]), "emd") == pytest.approx(0)
    # .5 off on both sides, the other .5 from one end of the scale to the other: .5 of the way.
    apart = panel([first], [[0.5, 0.5, 0.0]], [[0.5, 0.0, 0.5]])
    assert value(apart, "emd") == pytest.approx(50)


def test_without_a_scale_the_distance_is_the_share_that_differs():
    nominal = item(scale="nominal")
    p = panel([nominal], [[0.5, 0.3, 0.2, 0.0]], [[0.0, 0.2, 0.3, 0.5]])
    assert value(p, "emd") == value(p, "tv") == pytest.approx(100 * (1 - 0.6))


def test_jensen_shannon_is_in_bits_and_its_distance_is_the_root():
    # p = (1, 0), r = (.5, .5), middle (.75, .25):
    # half of log2(1/.75) + .5 log2(.5/.75) + .5 log2(.5/.25) = half of .41504 - .29248 + .5
    p = panel([item(size=2)], [[1.0, 0.0]], [[0.5, 0.5]])
    assert value(p, "jsd") == pytest.approx(100 * (1 - 0.311278), abs=1e-4)
    assert value(p, "jsdist") == pytest.approx(100 * (1 - math.sqrt(0.311278)), abs=1e-4)
    opposite = panel([item(size=2)], [[1.0, 0.0]], [[0.0, 1.0]])
    assert value(opposite, "jsd") == value(opposite, "jsdist") == pytest.approx(0)


def test_skill_is_a_ratio_of_sums():
    # Item A: model .2 off, an even guess .4 off. Item B: model .5 off, an even guess .1 off.
    # 1 - (.2 + .5) / (.4 + .1) = -.4, not the mean of .5 and -4.
    two = [item("A", 2), item("B", 2)]
    p = panel(two, [[0.9, 0.1], [0.6, 0.4]], [[0.7, 0.3], [0.1, 0.9]])
    assert value(p, "skill") == pytest.approx(-40)


def test_paper_score_by_hand():
    # Answer 2 for 4 on a four-point item, 5 for 1 on a ten-point one:
    # 1 - sqrt(4 + 16) / sqrt(9 + 81) = 1 - 4.4721 / 9.4868
    two = [item("A", 4), item("B", 10)]
    human = [[0.1, 0.1, 0.1, 0.7], [0.91] + [0.01] * 9]
    p = panel(two, human, chosen=[[1, 4]])
    assert value(p, "paper") == pytest.approx(52.86, abs=0.005)
    # Items 0 to 1 first: gaps 2/3 and 4/9. Root of the mean square .5666, mean .5556.
    assert value(p, "paper_item_rms") == pytest.approx(43.34, abs=0.005)
    assert value(p, "paper_item_mae") == pytest.approx(44.44, abs=0.005)
    # The farthest from 4 of 4 is 3 away, from 1 of 10 is 9 away: the same here.
    assert value(p, "paper_achievable") == value(p, "paper")
    # Mean answers .1 + .2 + .3 + 2.8 = 3.4 and 1.45: sqrt(1.4² + 3.55²) = 3.8161
    assert value(p, "paper_mean_gold") == pytest.approx(59.77, abs=0.005)


def test_items_from_zero_span_as_much_as_items_from_one():
    human, chosen = [[0.0, 0.1, 0.9]], [[0]]
    zero = panel([item(size=3, first=0)], human, chosen=chosen)
    assert value(zero, "paper") == value(panel([item(size=3)], human, chosen=chosen), "paper") == 0


def test_codes_with_gaps_are_no_further_apart_than_the_scale_is_long():
    """1, 2, 3 and 9 are four steps like 1, 2, 3 and 4."""
    gaps = replace(item(size=4), off_scale=(9,))
    gaps = replace(gaps, options=(*gaps.options[:3], Option(9, "hard to say")))
    every = [name for name in METRICS if name.startswith("paper")]
    for codes in itertools.product(range(4), repeat=2):
        human = [[0.7 if k == codes[0] else 0.1 for k in range(4)]]
        pair = [panel([one], human, chosen=[[codes[1]]]) for one in (gaps, item(size=4))]
        for name in every:
            assert value(pair[0], name) == value(pair[1], name) >= 0, (codes, name)
        for kind in ("midpoint", "mean_others", "median_others"):
            lines = [references.reference_values(p, "paper", kind) for p in pair]
            assert lines[0] == pytest.approx(lines[1], nan_ok=True)
    score = metrics_score.score(panel([gaps] * 5, [[0.7, 0.1, 0.1, 0.1]] * 5, chosen=[[3, 0, 0, 1,
    2]]),
                          "paper")  # fmt: skip
    # 1 - sqrt(9 + 0 + 0 + 1 + 4) / sqrt(5 · 9)
    assert score.mean.value == pytest.approx(44.22, abs=0.005)
    assert score.mean.low <= score.mean.value <= score.mean.high


def test_what_an_unusable_answer_costs_is_the_named_correction_s_business():
    two = [item("A", 5), item("B", 5)]
    human = [[0.6, 0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1, 0.6]]
    p = panel(two, human, chosen=[[1, -1]], unparsed=np.array([[0.0, 1.0]]))
    assert value(p, "paper") == pytest.approx(75)  # 1 of 4, the other dropped
    # sqrt(1 + 16) / sqrt(32), and with the middle sqrt(1 + 4) / sqrt(32)
    assert value(p, "paper_penalised") == pytest.approx(27.11, abs=0.005)
    assert value(p, "paper_midpoint") == pytest.approx(60.47, abs=0.005)
    helpline = replace(p, chosen=np.array([[1, 0]]), refused=np.array([[0.0, 1.0]]), unparsed=None)
    assert value(helpline, "paper") == pytest.approx(27.11, abs=0.005)  # 1 read for 5
    assert value(helpline, "paper_refusal") == pytest.approx(75)
    unasked = panel(two, human, chosen=[[1, -1]])
    unasked = replace(unasked, model=np.where([[[False], [True]]], np.nan, unasked.model))
    assert value(unasked, "paper_penalised") == pytest.approx(75)  # never asked: no penalty


def test_near_and_exact_match_by_hand():
    # Answer 2 for 4 on a four-point scale: 1 - 2/3. Without a scale, or off it: no match.
    kinds = [item("A"), item("B", scale="nominal"), item("C", off=(4,))]
    p = panel(kinds, [[0.1, 0.1, 0.1, 0.7]] * 3, chosen=[[1, 1, 1]])
    assert metrics.by_item(p, "soft")[0] == pytest.approx([100 / 3, 0, 0])
    assert value(p, "hard") == 0
    right = replace(p, chosen=np.array([[3, 3, 3]]))
    assert value(right, "soft") == value(right, "hard") == 100


def test_benjamini_hochberg_by_hand():
    # Sorted .01 .03 .04 .5, times 4/1 4/2 4/3 4/4: .04 .06 .0533 .5; never above a later one.
    q = significance.benjamini_hochberg(np.array([[0.01, 0.04], [np.nan, 0.03], [0.5, np.nan]]))
    assert q[~np.isnan(q)] == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert np.isnan(q).sum() == 2


def test_refusals_are_rates_and_not_distances():
    four = [item(name) for name in "ABCD"]
    human = [[0.7, 0.1, 0.1, 0.1]] * 4
    p = panel(
        four, human, chosen=[[0, 0, -1, -1]], n=800,
        refused=np.array([[0, 0.5, 1, 0]]), unparsed=np.array([[0, 0, 0, 1.0]]),
    )  # fmt: skip
    found = rates(p, {"C00": 1000})
    assert (found.answered[0], found.refused[0], found.unparsed[0]) == (0.375, 0.375, 0.25)
    assert found.people[0] == pytest.approx(0.2)


def test_answers_off_the_scale_are_a_rate_beside_people_s():
    # Only the second and third item have a code off the scale; people were not asked the third.
    items = [item("A"), item("B", 3, off=(3,)), item("C", 3, off=(3,)), item("D", scale="nominal")]
    human = [[0.7, 0.1, 0.1, 0.1], [0.5, 0.3, 0.2], [math.nan] * 3, [0.25] * 4]
    model = [[0.7, 0.1, 0.1, 0.1], [0.1, 0.5, 0.4], [0.0, 0.0, 1.0], [0.25] * 4]
    found = rates(panel(items, human, model))
    assert found.off_scale[0] == pytest.approx(0.4)
    assert found.people_off_scale[0] == pytest.approx(0.2)
    assert np.isnan(rates(panel(items[:1], human[:1], model[:1])).off_scale[0])


def test_unknown_metric_names_those_there_are():
    with pytest.raises(PluriscopeError, match="emd, tv, skill"):
        metrics.metric("accuracy")


# -- whatever the answers ------------------------------------------------------------------------


def shares(size):
    return (
        st.lists(st.integers(0, 50), min_size=size, max_size=size)
        .filter(lambda counts: sum(counts) > 0)
        .map(lambda counts: [x / sum(counts) for x in counts])
    )


sizes = st.integers(2, 8)
scales = st.sampled_from(["ordinal", "nominal"])


@given(st.data(), sizes, scales, st.sets(st.integers(1, 8), max_size=3))
@settings(max_examples=150)
def test_every_distance_is_a_distance_from_0_to_1(data, size, scale, off):
    one = item(size=size, scale=scale, off=tuple(sorted(off)))
    p, q, r = (data.draw(shares(size)) for _ in range(3))
    for kind in ("emd", "tv", "jsdist"):
        apart = {
            (a, b): distances.item_distance(one, x, y, kind)
            for a, x in enumerate((p, q, r))
            for b, y in enumerate((p, q, r))
        }
        assert all(-1e-12 <= d <= 1 + 1e-12 for d in apart.values())
        assert apart[0, 0] == pytest.approx(0, abs=1e-7)
        assert apart[0, 1] == pytest.approx(apart[1, 0])
        assert apart[0, 2] <= apart[0, 1] + apart[1, 2] + 1e-7
    if p != q:
        assert distances.item_distance(one, p, q) > 0


@given(st.data(), sizes)
@settings(max_examples=100)
def test_renaming_options_never_moves_tv_and_reversing_never_moves_emd(data, size):
    p, r = data.draw(shares(size)), data.draw(shares(size))
    order = data.draw(st.permutations(range(size)))
    shuffled = [p[k] for k in order], [r[k] for k in order]
    one = item(size=size)
    for kind in ("tv", "jsd", "jsdist"):
        assert distances.item_distance(one, *shuffled, kind) == pytest.approx(
            distances.item_distance(one, p, r, kind)
        )
    assert distances.item_distance(one, p[::-1], r[::-1]) == pytest.approx(
        distances.item_distance(one, p, r)
    )


def test_permuting_options_moves_emd():
    p, r = [0.7, 0.2, 0.1, 0.0], [0.0, 0.1, 0.2, 0.7]
    assert distances.item_distance(item(), p, r) == pytest.approx(2.2 / 3)  # .7 + .8 + .7 over 3
    mixed = [p[k] for k in (0, 3, 1, 2)], [r[k] for k in (0, 3, 1, 2)]
    assert distances.item_distance(item(), *mixed) == pytest.approx(0.8 / 3)  # .7 + 0 + .1 over 3


@given(st.data(), st.lists(sizes, min_size=1, max_size=5))
@settings(max_examples=60)
def test_people_themselves_score_100(data, counts):
    items = [item(f"I{k}", size) for k, size in enumerate(counts)]
    p = panel(items, [data.draw(shares(size)) for size in counts])
    for name, of in METRICS.items():
        found = value(p, name)
        if name == "skill" and np.isnan(found):  # all answers even: nothing to be better than
            continue
        if of.kind == "distribution" or name in ("paper", "soft", "hard"):
            assert found == pytest.approx(100, abs=1e-5)


def test_only_the_commonest_answer_is_perfect_for_the_paper_score_and_worse_than_guessing():
    people = human_panel(SURVEY)
    modes = most_likely(people.human)
    p = replace(people, model=one_hot(modes, people.human.shape[2]), chosen=modes)
    assert metrics.values(p, "paper") == pytest.approx(100)
    gap, against = METRICS["skill"].terms(p.layout, p.human, p.guess)
    assert np.nansum(gap) / np.nansum(against) == pytest.approx(1.43, abs=0.01)  # as published
    assert (metrics.values(p, "skill") < 0).all()


def test_scores_use_the_cells_that_people_and_model_both_have():
    two = [item("A"), item("B")]
    p = panel(two, [[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]], [[0.1, 0.1, 0.1, 0.7]] * 2)
    only_b = replace(p, human=np.where([[[True], [False]]], np.nan, p.human))
    assert value(only_b, "emd") == pytest.approx(100)
    assert metrics_score.score(only_b, replicates=0).countries["C00"].items == 1
    nothing = replace(p, human=np.full(p.human.shape, np.nan))
    found = metrics_score.score(nothing, replicates=50)
    assert math.isnan(found.mean.value)
    assert found.countries["C00"].items == 0
    assert np.isnan(metrics.by_item(nothing)).all()


# -- on the bundled survey -----------------------------------------------------------------------


def leaning(countries=None, towards=0.5, seed=0, items="all") -> Panel:
    """A made-up model: part the average of all countries, part its own whims."""
    people = human_panel(SURVEY, SURVEY.select(items), countries)
    rng = np.random.default_rng(seed)
    whims = rng.gamma(0.7, 1, people.human.shape[1:]) * people.layout.valid
    whims /= whims.sum(-1, keepdims=True)
    everyone = np.nanmean(human_panel(SURVEY, people.items).human, axis=0)
    model = np.broadcast_to(towards * everyone + (1 - towards) * whims, people.human.shape)
    return replace(people, model=model, chosen=most_likely(model))


def test_reference_lines_climb_the_published_ladder():
    # Published for 56 countries x 258 items: 0, 46, 53, 60 and 93.
    people = human_panel(SURVEY)
    kinds = ("uniform", "mean_others", "nearest", "nearest5", "ceiling")
    lines = references.references(people, "skill", kinds=kinds)
    assert [lines[kind].mean for kind in kinds] == [
        pytest.approx(expected, abs=1.5) for expected in (0, 46, 53, 60, 93)
    ]
    assert set(lines["nearest"].countries) == set(people.countries)
    # And as distances along the scale: 0.216, 0.107, 0.089, 0.076 and 0.010.
    lines = references.references(people, "emd", kinds=kinds)
    assert [1 - lines[kind].mean / 100 for kind in kinds] == [
        pytest.approx(expected, abs=0.009) for expected in (0.216, 0.107, 0.089, 0.076, 0.010)
    ]


@pytest.mark.parametrize(
    ("kind", "published", "within"),
    [
        ("midpoint", 57.95, 0.15),
        ("median_others", 67.66, 0.15),
        ("random_compatriot", 63.41, 0.4),
        ("ceiling", 92.0, 0.5),
        ("split_half", 88.4, 0.5),
    ],
)
def test_reference_lines_of_the_study_s_countries_land_where_published(kind, published, within):
    # Published for unweighted shares of the same people; the bundled ones are mostly weighted.
    study = tuple(culture.iso3 for culture in SURVEY.cultures if culture.in_culturespa)
    people = human_panel(SURVEY, SURVEY.items, study)
    line = references.references(people, "paper", kinds=[kind])[kind]
    assert line.mean == pytest.approx(published, abs=within)
    assert len(line.countries) == 18


def test_nearest_countries_are_neighbours_one_would_name():
    near = references.nearest(human_panel(SURVEY, SURVEY.select("core")), k=3)
    assert {iso3 for iso3, _ in near["AUS"]} & {"NZL", "GBR", "CAN"}
    assert {iso3 for iso3, _ in near["KEN"]} & {"NGA", "ZWE", "ETH"}
    assert all(iso3 not in [other for other, _ in found] for iso3, found in near.items())


def test_a_score_carries_its_floor_others_and_ceiling_in_that_order():
    found = metrics_score.score(leaning(("USA", "KEN"), items="core"), replicates=300)
    for name in ("USA", "KEN"):
        one = found.countries[name]
        assert one.floor < one.value < one.ceiling < 100
        assert one.low < one.value < one.high
    assert found.mean.value == pytest.approx(np.mean([c.value for c in found.countries.values()]))


def test_others_are_taken_from_the_pool():
    items = SURVEY.select("core")
    pool = human_panel(SURVEY, items)
    alone = leaning(("KEN",), items="core")
    assert math.isnan(metrics_score.score(alone, replicates=0).others)
    with_pool = metrics_score.score(alone, replicates=0, pool=pool).others
    assert with_pool == references.references(pool, kinds=["mean_others"])["mean_others"].countries[
        "KEN"
    ]  # fmt: skip


def test_people_of_unknown_number_have_no_ceiling():
    p = leaning(("KEN",), items="core")
    found = metrics_score.score(replace(p, n_valid=np.zeros_like(p.n_valid)), replicates=100)
    assert math.isnan(found.ceiling)
    assert found.mean.low < found.mean.value < found.mean.high


def test_item_scores_average_to_the_country_s():
    p = leaning(("USA", "KEN"), items="core")
    for name in ("emd", "tv", "skill", "jsd", "soft", "paper_item_mae"):
        assert np.nanmean(metrics.by_item(p, name), axis=1) == pytest.approx(
            metrics.values(p, name)
        )


def test_a_topic_scores_as_a_run_of_that_topic_alone():
    p = leaning(("USA", "KEN"))
    grid = metrics_score.by_topic(p, "paper", replicates=100)
    assert grid.topics == SURVEY.topics
    topic = SURVEY.topics[5]
    alone = p.only(items=[i.id for i in SURVEY.select(topic)])
    assert grid.value[5] == pytest.approx(metrics.values(alone, "paper"))
    assert (grid.low <= grid.value).all()
    assert (grid.value <= grid.high).all()


# -- intervals -----------------------------------------------------------------------------------


def test_a_run_compared_with_itself_is_too_small_to_call():
    p = leaning(("USA", "KEN"), items="core")
    same = metrics_score.compare(p, p, replicates=100)
    assert same.mean == (0, 0, 0, 1, False)
    assert not any(change.clear for change in same.countries.values())


def test_paired_differences_are_surer_than_the_scores_they_come_from():
    a, b = (leaning(("USA", "KEN"), towards) for towards in (0.5, 0.6))
    change = metrics_score.compare(a, b, replicates=500)
    assert change.mean.clear
    assert change.mean.p < 0.01
    assert change.mean.value == pytest.approx(metrics.values(b).mean() - metrics.values(a).mean())
    mean = metrics_score.score(a, replicates=500).mean
    assert change.mean.high - change.mean.low < 0.5 * (mean.high - mean.low)


def test_a_comparison_is_made_on_what_both_runs_asked():
    a = leaning(("USA",), items="core")
    stopped = replace(a, model=a.model.copy(), chosen=a.chosen.copy())
    stopped.model[:, 10:] = np.nan
    stopped.chosen[:, 10:] = -1
    assert metrics_score.compare(a, stopped, replicates=100).mean.value == 0
    fewer = a.only(items=[i.id for i in a.items[:20]])
    with pytest.raises(ValueError, match="aligned"):
        metrics_score.compare(a, fewer)
    assert metrics_score.compare(*aligned(a, fewer), replicates=100).mean.value == 0


def test_a_grid_of_changes_is_corrected_for_its_size():
    a, b = (leaning(("USA", "KEN", "JPN"), towards) for towards in (0.5, 0.7))
    grid = metrics_score.compare_topics(a, b, replicates=1000)
    assert grid.value.shape == (13, 3)
    assert (grid.q >= grid.p).all()
    assert (grid.clear == (grid.q < 0.05)).all()
    assert grid.clear.any()


def test_an_interval_ends_where_the_score_does():
    two = panel([item("A", 2), item("B", 2)], [[0.9, 0.1], [0.1, 0.9]], [[0.8, 0.2], [0.9, 0.1]])
    found = metrics_score.score(two, replicates=200)  # 90 and 20: two items say next to nothing
    assert (found.mean.low, found.mean.high) == (0, 100)
    assert (found.countries["C00"].low, found.countries["C00"].high) == (0, 100)
    assert metrics_score.score(two, "skill", replicates=200).mean.low < 0  # this one may be below
    grid = metrics_score.by_topic(two, replicates=200)
    assert (grid.low[0, 0], grid.high[0, 0]) == (0, 100)


def test_the_same_seed_gives_the_same_interval():
    p = leaning(("USA", "KEN"), items="core")
    assert metrics_score.score(p, replicates=200) == metrics_score.score(p, replicates=200)
    assert (
        metrics_score.score(p, replicates=200).mean
        != metrics_score.score(p, replicates=200, seed=1).mean
    )


def test_respondents_widen_the_interval_where_they_are_few():
    p = leaning(("USA", "KEN"), items="core")
    many, few = (
        metrics_score.score(replace(p, n_valid=np.full(p.n_valid.shape, n)), replicates=1000)
        for n in (5000, 30)
    )
    width = [found.mean.high - found.mean.low for found in (many, few)]
    assert width[1] > 1.05 * width[0]
    assert few.ceiling < many.ceiling


def test_resampling_people_spreads_a_score_without_shifting_it():
    # A sample of 40 people drawn from 40 people lies farther from the model than the 40 do.
    p = leaning(("USA", "KEN"), towards=1.0, items="core")
    p = replace(p, n_valid=np.full(p.n_valid.shape, 40))
    bootstrap = bootstrapped([p], METRICS["emd"], 2000, 0)[0]
    assert bootstrap.drawn.mean(0) == pytest.approx(bootstrap.value, abs=0.15)
    plainly = resampled_people(p, 200, np.random.default_rng(0))
    shifted = metrics.closeness(METRICS["emd"], p.layout, plainly, p.guess).mean(0)
    assert (shifted < bootstrap.value - 0.5).all()


def test_few_items_widen_the_interval_by_student_s_t():
    # 8 equal items: sqrt(8 / 7) x 2.3646 / 1.9600 = 1.2898. Unequal weights 3 1 1 1 1 1 count as
    # 8² / 14 = 4.571 items: sqrt(4.571 / 3.571) x 3.182 / 1.96 = 1.837 (t for 3 degrees).
    def factor(weight):
        return widened(np.zeros(1), np.ones((1, 1)), np.array([weight]))[0, 0]

    assert factor([1.0] * 8) == pytest.approx(1.2898, abs=0.001)
    assert factor([3.0, 1, 1, 1, 1, 1]) == pytest.approx(1.837, abs=0.001)
    assert math.isnan(factor([1.0]))


def test_a_skewed_score_s_interval_is_drawn_out_where_it_falls_short():
    """Of 24 items one in eight has ten points and a wide gap; the rest are yes or no. The few
    gaps make the score as good as it looks or far worse, so the low end has to reach further."""
    kinds = [item(f"A{k}", 10 if k % 8 == 0 else 2) for k in range(24)]
    human = [[1.0, *[0.0] * (len(i.options) - 1)] for i in kinds]
    chosen = [(5, 0, 9)[k // 8] if k % 8 == 0 else k % 2 for k in range(24)]
    p = panel(kinds, human, chosen=[chosen])
    drawn = bootstrapped([p], METRICS["paper"], 2000, 0)[0]
    low, _ = drawn.levels
    assert low < 0.02
    plainly = bounds(widened(drawn.value, drawn.drawn, drawn.weight))
    stretched = bounds(drawn.countries())
    assert stretched[0][0] < plainly[0][0] < drawn.value[0] < stretched[1][0]
    # A plain mean over items is left as it is.
    assert bootstrapped([p], METRICS["hard"], 100, 0)[0].levels == (0.025, 0.975)


def test_stretching_moves_the_ends_of_an_interval_and_nothing_else():
    drawn = np.linspace(-1, 1, 2001)[:, None]
    boot = Bootstrap(METRICS["paper"], (), drawn)
    vars(boot)["levels"] = (0.005, 0.95)
    stretched = boot._stretched(np.zeros(1), drawn)
    low, high = bounds(stretched)
    assert (low[0], high[0]) == (pytest.approx(-0.99), pytest.approx(0.9))
    assert np.median(stretched) == 0
    assert (np.diff(stretched[:, 0]) > 0).all()


def _covers(bootstrap, truth):
    """Share of the countries whose interval holds the truth, and whether the mean's does."""
    low, high = bounds(bootstrap.countries())
    mean_low, mean_high = bounds(bootstrap.mean())
    return ((low <= truth) & (truth <= high)).mean(), mean_low[0] <= truth.mean() <= mean_high[0]


@pytest.mark.slow
def test_95_percent_intervals_cover_the_truth_in_93_to_97_percent_of_surveys():
    """1,000 simulated surveys: 60 items drawn from the bundled ones, 1,000 people each.

    The truth is the score on all items with the bundled shares taken as exact.
    """
    countries = ("USA", "KEN")
    a, b = leaning(countries, 0.5), leaning(countries, 0.7, seed=1)
    asked = ~np.isnan(a.human[..., 0]).any(0)
    a, b = (p.only(items=[i.id for i, k in zip(p.items, asked, strict=True) if k]) for p in (a, b))
    truth, change = metrics.values(a), metrics.values(b) - metrics.values(a)
    rng = np.random.default_rng(0)
    people = a.human / a.human.sum(-1, keepdims=True)
    covered = np.zeros(4)
    for seed in range(1000):
        picked = rng.integers(0, len(a.items), 60)
        drawn = {
            "items": tuple(a.items[k] for k in picked),
            "human": rng.multinomial(1000, people[:, picked]) / 1000,
            "n_valid": np.full((2, 60), 1000),
            "deff": np.ones(2),
        }
        one, other = (
            replace(p, model=p.model[:, picked], chosen=p.chosen[:, picked], **drawn)
            for p in (a, b)
        )
        boots = bootstrapped([one, other], METRICS["emd"], 200, seed)
        covered += [*_covers(boots[0], truth), *_covers(boots[1].less(boots[0]), change)]
    assert (covered / 1000 >= 0.93).all(), covered / 1000
    assert (covered / 1000 <= 0.97).all(), covered / 1000


def test_changes_of_items_by_hand():
    """Three countries, a change of 10, 20 and 30 points: 20 ± 4.303 · 10 / √3."""
    human = [[[x, 1 - x], [0.5, 0.5]] for x in (0.6, 0.7, 0.8)]
    two = [item("A", 2), item("B", 2)]
    before = panel(two, human, [[[0.5, 0.5], [0.5, 0.5]]] * 3)
    after = panel(two, human, human)
    changed, same = metrics_score.compare_items(before, after)
    half = 4.303 * 10 / math.sqrt(3)
    assert changed[:3] == pytest.approx((20, 20 - half, 20 + half), abs=0.01)
    assert same.value == 0 and not same.clear


def test_one_country_s_change_is_told_from_its_respondents():
    """Closeness 100 (1 - |p - .5|) of two options moves by a share's own standard error."""
    p, n = 0.6, 1000
    before = panel([item(size=2)], [[p, 1 - p]], [[0.5, 0.5]], n=n)
    after = panel([item(size=2)], [[p, 1 - p]], [[0.4, 0.6]], n=n)
    (moved,) = metrics_score.compare_items(before, after)
    assert moved.value == pytest.approx(-10)
    # Both distances grow alike with p, so only p below .5 would tell them apart.
    assert moved.low <= -10 <= moved.high and moved.clear
    across = panel([item(size=2)], [[p, 1 - p]], [[0.7, 0.3]], n=n)
    (swing,) = metrics_score.compare_items(before, across)
    # |p - .7| - |p - .5|: people one point up bring one nearer and the other further by one.
    error = 200 * math.sqrt(p * (1 - p) * CLUSTERING / n)
    assert swing.high - swing.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert swing.value == pytest.approx(0) and not swing.clear
    unknown = [replace(x, n_valid=0 * x.n_valid) for x in (before, after)]
    (told,) = metrics_score.compare_items(*unknown)
    assert math.isnan(told.low) and not told.clear


def test_what_seems_to_change_by_chance_is_not_called_clear():
    """Two models that answer like people but for noise: of 100 tables next to none has a change."""
    rng = np.random.default_rng(5)
    items = [item(f"I{k}", 4) for k in range(40)]
    found = 0
    for _ in range(100):
        human = rng.dirichlet(np.full(4, 5.0), (12, 40)).tolist()
        sides = [panel(items, human, rng.dirichlet(np.full(4, 5.0), (12, 40)).tolist())
                 for _ in range(2)]  # fmt: skip
        found += any(one.clear for one in metrics_score.compare_items(*sides))
    assert found <= 12  # q below 0.05 in a table where nothing changed: about 5 of 100


# -- format and relations ------------------------------------------------------------------------


def test_an_answer_held_in_k_of_n_formats():
    found = held([np.array([[0, 1, -1]]), np.array([[0, 2, 1]]), np.array([[0, 1, 1]])])
    assert found.held.tolist() == [[3, 2, 2]]
    assert found.of.tolist() == [[3, 3, 2]]


def test_a_ranking_is_greyed_where_formats_differ_more_than_countries():
    one = item(size=2)
    human = [[[0.9, 0.1]], [[0.8, 0.2]]]
    # Closeness of .9 against .9 and .8: 100 and 90; of .5: 60 and 70.
    formats = [panel([one], human, [[[x, 1 - x]]] * 2) for x in (0.9, 0.5)]
    found = format_spread(formats)
    # Standard deviations 40/√2 and 20/√2; country means 80 and 80 do not differ at all.
    assert found.formats == pytest.approx([40 / math.sqrt(2), 20 / math.sqrt(2)])
    assert found.ratio > 1e6 and found.greyed  # the ranking is about the format alone
    assert not format_spread([formats[0]] * 2).greyed  # the same in both: nothing moves
    single = [panel([one], human[0], [[x, 1 - x]]) for x in (0.9, 0.5)]
    assert not format_spread(single).greyed  # one country is no ranking
    formats = [panel([one], human, [[[x, 1 - x]]] * 2) for x in (0.9, 0.7)]
    # Scores 100, 90 and 80, 90: country means 90 and 90. And with .9 and .88: 99 and 91.
    close = format_spread([formats[0], panel([one], human, [[[0.88, 0.12]]] * 2)])
    assert close.ratio == pytest.approx((2 / math.sqrt(2)) / (8 / math.sqrt(2)))
    assert not close.greyed


def test_personas_that_are_their_country_rank_first_everywhere():
    people = human_panel(SURVEY, SURVEY.select("core"), ("USA", "KEN", "JPN", "BRA"))
    p = replace(people, model=people.human, chosen=most_likely(people.human))
    found = relations.transfer(p)
    assert found.rank.tolist() == found.centred_rank.tolist() == [1, 1, 1, 1]
    assert found.best == people.countries
    assert found.advantage.value > 0
    assert relations.diversity(relations.distances(p)).ratio == pytest.approx(1)
    assert relations.agreement(relations.distances(p)).r == pytest.approx(1)
    assert relations.signal(p).correlation == pytest.approx([1] * 4)
    pool = human_panel(SURVEY, people.items)
    assert relations.transfer(p.only(countries=["KEN"]), pool=pool).rank.tolist() == [1]


def test_a_model_that_ignores_the_country_has_no_diversity():
    p = leaning(("USA", "KEN", "JPN"), items="core")
    # Items a country was not asked drop out, so the average over items is not exactly 0.
    assert relations.diversity(relations.distances(p)).ratio == pytest.approx(0, abs=0.01)
    assert relations.signal(p).spread_model == pytest.approx(0, abs=1e-12)


def test_diversity_by_hand():
    # One yes-or-no item. People say yes by .9 .5 .1: .4 .8 .4 apart, .5333 on average. The model
    # says .6 .5 .4: .1 .2 .1 apart, .1333. A quarter as much, whatever items are drawn.
    yes, model = (0.9, 0.5, 0.1), (0.6, 0.5, 0.4)
    p = panel(
        [item(size=2)], [[[x, 1 - x]] for x in yes], [[[x, 1 - x]] for x in model]
    )  # fmt: skip
    apart = relations.distances(p)
    assert apart.people == pytest.approx(np.array([[0, 0.4, 0.8], [0.4, 0, 0.4], [0.8, 0.4, 0]]))
    found = relations.diversity(apart)
    assert (found.model, found.people) == (pytest.approx(0.4 / 3), pytest.approx(1.6 / 3))
    assert found.ratio == pytest.approx(0.25)
    assert math.isnan(found.low)
    assert not relations.single_answers(p)
    # As single answers: yes, a tie that falls to yes, no; the model says yes, yes, no.
    assert relations.diversity(relations.distances(p, choices=True)).ratio == pytest.approx(1)
    twice = panel(
        [item("A", 2), item("B", 2)],
        [[[x, 1 - x]] * 2 for x in yes],
        [[[x, 1 - x]] * 2 for x in model],
    )
    both = relations.diversity(relations.distances(twice), replicates=100)
    assert (both.low, both.high) == (pytest.approx(0.25), pytest.approx(0.25))


def test_what_two_runs_differ_by_in_diversity_is_paired():
    people = human_panel(SURVEY, SURVEY.select("core"), ("USA", "KEN", "JPN", "BRA"))
    everyone = np.nanmean(people.human, axis=0)
    flat, own = (
        relations.distances(replace(people, model=w * people.human + (1 - w) * everyone))
        for w in (0.5, 0.8)
    )
    change = relations.diversity_change(flat, own, replicates=400)
    assert change.value == pytest.approx(
        relations.diversity(own).ratio - relations.diversity(flat).ratio
    )
    assert change.clear
    assert change.low < change.value < change.high
    same = relations.diversity_change(flat, flat, replicates=100)
    assert (same.value, same.clear) == (0, False)


def test_personas_without_a_country_gain_nothing_on_their_own():
    p = leaning(("USA", "KEN", "JPN"), items="core")
    found = relations.transfer(p, replicates=100)
    assert found.advantage == (pytest.approx(0), pytest.approx(0), pytest.approx(0))
    people = human_panel(SURVEY, p.items, p.countries)
    own = relations.transfer(replace(people, model=people.human), replicates=400)
    assert 0 < own.advantage.low < own.advantage.value < own.advantage.high


def test_countries_that_are_alike_stand_together():
    # On a line at 0, 10, 1, 11 and 5: 0 and 1 join, 10 and 11 join, and 5 goes to the nearer pair
    # (4.5 from the middle of one, 5.5 from that of the other) at its near end.
    at = np.array([0, 10, 1, 11, 5.0])
    order = relations.alike_order(np.abs(at[:, None] - at) / 11)
    assert at[order].tolist() in ([0, 1, 5, 10, 11], [11, 10, 5, 1, 0])
    assert relations.alike_order(np.zeros((1, 1))) == [0]
    assert relations.alike_order(np.zeros((0, 0))) == []


def test_double_centring_takes_out_rows_and_columns():
    # Rows 1 and 5 apart by 4, columns by 1, and 2 more on the diagonal:
    # [[3, 2], [5, 8]]: row means 2.5 6.5, column means 4 5, overall 4.5.
    assert relations.double_centred(np.array([[3.0, 2.0], [5.0, 8.0]])).tolist() == [
        [1.0, -1.0],
        [-1.0, 1.0],
    ]


def test_mantel_by_hand():
    # Distances 1 2 3 against 1 3 2: correlation .5; of the six relabellings three do as well.
    one = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0.0]])
    other = np.array([[0, 1, 3], [1, 0, 2], [3, 2, 0.0]])
    found = relations.mantel(one, other)
    assert found.r == pytest.approx(0.5)
    assert found.p == pytest.approx(0.5, abs=0.03)
    apart = np.random.default_rng(0).random((8, 8))
    apart = apart + apart.T
    assert relations.mantel(apart, 2 * apart + 1) == (pytest.approx(1), pytest.approx(0, abs=0.01))


def test_inglehart_welzel_by_hand():
    # Everyone at the low code of every item: -1 happiness and trust, 1 authority, -1 petition,
    # -1 God, 1, 1, pride 1, post-materialism 1 + 0 + 0, autonomy 1 + 1 - 1 - 1.
    people = human_panel(SURVEY, [SURVEY.item(x) for x in inglehart_welzel.IW_ITEMS], ("USA",))
    low = np.zeros(people.human.shape)
    low[..., 0] = 1
    x = -3.0960 + 0.8579 - 0.1167 + 0.5893 - 0.0766 - 0.1361 + 0.0712 + 0.1147 + 0.8479 - 0.1453
    y = 4.0294 - 0.9937 - 1.0830 - 0.1537 - 0.6918 - 0.0468 + 0.1675 + 0.1422 - 0.5453 + 0.7904
    assert inglehart_welzel.inglehart_welzel(people.items, low)[0] == pytest.approx([x, y])
    # People without the nationality (code 5 of Q254) are left out of pride, not counted as 5.
    pride = [i.id for i in people.items].index("Q254")
    low[0, pride] = np.eye(low.shape[2])[0] * 0.5 + np.eye(low.shape[2])[4] * 0.5
    assert inglehart_welzel.inglehart_welzel(people.items, low)[0] == pytest.approx([x, y])


def test_inglehart_welzel_puts_countries_where_the_published_map_does():
    people = human_panel(SURVEY)
    at = dict(
        zip(
            people.countries,
            inglehart_welzel.inglehart_welzel(people.items, people.human),
            strict=True,
        )
    )
    assert at["JPN"][0] > 1 > at["USA"][0] > 0 > at["NGA"][0]  # secular to traditional
    assert at["NZL"][1] > 2 > at["USA"][1] > 0 > at["RUS"][1]  # self-expression to survival
    assert np.isnan(at["IRQ"]).all()  # importance of God was not asked


def test_a_position_s_spread_by_hand():
    """Two answers that differ only in trust: all trust, and none. The mean of two such draws has
    variance 1/8; two are few, so twice that; times the squares of trust's weights."""
    people = human_panel(SURVEY, [SURVEY.item(x) for x in inglehart_welzel.IW_ITEMS], ("USA",))
    answers = np.zeros((1, len(people.items), 2, people.human.shape[2]))
    answers[..., 0] = 1
    trust = [i.id for i in people.items].index("Q57")
    answers[0, trust, 1] = np.eye(answers.shape[-1])[1]
    found = inglehart_welzel.map_spread(people.items, answers, replicates=4000)[0]
    weight = np.array([0.1167, 1.0830])
    residual = np.diag(np.square([0.054, 0.081]))
    assert found == pytest.approx(np.outer(weight, weight) / 4 + residual, abs=0.02)
    # One answer has no spread of its own; what is left is what the map itself is unsure of.
    alone = inglehart_welzel.map_spread(people.items, answers[:, :, :1], replicates=50)[0]
    assert alone == pytest.approx(residual)
    gone = np.concatenate([answers[:, :, :1], np.full_like(answers[:, :, :1], np.nan)], axis=2)
    assert inglehart_welzel.map_spread(people.items, gone, replicates=50)[0] == pytest.approx(
        residual
    )


def test_an_ellipse_holds_95_percent_of_a_normal_cloud():
    covariance = np.array([[0.5, 0.3], [0.3, 0.4]])
    edge = relations.ellipse(np.array([1.0, 2.0]), covariance)
    away = np.einsum(
        "px,xy,py->p", edge - (1, 2), np.linalg.inv(covariance), edge - (1, 2)
    )  # fmt: skip
    assert away == pytest.approx(np.full(len(edge), 5.991))


def test_the_autonomy_items_that_may_be_missing_hardly_move_a_country():
    people = human_panel(SURVEY)
    without = people.human.copy()
    for item_id in inglehart_welzel.IW_LIGHT:
        at = [i.id for i in people.items].index(item_id)
        without[:, at] = np.nanmean(people.human[:, at], axis=0)
    moved = inglehart_welzel.inglehart_welzel(
        people.items, without
    ) - inglehart_welzel.inglehart_welzel(people.items, people.human)
    assert np.nanmax(np.abs(moved)) < 0.05

"""Which answered questions a prompt shows."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from core.errors import PluriscopeError
from core.prompts.demonstrations import choose_examples
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import render
from core.survey.neighbours import batteries, hold_out, neighbours, similarity
from core.survey.survey import Shares, load_bundled

SURVEY = load_bundled()
TRUST = SURVEY.item("Q57")


def test_countries_are_no_less_alike_than_not_at_all_whatever_the_codes():
    """1, 2, 3 and 9 are four steps: from 1 to 9 is all the way, from 2 to 3 a third of it."""
    first = SURVEY.item("Q1")
    codes = (*first.options[:3], replace(first.options[3], code=9))
    survey = replace(SURVEY, items=(replace(first, options=codes),))
    assert similarity(survey, {"Q1": 1}, {"Q1": 9}) == 0
    assert similarity(survey, {"Q1": 2}, {"Q1": 3}) == 66.7
    assert similarity(survey, {"Q1": 9}, {"Q1": 9}) == 100


@pytest.mark.parametrize("choice", ["similar", "topic", "random"])
def test_examples_are_other_items_the_country_was_asked(choice):
    chosen = choose_examples(SURVEY, TRUST, "CHN", count=20, choice=choice)
    assert len(chosen) == 20
    assert TRUST not in [example.item for example in chosen]
    assert len({example.item.id for example in chosen}) == 20
    for item, code, _ in chosen:
        assert code == item.codes[int(np.argmax(SURVEY.shares["CHN", item.id].values))]
        if choice == "topic":
            assert item.topic == TRUST.topic


def test_the_same_seed_chooses_the_same_by_chance():
    pick = lambda seed: choose_examples(SURVEY, TRUST, "KEN", choice="random", seed=seed)  # noqa: E731
    assert pick(1) == pick(1)
    assert pick(1) != pick(2)


def test_the_opposite_is_the_far_end_of_the_scale():
    # In Kenya the commonest answer to Q57 is 2 (be careful); its opposite is 1.
    item = SURVEY.item("Q59")
    shown = {
        e.item.id: e.code
        for e in choose_examples(SURVEY, item, "KEN", count=20, evidence="opposite")
    }
    assert len(shown) == 20
    commonest = {e.item.id: e.code for e in choose_examples(SURVEY, item, "KEN", count=20)}
    for item_id, code in shown.items():
        codes = SURVEY.item(item_id).codes
        assert code in (codes[0], codes[-1])
        assert abs(code - commonest[item_id]) >= (codes[-1] - codes[0]) / 2


@pytest.mark.parametrize(
    ("item", "commonest", "opposite"),
    [
        ("Q111", 1, 2),  # 3 is "another answer"
        ("Q111", 2, 1),
        ("Q111", 3, 1),  # the commonest on the scale is then 2
        ("Q119", 4, 1),  # 0 is "hard to say"
        ("Q241", 10, 1),  # 0 is "against democracy"
        ("Q241", 5, 10),
        ("Q254", 2, 4),  # 5 is "I do not have that nationality"
    ],
)
def test_the_opposite_lies_on_the_scale(item, commonest, opposite):
    item = SURVEY.item(item)
    values = np.full(len(item.codes), 0.01)
    values[item.codes.index(commonest)] = 0.9
    if commonest == 3:
        values[1] = 0.05
    people = {("KEN", item.id): Shares(values / values.sum(), 100, "weighted")}
    kenya = replace(SURVEY, items=(item, TRUST), shares=people)
    (shown,) = choose_examples(kenya, TRUST, "KEN", evidence="opposite")
    assert (shown.item, shown.code) == (item, opposite)


def test_shares_are_shown_as_percentages():
    examples = choose_examples(SURVEY, TRUST, "KEN", count=1, evidence="shares")
    content = render(
        TRUST, load_prompt_set(), "country_examples", SURVEY.culture("KEN"), examples=examples
    ).messages[1]["content"]
    share = examples[0].shares[0]
    assert f": {share:.0%}" in content.split("Answer: ")[1]


def test_batteries_hold_neighbours_that_share_their_options():
    battery = batteries(SURVEY)
    assert len({battery[f"Q{n}"] for n in range(1, 7)}) == 1  # importance in life
    assert len({battery[f"Q{n}"] for n in range(64, 82)}) == 1  # confidence in institutions
    assert battery["Q57"] != battery["Q58"]
    sizes = Counter(battery.values())
    assert sum(sizes.values()) == 259


@pytest.mark.parametrize("seed", range(4))
def test_what_is_held_out_is_whole_batteries(seed):
    held = set(hold_out(SURVEY, 0.2, seed))
    assert 0.17 < len(held) / len(SURVEY.items) < 0.23
    numbers = batteries(SURVEY)
    assert not {numbers[item] for item in held} & {numbers[i] for i in numbers if i not in held}
    assert hold_out(SURVEY, 0, seed) == ()
    assert hold_out(SURVEY, 0.2, seed) == hold_out(SURVEY, 0.2, seed)
    assert held != set(hold_out(SURVEY, 0.2, seed + 1))
    # However much is held out, of every topic something is left to write new questions after.
    most = set(hold_out(SURVEY, 0.5, seed))
    assert len(most) > len(SURVEY.items) * 0.4
    assert {i.topic for i in SURVEY.items if i.id not in most} == set(SURVEY.topics)


def test_no_example_of_the_own_battery_when_asked_so():
    item, battery = SURVEY.item("Q65"), batteries(SURVEY)
    near = choose_examples(SURVEY, item, "KEN", count=5)
    apart = choose_examples(SURVEY, item, "KEN", count=5, other_batteries=True)
    assert any(battery[e.item.id] == battery["Q65"] for e in near)
    assert all(battery[e.item.id] != battery["Q65"] for e in apart)


def test_no_country_is_both_near_and_far():
    codes = ("KEN", "DEU", "JPN", "BRA", "EGY", "IND", "USA")
    alike = {(iso3, TRUST.id): SURVEY.shares["KEN", TRUST.id] for iso3 in codes}
    cultures = tuple(map(SURVEY.culture, codes))
    small = replace(SURVEY, items=(TRUST,), cultures=cultures, shares=alike)
    found = neighbours(small, "KEN")
    assert [c.iso3 for c in found.near] == ["DEU", "JPN", "BRA"]
    assert [c.iso3 for c in found.far] == ["EGY", "IND", "USA"]


def test_impossible_wishes_are_refused():
    for wish in ({"choice": "best"}, {"evidence": "none"}, {"count": 21}):
        with pytest.raises(PluriscopeError):
            choose_examples(SURVEY, TRUST, "KEN", **wish)

"""Sentences made from numbers, checked against sentences written by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from core import wording
from core.metrics.bootstrap import Difference
from core.survey.survey import Item, Option
from core.views import findings


def scored(*rows, half: float = 1.0) -> pd.DataFrame:
    """rows: (name, region, value, others). Intervals are value ± half; the ceiling is 98."""
    table = pd.DataFrame(rows, columns=["name", "region", "value", "others"])
    return table.assign(
        low=table["value"] - half, high=table["value"] + half, ceiling=98.0, state="scored"
    )


def changes(*rows) -> pd.DataFrame:
    """rows: (name, value, clear)."""
    return pd.DataFrame(rows, columns=["name", "value", "clear"]).assign(state="scored")


def item(scale: str, n: int, off: tuple[int, ...] = ()) -> Item:
    options = tuple(Option(k, f"answer {k}") for k in range(1, n + 1))
    return Item("Q1", 0, "Topic", "Label", "Question?", options, scale, "low", "high", off)


CLEARLY = Difference(4.0, 2.0, 6.0, 0.001, True)
UNCLEAR = Difference(0.4, -1.0, 1.8, 0.6, False)
FOUR = scored(
    ("Kenya", "African-Islamic", 70.0, 75.0),
    ("United States", "English-Speaking", 90.0, 80.0),
    ("Netherlands", "Protestant Europe", 85.0, 80.0),
    ("Brazil", "Latin America", 80.0, 80.0),
)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "under a second"),
        (1, "1 second"),
        (12.4, "12 seconds"),
        (56, "about 1 minute"),
        (119, "about 2 minutes"),
        (3500, "about 1 hour"),
        (4500, "about 1 hour 15 minutes"),
        (5 * 3600, "about 5 hours"),
        (20 * 3600, "about 20 hours"),
        (72 * 3600, "about 3 days"),
        (math.inf, "an unknown time"),
        (math.nan, "an unknown time"),
    ],
)
def test_durations_are_said_as_one_would(seconds, said):
    assert wording.duration(seconds) == said


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (4_200, "4 kB"),
        (25_000_000, "25 MB"),
        (999_700, "1.0 MB"),
        (1_234_000_000, "1.2 GB"),
        (16_060_522_496, "16 GB"),
    ],
)
def test_sizes_have_two_digits_that_count(n, said):
    assert wording.size(n) == said


@pytest.mark.parametrize(
    ("n", "said"), [(1, "1 byte"), (640 * 1024**2, "640 MiB"), (5.3 * 1024**3, "5.3 GiB")]
)
def test_memory_is_counted_in_units_of_1024(n, said):
    assert wording.memory(n) == said


def test_counts_know_their_plurals():
    assert wording.count(1, "question") == "1 question"
    assert wording.count(1204, "question") == "1,204 questions"
    assert wording.count(0, "country", "countries") == "no countries"
    assert wording.count(1, "country", "countries") == "1 country"


def test_lists_end_in_and():
    assert wording.listed([]) == ""
    assert wording.listed(["A"]) == "A"
    assert wording.listed(["A", "B"]) == "A and B"
    assert wording.listed(["A", "B", "C"]) == "A, B and C"
    assert wording.listed(["A", "B", "C"], most=2) == "A, B and 1 other"
    assert wording.listed(["A", "B", "C", "D"], most=1) == "A and 3 others"


def test_countries_take_their_article():
    assert wording.country("United States") == "the United States"
    assert wording.country("Solomon Islands") == "the Solomon Islands"
    assert wording.country("Kenya") == "Kenya"
    assert wording.country("Great Britain") == "Great Britain"


def test_numbers_have_a_real_minus_and_no_minus_nought():
    assert wording.number(-4.25) == "−4.2"
    assert wording.number(-0.04) == "0.0"
    assert wording.number(math.nan) == "–"
    assert wording.signed(4.2) == "+4.2"
    assert wording.signed(0.01) == "0.0"
    assert wording.signed(-1, 0) == "−1"


def test_a_share_that_is_there_is_never_said_to_be_nothing():
    assert wording.percent(0.0) == "0%"
    assert wording.percent(0.001) == "under 1%"
    assert wording.percent(0.999) == "over 99%"
    assert wording.percent(1.0) == "100%"
    assert wording.percent(math.nan) == "–"


def test_a_score_is_read_against_the_ceiling(snapshot):
    assert findings.reading(74.2, 91.4) == snapshot
    assert findings.reading(74.2) == "74 of 100"
    assert findings.reading(math.nan, 91) == "No score yet"


def test_the_way_to_the_ceiling(snapshot):
    # (82 - 50) / (90 - 50) = 0.8
    way = findings.way(82, 50, 90)
    assert way.startswith("80%") and way == snapshot
    assert findings.way(40, 50, 90) == snapshot
    assert findings.way(82, 90, 90) == ""
    assert findings.way(math.nan, 50, 90) == ""


# -- findings ----------------------------------------------------------------------------


def test_nothing_asked_says_what_to_do():
    assert findings.findings() == (findings.QUESTION, findings.NOTHING)
    assert findings.findings(FOUR.iloc[:0], None) == (findings.QUESTION, findings.NOTHING)
    unscored = FOUR.assign(state="not_asked", value=math.nan)
    assert findings.findings(unscored) == (findings.QUESTION, findings.NOTHING)


def test_a_plain_run_alone_names_whom_it_is_like(snapshot):
    # Two of four: 90 and 85. Mean 81.25, others 78.75; 2.5 apart, more than the half width of 1.
    found = findings.findings(FOUR)
    assert found.headline == snapshot
    assert found.paragraph == snapshot


def test_the_nearest_three_are_said_to_share_a_part_of_the_world(snapshot):
    seven = scored(
        *((n, "English-Speaking", v, 80.0) for n, v in
          [("Canada", 90), ("Australia", 90), ("New Zealand", 88)]),
        *((n, "Latin America", 70.0, 80.0) for n in ("Peru", "Chile", "Brazil", "Mexico")),
    )  # fmt: skip
    found = findings.findings(seven)
    # Australia and Canada tie; the alphabet decides.
    assert found.headline.endswith("Australia, Canada and New Zealand")
    assert "English-speaking" in found.paragraph
    assert found.paragraph == snapshot


def test_a_gap_to_the_guess_within_the_interval_is_not_called():
    # Mean 81.25 against 78.75: 2.5 apart; with intervals of ± 3 that is no difference.
    assert (
        "about as much as a guess" in findings.findings(FOUR.assign(low=70.0, high=76.0)).paragraph
    )


def test_a_run_as_people_that_moves_closer(snapshot):
    change = changes(
        ("Kenya", 6.0, True), ("United States", 0.5, False), ("Netherlands", 2.0, True),
        ("Brazil", -3.0, True),
    )  # fmt: skip
    found = findings.findings(FOUR.assign(value=FOUR["value"] - 4), FOUR, change, CLEARLY)
    assert found.headline == snapshot
    assert found.paragraph == snapshot


def test_many_countries_are_counted_and_the_most_moved_named(snapshot):
    names = [f"C{k:02d}" for k in range(12)]
    run = scored(*((n, "Latin America", 70.0, 80.0) for n in names))
    change = changes(*((n, k + 1.0, k >= 5) for k, n in enumerate(names)))
    found = findings.findings(None, run, change, CLEARLY)
    assert found.headline == snapshot
    assert "7 of the 12" in found.paragraph and "C11, C10 and C09" in found.paragraph
    assert found.paragraph == snapshot


def test_gains_and_losses_of_many_are_counted_once_of_how_many(snapshot):
    names = [f"C{k:02d}" for k in range(12)]
    run = scored(*((n, "Latin America", 70.0, 80.0) for n in names))
    change = changes(*((n, k - 5.5, True) for k, n in enumerate(names)))
    said = findings.findings(None, run, change, CLEARLY).paragraph
    assert "6 of the 12" in said and "C11 and C10" in said and "C00 and C01" in said
    assert said == snapshot


def test_every_one_is_every_one(snapshot):
    run = scored(*((n, "Latin America", 80.0, 80.0) for n in "ABCD"))
    up = changes(*((n, k + 1.0, True) for k, n in enumerate("ABCD")))
    assert findings.findings(None, run, up, CLEARLY).paragraph == snapshot
    down = up.assign(value=-up["value"])
    fallen = Difference(-2.5, -4.0, -1.0, 0.001, True)
    found = findings.findings(None, run, down, fallen)
    assert found.headline == snapshot
    assert found.paragraph == snapshot


def test_what_cannot_be_told_is_not_told(snapshot):
    change = changes(*((n, 0.5, False) for n in FOUR["name"]))
    found = findings.findings(None, FOUR, change, UNCLEAR)
    assert found.headline == snapshot
    assert found.paragraph == snapshot


def test_gains_and_losses_that_cancel_are_told_as_both(snapshot):
    change = changes(
        ("Kenya", 6.0, True), ("United States", -6.0, True), ("Netherlands", 2.0, False),
        ("Brazil", -2.0, False),
    )  # fmt: skip
    found = findings.findings(None, FOUR, change, UNCLEAR)
    assert found.headline == snapshot


def test_one_country_is_spoken_of_as_one(snapshot):
    kenya = FOUR.iloc[:1]
    found = findings.findings(kenya)
    assert found.headline == snapshot
    assert found.paragraph == snapshot
    found = findings.findings(None, kenya, changes(("Kenya", 6.0, True)), CLEARLY)
    assert found.paragraph == snapshot
    found = findings.findings(None, kenya, changes(("Kenya", 0.1, False)), UNCLEAR)
    assert found.paragraph == snapshot


def test_two_countries_are_set_against_each_other(snapshot):
    assert findings.findings(FOUR.iloc[:2]).headline == snapshot


def test_a_run_as_people_without_a_plain_one(snapshot):
    found = findings.findings(None, FOUR)
    assert found.headline == snapshot
    assert "  " not in found.paragraph and found.paragraph.endswith("98.0.")


def test_missing_lines_are_left_out(snapshot):
    bare = FOUR.assign(others=math.nan, ceiling=math.nan)
    assert findings.findings(bare).paragraph == snapshot


# -- one question ------------------------------------------------------------------------


def test_a_verdict_counts_steps_along_the_scale(snapshot):
    five = item("ordinal", 5)
    at = np.eye(5)
    # From the first answer to the third, where people are: two steps nearer.
    nearer = findings.verdict(five, at[2], at[0], at[2], "Kenya")
    assert "two steps towards" in nearer and nearer == snapshot
    # Past them: from one step away on one side to two on the other.
    assert findings.verdict(five, at[2], at[1], at[4], "Kenya") == snapshot
    # To the other side, as far as before.
    assert findings.verdict(five, at[2], at[1], at[3], "United States") == snapshot
    assert findings.verdict(five, at[2], at[1], at[1], "Kenya") == "did not move"


def test_a_tenth_of_the_answers_is_a_little(snapshot):
    five = item("ordinal", 5)
    before, after = np.array([1.0, 0, 0, 0, 0]), np.array([0.9, 0.1, 0, 0, 0])
    # 0.1 of the answers one step nearer: a tenth of a step, 0.025 of the scale.
    assert findings.verdict(five, np.eye(5)[4], before, after, "Kenya") == snapshot


def test_off_scale_answers_are_no_step():
    # Three on the scale and one off it: from end to end is two steps, not three.
    four = item("ordinal", 4, off=(4,))
    at = np.eye(4)
    assert "two steps towards" in findings.verdict(four, at[2], at[0], at[2], "Kenya")


def test_without_a_scale_answers_are_counted():
    four = item("nominal", 4)
    people, before = np.array([0, 0, 1.0, 0]), np.array([1.0, 0, 0, 0])
    after = np.array([0.7, 0, 0.3, 0])
    said = "moved 30 in 100 of its answers towards people in Kenya"
    assert findings.verdict(four, people, before, after, "Kenya") == said
    two = item("binary", 2)
    assert findings.verdict(two, [0, 1.0], [1.0, 0], [0.7, 0.3], "Kenya") == said


def test_no_answer_and_nobody_asked_are_said(snapshot):
    three, none = item("ordinal", 3), np.full(3, math.nan)
    at = np.eye(3)
    assert findings.verdict(three, at[0], none, at[1], "Kenya") == snapshot
    assert findings.verdict(three, none, at[0], at[1], "Kenya") == snapshot

"""The CultureSPA study's published figures, from its own recorded answers.

The data (questions, answer proportions, recorded answers) are not part of this repository; the
tests read them from shared/culturespa beside it and are skipped where that folder is absent.
"""

import json
import re
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from core.metrics import metrics, relations
from core.metrics.inglehart_welzel import inglehart_welzel
from core.metrics.panel import Guess, Panel, human_panel, most_likely, one_hot
from core.metrics.references import references
from core.metrics.score import by_zone, compare, score
from core.prompts.demonstrations import choose_examples
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import render
from core.survey.chrf import chrf_ranking, chrf_scores
from core.survey.neighbours import modal_codes, neighbours, similarity
from core.survey.survey import Item, Option, Shares, Survey, load_bundled
from tests.published import RECORDED, STUDY

pytestmark = pytest.mark.skipif(
    not STUDY.is_dir(), reason=f"the CultureSPA study's data are not at {STUDY}"
)

NOT_USED = {*(f"Q{n}" for n in range(260, 291)), "Q223"}
FROM_ZERO = {f"Q{n}" for n in (*range(94, 106), 119, *range(122, 130), *range(241, 250))}


COUNTRIES = list(RECORDED)


def read(name):
    return json.loads((STUDY / name).read_text(encoding="utf-8"))


@cache
def gold():
    return read("proportions_group_by_country.json")


@cache
def survey() -> Survey:
    bundled = load_bundled()
    items = []
    for position, question in enumerate(
        q for q in read("wvs_questions.json") if q["Q_id"] not in NOT_USED
    ):
        first = 0 if question["Q_id"] in FROM_ZERO else 1
        ours = bundled.item(question["Q_id"])
        options = tuple(Option(first + k, text) for k, text in enumerate(question["option_lst"]))
        items.append(
            Item(
                question["Q_id"],
                position,
                ours.topic,
                ours.label,
                question["question"],
                options,
                ours.scale,
                off_scale=ours.off_scale,
            )
        )
    shares = {}
    for iso3 in COUNTRIES:
        for item in items:
            if by_code := gold()[iso3].get(item.id):
                values = np.array([by_code.get(str(code), 0.0) for code in item.codes])
                # Eight cells tie for the commonest answer; the study takes the first in its file.
                values[item.codes.index(int(next(iter(by_code))))] += 1e-9
                n = bundled.shares[iso3, item.id].n_valid
                shares[iso3, item.id] = Shares(values / values.sum(), n, "unweighted")
    cultures = tuple(bundled.culture(iso3) for iso3 in COUNTRIES)
    return Survey("culturespa", "CultureSPA study", "1", tuple(items), cultures, shares)


def first_number(text: str) -> int | None:
    """The study's rule: the first run of digits, if it is 0 to 10."""
    found = re.search(r"\d+", text)
    return int(found[0]) if found and int(found[0]) <= 10 else None


def recorded(files: dict[str, str]) -> Panel:
    """A panel of recorded answers: country -> file."""
    people = human_panel(survey(), countries=tuple(files))
    shape = people.chosen.shape
    chosen, refused, unparsed = np.full(shape, -1), np.zeros(shape), np.zeros(shape)
    for c, name in enumerate(files.values()):
        texts = {row["Q_id"]: row["answer"] for row in read(f"recorded/wvs_result_{name}.json")}
        for i, item in enumerate(people.items):
            number = first_number(texts[item.id])
            if number is None:
                unparsed[c, i] = 1
            else:
                chosen[c, i] = item.codes.index(number)
            # A refusal that names a helpline, 1-800-273-TALK: its first number is no answer.
            refused[c, i] = "1-800-273" in texts[item.id]
    model = one_hot(chosen, people.human.shape[2])
    return replace(people, model=model, chosen=chosen, refused=refused, unparsed=unparsed)


@cache
def plain():
    return recorded({iso3: "culture_unaware_0" for iso3 in COUNTRIES})


@cache
def as_a_person():
    return recorded({iso3: f"culture_aware_{iso3}_0" for iso3 in COUNTRIES})


def near(value):
    return pytest.approx(value, abs=0.005)


@pytest.mark.parametrize("iso3", COUNTRIES)
def test_a_recorded_country_scores_as_the_study_does(iso3):
    expected = RECORDED[iso3]
    for panel, name, value, items in (
        (plain(), "paper", *expected[:2]),
        (as_a_person(), "paper", *expected[2:4]),
    ):
        result = score(panel.only(countries=[iso3]), name, replicates=0).countries[iso3]
        assert result.value == near(value)
        assert result.items == items
    assert metrics.values(as_a_person().only(countries=[iso3]), "paper_refusal") == near(
        expected[4]
    )


@pytest.mark.parametrize(
    "name, plainly, as_person",
    [
        ("paper", 62.36, 66.61),
        ("paper_refusal", 62.36, 66.52),
        ("paper_penalised", 56.64, 64.07),
        ("paper_midpoint", 61.65, 66.22),
        ("paper_common", 62.07, 66.56),
        ("paper_common_penalised", 57.44, 64.94),
        ("paper_no_nominal", 62.44, 66.79),
        ("paper_no_q119", 62.34, 66.59),
        ("paper_item_rms", 53.83, 55.94),
        ("paper_item_mae", 68.54, 70.89),
        ("paper_exact", 40.11, 42.12),
        ("hard", 40.11, 42.12),
        ("paper_achievable", 58.19, 62.95),
        ("paper_mean_gold", 72.94, 76.21),
    ],
)
def test_each_named_correction_gives_its_figure(name, plainly, as_person):
    # Figures have two digits; 0.0055 lets a five in the third fall either way.
    assert metrics.values(plain(), name).mean() == pytest.approx(plainly, abs=0.0055)
    assert metrics.values(as_a_person(), name).mean() == pytest.approx(as_person, abs=0.0055)


def test_continents_score_as_published():
    continents = {c.iso3: c.continent.replace("North ", "").replace("South ", "")
                  for c in survey().cultures}  # fmt: skip
    continents["RUS"] = "Asia"  # the study's grouping
    expected = {
        "America": (63.83, 66.66),
        "Europe": (67.87, 70.06),
        "Asia": (61.36, 65.68),
        "Africa": (53.66, 62.30),
        "Oceania": (67.83, 70.07),
    }
    for panel, column in ((plain(), 0), (as_a_person(), 1)):
        zones = by_zone(panel, continents, "paper")
        assert {zone: interval.value for zone, interval in zones.items()} == {
            zone: pytest.approx(values[column], abs=0.006) for zone, values in expected.items()
        }


@pytest.mark.parametrize(
    "file, iso3, value, items",
    [
        ("self_alignment_American_0", "USA", 63.74, 233),
        ("culture_aware_self_alignment_USA_0", "USA", 66.99, 240),
        ("cross_culture_thinking_self_alignment_USA_0", "USA", 66.83, 255),
        ("cross_culture_thinking_self_alignment_CAN_0", "CAN", 69.55, 259),
    ],
)
def test_recorded_answers_with_examples_score_as_published(file, iso3, value, items):
    result = score(recorded({iso3: file}), "paper", replicates=0).countries[iso3]
    assert (result.value, result.items) == (near(value), items)


def test_the_gain_of_the_persona_is_clear_and_half_the_countries_are_not():
    change = compare(plain(), as_a_person(), "paper", replicates=4000)
    assert change.mean.value == near(4.25)
    assert change.mean.clear
    # Published: 2.1 to 6.5, standard error 1.14 to 1.16; half the width / 1.96 is the error.
    assert (change.mean.high - change.mean.low) / 2 / 1.96 == pytest.approx(1.15, abs=0.08)
    assert sum(country.clear for country in change.countries.values()) == 9


# -- reference lines -----------------------------------------------------------------------------


def fixed(codes):
    """The paper score of always answering `codes`, float64[C, I] or [I], per country."""
    people = human_panel(survey())
    codes = np.broadcast_to(np.asarray(codes, float), people.chosen.shape)
    never = np.zeros(people.chosen.shape, bool)
    empty = np.full(people.human.shape, np.nan)
    guess = Guess(empty, empty, never, never, codes)
    return metrics.closeness(metrics.METRICS["paper"], people.layout, people.human, guess)


def modes():
    """float64[C, I]: each country's commonest answer as a code, NaN where not asked."""
    people = human_panel(survey())
    index = most_likely(people.human)
    codes = people.layout.codes[np.arange(index.shape[1]), np.maximum(index, 0)]
    return np.where(index < 0, np.nan, codes)


@pytest.mark.parametrize(
    "kind, value, within",
    [
        ("midpoint", 57.95, 0.005),
        ("median_others", 67.66, 0.005),
        ("mean_others", 71.59, 0.005),
        # Published from 30 draws, 46.47 and 63.41, whose standard error is about 0.15; these are
        # the scores of the expected gaps.
        ("uniform", 46.47, 0.3),
        ("random_compatriot", 63.41, 0.4),
        # Published with another design effect: 92.0, and 88.4 for halves.
        ("ceiling", 92.0, 0.5),
        ("split_half", 88.4, 0.5),
    ],
)
def test_reference_lines_land_where_published(kind, value, within):
    lines = references(plain(), "paper", kinds=[kind])
    assert lines[kind].mean == pytest.approx(value, abs=within)


def test_the_line_of_the_other_countries_is_a_median_where_one_answer_counts():
    assert score(plain(), "paper", replicates=0).others == near(67.66)
    average = references(plain(), "emd", kinds=["mean_others"])["mean_others"].mean
    assert score(plain(), "emd", replicates=0).others == pytest.approx(average, abs=0.01)


def test_predictors_without_a_model_score_as_published():
    codes = human_panel(survey()).layout.codes
    last = codes.max(1)
    assert fixed(last).mean() == near(30.34)
    assert fixed(codes[:, 0]).mean() == near(39.36)
    assert fixed(np.floor((codes[:, 0] + last) / 2)).mean() == near(58.09)
    assert fixed(modes()[0])[1:].mean() == near(63.44)  # the USA's, for everyone else
    assert fixed(modes()).mean() == near(100)
    means = np.full(modes().shape, np.nan)
    for c, iso3 in enumerate(COUNTRIES):
        for i, item in enumerate(survey().items):
            if by_code := gold()[iso3].get(item.id):
                total = sum(by_code.values())
                means[c, i] = sum(int(k) * share for k, share in by_code.items()) / total
    assert fixed(np.floor(means + 0.5)).mean() == near(76.20)


def test_the_commonest_of_the_others_commonest_answers_scores_as_published():
    counted = np.array(
        [
            [
                # a tie falls to the country named first
                Counter(x for x in np.delete(column, c) if not np.isnan(x)).most_common(1)[0][0]
                for column in modes().T
            ]
            for c in range(len(COUNTRIES))
        ]
    )
    assert fixed(counted).mean() == near(64.62)


# -- nearest countries and questions -------------------------------------------------------------


def test_all_306_similarities_are_the_study_s():
    published = read("country_similarity.json")
    answers = {iso3: modal_codes(survey(), iso3) for iso3 in COUNTRIES}
    ours = {
        one: {
            other: similarity(survey(), answers[one], answers[other])
            for other in COUNTRIES
            if other != one
        }
        for one in COUNTRIES
    }
    assert sum(map(len, published.values())) == 306
    assert ours == published


def test_all_291_lists_of_similar_questions_are_the_study_s():
    questions = read("wvs_questions.json")
    ids = [q["Q_id"] for q in questions]
    ranking = chrf_ranking([q["question"] for q in questions])
    ours = {
        ids[this]: [ids[other] for other in others if ids[other] not in NOT_USED]
        for this, others in enumerate(ranking)
    }
    published = read("self_alignment_examples.json")
    assert len(published) == 291
    assert ours == published


def test_the_countries_near_and_far_are_the_study_s():
    published = read("country_similarity.json")
    for iso3, likeness in published.items():
        near = sorted(likeness, key=lambda other: -likeness[other])[:3]
        far = sorted(likeness, key=likeness.get)[:3]
        found = neighbours(survey(), iso3)
        assert [[c.iso3 for c in side] for side in found] == [near, far], iso3
    # Great Britain and the Netherlands are as far from China; the study names the first.
    china = neighbours(survey(), "CHN")
    assert [c.iso3 for c in (*china.near, *china.far)] == ["RUS", "UKR", "ETH", "BRA", "NZL", "GBR"]


@pytest.mark.parametrize("iso3", COUNTRIES)
def test_the_examples_are_the_study_s(iso3):
    published = read("self_alignment_examples.json")
    commonest = modal_codes(survey(), iso3)
    for item in survey().items:
        asked = [other for other in published[item.id] if other in commonest][:5]
        shown = choose_examples(survey(), item, iso3)
        assert [(e.item.id, e.code) for e in shown] == [(one, commonest[one]) for one in asked]


REAL = "You are a real person with "
FILL = (
    " Please fill out the World Values Survey and answer the questions honestly according to your "
    "own value system."
)
THINK = (
    " Before you respond, take a moment to think about how American culture is similar to "
    "Canadian, British, and New Zealand cultures, and how American culture is different from "
    "Zimbabwean, Nigerian, and Indian cultures."
)
PLAIN, AMERICAN = f"{REAL}your own set of values.", f"{REAL}an American cultural background."
CHOOSE = (
    "Given a #Question and #Options, choose the option that best aligns with your own value "
    "system to answer the question."
)
NUMBER_ONLY = "Please return the number of the selected option only."


def study_s_words(item_id: str) -> tuple[str, str]:
    """A question and its options as the study's prompts show them."""
    (record,) = [q for q in read("wvs_questions.json") if q["Q_id"] == item_id]
    first = 0 if item_id in FROM_ZERO else 1
    options = " ".join(f"{n}.{text}" for n, text in enumerate(record["option_lst"], first))
    return record["question"], options


def asked_as_the_study(item_id: str, shown: bool) -> str:
    question, options = study_s_words(item_id)
    if not shown:
        return f"{CHOOSE}\n#Question: {question}\n#Options: {options}\n{NUMBER_ONLY}"
    lines = []
    gold_usa = gold()["USA"]
    usable = [q for q in read("self_alignment_examples.json")[item_id] if gold_usa.get(q)]
    for other in usable[:5]:
        text, choices = study_s_words(other)
        code = next(iter(gold_usa[other]))  # the file names the commonest first
        answer = next(c for c in re.split(r" (?=\d+\.)", choices) if c.startswith(f"{code}."))
        lines.append(f"Question: {text} Options: {choices} Answer: {answer}")
    return (
        f"{CHOOSE}\nHere are some answered questions, which can reflect your value system:\n"
        + "\n".join(lines)
        + f"\nBelow are the #Question and #Options. {NUMBER_ONLY}\n#Question: {question}\n"
        f"#Options: {options}\n#Answer:"
    )


@pytest.mark.parametrize(
    ("method", "system", "shown"),
    [
        ("plain", PLAIN + FILL, False),
        ("country", AMERICAN + FILL, False),  # P1
        ("cross_culture", AMERICAN + FILL + THINK, False),  # P2
        ("examples", PLAIN + FILL, True),  # P3
        ("country_examples", AMERICAN + FILL, True),  # P1 + P3
        ("cross_culture_examples", AMERICAN + FILL + THINK, True),  # P2 + P3
    ],
)
@pytest.mark.parametrize("item_id", ["Q57", "Q119", "Q164", "Q250"])
def test_every_prompt_is_the_study_s_word_for_word(method, system, shown, item_id):
    usa, item = survey().culture("USA"), survey().item(item_id)
    prompt = render(
        item,
        load_prompt_set(STUDY / "prompts.json"),
        method,
        usa,
        neighbours=neighbours(survey(), "USA"),
        examples=choose_examples(survey(), item, "USA"),
    )
    assert [m["content"] for m in prompt.messages] == [system, asked_as_the_study(item_id, shown)]


def test_all_pairs_chrf_is_sacrebleu_s_to_the_last_bit():
    from sacrebleu.metrics import CHRF

    texts = [
        *(item.question for item in load_bundled().select("core")[:20]),
        *("Yes", "", "(hi) — 'there'", "a b  c", "١ ٢ ٣", "no!", "!no"),
    ]
    sacrebleu = CHRF(word_order=2)
    expected = [[sacrebleu.sentence_score(a, [b]).score for b in texts] for a in texts]
    assert chrf_scores(texts).tolist() == expected


# -- culture signal ------------------------------------------------------------------------------


def test_most_personas_fit_the_usa_or_canada_better_than_their_own_country():
    found = relations.transfer(as_a_person(), "paper", replicates=2000)
    published = [2, 1, 13, 12, 4, 3, 5, 5, 9, 10, 13, 9, 15, 18, 16, 9, 7, 3]
    assert found.rank.tolist() == published
    assert Counter(iso3 in ("USA", "CAN") for iso3 in found.best) == {True: 17, False: 1}
    assert found.best[COUNTRIES.index("ZWE")] == "UKR"
    # and once what all personas and all countries share is taken out
    assert found.advantage.value == pytest.approx(2.1, abs=0.05)
    assert (found.centred_rank <= 3).sum() == 7


def test_own_ranks_on_the_items_asked_everywhere():
    asked = ~np.isnan(as_a_person().human[..., 0]).any(0)
    assert asked.sum() == 211
    everywhere = [item.id for item, there in zip(survey().items, asked, strict=True) if there]
    ranks = relations.transfer(as_a_person().only(items=everywhere), "paper_refusal").rank
    published = [2, 1, 13, 11, 5, 3, 4, 4, 10, 10, 13, 9, 14, 15, 13, 9, 7, 3]
    assert ranks.tolist() == published


def test_personas_differ_less_than_half_as_much_as_people_but_in_the_right_directions():
    assert relations.single_answers(as_a_person())
    apart = relations.distances(as_a_person(), choices=True)
    spread = relations.diversity(apart, replicates=1000)
    assert spread.ratio == pytest.approx(0.45, abs=0.005)
    assert 0.38 < spread.low < spread.ratio < spread.high < 0.52
    assert relations.agreement(apart).r == pytest.approx(0.70, abs=0.015)
    found = relations.signal(as_a_person(), choices=True)
    # Published over 206 items with unordered ones among them: 0.157, 0.108 and 0.228.
    assert found.correlation.mean() == pytest.approx(0.157, abs=0.01)
    assert found.spread_model == pytest.approx(0.108, abs=0.005)
    assert found.spread_people == pytest.approx(0.228, abs=0.005)


def test_one_answer_per_item_flies_off_the_inglehart_welzel_map():
    # Published: the Australian persona's single answers give 4.95, the country is at 2.33.
    at = COUNTRIES.index("AUS")
    items = as_a_person().items
    persona = inglehart_welzel(items, as_a_person().model)[at]
    people = inglehart_welzel(items, as_a_person().human)[at]
    assert persona[1] == near(4.95)
    assert people[1] == near(2.33)

"""The bundled survey and the exact text a model sees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PluriscopeError
from core.prompts.methods import METHODS
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import is_numeric, option_orders, render
from core.survey.neighbours import Neighbours
from core.survey.survey import load_bundled, load_snapshot, save_snapshot

SURVEY = load_bundled()
PROMPTS = load_prompt_set()
KENYA = SURVEY.culture("KEN")


def test_the_bundle_holds_what_its_readme_says():
    assert len(SURVEY.items) == 259
    assert len(SURVEY.cultures) == 61
    assert len(SURVEY.core_ids) == 52
    assert len(SURVEY.shares) == 15_617
    assert sum(culture.in_culturespa for culture in SURVEY.cultures) == 18
    assert len(SURVEY.topics) == 13


def test_shares_add_up_to_one_and_follow_the_codes():
    assert all(np.isclose(cell.values.sum(), 1) for cell in SURVEY.shares.values())
    # shares.csv: AND,Q1,1,0.895418 and AND,Q1,2,0.096614
    assert SURVEY.shares["AND", "Q1"].values[:2] == pytest.approx([0.895418, 0.096614], abs=1e-6)


@pytest.mark.parametrize(
    ("which", "count"), [("core", 52), ("all", 259), ("Economic Values", 6), ("Q57, Q1", 2)]
)
def test_sets_of_items(which, count):
    assert len(SURVEY.select(which)) == count


def test_unknown_items_and_countries_are_named():
    with pytest.raises(PluriscopeError, match="Q999"):
        SURVEY.select("Q999")
    with pytest.raises(PluriscopeError, match="XXX"):
        SURVEY.culture("XXX")


def test_a_snapshot_reads_back_the_same(tmp_path):
    save_snapshot(SURVEY, tmp_path / "survey.json")
    again = load_snapshot(tmp_path / "survey.json")
    assert again.items == SURVEY.items
    assert again.cultures == SURVEY.cultures
    assert np.array_equal(again.shares["KEN", "Q57"].values, SURVEY.shares["KEN", "Q57"].values)


def test_the_prompt_of_a_country_word_for_word(snapshot):
    system, user = render(SURVEY.item("Q57"), PROMPTS, "country", KENYA).messages
    assert "Kenya" in system["content"] and system["content"] == snapshot
    assert "1. Most people" in user["content"] and user["content"] == snapshot


def test_plain_prompts_name_no_country():
    for item in SURVEY.items:
        system, user = render(item, PROMPTS, "plain").messages
        assert "country:" not in system["content"]
        assert "{" not in system["content"] + user["content"]


@given(st.sampled_from(SURVEY.items), st.sampled_from(["given", "both", "reversed", "cyclic"]))
def test_every_order_shows_every_option_once(item, orders):
    some = option_orders(item, orders)
    assert len(some) > 0
    for order in some:
        prompt = render(item, PROMPTS, order=order)
        assert sorted(prompt.codes) == sorted(item.codes)
        assert len(set(prompt.labels)) == len(item.options)
        assert prompt.codes == tuple(item.codes[index] for index in order)
        if is_numeric(item):
            assert prompt.labels == tuple(str(code) for code in prompt.codes)
        else:  # numbered anew from the top
            assert list(prompt.labels) == [str(code) for code in sorted(item.codes)]


def test_texts_of_others_are_never_filled_in():
    """A question that contains a placeholder's name is shown as it is."""
    from core.asking.settings import own_item

    item = own_item("Is {country} a {options} word?", ["Yes {question}", "No"])
    content = render(item, PROMPTS, "country", KENYA).messages[1]["content"]
    assert "Is {country} a {options} word?" in content
    assert "1. Yes {question}" in content


def test_cross_culture_thinking_names_three_near_and_three_far():
    near = tuple(SURVEY.culture(code) for code in ("ZWE", "NGA", "ETH"))
    far = tuple(SURVEY.culture(code) for code in ("NLD", "AUS", "NZL"))
    content = render(
        SURVEY.item("Q57"), PROMPTS, "cross_culture", KENYA, neighbours=Neighbours(near, far)
    ).messages[0]["content"]
    assert "Zimbabwe, Nigeria and Ethiopia" in content
    assert "Netherlands, Australia and New Zealand" in content


def test_methods_that_need_a_country_say_so():
    for name, method in METHODS.items():
        if method.needs_culture:
            with pytest.raises(PluriscopeError, match="needs a country"):
                render(SURVEY.item("Q57"), PROMPTS, name)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[" * 200_000, "is not a prompt set"),
        ("{", "is not a prompt set"),
        ("[]", "is not a prompt set"),
        (" " * 1_000_001, "larger than 1 MB"),
        ('{"texts": ["a"]}', "has to hold texts by name"),
        ('{"texts": {"plain_system": 1}}', "has to hold texts by name"),
        ('{"texts": {}}', "lacks the texts"),
        ('{"system": {"en": "a"}}', "lacks texts of the CultureSPA"),
        ('{"system": [], "user": 3}', "lacks texts of the CultureSPA"),
    ],
)
def test_a_file_that_is_no_prompt_set_is_refused(tmp_path, content, sentence):
    path = tmp_path / "mine.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(PluriscopeError, match=sentence):
        load_prompt_set(path)
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(PluriscopeError, match="cannot be read"):
        load_prompt_set(tmp_path / "folder.json")


def test_a_changed_word_is_another_prompt_set():
    from dataclasses import replace

    changed = {**PROMPTS.texts, "plain_system": PROMPTS.texts["plain_system"] + " "}
    assert replace(PROMPTS, texts=changed).sha256 != PROMPTS.sha256

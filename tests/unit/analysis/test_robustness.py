"""How far answers hold over wordings and orders: planned, counted, said, drawn in grey."""

import json
from dataclasses import replace

import numpy as np
import pytest

from core.__main__ import main
from core.analysis import robustness, scores
from core.analysis.derived_runs import make
from core.errors import PluriscopeError
from core.figures import base, rankings
from core.metrics import metrics
from core.prompts.methods import METHODS
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import render
from core.prompts.translations import PROMPT_BLANKS, check_prompts
from core.store.store import Store
from core.survey.survey import load_bundled
from core.views import runs, score_records, tables
from tests.formats import WORDINGS, by_place, fill

SURVEY = load_bundled()


# -- the wordings ----------------------------------------------------------------------------------


def test_the_wordings_have_the_same_texts_and_blanks_and_share_no_sentence():
    sets = [load_prompt_set(name) for name in WORDINGS]
    assert len({one.sha256 for one in sets}) == 3
    for one in sets:
        assert one.texts.keys() == sets[0].texts.keys() and one.id in WORDINGS
        check_prompts(one.texts, "en")
    for key in PROMPT_BLANKS:
        assert len({one.texts[key] for one in sets}) == 3, key


def test_every_wording_names_the_country_shows_every_label_and_leaves_no_blank():
    kenya, item = SURVEY.culture("KEN"), SURVEY.item("Q46")
    for name in WORDINGS:
        for method in ("plain", "country"):
            prompt = render(item, load_prompt_set(name), method, kenya)
            text = " ".join(message["content"] for message in prompt.messages)
            assert ("Kenya" in text) == METHODS[method].needs_culture
            assert all(label in text for label in prompt.labels) and "{" not in text


# -- on a store: answers made by hand --------------------------------------------------------------


@pytest.fixture
def asked(tmp_path):
    """Three wordings by two orders. Q57: 1 in every format but one; Q164 always 10 in Germany and
    in Kenya 1 in half of the formats."""
    store = Store(tmp_path)
    yield store, fill(store)
    store.close()


def test_one_asking_has_a_run_for_each_method_in_each_wording(asked):
    store, _ = asked
    (asking,) = runs.askings(store)
    assert len(asking.runs) == 6 and runs.wordings(asking) == list(WORDINGS)
    assert len({run.name for run in asking.runs}) == 6
    shown = runs.by_method(asking)
    assert [run.settings.prompt_set for run in shown.values()] == ["pluriscope"] * 2
    part = runs.in_wording(asking, "pluriscope-c")
    assert {run.settings.prompt_set for run in part.runs} == {"pluriscope-c"}
    assert len(runs.listed_names([asking])) == 6


def test_an_answer_held_in_k_of_n_formats(asked, snapshot):
    store, _ = asked
    (asking,) = runs.askings(store)
    table = runs.held(store, asking, "country").set_index(["iso3", "item"])
    assert set(table["of"]) == {6}
    assert table["held"].to_dict() == {
        ("DEU", "Q57"): 5, ("DEU", "Q164"): 6, ("KEN", "Q57"): 5, ("KEN", "Q164"): 3
    }  # fmt: skip
    plain = runs.held(store, asking, "plain")
    assert list(plain["iso3"]) == ["", ""] and list(plain["held"]) == [5, 6]
    kenya = table.reset_index().query("iso3 == 'KEN' and item == 'Q57'")
    assert robustness.held_words(kenya) == snapshot
    every = robustness.held_words(table.reset_index())
    assert every == snapshot  # 19 / 4


def test_the_format_spread_is_that_of_the_scores_of_single_formats(asked):
    store, made = asked
    (asking,) = runs.askings(store)
    found = runs.format_spread(store, asking, "country")
    assert (found.wordings, found.formats) == (3, 6)
    by_hand = np.array(
        [
            metrics.values(scores.panel(store, run, number=number))
            for run in made
            if run.method == "country"
            for number in (0, 1)
        ]
    )
    assert list(found.countries.values()) == pytest.approx(by_hand.std(0, ddof=1))
    assert found.between == pytest.approx(np.std(by_hand.mean(0), ddof=1))
    assert found.greyed == (found.mean > found.between)
    # The average over orders is what the run itself scores.
    whole = scores.panel(store, made[1]).model
    single = [scores.panel(store, made[1], number=number).model for number in (0, 1)]
    assert whole == pytest.approx(np.mean(single, axis=0), nan_ok=True)


def test_both_orders_of_one_wording_are_two_formats_and_one_order_is_no_spread(asked):
    store, made = asked
    (asking,) = runs.askings(store)
    one = runs.in_wording(asking, "pluriscope")
    found = runs.format_spread(store, one, "country")
    assert (found.wordings, found.formats) == (1, 2)
    assert robustness.spread_words(found).startswith("Asked with 2 orders")
    assert set(runs.held(store, one, "country")["of"]) == {2}
    stored = json.dumps({**json.loads(made[1].stored), "orders": "given"})
    given = replace(made[1], stored=stored)
    assert runs.format_spread(store, one._replace(runs=(given,)), "country") is None
    assert robustness.record(store, [given]) == {"format_spread": None, "held": None}
    with pytest.raises(PluriscopeError, match="one order"):
        robustness.spread(store, [given])


def test_a_ranking_by_place_alone_is_grey(tmp_path):
    store = Store(tmp_path)
    plain, country = by_place(store)
    (asking,) = runs.askings(store)
    for run in (plain, country):
        found = runs.format_spread(store, asking, run.method)
        assert found.between == pytest.approx(0) and found.greyed
    first = SURVEY.shares["KEN", "Q57"].values[0]
    # Scores 100 p and 100 (1 - p): their standard deviation.
    assert found.countries["KEN"] == pytest.approx(100 * abs(1 - 2 * first) / np.sqrt(2))
    record = score_records.score_record(store, country.id)
    assert record["format_spread"]["greyed"] and record["format_spread"]["formats"] == 2
    assert record["held"] == {"mean": 1.0, "of": 2.0}  # the other option in the other order
    assert "more than countries" in score_records.score_words(record)
    table = tables.spread_table(store, country).set_index("iso3")
    assert table["greyed"].all() and table.loc["KEN", "spread"] == found.countries["KEN"]
    assert table.loc["", "spread"] == found.mean
    assert tables.held_table(store, country)[["held", "of"]].to_numpy().tolist() == [[1, 2]] * 2
    store.close()


def test_an_unsteady_ranking_is_grey_and_says_why(asked):
    store, made = asked
    spread = robustness.Spread(3, 6, {}, 2.5, 1.0, True)
    assert "so it is drawn in grey" in robustness.spread_words(spread)
    assert "grey" not in robustness.spread_words(spread._replace(greyed=False, between=5.0))
    table = scores.closeness(store, made[1])
    grey, plain = (
        json.dumps(rankings.closeness_bars(table, muted=muted).figure.to_plotly_json(), default=str)
        for muted in (True, False)
    )
    colour = base.series("country").colour
    assert colour in plain and colour not in grey
    assert base.palette(False).too_small in grey and "too unsteady to rank" in grey


def test_each_wording_is_derived_from_its_own(asked):
    store, made = asked
    wishes = [{"make": "amplified", "alpha": 1.0}]
    derived_runs = make(store, made, wishes)
    assert [run.settings.prompt_set for run in derived_runs] == list(WORDINGS)
    assert {run.group for run in derived_runs} == {made[0].group}
    (asking,) = runs.askings(store)
    assert runs.by_method(asking)["amplified"].settings.prompt_set == "pluriscope"


def test_several_wordings_on_the_command_line(home, tiny_model, capsys):
    ask = ["ask", "--model", str(tiny_model), "--precision", "fp32", "--countries", "KEN,DEU"]
    wordings = ["--prompts", ",".join(WORDINGS[:2]), "--methods", "country"]
    assert main([*ask, *wordings, "--items", "Q57,Q164", "--json"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])["runs"][0]["id"]
    assert main(["robustness", "--run", first, "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["formats"] == 4 and set(record["countries"]) == {"KEN", "DEU"}
    assert {row["of"] for row in record["held"]} == {4}
    assert main([*ask, *wordings, "--language", "de"]) == 2

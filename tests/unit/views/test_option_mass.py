"""How much of what a model would say is one of the options, and where little of it is said."""

import pytest

from core.analysis import option_mass
from core.inference.label_rules import LABEL, NOT_CONTINUED, SINGLE, TURN, WHOLE
from core.views import compare, items, provenance, runs, score_records, tables
from tests.filled import weighed

TWO = [("KEN", "Q1"), ("KEN", "Q57")]


def test_mass_is_the_mean_of_a_run_a_country_or_an_item(store):
    run = weighed(
        store,
        {("KEN", "Q1"): 0.2, ("KEN", "Q57"): 0.4, ("DEU", "Q1"): 0.9, ("DEU", "Q57"): 0.9},
    )
    assert option_mass.mass_of(store, run) == pytest.approx(0.6, abs=1e-6)
    assert option_mass.mass_of(store, run, "KEN") == pytest.approx(0.3, abs=1e-6)
    assert option_mass.mass_of(store, run, item="Q1") == pytest.approx(0.55, abs=1e-6)
    assert option_mass.mass_of(store, run, "BRA") is None
    table = tables.score_table(store, run, "emd").set_index("iso3")["mass"]
    assert table.to_dict() == pytest.approx({"": 0.6, "KEN": 0.3, "DEU": 0.9}, abs=1e-6)


def test_little_is_said_wherever_a_score_or_a_share_is(store):
    low, high = (weighed(store, dict.fromkeys(TWO, mass)) for mass in (0.02, 0.97))
    assert "2%" in option_mass.low_words(0.02) and option_mass.low_words(0.97) == ""
    assert "2%" in option_mass.low_note(store, low)
    assert option_mass.low_note(store, high) == ""
    both = option_mass.low_note(store, low, high)
    assert "2%" in both and "97%" not in both
    assert "2%" in compare.rates_finding(compare.rates(store, low)).headline
    assert "2%" not in compare.rates_finding(compare.rates(store, high)).headline
    record = score_records.score_record(store, low.id)
    assert record["mass"] == pytest.approx(0.02, abs=1e-6)
    assert "2%" in score_records.score_words(record)
    assert provenance.card(store, low)["mass"] == pytest.approx(0.02, abs=1e-6)
    assert any("2%" in fact.value for fact in provenance.provenance(store, low))
    table = items.item_table(store, low)
    assert set(items.arranged(table, only=[items.ONLY[-1]])["item"]) == {"Q1", "Q57"}
    assert items.arranged(items.item_table(store, high), only=[items.ONLY[-1]]).empty


def test_runs_of_two_rules_are_not_compared_silently(store, snapshot):
    new = weighed(store, dict.fromkeys(TWO, 0.9), label_rule=LABEL, scored=NOT_CONTINUED)
    old = weighed(store, dict.fromkeys(TWO, 0.9), label_rule=TURN, scored=WHOLE)
    assert runs.rule_words(store, new, new) == ""
    assert runs.rule_words(store, new, old) == snapshot


def test_both_rules_are_one_where_each_label_is_a_token(store):
    new, old = (
        weighed(store, dict.fromkeys(TWO, 0.9), label_rule=rule, scored=SINGLE)
        for rule in (LABEL, TURN)
    )
    assert runs.rule_words(store, new, old) == ""

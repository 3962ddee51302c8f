"""An option is one field: its flag, default and help are made of it."""

import argparse
from dataclasses import dataclass

import pytest

from core import options
from core.errors import PluriscopeError
from core.jobs.choices import AskChoices, TuneChoices
from core.options import option


@dataclass(frozen=True)
class Base:
    often: int = option(3, "how often", type=int)
    quiet: bool = option(False, "say less")
    checked: bool = option(True, "leave the check out")


@dataclass(frozen=True)
class Chosen(Base):
    places: tuple = option(("KEN",), "codes joined by commas", flag="countries", read=options.split)
    hidden: str = "as it was"


def given(record, *words: str):
    parser = argparse.ArgumentParser()
    options.add(parser, type(record))
    return options.chosen(record, parser.parse_args(words))


def test_what_is_not_given_stays_as_the_record_has_it():
    mine = Chosen(often=7, quiet=True, checked=False, hidden="mine")
    assert given(mine) == mine


def test_a_field_is_a_flag():
    words = ("--often", "2", "--quiet", "--no-checked", "--countries", "DEU, KEN,")
    assert given(Chosen(), *words) == Chosen(2, True, False, ["DEU", "KEN"])
    with pytest.raises(SystemExit):
        given(Chosen(), "--hidden", "x")


def test_a_base_takes_what_it_names():
    assert Base(**options.shared(Chosen(2, True), Base)) == Base(2, True)


def test_flags_come_in_the_order_asked_for():
    parser = argparse.ArgumentParser(add_help=False)
    options.add(parser, Chosen, ("places",))
    options.add(parser, Chosen, but=("places", "quiet"))
    flags = [action.option_strings[0] for action in parser._actions]
    assert flags == ["--countries", "--often", "--no-checked"]


def test_a_strength_is_a_number_or_auto():
    assert given(AskChoices(), "--alpha", "auto").alpha is None
    assert given(AskChoices(), "--alpha", "1.5").alpha == 1.5
    with pytest.raises(PluriscopeError, match=r"--alpha.*'much'"):
        given(AskChoices(), "--alpha", "much")


def test_a_limit_of_likeness_can_be_left_out():
    chosen = given(TuneChoices(), "--near-limit", "none", "--leak-limit", "70", "--seed", "5")
    assert (chosen.near_limit, chosen.leak_limit, chosen.seeds) == (None, 70.0, (5,))

"""Plain answers beside answers as a person of a country: which differ, by more than noise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.errors import PluriscopeError
from core.metrics import distances, panel
from core.survey.survey import Item, Survey

DIFFER = "the answers differ"
AGREE = "the answers agree"
# Why: docs/decisions.md, "What counts as different depends on the options' order."
IN_NOISE = "no farther apart than option orders alone move the plain answer"
NO_PLAIN = "the plain answer holds no option's number"
NO_COUNTRY = "the country answer holds no option's number"
REASONS = (DIFFER, AGREE, IN_NOISE, NO_PLAIN, NO_COUNTRY)


class Pairs(NamedTuple):
    """rows: for Store.keep_pairs, one for each country and question. facts: pairs, differing,
    unreadable (counts); noise, the floor; rule, in words."""

    rows: list[dict]
    facts: dict


def pairs_of(
    survey: Survey,
    plain: pd.DataFrame,
    country: pd.DataFrame,
    *,
    answers: str,
    tuning: str,
    seed: int,
    teacher: str,
) -> Pairs:
    """Pairs of the written survey's questions, from the answers of two runs (Store.answers).

    answers="written", the study's way: the first number in each text, if it is that of an option;
    a pair differs where the numbers do. Noise is how often a second plain answer to the same
    question (sample number 1 of the plain run) differs from the first.

    answers="probabilities": distributions averaged over option orders. Their distance is the
    Jensen-Shannon distance (0 to 1): it needs no order of the options, which written questions do
    not have, and notices small probabilities. Noise of a question is the distance between its
    plain answers in two option orders (mean over pairs of orders), since an order says nothing of
    a country. A pair differs where its distance is above the question's own noise and above the
    median question's.
    """
    make = _written if answers == "written" else _scored
    rows, noise, rule = make(survey, plain, country)
    for row in rows:
        row |= {"tuning": tuning, "seed": seed, "teacher": teacher, "answers": answers}
    facts = {
        "pairs": len(rows),
        "differing": sum(row["differs"] for row in rows),
        "unreadable": sum(row["reason"] in (NO_PLAIN, NO_COUNTRY) for row in rows),
        "noise": noise,
        "rule": rule,
    }
    return Pairs(rows, facts)


def first_number(text: str | None, codes: Sequence[int]) -> int | None:
    """The study's reading of an answer: its first number, where that is an option's."""
    match = re.search(r"\d+", text or "", re.ASCII)
    number = int(match[0][:6]) if match else None
    return number if number in codes else None


# -- written answers -------------------------------------------------------------------------------


def _written(survey: Survey, plain: pd.DataFrame, country: pd.DataFrame) -> tuple[list, float, str]:
    said = {(row.item, row.number): row.text for row in plain.itertuples()}
    rows = []
    for row in country[country.number == 0].itertuples():
        codes = survey.item(row.item).codes
        a, again = (first_number(said.get((row.item, n)), codes) for n in (0, 1))
        b = first_number(row.text, codes)
        both = a is not None and b is not None
        reason = NO_PLAIN if a is None else NO_COUNTRY if b is None else DIFFER if a != b else AGREE
        noise = float(a != again) if a is not None and again is not None else None
        rows.append(_row(row.iso3, row.item, a, b, float(a != b) if both else None, noise, reason))
    by_item = {row["item"]: row["noise"] for row in rows if row["noise"] is not None}
    noise = float(np.mean(list(by_item.values()))) if by_item else None
    rule = "A pair differs where the first numbers of its two answers do."
    return rows, noise, rule


# -- probabilities ---------------------------------------------------------------------------------


def _scored(survey: Survey, plain: pd.DataFrame, country: pd.DataFrame) -> tuple[list, float, str]:
    orders = {item: np.stack(group.probs.to_list()) for item, group in plain.groupby("item")}
    noises = {item: _between_orders(survey.item(item), probs) for item, probs in orders.items()}
    floor = float(np.median(list(noises.values()))) if noises else 0.0
    rows = []
    for item_id, group in country.groupby("item", sort=True):
        if item_id not in orders:
            continue
        item, noise = survey.item(item_id), noises[item_id]
        countries, country_probs = _mean_by_country(group)
        plain_probs = orders[item_id].mean(0)
        plain_probs = np.broadcast_to(plain_probs / plain_probs.sum(), country_probs.shape)
        away = distances.js_distance(panel.layout([item]), plain_probs, country_probs)
        plain_code = item.codes[int(np.argmax(plain_probs[0]))]
        for iso3, p, q, distance in zip(countries, plain_probs, country_probs, away, strict=True):
            reason = DIFFER if distance > max(noise, floor) else IN_NOISE
            country_code = item.codes[int(np.argmax(q))]
            row = _row(iso3, item_id, plain_code, country_code, float(distance), noise, reason)
            rows.append({**row, "plain_probs": p.tolist(), "aware_probs": q.tolist()})
    rule = (
        "A pair differs where naming the country moves the answer farther than another order of "
        "the options moves the plain one: for this question, and for the median question "
        f"({floor:.3f} on a scale from 0 to 1)."
    )
    return rows, floor, rule


def _mean_by_country(group: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Countries in order, and float64[C, K]: one question's distributions over all orders."""
    countries, places = np.unique(group.iso3.to_numpy(str), return_inverse=True)
    probs = np.stack(group.probs.to_list())
    sums = np.zeros((len(countries), probs.shape[1]))
    np.add.at(sums, places, probs)
    return countries.tolist(), sums / sums.sum(1, keepdims=True)


def _between_orders(item: Item, probs: np.ndarray) -> float:
    """Mean distance between a question's plain answers in its option orders. probs: [orders, K]."""
    if len(probs) < 2:
        raise PluriscopeError(
            "Pairs of probabilities need every question in at least two option orders: how far an "
            "order alone moves the answer is the noise floor. Choose “given and reversed”."
        )
    one, other = np.triu_indices(len(probs), 1)
    return float(distances.js_distance(panel.layout([item]), probs[one], probs[other]).mean())


def _row(iso3, item, plain, country, distance, noise, reason) -> dict:
    return {
        "iso3": iso3,
        "item": item,
        "plain": plain,
        "aware": country,
        "plain_probs": None,
        "aware_probs": None,
        "distance": distance,
        "noise": noise,
        "differs": reason == DIFFER,
        "reason": reason,
    }

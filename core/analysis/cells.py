"""What a run answered, as arrays: the one place where the shares of a cell are made.

A cell is one item asked as a person of one country, or as nobody in particular (""). Its shares are
the mean of its answers: of the distributions in each option order, or of written answers, each of
which gives everything to the option it was read as.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.analysis.cross_fitting import over_orders
from core.asking.parsing import LOST
from core.metrics.panel import most_likely
from core.store.runs import Run
from core.store.store import Store
from core.survey.survey import Item


class Cells(NamedTuple):
    """P personas, I items, K the largest number of options.

    shares: float64[P, I, K], padded with zeros; NaN rows where nothing could be read. chosen:
    int[P, I], index of the likeliest option, -1 where there is none. refused, unparsed:
    float64[P, I], share of the answers that refuse, or that cannot be read as an option.
    """

    shares: np.ndarray
    chosen: np.ndarray
    refused: np.ndarray
    unparsed: np.ndarray


class _Rows(NamedTuple):
    """R stored answers. persona, item, number: where each belongs. state: as parsing.STATES
    has them. option: index of the option it was read as, -1 where none was looked for or
    found. shares: float64[R, K], NaN rows where it was not answered."""

    persona: np.ndarray
    item: np.ndarray
    number: np.ndarray
    state: np.ndarray
    option: np.ndarray
    shares: np.ndarray


def cells(
    store: Store,
    run: Run,
    items: Sequence[Item],
    personas: Sequence[str],
    number: int | None = None,
) -> Cells:
    """A run's cells. personas: country codes, or "" for a run without a country. number: only the
    answers in this option order."""
    rows = _rows(store, run, items, personas, number)
    shape = len(personas), len(items)
    shares = over_orders(_placed(rows, shape))
    chosen = likeliest(shares)
    # An imported answer may be a refusal out of which its own rule read a code: it is the choice
    # that the study's score counts, and no part of the distribution.
    for index in np.flatnonzero((rows.state == "refused") & (rows.option >= 0)):
        cell = rows.persona[index], rows.item[index]
        chosen[cell] = rows.option[index] if chosen[cell] < 0 else chosen[cell]
    refused, unparsed = (_part(rows, shape, states) for states in (("refused",), LOST))
    return Cells(shares, chosen, refused, unparsed)


def singles(store: Store, run: Run, items: Sequence[Item], personas: Sequence[str]) -> np.ndarray:
    """float64[P, I, N, K]: the single answers behind a run's shares, as distributions.

    N: the most option orders or samples that any cell has. NaN where an answer was refused, could
    not be read or is missing. personas: as for cells().
    """
    return _placed(_rows(store, run, items, personas), (len(personas), len(items)))


def shares_of(store: Store, run: Run, item: Item) -> dict[str, np.ndarray]:
    """A run's shares of an item's options [K] by persona; no entry where there is no answer."""
    personas = run.settings.personas()
    found = cells(store, run, [item], personas).shares[:, 0]
    return {
        iso3: shares
        for iso3, shares in zip(personas, found, strict=True)
        if not np.isnan(shares).any()
    }


def likeliest(shares: np.ndarray) -> np.ndarray:
    """int[...]: index of the likeliest option of shares[..., K], -1 where there are none.

    An exact tie falls to the lowest code; rounding keeps float noise from deciding.
    """
    return most_likely(np.round(shares, 6))


def _rows(
    store: Store,
    run: Run,
    items: Sequence[Item],
    personas: Sequence[str],
    number: int | None = None,
) -> _Rows:
    """The stored answers of these items and personas, in columns: there may be a million."""
    only = items[0].id if len(items) == 1 else None
    table = store.answer_table(run.no, number, only)
    place = {item.id: index for index, item in enumerate(items)}
    who = {iso3: index for index, iso3 in enumerate(personas)}
    p = np.array([who.get(iso3, -1) for iso3 in table["iso3"].to_pylist()], dtype=int)
    i = np.array([place.get(item, -1) for item in table["item"].to_pylist()], dtype=int)
    keep = (p >= 0) & (i >= 0)
    state = np.array(table["state"].to_pylist(), dtype=object)[keep]
    codes = np.array(table["chosen"].to_pylist(), dtype=object)[keep]
    numbers = table["number"].to_numpy()[keep]
    probs = table["probs"].combine_chunks()
    starts = probs.offsets.to_numpy()[:-1][keep]
    lengths = np.diff(probs.offsets.to_numpy())[keep]
    flat = probs.values.to_numpy(zero_copy_only=False)

    p, i = p[keep], i[keep]
    index_of = [{code: k for k, code in enumerate(item.codes)} for item in items]
    option = np.full(len(p), -1)
    for row in np.flatnonzero(lengths == 0):
        option[row] = index_of[i[row]].get(codes[row], -1)
    width = max((len(item.options) for item in items), default=1)
    shares = np.full((len(p), width), np.nan)
    answered = state == "answered"
    shares[answered & ((lengths > 0) | (option >= 0))] = 0
    for k in range(width):  # a handful of passes over whole columns
        has = answered & (lengths > k)
        shares[has, k] = flat[starts[has] + k]
    written = np.flatnonzero(answered & (option >= 0))
    shares[written, option[written]] = 1
    return _Rows(p, i, numbers, state, option, shares)


def _placed(rows: _Rows, shape: tuple[int, int]) -> np.ndarray:
    """float64[P, I, N, K]"""
    there = ~np.isnan(rows.shares[:, 0])
    most = 1 + int(rows.number[there].max(initial=0))
    answers = np.full((*shape, most, rows.shares.shape[1]), np.nan)
    answers[rows.persona[there], rows.item[there], rows.number[there]] = rows.shares[there]
    return answers


def _part(rows: _Rows, shape: tuple[int, int], states: Sequence[str]) -> np.ndarray:
    """float64[P, I]: which share of a cell's answers is in one of some states; 0 where none is."""
    cell = rows.persona * shape[1] + rows.item
    size = shape[0] * shape[1]
    asked = np.bincount(cell, minlength=size)
    there = np.bincount(cell[np.isin(rows.state.astype(str), states)], minlength=size)
    return (there / np.maximum(asked, 1)).reshape(shape)

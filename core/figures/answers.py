"""Answers to one question as bars and dots: people's beside the model's."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.figures.base import (
    OFF_SCALE,
    Figure,
    Palette,
    Sheet,
    coloured,
    ink_of,
    is_series,
    option_colours,
    palette,
    plain_text,
    quiet_axis,
    series,
    wrapped,
)
from core.survey.survey import Item


def answer_bars(
    df: pd.DataFrame,
    *,
    country: str = "",
    width: int = 34,
    top: float | None = None,
    legend: bool = True,
    dark: bool = False,
) -> Figure:
    """One question: people's answers in ink, the model's in front, option by option.

    df: one row an option, columns label, people (share; NaN where not asked) and one for every
    way the model was asked, a method or "tuned" (plain, country, tuned, …). country: whose people.
    width: characters in a line of a label. top: the share at the right edge, so that columns
    side by side can be compared (see answer_columns).
    """
    asked = [name for name in df.columns if is_series(name)]
    people = "people" in df and bool(df["people"].notna().any())
    bars = _bars(df, asked, people, width, legend)
    sheet = Sheet(
        bars.height,
        dark,
        xaxis=quiet_axis(range=[0, (top or answer_top([df])) * 1.03]),
        yaxis=quiet_axis(range=[bars.height, 0]),
        bargap=0,
        barmode="overlay",
    )
    sheet.margin(bars.left, bars.right)
    where = f"people in {wording.country(country)}" if country else "people"
    if legend:
        _draw_answer_keys(sheet, bars, where, country, palette(dark))
    hover = [_answer_hover(row, asked, where, country) for row in df.to_dict("records")]
    _draw_shares(sheet, df, bars, hover, palette(dark))
    for row, place, label, n in zip(
        df.to_dict("records"), bars.places, bars.labels, bars.lines, strict=True
    ):
        _draw_answer_words(sheet, row, bars, place, label, n, dark)
    return Figure(
        sheet.done(), _answer_table(df, asked, where, country), _answer_alt(df, asked, where)
    )


class _Bars(NamedTuple):
    """Where the bars of an answer are, in pixels. labels and lines: of each option, how many."""

    asked: list[str]
    people: bool
    beside: bool
    labels: list[str]
    lines: list[int]
    thick: int
    places: list[float]
    height: int

    @property
    def left(self) -> int:
        return 22 if self.beside else 0

    @property
    def right(self) -> int:
        return 24 * (len(self.asked) + self.people) if self.beside else 0


def _bars(df: pd.DataFrame, asked: list[str], people: bool, width: int, legend: bool) -> _Bars:
    """Long labels stand over their bars, so that a column of any width will do; "1" to "10" stand
    beside them."""
    short = [len(str(label)) <= 3 for label in df["label"]]
    beside = sum(short) > len(df) / 2
    labels = [wrapped(plain_text(str(label)), width) for label in df["label"]]
    lines = [0 if beside and s else t.count("<br>") + 1 for s, t in zip(short, labels, strict=True)]
    thick = 10 + 8 * max(1, len(asked))
    y = 17 * (len(asked) + people) + 10 if legend else 0
    places = []
    for n in lines:
        y += 15 * n + 4
        places.append(y + thick / 2)
        y += thick + (5 if beside else 12)
    return _Bars(asked, people, beside, labels, lines, thick, places, int(y))


def _draw_answer_keys(sheet: Sheet, bars: _Bars, where: str, country: str, on: Palette) -> None:
    signs = [(coloured("■", on.people), where)] if bars.people else []
    signs += [(coloured(series(n).sign, series(n).colour), _said(n, country)) for n in bars.asked]
    for k, (sign, said) in enumerate(signs):
        text = f"{sign} {plain_text(wording.capital(said))}"
        sheet.note(text, 0, 17 * k + 8, colour=on.muted, xref="paper", xshift=-bars.left)


def _draw_shares(
    sheet: Sheet, df: pd.DataFrame, bars: _Bars, hover: Sequence[str], on: Palette
) -> None:
    """People's bars, and in front of them for each way of asking a thin bar that ends in a sign."""

    def draw(name: str, y: Sequence[float], thick: int, colour: str) -> None:
        sheet.trace(
            "bar",
            x=df[name],
            y=y,
            width=[thick] * len(df),
            orientation="h",
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate=hover,
            name=name,
        )

    if bars.people:
        draw("people", bars.places, bars.thick, on.people)
    slot = (bars.thick - 4) / max(1, len(bars.asked))
    for k, name in enumerate(bars.asked):
        look = series(name)
        middle = [place - bars.thick / 2 + 2 + slot * (k + 0.5) for place in bars.places]
        draw(name, middle, 3, look.colour)
        line = {"color": on.page, "width": 1.2}
        sheet.trace(
            "scatter",
            x=df[name],
            y=middle,
            mode="markers",
            hovertemplate=hover,
            name=name,
            cliponaxis=False,
            marker={"symbol": look.symbol, "size": 10, "color": look.colour, "line": line},
        )


def _draw_answer_words(
    sheet: Sheet, row: Mapping, bars: _Bars, place: float, label: str, n: int, dark: bool
) -> None:
    """An option's label in n lines, and its shares on the right."""
    ink = {"colour": palette(dark).ink, "xref": "paper"}
    over = place - bars.thick / 2 - 3
    y = over - 15 * n / 2 if n else place
    sheet.note(label, 0, y, align="left", xshift=-bars.left, **ink)
    said = [wording.percent(row["people"]).rstrip("%")] if bars.people else []
    said += [
        coloured(wording.percent(row[name]).rstrip("%"), ink_of(name, dark))
        for name in bars.asked
        if row[name] == row[name]
    ]
    y = place if bars.beside else over - 7.5
    sheet.note("  ".join(said), 1, y, anchor="right", xshift=bars.right, **ink)


def answer_columns(
    columns: Sequence[tuple[str, pd.DataFrame]], *, width: int = 34, dark: bool = False
) -> list[Figure]:
    """answer_bars for several countries with the same scale. columns: (country, its table)."""
    top = answer_top([df for _, df in columns])
    return [answer_bars(df, country=name, width=width, top=top, dark=dark) for name, df in columns]


def answer_top(tables: Sequence[pd.DataFrame]) -> float:
    """The largest share in any of the tables, at least a quarter."""
    shares = [df[name].max() for df in tables for name in df if is_series(name) or name == "people"]
    return max([0.25, *(x for x in shares if x == x)])


def _said(name: str, country: str) -> str:
    """What a series is called where it is known whose people are meant."""
    if name == "country" and country:
        return f"as a person from {wording.country(country)}"
    return series(name).label


def _answer_hover(row: Mapping, asked: Sequence[str], where: str, country: str) -> str:
    lines = [f"<b>{wrapped(plain_text(str(row['label'])), 40)}</b>"]
    for name in ("people", *asked):
        share = row.get(name, math.nan)
        if share == share:
            said = where if name == "people" else _said(name, country)
            lines.append(f"{plain_text(wording.capital(said))}: {wording.percent(share)}")
    return "<br>".join(lines) + "<extra></extra>"


def _answer_table(df: pd.DataFrame, asked: Sequence[str], where: str, country: str) -> pd.DataFrame:
    table = {"Answer": df["label"]}
    for name in (["people"] if "people" in df else []) + list(asked):
        said = where if name == "people" else _said(name, country)
        table[f"{wording.capital(said)} (%)"] = (df[name] * 100).round(1)
    return pd.DataFrame(table).reset_index(drop=True)


def _answer_alt(df: pd.DataFrame, asked: Sequence[str], where: str) -> str:
    parts = []
    for name in ["people", *asked]:
        if name in df and df[name].notna().any():
            row = df.loc[df[name].idxmax()]
            who = wording.capital(where) if name == "people" else f"the model, {series(name).label}"
            parts.append(f"{who}: “{row['label']}” {wording.percent(row[name])}")
    return f"Commonest answers. {'; '.join(parts)}." if parts else "No answers yet."


def distribution_by_country(
    df: pd.DataFrame,
    item: Item,
    *,
    sort: bool = True,
    what: tuple[str, str] = ("country", "countries"),
    dark: bool = False,
) -> Figure:
    """Every country's answers to one question as a bar of 100%, the model's among them.

    what: what a row is, in the singular and the plural, where it is no country.

    df: one row a country or a model, columns name, kind ("people" or one of series()) and shares
    (a sequence over the item's options). Countries from the lowest to the highest end of the
    scale where there is one; the model's rows stay on top.
    """
    on = palette(dark)
    shares = np.array([np.asarray(s, float) for s in df["shares"]]).reshape(
        len(df), len(item.options)
    )
    order = _by_mean(df, shares, item) if sort else list(range(len(df)))
    df, shares = df.iloc[order].reset_index(drop=True), shares[order]
    colours = option_colours(item)
    keys = _option_keys(item, colours)
    step, head = 21, 17 * len(keys) + 12
    gap = 8 if df["kind"].ne("people").any() and df["kind"].eq("people").any() else 0
    models = int(df["kind"].ne("people").sum())
    at = [head + step * (k + 0.5) + (gap if k >= models else 0) for k in range(len(df))]
    height = head + step * max(1, len(df)) + gap
    sheet = Sheet(
        height,
        dark,
        xaxis=quiet_axis(range=[0, 1]),
        yaxis=quiet_axis(range=[height, 0]),
        barmode="stack",
        bargap=0,
    )
    sheet.margin(138, 2)
    for k, option in enumerate(item.options):
        said = plain_text(option.label)
        sheet.trace(
            "bar",
            x=shares[:, k],
            y=at,
            width=[15] * len(df),
            orientation="h",
            marker={"color": colours[k], "line": {"color": on.page, "width": 0.5}},
            hovertemplate=[
                f"<b>{plain_text(name)}</b><br>{wrapped(said, 40)}: {wording.percent(share)}"
                "<extra></extra>"
                for name, share in zip(df["name"], shares[:, k], strict=True)
            ],
            name=said,
        )
    for y, name, kind in zip(at, df["name"], df["kind"], strict=True):
        text = plain_text(textwrap.shorten(name, 21, placeholder="…"))
        if kind != "people":
            text = f"{coloured(series(kind).sign, series(kind).colour)} {text}"
        sheet.note(
            text,
            0,
            y,
            colour=on.ink if kind == "people" else ink_of(kind, dark),
            xref="paper",
            xshift=-138,
        )
    for k, line in enumerate(keys):
        sheet.note(line, 0, 17 * k + 8, colour=on.muted, xref="paper", xshift=-138)
    table = pd.DataFrame({wording.capital(what[0]): df["name"]})
    for k, option in enumerate(item.options):
        table[f"{option.label} (%)"] = (shares[:, k] * 100).round(1)
    people = df["kind"].eq("people")
    alt = f"Answers to “{item.label}” in {wording.count(int(people.sum()), *what)}"
    if people.any() and item.is_ordered and sort:
        first, last = df["name"][people].iloc[0], df["name"][people].iloc[-1]
        ends = f"nearest to “{item.low}” in {wording.country(first)}"
        alt += f": {ends}, nearest to “{item.high}” in {wording.country(last)}"
    return Figure(sheet.done(), table, f"{alt}.")


def _by_mean(df: pd.DataFrame, shares: np.ndarray, item: Item) -> list[int]:
    """Models first, then countries along the scale (by their largest share where there is none)."""
    if item.is_ordered:
        on = np.array([code not in item.off_scale for code in item.codes])
        with np.errstate(invalid="ignore"):
            mean = shares[:, on] @ np.arange(on.sum()) / shares[:, on].sum(1)
    else:
        mean = -shares[:, 0]
    model = df["kind"].ne("people").tolist()
    return sorted(range(len(df)), key=lambda k: (not model[k], 0 if model[k] else mean[k], k))


def _option_keys(item: Item, colours: Sequence[str]) -> list[str]:
    """The legend of a bar of answers, in lines that fit a telephone."""
    if item.is_ordered and len(item.options) > 5:
        on = [c for c, code in zip(colours, item.codes, strict=True) if code not in item.off_scale]
        swatches = "".join(coloured("■", colour) for colour in on)
        ends = f"{plain_text(item.low)} {swatches} {plain_text(item.high)}"
        off = [
            f"{coloured('■', OFF_SCALE)} {plain_text(item.option(code).label)}"
            for code in item.off_scale
        ]
        return [ends, *off]
    keys, line, used = [], [], 0
    for option, colour in zip(item.options, colours, strict=True):
        said = textwrap.shorten(option.label, 46, placeholder="…")
        if line and used + len(said) > 46:
            keys.append("   ".join(line))
            line, used = [], 0
        line.append(f"{coloured('■', colour)} {plain_text(said)}")
        used += len(said) + 4
    return [*keys, "   ".join(line)]


def means_scatter(
    df: pd.DataFrame, item: Item, *, kind: str = "country", dark: bool = False
) -> Figure:
    """People's mean answer against the model's, country by country, along the item's scale.

    df: columns iso3, name, people, model (means from 0, the scale's low end, to 1). On the line
    the two agree.
    """
    on, look = palette(dark), series(kind)
    df = df.dropna(subset=["people", "model"]).reset_index(drop=True)
    sheet = Sheet(
        380,
        dark,
        xaxis=quiet_axis(range=[-0.03, 1.03]),
        yaxis=quiet_axis(range=[-0.03, 1.03]),
    )
    sheet.margin(26, 6, 6, 40)
    for at in (0, 0.25, 0.5, 0.75, 1):
        sheet.line((at, at), (0, 1), colour=on.line, layer="below")
        sheet.line((0, 1), (at, at), colour=on.line, layer="below")
    sheet.line((0, 1), (0, 1), colour=on.people, dash="dot")
    gap = (df["model"] - df["people"]).abs()
    named = _spaced(df.loc[gap.sort_values(ascending=False).index], 6)
    sheet.trace(
        "scatter",
        x=df["people"],
        y=df["model"],
        mode="markers+text",
        text=[plain_text(name) if k in named else "" for k, name in enumerate(df["name"])],
        textposition=["top right" if x < 0.6 else "top left" for x in df["people"]],
        textfont={"size": 11, "color": on.muted},
        marker={
            "symbol": look.symbol,
            "size": 9,
            "color": look.colour,
            "line": {"color": look.text, "width": 1},
        },
        customdata=[[iso3] for iso3 in df["iso3"]],
        hovertemplate=[
            f"<b>{plain_text(r.name)}</b><br>People: {wording.percent(r.people)} of the way to "
            f"“{plain_text(item.high)}”<br>Model: {wording.percent(r.model)}<extra></extra>"
            for r in df.itertuples()
        ],
    )
    below = {"xref": "paper", "yref": "paper", "yshift": -14, "size": 11}
    sheet.note(f"← {plain_text(item.low)}", 0, 0, colour=on.muted, **below)
    sheet.note(f"{plain_text(item.high)} →", 1, 0, colour=on.muted, anchor="right", **below)
    sheet.note("<b>People</b>", 0.5, 0, colour=on.ink, anchor="center", **below)
    sheet.note(
        "<b>Model</b>",
        0,
        0.5,
        colour=on.ink,
        size=11,
        anchor="center",
        xref="paper",
        yref="paper",
        xshift=-12,
        textangle=-90,
    )
    table = pd.DataFrame(
        {
            "Country": df["name"],
            "People (0 to 100)": (df["people"] * 100).round(1),
            "Model (0 to 100)": (df["model"] * 100).round(1),
        }
    )
    alt = f"{item.label}: no answers yet."
    if len(df):
        far = df.loc[gap.idxmax(), "name"]
        alt = (
            f"{item.label}: the model's mean answer against people's in "
            f"{wording.count(len(df), 'country', 'countries')}; furthest apart in "
            f"{wording.country(far)}."
        )
    return Figure(sheet.done(), table, alt)


def _spaced(df: pd.DataFrame, most: int) -> set:
    """The first few points whose names do not run into one another."""
    named: dict = {}
    for row in df.itertuples():
        if len(named) == most:
            break
        if all(abs(row.model - y) > 0.06 or abs(row.people - x) > 0.3 for x, y in named.values()):
            named[row.Index] = (row.people, row.model)
    return set(named)

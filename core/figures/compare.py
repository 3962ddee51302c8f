"""Figures of the page Compare along an axis: what separates two countries, runs, what was lost.

As in core/figures/maps.py, each function takes a tidy table and gives a figure, the same numbers
as a table and a sentence. docs/look.md says why they look as they do.
"""

from __future__ import annotations

import math
import textwrap
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.figures.base import (
    Figure,
    Palette,
    Sheet,
    coloured,
    ink_of,
    palette,
    plain_text,
    quiet_axis,
    scale,
    series,
    tabled,
    wrapped,
)

# ------------------------------------------------------------------------------------------------
# The questions that tell two countries apart


def separating_rows(
    df: pd.DataFrame, *, persona: str, country: str, kind: str = "country", dark: bool = False
) -> Figure:
    """The questions on which two countries' people differ most, and where the persona stands.

    df: columns item, label, low, high, own, other, model (0 to 1). persona, country: names. A
    click gives the item's id.
    """
    on, look = palette(dark), series(kind)
    step, head = 54, 62
    height = head + step * max(1, len(df)) + 4
    sheet = Sheet(height, dark, xaxis=quiet_axis(range=[0, 1]), yaxis=quiet_axis(range=[height, 0]))
    sheet.margin(8, 8)
    mine, theirs = plain_text(wording.country(persona)), plain_text(wording.country(country))
    keys = (
        f"{coloured('●', on.people)} people in {mine}",
        f"{coloured('○', on.people)} people in {theirs}",
        f"{coloured(look.sign, look.colour)} the model as a person from {mine}",
    )
    for k, text in enumerate(keys):
        sheet.note(text, 0, 18 * k + 9, colour=on.muted, xref="paper", xshift=-8)
    at = [head + step * k + 30 for k in range(len(df))]
    for y, row in zip(at, df.itertuples(), strict=True):
        _draw_question(sheet, row, y, on)
    hover = [_separating_hover(row, persona, country) for row in df.itertuples()]
    looks = (
        ("own", "circle", 10, on.people, on.page),
        ("other", "circle-open", 10, on.people, on.people),
        ("model", look.symbol, 12, look.colour, on.page),
    )
    for column, symbol, size, colour, edge in looks:
        line = {"color": edge, "width": 1.5}
        sheet.trace(
            "scatter",
            x=df[column],
            y=at,
            mode="markers",
            marker={"symbol": symbol, "size": size, "color": colour, "line": line},
            customdata=[[item] for item in df["item"]],
            hovertemplate=[f"{text}<extra></extra>" for text in hover],
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
            cliponaxis=False,
            name=column,
        )
    table, alt = _separating_table(df, persona, country), _separating_alt(df, persona, country)
    return Figure(sheet.done(), table, alt)


def _draw_question(sheet: Sheet, row: object, y: float, on: Palette) -> None:
    """A question's words over its scale, and how far apart the two peoples lie on it."""
    sheet.line((0, 1), (y, y), colour=on.line, width=1.5, layer="below")
    sheet.line((row.own, row.other), (y, y), colour=on.too_small, width=3, layer="below")
    sheet.note(plain_text(row.label), 0, y - 18, colour=on.ink, xref="paper", xshift=-8)
    for text, x, anchor, shift in ((row.low, 0, "left", -8), (row.high, 1, "right", 8)):
        sheet.note(
            plain_text(textwrap.shorten(str(text), 38, placeholder="…")),
            x,
            y + 13,
            colour=on.muted,
            size=10,
            xref="paper",
            anchor=anchor,
            xshift=shift,
        )


def _separating_table(df: pd.DataFrame, persona: str, country: str) -> pd.DataFrame:
    table = {
        "Question": df["label"],
        "From": df["low"],
        "To": df["high"],
        f"People in {wording.country(persona)}": (df["own"] * 100).round(0),
        f"People in {wording.country(country)}": (df["other"] * 100).round(0),
        "Model": (df["model"] * 100).round(0),
        "Nearer its own people by": df["lean"].round(1),
    }
    return pd.DataFrame(table).reset_index(drop=True)


def _separating_alt(df: pd.DataFrame, persona: str, country: str) -> str:
    if df.empty:
        return "No question tells the two apart."
    nearer = int((df["lean"] > 0).sum())
    return (
        f"{wording.count(len(df), 'question')} on which people in {wording.country(persona)} and "
        f"{wording.country(country)} differ most: on {nearer} the model as a person from "
        f"{wording.country(persona)} is nearer its own."
    )


def _separating_hover(row: object, persona: str, country: str) -> str:
    lines = [f"<b>{wrapped(plain_text(row.label), 40)}</b>"]
    for said, x in (
        (f"People in {wording.country(persona)}", row.own),
        (f"People in {wording.country(country)}", row.other),
        ("The model", row.model),
    ):
        lines.append(f"{plain_text(said)}: {wording.percent(x)} of the way")
    nearer = "its own people" if row.lean > 0 else f"people in {wording.country(country)}"
    lines.append(f"{wording.number(abs(row.lean))} points nearer to {plain_text(nearer)}")
    return "<br>".join(lines)


# ------------------------------------------------------------------------------------------------
# Close and diverse


class _Reach(NamedTuple):
    """How far the axes of closeness_diversity go, and the means that are marked on them."""

    right: float
    low: float
    high: float
    ceiling: float
    others: float


def closeness_diversity(
    df: pd.DataFrame,
    *,
    mine: str,
    metric: str = "emd",
    label: str = "Closeness to people",
    dark: bool = False,
    narrow: bool = False,
) -> Figure:
    """Runs by how close they are to people and how much their countries differ.

    df: columns run, name, method, value, low, high, others, ceiling, ratio. mine: the run that is
    meant. People stand where their own diversity and another sample of themselves are.
    """
    df = df.dropna(subset=["value", "ratio"]).reset_index(drop=True)
    reach = _reach(df, metric)
    sheet = Sheet(
        400,
        dark,
        xaxis=quiet_axis(range=[-0.03, reach.right]),
        yaxis=quiet_axis(range=[reach.low - 1, reach.high]),
    )
    sheet.margin(34, 8, 8, 58)
    _draw_standing_ticks(sheet, reach, palette(dark))
    _draw_references(sheet, reach, palette(dark), narrow)
    _draw_standings(sheet, df, mine, reach.right, dark)
    _draw_standing_titles(sheet, label, palette(dark))
    return Figure(sheet.done(), _standing_table(df), _standing_alt(df, mine))


def _reach(df: pd.DataFrame, metric: str) -> _Reach:
    ceiling, others = df["ceiling"].mean(), df["others"].mean()
    right = max(1.12, *(x + 0.08 for x in df["ratio"])) if len(df) else 1.12
    low = min([scale(metric).axis[0], *df["low"].dropna(), *df["value"]])
    high = max([x for x in (ceiling, *df["high"].dropna()) if math.isfinite(x)], default=100) + 1.5
    return _Reach(right, low, high, ceiling, others)


def _draw_standing_ticks(sheet: Sheet, reach: _Reach, on: Palette) -> None:
    small = {"colour": on.muted, "size": 11}
    for tick in np.arange(0, reach.right, 0.2):
        sheet.line((tick, tick), (reach.low - 1, reach.high), colour=on.line, layer="below")
        sheet.note(
            f"{round(tick * 100)}%", float(tick), 0, anchor="center", yref="paper", yshift=-12,
            **small,
        )  # fmt: skip
    spacing = 5 if reach.high - reach.low <= 40 else 20
    for tick in range(math.ceil(reach.low / spacing) * spacing, int(reach.high) + 1, spacing):
        sheet.line((-0.03, reach.right), (tick, tick), colour=on.line, layer="below")
        sheet.note(str(tick), 0, tick, anchor="right", xref="paper", xshift=-6, **small)


def _draw_references(sheet: Sheet, reach: _Reach, on: Palette, narrow: bool) -> None:
    """What a run is seen against: too little diversity, other countries' people, people."""
    small = {"colour": on.muted, "size": 11, "anchor": "right"}
    y = {"y0": reach.low - 1, "y1": reach.high}
    sheet.shape(type="rect", x0=-0.03, x1=0.6, **y, fillcolor=on.panel, layer="below")
    said = "may be a stereotype" if narrow else "below 60% a score may be a stereotype"
    sheet.note(said, 0.59, reach.high, yshift=-10, **small)
    if math.isfinite(others := reach.others):
        sheet.line((-0.03, reach.right), (others, others), colour=on.muted, dash="dot")
        sheet.note(wording.OTHERS, reach.right, others, yshift=9, **small)
    if math.isfinite(reach.ceiling):
        sheet.trace(
            "scatter",
            x=[1],
            y=[reach.ceiling],
            mode="markers+text",
            text=["<b>people</b>"],
            textposition="middle left",
            textfont={"size": 12, "color": on.ink},
            marker={"size": 12, "color": on.people},
            hovertemplate=f"<b>People</b><br>{wording.CEILING}: "
            f"{wording.number(reach.ceiling)} of 100<extra></extra>",
            cliponaxis=False,
            name="people",
        )


def _draw_standings(sheet: Sheet, df: pd.DataFrame, mine: str, right: float, dark: bool) -> None:
    """The runs with their intervals; the run that is meant is filled and named."""
    for row in df.itertuples():
        if math.isfinite(row.low):
            sheet.line((row.ratio, row.ratio), (row.low, row.high),
                       colour=ink_of(row.method, dark), width=1.4, layer="below")  # fmt: skip
    for method, part in df.groupby("method", sort=False):
        look = series(method)
        own = part["run"].eq(mine)
        sheet.trace(
            "scatter",
            x=part["ratio"],
            y=part["value"],
            mode="markers+text",
            text=[
                f"  <b>{plain_text(textwrap.shorten(n, 44, placeholder='…'))}</b>  " if m else ""
                for n, m in zip(part["name"], own, strict=True)
            ],
            textposition=[
                "middle right" if x < right / 2 else "middle left" for x in part["ratio"]
            ],
            textfont={"size": 12, "color": ink_of(method, dark)},
            marker={
                "symbol": look.symbol,
                "size": [13 if m else 9 for m in own],
                "color": [look.colour if m else palette(dark).page for m in own],
                "line": {"color": look.text_dark if dark else look.text, "width": 1.4},
            },
            customdata=[[run] for run in part["run"]],
            hovertemplate=[_standing_hover(row) for row in part.itertuples()],
            cliponaxis=False,
            name=method,
        )


def _draw_standing_titles(sheet: Sheet, label: str, on: Palette) -> None:
    below = {"xref": "paper", "yref": "paper", "size": 12}
    sheet.note(
        "<b>Difference between countries, as a share of people’s →</b>",
        0.5, 0, colour=on.ink, anchor="center", yshift=-34, **below,
    )  # fmt: skip
    sheet.note(
        f"<b>{plain_text(label)} →</b>",
        0, 0.5, colour=on.ink, anchor="center", xshift=-28, textangle=-90, **below,
    )  # fmt: skip


def _standing_table(df: pd.DataFrame) -> pd.DataFrame:
    df = df.sort_values("value", ascending=False)
    table = tabled(df, {"name": "Run", "value": "Score", "low": "Low", "high": "High"})
    table["Diversity (% of people’s)"] = (df["ratio"] * 100).round(1).to_numpy()
    return table


def _standing_alt(df: pd.DataFrame, mine: str) -> str:
    row = df[df["run"] == mine]
    if row.empty:
        return "No run has a score yet."
    return (
        f"{len(df)} runs by closeness and diversity. This one scores "
        f"{wording.number(row['value'].iloc[0])} of 100 and differs between countries "
        f"{wording.percent(row['ratio'].iloc[0])} as much as people do."
    )


def _standing_hover(row: object) -> str:
    return (
        f"<b>{wrapped(plain_text(row.name), 44)}</b><br>{wording.number(row.value)} of 100"
        f"{', ' + between if (between := wording.interval(row.low, row.high)) else ''}<br>"
        f"differs between countries {wording.percent(row.ratio)} as much as people do<br>"
        f"run {row.run}<extra></extra>"
    )


# ------------------------------------------------------------------------------------------------
# The ladder, and what could not be used


def ladder(
    df: pd.DataFrame,
    *,
    metric: str = "emd",
    label: str = "Closeness to people",
    dark: bool = False,
    narrow: bool = False,
) -> Figure:
    """What one gets without a model and the runs among it, on one axis, highest first.

    df: columns key, name, kind ("line" or a method), value, low, high.
    """
    on = palette(dark)
    df = df.sort_values("value", ascending=False, kind="stable").reset_index(drop=True)
    step, head = (42, 24) if narrow else (30, 24)
    gutter = 10 if narrow else 300
    height = head + step * max(1, len(df)) + 4
    low, high = _ladder_range(df, metric)
    sheet = Sheet(
        height, dark, xaxis=quiet_axis(range=[low, high]), yaxis=quiet_axis(range=[height, 0])
    )
    sheet.margin(gutter, 44)
    spacing = 5 if high - low <= 40 else 10 if high - low <= 80 else 20
    for tick in range(math.ceil(low / spacing) * spacing, int(high) + 1, spacing):
        sheet.line((tick, tick), (head - 6, height), colour=on.line, layer="below")
        text = wording.number(tick, 0)
        sheet.note(text, tick, head - 15, colour=on.muted, size=11, anchor="center")
    if not narrow:
        sheet.note(
            plain_text(label), 0, head - 15, colour=on.muted, size=11, xref="paper",
            anchor="right", xshift=-12,
        )  # fmt: skip
    rows = list(df.itertuples())
    at = [head + step * (k + 0.5) + (7 if narrow else 0) for k in range(len(df))]
    for y, row in zip(at, rows, strict=True):
        _draw_rung(sheet, row, y, low, gutter, dark, narrow)
    for y, row in zip(at, rows, strict=True):
        if row.kind != "line":
            _mark_rung(sheet, row, y)
    table = tabled(df, {"name": "What", "value": "Score", "low": "Low", "high": "High"})
    said = [f"{row.name} {wording.number(row.value)}" for row in rows]
    return Figure(sheet.done(), table, f"{label}, highest first: {'; '.join(said)}.")


def _ladder_range(df: pd.DataFrame, metric: str) -> tuple[float, float]:
    ends = [x for column in ("value", "low", "high") for x in df[column] if math.isfinite(x)]
    low = min([scale(metric).axis[0], *(math.floor(x) for x in ends)])
    return low, max([scale(metric).axis[1], *(math.ceil(x) for x in ends)])


def _draw_rung(
    sheet: Sheet, row: object, y: float, low: float, gutter: int, dark: bool, narrow: bool
) -> None:
    """A row's name and number, and a bar up to a reference or the interval of a run."""
    on, line = palette(dark), row.kind == "line"
    colour = on.muted if line else ink_of(row.kind, dark)
    short = row.name if line or not narrow else textwrap.shorten(row.name, 46, placeholder="…")
    name, number = plain_text(short), wording.number(row.value)
    sheet.note(
        name if line else f"<b>{name}</b>",
        0,
        y - 17 if narrow else y,
        colour=colour,
        xref="paper",
        xshift=-gutter if narrow else -12,
        anchor="left" if narrow else "right",
    )
    number = number if line else f"<b>{number}</b>"
    sheet.note(number, 1, y, colour=colour, xref="paper", anchor="right", xshift=44)
    if line:
        sheet.line((low, row.value), (y, y), colour=on.line, width=6, layer="below")
        sheet.line((row.value, row.value), (y - 8, y + 8), colour=on.ink, width=2)
    elif math.isfinite(row.low):
        sheet.line((row.low, row.high), (y, y), colour=colour, width=2, layer="below")


def _mark_rung(sheet: Sheet, row: object, y: float) -> None:
    look = series(row.kind)
    line = {"color": look.text, "width": 1}
    sheet.trace(
        "scatter",
        x=[row.value],
        y=[y],
        mode="markers",
        marker={"symbol": look.symbol, "size": 13, "color": look.colour, "line": line},
        hovertemplate=f"<b>{plain_text(row.name)}</b><br>{wording.number(row.value)} of 100"
        f"<br>{wording.interval(row.low, row.high)}<extra></extra>",
        cliponaxis=False,
        name=row.key,
    )


RATES = {
    "refused": "Refused",
    "unparsed": "Cannot be read",
    "off_scale": "Off the scale",
    "outside": "On no option",
}


def rate_rows(
    df: pd.DataFrame, *, kind: str = "country", dark: bool = False, narrow: bool = False
) -> Figure:
    """How often answers could not be used, country by country, side by side.

    df: columns name and those of RATES, people_off_scale (shares of 1). Measures that do not
    apply (all NaN) are left out.
    """
    on, look = palette(dark), series(kind)
    df = df.reset_index(drop=True)
    shown = [name for name in RATES if df[name].notna().any()]
    step, head = 22, 66
    gutter = 96 if narrow else 132
    height = head + step * max(1, len(df)) + 4
    n = max(1, len(shown))
    gap = 0.04
    sheet = Sheet(height, dark, yaxis=quiet_axis(range=[height, 0]), bargap=0)
    sheet.margin(gutter, 6)
    at = [head + step * (k + 0.5) for k in range(len(df))]
    for k, name in enumerate(shown):
        axis = "" if k == 0 else str(k + 1)
        compared = df["people_off_scale"].dropna() if name == "off_scale" else []
        top = max(0.04, *df[name].dropna(), *compared)
        left = k * (1 + gap) / n
        domain = [left, left + (1 - gap * (n - 1)) / n]
        sheet.layout(**{f"xaxis{axis}": quiet_axis(range=[0, top], domain=domain)})
        x = f"x{axis}"
        sheet.note(
            f"<b>{wrapped(RATES[name], 9 if narrow else 20)}</b>",
            0,
            16,
            colour=on.ink,
            size=11 if narrow else 12,
            xref=x,
            align="left",
        )
        sheet.note(f"to {wording.percent(top)}", 0, 46, colour=on.muted, size=11, xref=x)
        sheet.line((0, 0), (head - 6, height), colour=on.line, xref=x, layer="below")
        sheet.trace(
            "bar",
            x=df[name],
            y=at,
            xaxis=x,
            width=[10] * len(df),
            orientation="h",
            marker={"color": look.colour, "line": {"width": 0}},
            hovertemplate=[
                f"<b>{plain_text(n)}</b><br>{RATES[name]}: {_fine(v)}<extra></extra>"
                for n, v in zip(df["name"], df[name], strict=True)
            ],
            name=name,
        )
        if name == "off_scale":
            for y, share in zip(at, df["people_off_scale"], strict=True):
                if math.isfinite(share):
                    sheet.line((share, share), (y - 7, y + 7), colour=on.people, width=2, xref=x)
    for y, name in zip(at, df["name"], strict=True):
        sheet.note(
            plain_text(textwrap.shorten(name, 20, placeholder="…")),
            0,
            y,
            colour=on.ink,
            xref="paper",
            anchor="right",
            xshift=-8,
            size=11 if narrow else 12,
        )
    table = pd.DataFrame({"Country": df["name"]})
    for name in shown:
        table[f"{RATES[name]} (%)"] = (df[name] * 100).round(1)
    for name, title in (
        ("people_off_scale", "People off the scale (%)"),
        ("people_missing", "People without a valid answer (%)"),
    ):
        if name in df and df[name].notna().any():
            table[title] = (df[name] * 100).round(1)
    said = [f"{RATES[name].lower()} {_fine(df[name].mean())}" for name in shown]
    return Figure(sheet.done(), table, f"Of the answers, on average: {wording.listed(said)}.")


def _fine(share: float) -> str:
    """A share of 1 that may be small: 0.3%."""
    return f"{wording.number(100 * share)}%"

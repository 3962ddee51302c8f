"""Figures of cells in rows and columns: who is like whom, how far apart, topics by country.

As in core/figures/maps.py, each function takes a tidy table and gives a figure, the same numbers
as a table and a sentence. docs/look.md says why they look as they do.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.figures.base import (
    CHANGE,
    CLOSENESS,
    LIGHT,
    Figure,
    Palette,
    Sheet,
    coloured,
    palette,
    plain_text,
    quiet_axis,
    scale,
    tabled,
)

# The further apart the stronger; a hue of its own, since closeness is green and blue everywhere.
FAR = ("#E6C3A5", "#C97B4A", "#7A3B16")
FAR_DARK = ("#5A3A24", "#B06A38", "#F0C9A0")

# Between the parts of what a cell gives back; no code or topic has it.
BETWEEN = "\n"

# How wide a figure is at least, in pixels, on a telephone and on a screen.
NARROW, WIDE = 340, 800


# ------------------------------------------------------------------------------------------------
# Cells in rows and columns


def shade(stops: Sequence[str], at: float) -> str:
    """The colour between the stops at a place from 0 (the first) to 1 (the last)."""
    if not math.isfinite(at):
        return "rgba(0,0,0,0)"
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in stops])
    x = np.clip(at, 0, 1) * (len(stops) - 1)
    mixed = [round(float(np.interp(x, range(len(stops)), rgb[:, k]))) for k in range(3)]
    return "#" + "".join(f"{part:02X}" for part in mixed)


def readable(colour: str) -> str:
    """Dark or light letters, whichever stand out more on a colour."""
    if not colour.startswith("#"):
        return LIGHT.ink
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    # Relative luminance; at 0.21 both have the same contrast (WCAG), 3.9.
    bright = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return LIGHT.ink if bright > 0.21 else LIGHT.page


def _swatches(stops: Sequence[str]) -> str:
    return "".join(coloured("■", shade(stops, k / 6)) for k in range(7))


def _diverging(on: Palette) -> tuple[str, ...]:
    """Brown is less, green is more, and the middle is the page's own panel."""
    return (*CHANGE[:3], on.panel, *CHANGE[3:])


def _cells(
    sheet: Sheet,
    columns: Sequence[float],
    rows: Sequence[float],
    colours: Sequence[str],
    *,
    height: float,
    edge: str,
    data: Sequence[Sequence[str]],
    hover: str,
    text: Sequence[str] | None = None,
    name: str,
) -> None:
    """Cells a column wide. They are bars and no heat map, because bars can be clicked.

    data: what each cell holds; its first part is what a click gives back. hover: one template for
    all cells, with %{customdata[1]} and so on (a text of its own for each of 3,721 is slow).
    """
    lettering = {}
    if text is not None:
        lettering = {
            "text": list(text),
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "constraintext": "none",
            "textfont": {"size": 11, "color": [readable(c) for c in colours]},
        }
    sheet.trace(
        "bar",
        x=[1] * len(columns),
        base=[column - 0.5 for column in columns],
        y=list(rows),
        width=[height] * len(columns),
        orientation="h",
        marker={"color": list(colours), "line": {"color": edge, "width": 1}},
        customdata=[list(one) for one in data],
        hovertemplate=f"{hover}<extra></extra>",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        cliponaxis=False,
        name=name,
        **lettering,
    )


def _box(sheet: Sheet, column: float, y: float, height: float, colour: str, width: float) -> None:
    sheet.shape(
        type="rect",
        x0=column - 0.5,
        x1=column + 0.5,
        y0=y - height / 2,
        y1=y + height / 2,
        line={"color": colour, "width": width},
        fillcolor="rgba(0,0,0,0)",
    )


def _heads(sheet: Sheet, names: Sequence[str], bottom: float, room: float, on: Palette) -> None:
    """Names over columns, standing upright; none where the columns are too narrow for letters."""
    if room < 9:
        return
    for k, name in enumerate(names):
        sheet.note(
            plain_text(textwrap.shorten(name, 16, placeholder="…")),
            k,
            bottom,
            colour=on.muted,
            size=11 if room >= 13 else 9,
            anchor="center",
            yanchor="bottom",
            textangle=-90,
        )


# Of a larger matrix each cell is a few pixels, and thousands of bars take a browser half a second.
MOST_CLICKED = 30


def _heat(
    sheet: Sheet,
    columns: Sequence[float],
    rows: Sequence[float],
    values: Sequence[float],
    stops: Sequence[str],
    limits: tuple[float, float],
    data: Sequence[Sequence[str]],
    hover: str,
) -> None:
    """Cells as one picture: drawn at once, but no click gives one back."""
    across, down = sorted(set(columns)), sorted(set(rows))
    place = [(down.index(y), across.index(x)) for x, y in zip(columns, rows, strict=True)]
    numbers = np.full((len(down), len(across)), np.nan)
    held = np.full((len(down), len(across), len(data[0])), "", dtype=object)
    for (row, column), value, one in zip(place, values, data, strict=True):
        numbers[row, column] = value
        held[row, column] = one
    sheet.trace(
        "heatmap",
        x=across,
        y=down,
        z=numbers.tolist(),
        customdata=held.tolist(),
        colorscale=[[k / (len(stops) - 1), colour] for k, colour in enumerate(stops)],
        zmin=limits[0],
        zmax=limits[1],
        xgap=1,
        ygap=1,
        showscale=False,
        hovertemplate=f"{hover}<extra></extra>",
        name="fits",
    )


def picked(event: object) -> tuple[str, ...]:
    """What was clicked of a figure of cells: the parts of its data, () where nothing was."""
    points = ((event or {}).get("selection") or {}).get("points") or []
    for point in points:
        data = point.get("customdata")
        first = data[0] if isinstance(data, list | tuple) and data else data
        if isinstance(first, str) and first:
            return tuple(first.split(BETWEEN))
    return ()


# ------------------------------------------------------------------------------------------------
# Who is it like


class _Shading(NamedTuple):
    """How the cells of a matrix are filled. limits: the values at both ends of stops, its colours.
    write: numbers into the cells. on: the page they lie on."""

    limits: tuple[float, float]
    stops: Sequence[str]
    write: bool
    on: Palette

    def colour(self, value: float) -> str:
        low, high = self.limits
        return shade(self.stops, (value - low) / (high - low))


def fit_matrix(
    cells: pd.DataFrame,
    personas: pd.DataFrame,
    order: Sequence[str],
    *,
    centred: bool = False,
    chosen: tuple[str, str] | None = None,
    label: str = "Closeness to people",
    dark: bool = False,
    narrow: bool = False,
) -> Figure:
    """Every persona against every country's people, and the place of its own country.

    cells: columns persona, country, value, centred. personas: columns iso3, name, own, rank,
    centred_rank, best_name. order: countries of rows and columns. centred: show what is left once
    what rows and columns have in common is taken out. chosen: a cell to mark. A click gives
    persona and country (see picked), of up to MOST_CLICKED countries.
    """
    on = palette(dark)
    names = personas.set_index("iso3")["name"]
    order = [iso3 for iso3 in order if iso3 in names.index]
    n = len(order)
    ranked = not narrow
    gutter = 92 if narrow else 132
    part = 0.76 if ranked else 1.0
    room = ((NARROW if narrow else WIDE) - gutter) * part / max(n, 1)
    step = 26 if n <= 20 else 15
    limits = _range(cells["centred" if centred else "value"].to_numpy(float), centred)
    stops = _diverging(on) if centred else CLOSENESS
    keys = _matrix_keys(label, *limits, stops, centred, narrow)
    head = 19 * len(keys) + (88 if room >= 9 else 60 if ranked else 12)
    height = head + n * step + 6
    sheet = Sheet(
        height,
        dark,
        xaxis=quiet_axis(range=[-0.5, n - 0.5], domain=[0, part - 0.02 if ranked else 1]),
        yaxis=quiet_axis(range=[height, 0]),
        barmode="overlay",
        bargap=0,
    )
    sheet.margin(gutter, 2)
    at = {iso3: head + step * (k + 0.5) for k, iso3 in enumerate(order)}
    shading = _Shading(limits, stops, n <= 20 and room >= 22, on)
    _draw_fits(sheet, cells, names, at, step, centred, shading)
    _draw_own(sheet, names, at, step, on)
    if chosen and set(chosen) <= set(order):
        marked = "#0B6E69" if not dark else "#5BC8BE"
        _box(sheet, order.index(chosen[1]), at[chosen[0]], step, marked, 3)
    _heads(sheet, [names[iso3] for iso3 in order], head - 6, room, on)
    for k, text in enumerate(keys):
        sheet.note(text, 0, 19 * k + 9, colour=on.muted, xref="paper", xshift=-gutter)
    if ranked:
        _draw_ranks(sheet, personas[personas["iso3"].isin(order)], at, n, head, part, on)
    return Figure(sheet.done(), _fit_table(personas), _fit_alt(personas, centred))


def _draw_fits(
    sheet: Sheet,
    cells: pd.DataFrame,
    names: pd.Series,
    at: dict[str, float],
    step: float,
    centred: bool,
    shading: _Shading,
) -> None:
    """The cells of fit_matrix. at: y of each country, in the order of the columns."""
    place = {iso3: k for k, iso3 in enumerate(at)}
    shown = cells[cells["persona"].isin(place) & cells["country"].isin(place)]
    values = shown["centred" if centred else "value"]
    hover = (
        "As a person from <b>%{customdata[1]}</b>, against people in <b>%{customdata[2]}</b>"
        "<br>%{customdata[3]} of 100; %{customdata[4]} beyond what both have anyway"
    )
    data = _fit_data(shown, names)
    columns, rows = [place[c] for c in shown["country"]], [at[p] for p in shown["persona"]]
    if len(place) > MOST_CLICKED:
        _heat(sheet, columns, rows, values, shading.stops, shading.limits, data, hover)
        return
    said = wording.signed if centred else wording.number
    _cells(
        sheet,
        columns,
        rows,
        [shading.colour(x) for x in values],
        height=step,
        edge=shading.on.page,
        data=data,
        hover=hover,
        text=[said(x, 0 if not centred else 1) for x in values] if shading.write else None,
        name="fits",
    )


def _fit_data(shown: pd.DataFrame, names: pd.Series) -> list[tuple[str, ...]]:
    """Of each cell what a click gives back, the two countries and its numbers."""
    said = {
        iso3: plain_text(wording.country(names[iso3]))
        for iso3 in {*shown["persona"], *shown["country"]}
    }
    return [
        (
            f"{row.persona}{BETWEEN}{row.country}",
            said[row.persona],
            said[row.country],
            wording.number(row.value),
            wording.signed(row.centred),
        )
        for row in shown.itertuples()
    ]


def _draw_own(
    sheet: Sheet, names: pd.Series, at: dict[str, float], step: float, on: Palette
) -> None:
    """Each persona's name, and its own country's cell outlined."""
    for k, (iso3, y) in enumerate(at.items()):
        _box(sheet, k, y, step, on.ink, 1.4)
        sheet.note(
            plain_text(textwrap.shorten(names[iso3], 20, placeholder="…")),
            0,
            y,
            colour=on.ink,
            size=12 if step > 20 else 11,
            xref="paper",
            anchor="right",
            xshift=-8,
        )


def _range(numbers: np.ndarray, centred: bool) -> tuple[float, float]:
    there = numbers[np.isfinite(numbers)]
    if not len(there):
        return 0.0, 1.0
    if centred:
        reach = max(1.0, float(np.ceil(np.abs(there).max())))
        return -reach, reach
    low, high = float(np.floor(there.min())), float(np.ceil(there.max()))
    return (low, high) if high > low else (low, low + 1)


def _matrix_keys(
    label: str, low: float, high: float, stops: Sequence[str], centred: bool, narrow: bool
) -> list[str]:
    ends = f"{wording.number(low, 0)} {_swatches(stops)} {wording.number(high, 0)}"
    what = label.lower()
    if centred:
        ends = f"{wording.signed(low, 0)} {_swatches(stops)} {wording.signed(high, 0)}"
        what = "points beyond what both have anyway"
    keys = [f"{ends}  {plain_text(what)}", "outlined: its own people"]
    return keys if narrow else ["; ".join(keys)]


def _draw_ranks(
    sheet: Sheet,
    personas: pd.DataFrame,
    at: dict[str, float],
    n: int,
    head: float,
    left: float,
    on: Palette,
) -> None:
    """On the right of the matrix: the own country's place among all, as scored and centred."""
    edge = (n - 1) * 0.06 + 0.4
    sheet.layout(xaxis2=quiet_axis(range=[1 - edge, n + edge], domain=[left + 0.02, 1]))
    bottom = max(at.values(), default=head) + 12
    for tick in dict.fromkeys((1, (n + 1) // 2, n)):
        sheet.line((tick, tick), (head - 2, bottom), colour=on.line, xref="x2", layer="below")
        sheet.note(str(tick), tick, head - 12, colour=on.muted, size=11, anchor="center", xref="x2")
    sheet.note("<b>Place of the own country</b>", 1 - edge, head - 62, colour=on.ink, xref="x2")
    for k, line in enumerate(("● as scored", "◆ once what all share is out")):
        sheet.note(line, 1 - edge, head - 45 + 15 * k, colour=on.muted, size=11, xref="x2")
    rows = personas[personas["rank"] > 0]
    for row in rows.itertuples():
        sheet.line(
            (row.rank, row.centred_rank),
            (at[row.iso3], at[row.iso3]),
            colour=on.line,
            width=2,
            xref="x2",
            layer="below",
        )
    looks = (("rank", "circle", on.too_small, 8), ("centred_rank", "diamond", on.ink, 9))
    for column, symbol, colour, size in looks:
        sheet.trace(
            "scatter",
            x=rows[column],
            y=[at[iso3] for iso3 in rows["iso3"]],
            xaxis="x2",
            mode="markers",
            marker={"symbol": symbol, "size": size, "color": colour},
            hovertemplate=[
                f"<b>{plain_text(r.name)}</b><br>place {r.rank} of {n} as scored, {r.centred_rank} "
                f"once what all share is out<br>fits best: {plain_text(r.best_name)}<extra></extra>"
                for r in rows.itertuples()
            ],
            name=column,
        )


def _fit_table(personas: pd.DataFrame) -> pd.DataFrame:
    columns = {
        "name": "As a person from",
        "zone": "Region",
        "own": "Score on its own people",
        "rank": "Place of the own country",
        "centred_rank": "Place once what all share is out",
        "best_name": "Fits best",
        "best_value": "Score there",
    }
    return tabled(personas.sort_values(["rank", "name"]), columns)


def _fit_alt(personas: pd.DataFrame, centred: bool) -> str:
    n = len(personas)
    first = int((personas["centred_rank" if centred else "rank"] == 1).sum())
    what = ", once what all share is taken out" if centred else ""
    return (
        f"How well the answers as a person from each of {n} countries fit people in each: "
        f"{wording.some(first, n)} fit their own people best{what}."
    )


# ------------------------------------------------------------------------------------------------
# How far apart are they


def distance_matrix(
    table: pd.DataFrame,
    names: dict[str, str],
    *,
    title: str,
    top: float,
    dark: bool = False,
    narrow: bool = False,
) -> Figure:
    """How far countries lie from one another (of 100). table: iso3 on both sides, in their order.

    top: the distance of the strongest colour, so that two tables can be compared.
    """
    on = palette(dark)
    order = list(table.columns)
    n = len(order)
    gutter = 92 if narrow else 108
    room = (NARROW if narrow else WIDE / 2) - gutter
    step = max(7.0, min(20.0, 380 / max(n, 1)))
    letters = step >= 10
    head = 44
    height = round(head + n * step + 4)
    sheet = Sheet(
        height,
        dark,
        xaxis=quiet_axis(range=[-0.5, n - 0.5]),
        yaxis=quiet_axis(range=[height, 0]),
        xaxis_showspikes=False,
    )
    sheet.margin(gutter if letters else 0, 0)
    stops = (on.panel, *(FAR_DARK if dark else FAR))
    shown = table.to_numpy(float)
    sheet.trace(
        "heatmap",
        x=list(range(n)),
        y=[head + step * (k + 0.5) for k in range(n)],
        z=shown,
        zmin=0,
        zmax=top,
        colorscale=[[k / 3, colour] for k, colour in enumerate(stops)],
        showscale=False,
        xgap=1 if n <= 20 else 0,
        ygap=1 if n <= 20 else 0,
        customdata=[[f"{names[a]} and {names[b]}" for b in order] for a in order],
        hovertemplate="<b>%{customdata}</b><br>%{z:.1f} of 100 apart<extra></extra>",
        hoverongaps=False,
        name=title,
    )
    if letters:
        for k, iso3 in enumerate(order):
            sheet.note(
                plain_text(textwrap.shorten(names[iso3], 16, placeholder="…")),
                0,
                head + step * (k + 0.5),
                colour=on.ink,
                size=11,
                xref="paper",
                anchor="right",
                xshift=-6,
            )
    shift = -gutter if letters else 0
    sheet.note(f"<b>{plain_text(title)}</b>", 0, 9, colour=on.ink, xref="paper", xshift=shift)
    swatches = "".join(coloured("■", shade(stops, k / 6)) for k in range(7))
    apart = wording.number(_mean_apart(shown))
    sheet.note(
        f"0 {swatches} {wording.number(top, 0)} of 100 apart; on average {apart}",
        0,
        28,
        colour=on.muted,
        size=11,
        xref="paper",
        xshift=shift,
    )
    twin = table.rename(index=names, columns=names).round(1).rename_axis(title).reset_index()
    alt = f"{title}: {n} countries lie {apart} of 100 apart on average."
    if room <= 0 or n < 2:
        alt = f"{title}: nothing to compare."
    return Figure(sheet.done(), twin, alt)


def _mean_apart(table: np.ndarray) -> float:
    pairs = table[np.triu_indices(len(table), 1)]
    pairs = pairs[np.isfinite(pairs)]
    return float(pairs.mean()) if len(pairs) else math.nan


# ------------------------------------------------------------------------------------------------
# Topics by country


def topic_grid(
    df: pd.DataFrame,
    order: Sequence[str],
    *,
    metric: str = "emd",
    label: str = "Closeness to people",
    dark: bool = False,
    narrow: bool = False,
) -> Figure:
    """Scores by topic (rows) and country (columns), or changes where df has a column clear.

    df: columns topic, iso3, name, value, low, high; items, or q and clear. order: of the
    countries. A change that is not clear is drawn pale. A click gives topic and iso3.
    """
    on = palette(dark)
    change = "clear" in df
    topics = list(dict.fromkeys(df["topic"]))
    names = df.drop_duplicates("iso3").set_index("iso3")["name"]
    order = [iso3 for iso3 in order if iso3 in names.index]
    n = len(order)
    gutter = 0 if narrow else 262
    room = ((NARROW if narrow else WIDE) - gutter) / max(n, 1)
    step, tall = (36, 18) if narrow else (26, 26)
    head = (40 if narrow and change else 22) + (88 if room >= 9 else 8)
    height = head + step * len(topics) + 8
    sheet = Sheet(
        height,
        dark,
        xaxis=quiet_axis(range=[-0.5, n - 0.5]),
        yaxis=quiet_axis(range=[height, 0]),
        barmode="overlay",
        bargap=0,
    )
    sheet.margin(gutter, 2)
    at = {topic: head + step * (k + 1) - tall / 2 for k, topic in enumerate(topics)}
    reach = 3 * scale(metric).step
    limits = (-reach, reach) if change else (scale(metric).limits[0], scale(metric).limits[-1])
    stops = _diverging(on) if change else CLOSENESS
    shading = _Shading(limits, stops, n <= 20 and room >= 22, on)
    _draw_topic_cells(sheet, df, order, at, tall, shading)
    _draw_topic_names(sheet, at, tall, narrow, on)
    _heads(sheet, [names[iso3] for iso3 in order], head - 6, room, on)
    for k, text in enumerate(_topic_keys(label, limits, stops, change, narrow)):
        sheet.note(text, 0, 9 + 18 * k, colour=on.muted, xref="paper", xshift=-gutter)
    return Figure(sheet.done(), _topic_table(df, change), _topic_alt(df, change, label))


def _draw_topic_cells(
    sheet: Sheet,
    df: pd.DataFrame,
    order: Sequence[str],
    at: dict[str, float],
    tall: float,
    shading: _Shading,
) -> None:
    """The cells of topic_grid. at: y of each topic."""
    change = "clear" in df
    place = {iso3: k for k, iso3 in enumerate(order)}
    said = wording.signed if change else wording.number
    colours, letters = [], []
    for row in df.itertuples():
        colour, sure = shading.colour(row.value), not change or row.clear
        colours.append(colour if sure else shade((shading.on.panel, colour), 0.16))
        letters.append(said(row.value, 0) if sure else "")
    _cells(
        sheet,
        [place[iso3] for iso3 in df["iso3"]],
        [at[topic] for topic in df["topic"]],
        colours,
        height=tall,
        edge=shading.on.page,
        data=[(f"{r.topic}{BETWEEN}{r.iso3}", *_topic_words(r, change)) for r in df.itertuples()],
        hover="<b>%{customdata[1]}</b><br>%{customdata[2]}<br>%{customdata[3]}<br>%{customdata[4]}",
        text=letters if shading.write else None,
        name="topics",
    )


def _draw_topic_names(
    sheet: Sheet, at: dict[str, float], tall: float, narrow: bool, on: Palette
) -> None:
    """Topics beside their rows, on a telephone above them."""
    where = {"anchor": "left", "xshift": 0} if narrow else {"anchor": "right", "xshift": -8}
    for topic, y in at.items():
        text = plain_text(textwrap.shorten(topic, 44, placeholder="…"))
        y = y - tall / 2 - 8 if narrow else y
        sheet.note(text, 0, y, colour=on.ink, size=11 if narrow else 12, xref="paper", **where)


def _topic_keys(
    label: str, limits: tuple[float, float], stops: Sequence[str], change: bool, narrow: bool
) -> list[str]:
    said = wording.signed if change else wording.number
    ends = f"{said(limits[0], 0)} {_swatches(stops)} {said(limits[1], 0)}"
    keys = [f"{ends}  {plain_text(label.lower())}{', points closer' if change else ''}"]
    if change:
        keys.append("pale: too small to call")
    return keys if narrow else ["; ".join(keys)]


def _topic_words(row: object, change: bool) -> tuple[str, str, str, str]:
    """Topic, country, the number with its interval, and what is to be thought of it."""
    between = wording.interval(row.low, row.high)
    beside = f", {between}" if between else ""
    if change:
        number = f"{wording.signed(row.value)} points{beside}"
        remark = "clear" if row.clear else "too small to call, with so many looked at"
    else:
        number = f"{wording.number(row.value)} of 100{beside}"
        remark = wording.count(int(row.items), "question")
    return plain_text(row.topic), plain_text(row.name), number, remark


def _topic_table(df: pd.DataFrame, change: bool) -> pd.DataFrame:
    columns = {
        "topic": "Topic",
        "name": "Country",
        "value": "Change" if change else "Score",
        "low": "Low",
        "high": "High",
        "items": "Questions",
    }
    table = tabled(df, columns)
    if change:
        table["Remark"] = np.where(df["clear"], "", "too small to call")
    return table


def _topic_alt(df: pd.DataFrame, change: bool, label: str) -> str:
    if df.empty:
        return f"{label} by topic and country: no scores yet."
    what = f"{df['topic'].nunique()} topics in {df['iso3'].nunique()} countries"
    if change:
        clear = df[df["clear"].eq(True)]
        up = int((clear["value"] > 0).sum())
        return f"Changes on {what}: clearly closer in {up}, further away in {len(clear) - up}."
    best, worst = df.loc[df["value"].idxmax()], df.loc[df["value"].idxmin()]
    return (
        f"{label} on {what}: highest on {best['topic']} in {wording.country(best['name'])} "
        f"({wording.number(best['value'])}), lowest on {worst['topic']} in "
        f"{wording.country(worst['name'])} ({wording.number(worst['value'])})."
    )

"""Figures of the page Compare: who is like whom, how different, where on the map of values.

As in core/figures/maps.py, each function takes a tidy table and gives a figure, the same numbers
as a table and a sentence. docs/look.md says why they look as they do.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

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
    ink_of,
    palette,
    plain_text,
    quiet_axis,
    scale,
    series,
    tabled,
    wrapped,
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
    place = {iso3: k for k, iso3 in enumerate(order)}
    n = len(order)
    ranked = not narrow
    gutter = 92 if narrow else 132
    part = 0.76 if ranked else 1.0
    room = ((NARROW if narrow else WIDE) - gutter) * part / max(n, 1)
    step = 26 if n <= 20 else 15
    column = "centred" if centred else "value"
    numbers = cells[column].to_numpy(float)
    low, high = _range(numbers, centred)
    stops = _diverging(on) if centred else CLOSENESS
    keys = _matrix_keys(label, low, high, stops, centred, narrow)
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
    at = {iso3: head + step * (k + 0.5) for iso3, k in place.items()}
    shown = cells[cells["persona"].isin(order) & cells["country"].isin(order)]
    said_of = {iso3: plain_text(wording.country(names[iso3])) for iso3 in order}
    hover = (
        "As a person from <b>%{customdata[1]}</b>, against people in <b>%{customdata[2]}</b>"
        "<br>%{customdata[3]} of 100; %{customdata[4]} beyond what both have anyway"
    )
    data = [
        (
            f"{row.persona}{BETWEEN}{row.country}",
            said_of[row.persona],
            said_of[row.country],
            wording.number(row.value),
            wording.signed(row.centred),
        )
        for row in shown.itertuples()
    ]
    columns, rows = [place[c] for c in shown["country"]], [at[p] for p in shown["persona"]]
    if n > MOST_CLICKED:
        _heat(sheet, columns, rows, shown[column], stops, (low, high), data, hover)
    else:
        said = wording.signed if centred else wording.number
        write = n <= 20 and room >= 22
        _cells(
            sheet,
            columns,
            rows,
            [shade(stops, (x - low) / (high - low)) for x in shown[column]],
            height=step,
            edge=on.page,
            data=data,
            hover=hover,
            text=[said(x, 0 if not centred else 1) for x in shown[column]] if write else None,
            name="fits",
        )
    for iso3 in order:
        _box(sheet, place[iso3], at[iso3], step, on.ink, 1.4)
        sheet.note(
            plain_text(textwrap.shorten(names[iso3], 20, placeholder="…")),
            0,
            at[iso3],
            colour=on.ink,
            size=12 if step > 20 else 11,
            xref="paper",
            anchor="right",
            xshift=-8,
        )
    if chosen and set(chosen) <= set(order):
        _box(sheet, place[chosen[1]], at[chosen[0]], step, "#0B6E69" if not dark else "#5BC8BE", 3)
    _heads(sheet, [names[iso3] for iso3 in order], head - 6, room, on)
    for k, text in enumerate(keys):
        sheet.note(text, 0, 19 * k + 9, colour=on.muted, xref="paper", xshift=-gutter)
    if ranked:
        _draw_ranks(sheet, personas[personas["iso3"].isin(order)], at, n, head, part, on)
    return Figure(sheet.done(), _fit_table(personas), _fit_alt(personas, centred))


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
    hover = [_separating_hover(row, persona, country) for row in df.itertuples()]
    looks = (
        ("own", "circle", 10, on.people, on.page),
        ("other", "circle-open", 10, on.people, on.people),
        ("model", look.symbol, 12, look.colour, on.page),
    )
    for column, symbol, size, colour, edge in looks:
        sheet.trace(
            "scatter",
            x=df[column],
            y=at,
            mode="markers",
            marker={
                "symbol": symbol,
                "size": size,
                "color": colour,
                "line": {"color": edge, "width": 1.5},
            },
            customdata=[[item] for item in df["item"]],
            hovertemplate=[f"{text}<extra></extra>" for text in hover],
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
            cliponaxis=False,
            name=column,
        )
    table = pd.DataFrame(
        {
            "Question": df["label"],
            "From": df["low"],
            "To": df["high"],
            f"People in {wording.country(persona)}": (df["own"] * 100).round(0),
            f"People in {wording.country(country)}": (df["other"] * 100).round(0),
            "Model": (df["model"] * 100).round(0),
            "Nearer its own people by": df["lean"].round(1),
        }
    )
    alt = "No question tells the two apart."
    if len(df):
        nearer = int((df["lean"] > 0).sum())
        alt = (
            f"{wording.count(len(df), 'question')} on which people in {wording.country(persona)} "
            "and "
            f"{wording.country(country)} differ most: on {nearer} the model as a person from "
            f"{wording.country(persona)} is nearer its own."
        )
    return Figure(sheet.done(), table.reset_index(drop=True), alt)


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
# How different are they


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
    on = palette(dark)
    df = df.dropna(subset=["value", "ratio"]).reset_index(drop=True)
    ceiling, others = df["ceiling"].mean(), df["others"].mean()
    right = max(1.12, *(x + 0.08 for x in df["ratio"])) if len(df) else 1.12
    floor = scale(metric).axis[0]
    low = min([floor, *df["low"].dropna(), *df["value"]])
    high = max([x for x in (ceiling, *df["high"].dropna()) if math.isfinite(x)], default=100) + 1.5
    height = 400
    sheet = Sheet(
        height,
        dark,
        xaxis=quiet_axis(range=[-0.03, right]),
        yaxis=quiet_axis(range=[low - 1, high]),
    )
    sheet.margin(34, 8, 8, 58)
    for tick in np.arange(0, right, 0.2):
        sheet.line((tick, tick), (low - 1, high), colour=on.line, layer="below")
        sheet.note(
            f"{round(tick * 100)}%",
            float(tick),
            0,
            colour=on.muted,
            size=11,
            anchor="center",
            yref="paper",
            yshift=-12,
        )
    spacing = 5 if high - low <= 40 else 20
    for tick in range(math.ceil(low / spacing) * spacing, int(high) + 1, spacing):
        sheet.line((-0.03, right), (tick, tick), colour=on.line, layer="below")
        sheet.note(
            str(tick), 0, tick, colour=on.muted, size=11, anchor="right", xref="paper", xshift=-6
        )
    sheet.shape(
        type="rect", x0=-0.03, x1=0.6, y0=low - 1, y1=high, fillcolor=on.panel, layer="below"
    )
    sheet.note(
        "may be a stereotype" if narrow else "below 60% a score may be a stereotype",
        0.59,
        high,
        colour=on.muted,
        size=11,
        anchor="right",
        yshift=-10,
    )
    if math.isfinite(others):
        sheet.line((-0.03, right), (others, others), colour=on.muted, dash="dot")
        sheet.note(
            wording.OTHERS, right, others, colour=on.muted, size=11, anchor="right", yshift=9
        )
    if math.isfinite(ceiling):
        sheet.trace(
            "scatter",
            x=[1],
            y=[ceiling],
            mode="markers+text",
            text=["<b>people</b>"],
            textposition="middle left",
            textfont={"size": 12, "color": on.ink},
            marker={"size": 12, "color": on.people},
            hovertemplate=f"<b>People</b><br>{wording.CEILING}: {wording.number(ceiling)} of 100"
            "<extra></extra>",
            cliponaxis=False,
            name="people",
        )
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
                "color": [look.colour if m else on.page for m in own],
                "line": {"color": look.text_dark if dark else look.text, "width": 1.4},
            },
            customdata=[[run] for run in part["run"]],
            hovertemplate=[_standing_hover(row) for row in part.itertuples()],
            cliponaxis=False,
            name=method,
        )
    below = {"xref": "paper", "yref": "paper", "size": 12}
    sheet.note(
        "<b>Difference between countries, as a share of people’s →</b>",
        0.5, 0, colour=on.ink, anchor="center", yshift=-34, **below,
    )  # fmt: skip
    sheet.note(
        f"<b>{plain_text(label)} →</b>",
        0, 0.5, colour=on.ink, anchor="center", xshift=-28, textangle=-90, **below,
    )  # fmt: skip
    columns = {"name": "Run", "value": "Score", "low": "Low", "high": "High"}
    table = tabled(df.sort_values("value", ascending=False), columns)
    table["Diversity (% of people’s)"] = (
        df.sort_values("value", ascending=False)["ratio"] * 100
    ).round(1).to_numpy()  # fmt: skip
    alt = "No run has a score yet."
    if len(row := df[df["run"] == mine]):
        alt = (
            f"{len(df)} runs by closeness and diversity. This one scores "
            f"{wording.number(row['value'].iloc[0])} of 100 and differs between countries "
            f"{wording.percent(row['ratio'].iloc[0])} as much as people do."
        )
    return Figure(sheet.done(), table, alt)


def _standing_hover(row: object) -> str:
    return (
        f"<b>{wrapped(plain_text(row.name), 44)}</b><br>{wording.number(row.value)} of 100"
        f"{', ' + between if (between := wording.interval(row.low, row.high)) else ''}<br>"
        f"differs between countries {wording.percent(row.ratio)} as much as people do<br>"
        f"run {row.run}<extra></extra>"
    )


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
    place = {iso3: k for k, iso3 in enumerate(order)}
    n = len(order)
    gutter = 0 if narrow else 262
    room = ((NARROW if narrow else WIDE) - gutter) / max(n, 1)
    step = 36 if narrow else 26
    tall = 18 if narrow else 26
    heads = 88 if room >= 9 else 8
    head = (40 if narrow and change else 22) + heads
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
    low, high = (-reach, reach) if change else (scale(metric).limits[0], scale(metric).limits[-1])
    stops = _diverging(on) if change else CLOSENESS
    colours = [
        shade(stops, (row.value - low) / (high - low))
        if not change or row.clear
        else shade((on.panel, shade(stops, (row.value - low) / (high - low))), 0.16)
        for row in df.itertuples()
    ]
    said = wording.signed if change else wording.number
    write = n <= 20 and room >= 22
    letters = [said(row.value, 0) if not change or row.clear else "" for row in df.itertuples()]
    _cells(
        sheet,
        [place[iso3] for iso3 in df["iso3"]],
        [at[topic] for topic in df["topic"]],
        colours,
        height=tall,
        edge=on.page,
        data=[(f"{r.topic}{BETWEEN}{r.iso3}", *_topic_words(r, change)) for r in df.itertuples()],
        hover="<b>%{customdata[1]}</b><br>%{customdata[2]}<br>%{customdata[3]}<br>%{customdata[4]}",
        text=letters if write else None,
        name="topics",
    )
    for topic in topics:
        if narrow:
            where = {"y": at[topic] - tall / 2 - 8, "anchor": "left", "xshift": 0}
        else:
            where = {"y": at[topic], "anchor": "right", "xshift": -8}
        text = textwrap.shorten(topic, 44, placeholder="…")
        y = where.pop("y")
        sheet.note(plain_text(text), 0, y, colour=on.ink, size=11 if narrow else 12,
                   xref="paper", **where)  # fmt: skip
    _heads(sheet, [names[iso3] for iso3 in order], head - 6, room, on)
    ends = f"{said(low, 0)} {_swatches(stops)} {said(high, 0)}"
    keys = [f"{ends}  {plain_text(label.lower())}{', points closer' if change else ''}"]
    if change:
        keys.append("pale: too small to call")
    if not narrow:
        keys = ["; ".join(keys)]
    for k, text in enumerate(keys):
        sheet.note(text, 0, 9 + 18 * k, colour=on.muted, xref="paper", xshift=-gutter)
    return Figure(sheet.done(), _topic_table(df, change), _topic_alt(df, change, label))


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
    ends = [x for column in ("value", "low", "high") for x in df[column] if math.isfinite(x)]
    low = min([scale(metric).axis[0], *(math.floor(x) for x in ends)])
    high = max([scale(metric).axis[1], *(math.ceil(x) for x in ends)])
    sheet = Sheet(
        height, dark, xaxis=quiet_axis(range=[low, high]), yaxis=quiet_axis(range=[height, 0])
    )
    sheet.margin(gutter, 44)
    spacing = 5 if high - low <= 40 else 10 if high - low <= 80 else 20
    for tick in range(math.ceil(low / spacing) * spacing, int(high) + 1, spacing):
        sheet.line((tick, tick), (head - 6, height), colour=on.line, layer="below")
        text = wording.number(tick, 0)
        sheet.note(text, tick, head - 15, colour=on.muted, size=11, anchor="center")
    at = [head + step * (k + 0.5) + (7 if narrow else 0) for k in range(len(df))]
    if not narrow:
        sheet.note(
            plain_text(label), 0, head - 15, colour=on.muted, size=11, xref="paper",
            anchor="right", xshift=-12,
        )  # fmt: skip
    for y, row in zip(at, df.itertuples(), strict=True):
        line = row.kind == "line"
        colour = on.muted if line else ink_of(row.kind, dark)
        name = plain_text(row.name if line or not narrow else textwrap.shorten(row.name, 46,
                          placeholder="…"))  # fmt: skip
        sheet.note(
            name if line else f"<b>{name}</b>",
            0,
            y - 17 if narrow else y,
            colour=colour,
            xref="paper",
            xshift=-gutter if narrow else -12,
            anchor="left" if narrow else "right",
        )
        sheet.note(
            wording.number(row.value) if line else f"<b>{wording.number(row.value)}</b>",
            1,
            y,
            colour=colour,
            xref="paper",
            anchor="right",
            xshift=44,
        )
        if line:
            sheet.line((low, row.value), (y, y), colour=on.line, width=6, layer="below")
            sheet.line((row.value, row.value), (y - 8, y + 8), colour=on.ink, width=2)
        elif math.isfinite(row.low):
            sheet.line((row.low, row.high), (y, y), colour=colour, width=2, layer="below")
    for y, row in zip(at, df.itertuples(), strict=True):
        if row.kind == "line":
            continue
        look = series(row.kind)
        sheet.trace(
            "scatter",
            x=[row.value],
            y=[y],
            mode="markers",
            marker={
                "symbol": look.symbol,
                "size": 13,
                "color": look.colour,
                "line": {"color": look.text, "width": 1},
            },
            hovertemplate=f"<b>{plain_text(row.name)}</b><br>{wording.number(row.value)} of 100"
            f"<br>{wording.interval(row.low, row.high)}<extra></extra>",
            cliponaxis=False,
            name=row.key,
        )
    table = tabled(df, {"name": "What", "value": "Score", "low": "Low", "high": "High"})
    said = [f"{row.name} {wording.number(row.value)}" for row in df.itertuples()]
    return Figure(sheet.done(), table, f"{label}, highest first: {'; '.join(said)}.")


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

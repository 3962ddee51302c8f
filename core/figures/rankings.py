"""Countries, topics and ways of asking in order of their scores: rows of dots."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from core import wording
from core.figures.base import (
    CHANGE,
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
)
from core.figures.maps import (
    SCORE_COLUMNS,
    change_alt,
    change_hover,
    change_table,
    score_alt,
    score_hover,
    score_table,
    states_of,
    value_words,
)


class _Row(NamedTuple):
    """A line of a list of dots; a heading where there is no value."""

    name: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    floor: float = math.nan
    others: float = math.nan
    ceiling: float = math.nan
    before: float = math.nan
    kind: str = "country"
    colour: str = ""
    hover: str = ""
    id: str = ""


_NUMBERS = ("value", "low", "high", "floor", "others", "ceiling", "before")


def _row(row: object, name: str, kind: str, hover: str, id: str, **more: object) -> _Row:
    numbers = {column: value_words(row, column) for column in _NUMBERS}
    return _Row(**{"name": name, **numbers, "kind": kind, "hover": hover, "id": id, **more})


def closeness_bars(
    df: pd.DataFrame,
    *,
    metric: str = "emd",
    label: str = "Closeness to people",
    kind: str = "country",
    before: pd.DataFrame | None = None,
    before_kind: str = "plain",
    by_region: bool = False,
    muted: bool = False,
    dark: bool = False,
    narrow: bool = False,
) -> Figure:
    """The map's countries as a list: a dot and its interval, between floor and ceiling.

    df, before: as for closeness_map; before draws where each country started. kind: how df was
    asked (as series() takes it). by_region: the regions one after another, best first, and their
    countries within. muted: all in grey, for a ranking that is not to be read.
    """
    scored, _ = states_of(df)
    scored = scored.sort_values(["value", "name"], ascending=[False, True])
    if before is not None:
        start = before.dropna(subset="value").set_index("iso3")["value"]
        scored = scored.assign(before=scored["iso3"].map(start))
    groups = [("", scored)]
    if by_region:
        means = scored.groupby("region")["value"].mean().sort_values(ascending=False)
        groups = [
            (f"{region}  {wording.number(mean)}", scored[scored["region"] == region])
            for region, mean in means.items()
        ]
    grey = palette(dark).too_small if muted else ""
    rows = []
    for region, group in groups:
        rows += [_Row(region)] if region else []
        rows += [
            _row(row, row.name, kind, score_hover(row, dark), row.iso3, colour=grey)
            for row in group.itertuples()
        ]
    keys: list[str] = []
    if muted and rows:
        keys = _row_keys(rows, before_kind, palette(dark))
        keys[0] = f"{coloured('●', grey)} {series(kind).label}, too unsteady to rank"
    sheet = _rows_of_dots(
        rows, scale(metric).axis, before_kind, dark, names=_gutter(narrow), keys=keys
    )
    return Figure(sheet.done(), score_table(df), score_alt(scored, label))


def change_bars(
    df: pd.DataFrame,
    *,
    metric: str = "emd",
    label: str = "Change in closeness",
    dark: bool = False,
    narrow: bool = False,
) -> Figure:
    """The map of changes as a list. df: as for change_map; what is not clear is drawn grey."""
    scored, _ = states_of(df)
    scored = scored.sort_values(["value", "name"], ascending=[False, True])
    on = palette(dark)
    rows = []
    for row in scored.itertuples():
        colour = (CHANGE[4] if row.value > 0 else CHANGE[1]) if row.clear else on.too_small
        rows.append(_row(row, row.name, "change", change_hover(row), row.iso3, colour=colour))
    reach = 3 * scale(metric).step
    keys = [
        f"{coloured('●', CHANGE[4])} closer   {coloured('●', CHANGE[1])} further away   "
        f"{coloured('●', on.too_small)} too small to call"
    ]
    sheet = _rows_of_dots(
        rows, (-reach, reach), "", dark, names=_gutter(narrow), keys=keys, tick=wording.signed
    )
    return Figure(sheet.done(), change_table(df), change_alt(scored, label))


def method_bars(
    df: pd.DataFrame,
    *,
    metric: str = "emd",
    label: str = "Closeness to people",
    dark: bool = False,
) -> Figure:
    """Ways of asking beside one another. df: columns method, name, value; low, high, floor,
    others, ceiling and items where there are any. In the order given."""
    df = df.dropna(subset="value")
    rows = [
        _row(row, row.name, row.method, score_hover(row, dark), row.method)
        for row in df.itertuples()
    ]
    sheet = _rows_of_dots(rows, scale(metric).axis, "", dark)
    columns = {"name": "Way of asking", **SCORE_COLUMNS}
    said = [f"“{row.name}” {wording.number(row.value)} of 100" for row in df.itertuples()]
    alt = f"{label} by way of asking: {wording.listed(said) or 'no scores yet'}."
    return Figure(sheet.done(), tabled(df, columns), alt)


def topic_bars(
    df: pd.DataFrame,
    *,
    metric: str = "emd",
    label: str = "Closeness to people",
    kind: str = "country",
    before_kind: str = "plain",
    dark: bool = False,
) -> Figure:
    """One score a topic. df: columns topic, value; low, high, floor, others, ceiling, items and
    before (the plain run's value) where there are any. Best first."""
    df = df.dropna(subset="value").sort_values(["value", "topic"], ascending=[False, True])
    named = df.rename(columns={"topic": "name"})
    rows = [
        _row(row, row.name, kind, score_hover(row, dark), row.name) for row in named.itertuples()
    ]
    sheet = _rows_of_dots(rows, scale(metric).axis, before_kind, dark)
    columns = {
        "topic": "Topic",
        **SCORE_COLUMNS,
        "before": wording.capital(series(before_kind).label),
    }
    alt = f"{label} by topic: no scores yet."
    if len(df):
        best, worst = df.iloc[0], df.iloc[-1]
        alt = (
            f"{label} by topic: best on {best['topic']} ({wording.number(best['value'])} of 100), "
            f"worst on {worst['topic']} ({wording.number(worst['value'])})."
        )
    return Figure(sheet.done(), tabled(df, columns), alt)


def nearest_bars(df: pd.DataFrame, *, name: str, dark: bool = False) -> Figure:
    """The countries nearest to one, by how alike the answers are.

    df: columns name, value (of 100; 100 is the same answers). name: the country they are near.
    """
    df = df.sort_values(["value", "name"], ascending=[False, True]).reset_index(drop=True)
    on = palette(dark)
    step = 32
    low = min([60.0, *df["value"]])
    height = max(1, len(df)) * step
    sheet = Sheet(
        height, dark, xaxis=quiet_axis(range=[low, 100]), yaxis=quiet_axis(range=[height, 0])
    )
    sheet.margin(right=8)
    at = [step * (k + 0.5) + 8 for k in range(len(df))]
    for y, country, value in zip(at, df["name"], df["value"], strict=True):
        sheet.line((low, 100), (y, y), colour=on.line, layer="below")
        sheet.note(plain_text(country), 0, y - 12, colour=on.ink, xref="paper")
        sheet.note(
            wording.number(value),
            1,
            y - 12,
            colour=on.muted,
            xref="paper",
            anchor="right",
            xshift=8,
        )
    sheet.trace(
        "scatter",
        x=df["value"],
        y=at,
        mode="markers",
        marker={"size": 8, "color": on.people},
        hovertemplate=[
            f"<b>{plain_text(n)}</b><br>{wording.number(v)} of 100<extra></extra>"
            for n, v in zip(df["name"], df["value"], strict=True)
        ],
        cliponaxis=False,
    )
    said = [f"{wording.country(row.name)} ({wording.number(row.value)})" for row in df.itertuples()]
    near = wording.listed(said, most=5) or "nobody to compare"
    alt = f"Nearest to {wording.country(name)}: {near}."
    return Figure(sheet.done(), tabled(df, {"name": "Country", "value": "Closeness"}), alt)


def _gutter(narrow: bool) -> int:
    """Pixels for names at the left of a list."""
    return 112 if narrow else 138


def _rows_of_dots(
    rows: Sequence[_Row],
    axis: tuple[float, float],
    before_kind: str,
    dark: bool,
    *,
    names: int = 0,
    keys: Sequence[str] = (),
    tick: Callable[..., str] = wording.number,
) -> Sheet:
    """Dots with intervals on a band from floor to ceiling.

    names: pixels for names at the left; 0 puts each over its dot. keys: the legend's lines, made
    from the rows where empty.
    """
    on = palette(dark)
    keys = keys or _row_keys(rows, before_kind, on)
    step = 23 if names else 42
    head = 18 * len(keys) + 26
    height = head + step * max(1, len(rows)) + 4
    numbers = [x for row in rows for x in row[1:8] if math.isfinite(x)]
    low = min([axis[0], *(math.floor(x) for x in numbers)])
    high = max([axis[1], *(math.ceil(x) for x in numbers)])
    left = names or 12
    sheet = Sheet(
        height, dark, xaxis=quiet_axis(range=[low, high]), yaxis=quiet_axis(range=[height, 0])
    )
    sheet.margin(left, 14)
    at = [head + step * (k + 0.5) + (0 if names else 8) for k in range(len(rows))]
    spacing = 5 if high - low <= 30 else 10 if high - low <= 80 else 20
    for value in range(math.ceil(low / spacing) * spacing, int(high) + 1, spacing):
        colour = on.muted if value == 0 and low < 0 else on.line
        sheet.line((value, value), (head - 6, height), colour=colour, layer="below")
        text = tick(value, 0)
        sheet.note(text, value, head - 14, colour=on.muted, size=11, anchor="center")
    for y, row in zip(at, rows, strict=True):
        heading = not math.isfinite(row.value)
        sheet.note(
            f"<b>{plain_text(row.name)}</b>" if heading else plain_text(row.name),
            0,
            y + (3 if heading else 0) if names else y - 17,
            colour=on.ink,
            xref="paper",
            xshift=-left,
        )
        _draw_lines(sheet, row, y, on, dark)
    for kind in dict.fromkeys(row.kind for row in rows):
        dots = [(y, row) for y, row in zip(at, rows, strict=True) if row.kind == kind]
        dots = [(y, row) for y, row in dots if math.isfinite(row.value)]
        past = [(y, row.before, row) for y, row in dots if math.isfinite(row.before)]
        if past:
            _add_dots(sheet, past, before_kind, 8)
        if dots:
            _add_dots(sheet, [(y, row.value, row) for y, row in dots], kind, 10)
    for k, text in enumerate(keys):
        sheet.note(text, 0, 18 * k + 9, colour=on.muted, xref="paper", xshift=-left)
    return sheet


def _draw_lines(sheet: Sheet, row: _Row, y: float, on: Palette, dark: bool) -> None:
    """What lies under a row's dot: the band, the guess without a country, the interval."""
    if math.isfinite(row.floor) and math.isfinite(row.ceiling):
        sheet.shape(
            type="rect", x0=row.floor, x1=row.ceiling, y0=y - 4, y1=y + 4, fillcolor=on.land,
            layer="below",
        )  # fmt: skip
    if math.isfinite(row.others):
        sheet.line(
            (row.others, row.others), (y - 6, y + 6), colour=on.ink, width=1.2, layer="below"
        )
    if math.isfinite(row.low) and math.isfinite(row.high):
        colour = row.colour or ink_of(row.kind, dark)
        sheet.line((row.low, row.high), (y, y), colour=colour, width=1.6, layer="below")


def _row_keys(rows: Sequence[_Row], before_kind: str, on: Palette) -> list[str]:
    """The legend of a list of dots, in two short lines."""
    kinds = list(dict.fromkeys(row.kind for row in rows if math.isfinite(row.value)))
    if any(math.isfinite(row.before) for row in rows):
        kinds.insert(0, before_kind)
    # Where every row is a way of asking of its own, its name says so already.
    looks = [series(kind) for kind in kinds] if len(kinds) <= 2 else []
    keys = ["   ".join(f"{coloured(look.sign, look.colour)} {look.label}" for look in looks)]
    lines = []
    if any(math.isfinite(row.others) for row in rows):
        lines.append(f"<b>|</b> {wording.OTHERS}")
    if any(math.isfinite(row.floor) for row in rows):
        lines.append(f"{coloured('▬', on.land)} even odds to another sample")
    return [key for key in (*keys, "   ".join(lines)) if key]


def _add_dots(
    sheet: Sheet, dots: Sequence[tuple[float, float, _Row]], kind: str, size: int
) -> None:
    look = series(kind)
    sheet.trace(
        "scatter",
        x=[x for _, x, _ in dots],
        y=[y for y, _, _ in dots],
        mode="markers",
        marker={
            "symbol": "circle" if dots[0][2].colour else look.symbol,
            "size": size,
            "color": [row.colour or look.colour for *_, row in dots],
            "line": {"color": [row.colour or look.text for *_, row in dots], "width": 1},
        },
        customdata=[[row.id] for *_, row in dots],
        hovertemplate=[f"{row.hover}<extra></extra>" for *_, row in dots],
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        cliponaxis=False,
        name=look.label,
    )

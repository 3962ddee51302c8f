"""Draw tidy tables: each function gives a figure, the same numbers as a table, and a sentence.

The only place that knows plotly and the only place that names a colour of data. Figures carry
their own colours and fonts; show them with st.plotly_chart(figure, theme=None, config=CONFIG,
alt=alt). docs/look.md says why they look as they do.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.figures.base import (
    CHANGE,
    CLOSENESS,
    Figure,
    Palette,
    Sheet,
    bin_names,
    bin_of,
    coloured,
    palette,
    plain_text,
    quiet_axis,
    scale,
    tabled,
)
from core.home import STATIC

# ------------------------------------------------------------------------------------------------
# Maps


@lru_cache(maxsize=1)
def borders() -> dict[str, str]:
    """iso3 -> name of every country that static/world_110m.json can draw."""
    world = json.loads((STATIC / "world_110m.json").read_text(encoding="utf-8"))
    shapes = world["objects"]["countries"]["geometries"]
    return {shape["id"]: shape["properties"]["name"] for shape in shapes}


@lru_cache(maxsize=1)
def small_places() -> dict[str, tuple[str, float, float]]:
    """iso3 -> name, longitude, latitude of places drawn as dots."""
    places = json.loads((STATIC / "small_places.json").read_text(encoding="utf-8"))
    return {iso3: tuple(place) for iso3, place in places.items()}


class Click(NamedTuple):
    """What was clicked on a map: a country, or a bin of the legend (counted from the lowest)."""

    iso3: str | None = None
    bin: int | None = None


def clicked(event: Mapping | None) -> Click:
    """Read what st.plotly_chart(..., on_select=...) gives for a map; empty where nothing is."""
    points = ((event or {}).get("selection") or {}).get("points") or []
    for point in points:
        data = point.get("customdata")
        first = data[0] if isinstance(data, list | tuple) and data else data
        if isinstance(first, str):
            if first.startswith("bin:"):
                return Click(bin=int(first[4:]))
            if first:
                return Click(iso3=first)
    return Click()


class _Mark(NamedTuple):
    """A tick on the legend strip."""

    at: float
    text: str
    strong: bool = False


class _Strip(NamedTuple):
    """The legend under a map, laid out in pixels from its bottom."""

    limits: Sequence[float]
    low: float
    high: float
    colours: Sequence[str]
    names: Sequence[str]
    placed: list[tuple[_Mark, int, str]]
    tick: Callable[..., str]
    keys: Sequence[str]
    narrow: bool

    @property
    def bar(self) -> int:
        return len(self.keys) * _KEY + _LIMITS

    @property
    def height(self) -> int:
        rows = max((row for _, row, _ in self.placed), default=-1) + 1
        return self.bar + _BAR + rows * _ROW + 12


# Heights in pixels of what lies under a map: a line of words, the limits, the bar, a row of ticks.
_KEY, _LIMITS, _BAR, _ROW = 21, 18, 12, 19
# Widths that the strip has at least, in pixels, in a page 400 and 800 wide.
_NARROW, _WIDE = 340, 500


def closeness_map(
    df: pd.DataFrame,
    *,
    metric: str = "emd",
    label: str = "Closeness to people",
    only_bin: int | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> Figure:
    """How close the answers are to people's, country by country.

    df: columns iso3, name, region, value, low, high, floor, others, ceiling, items, state
    ("scored", "not_asked", "not_surveyed"); a country without a row was not surveyed. only_bin:
    the bin of the legend that is picked; other countries fade. narrow: for a telephone.
    """
    limits = scale(metric).limits
    scored, not_asked = states_of(df)
    scored = scored.assign(bin=[bin_of(v, limits) for v in scored["value"]])
    key = f"{plain_text(label)}, of 100: darker is closer"
    strip = _strip(
        limits,
        scale(metric).axis,
        CLOSENESS,
        bin_names(limits),
        _lines(scored),
        narrow,
        _key(key, bool(len(not_asked)), False, palette(dark)),
    )
    sheet = _map_frame(strip, dark)
    hover = [score_hover(row, dark) for row in scored.itertuples()]
    _draw_countries(sheet, scored, not_asked, CLOSENESS, hover, only_bin, dark, narrow)
    _draw_strip(sheet, strip, only_bin, dark)
    return Figure(sheet.done(), score_table(df), score_alt(scored, label))


def change_map(
    df: pd.DataFrame,
    *,
    metric: str = "emd",
    label: str = "Change in closeness",
    only_bin: int | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> Figure:
    """How much closer one run is than another, country by country.

    df: columns iso3, name, region, value (points, + is closer), low, high, clear, state. A change
    that is not clear is drawn as too small to call, whatever its size.
    """
    step = scale(metric).step
    limits = tuple(step * k for k in (-3, -2, -1, 0, 1, 2, 3))
    scored, not_asked = states_of(df)
    clear = scored["clear"].eq(True) if len(scored) else []
    scored = scored.assign(
        bin=[
            bin_of(value, limits) if sure else len(CHANGE)
            for value, sure in zip(scored["value"], clear, strict=True)
        ]
    )
    marks = []
    if len(scored):
        mean = scored["value"].mean()
        marks = [_Mark(mean, f"<b>average {wording.signed(mean)}</b>", True)]
    near, far = wording.number(step, 0), wording.number(2 * step, 0)
    names = [
        f"{far} points or more further away",
        f"{near} to {far} points further away",
        f"up to {near} points further away",
        f"up to {near} points closer",
        f"{near} to {far} points closer",
        f"{far} points or more closer",
    ]
    key = f"{plain_text(label)}, in points: brown is further, green is closer"
    strip = _strip(
        limits,
        (limits[0] - step / 2, limits[-1] + step / 2),
        CHANGE,
        names,
        marks,
        narrow,
        _key(key, bool(len(not_asked)), True, palette(dark)),
        wording.signed,
    )
    sheet = _map_frame(strip, dark)
    hover = [change_hover(row) for row in scored.itertuples()]
    colours = (*CHANGE, palette(dark).too_small)
    _draw_countries(sheet, scored, not_asked, colours, hover, only_bin, dark, narrow)
    _draw_strip(sheet, strip, only_bin, dark)
    return Figure(sheet.done(), change_table(df), change_alt(scored, label))


def states_of(df: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The scored countries and those surveyed but not asked."""
    surveyed = df[df["state"] != "not_surveyed"]
    has = surveyed["state"].eq("scored") & surveyed["value"].notna()
    return surveyed[has].reset_index(drop=True), surveyed[~has].reset_index(drop=True)


def _lines(scored: pd.DataFrame) -> list[_Mark]:
    """The lines every score is read against, and the average of what is drawn."""
    marks = []
    for column, text in (
        ("floor", "even odds"),
        ("others", wording.OTHERS),
        ("ceiling", wording.CEILING),
    ):
        if column in scored and scored[column].notna().any():
            value = scored[column].mean()
            marks.append(_Mark(value, f"{text} {wording.number(value, 0)}"))
    if len(scored):
        mean = scored["value"].mean()
        marks.append(_Mark(mean, f"<b>these answers {wording.number(mean, 0)}</b>", True))
    return marks


def _key(text: str, not_asked: bool, too_small: bool, on: Palette) -> list[str]:
    """The lines of words under a map, from the top: short, for the window may be narrow."""
    looks = []
    if too_small:
        looks.append(f"{coloured('■', on.too_small)} too small to call")
    if not_asked:
        looks.append(f"{coloured('□', on.muted)} not asked")
    looks.append(f"{coloured('■', on.land)} not surveyed")
    return [*textwrap.wrap(text, 48), "   ".join(looks)]


def _strip(
    limits: Sequence[float],
    axis: tuple[float, float],
    colours: Sequence[str],
    names: Sequence[str],
    marks: Sequence[_Mark],
    narrow: bool,
    keys: Sequence[str],
    tick: Callable[..., str] = wording.number,
) -> _Strip:
    low = min(axis[0], *(mark.at for mark in marks), math.inf)
    high = max(axis[1], *(mark.at for mark in marks), -math.inf)
    placed = _placed(marks, low, high, _NARROW if narrow else _WIDE)
    return _Strip(limits, low, high, colours, names, placed, tick, keys, narrow)


def _placed(
    marks: Sequence[_Mark], low: float, high: float, width: int
) -> list[tuple[_Mark, int, str]]:
    """A row and a side for each label, in as few rows as do without covering anything."""
    boxes = []
    for mark in sorted(marks, key=lambda m: (not m.strong, m.at)):
        x = (mark.at - low) / (high - low) * width
        text = mark.text.removeprefix("<b>").removesuffix("</b>")
        wide = len(text) * (6.8 if mark.strong else 6.3) + 12
        spans = {"right": (x, x + wide), "left": (x - wide, x)}
        boxes.append((mark, x, spans))

    def fits(done: list, x: float, row: int, span: tuple[float, float]) -> bool:
        a, b = span
        if a < -2 or b > width + 2:
            return False
        for _, stem, other_row, (c, d) in done:
            if other_row == row and a < d and c < b:
                return False
            if other_row < row and c < x < d:  # this stem would cross that label
                return False
            if other_row > row and a < stem < b:  # that stem would cross this label
                return False
        return True

    def search(done: list, rows: int) -> list | None:
        if len(done) == len(boxes):
            return done
        mark, x, spans = boxes[len(done)]
        for row in range(rows):
            for side, span in spans.items():
                if fits([item[1:] for item in done], x, row, span):
                    found = search([*done, ((mark, row, side), mark, x, row, span)], rows)
                    if found:
                        return found
        return None

    for rows in range(1, len(marks) + 1):
        if found := search([], rows):
            return [item[0] for item in found]
    # A label longer than the strip is wide: one row each, towards the middle.
    return [
        (mark, row, "right" if x < width / 2 else "left") for row, (mark, x, _) in enumerate(boxes)
    ]


def _map_frame(strip: _Strip, dark: bool) -> Sheet:
    # A map is about twice as wide as high.
    total = (185 if strip.narrow else 500) + strip.height
    side = 0.0 if strip.narrow else 0.19
    return Sheet(
        total,
        dark,
        geo={
            "projection": {"type": "robinson", "rotation": {"lon": 11, "lat": 0, "roll": 0}},
            "lataxis": {"range": [-56, 83]},
            "lonaxis": {"range": [-169, 191]},
            "showframe": False,
            "showcoastlines": False,
            "showland": False,
            "showcountries": False,
            "showlakes": False,
            "bgcolor": "rgba(0,0,0,0)",
            "domain": {"x": [0, 1], "y": [strip.height / total, 1]},
        },
        xaxis=quiet_axis(range=[strip.low, strip.high], domain=[side, 1 - side]),
        yaxis=quiet_axis(range=[0, strip.height], domain=[0, strip.height / total]),
    )


def _draw_countries(
    sheet: Sheet,
    scored: pd.DataFrame,
    not_asked: pd.DataFrame,
    colours: Sequence[str],
    hover: Sequence[str],
    only_bin: int | None,
    dark: bool,
    narrow: bool,
) -> None:
    on = palette(dark)
    dot = 5 if narrow else 8
    edge = {"color": on.page, "width": 0.6}
    known = {*scored["iso3"], *not_asked["iso3"]}
    bare = {iso3: name for iso3, name in borders().items() if iso3 not in known}
    hints = [f"<b>{plain_text(name)}</b><br>not surveyed" for name in bare.values()]
    _draw_shapes(sheet, list(bare), [0] * len(bare), [on.land], hints, edge, "not surveyed", "")

    see = [1.0 if only_bin in (None, b) else 0.2 for b in scored["bin"]]
    scored = scored.assign(hover=hover, see=see)
    _draw_states(sheet, scored, colours, edge, on.ink, "scored", dot)
    hints = [
        f"<b>{plain_text(name)}</b><br>surveyed, but not asked here" for name in not_asked["name"]
    ]
    not_asked = not_asked.assign(hover=hints, see=1.0, bin=0)
    outline = {"color": on.muted, "width": 0.9}
    _draw_states(sheet, not_asked, [on.page], outline, on.muted, "not asked", dot)


def _draw_states(
    sheet: Sheet,
    rows: pd.DataFrame,
    colours: Sequence[str],
    edge: dict,
    dot_edge: str,
    name: str,
    dot: int,
) -> None:
    """Countries as shapes; places too small to see as dots."""
    shapes = rows[rows["iso3"].isin(list(borders()))]
    # plotly.js draws an opacity for a whole choropleth, and ignores one for each of its places.
    for see, part in shapes.groupby("see", sort=False):
        _draw_shapes(
            sheet, part["iso3"], part["bin"], colours, part["hover"], edge, name, None, float(see)
        )
    dots = rows[rows["iso3"].isin(list(small_places()))]
    if dots.empty:
        return
    at = [small_places()[iso3] for iso3 in dots["iso3"]]
    sheet.trace(
        "scattergeo",
        lon=[place[1] for place in at],
        lat=[place[2] for place in at],
        mode="markers",
        marker={
            "size": dot,
            "color": [colours[b] for b in dots["bin"]],
            "opacity": list(dots["see"]),
            "line": {"color": dot_edge, "width": 0.8},
        },
        customdata=[[iso3] for iso3 in dots["iso3"]],
        hovertemplate=[f"{text}<extra></extra>" for text in dots["hover"]],
        **_unfaded(dots["see"]),
        name=f"{name}, small places",
    )


def _draw_shapes(
    sheet: Sheet,
    places: Sequence[str],
    bins: Sequence[int],
    colours: Sequence[str],
    hover: Sequence[str],
    edge: dict,
    name: str,
    data: str | None,
    see: float = 1.0,
) -> None:
    """One choropleth; data: what a click gives back instead of the country's code."""
    if not len(places):
        return
    n = len(colours)
    sheet.trace(
        "choropleth",
        locations=list(places),
        z=list(bins),
        zmin=-0.5,
        zmax=n - 0.5,
        colorscale=[[stop / n, c] for k, c in enumerate(colours) for stop in (k, k + 1)],
        showscale=False,
        marker={"line": edge, "opacity": see},
        customdata=[[place if data is None else data] for place in places],
        hovertemplate=[f"{text}<extra></extra>" for text in hover],
        **_unfaded([see]),
        name=name,
    )


def _unfaded(see: Sequence[float]) -> dict:
    """A click opens a country; it does not grey the others out, unless a bin does so already."""
    if min(see, default=1) < 1:
        return {}
    return {"unselected": {"marker": {"opacity": 1}}}


def _draw_strip(sheet: Sheet, strip: _Strip, only_bin: int | None, dark: bool) -> None:
    """The legend: bins that can be clicked, their limits, and ticks for the lines.

    The axis goes on past the last bin as far as the ceiling, so that the way still to go is seen.
    """
    on = palette(dark)
    base, top, middle = strip.bar, strip.bar + _BAR, strip.bar + _BAR / 2
    first, last = strip.limits[0], strip.limits[-1]
    point = (strip.high - strip.low) * 0.012
    sheet.line((strip.low, strip.high), (middle, middle), colour=on.line, layer="below")
    sheet.trace(
        "bar",
        x=[b - a for a, b in pairwise(strip.limits)],
        base=strip.limits[:-1],
        y=[middle] * len(strip.colours),
        width=[_BAR] * len(strip.colours),
        orientation="h",
        marker={
            "color": list(strip.colours),
            "opacity": [1 if only_bin in (None, k) else 0.25 for k in range(len(strip.colours))],
            "line": {"width": 0},
        },
        customdata=[[f"bin:{k}"] for k in range(len(strip.colours))],
        hovertemplate=[f"{plain_text(name)}<extra></extra>" for name in strip.names],
        **_unfaded([1.0] if only_bin is None else [0.25]),
        name="legend",
    )
    # The outer bins are open: they end in points.
    for x, to, colour in ((first, -point, strip.colours[0]), (last, point, strip.colours[-1])):
        sheet.shape(
            type="path",
            path=f"M {x},{base} L {x + to},{middle} L {x},{top} Z",
            fillcolor=colour,
            opacity=1 if only_bin is None else 0.25,
        )
    for limit in strip.limits[1:-1]:
        text = strip.tick(limit, 0)
        sheet.note(text, limit, base - 9, colour=on.muted, size=11, anchor="center")
    for mark, row, side in strip.placed:
        y = top + 8 + row * _ROW + _ROW / 2
        foot = base - 3 if mark.strong else base
        stroke = 2 if mark.strong else 1
        sheet.line((mark.at, mark.at), (foot, y + 6), colour=on.ink, width=stroke)
        sheet.note(
            mark.text,
            mark.at,
            y,
            colour=on.ink if mark.strong else on.muted,
            anchor="left" if side == "right" else "right",
            xshift=5 if side == "right" else -5,
        )
    for row, text in enumerate(reversed(strip.keys)):
        sheet.note(
            text,
            0.5,
            row * _KEY + _KEY / 2 - 2,
            colour=on.muted,
            anchor="center",
            xref="paper",
        )


# ------------------------------------------------------------------------------------------------
# What a country's score and change are called, on hover, in tables and in sentences


def value_words(row: object, column: str) -> float:
    return float(getattr(row, column, math.nan))


def score_hover(row: object, dark: bool) -> str:
    on = palette(dark)
    zone = coloured(plain_text(getattr(row, "region", "")), on.muted)
    lines = [f"<b>{plain_text(row.name)}</b>  {zone}"]
    text = f"<b>{wording.number(row.value)}</b> of 100"
    if between := wording.interval(value_words(row, "low"), value_words(row, "high")):
        text += f", {between}"
    lines.append(text)
    for column, name in (
        ("floor", wording.FLOOR),
        ("others", wording.OTHERS),
        ("ceiling", wording.CEILING),
    ):
        if math.isfinite(value_words(row, column)):
            lines.append(f"{wording.capital(name)}: {wording.number(value_words(row, column))}")
    if math.isfinite(value_words(row, "items")):
        lines.append(coloured(wording.count(int(row.items), "question"), on.muted))
    return "<br>".join(lines)


def change_hover(row: object) -> str:
    lines = [f"<b>{plain_text(row.name)}</b>"]
    text = f"<b>{wording.signed(row.value)}</b> points"
    if between := wording.interval(value_words(row, "low"), value_words(row, "high")):
        text += f", {between}"
    lines.append(text)
    if not row.clear:
        lines.append("too small to call")
    else:
        lines.append("closer to people there" if row.value > 0 else "further from people there")
    return "<br>".join(lines)


SCORE_COLUMNS = {
    "value": "Score",
    "low": "Low",
    "high": "High",
    "floor": wording.capital(wording.FLOOR),
    "others": wording.capital(wording.OTHERS),
    "ceiling": wording.capital(wording.CEILING),
    "items": "Questions",
}
_STATES = {"scored": "", "not_asked": "not asked", "not_surveyed": "not surveyed"}


def score_table(df: pd.DataFrame) -> pd.DataFrame:
    """Country, Region, Score and its lines; best first, then those without a score."""
    df = df.sort_values(["value", "name"], ascending=[False, True])
    columns = {"name": "Country", "region": "Region", **SCORE_COLUMNS}
    return tabled(df, columns).assign(Remark=df["state"].map(_STATES).to_numpy())


def change_table(df: pd.DataFrame) -> pd.DataFrame:
    df = df.sort_values(["value", "name"], ascending=[False, True])
    columns = {
        "name": "Country",
        "region": "Region",
        "value": "Change",
        "low": "Low",
        "high": "High",
    }
    called = np.where(df["clear"].eq(True), "", "too small to call")
    remark = np.where(df["state"].eq("scored"), called, df["state"].map(_STATES))
    return tabled(df, columns).assign(Remark=remark)


def score_alt(scored: pd.DataFrame, label: str) -> str:
    if scored.empty:
        return f"{label}: a world map without scores yet."
    ends = scored.sort_values(["value", "name"])
    low, high = ends.iloc[0], ends.iloc[-1]
    if len(scored) == 1:
        return (
            f"{label} in {wording.country(high['name'])}: {wording.number(high['value'])} of 100."
        )
    return (
        f"{label} in {len(scored)} countries: from {wording.number(low['value'])} of 100 in "
        f"{wording.country(low['name'])} to {wording.number(high['value'])} in "
        f"{wording.country(high['name'])}."
    )


def change_alt(scored: pd.DataFrame, label: str) -> str:
    if scored.empty:
        return f"{label}: a world map without changes yet."
    clear = scored[scored["clear"].eq(True)]
    up, down = int((clear["value"] > 0).sum()), int((clear["value"] < 0).sum())
    return (
        f"{label} in {wording.count(len(scored), 'country', 'countries')}: closer in {up}, further "
        f"in {down}, too small to call in {len(scored) - len(clear)}."
    )

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
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core import words
from core.survey import Item

STATIC = Path(__file__).resolve().parent.parent / "static"

# Maps fetch the borders from this server, never from plotly's (docs/look.md).
CONFIG = {"displayModeBar": False, "scrollZoom": False, "responsive": True}
MAP_CONFIG = {**CONFIG, "topojsonURL": "/app/static/"}

FONT = "Inter, system-ui, sans-serif"


class Figure(NamedTuple):
    """A figure, its table twin (human column names, rounded) and one sentence about it."""

    figure: go.Figure
    table: pd.DataFrame
    alt: str


# ------------------------------------------------------------------------------------------------
# Colours and limits, each said once


@dataclass(frozen=True)
class Palette:
    """The colours of the page a figure lies on; the same as in .streamlit/config.toml."""

    page: str
    panel: str
    ink: str
    muted: str
    line: str
    land: str
    too_small: str
    people: str


LIGHT = Palette(
    page="#FCFBF8",
    panel="#F3F1EA",
    ink="#1D2530",
    muted="#5F656D",
    line="#E2DED3",
    land="#E7E3D8",
    too_small="#C3C0B7",
    people="#1D2530",
)
DARK = Palette(
    page="#14181D",
    panel="#1C2229",
    ink="#E8E6E0",
    muted="#A3A9B1",
    line="#313943",
    land="#262D35",
    too_small="#5B636D",
    people="#E8E6E0",
)


@dataclass(frozen=True)
class Series:
    """How one kind of answers is drawn. `text` is its colour where it colours small type."""

    label: str
    colour: str
    text: str
    text_dark: str
    symbol: str
    sign: str
    dash: str


# Okabe and Ito's colours, which stay apart for colour-blind eyes; a shape goes with each.
SERIES: dict[str, Series] = {
    "plain": Series("asked plainly", "#56B4E9", "#14699C", "#7CC6F0", "circle", "●", "solid"),
    "country": Series(
        "as a person from …", "#E69F00", "#8A5A00", "#F2B733", "diamond", "◆", "dash"
    ),
    "tuned": Series("tuned", "#009E73", "#00704F", "#3CC79C", "square", "■", "dot"),
    "cross_culture": Series(
        "cross-culture thinking", "#CC79A7", "#97406F", "#DE9DC0", "triangle-up", "▲", "dashdot"
    ),
    "examples": Series(
        "with examples", "#0072B2", "#005C90", "#6DB3DC", "triangle-down", "▼", "longdash"
    ),
    "country_examples": Series(
        "as a person from …, with examples",
        *("#D55E00", "#A34700", "#F08A4B", "pentagon", "⬟", "longdashdot"),
    ),
    "cross_culture_examples": Series(
        "cross-culture thinking, with examples",
        *("#882E72", "#7A2A67", "#C98BBB", "star", "★", "8px 3px"),
    ),
    "amplified": Series(
        "as a person from …, amplified",
        *("#A6761D", "#7A5612", "#D0A24C", "triangle-right", "▶", "2px 5px"),
    ),
    # What is calibrated keeps its colour, and its shape hollow.
    "calibrated": Series(
        "as a person from …, calibrated",
        *("#E69F00", "#8A5A00", "#F2B733", "diamond-open", "◇", "6px 3px 2px 3px"),
    ),
    "calibrated_plain": Series(
        "asked plainly, calibrated",
        *("#56B4E9", "#14699C", "#7CC6F0", "circle-open", "○", "1px 2px"),
    ),
}
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")

# Darker is closer. The first is yellower than its neighbours so that it is not taken for land
# without data: 26 apart in CIELAB, 22 for colour-blind eyes.
CLOSENESS = ("#E6EDAF", "#BFDDB8", "#84C4B5", "#439EA6", "#1F6A8C")
# ColorBrewer's BrBG without its pale middle: brown is further away, green is closer.
CHANGE = ("#8C510A", "#BF812D", "#DFC27D", "#80CDC1", "#35978F", "#01665E")
# One hue through the answers of a scale, from its first answer to its last.
ORDINAL = ("#D9EBE6", "#6FB2AA", "#0C5C58")
OFF_SCALE = "#A9A59B"


class Scale(NamedTuple):
    """Fixed limits of one metric, the same for every run.

    limits: ends of the five bins (the outer two are open). axis: what an axis shows. step: the
    change that ends the first bin of a map of changes, in points.
    """

    limits: tuple[float, float, float, float, float, float]
    axis: tuple[float, float]
    step: float


SCALES: dict[str, Scale] = {
    "emd": Scale((70, 75, 80, 85, 90, 95), (65, 100), 4),
    "tv": Scale((45, 55, 65, 75, 85, 95), (40, 100), 6),
    "jsdist": Scale((45, 55, 65, 75, 85, 95), (40, 100), 6),
    "jsd": Scale((75, 80, 85, 90, 95, 100), (65, 100), 3),
    "skill": Scale((-40, -20, 0, 20, 40, 60), (-60, 100), 15),
    "paper": Scale((50, 55, 60, 65, 70, 75), (35, 100), 4),
    "soft": Scale((45, 55, 65, 75, 85, 95), (40, 100), 6),
    "hard": Scale((20, 35, 50, 65, 80, 95), (0, 100), 8),
    "paper_exact": Scale((20, 35, 50, 65, 80, 95), (0, 100), 8),
}


def scale(metric: str) -> Scale:
    """The fixed limits of a metric; corrections of the paper score share the paper score's."""
    if metric in SCALES:
        return SCALES[metric]
    if metric.startswith("paper"):
        return SCALES["paper"]
    raise KeyError(f"no limits are set for the metric {metric!r}: {', '.join(SCALES)}")


def bin_of(value: float, limits: Sequence[float]) -> int:
    """Which bin a value falls in; values beyond the ends fall in the outer bins."""
    return int(np.clip(np.searchsorted(limits, value, side="right") - 1, 0, len(limits) - 2))


def bin_names(limits: Sequence[float]) -> list[str]:
    """ "below 75", "75 to 80", …, "90 and more"."""
    inner = [f"{words.number(a, 0)} to {words.number(b, 0)}" for a, b in pairwise(limits[1:-1])]
    return [
        f"below {words.number(limits[1], 0)}",
        *inner,
        f"{words.number(limits[-2], 0)} and more",
    ]


def ordinal_colours(n: int) -> list[str]:
    """n steps of one hue."""
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in ORDINAL])
    at = np.linspace(0, len(stops) - 1, n) if n > 1 else np.array([len(stops) - 1.0])
    steps = np.array([np.interp(at, range(len(stops)), stops[:, k]) for k in range(3)]).T
    return ["#" + "".join(f"{round(x):02X}" for x in step) for step in steps]


def option_colours(item: Item) -> list[str]:
    """A colour for each option of an item: a scale steps through one hue, other answers do not."""
    if not item.is_ordered:
        return [CATEGORIES[k % len(CATEGORIES)] for k in range(len(item.options))]
    on = [code for code in item.codes if code not in item.off_scale]
    steps = dict(zip(on, ordinal_colours(len(on)), strict=True))
    return [steps.get(code, OFF_SCALE) for code in item.codes]


def palette(dark: bool) -> Palette:
    return DARK if dark else LIGHT


def series(name: str) -> Series:
    """How a method's answers are drawn; a method on top of another takes the plainer one's look."""
    if name in SERIES:
        return SERIES[name]
    for known in ("cross_culture", "examples", "country"):
        if known in name:
            return SERIES[known]
    return SERIES["plain"]


def ink_of(name: str, dark: bool) -> str:
    """The colour of a series where it colours type."""
    if name == "people":
        return palette(dark).people
    return series(name).text_dark if dark else series(name).text


# ------------------------------------------------------------------------------------------------
# What every figure shares


class Sheet:
    """A figure under way, handed to plotly in one piece: traces, notes, lines, shapes, then done().

    plotly checks everything anew with each addition: 61 countries took 20 seconds as add_shape
    calls, a map 48 ms as add_… calls; in one piece it takes a few.
    """

    def __init__(self, height: int, dark: bool, **layout: object) -> None:
        on = palette(dark)
        self._traces: list[dict] = []
        self._notes: list[dict] = []
        self._shapes: list[dict] = []
        self._layout = {
            "template": "none",
            "height": height,
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0, "pad": 0},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": 12, "color": on.ink},
            "hoverlabel": {
                "bgcolor": on.panel,
                "bordercolor": on.line,
                "font": {"family": FONT, "size": 13, "color": on.ink},
                "align": "left",
            },
            "hovermode": "closest",
            "showlegend": False,
            # Neither pans nor zooms a map, so that a finger can scroll past it; unlike False, it
            # is not replaced by Streamlit where clicks are listened to.
            "dragmode": "zoom",
            "clickmode": "event+select",
            **layout,
        }

    def layout(self, **how: object) -> None:
        """More of plotly's layout: a second axis."""
        self._layout |= how

    def margin(self, left: int = 0, right: int = 0, top: int = 0, bottom: int = 0) -> None:
        self._layout["margin"] = {"l": left, "r": right, "t": top, "b": bottom, "pad": 0}

    def trace(self, type: str, **how: object) -> None:
        self._traces.append({"type": type, **how})

    def note(
        self,
        text: str,
        x: float,
        y: float,
        *,
        colour: str,
        size: int = 12,
        anchor: str = "left",
        **more: object,
    ) -> None:
        """A piece of text, its middle line at y."""
        self._notes.append(
            {
                "text": text,
                "x": x,
                "y": y,
                "xref": "x",
                "yref": "y",
                "xanchor": anchor,
                "yanchor": "middle",
                "showarrow": False,
                "borderpad": 0,
                "borderwidth": 0,
                "font": {"family": FONT, "size": size, "color": colour},
                **more,
            }
        )

    def line(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        colour: str,
        width: float = 1,
        **more: object,
    ) -> None:
        dash = {"dash": more.pop("dash")} if "dash" in more else {}
        self._shapes.append(
            {
                "type": "line",
                "x0": x[0],
                "x1": x[1],
                "y0": y[0],
                "y1": y[1],
                "line": {"color": colour, "width": width, **dash},
                **more,
            }
        )

    def shape(self, **how: object) -> None:
        self._shapes.append({"line": {"width": 0}, **how})

    def done(self) -> go.Figure:
        layout = {**self._layout, "annotations": self._notes, "shapes": self._shapes}
        return go.Figure({"data": self._traces, "layout": layout})


def quiet_axis(**more: object) -> dict:
    """An axis that is not drawn: figures place their own lines and words."""
    return {
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "showticklabels": False,
        **more,
    }


def coloured(text: str, colour: str) -> str:
    """Words of a note in a colour of their own."""
    return f"<span style='color:{colour}'>{text}</span>"


def wrapped(text: str, width: int) -> str:
    """Text in lines of `width` characters."""
    return "<br>".join(textwrap.wrap(text, width)) or text


def plain_text(text: str) -> str:
    """Text that plotly shows as it stands (it reads a little HTML)."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


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
    scored, not_asked = _states(df)
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
    hover = [_score_hover(row, dark) for row in scored.itertuples()]
    _draw_countries(sheet, scored, not_asked, CLOSENESS, hover, only_bin, dark, narrow)
    _draw_strip(sheet, strip, only_bin, dark)
    return Figure(sheet.done(), _score_table(df), _score_alt(scored, label))


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
    scored, not_asked = _states(df)
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
        marks = [_Mark(mean, f"<b>average {words.signed(mean)}</b>", True)]
    near, far = words.number(step, 0), words.number(2 * step, 0)
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
        words.signed,
    )
    sheet = _map_frame(strip, dark)
    hover = [_change_hover(row) for row in scored.itertuples()]
    colours = (*CHANGE, palette(dark).too_small)
    _draw_countries(sheet, scored, not_asked, colours, hover, only_bin, dark, narrow)
    _draw_strip(sheet, strip, only_bin, dark)
    return Figure(sheet.done(), _change_table(df), _change_alt(scored, label))


def _states(df: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The scored countries and those surveyed but not asked."""
    surveyed = df[df["state"] != "not_surveyed"]
    has = surveyed["state"].eq("scored") & surveyed["value"].notna()
    return surveyed[has].reset_index(drop=True), surveyed[~has].reset_index(drop=True)


def _lines(scored: pd.DataFrame) -> list[_Mark]:
    """The lines every score is read against, and the average of what is drawn."""
    marks = []
    for column, text in (
        ("floor", "even odds"),
        ("others", words.OTHERS),
        ("ceiling", words.CEILING),
    ):
        if column in scored and scored[column].notna().any():
            value = scored[column].mean()
            marks.append(_Mark(value, f"{text} {words.number(value, 0)}"))
    if len(scored):
        mean = scored["value"].mean()
        marks.append(_Mark(mean, f"<b>these answers {words.number(mean, 0)}</b>", True))
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
    tick: Callable[..., str] = words.number,
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


def _value(row: object, column: str) -> float:
    return float(getattr(row, column, math.nan))


def _score_hover(row: object, dark: bool) -> str:
    on = palette(dark)
    zone = coloured(plain_text(getattr(row, "region", "")), on.muted)
    lines = [f"<b>{plain_text(row.name)}</b>  {zone}"]
    text = f"<b>{words.number(row.value)}</b> of 100"
    if between := words.interval(_value(row, "low"), _value(row, "high")):
        text += f", {between}"
    lines.append(text)
    for column, name in (
        ("floor", words.FLOOR),
        ("others", words.OTHERS),
        ("ceiling", words.CEILING),
    ):
        if math.isfinite(_value(row, column)):
            lines.append(f"{words.capital(name)}: {words.number(_value(row, column))}")
    if math.isfinite(_value(row, "items")):
        lines.append(coloured(words.count(int(row.items), "question"), on.muted))
    return "<br>".join(lines)


def _change_hover(row: object) -> str:
    lines = [f"<b>{plain_text(row.name)}</b>"]
    text = f"<b>{words.signed(row.value)}</b> points"
    if between := words.interval(_value(row, "low"), _value(row, "high")):
        text += f", {between}"
    lines.append(text)
    if not row.clear:
        lines.append("too small to call")
    else:
        lines.append("closer to people there" if row.value > 0 else "further from people there")
    return "<br>".join(lines)


_SCORE_COLUMNS = {
    "value": "Score",
    "low": "Low",
    "high": "High",
    "floor": words.capital(words.FLOOR),
    "others": words.capital(words.OTHERS),
    "ceiling": words.capital(words.CEILING),
    "items": "Questions",
}
_STATES = {"scored": "", "not_asked": "not asked", "not_surveyed": "not surveyed"}


def _score_table(df: pd.DataFrame) -> pd.DataFrame:
    """Country, Region, Score and its lines; best first, then those without a score."""
    df = df.sort_values(["value", "name"], ascending=[False, True])
    columns = {"name": "Country", "region": "Region", **_SCORE_COLUMNS}
    return tabled(df, columns).assign(Remark=df["state"].map(_STATES).to_numpy())


def _change_table(df: pd.DataFrame) -> pd.DataFrame:
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


def tabled(df: pd.DataFrame, columns: Mapping[str, str], places: int = 1) -> pd.DataFrame:
    """The columns there are, under their human names, rounded."""
    there = [column for column in columns if column in df]
    return df[there].round(places).rename(columns=columns).reset_index(drop=True)


def _score_alt(scored: pd.DataFrame, label: str) -> str:
    if scored.empty:
        return f"{label}: a world map without scores yet."
    ends = scored.sort_values(["value", "name"])
    low, high = ends.iloc[0], ends.iloc[-1]
    if len(scored) == 1:
        return f"{label} in {words.country(high['name'])}: {words.number(high['value'])} of 100."
    return (
        f"{label} in {len(scored)} countries: from {words.number(low['value'])} of 100 in "
        f"{words.country(low['name'])} to {words.number(high['value'])} in "
        f"{words.country(high['name'])}."
    )


def _change_alt(scored: pd.DataFrame, label: str) -> str:
    if scored.empty:
        return f"{label}: a world map without changes yet."
    clear = scored[scored["clear"].eq(True)]
    up, down = int((clear["value"] > 0).sum()), int((clear["value"] < 0).sum())
    return (
        f"{label} in {words.count(len(scored), 'country', 'countries')}: closer in {up}, further "
        f"in {down}, too small to call in {len(scored) - len(clear)}."
    )


# ------------------------------------------------------------------------------------------------
# Rows of dots: countries ranked, ways of asking, topics, neighbours


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
    numbers = {column: _value(row, column) for column in _NUMBERS}
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
    asked (a key of SERIES). by_region: the regions one after another, best first, and their
    countries within. muted: all in grey, for a ranking that is not to be read.
    """
    scored, _ = _states(df)
    scored = scored.sort_values(["value", "name"], ascending=[False, True])
    if before is not None:
        start = before.dropna(subset="value").set_index("iso3")["value"]
        scored = scored.assign(before=scored["iso3"].map(start))
    groups = [("", scored)]
    if by_region:
        means = scored.groupby("region")["value"].mean().sort_values(ascending=False)
        groups = [
            (f"{region}  {words.number(mean)}", scored[scored["region"] == region])
            for region, mean in means.items()
        ]
    grey = palette(dark).too_small if muted else ""
    rows = []
    for region, group in groups:
        rows += [_Row(region)] if region else []
        rows += [
            _row(row, row.name, kind, _score_hover(row, dark), row.iso3, colour=grey)
            for row in group.itertuples()
        ]
    keys: list[str] = []
    if muted and rows:
        keys = _row_keys(rows, before_kind, palette(dark))
        keys[0] = f"{coloured('●', grey)} {series(kind).label}, too unsteady to rank"
    sheet = _rows_of_dots(
        rows, scale(metric).axis, before_kind, dark, names=_gutter(narrow), keys=keys
    )
    return Figure(sheet.done(), _score_table(df), _score_alt(scored, label))


def change_bars(
    df: pd.DataFrame,
    *,
    metric: str = "emd",
    label: str = "Change in closeness",
    dark: bool = False,
    narrow: bool = False,
) -> Figure:
    """The map of changes as a list. df: as for change_map; what is not clear is drawn grey."""
    scored, _ = _states(df)
    scored = scored.sort_values(["value", "name"], ascending=[False, True])
    on = palette(dark)
    rows = []
    for row in scored.itertuples():
        colour = (CHANGE[4] if row.value > 0 else CHANGE[1]) if row.clear else on.too_small
        rows.append(_row(row, row.name, "change", _change_hover(row), row.iso3, colour=colour))
    reach = 3 * scale(metric).step
    keys = [
        f"{coloured('●', CHANGE[4])} closer   {coloured('●', CHANGE[1])} further away   "
        f"{coloured('●', on.too_small)} too small to call"
    ]
    sheet = _rows_of_dots(
        rows, (-reach, reach), "", dark, names=_gutter(narrow), keys=keys, tick=words.signed
    )
    return Figure(sheet.done(), _change_table(df), _change_alt(scored, label))


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
        _row(row, row.name, row.method, _score_hover(row, dark), row.method)
        for row in df.itertuples()
    ]
    sheet = _rows_of_dots(rows, scale(metric).axis, "", dark)
    columns = {"name": "Way of asking", **_SCORE_COLUMNS}
    said = [f"“{row.name}” {words.number(row.value)} of 100" for row in df.itertuples()]
    alt = f"{label} by way of asking: {words.listed(said) or 'no scores yet'}."
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
        _row(row, row.name, kind, _score_hover(row, dark), row.name) for row in named.itertuples()
    ]
    sheet = _rows_of_dots(rows, scale(metric).axis, before_kind, dark)
    columns = {
        "topic": "Topic",
        **_SCORE_COLUMNS,
        "before": words.capital(series(before_kind).label),
    }
    alt = f"{label} by topic: no scores yet."
    if len(df):
        best, worst = df.iloc[0], df.iloc[-1]
        alt = (
            f"{label} by topic: best on {best['topic']} ({words.number(best['value'])} of 100), "
            f"worst on {worst['topic']} ({words.number(worst['value'])})."
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
            words.number(value), 1, y - 12, colour=on.muted, xref="paper", anchor="right", xshift=8
        )
    sheet.trace(
        "scatter",
        x=df["value"],
        y=at,
        mode="markers",
        marker={"size": 8, "color": on.people},
        hovertemplate=[
            f"<b>{plain_text(n)}</b><br>{words.number(v)} of 100<extra></extra>"
            for n, v in zip(df["name"], df["value"], strict=True)
        ],
        cliponaxis=False,
    )
    said = [f"{words.country(row.name)} ({words.number(row.value)})" for row in df.itertuples()]
    near = words.listed(said, most=5) or "nobody to compare"
    alt = f"Nearest to {words.country(name)}: {near}."
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
    tick: Callable[..., str] = words.number,
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
        lines.append(f"<b>|</b> {words.OTHERS}")
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


# ------------------------------------------------------------------------------------------------
# One question


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
    way the model was asked, named as in SERIES (plain, country, tuned, …). country: whose people.
    width: characters in a line of a label. top: the share at the right edge, so that columns
    side by side can be compared (see answer_columns).
    """
    on = palette(dark)
    asked = [name for name in df.columns if name in SERIES]
    people = "people" in df and bool(df["people"].notna().any())
    short = [len(str(label)) <= 3 for label in df["label"]]
    # Long labels stand over their bars, so that a column of any width will do; "1" to "10" stand
    # beside them.
    beside = sum(short) > len(df) / 2
    labels = [wrapped(plain_text(str(label)), width) for label in df["label"]]
    lines = [0 if beside and s else t.count("<br>") + 1 for s, t in zip(short, labels, strict=True)]
    thick = 10 + 8 * max(1, len(asked))
    left, right = (22, 24 * (len(asked) + people)) if beside else (0, 0)
    top = top or answer_top([df])
    head = 17 * (len(asked) + people) + 10 if legend else 0
    y, places = head, []
    for n in lines:
        y += 15 * n + 4
        places.append(y + thick / 2)
        y += thick + (5 if beside else 12)
    sheet = Sheet(
        int(y),
        dark,
        xaxis=quiet_axis(range=[0, top * 1.03]),
        yaxis=quiet_axis(range=[int(y), 0]),
        bargap=0,
        barmode="overlay",
    )
    sheet.margin(left, right)
    where = f"people in {words.country(country)}" if country else "people"
    if legend:
        signs = [(coloured("■", on.people), where)] if people else []
        signs += [(coloured(series(n).sign, series(n).colour), _said(n, country)) for n in asked]
        for k, (sign, said) in enumerate(signs):
            text = f"{sign} {plain_text(words.capital(said))}"
            sheet.note(text, 0, 17 * k + 8, colour=on.muted, xref="paper", xshift=-left)
    hover = [_answer_hover(row, asked, where, country) for row in df.to_dict("records")]
    if people:
        sheet.trace(
            "bar",
            x=df["people"],
            y=places,
            width=[thick] * len(df),
            orientation="h",
            marker={"color": on.people, "line": {"width": 0}},
            hovertemplate=hover,
            name="people",
        )
    slot = (thick - 4) / max(1, len(asked))
    for k, name in enumerate(asked):
        look = series(name)
        middle = [place - thick / 2 + 2 + slot * (k + 0.5) for place in places]
        sheet.trace(
            "bar",
            x=df[name],
            y=middle,
            width=[3] * len(df),
            orientation="h",
            marker={"color": look.colour, "line": {"width": 0}},
            hovertemplate=hover,
            name=name,
        )
        sheet.trace(
            "scatter",
            x=df[name],
            y=middle,
            mode="markers",
            hovertemplate=hover,
            name=name,
            cliponaxis=False,
            marker={
                "symbol": look.symbol,
                "size": 10,
                "color": look.colour,
                "line": {"color": on.page, "width": 1.2},
            },
        )
    for place, n, label, row in zip(places, lines, labels, df.to_dict("records"), strict=True):
        over = place - thick / 2 - 3
        sheet.note(
            label,
            0,
            over - 15 * n / 2 if n else place,
            colour=on.ink,
            xref="paper",
            align="left",
            xshift=-left,
        )
        said = [words.percent(row["people"]).rstrip("%")] if people else []
        said += [
            coloured(words.percent(row[name]).rstrip("%"), ink_of(name, dark))
            for name in asked
            if row[name] == row[name]
        ]
        sheet.note(
            "  ".join(said),
            1,
            place if beside else over - 7.5,
            colour=on.ink,
            xref="paper",
            anchor="right",
            xshift=right,
        )
    return Figure(
        sheet.done(), _answer_table(df, asked, where, country), _answer_alt(df, asked, where)
    )


def answer_columns(
    columns: Sequence[tuple[str, pd.DataFrame]], *, width: int = 34, dark: bool = False
) -> list[Figure]:
    """answer_bars for several countries with the same scale. columns: (country, its table)."""
    top = answer_top([df for _, df in columns])
    return [answer_bars(df, country=name, width=width, top=top, dark=dark) for name, df in columns]


def answer_top(tables: Sequence[pd.DataFrame]) -> float:
    """The largest share in any of the tables, at least a quarter."""
    shares = [df[name].max() for df in tables for name in df if name in SERIES or name == "people"]
    return max([0.25, *(x for x in shares if x == x)])


def _said(name: str, country: str) -> str:
    """What a series is called where it is known whose people are meant."""
    if name == "country" and country:
        return f"as a person from {words.country(country)}"
    return series(name).label


def _answer_hover(row: Mapping, asked: Sequence[str], where: str, country: str) -> str:
    lines = [f"<b>{wrapped(plain_text(str(row['label'])), 40)}</b>"]
    for name in ("people", *asked):
        share = row.get(name, math.nan)
        if share == share:
            said = where if name == "people" else _said(name, country)
            lines.append(f"{plain_text(words.capital(said))}: {words.percent(share)}")
    return "<br>".join(lines) + "<extra></extra>"


def _answer_table(df: pd.DataFrame, asked: Sequence[str], where: str, country: str) -> pd.DataFrame:
    table = {"Answer": df["label"]}
    for name in (["people"] if "people" in df else []) + list(asked):
        said = where if name == "people" else _said(name, country)
        table[f"{words.capital(said)} (%)"] = (df[name] * 100).round(1)
    return pd.DataFrame(table).reset_index(drop=True)


def _answer_alt(df: pd.DataFrame, asked: Sequence[str], where: str) -> str:
    parts = []
    for name in ["people", *asked]:
        if name in df and df[name].notna().any():
            row = df.loc[df[name].idxmax()]
            who = words.capital(where) if name == "people" else f"the model, {series(name).label}"
            parts.append(f"{who}: “{row['label']}” {words.percent(row[name])}")
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

    df: one row a country or a model, columns name, kind ("people" or a key of SERIES) and shares
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
                f"<b>{plain_text(name)}</b><br>{wrapped(said, 40)}: {words.percent(share)}"
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
    table = pd.DataFrame({words.capital(what[0]): df["name"]})
    for k, option in enumerate(item.options):
        table[f"{option.label} (%)"] = (shares[:, k] * 100).round(1)
    people = df["kind"].eq("people")
    alt = f"Answers to “{item.label}” in {words.count(int(people.sum()), *what)}"
    if people.any() and item.is_ordered and sort:
        first, last = df["name"][people].iloc[0], df["name"][people].iloc[-1]
        ends = f"nearest to “{item.low}” in {words.country(first)}"
        alt += f": {ends}, nearest to “{item.high}” in {words.country(last)}"
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
            f"<b>{plain_text(r.name)}</b><br>People: {words.percent(r.people)} of the way to "
            f"“{plain_text(item.high)}”<br>Model: {words.percent(r.model)}<extra></extra>"
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
            f"{words.count(len(df), 'country', 'countries')}; furthest apart in "
            f"{words.country(far)}."
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

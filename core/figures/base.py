"""What every figure shares: palettes, scales, the sheet it is drawn on, its table and its words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core import wording
from core.metrics import metrics
from core.metrics.metrics import Scale
from core.prompts.methods import METHODS
from core.survey.survey import Item

# Maps fetch the borders from this server, never from plotly's (docs/look.md).
CONFIG = {"displayModeBar": False, "scrollZoom": False, "responsive": True}


MAP_CONFIG = {**CONFIG, "topojsonURL": "/app/static/"}


FONT = "Inter, system-ui, sans-serif"


class Figure(NamedTuple):
    """A figure, its table twin (human column names, rounded) and one sentence about it."""

    figure: go.Figure
    table: pd.DataFrame
    alt: str


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


TUNED = Series("tuned", "#009E73", "#00704F", "#3CC79C", "square", "■", "dot")


CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")


# Darker is closer. The first is yellower than its neighbours so that it is not taken for land
# without data: 26 apart in CIELAB, 22 for colour-blind eyes.
CLOSENESS = ("#E6EDAF", "#BFDDB8", "#84C4B5", "#439EA6", "#1F6A8C")


# ColorBrewer's BrBG without its pale middle: brown is further away, green is closer.
CHANGE = ("#8C510A", "#BF812D", "#DFC27D", "#80CDC1", "#35978F", "#01665E")


# One hue through the answers of a scale, from its first answer to its last.
ORDINAL = ("#D9EBE6", "#6FB2AA", "#0C5C58")


OFF_SCALE = "#A9A59B"


def scale(metric: str) -> Scale:
    """The fixed limits of a metric."""
    return metrics.metric(metric).scale


def bin_of(value: float, limits: Sequence[float]) -> int:
    """Which bin a value falls in; values beyond the ends fall in the outer bins."""
    return int(np.clip(np.searchsorted(limits, value, side="right") - 1, 0, len(limits) - 2))


def bin_names(limits: Sequence[float]) -> list[str]:
    """ "below 75", "75 to 80", …, "90 and more"."""
    inner = [f"{wording.number(a, 0)} to {wording.number(b, 0)}" for a, b in pairwise(limits[1:-1])]
    return [
        f"below {wording.number(limits[1], 0)}",
        *inner,
        f"{wording.number(limits[-2], 0)} and more",
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
    """How the answers of a method are drawn, or those of a model with an adapter ("tuned")."""
    if name == "tuned":
        return TUNED
    how = METHODS.get(name, METHODS["plain"])
    return Series(how.label, *how.look)


def is_series(name: str) -> bool:
    return name == "tuned" or name in METHODS


def ink_of(name: str, dark: bool) -> str:
    """The colour of a series where it colours type."""
    if name == "people":
        return palette(dark).people
    return series(name).text_dark if dark else series(name).text


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


def tabled(df: pd.DataFrame, columns: Mapping[str, str], places: int = 1) -> pd.DataFrame:
    """The columns there are, under their human names, rounded."""
    there = [column for column in columns if column in df]
    return df[there].round(places).rename(columns=columns).reset_index(drop=True)
